"""What widgets on which somebody draws by hand have in common: an image, messages, undo."""

from __future__ import annotations

import io
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import anywidget
import traitlets
from PIL import Image

from .. import checks
from ..contract import ASKS, PAINTER
from ..errors import ImageError, InputError
from ..painting import History
from ..pictures import as_picture, is_transparent
from .kernel import AnyTrait
from .life import Living
from .selection import FromPage
from .upload import Part, Upload
from .watching import in_words


class Given(AnyTrait):
    """A trait whose values its widget's method ``_as_<name>`` reads, whatever form they have."""

    def validate(self, obj: Any, value: Any) -> Any:
        return getattr(obj, f"_as_{self.name}")(value)


class Paper(Living, FromPage, anywidget.AnyWidget):
    """An image on which somebody draws by hand, and the history of what was drawn.

    A page draws at once and tells the kernel, which has the last word: ``stamp`` says of which
    message of which page it has heard last.
    """

    _asks: ClassVar[str]  # the messages of its page, in `ASKS`
    _instead = "Send what is drawn instead, and make a new widget there."

    image = Given(None, allow_none=True)
    """The image: RGB, upright, without transparency; None without one. It takes whatever
    `PictureLike` has: a PIL image, an array, a path, a file's bytes."""

    # ----------------------------------------------------------------- what the page reads

    uid = traitlets.Unicode(read_only=True).tag(sync=True)
    """Identifies this widget: its views in a page share what is drawn."""

    shown = traitlets.Int(0, read_only=True).tag(sync=True)
    """The number of the image on show, which grows with each; what a page says names it."""

    picture = traitlets.Bytes(read_only=True).tag(sync=True)
    """The image as a PNG or JPEG, at most 1024 pixels along a side: a saved notebook shows it.
    Pages ask for a larger one. b"" without an image."""

    width = traitlets.Int(0, read_only=True).tag(sync=True)
    """Pixels of the image's width; 0 without an image."""

    height = traitlets.Int(0, read_only=True).tag(sync=True)
    """Pixels of the image's height."""

    note = traitlets.Unicode(read_only=True).tag(sync=True)
    """What was done to the image, in words."""

    stamp: traitlets.List[Any] = traitlets.List(["", 0], read_only=True).tag(sync=True)
    """Who drew last: the name of a page and the number of its message, or "" for Python."""

    undos = traitlets.Int(0, read_only=True).tag(sync=True)
    """How many changes can be undone."""

    redos = traitlets.Int(0, read_only=True).tag(sync=True)
    """How many changes can be redone."""

    problem = traitlets.Unicode(read_only=True).tag(sync=True)
    """What went wrong with what the page asked for last."""

    def __init__(self, part: bool):
        """``part``: it belongs to another widget, with which it is closed."""
        self._lock = threading.RLock()
        self._history = History()
        self._by: tuple[str, int] = ("", 0)
        self._notices: tuple[str, ...] = ()  # of the image that was read last
        self._upload = Upload()
        if part:
            self._is_part = True  # type: ignore[misc]
        super().__init__()
        self.set_trait("uid", secrets.token_hex(8))
        self._begin()

    # ------------------------------------------------------------------------------- the image

    def _as_image(self, value: Any) -> Image.Image | None:
        if value is None:
            return None
        image, notices = as_picture(value)
        if is_transparent(value):
            notices += ("Its transparent parts are on white.",)
        self._notices = notices
        return image

    def _show(self, image: Image.Image | None, size: tuple[int, int]) -> None:
        """Let the pages show an image, or nothing, on a sheet of (width, height)."""
        with self.hold_sync():
            self.set_trait("shown", self.shown + 1)
            self.set_trait("problem", "")
            self.set_trait("note", "" if image is None else " ".join(self._notices))
            self.set_trait("picture", b"" if image is None else file_of(image, saved=True))
            self.set_trait("width", size[0])
            self.set_trait("height", size[1])

    # ----------------------------------------------------------------------------- the history

    def undo(self) -> None:
        """Undo the last change; does nothing if there is none."""
        self._travel(-1)

    def redo(self) -> None:
        """Redo the change that was undone last; does nothing if there is none."""
        self._travel(1)

    def _travel(self, by: int) -> None:
        self._check_process()
        with self._lock:
            state = self._history.move(by)
            if state is not None:
                with self.hold_sync():
                    self._return_to(state)

    def _return_to(self, state: bytes) -> None:
        """Bring back what the history held."""
        raise NotImplementedError

    def _tell_history(self) -> None:
        """Bring what the pages read of the history up to date."""
        with self.hold_sync():
            self.set_trait("stamp", [*self._by])
            self.set_trait("undos", self._history.undos)
            self.set_trait("redos", self._history.redos)

    # ---------------------------------------------------------------------------- the page

    def _complain(self, error: Exception) -> None:
        self.set_trait("problem", in_words(error))

    def _receive(self, message: Any, buffers: Any) -> None:
        kind = message.get("kind") if isinstance(message, dict) else None
        if not isinstance(kind, str) or kind not in ASKS[self._asks]:
            return
        with self._lock:
            try:
                getattr(self, f"_hear_{kind}")(message, list(buffers or ()))
            except ImageError:
                raise
            except InputError:
                self._ignore(message)  # our page does not send it

    def _hear_file(self, message: dict[str, Any], buffers: list[Any]) -> None:
        part = Part.of(message, buffers)
        with self._upload.taking(part, self.send) as data:
            if data is not None:
                self.set_trait("problem", "")
                self.image = data

    def _hear_drop(self, *_: Any) -> None:
        self.image = None

    def _hear_image(self, *_: Any) -> None:
        """Send the image at its own size, where the saved one is smaller."""
        if self.image is not None and max(self.image.size) > PAINTER["saved"]:
            file = file_of(self.image, saved=False)
            self.send({"kind": "image", "image": self.shown}, [file])

    def _hear_undo(self, *_: Any) -> None:
        self.undo()

    def _hear_redo(self, *_: Any) -> None:
        self.redo()

    def _author(self, message: dict[str, Any]) -> tuple[str, int]:
        page = message.get("page")
        if not isinstance(page, str) or not 0 < len(page) <= 64:
            raise InputError("A page says its name.")
        return page, checks.whole("number", message.get("number"), 1, 2**53 - 1)

    @contextmanager
    def _from(self, message: dict[str, Any]) -> Iterator[None]:
        """What happens inside is by the page that sent the message."""
        self._by = self._author(message)
        try:
            with self.hold_sync():
                yield
        finally:
            self._by = ("", 0)


def file_of(image: Image.Image, *, saved: bool, png: bool = False) -> bytes:
    """The bytes of the image's file: for a saved notebook small, else at its own size."""
    made = image.copy()
    if saved:
        made.thumbnail((PAINTER["saved"], PAINTER["saved"]), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        made.save(file, "png")
        if png or file.tell() <= PAINTER["bytes"]:
            return file.getvalue()
    file = io.BytesIO()
    made.save(file, "jpeg", quality=92)
    return file.getvalue()
