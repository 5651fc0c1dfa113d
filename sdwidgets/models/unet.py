"""The denoising network of latent diffusion.

Sources: "High-Resolution Image Synthesis with Latent Diffusion Models" (Rombach et al., arXiv
2112.10752, sections 3.2 and 3.3); the pooled conditioning vector: "SDXL" (Podell et al., arXiv
2307.01952, sections 2.1 and 2.2); uneven depths and networks without a middle: "BK-SDM" (Kim et
al., arXiv 2305.15798, section 3) and "Progressive Knowledge Distillation of Stable Diffusion XL"
(Gupta et al., arXiv 2401.02677, section 3); the guidance scale as an input: "Latent Consistency
Models" (Luo et al., arXiv 2310.04378, section 4.1); scales and shifts by the time, and residual
blocks that resample: "Diffusion Models Beat GANs on Image Synthesis" (Dhariwal & Nichol, arXiv
2105.05233, section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..configs import UNetConfig
from ..errors import InputError
from .attention import Attention, PixelAttention, SpatialTransformer
from .layers import (
    Downsample,
    DownsampleBlock,
    EmbeddingMLP,
    ResnetBlock,
    Upsample,
    UpsampleBlock,
    norm_silu,
    timestep_embedding,
)

EPS = 1e-5


Residuals: TypeAlias = "Callable[[Sequence[Tensor]], Sequence[Tensor] | None]"
"""What is added to the skips and, last, to the middle's output, as a function of all of them."""


def _resnet_options(config: UNetConfig) -> dict[str, Any]:
    """What all residual blocks of a network have in common."""
    return {
        "groups": config.norm_groups,
        "eps": EPS,
        "embedding_width": 4 * config.channels[0],
        "scale_shift": config.scale_shift,
    }


class Level(nn.Module):
    """Residual blocks, each followed by attention where its entry of ``depths`` is not 0: a spatial
    transformer or, in configs without, a lone self-attention. A level has attention after all of
    its blocks or after none."""

    def __init__(
        self,
        config: UNetConfig,
        level: int,
        in_channels: Sequence[int],
        depths: Sequence[int],
        cross_only: bool = False,
    ):
        super().__init__()
        channels, groups, heads = config.channels[level], config.norm_groups, config.heads[level]
        self.resnets = nn.ModuleList(
            ResnetBlock(n, channels, **_resnet_options(config)) for n in in_channels
        )
        self.attentions = nn.ModuleList(
            SpatialTransformer(channels, heads, depth, config.context_dim, groups, cross_only)
            if config.transformers
            else PixelAttention(channels, groups, heads, eps=EPS)
            for depth in depths
            if depth
        )

    def block(self, i: int, x: Tensor, embedding: Tensor, context: Tensor | None) -> Tensor:
        """Residual block ``i`` and its attention: [B, in, h, w] -> [B, out, h, w]."""
        x = self.resnets[i](x, embedding)
        return self.attentions[i](x, context) if len(self.attentions) else x


