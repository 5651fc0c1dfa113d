"""Exported pages, opened from a file with no network: they play, and run nothing but themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, expect

from sdwidgets.configs import TINY, ModelConfig
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.trace import Trace

pytestmark = pytest.mark.browser

ATTACK = '</script></title><img src=x onerror="alert(1)"><!-- <script>alert(2)</script>'


@pytest.fixture(scope="module")
def trace(make_model: Callable[[ModelConfig], LatentDiffusion]) -> Trace:
    prompt = f"a cat {ATTACK}"
    record = make_model(TINY).generate(
        prompt, negative_prompt=ATTACK, steps=6, seed=1, attention=True
    )
    return replace(record, model=ATTACK, task=ATTACK, notices=(ATTACK,))


class Opened:
    """A page opened from a file, and all that it did which it should not."""

    def __init__(self, page: Page, path: Path):
        self.page = page
        self.problems: list[str] = []
        page.on("dialog", self._refuse)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda said: self._said(said.type, said.text))
        page.on("request", lambda request: self._asked(request.url, path.as_uri()))
        page.goto(path.as_uri())

    def _refuse(self, dialog: Dialog) -> None:
        self.problems.append("a dialog")
        dialog.dismiss()

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.problems.append(text)

    def _asked(self, url: str, itself: str) -> None:
        if url != itself and not url.startswith(("blob:", "data:")):
            self.problems.append(f"request to {url}")


@pytest.fixture
def open_page(context: BrowserContext, tmp_path: Path) -> Callable[[Trace], Opened]:
    context.set_offline(True)
    return lambda trace: Opened(context.new_page(), trace.export_html(tmp_path / "run.html"))


def test_it_plays_from_a_file_and_text_stays_text(
    trace: Trace, open_page: Callable[[Trace], Opened]
) -> None:
    opened = open_page(trace)
    viewer = opened.page.locator("main#sdw .sdw-viewer")
    expect(viewer).to_have_attribute("data-frames", "6")
    slider = viewer.locator("input[type=range]").first
    slider.focus()
    opened.page.keyboard.press("Home")
    expect(viewer).to_have_attribute("data-step", "0")
    opened.page.keyboard.press("ArrowRight")
    expect(viewer).to_have_attribute("data-step", "1")
    assert opened.page.locator("img[onerror], main script").count() == 0
    assert opened.page.evaluate("() => document.scripts.length") == 2
    assert opened.page.title().startswith(f"a cat {ATTACK}")
    assert opened.problems == []


def test_the_prompt_is_its_heading_and_a_tap_ranks_words(
    make_model: Callable[[ModelConfig], LatentDiffusion], browser: Browser, tmp_path: Path
) -> None:
    made = make_model(TINY).generate("a cat", steps=2, seed=1, attention=True)
    touched = browser.new_context(
        has_touch=True, offline=True, viewport={"width": 390, "height": 800}
    )
    try:
        page = Opened(touched.new_page(), made.export_html(tmp_path / "run.html")).page
        expect(page.locator("h1")).to_have_text("a cat")
        expect(page.locator("footer dt").first).to_have_text("prompt")
        ranking = page.locator(".sdw-ranking")
        expect(ranking).to_have_attribute("data-empty", "true")
        page.locator(".sdw-v-picture").tap()
        expect(ranking).to_have_attribute("data-empty", "false")
        expect(page.locator(".sdw-heat-spot")).to_be_visible()
        expect(page.locator(".sdw-rank-of")).to_have_text("of all attention here")
        page.locator(".sdw-chip[data-word=cat]").tap()  # the focus goes there
        expect(ranking).to_have_attribute("data-empty", "true")
    finally:
        touched.close()


def test_steps_look_different(trace: Trace, open_page: Callable[[Trace], Opened]) -> None:
    opened = open_page(trace)
    slider = opened.page.locator("main#sdw input[type=range]").first
    slider.focus()
    seen = set()
    for key in ("Home", "ArrowRight", "ArrowRight"):
        opened.page.keyboard.press(key)
        opened.page.evaluate("() => new Promise(requestAnimationFrame)")
        seen.add(opened.page.locator("main#sdw canvas").first.evaluate("c => c.toDataURL()"))
    assert len(seen) == 3
    assert opened.problems == []


def test_nothing_that_comes_into_the_page_can_run_or_fetch(
    trace: Trace, open_page: Callable[[Trace], Opened]
) -> None:
    opened = open_page(trace)
    refused = opened.page.evaluate("""async () => {
        const seen = [];
        const note = (event) => seen.push(event.effectiveDirective);
        document.addEventListener('securitypolicyviolation', note);
        const script = document.createElement('script');
        script.textContent = 'window.ran = true';
        document.body.append(script);
        await fetch('http://127.0.0.1:9/').catch(() => undefined);
        await new Promise((resolve) => setTimeout(resolve));
        return [window.ran === true, seen.sort()];
    }""")
    assert refused == [False, ["connect-src", "script-src-elem"]]


def test_without_scripts_there_is_the_sheet(
    trace: Trace, context: BrowserContext, tmp_path: Path
) -> None:
    assert context.browser is not None
    plain = context.browser.new_context(java_script_enabled=False)
    try:
        opened = Opened(plain.new_page(), trace.export_html(tmp_path / "run.html"))
        sheet = opened.page.locator("noscript img")
        expect(sheet).to_be_visible()
        box = sheet.bounding_box()
        assert box is not None and box["width"] > 400
        assert opened.problems == []
    finally:
        plain.close()
