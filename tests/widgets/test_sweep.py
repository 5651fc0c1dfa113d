"""The sweep's widget: an iterator of results, and what its grid tells pages and hears of them."""

from __future__ import annotations

import io
import math
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from random_values import anything

from sdwidgets.contract import CELL_STATES, SWEEP_LIMITS, SWEEP_SAYS, SWEEP_STATES
from sdwidgets.errors import InputError, OutOfMemory
from sdwidgets.widgets import Compare, Sweep, kernel
from sdwidgets.widgets.sweep_grid import SweepGrid
from sdwidgets.widgets.thumbnails import Thumbnails

if TYPE_CHECKING:
    from conftest import Gate

    from sdwidgets.manager import ModelManager
    from sdwidgets.pipeline import LatentDiffusion
    from sdwidgets.widgets import Studio

WAIT = 60
WAITING, RUNNING, DONE, FAILED = range(len(CELL_STATES))

Make = Callable[..., Sweep]
Said = list[tuple[dict[str, Any], list[bytes]]]


@pytest.fixture
def make(manager: ModelManager, gate: Gate) -> Iterator[Make]:
    """Makes sweeps of images of 16 x 16 pixels and three steps; they are closed at the end."""
    made: list[Sweep] = []

    def make(**settings: Any) -> Sweep:
        usual = {"width": 16, "height": 16, "steps": 3, "prompt": "a cat", "seed": range(2)}
        made.append(Sweep("tiny", **({"manager": manager} | usual | settings)))
        return made[-1]

    yield make
    gate.open()
    for sweep in made:
        sweep.close()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    """All messages to pages."""
    messages: Said = []

    def send(self: SweepGrid, content: dict[str, Any], buffers: Any = None) -> None:
        assert set(content) == {"kind", *SWEEP_SAYS[content["kind"]]}
        messages.append((content, list(buffers or ())))

    monkeypatch.setattr(SweepGrid, "send", send)
    return messages


def of_kind(said: Said, kind: str) -> Said:
    return [(content, buffers) for content, buffers in said if content["kind"] == kind]


def reached(sweep: Sweep, state: str) -> None:
    """Wait until the grid is in a state."""
    assert state in SWEEP_STATES
    there = threading.Event()

    def look(_: Any = None) -> None:
        if sweep.view.run["state"] == state:
            there.set()

    sweep.view.observe(look, "run")
    look()
    assert there.wait(WAIT), sweep.view.run


# ------------------------------------------------------------------------------- from Python


def test_it_is_an_iterator_of_results_in_grid_order(make: Make) -> None:
    sweep = make(guidance_scale=[1, 3], seed=range(3))
    assert len(sweep) == 6
    assert [axis.name for axis in sweep.plan.axes] == ["seed", "guidance_scale"]
    results = list(sweep)
    assert [result.index for result in results] == list(range(6))
    for result in results:
        assert result.settings.seed == result.point.settings.seed
        assert result.image.size == (16, 16)
        assert result.error is None and result.scores == {}
    assert list(sweep.results) == list(range(6))
    assert sweep.state == "done"
    assert list(sweep) == results  # again, without making them again


def test_a_cell_whose_last_line_it_is_starts_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(kernel, "display", lambda data, *_: shown.append(data))
    sweep = make()
    assert sweep.state == "idle"
    sweep._ipython_display_()
    assert len(shown) == 1
    assert len(sweep.wait(WAIT)) == 2
    sweep._ipython_display_()  # shown again, it makes nothing
    assert sweep.state == "done"


def test_wait_starts_it_and_says_when_time_is_over(make: Make, gate: Gate) -> None:
    gate.closed = True
    sweep = make()
    with pytest.raises(TimeoutError, match="it goes on"):
        sweep.wait(0.01)
    assert sweep.state == "running"
    gate.open()
    assert [result.ok for result in sweep.wait(WAIT).values()] == [True, True]


def test_pause_cancel_and_going_on(make: Make, gate: Gate) -> None:
    gate.closed = True
    sweep = make(seed=range(4))
    sweep.start()
    sweep.pause()
    gate.open()
    reached(sweep, "paused")
    made = len(sweep.results)
    assert made < 4
    sweep.view.flush()
    assert sweep.view.sprite or made == 0  # a saved notebook shows what there is
    sweep.resume()
    gate.closed = True
    sweep.cancel()
    assert sweep.view._state() in ("stopping", "stopped")
    gate.open()
    reached(sweep, "stopped")
    assert sweep.view.run["message"].startswith("Cancelled")
    assert len(sweep.results) < 4
    before = {index: result.image for index, result in sweep.results.items()}
    sweep.start()
    sweep.wait(WAIT)
    assert len(sweep.results) == 4
    assert all(sweep.results[index].image is image for index, image in before.items())


