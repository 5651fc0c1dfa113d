"""Which steps of a run a page keeps, and where: in slots, of which each is a trait."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ..contract import NUMBERED
from ..trace.step import TraceStep, recorded

if TYPE_CHECKING:
    from ..diffusion.samplers import Step

T = TypeVar("T")

SLOTS = NUMBERED["frame"]
"""Steps kept of a run, at most; of a longer run every so-many-th and the last, 33 to 64."""


@dataclass(eq=False)
class Kept:
    """A step that is kept, as the run gave it or, once it was looked at, its record."""

    step: Step | TraceStep
    seconds: float | None
    slot: int = -1  # -1: not sent yet

    def record(self) -> TraceStep:
        """Its record; from now on in place of the step, which may be on a GPU."""
        if not isinstance(self.step, TraceStep):
            self.step = recorded(self.step, self.seconds)
        return self.step


class Slots:
    """Which steps of a run are kept, and in which slot each is sent: every so-many-th, the first
    and the newest, which stays if it is the last.

    ``expected`` steps tell how many of them; should more come, every other one is let go.
    ``add`` is for the thread that makes the steps; one other at a time calls the rest.
    """

    def __init__(self, expected: int = 0):
        self.count = 0  # steps so far
        self._lock = threading.Lock()
        self._every = every(expected, SLOTS)
        self._kept: dict[int, Kept] = {}  # by number in the run
        self._newest: Kept | None = None
        self._when: float | None = None  # it came
        self._used: set[int] = set()  # slots with a step

    def add(self, step: Step | TraceStep, seconds: float | None) -> None:
        """Take a step, which took ``seconds``; the time since the one before, if that is None."""
        now = time.perf_counter()
        with self._lock:
            if seconds is None and self._when is not None:
                seconds = now - self._when
            self._when, self._newest = now, Kept(step, seconds)
            if self.count % self._every == 0:
                self._make_room()
            if self.count % self._every == 0:  # still
                self._kept[self.count] = self._newest
            self.count += 1

    def finish(self) -> None:
        """No more steps come: the last is kept."""
        with self._lock:
            if self._newest is not None and self.count - 1 not in self._kept:
                self._make_room()
                self._kept[self.count - 1] = self._newest

    def _make_room(self) -> None:
        if len(self._kept) == SLOTS:
            self._every *= 2
            self._kept = {n: one for n, one in self._kept.items() if n % self._every == 0}

    def _wanted(self) -> list[Kept]:
        """The steps that belong on the page now, in the order of the run: with the newest."""
        kept = [one for _, one in sorted(self._kept.items())]
        newest = self._newest
        if newest is not None and newest not in kept and len(kept) < SLOTS:
            kept.append(newest)
        return kept

    def take(self) -> tuple[list[int], list[Kept]]:
        """What is new since the last time: slots whose step was let go, and steps, with slots."""
        with self._lock:
            wanted = self._wanted()
            held = {one.slot for one in wanted} - {-1}
            new = [one for one in wanted if one.slot < 0]
            free = [slot for slot in range(SLOTS) if slot not in held]
            for one, slot in zip(new, free, strict=False):
                one.slot = slot
            now = held | {one.slot for one in new}
            empty, self._used = sorted(self._used - now), now
            return empty, new

    def steps(self) -> list[tuple[int, TraceStep]]:
        """Slot and record of the steps taken so far, in the order of the run."""
        with self._lock:
            kept = [(one.slot, one.step) for one in self._wanted()]
        return [(slot, step) for slot, step in kept if isinstance(step, TraceStep) and slot >= 0]


def every(count: int, most: int) -> int:
    """Of so many, every how-many-th to keep for at most ``most``, with the last one, too."""
    return max(math.ceil((count - 1) / (most - 1)), 1)


def thinned(items: Sequence[T], by: int) -> list[T]:
    """Every ``by``-th, the first and the last among them."""
    return [one for i, one in enumerate(items) if i % by == 0 or i == len(items) - 1]
