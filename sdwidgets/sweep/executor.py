"""Who makes the points of a sweep: here, one after another, or elsewhere, many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeAlias

from .points import Point
from .results import Making, Result

Group: TypeAlias = tuple[Point, ...]
"""Points to be made in one place, in this order, since they share steps. Groups share none."""

OnStep: TypeAlias = Callable[[Point, int, int], object]
"""Called with a point, how many of its steps are done, and how many it has. From any thread."""


class Executor(Protocol):
    """Makes groups of points. A sweep calls `run` once at a time, on a thread of its own.

    `pause`, `resume` and `cancel` are called from any thread, return at once, and may be called
    when nothing runs. After `cancel`, `run` may be called again.
    """

    def run(
        self, groups: Sequence[Group], making: Making, on_step: OnStep | None = None
    ) -> Iterator[Result]:
        """Yield the result of each point as it is finished, in any order.

        A point that cannot be made is a result with an error. The iterator ends when all points
        are made, or soon after `cancel`, without those that were not made. It raises only what
        ends the whole sweep.
        """

    def pause(self) -> None:
        """Begin nothing new until `resume`; what has begun is finished."""

    def resume(self) -> None:
        """Go on after `pause`."""

    def cancel(self) -> None:
        """Stop what runs at its next step, and begin nothing new."""

    def close(self) -> None:
        """Give back what it holds. Nothing is run afterwards."""
