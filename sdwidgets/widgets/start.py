"""The image that the Studio's runs start from: how it comes, and what the page shows of it."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import anywidget
import traitlets
from PIL import Image

from ..contract import ASKS
from ..errors import ImageError, InputError, SDWidgetsError
from ..frontend import Code
from ..pictures import fitted
from ..settings import FITS
from ..trace.older import translated
from ..trace.png import record_in, settings_in
from .life import Living
from .results import title_of
from .selection import FromPage
from .upload import Part, Upload
from .watching import in_words

THUMBNAIL = 96
"""Pixels along the longer side of the thumbnail."""

DONE = {"crop": "cropped", "pad": "padded", "stretch": "stretched"}
"""What is done to an image of another shape, by `settings.FITS`."""


Restore = Callable[[dict[str, Any], bool], str]
"""Loads settings and returns what to say about it; see `StartView`."""


class StartView(Living, FromPage, anywidget.AnyWidget):
    """Takes an image by hand (a file, a drop, a paste) and shows the one that runs start from.

    ``take`` gets the bytes of an image file, or None to start from noise. ``restore`` gets what a
    file says of its run, as `Trace.record` returns it, and whether the run's start image came with
    it. What they raise is shown. A PNG with settings is offered for both, and the person chooses; a
    recorded run is restored.
    """

    _esm = Code("start.js")
    _css = Code("start.css")

    _is_part = True

    thumbnail = traitlets.Bytes().tag(sync=True)
    """The image as a run begins from it, small, as PNG; b"" for none."""

    note = traitlets.Unicode().tag(sync=True)
    """The size of the image, and what is done to it."""

    reshaped = traitlets.Bool(False).tag(sync=True)
    """Whether the image has another shape than the run's, so that ``fit`` matters."""

    strength = traitlets.Float(0.8).tag(sync=True)
    """How much of the image changes, 0 to 1."""

    fit = traitlets.Unicode(FITS[0]).tag(sync=True)
    """How an image of another shape is brought to the run's, one of `settings.FITS`."""

    offer = traitlets.Unicode().tag(sync=True)
    """The settings inside the file that came last, in words, until the person has chosen."""

    message = traitlets.Unicode().tag(sync=True)
    """What was done with the last file."""

    problem = traitlets.Unicode().tag(sync=True)
    """Why the last file was refused."""

    def __init__(self, take: Callable[[bytes | None], object], restore: Restore):
        super().__init__()
        self._take, self._restore = take, restore
        self._upload = Upload()
        self._offered = b""
        self._begin()

    def show(self, image: Image.Image | None, size: tuple[int, int]) -> None:
        """Show the image that runs of that size start from; None hides it."""
        with self.hold_sync():
            self.thumbnail, self.note, self.reshaped = b"", "", False
            if image is not None:
                self.thumbnail = thumbnail(image, size, self.fit)
                self.note, self.reshaped = noted(image.size, size, self.fit)

    def say(self, message: str = "", *, problem: str = "", offer: str = "") -> None:
        """Show a message, a problem or an offer, and remove the others."""
        with self.hold_sync():
            self.message, self.problem, self.offer = message, problem, offer

    def _complain(self, error: Exception) -> None:
        self.say(problem=in_words(error))

    def _receive(self, message: Any, buffers: Any) -> None:
        kind = message.get("kind") if isinstance(message, dict) else None
        if not isinstance(kind, str) or kind not in ASKS["start"]:
            return
        try:
            if kind == "file":
                self._take_part(message, list(buffers or ()))
            elif kind == "settings":
                self._take_settings(message.get("made"), message.get("image") is True)
            elif kind == "set":
                self._set(message.get("name"), message.get("value"))
            elif kind in ("take", "restore") and self._offered:
                data, self._offered = self._offered, b""
                self._use(data, restore=kind == "restore")
            elif kind in ("drop", "dismiss"):
                self._offered = b""
                self.say()
                if kind == "drop":
                    self._take(None)
        except SDWidgetsError as error:
            self.say(problem=in_words(error))

    def _set(self, name: Any, value: Any) -> None:
        if name == "strength" and type(value) in (int, float) and 0 <= value <= 1:
            self.strength = float(value)
        elif name == "fit" and value in FITS:
            self.fit = value

    def _take_part(self, message: dict[str, Any], buffers: list[Any]) -> None:
        try:
            part = Part.of(message, buffers)
        except InputError:
            return  # our page does not send it
        try:
            data = self._upload.add(part)
            if data is not None:
                self._take_file(data, part.name)
        finally:
            if part.part == part.parts - 1:
                self.send({"kind": "taken"})  # even if nothing has changed

    def _take_file(self, data: bytes, name: str) -> None:
        found = found_in(data)
        self._offered = data if found else b""
        if found:
            self.say(offer=f"{name} was made with: {found}")
        else:
            self._use(data)

    def _take_settings(self, made: Any, has_image: bool) -> None:
        """Restore what the page read in a recorded run; its start image, if any, came before."""
        if not isinstance(made, dict):
            return  # our page does not send it
        self._offered = b""
        self.say()
        try:
            self.say(self._restore(translated(made), has_image))
        finally:
            self.send({"kind": "taken"})  # even if nothing has changed

    def _use(self, data: bytes, *, restore: bool = False) -> None:
        self.say()
        if restore:
            self.say(self._restore(record_in(data) or {}, False))
        else:
            self._take(data)


def found_in(data: bytes) -> str:
    """The settings inside an image file, in words; "" if it has none that the Studio can use."""
    try:
        record = record_in(data) or {}
        settings = settings_in(record)
    except (ImageError, InputError):
        return ""
    model, program = record.get("model"), record.get("program")
    is_from_image = record.get("task") == "image to image"
    title = title_of(model if isinstance(model, str) else "", settings, is_from_image)
    return f"{program}: {title}" if program else title


def thumbnail(image: Image.Image, size: tuple[int, int], fit: str) -> bytes:
    """The bytes of a small PNG of the image as a run of that size begins from it."""
    scale = min(THUMBNAIL / max(size), 1)
    width, height = (max(round(side * scale), 1) for side in size)
    small = image.copy()
    small.thumbnail((4 * THUMBNAIL, 4 * THUMBNAIL))
    file = io.BytesIO()
    fitted(small, None, width, height, fit)[0].save(file, "png")
    return file.getvalue()


def noted(given: tuple[int, int], size: tuple[int, int], fit: str) -> tuple[str, bool]:
    """What is done to an image of a size ``given`` in words, and whether its shape changes."""
    (width, height), (wide, high) = given, size
    said = f"{width} x {height} pixels"
    if given == size:
        return said, False
    reshaped = not math.isclose(width * high, wide * height, rel_tol=0.01)
    return f"{said}, {DONE[fit] if reshaped else 'resized'} to {wide} x {high}", reshaped
