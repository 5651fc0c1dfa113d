"""A whole model in a single safetensors file: names are recognised, the config is inferred.

A file may lack the autoencoder or text encoders, which then come from elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ..configs import (
    SD_TURBO,
    ModelConfig,
    NeighboursConfig,
    PredictionSource,
    TextConfig,
    UNetConfig,
)
from ..errors import CheckpointError, CheckpointNotFound
from . import config_json, few_steps, infer, names, parts
from .families import family_of
from .layout import NO_WEIGHTS, Layout, Weights
from .parts import NOWHERE, Elsewhere, FoundAutoencoder, FoundText, FoundVision
from .recognise import foreign_names, kind_of
from .stages import is_trained, stage_of
from .weights import FLOATS, WeightFile

CLIP_TOKENS = 49408
"""The size of the vocabulary that all published CLIP text encoders share."""

_NEW_NAMES = "conditioner.embedders.0.model."


def open_file(
    path: Path,
    stack: ExitStack,
    *,
    config: ModelConfig | None = None,
    elsewhere: Elsewhere = NOWHERE,
) -> Layout:
    """Return the layout of a checked file, which stays open until ``stack`` closes.

    If ``config`` is None, it is inferred from the shapes. Raises ``CheckpointError`` for files that
    are no model of a family in `families` or of that ``config``, or that lack a part.
    """
    file = stack.enter_context(WeightFile(path))
    return layout_of(file, stack, config=config, elsewhere=elsewhere)


def layout_of(
    file: WeightFile,
    stack: ExitStack,
    *,
    config: ModelConfig | None = None,
    elsewhere: Elsewhere = NOWHERE,
) -> Layout:
    """Return the layout of the model in an open file; see `open_file`."""
    path = file.path
    place = infer.unet_place(file.shapes)
    kind = kind_of(file.shapes)
    if kind is not None and not (kind.key == "unet" and place is not None):
        raise CheckpointError(f"{path} is {foreign_names(file.shapes)}.")
    place = place or _usual_place(file.shapes)
    if config is None:
        source: PredictionSource = "family"
        unet, known = _network(file, place)
    else:
        source, unet, known = "caller", config.unet, config

    vision = parts.open_vision(elsewhere.texts, stack) if known.has(NeighboursConfig) else None
    coder, texts = _whole(
        path,
        known,
        _autoencoder(file, known, elsewhere, stack),
        _texts(file, known, elsewhere, stack),
        vision,
    )
    few = None
    if config is None:
        read = [each.read_as(own) for each, own in zip(texts, known.text, strict=True)]
        with infer.whole(path, "model"):
            seen = vision.config if vision else None
            config = infer.as_family(known, unet, coder.config, read, path.stem, file.shapes, seen)
        infer.check_bounds(config, str(path))
        few = few_steps.of_file(path, file.metadata, config, like_turbo=known is SD_TURBO)
        config = few.defaults_of(config) if few else config
    else:
        config = replace(config, autoencoder=coder.config)
    config_json.check_parts_fit(config, str(path))
    if place.compvis:
        lookup = names.compvis_unet_names(config.unet, place.prefix)
    else:
        lookup = names.diffusers_names(place.prefix)
    averaged = place == OWN and not config.has(TextConfig) and _has_average(file)
    if averaged:
        lookup = names.averaged_names(lookup)
    return Layout(
        path=path,
        config=config,
        weights=(
            Weights([file], lookup),
            coder.weights,
            *_embedders(
                file,
                config,
                (each.weights(own) for each, own in zip(texts, config.text, strict=True)),
                vision,
            ),
        ),
        tokenizers=_tokenizers(path, config.text, elsewhere.tokenizers),
        pad_from_tokenizer=False,
        prediction_source=source,
        notices=coder.doubts(known.autoencoder),
        few_steps=few,
        autoencoder=coder.loaded,
        strict=_strict(place, config, averaged),
        said=(_AVERAGED.format(path.name),) if averaged else (),
    )


OWN = infer.Place(names.UNET, True)
"""Where the network is in files of CompVis's code."""

_AVERAGED = "{}: the moving average of its weights (EMA) was taken, as in latent diffusion's code."


def _has_average(file: WeightFile) -> bool:
    """Whether there is a moving average of every weight of the network. Latent diffusion's own
    code samples with it; Stable Diffusion's configs turn that off."""
    own = [name for name in file.entries if name.startswith(names.UNET)]
    return all(
        source.name in file.entries
        for name in own
        for source in names.averaged_names(names.own_names())(name)
    )


def _strict(place: infer.Place, config: ModelConfig, averaged: bool) -> tuple[str, ...]:
    """Return the beginnings of the names all of which must have a place in the model."""
    network = f"{names.AVERAGE}diffusion_model" if averaged else place.prefix
    return (network, *([names.STAGE] if any(map(is_trained, config.embedders)) else []))


