"""Samplers that also look back at earlier steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ..denoiser import Denoise
from .one_step import heun_step
from .past import Past, expectations, extrapolated, slopes
from .step import Levels, Noise, Step, pairs


@torch.no_grad()
def dpmpp_2m(
    denoise: Denoise,
    x: Tensor,
    sigmas: Levels,
    *,
    noise: Noise | None = None,
    before: Sequence[Step] = (),
) -> Iterator[Step]:
    """DPM-Solver++(2M), order 2 with one call per step (Lu et al., arXiv 2211.01095, algorithm 2).

    In ``lambda = -log(sigma)`` the noise is solved exactly, and the denoised latents are
    extrapolated from this step and the previous one. The last step, to sigma 0, returns them.
    """
    past = expectations(before, 1)
    for i, (sigma, sigma_next) in enumerate(pairs(sigmas)):
        denoised = denoise(x, sigma)
        x_next = torch.lerp(extrapolated(past, sigma, denoised, sigma_next), x, sigma_next / sigma)
        yield Step(i, sigma, x, denoised, sigma_next, x_next)
        past.append((sigma, denoised))
        x = x_next


@torch.no_grad()
def unipc(
    denoise: Denoise,
    x: Tensor,
    sigmas: Levels,
    *,
    noise: Noise | None = None,
    before: Sequence[Step] = (),
) -> Iterator[Step]:
    """UniPC-2 with B_2, order 3 with one call per step (Zhao et al., arXiv 2302.04867, for data
    prediction).

    The predictor is the step of `dpmpp_2m`. What is expected at its end also corrects that end
    (UniC), by the polynomial through three expectations, and the next step goes on from there. The
    ``x`` of a step is the predicted one, which the network saw.
    """
    past = expectations((), 2)
    corrected = x
    for one in before:  # corrections build on one another, from the run's first step on
        corrected = _unic(past, corrected, one.sigma, one.denoised) if past else one.x
        past.append((one.sigma, one.denoised))
    for i, (sigma, sigma_next) in enumerate(pairs(sigmas)):
        denoised = denoise(x, sigma)
        corrected = _unic(past, corrected, sigma, denoised) if past else x
        target = extrapolated(past, sigma, denoised, sigma_next)
        x_next = torch.lerp(target, corrected, sigma_next / sigma)
        yield Step(i, sigma, x, denoised, sigma_next, x_next)
        past.append((sigma, denoised))
        x = x_next


@torch.no_grad()
def lms(
    denoise: Denoise,
    x: Tensor,
    sigmas: Levels,
    *,
    noise: Noise | None = None,
    before: Sequence[Step] = (),
) -> Iterator[Step]:
    """The linear multistep method in sigma (Adams and Bashforth), order 4 with one call per step
    (k-diffusion's).

    The polynomial through the last slopes ``d = (x - denoised) / sigma`` is integrated exactly over
    the step, on any grid. The first steps have the orders 1, 2, 3.
    """
    past = slopes(before, 3)
    for i, (sigma, sigma_next) in enumerate(pairs(sigmas)):
        denoised = denoise(x, sigma)
        slope = (x - denoised) / sigma
        levels = [sigma, *(level for level, _ in reversed(past))]
        weights = _adams_bashforth(levels, sigma_next)
        x_next = _bent(torch.lerp(denoised, x, sigma_next / sigma), slope, past, weights)
        yield Step(i, sigma, x, denoised, sigma_next, x_next)
        past.append((sigma, slope))
        x = x_next


_EVEN = ((1,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))
"""Adams and Bashforth's weights of the newest slopes, for even steps."""


@torch.no_grad()
def plms(
    denoise: Denoise,
    x: Tensor,
    sigmas: Levels,
    *,
    noise: Noise | None = None,
    before: Sequence[Step] = (),
) -> Iterator[Step]:
    """PLMS, the linear multistep method of PNDM (Liu et al., arXiv 2202.09778, eq. 9 and 12).

    The noise ``e = (x - denoised) / sigma`` is extrapolated from four steps with the weights of
    even ones, as latent diffusion's own sampler does it. They are right on grids that are even in
    sigma; on others the order is 2. One call per step, but two in the first, which is Heun's.
    """
    past = slopes(before, 3)
    for i, (sigma, sigma_next) in enumerate(pairs(sigmas)):
        denoised = denoise(x, sigma)
        slope = (x - denoised) / sigma
        if past:
            weights = [weight * (sigma_next - sigma) for weight in _EVEN[len(past)]]
            x_next = _bent(torch.lerp(denoised, x, sigma_next / sigma), slope, past, weights)
        else:
            x_next = heun_step(denoise, x, denoised, sigma, sigma_next)
        yield Step(i, sigma, x, denoised, sigma_next, x_next)
        past.append((sigma, slope))
        x = x_next


def _bent(straight: Tensor, slope: Tensor, past: Past, weights: Sequence[float]) -> Tensor:
    """Return ``straight``, where ``slope`` leads, moved by how the past's slopes differ from it.

    It is written to. ``weights``: those of all slopes, the newest first.
    """
    x_next = straight
    for weight, (_, earlier) in zip(weights[1:], reversed(past), strict=True):
        x_next = x_next.add_(earlier - slope, alpha=weight)
    return x_next


def _unic(past: Past, x: Tensor, sigma: float, denoised: Tensor) -> Tensor:
    """Return x at sigma by UniC, from the corrected x at the past's last level.

    ``denoised`` is expected at sigma. b_1 and b_2 are the means of s and s^2 over the step, where s
    goes from 0 to 1 in log(sigma), with the exact solution's weights. They and rho are the paper's.
    """
    sigma_0, denoised_0 = past[-1]
    h = math.log(sigma_0 / sigma)
    if len(past) == 1:
        target = torch.lerp(denoised_0, denoised, 0.5)
    else:
        sigma_1, denoised_1 = past[-2]
        r = math.log(sigma_1 / sigma_0) / h
        b_1 = 1 / -math.expm1(-h) - 1 / h
        b_2 = 1 / -math.expm1(-h) - 2 * b_1 / h
        rho_1 = (b_1 - b_2) / (1 + r)
        target = torch.lerp(denoised_0, denoised, b_1 - rho_1)
        target.add_(denoised_0 - denoised_1, alpha=rho_1 / r)
    return torch.lerp(target, x, sigma / sigma_0)


def _adams_bashforth(levels: list[float], end: float) -> list[float]:
    """Return the integral of each level's Lagrange polynomial, from the first level to ``end``.

    Gauss and Legendre's rule of as many points as there are levels is exact for them.
    """
    begin = levels[0]
    points, weights = np.polynomial.legendre.leggauss(len(levels))
    at = begin + (end - begin) * (points + 1) / 2
    integrals = []
    for j, level in enumerate(levels):
        others = levels[:j] + levels[j + 1 :]
        polynomial = np.prod([(at - other) / (level - other) for other in others], axis=0)
        integrals.append(float(np.sum(weights * polynomial) * (end - begin) / 2))
    return integrals
