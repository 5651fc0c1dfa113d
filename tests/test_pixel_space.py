"""Diffusion without an autoencoder: a model whose latents are the pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from sdwidgets.configs import PIXELS, ModelConfig, UNetConfig
from sdwidgets.pipeline import LatentDiffusion

UNET = UNetConfig(
    (8, 16), (0, 1), (1, 2), 1, context_dim=0, norm_groups=4, in_channels=3, out_channels=3,
    transformers=False,
)  # fmt: skip


@pytest.fixture
def model(make_model: Callable[[ModelConfig], LatentDiffusion]) -> LatentDiffusion:
    return make_model(ModelConfig("pixels", UNET, PIXELS, (), size=16, guidance_scale=1.0))


@pytest.fixture
def image() -> Image.Image:
    levels = np.random.default_rng(0).integers(0, 256, (13, 18, 3), dtype=np.uint8)
    return Image.fromarray(levels)


def test_images_come_back_exactly(model: LatentDiffusion, image: Image.Image) -> None:
    latents = model.encode(image)
    assert latents.shape == (1, 3, 13, 18)
    assert model.decode(latents)[0].tobytes() == image.tobytes()
    preview = np.asarray(model.previews(latents)[0], np.int16)
    assert np.abs(preview - np.asarray(image, np.int16)).max() <= 1


def test_what_the_mask_keeps_is_the_image(model: LatentDiffusion, image: Image.Image) -> None:
    mask = Image.new("L", image.size)
    mask.paste(255, (4, 4, 9, 9))
    made = model.generate(image=image, mask=mask, steps=2, width=18, height=13).images[0]
    difference = np.abs(np.asarray(made, np.int16) - np.asarray(image, np.int16)).max(axis=2)
    assert difference[:, 10:].max() <= 1
    assert difference[5:8, 5:8].max() > 8


def test_sizes_need_no_factor_and_a_second_pass_enlarges(model: LatentDiffusion) -> None:
    assert model.generate(steps=2, width=17, height=9).images[0].size == (17, 9)
    assert model.generate(steps=2, hires=2.0).images[0].size == (32, 32)
