"""The Studio's look inside a run: a `Viewer` that follows it, made when it is first opened."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

from ..trace.trace import Trace
from .viewer import Viewer

if TYPE_CHECKING:
    from ..diffusion.samplers import Step
    from ..pipeline import LatentDiffusion
    from ..settings import Settings


class Inside:
    """Passes a run on to the viewer while it is open; afterwards shows its record.

    ``begin`` and ``add`` are called on the worker's thread, before the step's time is over; the
    others on the thread that brings a run to the page, or where a button is handled.
    """

    def __init__(self) -> None:
        self.viewer: Viewer | None = None
        self.opened = False
        self._follows = False  # the run that goes on, from its first step
        self._shown: Trace | None = None
        self._lock = threading.Lock()

    def open(self, trace: Trace | None) -> Viewer:
        """Open it, with a finished run, if there is one and none goes on."""
        with self._lock:
            self.opened = True
            if self.viewer is None:
                self.viewer = Viewer()
            if trace is not None and not self._follows:
                self._show(trace)
            return self.viewer

    def begin(self, model: LatentDiffusion, settings: Settings) -> None:
        """A run of these settings begins."""
        with self._lock:
            self._follows = self.opened
            if self._follows and self.viewer is not None:
                self.viewer.begin(Trace.begun(model.sample(**settings.as_dict())))
                self._shown = None

    def add(self, step: Step) -> None:
        """Take a step of that run."""
        if self._follows and self.viewer is not None:
            self.viewer.add(step)

    def flush(self) -> float:
        """Send what waits if it is time; returns the seconds until it will be."""
        return self.viewer.flush() if self._follows and self.viewer is not None else math.inf

    def end(self, trace: Trace | None, state: str, message: str) -> None:
        """The run is over: its record, or "stopped" or "error" and what is said about it."""
        with self._lock:
            if self._follows and self.viewer is not None:
                self._follows = False
                self.viewer.end(trace if trace is not None else state, message)
                self._shown = trace
            elif self.opened and trace is not None:  # opened while it went on
                self._show(trace)

    def show(self, trace: Trace) -> None:
        """Show a finished run, if it is open."""
        with self._lock:
            if self.opened and not self._follows:
                self._show(trace)

    def _show(self, trace: Trace) -> None:
        if self.viewer is not None and self._shown is not trace:
            self.viewer.show(trace)
            self._shown = trace

    def close(self) -> None:
        """Take the viewer off every page."""
        if self.viewer is not None:
            self.viewer.close()
