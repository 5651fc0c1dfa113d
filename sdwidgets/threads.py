"""The number of CPU threads for a computation, restored afterwards.

By default torch takes all cores. Its OpenMP threads wait for each other by spinning, which is fast
while each has its own core. When two processes share the cores, they mostly wait for threads that
are not running, and both take tens of times as long. A small network gains little from a second
thread, so it gets a single thread. A large network gets the cores that are free.
"""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from torch import nn

from .daemon import start_daemon
from .errors import Busy
from .preferences import options
from .usage import control_groups

SMALL = 2.5e9
"""The most multiply-adds of a pass for a single thread; see ``python -m benchmarks.threads``.

A guided step of the bundled model has 0.4e9, its autoencoder 2.2e9, a step of Stable Diffusion 1
7e11. On two idle cores a second thread makes steps up to 1.8e9 at most 1.2 times as fast, those of
3.6e9 1.6 times.
"""


_PROCESS = os.getpid()

_SETTING = threading.Lock()
"""Held while new threads would begin with our number, which no thread of the kit may do."""


@contextmanager
def threads_for(network: nn.Module, positions: int) -> Iterator[None]:
    """Compute inside this block with as many CPU threads as passes of ``network`` are worth.

    ``positions`` is batch x height x width of its input, or batch x tokens. Only the calling thread
    is affected, and its previous number is restored at the end. The block has no effect for
    networks on a GPU, nor if the user has chosen a number (see `preferences.Options`).

    In a forked process, torch computes with one thread from then on: with more, it would wait for
    ever for the OpenMP threads of the parent process.
    """
    if os.getpid() != _PROCESS:
        torch.set_num_threads(1)
        yield
        return
    with _SETTING:
        before = torch.get_num_threads()  # also fixes the number in this thread, if it is new
    wanted = before
    weight = next(network.parameters(), None)
    if weight is not None and weight.device.type == "cpu" and _can_set():
        wanted = options.threads or _chosen(network, positions, before)
    if wanted == before:
        yield
        return
    try:
        _set(wanted, for_new_threads=before)
        yield
    finally:
        torch.set_num_threads(before)


def multiply_adds(network: nn.Module, positions: int) -> float:
    """Return roughly how many multiply-adds a pass takes.

    Each weight is used at each position, and every level of a UNet or autoencoder has a quarter of
    the positions of the previous level.
    """
    return sum(
        weights * (positions if level is None else positions / 4**level)
        for level, weights in _weights_by_level(network).items()
    )


def _chosen(network: nn.Module, positions: int, before: int) -> int:
    if "OMP_NUM_THREADS" in os.environ or "MKL_NUM_THREADS" in os.environ:
        return before
    if before not in torchs_own():
        return before
    if multiply_adds(network, positions) <= SMALL:
        return 1
    return max(min(before, free_cores()), 1)


@cache
def _can_set() -> bool:
    """Whether torch's number of threads can be set at any time, and for each thread alone."""
    return "ATen parallel backend: OpenMP" in torch.__config__.parallel_info()


def _set(number: int, *, for_new_threads: int) -> None:
    """Set this thread's number. torch also keeps it for threads that have not computed yet, so
    another thread restores it: a user's thread must not begin with our number."""
    with _SETTING:
        torch.set_num_threads(number)
        with suppress(Busy):  # no thread is left in the system, so the user cannot start any either
            start_daemon("sdwidgets threads", torch.set_num_threads, for_new_threads).join()


_LEVELS: WeakKeyDictionary[nn.Module, dict[int, int]] = WeakKeyDictionary()
_BLOCK = re.compile(r"(?:^|\.)(down_blocks|up_blocks)\.(\d+)\.")
_MIDDLE = re.compile(r"(?:^|\.)(mid_block|quant_conv|post_quant_conv)\.")
_ONCE = re.compile(
    r"(?:^|\.)(time_embedding|add_embedding|class_embedding|time_emb_proj|embeddings)\."
)


def _weights_by_level(network: nn.Module) -> dict[int, int]:
    """Return the number of weights per level; networks without levels are all at level 0."""
    if network not in _LEVELS:
        names = {name: weight.numel() for name, weight in network.named_parameters()}
        found = [(name, _BLOCK.search(name)) for name in names]
        deepest = max((int(block[2]) for _, block in found if block), default=0)
        levels: dict[int, int] = {}
        for name, block in found:
            if _ONCE.search(name):  # used once per pass, or looked up: negligible
                continue
            if block:
                level = int(block[2]) if block[1] == "down_blocks" else deepest - int(block[2])
            else:
                level = deepest if _MIDDLE.search(name) else 0
            levels[level] = levels.get(level, 0) + names[name]
        _LEVELS[network] = levels
    return _LEVELS[network]


# ------------------------------------------------------------------------------- the machine


def torchs_own() -> set[int]:
    """Return the numbers that torch may have chosen itself: all logical or all physical cores."""
    cores = _cores()
    return {len(cores), _physical(cores), os.cpu_count() or 1}


def free_cores() -> int:
    """Return how many cores this process may use and no other process uses; at least 1."""
    cores = _cores()
    quotas = [quota for group in control_groups() if (quota := _quota(group))]
    allowed = min(len(cores), *map(math.ceil, quotas)) if quotas else len(cores)
    return max(allowed - round(_OTHERS.busy(cores)), 1)


def _cores() -> tuple[int, ...]:
    """Return the logical cores on which this process may run."""
    try:
        return tuple(sorted(os.sched_getaffinity(0)))
    except (AttributeError, OSError):  # macOS, Windows
        return tuple(range(os.cpu_count() or 1))


@cache
def _physical(cores: tuple[int, ...]) -> int:
    """Return how many physical cores they are: half of them if the system does not tell."""
    try:
        siblings = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
        return len({Path(siblings.format(core)).read_text() for core in cores})
    except OSError:
        return max(len(cores) // 2, 1)


def _quota(group: Path) -> float | None:
    """Return how many cores' worth of time a control group may use; None without a limit.

    https://docs.kernel.org/admin-guide/cgroup-v2.html, of version 1 scheduler/sched-bwc.html.
    """
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu" / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if quota.strip() not in ("max", "-1") else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


class _Others:
    """How many cores other processes keep busy, from the system's counters (Linux)."""

    SHORTEST = 0.5  # seconds between two looks; the system counts in hundredths

    def __init__(self, stat: Path = Path("/proc/stat")):
        self._stat = stat
        self._lock = threading.Lock()
        self._busy = 0.0
        self._last: tuple[float, float, float] | None = None  # wall, all processes, this one

    def busy(self, cores: tuple[int, ...]) -> float:
        """Return the number since the last look; 0 at the first look, and if it is unknown."""
        with self._lock:
            now = time.monotonic()
            if self._last is None or now - self._last[0] >= self.SHORTEST:
                everyone, own = self._seconds(cores), time.process_time()
                if everyone is None:
                    return 0.0
                if self._last is not None:
                    wall, before, own_before = self._last
                    self._busy = max(everyone - before - (own - own_before), 0.0) / (now - wall)
                self._last = now, everyone, own
            return self._busy

    def _seconds(self, cores: tuple[int, ...]) -> float | None:
        """Return for how many seconds these cores have worked since the machine started."""
        wanted = {f"cpu{core}" for core in cores}
        try:
            ticks = 0
            for line in self._stat.read_text().splitlines():
                name, *fields = line.split()
                if name in wanted:
                    user, nice, system, _idle, _iowait, interrupts, soft = map(int, fields[:7])
                    ticks += user + nice + system + interrupts + soft
            return ticks / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, AttributeError):
            return None


_OTHERS = _Others()
