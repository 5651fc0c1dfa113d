"""A run looked at from inside: every step and every word, live and afterwards.

The kernel sends each step once, as bytes (trace/reel.py), and computes nothing when a person
chooses what to see: the page (js/src/viewer.ts) has it all.
"""

from __future__ import annotations

import base64
import logging
import math
import secrets
import threading
import time
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import anywidget
import ipywidgets
import traitlets

from ..checks import shortened
from ..contract import NUMBERED, PANELS, numbered
from ..errors import InputError
from ..frontend import bundle
from ..settings import Settings
from ..trace.recording import Recordable, run_of
from ..trace.reel import LONGEST_SIDE, header_of, pack
from ..trace.step import TraceStep, recorded
from ..trace.trace import Trace
from . import kernel
from .pace import INTERVAL, Answer, Pace
from .picture import SAVED_PICTURE, smaller
from .selection import OF_A_RUN, SELECTIONS, Selections
from .watching import Harmless, Watching, report

if TYPE_CHECKING:
    from ..diffusion.samplers import Step

log = logging.getLogger(__name__)

T = TypeVar("T")
AnyViewer = TypeVar("AnyViewer", bound="Viewer")

SLOTS = NUMBERED["frame"]
"""Steps kept of a run, at most; of a longer one every so-many-th and the last, 33 to 64."""

FRAMES = numbered("frame")
"""The traits that hold them."""

LARGEST_FRAME = 2_000_000
"""Bytes of a step on its way to the page; what has more is averaged down."""

SAVED = 700_000
"""Bytes of all steps together in the saved state; a run of more is kept there smaller."""

SAVED_AS = ((32, 1), (16, 1), (16, 2), (16, 4), (8, 4), (8, 8), (8, 16), (8, SLOTS))
"""How: at most so many cells along a side, and every so-many-th step; the first that fits."""


