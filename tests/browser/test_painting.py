"""Painting in the Studio, in JupyterLab: masks by hand and from words, and settings by keyboard."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect
from real_jupyter import Notebook, look

pytestmark = pytest.mark.browser

STUDIO = """
import numpy as np
import sdwidgets as sdw
studio = sdw.Studio(prompt="a cat left of a car on a blue background", seed=7)

def kept():
    "Whether the last run kept what was not painted over, and changed some of the rest."
    inside = np.asarray(studio.mask) >= 128
    same = (np.asarray(studio.trace.image) == np.asarray(studio.image)).all(-1)
    return bool(same[~inside].all() and not same[inside].all())
studio
"""

SOON = 15_000  # ms

Open = Callable[..., Notebook]


def test_what_is_painted_changes_and_all_else_is_kept(open_notebook: Open) -> None:
    notebook = open_notebook(STUDIO)
    notebook.run()
    notebook.generate()
    start = notebook.find(".sdw-start")
    start.get_by_role("button", name="Use the last result").click()
    expect(start.locator("img")).to_be_visible(timeout=SOON)
    where = start.locator(".sdw-start-where")
    expect(where).to_contain_text("from step 5 of 20, sigma", timeout=SOON)
    noisy = start.locator("canvas")
    expect(noisy).to_be_visible()
    pixels = "canvas => [...canvas.getContext('2d').getImageData(0, 0, 16, 16).data].join()"
    before = noisy.evaluate(pixels)
    slider = start.get_by_label("strength")
    slider.press("ArrowRight")
    expect(where).to_contain_text("from step 4 of 20, sigma")
    assert noisy.evaluate(pixels) != before
    slider.press("ArrowLeft")
    notebook.wait_until("studio.strength", 0.8)
    look(notebook, "image", widths=(1280, 700))
    start.get_by_role("button", name="Paint a mask…").click()
    painter = notebook.find(".sdw-painter")
    expect(painter).to_have_attribute("data-ready", "", timeout=SOON)
    board, mouse = painter.locator(".sdw-pt-stage"), notebook.page.mouse
    board.scroll_into_view_if_needed()
    size = board.bounding_box()
    assert size
    begins, ends = (
        {"x": size["width"] * x, "y": size["height"] * y} for x, y in ((0.6, 0.5), (0.9, 0.6))
    )
    board.hover(position=begins)  # waits until nothing moves
    mouse.down()
    board.hover(position=ends, force=True)
    mouse.up()
    expect(start.locator(".sdw-start-mask")).to_contain_text("painted over", timeout=SOON)
    assert notebook.ask("studio.mask.size == studio.image.size == (128, 128)")
    notebook.find(".sdw-prompt textarea").fill("a cat left of a dog on a blue background")
    notebook.generate()
    assert notebook.ask("studio.trace.task") == "inpainting"
    assert notebook.ask("kept()")

    start.get_by_label("Mask from a word of the last result").select_option("cat")
    notebook.wait_until("studio.easel.painter.mapped")
    share = notebook.ask("float((np.asarray(studio.mask) > 0).mean())")
    assert 0 < share < 0.6
    look(notebook, "word", widths=(1280, 700))
    start.get_by_role("button", name="The last change").click()
    notebook.wait_until(f"float((np.asarray(studio.mask) > 0).mean()) != {share}")
    start.get_by_role("button", name="Remove the mask").click()
    notebook.wait_until("studio.mask is None and studio.easel.painter.mask is None")
    expect(start.locator(".sdw-start-mask")).to_be_hidden()
    start.get_by_role("button", name="Close the painter").click()
    expect(painter).to_have_count(0)
    start.get_by_role("button", name="Start from noise").click()
    expect(start.locator("img")).to_be_hidden()


def test_more_settings_by_keyboard(open_notebook: Open) -> None:
    notebook = open_notebook(STUDIO)
    notebook.run()
    page = notebook.page
    notebook.find(".sdw-more").focus()
    page.keyboard.press("Enter")
    notebook.wait_until("studio.controls.more.value")
    fold = notebook.find(".sdw-more-fold")
    expect(fold).to_be_visible(timeout=SOON)
    fold.focus()
    page.keyboard.press("Enter")
    expect(fold).to_have_attribute("aria-expanded", "true")
    more = notebook.find(".sdw-further")
    expect(more.get_by_label("eta", exact=True)).to_have_count(0)  # dpmpp_2m has none
    notebook.find(".sdw-sampler select").select_option("euler_ancestral")
    eta = more.get_by_label("eta", exact=True)
    expect(eta).to_have_attribute("placeholder", "1", timeout=SOON)
    look(notebook, "more", widths=(1280, 700))
    eta.focus()
    page.keyboard.type("7")
    page.keyboard.press("Tab")
    expect(eta).to_have_attribute("aria-invalid", "true", timeout=SOON)
    expect(notebook.find(".sdw-said-row .sdw-error")).to_contain_text("eta must be 0 to 1")
    eta.fill("0.5")
    page.keyboard.press("Tab")
    expect(eta).to_have_attribute("aria-invalid", "false", timeout=SOON)
    more.get_by_label("enlarge by").fill("2")
    notebook.generate(lambda: page.keyboard.press("Control+Enter"))
    assert notebook.ask("[studio.trace.settings.eta, *studio.trace.size]") == [0.5, 256, 256]
    picture = notebook.find(".sdw-v-final")
    assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [256, 256]
    expect(more.get_by_label("second strength")).to_have_attribute("placeholder", "0.6")
    look(notebook, "hires", widths=(1280, 700))
