"""Sealed files: JSON and tensors with a digest of the whole, not trusted when they are read.

A safetensors file (https://github.com/huggingface/safetensors, "Format") is 8 bytes with the length
of the header, little endian; the header, JSON; the tensors' bytes. Here, the header's metadata have
a text, also JSON, under the name of the `Kind` of file. Its first field, "sha256", is the digest of
the whole file with 64 zeros in place of the digest.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import reprlib
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..contract import RECORD
from ..errors import InputError
from ..settings import amount
from ..strict_json import parse_object
from ..untrusted import PREFIX, NotRegular, format_of, open_regular
from .writing import write_file

FILE_LIMIT = RECORD["file"]  # bytes
HEADER_LIMIT = RECORD["header"]
TENSOR_LIMIT = RECORD["tensors"]
VALUE_LIMIT = RECORD["values"]  # in the header's JSON
OWNER_ONLY = 0o600
"""Permissions of a new file: what it holds is private."""

_NO_DIGEST = "0" * 64
_JSON = "its JSON is "  # the start of an error about it


@dataclass(frozen=True)
class Kind:
    """A kind of sealed file. ``name``: that of the text in its metadata. ``noun``: what it is.
    ``reader``: what reads it. ``format``: grows when older versions would misread a file."""

    name: str
    noun: str
    reader: str
    format: int

    @property
    def before_digest(self) -> bytes:
        """What comes before the digest; nothing else in a header has it with bare quotes."""
        return f'"{self.name}":"{{\\"sha256\\":\\"'.encode()


RECORDING = Kind("sdtrace", "recording", "Trace.load", RECORD["format"])
TREE = Kind("sdtree", "tree of runs", "Tree.load", 1)
KINDS = (RECORDING, TREE)


class Unreadable(ValueError):
    """Its text fits behind the name of the file."""


@contextmanager
def refusing(path: str | os.PathLike[str] | None) -> Iterator[None]:
    """Turn what reading raises into an InputError that names the file; None: it is in memory."""
    try:
        yield
        return
    except Unreadable as error:
        message = f"{_shown(path)} {error}."
    except ValueError as error:
        message = f"{_shown(path)} is damaged: {sentence(error)}\nTake another copy of it."
    except OSError as error:
        message = f"{_shown(path)} cannot be read: {error.strerror or error}."
    raise InputError(message, parameter="path")


def read(kind: Kind, path: Path) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
    """(The JSON, the tensors) of a file that is as it was written; see `refusing`."""
    return _unsealed(kind, *_read(kind, path))


def read_bytes(kind: Kind, content: bytes) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
    """(The JSON, the tensors) in what `sealed` returned, checked as a file is; see `refusing`."""
    return _unsealed(kind, *_read_from(kind, io.BytesIO(content), len(content)))


def write(path: Path, content: bytes) -> Path:
    """Write what `sealed` returned, whole or not at all; return the path.

    A new file is for its owner alone; one that replaces another keeps its permissions. Raises
    InputError where it cannot be written.
    """
    return write_file(path, content, mode=_permissions(path))


def as_json(meta: Mapping[str, Any]) -> str:
    """JSON without spaces, and without numbers that JSON does not have."""
    return json.dumps(meta, allow_nan=False, separators=(",", ":"))


def sentence(error: Exception) -> str:
    """An error's text, cut to two lines, with a full stop."""
    return "\n".join(str(error).splitlines()[:2]).rstrip(".") + "."


def _shown(path: str | os.PathLike[str] | None) -> str:
    return "What was received" if path is None else repr(os.fspath(path))


# -------------------------------------------------------------------------------------- writing


def _permissions(path: str | os.PathLike[str]) -> int:
    """The permissions for a file written to this path."""
    try:
        before = os.lstat(path).st_mode
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return OWNER_ONLY
    return stat.S_IMODE(before) if stat.S_ISREG(before) else OWNER_ONLY


