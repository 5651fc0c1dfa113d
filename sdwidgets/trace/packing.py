"""A record as JSON and small tensors, the content of a file; unpacking.py is the way back.

Tensors of step i and of layer n, in the order of the JSON's list for that kind of attention:

    steps.i.x, .denoised, .uncond, .difference, .x_next    [B, C, h, w] float16, at unit variance
    steps.i.attention.cross.n, .attention.uncond.n         [B, K, T, h, w] } float16, or uint8 and
    steps.i.attention.cells.n                              [B, N, N]       } a .scale for each map
    steps.i.attention.queries.n                            [B, N, C] int8 and a .scale [B, N, 1]
    steps.i.control.n                                      [B, K, 1, h, w], as attention; n: a level
    images.k, given_image, given_mask, given_control.k,
    given_neighbour.k                                      [bytes] uint8, a PNG
    factors                                                [C + 1, 3] float32
    given_latents                                          [B, C, h, w] float32
    given_depth                                            [H, W] float32
    given_label_map                                        [H, W] uint16

The difference is the prompt's half of guidance minus the other half. A step's x_next is normally
the next step's x, and only has a tensor of its own where it is not. The JSON lists each step's
parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from typing import Any

import numpy as np
from PIL import Image

from ..contract import IMAGE_MODES, KINDS, MAPS, RECORD
from ..sources import hashed
from . import older
from .images import encode_png
from .maps import averaged
from .record import Record
from .reel import quantised
from .step import Queries, StepAttention, TraceStep

CELLS = RECORD["cells"]
"""Along the longer side of an 8-bit map; larger maps are averaged down."""

Grid = tuple[int, int]
Grids = Mapping[str, Mapping[str, Grid]]
"""Kind -> layer -> the last two sizes of its arrays."""


def packed(record: Record, precision: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(The JSON, the tensors by name.) Raises ValueError for what cannot be kept."""
    tensors: dict[str, np.ndarray] = {}
    layers = grids_of(record.steps)
    steps = []
    for step, after in zip_longest(record.steps, record.steps[1:]):
        latents, by_layer = _latents(step, after), _by_layer(step, layers, precision)
        tensors.update(
            (f"steps.{step.index}.{name}", a) for name, a in (latents | by_layer).items()
        )
        kinds = [part for kind, part in KINDS.items() if recorded_by(step, kind)]
        steps.append(
            {
                "index": step.index,
                "sigma": float(step.sigma),
                "sigma_next": float(step.sigma_next),
                "seconds": None if step.seconds is None else float(step.seconds),
                "parts": [*latents, *kinds],
                **({} if step.draws is None else {"draws": step.draws}),
            }
        )
    pictures = {f"images.{number}": image for number, image in enumerate(record.images)}
    if record.given_image is not None:
        pictures["given_image"] = record.given_image
    if record.given_mask is not None:
        pictures["given_mask"] = record.given_mask
    for number, control in enumerate(record.given_controls):
        if control.image is not None:
            pictures[f"given_control.{number}"] = control.image
    pictures |= {f"given_neighbour.{i}": one for i, one in enumerate(record.given_neighbours)}
    tensors.update((name, _png(image, name)) for name, image in pictures.items())
    if record.factors is not None:
        tensors["factors"] = np.ascontiguousarray(record.factors, np.float32)
    if record.given_latents is not None:
        tensors["given_latents"] = np.ascontiguousarray(record.given_latents, np.float32)
    if record.given_depth is not None:
        tensors["given_depth"] = np.ascontiguousarray(record.given_depth, np.float32)
    if record.given_label_map is not None:
        tensors["given_label_map"] = np.ascontiguousarray(record.given_label_map, np.uint16)
    meta = {
        "model": record.model,
        "task": record.task,
        "settings": record.settings.as_dict(),
        "settings_format": older.FORMAT,
        "tokens": [asdict(tokens) for tokens in record.tokens],
        "negative_tokens": [asdict(tokens) for tokens in record.negative_tokens],
        "expected": record.expected,
        "complete": record.complete,
        "run_seconds": None if record.run_seconds is None else float(record.run_seconds),
        "notices": list(record.notices),
        "versions": dict(record.versions),
        "fingerprint": record.fingerprint,
        "prediction": record.prediction,
        "prediction_source": record.prediction_source,
        "sources": [source.as_dict() for source in hashed(record.sources)],
        "schedule_sigmas": list(record.schedule_sigmas),
        "latents": list(record.steps[0].x.shape) if record.steps else [],
        "layers": layers,
        "steps": steps,
        "pictures": list(pictures),
        "stored": {"precision": precision, "largest errors": {}, "averaged": {}},
    }
    if record.given_guide is not None:
        meta["guide"] = dict(record.given_guide)
    if record.given_controls:
        meta["controls"] = [control.as_dict() for control in record.given_controls]
    if record.parent is not None:
        meta["parent"] = record.parent.as_dict()
    return meta, tensors


def _latents(step: TraceStep, after: TraceStep | None) -> dict[str, np.ndarray]:
    """Part -> [B, C, h, w] float16."""
    parts = {"x": step.x / deviation(step.sigma), "denoised": step.denoised}
    if step.uncond is not None:
        parts["uncond"] = step.uncond
    if step.cond is not None:  # the difference is small: by itself it stays accurate
        parts["difference"] = step.cond if step.uncond is None else step.cond - step.uncond
    if after is None or not _follows(step, after):
        parts["x_next"] = step.x_next / deviation(step.sigma_next)
    return {part: _float16(a, f"{part} of step {step.index}") for part, a in parts.items()}


