"""The KL autoencoder: pictures to latents of unit variance, and back.

Source: "High-Resolution Image Synthesis with Latent Diffusion Models" (Rombach et al., arXiv
2112.10752, section 3.1 and appendix G). The latents' scale and shift live in here: everything
outside sees latents of (about) unit variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..configs import AutoencoderConfig
from .attention import PixelAttention
from .layers import Downsample, ResnetBlock, Upsample, norm_silu

EPS = 1e-6


@dataclass(frozen=True)
class Posterior:
    """q(z|x), a diagonal Gaussian over *scaled* latents: ``mean`` and ``std`` [B, C, h, w].

    The autoencoder's own latents are ``mean / scale + shift``.
    """

    mean: Tensor
    std: Tensor
    scale: float = 1.0
    shift: float = 0.0

    def mode(self) -> Tensor:
        """Return the most likely latents [B, C, h, w]: the mean."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Return latents [B, C, h, w] drawn from the posterior; drawn on the generator's device."""
        device = self.mean.device if generator is None else generator.device
        noise = torch.randn(
            self.mean.shape, generator=generator, device=device, dtype=self.mean.dtype
        )
        return self.mean + self.std * noise.to(self.mean.device)

    def kl(self) -> Tensor:
        """Return KL(q || N(0, 1)) [B] of the *unscaled* latents, in nats, summed over a sample.

        Source: "Auto-Encoding Variational Bayes" (Kingma & Welling, arXiv 1312.6114, appendix B).
        """
        mean = self.mean.float() / self.scale + self.shift
        std = self.std.float() / self.scale
        return 0.5 * (mean.square() + std.square() - 1 - 2 * std.log()).flatten(1).sum(1)


class MidBlock(nn.Module):
    """x [B, C, h, w] -> [B, C, h, w]: residual, attention over all pixels (optional), residual."""

    def __init__(self, channels: int, groups: int, attention: bool):
        super().__init__()
        self.attentions = nn.ModuleList([PixelAttention(channels, groups)] if attention else [])
        self.resnets = nn.ModuleList(
            ResnetBlock(channels, channels, groups=groups, eps=EPS) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.resnets[0](x)
        for attention in self.attentions:
            x = attention(x)
        return self.resnets[1](x)


class DownBlock(nn.Module):
    """x [B, in, h, w] -> [B, out, h/2, w/2] ([B, out, h, w] in the last level)."""

    def __init__(self, in_channels: int, channels: int, blocks: int, groups: int, last: bool):
        super().__init__()
        self.resnets = nn.ModuleList(
            ResnetBlock(channels if i else in_channels, channels, groups=groups, eps=EPS)
            for i in range(blocks)
        )
        self.downsamplers = nn.ModuleList([] if last else [Downsample(channels, asymmetric=True)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in (*self.resnets, *self.downsamplers):
            x = layer(x)
        return x


class UpBlock(nn.Module):
    """x [B, in, h, w] -> [B, out, 2h, 2w] ([B, out, h, w] in the last level)."""

    def __init__(self, in_channels: int, channels: int, blocks: int, groups: int, last: bool):
        super().__init__()
        self.resnets = nn.ModuleList(
            ResnetBlock(channels if i else in_channels, channels, groups=groups, eps=EPS)
            for i in range(blocks)
        )
        self.upsamplers = nn.ModuleList([] if last else [Upsample(channels)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in (*self.resnets, *self.upsamplers):
            x = layer(x)
        return x


class Encoder(nn.Module):
    """image [B, 3, H, W] -> mean and log-variance, together [B, 2C, H/f, W/f]."""

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        channels, groups = config.channels, config.norm_groups
        self.conv_in = nn.Conv2d(config.in_channels, channels[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            DownBlock(
                channels[max(i - 1, 0)],
                channels[i],
                config.blocks_per_level,
                groups,
                last=i == len(channels) - 1,
            )
            for i in range(len(channels))
        )
        self.mid_block = MidBlock(channels[-1], groups, config.mid_attention)
        self.conv_norm_out = nn.GroupNorm(groups, channels[-1], eps=EPS)
        self.conv_out = nn.Conv2d(channels[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        h = self.conv_in(image)  # [B, channels[0], H, W]
        for block in self.down_blocks:
            h = block(h)
        h = self.mid_block(h)  # [B, channels[-1], H/f, W/f]
        return self.conv_out(norm_silu(self.conv_norm_out, h))


class Decoder(nn.Module):
    """z [B, C, h, w] -> image [B, 3, fh, fw]."""

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        channels, groups = config.channels[::-1], config.norm_groups
        self.conv_in = nn.Conv2d(config.latent_channels, channels[0], 3, padding=1)
        self.mid_block = MidBlock(channels[0], groups, config.mid_attention)
        self.up_blocks = nn.ModuleList(
            UpBlock(
                channels[max(i - 1, 0)],
                channels[i],
                config.blocks_per_level + 1,
                groups,
                last=i == len(channels) - 1,
            )
            for i in range(len(channels))
        )
        self.conv_norm_out = nn.GroupNorm(groups, channels[-1], eps=EPS)
        self.conv_out = nn.Conv2d(channels[-1], config.in_channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.mid_block(self.conv_in(z))  # [B, channels[-1], h, w]
        for block in self.up_blocks:
            h = block(h)
        return self.conv_out(norm_silu(self.conv_norm_out, h))  # [B, 3, fh, fw]


class Autoencoder(nn.Module):
    """Pictures to unit-variance latents and back (arXiv 2112.10752, section 3.1).

    Parameter names are those of diffusers' ``AutoencoderKL``.
    """

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant_conv = nn.Conv2d(2 * config.latent_channels, 2 * config.latent_channels, 1)
        self.post_quant_conv = nn.Conv2d(config.latent_channels, config.latent_channels, 1)

    def encode(self, image: Tensor) -> Posterior:
        """Return the posterior over latents [B, C, H/f, W/f] of ``image`` [B, 3, H, W] in [-1, 1].

        H and W are multiples of f = ``config.factor``. The variance is clamped to e^-30..e^20.
        """
        scale, shift = self.config.scaling_factor, self.config.shift_factor
        mean, log_variance = self.quant_conv(self.encoder(image)).chunk(2, dim=1)
        std = torch.exp(0.5 * log_variance.clamp(-30.0, 20.0))
        return Posterior((mean - shift) * scale, std * scale, scale, shift)

    def decode(self, latents: Tensor) -> Tensor:
        """Return images [B, 3, fh, fw], about in [-1, 1], of unit-variance latents [B, C, h, w]."""
        z = latents / self.config.scaling_factor + self.config.shift_factor
        return self.decoder(self.post_quant_conv(z))

    def forward(self, image: Tensor) -> Tensor:
        """Return the reconstruction [B, 3, H, W] of ``image`` [B, 3, H, W] through the mode."""
        return self.decode(self.encode(image).mode())
