"""The picture as it forms: bytes and numbers in traits, drawn by js/src/picture.ts."""

from __future__ import annotations

import io
import math
import threading
import time
from collections.abc import Iterable, Sized
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import traitlets
from PIL import Image

from ..checks import shortened
from ..frontend import bundle
from ..trace.images import encode_jpeg, preview_rgb
from ..trace.recording import Recordable
from ..trace.reel import factors_for
from ..trace.trace import Trace
from . import kernel
from .pace import INTERVAL, Pace
from .watching import Harmless, Watching

if TYPE_CHECKING:
    from ..diffusion.samplers import Step
    from ..settings import Settings

TRAIT_INTERVAL = 1.0
"""Seconds from one frame kept in the traits to the next, at least: what a reloaded page sees."""

KEPT_FRAMES = 24
"""Frames that wait for the next message; beyond that the newest win."""

LARGEST_SIDE = 96
"""Pixels along the longer side of a preview, of the whole batch; more are averaged down."""

SAVED_PICTURE = 100_000
"""Bytes of pictures kept in the widget's saved state; what has more is kept there as JPEG."""

SHOWN = 300  # characters of a prompt in labels


class PictureView(Watching, anywidget.AnyWidget):
    """A picture forming step by step, with the numbers of the run; works alone or in the Studio.

    Example::

        view = sdw.PictureView()
        display(view)
        for step in view.watch(model.sample("a cat left of a car", seed=7)):
            pass
    """

    _esm = bundle("picture.js")
    _css = bundle("picture.css")

    run: traitlets.Dict[str, Any] = traitlets.Dict({"id": 0, "state": "idle", "message": ""}).tag(
        sync=True
    )
    """``id`` of the run, its ``state`` and one line of ``message`` (up to three for an error)."""

    frame: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    """The newest frame that a page loaded now would show: numbers, ``noisy`` and ``clean`` RGB."""

    pictures: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    """The result on show, a dict for each picture of its batch: ``data``, ``type`` and words."""

    shape: traitlets.List[int] = traitlets.List([1, 1]).tag(sync=True)
    """Width and height that the result has or will have."""

    history: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    """Earlier results, oldest first: ``id``, ``prompt``, ``seed``, ``title``, ``thumbnail``."""

    current = traitlets.Int(-1).tag(sync=True)
    """The ``id`` in ``history`` of the result on show; -1 for none."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._frames = Frames(self)
        self._files: tuple[dict[str, Any], list[bytes]] | None = None
        self.on_msg(self._receive)
        kernel.unpin(self)

    def set_state(self, sync_data: Any) -> None:
        """Nothing: every trait is the kernel's, a front end that sets one is at fault."""

    # ------------------------------------------------------------------- see `Watching.watch`

    def _start(self, steps: Iterable[Step], run: Recordable | None) -> int:
        total = len(steps) if isinstance(steps, Sized) else 0
        model = getattr(steps if run is None else run, "model", None)
        if run is not None:
            self.shape = list(run.settings.size)
        self._files = None
        number = self.begin("Starting")
        self._frames.begin(number, total, getattr(model, "preview_factors", None))
        return number

    def _take(self, number: int, step: Step, seconds: float | None) -> None:
        if self.run["id"] == number:
            if self.run["state"] == "loading":
                self.say("running", "Denoising")
            self._frames.add(step)
            self._frames.send_some()

    def _settle(self, number: int) -> bool:
        if self.run["id"] != number:
            return False
        self._frames.send_all()
        return True

    def _finish(self, number: int, result: Trace | str, message: str) -> None:
        if not self._settle(number):
            return
        if isinstance(result, Trace):
            with Harmless():
                whole = [
                    on_page(result.png(i), result.settings.of_picture(i))
                    for i in range(len(result.images))
                ]
                self.put(number, whole, result.settings.size, message)
            result = "done"
        elif result == "done":
            self.pictures, self.current = [], -1
        self.say(result, message)

    def put(
        self, number: int, whole: list[dict[str, Any]], shape: tuple[int, int], message: str
    ) -> None:
        """Put finished pictures (of `on_page`) on the stage, in one update with what is said."""
        saved = [smaller(one, SAVED_PICTURE // len(whole)) for one in whole]
        self._files = None
        if saved != whole:
            words = [{name: one[name] for name in one if name != "data"} for one in whole]
            meta = {"kind": "pictures", "id": number, "pictures": words}
            self._files = meta, [one["data"] for one in whole]
        with self.hold_sync():
            self.shape = list(shape)
            self.pictures = saved
            self.current = number
            self.say("done", message)
        if self._files is not None:
            self.send(*self._files)

    def _receive(self, _: Any, message: Any, buffers: Any) -> None:
        """A message of the page; anything that is not as it should be is ignored."""
        kind = message.get("kind") if isinstance(message, dict) else None
        if kind == "hello":  # a page has come (again): what the traits do not hold
            self.send({"kind": "hello"})
            if self.run["state"] in ("loading", "running"):
                self._frames.send_again()
            elif self._files is not None:
                self.send(*self._files)
        elif kind == "ping":  # answered in turn, so the click before it has been handled
            self.send({"kind": "pong"})

    def begin(self, message: str) -> int:
        """Start a run in the view: frames so far are forgotten. Returns its id."""
        number: int = self.run["id"] + 1
        self.run = {"id": number, "state": "loading", "message": message}
        return number

    def say(self, state: str, message: str) -> None:
        """Set the state of the current run, and what is said about it."""
        self.run = {"id": self.run["id"], "state": state, "message": message}


class Frames:
    """Steps on their way to the page: coalesced, as often as `Pace` allows, none held back.

    ``add`` may be called on any thread and costs microseconds; one thread calls the others.
    """

    def __init__(self, view: PictureView):
        self._view = view
        self._lock = threading.Lock()
        self._pace = Pace()
        self.begin(0, 0)

    def begin(self, run: int, total: int, factors: np.ndarray | None = None) -> None:
        """Forget the frames of the run before.

        ``total`` steps are expected, 0 if unknown; ``factors`` turn latents into colours.
        """
        with self._lock:
            self.factors = factors
            self._run, self._total = run, total
            self._waiting: list[tuple[Step, float]] = []
            self._first: tuple[int, float] | None = None
            self._kept = 0.0  # when the last frame was kept in the traits
            self.newest: tuple[dict[str, Any], list[bytes]] | None = None
            self._harmless = Harmless()

    def add(self, step: Step) -> None:
        """Take a step that has just been made."""
        with self._lock:
            self._waiting.append((step, time.perf_counter()))
            del self._waiting[:-KEPT_FRAMES]

    def send_some(self) -> float:
        """Send what waits if the time has come; returns the seconds until it will have."""
        left = self._pace.left()
        if left > 0:
            return max(left, 0.002)  # no shorter: waiting costs, too
        with self._lock:
            waiting, self._waiting = self._waiting, []
        if waiting:
            self._send(waiting)
        return INTERVAL

    def send_all(self) -> None:
        """Send what waits, now, and keep the last frame in the traits."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        if waiting:
            self._send(waiting)
        self._keep()

    def send_again(self) -> None:
        """Send the newest frame once more, for a page that has just come."""
        newest = self.newest
        if newest is not None:
            self._view.send({"kind": "frames", "frames": [newest[0]]}, newest[1])

    def _send(self, waiting: list[tuple[Step, float]]) -> None:
        self._pace.sent()
        metas: list[dict[str, Any]] = []
        buffers: list[bytes] = []
        for step, when in waiting:
            numbers = self._numbers(step, when)
            with self._harmless:
                pictures, size = previews(step, self.factors)
                metas.append(numbers | size)
                buffers += pictures
        if not metas:
            return
        self.newest = metas[-1], buffers[-2:]
        with self._harmless:
            self._view.send({"kind": "frames", "frames": metas}, buffers)
        if time.perf_counter() > self._kept + TRAIT_INTERVAL:
            self._keep()

    def _keep(self) -> None:
        if self.newest is not None:
            meta, (noisy, clean) = self.newest
            with self._harmless:
                self._view.frame = meta | {"noisy": noisy, "clean": clean}
            self._kept = time.perf_counter()

    def _numbers(self, step: Step, when: float) -> dict[str, Any]:
        """What the page says about a step: ``seconds`` a step so far, ``left`` seconds to go.

        None for both with the first step: it carries what is done once, loading included.
        """
        number = step.index + 1
        total = max(self._total, number)
        seconds = None
        if self._first is None:
            self._first = number, when
        elif number > self._first[0]:
            seconds = (when - self._first[1]) / (number - self._first[0])
        return {
            "run": self._run,
            "step": number,
            "steps": total,
            "sigma": float(step.sigma),
            "seconds": seconds,
            "left": None if seconds is None else seconds * (total - number),
        }


def on_page(file: bytes, settings: Settings) -> dict[str, Any]:
    """A finished picture for the page: its PNG file, and words from the settings that made it."""
    prompt = shortened(str(settings.prompt), SHOWN)
    return {
        "data": file,
        "type": "image/png",
        "prompt": prompt,
        "seed": settings.seed,
        "label": f"the picture for: {prompt or 'no prompt'}, seed {settings.seed}",
    }


def smaller(shown: dict[str, Any], within: int) -> dict[str, Any]:
    """The same picture; as JPEG, as large as fits, where its file has over ``within`` bytes."""
    file = shown["data"]
    if len(file) <= within:
        return shown
    image = Image.open(io.BytesIO(file))
    side = max(image.size)
    while len(file) > within and side > 16:
        file = jpeg(image, side)
        side = side * 2 // 3
    return shown | {"data": file, "type": "image/jpeg"}


def jpeg(picture: Image.Image, side: int) -> bytes:
    """The JPEG bytes of a picture, its longer side scaled down to ``side`` pixels."""
    copy = picture.convert("RGB")
    copy.thumbnail((side, side))
    return encode_jpeg(copy, quality=85)


def previews(step: Step, factors: np.ndarray | None = None) -> tuple[list[bytes], dict[str, Any]]:
    """The noisy and the clean latents of a step as RGB bytes, and the size of both.

    ``factors`` are those of `trace.images.preview_rgb`. Pictures of a batch are laid out in a
    grid, as the finished ones are; ``blank`` is the size of the corner that they leave empty.
    """
    batch, channels = step.x.shape[:2]
    if factors is None:
        factors = factors_for(channels)
    columns = math.ceil(math.sqrt(batch))
    rows = math.ceil(batch / columns)
    sheets = [
        _sheet(preview_rgb(step.x, factors, sigma=step.sigma), rows, columns),
        _sheet(preview_rgb(step.denoised, factors), rows, columns),
    ]
    height, width, _ = sheets[0].shape
    empty = rows * columns - batch
    blank = [width * empty // columns, height // rows if empty else 0]
    size = {"width": width, "height": height, "blank": blank}
    return [sheet.tobytes() for sheet in sheets], size


def _sheet(pictures: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """uint8 [H, W, 3]: pictures [B, h, w, 3] in a grid, at most LARGEST_SIDE on a side."""
    batch, h, w, _ = pictures.shape
    tiles = np.zeros((rows * columns, h, w, 3), np.uint8)
    tiles[:batch] = pictures
    grid = tiles.reshape(rows, columns, h, w, 3).swapaxes(1, 2)
    sheet = grid.reshape(rows * h, columns * w, 3)
    by = math.ceil(max(sheet.shape[:2]) / LARGEST_SIDE)
    return sheet if by == 1 else np.asarray(Image.fromarray(sheet).reduce(by))
