"""What a denoising network is to predict, and how much its error counts at each noise level.

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
    """The network's input [B, C, h, w], ``c_in * (z + sigma * eps)``.

    ``sigma`` broadcasts against the clean latents ``z`` and the noise ``eps``; it may be on the
    CPU, in float64.
    """
    return coefficients(prediction).c_in(sigma).to(z) * (z + sigma.to(z) * eps)


def target(prediction: Prediction, z: Tensor, eps: Tensor, sigma: Tensor) -> Tensor:
    """What the network is to predict [B, C, h, w], so that it denoises to ``z``.

    That is ``(z - c_skip * x) / c_out`` with ``x = z + sigma * eps``: the noise, the velocity or
    the clean latents. Give ``sigma`` in float64 (on the CPU, for devices that have none): at low
    noise ``1 - c_skip`` has few digits left in float32.
    """
    c = coefficients(prediction)
    c_skip, c_out = c.c_skip(sigma), c.c_out(sigma)
    of_z, of_eps = (1 - c_skip) / c_out, -c_skip * sigma / c_out
    return of_z.to(z) * z + of_eps.to(z) * eps


def min_snr_weight(prediction: Prediction, sigma: Tensor, gamma: float = 5.0) -> Tensor:
    """How much the squared error of a prediction counts at noise level ``sigma``, in its shape.

    The paper weighs the error of the clean latents by ``min(SNR, gamma)`` (equation 8), so that
    low noise does not outweigh all the rest. An error of the prediction is ``c_out`` times as large
    in the clean latents.
    """
    snr = sigma.square().reciprocal()
    return snr.clamp(max=gamma) * coefficients(prediction).c_out(sigma) ** 2


def even_steps(count: int, steps: int, start: float) -> Tensor:
    """Training steps [count] int64, evenly spread over ``steps``, ascending: so every batch sees
    every amount of noise. ``start`` in [0, 1) moves them all within their share."""
    even = (torch.arange(count, dtype=torch.float64) + start) / count
    return (even * steps).long().clamp(max=steps - 1)
