"""Recording cross-attention: what every cell of the image takes from every token.

The maps are those of Hertz et al., "Prompt-to-Prompt" (arXiv 2208.01626, section 3). heat.py and
maps.py turn them into heat maps, without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..models.attention import Attention, looking
from ..models.conditioning import Tokens
from ..models.windows import Blended, Window
from ..settings import AttentionSettings
from .step import Maps, Queries, StepAttention

FEW_CELLS = 256
"""Self-attention and queries are kept for layers with at most this many cells, 16 x 16."""


class HasCrossAttention(Protocol):
    def cross_attentions(self) -> dict[str, Attention]: ...


class HasAttention(HasCrossAttention, Protocol):
    def self_attentions(self) -> dict[str, Attention]: ...


@contextmanager
def tapped(unet: HasCrossAttention, look: Callable[[str, Tensor], None]) -> Iterator[None]:
    """A context in which each cross-attention of this network, when it runs in this thread, calls
    ``look(layer, probabilities [B, heads, N, T])``. See `models.attention.looking`."""
    names = {layer: name for name, layer in unet.cross_attentions().items()}

    def named(layer: Attention, _: Tensor, __: Tensor, probabilities: Tensor | None) -> None:
        if probabilities is not None and layer in names:
            look(names[layer], probabilities)

    with looking(named):
        yield


class AttentionRecorder:
    """Wraps a network and keeps the attention of its first call in each step.

    ``recorder(network)`` is the network to call; ``recorder.take()`` returns what was recorded
    since the last take. It looks only while the network runs, and only in the thread that runs it.
    So a run that ends or pauses leaves nothing behind, and other threads may use the same network.

    ``lengths``: the number of pieces of each image's prompt; these, the start and the end are the
    tokens kept. In a guided call the first rows, one for each image, are the prompt's. The next are
    the negative prompt's; they are kept on request, with its ``uncond_lengths``. Where an image
    guides, too, the rest are the negative prompt's once more. ``read``: the tokens of all rows,
    where the pieces are not simply the context's first tokens.
    """

    def __init__(
        self,
        unet: HasAttention,
        height: int,
        width: int,
        lengths: Sequence[int],
        uncond_lengths: Sequence[int] = (),
        settings: AttentionSettings | None = None,
        read: Tokens | None = None,
    ):
        self.size = (height, width)  # of the latents
        self.settings = settings or AttentionSettings()
        layers = unet.cross_attentions()
        if self.settings.self_attention:
            layers = layers | unet.self_attentions()
        self._names = {layer: name for name, layer in layers.items()}
        self._lengths, self._uncond_lengths = tuple(lengths), tuple(uncond_lengths)
        batch = len(self._lengths)
        self._chosen = chosen(read, range(batch)) if read else None
        self._uncond_chosen = chosen(read, range(batch, 2 * batch)) if read else None
        self._clear()

    def _clear(self) -> None:
        self._cross: dict[str, Tensor] = {}
        self._uncond: dict[str, Tensor] = {}
        self._cells: dict[str, Tensor] = {}
        self._queries: dict[str, Tensor] = {}
        self._closed = False  # a call of this step has been recorded already
        self._window: Window | None = None
        self._blended: dict[tuple[str, str], Blended] = {}

    def look_at(self, window: Window | None) -> None:
        """Say which window of the image comes next; with None, that all were seen."""
        self._window = window
        if window is None:
            for (kind, name), map in self._blended.items():
                kept = map.mean().flatten(-2).mT  # [B, K, N, n]
                (self._cross if kind == "cross" else self._uncond)[name] = kept
            self._blended = {}

    def __call__(
        self, network: Callable[[Tensor, Tensor], Tensor]
    ) -> Callable[[Tensor, Tensor], Tensor]:
        def watched(x: Tensor, t: Tensor) -> Tensor:
            if self._closed:
                return network(x, t)
            self._clear()  # left over from a call that failed
            with looking(self._look):
                out = network(x, t)
            if self._names and not self._cross:
                raise InputError(
                    "A compiled network does not show its attention.\n"
                    "Run it as it was loaded, or without attention.",
                    parameter="attention",
                )
            self._closed = True
            return out

        return watched

    def _look(
        self, layer: Attention, queries: Tensor, context: Tensor, probabilities: Tensor | None
    ) -> None:
        # This runs at every layer: what can wait is done in take(), for all layers together.
        name, batch = self._names.get(layer), len(self._lengths)
        if name is None:
            return
        few = queries.shape[1] <= FEW_CELLS and self._window is None
        if probabilities is None:
            if few:
                p = layer.probabilities_of(queries[:batch], context[:batch])
                self._cells[name] = p.detach().mean(1).to(torch.float16)
            return
        cross = self._tokens(probabilities[:batch], self._lengths, self._chosen)
        self._keep("cross", name, cross)
        if self.settings.uncond and len(probabilities) > batch:
            uncond = probabilities[batch : 2 * batch]
            kept = self._tokens(uncond, self._uncond_lengths, self._uncond_chosen)
            self._keep("uncond", name, kept)
        if self.settings.queries and few:
            self._queries[name] = queries.detach()[:batch].float()  # [B, N, C]

    def _keep(self, kind: str, name: str, p: Tensor) -> None:
        """Keep the maps [B, K, N, n] of a layer, or of a window in it."""
        window = self._window
        if window is None:
            (self._cross if kind == "cross" else self._uncond)[name] = p
            return
        grid = grid_of(p.shape[2], window.height, window.width)
        blended = self._blended.setdefault((kind, name), Blended())
        blended.add(window, p.mT.unflatten(-1, grid).float())

    def _tokens(
        self, probabilities: Tensor, lengths: Sequence[int], chosen: Tensor | None
    ) -> Tensor:
        """[B, heads, N, T] -> [B, K, N, n]: the start, the pieces and the end."""
        if chosen is not None:
            p = probabilities.detach() if self.settings.heads else probabilities.mean(1, True)
            return p @ chosen[:, None].to(p.device, p.dtype)
        p = probabilities.detach()[..., : max(lengths) + 2]
        # a copy: a view would keep the probabilities of all tokens
        return p.clone() if self.settings.heads else p.mean(1, keepdim=True)

    def _finished(self, layers: Mapping[str, Tensor], lengths: Sequence[int]) -> Maps:
        """Maps [B, K, n + 1, h, w] float16 of [B, K, N, n]; the last is of all other tokens."""
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
            # one transfer for all of these layers: each transfer waits for the GPU
            parts = np.split(p.cpu().numpy(), np.cumsum(cells)[:-1], axis=-1)
            for name, part in zip(names, parts, strict=True):
                grid = grid_of(part.shape[-1], *self.size)
                maps[name] = part.reshape(*part.shape[:-1], *grid)
        return {name: maps[name] for name in layers}

    def take(self) -> StepAttention:
        """The attention of the step's first call; empty without cross-attention."""
        taken = StepAttention(
            cross=self._finished(self._cross, self._lengths),
            uncond=self._finished(self._uncond, self._uncond_lengths),
            cells=arrays(self._cells),
            queries={name: _quantised(q) for name, q in arrays(self._queries).items()},
        )
        self._clear()
        return taken


