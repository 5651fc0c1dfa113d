"""Whole runs of every family against diffusers' pipelines: same weights (random), same noise.

The models have few channels, and the published topologies and widths of context and vector. Latents
agree to 1e-3 of their scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from references import relative_error, scheduler_of
from small_families import picture
from whole_runs import (
    ONE,
    SIZES,
    STEPS,
    THREE,
    TOLERANCE,
    Parts,
    enlarging,
    final,
    generators,
    mask,
    masked_latents,
    pairs,
    pipeline_of,
    sized,
    theirs,
    words,
)

from sdwidgets.configs import ModelConfig
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.refining import steps_before

pytestmark = pytest.mark.parity
diffusers = pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def pair(
    make_model: Callable[[ModelConfig], LatentDiffusion],
) -> Callable[[str], tuple[LatentDiffusion, Parts]]:
    """Return our small model of a family, and diffusers' networks with its weights."""
    return pairs(make_model)


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
    schedule = model.config.schedule
    # only diffusers' scheduler for such models makes their grid, which others take as a list
    pipeline.scheduler = scheduler_of(schedule, "euler", timestep_spacing="leading")
    grid = scheduler_of(schedule, "lcm", timestep_spacing="leading")
    grid.set_timesteps(STEPS)
    expected = theirs(
        pipeline, model, prompts, steps=None, timesteps=grid.timesteps.tolist(), **settings
    )
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


@pytest.mark.parametrize("steps", [None, 1, 7])
def test_a_latent_consistency_model_by_its_own_defaults(pair: Any, steps: int | None) -> None:
    model, parts = pair("LCM")
    pipeline = pipeline_of("LatentConsistencyModelPipeline", model, parts)
    pipeline.scheduler = diffusers.LCMScheduler()
    expected = pipeline(
        **words(model, ONE), guidance_scale=8.5, num_inference_steps=steps or 4,
        generator=torch.Generator().manual_seed(5), output_type="latent", **sized((64, 64)),
    ).images  # fmt: skip
    *_, last = model.sample("a cat", steps=steps, seed=5, **sized((64, 64)))
    assert relative_error(last.x_next, expected) < TOLERANCE


# -- inpainting -------------------------------------------------------------------------------


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
        masked_image_latents=masked_latents(model, parts, picture(*size), mask(*size), count),
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


# -- two passes, two models -------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize(("size", "prompts"), SIZES)
def test_a_refiner_goes_on(
    pair: Any, size: tuple[int, int], prompts: list[str], guidance: float, sampler: str
) -> None:
    model, parts = pair("SDXL")
    refiner, refining = pair("SDXL_REFINER")
    settings = {"guidance_scale": guidance}
    base = pipeline_of("StableDiffusionXLPipeline", model, parts, sampler)
    left = theirs(base, model, prompts, steps=7, denoising_end=0.6, **sized(size), **settings)
    image_to_image = pipeline_of(
        "StableDiffusionXLImg2ImgPipeline",
        refiner,
        refining,
        sampler,
        requires_aesthetics_score=True,
    )
    expected = theirs(
        image_to_image, refiner, prompts, steps=7, denoising_start=0.6, image=left, **settings
    )
    ours = {
        **settings, **sized(size), "steps": 7, "refiner": refiner, "sampler": sampler,
        "schedule": "config" if sampler == "euler" else "dpmsolver",
    }  # fmt: skip
    latents = final(model, prompts, refiner_start=0.6, **ours)
    assert relative_error(latents, expected) < TOLERANCE
    # and so do two runs, each with its part of the steps
    parts_of_it = {**ours, "seed": 7, "batch_size": len(prompts)}
    run = model.sample(prompts, refiner_start=0.6, **parts_of_it)
    count = steps_before(model.schedule, run.levels, 0.6)
    del parts_of_it["refiner"], ours["refiner"]
    run = model.sample(prompts, end_step=count, **parts_of_it)
    list(run)
    rest = final(refiner, prompts, start_step=count, latents=run.latents_left, **ours)
    assert relative_error(rest, expected) < TOLERANCE
    ours["refiner"] = refiner
    other = final(model, prompts, refiner_start=0.3, **ours)
    assert relative_error(other, expected) > 10 * TOLERANCE


@pytest.mark.parametrize("name", ["SD1", "zero snr", "SDXL"])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize(("size", "prompts"), SIZES)
def test_a_second_pass(
    pair: Any, name: str, size: tuple[int, int], prompts: list[str], guidance: float
) -> None:
    model, parts = pair(name)
    xl = "XL" if model.config.vector_width else ""
    settings = {"guidance_scale": guidance}
    first = theirs(
        pipeline_of(f"StableDiffusion{xl}Pipeline", model, parts),
        model, prompts, steps=5, **sized(size), **settings,
    )  # fmt: skip
    width, height = (round(side * 1.5 / 8) for side in size)
    larger = torch.nn.functional.interpolate(
        first, size=(height, width), mode="bicubic", antialias=True
    )
    expected = theirs(
        pipeline_of(f"StableDiffusion{xl}Img2ImgPipeline", model, parts),
        model, prompts, steps=5, image=larger, strength=0.6, **settings,
    )  # fmt: skip
    latents = final(model, prompts, steps=5, hires=1.5, **sized(size), **settings)
    assert latents.shape == expected.shape == (len(prompts), 4, height, width)
    assert relative_error(latents, expected) < TOLERANCE
