"""Points handed out to the workers of a Dask cluster, and what comes back. See `dask`.

Everything happens in one loop, `HandingOut.results`, on the thread that takes the results; the
client's event loop only puts messages into a queue.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import math
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

from ..checks import shortened
from ..errors import ClusterLost, InputError, OutOfMemory, SDWidgetsError, WorkerLost
from .executor import Group, OnStep
from .plain import as_bytes, error_of, from_plain
from .points import Point
from .results import Making, Result

if TYPE_CHECKING:
    from distributed import Client, Future

WINDOW = 2
"""Tasks of a worker at a time: one runs, the other is there when it ends."""

POLL = 1.0
"""Seconds between two looks at which workers there are."""

MISSES = 3
"""Looks in a row that may fail while the client says that it is connected."""

LOOKS = 5
"""Looks for which a new worker may be without its plugin."""

EVENTS = 20.0
"""The most events about steps that all workers send in a second, together, beside one a point."""

PACE = 0.5
"""The least number of seconds between two events of a worker about the same point."""

SILENCE = 10.0
"""Seconds without a word from a worker that has tasks, after which it is asked how it is."""

LOSSES = 2
"""Workers that are lost with a point until it is given up: it is tried again once."""

PATIENCE = 300.0
"""Seconds for which a sweep waits for workers when there are none."""

MESSAGES = 100
"""The most messages that are read before results are passed on."""

ANYTHING = (Exception, asyncio.CancelledError, concurrent.futures.CancelledError)
"""What calls of a client may raise while its cluster goes away."""


@dataclass(frozen=True)
class Rules:
    """How points are handed out.

    ``fingerprints``: those that models are expected to have, by (name, dtype); the first that is
    seen is added. ``going``: clear while paused. ``notice``: takes what a user should know.
    """

    window: int
    patience: float
    fingerprints: dict[tuple[str, str], str]
    going: threading.Event
    notice: Callable[[str], object]


MadeOf: TypeAlias = tuple[Any, ...]


@dataclass(eq=False)
class _Group:
    """Points that are made together, those that are left of them."""

    number: int
    left: dict[int, Point]  # without a result, by index
    losses: dict[int, list[str]]  # addresses of workers that were lost with a point
    is_open: bool = False  # the worker that makes it has it
    handed: int = 0  # how many tasks of it exist
    content: bytes | None = None  # pickled

    @property
    def waiting(self) -> int:
        """How many of its points no task makes yet."""
        return len(self.left) - self.handed

    @property
    def made_of(self) -> MadeOf:
        point = next(iter(self.left.values()))
        return point.model, point.loras, point.refiner


@dataclass(eq=False)
class _Task:
    """A task that exists on the cluster: the next result of a group."""

    seat: _Seat
    group: _Group
    future: Future


@dataclass(eq=False)
class _Seat:
    """A worker that makes points, and its tasks, the oldest first."""

    address: str
    maker: str  # the id of its plugin
    name: str
    gpus: float
    tasks: deque[_Task] = field(default_factory=deque)
    group: _Group | None = None  # of which it gets the next tasks
    refused: dict[MadeOf, SDWidgetsError] = field(default_factory=dict)  # what it cannot make
    point: int = -1  # the last of which it said that it makes it
    heard: float = field(default_factory=time.monotonic)  # when it last said anything

    @property
    def title(self) -> str:
        return self.address if self.name == self.address else f"{self.address} ({self.name})"


class HandingOut:
    """One run of the executor. All but `wake` and `_event` is on the thread of `results`.

    Raises InputError if ``making`` cannot be sent.
    """

    def __init__(
        self,
        client: Client,
        groups: Sequence[Group],
        making: Making,
        on_step: OnStep | None,
        rules: Rules,
    ):
        self.client, self.rules = client, rules
        self.cancelled = threading.Event()
        self.seats: dict[str, _Seat] = {}
        self.name = uuid.uuid4().hex[:12]
        self._making = as_bytes(making, "A score or another setting of this sweep")
        self._on_step = on_step
        self._source = iter(groups)
        self._numbers = itertools.count()
        self._groups: deque[_Group] = deque()  # that wait for a worker
        self._exhausted = False
        self._ready: deque[Result] = deque()
        self._inbox: queue.SimpleQueue[tuple[str, Any, Any]] = queue.SimpleQueue()
        self._unusable: set[str] = set()  # workers that are not used: addresses, ids of plugins
        self._looks: dict[str, int] = {}  # at workers without the plugin, by address
        self._refusal = ""  # the last, in words
        self._misses = 0  # looks at the workers that failed, one after the other
        self._demand: Future | None = None
        self._alone_since: float | None = None  # since when there is no worker
        self._polled = -math.inf
        self._begun = False

    # ------------------------------------------------------------------------------ the main loop

    def results(self) -> Iterator[Result]:
        """Yield each result; ends when all points have one, or once cancelled."""
        self._begin()
        while not self.cancelled.is_set():
            self._poll()
            self._hand_out()
            came = bool(self._ready)
            while self._ready:
                yield self._ready.popleft()
            if self._is_done():
                return
            self._take_messages(0.0 if came else self._polled + POLL - time.monotonic())

    def wake(self) -> None:
        """Look again at what there is to do; from any thread."""
        self._inbox.put(("", None, None))

    def _is_done(self) -> bool:
        working = any(seat.tasks or seat.group for seat in self.seats.values())
        return not (working or self._groups) and self._is_exhausted() and not self._ready

    def _begin(self) -> None:
        from .on_worker import TOPIC, Maker

        self._check_cluster()
        _follow(self.client, TOPIC, self.name, self._event)
        self._begun = True
        workers = max(len(self._addresses()), 1)
        maker = Maker(self.name, self._making, max(PACE, workers / EVENTS))
        try:
            self.client.register_plugin(maker, name=maker.name)
        except ANYTHING:  # of one worker, of which `_meet` says more; all others have it
            self._check_cluster()

    def end(self) -> None:
        """Stop what runs, and take the plugin back. May be called at any time, and never raises."""
        from .on_worker import TOPIC, plugin_name

        futures = [task.future for seat in self.seats.values() for task in seat.tasks]
        futures += [self._demand] if self._demand is not None else []
        self._demand = None
        for seat in self.seats.values():
            seat.tasks.clear()
        if self._begun:
            _unfollow(self.client, TOPIC, self.name)
        if self.client.status == "running":
            with suppress(*ANYTHING):
                if futures:
                    self.client.cancel(futures)
            with suppress(*ANYTHING):
                self.client.unregister_worker_plugin(plugin_name(self.name))

    def _check_cluster(self, error: BaseException | None = None) -> None:
        """Raise ClusterLost if the client is not connected, or for an error that says so."""
        status = self.client.status
        if status == "running" and error is None:
            return
        is_closed = status in ("closed", "closing", "newly-created")
        what = "The Dask client was closed" if is_closed else "The Dask scheduler is out of reach"
        raise ClusterLost(
            f"{what}, and the sweep is not finished.\n"
            "What came back is kept: in its folder, if it has one. Run it again with that folder,\n"
            "on a cluster that is up, and only the rest is made."
        ) from error

    # -------------------------------------------------------------------------------- the workers

    def _addresses(self) -> list[str]:
        """The addresses of all workers. Raises ClusterLost."""
        try:
            found = list(self.client.nthreads())
        except ANYTHING as error:  # what a lost connection raises differs
            self._misses += 1
            self._check_cluster(error if self._misses >= MISSES else None)
            return list(self.seats)
        self._misses = 0
        return found

    def _poll(self) -> None:
        """See which workers are new and which are gone; every `POLL` seconds."""
        now = time.monotonic()
        if now < self._polled + POLL:
            return
        self._polled = now
        self._check_cluster()
        there = self._addresses()
        for address in [each for each in self.seats if each not in set(there)]:
            self._lose(self.seats[address])
        new = [each for each in there if each not in self.seats and each not in self._unusable]
        if new:
            self._meet(new)
        silent = [seat for seat in self.seats.values() if seat.tasks and now > seat.heard + SILENCE]
        if silent:
            self._ask_after(silent)
        self._wait_for_workers(now)

    def _meet(self, addresses: Sequence[str]) -> None:
        """Give a seat to each new worker that can make points, and say why others cannot."""
        from .on_worker import facts, versions

        try:
            answers = self.client.run(facts, self.name, workers=list(addresses), on_error="return")
        except ANYTHING:
            self._check_cluster()
            return  # asked again at the next look
        ours = versions()
        for address, answer in answers.items():
            if isinstance(answer, OSError):
                continue  # it has just gone
            if isinstance(answer, BaseException):
                self._refuse(address, f"it cannot use sdwidgets ({_first(answer)})")
            elif answer["versions"]["sdwidgets"] != ours["sdwidgets"]:
                theirs = answer["versions"]["sdwidgets"]
                self._refuse(
                    address, f"it has sdwidgets {theirs}, and this process {ours['sdwidgets']}"
                )
            elif answer["status"] == "paused":
                self._tell_pause(address)  # it may go on later
            elif not answer["id"]:  # it has just joined, or could not be set up
                self._looks[address] = self._looks.get(address, 0) + 1
                if self._looks[address] >= LOOKS:
                    self._refuse(address, "its plugin could not be set up; its log says why")
            elif answer["id"] not in self._unusable:
                self._compare(answer["versions"], ours)
                gpus = float(answer["resources"].get("GPU", 0))
                self.seats[address] = _Seat(address, answer["id"], answer["name"], gpus)
        self._leave_gpus_to_gpus()

    def _ask_after(self, seats: Sequence[_Seat]) -> None:
        """Take points back from workers that are paused and begin none of them."""
        from .on_worker import facts

        addresses = [seat.address for seat in seats]
        with suppress(*ANYTHING):
            answers = self.client.run(facts, self.name, workers=addresses, on_error="return")
            for seat in seats:
                seat.heard = time.monotonic()
                answer = answers.get(seat.address)
                if isinstance(answer, Mapping) and answer["status"] == "paused":
                    self._tell_pause(seat.address)
                    pending = all(task.future.status == "pending" for task in seat.tasks)
                    if pending and not answer["busy"]:
                        self._take_back(seat, strike=False)

    def _tell_pause(self, address: str) -> None:
        self.rules.notice(
            f"Dask has paused the worker {address}, as its memory is almost full: it begins no "
            "point. Give workers more memory (memory_limit)."
        )

    def _leave_gpus_to_gpus(self) -> None:
        """Where some workers have a GPU, take no points to the others."""
        if not any(seat.gpus for seat in self.seats.values()):
            return
        others = [seat for seat in self.seats.values() if not seat.gpus and not seat.tasks]
        for seat in others:
            del self.seats[seat.address]
            self._unusable.add(seat.address)
        if others:
            self.rules.notice(
                "Only workers with the resource GPU make points; others of this cluster have none."
            )

    def _refuse(self, address: str, why: str) -> None:
        self._unusable.add(address)
        self._refusal = f"The worker {address} is not used: {why}."
        self.rules.notice(self._refusal)

    def _compare(self, theirs: Mapping[str, str], ours: Mapping[str, str]) -> None:
        others = [
            f"{name} {theirs.get(name)} instead of {own}"
            for name, own in ours.items()
            if theirs.get(name) != own
        ]
        if others:
            self.rules.notice(
                f"There are workers with {' and '.join(others)}: "
                "their images may differ in the last digits."
            )

    def _wait_for_workers(self, now: float) -> None:
        """Without a worker: ask for one, wait, and after a while give up."""
        from .on_worker import wanted

        if self.seats:
            self._alone_since = None
            if self._demand is not None:
                self._demand.release()
                self._demand = None
            return
        if self._alone_since is None:
            self._alone_since = now
            self.rules.notice("There is no worker that makes points; the sweep waits for one.")
        if self._demand is None:  # an adaptive cluster starts workers for tasks that wait
            with suppress(*ANYTHING):
                self._demand = self.client.submit(wanted, pure=False)
        if now - self._alone_since > self.rules.patience:
            raise ClusterLost(
                f"There has been no worker for the sweep for {self.rules.patience:g} seconds.\n"
                + (
                    self._refusal
                    or "Start workers: each needs sdwidgets, and the scheduler's address."
                )
            )

    # ---------------------------------------------------------------------------------- the tasks

    def _is_exhausted(self) -> bool:
        self._look_ahead(1)
        return self._exhausted and not self._groups

    def _look_ahead(self, count: int) -> None:
        """Have at least ``count`` groups wait, if there are as many."""
        while not self._exhausted and len(self._groups) < count:
            group = next(self._source, None)
            if group is None:
                self._exhausted = True
            elif group:
                self._groups.append(self._grouped(group))

    def _grouped(
        self, points: Sequence[Point], losses: Mapping[int, list[str]] | None = None
    ) -> _Group:
        left = {point.index: point for point in points}
        return _Group(next(self._numbers), left, dict(losses or {}))

    def _hand_out(self) -> None:
        """Give each worker as many tasks as it may have, first to those with the fewest."""
        if not self.rules.going.is_set():
            return
        for tasks in range(self.rules.window):
            for seat in [*self.seats.values()]:
                while len(seat.tasks) <= tasks and self._give(seat):
                    pass
        self._fail_what_nobody_makes()

    def _give(self, seat: _Seat) -> bool:
        """Give a worker a task; return False if there is none for it."""
        if seat.group is None:
            seat.group = self._next_group(seat, is_idle=not seat.tasks)
        group = seat.group
        if group is None:
            return False
        if group.waiting <= 0:  # another worker has the rest
            seat.group = None
            return True
        try:
            self._send(seat, group)
        except InputError as error:
            seat.group = None
            self._ready += [Result(point, error=error) for point in group.left.values()]
            group.left.clear()
            return True
        if group.waiting <= 0:
            seat.group = None
        return True

    def _next_group(self, seat: _Seat, *, is_idle: bool) -> _Group | None:
        """Take a group that waits; the last ones go to workers that are idle. Where none waits,
        such a worker gets points of the group of another."""
        self._look_ahead(len(self.seats) + 1)
        if len(self._groups) <= len(self.seats) and not is_idle:
            return None
        group = next((one for one in self._groups if one.made_of not in seat.refused), None)
        if group is None:
            return self._part_of_another(seat) if is_idle and not self._groups else None
        self._groups.remove(group)
        return group

    def _part_of_another(self, seat: _Seat) -> _Group | None:
        """Half of the points that no task makes yet, of the group with the most of them.

        A worker makes the points of a group in their order, so it never gets to the last ones. The
        steps that both halves share are made twice, which takes less time than waiting.
        """
        groups = [one.group for one in self.seats.values() if one.group is not None]
        groups = [group for group in groups if group.left and group.made_of not in seat.refused]
        longest = max(groups, key=lambda group: group.waiting, default=None)
        if longest is None or longest.waiting < 1:
            return None
        points = [*longest.left.values()][-math.ceil(longest.waiting / 2) :]
        for point in points:
            del longest.left[point.index]
        return self._grouped(points, longest.losses)

    def _send(self, seat: _Seat, group: _Group) -> None:
        """Make a task on a worker. Raises InputError for points that cannot be sent."""
        from .on_worker import take

        if group.content is None:
            points = tuple(_with_full_path(point) for point in group.left.values())
            group.content = as_bytes(points, "A point of this sweep")
        resources = {"GPU": 1} if seat.gpus else None
        content = None if group.is_open else group.content
        try:
            future = self.client.submit(
                take, self.name, seat.maker, group.number, content,
                pure=False, workers=[seat.address], resources=resources, retries=0,
                key=f"sdwidgets-point-{uuid.uuid4().hex}",
            )  # fmt: skip
        except ANYTHING as error:
            self._check_cluster(error)
            raise
        task = _Task(seat, group, future)
        seat.tasks.append(task)
        group.handed += 1
        assert self.client.loop is not None
        self.client.loop.add_callback(self._fetch, task)

    async def _fetch(self, task: _Task) -> None:
        """Wait for what a task returns, on the client's event loop."""
        try:
            value = await self.client.gather(task.future, asynchronous=True)
        except ANYTHING as error:
            self._inbox.put(("failed", task, error))
        else:
            self._inbox.put(("came", task, value))

    def _event(self, message: Mapping[str, Any]) -> None:
        self._inbox.put(("step", message, None))

    # ----------------------------------------------------------------------------- what comes back

    def _take_messages(self, wait: float) -> None:
        """Wait for news, at most so many seconds, and act on all there are."""
        for _ in range(MESSAGES):
            try:
                kind, what, value = self._inbox.get(timeout=max(wait, 0.001))
            except queue.Empty:
                return
            wait = 0.0
            if kind == "step":
                self._tell(what)
            elif kind == "came" and what in what.seat.tasks:
                self._came(what, value)
            elif kind == "failed" and what in what.seat.tasks:
                self._failed(what, value)

    def _tell(self, message: Mapping[str, Any]) -> None:
        for seat in self.seats.values():
            if seat.maker == message["maker"]:
                seat.point, seat.heard = message["point"], time.monotonic()
                groups = [task.group for task in seat.tasks]
                point = next((g.left[seat.point] for g in groups if seat.point in g.left), None)
                if point is not None and self._on_step is not None:
                    self._on_step(point, int(message["done"]), int(message["of"]))
                return

    def _came(self, task: _Task, value: Mapping[str, Any]) -> None:
        """Act on what a task returned."""
        seat, group, status = task.seat, task.group, value["status"]
        seat.heard = time.monotonic()
        if status == "elsewhere":
            return self._lose(seat)
        self._over(task)
        if status == "made":
            point = group.left.get(value["result"]["index"])
            if point is None:
                return None
            if error := self._other_weights(seat, point, value["on"]):
                return self._cannot(seat, group, error)
            group.is_open = True
            del group.left[point.index]
            try:
                self._ready.append(from_plain(value["result"], point))
            except InputError as error:
                self._ready.append(Result(point, error=error))
        elif status == "unfit":
            self._cannot(seat, group, error_of(value["error"]))
        elif status == "unknown":
            self._take_group_back(seat, group)
        elif status == "done":
            self._give_up(seat, group)
        elif status == "stopped":  # the worker is about to end, or others stopped its plugin
            self._unusable.add(seat.maker)
            self._take_back(seat, strike=False)
        if group.left and not group.handed and seat.group is not group:
            self._again(group)  # a result came twice
        return None

    def _failed(self, task: _Task, error: BaseException) -> None:
        """A task has no result: its worker is lost, or it was cancelled by others."""
        self._check_cluster()
        self._lose(task.seat, error)

    def _over(self, task: _Task) -> None:
        task.seat.tasks.remove(task)
        task.group.handed -= 1
        task.future.release()

    def _other_weights(
        self, seat: _Seat, point: Point, made_on: Mapping[str, str]
    ) -> SDWidgetsError | None:
        """Why a model is not the one that is expected; None if it is."""
        if point.loras:
            return None  # on top of a model that is compared without them
        key = (point.model, made_on["dtype"])
        expected = self.rules.fingerprints.setdefault(key, made_on["fingerprint"])
        if len({dtype for name, dtype in self.rules.fingerprints if name == point.model}) > 1:
            self.rules.notice(
                f"Workers run {point.model} in different precisions: their images differ a little."
            )
        if expected == made_on["fingerprint"]:
            return None
        return InputError(
            f"The worker {seat.title} has other weights for {point.model} than are expected.\n"
            "Give a path that is the same file everywhere, or a model of the hub with its commit.",
            parameter="model",
        )

    def _cannot(self, seat: _Seat, group: _Group, error: SDWidgetsError) -> None:
        """A worker cannot make the points of a group, as its model is not there: others may."""
        if group.left and group.made_of not in seat.refused:
            seat.refused[group.made_of] = error
            self.rules.notice(
                f"The worker {seat.title} makes no points of a model: {_first(error)}"
            )
        self._take_group_back(seat, group)

    def _take_group_back(self, seat: _Seat, group: _Group) -> None:
        """Let a group that a worker has wait for a worker again, perhaps another."""
        for task in [one for one in seat.tasks if one.group is group]:
            self._cancel(task)
        if seat.group is group:
            seat.group = None
        self._again(group)

    def _fail_what_nobody_makes(self) -> None:
        if not self.seats:
            return
        for group in [*self._groups]:
            made_of = group.made_of
            errors = [seat.refused.get(made_of) for seat in self.seats.values()]
            if all(errors):
                self._groups.remove(group)
                self._ready += [Result(point, error=errors[0]) for point in group.left.values()]

    def _cancel(self, task: _Task) -> None:
        task.seat.tasks.remove(task)
        task.group.handed -= 1
        with suppress(*ANYTHING):
            self.client.cancel([task.future])

    def _again(self, group: _Group) -> None:
        """Let the points that are left of a group wait for a worker again, before all others."""
        left, group.left = [*group.left.values()], {}
        if left:
            self._groups.appendleft(self._grouped(left, group.losses))

    def _give_up(self, seat: _Seat, group: _Group) -> None:
        """A worker says that it made all of a group, and some results are missing."""
        error = WorkerLost(f"The worker {seat.title} made no result of this point, nor an error.")
        if seat.group is group:
            seat.group = None
        self._ready += [Result(point, error=error) for point in group.left.values()]
        group.left = {}

    # --------------------------------------------------------------------------------- lost workers

    def _lose(self, seat: _Seat, error: BaseException | None = None) -> None:
        """A worker is gone: the point that it made is tried once more, all others elsewhere."""
        self._take_back(seat, strike=True, error=error)

    def _take_back(self, seat: _Seat, *, strike: bool, error: BaseException | None = None) -> None:
        """Take all points back from a worker, which is asked who it is before it gets others."""
        self.seats.pop(seat.address, None)
        self._polled = -math.inf
        tasks, groups = [*seat.tasks], [task.group for task in seat.tasks]
        for task in tasks:
            self._cancel(task)
        if strike and groups and groups[0].left:
            self._strike(seat, groups[0], error)
        if seat.group is not None:
            groups.append(seat.group)
            seat.group = None
        for group in reversed(list(dict.fromkeys(groups))):
            self._again(group)

    def _strike(self, seat: _Seat, group: _Group, error: BaseException | None) -> None:
        """Note that a worker was lost with a point; the second time, that is the point's error."""
        index = seat.point if seat.point in group.left else next(iter(group.left))
        lost = group.losses.setdefault(index, [])
        lost.append(seat.address)
        if len(lost) >= LOSSES:
            point = group.left.pop(index)
            self._ready.append(Result(point, error=self._why_lost(lost, error)))

    def _why_lost(self, addresses: Sequence[str], error: BaseException | None) -> SDWidgetsError:
        killed: set[str] = set()
        with suppress(*ANYTHING):
            events = self.client.get_events("worker-restart-memory")
            killed = {str(event["worker"]) for _, event in events}
        if killed & set(addresses):
            return OutOfMemory(
                f"{_count(len(addresses), 'worker')} ran out of memory with this point and were "
                "killed.\nTake a smaller size or fewer images at once, or give workers more "
                "memory (memory_limit)."
            )
        reason = f" ({_first(error)})" if error is not None else ""
        return WorkerLost(
            f"{_count(len(addresses), 'worker')} were lost with this point: "
            f"{', '.join(addresses)}{reason}.\n"
            "They were killed, out of memory or cut off; their logs say more."
        )


