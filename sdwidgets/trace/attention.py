"""What the words looked at: recording cross-attention, and turning it into heat maps.

The cross-attention of a latent diffusion UNet says, for every cell of the picture and every token,
how much the cell takes from the token (Hertz et al., "Prompt-to-Prompt", arXiv 2208.01626, section
3). A heat map is the mean of a word's maps over heads, layers and steps, each at the picture's size
(Tang et al., "What the DAAM", arXiv 2210.04885, section 3).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError
from ..models.attention import Attention

Maps = dict[str, Tensor]
"""Layer's name -> [B, h, w, T] float16 on the CPU, the mean over heads, in forward order."""


class HasCrossAttention(Protocol):
    def cross_attentions(self) -> dict[str, Attention]: ...


@contextmanager
def tapped(unet: HasCrossAttention, look: Callable[[str, Tensor], None]) -> Iterator[None]:
    """While inside, ``look(layer, probabilities [B, heads, N, T])`` is called at each layer's pass.

    What was tapped before is tapped again afterwards, whatever happened inside.
    """
    layers = unet.cross_attentions()
    before = {name: layer.tap for name, layer in layers.items()}
    try:
        for name, layer in layers.items():
            layer.tap = _named(name, look)
        yield
    finally:
        for name, layer in layers.items():
            layer.tap = before[name]


def _named(name: str, look: Callable[[str, Tensor], None]) -> Callable[[Tensor], None]:
    return lambda probabilities: look(name, probabilities)


class AttentionRecorder:
    """Wraps a network's calls and keeps the attention of the first call of each step.

    ``recorder(network)`` is the network to call; ``recorder.take()`` gives what was recorded since
    the last take. Taps are on only while the network runs, so nothing that ends a run, and no
    pause in it, leaves one behind. Only the first ``batch`` rows count: of a guided call, the
    prompt's half.
    """

    def __init__(self, unet: HasCrossAttention, batch: int, height: int, width: int):
        self.unet = unet
        self.batch = batch
        self.size = (height, width)  # of the latents
        self._maps: Maps = {}
        self._closed = False  # a call of this step has been recorded already

    def __call__(
        self, network: Callable[[Tensor, Tensor], Tensor]
    ) -> Callable[[Tensor, Tensor], Tensor]:
        def watched(x: Tensor, t: Tensor) -> Tensor:
            if self._closed:
                return network(x, t)
            with tapped(self.unet, self._record):
                out = network(x, t)
            self._closed = True
            return out

        return watched

    def _record(self, layer: str, probabilities: Tensor) -> None:
        mean = probabilities[: self.batch].detach().mean(1)  # [B, N, T]
        size = grid_of(mean.shape[1], *self.size)
        self._maps[layer] = mean.unflatten(1, size).to(torch.float16).cpu()

    def take(self) -> Maps:
        """The maps of the step's first call; empty when the network has no cross-attention."""
        maps, self._maps, self._closed = self._maps, {}, False
        return maps


def grid_of(cells: int, height: int, width: int) -> tuple[int, int]:
    """(h, w) of the level with that many cells, of latents halved (rounding up) at each level."""
    h, w = height, width
    while h * w > cells:
        h, w = (h + 1) // 2, (w + 1) // 2
    if h * w != cells:
        raise ValueError(f"no level of {height} x {width} latents has {cells} cells")
    return h, w


def tokens_of(
    word: str,
    prompt: str,
    spans: Sequence[tuple[int, int]],
    cut: str = "",
) -> list[int]:
    """Which tokens of the text encoder's input are ``word`` (or several words), all occurrences.

    ``spans`` are the (start, end) of each piece's characters in the prompt; token 0 is the start
    token, so piece i is token i + 1. Raises InputError, naming the prompt's words, if there are
    none.
    """
    if not isinstance(word, str):
        raise InputError(
            f"word must be a text, got a {type(word).__name__}.\nGive a word of the prompt.",
            parameter="word",
        )
    pattern = r"\s+".join(map(re.escape, word.split()))
    found = []
    if pattern:
        whole = re.compile(rf"(?<!\w){pattern}(?!\w)", re.IGNORECASE)
        for match in whole.finditer(prompt):
            found += [
                i + 1
                for i, (start, end) in enumerate(spans)
                if start < match.end() and end > match.start()
            ]
    if found:
        return found
    words = ", ".join(dict.fromkeys(re.findall(r"\w+", prompt[: spans[-1][1] if spans else 0])))
    if pattern and cut and whole.search(cut):
        why = f"{word!r} was cut from the prompt, which was too long."
    else:
        why = f"{word!r} is not a word of the prompt."
    raise InputError(f"{why}\nIts words: {words or '(none)'}.", parameter="word")


def heat_map(
    steps: Sequence[Mapping[str, Tensor]],
    tokens: Sequence[int],
    size: tuple[int, int],
    *,
    picture: int = 0,
    layer: str | None = None,
) -> Tensor:
    """[H, W] float32: the mean attention to ``tokens``, over steps, layers and the tokens.

    Each map is brought to ``size`` (H, W) bilinearly. ``layer`` names one layer; else all count.
    Raises InputError for a layer that is not there or when nothing was recorded.
    """
    if not steps or not all(steps):
        raise InputError("No attention was recorded.\nGenerate with attention=True.")
    if layer is not None and not (isinstance(layer, str) and layer in steps[0]):
        raise InputError(
            f"There is no layer {layer!r}.\nLayers: {', '.join(steps[0])}.", parameter="layer"
        )
    layers = [layer] if layer is not None else list(steps[0])
    sums: dict[tuple[int, ...], Tensor] = {}  # by resolution: one resize each
    for maps in steps:
        for name in layers:
            chosen = maps[name][picture].float()[..., list(tokens)].mean(-1)  # [h, w]
            key = tuple(chosen.shape)
            sums[key] = sums[key] + chosen if key in sums else chosen
    total = torch.zeros(size)
    for chosen in sums.values():
        total += F.interpolate(chosen[None, None], size=size, mode="bilinear")[0, 0]
    return total / (len(steps) * len(layers))
