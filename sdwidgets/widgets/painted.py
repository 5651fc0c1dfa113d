"""What widgets on which somebody paints have in common: a value for every pixel of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets

from .. import checks
from ..errors import InputError
from ..painting import unpacked
from .paper import Paper

Box = tuple[int, int, int, int]


class Painted(Paper):
    """A plane of values uint8 [H, W] that is painted on an image, pixel by pixel."""

    painted = traitlets.Bytes(read_only=True).tag(sync=True)
    """What is painted as `painting.packed` makes it; b"" if nothing is."""

    def __init__(self, part: bool):
        self._values: np.ndarray | None = None  # None: nothing is painted
        self._bands: dict[str, list[tuple[Box, np.ndarray]]] = {}
        super().__init__(part)

    def _whole(self) -> np.ndarray:
        """The values [H, W], also where nothing is painted."""
        if self._values is not None:
            return self._values
        return np.zeros((self.height, self.width), np.uint8)

    def _tell(self, state: bytes) -> None:
        """Bring what the pages read up to date."""
        with self.hold_sync():
            self.set_trait("painted", state)
            self._tell_history()

    def _joined(self, message: dict[str, Any], buffers: Sequence[Any]) -> np.ndarray | None:
        """The values [H, W] after a page has painted in a box; None if more of it is to come.

        A page may send a box in bands; the last of them makes the change.
        """
        box, values = self._band(message, buffers)
        bands = self._bands.pop(str(message["page"]), [])
        bands.append((box, values))
        if message.get("last") is not True:
            self._bands[str(message["page"])] = bands
            return None
        made = self._whole().copy()
        for (x, y, width, height), levels in bands:
            made[y : y + height, x : x + width] = levels
        return made

    def _band(self, message: dict[str, Any], buffers: Sequence[Any]) -> tuple[Box, np.ndarray]:
        box = message.get("box")
        if message.get("image") != self.shown or 0 in (self.width, self.height):
            raise InputError("That image is no longer there.")
        if not isinstance(box, list) or len(box) != 4 or len(buffers) != 1:
            raise InputError("What is painted has a box and its values.")
        x = checks.index("x", box[0], self.width)
        y = checks.index("y", box[1], self.height)
        width = checks.whole("width", box[2], 1, self.width - x)
        height = checks.whole("height", box[3], 1, self.height - y)
        self._author(message)
        return (x, y, width, height), unpacked(bytes(buffers[0]), width, height)
