"""Model folders of our own layout, for any `ModelConfig`: ``model.json`` and one file of weights.

diffusers' layout describes what its pipelines run. This one describes every model, and may leave
out what a bundled model has already:

    model.json             {"sdwidgets": 1, "config": {...}, "shares": {"unet": "emoji", ...}}
    weights.safetensors    unet.*, autoencoder.*, embedders.0.*, ... by our own names
    tokenizer, tokenizer_2 the files of each text encoder's tokenizer
    preview.json, vocabulary.json   as in any other folder

A tensor that the file lacks is that of the bundled model, or bundled autoencoder, which ``shares``
names for its part: by the same name, in the same shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..configs import ModelConfig
from ..errors import CheckpointError
from . import config_json, few_steps, names, zoo
from .folder import open_folder, preview_of, vocabulary_of, weight_files
from .layout import Layout, Weights
from .plain_config import config_from_plain
from .weights import WeightFile, quoted, read_json

MODEL = "model.json"
WEIGHTS = "weights.safetensors"
FILES = (MODEL, WEIGHTS)
VERSION = 1
MARK = "sdwidgets"
"""The field with the version of the layout, by which it is told from other files of that name."""


def is_system(folder: Path) -> bool:
    """Whether a folder has our own layout."""
    if (folder / "model_index.json").is_file() or not (folder / MODEL).is_file():
        return False
    with suppress(CheckpointError):
        return MARK in read_json(folder / MODEL)
    return True  # damaged; opening it says so


def open_model_folder(folder: Path, label: str, stack: ExitStack) -> Layout:
    """Check a model folder of either layout; its files stay open until ``stack`` closes.

    ``label`` names a model whose folder does not. Raises ``CheckpointError``.
    """
    if is_system(folder):
        return open_system(folder, stack)
    return open_folder(folder, label, stack)


def open_system(folder: Path, stack: ExitStack) -> Layout:
    """Check a folder of our own layout; see `open_model_folder`."""
    path = folder / MODEL
    data = read_json(path)
    if data.get(MARK) != VERSION:
        raise CheckpointError(
            f"{path} has the version {quoted(data.get(MARK))} of the layout; this version of "
            f"sdwidgets reads {VERSION}.\nInstall a newer version."
        )
    config = config_from_plain(_object(data, "config", path), str(path))
    config_json.check_parts_fit(config, str(path))
    shares = shares_from(_object(data, "shares", path, {}), config, str(path), stack)
    file = stack.enter_context(WeightFile(folder / WEIGHTS))

    def weights(part: str) -> Weights:
        shared = shares[part].weights if part in shares else None
        return Weights([file], names.own_names(f"{part}."), shared=shared)

    return Layout(
        path=folder,
        config=config,
        weights=tuple(map(weights, parts_of_system(config))),
        tokenizers=tuple(_tokenizers(folder, config, shares)),
        pad_from_tokenizer=True,
        prediction_source="config",
        preview=preview_of(folder / "preview.json", config.autoencoder.latent_channels),
        vocabulary=vocabulary_of(folder / "vocabulary.json"),
        strict=("unet.", "embedders."),
        few_steps=few_steps.of_config(config),
    )


def parts_of_system(config: ModelConfig) -> tuple[str, ...]:
    """Return the names of a model's parts, with which the names of their tensors begin."""
    return ("unet", "autoencoder", *(f"embedders.{n}" for n in range(len(config.embedders))))


def tokenizer_folder(number: int) -> str:
    """Return the folder of the tokenizer of a text encoder; ``number`` counts them from 0."""
    return f"tokenizer_{number + 1}" if number else "tokenizer"


def _object(data: Mapping[str, Any], name: str, path: Path, default: Any = None) -> dict[str, Any]:
    found = data.get(name, default)
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: {name} is {quoted(found)}; an object was expected.")
    return found


# --------------------------------------------------------------------------------- what is shared


@dataclass(frozen=True)
class Shared:
    """A part of a bundled model: its weights and, of a text encoder, its tokenizer."""

    weights: Weights
    tokenizer: Path | None = None


def shares_from(
    shares: Mapping[str, Any], config: ModelConfig, where: str, stack: ExitStack
) -> dict[str, Shared]:
    """Open the bundled parts that ``shares`` names by part of a model, until ``stack`` closes.

    Raises ``CheckpointError`` for a part that the model does not have, or a name that is no bundled
    model's.
    """
    parts = parts_of_system(config)
    found = {}
    for part, name in shares.items():
        if part not in parts:
            raise CheckpointError(
                f"{where}: {quoted(part)} is no part of this model. Its parts: {', '.join(parts)}."
            )
        opened = _autoencoder(name, stack) if part == "autoencoder" else None
        opened = opened or _part(part, name, config, stack)
        if opened is None:
            known = zoo.bundled_models() + zoo.bundled_autoencoders() * (part == "autoencoder")
            raise CheckpointError(
                f"{where} shares its {part} with {quoted(name)}, which no bundled model has.\n"
                f"Bundled here: {', '.join(dict.fromkeys(known))}. A newer version may have it."
            )
        found[part] = opened
    return found


def _autoencoder(name: object, stack: ExitStack) -> Shared | None:
    folder = zoo.bundled_folder(name)
    if folder is None:
        return None
    files = weight_files(folder, "diffusion_pytorch_model", stack)
    return Shared(Weights(files, names.diffusers_names()))


def _part(part: str, name: object, config: ModelConfig, stack: ExitStack) -> Shared | None:
    """Return that part of a bundled model: of an embedder, the first of the same class."""
    folder = zoo.model_folder(name)
    if folder is None:
        return None
    base = open_model_folder(folder, folder.name, stack)
    if part in ("unet", "autoencoder"):
        return Shared(base.weights[part == "autoencoder"])
    kinds = [type(each) for each in base.config.embedders]
    kind = type(config.embedders[int(part.removeprefix("embedders."))])
    if kind not in kinds:
        return None
    index = kinds.index(kind)
    tokenizers = dict(zip(base.config.readers, base.tokenizers, strict=True))
    return Shared(base.weights[2 + index], tokenizers.get(index))


def _tokenizers(
    folder: Path, config: ModelConfig, shares: Mapping[str, Shared]
) -> list[Path | None]:
    """Return where each text encoder's tokenizer is: its own, else that of what it shares."""
    found: list[Path | None] = []
    for number, index in enumerate(config.readers):
        own, shared = folder / tokenizer_folder(number), shares.get(f"embedders.{index}")
        found.append(own if own.is_dir() or shared is None else shared.tokenizer)
    return found
