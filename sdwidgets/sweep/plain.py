"""Points and results as bytes and plain values, which travel between machines. No torch.

A point is pickled, and refused before that if it holds weights. A result comes back as a recording
(`trace.file`), numbers and texts, so what a worker sends is checked as a file is, and runs nothing.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from .. import errors
from ..checks import shortened
from ..errors import InputError, SDWidgetsError
from ..frames import without_frames
from ..settings import amount
from ..trace import Trace
from ..trace.file import from_bytes, to_bytes
from .points import Point
from .results import Result

_KINDS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, SDWidgetsError)
}

LIMIT = 64 * 2**20
"""Bytes that a group of points, or the scores of a sweep, may have. Images are most of them."""


def as_bytes(value: object, what: str) -> bytes:
    """A value as bytes that `pickle.loads` reads on another machine.

    ``what``: what it is, in words, for errors. Raises InputError for what cannot be sent: weights,
    threads, open files, or more than `LIMIT`.
    """
    from cloudpickle import Pickler

    torch = sys.modules.get("torch")
    weights: tuple[type, ...] = () if torch is None else (torch.Tensor, torch.nn.Module)

    class Sender(Pickler):  # type: ignore[misc, valid-type]
        def reducer_override(self, found: Any) -> Any:
            if isinstance(found, weights):
                raise _Weights(type(found).__name__)
            return super().reducer_override(found)

    buffer = io.BytesIO()
    try:
        Sender(buffer).dump(value)
    except _Weights as refused:
        why = f"it holds weights (a {refused})"
        remedy = "Name models and ControlNets by their paths: each worker reads its own."
    except RecursionError:
        why, remedy = "it is nested too deeply", "Give plain values and functions of a module."
    except InputError as error:  # a manager, a widget
        why, remedy = _line(error), "Leave it out of what is sent."
    except Exception as error:  # what pickling raises depends on what is pickled
        why, remedy = _line(error), "Give plain values, and functions of a module or a notebook."
    else:
        content = buffer.getvalue()
        if len(content) <= LIMIT:
            return content
        why = f"it has {amount(len(content))}; the limit is {amount(LIMIT)}"
        remedy = "Give smaller images, and functions that hold no data."
    raise InputError(f"{what} cannot be sent to a worker: {why}.\n{remedy}")


class _Weights(Exception):
    pass


def as_plain(result: Result) -> dict[str, Any]:
    """A result as numbers, texts and the bytes of a recording."""
    record, error = result.record, result.error
    content: bytes | None = None
    if record is not None:
        try:
            content = to_bytes(record)
        except InputError as failure:
            error = failure
    return {
        "index": result.index,
        "record": content,
        "scores": {str(name): float(score) for name, score in result.scores.items()},
        "error": None if error is None else plain_error(error),
        "seconds": float(result.seconds),
        "made": int(result.made),
        "shared": int(result.shared),
        "notices": [str(notice) for notice in result.notices],
    }


def from_plain(plain: Mapping[str, Any], point: Point) -> Result:
    """The result that `as_plain` was given, of a point that is here. Raises InputError."""
    record, error = plain["record"], plain["error"]
    return Result(
        point,
        None if record is None or error else from_bytes(record, Trace),
        {str(name): float(score) for name, score in plain["scores"].items()},
        None if error is None else error_of(error),
        float(plain["seconds"]),
        int(plain["made"]),
        int(plain["shared"]),
        tuple(str(notice) for notice in plain["notices"]),
    )


def plain_error(error: BaseException) -> list[str | None]:
    """[The name of its class, its message, its parameter]. Removes the error's frames."""
    without_frames(error)
    if isinstance(error, SDWidgetsError):
        return [type(error).__name__, str(error), getattr(error, "parameter", None)]
    return ["", f"{type(error).__name__}: {_line(error)}", None]


def error_of(plain: Sequence[str | None]) -> SDWidgetsError:
    """The error that `plain_error` was given; ``SDWidgetsError`` for one that is not of ours."""
    name, message, parameter = plain
    error = _KINDS.get(str(name), SDWidgetsError)(str(message))
    if parameter is not None and isinstance(error, InputError):
        error.parameter = parameter
    return error


def _line(error: BaseException) -> str:
    """The first line of an error's text, not too long, without its full stop."""
    try:
        text = str(error)
    except Exception:  # somebody's __str__
        text = "an error that cannot be shown"
    first = next(iter(text.splitlines()), "") or type(error).__name__
    return shortened(first, 200).rstrip(".")
