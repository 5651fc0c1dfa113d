"""JSON of other programs: counted before it is parsed, and searched without trusting its shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..strict_json import parse

MOST = 50_000
"""Values in a workflow; large ones have some thousand."""


def json_object(text: str | None) -> dict[str, Any] | None:
    """The JSON object in a text; None for anything else. NaN, which ComfyUI writes, is None."""
    if text is None or not text.lstrip().startswith("{"):
        return None
    try:
        value = parse(text, most=MOST, finite=False)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def inside(value: Any, *names: str) -> Any:
    """The value under a name, or under names inside one another; None if there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def text(value: Any) -> str:
    """A text, as it is; "" for anything else."""
    return value if isinstance(value, str) else ""
