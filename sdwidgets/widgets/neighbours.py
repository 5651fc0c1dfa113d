"""The images that a model is shown as neighbours: added, removed, switched on and off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import anywidget
import traitlets
from PIL import Image

from ..checks import is_whole
from ..contract import ASKS
from ..errors import InputError, SDWidgetsError
from ..frontend import Code
from ..pictures import as_picture
from .life import Living
from .low_res import png
from .selection import FromPage
from .upload import Part, Upload
from .watching import in_words

THUMBNAIL = 96
"""Pixels along the longer side of a thumbnail."""

MOST = 100
"""The most images, with those that are switched off."""


@dataclass(frozen=True, eq=False)
class Neighbour:
    """An image in the list, and whether it is switched on."""

    id: int
    image: Image.Image
    on: bool
    thumbnail: bytes  # PNG

    def item(self) -> dict[str, Any]:
        """The neighbour as the page shows it."""
        note = f"{self.image.width} x {self.image.height} pixels"
        return {"id": self.id, "on": self.on, "note": note, "thumbnail": self.thumbnail}


class NeighboursView(Living, FromPage, anywidget.AnyWidget):
    """Images as thumbnails, of which at most ``most`` are switched on.

    ``take`` gets the images that are on, in order, whenever a person changes them. ``last`` returns
    the newest result, or None without one.
    """

    _esm = Code("neighbours.js")
    _css = Code("neighbours.css")

    _is_part = True

    items: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    """The images, each with its id, whether it is on, a note and a thumbnail."""

    most = traitlets.Int(1).tag(sync=True)
    """The most images that can be on."""

    results = traitlets.Int(0).tag(sync=True)
    """Whether there is a last result to add: 0 or 1."""

    problem = traitlets.Unicode().tag(sync=True)
    """Why the last request failed, in up to three lines; "" for no reason."""

    def __init__(
        self,
        most: int,
        take: Callable[[tuple[Image.Image, ...]], object] = lambda _: None,
        last: Callable[[], Image.Image | None] = lambda: None,
    ) -> None:
        super().__init__()
        self.most = most
        self._take, self._last = take, last
        self._all: list[Neighbour] = []
        self._numbers = count(1)
        self._upload = Upload()
        self._begin()

    @property
    def used(self) -> tuple[Image.Image, ...]:
        """The images that are on, in order."""
        return tuple(one.image for one in self._all if one.on)

    def show(self, images: Sequence[Image.Image]) -> None:
        """Show these images, switched on. Of those that were there, the others are switched off."""
        if len(images) == len(self.used) and all(map(_is, images, self.used)):
            return
        kept = [
            replace(one, on=any(_is(one.image, image) for image in images)) for one in self._all
        ]
        new = [image for image in images if not any(_is(one.image, image) for one in kept)]
        self._list([*kept, *map(self._new, new)])

    def _new(self, image: Image.Image) -> Neighbour:
        small = image.copy()
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        return Neighbour(next(self._numbers), image, True, png(small))

    def _list(self, neighbours: Sequence[Neighbour]) -> None:
        self._all = [*neighbours][-MOST:]
        self.items = [one.item() for one in self._all]

    def _change(self, neighbours: Sequence[Neighbour]) -> None:
        """Take what a person has changed. Raises InputError if too many are on."""
        if sum(one.on for one in neighbours) > self.most:
            raise InputError(
                f"This model takes at most {self.most} neighbours.\nSwitch another off first.",
                parameter="neighbours",
            )
        self._list(neighbours)
        self._take(self.used)

    def _add(self, image: Image.Image) -> None:
        self._change([*self._all, self._new(image)])

    def _complain(self, error: Exception) -> None:
        self.problem = in_words(error)

    def _receive(self, message: Any, buffers: Any) -> None:
        kind = message.get("kind") if isinstance(message, dict) else None
        if not isinstance(kind, str) or kind not in ASKS["neighbours"]:
            return
        self.problem = ""
        number = message.get("id")
        try:
            if kind == "file":
                self._take_part(message, list(buffers or ()))
            elif kind == "off":
                self._change([replace(one, on=False) for one in self._all])
            elif kind == "last":
                if (image := self._last()) is not None:
                    self._add(image)
            elif not is_whole(number):
                return
            elif kind == "use":
                on = message.get("on") is True
                self._change([replace(o, on=on) if o.id == number else o for o in self._all])
            elif kind == "drop":
                self._change([one for one in self._all if one.id != number])
        except SDWidgetsError as error:
            self._complain(error)

    def _take_part(self, message: dict[str, Any], buffers: list[Any]) -> None:
        try:
            part = Part.of(message, buffers)
        except InputError:
            return  # our page does not send it
        with self._upload.taking(part, self.send) as data:
            if data is not None:
                self._add(as_picture(data)[0])


def _is(one: Image.Image, other: Image.Image) -> bool:
    return one is other or (one.size == other.size and one.tobytes() == other.tobytes())
