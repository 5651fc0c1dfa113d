"""Layouts to images: named boxes as tokens, and the transformer that reads them.

Source: "High-Resolution Image Synthesis with Latent Diffusion Models" (Rombach et al., arXiv
2112.10752, section 4.3.1). The tokens are those of the layouts of "Taming Transformers" (Esser et
al., arXiv 2012.09841; taming/data/conditional_builder/objects_bbox.py in its code).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..classes import number_of
from ..configs import BoxesConfig
from ..errors import InputError
from .conditioning import Conditioning, Given, Layout, Tokens
from .token_encoder import TokenEncoder

CORNERS = ("\N{NORTH WEST ARROW}", "\N{SOUTH EAST ARROW}")
"""The pieces of a box after its name: its upper left and its lower right corner."""

PER_BOX = 1 + len(CORNERS)
"""Tokens of a box."""


class Boxes:
    """Boxes (name, (x0, y0, x1, y1)) -> a context [B, T, width]; T is that of `token_count`.

    Each box is three tokens: its class, its upper left and its lower right corner. A corner is the
    nearest point of a grid over the image, counted row by row. After them, the token for no box
    fills up, and the corners of the crop follow, if the config has it: here always the whole image.
    Without a layout, every token is that for no box.

    For viewers, each box is a word: "cat", and "cat 2" for the second cat.
    """

    inputs = frozenset({"boxes"})

    def __init__(self, config: BoxesConfig):
        """Raises InputError for a vocabulary or a length that is too small."""
        if max(len(config.names), config.sections**2) > config.nothing:
            raise InputError(
                f"A vocabulary of {config.vocab_size:,} tokens is too small for"
                f" {len(config.names):,} names, {config.sections} x {config.sections} points and"
                " the token for no box.\nGive a larger vocab_size that is no square.",
                parameter="vocab_size",
            )
        if token_count(config) > config.length:
            raise InputError(
                f"{config.most} boxes are {token_count(config)} tokens, more than the length"
                f" {config.length}.\nGive a larger length.",
                parameter="length",
            )
        self.config = config
        self.model: nn.Module = TokenEncoder(config)

    def tokens(self, given: Sequence[Given]) -> Tokens:
        """Return the tokens with a word for each box. Raises InputError for an unknown name and
        for too many boxes."""
        names = [self._names(each.boxes or ()) for each in given]
        return Tokens.of_names(self._ids(given), names, after=CORNERS)

    def embed(self, given: Sequence[Given]) -> Conditioning:
        """Return the states of the tokens, a context [B, T, width]."""
        weight = next(self.model.parameters())
        return Conditioning(context=self.model(self._ids(given).to(weight.device)).states)

    def _ids(self, given: Sequence[Given]) -> Tensor:
        """[B, T] int64."""
        return torch.tensor([self._row(each.boxes) for each in given], device="cpu")

    def _row(self, boxes: Layout | None) -> list[int]:
        config = self.config
        if boxes is None:
            return [config.nothing] * token_count(config)
        if len(boxes) > config.most:
            raise InputError(
                f"This model takes at most {config.most} boxes, got {len(boxes)}.\nLeave some out.",
                parameter="boxes",
            )
        row = []
        for name, (x0, y0, x1, y1) in boxes:
            row += [self._number(name), self._point(x0, y0), self._point(x1, y1)]
        row += [config.nothing] * (PER_BOX * (config.most - len(boxes)))
        return row + ([self._point(0, 0), self._point(1, 1)] if config.crop else [])

    def _point(self, x: float, y: float) -> int:
        """The token of a corner, in fractions of the image."""
        last = self.config.sections - 1
        return round(y * last) * self.config.sections + round(x * last)

    def _names(self, layout: Layout) -> list[str]:
        """The names of the boxes, with a number from the second box of a class on."""
        seen: Counter[int] = Counter()
        names = []
        for name, _ in layout:
            number = self._number(name)
            seen[number] += 1
            own = self.config.names[number]
            names.append(own if seen[number] == 1 else f"{own} {seen[number]}")
        return names

    def _number(self, name: str) -> int:
        return number_of(name, self.config.names, parameter="boxes")


def token_count(config: BoxesConfig) -> int:
    """Return T, the tokens of a layout."""
    return PER_BOX * config.most + 2 * config.crop
