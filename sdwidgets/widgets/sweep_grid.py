"""The grid of a sweep on a page: what it shows, and what a page asks for."""

from __future__ import annotations

import io
import logging
import math
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anywidget
import numpy as np
import traitlets
from PIL import Image

from ..checks import is_whole, shortened
from ..contract import ASKS, CELL_STATES, SWEEP_LIMITS
from ..frontend import Code
from ..sweep.engine import Engine
from ..sweep.points import Point
from ..sweep.results import Result
from ..trace.about import about
from ..trace.images import encode_png
from ..trace.older import FORMAT
from .life import Living
from .pace import Answer, Pace
from .thumbnails import Thumbnails
from .watching import in_words

log = logging.getLogger(__name__)

INTERVAL = 0.15
"""Seconds between two updates of a page, at least. Each is at most two messages."""

ERRORS = 100
"""The most errors in the saved state; those of further points are told when they are opened."""

WAITING, RUNNING, DONE, FAILED = range(len(CELL_STATES))

Acts = Mapping[str, Callable[[Any], object]]


class SweepGrid(Living, anywidget.AnyWidget):
    """The view of a sweep: it follows an engine and answers pages.

    ``acts``: what happens at each other message of a page, by its kind; each is given the message.
    ``has_studio()``: whether there is a Studio that can take a point's settings.
    """

    _esm = Code("sweep.js")
    _css = Code("sweep.css")

    _is_part = True

    uid = traitlets.Unicode(read_only=True).tag(sync=True)
    """The model's id: views in a page share what they have read, and ask for its kernel."""

    plan: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    """The ``axes``, each with a ``name`` and its ``values`` in words, and ``about``, the settings
    that all points have, as pairs of a name and a text."""

    shape: traitlets.List[int] = traitlets.List([1, 1]).tag(sync=True)
    """Width and height of the images in pixels; of the largest, where they differ."""

    run: traitlets.Dict[str, Any] = traitlets.Dict({"state": "idle", "message": ""}).tag(sync=True)
    """The ``state``, one of `contract.SWEEP_STATES`, and one line of ``message``, up to three for
    an error."""

    progress: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    """``count`` of points, how many are ``done`` and have ``failed``, the ``steps`` of all if none
    were shared, how many of these are ``saved`` by sharing, and the seconds ``left``, or None."""

    cells = traitlets.Bytes().tag(sync=True)
    """A byte for each point: the index of its state in `contract.CELL_STATES`."""

    score_names: traitlets.List[str] = traitlets.List().tag(sync=True)
    """The names of the scores."""

    scores = traitlets.Bytes().tag(sync=True)
    """float32 [points, scores]; NaN where there is none."""

    errors: traitlets.Dict[str, str] = traitlets.Dict().tag(sync=True)
    """Why points have failed, by their numbers, in up to three lines each."""

    sprite: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    """All images, small, as `Thumbnails.sheet` has them, for saved notebooks; {} until it pauses or
    ends."""

    def __init__(self, engine: Engine, acts: Acts, has_studio: Callable[[], bool]):
        self.engine = engine
        self._has_studio = has_studio
        self.lock = threading.RLock()
        self._acts = acts
        self._images = Thumbnails(len(engine))
        self._new: list[int] = []  # numbers of results that no page was told of
        self._asked: list[int] = []  # those that a page asked for
        self._timer: threading.Timer | None = None
        self._pace = Pace(INTERVAL)
        self._hello = Answer(lambda: self.send({"kind": "hello"}))
        self._stopping = False  # it was asked to, and has not yet
        self._saved = 0  # images in the saved state
        self._steps: int | None = None  # of all points, if none were shared
        names = list(engine.making.scores)
        super().__init__(score_names=names)
        self._numbers = np.full((len(engine), len(names)), np.nan, dtype="<f4")
        with self.hold_sync():
            self.set_trait("uid", str(self.model_id))
            self._take(engine.results.values())
            self._new.clear()  # a page asks for those that it sees
            self.plan = _plan(engine)
            self.shape = _shape(engine)
            self._update()
        self._begin()
        self._leave = engine.follow(self._follow)
        if engine.results:
            self._soon()

    def set_state(self, sync_data: Any) -> None:
        """Does nothing: every trait is the kernel's, and a front end that sets one is at fault."""

    def _end(self) -> None:
        self._leave()
        with self.lock:
            if self._timer is not None:
                self._timer.cancel()

    # ------------------------------------------------------------------------------ from Python

    def stopping(self) -> None:
        """Say that it stops as soon as it can."""
        with self.lock:
            self._stopping = True
        self._soon()

    def tell(self, message: str) -> None:
        """Say on the page what came of a request."""
        self.send({"kind": "told", "message": message})

    def file(self, name: str, kind: str, data: bytes) -> None:
        """Let the page save a file."""
        self.send({"kind": "file", "name": name, "type": kind}, [data])

    # ------------------------------------------------------------------------------- the engine

    def _follow(self, result: Result | None) -> None:
        """Note what is new; called on the engine's thread."""
        if result is not None:
            self._take([result])
        self._soon()

    def _take(self, results: Any) -> None:
        with self.lock:
            for result in results:
                self._images.forget(result.index)
                self._new.append(result.index)
                for i, name in enumerate(self.engine.making.scores):
                    self._numbers[result.index, i] = result.scores.get(name, np.nan)

    def _soon(self) -> None:
        """Update the page as soon as it may be, on a thread of its own."""
        with self.lock:
            if self._timer is not None or self._closed:
                return
            # it may be waiting still when the widget is closed and dropped
            self._timer = threading.Timer(max(self._pace.left(), 0), _flush, [weakref.ref(self)])
            self._timer.daemon = True
            self._timer.start()

    def flush(self) -> None:
        """Tell the page all that is new, now."""
        try:
            with self.lock:
                self._timer = None
                if self._closed:
                    return
                self._pace.sent()
                points, self._asked, self._new = [*self._asked, *reversed(self._new)], [], []
                self._update()
                self._save()
            self._send_news(points)
        except Exception:  # the sweep goes on
            log.warning("The page of a sweep cannot be brought up to date.", exc_info=True)

    def _update(self) -> None:
        """Set the traits as the engine is now."""
        results, current = self.engine.results, self.engine.current
        progress = self.engine.progress
        ended = progress.state not in ("running", "paused")
        self._stopping = self._stopping and not ended
        cells = bytearray(len(self.engine))
        for index in current:
            cells[index] = RUNNING
        failed: list[Result] = []
        for index, result in results.items():
            cells[index] = DONE if result.ok else FAILED
            if not result.ok:
                failed.append(result)
        if self._steps is None and progress.steps_saved is not None:
            cost = self.engine.plan.cost()
            self._steps = None if cost is None else cost.made + cost.saved
        with self.hold_sync():
            self._fit(results)
            self.cells = bytes(cells)
            self.progress = {
                "count": progress.points,
                "done": progress.done - progress.failed,
                "failed": progress.failed,
                "steps": self._steps or 0,
                "saved": progress.steps_saved or 0,
                "left": progress.eta,
            }
            self.errors = {str(one.index): _why(one) for one in failed[:ERRORS]}
            if self._numbers.size:
                self.scores = self._numbers.tobytes()
            self.run = {"state": self._state(), "message": self._message()}

    def _save(self) -> None:
        """Put all images into the saved state, once it pauses or ends."""
        results = self.engine.results
        done = [result for result in results.values() if result.ok]
        rests = self.run["state"] not in ("running", "pausing", "stopping")
        if rests and len(done) != self._saved:
            self.sprite = self._images.sheet(done, len(self.engine), self.shape)
            self._saved = len(done)

    def _fit(self, results: Mapping[int, Result]) -> None:
        """Take the shape from the first image, where it was not known."""
        if list(self.shape) == [1, 1]:
            done = next((result for result in results.values() if result.ok), None)
            if done is not None:
                self.shape = list(done.image.size)

    def _state(self) -> str:
        state, current = self.engine.state, self.engine.current
        if self._stopping and state in ("running", "paused"):
            return "stopping"
        if state == "paused" and current:
            return "pausing"
        return "idle" if state == "ready" else state

    def _message(self) -> str:
        state, progress = self._state(), self.engine.progress
        images = progress.done - progress.failed
        if state == "error" and self.engine.error is not None:
            return in_words(self.engine.error)
        begun = images or progress.failed or self.engine.current
        took = f" in {progress.seconds:.1f} s" if progress.seconds >= 0.05 else ""
        said = {
            "running": "Making images" if begun else "Getting the model ready",
            "pausing": "Pausing after the images that are being made",
            "paused": "Paused",
            "stopping": "Cancelling",
            "stopped": f"Cancelled; {_counted(images)} kept",
            "done": f"Done: {_counted(images)}{took}",
        }.get(state, "")
        return "\n".join([*filter(None, (said, *self.engine.notices))][:3])

    def _send_news(self, points: Sequence[int]) -> None:
        """Send the images of these points, as far as they fit, and how far others are; a page asks
        for further images as they are seen."""
        current = self.engine.current
        running = [[index, *steps] for index, steps in current.items()]
        images, files = self._files(points[: SWEEP_LIMITS["asked"]])
        if images or running:
            self.send({"kind": "news", "images": images, "running": running}, files)

    def _files(self, points: Sequence[int]) -> tuple[list[int], list[bytes]]:
        """The points with an image among these, and their images."""
        results = self.engine.results
        files = {
            index: self._images.of(results[index])
            for index in dict.fromkeys(points)
            if index in results and results[index].ok
        }
        return list(files), list(files.values())

    # --------------------------------------------------------------------------------- the page

    def _complain(self, error: Exception) -> None:
        self.tell(in_words(error))

    def _receive(self, message: Any, buffers: Any) -> None:
        kind = message.get("kind") if isinstance(message, dict) else None
        if not isinstance(kind, str) or kind not in ASKS["sweep"]:
            return
        if kind == "hello":
            self._hello()
            self._soon()  # the steps of what runs are in no trait
        elif kind == "look":
            self._look(message.get("points"))
        elif kind == "open":
            if self.is_point(message.get("point")):
                self._open(message["point"])
        else:
            self._acts[kind](message)

    def is_point(self, index: Any) -> bool:
        """Whether that is the number of a point."""
        return is_whole(index) and 0 <= index < len(self.engine)

    def _look(self, points: Any) -> None:
        """Send the small images of some points, with the next news."""
        known = points if isinstance(points, list) else []
        some = [index for index in known[: SWEEP_LIMITS["asked"]] if self.is_point(index)]
        with self.lock:
            self._asked = [*some, *self._asked][: SWEEP_LIMITS["asked"]]
        self._soon()

    def _open(self, index: int) -> None:
        """Send everything about a point."""
        point, result = self.engine.plan.point(index), self.engine.results.get(index)
        ok = result is not None and result.ok
        scores = [float(value) for value in self._numbers[index]]
        answer = {
            "kind": "point",
            "index": index,
            "about": _settings_of(point, result),
            "made": result.trace.record() if ok and result is not None else _asked(point),
            "error": "" if result is None or ok else _why(result),
            "scores": [value if math.isfinite(value) else None for value in scores],
            "type": "image/png",
            "studio": self._has_studio(),
            "whole": ok and result is not None and bool(result.trace.steps),
        }
        self.send(answer, [result.trace.png()] if ok and result is not None else [])

    # -------------------------------------------------------------------------------- as output

    def _still(self) -> bytes | None:
        """All images."""
        data = self.sprite.get("data")
        return encode_png(Image.open(io.BytesIO(data))) if data else None


