"""Are twice the workers twice the points a second, and what does a point cost a Dask scheduler?

``python -m benchmarks.sweep``

Workers are threads of this process, and their points sleep instead of computing, so that the cores
of this machine do not decide: what is measured is handing out, and what comes back. In every round,
the same points are made by ``--workers`` workers and by twice as many (the target: at least 1.8
times the points a second). Then:

- overhead: points that take no time, one after another, by two workers;
- cold: from starting a worker process to its first point, and to the second;
- many: ``--many`` workers that each sleep ``--sleep`` seconds, with the messages and bytes that a
  point takes, and how busy the process of the scheduler is. `docs/sweeps.md` goes on from there to
  1,000 workers.

``--quick`` tries the command in seconds: few workers, few points, a single round.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from .measure import Ratio, against, begin, duration, interleaved, options, report
from .models import PROMPT

TARGET = 1 / 1.8


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=8, help="the smaller number (8)")
    parser.add_argument("--points", type=int, default=20, help="for each of them (20)")
    parser.add_argument("--sleep", type=float, default=0.5, help="seconds a point sleeps (0.5)")
    parser.add_argument("--many", type=int, default=150, help="workers of the last part (150)")
    parser.add_argument("--image", type=int, default=400_000, help="bytes of an image (400,000)")
    parser.add_argument("--quick", action="store_true", help="few of everything")


# ----------------------------------------------------------------------------- workers that sleep


@contextmanager
def sleeping(seconds: float, image: int = 0) -> Iterator[None]:
    """Have all workers of this process sleep instead of making points, and send so many bytes."""
    from sdwidgets.sweep import on_worker, running
    from sdwidgets.sweep.results import Result

    content = bytes(image)

    def run_points(model: Any, points: Sequence[Any], making: Any, **more: Any) -> Iterator[Result]:
        for point in points:
            more["on_step"](point, 1, 20)
            time.sleep(seconds)
            yield Result(point, made=20)

    def as_plain(result: Result) -> dict[str, Any]:
        return {**true_plain(result), "content": content}

    model = SimpleNamespace(
        fingerprint="f" * 64, dtype="torch.float32", device=SimpleNamespace(type="cpu")
    )
    models = SimpleNamespace(get=lambda point, stop: (model, None), used=lambda loop: None)
    true_plain = on_worker.as_plain
    true = on_worker._MODELS, running.run_points
    on_worker._MODELS, on_worker.as_plain = models, as_plain  # type: ignore[assignment]
    running.run_points = run_points  # type: ignore[assignment]
    try:
        yield
    finally:
        on_worker._MODELS, running.run_points = true
        on_worker.as_plain = true_plain


@contextmanager
def cluster_of(workers: int, **more: Any) -> Iterator[tuple[Any, Any]]:
    from distributed import Client, LocalCluster

    threads = {"processes": False, "protocol": "tcp://", "host": "127.0.0.1", "memory_limit": None}
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, **{**threads, **more}
        ) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(workers, timeout=120)
        yield cluster, client


def points(count: int) -> list[tuple[Any, ...]]:
    from sdwidgets.settings import Settings
    from sdwidgets.sweep.points import Point

    return [
        (Point(i, (i,), "emoji", Settings(prompt=PROMPT, seed=i, steps=20)),) for i in range(count)
    ]


def made_by(client: Any, count: int, *, from_first: bool = False) -> float:
    """Seconds until the last result: from the start of the sweep, or from its first result."""
    from sdwidgets.sweep.dask import OnDask
    from sdwidgets.sweep.results import Making

    began = time.perf_counter()
    results = OnDask(client).run(points(count), Making())
    times = [time.perf_counter() for _ in results]
    assert len(times) == count
    return times[-1] - (times[0] if from_first else began)


# ------------------------------------------------------------------------------------- the parts


def scaling(workers: int, each: int, seconds: float, rounds: int) -> dict[str, list[float]]:
    with (
        sleeping(seconds),
        cluster_of(workers) as (_, few),
        cluster_of(2 * workers) as (_, many),
    ):
        count = 2 * workers * each
        return interleaved(
            rounds,
            {
                f"{workers} workers": lambda: made_by(few, count),
                f"{2 * workers} workers": lambda: made_by(many, count),
            },
        )


def overhead(count: int) -> float:
    """Seconds a point takes where it does nothing, by two workers."""
    with sleeping(0.0), cluster_of(2) as (_, client):
        return made_by(client, count, from_first=True) / (count - 1)


def cold() -> dict[str, float]:
    """Seconds from starting a process to its first point, and for the second, of 2 steps each."""
    from sdwidgets.sweep.dask import OnDask
    from sdwidgets.sweep.results import Making

    began = time.perf_counter()
    with cluster_of(1, processes=True) as (_, client):
        there = time.perf_counter()
        group = tuple(
            replace(point, settings=replace(point.settings, steps=2)) for (point,) in points(2)
        )
        times = []
        for result in OnDask(client).run([group], Making()):
            assert result.ok, result.error
            times.append(time.perf_counter())
    return {
        "worker ready": there - began,
        "first point": times[0] - there,
        "second point": times[1] - times[0],
    }


def many(workers: int, each: int, seconds: float, image: int) -> dict[str, float]:
    """What a point takes of the scheduler with so many workers: messages, bytes, time."""
    from sdwidgets.sweep.plain import as_bytes

    with sleeping(seconds, image), cluster_of(workers) as (cluster, client):
        counts: Counter[str] = Counter()
        count_messages(cluster.scheduler, counts)
        busy, count = time.process_time(), workers * each
        took = made_by(client, count)
        busy = time.process_time() - busy
    return {
        "workers": workers,
        "points": count,
        "points a second": count / took,
        "of what sleeping allows": count / took * seconds / workers,
        "messages a point": sum(counts.values()) / count,
        "processor seconds a point": busy / count,
        "bytes sent a point": len(as_bytes(points(1)[0], "A point")),
        "bytes received a point": image,
        **{f"messages a point: {name}": n / count for name, n in counts.most_common(8)},
    }


def count_messages(scheduler: Any, counts: Counter[str]) -> None:
    """Count what a scheduler handles from now on, by name."""

    def counted(name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        def handle(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return handler(*args, **kwargs)

        async def handle_later(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return await handler(*args, **kwargs)

        return handle_later if asyncio.iscoroutinefunction(handler) else handle

    names = ("update-graph", "client-releases-keys", "task-finished", "log-event")
    for name in names:
        if name in scheduler.stream_handlers:
            scheduler.stream_handlers[name] = counted(name, scheduler.stream_handlers[name])
    scheduler.handlers["gather"] = counted("gather", scheduler.handlers["gather"])


def main() -> int:
    given = options(__doc__, 5, add)
    question = "Are twice the workers of a sweep twice the points a second?"
    described = begin(question, given)
    more, rounds = given.more, given.rounds
    if more.quick:
        more.workers, more.points, more.many, more.sleep, rounds = 2, 4, 6, 0.2, 1
    few, twice = f"{more.workers} workers", f"{2 * more.workers} workers"
    seconds = scaling(more.workers, more.points, more.sleep, rounds)
    ratios = [against("The same points by twice the workers", seconds, twice, few, TARGET)]
    empty = overhead(20 if more.quick else 300)
    ratios.append(
        Ratio(
            "What a point costs beside its sleep",
            empty / more.sleep,
            None,
            duration(empty),
            f"sleeps {duration(more.sleep)}",
        )
    )
    first = cold()
    crowd = many(more.many, 2 if more.quick else 10, 5 * more.sleep, more.image)
    for name, number in {**first, **crowd}.items():
        print(f"    {name}: {number:.4g}")
    return report(
        "sweep",
        question,
        ratios,
        given,
        described,
        seconds=seconds,
        overhead=empty,
        cold=first,
        many=crowd,
    )


if __name__ == "__main__":
    sys.exit(main())
