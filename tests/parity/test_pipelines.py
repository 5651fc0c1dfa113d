"""Whole runs against diffusers' pipelines: same weights (random), same starting latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from references import autoencoder_of, copy_weights, relative_error, unet_of
from torch import Tensor

from sdwidgets.configs import SD1, SD2, AutoencoderConfig, ModelConfig, Spacing
from sdwidgets.pipeline import LatentDiffusion, noise_schedule

pytestmark = pytest.mark.parity
diffusers = pytest.importorskip("diffusers")

STEPS = 6
TOLERANCE = 1e-3  # of the latents' scale

# The published shapes with few channels: levels, attention, heads and prediction are theirs.
_AUTOENCODER = AutoencoderConfig((8, 8, 16, 16), blocks_per_level=1, norm_groups=4)


def _small(config: ModelConfig, context_dim: int) -> ModelConfig:
    unet = replace(
        config.unet,
        channels=(16, 32, 48, 48),
        heads=(2, 4, 4, 4) if config is SD1 else (2, 4, 6, 6),
        blocks_per_level=1,
        context_dim=context_dim,
        norm_groups=8,
    )
    text = replace(config.text[0], width=context_dim, layers=1, heads=2, hidden=32)
    return replace(config, unet=unet, autoencoder=_AUTOENCODER, embedders=(text,), size=64)


CONFIGS = {"sd1": _small(SD1, 24), "sd2": _small(SD2, 32)}

SCHEDULERS = {
    "ddim": ("DDIMScheduler", "ddim", {"set_alpha_to_one": False, "clip_sample": False}),
    "euler": ("EulerDiscreteScheduler", "config", {}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", "config", {}),
    "heun": ("HeunDiscreteScheduler", "config", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", "dpmsolver", {}),
    "unipc": ("UniPCMultistepScheduler", "dpmsolver", {}),
    "dpmpp_2m_sde": (
        "DPMSolverMultistepScheduler", "dpmsolver", {"algorithm_type": "sde-dpmsolver++"},
    ),
    "dpm2": ("KDPM2DiscreteScheduler", "config", {}),
    "dpm2_ancestral": ("KDPM2AncestralDiscreteScheduler", "config", {}),
    "lms": ("LMSDiscreteScheduler", "config", {}),
    "ddpm": ("DDPMScheduler", "config", {"variance_type": "fixed_small", "clip_sample": False}),
}  # fmt: skip
"""diffusers' class, our grid and the class's options for each sampler. The others are compared
without a pipeline, in test_samplers.py."""


@pytest.fixture(scope="module")
def pair(
    make_model: Callable[[ModelConfig], LatentDiffusion],
) -> Callable[[str], tuple[LatentDiffusion, dict[str, Any]]]:
    """Return our model of that name, and diffusers' networks with its weights."""

    @cache
    def made(name: str) -> tuple[LatentDiffusion, dict[str, Any]]:
        model = make_model(CONFIGS[name])
        model.unet.conv_out.weight.mul_(5)  # so that the network matters for the result
        unet = unet_of(model.config.unet, linear=name != "sd1")
        vae = autoencoder_of(model.config.autoencoder)
        unet.register_to_config(sample_size=64)  # the pipelines compare it; 64 is SD's
        copy_weights(model.unet, unet)
        copy_weights(model.autoencoder, vae)
        return model, {"unet": unet, "vae": vae}

    return made


