"""Processes that end while something goes on: the exit code stays, what was reached is saved."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from sdwidgets import ending
from sdwidgets.daemon import start_daemon
from sdwidgets.ending import Work, end_all, going_on, over

HERE = Path(__file__).parent

BEFORE = f"""
import sys, threading, time
sys.path[:0] = [{str(HERE / "training")!r}, {str(HERE.parent)!r}]
what, how, file = sys.argv[1:]
reached = threading.Event()

def end(wait=lambda: time.sleep(600)):
    print("ready", flush=True)
    if how == "exit":
        sys.exit(3)
    if how == "error":
        raise ValueError("mine")
    if how != "return":
        wait()
"""

TRAINING = """
import torch
from torch import nn
from test_loop import Line, PLAN, replace, train

task = Line()
task.model = nn.Sequential(nn.Linear(4, 300), nn.SiLU(), nn.Linear(300, 300), nn.Linear(300, 3))
steps = train(task, replace(PLAN, steps=10**9, batch_size=256, checkpoint_every=10**9), file)

def follow():
    for step in steps:
        if step.index == 2:
            reached.set()
            if what == "loop":
                end(lambda: None)
                if how == "return":
                    break

if what == "loop":
    follow()
elif what == "suspended":
    for _ in range(3):
        next(steps)
    end()
elif what == "thread":
    def compute_after():
        follow()
        for _ in range(20):
            torch.ones(500, 500) @ torch.ones(500, 500)
    threading.Thread(target=compute_after, daemon=True).start()
    reached.wait()
    end()
else:
    import sdwidgets as sdw
    view = sdw.TrainingView()
    view.start(steps)
    while len(view.steps) < 3:
        time.sleep(0.01)
    end(view.wait)
"""

MANAGER = """
from sdwidgets.manager import ModelManager, Request
from sdwidgets.settings import Settings
manager = ModelManager()
manager.submit(Request("emoji", Settings("a cat", steps=500)), on_step=lambda _: reached.set())
reached.wait()
end()
"""

WORK = """
import torch
from sdwidgets.widgets.newest import Newest

def work(is_old):
    while not is_old():
        torch.ones(500, 500) @ torch.ones(500, 500)
        reached.set()

Newest(print, print).ask("work", work)
reached.wait()
end()
"""

SCRIPTS = {"manager": MANAGER, "lab": WORK}
CODES = {"return": 0, "exit": 3, "error": 1, "SIGTERM": -signal.SIGTERM, "SIGINT": -signal.SIGINT}


def ended(tmp_path: Path, what: str, how: str) -> tuple[int, str, Path]:
    """The exit code of a process that ends like this, what it said, and its checkpoint."""
    file = tmp_path / "mine.pt"
    script = BEFORE + SCRIPTS.get(what, TRAINING)
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script, what, how, str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(HERE.parent)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    if how.startswith("SIG"):
        process.send_signal(getattr(signal, how.split()[0]))
    if how.endswith("twice"):
        process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    return process.returncode, said, file


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="other signals there")
@pytest.mark.parametrize(
    ("what", "how"),
    [
        ("loop", "SIGTERM"),
        ("loop", "SIGINT twice"),
        ("suspended", "return"),
        ("suspended", "error"),
        ("view", "exit"),
        ("view", "SIGTERM"),
        ("view", "SIGINT twice"),
    ],
)
def test_a_training_is_saved_and_the_exit_code_kept(tmp_path: Path, what: str, how: str) -> None:
    code, said, file = ended(tmp_path, what, how)
    assert code == CODES[how.split()[0]], said
    assert "terminate called" not in said
    assert "Fatal Python error" not in said
    assert torch.load(file, weights_only=True)["step"] >= 3
    assert [one.name for one in tmp_path.iterdir()] == [file.name]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="other signals there")
@pytest.mark.parametrize("what", ["thread", "manager", "lab"])
def test_work_on_other_threads_aborts_no_process(tmp_path: Path, what: str) -> None:
    code, said, file = ended(tmp_path, what, "exit")
    assert code == CODES["exit"], said
    assert "terminate called" not in said
    assert file.exists() == (what == "thread")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but this test's work goes on."""
    monkeypatch.setattr(ending, "_going_on", {})


@pytest.mark.usefixtures("alone")
def test_all_are_asked_before_the_first_is_waited_for() -> None:
    told: list[str] = []
    for name in "ab":
        going_on(
            Work(
                lambda name=name: told.append(f"ask {name}"),  # type: ignore[misc]
                lambda seconds, name=name: told.append(f"wait {name}"),  # type: ignore[misc]
                1.0,
            )
        )
    end_all()
    end_all()  # they are over
    assert told == ["ask a", "ask b", "wait a", "wait b"]


@pytest.mark.usefixtures("alone")
def test_one_that_fails_to_end_keeps_no_other_from_it() -> None:
    told: list[float] = []
    bad = Work(lambda: 1 / 0, lambda seconds: 1 / 0, 1.0)
    going_on(bad)
    going_on(Work(lambda: None, told.append, float("inf")))
    end_all(most=0.0)
    assert told == [0.0]
    over(bad)  # again, which changes nothing


@pytest.mark.usefixtures("alone")
def test_a_thread_is_asked_waited_for_and_forgotten() -> None:
    asked, done = threading.Event(), threading.Event()

    def work() -> None:
        asked.wait(60)
        done.set()

    thread = start_daemon("mine", work, end=asked.set, patience=60.0)
    end_all()
    assert done.is_set()
    thread.join()
    start_daemon("mine", print).join()
    assert not ending._going_on


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.usefixtures("alone")
def test_a_forked_process_has_nothing_to_end() -> None:
    going_on(Work(lambda: None, lambda seconds: None, 1.0))
    child = os.fork()
    if not child:
        os._exit(len(ending._going_on))
    assert os.waitpid(child, 0)[1] == 0
    assert len(ending._going_on) == 1


def test_a_programs_own_handler_of_sigterm_stays() -> None:
    mine = lambda number, frame: None  # noqa: E731
    usual = signal.signal(signal.SIGTERM, mine)
    try:
        ending.after_sigterm()
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, usual)
