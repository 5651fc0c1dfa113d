"""Two sides that follow each other: what one of them sets is not taken for news of the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock


class Alone:
    """``with alone() as first``: ``first`` is whether nothing else goes on under the same guard.

    What is set inside is heard inside, on the same thread, and so is not first. Other threads wait.
    """

    def __init__(self, lock: RLock):
        self._lock = lock
        self._inside = False

    @contextmanager
    def __call__(self) -> Iterator[bool]:
        with self._lock:
            was, self._inside = self._inside, True
            try:
                yield not was
            finally:
                self._inside = was
