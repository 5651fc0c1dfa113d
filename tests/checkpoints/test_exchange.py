"""Folders are replaced at once: whenever the process is killed, there is the old or the new one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from sdwidgets.checkpoints import exchange
from sdwidgets.checkpoints.exchange import is_there, recovered, replaced

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@pytest.fixture(params=["at once", "in two moves"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let folders exchange their names at once, if the system can, or in two moves."""
    if request.param == "in two moves":
        monkeypatch.setattr(exchange, "_exchanged", lambda *folders: False)
    return str(request.param)


def write(content: str, folder: Path) -> None:
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_text(content)


def put(target: Path, content: str) -> None:
    def keep(new: Path) -> None:
        if (target / "README").exists():
            (new / "README").write_text((target / "README").read_text())

    replaced(target, lambda new: write(content, new), keep)


def content_of(folder: Path) -> str:
    (content,) = {(folder / name).read_text() for name in ("a", "b")}
    return content


@pytest.mark.usefixtures("way")
def test_a_folder_is_made_and_replaced_and_nothing_else_stays(tmp_path: Path) -> None:
    target = tmp_path / "model"
    put(target, "old")
    (target / "README").write_text("mine")
    put(target, "new")
    assert content_of(target) == "new" and (target / "README").read_text() == "mine"
    assert os.listdir(tmp_path) == ["model"]


def can_exchange(folder: Path) -> bool:
    for name in ("one", "two"):
        (folder / name).mkdir()
    can = exchange._exchanged(folder / "one", folder / "two")
    for name in ("one", "two"):
        (folder / name).rmdir()
    return can


def test_names_are_exchanged_in_a_single_call(tmp_path: Path) -> None:
    if not can_exchange(tmp_path):
        pytest.skip("this system cannot exchange names")
    write("a", tmp_path / "a")
    write("b", tmp_path / "b")
    assert exchange._exchanged(tmp_path / "a", tmp_path / "b")
    assert (content_of(tmp_path / "a"), content_of(tmp_path / "b")) == ("b", "a")
    assert not exchange._exchanged(tmp_path / "a", tmp_path / "nothing")


@pytest.mark.usefixtures("way")
def test_an_error_leaves_the_old_folder_alone(tmp_path: Path) -> None:
    put(tmp_path / "model", "old")

    def fails(new: Path) -> None:
        write("new", new)
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        replaced(tmp_path / "model", fails, lambda new: None)
    assert content_of(tmp_path / "model") == "old" and os.listdir(tmp_path) == ["model"]


def killed_at(point: int, target: Path, content: str) -> bool:
    """Replace a folder in a process that kills itself before its n-th access to the disk; return
    whether it came that far."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of forks; this child only moves files
        child = os.fork()
    if child == 0:
        left = point

        def count(event: str, args: object) -> None:
            nonlocal left
            if event.startswith(("os.", "open", "shutil.", "ctypes.")) and event != "os.kill":
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(count)
            put(target, content)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@needs_fork
@pytest.mark.slow
def test_a_process_killed_at_any_point_leaves_the_old_or_the_new_folder(
    tmp_path: Path, way: str
) -> None:
    target = tmp_path / "model"
    put(target, "0")
    (target / "README").write_text("mine")
    seen, recoveries, leftovers, point = set(), 0, 0, 0
    while killed_at(point, target, f"{point + 1}"):
        recoveries += not target.exists()
        assert is_there(target)
        now = content_of(target)
        seen.add(now == f"{point + 1}")
        assert now in (f"{point + 1}", "before" if point else "0")
        assert (target / "README").read_text() == "mine"
        leftovers += len(os.listdir(tmp_path)) > 1
        for hidden in exchange._scratches(target):  # one without a lock is swept when it is old
            os.utime(hidden, (0, 0))
        put(target, "before")
        assert os.listdir(tmp_path) == ["model"]
        point += 1
        assert point < 500
    assert content_of(target) == f"{point + 1}" and os.listdir(tmp_path) == ["model"]
    assert point > 20 and leftovers > 5 and seen == {True, False}
    if way == "in two moves":
        assert recoveries > 0
    elif can_exchange(tmp_path):
        assert recoveries == 0  # there was no moment without a model


def test_a_folder_that_another_process_is_replacing_is_waited_for(tmp_path: Path) -> None:
    target = tmp_path / "model"
    put(target, "old")
    with exchange._scratch(target) as scratch:
        os.replace(target, scratch / "old")
        write("new", scratch / "new")
        back = threading.Timer(0.05, os.replace, (scratch / "new", target))
        back.start()
        assert not recovered(target) or content_of(target) == "new"
        back.join()
    assert content_of(target) == "new"


def test_a_save_under_way_is_neither_swept_nor_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "_PATIENCE", 0.0)
    target = tmp_path / "model"
    put(target, "old")
    # in another process: locks are between processes and open files
    code = (
        "import importlib.util as u, sys, pathlib\n"
        "spec = u.spec_from_file_location('exchange', sys.argv[1])\n"
        "exchange = u.module_from_spec(spec); spec.loader.exec_module(exchange)\n"
        "with exchange._scratch(pathlib.Path(sys.argv[2])) as scratch:\n"
        "    print(scratch, flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, exchange.__file__, str(target)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout is not None and other.stdin is not None
        scratch = Path(other.stdout.readline().strip())
        put(target, "new")
        assert scratch.is_dir()
        os.replace(target, scratch / "old")
        assert not recovered(target)
        os.replace(scratch / "old", target)
        other.stdin.close()
    assert content_of(target) == "new" and os.listdir(tmp_path) == ["model"]


def test_the_saves_of_other_names_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".model.saving.1").mkdir()
    (tmp_path / ".model.saving.1" / "lock").write_text("model.saving.x")
    (tmp_path / ".model.other").mkdir()
    put(tmp_path / "model", "new")
    assert sorted(os.listdir(tmp_path)) == [".model.other", ".model.saving.1", "model"]
