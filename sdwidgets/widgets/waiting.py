"""Waiting in a cell for background work."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..errors import Busy
from . import kernel


def wait(
    over: threading.Event,
    timeout: float | None,
    *,
    what: str,
    is_here: bool,
    stop: Callable[[], object] | None = None,
    instead: str = "Wait in a cell.",
) -> None:
    """Return once ``over`` is set. ``what`` names the work in messages.

    Raises TimeoutError after ``timeout`` seconds; the work goes on. Raises Busy if the caller is on
    the thread that does the work (``is_here``), for example in an observer, since waiting there
    would never end. Ctrl-C calls ``stop`` and raises KeyboardInterrupt.
    """
    if over.is_set():
        return
    if is_here:
        raise Busy(
            f"{what} cannot be waited for on its own thread, in an observer or a callback.\n"
            f"{instead}"
        )
    try:
        if not kernel.wait_for(over, timeout):
            raise TimeoutError(f"{what} was not done after {timeout} s; it goes on.")
    except KeyboardInterrupt:
        if stop is not None:
            stop()
        raise