def reference(
    kind: str, model: LatentDiffusion, networks: dict[str, Any], sampler: str, **more: Any
) -> Any:
    name, _, options = SCHEDULERS[sampler]
    config = model.config.schedule
    scheduler = getattr(diffusers, name)(
        num_train_timesteps=config.steps,
        beta_start=config.beta_start,
        beta_end=config.beta_end,
        beta_schedule=config.kind,
        prediction_type={"eps": "epsilon", "v": "v_prediction"}[config.prediction],
        **{"steps_offset": 1, "timestep_spacing": "leading", **options, **more},
    )
    pipeline = getattr(diffusers, kind)(
        **networks,
        scheduler=scheduler,
        text_encoder=None,
        tokenizer=None,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def words(model: LatentDiffusion, prompts: list[str]) -> dict[str, Tensor]:
    negative = model.condition([""] * len(prompts)).context
    return {"prompt_embeds": model.condition(prompts).context, "negative_prompt_embeds": negative}


def generators(seeds: list[int]) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def final(model: LatentDiffusion, prompts: list[str], seeds: list[int], **settings: Any) -> Tensor:
    """Return our last latents, scaled as in a variance-preserving model."""
    settings = {"schedule": "config", "seed": seeds, "steps": STEPS, **settings}
    *_, last = model.sample(prompts, **settings)
    return last.x_next / (1 + last.sigma_next**2) ** 0.5


ONE, THREE = ["a cat"], ["a cat", "the dog", "an owl"]


@pytest.mark.parametrize("sampler", SCHEDULERS)
@pytest.mark.parametrize(
    ("name", "guidance", "size", "prompts"),
    [
        ("sd1", 4.0, (64, 64), ONE),
        ("sd1", 1.0, (40, 72), THREE),
        ("sd2", 4.0, (40, 72), THREE),
        ("sd2", 1.0, (64, 64), ONE),
    ],
)
def test_text_to_image(
    pair: Any, sampler: str, name: str, guidance: float, size: tuple[int, int], prompts: list[str]
) -> None:
    model, networks = pair(name)
    width, height = size
    seeds = [11, 5, 8][: len(prompts)]
    expected = reference("StableDiffusionPipeline", model, networks, sampler)(
        **words(model, prompts),
        width=width,
        height=height,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        generator=generators(seeds),
        output_type="latent",
    ).images
    latents = final(
        model,
        prompts,
        seeds,
        sampler=sampler,
        schedule=SCHEDULERS[sampler][1],
        guidance_scale=guidance,
        width=width,
        height=height,
    )
    assert latents.shape == expected.shape == (len(prompts), 4, height // 8, width // 8)
    assert relative_error(latents, expected) < TOLERANCE


# "lcm" is no spacing of diffusers' but a class of its own: test_runs.py compares it
@pytest.mark.parametrize("spacing", sorted({*get_args(Spacing)} - {"lcm"}))
def test_the_grid_of_the_models_config(pair: Any, spacing: Any) -> None:
    model, networks = pair("sd1")
    schedule = replace(model.config.schedule, spacing=spacing)
    more: dict[str, Any] = {"timestep_spacing": spacing}
    if spacing in ("karras", "exponential", "beta"):
        more = {"timestep_spacing": "linspace", f"use_{spacing}_sigmas": True}
    # diffusers starts these grids at sigma * noise, we at sqrt(1 + sigma^2) * noise
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    own = replace(
        model, config=replace(model.config, schedule=schedule), schedule=noise_schedule(schedule)
    )
    first = float(own.schedule.config(STEPS)[0])
    scale = 1.0 if spacing == "leading" else (1 + first**2) ** 0.5 / first
    expected = reference("StableDiffusionPipeline", model, networks, "euler", **more)(
        **words(model, ONE),
        latents=noise * scale,
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        output_type="latent",
    ).images
    latents = final(own, ONE, [1], sampler="euler", latents=noise, guidance_scale=4.0)
    assert relative_error(latents, expected) < TOLERANCE


def test_ddim_with_eta(pair: Any) -> None:
    model, networks = pair("sd1")
    expected = reference("StableDiffusionPipeline", model, networks, "ddim")(
        **words(model, THREE),
        width=64,
        height=64,
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        eta=0.7,
        generator=generators([1, 2, 3]),
        output_type="latent",
    ).images
    latents = final(
        model, THREE, [1, 2, 3], sampler="ddim", schedule="ddim", guidance_scale=4.0, eta=0.7
    )
    assert relative_error(latents, expected) < TOLERANCE


@pytest.mark.parametrize("name", ["sd1", "sd2"])
def test_guidance_rescale(pair: Any, name: str) -> None:
    model, networks = pair(name)
    expected = reference("StableDiffusionPipeline", model, networks, "euler")(
        **words(model, ONE),
        width=64,
        height=64,
        num_inference_steps=STEPS,
        guidance_scale=6.0,
        guidance_rescale=0.7,
        generator=generators([1]),
        output_type="latent",
    ).images
    latents = final(model, ONE, [1], sampler="euler", guidance_scale=6.0, guidance_rescale=0.7)
    assert relative_error(latents, expected) < TOLERANCE


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 1.5])
def test_every_guidance_scale(pair: Any, scale: float) -> None:
    """Up to 1, diffusers does not guide: the prompt alone makes the image."""
    model, networks = pair("sd1")
    expected = reference("StableDiffusionPipeline", model, networks, "euler")(
        **words(model, ONE),
        width=64,
        height=64,
        num_inference_steps=STEPS,
        guidance_scale=scale,
        generator=generators([1]),
        output_type="latent",
    ).images
    latents = final(model, ONE, [1], sampler="euler", guidance_scale=scale)
    assert relative_error(latents, expected) < TOLERANCE


