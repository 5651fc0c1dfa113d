"""The published first stages, written a second time: their settings, tensors and formulas.

Everything here follows the CompVis code (``ldm/modules/diffusionmodules/model.py``,
``ldm/models/autoencoder.py``, ``taming/modules/vqvae/quantize.py``) and shares nothing with ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Published:
    """A ``models/first_stage_models/*/config.yaml``, with its own names; KL without ``n_embed``."""

    ch_mult: tuple[int, ...]
    z_channels: int
    attn_resolutions: tuple[int, ...] = ()
    n_embed: int = 0
    attn_type: str = "vanilla"
    ch: int = 128
    num_res_blocks: int = 2
    resolution: int = 256
    groups: int = 32  # not in the file: a constant of the code

    @property
    def double_z(self) -> bool:
        return not self.n_embed


PUBLISHED = {
    "KL-f4": Published((1, 2, 4), 3),
    "KL-f8": Published((1, 2, 4, 4), 4),
    "KL-f16": Published((1, 1, 2, 2, 4), 16, (16,)),
    "KL-f32": Published((1, 1, 2, 2, 4, 4), 64, (16, 8)),
    "VQ-f4": Published((1, 2, 4), 3, n_embed=8192),
    "VQ-f4-noattn": Published((1, 2, 4), 3, n_embed=8192, attn_type="none"),
    "VQ-f8": Published((1, 2, 2, 4), 4, (32,), n_embed=16384),
    "VQ-f8-n256": Published((1, 2, 2, 4), 4, (32,), n_embed=256),
    "VQ-f16": Published((1, 1, 2, 2, 4), 8, (16,), n_embed=16384),
}


def small(published: Published) -> Published:
    """Return the same with few channels and codes."""
    return replace(published, ch=8, groups=4, n_embed=min(published.n_embed, 50))


# ------------------------------------------------------------------------------------------ tensors


def tensors_of(p: Published) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of all tensors, without those of the loss."""
    return dict(_tensors(p))


def _conv(name: str, i: int, o: int, kernel: int = 3) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (o, i, kernel, kernel)
    yield f"{name}.bias", (o,)


def _norm(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (channels,)
    yield f"{name}.bias", (channels,)


def _block(name: str, i: int, o: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _norm(f"{name}.norm1", i)
    yield from _conv(f"{name}.conv1", i, o)
    yield from _norm(f"{name}.norm2", o)
    yield from _conv(f"{name}.conv2", o, o)
    if i != o:
        yield from _conv(f"{name}.nin_shortcut", i, o, 1)


def _attn(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _norm(f"{name}.norm", channels)
    for part in ("q", "k", "v", "proj_out"):
        yield from _conv(f"{name}.{part}", channels, channels, 1)


def _middle(name: str, channels: int, p: Published) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _block(f"{name}.block_1", channels, channels)
    if p.attn_type == "vanilla":
        yield from _attn(f"{name}.attn_1", channels)
    yield from _block(f"{name}.block_2", channels, channels)


def _tensors(p: Published) -> Iterator[tuple[str, tuple[int, ...]]]:
    last = len(p.ch_mult) - 1
    yield from _conv("encoder.conv_in", 3, p.ch)
    now, resolution = p.ch, p.resolution
    for level, multiple in enumerate(p.ch_mult):
        for i in range(p.num_res_blocks):
            yield from _block(f"encoder.down.{level}.block.{i}", now, p.ch * multiple)
            now = p.ch * multiple
            if resolution in p.attn_resolutions:
                yield from _attn(f"encoder.down.{level}.attn.{i}", now)
        if level < last:
            yield from _conv(f"encoder.down.{level}.downsample.conv", now, now)
            resolution //= 2
    yield from _middle("encoder.mid", now, p)
    yield from _norm("encoder.norm_out", now)
    moments = p.z_channels * (2 if p.double_z else 1)
    yield from _conv("encoder.conv_out", now, moments)
    yield from _conv("quant_conv", moments, moments, 1)
    yield from _conv("post_quant_conv", p.z_channels, p.z_channels, 1)
    if p.n_embed:
        yield "quantize.embedding.weight", (p.n_embed, p.z_channels)
    yield from _conv("decoder.conv_in", p.z_channels, now)
    yield from _middle("decoder.mid", now, p)
    for level in range(last, -1, -1):
        for i in range(p.num_res_blocks + 1):
            yield from _block(f"decoder.up.{level}.block.{i}", now, p.ch * p.ch_mult[level])
            now = p.ch * p.ch_mult[level]
            if resolution in p.attn_resolutions:
                yield from _attn(f"decoder.up.{level}.attn.{i}", now)
        if level > 0:
            yield from _conv(f"decoder.up.{level}.upsample.conv", now, now)
            resolution *= 2
    yield from _norm("decoder.norm_out", now)
    yield from _conv("decoder.conv_out", now, 3)


def random_tensors(p: Published, seed: int = 0) -> dict[str, Tensor]:
    """Return values for all tensors that keep the features at about unit size."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in tensors_of(p).items():
        values = torch.randn(shape, generator=generator)
        if "embedding" in name:
            tensors[name] = values
        elif len(shape) == 4:
            tensors[name] = values / (shape[1] * shape[2] * shape[3]) ** 0.5
        else:
            tensors[name] = 0.1 * values + ("norm" in name and name.endswith("weight"))
    return tensors


# ----------------------------------------------------------------------------------------- formulas


class Reference:
    """The published computation on a dict of tensors, without modules."""

    def __init__(self, p: Published, tensors: dict[str, Tensor]):
        self.p = p
        self.tensors = tensors

    def moments(self, image: Tensor) -> Tensor:
        """Return the output of ``quant_conv``."""
        h = self._conv("encoder.conv_in", image)
        last = len(self.p.ch_mult) - 1
        for level in range(last + 1):
            for i in range(self.p.num_res_blocks):
                h = self._block(f"encoder.down.{level}.block.{i}", h)
                h = self._attn(f"encoder.down.{level}.attn.{i}", h)
            if level < last:
                h = F.pad(h, (0, 1, 0, 1))
                h = self._conv(f"encoder.down.{level}.downsample.conv", h, stride=2, padding=0)
        h = self._end("encoder", self._middle("encoder.mid", h))
        return self._conv("quant_conv", h, padding=0)

    def quantised(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes nearest to latents, and their indices, by all N x K x D differences."""
        codes = self.tensors["quantize.embedding.weight"]
        flat = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])
        nearest = (flat[:, None] - codes[None]).pow(2).sum(-1).argmin(1)
        b, _, h, w = z.shape
        return codes[nearest].reshape(b, h, w, -1).permute(0, 3, 1, 2), nearest.reshape(b, h, w)

    def decoded(self, z: Tensor) -> Tensor:
        """Return the image of latents, or of quantised latents."""
        h = self._conv("decoder.conv_in", self._conv("post_quant_conv", z, padding=0))
        h = self._middle("decoder.mid", h)
        for level in reversed(range(len(self.p.ch_mult))):
            for i in range(self.p.num_res_blocks + 1):
                h = self._block(f"decoder.up.{level}.block.{i}", h)
                h = self._attn(f"decoder.up.{level}.attn.{i}", h)
            if level > 0:
                h = h.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
                h = self._conv(f"decoder.up.{level}.upsample.conv", h)
        return self._end("decoder", h)

    def _conv(self, name: str, x: Tensor, stride: int = 1, padding: int = 1) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return F.conv2d(x, weight, bias, stride=stride, padding=padding)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        grouped = x.reshape(len(x), self.p.groups, -1)
        mean = grouped.mean(2, keepdim=True)
        variance = grouped.var(2, keepdim=True, unbiased=False)
        normed = ((grouped - mean) / (variance + 1e-6).sqrt()).reshape(x.shape)
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return normed * weight[:, None, None] + bias[:, None, None]

    def _swish(self, name: str, x: Tensor) -> Tensor:
        h = self._norm(name, x)
        return h * torch.sigmoid(h)

    def _block(self, name: str, x: Tensor) -> Tensor:
        h = self._conv(f"{name}.conv1", self._swish(f"{name}.norm1", x))
        h = self._conv(f"{name}.conv2", self._swish(f"{name}.norm2", h))
        if f"{name}.nin_shortcut.weight" in self.tensors:
            x = self._conv(f"{name}.nin_shortcut", x, padding=0)
        return x + h

    def _attn(self, name: str, x: Tensor) -> Tensor:
        if f"{name}.norm.weight" not in self.tensors:
            return x
        h = self._norm(f"{name}.norm", x)
        q, k, v = (self._conv(f"{name}.{n}", h, padding=0).flatten(2) for n in "qkv")
        weights = torch.softmax(torch.einsum("bci,bcj->bij", q, k) * q.shape[1] ** -0.5, dim=2)
        h = torch.einsum("bij,bcj->bci", weights, v).reshape(x.shape)
        return x + self._conv(f"{name}.proj_out", h, padding=0)

    def _middle(self, name: str, x: Tensor) -> Tensor:
        h = self._attn(f"{name}.attn_1", self._block(f"{name}.block_1", x))
        return self._block(f"{name}.block_2", h)

    def _end(self, half: str, x: Tensor) -> Tensor:
        return self._conv(f"{half}.conv_out", self._swish(f"{half}.norm_out", x))
