"""Samplers that step to below the next noise level and add fresh noise up to it.

``eta`` 0 adds none, which leaves the sampler without noise that each is made of.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..denoiser import Denoise
from .one_step import is_steep, midpoint_step
from .step import Levels, Noise, Step, pairs, renoised, split


def ddim(
    denoise: Denoise,
    x: Tensor,
    sigmas: Levels,
    *,
    noise: Noise | None = None,
    before: Sequence[Step] = (),
    eta: float = 0.0,
) -> Iterator[Step]:
    """DDIM (Song et al., arXiv 2010.02502, eq. 12 and 16): Euler with a share ``eta`` of new noise.

    eta 0 is deterministic, eta 1 is ancestral; `split` has the equation.
    """
    return euler_ancestral(denoise, x, sigmas, noise=noise, before=before, eta=eta)


def ddpm(
    denoise: Denoise,
    x: Tensor,
    sigmas: Levels,
    *,
    noise: Noise | None = None,
    before: Sequence[Step] = (),
    eta: float = 1.0,
) -> Iterator[Step]:
    """DDPM (Ho et al., arXiv 2006.11239, algorithm 2), with the grid as its chain of steps.

    The next latents are drawn from the posterior ``q(x_next | x, denoised)`` (eq. 6 and 7, the
    smaller of the paper's two variances). For ``x = x0 + sigma * noise`` its mean is ``denoised +
    (sigma_next / sigma)^2 (x - denoised)``: the step of `ddim` with eta 1.
    """
    return ddim(denoise, x, sigmas, noise=noise, before=before, eta=eta)


@torch.no_grad()
def euler_ancestral(
    denoise: Denoise,
    x: Tensor,
    sigmas: Levels,
    *,
    noise: Noise | None = None,
    before: Sequence[Step] = (),
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """Euler to below sigma_next, then new noise up to it (k-diffusion's; order 1).

    The same step as `ddim` with that eta. ``s_noise`` is the deviation of the noise.
    """
    for i, (sigma, sigma_next) in enumerate(pairs(sigmas)):
        denoised = denoise(x, sigma)
        down, up = split(sigma, sigma_next, eta)
        x_next = torch.lerp(denoised, x, down / sigma)
        x_next = renoised(x_next, up, noise, s_noise)
        yield Step(i, sigma, x, denoised, sigma_next, x_next)
        x = x_next


@torch.no_grad()
def dpm2_ancestral(
    denoise: Denoise,
    x: Tensor,
    sigmas: Levels,
    *,
    noise: Noise | None = None,
    before: Sequence[Step] = (),
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """`dpm2` to below sigma_next, then new noise up to it (k-diffusion's): two calls per step, but
    one in a step to sigma 0.

    The middle is that of the step down. ``s_noise`` is the deviation of the noise.
    """
    for i, (sigma, sigma_next) in enumerate(pairs(sigmas)):
        denoised = denoise(x, sigma)
        down, up = split(sigma, sigma_next, eta)
        if is_steep(sigma, sigma_next):
            x_next = torch.lerp(denoised, x, down / sigma)
        else:
            x_next = midpoint_step(denoise, x, denoised, sigma, down)
        x_next = renoised(x_next, up, noise, s_noise)
        yield Step(i, sigma, x, denoised, sigma_next, x_next)
        x = x_next


@torch.no_grad()
def dpmpp_2s_ancestral(
    denoise: Denoise,
    x: Tensor,
    sigmas: Levels,
    *,
    noise: Noise | None = None,
    before: Sequence[Step] = (),
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """DPM-Solver++(2S) (Lu et al., arXiv 2211.01095, algorithm 1 with r = 1/2) to below sigma_next,
    then new noise up to it: two calls per step, but one in a step to sigma 0.

    The latents expected in the middle of the step down, in log(sigma), stand for all of it.
    ``s_noise`` is the deviation of the noise.
    """
    for i, (sigma, sigma_next) in enumerate(pairs(sigmas)):
        denoised = target = denoise(x, sigma)
        down, up = split(sigma, sigma_next, eta)
        if down > 0:
            middle = math.sqrt(sigma * down)
            target = denoise(torch.lerp(denoised, x, middle / sigma), middle)
        x_next = torch.lerp(target, x, down / sigma)
        x_next = renoised(x_next, up, noise, s_noise)
        yield Step(i, sigma, x, denoised, sigma_next, x_next)
        x = x_next
