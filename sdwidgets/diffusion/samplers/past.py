"""What a sampler that looks back keeps of the steps before."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from .step import Step

Past = deque[tuple[float, Tensor]]
"""The noise levels of the last steps and what is kept of each, the newest last."""


def expectations(before: Sequence[Step], depth: int) -> Past:
    """Return the denoised latents of the last ``depth`` steps."""
    return deque(((one.sigma, one.denoised) for one in before[-depth:]), maxlen=depth)


def slopes(before: Sequence[Step], depth: int) -> Past:
    """Return ``dx/dsigma``, the expected noise, of the last ``depth`` steps."""
    of = ((one.sigma, (one.x - one.denoised) / one.sigma) for one in before[-depth:])
    return deque(of, maxlen=depth)


def extrapolated(past: Past, sigma: float, denoised: Tensor, sigma_next: float) -> Tensor:
    """Return what is expected in the middle of the step, in log(sigma), on the line from the past.

    To sigma 0 there is no middle, and without a past no line: then what is expected now.
    """
    if sigma_next == 0 or not past:
        return denoised
    sigma_1, denoised_1 = past[-1]
    h, h_1 = math.log(sigma / sigma_next), math.log(sigma_1 / sigma)
    return torch.lerp(denoised_1, denoised, 1 + h / (2 * h_1))
