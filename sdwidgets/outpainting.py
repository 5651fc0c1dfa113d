"""Outpainting: an image on a larger canvas, and which pixels of the canvas are new. No torch.

A run is given the image and ``pad``, the pixels of new area on its left, top, right and bottom. The
canvas and its masks are made from these, so they never have to be given or recorded.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageOps

from .errors import InputError

Pad: TypeAlias = tuple[int, int, int, int]
"""Pixels of new area: left, top, right, bottom."""

OVERLAP = 4
"""Latent cells of the image, beside each new area, that are repainted too: the seam."""


class Layout(NamedTuple):
    """Where an image lies on its canvas: the image's ``size`` and the ``pad`` around it."""

    size: tuple[int, int]
    pad: Pad

    @property
    def canvas(self) -> tuple[int, int]:
        """(width, height) of the canvas."""
        left, top, right, bottom = self.pad
        return self.size[0] + left + right, self.size[1] + top + bottom


def laid_out(
    size: tuple[int, int],
    pad: Pad,
    width: int | None = None,
    height: int | None = None,
    *,
    factor: int = 1,
) -> Layout:
    """The layout of an image of ``size`` with ``pad`` around it.

    ``width`` and ``height`` are the canvas's, in multiples of ``factor``. Without them, the image
    keeps its size; with one of them, its shape. Sides of the canvas that are not given are rounded
    up to multiples of ``factor``, at the right or the bottom, unless only the left or the top is
    padded. Raises InputError if the pad leaves no room for the image.
    """
    given = (width, height)
    inner: list[int | None] = [
        None if side is None else side - pad[axis] - pad[axis + 2]
        for axis, side in enumerate(given)
    ]
    for axis, side in enumerate(inner):
        if side is not None and side < 1:
            name = ("width", "height")[axis]
            raise InputError(
                f"pad takes {pad[axis] + pad[axis + 2]} pixels of a {name} of {given[axis]}: "
                "no room is left for the image.\n"
                f"Give a smaller pad, or a larger {name}; without one, the image keeps its size.",
                parameter="pad",
            )
    for axis, side in enumerate(inner):
        if side is None:
            other = inner[1 - axis] if given[1 - axis] is not None else None
            scale = 1 if other is None else other / size[1 - axis]
            inner[axis] = max(round(size[axis] * scale), 1)
    rounded = list(pad)
    for axis, side in enumerate(inner):
        assert side is not None
        more = -(side + pad[axis] + pad[axis + 2]) % factor
        first = pad[axis] > 0 and pad[axis + 2] == 0
        rounded[axis if first else axis + 2] += more
    return Layout((inner[0] or 1, inner[1] or 1), tuple(rounded))  # type: ignore[arg-type]


def canvas(image: Image.Image, pad: Pad) -> Image.Image:
    """The image with its edges continued into the new area."""
    left, top, right, bottom = pad
    return Image.fromarray(
        np.pad(np.asarray(image), ((top, bottom), (left, right), (0, 0)), mode="edge")
    )


def new_area(size: tuple[int, int], pad: Pad, mask: Image.Image | None = None) -> Image.Image:
    """The canvas's mask in mode L: 255 in the new area and where ``mask``, the image's, is 255."""
    inside = Image.new("L", size) if mask is None else mask
    return ImageOps.expand(inside, pad, fill=255)


def blended(
    size: tuple[int, int], pad: Pad, mask: Image.Image | None = None, *, overlap: int
) -> Image.Image:
    """`new_area` with a seam: from 254 to 0 across the ``overlap`` pixels of the image beside it.

    So only what is new has 255. The curve is a half cosine, which begins and ends flat. The overlap
    is at most a quarter of the image's side. Of several seams, the highest value counts.
    """
    width, height = size
    across = _seam(width, pad[0], pad[2], min(overlap, width // 4))
    down = _seam(height, pad[1], pad[3], min(overlap, height // 4))
    seams = np.maximum(across[None, :], down[:, None])
    levels = np.rint(254 * seams).astype(np.uint8)
    if mask is not None:
        levels = np.maximum(levels, np.asarray(mask))
    return new_area(size, pad, Image.fromarray(levels))


def _seam(side: int, before: int, after: int, overlap: int) -> np.ndarray:
    """[side] in [0, 1]: how much of each pixel along a side of the image is repainted."""
    place = np.arange(side) + 0.5
    distances = [d for d, new in ((place, before), (side - place, after)) if new]
    nearest = np.minimum.reduce(distances) if distances and overlap else np.full(side, np.inf)
    share = np.minimum(nearest / max(overlap, 1), 1)
    return (1 + np.cos(np.pi * share)) / 2
