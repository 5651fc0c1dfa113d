"""Records in files, ``.sdtrace``: written whole or not at all, and not trusted when read.

It is a safetensors file (https://github.com/huggingface/safetensors, "Format"): 8 bytes with the
length of the header, little endian; the header, JSON; the tensors' bytes. The header's metadata
have a text "sdtrace", also JSON. Its first field, "sha256", is the digest of the whole file with 64
zeros in place of the digest. packing.py describes the rest of it and the tensors.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import reprlib
import stat
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks
from ..contract import PRECISIONS, RECORD
from ..errors import InputError
from ..settings import amount
from ..strict_json import parse_object
from ..untrusted import PREFIX, NotRegular, format_of, open_regular
from .packing import packed, stored
from .record import Record
from .unpacking import R, unpacked
from .writing import write_file

FORMAT = RECORD["format"]
"""Grows when older versions would misread a file; additions that they can ignore do not count."""
FILE_LIMIT = RECORD["file"]  # bytes
HEADER_LIMIT = RECORD["header"]
TENSOR_LIMIT = RECORD["tensors"]
VALUE_LIMIT = RECORD["values"]  # in the header's JSON
OWNER_ONLY = 0o600
"""Permissions of a new file: a recording is private."""

_NO_DIGEST = "0" * 64
_JSON = "its JSON is "  # the start of an error about it
_BEFORE_DIGEST = b'"sdtrace":"{\\"sha256\\":\\"'  # nothing else in a header has it with bare quotes


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
    precision = checks.choice("precision", precision, PRECISIONS)
    try:
        meta, tensors = packed(record, precision)
        again = unpacked(json.loads(_json(meta)), tensors, Record)
        meta["stored"] = stored(record, again, precision)
        content = _sealed(meta, tensors)
    except (TypeError, ValueError) as error:
        raise InputError(f"This record cannot be saved: {_sentence(error)}") from error
    return write_file(path, content, mode=_permissions(path))


def load(path: str | os.PathLike[str], kind: type[R]) -> R:
    """The record in a file that `save` wrote, as ``kind``, `Record` or a class made from it.

    Needs neither torch nor a model. A symbolic link is followed. Missing steps, and additions by a
    newer version, are left out, and `Record.notices` says so. Raises InputError for a file that is
    otherwise not as it was written.
    """
    path = checks.path("path", path)
    try:
        return unpacked(*_unsealed(*_read(path)), kind)
    except _Unreadable as error:
        message = f"{_shown(path)} {error}."
    except ValueError as error:
        message = f"{_shown(path)} is damaged: {_sentence(error)}\nTake another copy of it."
    except OSError as error:
        message = f"{_shown(path)} cannot be read: {error.strerror or error}."
    raise InputError(message, parameter="path")


class _Unreadable(ValueError):
    """Its text fits behind the name of the file."""


def _shown(path: str | os.PathLike[str]) -> str:
    return repr(os.fspath(path))


def _sentence(error: Exception) -> str:
    """An error's text, cut to two lines, with a full stop."""
    return "\n".join(str(error).splitlines()[:2]).rstrip(".") + "."


def _json(meta: dict[str, Any]) -> str:
    return json.dumps(meta, allow_nan=False, separators=(",", ":"))


# -------------------------------------------------------------------------------------- writing


def _permissions(path: str | os.PathLike[str]) -> int:
    """The permissions for a file written to this path."""
    try:
        before = os.lstat(path).st_mode
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return OWNER_ONLY
    return stat.S_IMODE(before) if stat.S_ISREG(before) else OWNER_ONLY


def _sealed(meta: dict[str, Any], tensors: dict[str, np.ndarray]) -> bytes:
    """The bytes of the file."""
    from safetensors.numpy import save as to_bytes

    text = _json({"sha256": _NO_DIGEST, "format": FORMAT, **meta})
    content = to_bytes(tensors, metadata={"sdtrace": text})
    header = int.from_bytes(content[:8], "little")
    if header > HEADER_LIMIT or len(content) > FILE_LIMIT or len(tensors) > TENSOR_LIMIT:
        raise ValueError(
            f"it would have {amount(len(content))} with a header of {amount(header)};\n"
            f"at most {amount(FILE_LIMIT)} and {amount(HEADER_LIMIT)} can be read again"
        )
    digest = _digest(content)
    start = _digest_place(content)
    return b"".join((content[:start], digest.encode(), content[start + len(digest) :]))


def _digest_place(content: bytes) -> int:
    """Where the digest begins. Raises _Unreadable if there is none."""
    header = int.from_bytes(content[:8], "little")
    start = content.find(_BEFORE_DIGEST, 8, 8 + header)
    if start < 0:
        raise _Unreadable("is a safetensors file, but not a recording")
    return start + len(_BEFORE_DIGEST)


def _digest(content: bytes) -> str:
    start = _digest_place(content)
    view = memoryview(content)
    digest = hashlib.sha256(view[:start])
    digest.update(_NO_DIGEST.encode())
    digest.update(view[start + len(_NO_DIGEST) :])
    return digest.hexdigest()


# -------------------------------------------------------------------------------------- reading


