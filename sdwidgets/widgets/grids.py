"""Images made during a training: a sheet each time, and some sheets are kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..checks import shortened
from ..contract import NUMBERED
from ..errors import ImageError
from ..pictures import as_picture
from ..trace.images import encode_png
from ..trace.thinning import Thinned
from .final import smaller

SLOTS = NUMBERED["grid"]
"""Sheets kept, at most: every n-th from the first on, and the newest."""

LARGEST_SHEET = 28_000
"""Bytes of a sheet, at most; a larger one is kept as JPEG."""

MOST_PICTURES = 256
"""Images on a sheet, at most."""

LONGEST_PROMPT = 200
"""Characters of a prompt on the page, at most."""


def sheet(pictures: Any, columns: int | None = None) -> tuple[Image.Image, int, int]:
    """All images on one sheet, in rows of ``columns``, and the numbers of rows and columns.

    ``pictures``: uint8 [N, H, W, 3] or floats from 0 to 1, or a list of whatever `as_picture`
    takes; all of one size. Without ``columns`` the sheet is about as wide as it is high. Raises
    ImageError.
    """
    pictures = _array(pictures)
    single = isinstance(pictures, Image.Image) or getattr(pictures, "ndim", 4) < 4
    tiles = _tiles([pictures] if single else pictures)
    width, height = tiles[0].size
    columns = min(columns or math.ceil(math.sqrt(len(tiles) * height / width)), len(tiles))
    rows = math.ceil(len(tiles) / columns)
    whole = Image.new("RGB", (columns * width, rows * height))
    for i, tile in enumerate(tiles):
        whole.paste(tile, (i % columns * width, i // columns * height))
    return whole, rows, columns


def _tiles(pictures: Iterable[Any]) -> list[Image.Image]:
    tiles = [as_picture(_array(one))[0] for one in pictures]
    sizes = {tile.size for tile in tiles}
    if len(sizes) != 1 or len(tiles) > MOST_PICTURES:
        raise ImageError(
            f"pictures() gave {len(tiles)} images of {len(sizes)} sizes; "
            f"it must give 1 to {MOST_PICTURES} of one size.",
            parameter="pictures",
        )
    return tiles


def _array(value: Any) -> Any:
    """A tensor as an array; anything else as it is."""
    is_array = hasattr(value, "__array__") and not isinstance(value, Image.Image)
    return np.asarray(value) if is_array else value


def on_page(
    pictures: Any, step: int, columns: int | None, prompts: Sequence[str] = ()
) -> dict[str, Any]:
    """A sheet for the page: its file, its size in pixels and in images, and the step's number.

    The images have ``prompts`` in turn; none if all are empty."""
    whole, rows, columns = sheet(pictures, columns)
    file = smaller({"data": encode_png(whole), "type": "image/png"}, LARGEST_SHEET)
    words = [shortened(prompt, LONGEST_PROMPT) for prompt in prompts]
    count = min(len(words) and rows * columns, MOST_PICTURES) if any(words) else 0
    told = [words[number % len(words)] for number in range(count)]
    about = {"step": step, "size": [*whole.size], "rows": rows, "columns": columns}
    return file | about | {"prompts": told}


class Grids:
    """Which sheets are kept, and the slot of each: a sheet stays in its slot and is sent once."""

    def __init__(self) -> None:
        self._kept: Thinned[int] = Thinned(SLOTS)  # the slots of sheets

    def add(self) -> tuple[int, list[int]]:
        """The slot for another sheet, and the slots that become empty."""
        before = set(self.slots())
        self._kept.make_room()
        slot = min(set(range(SLOTS)) - set(self.slots()))
        self._kept.add(slot)
        return slot, sorted(before - set(self.slots()))

    def slots(self) -> list[int]:
        """The slots with a sheet, oldest first."""
        return list(self._kept.items.values())
