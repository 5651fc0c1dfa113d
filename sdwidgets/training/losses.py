"""The targets of a denoising network, and the weight of its error at each noise level.

Both follow from `diffusion.PREDICTIONS`, the coefficients that turn a prediction into clean
latents. The weights are those of Hang et al., "Efficient Diffusion Training via Min-SNR Weighting
Strategy", arXiv 2303.09556. As everywhere here, ``x = x0 + sigma * noise``: the signal-to-noise
ratio is ``1 / sigma^2``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..configs import Prediction
from ..diffusion import coefficients


def noised(prediction: Prediction, z: Tensor, eps: Tensor, sigma: Tensor) -> Tensor:
    """Return the network's input [B, C, h, w], ``c_in * (z + sigma * eps)``.

    ``sigma`` broadcasts against the clean latents ``z`` and the noise ``eps``; it may be on the
    CPU, in float64.
    """
    return coefficients(prediction).c_in(sigma).to(z) * (z + sigma.to(z) * eps)


def target(prediction: Prediction, z: Tensor, eps: Tensor, sigma: Tensor) -> Tensor:
    """Return the prediction [B, C, h, w] with which the network denoises to ``z``.

    It is ``(z - c_skip * x) / c_out`` with ``x = z + sigma * eps``: the noise, the velocity or the
    clean latents. Pass ``sigma`` in float64 (on the CPU, as some devices have no float64), since
    ``1 - c_skip`` loses digits in float32 at low noise.
    """
    c = coefficients(prediction)
    c_skip, c_out = c.c_skip(sigma), c.c_out(sigma)
    of_z, of_eps = (1 - c_skip) / c_out, -c_skip * sigma / c_out
    return of_z.to(z) * z + of_eps.to(z) * eps


def min_snr_weight(prediction: Prediction, sigma: Tensor, gamma: float = 5.0) -> Tensor:
    """Return the weight of a prediction's squared error at noise level ``sigma``, in its shape.

    The paper weights the error of the clean latents by ``min(SNR, gamma)`` (equation 8), so that
    low noise does not dominate. An error of the prediction is ``c_out`` times as large in the clean
    latents.
    """
    snr = sigma.square().reciprocal()
    return snr.clamp(max=gamma) * coefficients(prediction).c_out(sigma) ** 2


def even_steps(count: int, steps: int, start: float) -> Tensor:
    """Return training steps [count] int64, ascending and evenly spread over ``steps``, so that
    every batch has low and high noise. ``start`` in [0, 1) shifts them all within their share."""
    even = (torch.arange(count, dtype=torch.float64) + start) / count
    return (even * steps).long().clamp(max=steps - 1)
