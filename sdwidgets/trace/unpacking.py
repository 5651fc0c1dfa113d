"""A record out of the JSON and tensors of packing.py, all of it checked before it is believed.

Whatever is wrong raises ValueError with words that fit behind "it is damaged: ".
"""

from __future__ import annotations

import io
import math
import reprlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise, takewhile, zip_longest
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from ..pictures import MAX_PIXELS
from ..settings import LIMITS, Settings
from ..sources import MOST, Source
from . import checked
from .packing import CELLS, KINDS, LATENTS, MODES, PRECISIONS, Grid, Grids, block, deviation
from .record import Record
from .step import Queries, StepAttention, TraceStep
from .tokens import PromptTokens

R = TypeVar("R", bound=Record)

MEMORY_LIMIT = 4 * 10**9
"""Bytes that the arrays and images of a record may take."""
STEP_LIMIT = 10_000
LAYER_LIMIT = 10**6  # of all steps together
PIECE_LIMIT = 1_000  # of a prompt; also slots, heads, channels
SIDE_LIMIT = 4096  # of latents and maps
BATCH_LIMIT = LIMITS["batch_size"][1]
SIGMA_LIMIT = 1e6

_FIELDS = {
    "sha256", "format", "model", "task", "settings", "tokens", "negative_tokens", "expected",
    "complete", "run_seconds", "notices", "versions", "fingerprint", "prediction",
    "prediction_source", "sources", "schedule_sigmas", "latents", "layers", "steps", "pictures",
    "stored",
}  # fmt: skip
_PARTS = {*LATENTS, *(f"attention.{kind}" for kind in KINDS)}
_GIVEN = ("given_image", "given_mask")
_ERRORS = ("latents", "attention", "averaging")


def unpacked(meta: Mapping[str, Any], tensors: Mapping[str, np.ndarray], kind: type[R]) -> R:
    """The record, of class ``kind``.

    Its notices name the steps that lack a tensor and are left out, and what is not known here.
    """
    settings, unknown = _settings(meta)
    tokens = _prompts(meta, "tokens", settings.batch_size)
    negative = _prompts(meta, "negative_tokens", settings.batch_size)
    infos = [_StepInfo.of(given) for given in checked.mappings(meta, "steps", STEP_LIMIT)]
    if any(after.index <= info.index for info, after in pairwise(infos)):
        raise ValueError("its steps are out of order")
    stored = _stored(meta)
    content = _Tensors(
        tensors,
        shape=_shape(meta, settings.batch_size) if infos else (),
        grids=_grids(meta, infos),
        precision=stored["precision"],
        columns={"cross": _columns(tokens), "uncond": _columns(negative)},
    )
    pictures = _picture_names(meta)
    steps, missing = _steps(infos, content)
    images = {name: content.image(name) for name in pictures if name in tensors}
    lost = [f"step {index}" for index in missing] + [one for one in pictures if one not in tensors]
    known = {"factors", "given_latents", *pictures}.union(*map(content.names, infos))
    unknown += sorted({*meta, *tensors} - known - _FIELDS)
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
        expected=checked.whole(meta, "expected", 0, STEP_LIMIT),
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
        given_latents=content.given_latents(),
        factors=content.factors(),
        schedule_sigmas=_sigmas(meta),
        stored=stored,
        sources=_sources(meta),
    )


def _steps(
    infos: Sequence[_StepInfo], content: _Tensors
) -> tuple[tuple[TraceStep, ...], list[int]]:
    """(The whole steps, the indices of the others.) Neighbours share their latents."""
    noisy = [content.noisy(f"steps.{info.index}.x", info.sigma) for info in infos]
    steps, missing = [], []
    for info, x, after, x_after in zip_longest(infos, noisy, infos[1:], noisy[1:]):
        x_next = x_after if after is not None and after.index == info.index + 1 else None
        if "x_next" in info.parts:
            x_next = content.noisy(f"steps.{info.index}.x_next", info.sigma_next)
        if x is None or x_next is None or not content.names(info) <= content.tensors.keys():
            missing.append(info.index)
        else:
            steps.append(content.step(info, x, x_next))
    return tuple(steps), missing


# ------------------------------------------------------------------------------------ tensors