def test_a_failed_point_ends_nothing_else_and_is_made_again(
    make: Make, model: LatentDiffusion
) -> None:
    calls = iter(range(1000))

    def fail(*_: Any) -> None:
        if next(calls) == 0:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")

    handle = model.unet.register_forward_pre_hook(fail)
    try:
        sweep = make()
        results = list(sweep)
        reached(sweep, "done")
        assert isinstance(results[0].error, OutOfMemory)
        assert results[1].error is None
        grid = sweep.view
        assert [*grid.cells] == [FAILED, DONE]
        assert 0 < len(grid.errors["0"].splitlines()) <= 3
        assert grid.progress["failed"] == 1 and grid.progress["done"] == 1
        sweep.start()
        sweep.wait(WAIT)
        sweep.view.flush()
        assert [*grid.cells] == [DONE, DONE] and grid.errors == {}
    finally:
        handle.remove()


def test_what_is_wrong_is_refused_before_anything_is_made(make: Make) -> None:
    with pytest.raises(InputError, match="guidance_scale"):
        make(guidance_scale=[1, -3])
    with pytest.raises(InputError, match=r"10,000,000|limit"):
        make(seed=range(10_000_000))
    with pytest.raises(InputError, match="no setting"):
        make(sede=[1, 2])
    with pytest.raises(InputError, match="manager"):
        make(manager=3)


def test_a_folder_keeps_results_for_the_next_time(make: Make, tmp_path: Path) -> None:
    first = make(folder=tmp_path / "cats")
    images = [np.asarray(result.image) for result in first]
    first.close()
    second = make(folder=tmp_path / "cats")
    assert second.state == "done"
    assert [*second.view.cells] == [DONE, DONE]
    for result, image in zip(second, images, strict=True):
        assert (np.asarray(result.image) == image).all()
    second.view.flush()
    assert second.view.sprite["data"]


def test_whoever_observes_it_may_fail(make: Make) -> None:
    sweep = make()

    def fail(_: Any) -> None:
        raise ValueError("a user's mistake")

    sweep.observe(fail, "state")
    assert len(list(sweep)) == 2


def test_closing_it_ends_what_it_makes(make: Make, gate: Gate, manager: ModelManager) -> None:
    gate.closed = True
    sweep = make(seed=range(50))
    sweep.start()
    gate.allow(1)
    threading.Timer(0, gate.open).start()
    sweep.close()
    assert len(sweep.results) < 50
    assert manager.jobs() == []
    with pytest.raises(InputError, match="closed"):
        sweep.start()


# ---------------------------------------------------------------------------- what pages see


def test_the_grid_is_there_before_and_after(make: Make) -> None:
    sweep = make(
        prompt="a {cat|dog}",
        guidance_scale=[1, 3, 7],
        height=32,
        scores={
            "mean": lambda trace: float(np.asarray(trace.image).mean()),
            "bad": lambda t: 1 / 0,
        },
        seed=3,
    )
    grid = sweep.view
    assert grid.plan["axes"] == [
        {"name": "prompt part 1", "values": ["cat", "dog"]},
        {"name": "guidance scale", "values": ["1", "3", "7"]},
    ]
    assert ["steps", "3"] in grid.plan["about"]
    assert grid.shape == [16, 32]
    assert [*grid.cells] == [WAITING] * 6
    assert grid.run == {"state": "idle", "message": ""}
    sweep.wait(WAIT)
    reached(sweep, "done")
    grid.flush()
    assert [*grid.cells] == [DONE] * 6
    assert grid.progress["done"] == 6 and grid.progress["left"] in (0, None)
    assert grid.score_names == ["mean", "bad"]
    numbers = np.frombuffer(grid.scores, "<f4").reshape(6, 2)
    for index, result in sweep.results.items():
        assert numbers[index, 0] == pytest.approx(np.asarray(result.image).mean(), rel=1e-4)
    assert np.isnan(numbers[:, 1]).all()
    sheet = Image.open(io.BytesIO(grid.sprite["data"]))
    columns = grid.sprite["columns"]
    assert sheet.width * math.ceil(6 / columns) * 2 == sheet.height * columns  # tiles of 1 to 2
    assert sweep._still() is not None