class Viewer(Watching, Selections, anywidget.AnyWidget):
    """Every step and every word of a run: while it goes on, and afterwards with no kernel.

    Example::

        viewer = sdw.Viewer()
        display(viewer)
        for step in viewer.watch(model.sample("a cat left of a car", attention=True)):
            pass                                   # your own loop; each step is shown as it passes
        viewer.word = "cat"                        # where it looked, over the picture
        viewer.step, viewer.guidance = 7, 9.0      # one step, as more guidance would have made it

        sdw.Viewer(sdw.Trace.load("cat.sdtrace"))  # a finished run, also one from a file

    It may be used from any thread, also while a run goes on: ``lock`` is held while what it shows
    changes. Who makes steps need not wait for that: `add` takes them in microseconds.
    """

    _esm = bundle("viewer.js")
    _css = bundle("viewer.css")

    uid = traitlets.Unicode(read_only=True).tag(sync=True)
    """Tells this widget from others: the views of one share what they have read."""

    panels: traitlets.List[str] = traitlets.List(traitlets.Enum(PANELS), list(PANELS)).tag(
        sync=True
    )
    """What is shown beside the picture: "denoising", "attention", "tokens"."""

    head: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    """What is known of the run beside its steps (`trace.reel.header_of`); {} before the first."""

    pictures: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    """The final pictures, ``data`` and ``type`` of each of the batch; [] until the run is done."""

    state = traitlets.Unicode("idle").tag(sync=True)
    """idle, running, done, stopped or error."""

    message = traitlets.Unicode("").tag(sync=True)
    """What is said about the run: a line, up to three for an error."""

    # frame0 to frame63, a kept step each. A trait is in the saved notebook, and there after a
    # reload and for a second view, which a message is not. One list of all steps would be sent
    # whole with each of them; so each is sent once.
    locals().update({name: traitlets.Bytes().tag(sync=True) for name in FRAMES})

    def __init__(self, trace: Trace | Recordable | None = None, **selections: Any):
        check_known(self, selections)
        record = None if trace is None else _record_of(trace)
        self.lock = threading.RLock()
        self._slots = Slots()
        self._harmless = Harmless()
        self._trace: Trace | None = None
        self._whole: dict[str, bytes] = {}  # frames as sent, where the traits hold smaller ones
        self._longest = LONGEST_SIDE
        self._run = 0
        self._pace, self._answer = Pace(), Answer(self._send_whole)
        self._closed = self._displayed = False
        super().__init__(**selections)
        self.set_trait("uid", secrets.token_hex(8))
        self.on_msg(self._receive)
        kernel.unpin(self)
        kernel.replace_in_cell(self)
        if record is not None:
            self.show(record)
            for name, value in selections.items():
                setattr(self, name, value)

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

    def show(self: AnyViewer, trace: Trace | Recordable) -> AnyViewer:
        """Show a finished run, also one read from a file; returns the viewer itself.

        Of a run that has not begun, ``viewer.show(model.sample(...))``, its words and tokens.
        Raises InputError for anything else.
        """
        record = _record_of(trace)
        with self.lock:
            with self.hold_sync():
                self.begin(record)
                for step in record.steps:
                    self.add(step, step.seconds)
                self._conclude(record, "")
            with self._harmless:
                self._fit()
        return self

    def close(self) -> None:
        """Take the widget off every page. A run that is being watched goes on."""
        self._closed = True
        self.layout.close()  # a widget, too, and nothing else closes it
        super().close()

    # --------------------------------------------------------------------- a run as it goes on

    def begin(self, trace: Trace, slots: Slots | None = None) -> int:
        """Start to show a run, of which ``trace`` says what was asked; returns its number here.

        What was shown before is forgotten; the pinned words stay. ``slots``: where steps of the run
        are put, by somebody else; else `add` takes them.
        """
        with self.lock:
            self._run += 1
            self._slots = Slots(len(trace.steps) or trace.expected) if slots is None else slots
            self._harmless = Harmless()
            self._trace, self._whole = trace, {}
            self._longest = LONGEST_SIDE
            with self._harmless, self.hold_sync():
                for name in FRAMES:
                    setattr(self, name, b"")
                for name in OF_A_RUN:
                    setattr(self, name, SELECTIONS[name].default_value)
                self.pictures = []
                self.state, self.message = "running", "Starting"
                self.head = header_of(trace, self._run)
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

    def end(self, result: Trace | str, message: str = "", *, run: int | None = None) -> None:
        """The run is over. ``result``: its record; or "done", "stopped" or "error" without one.

        ``run``: its number; if another is shown by now, nothing happens.
        """
        with self.lock:
            if run not in (None, self._run):
                return
            self._conclude(result, message)
            with self._harmless:
                self._fit()
                if self._displayed and kernel.without_page():  # it was put down before the run
                    kernel.update_display(*self._repr_mimebundle_(), self.uid)

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

    def _conclude(self, result: Trace | str, message: str) -> None:
        """The last step, the pictures, the state."""
        self._slots.finish()
        self.flush(everything=True)
        pictures: list[dict[str, Any]] = []
        if isinstance(result, Trace):
            self._trace = result
            message = message or _said(result)
            with self._harmless:
                pictures = finished(result, SAVED_PICTURE)
            result = "done" if result.complete else "stopped" if result.steps else "idle"
        elif self._trace is not None:
            count = self._trace.expected or self._slots.count  # perhaps nobody knew before
            self._trace = replace(self._trace, expected=count, complete=result == "done")
        with self._harmless, self.hold_sync():
            self.pictures = pictures
            self.state, self.message = result, message
            if self._trace is not None:
                self.head = header_of(self._trace, self._run)

    def _put(self, empty: Sequence[int], new: Sequence[Kept]) -> None:
        """Set the traits of slots whose step was let go, and of new steps."""
        frames = {FRAMES[slot]: b"" for slot in empty}
        for kept in new:
            with self._harmless:
                frames[FRAMES[kept.slot]] = self._packed(kept.record())
        with self._harmless, self.hold_sync():
            if self.message == "Starting":
                self.message = "Denoising"
            known = self._slots.steps()
            if self._trace is not None and not self._trace.steps and known:
                self._trace = replace(self._trace, steps=(known[0][1],))  # it tells the layers
                self.head = header_of(self._trace, self._run)
            for name, frame in frames.items():
                setattr(self, name, frame)

    def _packed(self, step: TraceStep) -> bytes:
        frame = pack(step, longest=self._longest)
        while len(frame) > LARGEST_FRAME and self._longest > 8:
            self._longest //= 2
            frame = pack(step, longest=self._longest)
        return frame

    def _fit(self) -> None:
        """Keep a large run smaller in the traits, and so in the notebook.

        A page that shows it has it whole already, and others may ask (see `_receive`).
        """
        whole = {name: getattr(self, name) for name in FRAMES if getattr(self, name)}
        if sum(map(len, whole.values())) <= SAVED:
            return
        sent = [(FRAMES[slot], step) for slot, step in self._slots.steps() if FRAMES[slot] in whole]
        small: dict[str, bytes] = {}
        for longest, by in SAVED_AS:
            frames = {name: pack(step, longest=longest) for name, step in thinned(sent, by)}
            if sum(map(len, frames.values())) <= SAVED:
                small = frames
                break
        self._whole = whole
        with self.hold_sync():
            self.head = {**self.head, "saved": True}
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

    def _ipython_display_(self, **kwargs: Any) -> None:
        kernel.display(*self._repr_mimebundle_(), self.uid)
        self._displayed = True

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget; and where none can be shown, the run on one sheet, or a line of text."""
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        trace = self.trace
        still = on_paper(trace, self.word, self.picture) if trace is not None else None
        data = {**data, "text/plain": repr(self)}
        if still is not None:
            data["image/png"] = base64.b64encode(still).decode()
        return data, metadata


@dataclass(eq=False)
class Kept:
    """A step that is kept, as the run gave it or, once it was looked at, its record."""

    step: Step | TraceStep
    seconds: float | None
    slot: int = -1  # of FRAMES; -1: not sent yet

    def record(self) -> TraceStep:
        """Its record; from now on in place of the step, which may be on a GPU."""
        if not isinstance(self.step, TraceStep):
            self.step = recorded(self.step, self.seconds)
        return self.step


class Slots:
    """Which steps of a run are kept, and in which slot each is sent: every so-many-th, the first
    and, in the end, the last.

    ``expected`` steps tell how many of them; should more come, every other one is let go.
    ``add`` is for the thread that makes the steps; one other at a time calls the rest.
    """

    def __init__(self, expected: int = 0):
        self.count = 0  # steps so far
        self._lock = threading.Lock()
        self._every = every(expected, SLOTS)
        self._kept: dict[int, Kept] = {}  # by number in the run
        self._last: Kept | None = None
        self._when: float | None = None  # it came
        self._used: set[int] = set()  # slots with a step

    def add(self, step: Step | TraceStep, seconds: float | None) -> None:
        """Take a step, which took ``seconds``; the time since the one before, if that is None."""
        now = time.perf_counter()
        with self._lock:
            if seconds is None and self._when is not None:
                seconds = now - self._when
            self._when, self._last = now, Kept(step, seconds)
            if self.count % self._every == 0:
                self._make_room()
            if self.count % self._every == 0:  # still
                self._kept[self.count] = self._last
            self.count += 1

    def finish(self) -> None:
        """No more steps come: the last is kept, too."""
        with self._lock:
            if self._last is not None and self.count - 1 not in self._kept:
                self._make_room()
                self._kept[self.count - 1] = self._last
            self._last = None

    def _make_room(self) -> None:
        if len(self._kept) == SLOTS:
            self._every *= 2
            self._kept = {n: one for n, one in self._kept.items() if n % self._every == 0}

    def take(self) -> tuple[list[int], list[Kept]]:
        """What is new since the last time: slots whose step was let go, and steps, with slots."""
        with self._lock:
            held = {one.slot for one in self._kept.values()} - {-1}
            new = [one for one in self._kept.values() if one.slot < 0]
            free = [slot for slot in range(SLOTS) if slot not in held]
            for one, slot in zip(new, free, strict=False):
                one.slot = slot
            now = held | {one.slot for one in new}
            empty, self._used = sorted(self._used - now), now
            return empty, new

    def steps(self) -> list[tuple[int, TraceStep]]:
        """Slot and record of the steps taken so far, in the order of the run."""
        with self._lock:
            kept = [(one.slot, one.step) for _, one in sorted(self._kept.items())]
        return [(slot, step) for slot, step in kept if isinstance(step, TraceStep) and slot >= 0]


def link(
    *viewers: Selections, traits: Sequence[str] = ("step", "word", "layer")
) -> list[ipywidgets.Widget]:
    """Ties viewers together in the page, with no kernel: what is chosen in one is in all.

    Example::

        first, second = sdw.Viewer(cat), sdw.Viewer(dog)
        links = link(first, second, traits=["step"])   # links[0].unlink() ends it

    ``traits``: names of selections. Raises InputError for fewer than two viewers and for a trait
    that is no selection.
    """
    if len(viewers) < 2 or not all(isinstance(one, Selections) for one in viewers):
        raise InputError("link takes two or more viewers.", parameter="viewers")
    for name in traits:
        if name not in SELECTIONS:
            raise InputError(
                f"There is no selection {name!r}.\nSelections: {', '.join(SELECTIONS)}.",
                parameter="traits",
            )
    first, *others = viewers
    return [ipywidgets.jslink((first, name), (one, name)) for one in others for name in traits]


def every(count: int, most: int) -> int:
    """Of so many, every how-many-th to keep for at most ``most``, with the last one, too."""
    return max(math.ceil((count - 1) / (most - 1)), 1)


def thinned(items: Sequence[T], by: int) -> list[T]:
    """Every ``by``-th, the first and the last among them."""
    return [one for i, one in enumerate(items) if i % by == 0 or i == len(items) - 1]


def finished(trace: Trace, within: int) -> list[dict[str, Any]]:
    """``data`` and ``type`` of a run's pictures: as PNG, of more than ``within`` bytes as JPEG."""
    files = [{"data": trace.png(i), "type": "image/png"} for i in range(len(trace.images))]
    if sum(len(one["data"]) for one in files) <= within:  # type: ignore[arg-type]
        return files
    return [smaller(one, within // len(files)) for one in files]


def on_paper(trace: Trace, word: str = "", picture: int = 0) -> bytes | None:
    """A PNG of a run for where no script runs: steps beside each other, and the pinned word's heat.

    Its picture alone where that cannot be drawn; None where there is none yet.
    """
    picture = min(picture, max(trace.settings.batch_size - 1, 0))
    try:
        from ..trace.sheet import sheet_png

        words = (word,) if word and trace.layers and _has(trace, word, picture) else ()
        return sheet_png(trace, words=words, picture=picture)
    except Exception:  # of someone's own steps little is known; matplotlib may be missing
        log.debug("No sheet can be drawn.", exc_info=True)
    return trace.png(picture) if picture < len(trace.images) else None


def _has(trace: Trace, word: str, picture: int) -> bool:
    try:
        return bool(trace.tokens[picture].find(word))
    except InputError:
        return False


def check_known(widget: traitlets.HasTraits, selections: dict[str, Any]) -> None:
    """Raise TypeError for what is no trait of the widget; traitlets itself would only warn."""
    for name in selections:
        if not widget.has_trait(name):
            known = ", ".join(SELECTIONS)
            raise TypeError(f"{type(widget).__name__}() takes no {name!r}. Selections: {known}.")


def _record_of(what: Trace | Recordable) -> Trace:
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
