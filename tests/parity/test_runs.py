"""Whole runs of every family against diffusers' pipelines: same weights (random), same noise.

The models have few channels, and the published topologies and widths of context and vector. Latents
agree to 1e-3 of their scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from references import autoencoder_of, copy_weights, relative_error, scheduler_of, unet_of
from small_families import FAMILIES, picture
from torch import Tensor

from sdwidgets.configs import ImageConfig, ModelConfig
from sdwidgets.models.conditioning import Given
from sdwidgets.pipeline import LatentDiffusion

pytestmark = pytest.mark.parity
diffusers = pytest.importorskip("diffusers")

STEPS = 3
TOLERANCE = 1e-3  # of the latents' scale
ONE, THREE = ["a cat"], ["a cat", "the dog", "an owl"]
SIZES = [((64, 64), ONE), ((72, 40), THREE)]

Parts = dict[str, Any]


def _zero_snr(config: ModelConfig) -> ModelConfig:
    """Return the config of a fine-tuned model that predicts v from pure noise on."""
    schedule = replace(config.schedule, prediction="v", zero_snr=True, spacing="trailing")
    return replace(config, schedule=schedule)


def _edits(config: ModelConfig) -> ModelConfig:
    """Return the config of a model fine-tuned to edit images."""
    told = (*config.embedders, ImageConfig())
    return replace(config, embedders=told, unet=replace(config.unet, in_channels=8))


MODELS = {
    **FAMILIES,
    "edits xl": _edits(FAMILIES["SDXL"]),
    "zero snr": _zero_snr(FAMILIES["SD1"]),
    "zero snr xl": _zero_snr(FAMILIES["SDXL"]),
}


@pytest.fixture(scope="module")
def pair(
    make_model: Callable[[ModelConfig], LatentDiffusion],
) -> Callable[[str], tuple[LatentDiffusion, Parts]]:
    """Return our small model of a family, and diffusers' networks with its weights."""

    @cache
    def made(name: str) -> tuple[LatentDiffusion, Parts]:
        model = make_model(MODELS[name])
        unet = model.unet
        unet.conv_out.weight.mul_(5)  # so that the network matters for the result
        unet.time_embedding.linear_2.weight.mul_(3)  # and so does what is told beside the words
        if unet.add_embedding is not None:
            unet.add_embedding.linear_2.weight.mul_(3)
        theirs = unet_of(unet.config, linear=unet.config.context_dim != 768)
        vae = autoencoder_of(model.config.autoencoder)
        theirs.register_to_config(sample_size=64)  # the pipelines compare it; 64 is SD's
        copy_weights(unet, theirs)
        copy_weights(model.autoencoder, vae)
        return model, {"unet": theirs, "vae": vae}

    return made


