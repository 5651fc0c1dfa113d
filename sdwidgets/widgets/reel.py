"""The one stream of a run: its steps as bytes, each in a trait of its own, sent once.

Whatever shows a run in a notebook is a view of it: the image as it forms, the viewers, the Studio's
stage. The kernel sends each step once (trace/reel.py) and computes nothing when a person chooses
what to see: the page (js/src/lib/store.ts) has it all.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
from collections.abc import Iterable, Sequence, Sized
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

import anywidget
import traitlets

from ..checks import shortened
from ..contract import numbered
from ..errors import InputError
from ..settings import Settings
from ..trace.recording import Recordable, run_of
from ..trace.reel import LONGEST_SIDE, header_of, pack
from ..trace.step import TraceStep
from ..trace.thinning import strided
from ..trace.trace import Trace
from . import kernel
from .final import SAVED_PICTURE, finals, fit_within
from .pace import INTERVAL, Answer, Pace
from .selection import OF_A_RUN, SELECTIONS, Selections
from .slots import SLOTS, Kept, Slots
from .watching import Harmless, Watching, report

if TYPE_CHECKING:
    from ..diffusion.samplers import Step

log = logging.getLogger(__name__)

AnyView = TypeVar("AnyView", bound="ReelView")

FRAMES = numbered("frame")
"""The traits that hold the steps."""

LARGEST_FRAME = 2_000_000
"""Bytes of a step on its way to the page; what has more is averaged down."""

SAVED = 700_000
"""Bytes of all steps together in the saved state; a run of more is kept there smaller."""

SAVED_AS = ((32, 1), (16, 1), (16, 2), (16, 4), (8, 4), (8, 8), (8, 16), (8, SLOTS))
"""How: at most so many cells along a side, and every so-many-th step; the first that fits."""


class ReelView(Watching, Selections, anywidget.AnyWidget):
    """What all views of a run have in common: its steps, its images, what is said about it.

    It may be used from any thread, also while a run goes on: ``lock`` is held while what it shows
    changes. A thread that makes steps need not wait for that: `add` takes them in microseconds.
    """

    uid = traitlets.Unicode(read_only=True).tag(sync=True)
    """Tells this widget from others: the views of one share what they have read."""

    header: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    """What is known of the run beside its steps (`trace.reel.header_of`); {} before the first."""

    pictures: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    """The final images, a dict for each of the batch: ``data``, ``type``, ``prompt``, ``seed``,
    ``label``; [] until a run is done."""

    state = traitlets.Unicode("idle").tag(sync=True)
    """idle, loading, running, done, stopped or error."""

    message = traitlets.Unicode("").tag(sync=True)
    """What is said about the run: a line, up to three for an error."""

    # frame0 to frame63, a kept step each. A trait is in the saved notebook, and there after a
    # reload and for a second view, which a message is not. One list of all steps would be sent
    # whole with each of them; so each is sent once.
    locals().update({name: traitlets.Bytes().tag(sync=True) for name in FRAMES})

    _steps_in: ClassVar[Sequence[str]] = FRAMES  # all traits that hold steps

    def __init__(self, **traits: Any):
        check_known(self, traits)
        self.lock = threading.RLock()
        self._slots = Slots()
        self._harmless = Harmless()
        self._trace: Trace | None = None
        self._whole: dict[str, bytes] = {}  # frames as sent, where the traits hold smaller ones
        self._longest = LONGEST_SIDE
        self._run = 0  # the number of the run on show
        self._runs = 0  # numbers given so far
        self._pace, self._answer = Pace(), Answer(self._send_whole)
        self._closed = False
        super().__init__(**traits)
        self.set_trait("uid", secrets.token_hex(8))
        self.on_msg(self._receive)
        kernel.unpin(self)

    # ------------------------------------------------------------------------------ from Python

    @property
    def trace(self) -> Trace | None:
        """The record of what is shown, as far as it has come; None before the first run.

        Of a run that was watched it has the steps that were kept: of up to 64 all, of more fewer.
        """
        with self.lock:
            if self._trace is None:
                return None
            kept = tuple(step for _, step in self._slots.steps())
            whole = len(self._trace.steps) >= len(kept)
            return self._trace if whole else replace(self._trace, steps=kept)

    def show(self: AnyView, trace: Trace | Recordable) -> AnyView:
        """Show a finished run, also one read from a file; returns the view itself.

        Of a run that has not begun, ``view.show(model.sample(...))``, its words and tokens.
        Raises InputError for anything else.
        """
        record = record_of(trace)
        self._show(record)
        return self

    def close(self) -> None:
        """Take the widget off every page. A run that is being watched goes on."""
        self._closed = True
        self.layout.close()  # a widget, too, and nothing else closes it
        super().close()

    # --------------------------------------------------------------------- a run as it goes on

    def say(self, state: str, message: str) -> None:
        """Set the state, and what is said, of a run that has no steps yet or no more."""
        with self.lock, self.hold_sync():
            self.state, self.message = state, message

    def begin(self, trace: Trace, slots: Slots | None = None, *, number: int | None = None) -> int:
        """Start to show a run, of which ``trace`` says what was asked; returns its number here.

        The steps before are forgotten; the pinned words stay. ``slots``: where steps of the run
        are put, by somebody else; else `add` takes them. ``number``: its number, where it has been
        shown before.
        """
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
        """Take a step that has just been made; it took ``seconds``, or the time since the last."""
        if not self._closed:
            self._slots.add(step, seconds)

    def flush(self, *, everything: bool = False, run: int | None = None) -> float:
        """Send what waits if the time has come (see `Pace`); returns the seconds until it will.

        ``everything``: now. ``run``: only of the run of that number; infinity if another is shown.
        """
        with self.lock:
            if run not in (None, self._run):
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
        """The run is over. ``result``: its record; or "done", "stopped" or "error" without one.

        ``run``: its number; if another is shown by now, nothing happens, and False is returned.
        ``images``: its final images as `final.finals` gives them, where they are at hand.
        """
        with self.lock:
            if run not in (None, self._run):
                return False
            self._conclude(result, message, images)
            with self._harmless:
                self._fit()
            return True

    # See `Watching.watch`.

    def _start(self, steps: Iterable[Step], run: Recordable | None) -> int:
        return self.begin(_asked(steps) if run is None else Trace.begun(run))

    def _take(self, number: int, step: Step, seconds: float | None) -> None:
        with self.lock:
            if self._run == number:
                self.add(step, seconds)
                self.flush()

    def _settle(self, number: int) -> bool:
        with self.lock:
            self.flush(everything=True, run=number)
            return self._run == number

    def _finish(self, number: int, result: Trace | str, message: str) -> None:
        self.end(result, message, run=number)

    # -------------------------------------------------------------- how; all of it holds `lock`

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

    def _conclude(
        self, result: Trace | str, message: str, images: Sequence[dict[str, Any]] | None = None
    ) -> None:
        """The last step, the final images, the state."""
        self.flush(everything=True)
        made: Sequence[dict[str, Any]] = ()
        if isinstance(result, Trace):
            self._trace = result
            message = message or _said(result)
            with self._harmless:
                made = finals(result) if images is None else images
            result = "done" if result.complete else "stopped" if result.steps else "idle"
        elif self._trace is not None:
            count = self._trace.expected or self._slots.count  # perhaps nobody knew before
            self._trace = replace(self._trace, expected=count, complete=result == "done")
        with self._harmless, self.hold_sync():
            self._show_images(made, result)
            self.state, self.message = result, message
            if self._trace is not None:
                self.header = header_of(self._trace, self._run)

    def _forget_images(self) -> None:
        """A run begins: what becomes of the images of the one before."""
        self.pictures = []

    def _show_images(self, images: Sequence[dict[str, Any]], state: str) -> None:
        """A run has ended in that state, with these images."""
        self.pictures = fit_within(SAVED_PICTURE, images)

    def _put(self, empty: Sequence[int], new: Sequence[Kept]) -> None:
        """Set the traits of slots whose step was let go, and of new steps."""
        frames = {name: b"" for slot in empty for name in self._traits_of(slot)}
        for kept in new:
            with self._harmless:
                frames |= self._packed(kept.slot, kept.record())
        with self._harmless, self.hold_sync():
            if self.message == "Starting":
                self.message = "Denoising"
            known = self._slots.steps()
            if self._trace is not None and not self._trace.steps and known:
                self._trace = replace(self._trace, steps=(known[0][1],))  # it tells the layers
                self.header = header_of(self._trace, self._run)
            for name, frame in frames.items():
                setattr(self, name, frame)

    def _packed(self, slot: int, step: TraceStep) -> dict[str, bytes]:
        """What the traits of a slot hold for that step; not too large to be sent."""
        frames = self._pack(slot, step, self._longest)
        while sum(map(len, frames.values())) > LARGEST_FRAME and self._longest > 8:
            self._longest //= 2
            frames = self._pack(slot, step, self._longest)
        return frames

    def _traits_of(self, slot: int) -> Sequence[str]:
        """The traits that a slot's step is in."""
        return (FRAMES[slot],)

    def _pack(self, slot: int, step: TraceStep, longest: int) -> dict[str, bytes]:
        """What they hold for that step, at most ``longest`` cells along a side."""
        return {FRAMES[slot]: pack(step, longest=longest)}

    def _fit(self) -> None:
        """Keep a large run smaller in the traits, and so in the notebook.

        A page that shows it has it whole already, and others may ask (see `_receive`).
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

    def _receive(self, _: Any, message: Any, buffers: Any) -> None:
        """A page that came late asks for the frames as they were; anything else is ignored."""
        if isinstance(message, dict) and message.get("kind") == "frames" and self._whole:
            self._answer()

    def _send_whole(self) -> None:
        with self.lock:
            answer = {"kind": "frames", "run": self._run, "names": list(self._whole)}
            if self._whole:
                self.send(answer, list(self._whole.values()))

    # -------------------------------------------------------------------------------- as output

    def __reduce__(self) -> NoReturn:
        raise InputError(
            f"A {type(self).__name__} belongs to its notebook: it can be neither copied nor sent.\n"
            "Save what it shows, viewer.trace.save(path), and show that there."
        )

    def __repr__(self) -> str:
        name, trace = type(self).__name__, self.trace
        if trace is None:
            return f"{name}: no run yet"
        prompt = f" of {shortened(trace.prompt, 60)!r}" if trace.prompt else ""
        return f"{name}: {len(trace.steps)} steps{prompt}, {self.state}"


def check_known(widget: traitlets.HasTraits, traits: dict[str, Any]) -> None:
    """Raise TypeError for what is no trait of the widget; traitlets itself would only warn."""
    for name in traits:
        if not widget.has_trait(name):
            known = ", ".join(SELECTIONS)
            raise TypeError(f"{type(widget).__name__}() takes no {name!r}. Selections: {known}.")


def record_of(what: Trace | Recordable) -> Trace:
    """A record, or that of a run that has not begun, also behind a progress bar."""
    if isinstance(what, Trace):
        return what
    run = run_of(what)
    if run is None:
        raise InputError(
            f"A viewer shows a trace, or a run of a model, got a {type(what).__name__}.\n"
            "Steps of your own loop: for step in viewer.watch(steps): ...",
            parameter="trace",
        )
    return Trace.begun(run)


def _asked(steps: object) -> Trace:
    """What is known of someone's own steps before the first: their number, at best."""
    model = getattr(steps, "model", None)
    return Trace(
        model=getattr(model, "name", ""),
        task="",  # so nothing of its settings is known
        settings=Settings(),
        expected=len(steps) if isinstance(steps, Sized) else 0,
        complete=False,
        factors=getattr(model, "preview_factors", None),
    )


def _said(trace: Trace) -> str:
    steps = len(trace.steps)
    if not steps and not trace.complete:
        return ""
    return report(trace, steps) if trace.complete else f"Stopped after step {steps}"
