"""Weights in pickles that are not trusted: torch's .ckpt, .pt, .pth and .bin files.

torch writes two formats (``torch/serialization.py``). Since version 1.6, a zip whose entries are
not compressed: ``data.pkl`` describes the tensors, and ``data/KEY`` has the numbers of a storage.
Before, five pickles (a magic number, a version, the machine, the tensors, the keys) and then the
storages, each after its length. Both are read by `unpickling`, which runs nothing. All places are
checked against the file's real size before anything is allocated, and tensors are read one at a
time, when they are asked for.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CheckpointError
from ..untrusted import PREFIX, format_of, is_pickle, open_regular
from .unpickling import Inert, NotHarmless, Storage, StoredTensor, Stream, shown, unpickled
from .weights import (
    HEADER_LIMIT,
    ITEM_BYTES,
    NAME_LIMIT,
    TENSOR_LIMIT,
    TYPES,
    TensorFile,
    WeightFile,
    quoted,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PICKLE_LIMIT = 32 * 2**20  # bytes; the description of a model with its optimizer has about 1 MB
DIRECTORY_LIMIT = 4 * 2**20  # bytes; a zip takes about 70 for a storage
DEPTH_LIMIT = 8  # containers inside containers
EXPANSION_LIMIT = 8  # of all tensors over the file; tied weights are there twice
NOTE_LIMIT = 1000  # characters

# Where programs put the weights inside of what they save, the most telling names first.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "params_ema", "params")
Refuse = Callable[[str], CheckpointError]
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001


@dataclass(frozen=True, slots=True)
class PickledTensor:
    """A tensor in the file: a view of the bytes from ``start`` to ``end``."""

    dtype: str  # safetensors' code: "F16", "I64", ...
    shape: tuple[int, ...]
    start: int
    end: int
    strides: tuple[int, ...]  # in elements

    @property
    def size(self) -> int:
        """The number of bytes of the whole tensor, which may look at some bytes repeatedly."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