def pipeline_of(
    kind: str, model: LatentDiffusion, parts: Parts, sampler: str = "euler", **more: Any
) -> Any:
    """Return diffusers' pipeline of that class; it is given the words' states."""
    is_xl = "XL" in kind
    empty = ["text_encoder", "tokenizer"]
    empty += ["text_encoder_2", "tokenizer_2"] if is_xl else ["safety_checker", "feature_extractor"]
    if not (is_xl or "Depth" in kind or "Upscale" in kind):
        more["requires_safety_checker"] = False
    if is_xl:
        more["add_watermarker"] = False
    if "Depth" in kind:
        empty.remove("safety_checker")
    scheduler = scheduler_of(model.config.schedule, sampler)
    parts = {**parts, "scheduler": scheduler, **dict.fromkeys(empty), **more}
    pipeline = getattr(diffusers, kind)(**parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def words(model: LatentDiffusion, prompts: list[str]) -> dict[str, Tensor]:
    """Return what diffusers' pipelines take in place of the prompts, and of no negative prompt."""
    size = (64, 64)
    told = model.condition([Given(prompt, size) for prompt in prompts])
    away = model.condition([Given(None, size)] * len(prompts))
    found = {"prompt_embeds": told.context, "negative_prompt_embeds": away.context}
    if model.config.vector_width:
        pooled = model.config.text[-1].projection_dim
        found["pooled_prompt_embeds"] = told.vector[:, :pooled]
        found["negative_pooled_prompt_embeds"] = away.vector[:, :pooled]
    return found


def generators(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(7, 7 + count)]


def final(model: LatentDiffusion, prompts: list[str], **settings: Any) -> Tensor:
    """Return our last latents, scaled as in a variance-preserving model."""
    settings = {
        "schedule": "config", "seed": 7, "steps": STEPS, "sampler": "euler",
        "batch_size": len(prompts), **settings,
    }  # fmt: skip
    *_, last = model.sample(prompts, **settings)
    return last.x_next / (1 + last.sigma_next**2) ** 0.5


def theirs(
    pipeline: Any, model: LatentDiffusion, prompts: list[str], *, steps: int = STEPS, **more: Any
) -> Tensor:
    found: Tensor = pipeline(
        **words(model, prompts),
        num_inference_steps=steps,
        generator=generators(len(prompts)),
        output_type="latent",
        **more,
    ).images
    return found


def mask(width: int, height: int) -> Image.Image:
    """Return a mask whose edges are not on the latents' cells."""
    white = Image.new("L", (width, height))
    white.paste(255, (13, 6, width - 19, height - 9))
    return white


def sized(size: tuple[int, int]) -> dict[str, int]:
    return {"width": size[0], "height": size[1]}


# -- text to image ----------------------------------------------------------------------------

TEXT_TO_IMAGE = [
    "SD1", "BK_SDM_BASE", "BK_SDM_SMALL", "BK_SDM_TINY", "SD2_BASE", "SD2", "SD_TURBO", "SDXL",
    "SSD_1B", "VEGA", "KOALA_700M", "KOALA_1B", "zero snr", "zero snr xl",
]  # fmt: skip


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize(("size", "prompts"), SIZES)
@pytest.mark.parametrize("name", TEXT_TO_IMAGE)
def test_text_to_image(
    pair: Any, name: str, size: tuple[int, int], prompts: list[str], guidance: float
) -> None:
    model, parts = pair(name)
    kind = "StableDiffusionXLPipeline" if model.config.vector_width else "StableDiffusionPipeline"
    settings = {**sized(size), "guidance_scale": guidance}
    expected = theirs(pipeline_of(kind, model, parts), model, prompts, **settings)
    latents = final(model, prompts, **settings)
    assert latents.shape == expected.shape == (len(prompts), 4, size[1] // 8, size[0] // 8)
    assert relative_error(latents, expected) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "sampler", "schedule"),
    [
        ("SD2", "ddim", "ddim"),
        ("SD2", "heun", "config"),
        ("SD2", "dpmpp_2m", "dpmsolver"),
        ("zero snr", "ddim", "config"),
        ("zero snr", "dpmpp_2m", "config"),
    ],
)
def test_v_with_other_samplers(pair: Any, name: str, sampler: str, schedule: str) -> None:
    model, parts = pair(name)
    settings = {"guidance_scale": 5.0, "guidance_rescale": 0.7, **sized((64, 64))}
    pipeline = pipeline_of("StableDiffusionPipeline", model, parts, sampler)
    if (sampler, schedule) == ("ddim", "config"):  # which ends at 0
        pipeline.scheduler = scheduler_of(model.config.schedule, sampler, set_alpha_to_one=True)
    # of diffusers' samplers, DDIM's next step is only the grid's where 1000 can be divided
    expected = theirs(pipeline, model, ONE, steps=4, **settings)
    latents = final(model, ONE, steps=4, sampler=sampler, schedule=schedule, **settings)
    assert relative_error(latents, expected) < TOLERANCE


@pytest.mark.parametrize("scale", [1.0, 4.0, 8.5])
@pytest.mark.parametrize(("size", "prompts"), SIZES)
def test_a_network_that_is_told_the_guidance_scale(
    pair: Any, size: tuple[int, int], prompts: list[str], scale: float
) -> None:
    model, parts = pair("LCM")
    settings = {**sized(size), "guidance_scale": scale}
    pipeline = pipeline_of("StableDiffusionPipeline", model, parts)
    expected = theirs(pipeline, model, prompts, **settings)
    latents = final(model, prompts, **settings)
    assert relative_error(latents, expected) < TOLERANCE
    other = final(model, prompts, **{**settings, "guidance_scale": 2.0})
    assert relative_error(other, expected) > 10 * TOLERANCE


