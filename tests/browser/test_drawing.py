"""Boxes and label maps drawn in JupyterLab: what Python has is what a person drew."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect
from real_jupyter import Notebook, keep_screenshot, use_theme

pytestmark = pytest.mark.browser

BOXES = """
import numpy as np
import sdwidgets as sdw

nouns = ["cat", "dog", "house", "sun", "blue", "green"]
layout = sdw.Boxes([("blue", (0, 0, 1, 1))], classes=nouns)
layout
"""
LABELS = """
import numpy as np
import sdwidgets as sdw

drawing = sdw.LabelMap(classes=["blue", "green", "cat", "dog", "house"], size=(64, 48))
drawing
"""

Open = Callable[..., Notebook]
Place = tuple[float, float]


def opened(open_notebook: Open, code: str) -> tuple[Notebook, Locator]:
    notebook = open_notebook(code)
    notebook.run()
    notebook.page.set_default_timeout(15_000)
    root = notebook.page.locator(".jp-OutputArea .sdw-drawing").first
    expect(root).to_be_visible()
    root.scroll_into_view_if_needed()
    return notebook, root


def drag(board: Locator, start: Place, end: Place) -> None:
    """Drag the mouse between two places, in fractions of an element."""
    box = board.bounding_box()
    assert box is not None
    mouse = board.page.mouse
    for i, (x, y) in enumerate((start, ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2), end)):
        mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        if i == 0:
            mouse.down()
    mouse.up()


def click(board: Locator, x: float, y: float) -> None:
    box = board.bounding_box()
    assert box is not None
    board.click(position={"x": x * box["width"], "y": y * box["height"]})


def near(notebook: Notebook, index: int, corners: tuple[float, ...]) -> bool:
    """Whether a box's corners are these, to about two pixels of the page."""
    return notebook.ask(f"bool(np.allclose(layout.boxes[{index}][1], {corners}, atol=0.01))")


def test_boxes_are_drawn_named_moved_and_undone(open_notebook: Open) -> None:
    notebook, root = opened(open_notebook, BOXES)
    board = root.locator(".sdw-bx-board")
    options = root.locator(".sdw-bx-option")
    live = root.locator(".sdw-pt-live")
    # drawn over the background, which is not in the way
    drag(board, (0.2, 0.3), (0.6, 0.8))
    notebook.wait_until("len(layout.boxes)", 2)
    assert near(notebook, 1, (0.2, 0.3, 0.6, 0.8))
    x1, y1 = notebook.ask("layout.boxes[1][1][2:]")
    expect(live).to_contain_text(f"to {x1:g}, {y1:g}")
    root.locator(".sdw-palette-class", has_text="dog").click()
    notebook.wait_until("layout.boxes[1][0]", "dog")
    # moved, and resized by a mark
    drag(board, (0.4, 0.5), (0.5, 0.4))
    notebook.wait_until("layout.undos", 4)
    assert near(notebook, 1, (0.3, 0.2, 0.7, 0.7))
    drag(board, (0.7, 0.7), (0.9, 0.95))
    notebook.wait_until("layout.undos", 5)
    assert near(notebook, 1, (0.3, 0.2, 0.9, 0.95))
    # another inside it, with Shift; then clicks go through all that lie over one another
    notebook.page.keyboard.down("Shift")
    drag(board, (0.5, 0.5), (0.7, 0.7))
    notebook.page.keyboard.up("Shift")
    notebook.wait_until("len(layout.boxes)", 3)
    chosen = root.locator(".sdw-bx-option[aria-selected=true] .sdw-bx-name")
    root.locator(".sdw-palette-class", has_text="sun").click()
    for name in ("dog", "blue", "sun"):
        click(board, 0.6, 0.6)
        expect(chosen).to_have_text(name)
    keep_screenshot(root, "boxes")
    # by keys: search for a class, to the back, delete, undo
    board.press("/")
    field = root.locator(".sdw-palette-search").first
    expect(field).to_be_focused()
    field.press_sequentially("hou")
    field.press("Enter")
    notebook.wait_until("layout.boxes[2][0]", "house")
    board.focus()
    board.press("[")
    notebook.wait_until("[name for name, _ in layout.boxes]", ["blue", "house", "dog"])
    before = notebook.ask("layout.boxes[1][1]")
    board.press("ArrowRight")
    notebook.wait_until("layout.boxes[1][1][0]", round(before[0] + 0.02, 3))
    board.press("Shift+ArrowUp")
    notebook.wait_until("layout.boxes[1][1][3]", round(before[3] - 0.02, 3))
    board.press("Delete")
    notebook.wait_until("len(layout.boxes)", 2)
    board.press("z")
    notebook.wait_until("[name for name, _ in layout.boxes]", ["blue", "house", "dog"])
    board.press("n")
    notebook.wait_until("layout.boxes[-1][0]", "house")
    expect(live).to_have_text("house added")
    # by numbers, and from the list
    left = root.locator(".sdw-bx-numbers input").first
    left.fill("0.05")
    left.press("Enter")
    notebook.wait_until("layout.boxes[-1][1][0]", 0.05)
    listed = root.locator(".sdw-bx-list")
    listed.press("Home")
    expect(chosen).to_have_text("blue")
    # from Python, the page follows; a second view shows the same
    notebook.ask("setattr(layout, 'boxes', [('sun', (0.1, 0.1, 0.4, 0.4))])")
    expect(options).to_have_count(1)
    expect(root.locator(".sdw-bx-tag")).to_have_text("sun")
    assert notebook.ask("layout.problem") == ""


