"""From a network's prediction to ``denoise(x, sigma) -> denoised``.

What a network predicts, and how it was trained to see its input, are four coefficients (Karras et
al., arXiv 2206.00364, section 5 and table 1)::

    denoised = c_skip(sigma) * x + c_out(sigma) * network(c_in(sigma) * x, c_noise(sigma))

`PREDICTIONS` has a row of them for every kind of prediction. Samplers know ``x = x0 + sigma *
noise`` and nothing else. Latents are float32 outside; the one cast to the network's type is here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from .schedule import NoiseSchedule

Prediction = Literal["eps", "v", "x0", "flow"]
Denoise = Callable[[Tensor, float], Tensor]
"""``(x [B, C, h, w], sigma) -> denoised [B, C, h, w]``, float32: the expected clean latents."""

Network = Callable[[Tensor, Tensor], Tensor]
"""``(c_in * x [N, C, h, w], c_noise [N] float32) -> prediction [N, C, h, w]``."""

Level = Any
"""A noise level: a float, or a tensor of them, which gives tensors of its shape and type."""


@dataclass(frozen=True)
class Coefficients:
    """The four coefficients of one kind of prediction, each a function of the noise level."""

    c_skip: Callable[[Level], Level]
    c_out: Callable[[Level], Level]
    c_in: Callable[[Level], Level]
    c_noise: Callable[[Level, NoiseSchedule], Level]


def _unit(sigma: Level) -> Level:
    """Return the factor that scales x = x0 + sigma * noise to unit variance."""
    return 1 / (1 + sigma**2) ** 0.5


def _training_step(sigma: Level, schedule: NoiseSchedule) -> Level:
    return schedule.t(sigma)


PREDICTIONS: dict[Prediction, Coefficients] = {
    "eps": Coefficients(
        c_skip=lambda sigma: 0 * sigma + 1,
        c_out=lambda sigma: -sigma,
        c_in=_unit,
        c_noise=_training_step,
    ),
    "v": Coefficients(
        c_skip=lambda sigma: 1 / (1 + sigma**2),
        c_out=lambda sigma: -sigma / (1 + sigma**2) ** 0.5,
        c_in=_unit,
        c_noise=_training_step,
    ),
    "x0": Coefficients(
        c_skip=lambda sigma: 0 * sigma,
        c_out=lambda sigma: 0 * sigma + 1,
        c_in=_unit,
        c_noise=_training_step,
    ),
    "flow": Coefficients(
        c_skip=lambda sigma: 1 / (1 + sigma),
        c_out=lambda sigma: -sigma / (1 + sigma),
        c_in=lambda sigma: 1 / (1 + sigma),
        c_noise=lambda sigma, schedule: sigma / (1 + sigma),
    ),
}
"""The kinds of prediction.

eps: the noise (arXiv 2006.11239). v: ``(noise - sigma * x0) / sqrt(1 + sigma^2)`` (Salimans and
Ho, arXiv 2202.00512, section 4). x0: the clean latents. These see ``x / sqrt(1 + sigma^2)``, of
unit variance, and the training step of sigma.

