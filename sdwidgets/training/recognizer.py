"""A small network that names the objects in an image of a scene: the judge of the bundled model.

It is trained only on real scenes and knows nothing of the model it judges.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..pixels import to_tensor
from ..scenes import COLORS, OBJECTS, SIZE, Glyphs, Relation, Scene, render
from .data import scene_at
from .identity import Fact
from .loop import Average, Draw
from .surroundings import settled

NOUNS = list(OBJECTS)
COLOR_NAMES = list(COLORS)
CELL = 8  # pixels along a side of a named cell
NOTHING = len(NOUNS)  # the class of the background


class Recognizer(nn.Module):
    """image [B, 3, 128, 128] in [-1, 1] -> logits: what each cell shows [B, 41, 16, 16], and the
    background's colour [B, 10]."""

    def __init__(self) -> None:
        super().__init__()

        def conv(c_in: int, c_out: int, stride: int = 1) -> nn.Sequential:
            layer = nn.Conv2d(c_in, c_out, 3, stride, padding=1)
            return nn.Sequential(layer, nn.GroupNorm(2, c_out), nn.SiLU())

        self.body = nn.Sequential(
            conv(3, 24, 2), conv(24, 48, 2), conv(48, 64, 2), conv(64, 96), conv(96, 96),
            conv(96, 96),
        )  # fmt: skip
        self.cells = nn.Conv2d(96, len(NOUNS) + 1, 1)
        self.color = nn.Linear(96, len(COLOR_NAMES))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(image)
        cells = self.cells(h)
        empty = cells.softmax(1)[:, NOTHING:]  # the colour is read where nothing stands
        ground = (h * empty).sum((2, 3)) / empty.sum((2, 3)).clamp(min=1e-4)
        return cells, self.color(ground)


def cell_labels(scene: Scene, masks: dict[str, np.ndarray]) -> np.ndarray:
    """The content of each cell [16, 16]: a noun's number, NOTHING, or -1 for a cell at an object's
    edge, which is ignored."""
    n = SIZE // CELL
    labels = np.full((n, n), NOTHING)
    for noun in scene.counts:
        covered = masks[noun].reshape(n, CELL, n, CELL).mean((1, 3))
        labels[(covered > 0.05) & (labels == NOTHING)] = -1
        labels[covered > 0.5] = NOUNS.index(noun)
    return labels


@dataclass
class RecognizerTask:
    """Real scenes, a little blurred and noisy at random, as decoders make them look."""

    model: Recognizer
    glyphs: Glyphs
    seed: int = 2  # not the scenes that the model is trained on
    average: Average | None = field(default=None, init=False, repr=False)

    def identity(self) -> dict[str, Fact]:
        """Facts that identify the training, for its checkpoint."""
        return {"seed of the task": self.seed}

    def loss(self, draw: Draw) -> dict[str, Tensor]:
        device = draw.device
        scenes = [
            scene_at(self.seed, number, ("seen", "held_out")[number % 2]) for number in draw.numbers
        ]
        drawn = [render(scene, self.glyphs) for scene in scenes]
        image = torch.cat([to_tensor(one.image) for one in drawn]).to(device)
        labels = torch.from_numpy(
            np.stack([cell_labels(s, d.masks) for s, d in zip(scenes, drawn, strict=True)])
        ).to(device)
        color = torch.tensor([COLOR_NAMES.index(s.background) for s in scenes], device=device)

        blur = draw.uniform(1, 1, 1)
        image = torch.lerp(image, F.avg_pool2d(image, 5, 1, 2), blur)
        noise = draw.normal(*image.shape[1:])
        image = image + 0.05 * blur.flip(0) * noise
        cells, ground = self.model(image.contiguous(memory_format=torch.channels_last))
        what = F.cross_entropy(cells, labels, ignore_index=-1)
        loss = what + 0.3 * F.cross_entropy(ground, color)
        asked = labels >= 0
        right = (cells.argmax(1) == labels)[asked & (labels != NOTHING)].float().mean()
        return {
            "loss": loss,
            "cells": right,
            "color": (ground.argmax(1) == color).float().mean(),
        }


@dataclass(frozen=True)
class Seen:
    """What the recogniser sees: for every noun the centres (x, y) of its objects in pixels, the
    largest first, and the background's colour."""

    objects: dict[str, list[tuple[float, float]]]
    color: str


@settled()
def recognize(model: Recognizer, images: Tensor, smallest: int = 3) -> list[Seen]:
    """The content of each of the images [B, 3, 128, 128] in [-1, 1].

    An object is a connected group of at least ``smallest`` cells of the same class.
    """
    cells, colors = model(images.contiguous(memory_format=torch.channels_last))
    seen = []
    for labels, color in zip(cells.argmax(1).cpu().numpy(), colors.argmax(1), strict=True):
        found: dict[str, list[tuple[int, float, float]]] = {}
        for number, group in groups(labels):
            if number != NOTHING and len(group) >= smallest:
                y, x = (np.mean(group, axis=0) + 0.5) * CELL
                found.setdefault(NOUNS[number], []).append((len(group), float(x), float(y)))
        objects = {n: [(x, y) for _, x, y in sorted(g, reverse=True)] for n, g in found.items()}
        seen.append(Seen(objects, COLOR_NAMES[int(color)]))
    return seen


def groups(labels: np.ndarray) -> list[tuple[int, list[tuple[int, int]]]]:
    """The connected groups of equal cells, each with its class and its cells' (row, column)."""
    height, width = labels.shape
    free = np.ones(labels.shape, bool)
    found = []
    for start in np.ndindex(labels.shape):
        if not free[start]:
            continue
        number, group, front = int(labels[start]), [], [start]
        free[start] = False
        while front:
            row, column = front.pop()
            group.append((row, column))
            for down, right in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                r, c = row + down, column + right
                if 0 <= r < height and 0 <= c < width and free[r, c] and labels[r, c] == number:
                    free[r, c] = False
                    front.append((r, c))
        found.append((number, group))
    return found


def holds(seen: Seen, first: str, relation: Relation, second: str) -> bool:
    """Whether both objects are there and the first has that relation to the second: in its
    direction, and further along it than across it."""
    if first not in seen.objects or second not in seen.objects:
        return False
    (x1, y1), (x2, y2) = seen.objects[first][0], seen.objects[second][0]
    dx, dy = x2 - x1, y2 - y1
    return {
        "left of": dx > abs(dy), "right of": -dx > abs(dy),
        "above": dy > abs(dx), "below": -dy > abs(dx),
    }[relation]  # fmt: skip
