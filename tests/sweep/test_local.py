"""Sweeps on a manager: models change on the way, others take turns, and Stop works throughout."""

from __future__ import annotations

import copy
import gc
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from control_nets import control_config, picture, random_control
from lora_files import kohya, layers_of, named, write

from sdwidgets.control import Control
from sdwidgets.diffusion import Step
from sdwidgets.errors import CheckpointNotFound, InputError, Stopped
from sdwidgets.manager import Job, ModelManager, Request
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import Settings
from sdwidgets.sweep.engine import Engine
from sdwidgets.sweep.local import Local
from sdwidgets.sweep.plan import Plan
from sdwidgets.sweep.results import Result
from sdwidgets.trace import TraceStep

LIMIT = 120  # seconds, more than anything here takes


class Models:
    """Loads the same small model by any name but "missing", and says what was loaded."""

    def __init__(self, model: LatentDiffusion):
        self.model = model
        self.loaded: list[str] = []
        self.lock = threading.Lock()

    def __call__(self, name: str, *, make_room: Any, stop: Any) -> LatentDiffusion:
        with self.lock:
            self.loaded.append(name)
        if name == "missing":
            raise CheckpointNotFound("There is no model 'missing'.")
        make_room(60, self.model.device)
        return self.model


@pytest.fixture
def models(tiny_model: LatentDiffusion) -> Models:
    return Models(tiny_model)


@pytest.fixture
def manager(models: Models) -> Iterator[ModelManager]:
    with ModelManager(models, budget=100) as made:  # which has room for one model
        yield made


def test_models_change_once_each_and_progress_goes_on(
    manager: ModelManager, models: Models
) -> None:
    plan = Plan.of(seed=[1, 2], model=["a", "b", "c"], steps=3)
    engine = Engine(plan, Local(manager))
    seen: list[tuple[int, int]] = []
    engine.follow(lambda _: seen.extend(engine.current.items()))
    results = list(engine)
    assert [one.ok for one in results] == [True] * 6
    assert models.loaded == ["a", "b", "c"]
    assert {index for index, _ in seen} == set(range(6))  # progress after each change, too
    assert engine.progress.steps_made == 18


def test_stop_works_after_a_change_of_model(manager: ModelManager) -> None:
    plan = Plan.of(model=["a", "b"], seed=[1, 2, 3], steps=9)
    engine = Engine(plan, Local(manager))

    def stop_within_the_second(_: Result | None) -> None:
        if any(plan.point(index).model == "b" for index in engine.current):
            engine.stop()

    engine.follow(stop_within_the_second)
    assert engine.start().wait(LIMIT)
    assert engine.state == "stopped" and sorted(engine.results) == [0, 2, 4]
    assert engine.progress.steps_made == 3 * 9 + 1


def test_a_model_that_cannot_be_loaded_fails_its_points_only(
    manager: ModelManager, models: Models
) -> None:
    engine = Engine(Plan.of(model=["missing", "a"], seed=[1, 2, 3], steps=2), Local(manager))
    results = list(engine)
    assert [one.ok for one in results] == [False, True] * 3
    assert all(isinstance(results[i].error, CheckpointNotFound) for i in (0, 2, 4))
    assert models.loaded.count("missing") == 1
    assert engine.progress.failed == 3 and engine.state == "done"
    with pytest.raises(CheckpointNotFound):
        _ = results[0].trace


def test_failed_points_are_made_again_when_it_is_started_again(
    manager: ModelManager, models: Models
) -> None:
    engine = Engine(Plan.of(model=["missing", "a"], seed=[1, 2], steps=2), Local(manager))
    list(engine)
    manager.add(models.model, "missing")
    assert engine.start().wait(LIMIT)
    assert all(one.ok for one in engine.results.values())
    assert engine.progress.steps_made == 8


