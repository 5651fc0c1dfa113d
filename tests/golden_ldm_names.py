"""Write checkpoints/ldm_names.json: the names and shapes of latent diffusion's own files.

    python golden_ldm_names.py LATENT_DIFFUSION

LATENT_DIFFUSION is a checkout of https://github.com/CompVis/latent-diffusion (MIT). The classes of
its code make each system's network, first stage and trained embedder on the meta device, from its
own config.yaml. Packages that the code imports, and that do not matter for this, are replaced by
empty ones; the codebook of taming-transformers' ``VectorQuantizer2`` is one table, ``embedding``.
As in `golden_names`, a part is the number of its tensors and a SHA-256 of its sorted lines
"name 320x4x3x3".
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
import yaml
from golden_names import digest
from torch import nn

GOLDEN = Path(__file__).parent / "checkpoints" / "ldm_names.json"
CONFIGS = {
    "LDM_CELEBAHQ": "models/ldm/celeba256",
    "LDM_FFHQ": "models/ldm/ffhq256",
    "LDM_BEDROOMS": "models/ldm/lsun_beds256",
    "LDM_CHURCHES": "models/ldm/lsun_churches256",
    "LDM_IMAGENET_VQ8": "models/ldm/cin256",
    "LDM_IMAGENET": "configs/latent-diffusion/cin256-v2.yaml",
    "LDM_TEXT_256": "models/ldm/text2img256",
    "LDM_TEXT": "configs/latent-diffusion/txt2img-1p4B-eval.yaml",
    "LDM_LAYOUT": "models/ldm/layout2img-openimages256",
    "LDM_LANDSCAPES_256": "models/ldm/semantic_synthesis256",
    "LDM_LANDSCAPES_512": "models/ldm/semantic_synthesis512",
    "LDM_BSR": "models/ldm/bsr_sr",
    "LDM_INPAINTING": "models/ldm/inpainting_big",
    "RDM_768": "configs/retrieval-augmented-diffusion/768x768.yaml",
}


class Codebook(nn.Module):
    """taming-transformers' quantizer: one table."""

    def __init__(self, codes: int, width: int, *_: Any, **__: Any):
        super().__init__()
        self.embedding = nn.Embedding(codes, width)


def replace_packages() -> None:
    """Put empty packages in the place of those that only training and downloads need."""
    for name in (
        "einops", "clip", "kornia", "omegaconf", "omegaconf.listconfig", "taming", "taming.modules",
        "taming.modules.vqvae", "taming.modules.vqvae.quantize", "pytorch_lightning",
        "pytorch_lightning.utilities", "pytorch_lightning.utilities.distributed",
    ):  # fmt: skip
        sys.modules[name] = MagicMock()
    quantize: Any = sys.modules["taming.modules.vqvae.quantize"]
    quantize.VectorQuantizer2 = Codebook
    listed: Any = sys.modules["omegaconf.listconfig"]
    listed.ListConfig = tuple
    lightning: Any = sys.modules["pytorch_lightning"]
    lightning.LightningModule = nn.Module


def made(config: Any, **more: Any) -> nn.Module:
    """Return the module that a part of a config describes."""
    module, name = config["target"].rsplit(".", 1)
    params = {**config.get("params", {}), **more}
    params.pop("lossconfig", None)
    kind: Any = getattr(import_module(module), name)
    if "autoencoder" in module:
        params.pop("monitor", None)
        params["lossconfig"] = {"target": "torch.nn.Identity"}
    with torch.device("meta"):
        found: nn.Module = kind(**params)
    return found


def shapes(module: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(tensor.shape)) for name, tensor in module.state_dict().items()]


def system(path: Path) -> dict[str, Any]:
    """Return the parts of a system, by the names of their files without the parts' prefixes."""
    params = yaml.safe_load(path.read_text())["model"]["params"]
    parts = {"unet": made(params["unet_config"]), "vae": made(params["first_stage_config"])}
    stage = params.get("cond_stage_config")
    if isinstance(stage, dict) and stage["target"] != "torch.nn.Identity":
        is_bert = stage["target"].endswith("BERTEmbedder")
        parts["stage"] = made(stage, **({"use_tokenizer": False} if is_bert else {}))
    return {
        name: {"tensors": len(shapes(part)), "sha256": digest(shapes(part))}
        for name, part in parts.items()
    }


if __name__ == "__main__":
    root = Path(sys.argv[1])
    sys.path.insert(0, str(root))
    replace_packages()
    found = {}
    for name, place in CONFIGS.items():
        path = root / place
        found[name] = system(path if path.suffix else path / "config.yaml")
        print(name, found[name])
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
