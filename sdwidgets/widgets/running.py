"""One run of the Studio, from the press of Generate to its end, on a thread of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..daemon import start_daemon
from ..errors import Stopped
from ..trace.trace import Trace
from .slots import Slots
from .watching import in_words, report

if TYPE_CHECKING:
    from ..diffusion import Step
    from ..manager import Job, ModelManager, Request
    from ..run import Run
    from .reel import ReelView

GOING_ON = ("queued", "loading", "running")
LONGEST_PAUSE = 0.5  # seconds from one look at the view to the next, while nothing is told


class Running:
    """Submits a request, shows its steps in a view, and tells how it goes on.

    Three kinds of threads meet here. The worker, which must not wait, leaves the run, its states
    and its steps behind. This run's own thread brings them to the view and calls ``on_state``,
    ``on_run`` and, last, ``on_end``. Any thread may call `start`, `stop` and look.

    ``number``: the run's in the view; -1 before it is shown. ``trace`` and ``error``: how it ended.
    ``over``: all is shown, the next run may begin; ``on_end`` sets it, at the latest its return.
    """

    def __init__(
        self,
        manager: ModelManager,
        request: Request,
        view: ReelView,
        *,
        on_state: Callable[[str], object],
        on_run: Callable[[Run], object],
        on_end: Callable[[Running, str, str], object],
    ):
        self.request = request
        self.number = -1
        self.trace: Trace | None = None
        self.error: BaseException | None = None
        self.over = False
        self.finished = threading.Event()
        self._manager, self._view = manager, view
        self._on_state, self._on_run, self._on_end = on_state, on_run, on_end
        self._job: Job | None = None
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._states: list[str] = []  # told by the worker, not passed on yet
        self._run: Run | None = None
        self._slots = Slots()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread = start_daemon("sdwidgets studio run", self._follow)

    def stop(self) -> None:
        """Ask for the end; the run ends within a step."""
        self._stopping.set()
        if self._job is not None:
            self._job.cancel()
        self._changed.set()

    def give_up(self) -> None:
        """It is over, or was never started: whoever waits for it waits no longer."""
        self._run, self._slots = None, Slots()  # a run holds its model, which may be unloaded now
        self.over = True
        self.finished.set()

    def is_this_thread(self) -> bool:
        """Whether this is the run's own thread, on which it cannot be waited for."""
        return self._thread is threading.current_thread()

    # ---------------------------------------------------------------------------- the worker

    def _take_state(self, state: str) -> None:
        self._states.append(state)
        self._changed.set()

    def _take_run(self, run: Run) -> None:
        self._slots = Slots(len(run))
        self._run = run
        self._changed.set()

    def _take_step(self, step: Step) -> None:
        self._slots.add(step, None)

    # ------------------------------------------------------------------------ its own thread

    def _follow(self) -> None:
        self._thread = threading.current_thread()  # it may be ahead of the one that started it
        state = "stopped"
        try:
            self._drive()
            state = "done"
        except Stopped:
            pass
        except BaseException as error:
            state, self.error = "error", error
            if self._job is not None:  # not the run itself may have failed, but what shows it
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
        )
        if self._stopping.is_set():
            job.cancel()
        pause = 0.0
        while job.state in GOING_ON:
            self._changed.wait(pause)  # steps wait for their message, states and Stop do not
            self._changed.clear()
            self._pass_on()
            pause = min(self._view.flush(run=self.number), LONGEST_PAUSE)
        self._pass_on()  # a short run may be over before anyone has looked
        self.trace = job.result()

    def _pass_on(self) -> None:
        while self._states:
            state = self._states.pop(0)
            if state in GOING_ON:
                self._on_state(state)
        if self._run is not None and self.number < 0:
            self.number = self._view.begin(Trace.begun(self._run), self._slots)
            self._on_run(self._run)

    def _said(self) -> str:
        """What is said about a run that is over."""
        if self.error is not None:
            return in_words(self.error)
        if self.trace is not None:
            return report(self.trace, len(self.trace.steps))
        steps = self._slots.count
        where = f"after step {steps}" if steps else "before the first step"
        return f"Stopped {where} of {self.request.settings.steps}"