@dataclass(frozen=True)
class _StepInfo:
    """What the JSON says about one step."""

    index: int
    sigma: float
    sigma_next: float
    seconds: float | None
    parts: tuple[str, ...]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> _StepInfo:
        """The step of an entry in the JSON. ValueError if anything is missing or beyond limits."""
        parts = checked.texts(given, "parts", len(_PARTS))
        if not {"x", "denoised"} <= set(parts) <= _PARTS:
            raise ValueError(f"parts of a step are {reprlib.repr(parts)}")
        return cls(
            index=checked.whole(given, "index", 0, STEP_LIMIT - 1),
            sigma=checked.real(given, "sigma", SIGMA_LIMIT),
            sigma_next=checked.real(given, "sigma_next", SIGMA_LIMIT),
            seconds=checked.seconds(given, "seconds"),
            parts=parts,
        )


@dataclass
class _Tensors:
    """The tensors of a file as arrays and images: each checked, all within `MEMORY_LIMIT`."""

    tensors: Mapping[str, np.ndarray]
    shape: tuple[int, ...]  # of latents, [B, C, h, w]; () without steps
    grids: Grids
    precision: str
    columns: Mapping[str, int]  # kind of maps -> the fewest that fit the prompts
    left: int = MEMORY_LIMIT

    def names(self, info: _StepInfo) -> set[str]:
        """The tensors that a whole step has."""
        names = set()
        for part in info.parts:
            name, kind = f"steps.{info.index}.{part}", part.removeprefix("attention.")
            if part in LATENTS:
                names.add(name)
                continue
            layers = {f"{name}.{number}" for number in range(len(self.grids[kind]))}
            scaled = kind == "queries" or self.precision == "8-bit"
            names |= layers | ({f"{layer}.scale" for layer in layers} if scaled else set())
        return names

    def step(self, info: _StepInfo, x: np.ndarray, x_next: np.ndarray) -> TraceStep:
        """A whole step, given its latents [B, C, h, w] at both noise levels."""
        parts = {
            part: self._latents(f"steps.{info.index}.{part}")
            for part in ("denoised", "uncond", "difference")
            if part in info.parts
        }
        cond, uncond = parts.get("difference"), parts.get("uncond")
        if cond is not None and uncond is not None:
            cond = uncond + cond
        return TraceStep(
            index=info.index,
            sigma=info.sigma,
            x=x,
            denoised=parts["denoised"],
            sigma_next=info.sigma_next,
            x_next=x_next,
            attention=self._attention(info),
            cond=cond,
            uncond=uncond,
            seconds=info.seconds,
        )

    def noisy(self, name: str, sigma: float) -> np.ndarray | None:
        """The latents at that noise level; None if they are missing."""
        return self._latents(name) * deviation(sigma) if name in self.tensors else None

    def _latents(self, name: str) -> np.ndarray:
        """[B, C, h, w] float32, kept as float16."""
        self._reserve(4 * math.prod(self.shape))
        return self._take(name, np.float16, self.shape).astype(np.float32)

    def _attention(self, info: _StepInfo) -> StepAttention | None:
        """The attention of a step, of every layer; None if none was recorded."""
        kept = {
            kind: {
                layer: self._layer(f"steps.{info.index}.attention.{kind}.{number}", kind, grid)
                for number, (layer, grid) in enumerate(self.grids[kind].items())
            }
            for kind in KINDS
            if f"attention.{kind}" in info.parts
        }
        return StepAttention(**kept) if kept else None  # type: ignore[arg-type]

    def _layer(self, name: str, kind: str, grid: Grid) -> np.ndarray | Queries:
        """The attention of a layer, in the shape it has in `StepAttention`."""
        batch = self.shape[0]
        if kind == "queries":
            values = self._take(name, np.int8, (batch, *grid))
            return Queries(values, self._take(f"{name}.scale", np.float32, (batch, grid[0], 1)))
        if kind == "cells":
            return self._maps(name, (batch, grid[0]), grid[1:])
        given = self.tensors[name].shape
        heads, columns = given[1:3] if len(given) == 5 else (0, 0)
        if not (1 <= heads <= PIECE_LIMIT and self.columns[kind] <= columns <= PIECE_LIMIT + 3):
            raise ValueError(f"{name} has the shape {[*given]}")
        count = (batch, heads, columns)
        by = block(grid) if self.precision == "8-bit" else 1
        if by == 1:
            return self._maps(name, count, grid)
        self._reserve(2 * math.prod(count) * (grid[0] + by) * (grid[1] + by))
        small = self._maps(name, count, (-(-grid[0] // by), -(-grid[1] // by)))
        # back to the layer's own size, all cells of a block alike
        return small.repeat(by, axis=-2).repeat(by, axis=-1)[..., : grid[0], : grid[1]]

    def _maps(self, name: str, count: tuple[int, ...], each: tuple[int, ...]) -> np.ndarray:
        """[*count, *each] float16; of eight bits, 255 stands for the scale [*count]."""
        self._reserve(2 * math.prod(count) * math.prod(each))
        if self.precision == "float16":
            return self._take(name, np.float16, (*count, *each))
        levels = self._take(name, np.uint8, (*count, *each))
        scale = self._take(f"{name}.scale", np.float32, count)
        if scale.min() < 0 or scale.max() > np.finfo(np.float16).max:
            raise ValueError(f"{name}.scale is not within 0 and 65,504")
        return (levels * (scale / 255).reshape(*count, *(1 for _ in each))).astype(np.float16)

    def factors(self) -> np.ndarray | None:
        """[C + 1, 3] float32, for `images.preview_rgb`; None if they are missing."""
        if "factors" not in self.tensors:
            return None
        channels = len(self.tensors["factors"]) if self.tensors["factors"].ndim else 0
        if not 2 <= channels <= PIECE_LIMIT + 1:
            raise ValueError(f"factors has {channels} rows")
        return self._take("factors", np.float32, (channels, 3))

    def given_latents(self) -> np.ndarray | None:
        """[B, C, h, w] float32: the noise that the run was given; None if it was given none."""
        if not self.shape or "given_latents" not in self.tensors:
            return None
        return self._take("given_latents", np.float32, self.shape)

    def image(self, name: str) -> Image.Image:
        """An image out of its PNG, without anything else that a PNG may carry."""
        values = self.tensors[name]
        content = self._take(name, np.uint8, (values.size,)).tobytes()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's own size warning; our limit is lower
                with Image.open(io.BytesIO(content), formats=("PNG",)) as opened:
                    if opened.mode not in MODES or opened.width * opened.height > MAX_PIXELS:
                        raise ValueError(f"{opened.width} x {opened.height}, {opened.mode}")
                    self._reserve(opened.width * opened.height * len(opened.mode))
                    image = opened.copy()
        except Exception as error:  # decoders raise nearly everything on broken files
            raise ValueError(f"{name} cannot be read: {error}") from None
        image.info = {}
        return image

    def _take(self, name: str, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
        """A tensor of that type and shape, finite."""
        values = self.tensors[name]
        if values.dtype != dtype or values.shape != shape:
            raise ValueError(f"{name} is {values.dtype} {[*values.shape]}, not {[*shape]}")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"{name} has NaN or infinity")
        return values

    def _reserve(self, size: int) -> None:
        """Count bytes that are about to be allocated; ValueError beyond the limit."""
        self.left -= size
        if self.left < 0:
            raise ValueError(f"it would take more than {MEMORY_LIMIT / 1e9:g} GB of memory")


def _shape(meta: Mapping[str, Any], batch: int) -> tuple[int, ...]:
    """[B, C, h, w] of all latents; in someone's own loop, B may exceed the settings' batch."""
    shape = meta.get("latents")
    highest = (BATCH_LIMIT, PIECE_LIMIT, SIDE_LIMIT, SIDE_LIMIT)
    if not checked.are_whole(shape, (batch, 1, 1, 1), highest):
        raise ValueError(f"latents is {reprlib.repr(shape)}")
    return tuple(shape)  # type: ignore[arg-type]


def _grids(meta: Mapping[str, Any], infos: Sequence[_StepInfo]) -> dict[str, dict[str, Grid]]:
    """Kind of attention -> layer -> its grid, for all that steps have."""
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
    given = checked.mapping(meta, "settings")
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
        checked.whole(given, "slots", 0, PIECE_LIMIT + 2),
    )


def _sources(meta: Mapping[str, Any]) -> tuple[Source, ...]:
    """What the model was made of; () in a file from before this was kept."""
    given = checked.mappings(meta, "sources", MOST) if "sources" in meta else []
    return tuple(map(Source.from_dict, given))


def _columns(prompts: Sequence[PromptTokens]) -> int:
    """The fewest columns that attention has: the start, the longest prompt's pieces, the end, and
    all that follows."""
    return max((len(prompt.pieces) + 3 for prompt in prompts), default=1)


def _picture_names(meta: Mapping[str, Any]) -> tuple[str, ...]:
    """The images that the file should have; those of the batch are images.0, images.1, ..."""
    names = checked.texts(meta, "pictures", BATCH_LIMIT + len(_GIVEN))
    images = _images(names)
    if len(set(names)) < len(names) or images != [f"images.{i}" for i in range(len(images))]:
        raise ValueError(f"pictures is {reprlib.repr(names)}")
    return names


def _images(names: Sequence[str]) -> list[str]:
    """The images of the batch; the others were given to the run."""
    return [name for name in names if name not in _GIVEN]


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
