"""Classifiers on the features of a denoiser that name the objects of emoji scenes and their places.

Which of two objects goes where is a faint signal in the noise, so it is trained explicitly (as
representation alignment trains for another network's features, arXiv 2410.06940). The attention
maps are not trained. The classifiers need scenes, where everything is known, and are dropped after
the training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..models.unet import UNet
from ..scenes import SIZE, Scene
from .diffusion import Denoising, DiffusionTask
from .loop import Draw
from .recognizer import NOTHING, NOUNS


class WithCells(Denoising):
    """The network, with classifiers that name the content of each cell of its upward features."""

    def __init__(self, unet: UNet, embedders: Sequence[nn.Module] = ()):
        super().__init__(unet, embedders)
        self.cells = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(1, width), nn.Conv2d(width, 128, 1), nn.SiLU(),
                nn.Conv2d(128, NOTHING + 1, 1),
            )
            for width in reversed(unet.config.channels[1:])
        )  # fmt: skip

    @contextmanager
    def features(self) -> Iterator[list[Tensor]]:
        """A context whose list receives the outputs of the network's levels on the way up."""
        found: list[Tensor] = []
        taps = [
            up.register_forward_hook(lambda *call: found.append(call[-1]))
            for up in list(self.unet.up_blocks)[:-1]
        ]
        try:
            yield found
        finally:
            for tap in taps:
                tap.remove()


def layout(scene: Scene, cells: int) -> np.ndarray:
    """Return the content of each cell of a scene [cells, cells]: a noun's number, or NOTHING."""
    labels = np.full((cells, cells), NOTHING)
    centres = (np.arange(cells) + 0.5) * SIZE / cells
    for placed in scene.objects:
        rows, columns = (abs(centres - at) < 0.4 * placed.size for at in (placed.y, placed.x))
        labels[np.ix_(rows, columns)] = NOUNS.index(placed.noun)
    return labels


@dataclass(kw_only=True)
class NamingTask(DiffusionTask):
    """A `DiffusionTask` whose ``model`` also names the content of cells in ``scenes``, those of the
    images; ``naming`` is the weight of that loss."""

    model: WithCells
    scenes: Sequence[Scene]
    naming: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.rarity = torch.ones(NOTHING + 1)
        self.rarity[NOTHING] = 0.2  # most of a scene is background

    def loss(self, draw: Draw) -> dict[str, Tensor]:
        with self.model.features() as features:
            losses = super().loss(draw)
        rows = self.rows(draw)
        pairs = zip(self.model.cells, features, strict=True)
        named = torch.stack([self._named(classify(h), rows) for classify, h in pairs]).mean()
        denoising = losses["loss"]
        loss = denoising + self.naming * named
        return {**losses, "loss": loss, "denoising": denoising, "named": named}

    def _named(self, logits: Tensor, rows: list[int]) -> Tensor:
        """Return the cross-entropy of a classifier's logits [B, 41, cells, cells]."""
        labels = np.stack([layout(self.scenes[row], logits.shape[-1]) for row in rows])
        target = torch.from_numpy(labels).to(logits.device)
        return F.cross_entropy(logits.float(), target, self.rarity.to(logits.device))
