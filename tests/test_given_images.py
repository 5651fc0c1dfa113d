"""Runs that are given images to look at: what is needed, refused, said, recorded and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_families import picture
from torch import Tensor

import sdwidgets as sdw
from sdwidgets.configs import (
    TINY,
    DepthConfig,
    EmbedderConfig,
    GuidanceConfig,
    ImageConfig,
    LowResolutionConfig,
    MaskedImageConfig,
    ModelConfig,
    SizesConfig,
)
from sdwidgets.errors import ImageError, InputError
from sdwidgets.manager import ModelManager, Request
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.pictures import Start, as_depth, in_shape
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import LIMITS, Settings, largest_tensor, memory_needed
from sdwidgets.sources import Source
from sdwidgets.trace import Trace, read_settings

Make = Callable[[ModelConfig], LatentDiffusion]
SETTINGS: dict[str, Any] = {"steps": 3, "seed": 1, "sampler": "euler"}


def told(*more: EmbedderConfig, **unet: Any) -> ModelConfig:
    """Return TINY with further embedders, and a network that takes what they make."""
    config = replace(TINY, embedders=(*TINY.embedders, *more))
    unet = {"in_channels": 4 + config.concat_width, "vector_dim": config.vector_width, **unet}
    return replace(config, unet=replace(TINY.unet, **unet))


MASKED = told(MaskedImageConfig())
EDITS = told(ImageConfig())
DEPTH = told(DepthConfig())
ENLARGES = told(LowResolutionConfig(), classes=1000)
REFINES = told(SizesConfig(8, score=True))
GUIDED = told(GuidanceConfig(8), guidance_dim=8)


@pytest.fixture
def image() -> Image.Image:
    return picture(16, 16)


@pytest.fixture
def left_half() -> Image.Image:
    mask = Image.new("L", (16, 16))
    mask.paste(255, (0, 0, 8, 16))
    return mask


def last(run: Any) -> Tensor:
    *_, step = run
    return step.x_next


def heard(model: LatentDiffusion) -> list[Tensor]:
    """Return the list into which the network's inputs go."""
    seen: list[Tensor] = []
    model.unet.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    return seen


# -- inpainting models ------------------------------------------------------------------------


def test_pixels_outside_the_mask_are_kept_exactly(
    make_model: Make, image: Image.Image, left_half: Image.Image
) -> None:
    trace = make_model(MASKED).generate("a cat", image=image, mask=left_half, **SETTINGS)
    kept, made = np.asarray(image), np.asarray(trace.image)
    assert trace.task == "inpainting"
    assert np.array_equal(kept[:, 8:], made[:, 8:])
    assert not np.array_equal(kept[:, :8], made[:, :8])


def test_grey_of_a_mask_is_repainted_in_its_share_of_the_steps(
    make_model: Make, image: Image.Image
) -> None:
    mask = Image.new("L", (16, 16))
    mask.paste(255, (0, 0, 4, 16))
    mask.paste(128, (4, 0, 12, 16))  # then black
    given = {"image": image, "mask": mask, "strength": 1.0, "steps": 4, "seed": 3}
    steps = list(make_model(TINY).sample("a cat", **given))
    first, second, third, final = (step.denoised for step in steps)
    assert torch.equal(first[..., 2:], second[..., 2:])  # the image's own
    assert not torch.equal(first[..., :2], second[..., :2])
    assert not torch.equal(second[..., 2:6], third[..., 2:6])
    assert torch.equal(first[..., 6:], final[..., 6:])


def test_the_network_sees_the_mask_in_both_halves(
    make_model: Make, image: Image.Image, left_half: Image.Image
) -> None:
    model = make_model(MASKED)
    seen = heard(model)
    last(model.sample("a cat", image=image, mask=left_half, **SETTINGS))
    white = torch.zeros(8, 8)
    white[:, :4] = 1
    for x in seen:
        assert x.shape == (2, 9, 8, 8)
        assert (x[:, 4] == white).all()
        assert torch.equal(x[0, 4:], x[1, 4:])


