"""The hub's own library against a hub that misbehaves, on this machine: what is left is right."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkpoint_files import write_folder
from hub_server import COMMIT, Hub, running, start

windows = pytest.mark.skipif(sys.platform == "win32", reason="there is no fcntl")

TOKEN = "hf_SECRETSECRETSECRET"

FETCH = """
import json, sys
from sdwidgets.checkpoints import hub
from sdwidgets.errors import SDWidgetsError
hub._DELAYS = (0.0, 0.0)
def fetched():
    try:
        return str(hub.fetch("a/b"))
    except SDWidgetsError as error:
        return f"{type(error).__name__}: {error}"
"""
ONCE = FETCH + "print(json.dumps(fetched()))"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("library") / "model")


@pytest.fixture
def hub(folder: Path) -> Iterator[Hub]:
    with running(folder) as hub:
        yield hub


def answer(program: str, hub: Hub, home: Path, **environment: str) -> str:
    process = start(program, hub.address, home, **environment)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert TOKEN not in out + err
    return str(json.loads(out.splitlines()[-1]))


def snapshot(home: Path) -> Path:
    return home / "hub" / "models--a--b" / "snapshots" / COMMIT


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_every_file_cut_in_half_is_completed(hub: Hub, folder: Path, tmp_path: Path) -> None:
    hub.cut = {name for name in hub.files if name.endswith(".safetensors")}
    assert answer(ONCE, hub, tmp_path) == str(snapshot(tmp_path))
    assert not hub.cut
    assert contents(snapshot(tmp_path)) == contents(folder)


@pytest.mark.slow
def test_wrong_bytes_of_the_right_length_are_removed(hub: Hub, tmp_path: Path) -> None:
    name = "vae/diffusion_pytorch_model.safetensors"
    hub.wrong = {name}
    said = answer(ONCE, hub, tmp_path)
    assert "HubError" in said and name in said and "SHA-256 differs" in said
    assert not (snapshot(tmp_path) / name).exists()
    hub.wrong = set()
    assert answer(ONCE, hub, tmp_path) == str(snapshot(tmp_path))
    assert (snapshot(tmp_path) / name).read_bytes() == hub.files[name]


@windows
@pytest.mark.slow
def test_two_processes_at_once_without_locks_that_work(
    hub: Hub, folder: Path, tmp_path: Path
) -> None:
    program = "import fcntl\nfcntl.flock = lambda *_: None\n" + ONCE
    processes = [start(program, hub.address, tmp_path) for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert json.loads(out.splitlines()[-1]) == str(snapshot(tmp_path))
    assert contents(snapshot(tmp_path)) == contents(folder)


@windows
@pytest.mark.slow
def test_what_is_cached_needs_no_lock_and_no_hub(hub: Hub, tmp_path: Path) -> None:
    """As in a cache that others share: a process that hangs holds every lock."""
    assert answer(ONCE, hub, tmp_path) == str(snapshot(tmp_path))
    hub.asked.clear()
    held = FETCH + (
        "import fcntl, pathlib, os\n"
        f"for path in pathlib.Path({str(tmp_path)!r}).rglob('*.lock'):\n"
        "    fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX)\n"
        "print(json.dumps(fetched()))"
    )
    assert answer(held, hub, tmp_path) == str(snapshot(tmp_path))
    assert hub.asked == []


@pytest.mark.slow
def test_each_refusal_has_its_own_words_and_no_token(hub: Hub, tmp_path: Path) -> None:
    """The installed library's own errors, and a token that it sends along."""
    said = {}
    for status in (401, 403, 404, 429, 500, 503):
        hub.status = status
        said[status] = answer(ONCE, hub, tmp_path / str(status), HF_TOKEN=TOKEN)
        assert said[status].startswith("HubError: ") and len(said[status].splitlines()) <= 3
    assert f"Bearer {TOKEN}" in hub.tokens
    assert "accepted its terms" in said[403] and "too many requests" in said[429]
    assert "private" in said[401] and "private" in said[404]
    assert "5xx" in said[500] and "5xx" in said[503]
    assert not any(path.is_file() for path in tmp_path.rglob("snapshots/*/*"))


@pytest.mark.slow
def test_a_hub_that_is_not_there(hub: Hub, tmp_path: Path) -> None:
    hub.server_close()
    assert "cannot be reached" in answer(ONCE, hub, tmp_path)
