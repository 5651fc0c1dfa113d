"""A colour for each class of a model, the same wherever the class is drawn. No torch."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np
from PIL import ImageColor

RGB = tuple[int, int, int]

COMMON = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "gray", "white")
APART = 0.07
"""How far the colours of other classes are from `COMMON` ones, in OKLab."""

PLASTIC = 1.3247179572447460
"""The real root of x^3 = x + 1. Multiples of 1 / PLASTIC and 1 / PLASTIC^2, modulo 1, fill a square
evenly, however many there are (Roberts, "The unreasonable effectiveness of quasirandom sequences",
2018): they are the hue and the lightness of one class after another."""

LIGHTNESS = (0.46, 0.86)
"""The range of lightness, in which every hue can be told from white and from black."""

MOST_CHROMA = 0.17
"""Of named colours, too: none is so vivid that the others pale beside it."""


def colours(names: Sequence[str]) -> tuple[RGB, ...]:
    """The colour of each class, in sRGB from 0 to 255.

    A class that is called as a colour ("blue") has that colour. The others follow one another in
    the order of the alphabet, so that a class has its colour in whatever order a model lists it.
    The colours are chosen in OKLCH, where equal steps look equal (Ottosson, "A perceptual color
    space for image processing", 2020).
    """
    plain = sorted({name for name in names if name.lower() not in ImageColor.colormap})
    known = dict(zip(plain, filter(_is_free, map(_spread, itertools.count())), strict=False))
    return tuple(known.get(name) or _named(name) for name in names)


def coloured(values: np.ndarray, of: Sequence[RGB]) -> np.ndarray:
    """The classes [H, W] as pixels uint8 [H, W, 3], by the colours of `colours`."""
    return np.array(of, np.uint8).reshape(-1, 3)[values]


@functools.cache
def _spread(i: int) -> RGB:
    least, most = LIGHTNESS
    lightness = least + (most - least) * ((0.5 + i / PLASTIC**2) % 1)
    return _rgb(lightness, 0.15, math.tau * ((i / PLASTIC) % 1))


@functools.cache
def _is_free(colour: RGB) -> bool:
    """Whether a colour is none of those that a class is likely to be called as."""
    lab = _oklab(colour)
    return all(math.dist(lab, _oklab(_named(name))) > APART for name in COMMON)


@functools.cache
def _named(name: str) -> RGB:
    lightness, a, b = _oklab(ImageColor.getrgb(name.lower())[:3])
    chroma = math.hypot(a, b)
    return _rgb(lightness, min(chroma, MOST_CHROMA), math.atan2(b, a))


# Ottosson's matrices: linear sRGB to the cones' responses, and these to lightness and two hues.
_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def _oklab(rgb: Sequence[int]) -> tuple[float, float, float]:
    encoded = np.array(rgb) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    lightness, a, b = _LAB @ np.cbrt(_CONES @ linear)
    return float(lightness), float(a), float(b)


def _rgb(lightness: float, chroma: float, hue: float) -> RGB:
    """The colour in sRGB; where a screen cannot show it, the nearest that is less vivid."""
    while True:
        lab = np.array([lightness, chroma * math.cos(hue), chroma * math.sin(hue)])
        linear = np.linalg.solve(_CONES, np.linalg.solve(_LAB, lab) ** 3)
        if chroma < 0.001 or (linear.min() >= -0.001 and linear.max() <= 1.001):
            break
        chroma *= 0.95
    linear = linear.clip(0, 1)
    encoded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = np.rint(encoded * 255).astype(int).tolist()
    return red, green, blue
