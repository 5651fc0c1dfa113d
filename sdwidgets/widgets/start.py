"""The image that the Studio's runs start from: how it comes, and what the page shows of it."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import traitlets
from PIL import Image

from ..checks import is_whole
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

if TYPE_CHECKING:
    from ..beginning import Begins

THUMBNAIL = 96
"""Pixels along the longer side of the thumbnail."""

DONE = {"crop": "cropped", "pad": "padded", "stretch": "stretched"}
"""What is done to an image of another shape, by `settings.FITS`."""


Restore = Callable[[dict[str, Any], Collection[str], Mapping[str, Any]], str]
"""Loads settings and returns what to say about it; see `StartView`."""

NEIGHBOUR = re.compile(r"neighbour\.\d{1,2}")
"""The name of a neighbour in a recorded run."""

PAINTED = np.array((230, 60, 140), np.float32)
"""The colour over the part of the thumbnail that a mask has painted over."""


class StartView(Living, FromPage, anywidget.AnyWidget):
    """Takes an image by hand (a file, a drop, a paste) and shows the one that runs start from.

    ``take`` gets the bytes of an image file, or None to start from noise; ``take_mask`` those of
    its mask, or None. ``restore`` gets what a file says of its run, as `Trace.record` returns it,
    which of the run's "image" and "mask" came with it, and what else did: "label_map", an array
    [H, W], and "neighbours", files of images. What they raise is shown. A PNG with settings is
    offered for both, and the person chooses; a recorded run is restored. ``acts``: what else the
    page may ask for, by the kind of its message.
    """

    _esm = Code("start.js")
    _css = Code("start.css")

    _is_part = True

    thumbnail = traitlets.Bytes().tag(sync=True)
    """The image as a run begins from it, small, as PNG; b"" for none."""

    note = traitlets.Unicode().tag(sync=True)
    """The size of the image, and what is done to it."""

    masked = traitlets.Unicode().tag(sync=True)
    """How much of the image is painted over, in words; "" without a mask."""

    reshaped = traitlets.Bool(False).tag(sync=True)
    """Whether the image has another shape than the run's, so that ``fit`` matters."""

    strength = traitlets.Float(0.8).tag(sync=True)
    """How much of the image changes, 0 to 1."""

    steps = traitlets.Int(0).tag(sync=True)
    """The steps of the grid, of which ``strength`` takes the last; 0 where it takes none away."""

    levels: traitlets.List[float] = traitlets.List(traitlets.Float()).tag(sync=True)
    """The noise levels around the steps, see `beginning.Begins`, as are the following; [] as long
    as they are not known."""

    cells: traitlets.List[int] = traitlets.List(traitlets.Int()).tag(sync=True)
    """(w, h) of the previews."""

    clean = traitlets.Bytes().tag(sync=True)
    """The preview of the image."""

    noise = traitlets.Bytes().tag(sync=True)
    """The preview of the noise."""

    base: traitlets.List[float] = traitlets.List(traitlets.Float()).tag(sync=True)
    """The constant of both."""

    fit = traitlets.Unicode(FITS[0]).tag(sync=True)
    """How an image of another shape is brought to the run's, one of `settings.FITS`."""

    painting = traitlets.Bool(False).tag(sync=True)
    """Whether the Painter is open."""

    results = traitlets.Int(0).tag(sync=True)
    """How many results there are to start from and to compare, at most 2."""

    words: traitlets.List[str] = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """The words of the last result whose attention can be a mask."""

    offer = traitlets.Unicode().tag(sync=True)
    """The settings inside the file that came last, in words, until the person has chosen."""

    message = traitlets.Unicode().tag(sync=True)
    """What was done with the last file."""

    problem = traitlets.Unicode().tag(sync=True)
    """Why the last file was refused."""

    def __init__(
        self,
        take: Callable[[bytes | None], object],
        take_mask: Callable[[bytes | None], object],
        restore: Restore,
        acts: Mapping[str, Callable[[dict[str, Any]], object]],
    ):
        super().__init__()
        self._take, self._take_mask, self._restore = take, take_mask, restore
        self._acts = acts
        self._upload = Upload()
        self._offered = b""
        self._held: dict[str, tuple[bytes, Any]] = {}  # of the run that comes: (data, shape)
        self._begin()

    def show(
        self, image: Image.Image | None, size: tuple[int, int], mask: Image.Image | None = None
    ) -> None:
        """Show the image that runs start from at that size, and its mask; None hides it."""
        with self.hold_sync():
            self.thumbnail, self.note, self.reshaped, self.masked = b"", "", False, ""
            if image is not None:
                if mask is not None and mask.size != image.size:
                    mask = None  # a run refuses it
                self.thumbnail = thumbnail(image, size, self.fit, mask)
                self.note, self.reshaped = noted(image.size, size, self.fit)
                self.masked = "" if mask is None else share_of(mask)

    def begin(self, begins: Begins | None) -> None:
        """Show where a run begins; None if that is not known."""
        with self.hold_sync():
            if begins is None:
                self.levels, self.cells, self.base, self.clean, self.noise = [], [], [], b"", b""
            else:
                self.levels, self.cells = [*begins.levels], [*begins.size]
                self.clean, self.noise, self.base = begins.clean, begins.noise, [*begins.base]

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
                came = [name for name in ("image", "mask") if message.get(name) is True]
                self._take_settings(message.get("made"), came, message.get("came"))
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
            elif kind == "unmask":
                self._take_mask(None)
            elif kind in self._acts:
                self.say()
                self._acts[kind](message)
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
        with self._upload.taking(part, self.send) as data:
            if data is not None and isinstance(of := message.get("of"), str):
                if of == "label_map" or NEIGHBOUR.fullmatch(of):
                    self._held[of] = data, message.get("shape")
            elif data is not None and part.second:
                self._take_mask(data)
            elif data is not None:
                self._take_file(data, part.name)

    def _take_file(self, data: bytes, name: str) -> None:
        found = found_in(data)
        self._offered = data if found else b""
        if found:
            self.say(offer=f"{name} was made with: {found}")
        else:
            self._use(data)

    def _take_settings(self, made: Any, came: Collection[str], names: Any) -> None:
        """Restore what the page read in a recorded run; what that was given came before."""
        held, self._held = self._held, {}
        if not isinstance(made, dict):
            return  # our page does not send it
        self._offered = b""
        self.say()
        try:
            named = names if isinstance(names, list) else []
            more = recorded({name: held[name] for name in held if name in named})
            self.say(self._restore(translated(made), came, more))
        finally:
            self.send({"kind": "taken"})  # even if nothing has changed

    def _use(self, data: bytes, *, restore: bool = False) -> None:
        self.say()
        if restore:
            self.say(self._restore(record_in(data) or {}, (), {}))
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
    title = title_of(model if isinstance(model, str) else "", settings, str(record.get("task")))
    return f"{program}: {title}" if program else title


