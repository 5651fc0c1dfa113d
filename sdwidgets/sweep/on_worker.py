"""What runs on a Dask worker: models that are made once, and points, a task each.

A group of points is one iterator, which stays open on its worker from task to task, so that each
result leaves as soon as it is made and shared steps are still made once. Points are made on the
worker's own threads, never on its event loop, which goes on answering the scheduler.
"""

from __future__ import annotations

import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, cast

from distributed import Worker, WorkerPlugin, get_worker
from distributed.protocol import pickle

from ..daemon import start_daemon
from ..errors import SDWidgetsError, Stopped
from ..manager import FINAL, ModelManager
from ..version import __version__
from .plain import as_plain, plain_error
from .points import Point
from .results import Making, Result

if TYPE_CHECKING:
    from ..pipeline import LatentDiffusion

TOPIC = "sdwidgets"
"""The topic of the events by which workers tell how far they are."""

IDLE = 300.0
"""Seconds after its last point for which a worker keeps its models, for a sweep that may follow."""

WAIT = 0.1
"""Seconds between two looks at whether a task was cancelled while it waits."""


def plugin_name(sweep: str) -> str:
    """The name of a sweep's `Maker` on every worker."""
    return f"sdwidgets {sweep}"


def facts(sweep: str, dask_worker: Worker) -> dict[str, Any]:
    """What a worker is: called on its event loop, by ``client.run``.

    ``id``: of its `Maker`, other in each process; "" if it has none. ``status``: Dask's word;
    "paused" begins no task, as its memory is almost full. ``busy``: whether it makes a point.
    """
    maker = dask_worker.plugins.get(plugin_name(sweep))
    return {
        "id": maker.id if isinstance(maker, Maker) else "",
        "busy": isinstance(maker, Maker) and maker.busy,
        "name": str(dask_worker.name),
        "status": dask_worker.status.name,
        "resources": dict(dask_worker.state.total_resources),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """The versions that decide what a point's pixels are."""
    found = {"sdwidgets": __version__, "Python": platform.python_version()}
    try:
        found["torch"] = version("torch")
    except PackageNotFoundError:
        found["torch"] = "not installed"
    return found


def take(sweep: str, maker_id: str, group: int, points: bytes | None) -> dict[str, Any]:
    """Make the next result of a group, as plain data: the task of a point.

    ``maker_id``: the `Maker` for which it is meant. ``points``: the group, pickled; None where the
    worker has it already. The ``status`` of what comes back is "made", with the result; "unfit",
    with the error for which the model could not be made here; "unknown", if the group is not here;
    "done", if the group has no more results; "stopped"; or "elsewhere", if the worker that was
    meant is gone and this one has its address.
    """
    worker = get_worker()
    maker = worker.plugins.get(plugin_name(sweep))
    if not isinstance(maker, Maker) or maker.id != maker_id:
        return {"status": "elsewhere"}
    return maker.take(group, points, str(worker.get_current_task()))


def wanted() -> None:
    """A task that only tells the scheduler of a cluster without workers that one is needed."""


class Maker(WorkerPlugin):  # type: ignore[misc]
    """Makes the points of one sweep on one worker, one after another.

    ``making``: the pickled `Making` of the sweep. ``pace``: the least number of seconds between two
    events about the same point.
    """

    def __init__(self, sweep: str, making: bytes, pace: float):
        self.sweep = sweep
        self.name = plugin_name(sweep)
        self.making = making
        self.pace = pace

    # ----------------------------------------------------------- called on the worker's event loop

    def setup(self, worker: Worker) -> None:
        """Called on each worker, also on those that join later. Loads nothing yet."""
        self.id = uuid.uuid4().hex
        self._worker = worker
        self._turn = threading.Lock()
        self._closed = False
        self._cancelled: set[str] = set()  # tasks that were cancelled while they ran
        self._current = ""  # the task that runs
        self._group = -1
        self._results: Iterator[Result] = iter(())
        self._told = (-1, 0.0)  # the point of the last event, and when that was
        self._made_on: dict[str, Any] = {}

    def teardown(self, worker: Worker) -> None:
        """Called when the sweep or the worker ends: what runs stops at its next step."""
        self._closed = True
        if self._turn.acquire(blocking=False):
            self._leave()
            self._turn.release()

    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        """Called for each change of a task: Dask forgets a cancelled task, but lets it run on."""
        if start == "executing" and finish in ("released", "cancelled"):
            self._cancelled.add(str(key))

    @property
    def busy(self) -> bool:
        """Whether it makes a point now."""
        return self._turn.locked()

    # ----------------------------------------------------------------- called on a thread for tasks

    def take(self, group: int, points: bytes | None, key: str) -> dict[str, Any]:
        """See the function `take`. Tasks wait for their turn, however many threads there are."""

        def stopped() -> bool:
            return self._closed or key in self._cancelled

        while not self._turn.acquire(timeout=WAIT):
            if stopped():
                return {"status": "stopped"}
        try:
            self._current = key
            if stopped():
                return {"status": "stopped"}
            if group != self._group:
                self._leave()
                if points is None:
                    return {"status": "unknown"}
                try:
                    self._begin(group, points)
                except Stopped:
                    return {"status": "stopped"}
                except Exception as error:  # also what unpickling a score raises
                    return {"status": "unfit", "error": plain_error(error)}
            result = next(self._results, None)
            if result is None:
                self._leave()
                return {"status": "stopped" if stopped() else "done"}
            return {"status": "made", "result": as_plain(result), "on": self._made_on}
        finally:
            self._cancelled.discard(key)
            if self._closed:
                self._leave()
            self._turn.release()
            self._worker.loop.add_callback(_MODELS.used, self._worker.loop)

    def _stops(self) -> bool:
        """Whether the task that runs was cancelled, or the sweep has ended."""
        return self._closed or self._current in self._cancelled

    def _begin(self, group: int, points: bytes) -> None:
        """Open the iterator of a group, with its model made."""
        from .running import run_points

        making = cast(Making, pickle.loads(self.making))
        pointed = cast("tuple[Point, ...]", pickle.loads(points))
        model, refiner = _MODELS.get(pointed[0], self._stops)
        self._made_on = {
            "fingerprint": model.fingerprint,
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": model.device.type,
        }
        self._results = run_points(
            model, pointed, making, refiner=refiner, stop=self._stops, on_step=self._tell
        )
        self._group = group

    def _leave(self) -> None:
        """Close the group that is open, which frees what its points share."""
        close = getattr(self._results, "close", None)
        self._results, self._group = iter(()), -1
        if close is not None:
            close()

    def _tell(self, point: Point, done: int, steps: int) -> None:
        """Send an event: the first of each point, then one every `pace` seconds at most."""
        now = time.monotonic()
        if self._told[0] == point.index and now - self._told[1] < self.pace:
            return
        self._told = (point.index, now)
        event = {"sweep": self.sweep, "maker": self.id}
        self._worker.log_event(TOPIC, {**event, "point": point.index, "done": done, "of": steps})


@dataclass
class _Adapted:
    """A model with the LoRAs of some points, and what these were."""

    made_of: tuple[Any, ...]
    plain: LatentDiffusion
    model: LatentDiffusion


class _Models:
    """The models of this process, which all sweeps on it share, and which are given back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._manager: ModelManager | None = None
        self._adapted: _Adapted | None = None
        self._timer: Any = None
        self._loop: Any = None  # on which the timer is
        self._last = 0.0

    def get(
        self, point: Point, stop: Callable[[], bool]
    ) -> tuple[LatentDiffusion, LatentDiffusion | None]:
        """(The model of a point, its refiner), loaded if need be. Raises Stopped, or why not."""
        self._last = time.monotonic()
        with self._lock:
            if self._manager is None or self._manager.closed:
                self._manager = ModelManager()
            manager = self._manager
        model = _loaded(manager, point.model, stop)
        if point.loras:
            model = self._with_loras(model, point)
        refiner = None if point.refiner is None else _loaded(manager, point.refiner, stop)
        return model, refiner

    def _with_loras(self, model: LatentDiffusion, point: Point) -> LatentDiffusion:
        made_of = (point.model, point.loras)
        with self._lock:
            kept = self._adapted
            if kept is None or kept.made_of != made_of or kept.plain is not model:
                self._adapted = None
                kept = self._adapted = _Adapted(made_of, model, model.with_loras(point.loras))
            return kept.model

    def used(self, loop: Any) -> None:
        """Free the models once nothing has used them for `IDLE` seconds. On an event loop."""
        self._last = time.monotonic()
        if self._timer is None or self._loop is not loop:
            self._loop, self._timer = loop, loop.call_later(IDLE, self._look, loop)

    def _look(self, loop: Any) -> None:
        self._timer = None
        left = self._last + IDLE - time.monotonic()
        if left > 0:
            self._timer = loop.call_later(left, self._look, loop)
            return
        with self._lock:
            manager, self._manager, self._adapted = self._manager, None, None
        if manager is not None:
            start_daemon("sdwidgets models", manager.close)


def _loaded(manager: ModelManager, name: str, stop: Callable[[], bool]) -> LatentDiffusion:
    """The model of that name. Raises Stopped, or why it cannot be loaded."""
    if name not in manager.loaded():
        job = manager.warm_up(name)
        while not job.wait(WAIT):
            if stop():
                job.cancel()
        if job.state not in FINAL or job.state == "stopped":
            raise Stopped("Stopped while the model was loaded.")
        if job.error is not None:
            raise job.error if isinstance(job.error, Exception) else SDWidgetsError(str(job.error))
    return manager.load(name)


_MODELS = _Models()
