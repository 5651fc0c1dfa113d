"""How much memory is free, checked before weights are loaded and before a run starts; when it asks
for tiles; and the many ways in which it runs out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import torch
from torch import Tensor

from .configs import AutoencoderConfig
from .devices import check_device
from .errors import OutOfMemory
from .settings import amount, autoencoder_memory
from .usage import main_memory

R = TypeVar("R")

MPS_TENSOR = 2**32 - 1
"""Bytes of the largest tensor on Apple's GPU; beyond, Metal ends the process."""


def available_memory(device: torch.device) -> int | None:
    """Bytes that can still be allocated on ``device``; None if the system does not say.

    Raises ``DeviceLost``.
    """
    check_device(device)
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept  # torch's cache can be used again
    # Apple's GPU shares the main memory.
    return min(main_memory(), default=None)


def check_memory(needed: int, device: torch.device, what: str) -> None:
    """Raise ``OutOfMemory`` if ``needed`` bytes are not free; ``what`` needs them."""
    free = available_memory(device)
    if free is not None and needed > free:
        raise OutOfMemory(
            f"{what} needs {amount(needed)} of memory on {device}; {amount(free)} are free.\n"
            "Unload other models, close programs, or load in half precision (dtype='bfloat16')."
        )


def asks_for_tiles(config: AutoencoderConfig, width: int, height: int, weight: Tensor) -> bool:
    """Whether there is too little memory for an image of that size through an autoencoder at once,
    and tiles need less.

    ``weight`` is any of its weights. Raises ``DeviceLost``.
    """
    if not _tiles_save(config, width, height):
        return False
    cells = (width // config.factor) * (height // config.factor)
    if weight.device.type == "mps" and config.mid_attention * 4 * cells**2 > MPS_TENSOR:
        return True  # there, attention keeps its scores
    free = available_memory(weight.device)
    needed = autoencoder_memory(config, width, height) * weight.element_size() / 4
    return free is not None and needed > free


def tiled_where_short(
    config: AutoencoderConfig, width: int, height: int, weight: Tensor, work: Callable[[bool], R]
) -> tuple[R, bool]:
    """What ``work(tiled)`` returns, and whether it was tiled: where memory asks for it, or has run
    out without."""
    if not asks_for_tiles(config, width, height, weight):
        if not _tiles_save(config, width, height):
            return work(False), False
        with suppress(OutOfMemory):
            return within_memory(lambda: work(False), str), False
    return work(True), True


def _tiles_save(config: AutoencoderConfig, width: int, height: int) -> bool:
    whole, tiled = (autoencoder_memory(config, width, height, tiled=n) for n in (False, True))
    return tiled < whole


def within_memory(work: Callable[[], R], message: Callable[[], str]) -> R:
    """The result of ``work()``. Raises ``OutOfMemory`` with ``message()`` if memory runs out.

    The original error is gone by then: as the context of ours it would keep tensors alive.
    """
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    raise OutOfMemory(message())


def is_out_of_memory(error: Exception) -> bool:
    """Whether the error means that memory ran out, on any device."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    # CUDA's driver and libraries, MPS and the CPU raise plain RuntimeErrors.
    said = str(error).lower()
    return any(sign in said for sign in _SIGNS)


_SIGNS = (
    "out of memory",
    "defaultcpuallocator",
    "not enough memory",
    "can't allocate memory",
    "alloc_failed",
)