def sealed(kind: Kind, meta: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of a file. Raises ValueError for what is too large to be read again."""
    from safetensors.numpy import save as to_bytes

    text = as_json({"sha256": _NO_DIGEST, "format": kind.format, **meta})
    content = to_bytes(dict(tensors), metadata={kind.name: text})
    header = int.from_bytes(content[:8], "little")
    if header > HEADER_LIMIT or len(content) > FILE_LIMIT or len(tensors) > TENSOR_LIMIT:
        raise ValueError(
            f"it would have {amount(len(content))} with a header of {amount(header)};\n"
            f"at most {amount(FILE_LIMIT)} and {amount(HEADER_LIMIT)} can be read again"
        )
    digest = _digest(kind, content)
    start = _digest_place(kind, content)
    return b"".join((content[:start], digest.encode(), content[start + len(digest) :]))


def _digest_place(kind: Kind, content: bytes) -> int:
    """Where the digest begins. Raises _Unreadable if there is none."""
    header = int.from_bytes(content[:8], "little")
    for one in (kind, *KINDS):
        start = content.find(one.before_digest, 8, 8 + header)
        if start < 0:
            continue
        if one != kind:
            raise Unreadable(f"is a {one.noun} ({one.reader} reads it), not a {kind.noun}")
        return start + len(one.before_digest)
    raise Unreadable(f"is a safetensors file, but not a {kind.noun}")


def _digest(kind: Kind, content: bytes) -> str:
    start = _digest_place(kind, content)
    view = memoryview(content)
    digest = hashlib.sha256(view[:start])
    digest.update(_NO_DIGEST.encode())
    digest.update(view[start + len(_NO_DIGEST) :])
    return digest.hexdigest()


# -------------------------------------------------------------------------------------- reading


def _read(kind: Kind, path: Path) -> tuple[bytes, dict[str, Any]]:
    """(The whole content, its header), read only if its start promises a file of that size."""
    try:
        file = BufferedReader(open_regular(path))
    except NotRegular as error:
        raise Unreadable(f"is {error}, not a {kind.noun}") from None
    with file:
        return _read_from(kind, file, os.fstat(file.fileno()).st_size)


def _read_from(kind: Kind, file: BinaryIO, size: int) -> tuple[bytes, dict[str, Any]]:
    """(The whole content, its header) of a file with so many bytes, at its start."""
    start = file.read(PREFIX)
    length = int.from_bytes(start[:8], "little")
    if start[8:9] != b"{" or length > min(HEADER_LIMIT, size - 8):
        raise Unreadable(_why_not(kind, start, size, length))
    if size > FILE_LIMIT:
        raise Unreadable(f"has {size:,} bytes; a {kind.noun} has at most {FILE_LIMIT:,}")
    header = start + file.read(max(8 + length - len(start), 0))
    _digest_place(kind, header)
    if header.count(b'"data_offsets"') > TENSOR_LIMIT or header.count(b",") > VALUE_LIMIT:
        raise Unreadable(f"has more parts than any {kind.noun}")  # before parsing creates them
    parsed = parse_object(header[8 : 8 + length], subject=_JSON)
    promised = 8 + length + _body(parsed)
    if promised != size:
        what = "is cut" if size < promised else "is damaged"
        raise Unreadable(f"{what}: it has {size:,} bytes, its header promises {promised:,}")
    return header + file.read(size - len(header)), parsed


def _why_not(kind: Kind, start: bytes, size: int, length: int) -> str:
    """What a file is, in words, if it does not begin as safetensors files do."""
    # A cut file of ours first: its eight bytes of length may look like the start of anything.
    if start[8:10] == b'{"' and length <= HEADER_LIMIT:
        return f"is cut: it has {size:,} bytes, its header alone {length:,}"
    if what := format_of(start):
        hint = " (read_settings reads those)" if what == "a PNG image" else ""
        return f"is {what}{hint}, not a {kind.noun}"
    return f"is not a {kind.noun}: its {size:,} bytes begin otherwise"


def _body(header: dict[str, Any]) -> int:
    """The bytes that the tensors of a header take."""
    tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
    try:
        return int(max((tensor["data_offsets"][1] for tensor in tensors), default=0))
    except (LookupError, TypeError, ValueError, OverflowError):
        raise ValueError("its header does not say where a tensor is") from None


def _unsealed(
    kind: Kind, content: bytes, header: dict[str, Any]
) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
    """(The JSON, the tensors) of content that is as it was written."""
    start = _digest_place(kind, content)
    if content[start : start + len(_NO_DIGEST)] != _digest(kind, content).encode():
        raise ValueError("it is not what was written (its SHA-256 differs)")
    notes = header.get("__metadata__")
    text = notes.get(kind.name) if isinstance(notes, dict) else None
    meta = parse_object(text, subject=_JSON) if isinstance(text, str) else {}
    version = meta.get("format")
    if type(version) is not int or version < 1:
        raise ValueError("it does not say its format")
    if version > kind.format:
        raise Unreadable(
            f"was made by a newer version of sdwidgets: format {version}, this one "
            f"reads {kind.format}"
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
