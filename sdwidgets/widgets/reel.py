"""The stream of a run: its steps as bytes, each in its own trait and sent once.

Every widget that shows a run is a view of this stream: the forming image, the viewers, the Studio's
stage. The kernel sends each step once (trace/reel.py). When a person chooses what to see, it
computes nothing: the page (js/src/lib/store.ts) has all the data.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterable, Sequence, Sized
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import anywidget
import traitlets

from .. import checks
from ..checks import shortened
from ..contract import LARGEST_FRAME, LONGEST_SIDE, numbered
from ..errors import InputError
from ..folders import without_folders
from ..settings import Settings
from ..trace.images import encode_png
from ..trace.recording import Recordable, run_of
from ..trace.reel import header_of, pack
from ..trace.step import TraceStep
from ..trace.stills import Stills
from ..trace.thinning import strided
from ..trace.trace import Trace
from .final import SAVED_IMAGES, finals, fit_within
from .life import Living
from .pace import INTERVAL, Answer, Pace
from .selection import OF_A_RUN, SAFE_WHOLE, SELECTIONS, Selections
from .slots import SLOTS, Kept, Slots
from .watching import Harmless, Watching, counted, in_words, report

if TYPE_CHECKING:
    from ..diffusion.samplers import Step

log = logging.getLogger(__name__)

AnyView = TypeVar("AnyView", bound="ReelView")

ENDS = ("done", "stopped", "error")
"""How a run without a record ends."""

FRAMES = numbered("frame")
"""The traits that hold the steps."""

SAVED = 700_000
"""The most bytes of all steps in the saved state; larger runs are saved smaller."""

SAVED_AS = ((32, 1), (16, 1), (16, 2), (16, 4), (8, 4), (8, 8), (8, 16), (8, SLOTS))
"""The sizes to try, the first that fits: most cells along a side, and the stride of steps."""


class ReelView(Living, Watching, Selections, anywidget.AnyWidget):
    """What all views of a run share: its steps, its images and its state.

    Any thread may use it, also during a run. ``lock`` is held while the content changes. A thread
    that makes steps does not wait for the lock: `add` returns in microseconds.
    """

    uid = traitlets.Unicode(read_only=True).tag(sync=True)
    """The model's id: views in a page share what they have read, and ask for its kernel."""

    header: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    """Everything about the run except its steps (`trace.reel.header_of`); {} without a run."""

    pictures: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    """The final images, one dict each: ``data``, ``type``, ``prompt``, ``seed``, ``label``.
    [] until a run is done."""

    state = traitlets.Unicode("idle").tag(sync=True)
    """idle, loading, running, done, stopped or error."""

    message = traitlets.Unicode("").tag(sync=True)
    """The message about the run: one line, up to three for an error."""

    # frame0 to frame63 hold one kept step each. Unlike a message, a trait is in the saved notebook,
    # survives a reload and reaches a second view. One list of all steps would be sent whole with
    # every step, so each step has its own trait.
    locals().update({name: traitlets.Bytes().tag(sync=True) for name in FRAMES})

    _steps_in: ClassVar[Sequence[str]] = FRAMES  # all traits that hold steps

    def __init__(self, **traits: Any):
        check_known(self, traits)
        self.lock = threading.RLock()
        self._slots = Slots()
        self._harmless = Harmless()
        self._trace: Trace | None = None
        self._whole: dict[str, bytes] = {}  # full frames, if the traits hold smaller ones
        self._longest = LONGEST_SIDE
        self._run = 0  # the number of the run on show
        self._runs = 0  # numbers given so far
        self._pace, self._answer = Pace(), Answer(self._send_whole)
        super().__init__(**traits)
        self.set_trait("uid", str(self.model_id))
        self._begin()

    # ------------------------------------------------------------------------------ from Python

    @property
    def trace(self) -> Trace | None:
        """The record of the run on show, so far; None before the first run.

        A watched run has only its kept steps: all of up to 64, fewer of a longer run.
        """
        with self.lock:
            if self._trace is None:
                return None
            kept = tuple(step for _, step in self._slots.steps())
            own = tuple(step for step in kept if _is_like(step, self._trace.steps))
            whole = len(self._trace.steps) >= len(own)
            return self._trace if whole else replace(self._trace, steps=own)

    def show(self: AnyView, trace: Trace | Recordable) -> AnyView:
        """Show a finished run and return the view itself.

        ``trace`` may come from a file. A run that has not started, as in
        ``view.show(model.sample(...))``, shows its words and tokens. Raises InputError for anything
        else.
        """
        record = record_of(trace)
        self._check_process()
        self._show(record)
        return self

    # ------------------------------------------------------------------------------ during a run

    def say(self, state: str, message: str) -> None:
        """Set the state and message of a run that has no steps yet, or no more to come."""
        with self.lock, self.hold_sync():
            self.state, self.message = state, without_folders(message)

    def begin(self, trace: Trace, slots: Slots | None = None, *, number: int | None = None) -> int:
        """Start showing a run and return its number in this view.

        ``trace`` holds the run's settings. Earlier steps are dropped; pinned words stay.
        ``slots``: where the caller puts the run's steps; None if `add` takes them. ``number``: the
        number of a run that was shown before.
        """
        checks.able("trace", trace, "steps", "a Trace; Trace.begun(run) makes one")
        self._check_process()
        with self.lock:
            self._runs += number is None
            self._run = self._runs if number is None else number
            self._slots = Slots(len(trace.steps) or trace.expected) if slots is None else slots
            self._harmless = Harmless()
            self._trace, self._whole = trace, {}
            self._longest = LONGEST_SIDE
            with self._harmless, self.hold_sync():
                for name in self._steps_in:
                    setattr(self, name, b"")
                for name in OF_A_RUN:
                    setattr(self, name, SELECTIONS[name].default_value)
                self._forget_images()
                self.state, self.message = "running", "Starting"
                self.header = header_of(trace, self._run)
            return self._run

    def add(self, step: Step | TraceStep, seconds: float | None = None) -> None:
        """Add a new step that took ``seconds``; None takes the time since the step before."""
        self._add(checks.able("step", step, "denoised", "a step of a run"), seconds)

    def _add(self, step: Step | TraceStep, seconds: float | None) -> None:
        """Add whatever passes through: a run that is watched goes on, come what may."""
        if not self._closed:
            self._slots.add(step, seconds)

    def flush(self, *, everything: bool = False, run: int | None = None) -> float:
        """Send waiting steps if it is time (see `Pace`); return the seconds until the next time.

        ``everything``: send at once. ``run``: send only if that run is on show; otherwise return
        infinity.
        """
        checks.flag("everything", everything)
        with self.lock:
            if not self._is_on_show(run):
                return math.inf
            left = self._pace.left()
            if left > 0 and not everything:
                return left
            empty, new = self._slots.take()
            if empty or new:
                self._pace.sent()
                self._put(empty, new)
            return INTERVAL

    def end(
        self,
        result: Trace | str,
        message: str = "",
        *,
        run: int | None = None,
        images: Sequence[dict[str, Any]] | None = None,
    ) -> bool:
        """Show the end of the run; return False, and do nothing, if another run is on show.

        ``result``: its record or, without one, "done", "stopped" or "error". ``run``: its number.
        ``images``: its final images from `final.finals`, if already made.
        """
        if not isinstance(result, Trace):
            checks.choice("result", result, ENDS)
        checks.typed("message", message, str, "a text")
        with self.lock:
            if not self._is_on_show(run):
                return False
            self._conclude(result, message, images)
            with self._harmless:
                self._fit()
            self._redraw()
            return True

    def put(
        self, trace: Trace, message: str, images: Sequence[dict[str, Any]] | None = None
    ) -> int:
        """Show a finished run at once, in place of the one on show, and return its number."""
        with self.lock:
            self._show(trace, message, images=images)
            return self._run

    # See `Watching.watch`.

    def _start(self, steps: Iterable[Step], run: Recordable | None) -> int:
        return self.begin(_asked(steps) if run is None else Trace.begun(run))

    def _take(self, number: int, step: Step, seconds: float | None) -> None:
        with self.lock:
            if self._run == number:
                self._add(step, seconds)
                self.flush()

    def _settle(self, number: int) -> bool:
        with self.lock:
            self.flush(everything=True, run=number)
            return self._run == number

    def _finish(self, number: int, result: Trace | str, message: str) -> None:
        self.end(result, message, run=number)

    # --------------------------------------------------------------- internals; all hold `lock`

    def _show(
        self,
        record: Trace,
        message: str = "",
        *,
        number: int | None = None,
        images: Sequence[dict[str, Any]] | None = None,
    ) -> None:
        with self.lock:
            with self.hold_sync():
                self.begin(record, number=number)
                for step in record.steps:
                    self.add(step, step.seconds)
                self._conclude(record, message, images)
            with self._harmless:
                self._fit()
            self._redraw()

    def _is_on_show(self, run: int | None) -> bool:
        """Whether that run is on show; None is whichever is."""
        return run is None or checks.whole("run", run, -SAFE_WHOLE, SAFE_WHOLE) == self._run

    def _conclude(
        self, result: Trace | str, message: str, images: Sequence[dict[str, Any]] | None = None
    ) -> None:
        """Show the last step, the final images and the state."""
        self.flush(everything=True)
        made: Sequence[dict[str, Any]] = ()
        if isinstance(result, Trace):
            self._trace = result
            message = message or _said(result)
            with self._harmless:
                made = finals(result) if images is None else images
            result = "done" if result.complete else "stopped" if result.steps else "idle"
        elif self._trace is not None:
            count = self._trace.expected or self._slots.count  # perhaps unknown until now
            self._trace = replace(self._trace, expected=count, complete=result == "done")
        with self._harmless, self.hold_sync():
            self._show_images(made, result)
            self.state, self.message = result, message
            if self._trace is not None:
                self.header = header_of(self._trace, self._run)

    def _forget_images(self) -> None:
        """Handle the images of the run before, as a run begins."""
        self.pictures = []

    def _show_images(self, images: Sequence[dict[str, Any]], state: str) -> None:
        """Show the images of a run that ended in ``state``."""
        self.pictures = fit_within(SAVED_IMAGES, images)

    def _put(self, empty: Sequence[int], new: Sequence[Kept]) -> None:
        """Set the traits of emptied slots and of new steps."""
        frames = {name: b"" for slot in empty for name in self._traits_of(slot)}
        for kept in new:
            with self._harmless:
                frames |= self._packed(kept.slot, kept.record())
        with self._harmless, self.hold_sync():
            if self.message == "Starting":
                self.message = "Denoising"
            known = self._slots.steps()
            if self._trace is not None and known and not _is_like(known[-1][1], self._trace.steps):
                # it names the layers, and which of them count: others in a second pass
                self._trace = replace(self._trace, steps=(known[-1][1],))
                self.header = header_of(self._trace, self._run)
            for name, frame in frames.items():
                setattr(self, name, frame)

    def _packed(self, slot: int, step: TraceStep) -> dict[str, bytes]:
        """The values of a slot's traits for a step, at most `LARGEST_FRAME` bytes."""
        frames = self._pack(slot, step, self._longest)
        while sum(map(len, frames.values())) > LARGEST_FRAME and self._longest > 8:
            self._longest //= 2
            frames = self._pack(slot, step, self._longest)
        return frames

    def _traits_of(self, slot: int) -> Sequence[str]:
        """The traits that hold a slot's step."""
        return (FRAMES[slot],)

    def _pack(self, slot: int, step: TraceStep, longest: int) -> dict[str, bytes]:
        """The values of these traits for a step, at most ``longest`` cells along a side."""
        return {FRAMES[slot]: pack(step, longest=longest)}

    def _fit(self) -> None:
        """Replace a large run in the traits, and so in the notebook, by a smaller copy.

        A page that shows the run already has all of it. Others can ask for it (see `_receive`).
        """
        whole = {name: getattr(self, name) for name in self._steps_in if getattr(self, name)}
        if not self._whole and sum(map(len, whole.values())) <= SAVED:
            return
        sent = self._slots.steps()
        small: dict[str, bytes] = {}
        for longest, by in SAVED_AS:
            packed = [self._pack(slot, step, longest) for slot, step in strided(sent, by)]
            frames = {name: frame for one in packed for name, frame in one.items()}
            if sum(map(len, frames.values())) <= SAVED:
                small = frames
                break
        self._whole = whole | self._whole
        with self.hold_sync():
            self.header = {**self.header, "saved": True}
            for name in whole:
                setattr(self, name, small.get(name, b""))

    def _complain(self, error: Exception) -> None:
        with self.lock:
            self.message = in_words(error)

    def _receive(self, message: Any, buffers: Any) -> None:
        """Answer a late page that asks for the full frames. Other messages are ignored."""
        if isinstance(message, dict) and message.get("kind") == "frames" and self._whole:
            self._answer()

    def _send_whole(self) -> None:
        with self.lock:
            answer = {"kind": "frames", "run": self._run, "names": list(self._whole)}
            if self._whole:
                self.send(answer, list(self._whole.values()))

    # -------------------------------------------------------------------------------- as output

    def _still(self) -> bytes | None:
        """The final image or, without one, the clean latents of the newest step."""
        trace = self.trace
        if trace is None or not (trace.images or trace.steps):
            return None
        if trace.images:
            return trace.png(min(self.picture, len(trace.images) - 1))
        return encode_png(Stills(trace).clean(trace.steps[-1]))

    _instead = "Save its run with viewer.trace.save(path), and show that elsewhere."

    def __repr__(self) -> str:
        name, trace = type(self).__name__, self.trace
        if trace is None:
            return f"{name}: no run yet"
        prompt = f" of {shortened(trace.prompt, 60)!r}" if trace.prompt else ""
        return f"{name}: {len(trace.steps)} steps{prompt}, {self.state}"


