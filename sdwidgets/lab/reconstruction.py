"""Images through an autoencoder and back, measured against the original."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..memory import asks_for_tiles
from ..metrics import bits_per_pixel, error_map, psnr, ssim
from ..models.autoencoder import Autoencoder, Posterior, padded
from ..pixels import to_image
from ..threads import threads_for

Distance = Callable[[Tensor, Tensor], Tensor]
"""How different images look, [B], for two batches [B, 3, H, W] in [-1, 1]."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """An image and what an autoencoder makes of it.

    ``pixels`` and ``rebuilt`` [1, 3, H, W] float32 in [-1, 1] on the CPU; ``padded`` is the (width,
    height) that the image was padded to, None if f divides both sides; ``seconds`` is the time to
    encode and decode.
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
    """The image that comes out of an autoencoder, measured against the one that went in.

    ``error`` [H, W] float32 is the absolute error on the scale 0 to 255, averaged over the
    colours; ``psnr`` is in dB; ``perceptual`` is the distance of features, nan if their network is
    not installed; ``bits`` is per pixel, see `metrics.bits_per_pixel`; ``seconds`` is the time to
    encode and decode.
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
    """The pixels [1, 3, H, W], encoded and decoded; any size: they are padded and cropped again."""
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
    """The posterior of ``pixels`` [B, 3, H, W], padded to multiples of f."""
    parameter = autoencoder.weight
    whole = padded(pixels, autoencoder.config.factor)
    tiled = asks_for_tiles(autoencoder.config, whole.shape[3], whole.shape[2], parameter)
    with threads_for(autoencoder, whole[:, 0].numel()):
        return autoencoder.encode(whole.to(parameter.device, parameter.dtype), tiled=tiled)


@torch.no_grad()
def decode(autoencoder: Autoencoder, latents: Tensor, size: tuple[int, int]) -> Tensor:
    """The pixels [B, 3, H, W] of latents [B, C, h, w], float32 in [-1, 1] or NaN, on the CPU.

    ``size``: the width and height that they are cropped to.
    """
    width, height = size
    parameter = autoencoder.weight
    tiled = asks_for_tiles(autoencoder.config, width, height, parameter)
    with threads_for(autoencoder, latents[:, 0].numel() * autoencoder.config.factor**2):
        latents = latents.to(parameter.device, parameter.dtype)
        pixels = autoencoder.decode(latents, tiled=tiled)
    return pixels[..., :height, :width].float().clamp(-1, 1).cpu()


@torch.no_grad()
def measure(name: str, encoded: Encoded, distance: Distance | None) -> Reconstruction:
    """The reconstruction of an encoded image, measured."""
    before, after = encoded.pixels, encoded.rebuilt
    height, width = before.shape[-2:]
    notices = []
    if encoded.padded is not None:
        wide, high = encoded.padded
        notices.append(f"Padded to {wide} x {high} for {name} and cropped back.")
    if not bool(torch.isfinite(after).all()):
        notices.append(f"{name} gave NaN: its weights are broken or too large for their type.")
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
