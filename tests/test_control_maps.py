"""Maps for ControlNets, made of any image."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from sdwidgets import ImageError, InputError, control_maps


def square(width: int = 40, height: int = 30) -> Image.Image:
    """Return a white square on black."""
    image = Image.new("RGB", (width, height))
    image.paste("white", (10, 8, 30, 22))
    return image


@pytest.mark.parametrize("has_canny", [True, False])
def test_edges_are_white_on_black(has_canny: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if has_canny:
        pytest.importorskip("skimage")
    else:
        monkeypatch.setitem(sys.modules, "skimage.feature", None)
    found = control_maps.edges(square())
    assert (found.mode, found.size) == ("RGB", (40, 30))
    values = np.asarray(found.convert("L"))
    assert values[9:21, 8:12].max() > 60  # at the left side of the square
    assert values[14:16, 18:22].max() == 0  # inside
    assert values[:4].max() == values[:, :4].max() == values[-4:].max() == 0  # outside, and frame
    flat = control_maps.edges(Image.new("L", (9, 7), 128))
    assert flat.size == (9, 7) and not np.asarray(flat).any()


def test_blur_keeps_the_mean() -> None:
    image = square()
    assert np.array_equal(np.asarray(control_maps.blur(image, 0)), np.asarray(image))
    blurred = np.asarray(control_maps.blur(image, 3)).astype(float)
    assert abs(blurred.mean() - np.asarray(image).mean()) < 5
    assert 0 < blurred[15, 9, 0] < 255


def test_greyscale_has_no_colour() -> None:
    red = control_maps.greyscale(Image.new("RGB", (4, 4), (255, 0, 0)))
    assert red.mode == "RGB" and red.getpixel((0, 0)) == (76, 76, 76)


def test_arguments_are_checked() -> None:
    with pytest.raises(ImageError):
        control_maps.edges("there is no such image.png")
    for wrong in ({"low": -1}, {"high": 2}, {"low": 0.5, "high": 0.4}):
        with pytest.raises(InputError):
            control_maps.edges(square(), **wrong)
    with pytest.raises(InputError, match="radius must be a number from 0 to 1000"):
        control_maps.blur(square(), -1)
