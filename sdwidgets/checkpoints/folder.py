"""Model folders in the diffusers layout: configs are read and checked, weight files opened."""

from __future__ import annotations

import re
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..configs import ModelConfig
from ..errors import CheckpointError, CheckpointNotFound
from ..vocabulary import MOST, Vocabulary
from . import config_json, few_steps, model_index, names
from .families import family_of, is_exactly
from .layout import Layout, Weights, of_embedders
from .weights import WeightFile, pickle_advice, quoted, read_json

VARIANTS = (".fp16", ".bf16", ".fp32")
"""What diffusers puts into the names of a second set of weights. Many folders have only that."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,200}")


def open_folder(folder: Path, label: str, stack: ExitStack) -> Layout:
    """Check a model folder; its files stay open until ``stack`` closes. ``label`` names the model.

    Raises ``CheckpointError`` for a folder that is no model, is damaged, unsafe or not known.
    """
    if not (folder / "model_index.json").is_file():
        raise CheckpointError(_why_no_model_folder(folder))
    index_path = folder / "model_index.json"
    index = read_json(index_path)
    model_index.check_model_index(index, str(index_path))
    pipeline = model_index.pipeline_of(index)

    unet, side = _config(folder / "unet" / "config.json", config_json.unet_from_json)
    autoencoder = _config(
        folder / "vae" / "config.json",
        partial(config_json.autoencoder_from_json, scaling_factor=pipeline.scaling_factor),
    )
    parts = model_index.text_folders(index)
    texts = tuple(
        _config(
            folder / encoder / "config.json",
            partial(config_json.text_from_json, projected=encoder == "text_encoder_2"),
        )
        for encoder, _ in parts
    )
    small = folder / "low_res_scheduler" / "scheduler_config.json"
    network = folder / "unet" / "config.json"
    embedders = model_index.embedders_from_index(
        index,
        str(index_path),
        texts,
        (unet, read_json(network), str(network)),
        autoencoder.latent_channels,
        _config(small, config_json.low_resolution_from_json) if small.is_file() else None,
    )
    scheduler = folder / "scheduler" / "scheduler_config.json"
    config = ModelConfig(
        name=label,
        unet=unet,
        autoencoder=autoencoder,
        embedders=embedders,
        schedule=_config(scheduler, config_json.schedule_from_json),
        size=side * autoencoder.factor,
        guidance_scale=pipeline.guidance_scale,
        join="width" if len(texts) > 1 else "tokens",
    )
    few = None
    if not model_index.has_defaults(index):
        few = few_steps.of_folder(config, read_json(scheduler).get("_class_name"), label)
        config = few.defaults_of(config) if few else config
    config = model_index.with_notes(index, str(index_path), config)
    config_json.check_parts_fit(config, str(folder))
    return Layout(
        path=folder,
        config=config,
        weights=(
            Weights(
                weight_files(folder / "unet", "diffusion_pytorch_model", stack),
                names.diffusers_names(),
            ),
            Weights(
                weight_files(folder / "vae", "diffusion_pytorch_model", stack),
                names.diffusers_names(),
            ),
            *of_embedders(
                config,
                (
                    Weights(weight_files(folder / encoder, "model", stack), names.clip_names())
                    for encoder, _ in parts
                ),
            ),
        ),
        tokenizers=tuple(folder / tokenizer for _, tokenizer in parts),
        pad_from_tokenizer=True,
        prediction_source="config",
        token_ids=tuple(
            config_json.token_ids(read_json(folder / encoder / "config.json"))
            for encoder, _ in parts
        ),
        preview=preview_of(folder / "preview.json", autoencoder.latent_channels),
        vocabulary=vocabulary_of(folder / "vocabulary.json"),
        notices=(
            *model_index.notices(index, config.name),
            *_about_size(config),
        ),
        few_steps=few or few_steps.of_config(config),
    )


SMALLEST = 512
"""The smallest images, in pixels along one side, on which a published network was trained."""


def _about_size(config: ModelConfig) -> tuple[str, ...]:
    """Return a notice if the images of a published network are said to be smaller than those on
    which any was trained, as some folders do that were converted with a wrong size."""
    family = family_of(config.unet)
    if family is None or not is_exactly(family, config.unet) or config.size >= SMALLEST:
        return ()
    usual = family.preset.size
    return (
        f"The folder says that images have {config.size} x {config.size} pixels, but "
        f"{family.title} was trained on {usual} x {usual}. If they turn out poor, ask for that "
        "width and height.",
    )


def preview_of(path: Path, channels: int) -> np.ndarray | None:
    """The factors from latents to colours in a folder's preview.json, if it has one."""
    if not path.is_file():
        return None
    try:
        factors = np.array(read_json(path).get("factors"), dtype=np.float32)
    except (TypeError, ValueError):
        factors = np.empty(0, dtype=np.float32)
    if factors.shape != (channels + 1, 3) or not np.isfinite(factors).all():
        raise CheckpointError(f"{path}: factors must be {channels + 1} x 3 finite numbers.")
    return factors


