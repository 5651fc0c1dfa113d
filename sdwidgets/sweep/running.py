"""Points on a model: each made in the calling thread, sharing the steps that are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..errors import Stopped
from ..frames import without_frames
from ..sampling import EVERY_OPTION
from ..settings import Settings
from ..trace import Trace
from ..trace.branching import FREE, Branch
from ..trace.recording import steps_of
from .executor import OnStep
from .points import Point
from .results import Making, Result, without_steps
from .scores import scored
from .sharing import Line, Tree, left_at, trees

if TYPE_CHECKING:
    from ..diffusion import Step
    from ..pipeline import LatentDiffusion
    from ..run import Run


@dataclass(frozen=True)
class On:
    """What points are made on. ``stop()`` is asked before each step."""

    model: LatentDiffusion
    refiner: LatentDiffusion | None = None
    making: Making = field(default_factory=Making)
    stop: Callable[[], bool] = lambda: False
    on_step: OnStep | None = None


def run_points(
    model: LatentDiffusion,
    points: Iterable[Point],
    making: Making | None = None,
    *,
    refiner: LatentDiffusion | None = None,
    stop: Callable[[], bool] = lambda: False,
    on_step: OnStep | None = None,
) -> Iterator[Result]:
    """Yield the result of each point as it is made on a loaded model, in the calling thread.

    Points that share steps are made together, so their order may change; `sharing.groups` has it.
    ``model``: with the LoRAs of the points, which are all of one model. ``refiner``: the model that
    they name, if any. ``stop()`` is asked before each step; when it is true, the iterator ends
    without the points that are not finished. ``on_step(point, done, steps)`` is called after each
    step. A point that cannot be made is a result with its error. Raises nothing else, but
    ``KeyboardInterrupt`` and the like.
    """
    on = On(model, refiner, making or Making(), stop, on_step)
    for tree in trees(points):
        growing = Growing(tree)
        for line in growing.lines:
            yield from growing.make(line, on)
            if stop():
                return


class Growing:
    """A tree of points as it is made, a line at a time: it keeps the steps of the trunk.

    It holds no model between two lines, so another may be loaded meanwhile.
    """

    def __init__(self, tree: Tree):
        self.tree = tree
        self._trunk: Trace | None = None  # its first steps, as far as branches need them
        self._error: Exception | None = None  # for which the trunk ended
        self._first: tuple[list[Step], list[float]] | None = None  # a first pass, and its seconds
        self._charged = 0  # first steps of the trunk that points have been charged with
        self._leaving: int | None = None  # the step at which the line that is made left the trunk
        self._left = len(tree.branches)

    @property
    def lines(self) -> tuple[Line, ...]:
        """Its lines, in the order in which they are to be made."""
        return (*([self.tree.trunk] if self.tree.trunk else []), *self.tree.branches)

    def make(self, line: Line, on: On) -> Iterator[Result]:
        """Yield the result of each point of a line, in which an error becomes a result.

        Ends early, without them, when it is to stop.
        """
        missing = {point.index: point for point in line.points}
        error: Exception
        try:
            for result in self._made(line, on):
                missing.pop(result.index)
                yield self._with_charge(result)
            return
        except Stopped:
            return
        except Exception as failure:
            error = failure
        without_frames(error)
        yield from (Result(point, error=error) for point in missing.values())

    def _with_charge(self, result: Result) -> Result:
        """The result, charged with the steps of the trunk that it is the first to need."""
        if not result.ok:
            return result
        if self._leaving is None:  # of the trunk itself
            self._charged = max(self._charged, result.made + result.shared)
            return result
        new = max(self._leaving - self._charged, 0)
        self._charged += new
        return replace(result, made=result.made + new, shared=result.shared - new)

    def _made(self, line: Line, on: On) -> Iterator[Result]:
        self._leaving = None
        if line is self.tree.trunk:
            yield from self._of_trunk(line.points, on)
            return
        try:
            if self._trunk is None and self._error is None:
                for _ in self._of_trunk((), on):
                    pass
            yield from self._of_second(line, on) if line.is_second else self._of_branch(line, on)
        finally:
            self._left -= 1
            if not self._left:
                self._trunk = self._first = None

    def _of_trunk(self, points: tuple[Point, ...], on: On) -> Iterator[Result]:
        """Make the trunk, as far as these points and its branches need it."""
        tree, whole = self.tree, 0
        taken: list[Step] = []
        leaves: list[int] = []
        run: Run | None = None
        try:
            run = _run(on, tree.points[0], tree.settings)
            whole = len(run)
            leaves = [left_at(one.leaves, whole) for one in tree.branches if not one.is_second]
            leaves = [step for step in leaves if 0 < step < whole]
            if any(line.is_second for line in tree.branches):
                leaves.append(whole)
            ends = _Ends()
            for point in points:
                same = point.settings == tree.settings
                ends.add(point, lambda p=point, s=same: run if s else _run(on, p, p.settings))  # type: ignore[misc]
            yield from ends.failed
            needed = max([0, *leaves, *ends.counts])
            yield from _taken(on, run, taken, ends, needed, tree.points[0])
        except Exception as error:
            self._error = None if isinstance(error, Stopped) else error
            raise
        finally:
            if run is not None:
                if tree.branches and taken:
                    self._trunk = _so_far(taken, run)
                if whole in leaves and len(taken) == whole:
                    self._first = taken, list(run.seconds)
                run.close()

    def _of_branch(self, line: Line, on: On) -> Iterator[Result]:
        """Make a line that leaves the trunk."""
        trunk = self._trunk
        step = 0 if trunk is None else left_at(line.leaves, trunk.expected)
        if trunk is None or len(trunk.steps) < min(step, trunk.expected - 1):
            raise self._error or Stopped("Stopped in the steps that several points share.")
        self._leaving = step
        longest = line.longest
        taken: list[Step] = []
        run = _branching(on, trunk, step, longest)
        try:
            ends = _Ends()
            for point in line.points:
                same = point.settings.end_step == longest.settings.end_step
                ends.add(
                    point,
                    lambda p=point, s=same: run if s else _branching(on, trunk, step, p),  # type: ignore[misc]
                )
            yield from ends.failed
            yield from _taken(on, run, taken, ends, max([0, *ends.counts]), longest, begun=step)
        finally:
            run.close()

    def _of_second(self, line: Line, on: On) -> Iterator[Result]:
        """Make the second pass of a point, of which the trunk is the first."""
        if self._first is None:
            raise self._error or Stopped("Stopped in the pass that several points share.")
        [point], (steps, seconds) = line.points, self._first
        self._leaving = len(steps)
        run, taken = _run(on, point, point.settings), list(steps)
        try:
            run.skip_first(steps, seconds)
            ends = _Ends()
            ends.add(point, lambda: run)
            yield from _taken(on, run, taken, ends, len(run), point, begun=len(steps))
        finally:
            run.close()


class _Ends:
    """The points that end a run after some of its steps, each with the run that says so."""

    def __init__(self) -> None:
        self.at: dict[int, list[tuple[Point, Run]]] = {}
        self.failed: list[Result] = []

    @property
    def counts(self) -> list[int]:
        """After how many steps points end."""
        return sorted(self.at)

    def add(self, point: Point, run_of: Callable[[], Run]) -> None:
        """Add a point, or its failure where there is no such run."""
        try:
            run = run_of()
        except Exception as error:
            without_frames(error)
            self.failed.append(Result(point, error=error))
        else:
            self.at.setdefault(len(run), []).append((point, run))


def _run(on: On, point: Point, settings: Settings) -> Run:
    given = point.given
    return on.model.run(
        settings,
        given.start,
        attention=point.attention,
        control=given.control or None,
        refiner=on.refiner,
    )


def _branching(on: On, trunk: Trace, step: int, point: Point) -> Run:
    """The run of a point that leaves the trunk."""
    asked, before = point.settings.checked(on.model.config), trunk.settings
    names = [name for name in FREE if getattr(asked, name) != getattr(before, name)]
    if asked.sampler != before.sampler:
        names += EVERY_OPTION  # they would become the sampler's defaults
    branch = Branch.of(
        trunk,
        step,
        attention=point.attention,
        control=point.given.control or None,
        refiner=on.refiner,
        **{name: getattr(asked, name) for name in names},
    )
    return on.model.run(
        branch.settings, attention=branch.attention, control=branch.control, branch=branch
    )


def _taken(
    on: On,
    run: Run,
    taken: list[Step],
    ends: _Ends,
    needed: int,
    someone: Point,
    *,
    begun: int = 0,
) -> Iterator[Result]:
    """Take ``needed`` steps, and yield the results of points that end there.

    ``begun``: how many of the first are those of another run. ``someone``: a point that wants the
    steps beyond all ends. Raises Stopped.
    """
    paid, count = begun, 0
    while count < needed:
        if on.stop():
            raise Stopped(f"Stopped after {count} of {needed} steps.")
        step = next(run)
        taken.append(step)
        count = step.index + 1
        if count > begun and on.on_step is not None:
            steps = next((end for end in ends.counts if end >= count), needed)
            on.on_step(ends.at[steps][0][0] if steps in ends.at else someone, count, steps)
        for point, own in ends.at.get(count, ()):
            made, paid = max(count - paid, 0), max(paid, count)
            yield _result(on, point, own, run, taken, made)


def _result(on: On, point: Point, own: Run, run: Run, taken: list[Step], made: int) -> Result:
    """The result of a point that has all steps that were taken; ``made`` of them were new."""
    try:
        own.seconds = list(run.seconds)
        trace = Trace.of(taken, own)
        scores, notices = scored(trace, on.making.scores)
        if on.making.keep == "image":
            trace = without_steps(trace)
    except Exception as failure:
        error = failure
    else:
        seconds = sum(run.seconds[len(own) - made :]) if made else 0.0
        said = (*trace.notices, *notices)
        return Result(point, trace, scores, None, seconds, made, len(own) - made, said)
    without_frames(error)
    return Result(point, error=error)


def _so_far(taken: Sequence[Step], run: Run) -> Trace:
    """The record of a run's first steps, without an image, for others to go on from.

    It says that it is complete, as the whole run's would, which branches of it repeat.
    """
    return replace(Trace.begun(run), steps=steps_of(taken, run), complete=True)
