"""A few images of a single colour each, with captions and labels: quick to draw and to learn."""

from __future__ import annotations

import random

import numpy as np

COLORS = {"red": (220, 30, 30), "green": (20, 200, 60), "blue": (30, 60, 230)}


class Few:
    """``count`` images of ``size`` pixels; number i has the colour i modulo 3."""

    def __init__(self, count: int = 12, size: int = 16, shade: int = 0):
        self.count, self.size, self.shade = count, size, shade
        self.skipped: dict[str, str] = {}

    def __len__(self) -> int:
        return self.count

    def label(self, number: int) -> int:
        return number % self.count % 3

    def picture(self, number: int) -> np.ndarray:
        color = np.array(list(COLORS.values())[self.label(number)]) + self.shade
        picture = np.full((self.size, self.size, 3), color).clip(0, 255)
        picture[: self.size // 2, :, 0] = 20 * (number % self.count) % 255
        return picture.astype(np.uint8)

    def caption(self, number: int, rng: random.Random) -> str:
        name = list(COLORS)[self.label(number)]
        return rng.choice([f"a {name} picture", f"all {name}"])

    def crops(self, numbers, size):
        raise NotImplementedError
