"""Parts of a model: the autoencoder and the text encoders in a file, or from elsewhere.

A file may lack them, and a model may be used with others. They come from a file of the part alone,
from a file or folder of a whole model, or from the part's folder in the diffusers layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..configs import (
    AutoencoderConfig,
    ModelConfig,
    NeighboursConfig,
    TextConfig,
    VisionConfig,
)
from ..errors import CheckpointError, CheckpointNotFound, InputError
from . import config_json, infer, model_index, names
from .folder import weight_files
from .layout import Layout, Weights
from .recognise import foreign_names
from .weights import WeightFile, read_json

if TYPE_CHECKING:
    from ..models.autoencoder import Autoencoder

T = TypeVar("T")


@dataclass(frozen=True)
class Elsewhere:
    """The parts of a model that come from elsewhere than its own file or folder."""

    autoencoder: Path | Autoencoder | None = None
    texts: tuple[Path, ...] = ()
    tokenizers: tuple[Path, ...] = ()


NOWHERE = Elsewhere()
"""Every part comes from the model itself."""


def for_each(given: tuple[T, ...], count: int, parameter: str) -> tuple[T, ...]:
    """Return one of ``given`` for each text encoder. Raises ``InputError`` for another number."""
    if len(given) not in (1, count):
        raise InputError(
            f"{parameter}= names {len(given)}, but the model has {count} text encoders.\n"
            "Give one for all, or one for each.",
            parameter=parameter,
        )
    return given * count if len(given) == 1 else given


# ------------------------------------------------------------------------------------ autoencoder


@dataclass(frozen=True)
class FoundAutoencoder:
    """An autoencoder that was found; ``loaded`` if it is a network already, without weights."""

    config: AutoencoderConfig
    weights: Weights
    name: str
    loaded: Autoencoder | None = None

    def scaled_as(self, known: AutoencoderConfig) -> FoundAutoencoder:
        """Return it with the scale and the groups of norms of ``known``: no file tells them."""
        config = replace(
            self.config,
            scaling_factor=known.scaling_factor,
            shift_factor=known.shift_factor,
            norm_groups=known.norm_groups,
        )
        return replace(self, config=config)

    def doubts(self, known: AutoencoderConfig) -> tuple[str, ...]:
        """Return a notice if it scales latents unlike the model's own, ``known``."""
        ours, theirs = self.config.scaling_factor, known.scaling_factor
        if ours == theirs:
            return ()
        return (
            f"vae= {self.name} scales its latents by {ours:g}, the model's own by {theirs:g}. If "
            "colours are wrong, it is another family's.",
        )


def autoencoder_in(file: WeightFile, kind: str = "checkpoint") -> FoundAutoencoder | None:
    """Return the autoencoder in a file, with the usual scale; None if there is none.

    Raises ``CheckpointError`` if it is not whole.
    """
    place = infer.autoencoder_place(file.shapes)
    if place is None:
        return None
    with infer.whole(file.path, "autoencoder"):
        config = infer.infer_autoencoder(file.shapes, place.prefix)
    return FoundAutoencoder(config, autoencoder_weights(file, place, config, kind), file.path.name)


def autoencoder_weights(
    file: WeightFile, place: infer.Place, config: AutoencoderConfig, kind: str = "checkpoint"
) -> Weights:
    """Return where the weights of an autoencoder are in a file."""
    if place.compvis:
        return Weights([file], names.compvis_autoencoder_names(config, place.prefix), kind)
    return Weights([file], names.diffusers_names(place.prefix), kind)


def autoencoder_folder(
    folder: Path, stack: ExitStack, scaling_factor: float = 0.18215
) -> tuple[AutoencoderConfig, Weights]:
    """Open the autoencoder of a folder: that of a whole model, or of the autoencoder alone.

    ``scaling_factor`` counts if its config says none.
    """
    if (folder / "model_index.json").is_file():
        folder = folder / "vae"
    path = folder / "config.json"
    config = config_json.autoencoder_from_json(
        read_json(path), str(path), scaling_factor=scaling_factor
    )
    files = weight_files(folder, "diffusion_pytorch_model", stack)
    return config, Weights(files, names.diffusers_names())


