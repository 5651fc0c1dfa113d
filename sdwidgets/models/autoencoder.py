"""The KL and VQ autoencoders, and the identity: images to latents of unit variance, and back.

Source: "High-Resolution Image Synthesis with Latent Diffusion Models" (Rombach et al., arXiv
2112.10752, section 3.1 and appendix G). The latents' scale and shift are applied here: everything
outside sees latents of (about) unit variance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..configs import AutoencoderConfig
from ..errors import InputError
from ..numerics import tensor
from ..sources import Source
from .attention import PixelAttention
from .layers import Downsample, ResnetBlock, Upsample, norm_silu
from .quantizer import Quantizer
from .tiling import in_tiles

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
        """Return the most likely latents [B, C, h, w], which are the mean."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Return latents [B, C, h, w] drawn from the posterior, on the generator's device."""
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


@dataclass(frozen=True, kw_only=True)
class Codes(Posterior):
    """What a VQ encoder returns: a posterior without uncertainty, so ``std`` is zero.

    ``mean`` are the latents before quantisation, on which diffusion runs, since decoding quantises.
    ``quantized`` [B, C, h, w] are the quantised latents in the same scale, with straight-through
    gradients. ``indices`` [B, h, w] (int64) are the indices among the ``codes``. ``loss`` [] is
    that of `Quantizer`.
    """

    indices: Tensor
    quantized: Tensor
    loss: Tensor
    codes: int

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Return the latents [B, C, h, w] before quantisation, which are not random."""
        return self.mean

    def kl(self) -> Tensor:
        """Return KL(q || uniform over all codes) [B] in nats, summed over a sample.

        It is constant: log K per cell (arXiv 1711.00937, section 3.1).
        """
        nats = self.indices[0].numel() * math.log(self.codes)
        return torch.full((len(self.indices),), nats, device=self.indices.device)


class Pixels(Posterior):
    """What the identity returns: a posterior without uncertainty, so ``std`` is zero."""

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Return the scaled pixels [B, C, h, w], which are not random."""
        return self.mean

    def kl(self) -> Tensor:
        """Return KL(q || uniform over the levels of 8 bits) [B] in nats, summed over a sample.

        It is constant: log 256 per number.
        """
        nats = self.mean[0].numel() * math.log(256)
        return torch.full((len(self.mean),), nats, device=self.mean.device)


class Stack(nn.Module):
    """Layers, one after the other."""

    def layers(self) -> Iterator[nn.Module]:
        """The layers, in the order in which they are computed."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers():
            x = layer(x)
        return x


class MidBlock(Stack):
    """x [B, C, h, w] -> [B, C, h, w]: residual, attention over all pixels (optional), residual."""

    def __init__(self, channels: int, groups: int, attention: bool):
        super().__init__()
        self.attentions = nn.ModuleList([PixelAttention(channels, groups)] if attention else [])
        self.resnets = nn.ModuleList(
            ResnetBlock(channels, channels, groups=groups, eps=EPS) for _ in range(2)
        )

    def layers(self) -> Iterator[nn.Module]:
        return iter((self.resnets[0], *self.attentions, self.resnets[1]))


class Level(Stack):
    """x [B, in, h, w] -> [B, out, h, w]: residual blocks, each followed by attention if wanted."""

    def __init__(self, in_channels: int, channels: int, blocks: int, groups: int, attention: bool):
        super().__init__()
        self.attentions = nn.ModuleList(
            PixelAttention(channels, groups) for _ in range(blocks if attention else 0)
        )
        self.resnets = nn.ModuleList(
            ResnetBlock(channels if i else in_channels, channels, groups=groups, eps=EPS)
            for i in range(blocks)
        )

    def layers(self) -> Iterator[nn.Module]:
        for i, resnet in enumerate(self.resnets):
            yield resnet
            if self.attentions:
                yield self.attentions[i]


class DownBlock(Level):
    """x [B, in, h, w] -> [B, out, h/2, w/2] ([B, out, h, w] in the last level)."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        blocks: int,
        groups: int,
        *,
        attention: bool,
        last: bool,
    ):
        super().__init__(in_channels, channels, blocks, groups, attention)
        self.downsamplers = nn.ModuleList([] if last else [Downsample(channels, asymmetric=True)])

    def layers(self) -> Iterator[nn.Module]:
        yield from super().layers()
        yield from self.downsamplers


