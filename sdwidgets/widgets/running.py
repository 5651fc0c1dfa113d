"""One run of the Studio, from Generate to the end, on its own thread."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..daemon import start_daemon
from ..errors import Stopped
from ..trace.trace import Trace
from .slots import Slots
from .watching import counted, in_words, report

if TYPE_CHECKING:
    from ..diffusion import Step
    from ..manager import Job, ModelManager, Request
    from ..run import Run
    from .reel import ReelView

GOING_ON = ("queued", "loading", "running")
LONGEST_PAUSE = 0.5  # seconds between looks at the view while nothing happens


class Running:
    """Submits a request, shows its steps in a view and reports its progress.

    Three kinds of threads meet here. The worker must not wait: it only leaves the run, its states,
    messages and steps here. This run's own thread passes them to the view and calls ``on_state``,
    ``on_message`` (before the first step), ``on_run`` and, last, ``on_end``. Any thread may call
    `start` and `stop` and read attributes.

    ``shown``: whether the view shows its steps as they come; if not, ``on_end`` shows it at once.
    ``number``: the run's number in the view; -1 before it is shown. ``trace`` and ``error``: the
    outcome. ``over``: everything is shown and the next run may start; ``on_end`` sets it, or its
    return does.
    """

    def __init__(
        self,
        manager: ModelManager,
        request: Request,
        view: ReelView,
        *,
        on_state: Callable[[str], object],
        on_message: Callable[[str], object],
        on_run: Callable[[Run], object],
        on_end: Callable[[Running, str, str], object],
        shown: bool = True,
    ):
        self.request = request
        self.shown = shown
        self.number = -1
        self.trace: Trace | None = None
        self.error: BaseException | None = None
        self.over = False
        self.finished = threading.Event()
        self._manager, self._view = manager, view
        self._on_state, self._on_message = on_state, on_message
        self._on_run, self._on_end = on_run, on_end
        self._job: Job | None = None
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._states: list[str] = []  # from the worker, not passed on yet
        self._messages: list[str] = []  # likewise
        self._expected = request.settings.steps or 0
        self._run: Run | None = None
        self._begun = False  # whether its first step is to come or made
        self._slots = Slots()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the run and return at once."""
        self._thread = start_daemon("sdwidgets studio run", self._follow, end=self.stop)

    def stop(self) -> None:
        """Ask the run to stop. It ends within a step."""
        self._stopping.set()
        if self._job is not None:
            self._job.cancel()
        self._changed.set()

    def give_up(self) -> None:
        """Mark the run as over, also if it never started, and release whoever waits for it."""
        self._run, self._slots = None, Slots()  # a run holds its model, which may be unloaded now
        self.over = True
        self.finished.set()

    def is_this_thread(self) -> bool:
        """Whether the caller is on the run's own thread, where waiting would never end."""
        return self._thread is threading.current_thread()

    # ---------------------------------------------------------------------------- the worker

    def _take_state(self, state: str) -> None:
        self._states.append(state)
        self._changed.set()

    def _take_message(self, message: str) -> None:
        self._messages.append(message)
        self._changed.set()

    def _take_run(self, run: Run) -> None:
        self._expected = len(run)  # fewer from an image
        self._slots = Slots(len(run))
        self._run = run
        self._changed.set()

    def _take_step(self, step: Step) -> None:
        self._slots.add(step, None)

    # ------------------------------------------------------------------------ its own thread

    def _follow(self) -> None:
        self._thread = (
            threading.current_thread()
        )  # this thread may be ahead of the one that started it
        state = "stopped"
        try:
            self._drive()
            state = "done"
        except Stopped:
            pass
        except BaseException as error:
            state, self.error = "error", error
            if self._job is not None:  # showing it may have failed, not the run itself
                self._job.cancel()
        try:
            self._on_end(self, state, self._said())
        except BaseException as error:
            self.error = self.error or error
            self.over = True
            with contextlib.suppress(Exception):
                self._on_end(self, "error", in_words(self.error))
        finally:
            self.give_up()

    def _drive(self) -> None:
        """Submit the request and pass on states and steps until it ends."""
        if self._stopping.is_set():
            raise Stopped("Stopped before the first step.")
        self._job = job = self._manager.submit(
            self.request,
            on_run=self._take_run,
            on_step=self._take_step,
            on_state=self._take_state,
            on_message=self._take_message,
        )
        if self._stopping.is_set():
            job.cancel()
        pause = 0.0
        while job.state in GOING_ON:
            self._changed.wait(pause)  # steps wait for the next message; states and Stop do not
            self._changed.clear()
            self._pass_on()
            pause = min(self._view.flush(run=self.number), LONGEST_PAUSE)
        self._pass_on()  # a short run may be over before the first look
        self.trace = job.result()

    def _pass_on(self) -> None:
        while self._states:
            state = self._states.pop(0)
            if state in GOING_ON:
                self._on_state(state)
        while self._messages:
            message = self._messages.pop(0)
            if message and not self._begun:
                self._on_message(message)
        if self._run is not None and not self._begun:
            self._begun = True
            if self.shown:
                self.number = self._view.begin(Trace.begun(self._run), self._slots)
            self._on_run(self._run)

    def _said(self) -> str:
        """The message about a run that is over."""
        if self.error is not None:
            return in_words(self.error)
        if self.trace is not None:
            return report(self.trace, self.trace.expected)
        steps = self._slots.count
        if not steps:
            return f"Stopped before the first of {counted(self._expected)}"
        return f"Stopped after {steps} of {counted(self._expected)}"
