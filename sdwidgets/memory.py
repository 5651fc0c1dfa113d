"""How much memory is free, checked before weights are loaded and before a run starts; and the many
ways in which memory runs out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import torch

from .devices import check_device
from .errors import OutOfMemory
from .settings import amount

R = TypeVar("R")


def available_memory(device: torch.device) -> int | None:
    """Bytes that can still be allocated on ``device``; None if the system does not say.

    Raises ``DeviceLost``.
    """
    check_device(device)
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept  # torch's cache can be used again
    # Apple's GPU shares the main memory.
    return min(_main_memory(), default=None)


def check_memory(needed: int, device: torch.device, what: str) -> None:
    """Raise ``OutOfMemory`` if ``needed`` bytes are not free; ``what`` needs them."""
    free = available_memory(device)
    if free is not None and needed > free:
        raise OutOfMemory(
            f"{what} needs {amount(needed)} of memory on {device}; {amount(free)} are free.\n"
            "Unload other models, close programs, or load in half precision (dtype='bfloat16')."
        )


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


def _main_memory() -> Iterator[int]:
    """Upper bounds of the free main memory: the machine's and the container's."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024
    except OSError:  # not Linux: without another library only the total is known
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    yield from _container_memory()


def _container_memory(group: Path = Path("/sys/fs/cgroup")) -> Iterator[int]:
    """What the control group leaves free (https://docs.kernel.org/admin-guide/cgroup-v2.html)."""
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        # Cached files count as used, but are dropped when memory is needed.
        for line in (group / "memory.stat").read_text().splitlines():
            if line.startswith("inactive_file "):
                used -= int(line.split()[1])
        if limit != "max":
            yield max(int(limit) - used, 0)
    except (OSError, ValueError):
        return
