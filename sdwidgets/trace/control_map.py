"""Where controls acted: maps of how much they added, beside what they added it to. No torch."""

from __future__ import annotations

import numpy as np

from .. import checks
from ..errors import InputError
from .maps import heat_map, stretched
from .recipe import labels
from .record import Record, StepNumbers

LARGEST = 1000.0
"""The largest value that is recorded."""


def control_map(
    record: Record,
    level: str | int | None = None,
    step: StepNumbers = None,
    *,
    control: int = 0,
    picture: int = 0,
    scale: str = "raw",
) -> np.ndarray:
    """[H, W] float32: how much a control added; see `Trace.control_map`."""
    checks.choice("scale", scale, ("raw", "picture"))
    steps = [one for one in record.steps if one.control]
    if not steps:
        raise InputError(
            "This run was not controlled.\nGenerate with control=sdwidgets.Control(net, picture)."
        )
    if step is not None:
        steps = [one for one in record.chosen_steps(step) if one.control]
        if not steps:
            raise InputError("No control is recorded for this step.", parameter="step")
    first = steps[0].control
    names, count = list(first), next(iter(first.values())).shape[1]
    chosen = names if level is None else [_level(level, names)]
    heat = heat_map(
        [one.control for one in steps],
        [0],
        (record.size[1], record.size[0]),
        layers=chosen,
        picture=checks.index("picture", picture, record.batch_size),
        head=checks.index("control", control, count),
    )
    return stretched(heat) if scale == "picture" else heat


def _level(level: str | int, names: list[str]) -> str:
    """The level of that name, number or label."""
    if isinstance(level, str):
        known = dict(zip(labels(names), names, strict=True)) | {name: name for name in names}
        if level not in known:
            raise InputError(
                f"There is no level {checks.shown(level)}.\nLevels: {', '.join(labels(names))}.",
                parameter="level",
            )
        return known[level]
    return names[checks.index("level", level, len(names))]