def open_autoencoder(
    given: Path | Autoencoder, known: AutoencoderConfig, stack: ExitStack
) -> FoundAutoencoder:
    """Open an autoencoder from elsewhere, for the latents of ``known``, until ``stack`` closes.

    A folder tells the latents' scale; a file's is that of ``known``. Raises ``CheckpointError`` or
    ``CheckpointNotFound``.
    """
    kind = "autoencoder"
    if not isinstance(given, Path):
        return FoundAutoencoder(
            given.config, Weights([], names.diffusers_names(), kind), "the autoencoder", given
        )
    if given.is_dir():
        config, weights = autoencoder_folder(given, stack, known.scaling_factor)
        return FoundAutoencoder(config, replace(weights, kind=kind), given.name)
    file = stack.enter_context(WeightFile(given))
    found = autoencoder_in(file, kind)
    if found is None:
        raise CheckpointError(f"vae= {given} has no autoencoder: it is {_what(file)}.")
    return found.scaled_as(known)


# ---------------------------------------------------------------------------------- text encoders


@dataclass(frozen=True)
class FoundText:
    """A text encoder as it is stored, before it is known how a model reads it."""

    stored: TextConfig
    place: infer.TextPlace
    files: Sequence[WeightFile]
    kind: str = "checkpoint"

    def read_as(self, known: TextConfig) -> TextConfig:
        """Return the config of the encoder in a model whose family has ``known``."""
        return infer.read_as(self.stored, known, open_clip=self.place.open_clip)

    def weights(self, config: TextConfig) -> Weights:
        """Return where its weights are."""
        prefix = self.place.prefix
        if self.place.open_clip:
            return Weights(self.files, names.open_clip_names(config, prefix), self.kind)
        return Weights(self.files, names.clip_names(prefix), self.kind)


def texts_in(file: WeightFile, kind: str = "checkpoint") -> list[FoundText]:
    """Return the text encoders in a file. Raises ``CheckpointError`` if one is not whole."""
    shapes, found = file.shapes, []
    for place in infer.text_places(shapes):
        with infer.whole(file.path, "text encoder"):
            found.append(FoundText(infer.infer_text(shapes, place), place, [file], kind))
    return found


def matched(found: Sequence[FoundText], known: Sequence[TextConfig]) -> list[FoundText | None]:
    """Return which of the encoders is which of a model's: those of the same width, in order."""
    left = list(found)
    result: list[FoundText | None] = []
    for text in known:
        fitting = next((each for each in left if each.stored.width == text.width), None)
        if fitting is not None:
            left.remove(fitting)
        result.append(fitting)
    return result


def open_texts(
    paths: Sequence[Path], known: ModelConfig, stack: ExitStack
) -> list[FoundText | None]:
    """Open text encoders from elsewhere, until ``stack`` closes; None for each that is not there.

    Raises ``CheckpointError``, also for a path without an encoder of the model's widths, or
    ``CheckpointNotFound``.
    """
    found = []
    for path in paths:
        inside = _texts_at(path, stack)
        if not any(matched(inside, known.text)):
            widths = " and ".join(str(each.stored.width) for each in inside)
            needed = " and ".join(str(text.width) for text in known.text)
            raise CheckpointError(
                f"text= {path} has text states of width {widths}, {known.name} needs width "
                f"{needed}.\nIt is the text encoder of another family."
            )
        found += inside
    return matched(found, known.text)


def _texts_at(path: Path, stack: ExitStack) -> list[FoundText]:
    if path.is_dir():
        return _texts_in_folder(path, stack)
    file = stack.enter_context(WeightFile(path))
    found = texts_in(file, "text encoder")
    if not found:
        raise CheckpointError(f"text= {path} has no text encoder: it is {_what(file)}.")
    return found


