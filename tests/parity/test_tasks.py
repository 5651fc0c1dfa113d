"""Every task with samplers of a second order and with fresh noise, against diffusers' pipelines.

`test_runs` has every family and every setting with Euler's method.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from references import relative_error
from small_families import picture
from whole_runs import (
    ONE,
    THREE,
    TOLERANCE,
    Parts,
    enlarging,
    final,
    mask,
    masked_latents,
    pairs,
    pipeline_of,
    sized,
    theirs,
)

import sdwidgets.run
from sdwidgets.configs import ModelConfig
from sdwidgets.pipeline import LatentDiffusion

pytestmark = pytest.mark.parity
pytest.importorskip("diffusers")

STEPS = 5
SAMPLERS = {"dpmpp_2m": "dpmsolver", "euler_ancestral": "config"}
"""Samplers, and the grid that diffusers' scheduler of the sampler makes with "leading" spacing."""

RUNS = [((72, 40), THREE, 5.0), ((64, 64), ONE, 1.0)]
XL = ((72, 40), ONE, 5.0)  # its networks take longer


def runs(*names: str) -> list[tuple[str, tuple[int, int], list[str], float]]:
    """Return families with sizes, prompts and guidance scales."""
    return [(name, *run) for name in names for run in ([XL] if "XL" in name else RUNS)]


@pytest.fixture(scope="module")
def pair(
    make_model: Callable[[ModelConfig], LatentDiffusion],
) -> Callable[[str], tuple[LatentDiffusion, Parts]]:
    """Return our small model of a family, and diffusers' networks with its weights."""
    return pairs(make_model)


def compare(
    pair: Any, name: str, kind: str, sampler: str, prompts: list[str], given: dict[str, Any],
    told: dict[str, Any], **settings: Any,
) -> None:  # fmt: skip
    """Run ours with what is ``given``, and diffusers' pipeline with what that is ``told``."""
    model, parts = pair(name)
    pipeline = pipeline_of(kind, model, parts, sampler)
    expected = theirs(pipeline, model, prompts, steps=STEPS, **told, **settings)
    is_leading = model.config.schedule.spacing == "leading"
    schedule = SAMPLERS[sampler] if is_leading else "config"
    ours = {"steps": STEPS, "sampler": sampler, "schedule": schedule}
    latents = final(model, prompts, **given, **settings, **ours)
    assert latents.shape == expected.shape
    assert relative_error(latents, expected) < TOLERANCE


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    ("name", "size", "prompts", "guidance"), runs("SD1", "SD2", "SDXL", "zero snr")
)
def test_image_to_image(
    pair: Any, name: str, size: tuple[int, int], prompts: list[str], guidance: float, sampler: str
) -> None:
    kind = f"StableDiffusion{'XL' * (name == 'SDXL')}Img2ImgPipeline"
    settings = {"guidance_scale": guidance, "strength": 0.6}
    told = {"image": [picture(*size)] * len(prompts)}
    given = {"image": picture(*size), **sized(size)}
    compare(pair, name, kind, sampler, prompts, given, told, **settings)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("strength", [0.6, 1.0])
@pytest.mark.parametrize(("name", "size", "prompts", "guidance"), runs("SD1", "SD2", "SDXL"))
def test_inpainting_by_blending(
    pair: Any, name: str, size: tuple[int, int], prompts: list[str], guidance: float,
    strength: float, sampler: str,
) -> None:  # fmt: skip
    model, parts = pair(name)
    kind = f"StableDiffusion{'XL' * (name == 'SDXL')}InpaintPipeline"
    area = mask(*size)
    area.paste(0, (0, 0, *size))
    area.paste(255, (16, 8, 48, 32))  # whole cells, for which diffusers' rule and ours agree
    told = {
        "image": [picture(*size)] * len(prompts),
        "mask_image": [area] * len(prompts),
        # given, so that no noise is drawn for them
        "masked_image_latents": masked_latents(
            model, parts, picture(*size), mask(*size), len(prompts)
        ),
    }
    given = {"image": picture(*size), "mask": area}
    settings = {"guidance_scale": guidance, "strength": strength, **sized(size)}
    compare(pair, name, kind, sampler, prompts, given, told, **settings)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    ("name", "size", "prompts", "guidance"),
    runs("SD1_INPAINTING", "SD2_INPAINTING", "SDXL_INPAINTING"),
)
def test_inpainting_by_a_network_that_sees_the_mask(
    pair: Any, name: str, size: tuple[int, int], prompts: list[str], guidance: float, sampler: str
) -> None:
    model, parts = pair(name)
    kind = f"StableDiffusion{'XL' * ('XL' in name)}InpaintPipeline"
    told = {
        "image": [picture(*size)] * len(prompts),
        "mask_image": [mask(*size)] * len(prompts),
        "masked_image_latents": masked_latents(
            model, parts, picture(*size), mask(*size), len(prompts)
        ),
    }
    given = {"image": picture(*size), "mask": mask(*size)}
    settings = {"guidance_scale": guidance, "strength": 0.6, **sized(size)}
    compare(pair, name, kind, sampler, prompts, given, told, **settings)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("strength", [0.6, 1.0])
