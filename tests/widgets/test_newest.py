"""Work where only the newest request counts."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sdwidgets.widgets.newest import Newest


def test_only_the_newest_of_what_waits_is_done() -> None:
    done: list[str] = []
    started, go_on = threading.Event(), threading.Event()

    def first(is_old: Callable[[], bool]) -> None:
        started.set()
        go_on.wait(60)
        done.append(f"first, old: {is_old()}")

    work = Newest(failed=lambda _: None, finished=lambda: done.append("finished"))
    work.ask("a", first)
    assert started.wait(60)
    for i in range(5):
        work.ask("a", lambda _, i=i: done.append(f"a{i}"))
    work.ask("b", lambda _: done.append("b"))
    go_on.set()
    assert work.idle.wait(60)
    assert done == ["first, old: True", "a4", "b", "finished"]


def test_what_fails_is_told_and_the_rest_is_done() -> None:
    failed: list[BaseException] = []
    done: list[int] = []
    work = Newest(failed=failed.append, finished=lambda: None)
    work.ask("a", lambda _: 1 / 0)
    work.ask("b", lambda _: done.append(1))
    assert work.idle.wait(60)
    assert isinstance(failed[0], ZeroDivisionError) and done == [1]


def test_after_the_close_nothing_is_done() -> None:
    done: list[int] = []
    work = Newest(failed=lambda _: None, finished=lambda: done.append(0))
    work.close()
    work.ask("a", lambda _: done.append(1))
    assert work.idle.wait(1) and done == []
