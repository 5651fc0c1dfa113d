"""Waiting in a cell for work in the background."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sdwidgets.errors import Busy
from sdwidgets.widgets import kernel
from sdwidgets.widgets.waiting import wait


def test_it_returns_when_the_work_is_over() -> None:
    over = threading.Event()
    threading.Timer(0.05, over.set).start()
    wait(over, None, what="The work", is_here=False)
    assert over.is_set()


def test_it_gives_up_after_its_time() -> None:
    with pytest.raises(TimeoutError, match=r"The work was not done after 0\.01 s; it goes on"):
        wait(threading.Event(), 0.01, what="The work", is_here=False)


def test_on_the_works_own_thread_it_is_busy_unless_the_work_is_over() -> None:
    over = threading.Event()
    with pytest.raises(Busy, match=r"on its own thread.*\nElsewhere\."):
        wait(over, None, what="The work", is_here=True, instead="Elsewhere.")
    over.set()
    wait(over, None, what="The work", is_here=True)


def test_ctrl_c_stops_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> bool:
        raise KeyboardInterrupt

    stopped: list[bool] = []
    monkeypatch.setattr(kernel, "wait_for", interrupted)
    with pytest.raises(KeyboardInterrupt):
        wait(
            threading.Event(),
            None,
            what="The work",
            is_here=False,
            stop=lambda: stopped.append(True),
        )
    assert stopped == [True]