def _read(path: Path) -> tuple[bytes, dict[str, Any]]:
    """(The whole content, its header), read only if its start promises a record of that size."""
    try:
        file = BufferedReader(open_regular(path))
    except NotRegular as error:
        raise _Unreadable(f"is {error}, not a recording") from None
    with file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(PREFIX)
        length = int.from_bytes(start[:8], "little")
        if start[8:9] != b"{" or length > min(HEADER_LIMIT, size - 8):
            raise _Unreadable(_why_not(start, size, length))
        if size > FILE_LIMIT:
            raise _Unreadable(f"has {size:,} bytes; a recording has at most {FILE_LIMIT:,}")
        header = start + file.read(max(8 + length - len(start), 0))
        _digest_place(header)
        if header.count(b'"data_offsets"') > TENSOR_LIMIT or header.count(b",") > VALUE_LIMIT:
            raise _Unreadable("has more parts than any recording")  # before parsing creates them
        parsed = parse_object(header[8 : 8 + length], subject=_JSON)
        promised = 8 + length + _body(parsed)
        if promised != size:
            what = "is cut" if size < promised else "is damaged"
            raise _Unreadable(f"{what}: it has {size:,} bytes, its header promises {promised:,}")
        return header + file.read(size - len(header)), parsed


def _why_not(start: bytes, size: int, length: int) -> str:
    """What a file is, in words, if it does not begin as safetensors files do."""
    # A cut recording first: its eight bytes of length may look like the start of anything.
    if start[8:10] == b'{"' and length <= HEADER_LIMIT:
        return f"is cut: it has {size:,} bytes, its header alone {length:,}"
    if what := format_of(start):
        hint = " (read_settings reads those)" if what == "a PNG image" else ""
        return f"is {what}{hint}, not a recording"
    return f"is not a recording: its {size:,} bytes begin otherwise"


def _body(header: dict[str, Any]) -> int:
    """The bytes that the tensors of a header take."""
    tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
    try:
        return int(max((tensor["data_offsets"][1] for tensor in tensors), default=0))
    except (LookupError, TypeError, ValueError, OverflowError):
        raise ValueError("its header does not say where a tensor is") from None


def _unsealed(
    content: bytes, header: dict[str, Any]
) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
    """(The JSON, the tensors) of content that is as it was written."""
    start = _digest_place(content)
    if content[start : start + len(_NO_DIGEST)] != _digest(content).encode():
        raise ValueError("it is not what was written (its SHA-256 differs)")
    notes = header.get("__metadata__")
    text = notes.get("sdtrace") if isinstance(notes, dict) else None
    meta = parse_object(text, subject=_JSON) if isinstance(text, str) else {}
    version = meta.get("format")
    if type(version) is not int or version < 1:
        raise ValueError("it does not say its format")
    if version > FORMAT:
        raise _Unreadable(
            f"was made by a newer version of sdwidgets: format {version}, this one reads {FORMAT}"
        )
    return meta, Views(content, 8 + int.from_bytes(content[:8], "little"), header)


class Views(Mapping[str, np.ndarray]):
    """The tensors inside a file's content by name, each a view that is made when it is read.

    Raises ValueError unless they lie one behind the other, without holes, and have known types.
    """

    def __init__(self, content: bytes, start: int, header: Mapping[str, Any]):
        self._content, self._start = content, start
        self._known: dict[str, tuple[str, tuple[int, ...], int]] = {}
        shapes: dict[tuple[int, ...], tuple[int, ...]] = {}  # equal ones share their memory
        places = []
        for name, tensor in header.items():
            if name == "__metadata__":
                continue
            dtype, shape, place = map(tensor.get, ("dtype", "shape", "data_offsets"))
            if not (isinstance(dtype, str) and dtype in _TYPES and _are_sizes(shape)):
                raise ValueError(f"{name[:60]!a} is {reprlib.repr(dtype)} {reprlib.repr(shape)}")
            size = math.prod(shape) * np.dtype(_TYPES[dtype]).itemsize
            if not _are_sizes(place) or len(place) != 2 or place[1] - place[0] != size:
                raise ValueError(f"{name[:60]!a} does not have the size that its shape needs")
            places.append((place[0], place[1]))
            sizes = tuple(shape)
            self._known[name] = (_TYPES[dtype], shapes.setdefault(sizes, sizes), place[0])
        places.sort()
        ends = [0, *(end for _, end in places)]
        if [begin for begin, _ in places] != ends[:-1]:
            raise ValueError("its tensors are not laid out right")

    def __getitem__(self, name: str) -> np.ndarray:
        dtype, shape, begin = self._known[name]
        count = math.prod(shape)
        flat = np.frombuffer(self._content, dtype, count, self._start + begin)
        return flat.reshape(shape)

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


_TYPES = {
    "BOOL": "?", "U8": "<u1", "I8": "<i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4",
    "U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip


def _are_sizes(value: object) -> bool:
    """Whether it is a list of a few whole numbers, none below 0."""
    return (
        isinstance(value, list)
        and len(value) <= 8
        and all(type(size) is int and 0 <= size <= FILE_LIMIT for size in value)
    )
