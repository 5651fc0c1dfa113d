"""Decoding in tiles: less memory, at the price of slight differences where tiles meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

SIDE = 32  # cells along a tile
OVERLAP = 8  # cells that neighbours share, across which they are blended


def needs_tiles(latents: Tensor) -> bool:
    """Whether latents [B, C, h, w] are larger than a tile."""
    return max(latents.shape[-2:]) > SIDE


def decode_in_tiles(decode: Callable[[Tensor], Tensor], latents: Tensor, factor: int) -> Tensor:
    """Pixels [1, 3, H, W] on the CPU, of latents [1, C, h, w]; ``decode`` takes a tile of them.

    Each tile fades out linearly towards its neighbours, and the weights of all tiles sum to 1.
    """
    height, width = latents.shape[-2:]
    total = torch.zeros(1, 3, height * factor, width * factor, device="cpu")
    weights = torch.zeros(1, 1, height * factor, width * factor, device="cpu")
    for rows in _spans(height):
        for columns in _spans(width):
            pixels = decode(latents[..., rows, columns]).cpu()
            place = (..., _in_pixels(rows, factor), _in_pixels(columns, factor))
            weight = _fade(rows, height, factor)[:, None] * _fade(columns, width, factor)
            total[place] += pixels * weight
            weights[place] += weight
    return total / weights


def _spans(size: int) -> Iterator[slice]:
    """Slices of `SIDE` cells that cover ``size``, each sharing `OVERLAP` with the next."""
    starts = range(0, max(size - OVERLAP, 1), SIDE - OVERLAP)
    for start in starts:
        yield slice(max(min(start, size - SIDE), 0), min(start + SIDE, size))


def _in_pixels(span: slice, factor: int) -> slice:
    return slice(span.start * factor, span.stop * factor)


def _fade(span: slice, size: int, factor: int) -> Tensor:
    """The weights of a tile's pixels along one side: 1, but rising and falling where it meets
    another."""
    count = (span.stop - span.start) * factor
    position = torch.arange(count, dtype=torch.float32, device="cpu") + 0.5
    ramp = OVERLAP * factor
    weight = torch.ones(count, device="cpu")
    if span.start > 0:
        weight = torch.minimum(weight, position / ramp)
    if span.stop < size:
        weight = torch.minimum(weight, (count - position) / ramp)
    return weight
