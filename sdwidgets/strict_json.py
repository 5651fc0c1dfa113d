"""A strict JSON reader for files that are not trusted. Its errors name the place."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

DIGITS = 40
"""The most characters of a whole number. Every such number is a finite float, too."""

# Only numbers like these can be too large. Looking for them is quicker than checking each number.
_LARGE = re.compile(rf"\d{{{DIGITS}}}|\d[eE]\+?\d{{3}}")


def parse_object(
    text: str | bytes, *, subject: str = "", most: int | None = None
) -> dict[str, Any]:
    """Return a JSON object, as `parse`. Raises ``ValueError`` for any other value."""
    value = parse(text, subject=subject, most=most)
    if not isinstance(value, dict):
        raise ValueError(f"{subject}not an object")
    return value


def parse(
    text: str | bytes, *, subject: str = "", most: int | None = None, finite: bool = True
) -> Any:
    """Return a JSON value without duplicate names and with finite numbers only.

    Raises ``ValueError`` for anything else, with the line and the column if there is one. Messages
    about the text as a whole begin with ``subject``, such as "its JSON is ". ``most`` limits the
    number of values in all objects and lists, which is checked before any of them is made. Without
    ``finite``, NaN and Infinity, which are no JSON but which some programs write, become None.
    """
    if isinstance(text, bytes):
        text = _decoded(text, subject)
    if most is not None:
        _check_count(text, most, subject)

    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
            raise ValueError(f"a name appears in it twice: {_short(twice)}")
        return result

    def refuse(constant: str) -> None:
        if not finite:
            return
        raise ValueError(f"{constant} is not a JSON number ({_place_of(text, constant)})")

    def whole(number: str) -> int:
        if len(number) > DIGITS:
            raise ValueError(f"a number has {len(number):,} characters ({_place_of(text, number)})")
        return int(number)

    def real(number: str) -> float:
        if not math.isfinite(value := float(number)):
            raise ValueError(f"{number[:DIGITS]} is too large ({_place_of(text, number)})")
        return value

    large = _LARGE.search(text) is not None
    try:
        return json.loads(
            text,
            object_pairs_hook=no_duplicates,
            parse_constant=refuse,
            parse_int=whole if large else None,
            parse_float=real if large else None,
        )
    except RecursionError:
        raise ValueError(f"{subject}nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(_what_is_wrong(error)) from None


def _decoded(text: bytes, subject: str) -> str:
    try:
        return text.decode(json.detect_encoding(text)).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(f"{subject}not UTF-8 (byte {error.start:,})") from None


def _check_count(text: str, most: int, subject: str) -> None:
    """Raise ``ValueError`` for more than ``most`` values, which the commas between them tell."""
    if text.count(",") < most:  # also counts commas in strings, and is quick
        return
    quotes = _without_escapes(text).count('"')  # a value has at most a name and a string
    if quotes > 4 * most + 4 or sum(part.count(",") for _, part in _outside_strings(text)) >= most:
        raise ValueError(f"{subject}too long: it has more than {most:,} values")


def _what_is_wrong(error: json.JSONDecodeError) -> str:
    """Return the parser's error, in the same words in all versions of Python."""
    text, index = error.doc, error.pos
    before, after = text[:index].rstrip(), text[index + 1 : index + 1000].lstrip()
    if text[index : index + 1] in ("}", "]") and before.endswith(","):
        return f"a comma before {text[index]} ({_place(text, len(before) - 1)})"
    if text[index : index + 1] == "," and after[:1] in ("}", "]"):  # since Python 3.13
        return f"a comma before {after[0]} ({_place(text, index)})"
    if index >= len(text.rstrip()):
        return f"it ends too early ({_place(text, index)})"
    return f"{error.msg[0].lower()}{error.msg[1:]} ({_place(text, index)})"


def _without_escapes(text: str) -> str:
    """Return the text at its length, with no quote that does not begin or end a string."""
    return text.replace("\\\\", "__").replace('\\"', "__")


def _outside_strings(text: str) -> Iterator[tuple[int, str]]:
    """Yield (index, text) of the parts of a JSON text between its strings."""
    index = 0
    for number, part in enumerate(_without_escapes(text).split('"')):
        if number % 2 == 0:
            yield index, part
        index += len(part) + 1


def _place_of(text: str, literal: str) -> str:
    """Return the place where ``literal`` first stands outside of strings."""
    places = (
        index + part.find(literal) for index, part in _outside_strings(text) if literal in part
    )
    return _place(text, next(places, 0))


def _place(text: str, index: int) -> str:
    if "\n" not in text.strip():
        return f"character {index + 1:,}"
    line, column = text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)
    return f"line {line:,}, column {column:,}"


def _short(name: str, most: int = 40) -> str:
    return ascii(name if len(name) <= most else name[: most - 3] + "...")
