"""Threads for work in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .errors import Busy


def start_daemon(name: str, target: Callable[..., object], *args: object) -> threading.Thread:
    """Return a running daemon thread of that name, which calls ``target(*args)``.

    Raises ``Busy`` if the system cannot start another thread.
    """
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:
        raise Busy(
            f"The system cannot start a thread: {error}.\nClose other programs and try again."
        ) from error
    return thread
