"""Masks that are painted: their bytes, their history, the latent cells that they free. No torch.

A mask is an array uint8 [H, W] at its image's size: 255 is painted over again, 0 is kept, and
between them it is feathered.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageFilter

from . import checks, pictures
from .contract import PAINTER
from .errors import ImageError, InputError
from .outpainting import OVERLAP, blended, laid_out
from .outpainting import Pad as Pad
from .settings import FITS

HOW: tuple[str, ...] = PAINTER["how"]
"""What a map does to the mask that is there: replaces it, adds to it, or subtracts from it."""


def packed(values: np.ndarray) -> bytes:
    """The values, uint8 [H, W], as zlib's bytes; the same for the same values."""
    return zlib.compress(np.ascontiguousarray(values, np.uint8).tobytes(), 1)


def unpacked(data: bytes, width: int, height: int) -> np.ndarray:
    """The values uint8 [height, width] in bytes from `packed`, or from a page.

    Raises InputError for bytes of anything else; no more than these values are ever unpacked.
    """
    size = width * height
    reader = zlib.decompressobj()
    try:
        values = reader.decompress(data, size + 1)
    except zlib.error:
        values = b""
    if len(values) != size or not reader.eof:
        raise InputError(f"These are not the bytes of {width} x {height} values.")
    return np.frombuffer(values, np.uint8).reshape(height, width)


def as_levels(value: np.ndarray, width: int, height: int) -> np.ndarray:
    """A map [h, w] of values from 0 to 1 as levels uint8 [height, width].

    Booleans count as 0 and 1. A map of another size is resized, bilinear. Raises ImageError.
    """
    given = np.asarray(value)
    if given.ndim != 2 or 0 in given.shape or given.dtype.kind not in "bf":
        raise ImageError(
            f"A map must be an array [H, W] of floats from 0 to 1, got {given.dtype} of shape "
            f"{[*given.shape]}.",
            parameter="map",
        )
    low, high = float(given.min()), float(given.max())
    if not (low >= 0 and high <= 1):  # NaN is not
        raise ImageError(
            f"A map must be between 0 and 1; this has {low:g} to {high:g}.\n"
            "Divide it by its greatest possible value.",
            parameter="map",
        )
    levels = Image.fromarray(given.astype(np.float32))
    if levels.size != (width, height):
        levels = levels.resize((width, height), Image.Resampling.BILINEAR)
    return np.rint(np.clip(np.asarray(levels), 0, 1) * 255).astype(np.uint8)


def selected(levels: np.ndarray, threshold: float, how: str, under: np.ndarray) -> np.ndarray:
    """The mask uint8 [H, W] where a map, in levels [H, W], reaches ``threshold``, 0 to 1.

    ``how``: what that does to the mask ``under`` it, one of `HOW`.
    """
    there = levels >= math.ceil(threshold * 255)
    if how == "subtract":
        return np.where(there, np.uint8(0), under)
    return np.where(there, np.uint8(255), np.uint8(0) if how == "replace" else under)


def feathered(mask: np.ndarray, radius: float) -> np.ndarray:
    """The mask uint8 [H, W] with soft edges: a Gaussian blur, which reaches about ``radius`` pixels
    in and out (two standard deviations)."""
    checks.real("radius", radius, 0, PAINTER["feather"])
    return np.asarray(Image.fromarray(mask).filter(ImageFilter.GaussianBlur(radius / 2)))


def cells(
    mask: np.ndarray | None,
    image: tuple[int, int],
    *,
    size: tuple[int, int] | None = None,
    fit: str = FITS[0],
    factor: int = 8,
    pad: Pad | None = None,
) -> np.ndarray:
    """How much a run paints over each latent cell: float32 [h, w], 0 (kept) to 1.

    A cell is ``factor`` x ``factor`` pixels, and has the most of them. The mask is that of a run:
    at its ``size`` (as `pictures.fitted`; None is the image's own), or with ``pad`` around the
    image, on the canvas of `outpainting`, whose seam is between 0 and 1. Pixels beyond the last
    whole cell belong to none.
    """
    made = Image.fromarray(np.zeros(image[::-1], np.uint8) if mask is None else mask)
    made = pictures.as_mask(made)
    if pad is not None and any(pad):
        made = blended(
            image, laid_out(image, pad, factor=factor).pad, made, overlap=OVERLAP * factor
        )
    elif size is not None and size != image:
        made = pictures.resized_mask(made, size, fit)
    h, w = made.height // factor, made.width // factor
    whole = np.asarray(made)[: h * factor, : w * factor].reshape(h, factor, w, factor)
    return (whole.max((1, 3), initial=0) / np.float32(255)).astype(np.float32)


@dataclass
class History:
    """The masks of an image, packed, oldest first, and which of them is shown.

    A mask that equals its neighbour in the history goes to that one: a page that undoes says only
    what the mask is now.
    """

    states: list[bytes] = field(default_factory=lambda: [b""])
    at: int = 0

    def add(self, state: bytes, *, again: bool = False) -> None:
        """Take the mask after a change. ``again``: in place of the last one, if that is shown."""
        if state == self.states[self.at]:
            return
        if self.at > 0 and state == self.states[self.at - 1]:
            self.at -= 1
        elif self.at + 1 < len(self.states) and state == self.states[self.at + 1]:
            self.at += 1
        elif again and self.at == len(self.states) - 1 > 0:
            self.states[self.at] = state
        else:
            self.states = [*self.states[: self.at + 1], state]
            self.at += 1
            self._forget()

    def _forget(self) -> None:
        """Let the oldest go where they are many, or large."""
        most, room = PAINTER["undo"], PAINTER["history"]
        while self.at > 1 and (self.at > most or sum(map(len, self.states)) > room):
            del self.states[0]
            self.at -= 1

    @property
    def undos(self) -> int:
        """How many changes can be undone."""
        return self.at

    @property
    def redos(self) -> int:
        """How many can be redone."""
        return len(self.states) - 1 - self.at

    def move(self, by: int) -> bytes | None:
        """Go back (-1) or forth (1) by one; return the mask there, or None if there is none."""
        to = self.at + by
        if not 0 <= to < len(self.states):
            return None
        self.at = to
        return self.states[to]
