"""Threads for work in the background, which end before the process does."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .ending import Work, going_on, over
from .errors import Busy

PATIENCE = 10.0
"""Seconds for which the end of the process waits for a thread, if nothing else is said."""


def start_daemon(
    name: str,
    target: Callable[..., object],
    *args: object,
    end: Callable[[], object] | None = None,
    patience: float = PATIENCE,
) -> threading.Thread:
    """Return a running daemon thread of that name, which calls ``target(*args)``.

    When the process ends, ``end`` is called, which asks the thread to end soon and must not wait.
    Then it is waited for, at most ``patience`` seconds.

    Raises ``Busy`` if the system cannot start another thread.
    """

    def run() -> None:
        try:
            target(*args)
        finally:
            over(work)

    thread = threading.Thread(target=run, name=name, daemon=True)
    work = Work(end or (lambda: None), lambda seconds: _join(thread, seconds), patience)
    going_on(work)
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:
        over(work)
        raise Busy(
            f"The system cannot start a thread: {error}.\nClose other programs and try again."
        ) from error
    return thread


def _join(thread: threading.Thread, seconds: float) -> None:
    if thread is not threading.current_thread():
        thread.join(min(seconds, threading.TIMEOUT_MAX))
