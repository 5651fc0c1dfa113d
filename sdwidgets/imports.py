"""Heavy imports in less time: torch takes seconds of a fresh process."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import large packages inside this: Python's garbage collector rests meanwhile.

    Importing torch makes hundreds of thousands of objects, nearly all of which stay. The
    collector goes through them again and again as they grow, for about a tenth of the time, and
    finds nothing. Afterwards they count as old, so that it does not go through all of them at
    once either. The collector's state and what others have frozen remain as they were.
    """
    if not gc.isenabled():  # someone else's choice, or another thread's import
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count() == 0:
            gc.freeze()  # all objects to the permanent generation, and
            gc.unfreeze()  # from there to the oldest: a way to age them without a look at each
        gc.enable()
