"""A guide in a run: the slope of its loss at the clean latents that the network expects.

A guide is a function of images, [B, 3, H, W] float32 in [-1, 1], to a loss of each, [B]: the lower,
the better. `guides` has ready ones. A guide may have ``through = False``: its gradient does not
pass through the network; and ``at(step)``, which returns the guide of a step, counted from 0. One
with ``noisy(x, t)`` judges noisy latents in place of images, as a classifier does: x [B, C, h, w]
of unit variance, as networks see them, and training steps t [B].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .diffusion import Denoise, NoiseSchedule, classified, steered
from .errors import InputError, NumericsError
from .numerics import described, is_finite

if TYPE_CHECKING:
    from .models.autoencoder import Autoencoder

Guide: TypeAlias = Callable[[Tensor], Tensor]
"""``images [B, 3, H, W] float32 in [-1, 1] -> loss [B]``."""


def check_guide(guide: object) -> None:
    """Raise InputError for what is no guide."""
    if not callable(guide):
        raise InputError(
            f"guide must be a function of images [B, 3, H, W] to a loss [B], got "
            f"{described(guide)}.\nGive a function, or one of sdwidgets.guides.",
            parameter="guide",
        )


class Guiding:
    """A guide in a run of a model with this autoencoder, and how much it steers.

    A loss counts ``scale`` times for each value of an image's latents. So losses that are means
    over the image steer images of all sizes alike.
    """

    def __init__(
        self,
        guide: Guide,
        autoencoder: Autoencoder,
        scale: float,
        schedule: NoiseSchedule | None = None,
    ):
        self.guide = guide
        self.schedule = schedule
        self.autoencoder = autoencoder
        self.scale = scale
        self._now = guide

    def at(self, step: int) -> None:
        """Say which step of the run the next calls are in, counted from 0."""
        at = getattr(self.guide, "at", None)
        self._now = self.guide if at is None else at(step)

    def steered(self, denoise: Denoise) -> Denoise:
        """Return ``denoise``, steered by the guide."""
        if self.scale == 0:
            return denoise
        if self.schedule is not None and hasattr(self.guide, "noisy"):
            return classified(denoise, self.noisy_slope, self.scale)
        through = bool(getattr(self.guide, "through", True))
        return steered(denoise, self.slope, self.scale, through=through)

    def slope(self, latents: Tensor) -> Tensor:
        """Return the gradient of the loss at clean latents [B, C, h, w], for each of their values.

        Raises InputError for a loss of another shape or type, or without a gradient, and
        NumericsError for NaN or infinity.
        """
        with torch.inference_mode(False), torch.enable_grad():
            parts = [one[None].detach().clone().requires_grad_() for one in latents]
            images = torch.cat([self._decoded(part, keep=len(parts) == 1) for part in parts])
            if not is_finite(images):
                raise NumericsError(
                    "The decoder gave NaN or infinity for the guide.\n"
                    "Load the model with dtype='float32', or give a lower guide_scale."
                )
            # inside [-1, 1], with gradients that lead back from beyond it
            images = images + (images.clamp(-1, 1) - images).detach()
            loss = _checked(self._now(images), len(parts))
            found = torch.autograd.grad(latents[0].numel() * loss.float().sum(), parts)
        slope = torch.cat(found)
        if not is_finite(slope):
            raise NumericsError(
                "The gradient of the guide's loss has NaN or infinity.\nAvoid square roots and "
                "logarithms of 0, and divisions by 0, in the guide."
            )
        return slope

    def noisy_slope(self, x: Tensor, sigma: float) -> Tensor:
        """Return the gradient of the loss at noisy latents [B, C, h, w]. Raises as `slope`."""
        assert self.schedule is not None
        with torch.inference_mode(False), torch.enable_grad():
            at = x.detach().clone().requires_grad_()
            step = float(self.schedule.t(sigma))
            t = torch.full((len(x),), step, dtype=torch.float32, device=x.device)
            loss = self._now.noisy(at / (1 + sigma**2) ** 0.5, t)  # type: ignore[attr-defined]
            (slope,) = torch.autograd.grad(_checked(loss, len(x)).float().sum(), at)
        if not is_finite(slope):
            raise NumericsError("The gradient of the guide's loss has NaN or infinity.")
        return slope

    def _decoded(self, latents: Tensor, *, keep: bool) -> Tensor:
        """The image [1, 3, H, W], float32. Its activations are kept, or computed again later: then
        those of a single image are in memory at a time."""

        def decoded(part: Tensor) -> Tensor:
            weight = self.autoencoder.weight
            return self.autoencoder.decode(part.to(weight.device, weight.dtype)).float()

        if keep:
            return decoded(latents)
        image = checkpoint(decoded, latents, use_reentrant=False, preserve_rng_state=False)
        assert isinstance(image, Tensor)
        return image


def _checked(loss: object, count: int) -> Tensor:
    if not (
        isinstance(loss, Tensor) and loss.is_floating_point() and tuple(loss.shape) == (count,)
    ):
        raise InputError(
            f"A guide returns a loss for each image, a tensor of floats [{count}], got "
            f"{described(loss)}.\nAverage over each image alone, as in loss.mean((1, 2, 3)).",
            parameter="guide",
        )
    if not is_finite(loss):
        raise NumericsError("The guide's loss is NaN or infinity.")
    if not loss.requires_grad:
        raise InputError(
            "The guide's loss has no gradient with respect to its images.\n"
            "Compute it from them with torch, without detach(), no_grad() or NumPy.",
            parameter="guide",
        )
    return loss
