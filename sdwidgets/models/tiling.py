"""Autoencoders in tiles: the same result in a fraction of the memory.

A tile is a strip of rows of a feature map, as wide as the map. It is computed from the rows that it
reads, so no more of a layer than a strip is in memory, beside what is kept. Nothing is blended, for
the result is that of the whole image, up to rounding:

- A convolution reads the rows above and below the strip. There are zeros outside the image alone.
- A group norm takes the mean and the variance of the whole map. Those of its strips are combined
  ("Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", Chan, Golub and
  LeVeque, Stanford STAN-CS-79-773, equation 1.5).
- In attention, the queries of a strip look at the keys and values of the whole map.

What is kept in full is the output of every residual block, and of every other layer whose output is
no larger. Its strips are dropped as soon as the next layer has read them. Between two maps that are
kept, the layers before a group norm are computed twice: once for its statistics, and once more to
be normalised. That is the price, about half of the time again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import PixelAttention
from .layers import Downsample, ResnetBlock, Upsample

STRIP = 2**20
"""About how many numbers the widest layer of a strip has, 4 MB of float32."""

ROWS = 32
"""The fewest rows of a strip: shorter ones would mostly compute the rows around them."""

SCORES = 2**28
"""The most scores of attention at a time, where a device has no kernel that goes without them."""

Compute: TypeAlias = Callable[[int, int], Tensor]
"""``(start, stop) -> [1, C, stop - start, W]``: these rows of a feature map."""

Reads: TypeAlias = "tuple[tuple[Rows, Callable[[int], int]], ...]"
"""The maps that a map is computed from. For each, from which of its rows on they are needed for the
rows from a given one on."""


class Rows:
    """A feature map [1, C, H, W], of which some rows are computed at a time.

    After `keep`, all of them are in memory, until they are dropped.
    """

    def __init__(self, shape: tuple[int, int, int], compute: Compute, reads: Reads = ()):
        self.shape = shape  # (C, H, W)
        self.reads = reads
        self._compute: Compute | None = compute
        self._kept: dict[int, Tensor] = {}  # strips by their first row
        self._last: tuple[int, Tensor] | None = None

    @property
    def size(self) -> int:
        """How many numbers it has."""
        channels, height, width = self.shape
        return channels * height * width

    @property
    def _breadth(self) -> int:
        """Numbers in a row of the widest map that a strip of it is computed from."""
        channels, _, width = self.shape
        return max([channels * width, *(source._breadth for source, _ in self.reads)])

    def spans(self) -> Iterator[tuple[int, int]]:
        """The first row of each strip, and the row after its last."""
        height = self.shape[1]
        rows = max(STRIP // self._breadth, ROWS)
        return ((start, min(start + rows, height)) for start in range(0, height, rows))

    def strips(self) -> Iterator[Tensor]:
        """All of it, a strip at a time."""
        return (self.rows(*span) for span in self.spans())

    def rows(self, start: int, stop: int) -> Tensor:
        """The rows from ``start`` to before ``stop``; both are inside the map."""
        if self._compute is not None:
            return self._compute(start, stop)
        parts = []
        for first, strip in self._kept.items():
            a, b = max(start - first, 0), min(stop - first, strip.shape[2])
            if a < b:
                parts.append(strip[:, :, a:b])
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)

    def keep(self) -> None:
        """Compute all of it, and drop what it is computed from."""
        for start, stop in self.spans():
            self._kept[start] = self.rows(start, stop)
            for source, row in self._reads_from(stop).items():
                source._drop(row)
        self._compute, self.reads = None, ()

    def remember(self) -> None:
        """Keep the rows that were computed last: a residual block reads them twice."""
        compute = self._compute
        assert compute is not None

        def remembered(start: int, stop: int) -> Tensor:
            if self._last is not None:
                first, strip = self._last
                if first <= start and stop <= first + strip.shape[2]:
                    return strip[:, :, start - first : stop - first]
            self._last = None  # before the next is computed
            self._last = start, compute(start, stop)
            return self._last[1]

        self._compute = remembered

    def _reads_from(self, start: int) -> dict[Rows, int]:
        """From which row on the maps in memory are needed for the rows from ``start`` on."""
        if self._compute is None:
            return {self: start}
        needed: dict[Rows, int] = {}
        for source, first in self.reads:  # one map may be read in several ways
            for kept, row in source._reads_from(first(start)).items():
                needed[kept] = min(row, needed.get(kept, row))
        return needed

    def _drop(self, before: int) -> None:
        """Forget the strips that end at that row, or above it."""
        for first in [n for n, strip in self._kept.items() if n + strip.shape[2] <= before]:
            del self._kept[first]


@torch.no_grad()
def in_tiles(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """Return what ``layers``, one after the other, make of ``x`` [B, C, H, W], without gradients.

    A layer is a convolution, a residual block, attention over all pixels, a change of resolution,
    or a group norm, which a SiLU follows.
    """
    chain = list(layers)
    return torch.cat([_one_in_tiles(chain, each) for each in x.split(1)])


def _one_in_tiles(layers: list[nn.Module], x: Tensor) -> Tensor:
    _, *shape = x.shape
    made = Rows((shape[0], shape[1], shape[2]), lambda start, stop: x[:, :, start:stop])
    outputs: list[tuple[nn.Module, Rows]] = []
    for layer in layers:
        made = _rows_of(layer, made)
        outputs.append((layer, made))
    largest = max((each.size for layer, each in outputs if _is_kept(layer)), default=0)
    outputs.pop()
    while outputs:  # nothing holds what has been read
        layer, each = outputs.pop(0)
        if each.size > largest:
            each.remember()
        elif not isinstance(layer, nn.GroupNorm):  # a convolution reads it, once
            each.keep()
        del each
    return torch.cat([*made.strips()], dim=2)


def _is_kept(layer: nn.Module) -> bool:
    return isinstance(layer, (ResnetBlock, PixelAttention))


def _rows_of(layer: nn.Module, x: Rows) -> Rows:
    """The output of a layer."""
    if isinstance(layer, ResnetBlock):
        h = _convolved(layer.conv1, _normed(layer.norm1, x, silu=True))
        h = _convolved(layer.conv2, _normed(layer.norm2, h, silu=True))
        return _sum(h, x if layer.conv_shortcut is None else _convolved(layer.conv_shortcut, x))
    if isinstance(layer, PixelAttention):
        return _attended(layer, x)
    if isinstance(layer, Upsample):
        return _convolved(layer.conv, _doubled(x))
    if isinstance(layer, Downsample):
        return _convolved(layer.conv, x, after=1 if layer.asymmetric else 0)
    if isinstance(layer, nn.GroupNorm):
        return _normed(layer, x, silu=True)
    if isinstance(layer, nn.Conv2d):
        return _convolved(layer, x)
    raise TypeError(f"no layer of an autoencoder: {type(layer).__name__}")


def _convolved(conv: nn.Conv2d, x: Rows, *, after: int = 0) -> Rows:
    """A convolution; ``after``: rows and columns of zeros at the bottom and at the right, beyond
    the convolution's own padding."""
    size, stride, before = conv.kernel_size[0], conv.stride[0], int(conv.padding[0])
    height, width = ((n + 2 * before + after - size) // stride + 1 for n in x.shape[1:])

    def compute(start: int, stop: int) -> Tensor:
        first, end = stride * start - before, stride * (stop - 1) - before + size
        inside = x.rows(max(first, 0), min(end, x.shape[1]))
        above, below = max(-first, 0), max(end - x.shape[1], 0)
        if above or below or after:
            inside = F.pad(inside, (0, after, above, below))
        return F.conv2d(inside, conv.weight, conv.bias, stride, (0, before))

    reads = ((x, lambda start: stride * start - before),)
    return Rows((conv.out_channels, height, width), compute, reads)


def _normed(norm: nn.GroupNorm, x: Rows, *, silu: bool = False) -> Rows:
    """A group norm, and perhaps a SiLU."""

    @cache
    def affine() -> tuple[Tensor, Tensor]:
        return _affine(norm, x)

    def compute(start: int, stop: int) -> Tensor:
        scale, shift = affine()
        strip = x.rows(start, stop)
        h = torch.addcmul(shift, strip.float(), scale).to(strip.dtype)
        return F.silu(h, inplace=True) if silu else h

    return Rows(x.shape, compute, ((x, lambda start: start),))


def _affine(norm: nn.GroupNorm, x: Rows) -> tuple[Tensor, Tensor]:
    """The scale and the shift [1, C, 1, 1] float32 that are the norm of all of ``x``."""
    counts, variances, means = [], [], []
    for strip in x.strips():
        groups = strip.unflatten(1, (norm.num_groups, -1)).flatten(2).float()  # [1, G, n]
        variance, mean = torch.var_mean(groups, dim=2, correction=0)
        counts.append(groups.shape[2])
        variances.append(variance[0])
        means.append(mean[0])
    # on the CPU: not every device has float64
    share = torch.tensor(counts, dtype=torch.float64, device="cpu")[:, None] / sum(counts)
    of_strips = torch.stack(means).cpu().double()  # [strips, G]
    mean = (share * of_strips).sum(0)
    within = torch.stack(variances).cpu().double()
    variance = (share * (within + (of_strips - mean).square())).sum(0)
    each = norm.num_channels // norm.num_groups
    root = (variance + norm.eps).rsqrt().repeat_interleave(each)
    scale = norm.weight.cpu().double() * root
    shift = norm.bias.cpu().double() - scale * mean.repeat_interleave(each)
    device = norm.weight.device
    return tuple(n.float().to(device)[None, :, None, None] for n in (scale, shift))  # type: ignore[return-value]


def _doubled(x: Rows) -> Rows:
    """Twice the resolution, by the nearest neighbour."""
    channels, height, width = x.shape

    def compute(start: int, stop: int) -> Tensor:
        above = start // 2
        h = F.interpolate(x.rows(above, (stop + 1) // 2), scale_factor=2, mode="nearest")
        return h[:, :, start - 2 * above : stop - 2 * above]

    return Rows((channels, 2 * height, 2 * width), compute, ((x, lambda start: start // 2),))


def _sum(x: Rows, y: Rows) -> Rows:
    def compute(start: int, stop: int) -> Tensor:
        return x.rows(start, stop).add_(y.rows(start, stop))

    return Rows(x.shape, compute, ((x, lambda start: start), (y, lambda start: start)))


def _attended(layer: PixelAttention, x: Rows) -> Rows:
    """Attention over all pixels, and its residual."""
    h = _normed(layer.group_norm, x)

    @cache
    def keys_and_values() -> tuple[Tensor, Tensor]:  # [1, 1, H W, C] each
        strips = [strip.flatten(2).mT for strip in h.strips()]
        keys, values = (torch.cat([*map(to, strips)], dim=1) for to in (layer.to_k, layer.to_v))
        return keys[:, None], values[:, None]

    def compute(start: int, stop: int) -> Tensor:
        k, v = keys_and_values()
        q = layer.to_q(h.rows(start, stop).flatten(2).mT)[:, None]
        some = q.split(max(SCORES // k.shape[2], 1), dim=2)
        found = torch.cat([F.scaled_dot_product_attention(q, k, v) for q in some], dim=2)
        attended = layer.to_out[0](found[:, 0])  # [1, n, C]
        return x.rows(start, stop) + attended.mT.unflatten(2, (stop - start, -1))

    return Rows(x.shape, compute, ((h, lambda start: start), (x, lambda start: start)))
