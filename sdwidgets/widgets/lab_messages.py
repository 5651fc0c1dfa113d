"""The messages of the lab's page, checked: nothing in them is trusted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .. import checks
from ..contract import TOUCHED
from ..errors import InputError
from .upload import Part


class Command(NamedTuple):
    """What to do, and with which values."""

    kind: str
    values: tuple[Any, ...] = ()


def understood(message: Any, buffers: Sequence[Any] | None) -> Command:
    """What a message asks for. Raises ``InputError`` for a message that our page never sends."""
    if not isinstance(message, dict):
        raise InputError("A message is an object.")
    kind = checks.choice("kind", message.get("kind"), list(_KINDS))
    return Command(kind, _KINDS[kind](message, tuple(buffers or ())))


def _file(message: dict[str, Any], buffers: Sequence[Any]) -> tuple[Any, ...]:
    return (Part.of(message, buffers),)


def _sample(message: dict[str, Any], _: Sequence[Any]) -> tuple[Any, ...]:
    name = message.get("name")
    if not isinstance(name, str):
        raise InputError("A sample has a name.", parameter="name")
    return name, message.get("second") is True


def _edit(message: dict[str, Any], _: Sequence[Any]) -> tuple[Any, ...]:
    from ..lab.edits import from_json

    value = message.get("edit")
    edit = from_json(value)
    return edit, isinstance(value, dict) and value.get("live") is True


def _touch(message: dict[str, Any], _: Sequence[Any]) -> tuple[Any, ...]:
    of = checks.choice("of", message.get("of"), TOUCHED)
    x, y = (checks.whole(name, message.get(name), 0, 2**16) for name in ("x", "y"))
    return of, x, y


def _nothing(message: dict[str, Any], _: Sequence[Any]) -> tuple[Any, ...]:
    return ()


_KINDS: dict[str, Callable[[dict[str, Any], Sequence[Any]], tuple[Any, ...]]] = {
    "file": _file,
    "sample": _sample,
    "edit": _edit,
    "touch": _touch,
    "undo": _nothing,
    "redo": _nothing,
    "reset": _nothing,
    "swap": _nothing,
    "send": _nothing,
}
