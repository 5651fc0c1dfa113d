"""The small vision tower with which neighbours are embedded, trained before the denoiser.

Two images of a glyph have nearly the same embedding, and those of other glyphs have others
(contrastive learning, arXiv 2103.00020, section 2.3, with a second image in place of the caption).
From the embedding a small decoder draws the glyph, so that it says what the glyph looks like, for
glyphs that the tower never saw, too. The decoder is dropped after the training.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ...models.conditioning import Given, Held
from ...models.neighbours import NeighbourImages
from ...pixels import to_tensor
from ...prompts import PLAIN
from ...scenes import SIZE, Glyphs
from ..identity import Fact
from ..loop import Average, Draw
from .telling import neighbour

SIDE = 24  # pixels along one side of a decoded glyph
TEMPERATURE = 0.1


class TowerWithDecoder(nn.Module):
    """The towers of an embedder, and the decoder of their embeddings."""

    def __init__(self, embedder: NeighbourImages):
        super().__init__()
        self.towers = embedder.model
        self.color = nn.Sequential(
            nn.Linear(embedder.config.width, 512), nn.SiLU(), nn.Linear(512, 3 * SIDE**2)
        )

    @staticmethod
    def kept(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights of the towers alone."""
        own = "towers."
        return {k.removeprefix(own): v for k, v in weights.items() if k.startswith(own)}


@dataclass
class TowerTask:
    """The towers of ``embedder`` learn to tell the glyphs ``names`` apart."""

    model: TowerWithDecoder
    embedder: NeighbourImages
    names: tuple[str, ...]
    glyphs: Glyphs
    seed: int = 0
    average: Average | None = field(default=None, init=False, repr=False)

    def identity(self) -> dict[str, Fact]:
        """Facts that identify the training, for its checkpoint."""
        return {"glyphs": ", ".join(self.names), "seed of the task": self.seed}

    def loss(self, draw: Draw) -> dict[str, Tensor]:
        rng = random.Random(f"tower/{self.seed}/{draw.step}")
        names = rng.sample(self.names, draw.size)[draw.rows]
        views = [
            self._embedded([neighbour(name, rng.randrange(10**6), self.glyphs) for name in names])
            for _ in range(2)
        ]
        units = [F.normalize(view.float(), dim=-1) for view in views]
        logits = units[0] @ units[1].mT / TEMPERATURE
        own = torch.arange(len(names), device=logits.device)
        contrast = (F.cross_entropy(logits, own) + F.cross_entropy(logits.mT, own)) / 2
        wanted = torch.cat([drawn_small(self.glyphs[name]) for name in names]).to(logits.device)
        decoded = [self.model.color(view).view_as(wanted) for view in views]
        error = torch.stack([F.mse_loss(one.float(), wanted) for one in decoded]).mean()
        found = (logits.argmax(1) == own).float().mean()
        return {"loss": contrast + 10 * error, "contrast": contrast, "error": error, "found": found}

    def _embedded(self, images: list[Held]) -> Tensor:
        given = [Given(None, (SIZE, SIZE), neighbours=(each,), reading=PLAIN) for each in images]
        context = self.embedder.embed(given).context
        assert context is not None
        return context[:, 0]


def drawn_small(glyph: Image.Image) -> Tensor:
    """A glyph on grey [1, 3, SIDE, SIDE] in [-1, 1], as large as it can be."""
    scale = SIDE / max(glyph.size)
    width, height = (max(1, round(side * scale)) for side in glyph.size)
    canvas = Image.new("RGB", (SIDE, SIDE), (128, 128, 128))
    small = glyph.resize((width, height), Image.Resampling.BOX)
    canvas.paste(small, ((SIDE - width) // 2, (SIDE - height) // 2), small)
    return to_tensor(np.array(canvas))
