"""`Step`, and what every sampler begins with: its pairs of noise levels, and its noise."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Step:
    """A step of a run. Tensors are float32 [B, C, h, w] and shared between steps: do not write."""

    index: int  # 0, 1, ...
    sigma: float  # the noise level of x
    x: Tensor = field(repr=False)  # the noisy latents, x0 + sigma * noise
    denoised: Tensor = field(repr=False)  # the clean latents that the network expects at x
    sigma_next: float
    x_next: Tensor = field(repr=False)  # the latents after the step, at sigma_next
    attention: Any = field(default=None, repr=False)  # where the words looked, if recorded
    cond: Tensor | None = field(default=None, repr=False)  # denoised by the prompt alone, if guided
    uncond: Tensor | None = field(default=None, repr=False)  # and with the negative prompt alone
    control: Any = field(default=None, repr=False)  # how much controls add, where there are any
    draws: int | None = None  # how often a run had drawn noise before this step


Levels = Sequence[float] | Tensor
"""The noise levels around a sampler's steps, descending; the first is the level of x."""

Noise = Callable[[], Tensor]
"""Returns fresh unit noise of x's shape, on its device."""

Sampler = Callable[..., Iterator[Step]]
"""``(denoise, x, sigmas, *, noise=None, before=(), **options) -> Iterator[Step]``."""


def pairs(sigmas: Levels) -> list[tuple[float, float]]:
    """Return (sigma, sigma_next) of each step. Raises ValueError if the levels do not descend."""
    values = [float(sigma) for sigma in sigmas]
    steps = list(itertools.pairwise(values))
    if not steps or not all(high > low >= 0 for high, low in steps):
        raise ValueError("sigmas must be at least 2, strictly descending and not below 0")
    return steps


def drawn(noise: Noise | None) -> Tensor:
    """Return fresh noise. Raises ValueError for a sampler that got no source of it."""
    if noise is None:
        raise ValueError("this sampler adds noise: pass noise=, a function that draws it")
    return noise()


def renoised(x: Tensor, up: float, noise: Noise | None, s_noise: float = 1.0) -> Tensor:
    """Return x, which is written to, with fresh noise of level ``up`` times ``s_noise`` on it.

    Nothing is drawn if ``up`` is 0. Raises ValueError as `drawn`.
    """
    return x.add_(drawn(noise), alpha=up * s_noise) if up > 0 else x


def split(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """Return (down, up): the level to step down to, and the level of fresh noise on top of it.

    ``up = eta * sigma_next * sqrt(1 - sigma_next^2 / sigma^2)`` and ``down^2 + up^2 =
    sigma_next^2``: DDIM's eq. 16 (Song et al., arXiv 2010.02502) for ``x = x0 + sigma * noise``.
    eta 1 is the step of DDPM, whose noise forgets as much as the training's added.
    """
    kept = (sigma_next / sigma) ** 2
    # not by subtraction from sigma_next^2: of a step from 4096 to 0.03 nothing would be left
    down = sigma_next * math.sqrt((1 - eta) * (1 + eta) + eta**2 * kept)
    return down, eta * sigma_next * math.sqrt(1 - kept)
