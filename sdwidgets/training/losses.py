"""What a denoising network is to say, and how much it counts at which amount of noise.

Sources: DDPM (Ho et al., arXiv 2006.11239), v (Salimans and Ho, arXiv 2202.00512, section 4), the
weights (Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy", arXiv
2303.09556). As everywhere here, ``x = x0 + sigma * noise``: the signal-to-noise ratio is
``1 / sigma^2``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..configs import Prediction


def noised(z: Tensor, eps: Tensor, sigma: Tensor) -> Tensor:
    """The network's input [B, C, h, w], of unit variance: ``(z + sigma eps) / sqrt(1 + sigma^2)``.

    ``sigma`` broadcasts against the clean latents ``z`` and the noise ``eps``.
    """
    return (z + sigma * eps) / (1 + sigma.square()).sqrt()


def target(prediction: Prediction, z: Tensor, eps: Tensor, sigma: Tensor) -> Tensor:
    """What the network is to predict [B, C, h, w]: the noise, the velocity or the clean latents."""
    if prediction == "v":
        return (eps - sigma * z) / (1 + sigma.square()).sqrt()
    return eps if prediction == "eps" else z


def min_snr_weight(prediction: Prediction, sigma: Tensor, gamma: float = 5.0) -> Tensor:
    """How much the squared error of a prediction counts at noise level ``sigma``, in its shape.

    The paper weighs the error of the clean latents by ``min(SNR, gamma)`` (equation 8), so that
    little noise does not outweigh all the rest. An error of x0 is one of eps, SNR times as large
    when squared, and of v, SNR + 1 times: their weights are the same, divided by that.
    """
    snr = sigma.square().reciprocal()
    weight = snr.clamp(max=gamma)
    if prediction == "x0":
        return weight
    return weight / (snr + 1 if prediction == "v" else snr)


def even_steps(count: int, steps: int, start: float) -> Tensor:
    """Training steps [count] int64, evenly spread over ``steps``, ascending: so every batch sees
    every amount of noise. ``start`` in [0, 1) moves them all within their share."""
    even = (torch.arange(count, dtype=torch.float64) + start) / count
    return (even * steps).long().clamp(max=steps - 1)
