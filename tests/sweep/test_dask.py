"""Sweeps on a Dask cluster: what workers are given, what comes back, and what may fail.

Most tests run on workers that are threads of this process, with a script in place of the model, so
that each waits for the events it is about. Those with a real model and real deaths run on workers
that are processes, in `test_dask_processes.py`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("distributed")

from distributed import Client, LocalCluster, Scheduler, SpecCluster, Status, Worker, get_worker

from sdwidgets.errors import CheckpointError, ClusterLost, InputError, WorkerLost
from sdwidgets.settings import Settings
from sdwidgets.sweep import handing_out, on_worker, running
from sdwidgets.sweep.dask import OnDask, exposed
from sdwidgets.sweep.points import Point
from sdwidgets.sweep.results import Making, Result

OPTIONS = {"dashboard": False, "dashboard_address": ":0", "protocol": "inproc://"}
LIMIT = 120  # seconds, more than anything here takes


class Script:
    """Stands for the model on all workers: makes points when the test says so.

    ``begun`` gets the address of a worker and the index of each point that it begins. A point waits
    at its gate, if it has one, and looks meanwhile whether it is to stop.
    """

    def __init__(self) -> None:
        self.begun: queue.Queue[tuple[str, int]] = queue.Queue()
        self.stopped: queue.Queue[int] = queue.Queue()
        self.gates: dict[int, threading.Event] = {}
        self.loads: list[str] = []
        self.broken: set[str] = set()  # models that cannot be loaded
        self.fingerprints: dict[str, str] = {}  # by worker, where another than usual
        self.at_once = self.most = 0
        self._lock = threading.Lock()

    def hold(self, *indices: int) -> None:
        for index in indices:
            self.gates[index] = threading.Event()

    def release(self) -> None:
        for gate in self.gates.values():
            gate.set()

    def get(self, point: Point, stop: Callable[[], bool]) -> tuple[Any, None]:
        worker = get_worker().address
        self.loads.append(worker)
        if point.model in self.broken or f"{point.model} {worker}" in self.broken:
            raise CheckpointError(f"There is no {point.model} here.")
        print_ = self.fingerprints.get(worker, "f" * 64)
        return SimpleNamespace(
            fingerprint=print_, dtype="torch.float32", device=SimpleNamespace(type="cpu")
        ), None

    def run_points(
        self, model: Any, points: Sequence[Point], making: Making, **more: Any
    ) -> Iterator[Result]:
        for point in points:
            with self._lock:
                self.at_once += 1
                self.most = max(self.most, self.at_once)
            try:
                more["on_step"](point, 1, 3)
                self.begun.put((get_worker().address, point.index))
                gate = self.gates.get(point.index)
                while gate is not None and not gate.wait(0.005):
                    if more["stop"]():
                        self.stopped.put(point.index)
                        return
            finally:
                with self._lock:
                    self.at_once -= 1
            yield Result(point, scores={"twice": 2.0 * point.index}, made=3)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2,
        threads_per_worker=2,
        processes=False,
        memory_limit=0,  # Dask watches the memory of the whole process, and would pause them
        dashboard_address=None,
    ) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        client.wait_for_workers(2, timeout=LIMIT)
        yield client


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    script = Script()
    monkeypatch.setattr(running, "run_points", script.run_points)
    monkeypatch.setattr(on_worker, "_MODELS", SimpleNamespace(get=script.get, used=lambda loop: 0))
    monkeypatch.setattr(handing_out, "POLL", 0.02)
    yield script
    script.release()


def points(count: int, first: int = 0, model: str = "emoji") -> tuple[Point, ...]:
    return tuple(
        Point(index, (index,), model, Settings(prompt="a dog", seed=index))
        for index in range(first, first + count)
    )


def in_groups(*sizes: int) -> list[tuple[Point, ...]]:
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [points(size, start) for size, start in zip(sizes, starts, strict=True)]


class Running:
    """An executor that runs on a thread, with its results in a queue and its error."""

    def __init__(self, on: OnDask, groups: Sequence[Any], making: Making | None = None):
        self.results: queue.Queue[Result] = queue.Queue()
        self.error: Exception | None = None
        self.steps: list[tuple[int, int, int]] = []
        self.thread = threading.Thread(target=self._run, args=(on, groups, making or Making()))
        self.thread.start()

    def _run(self, on: OnDask, groups: Sequence[Any], making: Making) -> None:
        try:
            for result in on.run(
                groups, making, lambda p, i, n: self.steps.append((p.index, i, n))
            ):
                self.results.put(result)
        except Exception as error:
            self.error = error

    def _step(self, point: Point, step: int, steps: int) -> None:
        self.steps.append((point.index, step, steps))

    def ended(self) -> list[Result]:
        """All results, once it has ended."""
        self.thread.join(LIMIT)
        assert not self.thread.is_alive()
        return [self.results.get_nowait() for _ in range(self.results.qsize())]


def idle(client: Client) -> bool:
    """Whether no worker holds anything of a sweep any more."""

    def busy(dask_worker: Worker) -> int:
        plugins = [name for name in dask_worker.plugins if name.startswith("sdwidgets")]
        return len(plugins) + len(dask_worker.state.executing)

    def tasks(dask_scheduler: Scheduler) -> int:
        return len(dask_scheduler.tasks)

    def settled() -> bool:
        return not any(client.run(busy).values()) and not client.run_on_scheduler(tasks)

    return until(settled)


def until(true: Callable[[], bool]) -> bool:
    """Wait for something that nothing tells; False if it never comes."""
    wait = threading.Event()
    return any(true() or wait.wait(0.01) for _ in range(LIMIT * 100))


# ------------------------------------------------------------------------------ how points are made


def test_each_point_comes_back_once_and_nothing_stays(client: Client, script: Script) -> None:
    on = OnDask(client)
    results = list(on.run(in_groups(3, 1, 2), Making()))
    assert sorted(result.index for result in results) == [0, 1, 2, 3, 4, 5]
    assert all(result.scores == {"twice": 2.0 * result.index} for result in results)
    assert all(result.ok and result.made == 3 for result in results)
    assert on.notices == [] and on.workers == 0
    assert idle(client)


def test_a_worker_makes_one_point_at_a_time_whatever_its_threads(
    client: Client, script: Script
) -> None:
    script.hold(*range(8))
    run = Running(OnDask(client, window=4), in_groups(1, 1, 1, 1, 1, 1, 1, 1))
    workers = {script.begun.get(timeout=LIMIT)[0] for _ in range(2)}
    assert len(workers) == 2
    script.release()
    assert len(run.ended()) == 8
    assert script.most == 2


def test_a_group_stays_on_its_worker_and_its_results_come_one_by_one(
    client: Client, script: Script
) -> None:
    script.hold(1, 3)
    run = Running(OnDask(client), in_groups(3, 1, 1, 1, 1))
    assert run.results.get(timeout=LIMIT).index == 0
    script.release()
    run.ended()
    where: dict[int, str] = {}
    while not script.begun.empty():
        worker, index = script.begun.get()
        where[index] = worker
    assert len({where[index] for index in (0, 1, 2)}) == 1


def test_workers_that_have_nothing_to_do_take_points_of_others(
    client: Client, script: Script
) -> None:
    script.hold(0, 1)
    run = Running(OnDask(client), [points(8)])
    while script.begun.get(timeout=LIMIT)[1] != 2:  # by the other worker, which takes all but two
        pass
    script.release()
    assert sorted(result.index for result in run.ended()) == list(range(8))


def test_the_model_is_asked_for_once_a_group_and_compared(client: Client, script: Script) -> None:
    on = OnDask(client, fingerprints={("emoji", "float32"): "f" * 64})
    assert all(result.ok for result in on.run(in_groups(4, 4), Making()))
    assert len(script.loads) == 2


def test_steps_are_told(client: Client, script: Script) -> None:
    script.hold(0, 1)
    run = Running(OnDask(client), in_groups(1, 1))
    assert until(lambda: len(run.steps) == 2)
    assert sorted(run.steps) == [(0, 1, 3), (1, 1, 3)]
    script.release()
    run.ended()


def test_ten_thousand_points_are_never_ten_thousand_tasks(client: Client, script: Script) -> None:
    class Groups(Sequence[Any]):
        read = 0

        def __len__(self) -> int:
            return 10_000

        def __getitem__(self, index: Any) -> Any:
            if index >= len(self):
                raise IndexError
            self.read = max(self.read, index + 1)
            return points(1, index)

    groups, on = Groups(), OnDask(client)
    script.hold(20, 21)
    run = Running(on, groups)
    while script.begun.get(timeout=LIMIT)[1] not in (20, 21):
        pass
    tasks = client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
    assert tasks <= 2 * handing_out.WINDOW
    assert groups.read <= 21 + 2 * handing_out.WINDOW + 3
    on.cancel()
    script.release()
    run.ended()
    assert groups.read < 100


def test_workers_that_join_later_are_used(
    client: Client, cluster: LocalCluster, script: Script
) -> None:
    script.hold(*range(12))
    run = Running(OnDask(client), in_groups(*[1] * 12))
    before = {script.begun.get(timeout=LIMIT)[0] for _ in range(2)}
    cluster.scale(3)
    assert script.begun.get(timeout=LIMIT)[0] not in before
    script.release()
    assert len(run.ended()) == 12
    cluster.scale(2)
    assert until(lambda: len(client.nthreads()) == 2)


# --------------------------------------------------------------------------------- stop and pause


def test_cancel_stops_what_runs_at_its_next_step(client: Client, script: Script) -> None:
    script.hold(*range(9))
    on = OnDask(client)
    run = Running(on, in_groups(3, 3, 3))
    running_now = {script.begun.get(timeout=LIMIT)[1] for _ in range(2)}
    on.cancel()
    assert {script.stopped.get(timeout=LIMIT) for _ in range(2)} == running_now
    assert run.ended() == [] and run.error is None
    assert idle(client) and script.begun.empty()


def test_a_client_that_goes_away_stops_its_points(cluster: LocalCluster, script: Script) -> None:
    script.hold(0)
    other = Client(cluster)
    run = Running(OnDask(other), [points(1)])
    script.begun.get(timeout=LIMIT)
    other.close()
    assert script.stopped.get(timeout=LIMIT) == 0
    run.ended()
    assert isinstance(run.error, ClusterLost) and "client was closed" in str(run.error)
    with Client(cluster) as client:  # which the closed one could not
        for name in {*client.run(lambda dask_worker: [*dask_worker.plugins]).popitem()[1]}:
            if name.startswith("sdwidgets"):
                client.unregister_worker_plugin(name)


def test_leaving_the_iterator_stops_what_runs(client: Client, script: Script) -> None:
    script.hold(1, 2, 3)
    results = OnDask(client).run(in_groups(1, 1, 1, 1), Making())
    assert next(results).index == 0
    while script.begun.get(timeout=LIMIT)[1] == 0:
        pass
    results.close()  # type: ignore[attr-defined]
    assert script.stopped.get(timeout=LIMIT) in (1, 2, 3)
    assert idle(client)


def test_pause_hands_out_nothing_new(client: Client, script: Script) -> None:
    script.hold(0, 1)
    on = OnDask(client)
    run = Running(on, in_groups(*[1] * 10))
    for _ in range(2):
        script.begun.get(timeout=LIMIT)
    on.pause()
    script.release()
    assert until(lambda: client.run_on_scheduler(lambda dask_scheduler: not dask_scheduler.tasks))
    made = run.results.qsize()
    assert made <= 2 * handing_out.WINDOW and run.thread.is_alive()
    on.resume()
    assert len(run.ended()) == 10


def test_it_runs_again_after_cancel(client: Client, script: Script) -> None:
    script.hold(0)
    on = OnDask(client)
    run = Running(on, [points(1)])
    script.begun.get(timeout=LIMIT)
    on.cancel()
    run.ended()
    script.gates.clear()
    assert [result.index for result in on.run([points(1)], Making())] == [0]


# --------------------------------------------------------------------------------------- failures


def test_a_model_that_is_nowhere_is_the_error_of_its_points(client: Client, script: Script) -> None:
    script.broken = {"missing"}
    groups = [points(2), points(2, 2, "missing"), points(2, 4), *[points(1, 6, "missing")]]
    results = {result.index: result for result in OnDask(client).run(groups, Making())}
    assert [results[index].ok for index in range(7)] == [
        True,
        True,
        False,
        False,
        True,
        True,
        False,
    ]
    assert isinstance(results[2].error, CheckpointError)
    assert str(results[2].error) == "There is no missing here."


def test_points_go_to_the_workers_that_have_their_model(client: Client, script: Script) -> None:
    lacking = sorted(client.nthreads())[0]
    script.broken = {f"emoji {lacking}"}
    on = OnDask(client)
    results = list(on.run(in_groups(1, 1, 1, 1), Making()))
    assert all(result.ok for result in results) and len(results) == 4
    assert any(lacking in notice and "There is no emoji" in notice for notice in on.notices)
    while not script.begun.empty():
        assert script.begun.get()[0] != lacking


def test_other_weights_of_the_same_name_are_refused(client: Client, script: Script) -> None:
    other = sorted(client.nthreads())[0]
    script.fingerprints = {other: "0" * 64}
    on = OnDask(client, fingerprints={("emoji", "float32"): "f" * 64})
    results = list(on.run(in_groups(1, 1, 1, 1), Making()))
    assert all(result.ok for result in results) and len(results) == 4
    assert any(other in notice and "other weights" in notice for notice in on.notices)
    everywhere = OnDask(client, fingerprints={("emoji", "float32"): "a" * 64})
    results = list(everywhere.run(in_groups(1, 1), Making()))
    assert all(isinstance(result.error, InputError) for result in results) and len(results) == 2


def lose(cluster: LocalCluster, address: str) -> None:
    """End a worker without a word to anybody, and start another in its place."""
    (name,) = [name for name, worker in cluster.workers.items() if worker.address == address]
    worker = cluster.workers.pop(name)
    worker.plugins.clear()  # nothing that runs on it is asked to stop
    worker.loop.add_callback(worker.batched_stream.comm.abort)
    assert until(lambda: address not in cluster.scheduler.workers)
    cluster.sync(cluster._correct_state)


def test_the_point_of_a_lost_worker_is_tried_once_more(
    client: Client, cluster: LocalCluster, script: Script
) -> None:
    script.hold(*range(6))
    run = Running(OnDask(client), in_groups(3, 3))
    began = dict(script.begun.get(timeout=LIMIT)[::-1] for _ in range(2))
    lost = min(began)
    lose(cluster, began[lost])
    while (again := script.begun.get(timeout=LIMIT))[1] != lost:
        pass
    assert again[0] != began[lost]
    script.release()
    results = run.ended()
    assert sorted(result.index for result in results) == list(range(6))
    assert all(result.ok for result in results)


def test_a_point_with_which_two_workers_are_lost_fails_alone(
    client: Client, cluster: LocalCluster, script: Script
) -> None:
    script.hold(*range(6))
    run = Running(OnDask(client), in_groups(3, 3))
    lost: list[str] = []
    while len(lost) < 2:
        worker, index = script.begun.get(timeout=LIMIT)
        if index == 0:
            lost.append(worker)
            lose(cluster, worker)
    failed = run.results.get(timeout=LIMIT)
    assert failed.index == 0 and isinstance(failed.error, WorkerLost)
    assert all(address in str(failed.error) for address in lost)
    assert len(str(failed.error).splitlines()) <= 3
    script.release()
    results = run.ended()
    assert sorted(result.index for result in results) == [1, 2, 3, 4, 5]
    assert all(result.ok for result in results)


def test_a_paused_worker_gives_its_points_back(
    client: Client, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handing_out, "SILENCE", 0.05)

    def pause(dask_worker: Worker) -> None:
        dask_worker.status = Status.paused

    def go_on(dask_worker: Worker) -> None:
        dask_worker.status = Status.running

    script.hold(0, 1)
    on = OnDask(client)
    run = Running(on, in_groups(*[1] * 8))
    began = dict(script.begun.get(timeout=LIMIT)[::-1] for _ in range(2))
    client.run(pause, workers=[began[0]])
    try:
        script.release()
        results = run.ended()
    finally:
        client.run(go_on, workers=[began[0]])
    assert sorted(result.index for result in results) == list(range(8))
    assert any("paused" in notice and began[0] in notice for notice in on.notices)
    more = [script.begun.get() for _ in range(script.begun.qsize())]
    # Its other thread had the second point already; Dask begins nothing else on it.
    assert [worker for worker, _ in more].count(began[0]) <= 1


def test_the_end_of_the_scheduler_ends_the_sweep_with_what_came_back(script: Script) -> None:
    script.hold(2)
    cluster = LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    )
    with Client(cluster, timeout=2) as client:
        run = Running(OnDask(client), in_groups(1, 1, 1))
        kept = [run.results.get(timeout=LIMIT) for _ in range(2)]
        cluster.sync(cluster.scheduler.close)
        run.ended()
    script.release()
    with suppress(TimeoutError):  # it waits for its scheduler
        cluster.close(timeout=0.5)
    assert [result.index for result in kept] == [0, 1]
    assert isinstance(run.error, ClusterLost)
    assert "kept" in str(run.error) and len(str(run.error).splitlines()) <= 3


def test_without_workers_it_waits_and_then_says_so(script: Script) -> None:
    with (
        SpecCluster(
            scheduler={
                "cls": Scheduler,
                "options": OPTIONS,
            }
        ) as cluster,
        Client(cluster) as client,
    ):
        on = OnDask(client, patience=0.1)
        with pytest.raises(ClusterLost, match="no worker for the sweep"):
            list(on.run([points(1)], Making()))
        assert any("waits" in notice for notice in on.notices)


def test_only_workers_with_a_gpu_are_used_where_there_are_any(script: Script) -> None:
    plain = {"cls": Worker, "options": {"nthreads": 1, "dashboard": False}}
    gpu = {"cls": Worker, "options": {**plain["options"], "resources": {"GPU": 1}}}
    with (
        SpecCluster(
            {0: plain, 1: plain, 2: gpu},
            scheduler={
                "cls": Scheduler,
                "options": OPTIONS,
            },
        ) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(3, timeout=LIMIT)
        on = OnDask(client)
        assert len(list(on.run(in_groups(*[1] * 6), Making()))) == 6
        used = {script.begun.get()[0] for _ in range(6)}
        assert used == {cluster.workers[2].address} and script.most == 1
        assert any("GPU" in notice for notice in on.notices)


@pytest.mark.parametrize("what", ["score", "point"])
def test_what_cannot_be_sent_is_refused_before_anything_is(
    client: Client, script: Script, what: str
) -> None:
    lock = threading.Lock()
    if what == "score":
        making = Making(scores={"locked": lambda trace: float(lock.locked())})
        with pytest.raises(InputError, match=r"cannot be sent to a worker: .*lock"):
            next(OnDask(client).run([points(1)], making))
    else:
        (point,) = points(1)
        given = SimpleNamespace(start=None, control=(lock,), name="")
        bad = Point(1, (1,), "emoji", point.settings, given=given)  # type: ignore[arg-type]
        results = {one.index: one for one in OnDask(client).run([(point,), (bad,)], Making())}
        assert results[0].ok and isinstance(results[1].error, InputError)
        assert "lock" in str(results[1].error)


# ------------------------------------------------------------------------------- clients, addresses


@pytest.mark.parametrize(
    ("address", "risk"),
    [
        ("tcp://10.1.2.3:8786", True),
        ("tcp://[fd00::1]:8786", True),
        ("ws://cluster.example:8786", True),
        ("tls://10.1.2.3:8786", False),
        ("tcp://127.0.0.1:8786", False),
        ("tcp://[::1]:8786", False),
        ("tcp://localhost:8786", False),
        ("inproc://10.1.2.3/1/2", False),
    ],
)
def test_a_cluster_that_others_can_reach_is_told(address: str, risk: bool) -> None:
    client: Any = SimpleNamespace(
        scheduler=SimpleNamespace(address=address), scheduler_info=lambda **_: {"address": address}
    )
    text = exposed(client)
    assert ("can run code" in text and address in text) if risk else text == ""


def test_a_scheduler_that_listens_to_all_is_told_from_its_own_machine() -> None:
    client: Any = SimpleNamespace(
        scheduler=SimpleNamespace(address="tcp://127.0.0.1:1"),
        scheduler_info=lambda **_: {"address": "tcp://192.168.0.7:1"},
    )
    assert "192.168.0.7" in exposed(client)


def test_clients_that_cannot_be_used_are_refused(cluster: LocalCluster) -> None:
    with pytest.raises(InputError, match=r"must be a distributed\.Client"):
        OnDask("tcp://127.0.0.1:8786")  # type: ignore[arg-type]
    closed = Client(cluster)
    closed.close()
    with pytest.raises(InputError, match="client is closed"):
        OnDask(closed)


def test_workers_without_the_package_or_with_another_version_are_refused(
    client: Client, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, without = sorted(client.nthreads())
    true = on_worker.facts

    def facts(sweep: str, dask_worker: Worker) -> dict[str, Any]:
        found = true(sweep, dask_worker)
        if dask_worker.address == without:
            raise ModuleNotFoundError("No module named 'sdwidgets'")
        return {**found, "versions": {**found["versions"], "sdwidgets": "0.0.1"}}

    monkeypatch.setattr(on_worker, "facts", facts)
    on = OnDask(client, patience=0.1)
    with pytest.raises(ClusterLost, match="is not used"):
        list(on.run([points(1)], Making()))
    text = "\n".join(on.notices)
    assert f"{old} is not used: it has sdwidgets 0.0.1" in text
    assert f"{without} is not used: it cannot use sdwidgets (No module named" in text


def test_other_versions_of_torch_are_told_once(
    client: Client, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = on_worker.facts

    def facts(sweep: str, dask_worker: Worker) -> dict[str, Any]:
        found = true(sweep, dask_worker)
        return {**found, "versions": {**found["versions"], "torch": "2.0.0"}}

    monkeypatch.setattr(on_worker, "facts", facts)
    on = OnDask(client)
    assert len(list(on.run(in_groups(1, 1), Making()))) == 2
    assert len(on.notices) == 1 and "torch 2.0.0 instead of" in on.notices[0]
