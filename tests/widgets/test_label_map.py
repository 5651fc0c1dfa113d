"""A label map without a browser: its traits, and what pages say to it."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from random_values import anything

from sdwidgets.errors import ImageError, InputError
from sdwidgets.painting import packed
from sdwidgets.palette import colours
from sdwidgets.widgets import LabelMap

WIDTH, HEIGHT = 12, 8
NAMES = ("blue", "cat", "dog")


@pytest.fixture
def drawing() -> Iterator[LabelMap]:
    drawing = LabelMap(classes=NAMES, size=(WIDTH, HEIGHT))
    yield drawing
    drawing.close()


def some() -> np.ndarray:
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[2:5, 3:9] = 2
    return values


def paint(drawing: LabelMap, x: int, y: int, values: np.ndarray, **more: Any) -> None:
    """Paint a box of classes, as a page does."""
    height, width = values.shape
    message = {"kind": "map", "page": "page", "number": 1, "image": drawing.shown, "last": True}
    message |= {"box": [x, y, width, height]} | more
    drawing._handle_custom_msg(message, [packed(values)])


def test_class_0_is_everywhere_at_first(drawing: LabelMap) -> None:
    assert (drawing.map.shape, drawing.map.dtype, drawing.map.any()) == ((8, 12), np.uint8, False)
    assert (drawing.width, drawing.height, drawing.painted, drawing.undos) == (12, 8, b"", 0)
    assert [tuple(colour) for colour in drawing.colours] == [*colours(NAMES)]
    assert repr(drawing) == "LabelMap: 12 x 8, blue"


@pytest.mark.parametrize("kind", [bool, np.int64, np.float32, np.uint8])
def test_a_map_of_any_whole_numbers_is_kept(drawing: LabelMap, kind: Any) -> None:
    values = (some() > 0).astype(kind)
    drawing.map = values
    values[:] = 1  # its own copy
    assert np.array_equal(drawing.map, some() // 2)
    assert repr(drawing) == "LabelMap: 12 x 8, blue, cat"
    with pytest.raises(ValueError, match="read-only"):
        drawing.map[0, 0] = 1


def test_a_grey_image_is_a_map(drawing: LabelMap) -> None:
    drawing.map = Image.fromarray(some())
    assert np.array_equal(drawing.map, some())


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (np.full((8, 12), 3), "0 to 2"),
        (np.full((8, 12), -1), "0 to 2"),
        (np.full((8, 12), 0.5), "whole numbers"),
        (np.full((8, 12), np.nan), "whole numbers"),
        (np.zeros((8, 12, 3)), r"\[H, W\]"),
        (np.zeros((0, 4)), r"\[H, W\]"),
        (np.zeros((1, 5000)), "4096"),
        ("a map", r"\[H, W\]"),
    ],
)
def test_what_is_no_map_is_refused(drawing: LabelMap, given: Any, why: str) -> None:
    with pytest.raises(ImageError, match=why):
        drawing.map = given
    assert not drawing.map.any()


def test_changes_are_undone_and_done_again(drawing: LabelMap) -> None:
    drawing.map = some()
    drawing.map = some() // 2
    drawing.clear()
    assert (drawing.map.any(), drawing.undos) == (False, 3)
    drawing.undo()
    drawing.undo()
    assert np.array_equal(drawing.map, some())
    drawing.undo()
    drawing.undo()
    assert (drawing.map.any(), drawing.undos, drawing.redos) == (False, 0, 3)
    drawing.redo()
    assert np.array_equal(drawing.map, some())


def test_another_size_keeps_what_is_painted(drawing: LabelMap) -> None:
    drawing.map = some()
    drawing.size = (24, 16)
    assert np.array_equal(drawing.map, some().repeat(2, 0).repeat(2, 1))
    assert (drawing.width, drawing.undos) == (24, 0)
    drawing.map = some()  # of another size again, which the drawing takes
    assert (drawing.size, drawing.width, drawing.height) == ((12, 8), 12, 8)
    assert np.array_equal(drawing.map, some())


def test_over_an_image_the_map_has_its_size(drawing: LabelMap) -> None:
    drawing.map = some()
    drawing.image = Image.new("RGB", (24, 16), "red")
    assert np.array_equal(drawing.map, some().repeat(2, 0).repeat(2, 1))
    with pytest.raises(ImageError, match="24 x 16"):
        drawing.map = some()
    before = drawing.map
    drawing.size = (9, 9)  # for later
    assert drawing.map is before
    drawing.image = None
    assert drawing.map.shape == (9, 9)


def test_classes_keep_their_paint_by_name(drawing: LabelMap) -> None:
    drawing.map = some()
    drawing.classes = ["dog", "sun", "blue"]
    assert np.array_equal(drawing.map, np.where(some() == 2, 0, 2))
    drawing.classes = ["sun"]
    assert not drawing.map.any()
    assert len(drawing.colours) == 1


@pytest.mark.parametrize("given", ["cat", 3, ["cat", ""], ["cat", 1], [f"{i}" for i in range(257)]])
def test_classes_are_checked(drawing: LabelMap, given: Any) -> None:
    with pytest.raises(InputError, match="class"):
        drawing.classes = given
    assert drawing.classes == NAMES


def test_a_page_paints(drawing: LabelMap) -> None:
    paint(drawing, 3, 2, np.full((3, 6), 2, np.uint8), number=7)
    assert np.array_equal(drawing.map, some())
    assert (drawing.stamp, drawing.undos) == (["page", 7], 1)
    # in two bands
    paint(drawing, 0, 0, np.ones((1, 12), np.uint8), number=8, last=False)
    assert drawing.undos == 1
    paint(drawing, 0, 1, np.ones((1, 12), np.uint8), number=8)
    assert drawing.map[:2].all()
    assert (drawing.stamp, drawing.undos) == (["page", 8], 2)
    drawing._handle_custom_msg({"kind": "undo"}, [])
    assert np.array_equal(drawing.map, some())


@pytest.mark.parametrize(
    "wrong",
    [{"image": 9}, {"box": [9, 7, 6, 3]}, {"box": None}, {"page": ""}, {"number": 0}],
)
def test_malformed_paint_is_ignored(drawing: LabelMap, wrong: dict[str, Any]) -> None:
    paint(drawing, 3, 2, np.full((3, 6), 2, np.uint8), **wrong)
    paint(drawing, 3, 2, np.full((3, 6), 3, np.uint8))  # no such class
    assert (drawing.map.any(), drawing.problem, drawing.undos) == (False, "", 0)


def test_a_page_brings_an_image_and_takes_it_away(drawing: LabelMap) -> None:
    file = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(file, "PNG")
    data = file.getvalue()
    message = {"kind": "file", "name": "a.png", "size": len(data), "part": 0, "parts": 1}
    drawing._handle_custom_msg(message, [data])
    assert (drawing.map.shape, drawing.picture[:4]) == ((10, 20), b"\x89PNG")
    drawing._handle_custom_msg({"kind": "drop"}, [])
    assert (drawing.map.shape, drawing.picture) == ((8, 12), b"")


def test_nonsense_is_ignored(drawing: LabelMap) -> None:
    dice = random.Random(0)
    kinds = ("file", "map", "undo", "redo", "image", "drop", "nothing")
    for _ in range(200):
        message = anything(dice)
        if dice.random() < 0.7:
            message = {"kind": dice.choice(kinds), "box": anything(dice), "page": anything(dice)}
        drawing._handle_custom_msg(message, dice.choice([[], [b"x"], None, [b"", b""]]))
    drawing.set_state({"painted": b"x", "classes": ["x"], "map": 3})
    assert (drawing.map.any(), drawing.classes) == (False, NAMES)


def test_a_host_without_widgets_sees_the_classes(drawing: LabelMap) -> None:
    drawing.map = some()
    shown = Image.open(io.BytesIO(drawing._still() or b""))
    blue, _, dog = colours(NAMES)
    assert (shown.getpixel((0, 0)), shown.getpixel((4, 3))) == (blue, dog)
