"""``convert``: safetensors out of a pickle, in another type of numbers or another layout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from .. import checks
from ..errors import CheckpointError, InputError
from ..version import __version__
from .contents import as_dtype
from .exchange import is_there
from .pickles import PickleFile, open_weights
from .target import stored_dtype
from .weights import TensorFile
from .writing import Outgoing, Progress, outgoing, write_tensors


@dataclass(frozen=True)
class Converted:
    """What `convert` wrote: ``tensors`` of ``bytes`` together at ``path``. ``notes`` say more."""

    path: Path
    tensors: int
    bytes: int
    notes: tuple[str, ...] = ()


def convert(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    dtype: str | torch.dtype | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Converted:
    """Write the tensors of a file to the safetensors file ``out``, and say what was written.

    ``path``: a safetensors file, or a pickle (.ckpt, .pt, .pth, .bin). Nothing in a pickle is run;
    a pickle that wants anything but tensors and containers is refused, and the error names what it
    wants. Its tensors are those of its ``state_dict`` or ``model`` if it has one; `PickleFile` has
    the names. Tensors that share memory become tensors of their own.

    ``dtype``: "float16", "bfloat16" or "float32" for all tensors of floats; None keeps each as it
    is. Integers are always kept. ``overwrite``: replace an existing ``out``. ``progress(done,
    total)`` is called with bytes.

    A tensor is read and written at a time. The new file takes its name when it is complete. Raises
    ``CheckpointNotFound``, ``CheckpointError`` or ``InputError``; nothing is left behind then.
    """
    source, target = checks.path("path", path), checks.path("out", out)
    number = stored_dtype(dtype)
    checks.flag("overwrite", overwrite)
    checks.function("progress", progress)
    if target.suffix != ".safetensors":
        raise InputError(
            f"The new file is a safetensors file: end the name {target.name!a} in .safetensors.",
            parameter="out",
        )
    _check_target(source, target, overwrite)
    with open_weights(source) as file:
        tensors = {name: outgoing(file, name) for name in file.entries}
        tensors = _as_dtype(file, tensors, number)
        notes = {key: value for key, value in file.metadata.items() if key != "format"}
        notes["converted_by"] = f"sdwidgets {__version__}"
        write_tensors(target, tensors, notes, progress, file.check_unchanged)
        said = _said(file)
    return Converted(target, len(tensors), sum(each.size for each in tensors.values()), said)


def _check_target(source: Path, target: Path, overwrite: bool) -> None:
    if not is_there(target):
        return
    if target.is_dir() or not target.is_file():
        raise InputError(f"{target} exists and is no file.", parameter="out")
    if source.exists() and target.samefile(source):
        raise InputError(
            f"{target} is the file to convert. Give the new file another name.", parameter="out"
        )
    if not overwrite:
        raise InputError(
            f"{target} exists. Give another name, or ask for it to be replaced (overwrite).",
            parameter="out",
        )


def _as_dtype(
    file: TensorFile, tensors: dict[str, Outgoing], dtype: torch.dtype | None
) -> dict[str, Outgoing]:
    if dtype is None:
        return tensors
    if any(name.endswith((".scale_weight", "scaled_fp8")) for name in tensors):
        raise CheckpointError(
            f"{file.path} has weights of 8 bits with scales, which another type would change.\n"
            "Convert it without dtype."
        )
    return dict(as_dtype(tensors, dtype))


def _said(file: TensorFile) -> tuple[str, ...]:
    if not isinstance(file, PickleFile):
        return ()
    said = []
    if file.place:
        said.append(f"The tensors of {'.'.join(file.place)!a} were taken.")
    if file.left_out:
        shown = ", ".join(ascii(name[:40]) for name in file.left_out[:5])
        more = len(file.left_out) - 5
        said.append(f"Left out: {shown}{f' and {more} more' if more > 0 else ''}.")
    return tuple(said)
