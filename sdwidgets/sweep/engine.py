"""`Engine`: a sweep as it is made: start, pause, stop, progress, and an iterator of results."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from .. import checks
from ..daemon import start_daemon
from ..errors import InputError
from ..frames import without_frames
from .executor import Executor
from .plan import Plan
from .points import Point
from .results import KEEPS, Keep, Making, Result
from .scores import scores_of
from .sharing import Cost, groups
from .sheet import MOST_PIXELS, WIDTH, contact_sheets, save_sheet
from .store import Store
from .table import rows, to_csv, to_parquet

State = Literal["ready", "running", "paused", "stopped", "done", "error"]
ENDED: tuple[State, ...] = ("stopped", "done", "error")
WAIT = 0.1
"""Seconds after which a waiting cell looks for Ctrl-C."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a sweep is.

    ``points``: how many there are; ``done`` of them are made, and ``failed`` of these have an error
    in place of an image. ``steps_made``: steps that were computed so far, ``steps_left``: those
    that are still to be; ``steps_saved``: those that points share, as far as that is known before
    they are made, and in the end as it was. The last two are None until the models are known.
    ``seconds``: for which it has run. ``eta``: seconds that are left, by its pace so far; None if
    unknown.
    """

    state: State
    points: int
    done: int = 0
    failed: int = 0
    steps_made: int = 0
    steps_left: int | None = None
    steps_saved: int | None = None
    seconds: float = 0.0
    eta: float | None = None


class Engine:
    """A sweep as it is made. Any thread may start, pause, stop, read and iterate it.

    Iterating starts it, and yields the `Result` of each point in grid order; `as_finished` yields
    them as they are made. Ctrl-C meanwhile stops it, and so does leaving the loop that started it;
    starting again goes on with what is missing.

        engine = Engine(Plan.of("emoji", prompt="a {cat|dog}", seed=range(4)))
        for result in engine:
            print(result.place, result.image)

    ``executor``: what makes the points; None makes them in this process. ``folder``: where results
    are kept as they come. The same sweep in the same folder goes on where it ended; the folder of
    another sweep is refused. ``keep``: "image" or "trace", with all steps. ``scores``: functions of
    a trace, by name. Raises InputError.
    """

    def __init__(
        self,
        plan: Plan,
        executor: Executor | None = None,
        *,
        folder: str | os.PathLike[str] | None = None,
        keep: Keep = "image",
        scores: Any = None,
    ):
        checks.typed("plan", plan, Plan, "a Plan")
        checks.choice("keep", keep, KEEPS)
        self._store = None if folder is None else Store.of(folder, plan)
        self.plan = plan if self._store is None else self._store.plan
        self.making = Making(keep, scores_of(scores))
        self._said: tuple[str, ...] = ()
        self._executor = executor
        self._owns_executor = executor is None
        self._changed = threading.Condition(threading.RLock())
        self._results: dict[int, Result] = {} if self._store is None else {**self._store.results}
        self._order: list[int] = [*self._results]
        unknown = {
            name
            for name in self.making.scores
            for one in self._results.values()
            if name not in one.scores
        }
        if unknown:
            self._said = (
                f"Results from before have no score of {', '.join(sorted(unknown))}: scores are "
                "taken as points are made.",
            )
        self._state: State = "done" if len(self._results) == len(plan) else "ready"
        self._error: Exception | None = None
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._followers: tuple[Callable[[Result | None], object], ...] = ()
        self._complained = False
        self._steps = 0  # computed so far
        self._ran = 0.0  # seconds, before the clock was started last
        self._since: float | None = None
        self._begun = (0, 0, 0.0)  # steps, points and seconds when it was started last
        self._cost: Cost | None = None
        self._planned: int | None = None  # steps that were missing when it was started last
        self._current: dict[int, tuple[int, int]] = {}

    def __reduce__(self) -> NoReturn:
        raise InputError(
            "A sweep that is made holds a thread, so it cannot be copied or sent.\n"
            "Send its points, which are plain data, or read its folder."
        )

    def __repr__(self) -> str:
        return f"<Engine: {self._state}, {len(self._results)} of {len(self.plan)} points>"

    def __len__(self) -> int:
        """How many points there are."""
        return len(self.plan)

    # ------------------------------------------------------------------------------ to be read

    @property
    def state(self) -> State:
        """What it is doing: "ready", "running", "paused", "stopped", "done" or "error"."""
        return self._state

    @property
    def error(self) -> Exception | None:
        """What ended the whole sweep; None if nothing has. Those of points are in their results."""
        return self._error

    @property
    def folder(self) -> Path | None:
        """Where results are kept."""
        return None if self._store is None else self._store.folder

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user should know of the whole sweep."""
        kept = () if self._store is None else self._store.notices
        return (*self._said, *kept, *getattr(self._executor, "notices", ()))

    @property
    def results(self) -> dict[int, Result]:
        """The results so far, by the number of the point in grid order."""
        with self._changed:
            return dict(sorted(self._results.items()))

    @property
    def current(self) -> dict[int, tuple[int, int]]:
        """The points that are being made: (steps done, steps) by number."""
        with self._changed:
            return dict(self._current)

    def result(self, *place: int) -> Result | None:
        """The result at these indices, one for each axis; None if it is not there yet."""
        if len(place) != len(self.plan.axes):
            raise InputError(
                f"This sweep has {len(self.plan.axes)} axes, got {len(place)} indices.",
                parameter="place",
            )
        at = tuple(
            checks.index(axis.key, one, len(axis))
            for axis, one in zip(self.plan.axes, place, strict=True)
        )
        return self._results.get(self.plan.index(at))

    @property
    def progress(self) -> Progress:
        """How far it is."""
        with self._changed:
            done = len(self._results)
            seconds = self._seconds()
            steps, points, before = self._begun
            left = None
            if self._planned is not None:
                left = max(self._planned - (self._steps - steps), 0)
            left = 0 if self._state == "done" else left
            return Progress(
                self._state,
                len(self.plan),
                done,
                sum(not one.ok for one in self._results.values()),
                self._steps,
                left,
                self._saved(),
                seconds,
                self._eta(seconds - before, self._steps - steps, left, done - points),
            )

    def _saved(self) -> int | None:
        """The steps that points share: in the end, those that were; before, those that may be."""
        if self._state == "done":
            return sum(one.shared for one in self._results.values())
        return None if self._cost is None else self._cost.saved

    def _eta(self, seconds: float, made: int, left: int | None, points: int) -> float | None:
        if self._state not in ("running", "paused"):
            return None
        if left is not None and made:
            return seconds / made * left
        if points:
            return seconds / points * (len(self.plan) - len(self._results))
        return None

    def _seconds(self) -> float:
        return self._ran + (0.0 if self._since is None else time.monotonic() - self._since)

    # ---------------------------------------------------------------------- what was made of it

    def rows(self) -> list[dict[str, Any]]:
        """A dictionary of plain values for each result so far, in grid order: its place, all its
        settings, scores, error and file; ``pandas.DataFrame(sweep.rows())`` takes them."""
        return rows(self.plan, self.results.values())

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Write `rows` as CSV, whole or not at all; return the path. Raises InputError."""
        return to_csv(self.rows(), path)

    def to_parquet(self, path: str | os.PathLike[str]) -> Path:
        """Write `rows` as Parquet, which needs pyarrow; return the path. Raises InputError."""
        return to_parquet(self.rows(), path)

    def contact_sheets(self, *, width: float = WIDTH) -> list[Any]:
        """A matplotlib figure for each value of the third axis; see `sheet.contact_sheets`."""
        return contact_sheets(self.plan, self.results, width=width)

    def save_sheet(
        self, path: str | os.PathLike[str], *, most_pixels: int = MOST_PIXELS
    ) -> list[Path]:
        """Write the results so far on a sheet with labels, at their full size; return its pages.

        A .png, .jpg or .webp file for each value of the third axis, numbered, and more of them
        where one would have more than ``most_pixels``, of which `notices` tell; or a .pdf with all
        pages. Raises InputError.
        """
        return save_sheet(self.plan, self.results, path, most=most_pixels, tell=self._say)

    def _say(self, notice: str) -> None:
        with self._changed:
            self._said = tuple(dict.fromkeys([*self._said, notice]))
        self._tell(None)

    # ------------------------------------------------------------------------------ to be done

    def start(self) -> Engine:
        """Make what is missing, in the background, and return at once; also after a stop.

        Points that failed are made again. Does nothing while it runs. Raises InputError if the
        folder cannot be written, or if another process makes this sweep; Busy if the system
        has no thread left.
        """
        with self._changed:
            if self._state in ("running", "paused"):
                return self
            if self._store is not None:
                self._store.open()
            if self._executor is not None:
                self._executor.resume()  # it may have been stopped in a pause
            if self._store is not None:
                for index, result in self._store.results.items():
                    if index not in self._results:
                        self._results[index] = result
                        self._order.append(index)
            self._stopping = False
            self._error = None
            self._results = {i: one for i, one in self._results.items() if one.ok}
            self._order = [i for i in self._order if i in self._results]
            before = self._state
            self._set("running")
            try:
                self._thread = start_daemon("sdwidgets sweep", self._work, end=self._ask_to_stop)
            except BaseException:
                self._set(before)
                if self._store is not None:
                    self._store.close()
                raise
        self._tell(None)
        return self

    def pause(self) -> None:
        """Begin nothing new until `resume`; what has begun is finished."""
        with self._changed:
            if self._state != "running":
                return
            if self._executor is not None:
                self._executor.pause()
            self._set("paused")
        self._tell(None)

    def resume(self) -> None:
        """Go on after `pause`."""
        with self._changed:
            if self._state != "paused":
                return
            if self._executor is not None:
                self._executor.resume()
            self._set("running")
        self._tell(None)

    def stop(self, wait: bool = False) -> None:
        """Stop at the next step, and keep what is made. ``wait``: until it has stopped."""
        self._ask_to_stop()
        thread = self._thread
        if wait and thread is not None and thread is not threading.current_thread():
            thread.join()

    def _ask_to_stop(self) -> None:
        with self._changed:
            if self._state not in ("running", "paused"):
                return
            self._stopping = True
            executor = self._executor
        if executor is not None:
            executor.cancel()

    def close(self) -> None:
        """Stop, and give back the models if they were loaded here."""
        self.stop(wait=True)
        if self._owns_executor and self._executor is not None:
            self._executor.close()
            self._executor = None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended, at most ``timeout`` seconds; return whether it has.

        Ctrl-C meanwhile stops it.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        try:
            with self._changed:
                while self._state in ("running", "paused"):
                    left = end - time.monotonic()
                    if left <= 0:
                        return False
                    self._changed.wait(min(left, WAIT))
        except KeyboardInterrupt:
            self.stop()
            raise
        return True

    def __iter__(self) -> Iterator[Result]:
        """The result of each point in grid order, as soon as it and those before are made."""
        return self._iterate(lambda number: number)

    def as_finished(self) -> Iterator[Result]:
        """The results in the order in which they are made."""
        return self._iterate(
            lambda number: self._order[number] if number < len(self._order) else -1
        )

    def _iterate(self, which: Callable[[int], int]) -> Iterator[Result]:
        """Yield results until all are made or it has ended; start it first if nobody has."""
        starts = self._state == "ready"
        if starts:
            self.start()
        try:
            for number in range(len(self.plan)):
                with self._changed:
                    while (found := self._results.get(which(number))) is None:
                        if self._state in ENDED:
                            break
                        self._changed.wait(WAIT)
                if found is not None:
                    yield found
            self.wait()
        except (KeyboardInterrupt, GeneratorExit) as left:
            if starts or isinstance(left, KeyboardInterrupt):
                self.stop()
            raise
        if self._error is not None:
            raise self._error.with_traceback(None)

    def follow(self, on_change: Callable[[Result | None], object]) -> Callable[[], None]:
        """Call ``on_change`` with each new result, and with None when the state or the progress is
        new; return a function that ends that.

        It is called on the thread that makes the change, so it must return at once. What it raises
        is logged, once, and ends nothing.
        """
        checks.able("on_change", on_change, "__call__", "a function")
        entry = (on_change,)  # the same function may follow twice

        def call(result: Result | None) -> None:
            entry[0](result)

        def leave() -> None:
            with self._changed:
                self._followers = tuple(one for one in self._followers if one is not call)

        with self._changed:
            self._followers = (*self._followers, call)
        return leave

    # ------------------------------------------------------------------------------- its thread

    def _work(self) -> None:
        """Make what is missing: the body of the thread."""
        error: Exception | None = None
        try:
            try:
                self._make_missing()
            finally:
                if self._store is not None:
                    kept = self._store.put_again()
                    self._store.close()
                    with self._changed:
                        self._results |= {one.index: one for one in kept}
        except Exception as failure:
            error = failure
            without_frames(failure)
        with self._changed:
            self._current.clear()
            self._error = error
            complete = len(self._results) == len(self.plan)
            self._set("error" if error is not None else "done" if complete else "stopped")
        self._tell(None)

    def _make_missing(self) -> None:
        executor = self._ready_executor()
        missing = [point for point in self.plan if point.index not in self._results]
        self._count(missing)
        if not self._stopping:
            for result in executor.run(groups(missing), self.making, self._on_step):
                self._take(result)

    def _ready_executor(self) -> Executor:
        if self._executor is None:
            from .local import Local

            made: Executor = Local(None, self.plan.models)
            with self._changed:
                if self._state == "paused":
                    made.pause()
                self._executor = made
        return self._executor

    def _count(self, missing: list[Point]) -> None:
        whole = self.plan.cost()
        left = self.plan.cost(missing)
        with self._changed:
            self._cost = whole
            self._planned = None if left is None else left.made
            self._begun = (self._steps, len(self._results), self._seconds())

    def _on_step(self, point: Point, step: int, steps: int) -> None:
        with self._changed:
            self._steps += 1
            self._current[point.index] = (step, steps)
        self._insist()
        self._tell(None)

    def _insist(self) -> None:
        """Stop once more, if that was asked just before the executor began."""
        if self._stopping and self._executor is not None:
            self._executor.cancel()

    def _learn(self, result: Result) -> None:
        """Count steps again, once the model of a result is known."""
        name = result.point.model
        if self._cost is not None or result.record is None or name in self.plan.configs:
            return
        model = result.record.model_ref and result.record.model_ref()
        if model is None:
            return
        self.plan = self.plan.knowing({name: model.config})
        with self._changed:
            made = {*self._results, result.index}
            steps, points = self._steps - result.made, len(self._results)
        self._count([point for point in self.plan if point.index not in made])
        if self._planned is not None:
            with self._changed:
                self._planned += result.made
                self._begun = (steps, points, self._begun[2])

    def _take(self, result: Result) -> None:
        self._learn(result)
        self._insist()
        if self._store is not None:
            result = self._store.put(result)
        with self._changed:
            if result.index in self._results:
                return
            self._current.pop(result.index, None)
            self._results[result.index] = result
            self._order.append(result.index)
            self._changed.notify_all()
        self._tell(result)

    def _set(self, state: State) -> None:
        """With the lock held: a new state; the clock runs only while it runs."""
        self._ran, self._since = self._seconds(), None
        if state == "running":
            self._since = time.monotonic()
        self._state = state
        self._changed.notify_all()

    def _tell(self, result: Result | None) -> None:
        for follower in self._followers:
            try:
                follower(result)
            except BaseException:  # even SystemExit must not end the sweep
                if not self._complained:
                    self._complained = True
                    log.exception("What follows a sweep has failed; the sweep goes on.")
