"""The directions in which latents vary most; a `Walk` follows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MOST = 8


@dataclass(frozen=True, eq=False)
class Directions:
    """Principal directions of the cells of latents, largest first: unit ``vectors`` [N, C], the
    standard deviation ``std`` along each [N], and their ``shares`` of the variance."""

    vectors: Tensor
    std: Tensor
    shares: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.shares)


def principal_directions(latents: Sequence[Tensor]) -> Directions:
    """The principal components of all cells of ``latents`` [B, C, h, w] of any sizes, at most 8.

    Pearson, "On Lines and Planes of Closest Fit" (1901). The sign is the one that makes a vector's
    largest component positive.
    """
    cells = torch.cat([z.movedim(1, -1).flatten(0, -2).cpu().double() for z in latents])  # [N, C]
    variances, vectors = torch.linalg.eigh(torch.atleast_2d(torch.cov(cells.mT)))  # ascending
    variances, vectors = variances.flip(0).clamp_min(0), vectors.mT.flip(0)
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    vectors = vectors * largest.sign()
    shares = variances / variances.sum().clamp_min(1e-12)
    return Directions(
        vectors[:MOST].float(), variances[:MOST].sqrt().float(), tuple(shares[:MOST].tolist())
    )
