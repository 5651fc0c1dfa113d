"""The small image to enlarge: how it comes, and what it is compared with."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdwidgets.widgets.low_res import SIDE, LowResolution


def ramp(width: int, height: int) -> Image.Image:
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([32 * rows % 256, 32 * columns % 256, rows * columns % 256], -1)
    return Image.fromarray(pixels.astype(np.uint8))


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def pixels(image: Image.Image) -> list[Any]:
    return np.asarray(image).tolist()


def test_it_is_shown_enlarged_and_then_beside_the_result() -> None:
    view = LowResolution()
    image, made = ramp(8, 4), ramp(32, 16)
    view.show(image, 4)
    assert view.note == "8 x 4 pixels, to 32 x 16"
    assert pixels(opened(view.small)) == pixels(image) and view.after == b""
    wanted = image.resize((32, 16), Image.Resampling.BICUBIC)
    assert pixels(opened(view.before)) == pixels(wanted)
    view.compare(ramp(8, 4), made)
    assert view.after == b""  # of another image
    view.compare(image, made)
    assert pixels(opened(view.after)) == pixels(made)
    view.show(image, 4)
    assert view.after != b""
    view.show(ramp(8, 8), 4)
    assert view.after == b""
    view.show(None, 4)
    assert (view.small, view.before, view.note) == (b"", b"", "")


def test_large_images_are_shown_smaller() -> None:
    view = LowResolution()
    view.show(ramp(600, 300), 4)
    assert opened(view.before).size == opened(view.small).size == (SIDE, SIDE // 2)
    assert view.note == "600 x 300 pixels, to 2400 x 1200"


def test_a_person_opens_removes_and_reuses() -> None:
    taken: list[Any] = []
    results: list[Image.Image] = []
    view = LowResolution(taken.append, lambda: results[-1] if results else None)
    view._receive({"kind": "last"}, [])
    assert taken == []
    results.append(ramp(4, 4))
    view._receive({"kind": "last"}, [])
    assert taken == results
    file = io.BytesIO()
    ramp(6, 5).save(file, "png")
    data = file.getvalue()
    message = {"kind": "file", "name": "a.png", "size": len(data), "part": 0, "parts": 1}
    view._receive(message, [data])
    assert taken[-1].size == (6, 5)
    view._receive({"kind": "drop"}, [])
    assert taken[-1] is None
    view._receive({**message, "size": 3}, [b"abc"])
    assert "image" in view.problem and len(taken) == 3


@pytest.mark.parametrize("message", [None, {"kind": 3}, {"kind": "file"}, {"kind": "use"}])
def test_malformed_messages_change_nothing(message: Any) -> None:
    taken: list[Any] = []
    view = LowResolution(taken.append)
    view._receive(message, [])
    assert taken == [] and view.problem == ""
