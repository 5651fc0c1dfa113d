"""Whole systems of latent diffusion, from what a user gives to latents and images, against what its
own code returned; see tests/golden/README.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import compvis
import numpy as np
import pytest
import torch
from compvis import values
from PIL import Image
from references import relative_error
from safetensors.torch import load_file
from torch import Tensor

from sdwidgets.checkpoints.names import compvis_autoencoder_names
from sdwidgets.configs import (
    AutoencoderConfig,
    ClassConfig,
    EmbedderConfig,
    LabelMapConfig,
    LowResolutionConfig,
    MaskedImageConfig,
    ModelConfig,
    ScheduleConfig,
    UNetConfig,
)
from sdwidgets.pipeline import LatentDiffusion

PLAIN = UNetConfig(
    (32, 64), (0, 1), (1, 2), 1, context_dim=0, in_channels=3, out_channels=3, transformers=False
)
VQ = AutoencoderConfig((32, 64), 1, latent_channels=3, scaling_factor=1.0, codes=16)


def system(name: str, unet: UNetConfig, *told: EmbedderConfig) -> ModelConfig:
    schedule = ScheduleConfig(beta_start=0.0015, beta_end=0.0195)
    return ModelConfig(name, unet, VQ, told, schedule, size=16, guidance_scale=1.0)


SYSTEMS = {
    "unconditional": system("faces", PLAIN),
    "classes": system(
        "classes",
        replace(PLAIN, heads=(1, 1), context_dim=24, transformers=True),
        ClassConfig(("cat", "dog", "duck"), 24),
    ),
    "inpainting": system(
        "inpainting",
        replace(PLAIN, in_channels=7, heads=(4, 4), resample_blocks=True),
        MaskedImageConfig(3, mask_last=True, signed=True, fill=-1.0),
    ),
    "super-resolution": system(
        "super-resolution", replace(PLAIN, in_channels=6), LowResolutionConfig(levels=0)
    ),
    "label map": system(
        "landscapes",
        replace(PLAIN, in_channels=6, depths=(0, 0), heads=(4, 4)),
        LabelMapConfig(("sky", "sea", "tree", "sand"), stages=1),
    ),
}
STEPS = 8


def picture(side: int) -> Image.Image:
    random = np.random.RandomState(0)
    return Image.fromarray(random.randint(0, 256, (side, side, 3), dtype=np.uint8))


def hole() -> Image.Image:
    mask = Image.new("L", (16, 16))
    mask.paste(255, (3, 4, 12, 11))
    return mask


GIVEN: dict[str, dict[str, Any]] = {
    "unconditional": {},
    "classes": {"label": "duck", "guidance_scale": 3.0},
    "inpainting": {"image": picture(16), "mask": hole(), "strength": 1.0},
    "super-resolution": {"low_res": picture(8)},
    "label map": {"label_map": np.random.RandomState(0).randint(0, 4, (16, 16))},
}


@pytest.fixture
def model(
    make_model: Callable[[ModelConfig], LatentDiffusion], request: pytest.FixtureRequest
) -> LatentDiffusion:
    """The system with the random weights of theirs."""
    model = make_model(SYSTEMS[request.param])
    compvis.filled(model.unet, compvis.unet_names(model.config.unet))
    names = compvis_autoencoder_names(VQ, "")
    fill(model.autoencoder, lambda name: names(name)[0].name)
    for embedder in model.embedders:
        fill(embedder.model, lambda name: name)
    return model


def fill(module: torch.nn.Module, name_of: Callable[[str], str]) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    module.load_state_dict(
        {name: compvis.weight(name_of(name), shape) for name, shape in shapes.items()}
    )


@pytest.mark.parametrize("sampler", ["ddim", "plms"])
@pytest.mark.parametrize("model", SYSTEMS, indirect=True)
def test_systems(
    model: LatentDiffusion, sampler: str, golden: dict[str, Tensor], request: Any
) -> None:
    name = request.node.callspec.params["model"]
    run = model.sample(
        **GIVEN[name], latents=values("noise", (1, 3, 8, 8)), steps=STEPS, sampler=sampler,
        schedule="ddim", width=16, height=16,
    )  # fmt: skip
    *_, last = run
    latents = last.x_next / (1 + last.sigma_next**2) ** 0.5
    assert relative_error(latents, golden[f"system.{name}.{sampler}"]) < 1e-3


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(compvis.GOLDEN)
