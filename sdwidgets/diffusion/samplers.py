"""Samplers: generators of `Step`s over ``denoise(x, sigma)``, from noise to clean latents.

Each follows the probability flow ``dx/dsigma = (x - denoise(x, sigma)) / sigma`` (Karras et al.,
arXiv 2206.00364, eq. 1 with sigma(t) = t) down a grid of noise levels; some add noise again. To add
a sampler, write a generator and put it into `SAMPLERS`; its keyword arguments are its options.

Every sampler yields ``len(sigmas) - 1`` steps, and ``steps[i].x_next is steps[i + 1].x``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .denoiser import Denoise


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


Noise = Callable[[], Tensor]
"""Returns fresh unit noise of x's shape, on its device."""

Sampler = Callable[..., Iterator[Step]]
"""``(denoise, x, sigmas, *, noise=None, **options) -> Iterator[Step]``."""


@torch.no_grad()
def euler(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float] | Tensor, *, noise: Noise | None = None
) -> Iterator[Step]:
    """Euler's method, order 1 (arXiv 2206.00364, algorithm 1 without its correction)."""
    for i, (sigma, sigma_next) in enumerate(_pairs(sigmas)):
        denoised = denoise(x, sigma)
        x_next = torch.lerp(denoised, x, sigma_next / sigma)
        yield Step(i, sigma, x, denoised, sigma_next, x_next)
        x = x_next


@torch.no_grad()
def ddim(
    denoise: Denoise,
    x: Tensor,
    sigmas: Sequence[float] | Tensor,
    *,
    noise: Noise | None = None,
    eta: float = 0.0,
) -> Iterator[Step]:
    """DDIM (Song et al., arXiv 2010.02502, eq. 12 and 16): Euler with a share ``eta`` of new noise.

    eta 0 is deterministic, eta 1 is ancestral. In the samplers' x-space the paper's sigma_t becomes
    ``up = eta * sigma_next * sqrt(1 - sigma_next^2 / sigma^2)``.
    """
    for i, (sigma, sigma_next) in enumerate(_pairs(sigmas)):
        denoised = denoise(x, sigma)
        up = eta * sigma_next * math.sqrt(1 - (sigma_next / sigma) ** 2)
        down = math.sqrt(sigma_next**2 - up**2)
        x_next = torch.lerp(denoised, x, down / sigma)
        if up > 0:
            x_next = x_next.add_(_drawn(noise), alpha=up)
        yield Step(i, sigma, x, denoised, sigma_next, x_next)
        x = x_next


def euler_ancestral(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float] | Tensor, *, noise: Noise | None = None
) -> Iterator[Step]:
    """Euler to below sigma_next, then new noise up to it: `ddim` with eta 1 by its other name."""
    return ddim(denoise, x, sigmas, noise=noise, eta=1.0)


@torch.no_grad()
def heun(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float] | Tensor, *, noise: Noise | None = None
) -> Iterator[Step]:
    """Heun's method, order 2 (arXiv 2206.00364, algorithm 1): two calls per step, but one in the
    last."""
    for i, (sigma, sigma_next) in enumerate(_pairs(sigmas)):
        denoised = denoise(x, sigma)
        x_next = torch.lerp(denoised, x, sigma_next / sigma)
        if sigma_next > 0:
            slope = (x - denoised) / sigma
            slope_next = (x_next - denoise(x_next, sigma_next)) / sigma_next
            x_next = torch.add(x, slope.add_(slope_next), alpha=(sigma_next - sigma) / 2)
        yield Step(i, sigma, x, denoised, sigma_next, x_next)
        x = x_next


@torch.no_grad()
def dpmpp_2m(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float] | Tensor, *, noise: Noise | None = None
) -> Iterator[Step]:
    """DPM-Solver++(2M), order 2 with one call per step (Lu et al., arXiv 2211.01095, algorithm 2).

    In ``lambda = -log(sigma)`` the noise is solved exactly, and the denoised latents are
    extrapolated from this step and the previous one. The last step, to sigma 0, returns them.
    """
    before: Tensor | None = None  # the previous step's denoised latents
    h_before = 0.0
    for i, (sigma, sigma_next) in enumerate(_pairs(sigmas)):
        denoised = denoise(x, sigma)
        target, h = denoised, math.inf
        if sigma_next > 0:
            h = math.log(sigma / sigma_next)
            if before is not None:
                target = torch.lerp(before, denoised, 1 + h / (2 * h_before))
        x_next = torch.lerp(target, x, sigma_next / sigma)
        yield Step(i, sigma, x, denoised, sigma_next, x_next)
        x, before, h_before = x_next, denoised, h


def _pairs(sigmas: Sequence[float] | Tensor) -> list[tuple[float, float]]:
    values = [float(sigma) for sigma in sigmas]
    pairs = list(itertools.pairwise(values))
    if not pairs or not all(high > low >= 0 for high, low in pairs):
        raise ValueError("sigmas must be at least 2, strictly descending and not below 0")
    return pairs


def _drawn(noise: Noise | None) -> Tensor:
    if noise is None:
        raise ValueError("this sampler adds noise: pass noise=, a function that draws it")
    return noise()


SAMPLERS: dict[str, Sampler] = {
    "ddim": ddim,
    "euler": euler,
    "euler_ancestral": euler_ancestral,
    "heun": heun,
    "dpmpp_2m": dpmpp_2m,
}
