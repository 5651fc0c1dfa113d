"""In the Studio, what a model takes decides what is shown: all of it by hand and by keyboard."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect
from real_jupyter import Notebook, look

pytestmark = pytest.mark.browser

TESTS = Path(__file__).resolve().parents[1]

STUDIO = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from told_models import CONFIGS, told_model
import sdwidgets as sdw
manager = sdw.ModelManager(load=lambda name, **_: told_model(name))
for name in CONFIGS:
    manager.load(name)
studio = sdw.Studio(manager=manager, model="classes", steps=3)
studio
"""

SOON = 15_000  # ms

Open = Callable[..., Notebook]


def file(name: str, shade: int, side: int = 8) -> dict[str, object]:
    image = Image.new("RGB", (side, side), (shade, 255 - shade, 90))
    image.paste((250, 240, 40), (2, 2, side // 2 + 1, side // 2 + 1))
    written = io.BytesIO()
    image.save(written, "png")
    return {"name": name, "mimeType": "image/png", "buffer": written.getvalue()}


def test_each_model_shows_what_it_takes(open_notebook: Open) -> None:
    notebook = open_notebook(STUDIO)
    notebook.run()
    page = notebook.page
    field = notebook.find(".sdw-class-field")
    expect(field).to_be_visible(timeout=SOON)
    expect(notebook.find(".sdw-prompt")).to_be_hidden()
    field.focus()
    page.keyboard.type("mal 20")
    options = notebook.find(".sdw-class-list").get_by_role("option")
    expect(options).to_have_count(11, timeout=SOON)
    page.keyboard.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(field).to_have_value("animal 200")
    notebook.wait_until("studio.label", "animal 200")
    look(notebook, "class")
    field.focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("299")
    notebook.generate(lambda: page.keyboard.press("Control+Enter"))  # takes what is typed
    assert notebook.ask("studio.trace.settings.label") == "animal 299"
    expect(notebook.find(".sdw-strip button").first).to_have_attribute(
        "aria-label", "animal 299, seed 0: show it and load its settings"
    )

    notebook.ask("setattr(studio, 'model', 'near')")
    near = notebook.find(".sdw-near")
    expect(near).to_be_visible(timeout=SOON)
    expect(field).to_have_count(0, timeout=SOON)
    near.locator("input[type=file]").set_input_files([file("a.png", 20), file("b.png", 200)])
    thumbs = near.locator(".sdw-thumb")
    expect(thumbs).to_have_count(2, timeout=SOON)
    near.get_by_role("button", name="Add the last result").click()
    expect(near.get_by_role("alert")).to_contain_text("at most 2 neighbours", timeout=SOON)
    thumbs.first.focus()
    page.keyboard.press("Space")
    expect(thumbs.first).to_have_attribute("aria-pressed", "false", timeout=SOON)
    near.get_by_role("button", name="Add the last result").click()
    expect(thumbs).to_have_count(3, timeout=SOON)
    notebook.wait_until("len(studio.neighbours)", 2)
    thumbs.first.focus()
    page.keyboard.press("Delete")
    expect(thumbs).to_have_count(2, timeout=SOON)
    expect(thumbs.first).to_be_focused()
    notebook.generate()
    assert notebook.ask("len(studio.trace.prompt_of(0).words)") == 2
    notebook.find(".sdw-look").click()
    chips = notebook.find(".sdw-picture").get_by_role("button", name="1", exact=True)
    expect(chips.first).to_be_visible(timeout=SOON)
    look(notebook, "near")
    notebook.find(".sdw-look").click()

    notebook.ask("setattr(studio, 'model', 'larger')")
    low = notebook.find(".sdw-low")
    expect(low).to_be_visible(timeout=SOON)
    expect(notebook.find(".sdw-start")).to_be_hidden()
    low.locator("input[type=file]").set_input_files(file("small.png", 120))
    expect(low.locator(".sdw-low-small")).to_be_visible(timeout=SOON)
    expect(low).to_contain_text("8 x 8 pixels, to 16 x 16")
    slider = low.get_by_role("slider")
    expect(slider).to_have_count(0)  # there is nothing to compare yet
    notebook.generate()
    expect(slider).to_be_enabled(timeout=SOON)
    slider.focus()
    page.keyboard.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", "0 % bicubic")
    slider.fill("60")
    look(notebook, "larger")
