"""Tiny random models that are told something other than a prompt, by name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sdwidgets.configs import (
    TINY,
    BoxesConfig,
    ClassConfig,
    LabelMapConfig,
    LowResolutionConfig,
    ModelConfig,
    NeighboursConfig,
    VisionConfig,
)

if TYPE_CHECKING:
    from sdwidgets.pipeline import LatentDiffusion

WIDTH = TINY.unet.context_dim
ANIMALS = tuple(f"animal {number}" for number in range(300))
THINGS = ("cat", "dog", "house")

_CONTEXT_FREE = replace(TINY.unet, context_dim=0, transformers=False)

CONFIGS: dict[str, ModelConfig] = {
    "classes": replace(TINY, name="classes", embedders=(ClassConfig(ANIMALS, WIDTH),)),
    "layout": replace(
        TINY,
        name="layout",
        embedders=(BoxesConfig(THINGS, WIDTH, layers=1, heads=2, head_width=8, most=5, length=17),),
    ),
    "maps": replace(
        TINY,
        name="maps",
        unet=replace(_CONTEXT_FREE, in_channels=7),
        embedders=(LabelMapConfig(THINGS, stages=1),),
    ),
    "larger": replace(
        TINY,
        name="larger",
        unet=replace(_CONTEXT_FREE, in_channels=7),
        embedders=(LowResolutionConfig(levels=0),),
    ),
    "near": replace(
        TINY,
        name="near",
        embedders=(
            NeighboursConfig(
                WIDTH,
                most=2,
                vision=VisionConfig(8, 4, 16, 1, 2, 32, projection_dim=WIDTH),
            ),
        ),
    ),
}


def told_model(name: str) -> LatentDiffusion:
    """The model of that name, with random weights: the same each time."""
    import torch

    from sdwidgets.models.autoencoder import Autoencoder
    from sdwidgets.models.embedders import embedders_of
    from sdwidgets.models.unet import UNet
    from sdwidgets.pipeline import LatentDiffusion, noise_schedule

    config = CONFIGS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet, autoencoder = UNet(config.unet), Autoencoder(config.autoencoder)
        embedders = embedders_of(config.embedders, (), autoencoder)
    for module in (unet, autoencoder, *(each.model for each in embedders)):
        module.eval().requires_grad_(False)
    return LatentDiffusion(config, unet, autoencoder, embedders, noise_schedule(config.schedule))