def recorded(files: Mapping[str, tuple[bytes, Any]]) -> dict[str, Any]:
    """What a run was given, of the parts of its record: a "label_map" and "neighbours".

    Raises ImageError for a label map of another size than its shape says.
    """
    made: dict[str, Any] = {}
    if "label_map" in files:
        data, shape = files["label_map"]
        is_shape = isinstance(shape, list) and len(shape) == 2 and all(map(is_whole, shape))
        if not is_shape or min(shape) < 1 or 2 * shape[0] * shape[1] != len(data):
            raise ImageError("The label map in the file is damaged.", parameter="label_map")
        made["label_map"] = np.frombuffer(data, "<u2").reshape(shape)
    names = sorted((name for name in files if name != "label_map"), key=lambda one: int(one[10:]))
    if names:
        made["neighbours"] = [files[name][0] for name in names]
    return made


def thumbnail(
    image: Image.Image, size: tuple[int, int], fit: str, mask: Image.Image | None = None
) -> bytes:
    """The bytes of a small PNG of the image as a run of that size begins from it."""
    scale = min(THUMBNAIL / max(size), 1)
    width, height = (max(round(side * scale), 1) for side in size)
    small = image.copy()
    small.thumbnail((4 * THUMBNAIL, 4 * THUMBNAIL))
    small, area, _ = fitted(small, mask and mask.resize(small.size), width, height, fit)
    if area is not None:
        pixels, over = np.asarray(small, np.float32), np.asarray(area, np.float32)[..., None] / 510
        small = Image.fromarray(np.rint(pixels + over * (PAINTED - pixels)).astype(np.uint8))
    file = io.BytesIO()
    small.save(file, "png")
    return file.getvalue()


def share_of(mask: Image.Image) -> str:
    """How much of an image its mask paints anew, in words."""
    share = float(np.asarray(mask).mean()) / 255
    percent = "under 1" if 0 < share < 0.01 else f"{share:.0%}"[:-1]
    return f"{percent} % of it painted over"


def noted(given: tuple[int, int], size: tuple[int, int], fit: str) -> tuple[str, bool]:
    """What is done to an image of a size ``given`` in words, and whether its shape changes."""
    (width, height), (wide, high) = given, size
    said = f"{width} x {height} pixels"
    if given == size:
        return said, False
    reshaped = not math.isclose(width * high, wide * height, rel_tol=0.01)
    return f"{said}, {DONE[fit] if reshaped else 'resized'} to {wide} x {high}", reshaped
