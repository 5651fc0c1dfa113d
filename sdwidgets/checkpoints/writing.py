"""Safetensors files, written tensor by tensor, whole or not at all.

The memory of a single tensor is enough, however large the file is. The format is that of `weights`:
the length of the header, the header, and the bytes of the tensors, those of the widest numbers
first, so that each begins at a multiple of its numbers' size.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from ..errors import CheckpointError
from .exchange import sync
from .weights import FLOATS, HEADER_LIMIT, ITEM_BYTES, TYPES, TensorFile, quoted

Progress = Callable[[int, int], None]
"""Called with the bytes that are written and the bytes of the whole, after each tensor."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A tensor to write: its type (safetensors' code), its shape, and how to get it."""

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Tensor]

    @property
    def size(self) -> int:
        """In bytes."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


def outgoing(file: TensorFile, name: str) -> Outgoing:
    """Return a tensor of an open file, to be written as it is."""
    entry = file.entries[name]
    return Outgoing(entry.dtype, entry.shape, lambda: file.read(name, None, torch.device("cpu")))


def code_of(dtype: torch.dtype) -> str:
    """Return safetensors' code of a type."""
    name = str(dtype).removeprefix("torch.")
    return next(code for code, known in TYPES.items() if known == name)


def converted(tensor: Outgoing, dtype: str, name: str) -> Outgoing:
    """Return a tensor of floats as another type of floats; of other numbers, as it is.

    Reading it raises ``CheckpointError``, which names it, if its numbers are too large for that.
    """
    if tensor.dtype not in FLOATS or tensor.dtype == dtype:
        return tensor

    def read() -> Tensor:
        whole = tensor.read()
        made = whole.to(getattr(torch, FLOATS[dtype]))
        if not _is_finite(made) and _is_finite(whole.float()):
            raise CheckpointError(
                f"Tensor {quoted(name)} has numbers that are too large for {FLOATS[dtype]}.\n"
                "Convert to bfloat16 or float32."
            )
        return made

    return Outgoing(dtype, tensor.shape, read)


def _is_finite(tensor: Tensor) -> bool:
    # With a NaN, the extremes are NaN: this needs no second tensor.
    return not tensor.numel() or all(math.isfinite(each) for each in torch.aminmax(tensor))


def write_tensors(
    path: Path,
    tensors: Mapping[str, Outgoing],
    metadata: Mapping[str, str],
    progress: Progress | None = None,
    check: Callable[[], None] | None = None,
) -> None:
    """Write a safetensors file. What was at ``path`` is replaced at the end, and kept on an error.

    ``check()`` is called before the end; it may raise.

    Raises ``CheckpointError`` if the disk is too small or not writable, or a header is too long.
    """
    try:
        with _replacing(path) as file:
            check_disk(path.parent, sum(tensor.size for tensor in tensors.values()))
            write_into(file, tensors, metadata, progress)
            if check is not None:
                check()
    except OSError as error:
        raise CheckpointError(
            f"{path} could not be written: {error.strerror or error}.\n"
            "Nothing was changed; no part of it was left."
        ) from error


def write_into(
    file: BinaryIO,
    tensors: Mapping[str, Outgoing],
    metadata: Mapping[str, str],
    progress: Progress | None = None,
) -> None:
    """Write the bytes of a safetensors file. Raises ``OSError``, and what reading raises."""
    order = sorted(tensors, key=lambda name: (-ITEM_BYTES[tensors[name].dtype], name))
    file.write(_header(order, tensors, metadata))
    done, total = 0, sum(tensor.size for tensor in tensors.values())
    for name in order:
        numbers = tensors[name].read().contiguous().reshape(-1)
        file.write(numbers.view(torch.uint8).numpy().data)
        done += tensors[name].size
        if progress is not None:
            progress(done, total)


def _header(
    order: list[str], tensors: Mapping[str, Outgoing], metadata: Mapping[str, str]
) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt", **metadata}}
    place = 0
    for name in order:
        end = place + tensors[name].size
        entries[name] = {
            "dtype": tensors[name].dtype,
            "shape": list(tensors[name].shape),
            "data_offsets": [place, end],
        }
        place = end
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > HEADER_LIMIT:
        raise CheckpointError(
            f"The names of {len(order):,} tensors take {len(text):,} bytes of a header; "
            f"the limit is {HEADER_LIMIT:,}."
        )
    return len(text).to_bytes(8, "little") + text


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file, which takes the name ``path`` when all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name[:80]}.{secrets.token_hex(8)}"
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    with suppress(OSError):  # some network disks cannot; the file is there anyway
        sync(path.parent)


def check_disk(folder: Path, needed: int) -> None:
    """Raise ``CheckpointError`` if a folder's disk has no room for that many bytes."""
    there = next((each for each in (folder, *folder.parents) if each.is_dir()), None)
    free = needed if there is None else shutil.disk_usage(there).free
    if needed > free:
        raise CheckpointError(
            f"The file needs {needed:,} bytes on the disk of {folder}, which has {free:,} left.\n"
            "Free some space, or choose another disk."
        )
