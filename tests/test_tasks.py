"""What a run does follows from what it is given: every task on every family, and options together.

Each combination makes images, or is refused in words before the first step.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_families import FAMILIES, needed, picture

from sdwidgets.configs import ModelConfig
from sdwidgets.errors import InputError
from sdwidgets.pipeline import LatentDiffusion

Families = Callable[[str], LatentDiffusion]

KINDS = (
    "SD1",
    "SD1_INPAINTING",
    "INSTRUCT_PIX2PIX",
    "LCM",
    "SD2_DEPTH",
    "SD_TURBO",
    "X4_UPSCALER",
    "SDXL",
    "SDXL_REFINER",
)
EDITING = {"INSTRUCT_PIX2PIX", "X4_UPSCALER"}  # make all of the image, from noise


def mask(width: int, height: int) -> Image.Image:
    """Return a mask whose left half is repainted."""
    image = Image.new("L", (width, height))
    image.paste(255, (0, 0, width // 2, height))
    return image


TASKS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "text to image": ({}, set()),
    "image to image": ({"image": picture(48, 32), "strength": 0.5}, set()),
    "inpainting": ({"image": picture(48, 32), "mask": mask(48, 32)}, EDITING),
    "outpainting": ({"image": picture(32, 32), "mask": None, "pad": (16, 0, 16, 16)}, EDITING),
    "two passes": ({"hires": 1.5}, set()),
    "a part of the steps": ({"start_step": 0, "end_step": 1}, set()),
    "a variation": ({"variation": (5, 0.3)}, set()),
    "between two prompts": ({"toward": ("a dog", 0.4)}, set()),
    "levels given by hand": ({"sigmas": (3.0, 1.0, 0.0)}, set()),
    "windows": ({"window": 32}, set()),
    "a batch": ({"prompt": ["a cat", "a dog"], "seed": [1, 2]}, set()),
}
"""What is given, and the families that refuse it."""


@pytest.fixture(scope="module")
def families(make_model: Callable[[ModelConfig], LatentDiffusion]) -> Families:
    """Return the small model of a family by its name."""

    @cache
    def made(name: str) -> LatentDiffusion:
        return make_model(FAMILIES[name])

    return made


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_family_does_a_task_or_says_why_not(kind: str, task: str, families: Families) -> None:
    given, refusing = TASKS[task]
    model = families(kind)
    size = (48, 32)
    arguments = {"prompt": "a cat", "seed": 1, **needed(model.config, *size), **given}
    if "sigmas" not in given:
        arguments["steps"] = 2
    if "pad" not in given and kind != "X4_UPSCALER":
        arguments |= {"width": size[0], "height": size[1]}
    if kind in refusing:
        with pytest.raises(InputError) as caught:
            model.sample(**arguments)
        assert len(str(caught.value).splitlines()) <= 3
        assert caught.value.parameter in given
        return
    trace = model.generate(**arguments)
    assert trace.complete and len(trace.images) == trace.settings.batch_size
    assert {image.size for image in trace.images} == {trace.settings.final_size}


TOGETHER: dict[str, Any] = {
    "image": picture(16, 16),
    "mask": mask(16, 16),
    "pad": 4,
    "strength": 0.5,
    "hires": 1.5,
    "hires_method": "pixels",
    "window": 8,
    "start_step": 1,
    "end_step": 2,
    "latents": np.zeros((1, 4, 8, 8), np.float32),
    "variation": (5, 0.3),
    "toward": ("a dog", 0.4),
    "sigmas": (3.0, 2.0, 1.0, 0.0),
    "sampler": "dpmpp_sde",
    "schedule": "beta",
    "batch_size": 2,
    "attention": True,
}
"""Settings that meet in a run; each by itself is possible with an image."""


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_is_given_together_makes_images_or_is_refused(
    count: int, tiny_model: LatentDiffusion
) -> None:
    made = refused = 0
    every = list(itertools.combinations(TOGETHER, count))
    for names in random.Random(0).sample(every, min(len(every), 60)):
        given = {name: TOGETHER[name] for name in names}
        try:
            trace = tiny_model.generate("a cat", seed=1, **{"steps": 3, **given})
        except InputError as error:
            assert len(str(error).splitlines()) <= 3, names
            assert error.parameter is not None, names
            refused += 1
            continue
        assert trace.complete, names
        assert {image.size for image in trace.images} == {trace.settings.final_size}, names
        made += 1
    assert made > refused / 2