class UpBlock(Level):
    """x [B, in, h, w] -> [B, out, 2h, 2w] ([B, out, h, w] in the last level)."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        blocks: int,
        groups: int,
        *,
        attention: bool,
        last: bool,
    ):
        super().__init__(in_channels, channels, blocks, groups, attention)
        self.upsamplers = nn.ModuleList([] if last else [Upsample(channels)])

    def layers(self) -> Iterator[nn.Module]:
        yield from super().layers()
        yield from self.upsamplers


class Encoder(nn.Module):
    """image [B, 3, H, W] -> [B, 2C, H/f, W/f], mean and log-variance; VQ: only the C latents."""

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
                attention=i in config.attention_levels,
                last=i == len(channels) - 1,
            )
            for i in range(len(channels))
        )
        self.mid_block = MidBlock(channels[-1], groups, config.mid_attention)
        self.conv_norm_out = nn.GroupNorm(groups, channels[-1], eps=EPS)
        self.conv_out = nn.Conv2d(channels[-1], config.moments, 3, padding=1)

    def layers(self) -> Iterator[nn.Module]:
        """The layers, in the order in which they are computed; a SiLU follows the norm."""
        yield self.conv_in
        for block in (*self.down_blocks, self.mid_block):
            yield from block.layers()
        yield from (self.conv_norm_out, self.conv_out)

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
                attention=len(channels) - 1 - i in config.attention_levels,
                last=i == len(channels) - 1,
            )
            for i in range(len(channels))
        )
        self.conv_norm_out = nn.GroupNorm(groups, channels[-1], eps=EPS)
        self.conv_out = nn.Conv2d(channels[-1], config.in_channels, 3, padding=1)

    def layers(self) -> Iterator[nn.Module]:
        """The layers, in the order in which they are computed; a SiLU follows the norm."""
        yield self.conv_in
        for block in (self.mid_block, *self.up_blocks):
            yield from block.layers()
        yield from (self.conv_norm_out, self.conv_out)

    def forward(self, z: Tensor) -> Tensor:
        h = self.mid_block(self.conv_in(z))  # [B, channels[-1], h, w]
        for block in self.up_blocks:
            h = block(h)
        return self.conv_out(norm_silu(self.conv_norm_out, h))  # [B, 3, fh, fw]


class Autoencoder(nn.Module):
    """Images to unit-variance latents and back (arXiv 2112.10752, section 3.1).

    Parameter names are those of diffusers' ``AutoencoderKL`` or, with codes, ``VQModel``. It is
    fully convolutional: images may have any size that is a multiple of f. `reconstruct` takes all
    other sizes. Without levels in its config it is the identity, up to the scale and the shift, and
    has no parameters: a model with it works on pixels.
    """

    _place: Tensor

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        self.config = config
        self.sources: tuple[Source, ...] = ()  # the files that its weights came from, if any
        self.quantize: Quantizer | None = None
        if config.is_identity:
            # Says where and in what type it computes. It is no weight, so it is never on "meta".
            self.register_buffer("_place", torch.zeros((), device="cpu"), persistent=False)
            return
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant_conv = nn.Conv2d(config.moments, config.moments, 1)
        self.post_quant_conv = nn.Conv2d(config.latent_channels, config.latent_channels, 1)
        if config.codes:
            self.quantize = Quantizer(config.codes, config.latent_channels)

    @property
    def weight(self) -> Tensor:
        """A tensor of the type and on the device in which it computes; not to be changed."""
        return self._place if self.config.is_identity else self.post_quant_conv.weight

    def encode(self, image: Tensor, *, tiled: bool = False) -> Posterior:
        """Return the posterior over latents [B, C, H/f, W/f] of ``image`` [B, 3, H, W] in [-1, 1].

        H and W are multiples of f = ``config.factor``. With codes it is a `Codes`, for the identity
        `Pixels`, otherwise a Gaussian with its variance clamped to e^-30..e^20. ``tiled``: in a
        fraction of the memory and about one and a half times as long, without gradients; see
        `models.tiling`.
        """
        scale, shift = self.config.scaling_factor, self.config.shift_factor
        if self.config.is_identity:
            mean = (image - shift) * scale
            return Pixels(mean, torch.zeros_like(mean), scale, shift)
        moments = self.quant_conv(_through(self.encoder, image, tiled))
        if self.quantize is None:
            mean, log_variance = moments.chunk(2, dim=1)
            std = torch.exp(0.5 * log_variance.clamp(-30.0, 20.0))
            return Posterior((mean - shift) * scale, std * scale, scale, shift)
        quantized, indices, loss = self.quantize(moments)
        mean = (moments - shift) * scale
        return Codes(
            mean,
            torch.zeros_like(mean),
            scale,
            shift,
            indices=indices,
            quantized=(quantized - shift) * scale,
            loss=loss,
            codes=self.config.codes,
        )

    def decode(self, latents: Tensor, *, tiled: bool = False, quantize: bool = True) -> Tensor:
        """Return images [B, 3, fh, fw], about in [-1, 1], for unit-variance latents [B, C, h, w].

        With codes, the latents are quantised first, since a network's latents lie between codes;
        ``quantize=False`` decodes them as they are. ``tiled``: as in `encode`.
        """
        z = latents / self.config.scaling_factor + self.config.shift_factor
        if self.config.is_identity:
            return z
        if self.quantize is not None and quantize:
            z = self.quantize(z).latents
        return _through(self.decoder, self.post_quant_conv(z), tiled)

    def decode_codes(self, indices: Tensor) -> Tensor:
        """Return images [B, 3, fh, fw] for the ``indices`` [B, h, w] of codes, 0 to K - 1.

        Raises ``InputError`` for indices of another shape or type or out of range, and for an
        autoencoder without codes.
        """
        if self.quantize is None:
            raise InputError(
                "This autoencoder has no codes.\nDecode latents instead.", parameter="indices"
            )
        indices = tensor("indices", indices, ("B", "h", "w"), kind="whole numbers").long()
        low, high = (int(end) for end in torch.aminmax(indices))
        if low < 0 or high >= self.config.codes:
            raise InputError(
                f"Codes are 0 to {self.config.codes - 1:,}; the indices are {low:,} to {high:,}.",
                parameter="indices",
            )
        return self.decoder(self.post_quant_conv(self.quantize.look_up(indices)))

    def forward(self, image: Tensor) -> Tensor:
        """Return the reconstruction [B, 3, H, W] of ``image`` [B, 3, H, W] through the mode."""
        return self.decode(self.encode(image).mode())

    def reconstruct(self, image: Tensor) -> Tensor:
        """The same for any H and W: the image is `padded`, and the result cropped."""
        height, width = image.shape[-2:]
        return self(padded(image, self.config.factor))[..., :height, :width]


def _through(part: Encoder | Decoder, x: Tensor, tiled: bool) -> Tensor:
    return in_tiles(part.layers(), x) if tiled else part(x)  # type: ignore[no-any-return]


def padded(image: Tensor, factor: int) -> Tensor:
    """Return ``image`` [B, C, H, W] padded to multiples of ``factor`` by repeating the last row and
    column. Only the bottom and the right grow, so that latent cells stay where they are."""
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % factor, 0, -height % factor), mode="replicate")
