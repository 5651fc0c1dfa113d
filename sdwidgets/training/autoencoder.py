"""Training the KL autoencoder on crops of scenes.

The loss is that of the latent-diffusion paper (arXiv 2112.10752, appendix G) without its
adversarial and perceptual terms, which pictures this flat do not need: absolute error, plus a
slight pull of the posterior towards the standard normal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..configs import AutoencoderConfig
from ..models.autoencoder import Autoencoder
from ..scenes import Glyphs
from .data import crops, draw, scene_at


@dataclass
class AutoencoderTask:
    """``kl`` weighs the mean KL of a latent's element (nats) against the mean absolute error of
    a pixel's channel (of a range of 2). With ``decoder_only`` the latents stay as they are, for
    going on after a denoiser has been trained on them.

    Crops are small at first, for many of them are worth more than few large ones, and four times
    as large from step ``large_from`` on."""

    model: Autoencoder
    glyphs: Glyphs
    seed: int = 0
    kl: float = 1e-4
    crop: int = 32
    large_from: int = 0
    decoder_only: bool = False

    def __post_init__(self) -> None:
        if self.decoder_only:
            self.model.encoder.requires_grad_(False)
            self.model.quant_conv.requires_grad_(False)

    def loss(self, step: int, batch_size: int, generator: torch.Generator) -> dict[str, Tensor]:
        large = step >= self.large_from
        count, size = (max(batch_size // 4, 1), 2 * self.crop) if large else (batch_size, self.crop)
        image = crops(self.seed, step * batch_size, count, self.glyphs, size)
        image = image.to(generator.device, memory_format=torch.channels_last)
        posterior = self.model.encode(image)
        decoded = self.model.decode(posterior.sample(generator)).float()
        absolute = (decoded - image).abs().mean()
        squared = (decoded - image).square().mean()
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss = absolute + 4 * squared + self.kl * kl
        psnr = 10 * torch.log10(4 / squared.detach())
        return {"loss": loss, "kl": kl, "psnr": psnr}


@torch.no_grad()
def quieten(model: Autoencoder) -> None:
    """Starts the posterior with little noise (a standard deviation of 0.05): with the usual start
    the first thousand steps go by until the latents have grown out of it."""
    half = model.config.latent_channels
    model.quant_conv.weight[half:] *= 0.1
    assert model.quant_conv.bias is not None
    model.quant_conv.bias[half:] = -6.0


@torch.no_grad()
def standardize(model: Autoencoder, glyphs: Glyphs, scenes: int = 256) -> AutoencoderConfig:
    """The model's config with the shift and scale that give its latents zero mean and unit
    variance over whole scenes (arXiv 2112.10752, appendix G)."""
    images = draw([scene_at(1, i) for i in range(scenes)], glyphs)
    device = next(model.parameters()).device
    old = model.config
    latents = torch.cat([model.encode(b.to(device)).mode().cpu() for b in images.split(32)])
    latents = latents / old.scaling_factor + old.shift_factor
    shift = float(latents.mean())
    scale = 1 / float(latents.std())
    return replace(old, scaling_factor=scale, shift_factor=shift)


@torch.no_grad()
def absorb_shift(model: Autoencoder) -> None:
    """Moves the latents' shift out of the config into the two 1x1 convolutions around the latents:
    the same autoencoder, for programs that know a scaling factor only (diffusers' Stable Diffusion
    pipelines do)."""
    shift, channels = model.config.shift_factor, model.config.latent_channels
    before, after = model.quant_conv, model.post_quant_conv
    assert before.bias is not None and after.bias is not None
    before.bias[:channels] -= shift
    after.bias += after.weight.sum((1, 2, 3)) * shift
    model.config = replace(model.config, shift_factor=0.0)
