"""Samplers that look at a step alone. They add no noise, unless they are told to churn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ..denoiser import Denoise
from .step import Levels, Noise, Step, drawn, pairs

MOST_CHURN = math.sqrt(2) - 1
"""Noise grows by no more than this share in a step (Karras et al., arXiv 2206.00364, alg. 2)."""

STEEPEST = 30
"""The largest fall of sigma in a step, as a factor, in which a second slope is of use.

Heun's and the midpoint method add a multiple of how much the expectation changes, which grows with
that factor without limit. Where a grid has few steps, or begins with pure noise (sigma 4096), the
result would be more noise than sigma_next. Such a step is Euler's.
"""


@torch.no_grad()
def euler(
    denoise: Denoise,
    x: Tensor,
    sigmas: Levels,
    *,
    noise: Noise | None = None,
    before: Sequence[Step] = (),
    s_churn: float = 0.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """Euler's method, order 1 (arXiv 2206.00364, algorithm 2 without its correction).

    ``s_churn`` first adds fresh noise: over the run about as much as ``s_churn`` steps that raise
    sigma by their own share (the algorithm's S_churn), never above the level at which the run
    began, for no network has seen more. ``s_noise`` is the deviation of that noise.
    """
    steps = pairs(sigmas)
    churned = _churning(steps, before, noise, s_churn, s_noise)
    for i, (sigma, sigma_next) in enumerate(steps):
        x_hat, sigma_hat = churned(x, sigma)
        denoised = denoise(x_hat, sigma_hat)
        x_next = torch.lerp(denoised, x_hat, sigma_next / sigma_hat)
        yield Step(i, sigma, x, denoised, sigma_next, x_next)
        x = x_next


@torch.no_grad()
def heun(
    denoise: Denoise,
    x: Tensor,
    sigmas: Levels,
    *,
    noise: Noise | None = None,
    before: Sequence[Step] = (),
    s_churn: float = 0.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """Heun's method, order 2 (arXiv 2206.00364, algorithm 2): two calls per step, but one in a step
    to sigma 0.

    The slope is averaged over both ends, ``(d + d_next) / 2``. With ``d = (x - denoised) / sigma``
    that is Euler's step and a multiple of how much the expectation has changed, which loses no
    digits where sigma is large. ``s_churn`` and ``s_noise`` as in `euler`.
    """
    steps = pairs(sigmas)
    churned = _churning(steps, before, noise, s_churn, s_noise)
    for i, (sigma, sigma_next) in enumerate(steps):
        x_hat, sigma_hat = churned(x, sigma)
        denoised = denoise(x_hat, sigma_hat)
        x_next = heun_step(denoise, x_hat, denoised, sigma_hat, sigma_next)
        yield Step(i, sigma, x, denoised, sigma_next, x_next)
        x = x_next


@torch.no_grad()
def dpm2(
    denoise: Denoise,
    x: Tensor,
    sigmas: Levels,
    *,
    noise: Noise | None = None,
    before: Sequence[Step] = (),
    s_churn: float = 0.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """DPM-Solver-2 in k-diffusion's form, order 2: two calls per step, but one to sigma 0.

    The slope is taken in the middle of the step, in log(sigma) (Lu et al., arXiv 2206.00927,
    algorithm 1 with r = 1/2), and followed in sigma (the midpoint form of Karras et al., arXiv
    2206.00364, appendix D). ``s_churn`` and ``s_noise`` as in `euler`.
    """
    steps = pairs(sigmas)
    churned = _churning(steps, before, noise, s_churn, s_noise)
    for i, (sigma, sigma_next) in enumerate(steps):
        x_hat, sigma_hat = churned(x, sigma)
        denoised = denoise(x_hat, sigma_hat)
        if is_steep(sigma_hat, sigma_next):
            x_next = torch.lerp(denoised, x_hat, sigma_next / sigma_hat)
        else:
            x_next = midpoint_step(denoise, x_hat, denoised, sigma_hat, sigma_next)
        yield Step(i, sigma, x, denoised, sigma_next, x_next)
        x = x_next


def heun_step(
    denoise: Denoise, x: Tensor, denoised: Tensor, sigma: float, sigma_next: float
) -> Tensor:
    """Return x at sigma_next by Heun's method, where ``denoised`` is expected at x."""
    x_next = torch.lerp(denoised, x, sigma_next / sigma)
    if is_steep(sigma, sigma_next):
        return x_next
    change = denoise(x_next, sigma_next) - denoised
    return torch.add(x_next, change, alpha=(sigma - sigma_next) / (2 * sigma_next))


def midpoint_step(
    denoise: Denoise, x: Tensor, denoised: Tensor, sigma: float, sigma_next: float
) -> Tensor:
    """Return x at sigma_next by the slope in the middle, where ``denoised`` is expected at x."""
    middle = math.sqrt(sigma * sigma_next)
    change = denoise(torch.lerp(denoised, x, middle / sigma), middle) - denoised
    x_next = torch.lerp(denoised, x, sigma_next / sigma)
    return x_next.add_(change, alpha=(sigma - sigma_next) / middle)


def is_steep(sigma: float, sigma_next: float) -> bool:
    """True for a step that has to be Euler's; see `STEEPEST`."""
    return sigma > STEEPEST * sigma_next


def _churning(
    steps: Sequence[tuple[float, float]],
    before: Sequence[Step],
    noise: Noise | None,
    s_churn: float,
    s_noise: float,
) -> Callable[[Tensor, float], tuple[Tensor, float]]:
    """Return what adds noise before a step: ``(x, sigma) -> (x_hat, sigma_hat)``."""
    gamma = min(s_churn / (len(before) + len(steps)), MOST_CHURN)
    top = before[0].sigma if before else steps[0][0]

    def churned(x: Tensor, sigma: float) -> tuple[Tensor, float]:
        sigma_hat = min(sigma * (1 + gamma), top)
        if sigma_hat <= sigma:
            return x, sigma
        added = math.sqrt((sigma_hat - sigma) * (sigma_hat + sigma))
        return torch.add(x, drawn(noise), alpha=added * s_noise), sigma_hat

    return churned