def _embedders(
    file: WeightFile,
    config: ModelConfig,
    texts: Iterable[Weights],
    vision: FoundVision | None,
) -> Iterator[Weights]:
    """Yield the weights of each embedder."""
    left = iter(texts)
    for each in config.embedders:
        if is_trained(each):
            yield Weights([file], names.stage_names(each))
        elif isinstance(each, NeighboursConfig) and vision is not None:
            yield vision.beside(next(left) if each.text else NO_WEIGHTS)
        else:
            yield next(left) if isinstance(each, TextConfig) else NO_WEIGHTS


def _usual_place(shapes: infer.Shapes) -> infer.Place:
    """Where the network would be of a file in which a part of it is missing."""
    compvis = any(name.startswith(names.UNET) for name in shapes)
    return infer.Place(names.UNET, True) if compvis else infer.Place("unet.", False)


def _network(file: WeightFile, place: infer.Place) -> tuple[UNetConfig, ModelConfig]:
    """Return the config of the network, and the preset of its family.

    Stability's newer code names the text encoder of Stable Diffusion 2 as those of XL. The one
    widespread model in these names is SD-Turbo, whose network is Stable Diffusion 2's.
    """
    with infer.whole(file.path, "model"):
        unet = infer.infer_unet(file.shapes, place)
    family = family_of(unet, stage_of(file.shapes))
    if family is None:
        raise CheckpointError(
            f"{file.path} has a network of no known family: text states of width "
            f"{unet.context_dim}, a vector of {unet.vector_dim}, {unet.in_channels} input "
            "channels.\nPass config=ModelConfig(...)."
        )
    if family.key == "sd2" and any(name.startswith(_NEW_NAMES) for name in file.entries):
        return unet, SD_TURBO
    return unet, family.preset


def _autoencoder(
    file: WeightFile, known: ModelConfig, elsewhere: Elsewhere, stack: ExitStack
) -> FoundAutoencoder | None:
    """Return the autoencoder, from elsewhere if it is to be; None if there is none."""
    if elsewhere.autoencoder is not None:
        return parts.open_autoencoder(elsewhere.autoencoder, known.autoencoder, stack)
    found = parts.autoencoder_in(file)
    if found is None:
        return None
    found = found.scaled_as(known.autoencoder)
    scale = _scale(file)
    if scale is None:
        return found
    return replace(found, config=replace(found.config, scaling_factor=scale))


def _scale(file: WeightFile) -> float | None:
    """Return the latents' scale, where training measured it and kept it beside the weights."""
    entry = file.entries.get(names.SCALE)
    if entry is None or entry.dtype not in FLOATS or math.prod(entry.shape) != 1:
        return None
    value = float(file.numbers(names.SCALE).reshape(()))
    return value if math.isfinite(value) and value > 0 else None


def _texts(
    file: WeightFile, known: ModelConfig, elsewhere: Elsewhere, stack: ExitStack
) -> list[FoundText | None]:
    """Return each text encoder, from elsewhere if it is there; None where there is none."""
    own = parts.matched(parts.texts_in(file), known.text)
    given = parts.open_texts(elsewhere.texts, known, stack)
    return [theirs or ours for theirs, ours in zip(given, own, strict=True)]


def _whole(
    path: Path,
    known: ModelConfig,
    coder: FoundAutoencoder | None,
    texts: list[FoundText | None],
    vision: FoundVision | None,
) -> tuple[FoundAutoencoder, list[FoundText]]:
    """Return the parts. Raises ``CheckpointError``, with the arguments that help, if any lacks."""
    found = [text for text in texts if text is not None]
    blind = vision is None and known.has(NeighboursConfig)
    if coder is not None and len(found) == len(texts) and not blind:
        return coder, found
    lacking = ["autoencoder"] if coder is None else []
    for text, own in zip(texts, known.text, strict=True):
        if text is None:
            lacking.append(f"text encoder of width {own.width}")
    if blind:
        lacking.append("CLIP vision encoder")
    arguments = ["vae="] if coder is None else []
    arguments += ["text="] if len(found) < len(texts) or blind else []
    raise CheckpointError(
        f"{path} has no {' and no '.join(lacking)}, which {known.name} needs.\n"
        f"Pass {' and '.join(arguments)}, the file or folder of such a part or of a model that "
        "has it."
    )


def _tokenizers(
    path: Path, texts: tuple[TextConfig, ...], given: tuple[Path, ...]
) -> tuple[Path | None, ...]:
    """Return where the tokenizer of each text encoder is, which single files lack; None is CLIP's
    own. One beside the file is taken first."""
    if given:
        return parts.for_each(given, len(texts), "tokenizer")
    for folder in (path.parent / "tokenizer", path.parent):
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            return (folder,) * len(texts)
    if all(text.vocab_size >= CLIP_TOKENS for text in texts):
        return (None,) * len(texts)
    raise CheckpointNotFound(
        f"{path.name} has another vocabulary than CLIP, and {path.parent / 'tokenizer'} is not "
        "there.\nPut its vocab.json and merges.txt there, or pass tokenizer=FOLDER."
    )
