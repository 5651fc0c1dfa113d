"""How similar two images are, and how many bits their latents cost.

Images are batches [B, 3, H, W] in [-1, 1]; every function returns one value or map per image.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from .errors import InputError

if TYPE_CHECKING:
    from .models.autoencoder import Posterior

RANGE = 2.0  # from -1 to 1
WINDOW, SIGMA = 11, 1.5  # of SSIM
K1, K2 = 0.01, 0.03


def psnr(a: Tensor, b: Tensor, *, data_range: float = RANGE) -> Tensor:
    """Return the peak signal-to-noise ratio [B] in dB; infinity for identical images."""
    error = (a.float() - b.float()).square().flatten(1).mean(1)
    return 10 * torch.log10(data_range**2 / error)


def ssim(a: Tensor, b: Tensor, *, data_range: float = RANGE) -> Tensor:
    """Return the structural similarity [B], at most 1; identical images have 1.

    Source: "Image Quality Assessment: From Error Visibility to Structural Similarity" (Wang et al.,
    2004, equation 13), with 11 x 11 Gaussian windows of sigma 1.5 that lie inside the image, and
    the mean over positions and colours. Raises ``InputError`` for images smaller than a window.
    """
    if min(a.shape[-2:]) < WINDOW:
        raise InputError(
            f"SSIM needs at least {WINDOW} x {WINDOW} pixels, got {a.shape[-1]} x {a.shape[-2]}."
        )
    x, y = (image.float().flatten(0, 1)[:, None] for image in (a, b))  # [3B, 1, H, W]
    moments = _blurred(torch.cat([x, y, x * x, y * y, x * y]))
    mean_x, mean_y, xx, yy, xy = moments.chunk(5)
    var_x, var_y, cov = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * cov + c2) / (var_x + var_y + c2)
    return (luminance * structure).view(len(a), -1).mean(1)


def _blurred(x: Tensor) -> Tensor:
    """x [N, 1, H, W] -> [N, 1, H - 10, W - 10]: the means under the Gaussian window."""
    places = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    window = torch.exp(-places.square() / (2 * SIGMA**2))
    window = window / window.sum()
    x = F.conv2d(x, window.view(1, 1, -1, 1))
    return F.conv2d(x, window.view(1, 1, 1, -1))


def error_map(a: Tensor, b: Tensor) -> Tensor:
    """Return the absolute error [B, H, W], 0 to 2, as the mean over the colours."""
    return (a.float() - b.float()).abs().mean(1)


def bits_per_pixel(posterior: Posterior, pixels: int) -> Tensor:
    """Return how many bits the latents cost per pixel [B], for images of ``pixels`` pixels.

    For a KL autoencoder that is KL(q || N(0, 1)), the cost of a posterior sample for a receiver who
    knows the prior (bits back: "Keeping the Neural Networks Simple by Minimizing the Description
    Length of the Weights", Hinton & van Camp, 1993). For a VQ autoencoder it is log2(K) per cell,
    which is log2(K) / f^2 per pixel where f divides both sides.
    """
    return posterior.kl() / (pixels * math.log(2))
