"""Attention that can be observed and edited.

Sources: "Attention Is All You Need" (Vaswani et al., arXiv 1706.03762, equation 1); the spatial
transformer of "High-Resolution Image Synthesis with Latent Diffusion Models" (Rombach et al.,
arXiv 2112.10752, section 3.3 and appendix E.2.1); GEGLU of "GLU Variants Improve Transformer"
(Shazeer, arXiv 2002.05202, equation 5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Look: TypeAlias = "Callable[[Attention, Tensor, Tensor, Tensor | None], None]"
"""Called with the layer, its queries [B, N, C], the input of its keys and values [B, T, D], and
its probabilities [B, heads, N, T] in float32 for cross-attention, None for self-attention."""

QUERIES = 2**14
"""How many queries of a cross-attention are computed at a time, to limit its memory: all of those
of a 1024 x 1024 image of Stable Diffusion."""

LOOK: ContextVar[Look | None] = ContextVar("LOOK", default=None)
"""The current observer, per thread and per asyncio task, so that they can share a model."""


@contextmanager
def looking(look: Look) -> Iterator[None]:
    """Call ``look`` in the forward pass of every attention inside this block, in this thread only.

    ``look`` may read its arguments and must not change them. An outer observer pauses meanwhile.
    A compiled network (torch.compile) cannot be observed: its graph is the same for all.
    """
    before = LOOK.set(look)
    try:
        yield
    finally:
        LOOK.reset(before)


class Edit(Protocol):
    """Changes attention in the forward pass."""

    def cross(self, layer: Attention, probabilities: Tensor) -> Tensor:
        """Return what a cross-attention uses in place of its probabilities [B, heads, N, T]."""
        ...

    def itself(self, layer: Attention, x: Tensor) -> Tensor:
        """Return the states [B, N, C] from which a self-attention takes its queries and keys, in
        place of its input; its values stay its own."""
        ...


EDIT: ContextVar[Edit | None] = ContextVar("EDIT", default=None)
"""The current edit, per thread and per asyncio task, as `LOOK` is."""


@contextmanager
def editing(edit: Edit) -> Iterator[None]:
    """Apply ``edit`` to every attention inside this block, in this thread only.

    Observers see what it makes of the attention. ``edit`` must return new tensors, or its arguments
    as they are. An outer edit pauses meanwhile. A compiled network (torch.compile) is not edited.
    """
    before = EDIT.set(edit)
    try:
        yield
    finally:
        EDIT.reset(before)


def _looking_on() -> Look | None:
    return None if torch.compiler.is_compiling() else LOOK.get()


def _editing_on() -> Edit | None:
    return None if torch.compiler.is_compiling() else EDIT.get()


class Attention(nn.Module):
    """softmax(Q K^T / sqrt(d)) V over ``heads`` heads (arXiv 1706.03762, equation 1).

    Without a context (``context_width`` None), x attends to itself through torch's fused kernel.
    With a context, the pixels attend to a few dozen tokens. Then the probabilities are always
    computed explicitly: that costs no more at this size, and observing them cannot change the
    image. For self-attention, an observer computes them with `probabilities_of`, and an edit gives
    other queries and keys, so that the fused kernel stays.
    """

    def __init__(
        self, width: int, heads: int, *, context_width: int | None = None, bias: bool = False
    ):
        super().__init__()
        self.heads = heads
        self.is_cross = context_width is not None
        self.to_q = nn.Linear(width, width, bias=bias)
        self.to_k = nn.Linear(context_width or width, width, bias=bias)
        self.to_v = nn.Linear(context_width or width, width, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, heads, N, d]

    def probabilities(self, x: Tensor, context: Tensor) -> Tensor:
        """Return [B, heads, N, T] float32: how much each of N queries attends to each of T keys.

        ``x`` [B, N, C], ``context`` [B, T, D]; each row sums to one. Scores and softmax are in
        float32 whatever the weights' dtype. In half precision, scores of hundreds would be off by
        whole numbers and small probabilities lost, and those of Stable Diffusion 2.1 overflow.
        """
        return self.probabilities_of(self.to_q(x), context)

    def probabilities_of(self, queries: Tensor, context: Tensor) -> Tensor:
        """The same for queries [B, N, C] that ``to_q`` has already computed."""
        q = self._split(queries).float()  # [B, heads, N, d]
        k = self._split(self.to_k(context)).float()  # [B, heads, T, d]
        k = k * q.shape[-1] ** -0.5  # scales the few keys, not the many queries or scores
        return torch.softmax(q @ k.mT, dim=-1, dtype=torch.float32)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return [B, N, C] of ``x`` [B, N, C] and, for cross-attention, ``context`` [B, T, D]."""
        look, edit = _looking_on(), _editing_on()
        if context is not None:
            q = self.to_q(x)
            v = self._split(self.to_v(context))  # [B, heads, T, d]
            # [B, heads, N, T], in parts that do not depend on who looks
            parts = (self.probabilities_of(some, context) for some in q.split(QUERIES, dim=1))
            if look is not None or edit is not None:
                p = torch.cat([*parts], dim=2)
                if edit is not None:
                    p = edit.cross(self, p)
                if look is not None:
                    look(self, q, context, p)
                parts = (some for some in p.split(QUERIES, dim=2))
            h = torch.cat([some.to(v.dtype) @ v for some in parts], dim=2)  # [B, heads, N, d]
        else:
            y = x if edit is None else edit.itself(self, x)
            q = self.to_q(y)
            if look is not None:
                look(self, q, y, None)
            q, k, v = (self._split(part) for part in (q, self.to_k(y), self.to_v(x)))
            h = F.scaled_dot_product_attention(q, k, v)  # [B, heads, N, d]
        return self.to_out[0](h.transpose(1, 2).flatten(2))  # [B, N, C]