def _flush(grid: weakref.ref[SweepGrid]) -> None:
    there = grid()
    if there is not None:
        there.flush()


def _counted(images: int) -> str:
    return "1 image" if images == 1 else f"{images} images"


def _why(result: Result) -> str:
    """Why a point has failed, in up to three lines."""
    return "" if result.error is None else in_words(result.error)


def _plan(engine: Engine) -> dict[str, Any]:
    plan, most = engine.plan, SWEEP_LIMITS["label"]
    axes = [
        {"name": axis.title, "values": [shortened(text, most) for text in axis.labels]}
        for axis in plan.axes
    ]
    texts = {name: _text(value) for name, value in plan.fixed.items() if value is not None}
    about = [[name.replace("_", " "), text] for name, text in texts.items() if text]
    return {"axes": axes, "about": about}


def _text(value: Any) -> str:
    """A setting's value for people."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return shortened(text, SWEEP_LIMITS["label"])


SEEN = 200
"""The most points of which the sizes are looked at in advance."""


def _shape(engine: Engine) -> list[int]:
    """Width and height of the images, of the largest if they differ; [1, 1] if unknown yet."""
    width = height = 1
    for _, point in zip(range(SEEN), engine.plan, strict=False):
        settings, config = point.settings, engine.plan.configs.get(point.model)
        usual = 1 if config is None else config.size
        width = max(width, settings.width or usual)
        height = max(height, settings.height or usual)
    return [width, height]


def _settings_of(point: Point, result: Result | None) -> list[list[str]]:
    """A point's settings in words: as its run had them or, without one, as they are asked for."""
    if result is not None and result.ok:
        return [list(pair) for pair in about(result.trace)]
    facts = {"model": point.model, **point.facts()}
    return [[name.replace("_", " "), _text(value)] for name, value in facts.items()]


def _asked(point: Point) -> dict[str, Any] | None:
    """The record of a run that was not made, as far as a cell needs it; None if that is not
    enough."""
    given = point.given
    if point.branches or given.start is not None or given.control or point.loras or point.refiner:
        return None
    return {
        "model": point.model,
        "task": "text to image",
        "settings": point.settings.as_dict(),
        "settings_format": FORMAT,
    }