def test_steps_that_points_share_are_counted(make: Make) -> None:
    sweep = make(steps=4, guidance_scale=[1, 3], seed=1, from_step=2)
    sweep.wait(WAIT)
    sweep.view.flush()
    assert sweep.view.progress["saved"] == 2
    assert sweep.view.progress["steps"] == 8


def test_images_come_as_they_are_made_and_once(make: Make, said: Said) -> None:
    sweep = make(seed=range(3))
    sweep.wait(WAIT)
    sweep.view.flush()
    told = [index for content, _ in of_kind(said, "news") for index in content["images"]]
    assert sorted(told) == [0, 1, 2]
    for content, buffers in of_kind(said, "news"):
        assert len(content["images"]) == len(buffers)
        assert all(Image.open(io.BytesIO(one)).format == "JPEG" for one in buffers)


def test_however_much_is_new_a_single_update_waits(make: Make, monkeypatch: Any) -> None:
    sweep = make()
    made: list[float] = []

    class Timer:
        daemon = False

        def __init__(self, seconds: float, *call: Any):
            made.append(seconds)

        def start(self) -> None: ...
        def cancel(self) -> None: ...

    monkeypatch.setattr("sdwidgets.widgets.sweep_grid.threading.Timer", Timer)
    sweep.view._timer = None
    for _ in range(100):
        sweep.view._follow(None)
    assert len(made) == 1


def test_the_running_cell_says_how_many_of_its_steps_are_done(
    make: Make, gate: Gate, said: Said
) -> None:
    gate.closed = True
    sweep = make()
    begun = threading.Event()
    leave = sweep._engine.follow(lambda _: begun.set() if sweep._engine.current else None)
    sweep.start()
    gate.allow(1)
    assert begun.wait(WAIT)
    sweep.view.flush()
    assert sweep.view.cells[0] == RUNNING
    assert of_kind(said, "news")[-1][0]["running"] == [[0, 1, 3]]
    leave()


# -------------------------------------------------------------------------- what pages ask for


def test_a_page_that_was_loaded_again_gets_the_images_it_sees(make: Make, said: Said) -> None:
    sweep = make(seed=range(3))
    sweep.wait(WAIT)
    sweep.view.flush()
    said.clear()
    sweep.view._timer = threading.Timer(WAIT, list)  # it waits for its turn to send
    sweep.view._receive({"kind": "look", "points": [2, 0, 99, -1, True, None, "1"]}, [])
    assert said == []  # nothing is done on the thread that hears pages
    sweep.view.flush()
    ((content, buffers),) = of_kind(said, "news")
    assert content["images"] == [2, 0]
    assert len(buffers) == 2


def test_an_opened_point_has_everything(make: Make, said: Said) -> None:
    sweep = make(scores=[lambda trace: math.inf])
    sweep.view._receive({"kind": "open", "point": 1}, [])  # not made yet
    ((content, buffers),) = of_kind(said, "point")
    assert ["prompt", "a cat"] in content["about"] and buffers == []
    assert content["made"]["settings"]["seed"] == 1
    sweep.wait(WAIT)
    said.clear()
    sweep.view._receive({"kind": "open", "point": 1}, [])
    ((content, buffers),) = of_kind(said, "point")
    about = dict(content["about"])
    assert about["seed"] == "1" and about["size"] == "16 × 16 pixels"
    assert content["made"]["settings"]["seed"] == 1
    assert content["scores"] == [None]  # JSON has no infinity
    assert not content["whole"]
    assert Image.open(io.BytesIO(buffers[0])).size == (16, 16)


def test_a_page_starts_pauses_and_ends_it(make: Make, gate: Gate) -> None:
    gate.closed = True
    sweep = make(seed=range(4))
    sweep.view._receive({"kind": "start"}, [])
    sweep.view._receive({"kind": "pause"}, [])
    assert sweep.state == "paused"
    sweep.view._receive({"kind": "resume"}, [])
    assert sweep.state == "running"
    sweep.view._receive({"kind": "stop"}, [])
    gate.open()
    reached(sweep, "stopped")


