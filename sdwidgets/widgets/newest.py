"""Background work where only the newest request counts, as for sliders."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ..daemon import start_daemon

log = logging.getLogger(__name__)

Work = Callable[[Callable[[], bool]], object]
"""A piece of work; its argument is a function that tells whether the work is out of date."""


class Newest:
    """Does pieces of work in order on its own thread, but only the newest of each kind.

    ``ask`` may be called from any thread and returns at once. Of each kind, at most one piece is
    running and one is waiting. ``failed`` gets the exceptions, and ``finished`` is called when all
    work is done, both on that thread, which lives while there is work.
    """

    def __init__(
        self,
        failed: Callable[[BaseException], object],
        finished: Callable[[], object],
        name: str = "sdwidgets lab",
    ):
        self.name = name  # of the thread
        self.idle = threading.Event()
        self.idle.set()
        self._failed, self._finished = failed, finished
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[Work, int]] = {}
        self._newest: dict[str, int] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    def ask(self, kind: str, work: Work) -> None:
        """Do the work, instead of any waiting work of that kind. Does nothing after `close`.

        Raises ``Busy`` if the system cannot start another thread.
        """
        with self._lock:
            if self._closed:
                return
            if self._thread is None:
                self._start()
            number = self._newest[kind] = self._newest.get(kind, 0) + 1
            self._waiting.pop(kind, None)  # it goes to the end of the queue
            self._waiting[kind] = work, number
            self.idle.clear()

    def drop(self, kind: str) -> None:
        """Forget waiting work of that kind; running work of that kind becomes out of date."""
        with self._lock:
            self._newest[kind] = self._newest.get(kind, 0) + 1
            self._waiting.pop(kind, None)

    def close(self) -> None:
        """Take no more work; running work ends when it checks whether it is out of date."""
        with self._lock:
            self._closed = True
            self._waiting.clear()

    def _start(self) -> None:
        """Start the thread; the caller holds the lock, so the thread finds its work."""
        self._thread = start_daemon(self.name, self._go_on, end=self.close)

    @property
    def is_mine(self) -> bool:
        """Whether this is the thread that does the work."""
        return threading.current_thread() is self._thread

    def _go_on(self) -> None:
        while True:
            with self._lock:
                kind = next(iter(self._waiting), None)
                work, number = self._waiting.pop(kind) if kind is not None else (None, 0)
            if kind is None or work is None:
                if not self._closed:
                    _harmless(self._finished)
                with self._lock:
                    if not self._waiting:  # still
                        self._thread = None
                        self.idle.set()
                        return
                continue

            def is_old(kind: str = kind, number: int = number) -> bool:
                return self._closed or self._newest[kind] != number

            try:
                work(is_old)
            except BaseException as error:  # the thread goes on after any error
                _harmless(self._failed, error)


def _harmless(tell: Callable[..., object], *what: object) -> None:
    """Call ``tell``. An error in it must not end a thread that others wait for."""
    try:
        tell(*what)
    except BaseException:
        log.exception("The outcome of work in the background cannot be shown.")