class PickleFile(TensorFile[PickledTensor]):
    """An open pickle of weights, described without running it. A context manager.

    The dict with the weights is found inside of what a program saved (``state_dict``, ``model``,
    ...); ``place`` is the path to it, () for the outermost. Dicts inside it add to the names:
    "string_to_param.*". The tensors of a list are named "0", "1", ..., and so is a single tensor.
    ``metadata`` has the texts and numbers beside the weights, as text. ``left_out`` names what else
    is there, such as "optimizer_states".

    Raises ``CheckpointNotFound`` if there is no such file, and ``CheckpointError`` for a pickle
    that is damaged or names anything but tensors, containers and known leftovers of training.
    """

    place: tuple[str, ...]
    left_out: tuple[str, ...]

    def _described(self, size: int) -> tuple[dict[str, PickledTensor], dict[str, str]]:
        first = self._file.read(PREFIX)
        if first.startswith(b"PK\x03\x04"):
            root, storages = self._zip(size)
        elif is_pickle(first):
            root, storages = self._old(size)
        else:
            raise CheckpointError(_why_no_pickle(first, size, self.path))
        weights, self.place = _weights(root, self._refused)
        outer = root if isinstance(root, dict) else {}
        self.left_out = _left_out(outer, self.place)
        entries = {name: self._entry(name, each, storages) for name, each in weights.items()}
        if (total := sum(entry.size for entry in entries.values())) > EXPANSION_LIMIT * size:
            raise self._refused(f"whose {size:,} bytes claim to be {total:,} bytes of tensors")
        return entries, _notes(outer)

    def read(
        self,
        name: str,
        dtype: torch.dtype | None,
        device: torch.device,
        *,
        part: int = 0,
        parts: int = 1,
    ) -> Tensor:
        """Return a fresh, contiguous tensor, as `WeightFile.read` does."""
        import torch  # only here: a file is described without

        entry = self.entries[name]
        stored = getattr(torch, TYPES[entry.dtype])
        shape, start = entry.shape, entry.start
        if parts > 1:
            shape = (shape[0] // parts, *shape[1:])
            start += part * shape[0] * entry.strides[0] * ITEM_BYTES[entry.dtype]
        flat = torch.empty(_span(shape, entry.strides), dtype=stored, device="cpu")
        if flat.numel():
            self._fill(flat.view(torch.uint8).numpy().data, start)
        tensor = flat.as_strided(shape, entry.strides).contiguous()
        return tensor.to(device=device, dtype=stored if dtype is None else dtype)

    def numbers(self, name: str) -> np.ndarray:
        entry = self.entries[name]
        flat = self._numbers_of(entry)
        strides = [stride * flat.itemsize for stride in entry.strides]
        return np.lib.stride_tricks.as_strided(flat, entry.shape, strides).copy()

    # ------------------------------------------------------------------------------- formats

    def _zip(self, size: int) -> tuple[Any, dict[str, tuple[int, int]]]:
        """Return what a zip of torch describes, and the (start, end) of its storages."""
        entries = _directory(self._file, self._refused)
        roots = [name for name in entries if name.rpartition("/")[2] == "data.pkl"]
        roots = [name for name in roots if name.count("/") <= 1]
        if len(roots) != 1:
            raise CheckpointError(f"{self.path} is a zip archive, but none of torch's.")
        folder = roots[0].removesuffix("data.pkl")
        if f"{folder}constants.pkl" in entries or any(
            n.startswith(f"{folder}code/") for n in entries
        ):
            raise CheckpointError(
                f"{self.path} is a TorchScript program, not only weights, and is never run."
            )
        _check_stored(entries.values(), self.path)
        places = {name: _place(self._file, entry, size) for name, entry in entries.items()}
        if None in places.values():
            raise self._refused("that is cut: entries of its zip are not all there")
        ranges = {name: place for name, place in places.items() if place is not None}
        if (order := self._bytes(ranges.get(f"{folder}byteorder"), 16)) not in (b"", b"little"):
            raise self._refused(f"of a machine with another order of bytes ({order!a:.20})")
        described = io.BytesIO(self._bytes(ranges[roots[0]], PICKLE_LIMIT))
        root, _ = self._unpickled(described)
        prefix = f"{folder}data/"
        return root, {
            name.removeprefix(prefix): place
            for name, place in ranges.items()
            if name.startswith(prefix)
        }

    def _old(self, size: int) -> tuple[Any, dict[str, tuple[int, int]]]:
        """Return what a file of torch before 1.6 describes, and the (start, end) of storages."""
        self._file.seek(0)
        stream = _Limited(self._file, self._refused)
        if self._unpickled(stream)[0] != _MAGIC:
            raise self._refused("that torch did not write")
        (version, _), (machine, _) = self._unpickled(stream), self._unpickled(stream)
        if version != _VERSION or not isinstance(machine, dict):
            raise self._refused("of an unknown version of torch")
        if machine.get("little_endian") is not True:
            raise self._refused("of a machine with another order of bytes")
        (root, storages), (keys, _) = self._unpickled(stream), self._unpickled(stream)
        if not isinstance(keys, list) or len(keys) > TENSOR_LIMIT:
            raise self._refused("that is damaged: it lists no storages")
        place, found = stream.place, dict[str, tuple[int, int]]()
        for key in keys:
            if not isinstance(key, str) or key in found or key not in storages:
                raise self._refused("that is damaged: its storages have no names")
            if place + 8 > size:
                raise self._refused(f"that is cut: it has only {size:,} bytes")
            count = int.from_bytes(self._bytes((place, place + 8), 8), "little")
            end = place + 8 + count * ITEM_BYTES.get(storages[key].dtype, 1)
            if end > size:
                raise self._refused(f"that is cut: it has {size:,} bytes and needs {end:,}")
            found[key] = (place + 8, end)
            place = end
        return root, found

    def _entry(
        self, name: str, tensor: StoredTensor, storages: Mapping[str, tuple[int, int]]
    ) -> PickledTensor:
        place = storages.get(tensor.storage.key)
        if place is None:
            raise self._refused(f"without the numbers of its tensor {quoted(name)}")
        each = ITEM_BYTES[tensor.dtype]
        start = place[0] + tensor.offset * each
        end = start + _span(tensor.shape, tensor.strides) * each
        if end > place[1]:
            raise self._refused(f"whose tensor {quoted(name)} reaches beyond its storage")
        return PickledTensor(tensor.dtype, tensor.shape, start, end, tensor.strides)

    def _unpickled(self, stream: Stream) -> tuple[Any, dict[str, Storage]]:
        try:
            return unpickled(stream)
        except NotHarmless as error:
            raise self._refused(str(error)) from None

    def _bytes(self, place: tuple[int, int] | None, most: int) -> bytes:
        if place is None:
            return b""
        start, end = place
        if end - start > most:
            raise self._refused(f"with a description of {end - start:,} bytes, not weights")
        buffer = bytearray(end - start)
        self._fill(memoryview(buffer), start)
        return bytes(buffer)

    def _refused(self, reason: str) -> CheckpointError:
        return CheckpointError(
            f"{self.path} is a pickle {reason}.\nNothing of it was run. Get the file elsewhere."
        )


def open_weights(path: str | os.PathLike[str]) -> WeightFile | PickleFile:
    """Return an open file of weights, a safetensors file or a pickle, as its content tells.

    Raises what the two raise; for a file of neither kind, what `WeightFile` raises.
    """
    try:
        with open_regular(path) as file:
            first = file.read(PREFIX)
    except OSError:
        return WeightFile(path)  # says what is wrong
    # the length of a header may look like a pickle's first bytes: 640 does
    length = int.from_bytes(first[:8], "little")
    has_header = first[8:9] == b"{" and 0 < length <= HEADER_LIMIT
    return PickleFile(path) if is_pickle(first) and not has_header else WeightFile(path)


def _why_no_pickle(first: bytes, size: int, path: Path) -> str:
    if first[8:9] == b"{":
        return f"{path} is a safetensors file, not a pickle."
    if size < PREFIX and not any(first):
        return f"{path} is empty: it has {size:,} bytes.\nDownload it again."
    what = format_of(first) or "no pickle"
    if what == "a tar archive":
        what += ", the format of torch before 2017, which this kit does not read"
    return f"{path} is {what}."


# ------------------------------------------------------------------------------------ containers


def _weights(root: Any, refused: Refuse) -> tuple[dict[str, StoredTensor], tuple[str, ...]]:
    """Return the tensors of the dict that holds the weights, and the path to that dict."""
    place: tuple[str, ...] = ()
    while isinstance(root, dict) and len(place) < DEPTH_LIMIT:
        for wrapper in _WRAPPERS:
            inside = root.get(wrapper)
            if isinstance(inside, dict) and next(_tensors(inside, refused), None):
                place, root = (*place, wrapper), inside
                break
        else:
            break
    weights: dict[str, StoredTensor] = {}
    for names, tensor in _tensors(root, refused):
        name = ".".join(map(str, names)) or "0"
        if not all(isinstance(each, (str, int)) for each in names) or not _is_name(name):
            raise refused(f"with a tensor that has no proper name ({quoted(name)})")
        if name in weights:
            raise refused(f"with two tensors of the name {quoted(name)}")
        weights[name] = tensor
        if len(weights) > TENSOR_LIMIT:
            raise refused(f"of more than {TENSOR_LIMIT:,} tensors")
    if not weights:
        inside = root.values() if isinstance(root, dict) else [root]
        network = next((each for each in inside if isinstance(each, Inert)), None)
        if network is not None:
            raise refused(
                f"of an object ({shown(network.name)}) with its code, not of weights alone"
            )
        raise refused("without any tensor")
    return weights, place


def _tensors(value: Any, refused: Refuse) -> Iterator[tuple[tuple[Any, ...], StoredTensor]]:
    """Yield the tensors in nested containers, with the keys and indices that lead to each."""
    visited = 0
    open_: list[tuple[tuple[Any, ...], Any]] = [((), value)]
    while open_:
        names, each = open_.pop()
        visited += 1
        if visited > 40 * TENSOR_LIMIT:
            raise refused("whose containers contain one another without end")
        if isinstance(each, StoredTensor):
            yield names, each
            continue
        if isinstance(each, dict):
            inside = list(each.items())
        elif isinstance(each, (list, tuple)):
            inside = list(enumerate(each))
        else:
            continue
        if len(names) >= DEPTH_LIMIT and inside:
            raise refused(f"of containers that are nested more than {DEPTH_LIMIT} deep")
        open_ += [((*names, key), item) for key, item in reversed(inside) if _may_hold(item)]


def _may_hold(value: Any) -> bool:
    return isinstance(value, (StoredTensor, dict, list, tuple))


def _is_name(name: str) -> bool:
    try:
        return len(name.encode()) <= NAME_LIMIT
    except UnicodeEncodeError:  # half a character
        return False


def _left_out(outer: dict[Any, Any], place: tuple[str, ...]) -> tuple[str, ...]:
    """Name the containers beside the weights."""
    if not place:
        return ()
    return tuple(
        key
        for key, value in outer.items()
        if key != place[0] and isinstance(key, str) and _may_hold(value)
    )[:100]


def _notes(outer: dict[Any, Any]) -> dict[str, str]:
    """The texts and numbers beside the weights, as text: "global_step", "name", ..."""
    notes = {
        key: str(value)[:NOTE_LIMIT]
        for key, value in list(outer.items())[:1000]
        if isinstance(key, str) and isinstance(value, (str, int, float)) and key != "__metadata__"
    }
    return {key: value for key, value in notes.items() if _is_name(key) and _is_name(value)}


def _span(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """The number of elements from the first to the last that a tensor looks at."""
    if 0 in shape:
        return 0
    return 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))


