"""A reader for safetensors files that are not trusted: first the header, then copies of tensors.

The format (https://github.com/huggingface/safetensors, "Format"): 8 little-endian bytes with the
length of the header; the header, a JSON object of name -> dtype, shape, offsets; and the bytes of
the tensors without gaps. The whole header is checked against the file's real size before anything
is allocated, and tensors are copied by plain reads. A memory map would be shorter, but if a mapped
file is truncated or overwritten later, the process dies or the weights change silently.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

from ..errors import CheckpointError, CheckpointNotFound
from ..sources import LocalFile
from ..strict_json import parse_object
from ..untrusted import JSON_TEXT, PREFIX, NotRegular, format_of, is_pickle, open_regular

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from typing_extensions import Self

HEADER_LIMIT = 16 * 2**20  # bytes; a model of a billion parameters has a header of 0.15 MB
TENSOR_LIMIT = 50_000
VALUE_LIMIT = 8 * TENSOR_LIMIT  # in all objects and lists of a header; a kernel's tensor has 9
NAME_LIMIT = 1_000
RANK_LIMIT = 8
BLOCK = 8 * 2**20  # bytes that are converted at once

# The names of torch's types for weights; other types (integers, booleans) never become weights.
FLOATS = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
TYPES = {
    **FLOATS,
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
    "C64": "complex64", "C128": "complex128",
}  # fmt: skip
ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
    "C64": 8, "C128": 16,  # the latter in pickles only
}  # fmt: skip


def quoted(name: object, limit: int = 80) -> str:
    """Return ``name`` for messages: quoted, printable ASCII, at most ``limit`` characters."""
    try:
        text = ascii(name[:limit] if isinstance(name, (str, bytes)) else name)
    except Exception:  # reprs may fail: that of a number with 5,000 digits does
        text = f"<{type(name).__name__}>"
    whole = not isinstance(name, (str, bytes)) or len(name) <= limit
    return text if whole and len(text) <= limit else f"{text[: limit - 4]}...{text[-1]}"


def pickle_advice(name: str) -> str:
    """Return what to do about a pickle with the name ``name``, for messages."""
    stem, ending = os.path.splitext(name)
    new = quoted(f"{stem}{'-new' if ending == '.safetensors' else ''}.safetensors")
    return (
        "Such files can run code when they are opened, so models are never loaded from them.\n"
        f"Convert it, which runs nothing of it: sdwidgets convert {quoted(name)} --out {new}"
    )


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A tensor as the header describes it; ``start`` and ``end`` are offsets into the file."""

    dtype: str  # the format's own code: "F16", "I64", ...
    shape: tuple[int, ...]
    start: int
    end: int


class Entry(Protocol):
    """What every file of weights tells about a tensor. It is in the bytes from start to end."""

    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


E = TypeVar("E", bound=Entry)


