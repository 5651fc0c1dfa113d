"""In which order samples are taken: all of them once an epoch, in a new order each time.

It follows from the seed and the step alone, so a run that is resumed goes on where it was, and
several processes share out what one process would take.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from .loop import Draw, seeded


def sample_rows(draw: Draw, count: int, seed: int, group: int = 1) -> list[int]:
    """Which of ``count`` samples this process's rows of a batch are.

    ``group`` samples whose numbers follow each other stay together.
    """
    return [sample_row(number, count, seed, group) for number in draw.numbers]


def sample_row(number: int, count: int, seed: int, group: int = 1) -> int:
    """Which of ``count`` samples is number ``number`` in the endless sequence of them all."""
    epoch, place = divmod(number // group, count // group)
    return _order(count // group, seed, epoch)[place] * group + number % group


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> list[int]:
    order: list[int] = torch.randperm(count, generator=seeded(seed, epoch)).tolist()
    return order
