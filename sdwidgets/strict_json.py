"""JSON out of files that are not trusted, read strictly."""

from __future__ import annotations

import json
from typing import Any


def parse_object(text: str | bytes, *, subject: str = "") -> dict[str, Any]:
    """A JSON object in which no name stands twice and every number is one.

    Whatever is wrong is a ``ValueError``; of the whole it is said behind ``subject``, as in
    "its JSON is ".
    """

    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a name stands in it twice")
        return result

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON number")

    try:
        value = json.loads(text, object_pairs_hook=no_duplicates, parse_constant=refuse)
    except RecursionError:
        raise ValueError(f"{subject}nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"{subject}not an object")
    return value