class TensorFile(ABC, Generic[E]):
    """An open file of weights whose list of tensors was checked. A context manager.

    ``entries`` maps names to what is known of each tensor. ``metadata`` is the file's own notes, as
    text. ``stamp`` is the file's state when it was opened.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self._file = _open_regular(self.path)
        try:
            before = os.fstat(self._file.fileno())
            self.stamp = LocalFile(self.path.absolute(), before.st_size, before.st_mtime_ns)
            self.entries, self.metadata = self._described(before.st_size)
        except BaseException:
            self._file.close()
            raise

    @abstractmethod
    def _described(self, size: int) -> tuple[dict[str, E], dict[str, str]]:
        """Return the entries and the metadata of a file of ``size`` bytes."""

    @abstractmethod
    def read(
        self,
        name: str,
        dtype: torch.dtype | None,
        device: torch.device,
        *,
        part: int = 0,
        parts: int = 1,
    ) -> Tensor:
        """Return a fresh, contiguous tensor as ``dtype`` on ``device``. None keeps its type.

        With ``parts`` > 1, the first dimension is divided into that many equal parts, and only the
        part with index ``part`` is read.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor."""
        return {name: entry.shape for name, entry in self.entries.items()}

    def numbers(self, name: str) -> np.ndarray:
        """The values of a small tensor of floats as float64, read without torch."""
        entry = self.entries[name]
        return self._numbers_of(entry).reshape(entry.shape)

    def _numbers_of(self, entry: E) -> np.ndarray:
        raw = bytearray(entry.end - entry.start)
        self._fill(memoryview(raw), entry.start)
        return _as_float64(bytes(raw), entry.dtype)

    def check_unchanged(self) -> None:
        """Raise ``CheckpointError`` if the file was written to since it was opened."""
        now = os.fstat(self._file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self.stamp.size, self.stamp.modified):
            raise CheckpointError(f"{self.path} was changed while it was read.\nLoad it again.")

    def _fill(self, buffer: memoryview, start: int) -> None:
        self._file.seek(start)
        done = 0
        while done < len(buffer):
            count = self._file.readinto(buffer[done:])
            if not count:
                raise CheckpointError(
                    f"{self.path} became shorter while it was being read.\nLoad it again."
                )
            done += count


class WeightFile(TensorFile[TensorEntry]):
    """An open safetensors file with a checked header.

    Raises ``CheckpointNotFound`` if there is no such file, and ``CheckpointError`` for anything but
    a complete, well-formed safetensors file, before anything is allocated.
    """

    def _described(self, size: int) -> tuple[dict[str, TensorEntry], dict[str, str]]:
        return _read_header(self._file, self.path, size)

    def read(
        self,
        name: str,
        dtype: torch.dtype | None,
        device: torch.device,
        *,
        part: int = 0,
        parts: int = 1,
        channels_last: bool = False,
    ) -> Tensor:
        """Return a fresh tensor with the entry's shape, as ``dtype`` on ``device``.

        With ``parts`` > 1, the first dimension is divided into that many equal parts, and only the
        part with index ``part`` is read. If ``dtype`` is None, it is the stored one.
        ``channels_last`` is the layout of a convolution's kernel. Values are read straight into the
        tensor's memory; for another type, device or layout they go through a buffer of at most
        `BLOCK` bytes, or of a row.
        """
        import torch  # only here: a header is read without

        entry = self.entries[name]
        stored = getattr(torch, TYPES[entry.dtype])
        shape = (entry.shape[0] // parts, *entry.shape[1:]) if parts > 1 else entry.shape
        layout = torch.channels_last if channels_last else torch.contiguous_format
        tensor = torch.empty(shape, dtype=dtype or stored, device=device, memory_format=layout)
        if not tensor.numel():
            return tensor
        length = (entry.end - entry.start) // parts
        start = entry.start + part * length
        is_plain = tensor.is_contiguous() and tensor.device.type == "cpu"
        if tensor.dtype == stored and is_plain:
            self._fill(_bytes_of(tensor), start)
            return tensor
        rows = tensor if shape else tensor.view(1)
        row = length // len(rows)
        count = min(max(BLOCK // row, 1), len(rows))
        buffer = torch.empty((count, *shape[1:]), dtype=stored, device="cpu")
        for first in range(0, len(rows), count):
            target = rows[first : first + count]
            block = buffer[: len(target)]
            self._fill(_bytes_of(block), start + first * row)
            target.copy_(block)
        return tensor


def _as_float64(raw: bytes, code: str) -> np.ndarray:
    """Numbers of a type of `FLOATS`; numpy itself lacks half of these types."""
    if code == "BF16":  # the upper half of a float32
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4").astype(np.float64)
    if code == "F8_E5M2":  # the upper half of a float16
        return (np.frombuffer(raw, "u1").astype("<u2") << 8).view("<f2").astype(np.float64)
    if code == "F8_E4M3":  # arXiv 2209.05433: no infinity, and a single NaN of each sign
        bits = np.frombuffer(raw, "u1").astype(np.int64)
        exponent, fraction = bits >> 3 & 15, (bits & 7) / 8
        size = np.where(exponent > 0, (1 + fraction) * 2.0 ** (exponent - 7), fraction * 2.0**-6)
        return np.where(bits & 127 == 127, np.nan, np.where(bits >> 7, -size, size))
    return np.frombuffer(raw, {"F64": "<f8", "F32": "<f4", "F16": "<f2"}[code]).astype(np.float64)


def _bytes_of(tensor: Tensor) -> memoryview:
    """Return the memory of a contiguous tensor on the CPU."""
    import torch

    view: memoryview = tensor.view(-1).view(torch.uint8).numpy().data
    return view


def read_json(path: str | os.PathLike[str], limit: int = 4 * 2**20) -> dict[str, Any]:
    """Return the JSON object in a file of at most ``limit`` bytes.

    Raises ``CheckpointNotFound`` or ``CheckpointError``.
    """
    path = Path(path)
    with _open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise CheckpointError(
                f"{path} has {size:,} bytes; a settings file may have at most {limit:,}."
            )
        raw = file.readall()
    try:
        return parse_object(raw)
    except ValueError as error:
        what = format_of(raw[:PREFIX])
        if what is None or what == JSON_TEXT:
            what = f"no valid JSON object: {error}"
        raise CheckpointError(f"{path} is {what}.\nCorrect or download it again.") from None


def _open_regular(path: Path) -> FileIO:
    """Return the file, open for reading and unbuffered; see `untrusted.open_regular`."""
    try:
        return open_regular(path)
    except NotRegular as error:
        raise CheckpointError(f"{path} is {error}, not a file of weights.") from None
    except FileNotFoundError:
        raise CheckpointNotFound(f"There is no file {path}.") from None
    except PermissionError:
        raise CheckpointError(f"{path} cannot be read: permission denied.") from None
    except OSError as error:  # a loop of links, a name that is too long or has a NUL
        reason = getattr(error, "strerror", None) or str(error)
        raise CheckpointError(f"{quoted(str(path))} cannot be opened: {reason}.") from None


def _read_header(
    file: FileIO, path: Path, size: int
) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    first = file.read(PREFIX)
    length = int.from_bytes(first[:8], "little") if len(first) >= 8 else 0
    # Other formats are looked for only if this cannot be a safetensors file, because its first
    # eight bytes may look like the start of any format.
    if not (0 < length <= min(HEADER_LIMIT, size - 8) and first[8:9] == b"{"):
        raise CheckpointError(_why_no_header(first, size, length, path))
    file.seek(8)
    raw = file.read(length)
    # Counted before anything is made of them: Python takes a kilobyte for each.
    if (count := raw.count(b'"dtype"')) > TENSOR_LIMIT:
        raise CheckpointError(f"{path} lists {count:,} tensors; the limit is {TENSOR_LIMIT:,}.")
    try:
        header = parse_object(raw, subject="it is ", most=VALUE_LIMIT)
    except ValueError as error:
        raise CheckpointError(
            f"{path} has a damaged header: {error}.\nDownload it again."
        ) from None
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CheckpointError(f"{path} has a damaged header: its metadata is not text.")
    body = 8 + length
    entries = {name: _entry(name, info, body, path) for name, info in header.items()}
    _check_layout(entries, body, size, path)
    return entries, metadata


def _why_no_header(first: bytes, size: int, length: int, path: Path) -> str:
    if is_pickle(first):
        return f"{path} is {format_of(first)}.\n{pickle_advice(path.name)}"
    if size < 10 or not any(first):
        return f"{path} is empty or cut: it has {size:,} bytes and no header.\nDownload it again."
    if what := format_of(first):
        return f"{path} is {what}, not a safetensors file."
    if length > HEADER_LIMIT:
        promise = f"it announces a header of {length:,} bytes (the limit is {HEADER_LIMIT:,})"
    elif length > size - 8:
        promise = f"its header should have {length:,} bytes, but only {size - 8:,} are there"
    else:
        promise = "no header follows its first 8 bytes"
    return f"{path} is cut or not a safetensors file: {promise}.\nDownload it again."


def _entry(name: str, info: Any, body: int, path: Path) -> TensorEntry:
    def damaged(reason: str) -> CheckpointError:
        return CheckpointError(
            f"{path} has a damaged header: tensor {quoted(name)} {reason}.\nDownload it again."
        )

    if len(name) > NAME_LIMIT:
        raise damaged(f"has a name of {len(name):,} characters")
    if not isinstance(info, dict) or set(info) != {"dtype", "shape", "data_offsets"}:
        raise damaged("lacks dtype, shape or offsets")
    dtype, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise damaged(f"has the unknown number format {quoted(dtype)}")
    if not _naturals(shape) or len(shape) > RANK_LIMIT:
        raise damaged(f"has the shape {quoted(shape)}")
    if not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise damaged(f"has the offsets {quoted(offsets)}")
    count = math.prod(shape) * ITEM_BYTES[dtype]
    start, end = offsets
    if end - start != count:
        raise damaged(f"takes {end - start:,} bytes where its shape needs {count:,}")
    return TensorEntry(dtype, tuple(shape), body + start, body + end)


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def _check_layout(entries: dict[str, TensorEntry], body: int, size: int, path: Path) -> None:
    """Check that the tensors fill the rest of the file exactly: no gap, overlap or excess."""
    place = body
    for name, entry in _in_file_order(entries):
        if entry.start != place:
            what = "overlaps its predecessor" if entry.start < place else "leaves a gap before it"
            raise CheckpointError(
                f"{path} has a damaged header: tensor {quoted(name)} {what} "
                f"(it starts at {entry.start - body:,}, not {place - body:,}).\nDownload it again."
            )
        place = entry.end
    if place > size:
        raise CheckpointError(
            f"{path} is cut: it has {size:,} bytes, but its header announces {place:,}.\n"
            "Download it again."
        )
    if place < size:
        last = max(entries, key=lambda name: entries[name].end) if entries else ""
        raise CheckpointError(
            f"{path} has {size - place:,} excess bytes after its last tensor {quoted(last)}.\n"
            "Download it again."
        )


def _in_file_order(entries: dict[str, TensorEntry]) -> Iterator[tuple[str, TensorEntry]]:
    return iter(sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)))
