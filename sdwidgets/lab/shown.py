"""What the lab shows of a picture beside its reconstructions and latents, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from .between import Frame
from .directions import Directions
from .forward import Level
from .history import History


@dataclass(frozen=True, eq=False)
class Edited:
    """The picture after edits of its latents: ``image``, ``latents`` [C, h, w] float32, and the
    PSNR in dB against the picture that went in. ``directions`` may not be known yet."""

    name: str
    image: Image.Image
    latents: np.ndarray
    psnr: float
    history: History
    directions: Directions | None

    @property
    def edits(self) -> tuple[str, ...]:
        """The edits in words, as applied."""
        return tuple(edit.label(self.directions) for edit in self.history.now)


@dataclass(frozen=True, eq=False)
class Between:
    """Frames from the picture to the second one, through the autoencoder of that name."""

    name: str
    frames: tuple[Frame, ...]


@dataclass(frozen=True, eq=False)
class Diffused:
    """The picture at noise levels of the model of that name, which was told ``prompt``."""

    model: str
    prompt: str
    levels: tuple[Level, ...]
    expected: int

    @property
    def is_whole(self) -> bool:
        """Whether all levels are there."""
        return len(self.levels) == self.expected
