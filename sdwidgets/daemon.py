"""Threads for work beside the one that asked for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .errors import Busy


def start_daemon(name: str, target: Callable[..., object], *args: object) -> threading.Thread:
    """A running thread of that name, which calls ``target(*args)`` and keeps no process alive.

    Raises ``Busy`` where the system has no thread to give.
    """
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:
        raise Busy(
            f"The system has no thread for this: {error}.\nClose other programs and try again."
        ) from error
    return thread
