"""The colours of classes."""

from __future__ import annotations

import random

import numpy as np
import pytest

from sdwidgets import palette, scenes


def test_a_class_has_its_colour_in_whatever_order_it_is_listed() -> None:
    names = [*scenes.COLORS, *scenes.OBJECTS]
    known = dict(zip(names, palette.colours(names), strict=True))
    random.Random(0).shuffle(names)
    assert dict(zip(names, palette.colours(names), strict=True)) == known


def test_a_class_that_is_called_as_a_colour_has_it() -> None:
    red, green, blue, white, black = palette.colours(["red", "Green", "blue", "white", "black"])
    assert max(red) == red[0] and max(green) == green[1] and max(blue) == blue[2]
    assert (white, black) == ((255, 255, 255), (0, 0, 0))


def test_no_other_class_looks_as_a_colour_that_another_is_called() -> None:
    names = [*scenes.COLORS, *scenes.OBJECTS]
    made = np.array(palette.colours(names), float)
    named, others = made[: len(scenes.COLORS)], made[len(scenes.COLORS) :]
    apart = np.linalg.norm(named[:, None] - others[None], axis=-1)
    assert apart.min() > 20


@pytest.mark.parametrize("count", [2, 20, 40, 182, 256])
def test_no_two_classes_have_the_same_colour(count: int) -> None:
    made = palette.colours([f"class {i}" for i in range(count)])
    assert len(set(made)) == count
    assert all(0 <= value <= 255 for colour in made for value in colour)


def test_a_map_is_coloured_by_its_classes() -> None:
    colours = palette.colours(["cat", "dog"])
    pixels = palette.coloured(np.array([[0, 1], [1, 0]], np.uint8), colours)
    assert pixels.dtype == np.uint8
    assert [tuple(pixel) for pixel in pixels.reshape(-1, 3)] == [*colours, *colours[::-1]]
