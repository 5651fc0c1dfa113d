"""A guide in the Studio by keyboard alone, and a recorded run that brings its inputs back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from axe import violations
from playwright.sync_api import expect
from real_jupyter import Notebook, look, use_theme

pytestmark = pytest.mark.browser

TESTS = Path(__file__).resolve().parents[1]

STUDIO = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
import numpy as np
from told_models import CONFIGS, told_model
import sdwidgets as sdw
manager = sdw.ModelManager(load=lambda name, **_: told_model(name))
for name in CONFIGS:
    manager.load(name)
studio = sdw.Studio(manager=manager, model="maps", steps=2, width=32, height=32)
studio
"""

SOON = 15_000  # ms

Open = Callable[..., Notebook]


def test_a_guide_is_chosen_and_comes_back_with_a_recorded_run(
    open_notebook: Open, tmp_path: Path
) -> None:
    notebook = open_notebook(STUDIO)
    notebook.run()
    page = notebook.page
    row, kind = notebook.find(".sdw-guide"), notebook.find(".sdw-guide-kind select")
    more = notebook.find(".sdw-more")
    expect(more).to_be_visible(timeout=SOON)
    expect(row).to_be_hidden()
    more.focus()
    page.keyboard.press("Enter")
    expect(kind).to_be_visible(timeout=SOON)
    expect(notebook.find(".sdw-guide-slider")).to_be_hidden()
    kind.focus()
    page.keyboard.press("ArrowDown")
    notebook.wait_until("studio.guide and studio.guide.colour", "red")
    slider = notebook.find(".sdw-guide-slider").get_by_role("slider")
    expect(slider).to_be_visible(timeout=SOON)
    expect(notebook.find(".sdw-guide-colour input").first).to_be_visible()
    slider.focus()
    page.keyboard.press("ArrowRight")
    notebook.wait_until("studio.guide_scale > 1", True)
    scale = notebook.find(".sdw-guide-scale input")
    scale.focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("2.5")
    page.keyboard.press("Tab")
    notebook.wait_until("studio.guide_scale", 2.5)
    expect(slider).to_have_accessible_name("how much it steers")
    for theme in ("Dark", "Light"):
        use_theme(page, theme)
        assert violations(row) == []
    look(notebook, "guide")

    notebook.ask("setattr(studio, 'label_map', np.eye(32, dtype=np.uint8))")
    notebook.generate(lambda: page.keyboard.press("Control+Enter"))
    path = tmp_path / "run.sdtrace"
    notebook.ask(f"str(studio.trace.save({str(path)!r}))")
    notebook.ask("[setattr(studio, 'guide', None), setattr(studio, 'label_map', None)] and 0")
    more.focus()
    page.keyboard.press("Enter")
    expect(row).to_be_hidden(timeout=SOON)
    notebook.find(".sdw-start input[type=file]").first.set_input_files(path)
    said = notebook.find(".sdw-start-said")
    expect(said).to_have_text("The settings of the file are loaded.", timeout=SOON)
    expect(kind).to_have_value("a colour", timeout=SOON)
    assert notebook.ask("(studio.guide.colour, studio.guide_scale)") == ["red", 2.5]
    assert notebook.ask("bool((studio.label_map == np.eye(32)).all())") is True
