"""A ControlNet: a copy of a UNet's way down that reads an image, and adds what it finds.

Source: "Adding Conditional Control to Text-to-Image Diffusion Models" (Zhang et al., arXiv
2302.05543, section 3).
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..configs import ControlNetConfig
from ..errors import InputError
from ..sources import Source
from .layers import EmbeddingMLP, timestep_embedding
from .unet import DownLevel, Level, MidLevel


class HintEmbedding(nn.Module):
    """An image [B, 3, H, W] -> [B, out, H/f, W/f] (arXiv 2302.05543, section 3.2)."""

    def __init__(self, in_channels: int, channels: Sequence[int], out_channels: int):
        super().__init__()
        self.conv_in = nn.Conv2d(in_channels, channels[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for above, below in itertools.pairwise(channels):
            self.blocks.append(nn.Conv2d(above, above, 3, padding=1))
            self.blocks.append(nn.Conv2d(above, below, 3, padding=1, stride=2))
        self.conv_out = nn.Conv2d(channels[-1], out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.conv_in(x))
        for block in self.blocks:
            x = F.silu(block(x))
        return self.conv_out(x)


class ControlNet(nn.Module):
    """x [B, C, h, w] at timesteps t, and an embedded image -> what the UNet's skips gain.

    Parameter names are those of diffusers' ``ControlNetModel``, with linear layers for the 1x1
    convolutions around attention. ``sources`` are the files that it came from.
    """

    sources: tuple[Source, ...] = ()

    def __init__(self, config: ControlNetConfig):
        super().__init__()
        self.config = config
        unet = config.unet
        channels, width = unet.channels, 4 * unet.channels[0]
        self.conv_in = nn.Conv2d(unet.in_channels, channels[0], 3, padding=1)
        self.time_embedding = EmbeddingMLP(channels[0], width)
        self.add_embedding = EmbeddingMLP(unet.vector_dim, width) if unet.vector_dim else None
        self.controlnet_cond_embedding = HintEmbedding(
            config.hint_channels, config.hint_widths, channels[0]
        )
        self.down_blocks = nn.ModuleList(DownLevel(unet, level) for level in range(len(channels)))
        self.mid_block = MidLevel(unet)
        for level in config.hollow:
            block = self.mid_block if level < 0 else self.down_blocks[level]
            assert isinstance(block, Level)
            for transformer in block.attentions:
                transformer.transformer_blocks = nn.ModuleList()
        self.controlnet_down_blocks = nn.ModuleList(nn.Conv2d(n, n, 1) for n in unet.skips)
        self.controlnet_mid_block = nn.Conv2d(channels[-1], channels[-1], 1)

    def on(self, device: torch.device, dtype: torch.dtype) -> ControlNet:
        """Return this network if it is on that device in that type, else a copy that is."""
        weight = self.conv_in.weight
        if (weight.device, weight.dtype) == (device, dtype):
            return self
        return copy.deepcopy(self).to(device, dtype)

    def embed(self, image: Tensor) -> Tensor:
        """Return what `forward` takes as ``hint``, [B, channels[0], H/f, W/f], of an image.

        ``image`` [B, 3, H, W] is RGB from 0 to 1. The result is the same at every step.
        """
        if self.config.is_bgr:
            image = image.flip(1)
        return self.controlnet_cond_embedding(image)

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        hint: Tensor,
        context: Tensor | None = None,
        vector: Tensor | None = None,
    ) -> list[Tensor]:
        """Return a tensor for each of the UNet's skips, in their order, and the middle's last.

        ``x`` [B, C, h, w], ``t`` [B], ``context`` and ``vector`` are those of `UNet.forward`, and
        ``hint`` [B or 1, channels[0], h, w] is that of `embed`. Raises InputError if the context
        or the vector is missing where the config has it.
        """
        if self.config.reads_context and context is None:
            raise InputError("This ControlNet needs a context [B, T, D]: the prompt's text states.")
        if self.config.unet.vector_dim and vector is None:
            raise InputError("This ControlNet needs a vector [B, V]: the pooled conditioning.")
        embedding = timestep_embedding(t.expand(x.shape[0]), self.config.unet.channels[0])
        embedding = self.time_embedding(embedding.to(x.dtype))
        if self.add_embedding is not None:
            embedding = embedding + self.add_embedding(vector)
        embedding = F.silu(embedding)

        x = self.conv_in(x) + hint
        states = [x]
        for down in self.down_blocks:
            x, more = down(x, embedding, context)
            states += more
        added = [zero(h) for zero, h in zip(self.controlnet_down_blocks, states, strict=True)]
        middle = self.mid_block(x, embedding, context)
        return [*added, self.controlnet_mid_block(middle)]


def zero_control(net: ControlNet) -> None:
    """Set the layers that a ControlNet's training begins with at zero to zero, in place.

    It then adds nothing (arXiv 2302.05543, section 3.1).
    """
    layers = [
        net.controlnet_cond_embedding.conv_out,
        *net.controlnet_down_blocks,
        net.controlnet_mid_block,
    ]
    with torch.no_grad():
        for layer in layers:
            for parameter in layer.parameters():
                parameter.zero_()
