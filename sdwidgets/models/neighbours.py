"""Neighbours: images like the one to make, a token each in the context.

Source: "Retrieval-Augmented Diffusion Models" (Blattmann et al., arXiv 2204.11824, section 3.2) and
CompVis's script knn2img.py: the CLIP embedding of each image and, before them, of the prompt, all
of the same length; nothing said is zeros.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..configs import NeighboursConfig
from ..errors import CheckpointError, InputError
from .clip_vision import CLIPVision
from .conditioning import Conditioning, Given, Held, Tokens, replaced
from .text import TextEncoder

MOST_REPEATED = 90
"""The most tokens of a context that is repeated to the length of others."""


class Towers(nn.Module):
    """The networks that embed neighbours: ``vision`` and, where the prompt is read, ``text``."""

    def __init__(self, vision: CLIPVision, text: nn.Module | None):
        super().__init__()
        self.vision = vision
        self.text = text


class NeighbourImages:
    """Images, and perhaps the prompt, as tokens [B, T, width] of the length ``config.norm``.

    The prompt comes first, if there is one. The order of the tokens means nothing to the network.
    An image told nothing has a token of zeros. Contexts of different lengths are repeated to a
    common one, which changes nothing, as attention to a context that is repeated is the attention
    to it once. Where that would take more than `MOST_REPEATED` tokens, zeros follow shorter ones.
    """

    def __init__(self, config: NeighboursConfig, text: TextEncoder | None = None):
        """``text``: the text encoder of ``config.text``. Raises CheckpointError for towers of
        another width than the tokens'."""
        widths = {config.vision.projection_dim} | (
            set() if config.text is None else {config.text.projection_dim}
        )
        if widths != {config.width}:
            raise CheckpointError(
                f"The embeddings of neighbours are {config.width} wide, but the projections of the "
                f"towers are {' and '.join(map(str, sorted(widths)))}."
            )
        if (text is None) != (config.text is None):
            raise ValueError("a text encoder goes with a config that has one")
        self.config = config
        self.inputs = frozenset({"neighbours"} | (set() if text is None else {"prompt"}))
        self.text = text
        self.model: nn.Module = Towers(
            CLIPVision(config.vision), None if text is None else text.model
        )

    def tokens(self, given: Sequence[Given]) -> Tokens:
        """Return the tokens, with a word for each image: its number, from 1.

        Raises InputError for more images than the config says.
        """
        rows = [self._words(each) for each in given]
        counts = [max(len(words), 1) for words in rows]
        length = _length(counts)
        numbers = [[*range(1, count + 1)] for count in counts]
        ids = [_extended(row, length, 0) for row in numbers]
        return Tokens.of_names(
            torch.tensor(ids, device="cpu"),
            rows,
            periods=[count if length % count == 0 else length for count in counts],
        )

    def embed(self, given: Sequence[Given]) -> Conditioning:
        """Return the tokens as a context [B, T, width]."""
        images = list(dict.fromkeys(held for each in given for held in each.neighbours or ()))
        embedded = dict(zip(images, self._images(images), strict=True))
        read = dict(zip(*self._prompts(given), strict=True))
        rows: list[list[Tensor]] = []
        for number, each in enumerate(given):
            row = [embedded[held] for held in each.neighbours or ()]
            rows.append([read[number], *row] if number in read else row)
        nothing = next(self.model.parameters()).new_zeros(self.config.width)
        rows = [row or [nothing] for row in rows]
        length = _length([len(row) for row in rows])
        return Conditioning(torch.stack([torch.stack(_extended(r, length, nothing)) for r in rows]))

    def _images(self, images: Sequence[Held]) -> Sequence[Tensor]:
        """The token [width] of each image."""
        if not images:
            return ()
        vision = self._towers.vision
        weight = next(vision.parameters())
        prepared = [vision.prepared(held.values[None].to(weight.device).float()) for held in images]
        return self._scaled(vision(torch.cat(prepared).to(weight.dtype))).unbind()

    def _prompts(self, given: Sequence[Given]) -> tuple[Sequence[int], Sequence[Tensor]]:
        """The numbers of those that have a prompt, and its token [width] each."""
        said = [number for number, each in enumerate(given) if self._says(each)]
        if not said:
            return (), ()
        assert self.text is not None and self._towers.text is not None
        text = replaced(self.text, self._towers.text)
        vector = text.embed([given[number] for number in said]).vector
        assert vector is not None
        return said, self._scaled(vector).unbind()

    def _scaled(self, embeddings: Tensor) -> Tensor:
        return self.config.norm * F.normalize(embeddings, dim=-1)

    def _says(self, given: Given) -> bool:
        return self.text is not None and bool((given.prompt or "").strip())

    def _words(self, given: Given) -> list[str]:
        """The words of one image's tokens: its prompt, and the numbers of its neighbours."""
        images = given.neighbours or ()
        if len(images) > self.config.most:
            raise InputError(
                f"This model takes up to {self.config.most} neighbours, got {len(images)}.\n"
                "Leave some out.",
                parameter="neighbours",
            )
        prompt = [given.prompt or ""] if self._says(given) else []
        return prompt + [str(number) for number in range(1, len(images) + 1)]

    @property
    def _towers(self) -> Towers:
        assert isinstance(self.model, Towers)
        return self.model


def _length(counts: Sequence[int]) -> int:
    """The number of tokens of a batch's context: a multiple of all counts, if that is not long."""
    multiple = math.lcm(*counts)
    return multiple if multiple <= MOST_REPEATED else max(counts)


def _extended(row: list, length: int, filling: object) -> list:
    """The row, repeated to a length, or followed by ``filling`` where it does not fit into that."""
    if length % len(row) == 0:
        return row * (length // len(row))
    return row + [filling] * (length - len(row))
