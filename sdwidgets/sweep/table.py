"""A sweep as a table, a row for each result: settings, scores, and what became of it."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from .. import checks
from ..errors import InputError
from ..settings import Settings
from ..trace.writing import write_file
from .plan import Plan
from .results import Result

Row = dict[str, Any]


def rows(plan: Plan, results: Iterable[Result]) -> list[Row]:
    """A dictionary for each result, all with the same names, in grid order.

    First its ``index``, its value on each axis, and the model; then every setting of its run, the
    scores by name, its ``error`` as text (None if there is an image), ``seconds``, the steps that
    were ``made`` for it and that were ``shared``, and the name of its ``file`` on disk. Values are
    plain: numbers, texts and None; those of several parts are JSON.
    """
    ordered = sorted(results, key=lambda result: result.index)
    scores = list(dict.fromkeys(name for result in ordered for name in result.scores))
    return [_row(plan, result, scores) for result in ordered]


def _row(plan: Plan, result: Result, scores: Sequence[str]) -> Row:
    settings, point = result.settings, result.point
    row: Row = {}
    for axis, at in zip(plan.axes, result.place, strict=True):
        value = axis.values[at]
        row[axis.key] = axis.labels[at] if axis.name in ("image", "loras") else _cell(value)
    own = {each.name: _cell(getattr(settings, each.name)) for each in fields(Settings)}
    asked = {name: value for name, value in row.items() if value is not None}
    row = {"index": result.index, "model": point.model, **row, **own, **asked}
    for name in scores:
        key = name if name not in row else f"score {name}"
        row[key] = result.scores.get(name, math.nan)
    row |= {
        "from_step": point.from_step,
        "error": None if result.error is None else str(result.error),
        "seconds": result.seconds,
        "steps_made": result.made,
        "steps_shared": result.shared,
        "file": None if result.path is None else result.path.name,
    }
    return row


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return json.dumps(value, default=str)


def to_csv(table: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> Path:
    """Write rows as CSV, in UTF-8, whole or not at all; return the path. None is an empty field.

    Raises InputError.
    """
    path = checks.path("path", path)
    _check(table)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return write_file(path, text.getvalue().encode())


def to_parquet(table: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> Path:
    """Write rows as Parquet, whole or not at all; return the path. A column has a single type: a
    mixed one has texts.

    Needs pyarrow. Raises InputError.
    """
    path = checks.path("path", path)
    _check(table)
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        missing = True
    else:
        missing = False
    if missing:
        raise InputError(
            "Parquet needs pyarrow, which is not installed.\n"
            "pip install 'sdwidgets[parquet]', or write a .csv file.",
            parameter="path",
        )
    columns = {name: pyarrow.array(_column([row[name] for row in table])) for name in table[0]}
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), buffer)
    return write_file(path, buffer.getvalue())


def _column(values: list[Any]) -> list[Any]:
    """Values of a single type, and None."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and len(kinds) == 2:
        return [None if value is None else float(value) for value in values]
    if len(kinds) > 1:
        return [None if value is None else str(value) for value in values]
    return values


def _check(table: Sequence[Any]) -> None:
    if not table:
        raise InputError("There are no results yet, so there is no table.")