def test_given_starting_latents(pair: Any) -> None:
    model, networks = pair("sd1")
    start = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    expected = reference("StableDiffusionPipeline", model, networks, "euler")(
        **words(model, ONE),
        width=64,
        height=64,
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        latents=start,
        output_type="latent",
    ).images
    latents = final(model, ONE, [0], sampler="euler", guidance_scale=4.0, latents=start)
    assert relative_error(latents, expected) < TOLERANCE


def test_the_picture_of_a_run(pair: Any) -> None:
    model, networks = pair("sd1")
    expected = reference("StableDiffusionPipeline", model, networks, "euler")(
        **words(model, ONE),
        width=64,
        height=48,
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        generator=generators([1]),
    ).images[0]
    trace = model.generate(
        ONE,
        seed=1,
        steps=STEPS,
        sampler="euler",
        schedule="config",
        guidance_scale=4.0,
        width=64,
        height=48,
    )
    difference = np.asarray(trace.image, int) - np.asarray(expected, int)
    assert np.abs(difference).max() <= 1


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    levels = np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    return Image.fromarray(levels).resize((64, 40), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def mask() -> Image.Image:
    """Return a mask of whole latent cells, for which diffusers' rule and ours agree."""
    mask = Image.new("L", (64, 40))
    mask.paste(255, (16, 8, 48, 32))
    return mask


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("sampler", SCHEDULERS)
@pytest.mark.parametrize("name", ["sd1", "sd2"])
def test_image_to_image(
    pair: Any, picture: Image.Image, name: str, sampler: str, strength: float
) -> None:
    if sampler == "lms" and strength < 1:
        pytest.skip("diffusers weighs slopes as if it had made the steps that it skips")
    model, networks = pair(name)
    expected = reference("StableDiffusionImg2ImgPipeline", model, networks, sampler)(
        **words(model, ONE),
        image=picture,
        strength=strength,
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        generator=generators([7]),
        output_type="latent",
    ).images
    latents = final(
        model,
        ONE,
        [7],
        image=picture,
        strength=strength,
        sampler=sampler,
        schedule=SCHEDULERS[sampler][1],
        guidance_scale=4.0,
        width=64,
        height=40,
    )
    assert relative_error(latents, expected) < TOLERANCE


# diffusers draws once more from the generator before the first step of an inpainting run, so only
# samplers that add no noise can be compared. In the middle of a step of dpm2 it mixes in latents of
# another noise level, and lms is weighed as if it had made the steps before.
@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("sampler", ["ddim", "euler", "heun", "dpmpp_2m", "unipc"])
@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_inpainting(
    pair: Any,
    picture: Image.Image,
    mask: Image.Image,
    sampler: str,
    strength: float,
    guidance: float,
) -> None:
    model, networks = pair("sd1")
    expected = reference("StableDiffusionInpaintPipeline", model, networks, sampler)(
        **words(model, ONE),
        image=picture,
        mask_image=mask,
        width=64,
        height=40,
        strength=strength,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        generator=generators([7]),
        output_type="latent",
    ).images
    latents = final(
        model,
        ONE,
        [7],
        image=picture,
        mask=mask,
        strength=strength,
        sampler=sampler,
        schedule=SCHEDULERS[sampler][1],
        guidance_scale=guidance,
        width=64,
        height=40,
    )
    inside = (slice(None), slice(None), slice(1, 4), slice(2, 6))
    assert relative_error(latents[inside], expected[inside]) < TOLERANCE
    if sampler != "ddim":  # ddim ends with a little noise, also outside the mask
        assert relative_error(latents, expected) < TOLERANCE
