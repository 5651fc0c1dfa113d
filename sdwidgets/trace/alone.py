"""The record of one image of a batch, as if it had been made alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from .. import checks
from .record import Record
from .step import Maps, Queries, StepAttention, TraceStep

R = TypeVar("R", bound=Record)
S = TypeVar("S", bound=Any)  # a `TraceStep`, or a `Step` of a run


def alone(record: R, picture: int) -> R:
    """Return the record of the image with that index. It shares no arrays with the batch's.

    Raises InputError for an image that is not there.
    """
    picture = checks.index("picture", picture, record.batch_size)
    settings = record.settings.of_picture(picture)
    own = {
        name: getattr(record, name)[picture : picture + 1]
        for name in ("tokens", "negative_tokens", "images")
    }
    pieces, uncond = (
        len(prompts[0].pieces) if prompts else None
        for prompts in (own["tokens"], own["negative_tokens"])
    )
    noise = record.given_latents
    steps: list[TraceStep] = []
    for number, step in enumerate(record.steps):
        follows = number > 0 and step.x is record.steps[number - 1].x_next
        steps.append(step_of(step, picture, pieces, uncond, steps[-1] if follows else None))
    return replace(
        record,
        settings=settings,
        steps=tuple(steps),
        given_latents=None if noise is None else _row(noise, picture),
        parent=None if record.parent is None else record.parent.of_picture(picture),
        **own,
    )


def step_of(
    step: S,
    picture: int,
    pieces: int | None,
    uncond_pieces: int | None,
    before: S | None,
) -> S:
    """The step of one image, recorded or just made; its x is the x_next of ``before``, if given.

    ``pieces``: those of its prompt, and ``uncond_pieces`` of its negative prompt; None keeps the
    columns of attention that longer prompts of the batch have.
    """
    attention = step.attention
    if attention is not None:
        attention = StepAttention(
            cross=_maps(attention.cross, picture, pieces),
            uncond=_maps(attention.uncond, picture, uncond_pieces),
            cells=_rows(attention.cells, picture),
            queries={
                name: Queries(_row(values, picture), _row(scale, picture))
                for name, (values, scale) in attention.queries.items()
            },
        )
    return replace(
        step,
        x=_row(step.x, picture) if before is None else before.x_next,
        denoised=_row(step.denoised, picture),
        x_next=_row(step.x_next, picture),
        cond=None if step.cond is None else _row(step.cond, picture),
        uncond=None if step.uncond is None else _row(step.uncond, picture),
        attention=attention,
        control=_rows(step.control or {}, picture),
    )


def _row(values: Any, picture: int) -> Any:
    """The row of an array or a tensor, with memory of its own."""
    row = values[picture : picture + 1]
    return row.copy() if isinstance(row, np.ndarray) else row.clone()


def _rows(maps: Mapping[str, np.ndarray], picture: int) -> dict[str, np.ndarray]:
    return {name: _row(values, picture) for name, values in maps.items()}


def _maps(maps: Maps, picture: int, pieces: int | None) -> Maps:
    """The maps of one image, without the columns of longer prompts of the batch."""
    rows = _rows(maps, picture)
    if pieces is None:
        return rows
    return {
        name: np.concatenate([values[:, :, : pieces + 2], values[:, :, -1:]], axis=2)
        for name, values in rows.items()
    }
