"""Through an autoencoder and back: the picture that comes out, and how near it is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..metrics import bits_per_pixel, error_map, psnr, ssim
from ..models.autoencoder import Autoencoder, Posterior, padded
from ..pixels import to_image
from ..threads import threads_for

Distance = Callable[[Tensor, Tensor], Tensor]
"""How different pictures look [B], of two batches [B, 3, H, W] in [-1, 1]."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """A picture and what an autoencoder makes of it.

    ``pixels`` and ``rebuilt`` [1, 3, H, W] float32 in [-1, 1] on the CPU; ``padded`` is the (width,
    height) that the picture was padded to, None where f divides both sides; ``seconds`` is the time
    there and back.
    """

    pixels: Tensor
    posterior: Posterior
    rebuilt: Tensor
    padded: tuple[int, int] | None
    seconds: float

    @property
    def latents(self) -> Tensor:
        """The posterior's mean [1, C, h, w]."""
        return self.posterior.mean


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A picture out of an autoencoder and back, measured against what went in.

    ``error`` [H, W] float32 is the absolute error, mean over the colours, of 255; ``psnr`` in dB;
    ``perceptual`` the distance of features (nan where there are none); ``bits`` a pixel, see
    `metrics.bits_per_pixel`; ``seconds`` the time there and back.
    """

    name: str
    image: Image.Image
    error: np.ndarray
    psnr: float
    ssim: float
    perceptual: float
    bits: float
    seconds: float
    padded: tuple[int, int] | None = None
    notices: tuple[str, ...] = ()


@torch.no_grad()
def encode(autoencoder: Autoencoder, pixels: Tensor) -> Encoded:
    """Encode and decode ``pixels`` [1, 3, H, W], of any size: padded, and cropped again."""
    began = time.perf_counter()
    height, width = pixels.shape[-2:]
    posterior = posterior_of(autoencoder, pixels)
    rebuilt = decode(autoencoder, posterior.mean, (width, height))
    seconds = time.perf_counter() - began
    factor = autoencoder.config.factor
    size = (width + -width % factor, height + -height % factor)
    return Encoded(pixels, posterior, rebuilt, None if size == (width, height) else size, seconds)


@torch.no_grad()
def posterior_of(autoencoder: Autoencoder, pixels: Tensor) -> Posterior:
    """The posterior of ``pixels`` [B, 3, H, W], padded to what f divides."""
    parameter = next(autoencoder.parameters())
    whole = padded(pixels, autoencoder.config.factor)
    with threads_for(autoencoder, whole[:, 0].numel()):
        return autoencoder.encode(whole.to(parameter.device, parameter.dtype))


@torch.no_grad()
def decode(autoencoder: Autoencoder, latents: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures [B, 3, H, W] float32 on the CPU of latents [B, C, h, w], cropped to ``size``, their
    width and height; in [-1, 1] but for NaN."""
    width, height = size
    parameter = next(autoencoder.parameters())
    with threads_for(autoencoder, latents[:, 0].numel() * autoencoder.config.factor**2):
        pixels = autoencoder.decode(latents.to(parameter.device, parameter.dtype))
    return pixels[..., :height, :width].float().clamp(-1, 1).cpu()


@torch.no_grad()
def measure(name: str, encoded: Encoded, distance: Distance | None) -> Reconstruction:
    """The reconstruction of an encoded picture, measured."""
    before, after = encoded.pixels, encoded.rebuilt
    height, width = before.shape[-2:]
    notices = []
    if encoded.padded is not None:
        wide, high = encoded.padded
        notices.append(f"Padded to {wide} x {high} for {name}, and cropped back.")
    if not bool(torch.isfinite(after).all()):
        notices.append(f"{name} gave NaN: its weights are broken, or too large for their type.")
    return Reconstruction(
        name=name,
        image=to_image(after[0]),
        error=(error_map(before, after)[0] * 127.5).numpy(),
        psnr=psnr(before, after).item(),
        ssim=ssim(before, after).item(),
        perceptual=math.nan if distance is None else distance(before, after).item(),
        bits=bits_per_pixel(encoded.posterior, height * width).item(),
        seconds=encoded.seconds,
        padded=encoded.padded,
        notices=tuple(notices),
    )
