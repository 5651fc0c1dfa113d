"""Sweeps on Dask workers that are processes, with a real model: same pixels, versions, deaths."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed")

from distributed import Client, LocalCluster

from sdwidgets.checkpoints.save import save_model
from sdwidgets.configs import TINY, ModelConfig
from sdwidgets.errors import OutOfMemory
from sdwidgets.manager import ModelManager
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.sweep import handing_out
from sdwidgets.sweep.dask import OnDask
from sdwidgets.sweep.engine import Engine
from sdwidgets.sweep.plan import Plan

pytestmark = pytest.mark.slow

LIMIT = 120  # seconds, more than anything here takes
MEMORY = 1_200_000_000  # bytes of a worker; torch and the model take about 400 MB


@pytest.fixture(scope="module")
def folder(
    make_model: Callable[[ModelConfig], LatentDiffusion], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return save_model(make_model(TINY), tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            memory_limit=MEMORY,
            dashboard_address=None,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(2, timeout=LIMIT)
        yield client


def test_the_same_pixels_as_here_and_the_model_is_made_once_a_worker(
    client: Client, folder: Path
) -> None:
    plan = Plan.of(
        str(folder), prompt="a {cat|dog}", guidance_scale=[1, 3], seed=5, steps=3, from_step=1
    )
    with ModelManager() as manager:
        on = OnDask(client)
        on.expect({str(folder): manager.load(str(folder))})
        here = {one.index: one for one in Engine(plan)}
        there = {one.index: one for one in Engine(plan, on, scores={"process": _process()})}
    assert len(there) == len(plan) == 4
    for index, one in there.items():
        assert np.array_equal(np.asarray(one.image), np.asarray(here[index].image))
        assert one.settings == here[index].settings
    processes = {one.scores["process"] for one in there.values()}
    assert os.getpid() not in processes and len(processes) <= 2
    assert on.notices == []
    loaded = client.run(_loaded)
    assert [str(folder)] in loaded.values()
    assert all(names in ([], [str(folder)]) for names in loaded.values())


def _process() -> Callable[[Any], float]:
    def process(trace: Any) -> float:
        import os

        return float(os.getpid())

    return process


def _loaded() -> list[str]:
    from sdwidgets.sweep import on_worker

    manager = on_worker._MODELS._manager
    return [] if manager is None else manager.loaded()


def test_deaths_and_too_much_memory_are_errors_of_their_points(
    client: Client, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Point 1 kills its worker once. Point 3 takes more memory than a worker may have."""
    monkeypatch.setattr(handing_out, "POLL", 0.05)
    marker, limit, kill = tmp_path / "killed", MEMORY, signal.SIGKILL

    def dangerous(trace: Any) -> float:
        import os
        import threading

        if trace.settings.seed == 1 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), kill)
        if trace.settings.seed == 3:
            much = bytearray(limit)
            much[::4096] = b"x" * len(much[::4096])
            threading.Event().wait(600)  # until the nanny has seen it
        return 1.0

    plan = Plan.of(str(folder), prompt="a dog", seed=range(6), steps=2)
    engine = Engine(plan, OnDask(client), folder=tmp_path / "kept", scores={"safe": dangerous})
    results = {one.index: one for one in engine}
    assert marker.exists() and engine.state == "done"
    assert [index for index, one in sorted(results.items()) if not one.ok] == [3]
    error = results[3].error
    assert isinstance(error, OutOfMemory) and "memory_limit" in str(error)
    assert all(results[index].scores == {"safe": 1.0} for index in (0, 1, 2, 4, 5))
