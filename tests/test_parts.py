"""Runs that make a part of their grid: `start_step`, `end_step` and the latents that are left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_families import picture

from sdwidgets.configs import TINY, ModelConfig
from sdwidgets.errors import InputError
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.sampling import SAMPLERS
from sdwidgets.trace import Trace

Make = Callable[[ModelConfig], LatentDiffusion]
N, K = 6, 3
SETTINGS: dict[str, Any] = {"steps": N, "seed": 3, "guidance_scale": 3.0}
ONE_STEP = ("euler", "euler_ancestral", "ddim", "heun", "ddpm", "dpm2", "lcm")
"""Samplers that look at no other step."""


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name in ONE_STEP])
@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_two_parts_are_the_whole(make_model: Make, sampler: str, prediction: Any) -> None:
    model = make_model(replace(TINY, schedule=replace(TINY.schedule, prediction=prediction)))
    asked = {**SETTINGS, "sampler": sampler, "batch_size": 2}
    whole = model.generate("a cat", **asked)
    first = model.generate("a cat", **asked, end_step=K)
    rest = model.generate("a cat", **asked, start_step=K, latents=first.latents_left)
    assert [len(each.steps) for each in (first, rest)] == [K, N - K]
    assert first.complete and rest.complete
    made = (*first.steps, *rest.steps)
    for one, other in zip(made, whole.steps, strict=True):
        np.testing.assert_array_equal(one.x, other.x)
        np.testing.assert_array_equal(one.x_next, other.x_next)
    assert rest.image.tobytes() == whole.image.tobytes()
    assert rest.notices == ()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_first_part_is_the_first_part(tiny_model: LatentDiffusion, sampler: str) -> None:
    asked = {**SETTINGS, "sampler": sampler}
    whole = tiny_model.generate("a cat", **asked)
    first = tiny_model.generate("a cat", **asked, end_step=K)
    for one, other in zip(first.steps, whole.steps, strict=False):
        np.testing.assert_array_equal(one.x_next, other.x_next)


def test_images_of_a_first_part_are_its_prediction(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("a cat", **SETTINGS, sampler="euler", end_step=K)
    with pytest.raises(InputError, match="no step"):
        _ = run.latents_left
    *_, last = run
    assert run.pictures(last)[0].tobytes() == tiny_model.decode(last.denoised)[0].tobytes()
    left, trace = run.latents_left, Trace.of(run)
    np.testing.assert_array_equal(left.numpy(), trace.latents_left)
    assert left.dtype == torch.float64 and last.sigma_next > 0
    scale = (1 + last.sigma_next**2) ** 0.5
    np.testing.assert_allclose(left.numpy() * scale, last.x_next.numpy(), rtol=1e-6)
    with pytest.raises(InputError, match="no steps"):
        _ = replace(trace, steps=()).latents_left


def test_parts_of_inpainting_are_the_whole(tiny_model: LatentDiffusion) -> None:
    grey = picture(16, 16).convert("L")
    given = {"image": picture(16, 16), "mask": grey, "strength": 1.0, "sampler": "euler"}
    whole = tiny_model.generate("a cat", **SETTINGS, **given)
    first = tiny_model.generate("a cat", **SETTINGS, **given, end_step=K)
    del given["strength"]
    left = first.latents_left
    rest = tiny_model.generate("a cat", **SETTINGS, **given, start_step=K, latents=left)
    np.testing.assert_allclose(rest.steps[-1].x_next, whole.steps[-1].x_next, rtol=1e-3, atol=1e-3)
    assert rest.image.tobytes() == whole.image.tobytes()


def test_start_step_takes_the_place_of_strength(tiny_model: LatentDiffusion) -> None:
    given = {**SETTINGS, "image": picture(16, 16), "sampler": "euler"}
    by_step = tiny_model.generate("a cat", **given, start_step=K)
    by_strength = tiny_model.generate("a cat", **given, strength=(N - K) / N)
    for one, other in zip(by_step.steps, by_strength.steps, strict=True):
        np.testing.assert_array_equal(one.x_next, other.x_next)
    with pytest.raises(InputError, match="both say where") as caught:
        tiny_model.sample("a cat", **given, start_step=K, strength=0.5)
    assert caught.value.parameter == "start_step"
    again = by_step.settings.as_dict()
    assert tiny_model.generate(image=picture(16, 16), **again).image.tobytes() == (
        by_step.image.tobytes()
    )


def test_parts_that_are_not_there_are_refused(tiny_model: LatentDiffusion) -> None:
    for given, said in (
        ({"end_step": N + 1}, "has 6 steps"),
        ({"start_step": N}, "leaves no step"),
        ({"start_step": 3, "end_step": 3}, "more than start_step"),
        ({"end_step": 3, "hires": 2}, "cannot be together"),
    ):
        with pytest.raises(InputError, match=said):
            tiny_model.sample("a cat", **SETTINGS, **given)


def test_branches_of_parts(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    asked: dict[str, Any] = {**SETTINGS, "sampler": "ddim", "eta": 0.5}
    first = tiny_model.generate("a cat", **asked, end_step=4)
    rest = tiny_model.generate("a cat", **asked, start_step=4, latents=first.latents_left)
    for trace in (first, rest):
        for step in range(len(trace.steps)):
            branch = trace.branch(step)
            np.testing.assert_array_equal(branch.steps[-1].x_next, trace.steps[-1].x_next)
            assert branch.image.tobytes() == trace.image.tobytes()
    loaded = Trace.load(rest.save(tmp_path / "a.sdtrace"))
    exact = loaded.branch(1, exact=True, model=tiny_model)
    np.testing.assert_allclose(exact.steps[-1].x_next, rest.steps[-1].x_next, rtol=1e-3, atol=1e-3)
