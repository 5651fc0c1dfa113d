"""Heat maps: the arithmetic from recorded attention to one map of where a word looked.

A heat map is the mean of a word's maps over heads, layers and steps, each resized to the image
(Tang et al., "What the DAAM", arXiv 2210.04885, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .step import Maps
from .tokens import PromptTokens


def heat_map(
    steps: Sequence[Maps],
    tokens: Sequence[int],
    size: tuple[int, int],
    *,
    layers: Sequence[str] | None = None,
    picture: int = 0,
    head: int | None = None,
) -> np.ndarray:
    """[H, W] float32: the mean attention to ``tokens``, over steps, layers, heads and the tokens.

    Each layer's maps are resized to ``size`` (H, W) bilinearly. ``layers``: those that count, all
    if None. ``picture``: the image's index in the batch. ``head``: only this one, where heads were
    kept apart.
    """
    names = list(steps[0]) if layers is None else list(layers)
    heads = slice(None) if head is None else slice(head, head + 1)
    sums: dict[tuple[int, ...], np.ndarray] = {}  # by resolution: resizing is linear, so once each
    for maps in steps:
        for name in names:
            chosen = maps[name][picture, heads][:, list(tokens)].astype(np.float32).mean((0, 1))
            sums[chosen.shape] = sums.get(chosen.shape, 0) + chosen
    total = sum(resized(one, size) for one in sums.values())
    return np.asarray(total, np.float32) / (len(steps) * len(names))


def word_map(
    steps: Sequence[Maps],
    prompt: PromptTokens,
    tokens: Sequence[int],
    size: tuple[int, int],
    *,
    layers: Sequence[str] | None = None,
    picture: int = 0,
    head: int | None = None,
    against: str = "none",
) -> np.ndarray:
    """[H, W] float32: the `heat_map` of ``tokens`` of a prompt; against "words", their share.

    For the share, 0 to 1, each word of the prompt counts as the mean over its tokens. The shares of
    different words sum to 1, and those of a word's tokens to the word's. Tokens that belong to no
    word have none.
    """

    def heat(some: Sequence[int]) -> np.ndarray:
        return heat_map(steps, some, size, layers=layers, picture=picture, head=head)

    if against == "none":
        return heat(tokens)
    share, total = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for word in prompt.words:
        total += heat(word.tokens)
        own = [token for token in word.tokens if token in tokens]
        if own:
            share += heat(own) * (len(own) / len(word.tokens))
    return np.divide(share, total, out=np.zeros(size, np.float32), where=total > 0)


def stretched(heat: np.ndarray) -> np.ndarray:
    """The map [H, W] stretched so that its least is 0 and its greatest 1; 0 if it is flat."""
    low, high = float(heat.min()), float(heat.max())
    return (heat - low) / (high - low) if high > low else np.zeros_like(heat)


def resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[..., H, W] float32: maps [..., h, w] resized bilinearly, their edges repeated beyond.

    Samples lie in the middle of their pixels, as in torch's ``interpolate(mode="bilinear")``.
    """
    rows, columns = (_weights(*sides) for sides in zip(values.shape[-2:], size, strict=True))
    return rows @ values.astype(np.float32, copy=False) @ columns.T


def _weights(n: int, m: int) -> np.ndarray:
    """[m, n] float32: each of m samples as a mixture of two neighbours among n."""
    at = np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, n - 1)
    low = np.minimum(at.astype(int), max(n - 2, 0))
    weights = np.zeros((m, n), np.float32)
    weights[np.arange(m), low] = 1 - (at - low)
    weights[np.arange(m), np.minimum(low + 1, n - 1)] += at - low
    return weights


def averaged(maps: np.ndarray, by: int) -> np.ndarray:
    """[..., ceil(h / by), ceil(w / by)] float32: the means of blocks of cells of maps [..., h, w].

    A block that reaches beyond the edge repeats the cells at the edge.
    """
    if by == 1:
        return maps.astype(np.float32, copy=False)
    h, w = maps.shape[-2:]
    beyond = [*[(0, 0)] * (maps.ndim - 2), (0, -h % by), (0, -w % by)]
    maps = np.pad(maps, beyond, mode="edge")
    blocks = maps.reshape(*maps.shape[:-2], -(-h // by), by, -(-w // by), by)
    return blocks.mean((-3, -1), dtype=np.float32)


def sizes(maps: Mapping[str, np.ndarray]) -> dict[str, tuple[int, int]]:
    """Name of a layer -> (h, w) of its maps."""
    return {name: (values.shape[-2], values.shape[-1]) for name, values in maps.items()}
