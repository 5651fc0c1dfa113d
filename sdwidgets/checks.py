"""Checks of what a person gave: each returns the value as it is used, or raises InputError.

The error names the parameter, says what is taken and what was given, in at most two short lines.
What a run is asked for is checked in settings.py, whose limits and words are its own.
"""

from __future__ import annotations

import numbers
import reprlib
from collections.abc import Sequence

from .errors import InputError


def index(name: str, value: object, count: int) -> int:
    """One of ``count`` things, from either end as in a list; returned counted from 0."""
    if count == 0:
        raise InputError(f"There is no {name}.", parameter=name)
    if not is_whole(value) or not -count <= value < count:  # type: ignore[operator]
        raise InputError(
            f"{name} must be a whole number from 0 to {count - 1}, got {shown(value)}.",
            parameter=name,
        )
    return int(value) % count  # type: ignore[call-overload, no-any-return]


def choice(name: str, value: object, known: Sequence[str]) -> str:
    """One of the texts ``known``."""
    if not isinstance(value, str) or value not in known:
        raise InputError(
            f"{name} must be one of {', '.join(map(repr, known))}, got {shown(value)}.",
            parameter=name,
        )
    return value


def whole(name: str, value: object, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``."""
    if not is_whole(value) or not low <= value <= high:  # type: ignore[operator]
        raise InputError(
            f"{name} must be a whole number from {low} to {high}, got {shown(value)}.",
            parameter=name,
        )
    return int(value)  # type: ignore[call-overload, no-any-return]


def real(name: str, value: object, low: float, high: float) -> float:
    """A number from ``low`` to ``high``, which NaN is not."""
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_real or not low <= value <= high:  # type: ignore[operator]
        raise InputError(
            f"{name} must be a number from {low:g} to {high:g}, got {shown(value)}.",
            parameter=name,
        )
    return float(value)  # type: ignore[arg-type]


def is_whole(value: object) -> bool:
    """Whether it is a whole number, of Python's or numpy's; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def shown(value: object) -> str:
    """A short text for any value, to say in an error what was given."""
    try:
        return reprlib.repr(value)
    except Exception:  # a repr of someone else's: a number of 5,000 digits raises, for one
        return f"a {type(value).__name__}"


def shortened(text: str, most: int) -> str:
    """The beginning of a text that may be very long, at most ``most`` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."
