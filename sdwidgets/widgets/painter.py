"""An image to paint a mask on, for inpainting, and new area around it, for outpainting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import traitlets
from PIL import Image

from .. import checks, painting
from ..contract import LIMITS, PAINTER
from ..errors import ImageError, InputError
from ..frontend import Code
from ..painting import HOW, History, Pad, packed, unpacked
from ..pictures import PictureLike, as_soft_mask
from ..settings import FITS
from .painted import Painted
from .paper import Given, file_of

AnyPainter = TypeVar("AnyPainter", bound="Painter")

NO_PAD: Pad = (0, 0, 0, 0)


@dataclass
class Following:
    """A map, in levels [H, W], whose threshold makes the mask; ``how`` it changes the mask
    ``under`` it, and where somebody has painted by ``hand`` since."""

    levels: np.ndarray
    how: str
    under: np.ndarray
    hand: np.ndarray  # bool

    def at(self, threshold: float, now: np.ndarray) -> np.ndarray:
        """The mask at a threshold, where it is ``now`` another."""
        made = painting.selected(self.levels, threshold, self.how, self.under)
        return np.where(self.hand, now, made)


class Painter(Painted):
    """Shows an image to paint a mask on, by pointer, pen, finger or keys.

    The mask is what a run paints over again. It is painted at the image's own size, with a brush,
    an eraser, shapes and fills, or taken from a map. Dragging an edge of the image adds new area.

    Example::

        painter = sdw.Painter("photo.jpg")
        display(painter)

        model.generate("a cat", image=painter.image, mask=painter.mask)

    ``size`` and ``fit`` are those of the run to come; the latent cells on show follow them.
    """

    _esm = Code("painter.js")
    _css = Code("painter.css")
    _asks = "painter"

    image = Given(None, allow_none=True)
    """The image: RGB, upright, without transparency; None without one. It takes whatever
    `PictureLike` has: a PIL image, an array, a path, a file's bytes. A new image has no mask."""

    mask = Given(None, allow_none=True)
    """The mask in mode L at the image's size: 255 is painted over again, 0 is kept, and feathered
    edges are between. None if nothing is painted. It takes an image or an array of that size."""

    pad = Given(NO_PAD).tag(sync=True)
    """New area on the image's left, top, right and bottom, in pixels, 0 to 2048 each."""

    size = Given(None, allow_none=True).tag(sync=True)
    """(width, height) of the run's images; None for the image's own."""

    fit = Given(FITS[0]).tag(sync=True)
    """How an image of another shape is brought to ``size``, one of `settings.FITS`."""

    factor = Given(8).tag(sync=True)
    """Pixels along a side of a latent cell, 1 to 64."""

    # ----------------------------------------------------------------- what the page reads

    mapped = traitlets.Bool(False, read_only=True).tag(sync=True)
    """Whether the mask follows a map, and ``threshold`` with it."""

    threshold = Given(0.5).tag(sync=True)
    """The value, 0 to 1, from which a place of the map is in the mask."""

    def __init__(
        self,
        image: PictureLike | None = None,
        *,
        size: tuple[int, int] | None = None,
        mask: PictureLike | None = None,
        factor: int = 8,
        fit: str = FITS[0],
        part: bool = False,
    ):
        """``part``: it belongs to another widget, with which it is closed."""
        self._map: Following | None = None
        self._again = False
        super().__init__(part)
        self.size, self.fit, self.factor = size, fit, factor
        self.image = image
        if mask is not None:
            self.mask = mask

    # ------------------------------------------------------------------------------ from Python

    def show(
        self: AnyPainter, image: PictureLike | None, mask: PictureLike | None = None
    ) -> AnyPainter:
        """Begin anew with an image and perhaps a mask, and return the widget. Raises ImageError."""
        self._check_process()
        given = self._as_image(image)
        if mask is not None:
            _check_size(given, as_soft_mask(mask))
        with self._lock, self.hold_sync():
            if given == self.image:
                self._lay_out(given)  # setting what is there changes nothing
            else:
                self.image = given
            self.mask = mask
        return self

    def take_map(self, map: np.ndarray, threshold: float = 0.5, how: str = "replace") -> None:
        """Make a mask of the places where a map, floats [H, W] from 0 to 1, reaches ``threshold``.

        Such maps are a word's attention, ``trace.heat_map(word)`` scaled to 1, or where two images
        differ. A map of another size is resized. ``how``: "replace" the mask, "add" to it or
        "subtract" from it. The mask follows ``painter.threshold``, for which the page has a slider,
        except where somebody paints on it; until it is changed as a whole. Raises InputError
        without an image, and ImageError for anything but a map.
        """
        self._check_process()
        checks.choice("how", how, HOW)
        threshold = checks.real("threshold", threshold, 0, 1)
        with self._lock:
            levels = painting.as_levels(map, *self._own_size("map"))
            self._settle()
            self._map = Following(levels, how, self._whole(), np.zeros(levels.shape, bool))
            with self.hold_sync():
                self.threshold = threshold
                self._follow(again=False)
                self.set_trait("mapped", True)

    def invert(self) -> None:
        """Exchange what is painted and what is not. Raises InputError without an image."""
        with self._lock:
            self._own_size("invert")
            self._paint(255 - self._whole())

    def clear(self) -> None:
        """Paint nothing; this can be undone."""
        with self._lock:
            self._paint(None)

    def feather(self, radius: float) -> None:
        """Soften the mask's edges over about ``radius`` pixels, 0 to 200, on both sides of them."""
        with self._lock:
            self._own_size("feather")
            self._paint(painting.feathered(self._whole(), radius))

    @property
    def cells(self) -> np.ndarray | None:
        """How much a run paints over each latent cell, float32 [h, w] from 0 to 1, as
        `painting.cells`; None without an image."""
        with self._lock:
            if self.image is None:
                return None
            return painting.cells(
                self._values,
                self.image.size,
                size=self.size,
                fit=self.fit,
                factor=self.factor,
                pad=self.pad,
            )

    # ------------------------------------------------------------------------------- the values

    def _as_mask(self, value: Any) -> Image.Image | None:
        if value is None:
            return None
        mask = as_soft_mask(value)
        _check_size(self.image, mask)
        return mask if mask.getextrema()[1] else None

    def _as_pad(self, value: Any) -> Pad:
        most = PAINTER["pad"]
        if (
            not isinstance(value, (list, tuple))
            or len(value) != 4
            or not all(checks.is_whole(side) and 0 <= side <= most for side in value)
        ):
            raise InputError(
                f"pad must be four whole numbers from 0 to {most}: left, top, right and bottom; "
                f"got {checks.shown(value)}.",
                parameter="pad",
            )
        left, top, right, bottom = map(int, value)
        return left, top, right, bottom

    def _as_size(self, value: Any) -> tuple[int, int] | None:
        if value is None:
            return None
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise InputError(
                f"size must be (width, height), got {checks.shown(value)}.", parameter="size"
            )
        width, height = (checks.whole("size", side, 1, LIMITS["side"]) for side in value)
        return width, height

    def _as_fit(self, value: Any) -> str:
        return checks.choice("fit", value, FITS)

    def _as_factor(self, value: Any) -> int:
        return checks.whole("factor", value, 1, 64)

    def _as_threshold(self, value: Any) -> float:
        return checks.real("threshold", value, 0, 1)

    @traitlets.observe("image")
    def _new_image(self, change: Any) -> None:
        self._lay_out(change.new)

    def _lay_out(self, image: Image.Image | None) -> None:
        """Begin anew with an image, without a mask."""
        with self._lock, self.hold_sync():
            self._history, self._bands = History(), {}
            self._settle()
            self._show(image, (0, 0) if image is None else image.size)
            self.pad = NO_PAD
            self._values = None
            self.mask = None
            self._tell(b"")
        self._redraw()

    @traitlets.observe("mask")
    def _new_mask(self, change: Any) -> None:
        """Keep the mask that was set, and tell the pages."""
        with self._lock:
            self._values = None if change.new is None else np.asarray(change.new)
            state = b"" if self._values is None else packed(self._values)
            if state != self.painted:
                self._history.add(state, again=self._again)
            self._tell(state)
        self._redraw()

    @traitlets.observe("threshold")
    def _new_threshold(self, _: Any) -> None:
        with self._lock:
            self._follow(again=True)

    def _paint(self, values: np.ndarray | None) -> None:
        """Take a mask, and leave the map."""
        with self.hold_sync():
            self._settle()
            self.mask = None if values is None else Image.fromarray(values)

    def _own_size(self, what: str) -> tuple[int, int]:
        if self.image is None:
            raise InputError(
                "There is no image yet to paint on.\nSet painter.image first.", parameter=what
            )
        return self.width, self.height

    def _return_to(self, state: bytes) -> None:
        self._settle()
        values = unpacked(state, self.width, self.height) if state else None
        self.mask = None if values is None else Image.fromarray(values)
        self._tell(state)

    def _settle(self) -> None:
        """Let the map go: the mask no longer follows its threshold."""
        self._map = None
        self.set_trait("mapped", False)

    def _follow(self, *, again: bool) -> None:
        """Make the mask of the map and its threshold."""
        if self._map is None:
            return
        made = self._map.at(self.threshold, self._whole())
        self._again = again
        try:
            self.mask = Image.fromarray(made)
        finally:
            self._again = False

    # ---------------------------------------------------------------------------- the page

    def _hear_settle(self, *_: Any) -> None:
        with self.hold_sync():
            self._settle()

    def _hear_pad(self, message: dict[str, Any], _: Any) -> None:
        self.pad = message.get("pad")

    def _hear_threshold(self, message: dict[str, Any], _: Any) -> None:
        self.threshold = message.get("threshold")

    def _hear_mask(self, message: dict[str, Any], buffers: Sequence[Any]) -> None:
        made = self._joined(message, buffers)
        if made is None:
            return
        before, at = self._whole(), self._history.at
        with self._from(message):
            self.mask = Image.fromarray(made)
            self._tell(self.painted)  # even if nothing has changed
            if self._history.at < at:  # undone
                self._settle()
            elif self._map is not None:
                self._map.hand |= before != made

    # -------------------------------------------------------------------------------- as output

    _instead = "Send painter.image and painter.mask instead, and make a Painter there."

    def __repr__(self) -> str:
        if self.image is None:
            return "Painter: no image yet"
        share = 0 if self._values is None else (self._values >= 128).mean()
        return f"Painter: {self.width} x {self.height}, {share:.1%} painted over"

    def _still(self) -> bytes | None:
        """The image, tinted where it is painted over."""
        if self.image is None:
            return None
        shown = self.image
        if self._values is not None:
            tint = Image.new("RGB", shown.size, TINT)
            strength = Image.fromarray(self._values).point(lambda level: level * 6 // 10)
            shown = Image.composite(tint, shown, strength)
        return file_of(shown, saved=True, png=True)


TINT = (230, 0, 122)


def _check_size(image: Image.Image | None, mask: Image.Image) -> None:
    if image is None:
        raise InputError(
            "There is no image that the mask belongs to.\nSet painter.image first.",
            parameter="mask",
        )
    if mask.size != image.size:
        raise ImageError(
            f"The mask is {mask.width} x {mask.height}, the image is {image.width} x "
            f"{image.height}.\nGive a mask of the same size as the image.",
            parameter="mask",
        )