def _texts_in_folder(folder: Path, stack: ExitStack) -> list[FoundText]:
    folders = [folder]
    if (folder / "model_index.json").is_file():
        folders = [folder / encoder for encoder, _ in model_index.TEXT_FOLDERS]
        folders = [each for each in folders if (each / "config.json").is_file()]
    if not folders:
        raise CheckpointNotFound(f"text= {folder} is a model without a text encoder.")
    found = []
    for each in folders:
        path = each / "config.json"
        stored = config_json.text_from_json(read_json(path), str(path), projected=True)
        files = weight_files(each, "model", stack)
        place = infer.TextPlace("", open_clip=False)
        found.append(FoundText(stored, place, files, "text encoder"))
    return found


# ----------------------------------------------------------------------------------------- vision


_VISION = "vision_model.embeddings.class_embedding"


@dataclass(frozen=True)
class FoundVision:
    """CLIP's vision tower in the files of a whole CLIP; ``prefix``: how its names begin."""

    config: VisionConfig
    files: Sequence[WeightFile]
    prefix: str = ""

    def beside(self, text: Weights) -> Weights:
        """Return where the weights of both towers are."""
        files = {file.path: file for file in (*text.files, *self.files)}
        names_of = names.tower_names(text.lookup, self.prefix)
        return Weights([*files.values()], names_of, "text encoder")


def open_vision(paths: Sequence[Path], stack: ExitStack) -> FoundVision | None:
    """Open CLIP's vision tower in one of these files or folders, until ``stack`` closes; None if it
    is in none. Raises ``CheckpointError`` or ``CheckpointNotFound``."""
    for path in paths:
        if path.is_dir() and not (path / "config.json").is_file():
            continue  # a model folder, whose text encoder is alone
        files = (
            weight_files(path, "model", stack)
            if path.is_dir()
            else [stack.enter_context(WeightFile(path))]
        )
        for prefix in ("", "clip."):
            if any(prefix + _VISION in file.entries for file in files):
                shapes = {name: shape for file in files for name, shape in file.shapes.items()}
                with infer.whole(path, "CLIP vision encoder"):
                    return FoundVision(infer.infer_vision(shapes, prefix), files, prefix)
    return None


# --------------------------------------------------------------------------------- model folders


def with_parts(layout: Layout, elsewhere: Elsewhere, stack: ExitStack) -> Layout:
    """Return the layout of a model folder with parts from elsewhere in place of its own.

    Raises ``CheckpointError``, ``CheckpointNotFound`` or ``InputError``.
    """
    config, weights = layout.config, list(layout.weights)
    if elsewhere.autoencoder is not None:
        known = config.autoencoder
        found = open_autoencoder(elsewhere.autoencoder, known, stack)
        weights[1], config = found.weights, replace(config, autoencoder=found.config)
        notices = layout.notices + found.doubts(known)
        layout = replace(layout, autoencoder=found.loaded, notices=notices, preview=None)
    if elsewhere.texts:
        if any(isinstance(each, NeighboursConfig) for each in config.embedders):
            raise InputError(
                "text= cannot replace an encoder of neighbours in a folder.\nLeave it out.",
                parameter="text",
            )
        texts = list(config.text)
        places = [n for n, each in enumerate(config.embedders) if isinstance(each, TextConfig)]
        for number, text in enumerate(open_texts(elsewhere.texts, config, stack)):
            if text is not None:
                texts[number] = text.read_as(texts[number])
                weights[2 + places[number]] = text.weights(texts[number])
        config = with_texts(config, texts)
    if elsewhere.tokenizers:
        count = len(layout.tokenizers)
        if len(elsewhere.tokenizers) != count:  # each pads in its own way
            raise InputError(
                f"{layout.path} has {count} text encoders, with a tokenizer each.\n"
                f"Give tokenizer= a list of {count} folders.",
                parameter="tokenizer",
            )
        layout = replace(layout, tokenizers=elsewhere.tokenizers)
    config_json.check_parts_fit(config, str(layout.path))
    return replace(layout, config=config, weights=tuple(weights))


def with_texts(config: ModelConfig, texts: Sequence[TextConfig]) -> ModelConfig:
    """Return the config with these text encoders in place of its own."""
    left = iter(texts)
    told = (next(left) if isinstance(each, TextConfig) else each for each in config.embedders)
    return replace(config, embedders=tuple(told))


def _what(file: WeightFile) -> str:
    return foreign_names(file.shapes) or "a model without one"