def test_other_runs_take_turns(manager: ModelManager) -> None:
    engine = Engine(Plan.of("a", seed=range(4), steps=3), Local(manager))
    order: list[str] = []
    jobs: list[Job] = []

    def submit_once(result: Result | None) -> None:
        if result is not None:
            order.append("point")
        if not jobs and engine.current:
            jobs.append(
                manager.submit(
                    Request("a", Settings(seed=9, steps=2)),
                    on_state=lambda state: order.append("run") if state == "done" else None,
                )
            )

    engine.follow(submit_once)
    assert engine.start().wait(LIMIT)
    assert jobs[0].result().settings.seed == 9
    assert order.count("point") == 4 and order.index("run") < 3


def test_a_job_that_someone_else_stops_ends_the_sweep(manager: ModelManager) -> None:
    engine = Engine(Plan.of("a", seed=range(4), steps=50), Local(manager))

    def cancel(_: Result | None) -> None:
        for job in manager.jobs():
            job.cancel()

    leave = engine.follow(lambda result: cancel(result) if engine.current else None)
    assert engine.start().wait(LIMIT)
    assert engine.state == "error" and isinstance(engine.error, Stopped)
    leave()
    with pytest.raises(Stopped):
        list(engine)


def test_jobs_of_a_sweep_are_seen_as_runs(manager: ModelManager) -> None:
    engine = Engine(Plan.of("a", prompt="a {cat|dog}", steps=3, seed=1), Local(manager))
    seen: set[tuple[str, int, int]] = set()
    records: list[str] = []

    def look(job: Job | None) -> None:
        if job is not None and job.request is not None and job.state == "running":
            seen.add((job.request.settings.prompts[0], job.step, job.steps))

    leave = manager.follow(look, lambda job, record: records.append(record.prompt))
    list(engine)
    leave()
    assert {("a cat", 1, 3), ("a cat", 3, 3), ("a dog", 3, 3)} <= seen
    assert records == ["a cat", "a dog"]


def test_models_in_memory_have_names_of_their_own(
    tiny_model: LatentDiffusion, make_model: Any, manager: ModelManager
) -> None:
    other = make_model(tiny_model.config)
    assert manager.add(other, "tiny") == "tiny"
    executor = Local(manager, {"tiny": tiny_model})
    engine = Engine(Plan.of(tiny_model, seed=[1], steps=2), executor)
    [result] = engine
    assert result.trace.model_ref() is tiny_model and manager.load("tiny") is other


def test_a_closed_manager_ends_the_sweep(manager: ModelManager) -> None:
    engine = Engine(Plan.of("a", seed=range(3), steps=2), Local(manager))
    manager.close()
    assert engine.start().wait(LIMIT)
    assert engine.state == "error" and "closed" in str(engine.error)


def test_settings_that_its_model_refuses_fail_that_point_only(manager: ModelManager) -> None:
    manager.load("a")
    engine = Engine(Plan.of("a", size=[(16, 16), (17, 16)], steps=2, seed=1), Local(manager))
    results = list(engine)
    assert [one.ok for one in results] == [True, False]
    assert isinstance(results[1].error, InputError)


def test_pictures_and_masks_are_given_to_every_point(tiny_model: LatentDiffusion) -> None:
    import numpy as np
    from PIL import Image

    image, mask = Image.new("RGB", (16, 16), "red"), np.zeros((16, 16), np.uint8)
    mask[:, 8:] = 255
    plan = Plan.of(tiny_model, image=image, mask=mask, strength=[0.5, 1], steps=4, seed=1)
    engine = Engine(plan)
    for result in engine:
        assert result.trace.task == "inpainting"
        assert np.asarray(result.image)[:, :8].tolist() == np.asarray(image)[:, :8].tolist()
    assert plan.cost() is not None and plan.cost().made == 2 + 4 == engine.progress.steps_made
    engine.close()


