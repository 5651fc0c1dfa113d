"""Scores: functions of a trace, by name, whose errors end nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..checks import shown
from ..errors import InputError

if TYPE_CHECKING:
    from ..trace import Trace

MOST = 50
"""The most scores of a sweep."""


def scores_of(value: Any) -> dict[str, Callable[[Trace], float]]:
    """The scores in an argument: functions by name, or a list of functions. Raises InputError."""
    if value is None:
        return {}
    if callable(value):
        value = [value]
    if isinstance(value, (list, tuple)):
        value = {getattr(each, "__name__", f"score {i}"): each for i, each in enumerate(value)}
    right = isinstance(value, Mapping) and len(value) <= MOST
    if not right or not all(isinstance(n, str) and n and callable(f) for n, f in value.items()):
        raise InputError(
            f"scores must be functions of a trace by name, got {shown(value)}.\n"
            'For example {"contrast": lambda trace: trace.image.convert("L").getextrema()[1]}.',
            parameter="scores",
        )
    return dict(value)


def scored(
    trace: Trace, scores: Mapping[str, Callable[[Trace], float]]
) -> tuple[dict[str, float], tuple[str, ...]]:
    """(The scores of a trace, notices of those that failed, which are NaN)."""
    values: dict[str, float] = {}
    notices: list[str] = []
    for name, score in scores.items():
        try:
            values[name] = float(score(trace))
        except Exception as error:
            said = " ".join(str(error).split()) or type(error).__name__
            notices.append(f"The score {name!r} failed: {said[:200]}")
            values[name] = math.nan
    return values, tuple(notices)
