"""Forward diffusion of an image: its latents with the noise of each t, and the network's guess.

x_t = x_0 + sigma_t noise, as everywhere in the kit. Decoded is x_t / sqrt(1 + sigma_t^2), which is
sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise ("Denoising Diffusion Probabilistic Models", Ho et al.,
arXiv 2006.11239, equation 4).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..contract import NOISE_LEVELS
from ..diffusion import Denoiser
from ..models.conditioning import Given, conditioned
from ..pixels import to_image
from ..threads import threads_for
from ..trace.images import preview_rgb
from .reconstruction import decode, posterior_of

if TYPE_CHECKING:
    from ..pipeline import LatentDiffusion

LEVELS = NOISE_LEVELS
SEED = 0  # one noise for all levels, so that a slider over t does not flicker


@dataclass(frozen=True, eq=False)
class Level:
    """An image at training step ``t``: noise level ``sigma`` and signal-to-noise ratio in dB.

    ``latents`` uint8 [h, w, 3], a preview of x_t; ``noisy``, x_t scaled to unit variance and
    decoded; ``guess``, the network's one-step guess of the clean latents decoded.
    """

    t: int
    sigma: float
    snr_db: float
    latents: np.ndarray
    noisy: Image.Image
    guess: Image.Image


@dataclass(frozen=True, eq=False)
class Diffused:
    """The image at noise levels of the model of that name, which was given ``prompt``.

    ``levels`` holds those computed so far, ``expected`` is their final number.
    """

    model: str
    prompt: str
    levels: tuple[Level, ...]
    expected: int

    @property
    def is_whole(self) -> bool:
        """Whether all levels have been computed."""
        return len(self.levels) == self.expected


def prompt_of(model: LatentDiffusion, caption: str) -> str:
    """What to tell the model of an image: its caption, or nothing if the model reads no text."""
    return caption if model.text is not None else ""


@torch.no_grad()
def forward_diffusion(
    model: LatentDiffusion, pixels: Tensor, prompt: str = "", levels: int = LEVELS
) -> Iterator[Level]:
    """The image ``pixels`` [1, 3, H, W] at ``levels`` training steps, evenly from 0 to T - 1.

    The network gets ``prompt``, without guidance. Latents have unit variance, so the signal's
    power is 1, the noise's sigma^2, and their ratio -20 log10(sigma) dB.
    """
    height, width = pixels.shape[-2:]
    x0 = posterior_of(model.autoencoder, pixels).mean.float()
    generator = torch.Generator("cpu").manual_seed(SEED)
    noise = torch.randn(x0.shape, generator=generator, device="cpu").to(x0.device)
    told = model.condition([Given(prompt, (width, height))]).to(model.device, model.dtype)
    denoise = Denoiser(
        conditioned(model.unet, told),
        model.schedule,
        model.config.schedule.prediction,
        dtype=model.dtype,
    )
    for t in np.linspace(0, len(model.schedule) - 1, levels).round().astype(int).tolist():
        sigma = model.schedule.sigma(t)
        x = torch.add(x0, noise, alpha=sigma)
        with threads_for(model.unet, x[:, 0].numel()):
            guess_of_x0 = denoise(x, sigma)
        latents = torch.cat([x / math.sqrt(1 + sigma**2), guess_of_x0])
        noisy, guess = decode(model.autoencoder, latents, (width, height))
        yield Level(
            t=t,
            sigma=sigma,
            snr_db=-20 * math.log10(sigma),
            latents=preview_rgb(x, model.preview_factors, sigma=sigma)[0],
            noisy=to_image(noisy),
            guess=to_image(guess),
        )
