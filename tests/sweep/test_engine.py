"""A sweep as it is made: in order, stopped, paused, started again, and followed."""

from __future__ import annotations

import _thread
import copy
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from sdwidgets.configs import EMOJI
from sdwidgets.errors import InputError
from sdwidgets.manager import ModelManager
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.sweep.engine import Engine
from sdwidgets.sweep.local import Local
from sdwidgets.sweep.plan import Plan
from sdwidgets.sweep.results import Result
from sdwidgets.sweep.sharing import Cost

LIMIT = 120  # seconds, more than anything here takes


@pytest.fixture
def engine(tiny_model: LatentDiffusion) -> Iterator[Engine]:
    plan = Plan.of(
        tiny_model, prompt="a {cat|dog}", guidance_scale=[1, 3], seed=5, steps=4, from_step=2
    )
    made = Engine(plan)
    yield made
    made.close()


def test_results_come_in_grid_order(engine: Engine, tiny_model: LatentDiffusion) -> None:
    results = list(engine)
    assert [one.place for one in results] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert [one.settings.prompt for one in results] == ["a cat", "a dog", "a cat", "a dog"]
    assert engine.state == "done"
    base = tiny_model.generate("a cat", guidance_scale=1, seed=5, steps=4)
    for one in results:
        changed = {"prompt": one.settings.prompt, "guidance_scale": one.settings.guidance_scale}
        expected = base.branch(2, model=tiny_model, **changed) if one.index else base
        assert np.array_equal(np.asarray(one.image), np.asarray(expected.image))
    progress = engine.progress
    assert (progress.steps_made, progress.steps_saved, progress.steps_left) == (10, 6, 0)
    assert [one.index for one in engine.as_finished()] != [] and len([*engine]) == 4


def test_stop_and_start_again(engine: Engine) -> None:
    first = threading.Event()

    def stop_after_one(result: Result | None) -> None:
        if result is not None and not first.is_set():
            first.set()
            engine.stop()

    leave = engine.follow(stop_after_one)
    got = [one.index for one in engine]
    assert engine.state == "stopped" and 1 <= len(got) < 4
    leave()
    assert engine.start().wait(LIMIT)
    assert engine.state == "done" and len(engine.results) == 4


def test_pause_begins_nothing_new(engine: Engine) -> None:
    paused = threading.Event()

    def pause_once(result: Result | None) -> None:
        if result is not None and not paused.is_set():
            engine.pause()
            paused.set()

    engine.follow(pause_once)
    engine.start()
    assert paused.wait(LIMIT)
    assert engine.state == "paused" and not engine.wait(0.2)
    assert len(engine.results) < 4
    engine.resume()
    assert engine.wait(LIMIT) and engine.state == "done"


def test_ten_million_points_are_refused_with_their_number() -> None:
    with pytest.raises(InputError, match=r"10,000,000 points") as refused:
        Plan.of(seed=range(10_000), guidance_scale=np.linspace(0, 100, 1000))
    assert "most=10000000" in str(refused.value)


def test_ctrl_c_in_a_waiting_cell_stops_it(engine: Engine) -> None:
    def interrupt(result: Result | None) -> None:
        if result is not None and result.index == 1:
            _thread.interrupt_main()
            held.wait(LIMIT)

    held = threading.Event()
    engine.follow(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            for _ in engine:
                pass
    finally:
        held.set()
    assert engine.wait(LIMIT) and engine.state == "stopped"
    assert 0 < len(engine.results) < 4


def test_leaving_the_loop_that_started_it_stops_it(engine: Engine) -> None:
    for result in engine:
        assert result.index == 0
        break
    assert engine.wait(LIMIT) and engine.state == "stopped"
    assert [one.index for one in engine] == sorted(engine.results)  # what there is; not again
    engine.start().wait(LIMIT)
    for _ in engine:
        break
    assert engine.state == "done"


def test_steps_are_counted_once_the_model_is_known(tiny_model: LatentDiffusion) -> None:
    with ModelManager(lambda name, **_: tiny_model) as manager:
        plan = Plan.of("somewhere/tiny", seed=[1, 2, 3])  # its steps are the model's own
        engine = Engine(plan, Local(manager))
        assert plan.cost() is None and engine.progress.steps_saved is None
        left: list[int | None] = []
        engine.follow(lambda result: left.append(engine.progress.steps_left) if result else None)
        list(engine)
        steps = tiny_model.config.steps
        assert left == [2 * steps, steps, 0]
        assert engine.progress.steps_made == 3 * steps and engine.progress.steps_saved == 0


def test_the_bundled_models_steps_are_known_before_it_is_loaded() -> None:
    import sdwidgets

    loaded = sdwidgets.load().config
    for name in ("name", "steps", "sampler", "schedule_name", "guidance_scale", "size"):
        assert getattr(loaded, name) == getattr(EMOJI, name)
    assert Plan.of(seed=[1, 2], steps=4).cost() == Cost(8, 0)
    assert Plan.of(seed=[1, 2]).cost() == Cost(2 * EMOJI.steps, 0)


def test_followers_that_fail_end_nothing(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    def wrong(result: Result | None) -> None:
        raise SystemExit

    engine.follow(wrong)
    assert len(list(engine)) == 4
    assert caplog.text.count("the sweep goes on") == 1


def test_a_stop_in_a_pause_can_be_started_again(engine: Engine) -> None:
    engine.start()
    engine.pause()
    engine.stop(wait=True)
    assert engine.state in ("stopped", "done")
    assert engine.start().wait(LIMIT) and engine.state == "done"


def test_arguments_are_checked(tiny_model: LatentDiffusion) -> None:
    plan = Plan.of(tiny_model, seed=[1, 2])
    with pytest.raises(InputError, match="keep must be one of"):
        Engine(plan, keep="steps")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="plan must be a Plan"):
        Engine([plan])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="has 1 axes"):
        Engine(plan).result(0, 0)
    with pytest.raises(InputError, match="from 0 to 1"):
        Engine(plan).result(2)
    assert Engine(plan).result(1) is None


def test_it_cannot_be_sent(engine: Engine) -> None:
    with pytest.raises(InputError, match="cannot be copied or sent"):
        copy.deepcopy(engine)


def test_a_sweep_is_planned_without_torch_jupyter_and_dask() -> None:
    code = (
        "import sys, sdwidgets.sweep.engine, sdwidgets.sweep.running\n"
        "from sdwidgets.sweep.plan import Plan\n"
        "plan = Plan.of(prompt='a {cat|dog}', seed=range(4), steps=5)\n"
        "heavy = {'torch', 'ipywidgets', 'IPython', 'distributed', 'matplotlib', 'pyarrow'}\n"
        "print(len(plan), plan.cost().made, heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "8 40 set()"
