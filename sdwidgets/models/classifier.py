"""A classifier of noisy latents, whose gradient guides a sampler towards a class.

Source: "Diffusion Models Beat GANs on Image Synthesis" (Dhariwal & Nichol, arXiv 2105.05233,
section 4); on latents, "High-Resolution Image Synthesis with Latent Diffusion Models" (Rombach et
al., arXiv 2112.10752, appendix C). The pooling by attention is that of CLIP (Radford et al., arXiv
2103.00020, section 2.4).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..configs import ClassifierConfig
from ..errors import InputError
from .layers import EmbeddingMLP, norm_silu, timestep_embedding
from .unet import EPS, DownLevel, MidLevel

HIDDEN = 2048  # width of the layer after the spatial means, as published


class AttentionPool(nn.Module):
    """x [B, C, h, w] -> [B, out]: attention of the mean of all cells to itself and to every cell,
    with learnt positions."""

    def __init__(self, side: int, channels: int, heads: int, out: int):
        super().__init__()
        self.side, self.heads = side, heads
        self.positional_embedding = nn.Parameter(torch.randn(channels, side**2 + 1) / channels**0.5)
        self.qkv_proj = nn.Linear(channels, 3 * channels)
        self.c_proj = nn.Linear(channels, out)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if (height, width) != (self.side, self.side):
            raise InputError(
                f"This classifier was made for {self.side} x {self.side} cells at its lowest "
                f"resolution, got {width} x {height}.\nGive latents of its own size."
            )
        x = x.flatten(2)  # [B, C, N]
        x = torch.cat([x.mean(-1, keepdim=True), x], dim=-1) + self.positional_embedding
        q, k, v = self.qkv_proj(x.mT).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q[:, :, :1], k, v)  # [B, heads, 1, d]
        return self.c_proj(h.flatten(1))


class NoisyClassifier(nn.Module):
    """x [B, in_channels, h, w] at timesteps t -> logits [B, K] of the K classes of its config.

    The latents are scaled to unit variance, as a network with the prediction "eps" sees them.
    """

    def __init__(self, config: ClassifierConfig):
        super().__init__()
        self.config, unet = config, config.unet
        channels, classes = unet.channels[-1], len(config.names)
        self.conv_in = nn.Conv2d(unet.in_channels, unet.channels[0], 3, padding=1)
        self.time_embedding = EmbeddingMLP(unet.channels[0], 4 * unet.channels[0])
        self.down_blocks = nn.ModuleList(
            DownLevel(unet, level) for level in range(len(unet.channels))
        )
        self.mid_block = MidLevel(unet)
        if config.pool.startswith("spatial"):
            self.hidden = nn.Linear(config.features, HIDDEN)
            self.hidden_norm = (
                nn.GroupNorm(unet.norm_groups, HIDDEN, eps=EPS)
                if config.pool == "spatial_v2"
                else None
            )
            self.out = nn.Linear(HIDDEN, classes)
            return
        self.conv_norm_out = nn.GroupNorm(unet.norm_groups, channels, eps=EPS)
        if config.pool == "attention":
            side = -(-config.side // 2 ** (len(unet.channels) - 1))  # halves are rounded up
            self.pool = AttentionPool(side, channels, unet.heads[-1], classes)
        else:
            self.out = nn.Linear(channels, classes)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the logits [B, K] of ``x`` [B, in_channels, h, w] at ``t`` [B] in [0, 1000).

        Raises InputError, with pooling by attention, for latents of another size.
        """
        embedding = timestep_embedding(t.expand(x.shape[0]), self.config.unet.channels[0])
        embedding = F.silu(self.time_embedding(embedding.to(x.dtype)))
        x = self.conv_in(x)
        states = [x]
        for down in self.down_blocks:
            x, more = down(x, embedding, None)
            states += more
        x = self.mid_block(x, embedding, None)
        if self.config.pool.startswith("spatial"):
            means = torch.cat([state.mean((2, 3)) for state in (*states, x)], dim=1)
            h = self.hidden(means)  # [B, HIDDEN]
            h = F.relu(h) if self.hidden_norm is None else norm_silu(self.hidden_norm, h)
            return self.out(h)
        x = norm_silu(self.conv_norm_out, x)
        return self.pool(x) if self.config.pool == "attention" else self.out(x.mean((2, 3)))
