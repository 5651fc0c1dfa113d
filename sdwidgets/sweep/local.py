"""Points in this process: one after another, on the worker of a `ModelManager`."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError, DeviceLost, SDWidgetsError, Stopped
from ..manager import FINAL, Job, ModelManager, Request
from .executor import Group, OnStep
from .points import Point
from .results import Making, Result
from .sharing import Line, trees

if TYPE_CHECKING:
    from ..pipeline import LatentDiffusion
    from ..trace import Trace

WAIT = 0.05
"""Seconds between two looks at a job, of which nothing else tells that it has ended."""


class Local:
    """An `Executor` that makes points on a manager's worker, in turn with its other runs.

    Each line of a tree is a job of its own, so that runs of others wait for one at most, and so
    that a model may be unloaded between two. ``models``: those that are in memory already, by the
    names that points have. ``own``: close the manager, too.
    """

    def __init__(
        self,
        manager: ModelManager | None = None,
        models: Mapping[str, LatentDiffusion] | None = None,
    ):
        self._owns = manager is None
        self.manager = ModelManager() if manager is None else manager
        self._names = {
            name: self.manager.add(model, name, replace=False)
            for name, model in (models or {}).items()
        }
        self._stop = threading.Event()
        self._going = threading.Event()
        self._going.set()
        self._job: Job | None = None

    def run(
        self, groups: Sequence[Group], making: Making, on_step: OnStep | None = None
    ) -> Iterator[Result]:
        """Yield each result as it is made; see `Executor.run`. Raises Busy, and Stopped if someone
        else stops a job."""
        from .running import Growing

        self._stop.clear()
        broken: dict[Any, Exception] = {}  # models that cannot be loaded, and why
        for group in groups:
            for tree in trees(group):
                growing = Growing(tree)
                for line in growing.lines:
                    if not self._may_go_on():
                        return
                    made_of = _made_of(line.points[0])
                    if made_of in broken:
                        yield from (Result(one, error=broken[made_of]) for one in line.points)
                        continue
                    error = yield from self._line(growing, line, making, on_step)
                    if isinstance(error, (CheckpointError, DeviceLost)):
                        broken[made_of] = error

    def _line(
        self, growing: Any, line: Line, making: Making, on_step: OnStep | None
    ) -> Generator[Result, None, Exception | None]:
        """Yield the results of a line; return why its model could not be loaded, if that is so."""
        from .running import On

        results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        missing = {point.index: point for point in line.points}

        def make(job: Job, model: LatentDiffusion, refiner: LatentDiffusion | None) -> Trace | None:
            def told(point: Point, step: int, steps: int) -> None:
                job.made(step, steps)
                if on_step is not None:
                    on_step(point, step, steps)

            trace = None
            stop = lambda: job.stopping or self._stop.is_set()  # noqa: E731
            for result in growing.make(line, On(model, refiner, making, stop, told)):
                trace = result.record
                results.put(result)
            return trace

        first = line.longest
        request = Request(
            self._named(first.model) or "",
            first.settings,
            loras=first.loras,
            refiner=self._named(first.refiner),
        )
        error: Exception | None = None
        try:
            self._job = job = self.manager.submit(request, make=make)
        except SDWidgetsError as refused:
            if self.manager.closed:
                raise
            error = refused
        else:
            if self._stop.is_set():
                job.cancel()
            while missing:
                try:
                    result = results.get(timeout=WAIT)
                except queue.Empty:
                    if job.wait(0) and results.empty():
                        break
                    continue
                missing.pop(result.index, None)
                yield result
            job.wait()
            self._job = None
            if job.state == "stopped" and missing and not self._stop.is_set():
                raise Stopped("A run of the sweep was stopped, and so the sweep.")
            if isinstance(job.error, Exception):
                error = job.error
        if error is not None:
            yield from (Result(point, error=error) for point in missing.values())
        return error

    def _named(self, name: str | None) -> str | None:
        """The manager's name for a model."""
        return None if name is None else self._names.get(name, name)

    def _may_go_on(self) -> bool:
        """Wait while paused; return False once cancelled."""
        while not self._going.wait(WAIT):
            if self._stop.is_set():
                return False
        return not self._stop.is_set()

    def pause(self) -> None:
        """Begin no new line until `resume`."""
        self._going.clear()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._going.set()

    def cancel(self) -> None:
        """Stop the line that is made within a step, and begin no other."""
        self._stop.set()
        job = self._job
        if job is not None and job.state not in FINAL:
            job.cancel()

    def close(self) -> None:
        """Cancel, and close the manager if it was made here."""
        self.cancel()
        if self._owns:
            self.manager.close()


def _made_of(point: Point) -> tuple[Any, ...]:
    return point.model, point.loras, point.refiner