def test_two_are_compared_step_by_step_if_their_steps_are_kept(make: Make) -> None:
    sweep = make(keep="trace")
    with pytest.raises(InputError, match="no image yet"):
        sweep.compare(0, 1)
    sweep.wait(WAIT)
    sweep.view._receive({"kind": "compare", "points": [0, 1]}, [])
    comparison = sweep.comparison
    assert isinstance(comparison, Compare)
    assert sweep.children == (sweep.view, comparison)
    assert sweep.compare(1, 0) is comparison
    sweep.view._receive({"kind": "apart"}, [])
    assert sweep.comparison is None and sweep.children == (sweep.view,)
    assert comparison.comm is None
    plain = make()
    plain.wait(WAIT)
    assert plain.compare(0, 1) is None  # the page has the images side by side


def test_a_point_is_used_in_the_studio(make: Make, studio: Studio, said: Said) -> None:
    sweep = make(guidance_scale=[1, 3.5], prompt="a dog", seed=9)
    sweep.wait(WAIT)
    sweep.view._receive({"kind": "open", "point": 1}, [])
    assert of_kind(said, "point")[0][0]["studio"]
    sweep.view._receive({"kind": "use", "point": 1}, [])
    assert (studio.prompt, studio.seed, studio.guidance_scale) == ("a dog", 9, 3.5)
    assert "Studio" in of_kind(said, "told")[0][0]["message"]
    assert sweep.use(0).guidance_scale == 1
    with pytest.raises(InputError):
        sweep.use(2)


def test_a_page_saves_the_table_and_the_sheet(make: Make, said: Said) -> None:
    sweep = make()
    sweep.wait(WAIT)
    for kind in ("table", "sheet"):
        sweep.view._receive({"kind": kind}, [])
        assert sweep._saving is not None
        sweep._saving.join(WAIT)
    (table, text), (sheet, image) = of_kind(said, "file")
    assert table == {"kind": "file", "name": "sweep.csv", "type": "text/csv"}
    assert len(text[0].decode().splitlines()) == 3
    assert sheet["type"] == "image/png"
    assert Image.open(io.BytesIO(image[0])).format == "PNG"


def test_nonsense_of_a_page_is_ignored(
    make: Make, say: Callable[[Any, Any], None], said: Said
) -> None:
    sweep = make()
    rng = random.Random(0)
    for _ in range(300):
        for kind in ("look", "open", "compare", "use", "nothing"):
            say(sweep.view, {"kind": kind, "point": anything(rng), "points": anything(rng)})
        say(sweep.view, anything(rng))
        say(sweep, anything(rng))
    sweep.view.set_state({"cells": b"", "run": {}})
    assert [*sweep.view.cells] == [WAITING] * 2
    assert [content for content, _ in of_kind(said, "told")] == []
    assert len(list(sweep)) == 2


# ------------------------------------------------------------------------- in a saved notebook


class Made:
    """A result with an image of noise, which JPEG can hardly make smaller."""

    def __init__(self, index: int):
        pixels = np.random.default_rng(index).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        self.index, self.image = index, Image.fromarray(pixels)


@pytest.mark.parametrize("count", [1, 12, 600])
def test_all_images_fit_into_the_saved_state(count: int) -> None:
    images = Thumbnails(count)
    results: list[Any] = [Made(index) for index in range(count)]
    sheet = images.sheet(results, count, (32, 32))
    assert 0 < len(sheet["data"]) <= SWEEP_LIMITS["saved"]
    assert images.sheet([], count, (32, 32)) == {}


# ---------------------------------------------------------------------------------- elsewhere


@pytest.mark.slow
def test_a_sweep_on_a_cluster_fills_the_same_grid(model: LatentDiffusion) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.wait_for_workers(1, timeout=WAIT)
        usual = {"prompt": "a cat", "seed": range(2), "steps": 1, "width": 32, "height": 32}
        with pytest.raises(InputError, match="travels by its name"):
            Sweep(model, client=client, **usual)
        sweep = Sweep(client=client, scores={"one": lambda trace: 1}, **usual)
        sweep.wait(WAIT)
        assert [*sweep.view.cells] == [DONE, DONE]
        assert sweep.results[1].image.size == (32, 32)
        assert sweep.results[1].scores == {"one": 1}
        sweep.close()
        assert client.status == "running"  # it is not ours
    with pytest.raises(InputError, match="client"):
        Sweep(client="tcp://127.0.0.1:1", **usual)
