"""Latent diffusion's own transformer: token ids -> a state per token.

It reads captions and layouts ("High-Resolution Image Synthesis with Latent Diffusion Models",
Rombach et al., arXiv 2112.10752, section 4.3.1), and it is trained together with the denoiser. Each
token attends to all others, padding included. Modules have the names of the published weights,
which are those of x-transformers (https://github.com/lucidrains/x-transformers), without the layer
that predicts tokens: nothing uses it.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from .clip import TextStates, embedding


class TokenEncoderConfig(Protocol):
    """The numbers of the transformer; `BertConfig` and `BoxesConfig` have them."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def layers(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def head_width(self) -> int: ...
    @property
    def length(self) -> int: ...


class SelfAttention(nn.Module):
    """[B, T, width] -> [B, T, width]: each token attends to all tokens."""

    def __init__(self, config: TokenEncoderConfig):
        super().__init__()
        self.heads = config.heads
        inner = config.heads * config.head_width
        self.to_q = nn.Linear(config.width, inner, bias=False)
        self.to_k = nn.Linear(config.width, inner, bias=False)
        self.to_v = nn.Linear(config.width, inner, bias=False)
        self.to_out = nn.Linear(inner, config.width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, heads, T, d]
            for project in (self.to_q, self.to_k, self.to_v)
        )
        h = F.scaled_dot_product_attention(q, k, v)
        return self.to_out(h.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """[..., width] -> [..., width] through one hidden layer of four times the width."""

    def __init__(self, config: TokenEncoderConfig):
        super().__init__()
        hidden = 4 * config.width
        self.net = nn.Sequential(
            nn.Sequential(nn.Linear(config.width, hidden), nn.GELU()),
            nn.Identity(),  # the place of a dropout, which the published models do not have
            nn.Linear(hidden, config.width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Positions(nn.Module):
    """A learned vector [width] for each position."""

    def __init__(self, length: int, width: int):
        super().__init__()
        self.emb = embedding(length, width)


class Layers(nn.Module):
    """[B, T, width] -> [B, T, width]: pairs of attention and feed-forward, pre-norm, residual.

    A layer of the config is such a pair, two of these modules. The last ``skip`` are left out.
    """

    def __init__(self, config: TokenEncoderConfig):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([nn.LayerNorm(config.width), block(config)])
            for _ in range(config.layers)
            for block in (SelfAttention, FeedForward)
        )

    def forward(self, x: Tensor, skip: int = 0) -> Tensor:
        pair: Any  # of modules
        for pair in self.layers[: len(self.layers) - 2 * skip]:
            norm, block = pair
            x = x + block(norm(x))
        return x


class TokenEncoder(nn.Module):
    """ids [B, T] -> `TextStates` after the final norm; T is at most ``config.length``.

    The pooled state is the first token's; no published model uses it.
    """

    def __init__(self, config: TokenEncoderConfig):
        super().__init__()
        self.token_emb = embedding(config.vocab_size, config.width)
        self.pos_emb = Positions(config.length, config.width)
        self.attn_layers = Layers(config)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, ids: Tensor, skip: int = 0) -> TextStates:
        """``skip``: how many of the last layers the states leave out."""
        x = self.token_emb(ids) + self.pos_emb.emb.weight[: ids.shape[1]]
        states = self.norm(self.attn_layers(x, skip))
        return TextStates(states, states[:, 0])
