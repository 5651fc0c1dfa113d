from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken
from vocabulary import write_one_file, write_vocabulary

from sdwidgets.errors import CheckpointError, CheckpointNotFound
from sdwidgets.models.tokenizer import clip_tokenizer, load_tokenizer

N = 521  # tokens of the small vocabulary; the last two start and end a text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_vocabulary(tmp_path)
    return tmp_path


def write(path: Path, **content: Any) -> None:
    path.write_text(json.dumps(content))


def test_merges_are_applied_in_their_order(folder: Path) -> None:
    assert load_tokenizer(folder).encode("The cat, a DOG").tokens == [
        "the</w>", "cat</w>", ",</w>", "a</w>", "dog</w>",
    ]  # fmt: skip


def test_text_that_no_merge_knows_is_bytes(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    assert len(tokenizer.encode("\U0001f600").ids) == 4
    assert max(tokenizer.encode("".join(map(chr, range(1, 0x2000)))).ids) < N - 2


def test_special_tokens_are_clips_where_no_file_names_others(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    assert (tokenizer.bos, tokenizer.eos, tokenizer.pad, len(tokenizer)) == (519, 520, 520, N)


@pytest.mark.parametrize("name", ["special_tokens_map.json", "tokenizer_config.json"])
@pytest.mark.parametrize("pad", ["!", {"content": "!", "normalized": True}])
def test_padding_of_its_own(folder: Path, name: str, pad: Any) -> None:
    write(folder / name, pad_token=pad)
    tokenizer = load_tokenizer(folder)
    assert (tokenizer.pad, tokenizer.eos) == (0, 520)
    assert tokenizer.encode("cat!").ids[-1] == 0  # a padding token can also be part of a text


def test_merges_in_lines_of_windows(folder: Path) -> None:
    expected = load_tokenizer(folder)
    merges = folder / "merges.txt"
    merges.write_bytes(merges.read_bytes().replace(b"\n", b"\r\n"))
    found = load_tokenizer(folder)
    assert found.merges == expected.merges
    assert found.encode("the catdog").ids == expected.encode("the catdog").ids


@pytest.mark.parametrize("old", [True, False])
def test_added_tokens_are_found_whole(folder: Path, old: bool) -> None:
    if old:
        write(folder / "added_tokens.json", **{"<toy>": N})
    else:
        added = {str(N): {"content": "<toy>", "special": False}}
        write(folder / "tokenizer_config.json", added_tokens_decoder=added)
    tokenizer = load_tokenizer(folder)
    assert tokenizer.encode("a <toy>cat").tokens == ["a</w>", "<toy>", "cat</w>"]
    assert len(tokenizer) == N + 1


@pytest.mark.parametrize("as_text", [True, False])
def test_one_file_reads_as_the_two(folder: Path, as_text: bool) -> None:
    expected = load_tokenizer(folder)
    pairs = [list(pair) for pair in expected.merges]
    write_one_file(folder, merges=[" ".join(pair) for pair in pairs] if as_text else pairs)
    found = load_tokenizer(folder)
    assert (found.vocab, found.merges) == (expected.vocab, expected.merges)
    assert found.encode("the catdog").ids == expected.encode("the catdog").ids


def test_added_tokens_of_write_one_file(folder: Path) -> None:
    write_one_file(folder)
    data = json.loads((folder / "tokenizer.json").read_text())
    data["added_tokens"] = [{"id": N, "content": "<toy>", "lstrip": True, "special": False}]
    write(folder / "tokenizer.json", **data)
    tokenizer = load_tokenizer(folder)
    assert tokenizer.encode("cat <toy>").ids == [tokenizer.vocab["cat</w>"], N]
    assert tokenizer.added[N] == AddedToken("<toy>", lstrip=True)


def test_the_length_counts_to_the_largest_id(folder: Path) -> None:
    vocab = json.loads((folder / "vocab.json").read_text())
    write(folder / "vocab.json", **(vocab | {"far": 5000}))
    assert len(load_tokenizer(folder)) == 5001


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
def test_a_folder_without_a_tokenizer(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointNotFound, match=name):
        load_tokenizer(folder)


BROKEN: dict[str, dict[str, str]] = {
    "no JSON": {"vocab.json": "{"},
    "a list": {"vocab.json": "[]"},
    "empty": {"vocab.json": "{}"},
    "ids that are no numbers": {"vocab.json": '{"a": "b"}'},
    "ids below zero": {"vocab.json": '{"a": -1}'},
    "an id twice": {"vocab.json": '{"a": 1, "b": 1}'},
    "a token twice": {"vocab.json": '{"a": 1, "a": 2}'},
    "huge ids": {"vocab.json": '{"a": 99999999999999999999}'},
    "nested": {"vocab.json": '{"a":' + "[" * 100_000},
    "merges of nothing": {"merges.txt": "#version: 0.2\nfoo bar\n"},
    "a merge of three": {"merges.txt": "#version: 0.2\nc a t\n"},
    "no text": {"merges.txt": "\udcff"},
    "a token that is no text": {"special_tokens_map.json": '{"pad_token": 5}'},
    "an empty token": {"special_tokens_map.json": '{"eos_token": ""}'},
    "a flag that is none": {"tokenizer_config.json": '{"eos_token":{"content":"a","lstrip":1}}'},
    "an added token elsewhere": {"added_tokens.json": '{"<toy>": 7000}'},
    "a model of another kind": {"tokenizer.json": '{"model": {"type": "WordPiece"}}'},
    "another end of words": {"tokenizer.json": '{"model": {"type": "BPE", "vocab": {"a": 1}}}'},
    "nothing": {"tokenizer.json": "{}"},
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_tokenizers_are_refused(folder: Path, fault: str) -> None:
    for name, content in BROKEN[fault].items():
        (folder / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(CheckpointError, match="No CLIP tokenizer could be read") as caught:
        load_tokenizer(folder)
    assert str(caught.value).count("\n") < 3 and len(str(caught.value)) < 600


def test_a_pattern_of_a_file_is_not_used(folder: Path) -> None:
    write_one_file(folder)
    data = json.loads((folder / "tokenizer.json").read_text())
    data["pre_tokenizer"] = {"type": "Whitespace"}
    data["normalizer"] = data["truncation"] = None
    write(folder / "tokenizer.json", **data)
    assert load_tokenizer(folder).encode("CAT,dog").tokens == ["cat</w>", ",</w>", "dog</w>"]


def test_a_vocabulary_beyond_reason_is_refused_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_vocabulary(tmp_path)
    many = ",".join(f'"{n}":{n}' for n in range(400_001))
    (tmp_path / "vocab.json").write_text("{" + many + "}")
    monkeypatch.setattr("json.loads", lambda *a, **b: pytest.fail("was parsed"))
    with pytest.raises(CheckpointError, match="more than 400,000 values"):
        load_tokenizer(tmp_path)


def test_clips_own_tokenizer_needs_no_file() -> None:
    tokenizer = clip_tokenizer()
    assert (len(tokenizer), tokenizer.bos, tokenizer.eos) == (49408, 49406, 49407)
    assert len(tokenizer.merges) == 49408 - 512 - 2
    assert tokenizer.disorder() is None
    # ids in the examples of CLIP's own code and of published workflows
    assert tokenizer.encode("a photo of a cat").ids == [320, 1125, 539, 320, 2368]
    assert tokenizer.encode("!").ids == [256] and tokenizer.vocab["!"] == 0