def test_classes_are_painted_searched_and_undone(open_notebook: Open) -> None:
    notebook, root = opened(open_notebook, LABELS)
    expect(root).to_have_attribute("data-ready", "")
    stage = root.locator(".sdw-pt-stage")
    board = root.locator(".sdw-pt-board")
    # a rectangle of the class that is searched for
    field = root.locator(".sdw-palette-search")
    field.fill("ca")
    field.press("Enter")
    root.locator("[data-value=rectangle]").click()
    drag(stage, (0.26, 0.26), (0.49, 0.74))
    notebook.wait_until("drawing.undos", 1)
    assert notebook.ask("[int(v) for v in np.unique(drawing.map)]") == [0, 2]
    assert notebook.ask("np.argwhere(drawing.map == 2).min(0).tolist()") == [12, 16]
    assert notebook.ask("np.argwhere(drawing.map == 2).max(0).tolist()") == [35, 31]
    # a fill of the rest, whose name is shown under the pointer
    root.locator(".sdw-palette-class", has_text="green").click()
    root.locator("[data-value=fill]").click()
    click(stage, 0.9, 0.9)
    notebook.wait_until("[int(v) for v in np.unique(drawing.map)]", [1, 2])
    expect(root.locator(".sdw-map-over")).to_have_text("green")
    # the brush, and the eraser's class 0
    root.locator("[data-value=eraser]").click()
    drag(stage, (0.7, 0.5), (0.8, 0.5))
    notebook.wait_until("int(drawing.map[24, 48])", 0)
    keep_screenshot(root, "labelmap")
    # by keys: the class of a pixel is taken, and painted elsewhere
    board.focus()
    for key in ("b", "Home", "PageUp", "Space", "."):
        board.press(key)
    board.press("p")
    expect(root.locator(".sdw-pt-live")).to_contain_text("In hand")
    undos = notebook.ask("drawing.undos")
    board.press("z")
    notebook.wait_until("drawing.undos", undos - 1)
    board.press("Delete")
    notebook.wait_until("bool(drawing.map.any())", False)
    board.press("z")
    notebook.wait_until("bool(drawing.map.any())", True)
    # an image below it: it can be faded; taken away, the map stays
    notebook.ask("setattr(drawing, 'image', np.full((48, 64, 3), 200, np.uint8))")
    expect(root.locator(".sdw-pt-slider", has_text="opacity")).to_be_visible()
    root.locator("button", has_text="Remove the image").click()
    notebook.wait_until("drawing.image is None")
    assert notebook.ask("bool(drawing.map.any())")
    # in the dark, too, what is painted has its colours
    use_theme(notebook.page, "Dark")
    try:
        pixel = "canvas => [...canvas.getContext('2d').getImageData(20, 20, 1, 1).data]"
        assert root.locator(".sdw-pt-tint").evaluate(pixel) == [
            *notebook.ask("drawing.colours[2]"),
            255,
        ]
    finally:
        use_theme(notebook.page, "Light")
    assert notebook.ask("drawing.problem") == ""
