"""CLIP from a folder as transformers writes it: both towers and the tokenizer."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace

import torch

from .. import checks
from ..configs import VisionConfig
from ..errors import CheckpointError, CheckpointNotFound
from ..models.clip import CLIPText
from ..models.clip_space import ClipSpace
from ..models.clip_vision import CLIPVision
from ..models.text import TextEncoder
from ..models.tokenizer import load_tokenizer
from . import names
from .config_json import Fields, text_from_json
from .fill import Part, fill, plan
from .folder import weight_files
from .layout import Weights
from .target import device_of
from .weights import read_json


def load_clip(folder: str | os.PathLike[str], *, device: str | torch.device = "cpu") -> ClipSpace:
    """Return the CLIP in a folder, in float32: config.json, model.safetensors and the tokenizer.

    It encodes images and texts for `Neighbours` and for ``guides.text``. Nothing is downloaded.
    Raises CheckpointError, and CheckpointNotFound where there is none.
    """
    path = checks.path("folder", folder)
    if not (path / "config.json").is_file():
        raise CheckpointNotFound(
            f"There is no CLIP in {path}: it has no config.json.\n"
            "Give a folder as transformers saves a CLIPModel."
        )
    where = str(path / "config.json")
    data = read_json(path / "config.json")
    texts, vision = data.get("text_config"), data.get("vision_config")
    if not isinstance(texts, dict) or not isinstance(vision, dict):
        raise CheckpointError(
            f"{where} is not of a whole CLIP: it has no text_config and vision_config.\n"
            "Give a folder as transformers saves a CLIPModel."
        )
    width = Fields(data, where).integer("projection_dim", 1, 16384, 512)
    text_config = text_from_json(texts | {"projection_dim": width}, where, projected=True)
    vision_config = _vision(Fields(vision, where), width)
    tokenizer = load_tokenizer(path)
    pad = 0 if texts.get("pad_token_id") == 0 else tokenizer.pad
    text_config = replace(text_config, bos=tokenizer.bos, eos=tokenizer.eos, pad=pad)
    with ExitStack() as stack:
        weights = Weights(weight_files(path, "model", stack), names.diffusers_names(), "CLIP")
        with torch.device("meta"):
            towers = CLIPText(text_config), CLIPVision(vision_config)
        plans = [
            plan(Part(label, tower, weights))
            for label, tower in zip(("text encoder", "image encoder"), towers, strict=True)
        ]
        for each in plans:
            fill(each, torch.float32, device_of(device))
    text, images = towers
    return ClipSpace(images, TextEncoder(text_config, text, tokenizer), name=path.name)


def _vision(f: Fields, width: int) -> VisionConfig:
    """The config of the images' tower, from transformers' fields."""
    f.must_be(layer_norm_eps=1e-5, num_channels=3)
    config = VisionConfig(
        size=f.integer("image_size", 1, 4096, 224),
        patch=f.integer("patch_size", 1, 512, 32),
        width=f.integer("hidden_size", 1, 16384, 768),
        layers=f.integer("num_hidden_layers", 1, 128, 12),
        heads=f.integer("num_attention_heads", 1, 1024, 12),
        hidden=f.integer("intermediate_size", 1, 65536, 3072),
        activation=f.choice(
            "hidden_act", {"quick_gelu": "quick_gelu", "gelu": "gelu"}, "quick_gelu"
        ),
        projection_dim=width,
    )
    if config.width % config.heads:
        raise f.error("num_attention_heads", f"a divisor of {config.width}")
    if config.patch > config.size:
        raise f.error("patch_size", f"at most {config.size}")
    return config
