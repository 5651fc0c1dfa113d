"""Receptive fields: the pixels that a latent cell reaches, and the cells that a pixel reaches.

Each is one finite difference: one place is changed, and the change at the other end is measured
after one pass of the decoder or the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .. import checks
from ..models.autoencoder import Autoencoder
from .reconstruction import Encoded, decode, posterior_of

Place = Literal["cell", "pixel"]


@dataclass(frozen=True, eq=False)
class ReceptiveField:
    """How strongly each pixel depends on a cell, or each cell on a pixel.

    ``of`` is "cell" or "pixel", at ``x``, ``y``. ``heat`` is uint8 [H, W] or [h, w], 255 at the
    strongest. ``share``, 0 to 1, is the part of the whole change that lies in the cell's own f x f
    pixels, or in the pixel's own cell.
    """

    of: Place
    x: int
    y: int
    heat: np.ndarray
    share: float


def receptive_field(
    autoencoder: Autoencoder, encoded: Encoded, of: Place, x: int, y: int
) -> ReceptiveField:
    """What the cell or pixel (x, y) reaches. Raises ``InputError`` for a place outside."""
    pixels, latents = encoded.pixels, encoded.latents
    height, width = (latents if of == "cell" else pixels).shape[-2:]
    x, y = checks.index("x", x, width), checks.index("y", y, height)
    factor = autoencoder.config.factor
    if of == "cell":
        change = _of_cell(autoencoder, encoded, x, y)  # [H, W]
        own = change[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
    else:
        change = _of_pixel(autoencoder, encoded, x, y)  # [h, w]
        own = change[y // factor, x // factor]
    change_in_all = float(change.sum())
    heat = change / change.max().clamp_min(1e-12)
    return ReceptiveField(
        of, x, y,
        (heat * 255).round().to(torch.uint8).cpu().numpy(),
        float(own.sum()) / change_in_all if change_in_all > 0 else 0.0,
    )  # fmt: skip


def _of_cell(autoencoder: Autoencoder, encoded: Encoded, x: int, y: int) -> Tensor:
    """|decode(z + a standard deviation of each channel, in that cell) - decode(z)| [H, W]."""
    z = encoded.latents.clone()
    z[0, :, y, x] += z[0].flatten(1).std(1)
    height, width = encoded.pixels.shape[-2:]
    changed = decode(autoencoder, z, (width, height))
    return (changed - encoded.rebuilt).abs().mean(1)[0].nan_to_num()


def _of_pixel(autoencoder: Autoencoder, encoded: Encoded, x: int, y: int) -> Tensor:
    """|encode(the image with that pixel inverted) - encode(the image)| [h, w]."""
    pixels = encoded.pixels.clone()
    pixels[0, :, y, x] *= -1
    changed = posterior_of(autoencoder, pixels).mean
    return (changed - encoded.latents).float().abs().mean(1)[0].nan_to_num()
