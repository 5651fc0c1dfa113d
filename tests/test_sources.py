"""What a model was made of: names that say nothing of this machine, and hashes of whole files."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from sdwidgets import sources
from sdwidgets.sources import LocalFile, Source, hashed


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(range(256)) * 5000)  # more than one block
    return path


def source_of(path: Path) -> Source:
    return Source(path.name, file=LocalFile.of(path))


def test_the_hash_is_the_whole_files(file: Path) -> None:
    (found,) = hashed([source_of(file)])
    assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_file_is_read_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = hashed([source_of(file)])
    monkeypatch.setattr(sources.hashlib, "sha256", None)
    assert hashed([source_of(file)]) == before


def test_with_too_much_to_read_nothing_is_read(file: Path) -> None:
    size = file.stat().st_size
    known = Source("other.safetensors", "a" * 64, file=LocalFile.of(file))  # nothing to read
    given = (source_of(file), known)
    assert hashed(given, size - 1) == given
    assert all(one.sha256 for one in hashed(given, size))


@pytest.mark.parametrize("change", ["longer", "newer", "gone", "folder"])
def test_another_file_of_that_name_has_another_hash(file: Path, change: str) -> None:
    found = source_of(file)
    before = file.stat()
    if change == "longer":
        file.write_bytes(file.read_bytes() + b"more")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif change == "newer":
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    else:
        file.unlink()
    if change == "folder":
        file.mkdir()
    assert hashed([found]) == (found,) and not found.sha256


def test_a_path_stays_here(file: Path) -> None:
    (found,) = hashed([source_of(file)])
    said = repr(found) + json.dumps(found.as_dict())
    assert str(file.parent) not in said and found.sha256 in said


def test_json_leaves_out_what_is_not_known() -> None:
    assert Source("a").as_dict() == {"name": "a", "kind": "checkpoint"}
    lora = Source("style.safetensors", "a" * 64, "lora", 0.0)
    assert lora.as_dict() == {
        "name": "style.safetensors",
        "kind": "lora",
        "sha256": "a" * 64,
        "strength": 0.0,
    }
