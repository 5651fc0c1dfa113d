"""How much memory there is, is free and is taken by this process. Nothing here imports torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

GROUP = Path("/sys/fs/cgroup")
MACHINE = Path("/proc/meminfo")
PROCESS = Path("/proc/self/statm")
OWN_GROUP = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Usage:
    """The memory of a device, in bytes; None where the system does not say.

    ``device``: "cpu", "cuda:0", ... ``name``: its name for people. ``process``: what this process
    takes.
    """

    device: str
    name: str
    total: int | None
    free: int | None
    process: int | None


def usage(device: str = "cpu") -> Usage:
    """The memory of a device; of the machine, as long as this process does not use the device.

    Asking begins to use no device: that alone would take memory there.
    """
    torch = sys.modules.get("torch")
    with suppress(Exception):  # a GPU that has failed for good, or torch while it is imported
        if device.startswith("cuda") and torch is not None and torch.cuda.is_initialized():
            free, total = torch.cuda.mem_get_info(device)
            name, taken = torch.cuda.get_device_name(device), torch.cuda.memory_reserved(device)
            return Usage(device, name, total, free, taken)
        if device.startswith("mps") and torch is not None:  # Apple's GPU shares the main memory
            taken = torch.mps.driver_allocated_memory()
            return Usage(device, "Apple GPU", *_main(), taken)
    return Usage("cpu", "Main memory", *_main(), _resident())


def main_memory() -> Iterator[int]:
    """Upper bounds of the free main memory: the machine's and the container's."""
    if MACHINE.exists():
        yield from _field("MemAvailable:")
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        # Not Linux: without another library only the total is known.
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for group in control_groups():
        yield from container_memory(group)


def control_groups(root: Path = GROUP, own: Path = OWN_GROUP) -> Iterator[Path]:
    """The control groups whose limits hold for this process, the outermost first.

    A container sees its own group as the root. A service of systemd, such as a JupyterHub makes for
    each user, is further down. (https://docs.kernel.org/admin-guide/cgroup-v2.html)
    """
    yield root
    with suppress(OSError, ValueError):
        for line in own.read_text().splitlines():
            number, _, path = line.split(":", 2)
            parts = [part for part in path.split("/") if part]
            if number == "0" and ".." not in parts:  # version 2, and inside what is seen here
                for part in parts:
                    root = root / part
                    yield root


def container_memory(group: Path = GROUP) -> Iterator[int]:
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


def _main() -> tuple[int | None, int | None]:
    """The main memory, and what of it is free."""
    groups = [*control_groups()]
    limits = [limit for group in groups for limit in container_memory(group)]
    totals, free = [*_field("MemTotal:")], [*_field("MemAvailable:"), *limits]
    if not totals:
        with suppress(Exception):  # not Linux; a kernel brings this library
            import psutil

            machine = psutil.virtual_memory()
            totals, free = [machine.total], [machine.available]
    for group in groups:
        with suppress(OSError, ValueError):  # no group, or no limit
            totals.append(int((group / "memory.max").read_text()))
    return min(totals, default=None), min(free, default=None)


def _field(name: str) -> Iterator[int]:
    with suppress(OSError, ValueError, IndexError):
        for line in MACHINE.read_text().splitlines():
            if line.startswith(name):
                yield int(line.split()[1]) * 1024


def _resident() -> int | None:
    """The main memory that this process takes."""
    with suppress(OSError, ValueError, IndexError):
        return int(PROCESS.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    with suppress(Exception):
        import psutil

        return int(psutil.Process().memory_info().rss)
    return None
