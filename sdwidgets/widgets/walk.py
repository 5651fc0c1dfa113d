"""A walk between prompts and seeds: its frames as they are made, and an animation of them."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from .. import checks
from .. import walk as engine
from ..contract import NUMBERED, WALK, numbered
from ..daemon import start_daemon
from ..errors import Busy, InputError, Stopped
from ..frontend import Code
from ..manager import Request
from ..trace.about import about
from ..trace.images import encode_png
from ..walk import Frame, Route, following
from .final import finals, smaller
from .life import Living
from .newest import Newest
from .results import contact
from .side import shared_manager
from .waiting import wait
from .watching import in_words

if TYPE_CHECKING:
    from ..manager import Job, ModelManager
    from ..pictures import PictureLike
    from ..pipeline import LatentDiffusion
    from ..settings import AttentionSettings

STILLS = numbered("still")
"""The traits that hold the frames' images, in the order in which they are made."""

OWN = ("prompt", "toward", "seed", "variation")
"""What differs between frames, as `trace.about.about` names it."""

LEFT_OUT = ("steps", "made with")
"""What is not said of all frames: the time of the first, and versions."""


class Walk(Living, anywidget.AnyWidget):
    """Goes from prompt to prompt and from seed to seed, and shows the frames as a strip.

    ``stops`` are prompts, seeds or pairs of both; a prompt alone keeps the seed of the stop before,
    a seed alone its prompt. Between stops, noise goes along the sphere and words along a line.
    Frames are made in the background, coarse first. Iterating yields them as they are made.

    Example::

        walk = sdw.Walk("emoji", ["a cat", "a red car", 9], frames=8, loop=True)
        walk                                  # shows the widget
        for frame in walk:                    # also without a page
            print(frame.place, frame.settings.toward)
        walk.save("walk.webp")

    ``model``: a model, or a name as for the Studio. ``frames``: of each leg. ``loop``: whether the
    walk leads back. ``even``: whether frames are where the image changes. ``image``, ``mask``,
    ``attention``: as for `LatentDiffusion.sample`, as all other ``settings`` are.
    """

    _esm = Code("walk.js")
    _css = Code("walk.css")

    uid = traitlets.Unicode(read_only=True).tag(sync=True)
    """Identifies this widget; its views ask for its kernel by it."""

    plan: traitlets.Dict[str, Any] = traitlets.Dict(read_only=True).tag(sync=True)
    """``count``: the frames; ``legs``; ``loop``; ``stops``: each a pair of words and seed."""

    shots: traitlets.List[dict[str, Any]] = traitlets.List(read_only=True).tag(sync=True)
    """The frames so far, as they were made: the ``place`` of each in legs, and ``about``, its own
    settings in words."""

    about: traitlets.List[tuple[str, str]] = traitlets.List(read_only=True).tag(sync=True)
    """The settings that all frames share, in words."""

    state = traitlets.Unicode("idle", read_only=True).tag(sync=True)
    """idle, running, done, stopped or error."""

    message = traitlets.Unicode("", read_only=True).tag(sync=True)
    """How far it is, or why it ended."""

    # still0, still1, ... hold an image each, so that each is sent once.
    locals().update({name: traitlets.Bytes(read_only=True).tag(sync=True) for name in STILLS})

    def __init__(
        self,
        model: LatentDiffusion | str,
        stops: Sequence[str | int | tuple[str, int]],
        *,
        frames: int = 8,
        loop: bool = False,
        even: bool = False,
        image: PictureLike | None = None,
        mask: PictureLike | None = None,
        attention: bool | AttentionSettings = False,
        manager: ModelManager | None = None,
        **settings: Any,
    ):
        """Starts the walk. Raises InputError for what no walk takes."""
        if manager is not None:
            checks.able("manager", manager, "submit", "a ModelManager")
        self.route = Route.of(stops, frames=frames, loop=loop, even=even, **settings)
        if self.route.count > NUMBERED["still"]:
            raise InputError(
                f"The walk would have {self.route.count} frames; a page shows at most "
                f"{NUMBERED['still']}.\nGive fewer frames for each leg, or use sdwidgets.walk.",
                parameter="frames",
            )
        self._manager = shared_manager() if manager is None else manager
        if not isinstance(model, str):
            checks.able("model", model, "run", "a model or its name")
            model = self._manager.add(model, replace=False)
        self._model = model
        self._asked = Request(
            self._model, self.route.settings, image=image, mask=mask, attention=attention
        )
        self._frames: dict[float, Frame] = {}
        self._changed = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._over.set()
        self._stop = threading.Event()
        self._job: Job | None = None
        self._error: BaseException | None = None
        self._saving = Newest(self._complain_of_file, lambda: None, "sdwidgets walk file")
        super().__init__()
        self.set_trait("uid", secrets.token_hex(8))
        self.set_trait(
            "plan",
            {
                "count": self.route.count,
                "legs": self.route.legs,
                "loop": loop,
                "stops": [[stop.prompt, stop.seed] for stop in self.route.stops],
            },
        )
        self._begin()
        self.start()

    # ------------------------------------------------------------------------------ from Python

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The frames so far, in the order of their places; each has ``place``, ``settings``,
        ``image`` and ``trace``."""
        with self._changed:
            return tuple(self._frames[place] for place in sorted(self._frames))

    @property
    def error(self) -> BaseException | None:
        """What ended the walk, if it failed."""
        return self._error

    def start(self) -> None:
        """Make the frames that are left, in the background. Does nothing while it goes on."""
        self._check_process()
        with self._changed:
            if not self._over.is_set() or self.state == "done":
                return
            if self._closed:
                raise Busy("This walk is closed.\nMake a new one.")
            self._stop.clear()
            self._over.clear()
            self._error = None
            self._say("running", "Starting")
            try:
                self._thread = start_daemon("sdwidgets walk", self._go, end=self.stop)
            except BaseException:
                self._over.set()
                raise

    def stop(self) -> None:
        """Stop within a step; the frames so far stay. `start` goes on."""
        self._stop.set()
        job = self._job
        if job is not None:
            job.cancel()

    def wait(self, timeout: float | None = None) -> tuple[Frame, ...]:
        """Wait until it has ended, and return its frames.

        Raises what ended it, and TimeoutError after ``timeout`` seconds. Ctrl-C stops it.
        """
        self._check_process()
        here = threading.current_thread() is self._thread
        wait(self._over, timeout, what="The walk", is_here=here, stop=self.stop)
        if self._error is not None:
            raise self._error.with_traceback(None)
        return self.frames

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames as they are made, those that are there first."""
        seen = 0
        while True:
            with self._changed:
                made = list(self._frames.values())
                over = self._over.is_set()
                if len(made) == seen and not over:
                    self._changed.wait(0.1)  # short, so that Ctrl-C is heard
                    continue
            yield from made[seen:]
            seen = len(made)
            if over:
                if self._error is not None:
                    raise self._error.with_traceback(None)
                return

    def save(
        self, path: str | os.PathLike[str], *, seconds: float | None = None, back: bool = False
    ) -> Path:
        """Write the frames so far as an animation; see `sdwidgets.walk.save`."""
        return engine.save(self.frames, path, seconds=seconds, back=back)

    # ------------------------------------------------------------------------------ its thread

    def _go(self) -> None:
        self._thread = threading.current_thread()
        state = "stopped"
        try:
            self._make()
            state = "done"
        except Stopped:
            pass
        except BaseException as error:
            state, self._error = "error", error
        finally:
            count = len(self._frames)
            words = {
                "done": f"{count} frames",
                "stopped": f"Stopped after {count} of {self.route.count} frames",
            }
            self._job = None
            self._say(state, in_words(self._error) if self._error else words[state])
            self._redraw()
            with self._changed:
                self._over.set()
                self._changed.notify_all()

    def _make(self) -> None:
        places = self.route.places()
        place: float | None = next(places)
        begun, made = time.monotonic(), 0
        while place is not None:
            frame = self._frames.get(place)
            if frame is None:
                frame = Frame(place, self._run(place))
                made += 1
                self._take(frame, (time.monotonic() - begun) / made)
            place = following(places, frame.image)

    def _run(self, place: float) -> Any:
        """The record of the run at a place, one at a time on the manager's worker."""
        if self._stop.is_set():
            raise Stopped("Stopped.")
        request = replace(self._asked, settings=self.route.at(place))
        self._job = job = self._manager.submit(request, on_message=self._hear_of_model)
        if self._stop.is_set():
            job.cancel()
        return job.result()

    def _hear_of_model(self, message: str) -> None:
        if message and not self._frames and self.state == "running":
            self.set_trait("message", message)

    def _take(self, frame: Frame, pace: float) -> None:
        """Show a frame. ``pace``: seconds for each."""
        budget = min(WALK["bytes"] // self.route.count, WALK["still"])
        still = smaller(finals(frame.trace)[0], budget)["data"]
        rows = about(frame.trace)
        with self._changed:
            number = len(self._frames)
            self._frames[frame.place] = frame
            left = self.route.count - number - 1
            with self.hold_sync():
                self.set_trait(STILLS[number], still)
                own = [row for row in rows if row[0] in OWN]
                self.set_trait("shots", [*self.shots, {"place": frame.place, "about": own}])
                if number == 0:
                    shared = [row for row in rows if row[0] not in (*OWN, *LEFT_OUT)]
                    self.set_trait("about", shared)
                eta = f", {_time(pace * left)} left" if left else ""
                self._say("running", f"{number + 1} of {self.route.count} frames{eta}")
            self._changed.notify_all()

    def _say(self, state: str, message: str) -> None:
        self.set_trait("message", message)
        self.set_trait("state", state)

    # -------------------------------------------------------------------------------- the page

    def set_state(self, sync_data: Any) -> None:
        """Does nothing: pages set no traits."""

    def _receive(self, message: Any, buffers: Any) -> None:
        """Handle a message of a page. Malformed ones are ignored."""
        if not isinstance(message, dict):
            return
        kind = message.get("kind")
        if kind == "hello":
            self.send({"kind": "hello"})
        elif kind == "ping":
            self.send({"kind": "pong"})
        elif kind == "start":
            self.start()
        elif kind == "stop":
            self.stop()
        elif kind == "save":
            self._save_for_page(message.get("ending"), message.get("fps"), message.get("back"))

    def _save_for_page(self, ending: Any, fps: Any, back: Any) -> None:
        """Send the page a file of the frames so far."""
        ending = checks.choice("ending", ending, tuple(WALK["endings"]))
        fps = checks.real("fps", fps, *WALK["fps"])
        back, frames = checks.flag("back", back), self.frames
        count = 2 * len(frames) - 2 if back else len(frames)

        def work(_: Any) -> None:
            seconds = max(count / fps, 0.1)
            data = engine.animated(frames, ending, seconds, back=back)
            self.send({"kind": "file", "ending": ending}, [data])

        self._saving.ask("file", work)

    def _complain_of_file(self, error: BaseException) -> None:
        self.send({"kind": "trouble", "message": in_words(error)})

    def _complain(self, error: Exception) -> None:
        self._complain_of_file(error)

    def _end(self) -> None:
        self.stop()
        self._saving.close()

    # -------------------------------------------------------------------------------- as output

    _instead = "Save its frames with walk.save(path)."

    def __repr__(self) -> str:
        return f"Walk: {len(self._frames)} of {self.route.count} frames, {self.state}"

    def _still(self) -> bytes | None:
        """All frames, in rows."""
        frames = self.frames
        return encode_png(contact([frame.image for frame in frames])) if frames else None


def _time(seconds: float) -> str:
    """ "12 s", "3 min"."""
    return f"{max(round(seconds), 1)} s" if seconds < 90 else f"{round(seconds / 60)} min"
