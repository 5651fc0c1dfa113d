"""Faster imports of large packages: torch takes seconds in a fresh process."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """Pause Python's garbage collector while large packages are imported.

    Importing torch creates hundreds of thousands of objects, and nearly all of them stay. The
    collector scans them again and again for about a tenth of the time, and finds nothing. At the
    end the new objects are marked as old, so that the next collection does not scan them all
    either. The collector's state and objects frozen by others stay as they were.
    """
    if not gc.isenabled():  # someone else's choice, or another thread's import
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count() == 0:
            gc.freeze()  # moves all objects to the permanent generation,
            gc.unfreeze()  # and from there to the oldest, without scanning them
        gc.enable()
