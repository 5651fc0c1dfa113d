"""What is done by hand (painting, branches, sweeps, walks), in hosts other than JupyterLab.

`test_painter`, `test_branches`, `test_sweep` and `test_walk` have the details, in JupyterLab.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from classic_notebook import ClassicNotebook
from playwright.sync_api import BrowserContext, expect
from real_jupyter import Notebook, Server, keep_screenshot, write_notebook

pytestmark = pytest.mark.browser

CELLS = (
    """
import sdwidgets as sdw

trace = sdw.load().generate("a cat left of a car on a blue background", seed=7, steps=6)
painter = sdw.Painter(trace.image)
painter
""",
    "branches = sdw.Branches(trace)\nbranches",
    'sweep = sdw.Sweep("emoji", prompt="a cat", guidance_scale=[1, 4], seed=[1, 2], steps=3)\n'
    "sweep",
    'walk = sdw.Walk("emoji", ["a cat", "a dog"], frames=2, steps=3, seed=7)\nwalk',
)

Open = Callable[..., Notebook]


def is_done_by_hand(notebook: Notebook) -> None:
    """Paint a stroke, grow a branch, look at a point of a sweep and move along a walk."""
    page = notebook.page
    image = notebook.find(".sdw-pt-image")
    expect(notebook.find(".sdw-painter")).to_have_attribute("data-ready", "")
    image.scroll_into_view_if_needed()
    box = image.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.up()
    notebook.wait_until("painter.mask is not None and painter.mask.getpixel((48, 64))", 255)
    assert notebook.ask("painter.mask.getpixel((120, 8))") == 0

    tree = notebook.find(".sdw-branches")
    tree.locator(".sdw-b-stop[data-step='3']").first.click()
    tree.get_by_label("Guidance", exact=True).fill("9")
    tree.get_by_role("button", name="Grow", exact=True).click()
    notebook.wait_until("[node.step for node in branches.tree]", [0, 3])

    notebook.wait_until("sweep.state", "done")
    cells = notebook.find(".sdw-sweep").get_by_role("gridcell")
    expect(cells.locator("img")).to_have_count(4)
    cells.first.click()
    expect(notebook.find(".sdw-sweep")).to_contain_text("a cat")

    notebook.wait_until("walk.state", "done")
    notebook.find(".sdw-walk").get_by_role("slider", name="frame on show").focus()
    page.keyboard.press("End")
    expect(notebook.find(".sdw-walk")).to_have_attribute("data-place", "1")
    assert notebook.problems == []


def test_in_notebook_7(load_notebook: Open, notebook_7: Server) -> None:
    notebook = load_notebook(*CELLS, server=notebook_7)
    notebook.run()
    is_done_by_hand(notebook)
    keep_screenshot(notebook.find(".sdw-painter"), "painter")
    keep_screenshot(notebook.page, "by-hand-notebook-7", "out/screenshots", full_page=True)


def test_with_the_packages_of_colab(colab: Server, context: BrowserContext) -> None:
    name = write_notebook(colab.root, "by_hand", *CELLS)
    notebook = ClassicNotebook(context.new_page(), colab, name)
    notebook.load()
    notebook.run()
    is_done_by_hand(notebook)
    keep_screenshot(notebook.page, "by-hand-colab", "out/screenshots", full_page=True)
