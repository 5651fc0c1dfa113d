"""Work in the background ends, and is waited for, when the process ends.

Python stops daemon threads wherever they are. A thread that is inside torch then aborts the whole
process ("terminate called without an active exception"), and the exit code is lost. A training
loses what it has learnt since its last checkpoint. So all work in the background is registered
here, with how to end it.

``sys.exit``, an exception and the end of a script are followed by `atexit`'s functions, of which
ours is one. SIGTERM ends a process at once; while a training goes on, it does so after the
checkpoint is written.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

PATIENCE = 60.0
"""Seconds for which a process that gets SIGTERM waits for what goes on."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Work:
    """Something that goes on: ``ask`` lets it end soon, and must not wait. ``wait(seconds)``
    returns when it has ended or the time is up. ``patience`` is how many seconds the end of the
    process may take for it."""

    ask: Callable[[], object]
    wait: Callable[[float], object]
    patience: float


_going_on: dict[Work, None] = {}  # in the order in which it began
_lock = threading.RLock()
_begun = False


def going_on(work: Work) -> None:
    """Have ``work`` ended when the process ends, until `over` is called."""
    global _begun
    with _lock:
        if not _begun:
            _begun = True
            atexit.register(_at_exit)
            if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
                os.register_at_fork(after_in_child=_forget)
        _going_on[work] = None


def over(work: Work) -> None:
    """Forget ``work``, which has ended."""
    with _lock:
        _going_on.pop(work, None)


def end_all(most: float = float("inf")) -> None:
    """Ask all work to end, and wait for each as long as its patience, and ``most`` seconds."""
    with _lock:
        works = [*_going_on]
    for work in works:
        _quietly(work.ask)
    began = time.monotonic()
    for work in works:
        left = began + min(work.patience, most) - time.monotonic()
        _quietly(work.wait, max(left, 0.0))
        over(work)


def after_sigterm() -> None:
    """Let SIGTERM end the process only after what goes on has ended.

    Does nothing on other threads than the main thread, and if the program has a handler itself.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end_by)


def _end_by(number: int, frame: FrameType | None = None) -> None:
    """End what goes on, and then the process, as by the signal itself."""
    signal.signal(number, signal.SIG_DFL)  # a second one acts at once
    end_all(PATIENCE)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            _quietly(stream.flush)
    signal.raise_signal(number)


def _at_exit() -> None:
    """End what goes on. A first Ctrl-C meanwhile changes nothing, a second one ends the process."""
    if not _going_on:
        return
    asked = False

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:  # not by an exception: threads still work
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        asked = True

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, hold)
    end_all()


def _forget() -> None:
    """In a forked process: its parent's work is not its own, and the lock may be held there."""
    global _lock
    _lock = threading.RLock()
    _going_on.clear()


def _quietly(call: Callable[..., object], *args: object) -> None:
    try:
        call(*args)
    except Exception:
        log.warning("Background work could not be ended.", exc_info=True)
