"""``save_model`` and ``save_autoencoder``: a complete folder, or none.

It is in the diffusers layout, if that can describe the model, else in our own (`save_system`).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from .. import checks
from ..configs import ModelConfig, SizesConfig
from ..errors import InputError
from . import config_json, model_index
from .contents import Contents, Part, Tensors, as_dtype, parts_of, tensors_of
from .exchange import sync
from .folder_files import (
    MARKERS,
    placed,
    write_json,
    write_notes,
    write_tokenizer,
    write_weights,
)
from .save_system import check_has_system, write_system_folder
from .target import stored_dtype
from .writing import Progress

if TYPE_CHECKING:
    from ..models.autoencoder import Autoencoder
    from ..pipeline import LatentDiffusion


def save_model(
    model: LatentDiffusion,
    folder: str | os.PathLike[str],
    *,
    dtype: str | torch.dtype | None = None,
) -> Path:
    """Write ``model`` to ``folder`` and return its path; ``load_model`` reads it.

    Models of which diffusers has a pipeline are written in its layout, which diffusers reads, too;
    all others in our own.

    ``dtype`` (for example "float16") is the type of the stored weights; None keeps theirs. The
    folder is written beside the target and takes its name at the end, so that there is never half a
    model, even if the process is killed. An existing model folder is replaced; its other files,
    such as a README, are kept. The networks that diffusers puts beside a model, such as a safety
    checker, are not part of it; its pipeline for depth wants ``depth_estimator=None`` and
    ``feature_extractor=None`` then. Learnt words are left out, with a warning.

    Raises ``InputError`` if ``folder`` holds something else; ``CheckpointError`` if the disk is
    full or not writable. The previous content is then unchanged.
    """
    from ..pipeline import LatentDiffusion

    stored = stored_dtype(dtype)
    target = checks.path("folder", folder)
    checks.instance("model", model, LatentDiffusion, "sdwidgets.load() returns one.")
    if not is_describable(model.config):
        check_has_system(model.config)
    words = [word for each in model.embedders for word in getattr(each, "learnt", ())]
    if words:
        named = ", ".join(dict.fromkeys(words))[:200]
        warnings.warn(
            f"A model folder has no place for learnt words ({named}); give their files again:"
            " sdwidgets.load(folder, embeddings=[...]).",
            stacklevel=2,
        )
    contents = Contents.of(model).as_dtype(stored)
    write = write_model_folder if is_describable(model.config) else write_system_folder
    return placed(target, MARKERS, lambda new: write(contents, new))


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
        write_json(new / "config.json", settings)
        write_weights(new / "diffusion_pytorch_model.safetensors", tensors)
        sync(new)

    return placed(target, ("config.json",), write)


def is_describable(config: ModelConfig) -> bool:
    """Whether the diffusers layout can describe a model."""
    predicts = config.schedule.prediction
    return model_index.pipeline_for(config) is not None and config_json.has_word_for(predicts)


def check_has_folder(config: ModelConfig) -> None:
    """Raise ``InputError`` for a model whose parts have no folders of their own."""
    if not is_describable(config):
        raise InputError(
            f"The parts of {config.name} have no folders of their own: diffusers' layout cannot "
            "describe them.\nConvert the whole model, or the part to one file.",
            parameter="part",
        )


def write_model_folder(contents: Contents, folder: Path, progress: Progress | None = None) -> None:
    """Write a model folder, which does not exist yet. Raises ``OSError``, or ``InputError`` for a
    model that the layout cannot describe."""
    config = contents.config
    folder.mkdir()
    write_json(folder / "model_index.json", model_index.model_index(config))
    steps = config.schedule
    if config.schedule_name == "trailing":  # diffusers knows it as a spacing of the scheduler
        steps = replace(steps, spacing="trailing")
    schedule = config_json.schedule_to_json(steps, model_index.scheduler_class(config))
    write_json(folder / "scheduler" / "scheduler_config.json", schedule)
    if small := model_index.small_image(config):
        noise = config_json.low_resolution_to_json(small)
        write_json(folder / "low_res_scheduler" / "scheduler_config.json", noise)
    # Also in the file of weights, where it stays when configs are mixed up; as ModelSpec calls it.
    predicted = "v" if config.schedule.prediction == "v" else schedule["prediction_type"]
    for part, tensors in zip(_parts(config), contents.networks, strict=True):
        notes = {"modelspec.prediction_type": predicted} if part.folder == "unet" else {}
        _write_part(part, tensors, folder / part.folder, notes, progress)
    folders = model_index.folders_of(config)
    for own, tokenizer, (_, place) in zip(config.text, contents.tokenizers, folders, strict=True):
        write_tokenizer(folder / place, tokenizer, own)
    write_notes(contents, folder)
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
    write_json(folder / "config.json", part.settings)
    write_weights(folder / f"{part.stem}.safetensors", tensors, notes, progress)