# ------------------------------------------------------------------------------------------ zips


def _directory(file: FileIO, refused: Refuse) -> dict[str, zipfile.ZipInfo]:
    """Return the entries of a zip by their names."""
    try:
        with zipfile.ZipFile(_Small(file, refused)) as archive:  # type: ignore[arg-type]
            entries = archive.infolist()
    except CheckpointError:
        raise
    except (
        zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error, OSError,
        EOFError,
    ) as error:  # fmt: skip
        raise refused(f"that is cut or damaged: {str(error)[:80]!a}") from None
    found = {entry.filename: entry for entry in entries}
    if len(found) < len(entries):
        raise refused("that is damaged: two entries of its zip have the same name")
    return found


def _check_stored(entries: Any, path: Path) -> None:
    """Raise ``CheckpointError`` for compressed or locked entries, which torch never writes."""
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries):
        packed = sum(entry.compress_size for entry in entries)
        whole = sum(entry.file_size for entry in entries)
        raise CheckpointError(
            f"{path} is a compressed zip: {packed:,} bytes that unpack to {whole:,}.\n"
            "torch writes none. If you know where it is from, pack it again without compression."
        )


def _place(file: FileIO, entry: zipfile.ZipInfo, size: int) -> tuple[int, int] | None:
    """Return the (start, end) of an entry's bytes; None if they are not in the file."""
    if not 0 <= entry.header_offset <= size - 30:
        return None
    file.seek(entry.header_offset)
    header = file.read(30)
    if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
        return None
    name, extra = struct.unpack("<HH", header[26:30])
    start = entry.header_offset + 30 + name + extra
    end = start + entry.file_size
    return (start, end) if entry.compress_size == entry.file_size and end <= size else None