def test_without_a_mask_an_inpainting_model_repaints_everything(
    make_model: Make, image: Image.Image
) -> None:
    model = make_model(MASKED)
    seen = heard(model)
    nothing = last(model.sample("a cat", **SETTINGS))
    white = last(
        model.sample("a cat", image=image, mask=Image.new("L", (16, 16), 255), strength=1.0,
                     **SETTINGS)
    )  # fmt: skip
    started = last(model.sample("a cat", image=image, strength=0.7, **SETTINGS))
    assert torch.equal(nothing, white)
    assert not torch.equal(nothing, started)
    assert all((x[:, 4] == 1).all() for x in seen)


# -- models that edit an image ----------------------------------------------------------------


def test_a_model_that_edits_needs_an_image_and_takes_no_mask(
    make_model: Make, image: Image.Image, left_half: Image.Image
) -> None:
    model = make_model(EDITS)
    with pytest.raises(InputError, match="edits an image") as caught:
        model.sample("make it snow", **SETTINGS)
    assert caught.value.parameter == "image"
    with pytest.raises(InputError, match="takes no mask") as caught:
        model.sample("make it snow", image=image, mask=left_half, **SETTINGS)
    assert caught.value.parameter == "mask"


def test_three_parts_are_told_the_prompt_and_the_image(
    make_model: Make, image: Image.Image
) -> None:
    model = make_model(EDITS)
    seen = heard(model)
    run = model.sample(["a cat", "dog"], image=image, negative_prompt="a bird", **SETTINGS)
    steps = list(run)
    x = seen[0]
    assert x.shape == (6, 8, 8, 8)
    assert torch.equal(x[:2, 4:], x[2:4, 4:]) and not x[4:, 4:].any() and x[:4, 4:].any()
    assert [tokens.prompt for tokens in run.negative_tokens()] == ["a bird", "a bird"]
    for step in steps:
        guided = step.uncond + 3.0 * (step.cond - step.uncond)
        assert torch.allclose(guided, step.denoised, rtol=1e-4, atol=1e-4)


def test_an_edited_image_is_encoded_once(make_model: Make, image: Image.Image) -> None:
    model = make_model(EDITS)
    calls: list[int] = []
    model.autoencoder.encoder.register_forward_hook(lambda *_: calls.append(1))
    last(model.sample(["a cat", "dog"], image=image, **SETTINGS))
    assert len(calls) == 1


def test_it_starts_from_noise_whatever_the_strength(make_model: Make, image: Image.Image) -> None:
    model = make_model(EDITS)
    usual = model.sample("a cat", image=image, **SETTINGS)
    weak = model.sample("a cat", image=image, strength=0.1, **SETTINGS)
    assert len(usual) == len(weak) == 3
    assert torch.equal(last(usual), last(weak))
    assert usual.settings.strength == weak.settings.strength == 1
    assert not usual.notices
    assert "strength had no effect" in " ".join(weak.notices)


def test_the_images_guidance_matters(make_model: Make, image: Image.Image) -> None:
    model = make_model(EDITS)
    usual, more = (
        model.sample("a cat", image=image, image_guidance_scale=scale, **SETTINGS)
        for scale in (None, 4.0)
    )
    assert usual.settings.image_guidance_scale == 1.5
    assert not torch.equal(last(usual), last(more))


def test_three_parts_need_more_memory() -> None:
    assert memory_needed(EDITS, 512, 512) > memory_needed(MASKED, 512, 512)
    assert largest_tensor(EDITS, 512, 512, 4) > largest_tensor(MASKED, 512, 512, 4)


# -- depth ------------------------------------------------------------------------------------


def test_a_depth_model_needs_a_depth_map_and_others_take_none(
    make_model: Make, tiny_model: LatentDiffusion
) -> None:
    depth = np.eye(16)
    with pytest.raises(InputError, match="needs a depth map") as caught:
        make_model(DEPTH).sample("a cat", **SETTINGS)
    assert caught.value.parameter == "depth"
    with pytest.raises(InputError, match="takes no depth map") as caught:
        tiny_model.sample("a cat", depth=depth, **SETTINGS)
    assert caught.value.parameter == "depth"