def vocabulary_of(path: Path) -> Vocabulary | None:
    """The words that a folder's vocabulary.json says the model knows, if it has one."""
    if not path.is_file():
        return None
    groups = read_json(path).get("words")
    if not isinstance(groups, dict) or not all(_are_words(words) for words in groups.values()):
        raise CheckpointError(f"{path}: words must be an object of lists of words.")
    if sum(map(len, groups.values())) > MOST:
        raise CheckpointError(f"{path} has more than {MOST:,} words.")
    return {title: tuple(words) for title, words in groups.items()}


def _are_words(values: Any) -> bool:
    return isinstance(values, list) and all(
        isinstance(word, str) and 0 < len(word) <= 100 for word in values
    )


def _config(path: Path, convert: Any) -> Any:
    return convert(read_json(path), str(path))


def _why_no_model_folder(folder: Path) -> str:
    why = f"{folder} is not a model folder: it has no model_index.json."
    files = sorted(path.name for path in folder.iterdir() if path.suffix == ".safetensors")
    if files:
        return f"{why}\nIt has {quoted(files[0])}: give the path of that file."
    return f"{why}\nGive a folder in the diffusers layout, or one safetensors file."


def weight_files(folder: Path, stem: str, stack: ExitStack) -> list[WeightFile]:
    """Open the weights of one part, until ``stack`` closes: one file, or shards listed by an index.

    Raises ``CheckpointNotFound`` or, for pickles only, ``CheckpointError``.
    """
    for variant in ("", *VARIANTS):
        path = folder / f"{stem}{variant}.safetensors"
        if path.exists():
            return [stack.enter_context(WeightFile(path))]
        for index in (
            folder / f"{stem}.safetensors.index{variant}.json",
            folder / f"{stem}{variant}.safetensors.index.json",
        ):
            if index.exists():
                return [stack.enter_context(WeightFile(path)) for path in shards(index)]
    pickles = sorted(path.name for n in ("*.bin", "*.ckpt", "*.pt") for path in folder.glob(n))
    if pickles:
        raise CheckpointError(
            f"{folder} has its weights in a pickle only ({quoted(pickles[0])}).\n"
            f"{pickle_advice(pickles[0])}"
        )
    raise CheckpointNotFound(f"{folder} holds no {stem}.safetensors.\nDownload the model again.")


def shards(index: Path) -> list[Path]:
    """The files of weights that an index lists, beside it. Raises ``CheckpointError``."""
    weight_map = read_json(index, limit=16 * 2**20).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} lists no tensors.")
    files = list(dict.fromkeys(weight_map.values())) if _all_text(weight_map.values()) else [None]
    for file in files:
        # A plain name in the same folder: never a path that leads somewhere else.
        if not isinstance(file, str) or not _PLAIN_NAME.fullmatch(file):
            raise CheckpointError(f"{index} names the file {quoted(file)}, which is no plain name.")
    if len(files) > 1000:
        raise CheckpointError(f"{index} names {len(files):,} files; at most 1,000 can be right.")
    return [index.parent / str(file) for file in files]


def _all_text(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)