@pytest.mark.parametrize(
    ("name", "prompts", "guidance"), [("SD1", THREE, 5.0), ("SD1_INPAINTING", ONE, 5.0)]
)
def test_outpainting(
    pair: Any, monkeypatch: pytest.MonkeyPatch, name: str, prompts: list[str], guidance: float,
    strength: float, sampler: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(sdwidgets.run, "OVERLAP", 0)  # a seam, which diffusers does not have
    model, parts = pair(name)
    width, height, pad = 48, 24, (8, 0, 16, 16)  # whole cells
    image = picture(width, height)
    # each new pixel is the nearest of the image
    rows = np.arange(-pad[1], height + pad[3]).clip(0, height - 1)
    columns = np.arange(-pad[0], width + pad[2]).clip(0, width - 1)
    canvas = Image.fromarray(np.asarray(image)[rows[:, None], columns])
    area = Image.new("L", canvas.size, 255)
    area.paste(0, (pad[0], pad[1], pad[0] + width, pad[1] + height))
    count = len(prompts)
    told = {
        "image": [canvas] * count,
        "mask_image": [area] * count,
        "masked_image_latents": masked_latents(model, parts, canvas, area, count),
        **sized(canvas.size),
    }
    settings = {"guidance_scale": guidance, "strength": strength}
    given = {"image": image, "pad": pad}
    kind = "StableDiffusionInpaintPipeline"
    compare(pair, name, kind, sampler, prompts, given, told, **settings)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(("size", "prompts", "guidance"), RUNS)
def test_editing(
    pair: Any, size: tuple[int, int], prompts: list[str], guidance: float, sampler: str
) -> None:
    told = {"image": [picture(*size)] * len(prompts)}
    given = {"image": picture(*size), **sized(size)}
    settings = {"guidance_scale": guidance, "image_guidance_scale": 1.5}
    kind = "StableDiffusionInstructPix2PixPipeline"
    compare(pair, "INSTRUCT_PIX2PIX", kind, sampler, prompts, given, told, **settings)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(("size", "prompts", "guidance"), RUNS)
def test_depth(
    pair: Any, size: tuple[int, int], prompts: list[str], guidance: float, sampler: str
) -> None:
    model, parts = pair("SD2_DEPTH")
    kind = "StableDiffusionDepth2ImgPipeline"
    depth = np.random.default_rng(1).uniform(200, 900, (size[1], size[0])).astype(np.float32)
    settings = {"guidance_scale": guidance, "strength": 0.6}
    pipeline = pipeline_of(kind, model, parts, sampler, depth_estimator=None)
    expected = theirs(
        pipeline, model, prompts, steps=STEPS, image=[picture(*size)] * len(prompts),
        depth_map=torch.from_numpy(depth)[None], **settings,
    )  # fmt: skip
    latents = final(
        model, prompts, image=picture(*size), depth=depth, steps=STEPS, sampler=sampler,
        schedule=SAMPLERS[sampler], **sized(size), **settings,
    )  # fmt: skip
    assert relative_error(latents, expected) < TOLERANCE


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    ("size", "prompts", "guidance"), [((13, 9), THREE, 9.0), ((16, 16), ONE, 1.0)]
)
def test_enlarging(
    pair: Any, size: tuple[int, int], prompts: list[str], guidance: float, sampler: str
) -> None:
    model, parts = pair("X4_UPSCALER")
    settings = {"guidance_scale": guidance, "noise_level": 20}
    image = picture(*size)
    expected = theirs(
        enlarging(model, parts, sampler), model, prompts, steps=STEPS,
        image=[image] * len(prompts), **settings,
    )  # fmt: skip
    latents = final(
        model, prompts, image=image, steps=STEPS, sampler=sampler, schedule=SAMPLERS[sampler],
        **settings,
    )  # fmt: skip
    assert relative_error(latents, expected) < TOLERANCE


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(("size", "prompts", "guidance"), RUNS)
def test_refining(
    pair: Any, size: tuple[int, int], prompts: list[str], guidance: float, sampler: str
) -> None:
    model, parts = pair("SDXL_REFINER")
    settings = {"guidance_scale": guidance, "strength": 0.6}
    pipeline = pipeline_of(
        "StableDiffusionXLImg2ImgPipeline", model, parts, sampler, requires_aesthetics_score=True
    )
    image = [picture(*size)] * len(prompts)
    expected = theirs(pipeline, model, prompts, steps=STEPS, image=image, **settings)
    latents = final(
        model, prompts, image=image[0], steps=STEPS, sampler=sampler,
        schedule=SAMPLERS[sampler], **sized(size), **settings,
    )  # fmt: skip
    assert relative_error(latents, expected) < TOLERANCE
