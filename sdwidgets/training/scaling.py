"""The scale of an autoencoder's latents: little noise at the start, unit variance at the end."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..configs import AutoencoderConfig
from ..models.autoencoder import Autoencoder
from .surroundings import settled


@settled()
def quieten(model: Autoencoder) -> None:
    """Start a KL posterior with little noise, a standard deviation of 0.05.

    With the usual start the latents take a thousand steps to outgrow the noise. Codes have none."""
    if model.config.codes:
        return
    half = model.config.latent_channels
    model.quant_conv.weight[half:] *= 0.1
    assert model.quant_conv.bias is not None
    model.quant_conv.bias[half:] = -6.0


@settled()
def standardize(model: Autoencoder, images: Tensor) -> AutoencoderConfig:
    """The model's config with the shift and scale that give the latents of whole images
    [N, 3, H, W] zero mean and unit variance (arXiv 2112.10752, appendix G)."""
    device = next(model.parameters()).device
    old = model.config
    latents = torch.cat([model.encode(b.to(device)).mode().cpu() for b in images.split(32)])
    latents = latents / old.scaling_factor + old.shift_factor
    shift = float(latents.mean())
    scale = 1 / max(float(latents.std()), 1e-6)
    return replace(old, scaling_factor=scale, shift_factor=shift)


@settled()
def absorb_shift(model: Autoencoder) -> None:
    """Move the latents' shift from the config into the two 1x1 convolutions around the latents.

    The autoencoder computes the same, and works with programs that know only a scaling factor, as
    diffusers' Stable Diffusion pipelines do. Codes move along."""
    shift, channels = model.config.shift_factor, model.config.latent_channels
    before, after = model.quant_conv, model.post_quant_conv
    assert before.bias is not None and after.bias is not None
    before.bias[:channels] -= shift
    after.bias += after.weight.sum((1, 2, 3)) * shift
    if model.quantize is not None:
        model.quantize.embedding.weight -= shift
    model.config = replace(model.config, shift_factor=0.0)
