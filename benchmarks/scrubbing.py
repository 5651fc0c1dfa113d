"""Does the scrubber hold 60 frames a second?

``python -m benchmarks.scrubbing``

A real browser opens the page that `Trace.export_html` writes for a run of 50 steps with attention.
A word is pinned, so each step draws its heat map. The slider goes back and forth, a step per
animation frame, as a hand moves it. The page measures the work of a step, from the slider's event
until everything is drawn and laid out; the time until the browser has painted it, without a GPU;
and the frames per second.
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

# A message posted in an animation frame arrives after that frame has been painted.
SCRUB = """async ({ slider, passes }) => {
    const input = document.querySelector(slider);
    const last = Number(input.max);
    const painted = () => new Promise((resolve) => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => resolve(performance.now());
        port2.postMessage(0);
    });
    const work = [], shown = [], stamps = [];
    const move = (step) => new Promise((resolve) => requestAnimationFrame((stamp) => {
        const began = performance.now();
        input.value = String(step);
        input.dispatchEvent(new Event("input", { bubbles: true }));
        input.getBoundingClientRect();  // lays the page out
        work.push(performance.now() - began);
        stamps.push(stamp);
        painted().then((ended) => shown.push(ended - began));
        resolve();
    }));
    for (let pass = 0; pass < passes; pass++)
        for (let i = 0; i < last; i++) await move(pass % 2 ? last - 1 - i : i + 1);
    while (shown.length < work.length) await painted();
    return { work, shown, stamps, said: input.getAttribute("aria-valuetext") };
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
    """The work of each frame in ms and the frames' time stamps, for each round.

    ``page``: an empty page of Playwright. ``file``: the page to open, with a slider and words.
    """
    page.goto(file.as_uri())
    pinned = page.locator(f'button[data-word="{WORD}"]').first
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


def ratios_of(found: list[dict[str, Any]]) -> list[Ratio]:
    """The results of `scrub` against 60 frames per second; medians over the rounds."""

    def half(name: str) -> float:
        return statistics.median(statistics.median(each[name]) for each in found)

    def most(name: str) -> float:  # the 95th percentile
        return statistics.median(statistics.quantiles(each[name], n=20)[-1] for each in found)

    def ratio(what: str, ms: float, target: float | None = None) -> Ratio:
        frame = f"a frame of {FRAME:.1f} ms"
        return Ratio(f"A scrubbed step{what}", ms / FRAME, target, f"{ms:.2f} ms", frame)

    rate = statistics.median(
        1000 * (len(stamps) - 1) / (stamps[-1] - stamps[0])
        for stamps in (each["stamps"] for each in found)
    )
    return [
        ratio("'s work, median", half("work")),
        ratio("'s work, 95th percentile", most("work"), 1.0),
        ratio(" until it is painted, median", half("shown")),
        ratio(" until it is painted, 95th percentile", most("shown")),
        # A browser's clock is not exactly that of its screen.
        Ratio("Frames while scrubbing", 60 / rate, 1.02, f"{rate:.1f} a second", "60 a second"),
    ]


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
    return report(
        "scrubbing",
        question,
        ratios_of(found),
        given,
        described,
        rounds=found,
        steps=given.more.steps,
        page_bytes=size,
    )


if __name__ == "__main__":
    sys.exit(main())