def test_depth_with_and_without_an_image(
    make_model: Make, image: Image.Image, left_half: Image.Image
) -> None:
    model = make_model(DEPTH)
    depth = np.linspace(3, 7, 256).reshape(16, 16)
    tasks = {
        "text to image": {},
        "image to image": {"image": image},
        "inpainting": {"image": image, "mask": left_half},
    }
    for task, given in tasks.items():
        trace = model.generate("a cat", depth=depth, **given, **SETTINGS)
        assert trace.task == task
        assert np.array_equal(trace.given_depth, depth.astype(np.float32))
    assert not model.sample("a cat", depth=depth, **SETTINGS).notices


@pytest.mark.parametrize(
    "value",
    [
        np.arange(12).reshape(3, 4) * 1000,
        np.arange(12.0).reshape(3, 4, 1) - 5,
        np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000,
        np.eye(3, 4, dtype=bool),
    ],
)
def test_depth_of_any_numbers_keeps_them(value: np.ndarray) -> None:
    depth = as_depth(value)
    assert depth.dtype == np.float32
    assert np.array_equal(depth, value.reshape(3, 4))


def test_depth_of_images() -> None:
    levels = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    assert np.array_equal(as_depth(Image.fromarray(levels)), levels)
    assert np.array_equal(as_depth(Image.fromarray(levels.astype(np.float32))), levels)
    assert np.array_equal(as_depth(Image.new("RGB", (4, 3), "white")), np.full((3, 4), 255))


@pytest.mark.parametrize("value", [np.full((2, 2), np.nan), np.full((2, 2), 1e300), "none.png", 3])
def test_what_is_no_depth_map_is_refused(value: Any) -> None:
    with pytest.raises(ImageError) as caught:
        as_depth(value)
    assert caught.value.parameter == "depth"


@pytest.mark.parametrize(
    ("fit", "shape", "first"),
    [("crop", (4, 8), (4, 0)), ("pad", (12, 24), (0, 0)), ("stretch", (12, 8), (0, 0))],
)
def test_a_depth_map_of_another_shape(
    fit: str, shape: tuple[int, int], first: tuple[int, int]
) -> None:
    depth = np.arange(96, dtype=np.float32).reshape(12, 8)
    found = in_shape(depth, 64, 32, fit)
    assert found.shape == shape
    assert found[0, 0] == depth[first]


# -- enlarging --------------------------------------------------------------------------------


def test_an_image_is_enlarged_by_the_autoencoders_factor(make_model: Make) -> None:
    model = make_model(ENLARGES)
    small = picture(7, 5)
    trace = model.generate("a cat", image=small, **SETTINGS)
    assert trace.image.size == (14, 10)
    assert trace.given_image.size == (7, 5)
    assert trace.steps[0].x.shape == (1, 4, 5, 7)
    assert trace.settings.noise_level == 20
    assert not trace.notices
    wider = model.sample("a cat", image=small, width=32, **SETTINGS)
    assert wider.settings.size == (32, 10)
    assert wider.image.size == (16, 5)


def test_an_image_too_large_to_enlarge_is_refused(make_model: Make) -> None:
    model = make_model(ENLARGES)
    with pytest.raises(InputError, match="2 times as large") as caught:
        model.sample("a cat", image=Image.new("RGB", (3000, 8)), **SETTINGS)
    assert caught.value.parameter == "image"
    with pytest.raises(InputError, match="enlarges an image"):
        model.sample("a cat", **SETTINGS)


