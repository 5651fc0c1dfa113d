"""Reading a safetensors file: valid files are read, others are refused with a reason."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_files import one_tensor, raw_safetensors, save_tensors

from sdwidgets.checkpoints.weights import FLOATS, HEADER_LIMIT, WeightFile, quoted, read_json
from sdwidgets.errors import CheckpointError, CheckpointNotFound

CPU = torch.device("cpu")


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        WeightFile(path)
    message = str(caught.value)
    assert len(message.splitlines()) <= 3
    return message


def refused_bytes(path: Path, content: bytes) -> str:
    file = path / "model.safetensors"
    file.write_bytes(content)
    return refused(file)


# -------------------------------------------------------------------------------------- valid files


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_a_tensor_is_read_as_it_was_written(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = torch.randn(3, 5).to(dtype)
    path = save_tensors({"x": tensor}, tmp_path / "m.safetensors")
    with WeightFile(path) as file:
        assert torch.equal(file.read("x", dtype, CPU), tensor)


def test_reading_converts_to_the_wanted_dtype(tmp_path: Path) -> None:
    tensor = torch.randn(4)
    path = save_tensors({"x": tensor}, tmp_path / "m.safetensors")
    with WeightFile(path) as file:
        assert torch.equal(file.read("x", torch.float16, CPU), tensor.half())


def test_eight_bit_floats_are_read(tmp_path: Path) -> None:
    tensor = torch.tensor([1.0, -2.5, 0.0]).to(torch.float8_e4m3fn)
    path = save_tensors({"x": tensor}, tmp_path / "m.safetensors")
    with WeightFile(path) as file:
        assert torch.equal(file.read("x", torch.float32, CPU), tensor.float())


def test_scalars_and_empty_tensors_are_read(tmp_path: Path) -> None:
    tensors = {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3)}
    with WeightFile(save_tensors(tensors, tmp_path / "m.safetensors")) as file:
        assert file.read("scalar", torch.float32, CPU).item() == 2.5
        assert file.read("empty", torch.float32, CPU).shape == (0, 3)


def test_a_part_along_the_first_dimension_is_read(tmp_path: Path) -> None:
    joint = torch.randn(6, 4)
    with WeightFile(save_tensors({"qkv": joint}, tmp_path / "m.safetensors")) as file:
        part = file.read("qkv", torch.float32, CPU, part=1, parts=3)
    assert torch.equal(part, joint[2:4])


def test_notes_in_the_header_are_kept(tmp_path: Path) -> None:
    path = save_tensors({"x": torch.zeros(1)}, tmp_path / "m.safetensors", made_by="a test")
    with WeightFile(path) as file:
        assert file.metadata["made_by"] == "a test"


def test_a_file_overwritten_after_reading_leaves_the_tensor_alone(tmp_path: Path) -> None:
    tensor = torch.randn(1000)
    path = save_tensors({"x": tensor}, tmp_path / "m.safetensors")
    with WeightFile(path) as file:
        read = file.read("x", torch.float32, CPU)
    with open(path, "r+b") as file_in_place:
        file_in_place.truncate(16)
        file_in_place.write(b"\xff" * 5000)
    assert torch.equal(read, tensor)


def test_a_file_cut_while_open_is_an_error_not_a_crash(tmp_path: Path) -> None:
    path = save_tensors({"x": torch.randn(100_000)}, tmp_path / "m.safetensors")
    with WeightFile(path) as file:
        os.truncate(path, 1000)
        with pytest.raises(CheckpointError, match="shorter"):
            file.read("x", torch.float32, CPU)


def test_a_file_written_to_while_open_is_noticed(tmp_path: Path) -> None:
    path = save_tensors({"x": torch.randn(10)}, tmp_path / "m.safetensors")
    with WeightFile(path) as file:
        with open(path, "ab") as other:
            other.write(b"more")
        with pytest.raises(CheckpointError, match="changed"):
            file.check_unchanged()


# ------------------------------------------------------------------------------- empty, cut, torn


@pytest.mark.parametrize("content", [b"", b"1234567", bytes(8), bytes(100)])
def test_an_empty_or_nearly_empty_file(tmp_path: Path, content: bytes) -> None:
    message = refused_bytes(tmp_path, content)
    assert "empty or cut" in message and f"{len(content)} bytes" in message
    assert "Download it again" in message


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, HEADER_LIMIT + 1, 101 * 2**20])
def test_a_huge_header_length_is_refused(tmp_path: Path, length: int) -> None:
    message = refused_bytes(tmp_path, struct.pack("<Q", length) + b'{"a": 1}' * 10)
    assert f"{length:,}" in message


def test_a_huge_header_is_refused_without_reading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.safetensors"
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", 101 * 2**20) + b"{")
        file.truncate(200 * 2**20)  # sparse: the announced header would fit
    monkeypatch.setattr(json, "loads", lambda *a, **k: pytest.fail("the header was parsed"))
    assert "header" in refused(path)


def test_a_header_longer_than_the_file(tmp_path: Path) -> None:
    assert "5,000" in refused_bytes(tmp_path, struct.pack("<Q", 5000) + b'{"a": 1}')


NUMBERS = 507


@pytest.mark.parametrize("lost", [1, *random.Random(0).sample(range(2, NUMBERS * 4), 10)])
def test_a_body_cut_anywhere(tmp_path: Path, lost: int) -> None:
    tensors = {"x": torch.randn(NUMBERS - 7), "y": torch.randn(7)}
    content = save_tensors(tensors, tmp_path / "w.safetensors").read_bytes()
    cut = len(content) - lost
    message = refused_bytes(tmp_path, content[:cut])
    assert f"has {cut:,} bytes" in message and f"announces {len(content):,}" in message


@pytest.mark.parametrize(
    "header",
    [b"{", b"{}}", b"[1]", b"{'a': 1}", b'{"a": NaN}', b"\xff\xfe{}", b"{" * 5000, b'{"a":' * 2000],
)
def test_a_header_that_is_no_json_object(tmp_path: Path, header: bytes) -> None:
    refused_bytes(tmp_path, raw_safetensors(header))


def test_a_name_that_stands_twice(tmp_path: Path) -> None:
    entry = json.dumps({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]})
    header = f'{{"a": {entry}, "a": {entry}}}'.encode()
    assert "twice" in refused_bytes(tmp_path, raw_safetensors(header, bytes(4)))


# --------------------------------------------------------------------- holes, overlaps, bad numbers


def test_bytes_after_the_last_tensor(tmp_path: Path) -> None:
    message = refused_bytes(tmp_path, one_tensor() + b"12345")
    assert "5 excess bytes" in message and "'a'" in message


@pytest.mark.parametrize(
    ("offsets", "what"),
    [([4, 8], "gap"), ([2, 6], "overlaps"), ([0, 4], "overlaps")],
)
def test_gaps_and_overlaps_name_the_tensor(tmp_path: Path, offsets: list[int], what: str) -> None:
    first = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    if what == "gap":
        offsets = [8, 12]
    header = {"first": first, "second": {**first, "data_offsets": offsets}}
    message = refused_bytes(tmp_path, raw_safetensors(header, bytes(12)))
    assert what in message
    assert "second" in message or offsets == [0, 4]


@pytest.mark.parametrize(
    "changes",
    [
        {"data_offsets": [-24, 0]},
        {"data_offsets": [24, 0]},
        {"data_offsets": [0, 2**64]},
        {"data_offsets": [0, 24.0]},
        {"data_offsets": [True, 24]},
        {"data_offsets": [0]},
        {"data_offsets": None},
        {"shape": [2, -3]},
        {"shape": [2.0, 3]},
        {"shape": [2**40, 2**40]},
        {"shape": "2,3"},
        {"shape": [1] * 9 + [6]},
        {"shape": [True, 6]},
        {"dtype": "F99"},
        {"dtype": 32},
        {"dtype": None},
        {"dtype": "F16"},
        {"extra": 1},
    ],
)
def test_an_impossible_entry_names_the_tensor(tmp_path: Path, changes: dict[str, object]) -> None:
    assert "'a'" in refused_bytes(tmp_path, one_tensor(**changes))


def test_overflowing_offsets_with_a_matching_shape_allocate_nothing(tmp_path: Path) -> None:
    content = one_tensor(shape=[2**60], data_offsets=[0, 2**62])
    assert "announces" in refused_bytes(tmp_path, content)


def test_too_many_tensors(tmp_path: Path) -> None:
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = {f"t{i}": empty for i in range(50_001)}
    assert "50,001" in refused_bytes(tmp_path, raw_safetensors(header))


@pytest.mark.parametrize("text", ["[{}]", '{{"a": "", "b": [{}]}}'])
def test_a_header_of_too_many_values_is_refused_before_any_is_made(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("json.loads", lambda *a, **b: pytest.fail("was parsed"))
    header = text.format(",".join(["7"] * 400_001)).encode()
    if not header.startswith(b"{"):
        header = b'{"a": ' + header + b"}"
    assert "more than 400,000 values" in refused_bytes(tmp_path, raw_safetensors(header))


def test_many_tensors_are_counted_before_any_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("json.loads", lambda *a, **b: pytest.fail("was parsed"))
    one = '"{}": {{"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}'
    header = "{" + ", ".join(one.format(n) for n in range(60_000)) + "}"
    assert "lists 60,000 tensors" in refused_bytes(tmp_path, raw_safetensors(header.encode()))


def test_commas_in_the_notes_of_a_header_are_not_values(tmp_path: Path) -> None:
    tags = json.dumps({f'a "tag", {n}': n for n in range(150_000)})  # as trainers of LoRA write
    path = save_tensors({"x": torch.zeros(2)}, tmp_path / "m.safetensors", ss_tag_frequency=tags)
    with WeightFile(path) as file:
        assert file.metadata["ss_tag_frequency"] == tags and list(file.entries) == ["x"]


# ---------------------------------------------------------------------------- other kinds of files


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<!DOCTYPE html><html><title>Sign in</title>", "web page"),
        (b"\n  <html><body>404", "web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4265380512\n",
            "Git LFS pointer for a file of 4,265,380,512 bytes",
        ),
        (b'{"error": "Repository not found"}', "JSON"),
        (b"GGUF" + bytes(50), "GGUF"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "PNG"),
        (b"import torch\n\nmodel = torch.load('x')\n", "a text (it begins with 'import torch')"),
        ("Stra\u00dfe und Gr\u00fc\u00dfe".encode("utf-16"), "a text (it begins with 'Stra\\xdfe"),
        (b"a cat, a dog, " * 100, "a text"),
        (bytes(257) + b"ustar" + bytes(300), "a tar archive"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(50), "a 7z archive"),
    ],
)
def test_other_formats_are_recognised_by_content(tmp_path: Path, content: bytes, what: str) -> None:
    assert what in refused_bytes(tmp_path, content)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_renamed_pickle_is_refused_with_a_remedy(tmp_path: Path, protocol: int) -> None:
    message = refused_bytes(tmp_path, pickle.dumps({"state_dict": {}}, protocol=protocol))
    command = "sdwidgets convert 'model.safetensors' --out 'model-new.safetensors'"
    assert "pickle" in message and command in message


class _Payload:
    """A pickle that would create a file when it is opened."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("name", ["m.ckpt", "m.pt", "m.bin", "m.safetensors"])
