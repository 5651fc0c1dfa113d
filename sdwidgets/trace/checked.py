"""Values out of JSON that is not trusted: each is checked, or raises ValueError with its name."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from ..settings import PROMPT_LENGTH


def mapping(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = given.get(name)
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {reprlib.repr(value)}")
    return value


def mappings(given: Mapping[str, Any], name: str, most: int) -> list[dict[str, Any]]:
    value = given.get(name)
    if (
        not isinstance(value, list)
        or len(value) > most
        or not all(isinstance(each, dict) for each in value)
    ):
        raise ValueError(f"{name} is {reprlib.repr(value)}")
    return value


def text(given: Mapping[str, Any], name: str) -> str:
    return texts({name: [given.get(name)]}, name, 1)[0]


def texts(given: Mapping[str, Any], name: str, most: int) -> tuple[str, ...]:
    value = given.get(name)
    if (
        not isinstance(value, list)
        or len(value) > most
        or not all(isinstance(each, str) and len(each) <= PROMPT_LENGTH for each in value)
    ):
        raise ValueError(f"{name} is {reprlib.repr(value)}")
    return tuple(value)


def flag(given: Mapping[str, Any], name: str) -> bool:
    value = given.get(name)
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {reprlib.repr(value)}")
    return value


def whole(given: Mapping[str, Any], name: str, low: int, high: int) -> int:
    value = given.get(name)
    if not are_whole([value], (low,), (high,)):
        raise ValueError(f"{name} is {reprlib.repr(value)}")
    return int(value)  # type: ignore[arg-type]


def are_whole(values: Any, low: Sequence[int], high: Sequence[int]) -> bool:
    """Whether it is a list of as many whole numbers, each within its limits."""
    if not isinstance(values, list) or len(values) != len(low):
        return False
    parts = zip(values, low, high, strict=True)
    return all(type(value) is int and least <= value <= most for value, least, most in parts)


def real(given: Mapping[str, Any], name: str, high: float) -> float:
    value = given.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= high:
        raise ValueError(f"{name} is {reprlib.repr(value)}")
    return float(value)


def seconds(given: Mapping[str, Any], name: str) -> float | None:
    """Seconds; None where they were not measured."""
    return None if given.get(name) is None else real(given, name, 1e9)