def test_the_noise_on_the_image_is_that_of_its_level_and_seed(make_model: Make) -> None:
    model = make_model(ENLARGES)
    seen = heard(model)
    levels = []
    model.unet.register_forward_pre_hook(
        lambda _, args, kwargs: levels.append(kwargs["label"].tolist()), with_kwargs=True
    )
    small = Image.new("RGB", (8, 8), (0, 0, 0))  # -1 everywhere
    for level in (0, 350):
        settings = {**SETTINGS, "steps": 1, "guidance_scale": 2.0, "seed": [5, 6]}
        last(model.sample("a cat", image=small, noise_level=level, **settings))
    clear, noisy = (x[:, 4:] for x in seen)
    betas = torch.linspace(0.0001**0.5, 0.02**0.5, 1000, dtype=torch.float64) ** 2
    abar = torch.cumprod(1 - betas, 0)
    noise = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(6))
    wanted = -(abar[350] ** 0.5) + (1 - abar[350]) ** 0.5 * noise
    assert (clear + 1).abs().max() < 0.1
    assert torch.allclose(noisy[1], wanted.float(), atol=1e-5)
    assert torch.equal(noisy[:2], noisy[2:]) and not torch.equal(noisy[0], noisy[1])
    assert levels == [[0] * 4, [350] * 4]


def test_an_image_of_a_batch_is_enlarged_as_alone(make_model: Make) -> None:
    model, small = make_model(ENLARGES), picture(8, 8)
    both = last(model.sample("a cat", image=small, **{**SETTINGS, "batch_size": 2}))
    second = last(model.sample("a cat", image=small, **{**SETTINGS, "seed": 2}))
    assert torch.allclose(both[1:], second, atol=1e-4)


# -- refiners, and networks that are told the guidance scale ----------------------------------


def test_each_half_of_a_refiner_has_its_aesthetic_score(make_model: Make) -> None:
    model = make_model(REFINES)
    vectors = []
    model.unet.register_forward_pre_hook(lambda _, args: vectors.append(args[3]))
    run = model.sample("a cat", aesthetic_score=9.0, **{**SETTINGS, "steps": 1})
    last(run)
    high, low = vectors[0][:, -8:]
    assert (run.settings.aesthetic_score, run.settings.negative_aesthetic_score) == (9.0, 2.5)
    assert torch.allclose(high[0], torch.tensor(9.0).cos()) and torch.allclose(
        low[0], torch.tensor(2.5).cos()
    )


def test_a_network_that_is_told_the_guidance_scale_predicts_once(make_model: Make) -> None:
    model = make_model(GUIDED)
    seen = heard(model)
    settings = {**SETTINGS, "guidance_scale": 7.0}
    run = model.sample(["a cat", "dog"], negative_prompt="a bird", guidance_rescale=0.5, **settings)
    steps = list(run)
    assert {len(x) for x in seen} == {2}
    assert all(step.cond is step.uncond is None for step in steps)
    assert run.negative_tokens() == ()
    said = " ".join(run.notices)
    assert "the negative prompt and guidance_rescale had no effect" in said
    other = model.sample(["a cat", "dog"], **{**settings, "guidance_scale": 3.0})
    assert not torch.equal(last(other), steps[-1].x_next)


# -- their settings ---------------------------------------------------------------------------


def test_only_models_that_take_them_have_these_settings() -> None:
    names = ("image_guidance_scale", "noise_level", "aesthetic_score", "negative_aesthetic_score")
    values = {
        key: tuple(getattr(Settings(seed=1).checked(config), name) for name in names)
        for key, config in {"t": TINY, "i": EDITS, "n": ENLARGES, "s": REFINES}.items()
    }
    assert values == {
        "t": (None,) * 4,
        "i": (1.5, None, None, None),
        "n": (None, 20, None, None),
        "s": (None, None, 6.0, 2.5),
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image_guidance_scale", 0.5),
        ("image_guidance_scale", "high"),
        ("noise_level", -1),
        ("noise_level", 1000),
        ("noise_level", 2.5),
        ("aesthetic_score", 10.5),
        ("negative_aesthetic_score", True),
    ],
)
def test_values_beyond_their_limits_are_refused(name: str, value: Any) -> None:
    low, high = LIMITS[name]
    with pytest.raises(InputError, match=f"{low} to {high}") as caught:
        Settings(**{name: value}).checked()
    assert caught.value.parameter == name


