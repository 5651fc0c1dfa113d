"""A strict JSON reader for files that are not trusted."""

from __future__ import annotations

import json
from typing import Any


def parse_object(text: str | bytes, *, subject: str = "") -> dict[str, Any]:
    """Parse a JSON object without duplicate names, NaN or infinity.

    Raises ``ValueError`` for anything else. Messages about the text as a whole begin with
    ``subject``, such as "its JSON is ".
    """

    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a name appears in it twice")
        return result

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not a JSON number")

    try:
        value = json.loads(text, object_pairs_hook=no_duplicates, parse_constant=refuse)
    except RecursionError:
        raise ValueError(f"{subject}nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"{subject}not an object")
    return value
