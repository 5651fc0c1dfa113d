"""Small images of a sweep's points: one by one for pages, all on a sheet for the saved state."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Sequence
from typing import Any

from PIL import Image

from ..contract import SWEEP_LIMITS
from ..sweep.results import Result
from .final import jpeg

SIDES = ((100, 216), (1_000, 160), (math.inf, 96))
"""Pixels along the longer side of a small image, for at most so many points."""

TILES = (128, 96, 72, 56, 40, 28, 20, 14, 10)
"""The same on the sheet: the largest with which all fit."""

LARGEST = 4096
"""Pixels along a side of the sheet; some browsers draw no larger images."""

QUALITIES = (80, 65, 50, 35)


class Thumbnails:
    """The small images of the points of a sweep, each made when it is first needed.

    Any thread may use it.
    """

    def __init__(self, count: int):
        self._side = next(side for most, side in SIDES if count <= most)
        self._lock = threading.Lock()
        self._files: dict[int, bytes] = {}

    def of(self, result: Result) -> bytes:
        """A JPEG of a result's image."""
        with self._lock:
            found = self._files.get(result.index)
        if found is None:
            found = jpeg(result.image, self._side)
            with self._lock:
                self._files[result.index] = found
        return found

    def forget(self, index: int) -> None:
        """Drop the image of a point, which is made again."""
        with self._lock:
            self._files.pop(index, None)

    def sheet(self, results: Sequence[Result], count: int, shape: Sequence[int]) -> dict[str, Any]:
        """All images in one: its JPEG as ``data`` and the number of ``columns``; {} without any.

        Each point has a tile, in grid order. ``shape``: width and height of an image, of which the
        tiles have the proportions. It has at most ``SWEEP_LIMITS["saved"]`` bytes.
        """
        if not results:
            return {}
        columns = math.ceil(math.sqrt(count))
        rows = math.ceil(count / columns)
        for side in TILES:
            width = max(round(side * min(shape[0] / shape[1], 1)), 1)
            height = max(round(side * min(shape[1] / shape[0], 1)), 1)
            # each byte is at least a few pixels: larger sheets need not be tried
            if columns * width * rows * height > 16 * SWEEP_LIMITS["saved"]:
                continue
            if max(columns * width, rows * height) > LARGEST:
                continue
            sheet = Image.new("RGB", (columns * width, rows * height), "grey")
            for result in results:
                with Image.open(io.BytesIO(self.of(result))) as small:
                    small.draft("RGB", (width, height))
                    small.thumbnail((width, height))
                    left = result.index % columns * width + (width - small.width) // 2
                    top = result.index // columns * height + (height - small.height) // 2
                    sheet.paste(small, (left, top))
            for quality in QUALITIES:
                file = io.BytesIO()
                sheet.save(file, "JPEG", quality=quality)
                if file.tell() <= SWEEP_LIMITS["saved"]:
                    return {"data": file.getvalue(), "columns": columns}
        return {}
