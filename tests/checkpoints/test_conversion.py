"""Files of weights are converted: pickles to safetensors, other types of numbers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import save_tensors
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from sdwidgets import cli
from sdwidgets.checkpoints import convert, writing
from sdwidgets.checkpoints.weights import WeightFile
from sdwidgets.errors import CheckpointError, CheckpointNotFound, InputError


def saved(tensors: dict[str, Any], path: Path, **how: Any) -> Path:
    torch.save(tensors, path, **how)
    return path


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return dict(file.metadata())


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
def test_a_pickle_becomes_a_safetensors_file(tmp_path: Path, zipped: bool) -> None:
    whole = torch.randn(3, 4)
    tensors = {
        "whole": whole,
        "turned": whole.t(),
        "row": whole[1],
        "tied": whole,
        "half": nn.Parameter(torch.randn(2).half()),
        "ids": torch.arange(5),
        "mask": torch.tensor([True, False, True]),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0),
    }
    state = {"state_dict": tensors, "global_step": 875000, "optimizer_states": [torch.ones(3)]}
    path = saved(state, tmp_path / "m.ckpt", _use_new_zipfile_serialization=zipped)
    found = convert(path, tmp_path / "m.safetensors")
    assert (found.tensors, found.path) == (9, tmp_path / "m.safetensors")
    assert any("optimizer_states" in said for said in found.notes)
    made = load_file(found.path)
    assert made.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert made[name].dtype == tensor.dtype and torch.equal(made[name], tensor.detach()), name
    assert found.bytes == sum(each.nbytes for each in made.values())
    assert metadata_of(found.path)["global_step"] == "875000"
    with WeightFile(found.path) as file:  # by our own checks, too
        assert file.shapes == {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def test_another_type_changes_floats_and_nothing_else(tmp_path: Path) -> None:
    tensors = {"x": torch.randn(3), "y": torch.randn(2).double(), "n": torch.arange(3)}
    path = save_tensors(tensors, tmp_path / "m.safetensors", author="somebody")
    found = convert(path, tmp_path / "half.safetensors", dtype="float16")
    made = load_file(found.path)
    assert torch.equal(made["x"], tensors["x"].half()) and made["y"].dtype == torch.float16
    assert torch.equal(made["n"], tensors["n"])
    assert metadata_of(found.path)["author"] == "somebody"


def test_numbers_too_large_for_the_type_are_refused(tmp_path: Path) -> None:
    path = save_tensors({"fits": torch.ones(2), "big": torch.tensor([1e6])}, tmp_path / "m.sft")
    with pytest.raises(CheckpointError, match="'big' has numbers that are too large for float16"):
        convert(path, tmp_path / "new.safetensors", dtype="float16")
    assert [each.name for each in tmp_path.iterdir()] == ["m.sft"]
    convert(path, tmp_path / "new.safetensors", dtype="bfloat16")


def test_infinity_stays(tmp_path: Path) -> None:
    path = save_tensors({"mask": torch.tensor([0.0, -torch.inf])}, tmp_path / "m.sft")
    found = convert(path, tmp_path / "new.safetensors", dtype="float16")
    assert load_file(found.path)["mask"].tolist() == [0, -torch.inf]


def test_eight_bits_with_scales_keep_their_type(tmp_path: Path) -> None:
    weight = torch.randn(2, 2).to(torch.float8_e4m3fn)
    tensors = {"x.weight": weight, "x.scale_weight": torch.tensor(0.5)}
    path = save_tensors(tensors, tmp_path / "m.sft")
    with pytest.raises(CheckpointError, match="8 bits with scales"):
        convert(path, tmp_path / "new.safetensors", dtype="float16")
    convert(path, tmp_path / "new.safetensors")


def test_tensors_begin_at_multiples_of_their_numbers_size(tmp_path: Path) -> None:
    tensors = {"a": torch.tensor([True]), "b": torch.zeros(1).half(), "c": torch.zeros(1).double()}
    found = convert(save_tensors(tensors, tmp_path / "m.sft"), tmp_path / "new.safetensors")
    with WeightFile(found.path) as file:
        for entry in file.entries.values():
            assert entry.start % (entry.end - entry.start) == 0


def test_one_tensor_is_in_memory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_tensors({str(n): torch.full((10,), float(n)) for n in range(5)}, tmp_path / "m.sft")
    kept: list[Any] = []
    read = WeightFile.read

    def watched(file: WeightFile, name: str, *how: Any, **more: Any) -> torch.Tensor:
        import weakref

        assert not any(each() is not None for each in kept[:-1])
        tensor = read(file, name, *how, **more)
        kept.append(weakref.ref(tensor))
        return tensor

    monkeypatch.setattr(WeightFile, "read", watched)
    seen: list[tuple[int, int]] = []
    convert(path, tmp_path / "new.safetensors", progress=lambda *count: seen.append(count))
    assert len(kept) == 5 and seen == [(40 * n, 200) for n in range(1, 6)]


# ----------------------------------------------------------------------------- nothing is lost


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return saved({"x": torch.ones(100)}, tmp_path / "m.pt")


def test_an_existing_file_is_replaced_only_on_request(tmp_path: Path, small: Path) -> None:
    new = tmp_path / "new.safetensors"
    new.write_text("mine")
    with pytest.raises(InputError, match="exists"):
        convert(small, new)
    assert new.read_text() == "mine"
    convert(small, new, overwrite=True)
    assert list(load_file(new)) == ["x"]


def test_a_file_is_never_its_own_copy(tmp_path: Path) -> None:
    path = save_tensors({"x": torch.ones(3)}, tmp_path / "m.safetensors")
    (tmp_path / "link.safetensors").symlink_to(path)
    for out in (path, tmp_path / "link.safetensors"):
        with pytest.raises(InputError, match="the file to convert"):
            convert(path, out, overwrite=True)


@pytest.mark.parametrize("name", ["m.ckpt", "m", "m.safetensors.part"])
def test_the_name_says_what_the_new_file_is(tmp_path: Path, small: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"end the name .* in \.safetensors"):
        convert(small, tmp_path / name)


def test_a_full_disk_is_noticed_before_anything_is_read(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=399)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    with pytest.raises(CheckpointError, match="which has 399 left"):
        convert(small, tmp_path / "new.safetensors")
    assert [each.name for each in tmp_path.iterdir()] == ["m.pt"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_write_leaves_the_older_file(
    tmp_path: Path, small: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / "new.safetensors"
    new.write_text("mine")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.os, failing, fail)
    with pytest.raises(CheckpointError, match="No space left"):
        convert(small, new, overwrite=True)
    assert new.read_text() == "mine" and len(list(tmp_path.iterdir())) == 2


def test_a_file_that_changes_meanwhile_is_not_taken(tmp_path: Path, small: Path) -> None:
    def touch(*_: int) -> None:
        with open(small, "ab") as file:
            file.write(b"more")

    with pytest.raises(CheckpointError, match="was changed"):
        convert(small, tmp_path / "new.safetensors", progress=touch)
    assert [each.name for each in tmp_path.iterdir()] == ["m.pt"]


class _Payload:
    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def test_a_hostile_pickle_is_not_converted_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = saved({"x": torch.ones(1), "y": _Payload(marker)}, tmp_path / "m.ckpt")
    with pytest.raises(CheckpointError, match=r"'\w+\.mkdir'"):
        convert(path, tmp_path / "new.safetensors")
    assert [each.name for each in tmp_path.iterdir()] == ["m.ckpt"]


def test_what_is_not_there_cannot_be_converted(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound):
        convert(tmp_path / "nothing.ckpt", tmp_path / "new.safetensors")
    with pytest.raises(CheckpointError, match="a folder"):
        convert(tmp_path, tmp_path / "new.safetensors")
    (tmp_path / "page.ckpt").write_text("<!doctype html>")
    with pytest.raises(CheckpointError, match="web page"):
        convert(tmp_path / "page.ckpt", tmp_path / "new.safetensors")


# ---------------------------------------------------------------------------------- command line


def test_the_command_that_errors_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The advice in the error is a command that works as it is printed."""
    import shlex

    monkeypatch.chdir(tmp_path)
    saved({"state_dict": {"x": torch.ones(2)}}, tmp_path / "it's mine.ckpt")
    with pytest.raises(CheckpointError) as caught:
        WeightFile("it's mine.ckpt")
    program, *words = shlex.split(str(caught.value).split(": ")[-1])
    assert program == "sdwidgets"
    assert cli.main(words) == 0
    assert load_file("it's mine.safetensors")["x"].tolist() == [1, 1]
    assert "1 tensor, 8 bytes" in capsys.readouterr().out


def test_the_command_says_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["convert", str(tmp_path / "no.pt"), "--out", "x.safetensors"]) == 1
    said = capsys.readouterr()
    assert "There is no file" in said.err and said.out == ""
    path = saved({"x": torch.ones(2)}, tmp_path / "m.pt")
    out = tmp_path / "x.safetensors"
    assert cli.main(["convert", str(path), "--out", str(out), "--dtype", "int8"]) == 1
    assert "Known: float16, bfloat16, float32" in capsys.readouterr().err
    assert cli.main(["convert", str(path), "--out", str(out), "--dtype", "bfloat16"]) == 0
    assert json.loads(out.read_bytes()[8:].split(b"}}")[0] + b"}}")["x"]["dtype"] == "BF16"
