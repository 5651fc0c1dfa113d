"""Ctrl-C and SIGTERM between steps, never within a step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

HELD = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_back() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the block has ended; a second one acts at once.

    So weights are never half updated, and files are written whole. Signals without a handler, and
    threads other than the main thread, are left alone.
    """
    usual: dict[int, Callable] = {}
    asked: list[int] = []
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in HELD}
        usual = {number: handler for number, handler in handlers.items() if callable(handler)}

    def hold(number: int, frame: FrameType | None) -> None:
        if number not in asked:
            asked.append(number)
            return
        asked.remove(number)
        usual[number](number, frame)

    try:
        for number in usual:
            signal.signal(number, hold)
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        for number in asked:
            usual[number](number, None)
