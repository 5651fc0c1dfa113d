"""Checks of arguments: each returns the value as it is used, or raises InputError.

The error names the parameter, what is accepted and what was given, in at most two short lines. The
settings of a run are checked in settings.py.
"""

from __future__ import annotations

import math
import numbers
import os
import re
import reprlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from .errors import InputError

T = TypeVar("T")


def index(name: str, value: object, count: int) -> int:
    """Return the index of one of ``count`` items, 0 or more; negative ones count from the end."""
    if count == 0:
        raise InputError(f"There is no {name}.", parameter=name)
    if not is_whole(value) or not -count <= value < count:  # type: ignore[operator]
        raise InputError(
            f"{name} must be a whole number from 0 to {count - 1}, got {shown(value)}.",
            parameter=name,
        )
    return int(value) % count  # type: ignore[call-overload, no-any-return]


def choice(name: str, value: object, known: Sequence[str]) -> str:
    """Return ``value`` if it is one of ``known``."""
    if not isinstance(value, str) or value not in known:
        raise InputError(
            f"{name} must be one of {', '.join(map(repr, known))}, got {shown(value)}.",
            parameter=name,
        )
    return value


def whole(name: str, value: object, low: int, high: int) -> int:
    """Return ``value`` if it is a whole number from ``low`` to ``high``."""
    if not is_whole(value) or not low <= value <= high:  # type: ignore[operator]
        raise InputError(
            f"{name} must be a whole number from {low} to {high}, got {shown(value)}.",
            parameter=name,
        )
    return int(value)  # type: ignore[call-overload, no-any-return]


def real(name: str, value: object, low: float, high: float) -> float:
    """Return ``value`` as a float if it is a number from ``low`` to ``high``; NaN is not."""
    if is_number(value) and low <= value <= high:  # type: ignore[operator]
        with suppress(OverflowError):  # whole numbers may be beyond floats
            return float(value)  # type: ignore[arg-type]
    limits = f"{low:g} or more" if math.isinf(high) else f"from {low:g} to {high:g}"
    raise InputError(f"{name} must be a number {limits}, got {shown(value)}.", parameter=name)


def typed(name: str, value: T, kinds: type | tuple[type, ...], said: str) -> T:
    """Return ``value`` if it is of that type, or of one of these; ``said`` is what it must be."""
    if not isinstance(value, kinds):
        raise InputError(f"{name} must be {said}, got {shown(value)}.", parameter=name)
    return value


def able(name: str, value: T, member: str, said: str) -> T:
    """Return ``value`` if it has that member; ``said`` is what it must be."""
    if isinstance(value, type) or not hasattr(value, member):
        raise InputError(f"{name} must be {said}; got {shown(value)}.", parameter=name)
    return value


def path(name: str, value: object) -> Path:
    """Return ``value`` as a path if it is a text or a path; nothing has to exist there.

    "~" is the user's own folder.
    """
    try:
        found = os.fspath(value)  # type: ignore[call-overload]
        os.fsencode(found)  # fails for half a character
    except Exception:  # __fspath__ may raise anything
        found = None
    if not isinstance(found, str) or "\0" in found:
        raise InputError(
            f"{name} must be the path of a file or folder, got {shown(value)}.", parameter=name
        )
    try:
        return Path(found).expanduser()
    except RuntimeError:  # of a user who is not known here
        return Path(found)


def flag(name: str, value: object) -> bool:
    """Return ``value`` if it is True or False."""
    if not isinstance(value, bool):
        raise InputError(f"{name} must be True or False, got {shown(value)}.", parameter=name)
    return value


def function(name: str, value: object) -> None:
    """Check that ``value`` can be called, or is None."""
    if value is not None and not callable(value):
        raise InputError(f"{name} must be a function, got {shown(value)}.", parameter=name)


def instance(name: str, value: object, kind: type, example: str) -> None:
    """Check that ``value`` is of the class; ``example`` says how to get such an object."""
    if not isinstance(value, kind):
        raise InputError(
            f"{name} must be a {kind.__name__}, got {shown(value)}.\n{example}", parameter=name
        )


def whole_text(name: str, value: str) -> str:
    """Return the text if all of its characters are whole: UTF-8 has no lone surrogates."""
    half = re.search("[\ud800-\udfff]", value)
    if half:
        raise InputError(
            f"{name} has half a character (a lone surrogate, U+{ord(half[0]):04X}) "
            f"at position {half.start()}.\nType or paste that character again.",
            parameter=name,
        )
    return value


def is_whole(value: object) -> bool:
    """Whether ``value`` is an integer, Python's or numpy's; True and False are not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether ``value`` is a real number, Python's or numpy's; True and False are not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def shown(value: object) -> str:
    """A short text in one line for any value, to show in an error what was given."""
    try:
        return shortened(" ".join(reprlib.repr(value).split()), 200)
    except Exception:  # reprs may fail: that of a number with 5,000 digits does
        return f"a {type(value).__name__}"


def shortened(text: str, most: int) -> str:
    """The text, cut to at most ``most`` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."
