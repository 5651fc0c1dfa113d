"""How much slower is an image while another process computes, too?

``python -m benchmarks.two_at_once``

Two processes have the model loaded. In turns one makes an image alone, both make one at the same
time, and one makes an image beside a neighbour that multiplies matrices on all cores. Alone it is
also made with as many threads as there are cores, which is what torch takes by itself;
``--starve`` measures two at once with all threads, too, which can take minutes an image.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from .measure import Options, against, begin, cores, interleaved, options, report
from .models import PROMPT, model_folder

# Reads how many threads to take (0: as the kit chooses), makes an image, says how long it took.
ARTIST = """
import sys, time
import sdwidgets as sdw
model, prompt, steps = sdw.load(sys.argv[1], device="cpu"), sys.argv[2], int(sys.argv[3])
model.generate(prompt, steps=2, seed=0)
print("ready", flush=True)
for line in sys.stdin:
    sdw.options.threads = int(line) or None
    began = time.perf_counter()
    model.generate(prompt, steps=steps, seed=0).image
    print(time.perf_counter() - began, flush=True)
"""

NEIGHBOUR = """
import torch
a = torch.randn(1000, 1000)
print("ready", flush=True)
while True:
    a @ a
"""


class Child:
    """A Python process that is spoken to line by line."""

    def __init__(self, code: str, given: Options, *arguments: str):
        environment = given.child()
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # as where nobody has set a number
            environment.pop(name, None)
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.hear()

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("A child process ended; its lines above say why.")
        return line

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def images_at_once(artists: list[Child], threads: int = 0) -> float:
    """Seconds an image of each takes, all begun together; the mean over them."""
    for artist in artists:
        artist.say(str(threads))
    return statistics.mean([float(artist.hear()) for artist in artists])


@contextmanager
def neighbour(given: Options) -> Iterator[None]:
    child = Child(NEIGHBOUR, given)
    try:
        yield
    finally:
        child.close()


def beside_neighbour(artist: Child, given: Options) -> float:
    with neighbour(given):
        return images_at_once([artist])


def main() -> int:
    def add(parser: Any) -> None:
        parser.add_argument("--model", default="emoji", help="emoji, sd1, a path")
        parser.add_argument("--steps", type=int, default=20)
        parser.add_argument("--starve", action="store_true", help="two at once with all threads")

    given = options(__doc__, 9, add)
    question = "How much slower is an image while another process computes, too?"
    if given.device != "cpu":
        raise SystemExit("Threads are the CPU's.")
    described = begin(question, given)
    with model_folder(given.more.model) as folder, ExitStack() as stack:
        arguments = (str(folder), PROMPT, str(given.more.steps))
        artists = [Child(ARTIST, given, *arguments) for _ in range(2)]
        for artist in artists:
            stack.callback(artist.close)
        one = artists[:1]
        work: dict[str, Callable[[], Any]] = {
            "alone": partial(images_at_once, one),
            "alone, all threads": partial(images_at_once, one, cores()),
            "two at once": partial(images_at_once, artists),
            "beside a busy neighbour": partial(beside_neighbour, one[0], given),
        }
        if given.more.starve:
            work["two at once, all threads"] = partial(images_at_once, artists, cores())
        seconds = interleaved(given.rounds, work)
    ratios = [
        against("Two images at once, and one alone", seconds, "two at once", "alone", 2.5),
        against(
            "An image beside a busy neighbour, and alone",
            seconds,
            "beside a busy neighbour",
            "alone",
            2.5,
        ),
        against(
            "An image alone, and with all threads", seconds, "alone", "alone, all threads", 1.1
        ),
    ]
    if given.more.starve:
        ratios.append(
            against(
                "Two images at once with all threads, and one alone",
                seconds,
                "two at once, all threads",
                "alone, all threads",
            )
        )
    return report(
        "two_at_once", question, ratios, given, described, seconds=seconds, steps=given.more.steps
    )


if __name__ == "__main__":
    sys.exit(main())
