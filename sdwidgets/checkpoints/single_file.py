"""A whole model in a single safetensors file: names are recognised, the config is inferred."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from ..configs import ModelConfig, PredictionSource, TextConfig
from ..errors import CheckpointError, CheckpointNotFound, InputError
from . import config_json, hub, infer, names
from .layout import Layout, Weights
from .recognise import foreign_names
from .weights import WeightFile


def open_file(
    path: Path,
    stack: ExitStack,
    *,
    config: ModelConfig | None,
    tokenizer: str | os.PathLike[str] | None,
) -> Layout:
    """Return the layout of a checked file, which stays open until ``stack`` closes.

    If ``config`` is None, it is inferred from the shapes. Raises ``CheckpointError`` for files that
    are neither a Stable Diffusion 1 or 2 nor a model of that ``config``.
    """
    file = stack.enter_context(WeightFile(path))
    shapes = file.shapes
    if what := foreign_names(shapes):
        raise CheckpointError(f"{path} is {what}.")
    if config is not None and [type(embedder) for embedder in config.embedders] != [TextConfig]:
        raise InputError(
            "Single files are loaded with one text encoder.\n"
            "config.embedders must be (TextConfig(...),).",
            parameter="config",
        )
    source: PredictionSource = "family" if config is None else "caller"
    if config is None:
        config = infer.infer_config(shapes, path)
    config_json.check_parts_fit(config, str(path))
    return Layout(
        path=path,
        config=config,
        weights=_weights(file, shapes, config),
        tokenizers=(Path(tokenizer) if tokenizer is not None else _find_tokenizer(path),),
        pad_from_tokenizer=False,
        prediction_source=source,
    )


def _weights(file: WeightFile, shapes: infer.Shapes, config: ModelConfig) -> tuple[Weights, ...]:
    if infer.is_compvis(shapes):
        open_clip = names.OPEN_CLIP + "token_embedding.weight" in shapes
        text = config.text[0]
        return (
            Weights([file], names.compvis_unet_names(config.unet)),
            Weights([file], names.compvis_autoencoder_names(config.autoencoder)),
            Weights(
                [file], names.open_clip_names(text) if open_clip else names.clip_names(names.CLIP)
            ),
        )
    return (
        Weights([file], names.diffusers_names("unet.")),
        Weights([file], names.diffusers_names("vae.")),
        Weights([file], names.clip_names("text_encoder.")),
    )


def _find_tokenizer(path: Path) -> Path:
    """Return a folder with a vocabulary, which single files lack: beside the file or in the hub's
    cache."""
    for folder in (path.parent / "tokenizer", path.parent):
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            return folder
    if found := hub.cached_tokenizer():
        return found
    raise CheckpointNotFound(
        f"{path.name} has no vocabulary, and neither has {path.parent / 'tokenizer'}.\n"
        "Put CLIP's vocab.json and merges.txt there (every Stable Diffusion on the hub has them\n"
        "in its tokenizer folder), or pass tokenizer=FOLDER."
    )