def test_points_ask_to_stop_before_they_begin(manager: ModelManager) -> None:
    executor = Local(manager)
    points = [(point,) for point in Plan.of("a", seed=range(3), steps=2)]
    engine = Engine(Plan.of("a", seed=[1], steps=1))
    results = executor.run(points, engine.making)
    first = next(results)
    executor.cancel()
    assert first.ok and len(list(results)) <= 1
    assert len(list(executor.run(points, engine.making))) == 3  # it may be called again


def pixels(result: Result) -> bytes:
    return result.image.tobytes()


def test_axes_of_loras(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    paths = layers_of(tiny_model.unet, "attn2")
    file = write(named(tiny_model.unet, paths, kohya("lora_unet_")), tmp_path / "warm.safetensors")
    plan = Plan.of(tiny_model, loras=[[], [file], [(file, 2.0)]], seed=[1, 2], steps=2)
    engine = Engine(plan)
    results = list(engine)
    engine.close()
    assert plan.axes[0].labels == ("none", "warm", "warm 2")
    for strength, at in ((1.0, 1), (2.0, 2)):
        expected = tiny_model.with_lora(file, strength).generate(seed=2, steps=2)
        assert pixels(results[3 + at]) == expected.image.tobytes()
    assert pixels(results[0]) == tiny_model.generate(seed=1, steps=2).image.tobytes()
    assert engine.rows()[1]["loras"] == "warm"
    assert str(tmp_path) not in json.dumps(plan.identity)


def test_a_refiner_makes_the_last_steps(tiny_model: LatentDiffusion) -> None:
    unet = copy.deepcopy(tiny_model.unet)
    unet.conv_out.weight.data.mul_(-1)
    finer = replace(tiny_model, config=replace(tiny_model.config, name="finer"), unet=unet)
    common = {"seed": 1, "steps": 6, "sampler": "euler", "refiner": finer}
    engine = Engine(Plan.of(tiny_model, refiner_start=[0.3, 0.6], **common))
    for result, start in zip(engine, (0.3, 0.6), strict=True):
        expected = tiny_model.generate(refiner_start=start, **common)
        assert pixels(result) == expected.image.tobytes()
    engine.close()
    branches = Engine(Plan.of(tiny_model, prompt="a {cat|dog}", from_step=3, **common))
    one, other = branches
    base = tiny_model.generate("a cat", **common)
    expected = base.branch(3, prompt="a dog", model=tiny_model, refiner=finer)
    assert (pixels(one), pixels(other)) == (base.image.tobytes(), expected.image.tobytes())
    branches.close()


def test_points_that_follow_a_control_share_steps(tiny_model: LatentDiffusion) -> None:
    control = Control(random_control(control_config(tiny_model.config)), picture(), end=0.9)
    common = {"seed": 1, "steps": 6, "control": control}
    engine = Engine(Plan.of(tiny_model, guidance_scale=[1, 5], from_step=4, **common))
    one, other = engine
    base = tiny_model.generate(guidance_scale=1, **common)
    expected = base.branch(4, guidance_scale=5, model=tiny_model)
    assert (pixels(one), pixels(other)) == (base.image.tobytes(), expected.image.tobytes())
    assert (one.made, other.made, other.shared) == (6, 2, 4)
    engine.close()


def test_steps_do_not_pile_up_in_memory(tiny_model: LatentDiffusion) -> None:
    steps, alive = 4, []

    def count(result: Result | None) -> None:
        if result is not None:
            gc.collect()
            alive.append(sum(isinstance(one, (Step, TraceStep)) for one in gc.get_objects()))

    common = {"steps": steps, "attention": True, "guidance_scale": [1, 3]}
    plan = Plan.of(tiny_model, seed=range(5), prompt="a {cat|dog}", from_step=2, **common)
    engine = Engine(plan)
    before = sum(isinstance(one, (Step, TraceStep)) for one in gc.get_objects())
    engine.follow(count)
    list(engine)
    engine.close()
    assert len(alive) == 20
    assert max(alive) - before <= 5 * steps  # of the trunk and a branch, as steps and as records
