"""The steps of a run that a page keeps, each in a slot: a trait of its own."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..contract import NUMBERED
from ..trace.step import TraceStep, recorded
from ..trace.thinning import Thinned, stride_for

if TYPE_CHECKING:
    from ..diffusion.samplers import Step

SLOTS = NUMBERED["frame"]
"""The most steps kept of a run. Longer runs are thinned to 33 to 64 steps, the last included."""


@dataclass(eq=False)
class Kept:
    """A kept step: as the run gave it or, after the first look at it, its record."""

    step: Step | TraceStep
    seconds: float | None
    slot: int = -1  # -1: not sent yet

    def record(self) -> TraceStep:
        """The step's record. It replaces the step, which may be on a GPU."""
        if not isinstance(self.step, TraceStep):
            self.step = recorded(self.step, self.seconds)
        return self.step


class Slots:
    """The steps kept of a run, each with the slot in which it is sent.

    `Thinned` chooses them: every so many steps and the newest. ``expected``: the run's length if
    known, so that no step is sent and dropped again. ``add`` is for the thread that makes the
    steps. The rest is for one other thread at a time.
    """

    def __init__(self, expected: int = 0):
        self._lock = threading.Lock()
        self._kept: Thinned[Kept] = Thinned(SLOTS, stride_for(expected, SLOTS))
        self._last: float | None = None  # time of the last step
        self._used: set[int] = set()  # slots with a step

    @property
    def count(self) -> int:
        """Steps added so far."""
        return self._kept.count

    def add(self, step: Step | TraceStep, seconds: float | None) -> None:
        """Add a step that took ``seconds``; None takes the time since the step before."""
        now = time.perf_counter()
        with self._lock:
            if seconds is None and self._last is not None:
                seconds = now - self._last
            self._last = now
            self._kept.add(Kept(step, seconds))

    def take(self) -> tuple[list[int], list[Kept]]:
        """What changed since the last call: slots now empty, and new steps with their slots."""
        with self._lock:
            kept = self._kept.items.values()
            held = {one.slot for one in kept} - {-1}
            new = [one for one in kept if one.slot < 0]
            free = [slot for slot in range(SLOTS) if slot not in held]
            for one, slot in zip(new, free, strict=False):
                one.slot = slot
            now = held | {one.slot for one in new}
            empty, self._used = sorted(self._used - now), now
            return empty, new

    def steps(self) -> list[tuple[int, TraceStep]]:
        """The slot and record of each step taken so far, in the order of the run."""
        with self._lock:
            kept = [(one.slot, one.step) for one in self._kept.items.values()]
        return [(slot, step) for slot, step in kept if isinstance(step, TraceStep) and slot >= 0]
