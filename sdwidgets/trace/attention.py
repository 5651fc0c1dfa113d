"""Recording cross-attention: what every cell of the picture takes from every token.

The maps of a latent diffusion UNet are those of Hertz et al., "Prompt-to-Prompt" (arXiv 2208.01626,
section 3). Turning them into pictures is in maps.py, and needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ..models.attention import Attention
from ..settings import AttentionSettings
from .step import Maps, Queries, StepAttention

FEW_CELLS = 256
"""Self-attention and queries are kept of layers with at most this many cells, 16 x 16."""


class HasCrossAttention(Protocol):
    def cross_attentions(self) -> dict[str, Attention]: ...


class HasAttention(HasCrossAttention, Protocol):
    def self_attentions(self) -> dict[str, Attention]: ...


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
    pause in it, leaves one behind.

    ``lengths`` says how many pieces each picture's prompt has: these, the start and the end are
    the tokens kept. Of a guided call the first half of the rows is the prompt's; the other is the
    negative prompt's, which is kept on request, with its ``uncond_lengths``.
    """

    def __init__(
        self,
        unet: HasAttention,
        height: int,
        width: int,
        lengths: Sequence[int],
        uncond_lengths: Sequence[int] = (),
        settings: AttentionSettings | None = None,
    ):
        self.unet = unet
        self.size = (height, width)  # of the latents
        self.settings = settings or AttentionSettings()
        self._lengths, self._uncond_lengths = tuple(lengths), tuple(uncond_lengths)
        self._clear()

    def _clear(self) -> None:
        self._cross: dict[str, Tensor] = {}
        self._uncond: dict[str, Tensor] = {}
        self._cells: dict[str, Tensor] = {}
        self._queries: dict[str, Tensor] = {}
        self._closed = False  # a call of this step has been recorded already

    def __call__(
        self, network: Callable[[Tensor, Tensor], Tensor]
    ) -> Callable[[Tensor, Tensor], Tensor]:
        def watched(x: Tensor, t: Tensor) -> Tensor:
            if self._closed:
                return network(x, t)
            self._clear()  # of a call that failed
            with tapped(self.unet, self._record), _hooked(self._hooks()):
                out = network(x, t)
            self._closed = True
            return out

        return watched

    def _hooks(self) -> Iterator[Any]:
        """Hooks for what no tap sees, where it is asked for."""
        if self.settings.self_attention:
            for name, layer in self.unet.self_attentions().items():
                yield layer.register_forward_pre_hook(self._look_at_cells(name))
        if self.settings.queries:
            for name, layer in self.unet.cross_attentions().items():
                yield layer.to_q.register_forward_hook(self._look_at_queries(name))

    def _record(self, layer: str, probabilities: Tensor) -> None:
        # Little is done here, at every layer; what can wait is done once, for all of them together.
        batch = len(self._lengths)
        self._cross[layer] = self._tokens(probabilities[:batch], self._lengths)
        if self.settings.uncond and len(probabilities) > batch:
            self._uncond[layer] = self._tokens(probabilities[batch:], self._uncond_lengths)

    def _tokens(self, probabilities: Tensor, lengths: Sequence[int]) -> Tensor:
        """[B, heads, N, T] -> [B, K, N, n]: the start, the pieces and the end."""
        p = probabilities.detach()[..., : max(lengths) + 2]
        return p if self.settings.heads else p.mean(1, keepdim=True)

    def _finished(self, layers: Mapping[str, Tensor], lengths: Sequence[int]) -> Maps:
        """Layers' [B, K, N, n] as maps [B, K, n + 1, h, w] float16: with what all others have."""
        maps: dict[str, np.ndarray] = {}
        for heads in {p.shape[1] for p in layers.values()}:
            names = [name for name, p in layers.items() if p.shape[1] == heads]
            cells = [layers[name].shape[2] for name in names]
            p = torch.cat([layers[name] for name in names], dim=2)  # [B, K, all N, n]
            if min(lengths) < max(lengths):  # a shorter prompt's padding is padding
                ends = torch.tensor(lengths, device=p.device).view(-1, 1, 1, 1) + 2
                p = p * (torch.arange(p.shape[-1], device=p.device) < ends)
            others = (1 - p.sum(-1, keepdim=True)).clamp_min(0)
            p = torch.cat([p, others], dim=-1).mT.to(torch.float16)  # [B, K, n + 1, all N]
            # one transfer, since each would wait for the GPU
            parts = np.split(p.cpu().numpy(), np.cumsum(cells)[:-1], axis=-1)
            for name, part in zip(names, parts, strict=True):
                grid = grid_of(part.shape[-1], *self.size)
                maps[name] = part.reshape(*part.shape[:-1], *grid)
        return {name: maps[name] for name in layers}

    def _look_at_cells(self, name: str) -> Callable[[nn.Module, Any], None]:
        def look(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
            x = args[0].detach()[: len(self._lengths)]  # [B, N, C]
            if x.shape[1] <= FEW_CELLS and isinstance(layer, Attention):
                self._cells[name] = layer.probabilities(x, x).mean(1).to(torch.float16)

        return look

    def _look_at_queries(self, name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def look(_: nn.Module, __: Any, q: Tensor) -> None:
            if q.shape[1] <= FEW_CELLS:
                self._queries[name] = q.detach()[: len(self._lengths)].float()  # [B, N, C]

        return look

    def take(self) -> StepAttention:
        """What was recorded of the step's first call; empty without cross-attention."""
        taken = StepAttention(
            cross=self._finished(self._cross, self._lengths),
            uncond=self._finished(self._uncond, self._uncond_lengths),
            cells={name: p.cpu().numpy() for name, p in self._cells.items()},
            queries={name: _quantised(q.cpu().numpy()) for name, q in self._queries.items()},
        )
        self._clear()
        return taken


@contextmanager
def _hooked(handles: Iterable[Any]) -> Iterator[None]:
    """Takes the hooks off again, whatever happens inside."""
    taken = []
    try:
        for handle in handles:
            taken.append(handle)
        yield
    finally:
        for handle in taken:
            handle.remove()


def _quantised(q: np.ndarray) -> Queries:
    """[B, N, C] in eight bits, each cell's at a scale of its own; off by at most half of it."""
    scale = np.abs(q).max(-1, keepdims=True) / 127
    values = np.divide(q, scale, out=np.zeros_like(q), where=scale > 0)
    return Queries(np.rint(values).astype(np.int8), scale)


def grid_of(cells: int, height: int, width: int) -> tuple[int, int]:
    """(h, w) of the level with that many cells, of latents halved (rounding up) at each level."""
    h, w = height, width
    while h * w > cells:
        h, w = (h + 1) // 2, (w + 1) // 2
    if h * w != cells:
        raise ValueError(f"no level of {height} x {width} latents has {cells} cells")
    return h, w