flow: ``noise - x0``, the velocity along the straight line ``(1 - t) * x0 + t * noise`` (rectified
flow, Liu et al., arXiv 2209.03003; with noise at t = 1 as in Esser et al., arXiv 2403.03206). That
line is ``x / (1 + sigma)`` with ``sigma = t / (1 - t)``. The network is told t, between 0 and 1.
"""


def coefficients(prediction: Prediction) -> Coefficients:
    """Return the coefficients of a kind of prediction. Raises ValueError for an unknown kind."""
    if prediction not in PREDICTIONS:
        raise ValueError(
            f"prediction must be one of {', '.join(map(repr, PREDICTIONS))}, got {prediction!r}"
        )
    return PREDICTIONS[prediction]


class Denoiser:
    """``denoise(x, sigma)`` of one network.

    A ``guidance_scale`` turns on classifier-free guidance (Ho and Salimans, arXiv 2207.12598): the
    network is called once with twice the batch, **the prompt's half first**, and the prediction is
    ``uncond + guidance_scale * (cond - uncond)``. ``guidance_rescale`` in [0, 1] pulls its contrast
    back to that of the prompt's half (Lin et al., arXiv 2305.08891, section 3.4).

    An ``image_guidance_scale`` beside it is for networks that are also told an image
    (InstructPix2Pix, Brooks et al., arXiv 2211.09800, eq. 3). The batch is three times as large:
    first with the prompt and the image, then with the image alone, last with neither. Without the
    prompt, the prediction is ``neither + image_guidance_scale * (image - neither)``, and the
    prompt's half is that plus ``both - image``.
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
        image_guidance_scale: float | None = None,
    ):
        self.coefficients = coefficients(prediction)
        self.network = network
        self.schedule = schedule
        self.dtype = dtype
        self.guidance_scale = guidance_scale
        self.guidance_rescale = guidance_rescale
        self.image_guidance_scale = image_guidance_scale
        self._halves: tuple[Tensor, Tensor] | None = None

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        scale = self.guidance_scale
        c = self.coefficients
        x_in = (c.c_in(sigma) * x).to(self.dtype)
        if scale is not None:
            x_in = torch.cat([x_in] * (2 if self.image_guidance_scale is None else 3))
        c_noise = c.c_noise(sigma, self.schedule)
        t = torch.full((len(x_in),), c_noise, dtype=torch.float32, device=x.device)
        out = self.network(x_in, t).float()
        skipped, c_out = c.c_skip(sigma) * x, c.c_out(sigma)
        if scale is None:
            return torch.add(skipped, out, alpha=c_out)
        cond, uncond = self._halves_of(out)
        out = guide(cond, uncond, scale, self.guidance_rescale)
        if self._halves is None:
            self._halves = (
                torch.add(skipped, cond, alpha=c_out).detach(),
                torch.add(skipped, uncond, alpha=c_out).detach(),
            )
        return torch.add(skipped, out, alpha=c_out)

    def _halves_of(self, out: Tensor) -> tuple[Tensor, Tensor]:
        """The two predictions between which the prompt's guidance goes."""
        if self.image_guidance_scale is None:
            cond, uncond = out.chunk(2)
            return cond, uncond
        both, image, neither = out.chunk(3)
        uncond = torch.lerp(neither, image, self.image_guidance_scale)
        return uncond + (both - image), uncond

    def take_halves(self) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """The denoised latents by the prompt alone and by the negative prompt alone.

        They are those of the first call since the last take, because Heun calls twice in a step and
        the first call is at the step's x. Both have the image's guidance, if there is one. (None,
        None) without guidance.
        """
        halves, self._halves = self._halves, None
        return halves or (None, None)


def guide(cond: Tensor, uncond: Tensor, scale: float, rescale: float = 0.0) -> Tensor:
    """Return the guided prediction [B, ...] from the network's two predictions; see `Denoiser`."""
    guided = torch.lerp(uncond, cond, scale)
    if rescale == 0:
        return guided
    each = tuple(range(1, cond.ndim))
    # a constant prediction has no contrast, and would cause a division by zero
    ratio = cond.std(each, keepdim=True) / guided.std(each, keepdim=True).clamp_min(1e-12)
    return guided * torch.lerp(torch.ones_like(ratio), ratio, rescale)


def inpainting(
    denoise: Denoise, known: Tensor, noise: Tensor, mask: Tensor, levels: Sequence[float]
) -> Denoise:
    """A ``denoise`` that keeps everything outside the mask at ``known`` (latent blending).

    known, noise [B, C, h, w]; mask [B or 1, 1, h, w], 1 where something new is wanted, values in
    between as in `repainted`; levels: the noise levels of the run, descending. In each call,
    latents that are kept are replaced by ``known + sigma * noise``, and the result there is
    ``known``. So every sampler can inpaint without knowing it. The first latents, at
    ``levels[0]``, are used as they are.
    """

    def blended(x: Tensor, sigma: float) -> Tensor:
        free = repainted(mask, sigma, levels)
        if sigma < levels[0]:
            x = torch.where(free, x, torch.add(known, noise, alpha=sigma))
        return torch.where(free, denoise(x, sigma), known)

    # some samplers count training steps
    blended.schedule = getattr(denoise, "schedule", None)  # type: ignore[attr-defined]
    return blended


def repainted(mask: Tensor, sigma: float, levels: Sequence[float]) -> Tensor:
    """Return where latents are repainted at ``sigma``, in bool, the mask's shape.

    A value of the mask is the share of the run's steps, its last ones, in which that place is
    repainted: 1 always, 0 never, and between them it follows what is known until that share is left
    (Differential Diffusion, Levin and Fried, arXiv 2306.00950, section 4).
    """
    steps = len(levels) - 1
    made = sum(level >= sigma for level in levels[1:-1])
    return torch.round((1 - mask) * steps) <= made