def test_an_upscaler_has_its_own_highest_noise_level() -> None:
    assert Settings(noise_level=350, seed=1).checked(ENLARGES).noise_level == 350
    with pytest.raises(InputError, match="0 to 350"):
        Settings(noise_level=351).checked(ENLARGES)


def test_what_a_model_is_not_told_is_said(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("a cat", noise_level=30, aesthetic_score=7.0, **SETTINGS)
    assert "not told noise_level and aesthetic_score, which had no effect" in " ".join(run.notices)


# -- records, questions, derived models, the manager ------------------------------------------


def test_a_record_has_the_depth_map_and_makes_the_run_again(
    make_model: Make, image: Image.Image, tmp_path: Path
) -> None:
    model = make_model(DEPTH)
    depth = np.random.default_rng(0).uniform(-3, 900, (10, 12))
    trace = model.generate("a cat", image=image, depth=depth, **SETTINGS)
    loaded = Trace.load(trace.save(tmp_path / "run.sdtrace"))
    assert np.array_equal(loaded.given_depth, trace.given_depth)
    assert not [notice for notice in loaded.notices if "does not know" in notice]
    assert trace.record()["given"] == ["image", "depth"]
    with pytest.raises(InputError, match="image and depth"):
        read_settings(trace.png())
    again = model.generate(
        image=loaded.given_image, depth=loaded.given_depth, **loaded.settings.as_dict()
    )
    assert np.array_equal(again.image, trace.image)


@pytest.mark.parametrize(
    ("config", "names"),
    [(MASKED, ("image", "mask")), (EDITS, ("image",)), (DEPTH, ("depth",)), (ENLARGES, ("image",))],
)
def test_questions_about_runs_that_saw_images(
    make_model: Make,
    image: Image.Image,
    left_half: Image.Image,
    config: ModelConfig,
    names: tuple[str, ...],
) -> None:
    model = make_model(config)
    known = {"image": image, "mask": left_half, "depth": np.eye(16)}
    given = {name: known[name] for name in names}
    queries = sdw.AttentionSettings(queries=True)
    trace = model.generate("a cat and a dog", attention=queries, **given, **SETTINGS)
    assert trace.query("bird", model=model).shape == trace.image.size[::-1]
    taken = trace.ablate("dog", model=model)
    assert taken.trace.prompt == "a cat and a"
    assert taken.change.max() > 0


def test_a_model_with_another_autoencoder_sees_images_through_it(
    make_model: Make, image: Image.Image
) -> None:
    model = make_model(EDITS)
    other = Autoencoder(TINY.autoencoder).eval().requires_grad_(False)
    derived = model.with_autoencoder(other)
    assert [each.autoencoder for each in derived.embedders[1:]] == [other]
    assert [each.autoencoder for each in model.embedders[1:]] == [model.autoencoder]
    same = derived.derived(Source("back"), autoencoder=model.autoencoder)
    runs = [each.sample("a cat", image=image, **SETTINGS) for each in (model, derived, same)]
    first, second, third = map(last, runs)
    assert torch.equal(first, third) and not torch.equal(first, second)


def test_the_manager_takes_a_depth_map(make_model: Make) -> None:
    model = make_model(DEPTH)
    depth = np.eye(16, dtype=np.float32)
    with ModelManager() as manager:
        manager.add(model, "deep")
        job = manager.submit(Request("deep", Settings("a cat", **SETTINGS), depth=depth))
        trace = job.result(60)
    assert np.array_equal(trace.given_depth, depth)
    assert trace.task == "text to image"


def test_the_manager_takes_any_strength_where_it_has_no_effect(
    make_model: Make, image: Image.Image
) -> None:
    with ModelManager() as manager:
        manager.add(make_model(EDITS), "edits")
        settings = Settings("a cat", strength=0.01, **SETTINGS)
        trace = manager.submit(Request("edits", settings, image)).result(60)
    assert len(trace.steps) == 3


def test_a_start_may_have_depth_alone() -> None:
    start = Start.of(None, None, np.eye(4))
    assert start is not None and start.image is None
    assert start.fitted(8, 8).depth.shape == (4, 4)
    assert Start.of(None) is None
