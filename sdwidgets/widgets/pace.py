"""How often widgets send: they share a connection, and a page draws everything that arrives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

INTERVAL = 1 / 15
"""The least seconds between two messages of a widget with frames."""

MOST = 80
"""The most messages with frames per second of all widgets, which leaves room for others."""

ANSWER_INTERVAL = 1.0
"""The least seconds between two answers of a widget."""


class Pace:
    """When a widget may send its next frames: at its own interval, and within the common limit."""

    _all_sent = -float("inf")  # when any widget last sent

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._sent = -float("inf")

    def left(self) -> float:
        """Return the seconds until it may send; 0 or less means now."""
        return max(self._sent + self._interval, Pace._all_sent + 1 / MOST) - time.perf_counter()

    def sent(self) -> None:
        """Note that it sends now."""
        self._sent = Pace._all_sent = time.perf_counter()


class Answer:
    """Answers pages at most once per second; every view of a widget gets each answer.

    Requests in between are answered together at the end of the second.
    """

    def __init__(self, send: Callable[[], object]):
        self._send = send
        self._lock = threading.Lock()
        self._sent = -float("inf")
        self._waiting = False

    def __call__(self) -> None:
        """Answer a page now, or at the end of the second."""
        with self._lock:
            if self._waiting:
                return
            left = self._sent + ANSWER_INTERVAL - time.perf_counter()
            self._waiting = left > 0
        if left <= 0:
            self._answer()
            return
        timer = threading.Timer(left, self._answer)
        timer.daemon = True
        timer.start()

    def _answer(self) -> None:
        with self._lock:
            self._waiting, self._sent = False, time.perf_counter()
        self._send()
