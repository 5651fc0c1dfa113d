"""``save_model`` and ``save_autoencoder``: a complete folder in the diffusers layout, or none."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from .. import checks
from ..configs import ModelConfig, SizesConfig, TextConfig
from ..errors import CheckpointError, InputError
from . import config_json, model_index
from .contents import Contents, Part, Tensors, as_dtype, parts_of, tensors_of
from .exchange import replaced, sync
from .target import stored_dtype
from .writing import Progress, write_into

if TYPE_CHECKING:
    from ..models.autoencoder import Autoencoder
    from ..models.tokenizer import Tokenizer
    from ..pipeline import LatentDiffusion


def save_model(
    model: LatentDiffusion,
    folder: str | os.PathLike[str],
    *,
    dtype: str | torch.dtype | None = None,
) -> Path:
    """Write ``model`` to ``folder`` and return its path; ``load_model`` and diffusers read it.

    ``dtype`` (for example "float16") is the type of the stored weights; None keeps theirs. The
    folder is written beside the target and takes its name at the end, so that there is never half a
    model, even if the process is killed. An existing model folder is replaced; its other files,
    such as a README, are kept. The networks that diffusers puts beside a model, such as a safety
    checker, are not part of it; its pipeline for depth wants ``depth_estimator=None`` and
    ``feature_extractor=None`` then. Learnt words are left out, with a warning.

    Raises ``InputError`` if ``folder`` holds something else, or for a model that the layout cannot
    describe, such as one without a text encoder; ``CheckpointError`` if the disk is full or not
    writable. The previous content is then unchanged.
    """
    from ..pipeline import LatentDiffusion

    stored = stored_dtype(dtype)
    target = checks.path("folder", folder)
    checks.instance("model", model, LatentDiffusion, "sdwidgets.load() returns one.")
    check_has_folder(model.config)
    words = [word for each in model.embedders for word in getattr(each, "learnt", ())]
    if words:
        named = ", ".join(dict.fromkeys(words))[:200]
        warnings.warn(
            f"A model folder has no place for learnt words ({named}); give their files again:"
            " sdwidgets.load(folder, embeddings=[...]).",
            stacklevel=2,
        )
    contents = Contents.of(model).as_dtype(stored)
    return placed(target, "model_index.json", lambda new: write_model_folder(contents, new))


def save_autoencoder(
    autoencoder: Autoencoder,
    folder: str | os.PathLike[str],
    *,
    dtype: str | torch.dtype | None = None,
) -> Path:
    """Write ``autoencoder`` alone to ``folder``, as `save_model` does with a whole model.

    `load_autoencoder` and diffusers (``AutoencoderKL``, ``VQModel``) read it.
    """
    from ..models.autoencoder import Autoencoder

    stored = stored_dtype(dtype)
    target = checks.path("folder", folder)
    checks.instance(
        "autoencoder", autoencoder, Autoencoder, "sdwidgets.load_autoencoder() returns one."
    )
    settings = config_json.autoencoder_to_json(autoencoder.config, size=256)
    tensors = as_dtype(tensors_of(autoencoder), stored)

    def write(new: Path) -> None:
        _write_json(new / "config.json", settings)
        _write_weights(new / "diffusion_pytorch_model.safetensors", tensors)
        sync(new)

    return placed(target, "config.json", write)


def check_has_folder(config: ModelConfig) -> None:
    """Raise ``InputError`` for a model that a folder cannot describe."""
    if model_index.pipeline_for(config) is None:
        raise InputError(
            "A model folder cannot describe what this model is told, or how it reads a prompt.\n"
            "It has room for one text encoder with its last states, or for Stable Diffusion XL's.\n"
            "Keep a trained model's checkpoint: task.result(checkpoint) makes the model again.",
            parameter="model",
        )


def placed(target: Path, marker: str, write: Callable[[Path], None]) -> Path:
    """Let ``write`` fill a new folder, which replaces ``target`` at once; return ``target``.

    A folder is only replaced if it is empty or has the file ``marker``.
    """
    try:
        refused = target.exists() and not _may_replace(target, marker)
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise CheckpointError(f"{target} cannot be written: {error.strerror}.") from error
    if refused:
        raise InputError(
            f"{target} holds something other than a model, and was left unchanged.\n"
            "Pass a new or empty folder.",
            parameter="folder",
        )
    try:
        replaced(target, write, lambda new: _keep_other_files(target, new))
    except OSError as error:
        raise CheckpointError(
            f"{target} could not be written: {error.strerror or error}.\n"
            "Its previous content is unchanged."
        ) from error
    return target


def _may_replace(target: Path, marker: str) -> bool:
    return target.is_dir() and ((target / marker).is_file() or not any(target.iterdir()))


_OURS = ("preview.json", "vocabulary.json")
"""Optional files of a model. Those of the model that is replaced are not kept."""


def _keep_other_files(old: Path, new: Path) -> None:
    for path in old.iterdir():
        if path.is_file() and not (new / path.name).exists() and path.name not in _OURS:
            shutil.copy2(path, new / path.name)


def write_model_folder(contents: Contents, folder: Path, progress: Progress | None = None) -> None:
    """Write a model folder, which does not exist yet. Raises ``OSError``, or ``InputError`` for a
    model that the layout cannot describe."""
    config = contents.config
    folder.mkdir()
    _write_json(folder / "model_index.json", model_index.model_index(config))
    distilled = model_index.is_distilled(config)
    schedule = config_json.schedule_to_json(config.schedule, distilled=distilled)
    _write_json(folder / "scheduler" / "scheduler_config.json", schedule)
    if small := model_index.small_image(config):
        noise = config_json.low_resolution_to_json(small)
        _write_json(folder / "low_res_scheduler" / "scheduler_config.json", noise)
    # Also in the file of weights, where it stays when configs are mixed up; as ModelSpec calls it.
    predicted = "v" if config.schedule.prediction == "v" else schedule["prediction_type"]
    for part, tensors in zip(_parts(config), contents.networks, strict=True):
        notes = {"modelspec.prediction_type": predicted} if part.folder == "unet" else {}
        _write_part(part, tensors, folder / part.folder, notes, progress)
    folders = model_index.folders_of(config)
    for own, tokenizer, (_, place) in zip(config.text, contents.tokenizers, folders, strict=True):
        _write_tokenizer(folder / place, tokenizer, own)
    if contents.preview is not None:
        _write_json(folder / "preview.json", {"factors": contents.preview.tolist()})
    if contents.vocabulary is not None:
        _write_json(folder / "vocabulary.json", {"words": contents.vocabulary})
    for path in (*folder.iterdir(), folder):
        if path.is_dir():
            sync(path)


def write_part_folder(
    contents: Contents, part: Part, folder: Path, progress: Progress | None = None
) -> None:
    """Write the folder of one part, which does not exist yet. Raises ``OSError``."""
    tensors = contents.network(part)
    it = _parts(contents.config)[parts_of(contents.config).index(part)]
    folder.mkdir()
    _write_part(it, tensors, folder, {}, progress)
    sync(folder)


class _PartFolder(NamedTuple):
    folder: str
    stem: str  # of the file of weights
    settings: dict[str, Any]  # its config.json


def _parts(config: ModelConfig) -> list[_PartFolder]:
    """Return the folders of a model's networks."""
    side, vae = config.size // config.autoencoder.factor, config.autoencoder
    sizes = next((each for each in config.embedders if isinstance(each, SizesConfig)), None)
    settings = [
        config_json.unet_to_json(config.unet, side, sizes),
        config_json.autoencoder_to_json(vae, config.size, upcast=bool(sizes)),
        *map(config_json.text_to_json, config.text),
    ]
    stems = ["diffusion_pytorch_model"] * 2 + ["model"] * len(config.text)
    return [_PartFolder(*each) for each in zip(parts_of(config), stems, settings, strict=True)]


