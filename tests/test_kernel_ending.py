"""Kernels that are shut down or restarted while something goes on: what was reached is saved."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
import torch

jupyter_client = pytest.importorskip("jupyter_client")

HERE = Path(__file__).parent
WAIT = 240  # seconds, never reached

TRAINING = f"""
import os, sys, threading
sys.path[:0] = [{str(HERE / "training")!r}, {str(HERE.parent)!r}]
from test_loop import Line, PLAN, replace, train
steps = train(Line(), replace(PLAN, steps=10**9, checkpoint_every=10**9), "mine.pt")
"""

IN_CELL = """
for step in steps:
    if step.index == 2:
        print("ready", os.getpid(), flush=True)
"""

IN_VIEW = """
import sdwidgets as sdw
reached = threading.Event()

def told():
    for step in steps:
        yield step
        if step.index == 2:
            reached.set()

view = sdw.TrainingView()
view.start(told())
reached.wait()
print("ready", os.getpid(), flush=True)
"""

RUN = f"""
import os, sys, threading
sys.path[:0] = [{str(HERE.parent)!r}]
from sdwidgets.manager import ModelManager, Request
from sdwidgets.settings import Settings
reached = threading.Event()
manager = ModelManager()
manager.submit(Request("emoji", Settings("a cat", steps=1000)), on_step=lambda _: reached.set())
reached.wait()
print("ready", os.getpid(), flush=True)
"""

WORK = {"cell": TRAINING + IN_CELL, "view": TRAINING + IN_VIEW, "manager": RUN}


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Any]:
    """A kernel in ``tmp_path``, whose errors go to the file "errors"."""
    manager = jupyter_client.KernelManager(shutdown_wait_time=2 * WAIT)
    with (tmp_path / "errors").open("w") as errors:
        manager.start_kernel(cwd=str(tmp_path), stderr=errors)
        try:
            yield manager
        finally:
            if manager.has_kernel:
                manager.shutdown_kernel(now=True)


def ready(manager: Any, code: str) -> int:
    """Execute ``code`` and return the process's id as soon as it is ready."""
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=WAIT)
        client.execute(code)
        while True:
            try:
                message = client.get_iopub_msg(timeout=WAIT)
            except Empty:
                pytest.fail("The kernel says nothing.")
            content = message["content"]
            assert message["msg_type"] != "error", content
            if content.get("text", "").startswith("ready"):
                return int(content["text"].split()[1])
    finally:
        client.stop_channels()


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a signal of 0 ends a process there")
@pytest.mark.parametrize("how", ["shutdown", "restart"])
@pytest.mark.parametrize("what", WORK)
def test_a_kernel_that_ends_saves_what_was_reached(
    kernel: Any, tmp_path: Path, what: str, how: str
) -> None:
    process = ready(kernel, WORK[what])
    assert is_there(process)
    if how == "shutdown":
        kernel.shutdown_kernel()
    else:
        kernel.restart_kernel()
        assert ready(kernel, "import os; print('ready', os.getpid(), flush=True)") != process
    assert not is_there(process)
    said = (tmp_path / "errors").read_text()
    assert "terminate called" not in said and "Fatal Python error" not in said
    files = {"errors"}
    if what != "manager":
        files.add("mine.pt")
        assert torch.load(tmp_path / "mine.pt", weights_only=True)["step"] >= 3
    assert {one.name for one in tmp_path.iterdir()} == files
