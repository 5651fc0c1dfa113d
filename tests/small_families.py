"""Every published family at small scale: with few channels, and inputs of the published widths."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from sdwidgets import configs
from sdwidgets.configs import (
    AutoencoderConfig,
    DepthConfig,
    ImageConfig,
    LowResolutionConfig,
    MaskedImageConfig,
    ModelConfig,
    TextConfig,
    UNetConfig,
)

_GROUPS = 8
_NARROW = 16  # channels of the first level


def _network(unet: UNetConfig) -> UNetConfig:
    channels = tuple(_NARROW * width // unet.channels[0] for width in unet.channels)
    # Stable Diffusion 1 has as many heads at every level, later families heads of one width.
    alike = len(set(unet.heads)) == 1
    heads = unet.heads if alike else tuple(width // _NARROW for width in channels)
    return replace(unet, channels=channels, heads=heads, norm_groups=_GROUPS)


def _autoencoder(config: AutoencoderConfig) -> AutoencoderConfig:
    channels = tuple(8 * width // config.channels[0] for width in config.channels)
    return replace(config, channels=channels, norm_groups=4)


def _text(config: TextConfig) -> TextConfig:
    return replace(config, layers=2, heads=2, hidden=32, vocab_size=521, bos=519, eos=520)


def small(config: ModelConfig) -> ModelConfig:
    """Return a model of the same family with few channels, layers and words.

    Depths, levels and middle are the published ones, and so are the widths of context and vector.
    """
    told = tuple(
        replace(_text(each), pad=0 if each.pad == 0 else 520)
        if isinstance(each, TextConfig)
        else each
        for each in config.embedders
    )
    return replace(
        config,
        unet=_network(config.unet),
        autoencoder=_autoencoder(config.autoencoder),
        embedders=told,
        size=16 * config.autoencoder.factor,
    )


FAMILIES: dict[str, ModelConfig] = {
    name: small(preset)
    for name, preset in vars(configs).items()
    if isinstance(preset, ModelConfig)
    and name not in ("TINY", "EMOJI")
    and preset not in configs.ZOO  # which diffusers cannot describe
}


def picture(width: int, height: int) -> Image.Image:
    """Return an image of random colours, the same for the same size."""
    levels = np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    return Image.fromarray(levels).resize((width, height), Image.Resampling.BICUBIC)


def needed(config: ModelConfig, width: int, height: int) -> dict[str, Any]:
    """Return the images that a run of a family needs, for an image of that size."""
    if config.has(LowResolutionConfig):
        factor = config.autoencoder.factor
        return {"image": picture(width // factor, height // factor)}
    if config.has(DepthConfig):
        return {"depth": np.asarray(picture(width, height).convert("F"))}
    if config.has(MaskedImageConfig):
        mask = Image.new("L", (width, height))
        mask.paste(255, (width // 4, height // 4, width, height // 2))
        return {"image": picture(width, height), "mask": mask}
    return {"image": picture(width, height)} if config.has(ImageConfig) else {}
