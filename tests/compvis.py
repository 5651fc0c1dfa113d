"""Latent diffusion's own networks by name: which tensor of theirs is which of ours, and random
values for them that are the same on every machine.

The names and layouts are those of ``openaimodel.py`` in CompVis/latent-diffusion, written down here
independently of `sdwidgets.checkpoints`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sdwidgets.configs import ClassifierConfig, UNetConfig

GOLDEN = Path(__file__).resolve().parent / "golden" / "latent_diffusion.safetensors"
"""What latent diffusion's own code returned; the text beside it says how it was made."""


def values(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return float32 numbers that depend on the name alone. NumPy keeps this generator as it is."""
    random = np.random.RandomState(zlib.crc32(name.encode()))
    return torch.from_numpy(random.standard_normal(shape).astype(np.float32))


def weight(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return the random values of a tensor of a network, of a size that keeps its outputs in
    bounds."""
    numbers = values(name, shape)
    if len(shape) > 1:
        return numbers / float(np.prod(shape[1:])) ** 0.5
    return 0.1 * numbers + (1.0 if name.endswith("weight") else 0.0)  # of norms, and biases


def filled(ours: nn.Module, names: Mapping[str, str], *, new_order: bool = False) -> nn.Module:
    """Return our network, for inference, with the random weights of theirs.

    ``names``: our modules to theirs. ``new_order``: plain attention has its queries before its
    heads; otherwise it has its heads first.
    """
    state = {}
    for name, tensor in ours.state_dict().items():
        theirs, part = _place(name, names)
        shape = tuple(tensor.shape)
        if part is None:
            found = weight(theirs, shape)
        else:
            heads = 1 if new_order else ours.get_submodule(name.rsplit(".", 2)[0]).heads
            joint = weight(theirs, (3 * shape[0], *shape[1:]))
            found = joint.unflatten(0, (heads, 3, -1))[:, part].flatten(0, 1)  # type: ignore[arg-type]
        state[name] = found.reshape(shape)
    ours.load_state_dict(state)
    return ours.eval().requires_grad_(False)


def tensors(ours: nn.Module, names: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the random weights of theirs by name, as a file has them."""
    found = {}
    for name, tensor in ours.state_dict().items():
        theirs, part = _place(name, names)
        shape = tuple(tensor.shape)
        if part is not None:
            shape = (3 * shape[0], *shape[1:])
        if theirs.endswith((".qkv.weight", "_proj.weight")):  # convolutions over cells in a row
            shape = (*shape, 1)
        found[theirs] = weight(theirs, shape)
    return found


def _place(name: str, names: Mapping[str, str]) -> tuple[str, int | None]:
    """The name of theirs of one of our tensors, and which third of it ours is, or None."""
    module, _, kind = name.rpartition(".")
    attention, _, last = module.rpartition(".")
    if last in PROJECTIONS and attention in names:
        return f"{names[attention]}.qkv.{kind}", PROJECTIONS.index(last)
    inside = module
    while inside not in names:
        inside = inside.rpartition(".")[0]
    return f"{names[inside]}{module[len(inside) :]}.{kind}", None


PROJECTIONS = ("to_q", "to_k", "to_v")


def unet_names(config: UNetConfig) -> dict[str, str]:
    """Return our modules to theirs."""
    return dict(_unet(config))


def _resnet(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield f"{ours}.norm1", f"{theirs}.in_layers.0"
    yield f"{ours}.conv1", f"{theirs}.in_layers.2"
    yield f"{ours}.time_emb_proj", f"{theirs}.emb_layers.1"
    yield f"{ours}.norm2", f"{theirs}.out_layers.0"
    yield f"{ours}.conv2", f"{theirs}.out_layers.3"
    yield f"{ours}.conv_shortcut", f"{theirs}.skip_connection"


def _attention(config: UNetConfig, ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield ours, theirs
    if not config.transformers:
        yield f"{ours}.group_norm", f"{theirs}.norm"
        yield f"{ours}.to_out.0", f"{theirs}.proj_out"


def _down(config: UNetConfig) -> Iterator[tuple[str, str]]:
    """What the network has in common with the classifier."""
    last = len(config.channels) - 1
    yield "time_embedding.linear_1", "time_embed.0"
    yield "time_embedding.linear_2", "time_embed.2"
    yield "conv_in", "input_blocks.0.0"
    number = 1
    for level in range(last + 1):
        ours = f"down_blocks.{level}"
        for i in range(config.blocks_per_level):
            yield from _resnet(f"{ours}.resnets.{i}", f"input_blocks.{number}.0")
            yield from _attention(config, f"{ours}.attentions.{i}", f"input_blocks.{number}.1")
            number += 1
        if level < last:
            theirs = f"input_blocks.{number}.0"
            yield f"{ours}.downsamplers.0.conv", f"{theirs}.op"
            yield from _resnet(f"{ours}.downsamplers.0", theirs)
            number += 1
    yield from _resnet("mid_block.resnets.0", "middle_block.0")
    yield from _attention(config, "mid_block.attentions.0", "middle_block.1")
    yield from _resnet("mid_block.resnets.1", "middle_block.2")


def _unet(config: UNetConfig) -> Iterator[tuple[str, str]]:
    yield from _down(config)
    number = 0
    for block, level in enumerate(reversed(range(len(config.channels)))):
        ours = f"up_blocks.{block}"
        for i in range(config.blocks_per_level + 1):
            yield from _resnet(f"{ours}.resnets.{i}", f"output_blocks.{number}.0")
            yield from _attention(config, f"{ours}.attentions.{i}", f"output_blocks.{number}.1")
            number += 1
        theirs = f"output_blocks.{number - 1}.{2 if config.depths[level] else 1}"
        yield f"{ours}.upsamplers.0.conv", f"{theirs}.conv"
        yield from _resnet(f"{ours}.upsamplers.0", theirs)
    yield "conv_norm_out", "out.0"
    yield "conv_out", "out.2"


def classifier_names(config: ClassifierConfig) -> dict[str, str]:
    """Return our modules to theirs, of ``EncoderUNetModel``."""
    names = dict(_down(config.unet))
    if config.pool == "attention":
        return {**names, "conv_norm_out": "out.0", "pool": "out.2"}
    if config.pool == "adaptive":
        return {**names, "conv_norm_out": "out.0", "out": "out.3"}
    last = "out.2" if config.pool == "spatial" else "out.3"
    return {**names, "hidden": "out.0", "hidden_norm": "out.1", "out": last}
