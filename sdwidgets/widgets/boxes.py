"""Boxes with names, drawn by hand, for models that are told a layout."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import traitlets
from PIL import Image, ImageDraw

from .. import checks
from ..classes import Box, boxes_of, layouts_in
from ..contract import BOXES
from ..errors import InputError
from ..frontend import Code
from ..painting import History
from ..palette import colours
from ..pictures import PictureLike
from .label_map import class_names, sheet_size
from .paper import Given, Paper, file_of

Named = tuple[str, Box]
"""A name and (x0, y0, x1, y1), in fractions of the image's width and height from its top left."""


class Boxes(Paper):
    """Shows boxes with names, to draw, move and resize by pointer, pen, finger or keys.

    Example::

        layout = sdw.Boxes([("cat", (0.1, 0.4, 0.5, 0.9))], classes=["cat", "dog"])
        display(layout)

        layout.boxes  # [("cat", (0.1, 0.4, 0.5, 0.9))]

    A box can lie over others: the last of the list is in front. With an image, the boxes lie over
    it, so that they can be drawn around what is there.
    """

    _esm = Code("boxes.js")
    _css = Code("boxes.css")
    _asks = "boxes"

    image = Given(None, allow_none=True)
    """An image to draw over, in whatever form `PictureLike` has; None without one."""

    boxes = Given([]).tag(sync=True)
    """The boxes, from back to front: ``(name, (x0, y0, x1, y1))``, in fractions of the image's
    width and height. Set it as a whole: a box that is appended to the list is not seen."""

    classes = Given(()).tag(sync=True)
    """The names to choose from; () for any name. Boxes of names that are no longer there go."""

    size = Given((128, 128))
    """(width, height) of the image to come, in pixels: the shape of the sheet without an image."""

    most = Given(BOXES["most"]).tag(sync=True)
    """The most boxes, 1 to 1000."""

    # ----------------------------------------------------------------- what the page reads

    colours: traitlets.List[Any] = traitlets.List(read_only=True).tag(sync=True)
    """The colour of each class, as ``[red, green, blue]`` from 0 to 255."""

    def __init__(
        self,
        boxes: Iterable[Named] = (),
        classes: Iterable[str] = (),
        image: PictureLike | None = None,
        size: tuple[int, int] = (128, 128),
        *,
        most: int = BOXES["most"],
        part: bool = False,
    ):
        """``part``: it belongs to another widget, with which it is closed."""
        super().__init__(part)
        self._history = History([_state([])])
        self.most = most
        self.classes = classes
        self.size = size
        self.image = image
        if self.shown == 0:
            self._lay_out()
        self.boxes = boxes

    def clear(self) -> None:
        """Remove all boxes; this can be undone."""
        self.boxes = []

    # ------------------------------------------------------------------------------- the values

    def _as_classes(self, value: Any) -> tuple[str, ...]:
        return class_names(value)

    def _as_size(self, value: Any) -> tuple[int, int]:
        return sheet_size(value)

    def _as_most(self, value: Any) -> int:
        return checks.whole("most", value, 1, 1000)

    def _as_boxes(self, value: Any) -> list[Named]:
        return as_boxes(value, self.classes, self.most)

    @traitlets.observe("classes")
    def _new_classes(self, change: Any) -> None:
        with self._lock, self.hold_sync():
            self.set_trait("colours", [[*colour] for colour in colours(change.new)])
            stay = [box for box in self.boxes if not change.new or box[0] in change.new]
            self._history = History([_state(stay)])
            self.boxes = stay
            self._tell_history()

    @traitlets.observe("image", "size")
    def _new_sheet(self, change: Any) -> None:
        if change.name == "image" or self.image is None:
            self._lay_out()

    def _lay_out(self) -> None:
        with self._lock:
            self._show(self.image, self.size if self.image is None else self.image.size)
        self._redraw()

    @traitlets.observe("boxes")
    def _new_boxes(self, change: Any) -> None:
        """Keep the boxes that were set, and tell the pages."""
        with self._lock:
            self._history.add(_state(change.new))
            self._tell_history()
        self._redraw()

    def _return_to(self, state: bytes) -> None:
        self.boxes = json.loads(state)
        self._tell_history()

    def _hear_boxes(self, message: dict[str, Any], _: Any) -> None:
        with self._from(message):
            self.boxes = message.get("boxes")
            self._tell_history()  # even if nothing has changed

    # -------------------------------------------------------------------------------- as output

    _instead = "Send its boxes instead, and make a Boxes there."

    def __repr__(self) -> str:
        names = checks.shortened(", ".join(name for name, _ in self.boxes), 80)
        return f"Boxes: {names or 'none yet'}"

    def _still(self) -> bytes | None:
        """The boxes in their colours, over the image."""
        shown = self.image
        if shown is None:
            shown = Image.new("RGB", (self.width, self.height), "white")
        scale = max(-(-STILL // max(shown.size)), 1)  # so that names can be read
        width, height = (side * scale for side in shown.size)
        shown = shown.resize((width, height))
        draw = ImageDraw.Draw(shown)
        names = self.classes or tuple(dict.fromkeys(name for name, _ in self.boxes))
        known = dict(zip(names, colours(names), strict=True))
        for name, (x0, y0, x1, y1) in self.boxes:
            corners = (x0 * width, y0 * height, x1 * width - 1, y1 * height - 1)
            draw.rectangle(corners, outline=known[name], width=3)
            draw.rectangle(draw.textbbox(corners[:2], name), fill=known[name])
            draw.text(corners[:2], name, fill="black" if sum(known[name]) > 380 else "white")
        return file_of(shown, saved=True, png=True)


STILL = 384
"""Pixels of the longer side of an output without a page, at least."""


def _state(boxes: Sequence[Named]) -> bytes:
    return json.dumps(boxes).encode()


def as_boxes(value: Any, classes: Sequence[str], most: int) -> list[Named]:
    """The boxes of one image, checked as those of a run.

    Raises InputError, also for a name that is not among ``classes``, if there are any, and for more
    boxes than ``most``.
    """
    value = [*value] if isinstance(value, Iterable) and not isinstance(value, str) else value
    if value is None or (isinstance(value, list) and layouts_in(value) is not None):
        raise InputError(
            f"boxes must be a list of (name, (x0, y0, x1, y1)), got {checks.shown(value)}.",
            parameter="boxes",
        )
    boxes: list[Any] = [*(boxes_of(value, most=1) or ())]
    for name, _ in boxes:
        if classes and name not in classes:
            raise InputError(
                f"{name[:60]!r} is no class.\nThe classes are "
                f"{checks.shortened(', '.join(classes), 200)}.",
                parameter="boxes",
            )
    if len(boxes) > most:
        raise InputError(f"At most {most} boxes are taken, got {len(boxes)}.", parameter="boxes")
    return boxes
