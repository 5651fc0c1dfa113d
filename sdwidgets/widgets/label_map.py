"""Classes painted pixel by pixel, for models that are told a label map."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import traitlets
from PIL import Image

from .. import checks
from ..contract import LIMITS
from ..errors import ImageError, InputError
from ..frontend import Code
from ..painting import History, packed, unpacked
from ..palette import coloured, colours
from ..pictures import PictureLike
from .painted import Painted
from .paper import Given, file_of

MOST_CLASSES = 256

OPACITY = 0.65
"""Of the classes over an image, in outputs without a page."""


class LabelMap(Painted):
    """Shows a map of classes to paint on, by pointer, pen, finger or keys.

    Each pixel has one of ``classes``, by its index. Class 0 is what the eraser leaves. With an
    image, the map has the image's size and lies over it, so that it can be traced.

    Example::

        drawing = sdw.LabelMap(classes=["blue", "cat", "dog"], size=(128, 128))
        display(drawing)

        drawing.map  # uint8 [128, 128]
    """

    _esm = Code("label_map.js")
    _css = Code("label_map.css")
    _asks = "label_map"

    image = Given(None, allow_none=True)
    """An image to paint over, in whatever form `PictureLike` has; None without one. The map takes
    its size."""

    map = Given(None)
    """The class of each pixel, uint8 [H, W], which cannot be written to. It takes whole numbers
    [H, W] below the number of classes, in an array or a grey image; None is class 0 everywhere."""

    classes = Given(()).tag(sync=True)
    """The names of the classes by index, 1 to 256 of them. What is painted keeps its class by
    name; classes that are no longer there become class 0."""

    size = Given((128, 128))
    """(width, height) of the map without an image, in pixels. The map is resized with it."""

    # ----------------------------------------------------------------- what the page reads

    colours: traitlets.List[Any] = traitlets.List(read_only=True).tag(sync=True)
    """The colour of each class, as ``[red, green, blue]`` from 0 to 255."""

    def __init__(
        self,
        map: np.ndarray | Image.Image | None = None,
        classes: Iterable[str] = (),
        size: tuple[int, int] = (128, 128),
        *,
        image: PictureLike | None = None,
        part: bool = False,
    ):
        """``part``: it belongs to another widget, with which it is closed."""
        self._names: tuple[str, ...] = ()  # of the classes that the values are of
        super().__init__(part)
        self.classes = classes
        self.size = size
        self.image = image
        if self.shown == 0:
            self._lay_out()
        if map is not None:
            self.map = map

    def clear(self) -> None:
        """Paint class 0 everywhere; this can be undone."""
        self.map = None

    # ------------------------------------------------------------------------------- the values

    def _as_classes(self, value: Any) -> tuple[str, ...]:
        names = class_names(value)
        if len(names) > MOST_CLASSES:
            raise InputError(
                f"A label map has at most {MOST_CLASSES} classes, got {len(names)}.",
                parameter="classes",
            )
        return names

    def _as_size(self, value: Any) -> tuple[int, int]:
        return sheet_size(value)

    def _as_map(self, value: Any) -> np.ndarray:
        if value is None:
            values = np.zeros((self.height, self.width), np.uint8)
        else:
            values = as_map(value, max(len(self.classes), 1))
        height, width = values.shape
        if self.image is not None and (width, height) != self.image.size:
            raise ImageError(
                f"The map is {width} x {height}, the image is {self.width} x {self.height}.\n"
                "Give a map of the same size as the image.",
                parameter="map",
            )
        values.flags.writeable = False
        return values

    @traitlets.observe("classes")
    def _new_classes(self, _: Any) -> None:
        with self._lock, self.hold_sync():
            before, self._names = self._names, self.classes
            self.set_trait("colours", [[*colour] for colour in colours(self.classes)])
            if self._values is not None:
                to = [self.classes.index(n) if n in self.classes else 0 for n in before or ("",)]
                self._begin_with(np.array(to, np.uint8)[self._values])

    @traitlets.observe("image", "size")
    def _new_sheet(self, change: Any) -> None:
        if change.name == "image" or self.image is None:
            self._lay_out()

    def _lay_out(self) -> None:
        """Begin anew on a sheet of another size or with another image; the map is resized."""
        with self._lock, self.hold_sync():
            width, height = self.size if self.image is None else self.image.size
            before = self._values
            if before is None:
                values = np.zeros((height, width), np.uint8)
            else:
                nearest = Image.Resampling.NEAREST
                values = np.array(Image.fromarray(before).resize((width, height), nearest))
            self._show(self.image, (width, height))
            self._begin_with(values)
        self._redraw()

    def _begin_with(self, values: np.ndarray) -> None:
        """Forget what was painted so far, and begin with these values."""
        self._bands = {}
        self._history = History([_state(values)])
        self.map = values
        self._tell(_state(values))

    @traitlets.observe("map")
    def _new_map(self, change: Any) -> None:
        """Keep the map that was set, and tell the pages."""
        with self._lock, self.hold_sync():
            values = self._values = change.new
            if values.shape != (self.height, self.width):  # there is no image
                self.size = values.shape[::-1]  # resizes the map, which begins anew
                self.map = values
                return
            state = _state(values)
            if state != self.painted:
                self._history.add(state)
            self._tell(state)
        self._redraw()

    def _return_to(self, state: bytes) -> None:
        self.map = unpacked(state, self.width, self.height) if state else None
        self._tell(state)

    def _hear_map(self, message: dict[str, Any], buffers: list[Any]) -> None:
        made = self._joined(message, buffers)
        if made is not None:
            checks.whole("class", int(made.max()), 0, max(len(self.classes), 1) - 1)
            with self._from(message):
                self.map = made
                self._tell(self.painted)  # even if nothing has changed

    # -------------------------------------------------------------------------------- as output

    _instead = "Send its map instead, and make a LabelMap there."

    def __repr__(self) -> str:
        found = {int(value) for value in np.unique(self._whole())}
        named = [self.classes[i] for i in sorted(found) if i < len(self.classes)]
        return f"LabelMap: {self.width} x {self.height}, {checks.shortened(', '.join(named), 80)}"

    def _still(self) -> bytes | None:
        """The map in its colours, over the image."""
        if not self.classes:
            return None
        shown = Image.fromarray(coloured(self._whole(), colours(self.classes)))
        if self.image is not None:
            shown = Image.blend(self.image, shown, OPACITY)
        return file_of(shown, saved=True, png=True)


def _state(values: np.ndarray) -> bytes:
    return packed(values) if values.any() else b""


def as_map(value: Any, classes: int) -> np.ndarray:
    """Classes uint8 [H, W], copied from whole numbers below ``classes``. Raises ImageError."""
    if isinstance(value, Image.Image) and value.mode not in ("1", "L", "P", "I", "I;16"):
        value = value.convert("L")
    given = np.asarray(value)
    if given.ndim != 2 or 0 in given.shape or given.dtype.kind not in "biuf":
        raise ImageError(
            "A label map must be an array [H, W] of whole numbers, got "
            f"{given.dtype} of shape {[*given.shape]}.",
            parameter="map",
        )
    most = LIMITS["side"]
    if max(given.shape) > most:
        raise ImageError(f"A label map has at most {most} pixels a side.", parameter="map")
    if not (given >= 0).all() or not (given < classes).all() or (given % 1 != 0).any():
        raise ImageError(
            f"A label map must have whole numbers from 0 to {classes - 1}, for {classes} classes.\n"
            f"This has {given.min():g} to {given.max():g}.",
            parameter="map",
        )
    return given.astype(np.uint8)


def class_names(value: Any) -> tuple[str, ...]:
    """The names of classes, each a text that is not empty. Raises InputError."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InputError(
            f"classes must be a list of names, got {checks.shown(value)}.", parameter="classes"
        )
    names = tuple(value)
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise InputError(
                f"Every class has a name, got {checks.shown(name)}.", parameter="classes"
            )
    return names


def sheet_size(value: Any) -> tuple[int, int]:
    """(width, height) of a sheet to draw on, in pixels. Raises InputError."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise InputError(
            f"size must be (width, height), got {checks.shown(value)}.", parameter="size"
        )
    width, height = (checks.whole("size", side, 1, LIMITS["side"]) for side in value)
    return width, height
