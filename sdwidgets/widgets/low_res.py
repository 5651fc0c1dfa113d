"""The small image that a model enlarges: how it comes, and the result beside plain enlarging."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget
import traitlets
from PIL import Image

from ..contract import ASKS
from ..errors import InputError, SDWidgetsError
from ..frontend import Code
from ..pictures import PictureLike, as_picture
from ..trace.images import encode_png
from .life import Living
from .selection import FromPage
from .upload import Part, Upload
from .watching import in_words

SIDE = 512
"""Pixels along the longer side of the images that are compared; larger ones are made smaller."""


class LowResolution(Living, FromPage, anywidget.AnyWidget):
    """Takes the image to enlarge by hand (a file, a drop, a paste), and compares what was made.

    ``take`` gets the image, or None to enlarge nothing. ``last`` returns the newest result, or None
    without one.
    """

    _esm = Code("low_res.js")
    _css = Code("low_res.css")

    _is_part = True

    small = traitlets.Bytes().tag(sync=True)
    """The image as it was given, at most `SIDE` pixels, as PNG; b"" for none."""

    before = traitlets.Bytes().tag(sync=True)
    """The image at the result's size, by bicubic interpolation, as PNG."""

    after = traitlets.Bytes().tag(sync=True)
    """The model's result for this image, as PNG; b"" before a run."""

    note = traitlets.Unicode().tag(sync=True)
    """The size of the image and that of the result, in words."""

    results = traitlets.Int(0).tag(sync=True)
    """Whether there is a last result to use: 0 or 1."""

    problem = traitlets.Unicode().tag(sync=True)
    """Why the last request failed, in up to three lines; "" for no reason."""

    def __init__(
        self,
        take: Callable[[Image.Image | None], object] = lambda _: None,
        last: Callable[[], Image.Image | None] = lambda: None,
    ) -> None:
        super().__init__()
        self._take, self._last = take, last
        self._upload = Upload()
        self._image: Image.Image | None = None
        self._size = (0, 0)
        self._begin()

    def show(self, image: Image.Image | None, factor: int) -> None:
        """Show an image, or none, and what it is ``factor`` times as large."""
        size = (0, 0) if image is None else (factor * image.width, factor * image.height)
        if image is self._image and size == self._size:
            return
        self._image, self._size = image, size
        with self.hold_sync():
            self.problem, self.after = "", b""
            if image is None:
                self.small = self.before = b""
                self.note = ""
                return
            self.small = png(image)
            self.before = png(image.resize(inside(size), Image.Resampling.BICUBIC))
            self.note = "{} x {} pixels, to {} x {}".format(*image.size, *size)

    def compare(self, given: PictureLike | None, made: Image.Image) -> None:
        """Show the result of a run, if it was ``given`` the image on show."""
        if given is not None and given is self._image:
            self.after = png(made)

    def _complain(self, error: Exception) -> None:
        self.problem = in_words(error)

    def _receive(self, message: Any, buffers: Any) -> None:
        kind = message.get("kind") if isinstance(message, dict) else None
        if not isinstance(kind, str) or kind not in ASKS["low_res"]:
            return
        self.problem = ""
        try:
            if kind == "file":
                self._take_part(message, list(buffers or ()))
            elif kind == "drop":
                self._take(None)
            elif (image := self._last()) is not None:
                self._take(image)
        except SDWidgetsError as error:
            self._complain(error)

    def _take_part(self, message: dict[str, Any], buffers: list[Any]) -> None:
        try:
            part = Part.of(message, buffers)
        except InputError:
            return  # our page does not send it
        with self._upload.taking(part, self.send) as data:
            if data is not None:
                self._take(as_picture(data)[0])


def inside(size: tuple[int, int]) -> tuple[int, int]:
    """A size of the same shape, at most `SIDE` pixels."""
    scale = min(SIDE / max(size), 1)
    width, height = (max(round(scale * side), 1) for side in size)
    return width, height


def png(image: Image.Image) -> bytes:
    """The bytes of a PNG of an image, at most `SIDE` pixels along its longer side."""
    size = inside(image.size)
    return encode_png(image if size == image.size else image.resize(size, Image.Resampling.LANCZOS))
