"""The order of samples: each of them once per epoch, in a new order each time.

The order depends on the seed and the step alone, so a resumed run continues where it was, and
several processes share what a single process would take.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from .loop import Draw, seeded


def sample_rows(draw: Draw, count: int, seed: int, group: int = 1) -> list[int]:
    """The indices, among ``count`` samples, of this process's rows of a batch.

    ``group`` consecutive samples stay together.
    """
    return [sample_row(number, count, seed, group) for number in draw.numbers]


def sample_row(number: int, count: int, seed: int, group: int = 1) -> int:
    """The index, among ``count`` samples, of sample ``number`` of the endless sequence."""
    epoch, place = divmod(number // group, count // group)
    return _order(count // group, seed, epoch)[place] * group + number % group


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> list[int]:
    order: list[int] = torch.randperm(count, generator=seeded(seed, epoch)).tolist()
    return order