class GEGLU(nn.Module):
    """[..., C] -> [..., inner]: a * gelu(b), where (a, b) = proj(x) (arXiv 2002.05202, eq. 5)."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """[..., C] -> [..., C] through a gated layer of width 4C."""

    def __init__(self, width: int):
        super().__init__()
        # Index 1 is dropout in the published layout, without weights but counted.
        self.net = nn.Sequential(
            GEGLU(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TransformerBlock(nn.Module):
    """x [B, N, C] -> [B, N, C]: self-attention, cross-attention, feed-forward, each residual.

    Source: arXiv 2112.10752, appendix E.2.1. With ``context_width`` 0 there is no cross-attention.
    With ``cross_only``, as in Stable Diffusion's x4 upscaler, the first attention is one, too.
    """

    def __init__(self, width: int, heads: int, context_width: int, cross_only: bool = False):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        first = context_width if cross_only and context_width else None
        self.attn1 = Attention(width, heads, context_width=first)
        if context_width:
            self.norm2 = nn.LayerNorm(width)
            self.attn2: Attention | None = Attention(width, heads, context_width=context_width)
        else:
            self.attn2 = None
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = x + self.attn1(self.norm1(x), context if self.attn1.is_cross else None)
        if self.attn2 is not None:
            x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """x [B, C, h, w] -> [B, C, h, w]: ``depth`` transformer blocks over the pixels as a sequence.

    Source: arXiv 2112.10752, section 3.3. Its 1x1 convolutions are linear layers here.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        depth: int,
        context_width: int,
        groups: int,
        cross_only: bool = False,
    ):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(channels, heads, context_width, cross_only) for _ in range(depth)
        )
        self.proj_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        h = self.norm(x).flatten(2).mT  # [B, hw, C]
        h = self.proj_in(h)
        for block in self.transformer_blocks:
            h = block(h, context)
        h = self.proj_out(h)
        return x + h.mT.unflatten(2, x.shape[-2:])  # [B, C, h, w], in x's memory format


class PixelAttention(Attention):
    """x [B, C, h, w] -> [B, C, h, w]: self-attention over all pixels, with a residual.

    In the autoencoder, and in denoising networks without transformers (arXiv 2006.11239, appendix
    B). It takes no context: one that is given is not used.
    """

    def __init__(self, channels: int, groups: int, heads: int = 1, *, eps: float = 1e-6):
        super().__init__(channels, heads, bias=True)
        self.group_norm = nn.GroupNorm(groups, channels, eps=eps)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        h = self.group_norm(x).flatten(2).mT  # [B, hw, C]
        h = super().forward(h)
        return x + h.mT.unflatten(2, x.shape[-2:])