class _Small:
    """A file for `zipfile`, which would read a directory of any size at once."""

    def __init__(self, file: FileIO, refused: Refuse):
        self._file, self._refused = file, refused
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, count: int = -1) -> bytes:
        if count > DIRECTORY_LIMIT:
            raise self._refused(f"in a zip with a list of {count:,} bytes")
        return self._file.read(DIRECTORY_LIMIT if count < 0 else count) or b""


class _Limited:
    """The pickles at the start of a file, of at most `PICKLE_LIMIT` bytes together."""

    def __init__(self, file: FileIO, refused: Refuse):
        self._file = io.BufferedReader(_Unclosed(file))  # type: ignore[type-var]
        self._refused = refused
        self.place = 0

    def read(self, count: int) -> bytes:
        if not 0 <= count <= PICKLE_LIMIT - self.place:
            raise self._refused(f"with a description of more than {PICKLE_LIMIT:,} bytes")
        found = self._file.read(count)
        self.place += len(found)
        return found

    def readline(self) -> bytes:
        found = self._file.readline(max(PICKLE_LIMIT - self.place, 0))
        self.place += len(found)
        return found


class _Unclosed(io.RawIOBase):
    """A view of an open file that leaves it open."""

    def __init__(self, file: FileIO):
        self._read_file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        return self._read_file.readinto(buffer)
