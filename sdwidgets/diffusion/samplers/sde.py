"""Samplers of the reverse SDE, whose noise acts all along a step.

With ``lambda = -log(sigma)`` and h its growth in a step, the SDE (Lu et al., arXiv 2211.01095,
section 3.4) keeps ``exp(-(1 + eta) h)`` of x, where the flow without noise keeps ``exp(-h)``.
``eta`` 0 is that flow, 1 the time-reversed diffusion.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..denoiser import Denoise
from .past import expectations, extrapolated
from .step import Levels, Noise, Step, drawn, pairs, renoised, split


@torch.no_grad()
def dpmpp_sde(
    denoise: Denoise,
    x: Tensor,
    sigmas: Levels,
    *,
    noise: Noise | None = None,
    before: Sequence[Step] = (),
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """SDE-DPM-Solver++(2S) (Lu et al., arXiv 2211.01095, algorithm 1 and section 3.4; k-diffusion's
    form): two calls per step, but one in a step to sigma 0.

    The expectation is taken where the SDE's own path is in the middle of the step, in log(sigma).
    ``s_noise`` is the deviation of the noise.
    """
    for i, (sigma, sigma_next) in enumerate(pairs(sigmas)):
        denoised = target = denoise(x, sigma)
        first: Tensor | None = None
        if sigma_next > 0:
            middle = math.sqrt(sigma * sigma_next)
            down, up = split(sigma, middle, eta)
            x_middle = torch.lerp(denoised, x, down / sigma)
            if up > 0:
                first = drawn(noise)
                x_middle = x_middle.add_(first, alpha=up * s_noise)
            target = denoise(x_middle, middle)
        down, up = split(sigma, sigma_next, eta)
        x_next = torch.lerp(target, x, down / sigma)
        if first is not None:
            x_next = x_next.add_(
                _continued(first, drawn(noise), sigma, sigma_next), alpha=up * s_noise
            )
        yield Step(i, sigma, x, denoised, sigma_next, x_next)
        x = x_next


def _continued(first: Tensor, second: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """Return the unit noise of a whole step, of which ``first`` is that of its first half.

    The path to the middle is part of the path to the end, so the two noises are increments of one
    Brownian motion over overlapping times; drawn apart, the second call would see a path that the
    step does not take. The SDE has ``d(x / sigma^2) = ... + sqrt(2 / sigma^3) dW``: the noise that
    is in ``x / sigma^2`` is a Brownian motion in the time ``1 / sigma^2``. A share
    ``(1/middle^2 - 1/sigma^2) / (1/sigma_next^2 - 1/sigma^2)`` of its variance comes from the first
    half, which is ``sigma_next / (sigma + sigma_next)`` for the geometric middle.
    """
    share = sigma_next / (sigma + sigma_next)
    return torch.add(first * math.sqrt(share), second, alpha=math.sqrt(1 - share))


@torch.no_grad()
def dpmpp_2m_sde(
    denoise: Denoise,
    x: Tensor,
    sigmas: Levels,
    *,
    noise: Noise | None = None,
    before: Sequence[Step] = (),
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """SDE-DPM-Solver++(2M) (Lu et al., arXiv 2211.01095, algorithm 2 and section 3.4): one call.

    `dpmpp_2m` with noise: the same extrapolation from this step and the previous one.
    ``s_noise`` is the deviation of the noise.
    """
    past = expectations(before, 1)
    for i, (sigma, sigma_next) in enumerate(pairs(sigmas)):
        denoised = denoise(x, sigma)
        target = extrapolated(past, sigma, denoised, sigma_next)
        x_next = _towards(target, x, sigma, sigma_next, noise, eta, s_noise)
        yield Step(i, sigma, x, denoised, sigma_next, x_next)
        past.append((sigma, denoised))
        x = x_next


@torch.no_grad()
def dpmpp_3m_sde(
    denoise: Denoise,
    x: Tensor,
    sigmas: Levels,
    *,
    noise: Noise | None = None,
    before: Sequence[Step] = (),
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """SDE-DPM-Solver++(3M), k-diffusion's: one call per step, looks back at two steps.

    The multistep form with a slope and a curvature (DPM-Solver++(3M) of the authors of arXiv
    2211.01095), with the SDE's ``(1 + eta) h`` in place of h. As published, the curvature counts
    half, so the order is 2, with a smaller error than `dpmpp_2m_sde` once steps are small.
    ``s_noise`` is the deviation of the noise.
    """
    past = expectations(before, 2)
    for i, (sigma, sigma_next) in enumerate(pairs(sigmas)):
        denoised = target = denoise(x, sigma)
        if sigma_next > 0 and past:
            h = math.log(sigma / sigma_next)
            z = (1 + eta) * h
            # the weights of slope and curvature: integrals of exp(-z (1 - s)) s^k over the step
            phi_2 = math.expm1(-z) / z + 1
            phi_3 = phi_2 / z - 0.5
            whole = -math.expm1(-z)  # the weight of the target in `_towards`
            r_0 = math.log(past[-1][0] / sigma) / h
            slope = (denoised - past[-1][1]) / r_0
            if len(past) == 2:
                r_1 = math.log(past[0][0] / past[-1][0]) / h
                bend = (slope - (past[-1][1] - past[0][1]) / r_1) / (r_0 + r_1)
                slope = torch.add(slope, bend, alpha=r_0)
                target = torch.sub(target, bend, alpha=phi_3 / whole)
            target = torch.add(target, slope, alpha=phi_2 / whole)
        x_next = _towards(target, x, sigma, sigma_next, noise, eta, s_noise)
        yield Step(i, sigma, x, denoised, sigma_next, x_next)
        past.append((sigma, denoised))
        x = x_next


def _towards(
    target: Tensor,
    x: Tensor,
    sigma: float,
    sigma_next: float,
    noise: Noise | None,
    eta: float,
    s_noise: float,
) -> Tensor:
    """Return x at sigma_next, where the SDE leads if ``target`` is expected all along the step."""
    kept = (sigma_next / sigma) ** eta  # exp(-eta h)
    x_next = torch.lerp(target, x, kept * sigma_next / sigma)
    up = sigma_next * math.sqrt((1 - kept) * (1 + kept))
    return renoised(x_next, up, noise, s_noise)
