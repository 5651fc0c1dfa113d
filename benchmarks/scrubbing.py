"""Does the scrubber hold 60 frames a second?

``python -m benchmarks.scrubbing``

The page that `Trace.export_html` writes, of a run of 50 steps with attention, in a real browser
with a word pinned, so that each step has its heat map drawn. The slider goes back and forth, a step
each animation frame, as a hand moves it. Measured in the page: a frame's work on the main thread,
from the slider's event until the browser has painted, and how many frames come in a second.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .measure import HERE, Options, Ratio, begin, options, report
from .models import PROMPT, model_folder

FRAME = 1000 / 60  # ms
WORD = "cat"
SLIDER = "input.sdw-v-slider"

# A message posted in an animation frame arrives when that frame has been painted.
SCRUB = """async ({ slider, passes }) => {
    const input = document.querySelector(slider);
    const last = Number(input.max);
    const painted = () => new Promise((resolve) => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => resolve(performance.now());
        port2.postMessage(0);
    });
    const work = [], stamps = [];
    const move = (step) => new Promise((resolve) => requestAnimationFrame((stamp) => {
        const began = performance.now();
        input.value = String(step);
        input.dispatchEvent(new Event("input", { bubbles: true }));
        stamps.push(stamp);
        painted().then((ended) => { work.push(ended - began); resolve(); });
    }));
    for (let pass = 0; pass < passes; pass++)
        for (let i = 0; i < last; i++) await move(pass % 2 ? last - 1 - i : i + 1);
    return { work, stamps, said: input.getAttribute("aria-valuetext") };
}"""


def write_page(folder: Path, given: Options) -> Path:
    """The page of a run of the bundled model."""
    import torch

    import sdwidgets as sdw

    torch.set_num_threads(given.threads)
    with model_folder() as files:
        model = sdw.load(files, device=given.device)
        trace = model.generate(PROMPT, steps=given.more.steps, seed=0, attention=True)
    return Path(trace.export_html(folder / "run.html"))


def scrub(page: Any, file: Path, rounds: int, passes: int) -> list[dict[str, Any]]:
    """Of each round the ms of each frame's work and the frames' time stamps.

    ``page``: an empty one of Playwright's. ``file``: what it opens, with a slider and words.
    """
    page.goto(file.as_uri())
    pinned = page.locator(f'[data-word="{WORD}"]').first
    pinned.click()
    page.mouse.move(0, 0)
    if pinned.get_attribute("aria-pressed") != "true":
        raise SystemExit(f"The word {WORD!r} could not be pinned: nothing was measured.")
    work = {"slider": SLIDER, "passes": passes}
    return [page.evaluate(SCRUB, work) for _ in range(1 + rounds)][1:]  # the first does not count


@contextmanager
def empty_page() -> Iterator[Any]:
    """A page in a real browser that can reach no other machine."""
    from playwright.sync_api import sync_playwright

    sys.path.insert(0, str(HERE.parent / "tests"))
    from real_jupyter import CHROMIUM_ARGUMENTS, chromium

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGUMENTS)
        yield browser.new_page(viewport={"width": 1280, "height": 1000})
        browser.close()


def main() -> int:
    def add(parser: Any) -> None:
        parser.add_argument("--steps", type=int, default=50)
        parser.add_argument("--passes", type=int, default=4, help="of the slider, in a round")

    given = options(__doc__, 5, add)
    question = "Does the scrubber hold 60 frames a second?"
    described = begin(question, given)
    with tempfile.TemporaryDirectory() as scratch, empty_page() as page:
        file = write_page(Path(scratch), given)
        size = file.stat().st_size
        found = scrub(page, file, given.rounds, given.more.passes)
    halves = [statistics.median(each["work"]) for each in found]
    slowest = [statistics.quantiles(each["work"], n=20)[-1] for each in found]
    rates = [
        1000 * (len(stamps) - 1) / (stamps[-1] - stamps[0])
        for stamps in (each["stamps"] for each in found)
    ]
    half, slow, rate = map(statistics.median, (halves, slowest, rates))
    frame = f"a frame of {FRAME:.1f} ms"
    ratios = [
        Ratio("A scrubbed step's work, median", half / FRAME, None, f"{half:.2f} ms", frame),
        Ratio(
            "A scrubbed step's work, 95th percentile", slow / FRAME, 1.0, f"{slow:.2f} ms", frame
        ),
        # A browser's clock is not exactly that of its screen.
        Ratio("Frames while scrubbing", 60 / rate, 1.02, f"{rate:.1f} a second", "60 a second"),
    ]
    return report(
        "scrubbing",
        question,
        ratios,
        given,
        described,
        rounds=found,
        steps=given.more.steps,
        page_bytes=size,
    )


if __name__ == "__main__":
    sys.exit(main())