def check_known(widget: traitlets.HasTraits, traits: dict[str, Any]) -> None:
    """Raise TypeError for names that are no traits of the widget; traitlets would only warn."""
    for name in traits:
        if not widget.has_trait(name):
            known = ", ".join(SELECTIONS)
            raise TypeError(f"{type(widget).__name__}() takes no {name!r}. Selections: {known}.")


def record_of(what: Trace | Recordable) -> Trace:
    """The record of a trace or of a run that has not started, also behind a progress bar."""
    if isinstance(what, Trace):
        return what
    run = run_of(what)
    if run is None:
        raise InputError(
            f"A viewer shows a trace, or a run of a model, got a {type(what).__name__}.\n"
            "Show the steps of your own loop with: for step in viewer.watch(steps): ...",
            parameter="trace",
        )
    return Trace.begun(run)


def _asked(steps: object) -> Trace:
    """A record of steps from a caller's own loop, before the first: at best, their number."""
    model = getattr(steps, "model", None)
    return Trace(
        model=getattr(model, "name", ""),
        task="",  # its settings are unknown
        settings=Settings(),
        expected=len(steps) if isinstance(steps, Sized) else 0,
        complete=False,
        factors=getattr(model, "preview_factors", None),
    )


def _is_like(step: TraceStep, steps: Sequence[TraceStep]) -> bool:
    """Whether a step has the shape of the first of these; False without any."""
    return bool(steps) and steps[0].x.shape == step.x.shape


def _said(trace: Trace) -> str:
    steps = len(trace.steps)
    if not steps and not trace.complete:
        return ""
    return report(trace, steps) if trace.complete else f"Stopped after {counted(steps)}"
