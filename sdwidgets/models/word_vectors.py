"""A vector for each token of a vocabulary, and for words learnt later.

Source of learnt words: "An Image is Worth One Word" (Gal et al., arXiv 2208.01618).
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .patched import patched

M = TypeVar("M", bound=nn.Module)


class WordVectors(nn.Embedding):
    """ids [...] -> vectors [..., width]; ids after the vocabulary's are those of learnt words."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # Vectors [n, width] of learnt words; see `learning`.
        self.learnt: Tensor | None
        self.register_buffer("learnt", None, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        if self.learnt is None:
            return super().forward(ids)
        beyond = ids - self.num_embeddings
        vectors = super().forward(torch.where(beyond < 0, ids, 0))
        learnt = self.learnt.to(vectors.dtype)[beyond.clamp_min(0)]
        return torch.where((beyond < 0)[..., None], vectors, learnt)


def learning(model: M, vectors: Tensor) -> M:
    """Return a copy of ``model`` that shares all its weights and has ``vectors`` [n, width] more,
    for the ids after those that it has."""
    new = patched(model, {})
    words = next(each for each in new.modules() if isinstance(each, WordVectors))
    vectors = vectors.to(words.weight.device, words.weight.dtype)
    words.learnt = vectors if words.learnt is None else torch.cat([words.learnt, vectors])
    return new
