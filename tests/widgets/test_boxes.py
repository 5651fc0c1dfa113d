"""Boxes without a browser: their traits, and what pages say to them."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from random_values import anything

from sdwidgets.errors import InputError
from sdwidgets.palette import colours
from sdwidgets.widgets import Boxes

NAMES = ("blue", "cat", "dog")
CAT = ("cat", (0.1, 0.2, 0.5, 0.9))
DOG = ("dog", (0.4, 0.1, 0.9, 0.8))
WHOLE = ("blue", (0.0, 0.0, 1.0, 1.0))


@pytest.fixture
def layout() -> Iterator[Boxes]:
    layout = Boxes([WHOLE, CAT], NAMES)
    yield layout
    layout.close()


def say(layout: Boxes, drawn: Any, **more: Any) -> None:
    """Change the boxes, as a page does."""
    message = {"kind": "boxes", "page": "page", "number": 1, "boxes": drawn} | more
    layout._handle_custom_msg(message, [])


def test_boxes_are_a_list_of_names_and_corners(layout: Boxes) -> None:
    assert layout.boxes == [WHOLE, CAT]
    assert (layout.classes, layout.width, layout.height) == (NAMES, 128, 128)
    assert [tuple(colour) for colour in layout.colours] == [*colours(NAMES)]
    assert repr(layout) == "Boxes: blue, cat"
    assert repr(Boxes()) == "Boxes: none yet"


def test_without_classes_any_name_will_do() -> None:
    layout = Boxes([("a cup of tea", [0, 0, 0.5, 1])])
    assert layout.boxes == [("a cup of tea", (0.0, 0.0, 0.5, 1.0))]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ([("cow", (0, 0, 1, 1))], "'cow' is no class"),
        ([("cat", (0, 0, 1, 1.1))], "within the image"),
        ([("cat", (-0.1, 0, 1, 1))], "within the image"),
        ([("cat", (0, 0, float("nan"), 1))], "within the image"),
        ([("cat", (0.5, 0, 0.5, 1))], "no area"),
        ([[CAT], [DOG]], "must be"),
        ([("cat", (0, 0, 1))], "must be a list"),
        ([("", (0, 0, 1, 1))], "must be a list"),
        ([(0, 0, 1, 1)], "must be a list"),
        ([CAT] * 31, "At most 30"),
        ("cat", "must be a list"),
        (None, "must be a list"),
    ],
)
def test_what_is_no_box_is_refused(layout: Boxes, given: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        layout.boxes = given
    assert layout.boxes == [WHOLE, CAT]


def test_changes_are_undone_and_done_again(layout: Boxes) -> None:
    layout.boxes = [DOG]
    layout.clear()
    layout.undo()
    assert layout.boxes == [DOG]
    layout.undo()
    assert (layout.boxes, layout.redos) == ([WHOLE, CAT], 2)
    layout.redo()
    assert layout.boxes == [DOG]


def test_boxes_of_classes_that_go_go_with_them(layout: Boxes) -> None:
    layout.classes = ["dog", "cat"]
    assert (layout.boxes, layout.undos, len(layout.colours)) == ([CAT], 0, 2)
    layout.undo()
    assert layout.boxes == [CAT]


def test_a_page_draws(layout: Boxes) -> None:
    say(layout, [["blue", [0, 0, 1, 1]], ["dog", [0.4, 0.1, 0.9, 0.8]]], number=4)
    assert (layout.boxes, layout.stamp, layout.undos) == ([WHOLE, DOG], ["page", 4], 2)
    say(layout, [["blue", [0, 0, 1, 1]], ["cat", [0.1, 0.2, 0.5, 0.9]]], number=5)  # undone
    assert (layout.boxes, layout.undos, layout.redos) == ([WHOLE, CAT], 1, 1)
    layout._handle_custom_msg({"kind": "redo"}, [])
    assert (layout.boxes, layout.stamp) == ([WHOLE, DOG], ["", 0])


def test_a_change_of_nothing_is_answered(layout: Boxes) -> None:
    say(layout, [list(WHOLE), list(CAT)], number=6)
    assert (layout.undos, layout.stamp) == (1, ["page", 6])


@pytest.mark.parametrize(
    "wrong", [{"boxes": [["cow", [0, 0, 1, 1]]]}, {"boxes": 3}, {"page": ""}, {"number": None}]
)
def test_malformed_boxes_are_ignored(layout: Boxes, wrong: dict[str, Any]) -> None:
    say(layout, [list(DOG)], **wrong)
    assert (layout.boxes, layout.problem) == ([WHOLE, CAT], "")


def test_nonsense_is_ignored(layout: Boxes) -> None:
    dice = random.Random(0)
    kinds = ("file", "boxes", "image", "drop", "nothing")
    for _ in range(200):
        message = anything(dice)
        if dice.random() < 0.7:
            message = {
                "kind": dice.choice(kinds),
                "boxes": anything(dice),
                "page": "p",
                "number": 1,
            }
        layout._handle_custom_msg(message, dice.choice([[], [b"x"], None]))
    layout.set_state({"boxes": [], "classes": ["x"], "most": 0})
    assert layout.boxes in ([WHOLE, CAT], [])  # an empty list is one of boxes
    assert (layout.classes, layout.most) == (NAMES, 30)


def test_the_sheet_has_the_shape_of_its_image(layout: Boxes) -> None:
    layout.size = (64, 32)
    assert (layout.width, layout.height) == (64, 32)
    layout.image = Image.new("RGB", (20, 10), "red")
    assert (layout.width, layout.height, layout.boxes) == (20, 10, [WHOLE, CAT])
    layout.image = None
    assert (layout.width, layout.height, layout.picture) == (64, 32, b"")


@pytest.mark.parametrize("options", [{"size": (16,)}, {"most": 0}, {"classes": "cat"}])
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        Boxes(**options)


def test_a_host_without_widgets_sees_the_boxes(layout: Boxes) -> None:
    layout.boxes = [("cat", (0.25, 0.25, 0.75, 0.75))]
    shown = Image.open(io.BytesIO(layout._still() or b""))
    assert max(shown.size) >= 384
    width, height = shown.size
    assert shown.getpixel((width // 2, height // 4 + 1)) == colours(NAMES)[1]
    assert shown.getpixel((width // 2, height // 2)) == (255, 255, 255)
