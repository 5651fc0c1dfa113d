"""Records in files, ``.sdtrace``: written whole or not at all, and not trusted when read.

sealed.py says what the file is, packing.py what is in it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from .. import checks
from ..contract import PRECISIONS
from ..errors import InputError
from .packing import packed, stored
from .record import Record
from .sealed import RECORDING, as_json, read, read_bytes, refusing, sealed, sentence, write
from .unpacking import R, unpacked


def save(record: Record, path: str | os.PathLike[str], *, precision: str = "8-bit") -> Path:
    """Write a record into one file that `load` reads; return its path.

    Latents are kept as float16 at unit variance, with an error of at most 1/2048 of each value (for
    the prompt's half of guidance, of the two terms it is kept as). Images are kept exactly.

    ``precision`` is that of attention. "float16" keeps it as recorded. "8-bit" has an error of at
    most 1/510 of a map's greatest value (in self-attention, a row's) plus 1/2048 of the value; maps
    of more than 32 cells along a side become the means of blocks, with at most 32 left.

    The largest errors are measured and kept in `Record.stored`: "latents" at unit variance;
    "attention"; and "averaging", how far a cell is from its block's mean. Saving a loaded record
    again in the same precision adds no error.

    Everything is read back before the file is touched, and an older file of that name stays until
    the new one is on the disk. A new file is for its owner alone, since a recording is private; a
    file that replaces another keeps its permissions. A symbolic link is replaced, not followed.
    Raises InputError for what cannot be kept or written.
    """
    path = checks.path("path", path)
    return write(path, to_bytes(record, precision=precision))


def to_bytes(record: Record, *, precision: str = "8-bit") -> bytes:
    """What `save` writes, for `from_bytes`. Raises InputError for what cannot be kept."""
    precision = checks.choice("precision", precision, PRECISIONS)
    try:
        meta, tensors = packed(record, precision)
        again = unpacked(json.loads(as_json(meta)), tensors, Record)
        meta["stored"] = stored(record, again, precision)
        return sealed(RECORDING, meta, tensors)
    except (TypeError, ValueError) as error:
        raise InputError(f"This record cannot be saved: {sentence(error)}") from error


def load(path: str | os.PathLike[str], kind: type[R]) -> R:
    """The record in a file that `save` wrote, as ``kind``, `Record` or a class made from it.

    Needs neither torch nor a model. A symbolic link is followed. Missing steps, and additions by a
    newer version, are left out, and `Record.notices` says so. Raises InputError for a file that is
    otherwise not as it was written.
    """
    path = checks.path("path", path)
    with refusing(path):
        return unpacked(*read(RECORDING, path), kind)


def from_bytes(content: bytes, kind: type[R]) -> R:
    """The record in what `to_bytes` returned, checked as by `load`. Raises InputError."""
    with refusing(None):
        return unpacked(*read_bytes(RECORDING, content), kind)
