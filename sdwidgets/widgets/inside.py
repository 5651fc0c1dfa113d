"""The Studio's look inside a run: a `Viewer` that follows it, made when it is first opened."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..trace.recording import Recordable
from ..trace.trace import Trace
from .viewer import Slots, Viewer

if TYPE_CHECKING:
    from ..diffusion.samplers import Step


@dataclass
class Going:
    """The run that goes on, and its steps so far."""

    run: Recordable
    slots: Slots
    number: int = 0  # in the viewer; 0: not shown there yet


class Inside:
    """Keeps the steps of the run that goes on, and shows them in a viewer once that is opened.

    Three kinds of threads meet here. The worker, which must not wait, calls `begin` and `add`:
    they leave the run and its steps behind and take no lock but that of its slots. The Studio's
    thread of the run calls `flush` and `end`, which bring them to the page. Threads on which a
    cell runs, or what a page sends is handled, call the rest, and may do with the viewer what they
    like: a run is passed on only while the viewer shows it still. All but the worker hold ``lock``
    meanwhile, one lock for the Studio, this and the viewer.
    """

    def __init__(self, lock: threading.RLock):
        self.viewer: Viewer | None = None
        self.opened = False
        self._going: Going | None = None
        self._lock = lock

    # ------------------------------------------------------------------------------ the worker

    def begin(self, run: Recordable) -> None:
        """A run like this one begins."""
        self._going = Going(run, Slots(len(run)))

    def add(self, step: Step) -> None:
        """Take a step of that run."""
        going = self._going
        if going is not None:
            going.slots.add(step, None)

    # ---------------------------------------------------------------- the thread of the run

    def flush(self) -> float:
        """Send what waits if it is time; returns the seconds until it will be."""
        with self._lock:
            going, viewer = self._going, self.viewer
            if going is None or viewer is None or not self.opened:
                return math.inf
            return viewer.flush(run=self._number(going, viewer))

    def end(self, trace: Trace | None, state: str, message: str) -> None:
        """The run is over: its record, or "stopped" or "error" and what is said about it."""
        with self._lock:
            going, viewer, self._going = self._going, self.viewer, None
            if going is not None and viewer is not None and (self.opened or going.number):
                result = trace if trace is not None else state
                viewer.end(result, message, run=self._number(going, viewer))

    def _number(self, going: Going, viewer: Viewer) -> int:
        """The run's number in the viewer, which shows it from now on if it did not before."""
        if not going.number:
            going.number = viewer.begin(Trace.begun(going.run), going.slots)
        return going.number

    # ------------------------------------------------------------------- cells and the page

    def open(self, trace: Trace | None) -> Viewer:
        """Open it, with a finished run, if there is one and none goes on."""
        with self._lock:
            self.opened = True
            if self.viewer is None:
                self.viewer = Viewer()
                self.viewer.lock = self._lock
            if trace is not None:
                self.show(trace)
            return self.viewer

    def show(self, trace: Trace) -> None:
        """Show a finished run, if it is open and none goes on."""
        with self._lock:
            viewer = self.viewer if self.opened and self._going is None else None
            if viewer is not None and viewer.trace is not trace:
                viewer.show(trace)

    def close(self) -> None:
        """Take the viewer off every page."""
        if self.viewer is not None:
            self.viewer.close()
