"""A network that looks at an image in overlapping windows, for sizes far past the trained one.

The network predicts each window as if it were an image of its own. In every step, the predictions
are blended with weights that fall smoothly to the window's borders: "MultiDiffusion: Fusing
Diffusion Paths for Controlled Image Generation" (Bar-Tal et al., arXiv 2302.08113, equation 5,
whose solution is the weighted mean), and the convolutional sampling of latent diffusion (Rombach et
al., arXiv 2112.10752, section 4.3.2). Windows are seen one at a time, to save memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """A part of latents [.., H, W], in cells; ``whole`` is (H, W)."""

    top: int
    left: int
    height: int
    width: int
    whole: tuple[int, int]

    def of(self, x: Tensor) -> Tensor:
        """Return the window [.., h, w] of ``x`` [.., H, W]."""
        rows = slice(self.top, self.top + self.height)
        return x[..., rows, self.left : self.left + self.width]

    def halvings(self, size: tuple[int, int]) -> int:
        """Return how often a network has halved the window where its map has ``size`` (h, w)."""
        level, own = 0, (self.height, self.width)
        while own != size:
            if own == (1, 1):
                raise ValueError(f"no level of {self} has the size {size}")
            level, own = level + 1, _halved(own)
        return level


def windows_of(height: int, width: int, side: int, step: int = 1) -> tuple[Window, ...]:
    """Return windows of ``side`` cells that cover latents of (height, width) cells.

    Neighbours share at least half of a window where it is at least twice ``step``. All but the last
    of a row or column begin at multiples of ``step``. A single window is all of the latents.
    """
    return tuple(
        Window(top, left, min(side, height), min(side, width), (height, width))
        for top in _starts(height, side, step)
        for left in _starts(width, side, step)
    )


def _starts(size: int, side: int, step: int) -> list[int]:
    last = max(size - side, 0)
    if side < 2 * step:
        step = 1
    return [*range(0, last, max(side // 2 // step * step, 1)), last]


def _halved(size: tuple[int, int]) -> tuple[int, int]:
    return (size[0] + 1) // 2, (size[1] + 1) // 2


def _hann(size: int) -> Tensor:
    """[size]: sin^2 over the window, at the middles of its cells."""
    at = (torch.arange(size, dtype=torch.float64, device="cpu") + 0.5) / size
    return torch.sin(math.pi * at).square().float()


def _shares(start: int, size: int, cells: int, of_whole: int, factor: int) -> Tensor:
    """[of_whole, cells]: which share of each of the whole map's cells each of the window's covers.

    Cells have ``factor`` latents; the window has ``size`` latents from ``start`` on.
    """
    ours = start + factor * torch.arange(cells, dtype=torch.float64, device="cpu")
    theirs = factor * torch.arange(of_whole, dtype=torch.float64, device="cpu")[:, None]
    ends = torch.minimum((ours + factor).clamp_max(start + size), theirs + factor)
    return ((ends - torch.maximum(ours, theirs)).clamp_min(0) / factor).float()


class Windowed:
    """``windowed(x, t, context, vector)``: the prediction [B, C, H, W] float32 of a network that
    sees a window at a time, of ``x`` [B, C, H, W] and so of all that is beside the latents.

    ``vectors``: what takes the place of ``vector`` [B, V] in each window, if it depends on that.
    ``watch`` are told which window comes next, and, with None, that all are done.
    """

    def __init__(
        self,
        network: Callable[..., Tensor],
        windows: Sequence[Window],
        *,
        vectors: Sequence[Tensor] | None = None,
        watch: Sequence[Callable[[Window | None], object]] = (),
    ):
        self.network = network
        self.windows = tuple(windows)
        self.vectors = vectors
        self.watch = tuple(watch)

    def __call__(
        self,
        x: Tensor,
        t: Tensor,
        context: Tensor | None = None,
        vector: Tensor | None = None,
        **told: Tensor | None,
    ) -> Tensor:
        blended = Blended()
        try:
            for number, window in enumerate(self.windows):
                for watch in self.watch:
                    watch(window)
                seen = vector if self.vectors is None else self.vectors[number]
                blended.add(window, self.network(window.of(x), t, context, seen, **told).float())
        finally:
            for watch in self.watch:
                watch(None)
        return blended.mean()


class Blended:
    """The weighted mean [.., H, W] of the maps [.., h, w] of windows, at any level of a network."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._weight: Tensor | None = None

    def add(self, window: Window, values: Tensor) -> None:
        """Add the map [.., h, w] float32 of a window."""
        level = (values.shape[-2], values.shape[-1])
        halvings, size = window.halvings(level), window.whole
        for _ in range(halvings):
            size = _halved(size)
        if self._sum is None or self._weight is None:
            self._sum = values.new_zeros(*values.shape[:-2], *size)
            self._weight = values.new_zeros(size)
        weights = (_hann(level[0])[:, None] * _hann(level[1])).to(values.device)
        if not halvings:
            window.of(self._sum).add_(values * weights)
            window.of(self._weight).add_(weights)
            return
        factor = 2**halvings  # a cell of the window's may lie across two of the whole's
        rows = _shares(window.top, window.height, level[0], size[0], factor).to(values.device)
        columns = _shares(window.left, window.width, level[1], size[1], factor).to(values.device)
        self._sum += rows @ (values * weights) @ columns.mT
        self._weight += rows @ weights @ columns.mT

    def mean(self) -> Tensor:
        """Return the mean of what was added."""
        assert self._sum is not None and self._weight is not None
        return self._sum / self._weight
