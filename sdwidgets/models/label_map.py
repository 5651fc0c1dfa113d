"""Semantic synthesis: a map of classes, scaled down to the latents' size, beside the latents."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..configs import LabelMapConfig
from ..errors import InputError
from .conditioning import Conditioning, Given


class ChannelMapper(nn.Module):
    """Shares of classes [B, K, h, w] -> [B, C, h, w], for each cell alone and without a bias."""

    def __init__(self, classes: int, channels: int):
        super().__init__()
        self.channel_mapper = nn.Conv2d(classes, channels, 1, bias=False)

    def forward(self, shares: Tensor) -> Tensor:
        return self.channel_mapper(shares)


class LabelMap:
    """A map [1, H, W] of class numbers -> channels [B, C, H/f, W/f], with f = 2^stages.

    As the SpatialRescaler of "High-Resolution Image Synthesis with Latent Diffusion Models"
    (Rombach et al., arXiv 2112.10752, section 4.3.2 and appendix E): a channel of zeros and ones
    for each class, halved bilinearly, which is the mean of 2 x 2 cells, and mapped to a few
    channels, with learnt weights. Without a map, all channels are zeros.
    """

    inputs = frozenset({"label_map"})

    def __init__(self, config: LabelMapConfig):
        self.config = config
        self.model: nn.Module = ChannelMapper(len(config.names), config.channels)

    def tokens(self, given: Sequence[Given]) -> None:
        return None

    def embed(self, given: Sequence[Given]) -> Conditioning:
        """Return the channels [B, C, h, w]. Raises InputError for a map of another size than the
        image's, and for numbers that are no class."""
        weight = next(self.model.parameters())
        shares = torch.cat([self._shares(each, weight.device) for each in given])
        return Conditioning(concat=self.model(shares.to(weight.dtype)))

    def _shares(self, given: Given, device: torch.device) -> Tensor:
        """[1, K, h, w]: the share of each class in each cell."""
        (width, height), f, classes = given.size, 2**self.config.stages, len(self.config.names)
        h, w = height // f, width // f
        if given.label_map is None:
            return torch.zeros(1, classes, h, w, device=device)
        values = given.label_map.values[0].to(device)
        if values.shape != (height, width):
            raise InputError(
                f"The label map must have the size {width} x {height} of the image to make, got"
                f" {values.shape[1]} x {values.shape[0]}.",
                parameter="label_map",
            )
        numbers = values.long()
        low, high = numbers.aminmax()
        if (numbers != values).any() or low < 0 or high >= classes:
            raise InputError(
                f"A label map has whole numbers from 0 to {classes - 1}, the indices of the"
                " model's classes.\nmodel.classes are their names.",
                parameter="label_map",
            )
        cells = numbers[: h * f, : w * f].reshape(h, f, w, f).permute(0, 2, 1, 3).reshape(h * w, -1)
        counts = torch.zeros(h * w, classes, device=device)
        counts.scatter_add_(1, cells, torch.ones_like(cells, dtype=counts.dtype))
        return (counts / f**2).mT.reshape(1, classes, h, w)