def _write_part(
    part: _PartFolder,
    tensors: Tensors,
    folder: Path,
    notes: Mapping[str, str],
    progress: Progress | None,
) -> None:
    _write_json(folder / "config.json", part.settings)
    _write_weights(folder / f"{part.stem}.safetensors", tensors, notes, progress)


def _write_weights(
    path: Path,
    tensors: Tensors,
    notes: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> None:
    with open(path, "xb") as file:
        write_into(file, tensors, notes or {}, progress)
    sync(path)


def _write_tokenizer(folder: Path, tokenizer: Tokenizer, config: TextConfig) -> None:
    """Write the four files of CLIP's tokenizer, which every version of transformers reads."""
    words = sorted(tokenizer.vocab.items(), key=lambda item: item[1])
    merges = (" ".join(pair) for pair in tokenizer.merges)
    names = {number: token for token, number in words}
    ids = {"bos_token": config.bos, "eos_token": config.eos, "pad_token": config.pad}
    special = {role: names[number] for role, number in ids.items()}
    special["unk_token"] = special["eos_token"]  # as in CLIP; byte pairs leave nothing unknown
    flags = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    added = {
        str(number): {flag: getattr(token, flag) for flag in flags}
        for number, token in sorted(tokenizer.added.items())
    }
    _write_json(folder / "vocab.json", dict(words), indent=None)
    _write_text(folder / "merges.txt", "\n".join(["#version: 0.2", *merges, ""]))
    _write_json(folder / "special_tokens_map.json", special)
    _write_json(
        folder / "tokenizer_config.json",
        {
            **special,
            "added_tokens_decoder": added,
            "model_max_length": config.length,
            "tokenizer_class": "CLIPTokenizer",
        },
    )


def _write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    _write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    sync(path)
