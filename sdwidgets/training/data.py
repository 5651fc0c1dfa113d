"""Scenes as tensors. Sample ``i`` of a seed is always the same scene, whoever asks for it."""

from __future__ import annotations

import random

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


def crops(seed: int, start: int, count: int, glyphs: Glyphs, size: int) -> Tensor:
    """Square crops [count, 3, size, size] in [-1, 1], each around an object of another scene.

    The autoencoder is convolutional: what it learns on crops holds on whole scenes, and a crop
    shows an object for a fraction of a scene's work.
    """
    out = []
    for index in range(start, start + count):
        scene = scene_at(seed, index)
        rng = random.Random(f"crop/{seed}/{index}")
        placed = rng.choice(scene.objects)
        x, y = (
            int(min(max(centre + rng.uniform(-0.5, 0.5) * size - size / 2, 0), SIZE - size))
            for centre in (placed.x, placed.y)
        )
        image = render(scene, glyphs).image
        out.append(to_tensor(image[y : y + size, x : x + size]))
    return torch.stack(out)
