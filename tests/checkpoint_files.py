"""Checkpoints for tests: small models in every layout, and damaged files."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from vocabulary import write_vocabulary

from sdwidgets.configs import TINY, ModelConfig

# TINY with a text encoder for the 521 tokens of the test vocabulary.
SMALL = replace(
    TINY,
    embedders=(replace(TINY.text[0], vocab_size=521, bos=519, eos=520, pad=520),),
    name="small",
)


def raw_safetensors(header: Any, body: bytes = b"") -> bytes:
    """Return a file's bytes for any header, valid or not; a str is written as it is."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def one_tensor(**changes: Any) -> bytes:
    """Return a valid file with the float32 tensor "a" [2, 3], but with changed fields."""
    entry = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24], **changes}
    return raw_safetensors({"a": entry}, bytes(24))


@cache
def networks(config: ModelConfig = SMALL) -> dict[str, nn.Module]:
    """Return the networks with random weights, by diffusers' names. Do not change them."""
    from sdwidgets.models.autoencoder import Autoencoder
    from sdwidgets.models.clip import CLIPText
    from sdwidgets.models.unet import UNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        parts: dict[str, nn.Module] = {
            "unet": UNet(config.unet),
            "vae": Autoencoder(config.autoencoder),
        }
        for name, text in zip(("text_encoder", "text_encoder_2"), config.text, strict=False):
            parts[name] = CLIPText(text)
        # Norms start as ones and biases as zeros; they are drawn so that a swap shows.
        for part in parts.values():
            for parameter in part.parameters():
                parameter.data += 0.02 * torch.randn_like(parameter)
    return parts


def save_tensors(tensors: Mapping[str, Tensor], path: Path, **metadata: str) -> Path:
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: t.detach().contiguous().clone() for name, t in tensors.items()}
    save_file(whole, path, metadata={"format": "pt", **metadata})
    return path


def write_folder(folder: Path, config: ModelConfig = SMALL) -> Path:
    """Write a model folder in the diffusers layout, without ``save_model``."""
    from sdwidgets.checkpoints import config_json, model_index

    parts = networks(config)
    size = config.size
    side = size // config.autoencoder.factor
    configs = {
        "model_index.json": model_index.model_index(config),
        "unet/config.json": config_json.unet_to_json(config.unet, side),
        "vae/config.json": config_json.autoencoder_to_json(config.autoencoder, size),
        "text_encoder/config.json": config_json.text_to_json(config.text[0]),
        "scheduler/scheduler_config.json": config_json.schedule_to_json(config.schedule),
    }
    for name, content in configs.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    for part, network in parts.items():
        stem = "model" if part == "text_encoder" else "diffusion_pytorch_model"
        save_tensors(network.state_dict(), folder / part / f"{stem}.safetensors")
    write_tokenizer(folder / "tokenizer")
    return folder


def write_tokenizer(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_vocabulary(folder)
    return folder


def compvis_tensors(parts: Mapping[str, nn.Module], config: ModelConfig) -> dict[str, Tensor]:
    """Return the weights by CompVis's names, with 1x1 convolutions, as in Stable Diffusion 1."""
    from sdwidgets.checkpoints import names

    lookups = {
        "unet": names.compvis_unet_names(config.unet),
        "vae": names.compvis_autoencoder_names(config.autoencoder),
        "text_encoder": names.clip_names(names.CLIP),
    }
    tensors = {}
    for part, network in parts.items():
        for name, tensor in network.state_dict().items():
            is_convolution = "attentions" in name and tensor.ndim == 2 and part == "vae"
            if is_convolution or name.endswith(("proj_in.weight", "proj_out.weight")):
                tensor = tensor[:, :, None, None]
            tensors[lookups[part](name)[0].name] = tensor
    return tensors


def write_header(
    path: Path, shapes: Mapping[str, tuple[int, ...]], code: str = "F16", **metadata: str
) -> Path:
    """Write a file with that header, whose tensors take no room on the disk: all are zeros."""
    size = {"F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "I64": 8}[code]
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + size * math.prod(shape)
        header[name] = {"dtype": code, "shape": [*shape], "data_offsets": [start, end]}
    first = raw_safetensors(header)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(first)
    os.truncate(path, len(first) + end)
    return path


def edit_json(path: Path, **changes: Any) -> None:
    data = json.loads(path.read_text())
    data.update(changes)
    path.write_text(json.dumps(data))


def edit_tensors(path: Path, **changes: Tensor | None) -> None:
    """Replace tensors of a file; None removes a tensor. Names have "/" for "."."""
    from safetensors.torch import load_file

    tensors = load_file(path)
    for name, tensor in changes.items():
        name = name.replace("/", ".")
        if tensor is None:
            del tensors[name]
        else:
            tensors[name] = tensor
    save_tensors(tensors, path)
