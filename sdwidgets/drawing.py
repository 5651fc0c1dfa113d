"""Noise drawn from seeds, counted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .diffusion import slerp


class Drawing:
    """Draws unit noise [B, ...], each image's from its own seed, the same on every device.

    With ``others``, a second seed for each image, every draw is the noise at ``share`` of the way
    from the first seed's to the second's (`slerp`): also those for an image's latents and of
    samplers that add noise, so that at 1 the image is the second seed's. ``count``: how often it
    has drawn.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        device: torch.device,
        others: Sequence[int] = (),
        share: float = 0.0,
    ):
        self._generators = [_seeded(seed) for seed in seeds]
        self._others = [_seeded(seed) for seed in others]
        self._share = share
        self._device = device
        self.count = 0

    def __call__(self, *shape: int) -> Tensor:
        self.count += 1
        values = [_unit(generator, shape) for generator in self._generators]
        if self._others:
            others = [_unit(generator, shape) for generator in self._others]
            values = [slerp(*pair, self._share) for pair in zip(values, others, strict=True)]
        return torch.stack(values).to(self._device)

    def skip(self, count: int, shape: Sequence[int]) -> None:
        """Draw noise of that shape and drop it, until it has drawn ``count`` times."""
        while self.count < count:
            self(*shape)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed)


def _unit(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