def _follows(step: TraceStep, after: TraceStep) -> bool:
    """Whether the second step begins where the first ends."""
    if (after.index, after.sigma) != (step.index + 1, step.sigma_next):
        return False
    return after.x is step.x_next or np.array_equal(after.x, step.x_next)


def deviation(sigma: float) -> float:
    """The standard deviation of ``x = x0 + sigma * noise``, for x0 of unit variance."""
    return math.sqrt(1 + sigma**2)


def _float16(values: np.ndarray, what: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        small = np.ascontiguousarray(values, np.float16)
    if not np.isfinite(small).all():
        raise ValueError(f"{what} has NaN, infinity or numbers beyond 65,504")
    return small


def recorded_by(step: TraceStep, kind: str) -> Mapping[str, Any]:
    """Layer -> what was recorded of that kind; empty if there is none."""
    if kind == "control":
        return step.control
    return getattr(step.attention or StepAttention(), kind)  # type: ignore[no-any-return]


def grids_of(steps: Sequence[TraceStep]) -> dict[str, dict[str, Grid]]:
    """Kind -> layer -> its grid, for every layer that any of the steps has."""
    grids: dict[str, dict[str, Grid]] = {}
    for step in steps:
        for kind in KINDS:
            for layer, held in recorded_by(step, kind).items():
                h, w = (held.values if isinstance(held, Queries) else held).shape[-2:]
                grids.setdefault(kind, {}).setdefault(layer, (h, w))
    return grids


def _by_layer(step: TraceStep, grids: Grids, precision: str) -> dict[str, np.ndarray]:
    """The tensors of all layers, named by kind and number."""
    tensors = {}
    for kind, part in KINDS.items():
        layers = recorded_by(step, kind)
        if layers and list(layers) != list(grids[kind]):
            raise ValueError(f"step {step.index} has maps of other layers than the rest")
        for number, held in enumerate(layers.values()):
            name = f"{part}.{number}"
            if isinstance(held, Queries):
                scale, values = held.scale.astype(np.float32), held.values.astype(np.int8)
            else:
                maps = _float16(held, f"{name} of step {step.index}")
                if precision == "float16":
                    tensors[name] = maps
                    continue
                scale, values = _levels(maps, kind)
            tensors[name] = np.ascontiguousarray(values)
            tensors[f"{name}.scale"] = np.ascontiguousarray(scale)
    return tensors


def _levels(maps: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """(scale float32, levels uint8): a scale for each map; for cells, one for each row."""
    if kind == "cells":
        scale, levels = quantised(maps[..., None, :])
        return scale, levels[..., 0, :]
    # rounded as loading rounds them, so that they stay the same when saved again
    return quantised(averaged(maps, block(maps.shape[-2:])).astype(np.float16))


def block(grid: Sequence[int]) -> int:
    """The side of the blocks that an 8-bit map averages; 1 if it keeps every cell."""
    return math.ceil(max(grid) / CELLS)


def _png(image: Image.Image, what: str) -> np.ndarray:
    if image.mode not in IMAGE_MODES:
        raise ValueError(f"{what} has the mode {image.mode}, not one of {', '.join(IMAGE_MODES)}")
    bare = image.copy()
    bare.info = {}  # may say where a photograph was taken
    return np.frombuffer(encode_png(bare), np.uint8)


def stored(record: Record, again: Record, precision: str) -> dict[str, Any]:
    """`Record.stored` of a file: ``record`` went in, ``again`` came out.

    A record that was itself loaded has errors already; they are added.
    """
    largest = {"latents": 0.0, "attention": 0.0, "averaging": 0.0}
    blocks = dict(record.stored.get("averaged", {}))
    for kind in MAPS if precision == "8-bit" else ():
        layers = grids_of(record.steps).get(kind, {})
        blocks |= {layer: block(grid) for layer, grid in layers.items() if block(grid) > 1}
    for step, other in zip(record.steps, again.steps, strict=True):
        for what, error in _errors(step, other, precision):
            largest[what] = max(largest[what], error)
    before = record.stored.get("largest errors", {})
    return {
        "precision": precision,
        "largest errors": {what: error + before.get(what, 0.0) for what, error in largest.items()},
        "averaged": blocks,
    }


def _errors(one: TraceStep, other: TraceStep, precision: str) -> Iterator[tuple[str, float]]:
    """(What, the largest absolute error) of each array of a step; latents at unit variance."""
    deviations = {"x": deviation(one.sigma), "x_next": deviation(one.sigma_next)}
    for name in ("x", "denoised", "cond", "uncond", "x_next"):
        if (values := getattr(one, name)) is not None:
            yield "latents", _largest(values, getattr(other, name)) / deviations.get(name, 1.0)
    for kind in (*MAPS, "cells"):
        for layer, maps in recorded_by(one, kind).items():
            back = recorded_by(other, kind)[layer]
            by = block(maps.shape[-2:]) if kind in MAPS and precision == "8-bit" else 1
            yield "attention", _largest(averaged(maps, by), averaged(back, by))
            if by > 1:
                yield "averaging", _largest(maps, back)


def _largest(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(np.subtract(one, other, dtype=np.float32)).max(initial=0))
