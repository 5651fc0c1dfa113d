"""The device and type of loaded weights, and errors on the way there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeVar

import torch

from ..checks import shown
from ..devices import is_lost, lost
from ..errors import CheckpointError, InputError, OutOfMemory, SDWidgetsError
from ..memory import is_out_of_memory

T = TypeVar("T")


def device_of(device: str | torch.device) -> torch.device:
    """Return the device by its name; "auto" is an NVIDIA GPU, Apple's GPU or the CPU, as available.

    Raises ``InputError`` for a device that is unknown or not on this machine.
    """
    if isinstance(device, str) and device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    result = torch.device("meta")
    if isinstance(device, (str, torch.device)):
        with suppress(RuntimeError, ValueError):
            result = torch.device(device)
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if result.type not in there:
        raise InputError(
            f"There is no device {shown(device)}. Known: auto, cpu, cuda, mps.",
            parameter="device",
        )
    if not there[result.type] or (
        result.type == "cuda" and (result.index or 0) >= torch.cuda.device_count()
    ):
        raise InputError(
            f"This machine has no device {result}.\nUse device='auto'.", parameter="device"
        )
    return result


_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def dtype_of(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """Return the type by its name; "auto" is float16 on an NVIDIA GPU and float32 elsewhere.

    float16 on a CPU becomes float32, with a warning. Raises ``InputError`` for unknown types.
    """
    if isinstance(dtype, str) and dtype == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    found = _DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or found not in _DTYPES.values():
        raise InputError(
            f"There is no dtype {shown(dtype)} here. Known: auto, {', '.join(_DTYPES)}.",
            parameter="dtype",
        )
    if found == torch.float16 and device.type == "cpu":
        warnings.warn("float16 is slow on a CPU, so the model is loaded in float32.", stacklevel=3)
        return torch.float32
    return found


def stored_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """Return the type in which weights are written; None keeps theirs. Raises ``InputError``."""
    stored = _DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if dtype is None:
        return None
    if isinstance(stored, torch.dtype) and stored in _DTYPES.values():
        return stored
    raise InputError(
        f"There is no dtype {shown(dtype)} for weights. Known: {', '.join(_DTYPES)}.",
        parameter="dtype",
    )


def loaded(path: Path, device: torch.device, assemble: Callable[[ExitStack], T]) -> T:
    """Return what ``assemble`` makes of the files that it opens in the stack; then close them.

    Errors of the disk and the memory become ``CheckpointError`` and ``OutOfMemory``.
    """
    try:
        with ExitStack() as stack:
            return assemble(stack)
    except SDWidgetsError:
        raise
    except (OSError, MemoryError, RuntimeError) as error:
        failure = _failure(error, path, device)
        if failure is None:
            raise
    raise failure  # outside: the error above would keep alive what was read so far


def _failure(error: Exception, path: Path, device: torch.device) -> SDWidgetsError | None:
    """Return the error as ours, without a reference to it; None if it is another kind of error."""
    if isinstance(error, OSError):  # a disk that fails, a network folder that is gone
        reason = error.strerror or type(error).__name__
        return CheckpointError(f"{path} could not be read: {reason}.")
    if is_lost(error):
        return lost(device, error)
    if is_out_of_memory(error):
        return OutOfMemory(
            f"There is not enough memory on {device} for {path}.\n"
            "Unload other models, close programs, or load in half precision (dtype='bfloat16')."
        )
    return None
