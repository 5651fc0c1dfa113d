"""How much slower is a run while a Studio shows it?

``python -m benchmarks.live_view``

A real Jupyter kernel without a page: the widget sends all its messages, which are read and counted
here. In turns, the same manager makes the same run of 20 guided steps without a widget, and for a
Studio, from pressing Generate until the whole result has been sent.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections import Counter
from typing import Any

from .measure import against, begin, interleaved, options, report
from .models import PROMPT, model_folder

SETUP = """
import json, time
import torch; torch.set_num_threads({threads})
import sdwidgets as sdw
from sdwidgets.checkpoints import load_model
def load(name, **options):
    return load_model(name, device={device!r}, **options)
manager = sdw.ModelManager(load)
studio = sdw.Studio(manager, model={model!r}, prompt={prompt!r}, steps={steps}, seed=0)
manager.load(studio.model)
display(studio)
"""

ALONE = """
began = time.perf_counter()
trace = manager.submit(sdw.Request(model=studio.model, settings=studio.settings)).result()
print(json.dumps(time.perf_counter() - began))
"""

LIVE = """
began = time.perf_counter()
studio.generate()
studio.wait()
print(json.dumps(time.perf_counter() - began))
"""


class Kernel:
    """A kernel to run cells in; counts the messages it sends to the page."""

    def __init__(self, environment: dict[str, str]):
        from jupyter_client.manager import start_new_kernel

        os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel
        self._manager, self._client = start_new_kernel(kernel_name="python3", env=environment)

    def run(self, code: str) -> tuple[str, Counter[str], int]:
        """Run a cell; returns what it printed, messages by kind, and bytes of all buffers."""
        printed: list[str] = []
        messages: Counter[str] = Counter()
        size = 0

        def hook(message: dict[str, Any]) -> None:
            nonlocal size
            messages[message["msg_type"]] += 1
            size += sum(len(buffer) for buffer in message.get("buffers", ()))
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])

        reply = self._client.execute_interactive(code, output_hook=hook, timeout=600)
        if reply["content"]["status"] != "ok":
            raise SystemExit("\n".join(reply["content"]["traceback"]))
        return "".join(printed), messages, size

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


def main() -> int:
    def add(parser: Any) -> None:
        parser.add_argument("--model", default="emoji", help="emoji, sd1, a path")
        parser.add_argument("--steps", type=int, default=20)

    given = options(__doc__, 15, add)
    question = "How much slower is a run while a Studio shows it?"
    described = begin(question, given)
    sent: list[Counter[str]] = []
    sizes: list[int] = []
    with model_folder(given.more.model) as folder:
        kernel = Kernel(given.child())
        try:
            kernel.run(
                SETUP.format(
                    threads=given.threads,
                    device=given.device,
                    model=str(folder),
                    prompt=PROMPT,
                    steps=given.more.steps,
                )
            )

            def alone() -> float:
                return float(json.loads(kernel.run(ALONE)[0].splitlines()[-1]))

            def live() -> float:
                printed, messages, size = kernel.run(LIVE)
                sent.append(messages)
                sizes.append(size)
                return float(json.loads(printed.splitlines()[-1]))

            seconds = interleaved(given.rounds, {"with Studio": live, "without": alone})
        finally:
            kernel.close()
    messages = statistics.median(one["comm_msg"] for one in sent)
    if not messages:
        raise SystemExit("The Studio sent nothing: this measured no live view.")
    size = int(statistics.median(sizes))
    print(f"   a run sent {messages:.0f} messages with {size / 1000:.0f} kB of pictures")
    ratios = [against("A run with the live view", seconds, "with Studio", "without", 1.03)]
    return report(
        "live_view",
        question,
        ratios,
        given,
        described,
        seconds=seconds,
        messages_a_run=messages,
        bytes_a_run=size,
        steps=given.more.steps,
    )


if __name__ == "__main__":
    sys.exit(main())
