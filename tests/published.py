"""Single files as models are published in them: their names, for networks of any size."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from sdwidgets.checkpoints import names
from sdwidgets.checkpoints.stages import is_trained
from sdwidgets.configs import (
    ZOO,
    BertConfig,
    BoxesConfig,
    EmbedderConfig,
    ModelConfig,
    TextConfig,
)
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.models.clip import CLIPText
from sdwidgets.models.embedders import embedders_of
from sdwidgets.models.token_encoder import TokenEncoder
from sdwidgets.models.unet import UNet

Layout = Literal["compvis", "sgm", "diffusers"]
TEXTS = ("text_encoder", "text_encoder_2")


def layouts_of(config: ModelConfig) -> tuple[Layout, ...]:
    """Return the layouts in which single files of a family are published."""
    if config in ZOO:
        return ("compvis",)
    return ("sgm" if config.unet.vector_dim else "compvis", "diffusers")


@cache
def without_memory(config: ModelConfig) -> dict[str, nn.Module]:
    """Return the networks of a config on the meta device, by diffusers' names."""
    with torch.device("meta"):
        texts = {name: CLIPText(text) for name, text in zip(TEXTS, config.text, strict=False)}
        if config in ZOO:
            stages = filter(is_trained, config.embedders)
            texts = dict(zip(("stage",), map(stage_of, stages), strict=False))
        return {"unet": UNet(config.unet), "vae": Autoencoder(config.autoencoder), **texts}


def stage_of(config: EmbedderConfig) -> nn.Module:
    """Return the embedder that latent diffusion's code trains with its network."""
    if isinstance(config, (BertConfig, BoxesConfig)):
        return TokenEncoder(config)
    return embedders_of([config])[0].model


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
    if not config.unet.transformers:
        tensors = _convolved(tensors, "qkv.weight", "proj_out.weight", dimensions=1)
    elif config.unet.context_dim == 768 or config in ZOO:
        tensors = _convolved(tensors, "proj_in.weight", "proj_out.weight")
    if "vae" in parts:
        vae = _renamed(parts["vae"], names.compvis_autoencoder_names(config.autoencoder))
        ends = tuple(f".{name}.weight" for name in ("q", "k", "v", "proj_out"))
        tensors |= _convolved(vae, *ends)
    if "stage" in parts:
        (told,) = (each for each in config.embedders if is_trained(each))
        tensors |= _renamed(parts["stage"], names.stage_names(told))
        if isinstance(told, (BertConfig, BoxesConfig)):  # it also learns to predict tokens
            logits = f"{names.STAGE}transformer.to_logits"
            device = tensors[f"{names.UNET}out.2.bias"].device
            weight = torch.zeros(told.vocab_size, told.width, device=device)
            tensors |= {f"{logits}.weight": weight, f"{logits}.bias": weight[:, 0]}
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
        rows = (tensor.t() if source.transposed else tensor).unflatten(0, (source.groups, -1))
        pieces.setdefault(source.name, {})[source.part] = rows
    return {
        name: torch.cat([made[i] for i in sorted(made)], dim=1).flatten(0, 1)
        for name, made in pieces.items()
    }


def _convolved(tensors: dict[str, Tensor], *ends: str, dimensions: int = 2) -> dict[str, Tensor]:
    """Return matrices whose names end so as convolutions of width 1."""
    return {
        name: t[(..., *[None] * dimensions)] if name.endswith(ends) and t.ndim == 2 else t
        for name, t in tensors.items()
    }
