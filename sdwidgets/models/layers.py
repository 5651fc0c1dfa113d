"""The blocks that the denoising network and the autoencoder share.

Sources: residual blocks and resampling of "Denoising Diffusion Probabilistic Models" (Ho et al.,
arXiv 2006.11239, appendix B); blocks that scale and that resample of "Diffusion Models Beat GANs on
Image Synthesis" (Dhariwal & Nichol, arXiv 2105.05233, section 3); the timestep embedding of
"Attention Is All You Need" (Vaswani et al., arXiv 1706.03762, section 3.5).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def timestep_embedding(t: Tensor, width: int) -> Tensor:
    """Return [B, ``width``] float32 features of the timesteps ``t`` [B]: cosines, then sines.

    Frequencies fall geometrically from 1 to (almost) 1/10000 (arXiv 1706.03762, section 3.5).
    ``width`` is even; timesteps need not be whole numbers.
    """
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=t.device) / half
    angles = t.float()[:, None] * torch.exp(-math.log(10000.0) * exponents)  # [B, width/2]
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def norm_silu(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """Return silu(norm(x)), in place where no gradient is needed, which saves a memory pass."""
    h = norm(x)
    return F.silu(h, inplace=not h.requires_grad)


class EmbeddingMLP(nn.Module):
    """[B, in] -> [B, out]: linear, SiLU, linear; for timesteps and SDXL's pooled vector.

    With ``condition`` > 0, features [B, ``condition``] of something else are projected and added to
    the input first, as the guidance scale's are in latent consistency models (arXiv 2310.04378).
    """

    def __init__(self, in_width: int, out_width: int, *, condition: int = 0):
        super().__init__()
        self.cond_proj = nn.Linear(condition, in_width, bias=False) if condition else None
        self.linear_1 = nn.Linear(in_width, out_width)
        self.linear_2 = nn.Linear(out_width, out_width)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        if self.cond_proj is not None:
            x = x + self.cond_proj(condition)
        return self.linear_2(F.silu(self.linear_1(x)))


class ResnetBlock(nn.Module):
    """x [B, in, h, w] -> [B, out, h, w]: two normalised 3x3 convolutions and a shortcut.

    With ``embedding_width`` > 0, an embedding of the timestep is added in between
    (arXiv 2006.11239, appendix B). With ``scale_shift``, it scales and shifts what the second norm
    returns instead (adaptive group normalization, arXiv 2105.05233, section 3.1).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        groups: int,
        eps: float,
        embedding_width: int = 0,
        scale_shift: bool = False,
    ):
        super().__init__()
        self.scale_shift = scale_shift
        self.norm1 = nn.GroupNorm(groups, in_channels, eps=eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        if embedding_width:
            self.time_emb_proj = nn.Linear(embedding_width, (1 + scale_shift) * out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels, eps=eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = (
            nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None
        )

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Return [B, out, h, w]; ``embedding`` [B, embedding_width] is after its SiLU, which all
        blocks share."""
        return self._branches(x, norm_silu(self.norm1, x), embedding)

    def _branches(self, x: Tensor, h: Tensor, embedding: Tensor | None) -> Tensor:
        """The sum of both branches: the shortcut of ``x``, and ``h`` through the convolutions."""
        h = self.conv1(h)  # [B, out, h, w]
        if embedding is None:
            h = norm_silu(self.norm2, h)
        elif self.scale_shift:
            scale, shift = self.time_emb_proj(embedding)[:, :, None, None].chunk(2, dim=1)
            h = F.silu(self.norm2(h) * (1 + scale) + shift)
        else:
            h += self.time_emb_proj(embedding)[:, :, None, None]
            h = norm_silu(self.norm2, h)
        h = self.conv2(h)
        h += x if self.conv_shortcut is None else self.conv_shortcut(x)
        return h


class DownsampleBlock(ResnetBlock):
    """x [B, C, h, w] -> [B, C, ceil(h/2), ceil(w/2)]: a residual block, both branches of which are
    averaged over 2 x 2 cells first (arXiv 2105.05233, section 3)."""

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        h = F.avg_pool2d(norm_silu(self.norm1, x), 2, ceil_mode=True)
        return self._branches(F.avg_pool2d(x, 2, ceil_mode=True), h, embedding)


class UpsampleBlock(ResnetBlock):
    """x [B, C, h, w] -> [B, C, 2h, 2w]: a residual block, both branches of which repeat each cell
    2 x 2 times first (arXiv 2105.05233, section 3)."""

    def forward(
        self, x: Tensor, embedding: Tensor | None = None, size: tuple[int, int] | None = None
    ) -> Tensor:
        """Return [B, C, *size]; ``size`` is (2h, 2w) by default, and another at odd levels."""
        h = enlarged(norm_silu(self.norm1, x), size)
        return self._branches(enlarged(x, size), h, embedding)


class Downsample(nn.Module):
    """x [B, C, h, w] -> [B, C, ceil(h/2), ceil(w/2)] by a 3x3 convolution of stride 2.

    ``asymmetric`` pads only the right and the bottom and rounds odd sizes down, as latent
    diffusion's autoencoder does.
    """

    def __init__(self, channels: int, *, asymmetric: bool = False):
        super().__init__()
        self.asymmetric = asymmetric
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=0 if asymmetric else 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.asymmetric else x)


class Upsample(nn.Module):
    """x [B, C, h, w] -> [B, C, 2h, 2w]: nearest neighbour, then a 3x3 convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return [B, C, *size]; ``size`` is (2h, 2w) by default, and another at odd levels."""
        return self.conv(enlarged(x, size))


def enlarged(x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """Return ``x`` [B, C, h, w] at ``size``, by default (2h, 2w), by the nearest neighbour."""
    if size is None:
        size = (2 * x.shape[-2], 2 * x.shape[-1])
    return F.interpolate(x, size=size, mode="nearest")