def test_a_hostile_pickle_is_not_run(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "payload"
    (tmp_path / name).write_bytes(pickle.dumps(_Payload(marker)))
    assert "can run code" in refused(tmp_path / name)
    torch.save(_Payload(marker), tmp_path / name)
    assert "can run code" in refused(tmp_path / name)
    assert not marker.exists()


def test_a_zip_bomb_is_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(20_000_000))
    assert path.stat().st_size < 100_000
    assert "zip" in refused(path)


def test_content_decides_not_the_ending(tmp_path: Path) -> None:
    with WeightFile(save_tensors({"x": torch.zeros(1)}, tmp_path / "m.ckpt")) as file:
        assert list(file.entries) == ["x"]


# ------------------------------------------------------------------------------------ special files


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound):
        WeightFile(tmp_path / "nothing.safetensors")


def test_a_folder(tmp_path: Path) -> None:
    assert "a folder" in refused(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.timeout(10)
def test_a_pipe_never_blocks(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "pipe" in refused(tmp_path / "pipe")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero here")
def test_a_device() -> None:
    assert "device" in refused(Path("/dev/zero"))


def test_a_loop_of_links(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert "cannot be opened" in refused(tmp_path / "a")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = save_tensors({"x": torch.zeros(1)}, tmp_path / "m.safetensors")
    path.chmod(0)
    assert "permission denied" in refused(path)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "\ud800"])
def test_impossible_names(name: str) -> None:
    refused(Path(name))


# ------------------------------------------------------------------------------- names and settings


@pytest.mark.parametrize("name", ["a\0b", "<script>", "../../etc/passwd", "\u202e", "x" * 500])
def test_names_from_files_are_quoted_in_messages(tmp_path: Path, name: str) -> None:
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}
    message = refused_bytes(tmp_path, raw_safetensors({name: entry}, bytes(4)))
    assert quoted(name) in message
    assert message.isascii() and "\0" not in message and len(quoted(name)) <= 80


