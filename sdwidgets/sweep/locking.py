"""A lock on a file, which the system lets go of when the process ends, however it does."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)


class Lock:
    """A file that is held by this process. On disks that know no locks, several may hold it."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor

    @classmethod
    def held(cls, path: Path) -> Lock | None:
        """The lock, or None if someone else holds it. Raises OSError if there can be no file."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _take(descriptor)
        except OSError as error:
            if error.errno in _TAKEN:
                os.close(descriptor)
                return None
            # the file system has no locks
        return cls(descriptor)

    def release(self) -> None:
        """Let go of it."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def _take(descriptor: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