@pytest.mark.parametrize("name", ["SD_TURBO", "SDXL"])
def test_a_distilled_model_in_a_single_step_from_the_noisiest_level(pair: Any, name: str) -> None:
    model, parts = pair(name)
    model = replace(model, config=replace(model.config, guidance_scale=1.0))
    kind = "StableDiffusionXLPipeline" if model.config.vector_width else "StableDiffusionPipeline"
    pipeline = pipeline_of(kind, model, parts)
    pipeline.scheduler = scheduler_of(model.config.schedule, "euler", timestep_spacing="trailing")
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    first = float(model.schedule.sigmas[-1])
    # diffusers starts this grid at sigma * noise, we at sqrt(1 + sigma^2) * noise
    expected = pipeline(
        **words(model, ONE), latents=noise * (1 + first**2) ** 0.5 / first, num_inference_steps=1,
        guidance_scale=0.0, output_type="latent", **sized((64, 64)),
    ).images  # fmt: skip
    *_, last = model.sample("a cat", steps=1, sampler="euler", latents=noise, **sized((64, 64)))
    assert relative_error(last.x_next, expected) < TOLERANCE


# -- inpainting -------------------------------------------------------------------------------


def masked_latents(model: LatentDiffusion, parts: Parts, size: tuple[int, int]) -> Tensor:
    """Return diffusers' latents of the masked image, without the noise that its pipelines add."""
    pixels = torch.from_numpy(np.array(picture(*size), np.float32)).permute(2, 0, 1)[None]
    kept = torch.from_numpy(np.array(mask(*size)) < 128)[None, None]
    with torch.no_grad():
        mode = parts["vae"].encode((pixels / 127.5 - 1) * kept).latent_dist.mode()
    return mode * model.config.autoencoder.scaling_factor


@pytest.mark.parametrize("strength", [0.7, 1.0])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize(("size", "prompts"), SIZES)
@pytest.mark.parametrize("name", ["SD1_INPAINTING", "SD2_INPAINTING", "SDXL_INPAINTING"])
def test_a_network_that_sees_the_mask(
    pair: Any,
    name: str,
    size: tuple[int, int],
    prompts: list[str],
    guidance: float,
    strength: float,
) -> None:
    model, parts = pair(name)
    is_xl = bool(model.config.vector_width)
    kind = "StableDiffusionXLInpaintPipeline" if is_xl else "StableDiffusionInpaintPipeline"
    settings = {**sized(size), "guidance_scale": guidance, "strength": strength}
    count = len(prompts)
    expected = theirs(
        pipeline_of(kind, model, parts),
        model,
        prompts,
        image=[picture(*size)] * count,
        mask_image=[mask(*size)] * count,
        masked_image_latents=masked_latents(model, parts, size).expand(count, -1, -1, -1),
        **settings,
    )
    given = {"image": picture(*size), "mask": mask(*size)}
    latents = final(model, prompts, **given, **settings)
    assert relative_error(latents, expected) < TOLERANCE
    given["mask"] = Image.new("L", size, 255)
    assert relative_error(final(model, prompts, **given, **settings), expected) > 10 * TOLERANCE


# -- editing, depth, enlarging, refining ------------------------------------------------------


@pytest.mark.parametrize("image_guidance", [1.0, 1.5, 4.0])
@pytest.mark.parametrize("guidance", [1.0, 7.0])
@pytest.mark.parametrize(("size", "prompts"), SIZES)
def test_editing_an_image(
    pair: Any, size: tuple[int, int], prompts: list[str], guidance: float, image_guidance: float
) -> None:
    model, parts = pair("INSTRUCT_PIX2PIX")
    settings = {"guidance_scale": guidance, "image_guidance_scale": image_guidance}
    pipeline = pipeline_of("StableDiffusionInstructPix2PixPipeline", model, parts)
    image = picture(*size)
    expected = theirs(pipeline, model, prompts, image=[image] * len(prompts), **settings)
    latents = final(model, prompts, image=image, **sized(size), **settings)
    assert relative_error(latents, expected) < TOLERANCE
    other = image.transpose(Image.Transpose.ROTATE_180)
    latents = final(model, prompts, image=other, **sized(size), **settings)
    assert relative_error(latents, expected) > 10 * TOLERANCE


@pytest.mark.parametrize("guidance", [1.0, 7.0])
def test_editing_an_image_with_xl(pair: Any, guidance: float) -> None:
    model, parts = pair("edits xl")
    pipeline = pipeline_of("StableDiffusionXLInstructPix2PixPipeline", model, parts)
    settings = {"guidance_scale": guidance, "image_guidance_scale": 2.0, **sized((72, 40))}
    expected = theirs(pipeline, model, ONE, image=[picture(72, 40)], **settings)
    latents = final(model, ONE, image=picture(72, 40), **settings)
    assert relative_error(latents, expected) < TOLERANCE


