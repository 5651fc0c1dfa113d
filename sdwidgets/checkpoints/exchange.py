"""A folder replaced at once, or not at all, even if the process is killed meanwhile.

A new folder is written beside the old one, in a hidden folder, and the two exchange their names in
a single call where the system has one (Linux, macOS). Elsewhere the old folder moves away first;
`recovered` moves it back if the process was killed at that moment. What killed processes leave
behind is swept by the next save to the same name.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

if sys.platform != "win32":  # there, a file that is open cannot be removed, which is as good
    import fcntl

_OLD, _NEW, _LOCK = "old", "new", "lock"
_YOUNG = 60.0  # seconds until a hidden folder without a lock cannot be just begun
_PATIENCE = 2.0  # seconds; moving a folder takes milliseconds


def replaced(target: Path, write: Callable[[Path], None], keep: Callable[[Path], None]) -> None:
    """Let ``write(new)`` make a folder, and give it the name ``target``.

    If ``target`` exists, ``keep(new)`` may first copy from it what should stay. An error leaves
    it unchanged. Raises what ``write`` and ``keep`` raise, and OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    recovered(target)
    _sweep(target)
    with _scratch(target) as scratch:
        new, old = scratch / _NEW, scratch / _OLD
        write(new)
        if not target.exists():
            os.replace(new, target)
        else:
            keep(new)
            if not _exchanged(new, target):
                os.replace(target, old)
                try:
                    os.replace(new, target)
                except BaseException:
                    os.replace(old, target)
                    raise
        sync(target.parent)


def is_there(target: Path) -> bool:
    """Whether there is something of that name, even a broken link. A folder that a killed process
    had moved away is moved back."""
    try:
        return os.path.lexists(target) or recovered(target)
    except ValueError:  # a NUL in the name
        return False


def recovered(target: Path) -> bool:
    """Move a folder back that a killed process had moved away, and return whether there was one.

    Waits for a process that is just replacing it.
    """
    end = time.monotonic() + _PATIENCE
    while not os.path.lexists(target):
        moved = [path for path in _scratches(target) if (path / _OLD).is_dir()]
        if not moved:
            return False
        for scratch in moved:
            with _abandoned(scratch) as is_abandoned:
                if is_abandoned:
                    with suppress(OSError):  # another process was quicker
                        os.replace(scratch / _OLD, target)
                        return True
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return False


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    if path.is_dir() and os.name == "nt":  # Windows cannot
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(target: Path) -> None:
    """Remove what killed processes left of earlier saves to ``target``."""
    for scratch in _scratches(target):
        with _abandoned(scratch) as is_abandoned:
            if is_abandoned:
                shutil.rmtree(scratch, ignore_errors=True)


def _prefix(target: Path) -> str:
    return f".{target.name[:80]}.saving."


def _scratches(target: Path) -> list[Path]:
    """Return the hidden folders of saves to ``target``, also of those under way."""
    prefix, found = _prefix(target), []
    with suppress(OSError), os.scandir(target.parent) as entries:
        found = [Path(entry.path) for entry in entries if entry.name.startswith(prefix)]
    return [path for path in found if path.is_dir() and _target_of(path) in (target.name, "")]


def _target_of(scratch: Path) -> str:
    """Return the name that is being saved; "" if the process was killed before it said so."""
    try:
        return (scratch / _LOCK).read_text("utf-8")
    except (OSError, ValueError):
        return ""


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """Make a hidden folder beside ``target``, which is locked while it is used."""
    scratch, lock = _locked_folder(target)
    try:
        with lock:
            yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _locked_folder(target: Path) -> tuple[Path, TextIO]:
    while True:
        scratch = target.parent / f"{_prefix(target)}{secrets.token_hex(8)}"
        scratch.mkdir()
        lock = open(scratch / _LOCK, "x", encoding="utf-8")  # noqa: SIM115  # the caller closes it
        try:
            _lock(lock.fileno())
            lock.write(target.name)
            lock.flush()
            if (scratch / _LOCK).exists():  # not swept between the lines above
                return scratch, lock
        except BaseException:
            lock.close()
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        lock.close()


@contextmanager
def _abandoned(scratch: Path) -> Iterator[bool]:
    """Tell whether no process is working in a hidden folder, and keep others out meanwhile."""
    try:
        lock = open(scratch / _LOCK, "r+b")  # noqa: SIM115
    except FileNotFoundError:
        yield _age(scratch) > _YOUNG
        return
    except OSError:
        yield False
        return
    if sys.platform == "win32":
        lock.close()
        yield _removed(scratch / _LOCK)
    else:
        with lock:
            yield _lock(lock.fileno())


def _removed(path: Path) -> bool:
    """Remove a file, which fails on Windows while it is open elsewhere; return whether it did."""
    try:
        os.remove(path)
    except OSError:
        return False
    return True


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:  # gone
        return 0.0


def _lock(descriptor: int) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # taken, or a disk without locks: then nothing is ever swept
        return False
    return True


def _exchanged(a: Path, b: Path) -> bool:
    """Let two folders exchange their names at once, and return whether that was possible."""
    names = os.fsencode(a), os.fsencode(b)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            return bool(library.renamex_np(*names, ctypes.c_uint(2)) == 0)  # RENAME_SWAP
        here = ctypes.c_int(-100)  # AT_FDCWD
        return bool(library.renameat2(here, names[0], here, names[1], ctypes.c_uint(2)) == 0)
    except (AttributeError, OSError, TypeError):  # no such function; Windows
        return False
