"""Threads for work in the background."""

from __future__ import annotations

import threading

import pytest

from sdwidgets.daemon import start_daemon
from sdwidgets.errors import Busy


def test_a_thread_calls_its_target_and_keeps_no_process_alive() -> None:
    called: list[tuple[object, str]] = []
    thread = start_daemon(
        "mine", lambda value: called.append((value, threading.current_thread().name)), 3
    )
    thread.join(10)
    assert called == [(3, "mine")]
    assert thread.daemon


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError("full")])
def test_without_a_thread_to_give_it_is_busy(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise error

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(Busy, match=f"{error}.\nClose other programs"):
        start_daemon("mine", print)