@pytest.mark.parametrize("strength", [0.7, 1.0])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize(("size", "prompts"), SIZES)
def test_depth(
    pair: Any, size: tuple[int, int], prompts: list[str], guidance: float, strength: float
) -> None:
    model, parts = pair("SD2_DEPTH")
    settings = {"guidance_scale": guidance, "strength": strength}
    depth = np.random.default_rng(1).uniform(200, 900, (size[1], size[0])).astype(np.float32)
    pipeline = pipeline_of("StableDiffusionDepth2ImgPipeline", model, parts, depth_estimator=None)
    expected = theirs(
        pipeline, model, prompts,
        image=[picture(*size)] * len(prompts), depth_map=torch.from_numpy(depth)[None], **settings,
    )  # fmt: skip
    given = {"image": picture(*size), "depth": depth, **sized(size)}
    latents = final(model, prompts, **given, **settings)
    assert relative_error(latents, expected) < TOLERANCE
    latents = final(model, prompts, **{**given, "depth": -depth}, **settings)
    assert relative_error(latents, expected) > 10 * TOLERANCE


def enlarging(model: LatentDiffusion, parts: Parts) -> Any:
    small = model.config.embedders[-1]
    low = diffusers.DDPMScheduler(
        beta_start=small.beta_start, beta_end=small.beta_end, beta_schedule="scaled_linear"
    )
    pipeline = pipeline_of(
        "StableDiffusionUpscalePipeline", model, parts, low_res_scheduler=low, watermarker=None
    )
    pipeline.image_processor.register_to_config(do_resize=False)  # to multiples of 4
    return pipeline


@pytest.mark.parametrize("level", [0, 20, 350])
@pytest.mark.parametrize("guidance", [1.0, 9.0])
@pytest.mark.parametrize(("size", "prompts"), [((16, 16), ONE), ((13, 9), THREE)])
def test_enlarging(
    pair: Any, size: tuple[int, int], prompts: list[str], guidance: float, level: int
) -> None:
    model, parts = pair("X4_UPSCALER")
    settings = {"guidance_scale": guidance, "noise_level": level}
    pipeline = enlarging(model, parts)
    image = picture(*size)
    expected = theirs(pipeline, model, prompts, image=[image] * len(prompts), **settings)
    latents = final(model, prompts, image=image, **settings)
    assert latents.shape == (len(prompts), 4, size[1], size[0])
    assert relative_error(latents, expected) < TOLERANCE
    latents = final(model, prompts, image=image, **{**settings, "noise_level": 100})
    assert relative_error(latents, expected) > 10 * TOLERANCE


@pytest.mark.parametrize("scores", [{}, {"aesthetic_score": 9.0, "negative_aesthetic_score": 1.0}])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize(("size", "prompts"), SIZES)
def test_refining(
    pair: Any,
    size: tuple[int, int],
    prompts: list[str],
    guidance: float,
    scores: dict[str, float],
) -> None:
    model, parts = pair("SDXL_REFINER")
    settings = {"guidance_scale": guidance, "strength": 0.7, **scores}
    pipeline = pipeline_of(
        "StableDiffusionXLImg2ImgPipeline", model, parts, requires_aesthetics_score=True
    )
    image = [picture(*size)] * len(prompts)
    expected = theirs(pipeline, model, prompts, image=image, **settings)
    latents = final(model, prompts, image=image[0], **sized(size), **settings)
    assert relative_error(latents, expected) < TOLERANCE
    other = final(
        model, prompts, image=image[0], **sized(size), **{**settings, "aesthetic_score": 2.0}
    )
    assert relative_error(other, expected) > 10 * TOLERANCE


def test_the_image_of_an_enlarged_run(pair: Any) -> None:
    model, parts = pair("X4_UPSCALER")
    pipeline = enlarging(model, parts)
    settings = {"num_inference_steps": STEPS, "guidance_scale": 4.0}
    expected = pipeline(
        **words(model, ONE), image=picture(13, 9), generator=generators(1), **settings
    ).images[0]
    trace = model.generate(
        "a cat", image=picture(13, 9), seed=7, steps=STEPS, sampler="euler", schedule="config",
        guidance_scale=4.0,
    )  # fmt: skip
    assert trace.image.size == expected.size == (52, 36)
    assert np.abs(np.asarray(trace.image, int) - np.asarray(expected, int)).max() <= 1
