"""Write checkpoints/names.json: the names and shapes of published files, as counts and digests.

    python golden_names.py KEYMAPS

KEYMAPS is the folder toolkit/keymaps of https://github.com/ostris/ai-toolkit (MIT). Its files list
the name of every tensor in real files of Stable Diffusion 1, 2, XL, its refiner, SSD-1B and Vega,
with diffusers' name of the same tensor. The shapes are those of diffusers' and transformers'
classes, and of the keymaps where a file has another. Here, a part of a model is the number of its
tensors and, per layout, a SHA-256 of its sorted lines "name 320x4x3x3".
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sdwidgets import configs
from sdwidgets.configs import ModelConfig, TextConfig

GOLDEN = Path(__file__).parent / "checkpoints" / "names.json"
MODELS = {
    "sd1": configs.SD1,
    "sd2": configs.SD2,
    "sdxl": configs.SDXL,
    "refiner": configs.SDXL_REFINER,
    "ssd": configs.SSD_1B,
    "vega": configs.VEGA,
}
Shape = tuple[int, ...]


def digest(lines: Iterable[tuple[str, Shape]]) -> str:
    """Return the SHA-256 of names and shapes, in any order."""
    text = "\n".join(sorted(f"{name} {'x'.join(map(str, shape))}" for name, shape in lines))
    return hashlib.sha256(text.encode()).hexdigest()


def parts(config: ModelConfig) -> list[tuple[str, str]]:
    """Return the parts of a model, each with the prefix of its names in the keymaps."""
    texts = {1: ["te"], 2: ["te0", "te1"]}[len(config.text)]
    if config is configs.SDXL_REFINER:
        texts = ["te1"]  # it has only the second encoder
    named = [(f"text_encoder{number}", prefix) for number, prefix in enumerate(texts, start=1)]
    return [("unet", "unet"), ("vae", "vae"), *named]


def _diffusers_shapes(config: ModelConfig, part: str) -> dict[str, Shape]:
    import torch
    from references import autoencoder_of, unet_of

    with torch.device("meta"):
        if part == "unet":
            module = unet_of(config.unet, linear=config.context_width != 768)
        elif part == "vae":
            module = autoencoder_of(config.autoencoder)
        else:
            module = _text_of(config.text[int(part.removeprefix("text_encoder")) - 1])
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _text_of(config: TextConfig) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    kind = CLIPTextModelWithProjection if config.projection_dim else CLIPTextModel
    return kind(
        CLIPTextConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.width,
            intermediate_size=config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            projection_dim=config.projection_dim or config.width,
        )
    )


def facts(keymap: dict[str, Any], config: ModelConfig) -> dict[str, Any]:
    """Return the counts and digests of each part of a model."""
    found: dict[str, Any] = {}
    for part, prefix in parts(config):
        shapes = _diffusers_shapes(config, part)
        # transformers 5 leaves "text_model." out
        shapes |= {f"text_model.{name}": shape for name, shape in shapes.items()}

        def shape_of(name: str, shapes: dict[str, Shape] = shapes, prefix: str = prefix) -> Shape:
            return shapes[name.removeprefix(f"{prefix}_")]

        both = {
            original: theirs
            for original, theirs in keymap["ldm_diffusers_keymap"].items()
            if theirs.startswith(f"{prefix}_")
        }
        other = {name: tuple(own[0]) for name, own in keymap["ldm_diffusers_shape_map"].items()}
        compvis = {name: other.get(name, shape_of(theirs)) for name, theirs in both.items()}
        diffusers = {name.removeprefix(f"{prefix}_"): shape_of(name) for name in both.values()}
        for name, made in keymap["ldm_diffusers_operator_map"].items():
            if made["cat"][0].startswith(f"{prefix}_"):
                rows = [shape_of(theirs) for theirs in made["cat"]]
                compvis[name] = (sum(row[0] for row in rows), *rows[0][1:])
                diffusers |= {n.removeprefix(f"{prefix}_"): shape_of(n) for n in made["cat"]}
        found[part] = {
            "compvis": {"tensors": len(compvis), "sha256": digest(compvis.items())},
            "diffusers": {"tensors": len(diffusers), "sha256": digest(diffusers.items())},
        }
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    golden = {
        name: facts(json.loads((folder / f"stable_diffusion_{name}.json").read_text()), config)
        for name, config in MODELS.items()
    }
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
