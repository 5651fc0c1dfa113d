"""Scenes as tensors. Sample ``i`` of a seed is always the same scene, whoever asks for it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..scenes import SIZE, Glyphs, Scene, Split, make_scene, render


def scene_at(seed: int, index: int, split: Split = "seen", kind: str | None = None) -> Scene:
    """Scene ``index`` of an endless, reproducible sequence."""
    return make_scene(random.Random(f"{seed}/{split}/{kind}/{index}"), split, kind=kind)


def to_tensor(image: np.ndarray) -> Tensor:
    """uint8 [H, W, 3] -> float32 [3, H, W] in [-1, 1]."""
    return torch.from_numpy(image).permute(2, 0, 1).float() / 127.5 - 1


def draw(scenes: list[Scene], glyphs: Glyphs) -> Tensor:
    """The scenes' pictures [B, 3, 128, 128] in [-1, 1]."""
    return torch.stack([to_tensor(render(scene, glyphs).image) for scene in scenes])


class Crops(Protocol):
    """Where an autoencoder's training takes its crops from."""

    def crops(self, numbers: Sequence[int], size: int) -> Tensor:
        """Square crops [count, 3, size, size] in [-1, 1]; each number has one, always the same."""
        ...


@dataclass(frozen=True)
class SceneCrops:
    """Crops of the scenes of a seed, each around an object of another scene.

    The autoencoder is convolutional: what it learns on crops holds on whole scenes, and a crop
    shows an object for a fraction of a scene's work.
    """

    seed: int
    glyphs: Glyphs

    def crops(self, numbers: Sequence[int], size: int) -> Tensor:
        return torch.stack([self._crop(number, size) for number in numbers])

    def _crop(self, number: int, size: int) -> Tensor:
        scene = scene_at(self.seed, number)
        rng = random.Random(f"crop/{self.seed}/{number}")
        placed = rng.choice(scene.objects)
        x, y = (
            int(min(max(centre + rng.uniform(-0.5, 0.5) * size - size / 2, 0), SIZE - size))
            for centre in (placed.x, placed.y)
        )
        image = render(scene, self.glyphs).image
        return to_tensor(image[y : y + size, x : x + size])