def _with_full_path(point: Point) -> Point:
    """A point whose model is found from any folder, if its name is that of a file or folder."""
    path = Path(point.model)
    if path.is_absolute() or not path.exists():
        return point
    return replace(point, model=str(path.absolute()))


def _count(number: int, what: str) -> str:
    words = {1: "One", 2: "Two", 3: "Three"}
    return f"{words.get(number, number)} {what}{'' if number == 1 else 's'}"


def _first(error: BaseException) -> str:
    return shortened(next(iter(str(error).splitlines()), "") or type(error).__name__, 200)


# ----------------------------------------------------------------------------------------- events

_FOLLOWERS: WeakKeyDictionary[Any, dict[str, Callable[[Mapping[str, Any]], object]]] = (
    WeakKeyDictionary()
)
"""Of a client, which has one function for a topic: those of its sweeps, by name."""

_LOCK = threading.Lock()


def _follow(
    client: Client, topic: str, sweep: str, call: Callable[[Mapping[str, Any]], object]
) -> None:
    """Have ``call`` called on the client's event loop for each event of a sweep."""
    with _LOCK:
        followers = _FOLLOWERS.setdefault(client, {})
        followers[sweep] = call
        if len(followers) > 1:
            return

    def pass_on(event: tuple[float, Mapping[str, Any]]) -> None:
        message = event[1]
        found = followers.get(message.get("sweep", "")) if isinstance(message, Mapping) else None
        if found is not None:
            found(message)

    client.subscribe_topic(topic, pass_on)


def _unfollow(client: Client, topic: str, sweep: str) -> None:
    with _LOCK:
        followers = _FOLLOWERS.get(client, {})
        followers.pop(sweep, None)
        is_last = not followers
    if is_last and client.status == "running":
        with suppress(*ANYTHING):
            client.unsubscribe_topic(topic)
