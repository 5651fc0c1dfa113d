"""From a network that predicts noise, velocity or picture to ``denoise(x, sigma) -> denoised``.

The network was trained on ``x / sqrt(1 + sigma^2)`` and on a training step's number; samplers
know ``x = x0 + sigma * noise`` and nothing else (Karras et al., arXiv 2206.00364, section 5: c_in,
c_skip, c_out). Latents are float32 outside; the one cast to the network's type is here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from .schedule import NoiseSchedule

Prediction = Literal["eps", "v", "x0"]
Denoise = Callable[[Tensor, float], Tensor]
"""``(x [B, C, h, w], sigma) -> denoised [B, C, h, w]``, float32: the expected clean latents."""

Network = Callable[[Tensor, Tensor], Tensor]
"""``(x / sqrt(1 + sigma^2) [N, C, h, w], t [N] float32) -> prediction [N, C, h, w]``."""


def coefficients(prediction: Prediction, sigma: float) -> tuple[float, float]:
    """(c_skip, c_out) with ``denoised = c_skip * x + c_out * prediction``.

    eps: the noise (arXiv 2006.11239). v: ``(noise - sigma * x0) / sqrt(1 + sigma^2)`` (Salimans and
    Ho, arXiv 2202.00512, section 4). x0: the picture itself.
    """
    if prediction == "eps":
        return 1.0, -sigma
    if prediction == "v":
        return 1 / (1 + sigma**2), -sigma / math.sqrt(1 + sigma**2)
    if prediction == "x0":
        return 0.0, 1.0
    raise ValueError(f"prediction must be 'eps', 'v' or 'x0', got {prediction!r}")


class Denoiser:
    """``denoise(x, sigma)`` of one network.

    With ``guidance_scale`` given, guided (classifier-free guidance, Ho and Salimans, arXiv
    2207.12598): the network is called once with twice the batch, **the prompt's half first**, and
    ``uncond + guidance_scale * (cond - uncond)`` is taken. ``guidance_rescale`` in [0, 1] pulls the
    result's contrast back to the prompt's half's (Lin et al., arXiv 2305.08891, section 3.4).
    """

    def __init__(
        self,
        network: Network,
        schedule: NoiseSchedule,
        prediction: Prediction = "eps",
        *,
        dtype: torch.dtype = torch.float32,
        guidance_scale: float | None = None,
        guidance_rescale: float = 0.0,
    ):
        coefficients(prediction, 1.0)  # an unknown kind shows here, not in the first step
        self.network = network
        self.schedule = schedule
        self.prediction = prediction
        self.dtype = dtype
        self.guidance_scale = guidance_scale
        self.guidance_rescale = guidance_rescale
        self._halves: tuple[Tensor, Tensor] | None = None

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        scale = self.guidance_scale
        x_in = (x / math.sqrt(1 + sigma**2)).to(self.dtype)
        if scale is not None:
            x_in = torch.cat([x_in, x_in])
        t = torch.full((len(x_in),), self.schedule.t(sigma), dtype=torch.float32, device=x.device)
        out = self.network(x_in, t).float()
        c_skip, c_out = coefficients(self.prediction, sigma)
        skipped = c_skip * x
        if scale is None:
            return torch.add(skipped, out, alpha=c_out)
        cond, uncond = out.chunk(2)
        out = guide(cond, uncond, scale, self.guidance_rescale)
        if self._halves is None:
            self._halves = (
                torch.add(skipped, cond, alpha=c_out),
                torch.add(skipped, uncond, alpha=c_out),
            )
        return torch.add(skipped, out, alpha=c_out)

    def take_halves(self) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """What the prompt alone and the negative prompt alone predict, denoised.

        Of the first call since the last take: Heun calls twice a step, and the first is the
        step's. (None, None) without guidance.
        """
        halves, self._halves = self._halves, None
        return halves or (None, None)


def guide(cond: Tensor, uncond: Tensor, scale: float, rescale: float = 0.0) -> Tensor:
    """The guided prediction [B, ...] from the network's two predictions; see `Denoiser`."""
    guided = torch.lerp(uncond, cond, scale)
    if rescale == 0:
        return guided
    each = tuple(range(1, cond.ndim))
    # a constant prediction has no contrast to match, and would divide by zero
    ratio = cond.std(each, keepdim=True) / guided.std(each, keepdim=True).clamp_min(1e-12)
    return guided * torch.lerp(torch.ones_like(ratio), ratio, rescale)


def inpainting(
    denoise: Denoise, known: Tensor, noise: Tensor, mask: Tensor, start: float
) -> Denoise:
    """``denoise`` that leaves everything outside the mask at ``known`` (latent blending).

    known, noise [B, C, h, w]; mask [B or 1, 1, h, w], 1 where something new is wanted. At each
    call what lies outside is put back as ``known + sigma * noise``, denoised, then set to
    ``known``: every sampler inpaints, and none knows. The latents it all begins with, at sigma =
    ``start``, are taken as they are given.
    """

    def blended(x: Tensor, sigma: float) -> Tensor:
        if sigma < start:
            x = torch.where(mask > 0, x, torch.add(known, noise, alpha=sigma))
        return torch.where(mask > 0, denoise(x, sigma), known)

    return blended
