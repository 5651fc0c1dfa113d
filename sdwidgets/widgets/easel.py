"""The Studio's Painter: it opens when it is asked for, and paints what the next run changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from ..errors import InputError
from ..pictures import fitted
from ..settings import LIMITS
from ..trace.trace import Trace
from .alone import Alone
from .painter import NO_PAD, Painter
from .setting import RunSettings

TIED = ("image", "mask", "pad", "fit", "width", "height")
"""The settings that the Painter follows."""

LARGEST = LIMITS["width"][1]
"""Pixels along a side of the largest image."""

CHANGED = 0.1
"""The share of the full range by which a pixel differs between two images that counts as changed,
until somebody moves the threshold."""


class Easel:
    """A Painter on the start image as the run begins from it, tied to its mask and its new area.

    It paints in the run's own pixels: once something is painted, the start image is the one that is
    on show, at the run's size. ``settings``: the Studio's. ``lock``: held while either changes.
    ``place`` shows the Painter, or nothing.
    """

    def __init__(
        self,
        settings: RunSettings,
        lock: threading.RLock,
        place: Callable[[Painter | None], object],
    ) -> None:
        self.painter: Painter | None = None
        self._settings, self._lock, self._place = settings, lock, place
        self._alone = Alone(lock)
        self._shown: tuple[Any, ...] = ()  # of what the image on show was made
        settings.observe(lambda _: self._follow(), list(TIED))

    def open(self) -> None:
        """Open the Painter on the start image. Raises InputError without one."""
        with self._lock:
            if self.painter is not None:
                return
            self._check_image()
            painter = Painter(part=True)
            painter._lock = self._lock  # one lock for both, so that neither waits for the other
            self.painter, self._shown = painter, ()
            self._follow()
            painter.observe(self._take, ["image", "mask", "pad"])
        self._place(painter)

    def close(self) -> None:
        """Close the Painter; what was painted stays."""
        with self._lock:
            painter, self.painter = self.painter, None
        if painter is not None:
            painter.unobserve(self._take, ["image", "mask", "pad"])
            self._place(None)
            painter.close()

    def take_word(self, trace: Trace, word: str) -> None:
        """Make a mask of where a word of a run looked. Raises InputError for what is no word."""
        self._take_map(trace.heat_map(word, scale="picture"), 0.5)

    def take_change(self, before: Image.Image, after: Image.Image) -> None:
        """Make a mask of where two images differ; of another size, the first is resized."""
        one, other = (
            np.asarray(image.convert("RGB").resize(after.size), np.float32)
            for image in (before, after)
        )
        self._take_map(np.abs(one - other).max(-1) / 255, CHANGED)

    def _take_map(self, values: np.ndarray, threshold: float) -> None:
        self.open()
        assert self.painter is not None
        self.painter.take_map(values, threshold)

    def _check_image(self) -> None:
        if self._settings.image is None:
            raise InputError(
                "There is no start image to paint on.\nOpen one, or use the last result.",
                parameter="image",
            )

    def _follow(self) -> None:
        """Show the start image, its mask and its new area."""
        painter, now = self.painter, self._settings
        if painter is None:
            return
        if now.image is None:
            self.close()
            return
        with self._alone() as first:
            size = inside(now)
            if not first or size is None:
                return
            mask = now.mask if now.mask is not None and now.mask.size == now.image.size else None
            image, mask, _ = fitted(now.image, mask, *size, now.fit)
            made_of = now.image, size, now.fit
            if made_of == self._shown:
                painter.mask = mask
            else:
                painter.show(image, mask)
                self._shown = made_of
            painter.pad = now.pad or NO_PAD

    def _take(self, change: Any) -> None:
        """Take what was painted, or an image that was dropped on the Painter."""
        painter, now = self.painter, self._settings
        with self._alone() as first:
            if not first or painter is None:
                return
            if change.name == "image":
                now.image = painter.image
                now.mask = now.pad = None
                self._shown = ()
            else:
                if now.image is not None and now.image.size != painter.image.size:
                    now.image = painter.image
                now.mask = painter.mask
                now.pad = None if painter.pad == NO_PAD else painter.pad
                self._shown = now.image, inside(now), now.fit
        if change.name == "image":
            self._follow()


def inside(settings: RunSettings) -> tuple[int, int] | None:
    """(width, height) of the start image in a run: the run's own, less the new area around it.

    None for sizes that no image has.
    """
    left, top, right, bottom = settings.pad or NO_PAD
    width, height = settings.width - left - right, settings.height - top - bottom
    return (width, height) if 0 < width <= LARGEST and 0 < height <= LARGEST else None
