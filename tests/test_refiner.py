"""A refiner: a second model that makes the last steps of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from control_nets import control_config, picture, random_control
from PIL import Image
from small_families import FAMILIES

from sdwidgets import InputError
from sdwidgets.configs import TINY, ModelConfig
from sdwidgets.control import Control
from sdwidgets.diffusion import NoiseSchedule
from sdwidgets.manager import ModelManager, Request
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.refining import steps_before
from sdwidgets.run import Run
from sdwidgets.settings import Settings
from sdwidgets.trace import Trace

RUN: dict[str, Any] = {"steps": 10, "seed": 1, "guidance_scale": 3, "sampler": "euler"}


@pytest.fixture
def refiner(tiny_model: LatentDiffusion) -> LatentDiffusion:
    """Another model with the same latents: its network predicts something else."""
    import copy

    unet = copy.deepcopy(tiny_model.unet)
    unet.conv_out.weight.mul_(-1)
    config = replace(tiny_model.config, name="finer")
    return replace(tiny_model, config=config, unet=unet)


def last_of(run: Run) -> torch.Tensor:
    return list(run)[-1].x_next


def mask_of(width: int, height: int) -> Image.Image:
    mask = Image.new("L", (width, height))
    mask.paste(255, (0, 0, width // 2, height // 2))
    return mask


def test_it_makes_the_steps_below_its_start(
    tiny_model: LatentDiffusion, refiner: LatentDiffusion
) -> None:
    plain = list(tiny_model.sample("a cat", **RUN))
    run = tiny_model.sample("a cat", **RUN, refiner=refiner)
    assert run.settings.refiner_start == 0.8 and len(run) == 10
    steps = list(run)
    assert [step.index for step in steps] == list(range(10))
    same = [torch.equal(a.x_next, b.x_next) for a, b in zip(plain, steps, strict=True)]
    assert same == [True] * 8 + [False] * 2
    assert steps[8].x is steps[7].x_next
    assert steps[8].cond is not None  # it is guided, too


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral"])
def test_a_model_that_goes_on_from_itself_changes_nothing(
    tiny_model: LatentDiffusion, sampler: str
) -> None:
    settings = {**RUN, "sampler": sampler}
    plain = last_of(tiny_model.sample("a cat", **settings))
    assert torch.equal(last_of(tiny_model.sample("a cat", **settings, refiner=tiny_model)), plain)


def test_a_method_of_several_steps_begins_anew(tiny_model: LatentDiffusion) -> None:
    settings = {**RUN, "sampler": "dpmpp_2m"}
    plain = last_of(tiny_model.sample("a cat", **settings))
    anew = last_of(tiny_model.sample("a cat", **settings, refiner=tiny_model))
    assert not torch.equal(anew, plain)


def test_its_start_is_a_share_of_the_training_steps() -> None:
    schedule = NoiseSchedule.from_betas(1000)
    trailing = schedule.trailing(10).tolist()  # at t = 999, 899, ..., 99
    assert [steps_before(schedule, trailing, start) for start in (0, 0.5, 0.8, 0.801, 1)] == [
        0, 5, 8, 9, 10,
    ]  # fmt: skip
    leading = schedule.leading(10).tolist()  # at t = 901, 801, ..., 1
    assert steps_before(schedule, leading, 0.8) == 8  # 201 is not below 200
    karras = schedule.karras(10).tolist()
    taken = steps_before(schedule, karras, 0.8)
    assert schedule.t(karras[taken]) < 200 <= schedule.t(karras[taken - 1])


def test_each_image_of_a_batch_is_the_one_made_alone(
    tiny_model: LatentDiffusion, refiner: LatentDiffusion
) -> None:
    settings = {**RUN, "sampler": "euler_ancestral", "refiner": refiner}
    batch = last_of(tiny_model.sample(["a cat", "the dog"], **{**settings, "seed": [4, 9]}))
    alone = [
        last_of(tiny_model.sample(prompt, **{**settings, "seed": seed}))
        for prompt, seed in (("a cat", 4), ("the dog", 9))
    ]
    torch.testing.assert_close(batch, torch.cat(alone), rtol=1e-3, atol=1e-3)


def test_it_is_told_what_it_takes(
    make_model: Callable[[ModelConfig], LatentDiffusion],
) -> None:
    model, refiner = make_model(FAMILIES["SDXL"]), make_model(FAMILIES["SDXL_REFINER"])
    settings: dict[str, Any] = {"steps": 2, "seed": 1, "width": 64, "height": 40}
    made = []
    for score in (None, 2.0):
        run = model.sample(
            "a cat", **settings, refiner=refiner, refiner_start=0.5, aesthetic_score=score
        )
        assert not any("not told" in notice for notice in run.notices)
        made.append(last_of(run))
    assert not torch.allclose(*made, atol=1e-4)
    alone = model.sample("a cat", **settings, aesthetic_score=2.0)
    assert any("not told aesthetic_score" in notice for notice in alone.notices)


def test_attention_is_recorded_in_the_models_own_steps(
    tiny_model: LatentDiffusion, refiner: LatentDiffusion
) -> None:
    trace = tiny_model.generate("a cat", **RUN, refiner=refiner, attention=True)
    assert [step.attention is not None for step in trace.steps] == [True] * 8 + [False] * 2
    assert any("Attention is not recorded in the refiner's steps" in n for n in trace.notices)
    assert trace.heat_map("cat", step=7).shape == (16, 16)
    assert trace.heat_map("cat").shape == (16, 16)


def test_controls_act_in_the_models_own_steps(
    tiny_model: LatentDiffusion, refiner: LatentDiffusion
) -> None:
    control = Control(random_control(control_config(TINY)), picture())
    run = tiny_model.sample("a cat", **RUN, refiner=refiner, control=control)
    assert any("Controls do not act in the refiner's steps" in n for n in run.notices)
    assert [step.control is not None for step in run] == [True] * 8 + [False] * 2


def test_a_mask_is_kept_by_both(tiny_model: LatentDiffusion, refiner: LatentDiffusion) -> None:
    image, mask = picture(16, 16), mask_of(16, 16)
    given = {"image": image, "mask": mask, "strength": 0.8}
    plain = list(tiny_model.sample("a cat", **RUN, **given))[-1]
    last = list(tiny_model.sample("a cat", **RUN, **given, refiner=refiner))[-1]
    assert torch.equal(last.x_next[..., 4:, :], plain.x_next[..., 4:, :])
    assert not torch.allclose(last.x_next[..., :4, :4], plain.x_next[..., :4, :4], atol=1e-2)


def test_with_hires_it_refines_the_second_pass(
    tiny_model: LatentDiffusion, refiner: LatentDiffusion
) -> None:
    settings = {**RUN, "hires": 2}
    plain = list(tiny_model.sample("a cat", **settings))
    steps = list(tiny_model.sample("a cat", **settings, refiner=refiner))
    same = [torch.equal(a.x_next, b.x_next) for a, b in zip(plain, steps, strict=True)]
    assert same == [True] * (10 + 4) + [False] * 2
    trace = tiny_model.generate("a cat", **settings, refiner=refiner)
    assert trace.settings.refiner_start == 0.8
    assert trace.parent is not None and trace.parent.record["settings"]["refiner_start"] is None


def test_a_record_names_both_models(tiny_model: LatentDiffusion, refiner: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", **RUN, refiner=refiner, refiner_start=0.5)
    assert [(one.name, one.kind) for one in trace.sources] == [("finer", "refiner")]
    assert trace.record()["settings"]["refiner_start"] == 0.5
    assert trace.complete and len(trace.steps) == 10


def test_a_refiner_without_effect_is_noticed(
    tiny_model: LatentDiffusion, refiner: LatentDiffusion
) -> None:
    def notices(**more: Any) -> str:
        return "\n".join(tiny_model.sample("a cat", **RUN, **more).notices)

    assert "No refiner was given" in notices(refiner_start=0.5)
    assert "refiner had no effect" in notices(refiner=refiner, refiner_start=1)
    assert "the refiner makes them all" in notices(refiner=refiner, refiner_start=0)
    assert "refiner" not in notices(refiner=refiner)


def test_a_refiner_that_does_not_fit_is_refused(
    tiny_model: LatentDiffusion, make_model: Callable[[ModelConfig], LatentDiffusion]
) -> None:
    scaled = replace(TINY, autoencoder=replace(TINY.autoencoder, scaling_factor=0.5))
    levels = replace(TINY, schedule=replace(TINY.schedule, beta_end=0.02))
    for other, said in (
        (make_model(scaled), "scaling_factor of 0.5"),
        (make_model(levels), "different noise levels"),
        (make_model(FAMILIES["SD1"]), "factor of 8"),
        ("tiny", "must be a LatentDiffusion"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            tiny_model.sample("a cat", **RUN, refiner=other)
        assert caught.value.parameter == "refiner"


# -- in a manager ------------------------------------------------------------------------------


def test_a_request_names_its_refiner(tiny_model: LatentDiffusion, refiner: LatentDiffusion) -> None:
    models = {"base": tiny_model, "finer": refiner}
    opened: list[str] = []

    def load(name: str, **_: Any) -> LatentDiffusion:
        opened.append(name)
        return models[name]

    settings = Settings(prompt="a cat", **RUN)
    with ModelManager(load) as manager:
        trace = manager.submit(Request("base", settings, refiner="finer")).result(60)
        manager.submit(Request("base", settings, refiner="finer")).result(60)
        assert opened == ["base", "finer"] and manager.loaded() == ["base", "finer"]
    expected = tiny_model.generate("a cat", **RUN, refiner=refiner)
    assert isinstance(trace, Trace) and trace.image.tobytes() == expected.image.tobytes()


def test_a_refiner_is_loaded_beside_the_model_or_not_at_all(
    tiny_model: LatentDiffusion, refiner: LatentDiffusion
) -> None:
    models = {"base": tiny_model, "other": tiny_model, "finer": refiner}

    def load(name: str, *, make_room: Any, **_: Any) -> LatentDiffusion:
        make_room(100, torch.device("cpu"))
        return models[name]

    settings = Settings(prompt="a cat", **RUN)
    with ModelManager(load, budget=200) as manager:
        manager.load("other")
        manager.submit(Request("base", settings, refiner="finer")).result(60)
        assert manager.loaded() == ["base", "finer"]  # the other had to go
    with ModelManager(load, budget=150) as manager:
        job = manager.submit(Request("base", settings, refiner="finer"))
        job.wait(60)
        assert job.state == "error" and "budget is 150 bytes" in str(job.error)
        with pytest.raises(InputError, match="refiner"):
            manager.submit(Request("base", settings, refiner=3))  # type: ignore[arg-type]