def test_settings_larger_than_their_limit_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"a": "' + "x" * 5_000_000 + '"}')
    with pytest.raises(CheckpointError, match="bytes"):
        read_json(path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": Infinity}', "<html>", "[" * 100_000])
def test_settings_that_are_no_json_object(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(CheckpointError):
        read_json(path)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"beta": NaN}', "NaN is not a JSON number (character 10)"),
        ('{\n "a": 1,\n}', "a comma before } (line 2, column 8)"),
        ("settings = 3", "a text (it begins with 'settings = 3')"),
    ],
)
def test_what_is_wrong_with_settings_is_said_with_its_place(
    tmp_path: Path, text: str, what: str
) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(CheckpointError) as caught:
        read_json(path)
    assert what in str(caught.value) and "a JSON text" not in str(caught.value)


@pytest.mark.parametrize("code", FLOATS)
def test_numbers_without_torch_are_those_that_torch_reads(tmp_path: Path, code: str) -> None:
    kind = getattr(torch, FLOATS[code])
    if kind.itemsize == 1:  # every value there is
        values = torch.arange(256, dtype=torch.uint8).view(kind)
    else:
        values = torch.tensor([0.0, -0.0, 1.5, -(2.0**-20), 300.0, torch.inf, torch.nan]).to(kind)
    tensors = {"first": torch.ones(3), "x": values.reshape(1, -1)}
    path = save_tensors(tensors, tmp_path / "x.safetensors")
    with WeightFile(path) as file:
        found = file.numbers("x")
        expected = file.read("x", torch.float64, torch.device("cpu")).numpy()
    assert found.shape == (1, len(values)) and found.dtype == np.float64
    np.testing.assert_array_equal(found, expected)


def test_what_a_network_predicts_is_told_without_torch() -> None:
    code = (
        "import sys\nfrom contextlib import ExitStack\nfrom sdwidgets.checkpoints import zoo\n"
        "from sdwidgets.checkpoints.folder import open_folder\n"
        "from sdwidgets.checkpoints.prediction import settled\n"
        "with ExitStack() as stack:\n"
        "    layout = settled(open_folder(zoo.WEIGHTS / zoo.MODEL, 'emoji', stack), None)\n"
        "print(layout.config.schedule.prediction, 'torch' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.split() == ["v", "False"]