def chosen(read: Tokens, rows: Sequence[int]) -> Tensor | None:
    """[B, T, n] of zeros and ones that takes columns to those that are kept: start, pieces, end.

    The columns of a context that is repeated are added up. None: the first n columns are those
    that are kept. ``rows``: of the prompts in ``read``; those beyond its end do not count.
    """
    total = read.ids.shape[1]
    rows = [row for row in rows if row < len(read.places)]
    usual = all(
        read.periods[row] == total and read.places[row] == tuple(range(len(read.places[row])))
        for row in rows
    )
    if usual:
        return None
    n = max(len(read.places[row]) for row in rows)
    chosen = torch.zeros(len(rows), total, n, device="cpu")
    for one, row in zip(chosen, rows, strict=True):
        places, period = torch.tensor(read.places[row], device="cpu"), read.periods[row]
        (columns,) = (places >= 0).nonzero(as_tuple=True)
        for begin in range(0, total, period):
            one[begin + places[columns], columns] = 1
    return chosen


def arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """The tensors as arrays, in one transfer: each transfer waits for the GPU."""
    if not tensors:
        return {}
    flat = torch.cat([tensor.flatten() for tensor in tensors.values()]).cpu().numpy()
    ends = np.cumsum([tensor.numel() for tensor in tensors.values()])
    parts = zip(tensors.items(), np.split(flat, ends[:-1]), strict=True)
    return {name: part.reshape(tensor.shape) for (name, tensor), part in parts}


def _quantised(q: np.ndarray) -> Queries:
    """[B, N, C] in eight bits with a scale for each cell; off by at most half the scale."""
    scale = np.abs(q).max(-1, keepdims=True) / 127
    values = np.divide(q, scale, out=np.zeros_like(q), where=scale > 0)
    return Queries(np.rint(values).astype(np.int8), scale)


def grid_of(cells: int, height: int, width: int) -> tuple[int, int]:
    """(h, w) of the level with that many cells; each level halves the latents, rounding up."""
    h, w = height, width
    while h * w > cells:
        h, w = (h + 1) // 2, (w + 1) // 2
    if h * w != cells:
        raise ValueError(f"no level of {height} x {width} latents has {cells} cells")
    return h, w