class DownLevel(Level):
    """[B, in, h, w] -> [B, out, h/2, w/2], and all states on the way, for the skips."""

    def __init__(self, config: UNetConfig, level: int):
        channels, blocks = config.channels, config.blocks_per_level
        in_channels = [channels[max(level - 1, 0)], *[channels[level]] * (blocks - 1)]
        depths = [config.depths[level]] * blocks
        super().__init__(config, level, in_channels, depths, config.cross_only_at(level))
        self.downsamplers = nn.ModuleList()
        if level < len(channels) - 1:
            n = channels[level]
            self.downsamplers.append(
                DownsampleBlock(n, n, **_resnet_options(config))
                if config.resample_blocks
                else Downsample(n)
            )

    def forward(
        self, x: Tensor, embedding: Tensor, context: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        states = []
        for i in range(len(self.resnets)):
            x = self.block(i, x, embedding, context)
            states.append(x)
        for downsample in self.downsamplers:
            is_block = isinstance(downsample, ResnetBlock)
            x = downsample(x, embedding) if is_block else downsample(x)
            states.append(x)
        return x, states


class MidLevel(Level):
    """[B, C, h, w] -> [B, C, h, w] at the lowest resolution: residual, attention, residual; or
    the first of these alone."""

    def __init__(self, config: UNetConfig):
        in_channels = [config.channels[-1]] * config.middle
        super().__init__(config, -1, in_channels, [config.mid_depth])

    def forward(self, x: Tensor, embedding: Tensor, context: Tensor | None) -> Tensor:
        x = self.block(0, x, embedding, context)
        for resnet in self.resnets[1:]:
            x = resnet(x, embedding)
        return x


class UpLevel(Level):
    """[B, in, h, w] and its skips -> [B, out, 2h, 2w] ([B, out, h, w] at level 0)."""

    def __init__(self, config: UNetConfig, level: int):
        channels, blocks = config.channels, config.blocks_per_level
        below = channels[min(level + 1, len(channels) - 1)]
        above = channels[max(level - 1, 0)]
        states = [below, *[channels[level]] * blocks]
        skips = [*[channels[level]] * blocks, above]
        in_channels = [state + skip for state, skip in zip(states, skips, strict=True)]
        depths = [config.depth_up(level, block) for block in range(blocks + 1)]
        super().__init__(config, level, in_channels, depths, config.cross_only_at(level))
        self.upsamplers = nn.ModuleList()
        if level:
            n = channels[level]
            self.upsamplers.append(
                UpsampleBlock(n, n, **_resnet_options(config))
                if config.resample_blocks
                else Upsample(n)
            )

    def forward(
        self, x: Tensor, skips: list[Tensor], embedding: Tensor, context: Tensor | None
    ) -> Tensor:
        """Return the level's output; it takes its skips from the end of ``skips``."""
        for i in range(len(self.resnets)):
            x = torch.cat([x, skips.pop()], dim=1)
            x = self.block(i, x, embedding, context)
        for upsample in self.upsamplers:
            height, width = skips[-1].shape[-2:]  # odd sizes: not always twice as large
            is_block = isinstance(upsample, ResnetBlock)
            told = (embedding,) if is_block else ()
            x = upsample(x, *told, size=(height, width))
        return x


class UNet(nn.Module):
    """x [B, in_channels, h, w] at timesteps t -> prediction [B, out_channels, h, w].

    What it predicts depends on its training; see `diffusion.PREDICTIONS`. Parameter names are those
    of diffusers' ``UNet2DConditionModel``, with linear layers for the 1x1 convolutions around
    attention. Height and width are arbitrary.
    """

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = config
        channels, width = config.channels, 4 * config.channels[0]
        levels = range(len(channels))
        self.conv_in = nn.Conv2d(config.in_channels, channels[0], 3, padding=1)
        self.time_embedding = EmbeddingMLP(channels[0], width, condition=config.guidance_dim)
        self.class_embedding = nn.Embedding(config.classes, width) if config.classes else None
        self.add_embedding = EmbeddingMLP(config.vector_dim, width) if config.vector_dim else None
        self.down_blocks = nn.ModuleList(DownLevel(config, level) for level in levels)
        self.mid_block = MidLevel(config) if config.middle else None
        self.up_blocks = nn.ModuleList(UpLevel(config, level) for level in reversed(levels))
        self.conv_norm_out = nn.GroupNorm(config.norm_groups, channels[0], eps=EPS)
        self.conv_out = nn.Conv2d(channels[0], config.out_channels, 3, padding=1)

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        context: Tensor | None = None,
        vector: Tensor | None = None,
        *,
        guidance: Tensor | None = None,
        label: Tensor | None = None,
        residuals: Sequence[Tensor] | Residuals | None = None,
    ) -> Tensor:
        """Return the prediction [B, out_channels, h, w].

        ``x`` [B, in_channels, h, w]. ``t`` [B]: timesteps in [0, 1000), not necessarily whole.
        ``context`` [B, T, context_dim]: the words' states. ``vector`` [B, vector_dim]: SDXL's
        pooled conditioning, for configs with ``vector_dim`` > 0. ``guidance`` [B, guidance_dim]:
        features of the guidance scale, for distilled networks (arXiv 2310.04378, section 4.1).
        ``label`` [B], int64 in [0, classes): the row of the table of classes; for the upscaler, the
        noise level of its small image. ``residuals``: what a ControlNet adds (arXiv 2302.05543,
        section 3.2), a tensor for each skip, in the order in which the skips are made, and one for
        the output of the middle, last; or a function of what they are added to. Raises InputError
        if an input that the config has is missing, or if the residuals are too few or too many.
        """
        self._check(context, vector, guidance, label)
        embedding = timestep_embedding(t.expand(x.shape[0]), self.config.channels[0])
        embedding = self.time_embedding(embedding.to(x.dtype), guidance)  # [B, 4 channels[0]]
        if self.class_embedding is not None:
            embedding = embedding + self.class_embedding(label)
        if self.add_embedding is not None:
            embedding = embedding + self.add_embedding(vector)
        embedding = F.silu(embedding)  # once, for all residual blocks

        x = self.conv_in(x)  # [B, channels[0], h, w]
        skips = [x]
        for down in self.down_blocks:
            x, states = down(x, embedding, context)
            skips += states
        if self.mid_block is not None:
            x = self.mid_block(x, embedding, context)  # [B, channels[-1], h/2^(L-1), w/2^(L-1)]
        if callable(residuals):
            residuals = residuals([*skips, x])
        if residuals is not None:
            if len(residuals) != len(skips) + 1:
                raise InputError(
                    f"This network takes {len(skips) + 1} residuals, one for each skip and one for "
                    f"the middle, and got {len(residuals)}.\nUse a ControlNet of the same family."
                )
            *to_skips, to_middle = residuals
            skips = [skip + more for skip, more in zip(skips, to_skips, strict=True)]
            x = x + to_middle
        for up in self.up_blocks:
            x = up(x, skips, embedding, context)
        return self.conv_out(norm_silu(self.conv_norm_out, x))  # [B, out_channels, h, w]

    def _check(
        self,
        context: Tensor | None,
        vector: Tensor | None,
        guidance: Tensor | None,
        label: Tensor | None,
    ) -> None:
        config = self.config
        if config.context_dim and context is None:
            raise InputError("This network needs a context [B, T, D]: the prompt's text states.")
        if config.vector_dim and vector is None:
            raise InputError("This network needs a vector [B, V]: the pooled conditioning.")
        if config.guidance_dim and guidance is None:
            raise InputError(
                f"This network needs guidance [B, {config.guidance_dim}]: features of the guidance "
                "scale."
            )
        if config.classes and label is None:
            raise InputError(
                f"This network needs a label [B]: a row of its table of {config.classes:,} classes."
            )

    def cross_attentions(self) -> dict[str, Attention]:
        """Return every cross-attention by its module path, in the order of the forward pass.

        In levels that are ``cross_only``, both attentions of a transformer block are."""
        return {
            name: module
            for name, module in self.named_modules()
            if isinstance(module, Attention) and module.is_cross
        }

    def self_attentions(self) -> dict[str, Attention]:
        """Return every self-attention by its module path, in the order of the forward pass."""
        return {
            name: module
            for name, module in self.named_modules()
            if isinstance(module, Attention) and not module.is_cross
        }


def zero_residuals(unet: UNet) -> None:
    """Set the last layer of every residual branch, and of the network, to zero in place.

    For training from scratch: each block then starts as the identity ("Accurate, Large Minibatch
    SGD", Goyal et al., arXiv 1706.02677, section 5.1; the published code of diffusion models does
    the same).
    """
    for module in unet.modules():
        if isinstance(module, ResnetBlock):
            last: nn.Module = module.conv2
        elif isinstance(module, SpatialTransformer):
            last = module.proj_out
        elif isinstance(module, PixelAttention):
            last = module.to_out[0]
        else:
            continue
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
    for parameter in unet.conv_out.parameters():
        nn.init.zeros_(parameter)
