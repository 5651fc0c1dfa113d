"""Small autoencoders with random weights, and images of noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from sdwidgets.configs import FIRST_STAGES, TINY, AutoencoderConfig
from sdwidgets.models.autoencoder import Autoencoder

KL = replace(TINY.autoencoder, channels=(8, 16, 16), scaling_factor=1.0)
"""f = 4, four channels."""

VQ = replace(KL, latent_channels=3, codes=20)
"""f = 4, three channels, 20 codes."""


def small_first_stage(name: str) -> AutoencoderConfig:
    """Return the config of a published first stage with few channels and codes, like those of
    `first_stages.small`."""
    config = FIRST_STAGES[name]
    return replace(
        config,
        channels=tuple(n // 16 for n in config.channels),
        norm_groups=4,
        codes=min(config.codes, 50),
    )


def build(config: AutoencoderConfig) -> Autoencoder:
    """Return the autoencoder of a config, the same at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Autoencoder(config).eval().requires_grad_(False)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return an RGB image of noise."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)
