"""Sources of models: names that reveal nothing of this machine, and hashes of whole files."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from sdwidgets import sources
from sdwidgets.errors import InputError
from sdwidgets.sources import LocalFile, Source, differences, hashed


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(range(256)) * 5000)  # several blocks
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


@pytest.mark.parametrize(
    "given",
    [
        {"name": 3},
        {"name": ""},
        {"name": "a" * 600},
        {"kind": None},
        {"sha256": "A" * 64},
        {"sha256": "ab"},
        {"commit": "main"},
        {"strength": float("nan")},
        {"strength": "much"},
        {"strength": True},
        {"text_strength": 1e7},
    ],
)
def test_values_that_no_record_could_keep_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        Source(**({"name": "a"} | given))
    assert caught.value.parameter in given


def test_a_source_comes_back_from_its_dictionary() -> None:
    source = Source("a", "b" * 64, "lora", 0.5, "c" * 40)
    assert Source.from_dict(source.as_dict() | {"of a newer version": 1}) == source
    assert Source.from_dict(Source("a").as_dict()) == Source("a")
    lora = Source("a", kind="lora", strength=0.0, text_strength=-1)
    assert lora.as_dict()["text_strength"] == -1 and Source.from_dict(lora.as_dict()) == lora
    with pytest.raises(InputError):
        Source.from_dict({"name": "a"})  # of what kind?


A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ([], [Source("a")]),  # nothing is expected
        ([Source("a")], [Source("a", A)]),
        ([Source("a", A)], [Source("renamed", A)]),
        ([Source("a"), Source("b", kind="lora")], [Source("b", kind="lora"), Source("a")]),
    ],
)
def test_sources_that_agree_as_far_as_is_known(expected: list[Source], found: list[Source]) -> None:
    assert differences(expected, found) == ""


@pytest.mark.parametrize(
    ("expected", "found", "said"),
    [
        ([Source("a")], [Source("b")], "used: b, expected: a."),
        ([Source("a", A)], [Source("a", B)], "used: a (bbbbbbbb), expected: a (aaaaaaaa)."),
        ([Source("a")], [Source("a"), Source("b", kind="lora")], "; used: b."),
        ([Source("a"), Source("b", kind="lora")], [Source("a")], "; expected: b."),
        (
            [Source("a", kind="lora", strength=1.0)],
            [Source("a", kind="lora", strength=0.5)],
            "used: a (strength 0.5), expected: a (strength 1).",
        ),
        ([Source("a")], [], "not known"),
        ([Source(name) for name in "abcde"], [Source("f")], "expected: a, b, c and 2 more."),
    ],
)
def test_sources_that_differ(expected: list[Source], found: list[Source], said: str) -> None:
    assert said in differences(expected, found)


def test_a_file_is_read_only_if_a_digest_is_expected(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [source_of(file)]
    (known,) = hashed(found)
    sources._sha256.cache_clear()
    assert "expected" in differences([Source(file.name, A)], found)
    assert differences([known], found) == ""
    monkeypatch.setattr(sources, "hashed", None)
    assert differences([Source(file.name)], found) == ""
