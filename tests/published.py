"""Single files as models are published in them: their names, for networks of any size."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from sdwidgets.checkpoints import names
from sdwidgets.configs import ModelConfig, TextConfig
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.models.clip import CLIPText
from sdwidgets.models.unet import UNet

Layout = Literal["compvis", "sgm", "diffusers"]
TEXTS = ("text_encoder", "text_encoder_2")


def layouts_of(config: ModelConfig) -> tuple[Layout, ...]:
    """Return the layouts in which single files of a family are published."""
    return ("sgm" if config.unet.vector_dim else "compvis", "diffusers")


@cache
def without_memory(config: ModelConfig) -> dict[str, nn.Module]:
    """Return the networks of a config on the meta device, by diffusers' names."""
    with torch.device("meta"):
        texts = {name: CLIPText(text) for name, text in zip(TEXTS, config.text, strict=False)}
        return {"unet": UNet(config.unet), "vae": Autoencoder(config.autoencoder), **texts}


def shapes_of(config: ModelConfig, layout: Layout) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes in the file of a model."""
    tensors = published(without_memory(config), config, layout)
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def published(
    parts: Mapping[str, nn.Module], config: ModelConfig, layout: Layout
) -> dict[str, Tensor]:
    """Return the tensors of a model by the names of published files.

    Files by CompVis's and Stability's names have more than the model's own: position ids, logit
    scales, and the last layer of Stable Diffusion 2's text encoder.
    """
    texts = {name: text for name, text in zip(TEXTS, config.text, strict=False) if name in parts}
    if layout == "diffusers":
        one_is_second = config.unet.context_dim == 1280  # the refiner has XL's second encoder
        title = {"text_encoder": "text_encoder_2"} if one_is_second else {}
        return {
            f"{title.get(part, part)}.{name}": tensor
            for part, network in parts.items()
            for name, tensor in network.state_dict().items()
        }
    tensors = _renamed(parts["unet"], names.compvis_unet_names(config.unet))
    if config.unet.context_dim == 768:
        tensors = _convolved(tensors, "proj_in.weight", "proj_out.weight")
    if "vae" in parts:
        vae = _renamed(parts["vae"], names.compvis_autoencoder_names(config.autoencoder))
        ends = tuple(f".attn_1.{name}.weight" for name in ("q", "k", "v", "proj_out"))
        tensors |= _convolved(vae, *ends)
    for number, (part, text) in enumerate(texts.items()):
        start = "cond_stage_model." if layout == "compvis" else f"conditioner.embedders.{number}."
        tensors |= _text(parts[part], text, start)
    return tensors


def _text(network: nn.Module, config: TextConfig, start: str) -> dict[str, Tensor]:
    device = next(network.parameters()).device
    if config.activation == "quick_gelu":  # OpenAI's CLIP, by transformers' names
        prefix = f"{start}transformer."
        tensors = _renamed(network, names.clip_names(prefix))
        ids = torch.arange(config.length, device=device)[None]
        return {**tensors, f"{prefix}text_model.embeddings.position_ids": ids}
    prefix = f"{start}model."
    tensors = _renamed(network, names.open_clip_names(config, prefix))
    tensors[f"{prefix}logit_scale"] = torch.tensor(4.6, device=device)
    if config.projection_dim:
        return tensors
    width = config.width
    tensors[f"{prefix}text_projection"] = torch.ones(width, width, device=device)
    first, last = f"{prefix}transformer.resblocks.0.", f"resblocks.{config.layers}."
    for name in [name for name in tensors if name.startswith(first)]:
        tensors[name.replace("resblocks.0.", last)] = tensors[name] + 1
    return tensors


def _renamed(network: nn.Module, lookup: names.Lookup) -> dict[str, Tensor]:
    """Return the tensors as a file has them, with parts of a matrix joined."""
    pieces: dict[str, dict[int, Tensor]] = {}
    for name, tensor in network.state_dict().items():
        source = lookup(name)[0]
        pieces.setdefault(source.name, {})[source.part] = (
            tensor.t() if source.transposed else tensor
        )
    return {name: torch.cat([made[i] for i in sorted(made)]) for name, made in pieces.items()}


def _convolved(tensors: dict[str, Tensor], *ends: str) -> dict[str, Tensor]:
    """Return matrices whose names end so as 1x1 convolutions."""
    return {
        name: t[:, :, None, None] if name.endswith(ends) and t.ndim == 2 else t
        for name, t in tensors.items()
    }
