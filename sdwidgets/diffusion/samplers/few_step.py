"""Samplers of distilled models: each step expects the clean latents, then noise is added again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..denoiser import Denoise
from .step import Levels, Noise, Step, drawn, pairs, renoised


@torch.no_grad()
def lcm(
    denoise: Denoise,
    x: Tensor,
    sigmas: Levels,
    *,
    noise: Noise | None = None,
    before: Sequence[Step] = (),
) -> Iterator[Step]:
    """Multistep sampling of a (latent) consistency model: to the clean latents, then fresh noise of
    sigma_next (Song et al., arXiv 2303.01469, algorithm 1; Luo et al., arXiv 2310.04378).

    For models (or LoRAs) that were distilled for it, in 1 to 8 steps; others stay blurred.
    """
    for i, (sigma, sigma_next) in enumerate(pairs(sigmas)):
        denoised = x_next = denoise(x, sigma)
        if sigma_next > 0:
            x_next = torch.add(denoised, drawn(noise), alpha=sigma_next)
        yield Step(i, sigma, x, denoised, sigma_next, x_next)
        x = x_next


@torch.no_grad()
def tcd(
    denoise: Denoise,
    x: Tensor,
    sigmas: Levels,
    *,
    noise: Noise | None = None,
    before: Sequence[Step] = (),
    eta: float = 0.3,
) -> Iterator[Step]:
    """Strategic stochastic sampling for trajectory consistency distillation (Zheng et al., arXiv
    2402.19159), whose gamma is ``eta``.

    Euler to the training step ``s = (1 - gamma) t_next``, then fresh noise up to sigma_next. gamma
    0 is deterministic; with 1 hardly more than the noise of step 0 stays, as with `lcm`. Published
    code rounds s down to a whole step; here it is not rounded, since no network is asked there.
    ``denoise.schedule`` has the steps of the noise levels. Raises ValueError without it.
    """
    for i, (sigma, sigma_next) in enumerate(pairs(sigmas)):
        denoised = denoise(x, sigma)
        down = _earlier(denoise, sigma_next, 1 - eta) if eta > 0 and sigma_next > 0 else sigma_next
        x_next = torch.lerp(denoised, x, down / sigma)
        up = math.sqrt((sigma_next - down) * (sigma_next + down))
        x_next = renoised(x_next, up, noise)
        yield Step(i, sigma, x, denoised, sigma_next, x_next)
        x = x_next


def _earlier(denoise: Denoise, sigma: float, share: float) -> float:
    """Return the noise level at a share of sigma's training step; never more than sigma."""
    schedule = getattr(denoise, "schedule", None)
    if schedule is None:
        raise ValueError(
            "tcd counts training steps: denoise must have a schedule, as a Denoiser has"
        )
    return min(schedule.sigma(share * schedule.t(sigma)), sigma)
