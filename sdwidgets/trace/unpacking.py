"""A record out of the JSON and tensors of packing.py, all of it checked before it is believed.

Whatever is wrong raises ValueError with words that fit behind "it is damaged: ".
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import pairwise, takewhile, zip_longest
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from .. import checks
from ..contract import (
    KINDS,
    LATENTS,
    MOST_CONTROLS,
    MOST_NEIGHBOURS,
    PRECISIONS,
    RECORD,
)
from ..prompts import HEAVIEST
from ..settings import LIMITS, Settings
from ..sources import MOST, Source
from . import checked, older
from .packing import CELLS, Grid
from .parent import Parent
from .record import GivenControl, Record
from .step import SIGMA_LIMIT, TraceStep
from .stored import PIECE_LIMIT, STEP_LIMIT, Room, StepInfo, StoredStep, Tensors
from .tokens import PromptTokens

R = TypeVar("R", bound=Record)

LAYER_LIMIT = RECORD["layers"]  # of all steps together; a header has no room for more
SLOT_LIMIT = PIECE_LIMIT + 2  # of a prompt, the start and the end included
ENCODER_LIMIT = 8  # text encoders of a model
SIDE_LIMIT = RECORD["side"]  # of latents and maps
BATCH_LIMIT = LIMITS["batch_size"][1]

_FIELDS = {
    "sha256", "format", "model", "task", "settings", "settings_format", "tokens",
    "negative_tokens", "expected", "complete", "run_seconds", "notices", "versions", "fingerprint",
    "prediction", "prediction_source", "sources", "controls", "guide", "schedule_sigmas", "latents",
    "layers", "steps", "pictures", "stored", "parent",
}  # fmt: skip
_GIVEN = ("given_image", "given_mask")
_GIVEN_CONTROL = "given_control."
_GIVEN_NEIGHBOUR = "given_neighbour."
_ERRORS = ("latents", "attention", "averaging")


def unpacked(
    meta: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    kind: type[R],
    *,
    room: Room | None = None,
    checked_steps: int = 0,
    own_from: int | None = None,
) -> R:
    """The record, of class ``kind``.

    ``room``: what it may take of memory, where several records are read. ``checked_steps``: of so
    many first steps, the tensors were checked with another record. ``own_from``: how many first
    steps are a parent's own, if the JSON has no parent. The record's notices name the steps that
    lack a tensor and are left out, and what is not known here.
    """
    settings, unknown = _settings(meta)
    tokens = _prompts(meta, "tokens", settings.batch_size)
    negative = _prompts(meta, "negative_tokens", settings.batch_size)
    infos = [StepInfo.of(given) for given in checked.mappings(meta, "steps", STEP_LIMIT)]
    if any(after.index <= info.index for info, after in pairwise(infos)):
        raise ValueError("its steps are out of order")
    stored, parent = _stored(meta), _parent(meta)
    content = Tensors(
        tensors,
        shape=_shape(meta, settings.batch_size) if infos else (),
        grids=_grids(meta, infos),
        precision=stored["precision"],
        columns={"cross": _columns(tokens), "uncond": _columns(negative), "control": 1},
        own_from=own_from or (0 if parent is None else parent.step),
        room=Room() if room is None else room,
    )
    controls = _controls(meta)
    pictures = _picture_names(meta, len(controls))
    expected = checked.whole(meta, "expected", 0, STEP_LIMIT)
    if infos and 0 < expected <= infos[-1].index:
        raise ValueError(f"it has step {infos[-1].index} of {expected}")
    steps, missing = _steps(infos, content, checked_steps)
    images = {name: content.image(name) for name in pictures if name in tensors}
    _check_images(images, content.shape[0] if infos else settings.batch_size)
    lost = [f"step {index}" for index in missing] + [one for one in pictures if one not in tensors]
    arrays = {"factors", "given_latents", "given_depth", "given_label_map"}
    strangers = _strangers(infos, content) - arrays - {*pictures}
    unknown += sorted(strangers | (meta.keys() - _FIELDS))
    notices = checked.texts(meta, "notices", 1_000)
    if lost:
        notices += (f"Missing in the file: {_few(lost)}.",)
    if unknown:
        notices += (f"The file has what this version does not know: {_few(unknown)}.",)
    versions = checked.mapping(meta, "versions")
    return kind(
        model=checked.text(meta, "model"),
        task=checked.text(meta, "task"),
        settings=settings,
        tokens=tokens,
        steps=steps,
        # up to the first that is lost, so that each keeps its index in the batch
        images=tuple(images[name] for name in takewhile(images.__contains__, _images(pictures))),
        expected=expected,
        complete=checked.flag(meta, "complete") and not lost,
        run_seconds=checked.seconds(meta, "run_seconds"),
        notices=notices,
        versions={name: checked.text(versions, name) for name in versions},
        fingerprint=checked.text(meta, "fingerprint"),
        prediction=checked.text({"prediction": "", **meta}, "prediction"),
        prediction_source=checked.text({"prediction_source": "", **meta}, "prediction_source"),
        negative_tokens=negative,
        given_image=images.get("given_image"),
        given_mask=images.get("given_mask"),
        given_guide=guide_of(meta),
        given_latents=content.given_latents(),
        given_depth=content.given_depth(),
        given_label_map=content.given_label_map(),
        given_neighbours=tuple(
            image for name, image in images.items() if name.startswith(_GIVEN_NEIGHBOUR)
        ),
        given_controls=tuple(
            replace(control, image=images.get(f"{_GIVEN_CONTROL}{number}"))
            for number, control in enumerate(controls)
        ),
        factors=content.factors(),
        schedule_sigmas=_sigmas(meta),
        stored=stored,
        sources=_sources(meta),
        parent=parent,
    )


def _steps(
    infos: Sequence[StepInfo], content: Tensors, checked_steps: int
) -> tuple[tuple[TraceStep, ...], list[int]]:
    """(The whole steps, the indices of the others.) Neighbours share their latents."""
    whole = [all(name in content.tensors for name in content.names(info)) for info in infos]
    steps, missing = [], []
    for info, is_whole, after, after_whole in zip_longest(infos, whole, infos[1:], whole[1:]):
        following = None
        if "x_next" in info.parts:
            following = (f"steps.{info.index}.x_next", info.sigma_next)
        elif after is not None and after.index == info.index + 1:
            following = (f"steps.{after.index}.x", after.sigma)
        if not is_whole or following is None or following[0] not in content.tensors:
            missing.append(info.index)
            continue
        if info.index >= checked_steps:
            content.check(info)
        if not after_whole:
            content.check_latents(following[0])
        steps.append(StoredStep.of(info, content, following))
    return tuple(steps), missing


_NAME = re.compile(
    r"steps\.(\d{1,6})\.(?:([a-z_]+)|(attention\.[a-z]+|control)\.(\d{1,6})(\.scale)?)"
)


def _strangers(infos: Sequence[StepInfo], content: Tensors) -> set[str]:
    """The tensors that belong to no step, as far as this version knows."""
    parts = {str(info.index): info.parts for info in infos}
    strangers = set()
    for name in content.tensors:
        match = _NAME.fullmatch(name)
        if match is None:
            strangers.add(name)
            continue
        index, latents, part, number, scale = match.groups()
        if part is not None:
            kind = part.removeprefix("attention.")
            layers = len(content.grids.get(kind, ()))
            if int(number) >= layers or (scale and not content.is_scaled(kind)):
                strangers.add(name)
                continue
        if (part or latents) not in parts.get(index, ()):
            strangers.add(name)
    return strangers


def _shape(meta: Mapping[str, Any], batch: int) -> tuple[int, ...]:
    """[B, C, h, w] of all latents; in someone's own loop, B may exceed the settings' batch."""
    shape = meta.get("latents")
    highest = (BATCH_LIMIT, PIECE_LIMIT, SIDE_LIMIT, SIDE_LIMIT)
    if not checked.are_whole(shape, (batch, 1, 1, 1), highest):
        raise ValueError(f"latents is {reprlib.repr(shape)}")
    return tuple(shape)  # type: ignore[arg-type]


def _grids(meta: Mapping[str, Any], infos: Sequence[StepInfo]) -> dict[str, dict[str, Grid]]:
    """Kind -> layer -> its grid, for all that steps have."""
    given = checked.mapping(meta, "layers")
    layers = {kind: checked.mapping(given, kind) for kind in KINDS if kind in given}
    count = max(len(infos), 1) * sum(map(len, layers.values()))
    if count > LAYER_LIMIT:
        raise ValueError(f"its steps would have {count:,} layers")
    grids: dict[str, dict[str, Grid]] = {kind: {} for kind in layers}
    for kind, sizes in layers.items():
        for layer, grid in sizes.items():
            right = checked.are_whole(grid, (1, 1), (SIDE_LIMIT, SIDE_LIMIT))
            if not right or (kind == "cells" and grid[0] != grid[1]):
                raise ValueError(f"the size of {reprlib.repr(layer)} is {reprlib.repr(grid)}")
            grids[kind][layer] = (grid[0], grid[1])
    for part in {part for info in infos for part in info.parts} - set(LATENTS):
        if not grids.get(part.removeprefix("attention.")):
            raise ValueError(f"it lists no layers of {part}")
    return grids


# ---------------------------------------------------------------------------------------- JSON


def _settings(meta: Mapping[str, Any]) -> tuple[Settings, list[str]]:
    """(The settings, checked; the names of those that are not known.)"""
    given = older.settings_of({**meta, "settings": checked.mapping(meta, "settings")})
    known = {each.name for each in fields(Settings)}
    settings = Settings(**{name: value for name, value in given.items() if name in known})
    resolved = settings.checked()
    if settings.seed is None:  # it was not known, and none must be drawn
        resolved = replace(resolved, seed=None)
    return resolved, sorted(f"settings.{name}" for name in set(given) - known)


def _prompts(meta: Mapping[str, Any], name: str, batch: int) -> tuple[PromptTokens, ...]:
    """The prompts of a batch, one for each image; or none."""
    prompts = tuple(map(_prompt, checked.mappings(meta, name, BATCH_LIMIT)))
    if len(prompts) not in (0, batch):
        raise ValueError(f"{name} are those of {len(prompts)} images, not {batch}")
    return prompts


def _prompt(given: Mapping[str, Any]) -> PromptTokens:
    """A prompt with the places of its pieces in it."""
    prompt, pieces = checked.text(given, "prompt"), checked.texts(given, "pieces", PIECE_LIMIT)
    spans = given.get("spans")
    highest = (len(prompt), len(prompt))
    if (
        not isinstance(spans, list)
        or len(spans) != len(pieces)
        or not all(
            checked.are_whole(span, (0, 0), highest) and span[0] <= span[1] for span in spans
        )
    ):
        raise ValueError(f"spans of a prompt are {reprlib.repr(spans)}")
    return PromptTokens(
        prompt,
        pieces,
        tuple((start, end) for start, end in spans),
        checked.text(given, "cut"),
        checked.whole(given, "slots", 0, SLOT_LIMIT),
        *_reading(given, len(pieces)),
    )


def _reading(given: Mapping[str, Any], count: int) -> tuple[Any, ...]:
    """How a prompt of ``count`` pieces was read; older files have none of it."""
    places, weights = given.get("places"), given.get("weights")
    if places not in (None, []) and not checked.are_whole(
        places, (0,) * (count + 2), (SLOT_LIMIT,) * (count + 2)
    ):
        raise ValueError(f"places of a prompt are {reprlib.repr(places)}")
    if weights not in (None, []) and not (
        isinstance(weights, list)
        and len(weights) == count
        and all(checks.is_number(weight) and abs(weight) <= HEAVIEST for weight in weights)
    ):
        raise ValueError(f"weights of a prompt are {reprlib.repr(weights)}")
    learnt = checked.texts(given, "learnt", PIECE_LIMIT) if "learnt" in given else ()
    if learnt and len(learnt) != count:
        raise ValueError(f"learnt words of a prompt are {reprlib.repr(learnt)}")
    padding = checked.texts(given, "padding", ENCODER_LIMIT) if "padding" in given else ()
    return tuple(places or ()), tuple(map(float, weights or ())), learnt, padding


def _sources(meta: Mapping[str, Any]) -> tuple[Source, ...]:
    """What the model was made of; () in a file from before this was kept."""
    given = checked.mappings(meta, "sources", MOST) if "sources" in meta else []
    return tuple(map(Source.from_dict, given))


def _controls(meta: Mapping[str, Any]) -> list[GivenControl]:
    """The controls without their images; [] in a file from before there were any."""
    given = checked.mappings(meta, "controls", MOST_CONTROLS) if "controls" in meta else []
    return list(map(GivenControl.from_dict, given))


def guide_of(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """What steered the run; None where nothing did, and in older files."""
    if "guide" not in given:
        return None
    guide = checked.mapping(given, "guide")
    return {**guide, "name": checked.text(guide, "name")}


def _parent(meta: Mapping[str, Any]) -> Parent | None:
    """The run from which this one came; None for one of its own, and in older files."""
    return Parent.from_dict(checked.mapping(meta, "parent")) if "parent" in meta else None


def _columns(prompts: Sequence[PromptTokens]) -> int:
    """The fewest columns that attention has: the start, the longest prompt's pieces, the end, and
    all that follows."""
    return max((len(prompt.pieces) + 3 for prompt in prompts), default=1)


def _check_images(images: Mapping[str, Image.Image], batch: int) -> None:
    """ValueError for images that no run has together."""
    if len(_images([*images])) > batch:
        raise ValueError(f"it has {len(_images([*images]))} images of a batch of {batch}")
    image, mask = images.get("given_image"), images.get("given_mask")
    if mask is not None and (mask.mode != "L" or (image and image.size != mask.size)):
        raise ValueError("given_mask does not fit given_image")
    if len({image.size for name, image in images.items() if not _was_given(name)}) > 1:
        raise ValueError("its images differ in size")


def _picture_names(meta: Mapping[str, Any], controls: int) -> tuple[str, ...]:
    """The images that the file should have; those of the batch are images.0, images.1, ..."""
    most = BATCH_LIMIT + len(_GIVEN) + MOST_CONTROLS + MOST_NEIGHBOURS
    names = checked.texts(meta, "pictures", most)
    images = _images(names)
    fits = images == [f"images.{i}" for i in range(len(images))]
    own = {f"{_GIVEN_CONTROL}{i}" for i in range(controls)}
    followed = {name for name in names if name.startswith(_GIVEN_CONTROL)}
    near = [name for name in names if name.startswith(_GIVEN_NEIGHBOUR)]
    fits = fits and near == [f"{_GIVEN_NEIGHBOUR}{i}" for i in range(len(near))]
    if len(set(names)) < len(names) or not fits or not followed <= own:
        raise ValueError(f"pictures is {reprlib.repr(names)}")
    return names


def _images(names: Sequence[str]) -> list[str]:
    """The images of the batch; the others were given to the run."""
    return [name for name in names if not _was_given(name)]


def _was_given(name: str) -> bool:
    return name in _GIVEN or name.startswith((_GIVEN_CONTROL, _GIVEN_NEIGHBOUR))


def _stored(meta: Mapping[str, Any]) -> dict[str, Any]:
    """`Record.stored`; fields that are not known here are left out."""
    given = checked.mapping(meta, "stored")
    if given.get("precision") not in PRECISIONS:
        raise ValueError(f"precision is {reprlib.repr(given.get('precision'))}")
    errors, blocks = checked.mapping(given, "largest errors"), checked.mapping(given, "averaged")
    return {
        "precision": given["precision"],
        "largest errors": {
            name: checked.real(errors, name, 1e9) for name in _ERRORS if name in errors
        },
        "averaged": {name: checked.whole(blocks, name, 1, SIDE_LIMIT // CELLS) for name in blocks},
    }


def _sigmas(meta: Mapping[str, Any]) -> tuple[float, ...]:
    """The noise levels of the training schedule."""
    given = meta.get("schedule_sigmas")
    if not isinstance(given, list) or len(given) > STEP_LIMIT:
        raise ValueError(f"schedule_sigmas is {reprlib.repr(given)}")
    return tuple(
        checked.real({"schedule_sigmas": one}, "schedule_sigmas", SIGMA_LIMIT) for one in given
    )


def _few(names: Sequence[str], most: int = 8) -> str:
    """The first few names, each short and printable, and how many more there are."""
    shown = ", ".join(ascii(name)[1:-1][:60] for name in names[:most])
    return shown + (f" and {len(names) - most:,} more" if len(names) > most else "")
