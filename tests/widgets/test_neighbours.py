"""The list of neighbours: what a person adds, switches and removes, and what is ignored."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdwidgets.widgets.neighbours import NeighboursView


def square(shade: int) -> Image.Image:
    return Image.new("RGB", (8, 8), (shade, 0, 0))


def file(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, "png")
    return written.getvalue()


def sent(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    message = {"kind": "file", "name": "a.png", "size": len(data), "part": 0, "parts": 1}
    return message, [data]


@pytest.fixture
def taken() -> list[Any]:
    return []


@pytest.fixture
def view(taken: list[Any]) -> NeighboursView:
    return NeighboursView(2, taken.append, lambda: square(9))


def shades(images: Any) -> list[int]:
    return [int(np.asarray(image)[0, 0, 0]) for image in images]


def test_files_and_the_last_result_are_added_up_to_the_limit(
    view: NeighboursView, taken: list[Any]
) -> None:
    view._receive(*sent(file(square(3))))
    view._receive({"kind": "last"}, [])
    assert [shades(one) for one in taken] == [[3], [3, 9]]
    view._receive(*sent(file(square(5))))
    assert "at most 2 neighbours" in view.problem and shades(view.used) == [3, 9]
    view._receive({"kind": "use", "id": view.items[0]["id"], "on": False}, [])
    view._receive(*sent(file(square(5))))
    assert view.problem == "" and shades(view.used) == shades(taken[-1]) == [9, 5]
    assert [item["on"] for item in view.items] == [False, True, True]
    view._receive({"kind": "drop", "id": view.items[1]["id"]}, [])
    assert shades(taken[-1]) == [5] and len(view.items) == 2
    view._receive({"kind": "off"}, [])
    assert taken[-1] == () and len(view.items) == 2
    view.close()


def test_images_from_python_are_on_and_the_others_stay_switched_off(
    view: NeighboursView, taken: list[Any]
) -> None:
    first, second = square(1), square(2)
    view.show([first])
    view.show([second])
    assert [item["on"] for item in view.items] == [False, True] and taken == []
    before = view.items
    view.show([second])
    assert view.items is before  # a page draws nothing again
    assert view.items[0]["thumbnail"].startswith(b"\x89PNG")
    assert view.items[0]["note"] == "8 x 8 pixels"


@pytest.mark.parametrize(
    "message",
    [
        None,
        {"kind": ["use"]},
        {"kind": "use"},
        {"kind": "use", "id": "1", "on": True},
        {"kind": "drop", "id": 77},
        {"kind": "file", "name": 3},
        {"kind": "other"},
    ],
)
def test_malformed_messages_change_nothing(view: NeighboursView, message: Any) -> None:
    view.show([square(1)])
    view._receive(message, [])
    assert shades(view.used) == [1] and view.problem == ""


def test_a_file_that_is_no_image_is_refused_in_words(view: NeighboursView) -> None:
    view._receive(*sent(b"no image"))
    assert "image" in view.problem and view.used == ()
