"""Runs of two passes: a small image, enlarged, and image to image from there."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from control_nets import control_config, picture, random_control
from PIL import Image
from small_families import FAMILIES, needed

from sdwidgets import InputError, OutOfMemory
from sdwidgets.configs import TINY, ModelConfig
from sdwidgets.control import Control
from sdwidgets.diffusion import SAMPLERS, Denoiser, Step
from sdwidgets.enlarging import enlarged_latents
from sdwidgets.models.conditioning import Given, conditioned
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.run import Run
from sdwidgets.settings import Settings
from sdwidgets.trace import Trace

RUN: dict[str, Any] = {"steps": 5, "seed": 1, "guidance_scale": 3, "sampler": "euler"}
TWICE: dict[str, Any] = {**RUN, "hires": 2}


def last_of(run: Run) -> torch.Tensor:
    return list(run)[-1].x_next


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.int16)


def mask_of(width: int, height: int) -> Image.Image:
    mask = Image.new("L", (width, height))
    mask.paste(255, (0, 0, width // 2, height // 2))
    return mask


def test_a_run_has_the_steps_of_both_passes(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("a cat", **TWICE)
    assert len(run) == 5 + 3
    steps = list(run)
    assert [step.index for step in steps] == list(range(8))
    assert [step.x.shape[-1] for step in steps] == [8] * 5 + [16] * 3
    assert len(run.seconds) == 8
    assert steps[5].sigma > steps[4].sigma_next == 0
    assert run.settings.size == (16, 16) and run.settings.final_size == (32, 32)
    assert [image.size for image in run.pictures(steps[-1])] == [(32, 32)]
    assert [image.size for image in run.pictures(steps[2])] == [(16, 16)]


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral", "dpmpp_2m"])
@pytest.mark.parametrize("size", [(16, 16), (20, 12)])
def test_pixels_are_the_two_runs_by_hand(
    tiny_model: LatentDiffusion, sampler: str, size: tuple[int, int]
) -> None:
    settings = {**RUN, "sampler": sampler, "width": size[0], "height": size[1]}
    both = tiny_model.sample("a cat", hires=1.5, hires_method="pixels", **settings)
    larger = both.settings.final_size
    assert larger == (size[0] * 1.5, size[1] * 1.5)
    first = tiny_model.generate("a cat", **settings)
    image = first.image.resize(larger, Image.Resampling.LANCZOS)
    settings |= {"width": larger[0], "height": larger[1], "image": image, "strength": 0.6}
    second = tiny_model.sample("a cat", **settings)
    assert torch.equal(last_of(both), last_of(second))
    assert both.last is not None and second.last is not None
    assert both.pictures(both.last)[0].tobytes() == second.pictures(second.last)[0].tobytes()


@pytest.mark.parametrize("steps", [None, 8])
def test_latents_are_the_two_runs_by_hand(tiny_model: LatentDiffusion, steps: int | None) -> None:
    settings = {**RUN, "guidance_scale": 1, "schedule": "trailing"}
    both = last_of(tiny_model.sample("a cat", hires=2, hires_steps=steps, **settings))
    first = last_of(tiny_model.sample("a cat", **settings))
    count = steps or RUN["steps"]
    left = round(count * 0.6)
    grid = tiny_model.schedule.trailing(count)[-left - 1 :]
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    x = enlarged_latents(first, 16, 16) + grid[0].item() * noise
    told = tiny_model.condition([Given("a cat", (32, 32))])
    denoise = Denoiser(conditioned(tiny_model.unet, told), tiny_model.schedule)
    *_, last = SAMPLERS["euler"](denoise, x, grid)
    torch.testing.assert_close(both, last.x_next)


@pytest.mark.parametrize("size", [(16, 16), (20, 12)])
def test_latents_are_a_run_that_goes_on_by_hand(
    tiny_model: LatentDiffusion, size: tuple[int, int]
) -> None:
    width, height = size
    settings = {**RUN, "schedule": "trailing"}
    both = tiny_model.sample("a cat", hires=2, width=width, height=height, **settings)
    both_last = last_of(both)
    first = last_of(tiny_model.sample("a cat", width=width, height=height, **settings))
    noise = torch.randn(1, 4, height, width, generator=torch.Generator().manual_seed(1))
    sigma = tiny_model.schedule.trailing(5)[2].item()
    x = (enlarged_latents(first, height, width) + sigma * noise) / (1 + sigma**2) ** 0.5
    larger = {"width": 2 * width, "height": 2 * height, "start_step": 2, "latents": x}
    second = last_of(tiny_model.sample("a cat", **settings, **larger))
    torch.testing.assert_close(both_last, second, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["latents", "pixels"])
def test_each_image_of_a_batch_is_the_one_made_alone(
    tiny_model: LatentDiffusion, method: str
) -> None:
    prompts = ["a cat", "the dog"]
    settings = {**TWICE, "hires_method": method, "sampler": "euler_ancestral"}
    batch = last_of(tiny_model.sample(prompts, **{**settings, "seed": [4, 9]}))
    alone = [
        last_of(tiny_model.sample(prompt, **{**settings, "seed": seed}))
        for prompt, seed in zip(prompts, [4, 9], strict=True)
    ]
    torch.testing.assert_close(batch, torch.cat(alone), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", ["latents", "pixels"])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_a_second_pass(
    make_model: Callable[[ModelConfig], LatentDiffusion], name: str, method: str
) -> None:
    model = make_model(FAMILIES[name])
    factor = model.config.autoencoder.factor
    width, height = 8 * factor, 6 * factor
    size = {"width": width, "height": height}
    given = needed(model.config, width, height)
    settings = {"steps": 2, "seed": 1, "hires": 1.5, "hires_method": method}
    trace = model.generate("a cat", **settings, **size, **given)
    assert trace.complete and trace.size == (12 * factor, 9 * factor)
    assert [step.index for step in trace.steps] == [2]  # one step of two, with strength 0.6
    assert trace.parent is not None and trace.parent.trace is not None
    assert trace.parent.trace.size == (width, height)


@pytest.mark.parametrize("method", ["latents", "pixels"])
def test_outside_a_mask_the_image_keeps_the_pixels_it_has_at_the_larger_size(
    tiny_model: LatentDiffusion, method: str
) -> None:
    image, mask = picture(32, 32), mask_of(32, 32)
    fine = pixels(image)
    settings = {**TWICE, "hires_method": method, "image": image, "mask": mask, "strength": 0.9}
    trace = tiny_model.generate("a cat", **settings)
    made = pixels(trace.image)
    kept = np.asarray(mask) == 0
    assert (made[kept] == fine[kept]).all()
    assert (made[~kept] != fine[~kept]).any()
    assert trace.given_image is not None and trace.given_image.size == (32, 32)
    assert trace.parent is not None and trace.parent.trace is not None
    assert trace.parent.trace.given_image.size == (16, 16)


def test_latents_outside_a_mask_are_those_of_the_larger_image(tiny_model: LatentDiffusion) -> None:
    image = picture(32, 32)
    run = tiny_model.sample("a cat", **TWICE, image=image, mask=mask_of(32, 32))
    last = list(run)[-1].x_next
    mean, std = tiny_model.posterior(image)
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    known = mean + std * noise
    torch.testing.assert_close(last[..., 8:, :], known[..., 8:, :])
    assert not torch.allclose(last[..., :8, :8], known[..., :8, :8], atol=0.1)


def test_image_to_image_goes_on_to_a_second_pass(tiny_model: LatentDiffusion) -> None:
    settings = {**RUN, "image": picture(16, 16), "strength": 0.4}
    run = tiny_model.sample("a cat", **settings, hires=2, hires_method="pixels")
    assert len(run) == 2 + 3 and run.task == "image to image"
    both = last_of(run)
    first = tiny_model.generate("a cat", **settings).image
    larger = first.resize((32, 32), Image.Resampling.LANCZOS)
    settings |= {"image": larger, "strength": 0.6, "width": 32, "height": 32}
    assert torch.equal(both, last_of(tiny_model.sample("a cat", **settings)))


def test_controls_are_at_the_size_of_each_pass(tiny_model: LatentDiffusion) -> None:
    control = Control(random_control(control_config(TINY)), picture(32, 32), end=0.5)
    run = tiny_model.sample("a cat", **TWICE, control=control)
    assert run.first is not None
    assert run.first.controls.given[0].image.size == (16, 16)
    assert run.controls.given[0].image.size == (32, 32)
    assert run.first.controls.nets[0] is run.controls.nets[0]
    steps = list(run)
    acts = [bool(next(iter(step.control.values())).any()) for step in steps]
    assert acts == [True, True, False, False, False, True, False, False]  # half of each pass


def test_both_passes_record_attention(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", **TWICE, attention=True)
    assert trace.parent is not None and isinstance(trace.parent.trace, Trace)
    first = trace.parent.trace
    assert trace.heat_map("cat").shape == (32, 32) and first.heat_map("cat").shape == (16, 16)
    assert len(first.steps) == 5 and len(trace.steps) == 3
    assert all(step.attention for step in (*first.steps, *trace.steps))
    assert first.steps[0].seconds == first.seconds[0] > 0


def test_a_record_has_the_second_pass_and_its_parent_the_first(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    trace = tiny_model.generate("a cat", **TWICE)
    assert trace.complete and trace.expected == 8
    assert [step.index for step in trace.steps] == [5, 6, 7]
    assert trace.parent is not None and trace.parent.how == "hires"
    first = tiny_model.generate("a cat", **RUN)
    found = trace.parent.trace
    assert found is not None and found.settings == first.settings and found.complete
    assert found.image.tobytes() == first.image.tobytes()
    back = Trace.load(trace.save(tmp_path / "a.sdtrace", precision="float16"))
    assert [step.index for step in back.steps] == [5, 6, 7] and back.expected == 8
    assert back.settings == trace.settings and back.parent is not None
    assert back.parent.how == "hires" and back.notices == trace.notices
    again = tiny_model.generate(**trace.record()["settings"])
    assert again.image.tobytes() == trace.image.tobytes()


def test_stopped_in_the_first_pass_the_record_is_that_pass(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("a cat", **TWICE)
    taken = [next(run) for _ in range(5)]
    run.close()
    assert list(run) == []
    trace = Trace.of(taken, run)
    assert not trace.complete and trace.parent is None
    assert len(trace.steps) == 5 and trace.expected == 8 and trace.size == (16, 16)


def test_stopped_in_the_second_pass_the_record_is_what_there_is_of_it(
    tiny_model: LatentDiffusion,
) -> None:
    run = tiny_model.sample("a cat", **TWICE)
    trace = Trace.of([next(run) for _ in range(6)], run)
    assert not trace.complete and len(trace.steps) == 1 and trace.size == (32, 32)
    assert trace.parent is not None and trace.parent.trace is not None
    assert trace.parent.trace.complete


def test_of_a_run_whose_steps_were_taken_elsewhere_each_pass_has_its_last(
    tiny_model: LatentDiffusion,
) -> None:
    run = tiny_model.sample("a cat", **TWICE)
    steps = list(run)
    trace = Trace.of(run)
    assert [step.index for step in trace.steps] == [7] and trace.complete
    assert trace.parent is not None and trace.parent.trace is not None
    assert [step.index for step in trace.parent.trace.steps] == [4]
    assert isinstance(steps[0], Step)


def test_memory_for_the_larger_pass_is_asked_before_the_first(
    tiny_model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sdwidgets import room
    from sdwidgets.settings import memory_needed

    small, large = (memory_needed(TINY, side, side) for side in (16, 64))
    monkeypatch.setattr(room, "available_memory", lambda device: (small + large) // 2)
    tiny_model.sample("a cat", **RUN)
    with pytest.raises(OutOfMemory, match=r"64 x 64 pixels.*\n.*smaller hires than 4"):
        tiny_model.sample("a cat", **{**TWICE, "hires": 4})


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        ({"hires": 1}, "hires"),
        ({"hires": 5}, "hires"),
        ({"hires": 2, "width": 4096, "height": 64}, "hires"),
        ({"hires": 2, "hires_strength": 0}, "hires_strength"),
        ({"hires": 2, "steps": 4, "hires_strength": 0.1}, "hires_strength"),
        ({"hires": 2, "hires_steps": 2000}, "hires_steps"),
        ({"hires": 2, "hires_method": "waves"}, "hires_method"),
        ({"hires": 2, "sigmas": [9, 1, 0], "hires_steps": 3}, "hires_steps"),
        ({"hires": 2, "steps": 4, "start_step": 1}, "start_step"),
        ({"hires": 2, "steps": 4, "end_step": 3}, "end_step"),
    ],
)
def test_what_no_second_pass_can_be(
    tiny_model: LatentDiffusion, given: dict[str, Any], parameter: str
) -> None:
    with pytest.raises(InputError) as caught:
        tiny_model.sample("a cat", **given)
    assert caught.value.parameter == parameter


def test_sides_are_rounded_to_what_the_autoencoder_takes() -> None:
    settings = Settings(width=72, height=64, hires=1.3).checked()
    assert settings.final_size == (96, 80)  # 93.6 and 83.2
    checked = Settings(width=18, height=16, hires=1.3).checked(TINY)
    assert checked.final_size == (24, 20)  # 23.4 and 20.8
    assert checked.resolved(strength=0.5).final_size == (24, 20)


def test_settings_of_a_second_pass_without_one_are_noticed(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("a cat", **RUN, hires_strength=0.5, hires_steps=3)
    assert any("hires_strength and hires_steps had no effect" in each for each in run.notices)
    run = tiny_model.sample("a cat", **{**TWICE, "steps": 4})
    assert run.settings.hires_strength == 0.5
    assert any("second pass's strength 0.6 was rounded" in each for each in run.notices)
    assert not any("trained on" in each for each in run.notices)  # large, but from a fitting one


def test_when_memory_runs_out_in_the_second_pass_no_step_stays_alive(
    tiny_model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_model.sample("a cat", **TWICE)
    steps = [next(run) for _ in range(5)]
    latents = weakref.ref(steps[-1].x_next)
    steps.clear()

    def fails(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(type(tiny_model.unet), "forward", fails)
    with pytest.raises(OutOfMemory, match="32 x 32 pixels"):
        next(run)
    assert run.last is None and latents() is None


def test_an_enlarged_image_that_would_be_too_large_is_refused(
    make_model: Callable[[ModelConfig], LatentDiffusion],
) -> None:
    model = make_model(FAMILIES["X4_UPSCALER"])
    with pytest.raises(InputError, match="hires 4 makes 4800 x 640") as caught:
        model.sample("a cat", image=picture(300, 40), hires=4, steps=2)
    assert caught.value.parameter == "hires"
