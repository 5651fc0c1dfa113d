"""That the benchmark of the scrubber moves what it says, and waits for what it measures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks import scrubbing

pytestmark = pytest.mark.browser

# What the benchmark relies on of a viewer's page: the slider, and words that can be pinned.
PAGE = """<!doctype html><meta charset="utf-8">
<button data-word="cat" aria-pressed="false">cat</button>
<input type="range" class="sdw-v-slider" min="0" max="4" value="4">
<script>
const [word, slider] = [document.querySelector("button"), document.querySelector("input")];
const seen = [];
word.onclick = () => word.setAttribute("aria-pressed", "PINNED");
slider.oninput = () => {
    seen.push(Number(slider.value));
    slider.setAttribute("aria-valuetext", JSON.stringify(seen));
    for (const end = performance.now() + 5; performance.now() < end; ) {}
};
</script>"""


def page_file(folder: Path, pinned: str) -> Path:
    file = folder / "page.html"
    file.write_text(PAGE.replace("PINNED", pinned))
    return file


def test_every_step_has_its_frame_and_the_work_of_its_handler(
    browser: Browser, tmp_path: Path
) -> None:
    with browser.new_page() as page:
        (found,) = scrubbing.scrub(page, page_file(tmp_path, "true"), rounds=1, passes=2)
    back_and_forth = [1, 2, 3, 4, 3, 2, 1, 0]
    assert json.loads(found["said"]) == 2 * back_and_forth  # the first round does not count
    measured = [len(found[name]) for name in ("work", "shown", "stamps")]
    assert measured == 3 * [len(back_and_forth)]
    assert min(found["work"]) > 4.9  # ms: the handler returns no sooner
    # In order; a busy browser may give two frames the same time.
    assert sorted(found["stamps"]) == found["stamps"]


def test_without_a_pinned_word_nothing_is_measured(browser: Browser, tmp_path: Path) -> None:
    with (
        browser.new_page() as page,
        pytest.raises(SystemExit, match="'cat' could not be pinned"),
    ):
        scrubbing.scrub(page, page_file(tmp_path, "false"), rounds=1, passes=1)


def test_the_rate_is_of_the_frames_that_came() -> None:
    found = [{"work": [5.0] * 4, "shown": [8.0] * 4, "stamps": [0.0, 20.0, 40.0, 60.0]}]
    ratios = {ratio.what: ratio for ratio in scrubbing.ratios_of(found)}
    assert ratios["Frames while scrubbing"].ours == "50.0 a second"
    assert ratios["Frames while scrubbing"].met is False
    assert ratios["A scrubbed step's work, 95th percentile"].ours == "5.00 ms"
