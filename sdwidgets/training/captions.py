"""Captions in files: a text beside each image, or one table for all."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..strict_json import parse_object

LONGEST = 100_000  # bytes of a text beside an image
REMEDY = "Each line has the file_name of an image and its text."


def captions_beside(picture: Path) -> tuple[str, ...]:
    """The lines of the ``.txt`` file of the image's name, each a caption; () without a file.

    Raises ValueError, with a few words about what is wrong with the file.
    """
    file = picture.with_suffix(".txt")
    if not file.is_file():
        return ()
    try:
        with open(file, "rb") as opened:
            data = opened.read(LONGEST + 1)
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror or error}") from None
    if len(data) > LONGEST:
        raise ValueError(f"a caption of more than {LONGEST:,} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def captions_listed(file: Path) -> dict[str, tuple[str, ...]]:
    """The captions of each ``file_name`` in a ``.csv`` or ``.jsonl`` table: its column ``text``.

    An image in several rows has several captions. Raises InputError, with the line, for a table
    that cannot be read.
    """
    rows = {".csv": _csv_rows, ".jsonl": _json_rows}.get(file.suffix.lower())
    if rows is None:
        raise InputError(
            f"Captions come in a .csv or .jsonl file, not in {file.name!r}.", parameter="captions"
        )
    captions: dict[str, tuple[str, ...]] = {}
    try:
        for line, row in rows(file):
            name, text = (_text(line, row, column) for column in ("file_name", "text"))
            captions[name] = (*captions.get(name, ()), *([text] if text else []))
        problem = "" if captions else "it is empty"
    except OSError as error:
        problem = f"it cannot be read: {error.strerror or error}"
    except UnicodeDecodeError:
        problem = "it is not UTF-8 text"
    except ValueError as error:
        problem = str(error)
    if problem:
        raise InputError(f"{file}: {problem}.\n{REMEDY}", parameter="captions")
    return captions


def _csv_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with open(file, encoding="utf-8-sig", newline="") as lines:
        table = csv.DictReader(lines, strict=True)
        try:
            for row in table:
                if None in row:  # where DictReader puts surplus cells
                    raise csv.Error("too many cells (quote a text that has a comma)")
                yield table.line_num, row
        except csv.Error as error:
            raise ValueError(f"line {table.line_num}: {error}") from None


def _json_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with open(file, encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = parse_object(line, subject="its JSON is ")
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
            yield number, row


def _text(line: int, row: dict[str, Any], column: str) -> str:
    value = row.get(column)
    if not isinstance(value, str):
        problem = f"no {column!r}" if value is None else f"{column!r} is not a text"
        raise ValueError(f"line {line}: {problem}")
    return value.strip()
