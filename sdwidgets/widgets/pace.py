"""How often widgets send: all of them share one way to the page, and a page draws what comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

INTERVAL = 1 / 15
"""Seconds from one message with frames of a widget to its next, at least."""

MOST = 80
"""Messages with frames a second, of all widgets together; what else is sent has room beside it."""

ANSWER_INTERVAL = 1.0
"""Seconds from one answer of a widget to its next, at least."""


class Pace:
    """When a widget may send its next frames: every so many seconds, and as often as all may."""

    _all_sent = -float("inf")  # when any of them last sent

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._sent = -float("inf")

    def left(self) -> float:
        """Seconds until it may send; 0 or less: now."""
        return max(self._sent + self._interval, Pace._all_sent + 1 / MOST) - time.perf_counter()

    def sent(self) -> None:
        """It sends now."""
        self._sent = Pace._all_sent = time.perf_counter()


class Answer:
    """Answers a page that asks, at most once a second; every view of a widget hears each answer.

    Who asks in between is answered when the second is over, all at once.
    """

    def __init__(self, send: Callable[[], object]):
        self._send = send
        self._lock = threading.Lock()
        self._sent = -float("inf")
        self._waiting = False

    def __call__(self) -> None:
        """A page asks."""
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
