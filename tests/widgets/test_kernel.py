"""Differences between kernels."""

from __future__ import annotations

import sys
import threading
import types

import pytest

from sdwidgets.widgets import kernel


def test_outside_a_notebook_there_is_no_cell() -> None:
    assert kernel.current_cell() is None


def test_the_cell_is_what_the_request_says(monkeypatch: pytest.MonkeyPatch) -> None:
    request = {"metadata": {"cellId": "c1"}, "header": {"msg_id": "m1"}}
    shell = types.SimpleNamespace(kernel=types.SimpleNamespace(get_parent=lambda channel: request))
    ipython = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert kernel.current_cell() == kernel.Cell("c1", "m1")


def test_unpinning_lets_the_front_end_choose_the_shell() -> None:
    class Comm:
        def _reply_subshell_for(self, data: object, default: object) -> None: ...

    widget = types.SimpleNamespace(comm=Comm())
    kernel.unpin(widget, types.SimpleNamespace(comm=None), object())
    assert widget.comm._reply_subshell_for is None


def test_unpinning_finds_what_it_needs_in_this_ipykernel() -> None:
    ipykernel = pytest.importorskip("ipykernel")
    if ipykernel.version_info[:2] < (7, 4):
        pytest.skip("this ipykernel has no such rule")
    from ipykernel.comm import comm

    assert hasattr(comm.BaseComm, "_reply_subshell_for")


def test_waiting_ends_with_the_event() -> None:
    done = threading.Event()
    threading.Timer(0.05, done.set).start()
    assert kernel.wait_for(done)


def test_waiting_ends_at_its_limit() -> None:
    assert not kernel.wait_for(threading.Event(), 0.01)


def test_on_colab_messages_are_handled_while_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()

    class Events:
        def __enter__(self) -> object:
            return lambda count: done.set()

        def __exit__(self, *_: object) -> None: ...

    poll = types.SimpleNamespace(ui_events=Events)
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setitem(sys.modules, "jupyter_ui_poll", poll)
    assert kernel.wait_for(done, 10)


def test_cells_run_after_a_page_message_that_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    """What jupyter_ui_poll does at the end of a cell, where no cell ends."""
    done, ended = threading.Event(), []

    class Events:
        def __enter__(self) -> object:
            return lambda count: done.set()

        def __exit__(self, *_: object) -> None:
            ended.append("waiting")

        def at_the_end(self, _: object) -> None:
            ended.append("released")

    events = Events()
    parent = {"header": {"msg_type": "comm_msg"}}
    shell = types.SimpleNamespace(
        kernel=types.SimpleNamespace(get_parent=lambda: parent),
        events=types.SimpleNamespace(
            callbacks={"post_run_cell": [lambda _: ended.append("another"), events.at_the_end]}
        ),
    )
    monkeypatch.setattr(kernel, "_shell", lambda: shell)
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    poll = types.SimpleNamespace(ui_events=lambda: events)
    monkeypatch.setitem(sys.modules, "jupyter_ui_poll", poll)
    assert kernel.wait_for(done, 10)
    assert ended == ["waiting", "released"]

    ended.clear()
    parent["header"]["msg_type"] = "execute_request"  # in a cell, IPython itself does it
    assert kernel.wait_for(done, 10)
    done.clear()
    assert kernel.wait_for(done, 10)
    assert ended == ["waiting"] * 2
