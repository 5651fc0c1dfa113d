"""The measured models: the bundled model, or one of its shape with random weights."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdwidgets.configs import ModelConfig, TextConfig

PROMPT = "a cat left of a car on a blue background"


@contextmanager
def model_folder(name: str = "emoji") -> Iterator[Path]:
    """The folder of the model to measure, in the diffusers layout.

    "emoji": the bundled model. If it is missing, a model of its shape with random weights,
    which takes as long. "sd1": Stable Diffusion 1's shape with random weights in float16, 2.1 GB.
    "tiny": the tests' smallest, a millisecond a step. Anything else: a path.
    """
    from sdwidgets.checkpoints.load import BUNDLED
    from sdwidgets.configs import EMOJI, SD1

    if name == "emoji" and (BUNDLED / "emoji" / "model_index.json").is_file():
        yield BUNDLED / "emoji"
    elif name in ("emoji", "sd1", "tiny"):
        config = {"emoji": EMOJI, "sd1": SD1}.get(name) or _tiny()
        print(f"   (random weights of the shape of {config.name})", flush=True)
        with tempfile.TemporaryDirectory(prefix="sdwidgets-benchmark-") as scratch:
            folder = Path(scratch) / "model"
            write_random(config, folder)
            yield folder
    else:
        yield Path(name)


def _tiny() -> ModelConfig:
    """TINY, with a vocabulary that has room for every byte; see `_write_vocabulary`."""
    from sdwidgets.configs import TINY

    text = replace(TINY.text[0], vocab_size=515, bos=512, eos=513, pad=514)
    return replace(TINY, embedders=(text,))


def write_random(config: ModelConfig, folder: Path) -> None:
    """Write a model of that config with random weights, as float16, to ``folder``."""
    import torch

    from sdwidgets.checkpoints import save_model
    from sdwidgets.models.autoencoder import Autoencoder
    from sdwidgets.models.clip import CLIPText
    from sdwidgets.models.text import TextEncoder
    from sdwidgets.models.tokenizer import load_tokenizer
    from sdwidgets.models.unet import UNet
    from sdwidgets.pipeline import LatentDiffusion, noise_schedule

    torch.manual_seed(0)
    text = config.text[0]
    with tempfile.TemporaryDirectory() as scratch:
        _write_vocabulary(Path(scratch), text)
        torch.set_default_dtype(torch.float16)  # half the memory for the large one
        try:
            model = LatentDiffusion(
                config=config,
                unet=UNet(config.unet).eval(),
                autoencoder=Autoencoder(config.autoencoder).eval(),
                embedders=(TextEncoder(text, CLIPText(text), load_tokenizer(scratch)),),
                schedule=noise_schedule(config.schedule),
            )
        finally:
            torch.set_default_dtype(torch.float32)
        save_model(model, folder, dtype="float16")


def diffusers_unet(ours: Any, cells: int, convolutions: bool) -> Any:
    """diffusers' network of the same config, on the same memory as our weights.

    ``convolutions``: 1x1 convolutions around attention, as Stable Diffusion 1 is published; else
    linear layers.
    """
    import torch
    from diffusers import UNet2DConditionModel

    from sdwidgets.checkpoints.config_json import unet_to_json

    with torch.device("meta"):
        config = {**unet_to_json(ours.config, cells), "use_linear_projection": not convolutions}
        theirs = UNet2DConditionModel.from_config(config).eval().requires_grad_(False)
    shapes = {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    weights = {name: tensor.view(shapes[name]) for name, tensor in ours.state_dict().items()}
    theirs.load_state_dict(weights, strict=True, assign=True)
    return theirs.requires_grad_(False)


def _write_vocabulary(folder: Path, text: TextConfig) -> None:
    """A CLIP vocabulary of single bytes, filled up to the special tokens that the config names."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    letters = [*map(chr, sorted(printable)), *(chr(0x100 + i) for i in range(len(others)))]
    words = [*letters, *(letter + "</w>" for letter in letters)]
    special = {text.bos: "<|startoftext|>", text.eos: "<|endoftext|>"}
    special.setdefault(text.pad, "<|padding|>")
    words += [f"<unused{i}>" for i in range(text.vocab_size - len(words))]
    for place, word in special.items():
        words[place] = word
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    config = {
        "bos_token": special[text.bos],
        "eos_token": special[text.eos],
        "pad_token": special[text.pad],
        "unk_token": special[text.eos],
        "tokenizer_class": "CLIPTokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
