"""Walks and live typing in JupyterLab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from real_jupyter import Notebook, Server, keep_screenshot, use_theme, write_notebook

pytestmark = pytest.mark.browser

WALK = """
import sdwidgets as sdw

walk = sdw.Walk("emoji", ["a cat", "a red car", ("a dog", 9)], frames=4, seed=7, steps=6)
walk
"""
LIVE = """
studio = sdw.Studio(prompt="a cat", seed=7, steps=12)
studio
"""


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def notebook(lab: Server, page: Page) -> Iterator[Notebook]:
    notebook = Notebook(page, lab, write_notebook(lab.root, "walk", WALK, LIVE))
    notebook.load()
    notebook.run()
    yield notebook
    assert notebook.problems == []


def test_a_walk_is_scrubbed_played_saved_and_kept(notebook: Notebook) -> None:
    page = notebook.page
    root = page.locator(".sdw-walk").first
    expect(root).to_have_attribute("data-state", "done", timeout=60_000)
    expect(root).to_have_attribute("data-frames", "9")
    thumbs = root.locator(".sdw-wk-thumb")
    assert notebook.ask("[frame.place for frame in walk.frames]") == [i / 4 for i in range(9)]

    # keys move along, and the image follows
    slider = root.get_by_role("slider", name="frame on show")
    slider.focus()
    page.keyboard.press("Home")
    first = root.locator(".sdw-wk-picture").get_attribute("src")
    page.keyboard.press("ArrowRight")
    expect(root).to_have_attribute("data-place", "0.25")
    assert root.locator(".sdw-wk-picture").get_attribute("src") != first
    page.keyboard.press(" ")
    expect(root.get_by_role("button", name="pause")).to_be_visible()
    expect(root).to_have_attribute("data-place", "2")
    page.keyboard.press(" ")

    # one click shows a frame's settings
    thumbs.nth(3).click()
    expect(root.locator(".sdw-wk-caption")).to_contain_text("0.25 of the way to a cat")
    root.get_by_text("Settings of this frame").click()
    expect(root.locator(".sdw-wk-about")).to_contain_text("a red car")
    root.get_by_text("Settings of this frame").click()

    with page.expect_download() as download:
        root.get_by_role("button", name="WEBP").click()
    assert download.value.suggested_filename == "walk.webp"
    use_theme(page, "Light")
    keep_screenshot(root, "walk")


def test_the_image_follows_what_is_typed(notebook: Notebook) -> None:
    page = notebook.page
    studio = page.locator(".sdw-studio").first
    studio.get_by_role("button", name="Live").click()
    notebook.wait_until("len([*studio.history.results])", 1)
    field = studio.locator(".sdw-prompt textarea")
    field.fill("a red")
    field.press_sequentially(" car on a blue background")
    notebook.wait_until("studio.trace.settings.prompt", "a red car on a blue background")
    assert notebook.ask("studio.trace.settings.steps") == 12
    expect(studio.locator(".sdw-live")).to_have_attribute("aria-pressed", "true")
    field.fill("")  # in silence
    notebook.wait_until("studio._live.idle.is_set()")
    assert notebook.ask("studio.error") is None
    studio.get_by_role("button", name="Live").click()
    notebook.wait_until("studio.live", False)


def test_a_saved_walk_plays_without_a_kernel(notebook: Notebook) -> None:
    page = notebook.page
    notebook.save()
    notebook.shut_down()
    notebook.load()
    root = page.locator(".sdw-walk").first
    expect(root).to_have_attribute("data-frames", "9")
    root.get_by_role("slider", name="frame on show").focus()
    page.keyboard.press("End")
    expect(root).to_have_attribute("data-place", "2")
    assert root.locator(".sdw-wk-picture").evaluate("image => image.naturalWidth") > 0
