"""Pickles of weights: tensors are read as torch wrote them, and nothing of a pickle is ever run."""

from __future__ import annotations

import argparse
import collections
import io
import os
import pickle
import random
import struct
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import save_tensors
from torch import Tensor, nn

from sdwidgets.checkpoints import pickles, unpickling
from sdwidgets.checkpoints.pickles import PickleFile, open_weights
from sdwidgets.checkpoints.weights import WeightFile
from sdwidgets.errors import CheckpointError, CheckpointNotFound

CPU = torch.device("cpu")
FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])


def saved(value: Any, path: Path, zipped: bool = True, **how: Any) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped, **how)
    return path


def read(path: Path) -> dict[str, Tensor]:
    with PickleFile(path) as file:
        tensors = {name: file.read(name, None, CPU) for name in file.entries}
        file.check_unchanged()
        assert file.shapes == {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return tensors


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        PickleFile(path)
    message = str(caught.value)
    assert len(message.splitlines()) <= 3 and message.isascii() and len(message) < 600
    return message


def refused_bytes(path: Path, content: bytes) -> str:
    file = path / "m.pt"
    file.write_bytes(content)
    return refused(file)


# ------------------------------------------------------------------------------- what is read


def kinds_of_tensors() -> dict[str, Tensor]:
    whole = torch.randn(6, 4)
    return {
        "float32": whole,
        "transposed": whole.t(),
        "slice": whole[2:5, 1],
        "tied": whole,
        "parameter": nn.Parameter(torch.randn(3)),
        "float16": torch.randn(3).half(),
        "bfloat16": torch.randn(3).bfloat16(),
        "float64": torch.randn(3).double(),
        "float8": torch.randn(3).to(torch.float8_e4m3fn),
        "int64": torch.arange(5),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0),
        "expanded": torch.ones(1).expand(5),
    }


@FORMATS
def test_tensors_are_read_as_torch_wrote_them(tmp_path: Path, zipped: bool) -> None:
    tensors = kinds_of_tensors()
    found = read(saved(tensors, tmp_path / "m.pt", zipped))
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype and found[name].is_contiguous()
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name].double(), tensor.detach().double()), name


@FORMATS
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_is_read(tmp_path: Path, zipped: bool, protocol: int) -> None:
    tensors = {"x": torch.randn(3), "y": nn.Parameter(torch.randn(2, 2))}
    found = read(saved(tensors, tmp_path / "m.pt", zipped, pickle_protocol=protocol))
    assert torch.equal(found["x"], tensors["x"]) and torch.equal(found["y"], tensors["y"].data)


def test_a_part_is_read_and_converted(tmp_path: Path) -> None:
    joint = torch.randn(4, 6)
    path = saved({"plain": joint, "turned": joint.t()}, tmp_path / "m.pt")
    with PickleFile(path) as file:
        part = file.read("turned", torch.float16, CPU, part=1, parts=3)
        assert torch.equal(part, joint.t()[2:4].half())
        assert torch.equal(file.read("plain", torch.float32, CPU, part=1, parts=2), joint[2:])
        assert np.array_equal(file.numbers("turned"), joint.t().double().numpy())


def test_opening_reads_no_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved({"x": torch.zeros(1_000_000)}, tmp_path / "m.pt")
    monkeypatch.setattr(torch, "empty", lambda *a, **b: pytest.fail("memory was taken"))
    with PickleFile(path) as file:
        assert file.shapes == {"x": (1_000_000,)}
        entry = file.entries["x"]
        assert entry.end - entry.start == 4_000_000 and entry.dtype == "F32"


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "module", "params", "params_ema"])
def test_the_weights_inside_of_a_training_state_are_found(tmp_path: Path, wrapper: str) -> None:
    state = {
        "epoch": 3,
        "global_step": 875000,
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}}],
        wrapper: collections.OrderedDict(weight=torch.ones(2)),
    }
    with PickleFile(saved(state, tmp_path / "m.ckpt")) as file:
        assert list(file.entries) == ["weight"]
        assert file.place == (wrapper,) and file.left_out == ("optimizer_states",)
        assert file.metadata == {"epoch": "3", "global_step": "875000"}


def test_the_averaged_weights_come_first(tmp_path: Path) -> None:
    state = {"params": {"x": torch.zeros(1)}, "params_ema": {"x": torch.ones(1)}}
    assert read(saved(state, tmp_path / "m.pth"))["x"] == 1


def test_wrappers_inside_of_one_another_are_opened(tmp_path: Path) -> None:
    state = {"state_dict": {"model": {"x": torch.ones(1)}}}
    with PickleFile(saved(state, tmp_path / "m.pth")) as file:
        assert list(file.entries) == ["x"] and file.place == ("state_dict", "model")


def test_a_model_under_its_own_name_is_no_wrapper(tmp_path: Path) -> None:
    weights = {"model.diffusion_model.x": torch.ones(1), "model": "a name"}
    with PickleFile(saved(weights, tmp_path / "m.pth")) as file:
        assert list(file.entries) == ["model.diffusion_model.x"] and file.place == ()


def embedding() -> dict[str, Any]:
    """What A1111 writes."""
    return {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": nn.Parameter(torch.ones(2, 768))},
        "name": "a-cat",
        "step": 500,
        "sd_checkpoint": None,
    }


class ParameterDict(nn.Module):
    """torch's before 1.12: as the first textual inversions have it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_parameter("*", nn.Parameter(torch.ones(2, 768)))


@FORMATS
def test_textual_inversions(tmp_path: Path, zipped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with PickleFile(saved(embedding(), tmp_path / "m.pt", zipped)) as file:
        assert file.shapes == {"string_to_param.*": (2, 768)}
        assert file.metadata == {"name": "a-cat", "step": "500"}
    monkeypatch.setattr(ParameterDict, "__module__", "torch.nn.modules.container")
    monkeypatch.setattr(torch.nn.modules.container, "ParameterDict", ParameterDict)
    old = {**embedding(), "string_to_param": ParameterDict()}
    assert list(read(saved(old, tmp_path / "old.pt", zipped))) == ["string_to_param.*"]
    monkeypatch.undo()
    new = {**embedding(), "string_to_param": nn.ParameterDict({"*": torch.ones(2, 768)})}
    assert list(read(saved(new, tmp_path / "new.pt", zipped))) == ["string_to_param.*"]


def test_lists_and_single_tensors_are_numbered(tmp_path: Path) -> None:
    up, down = torch.ones(2, 1), torch.zeros(1, 2)
    found = read(saved([up, down], tmp_path / "lora.pt"))
    assert list(found) == ["0", "1"] and torch.equal(found["1"], down)
    assert list(read(saved(up, tmp_path / "one.pt"))) == ["0"]


def test_leftovers_of_trainings_are_let_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Stable Diffusion's own checkpoints have them: Lightning's callbacks, NumPy's numbers."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    module = types.ModuleType(name)
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": name})  # type: ignore
    for outer in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        monkeypatch.setitem(sys.modules, outer, types.ModuleType(outer))
    monkeypatch.setitem(sys.modules, name, module)
    state = {
        "state_dict": {"x": torch.ones(1)},
        "callbacks": {module.ModelCheckpoint: {"best": np.float64(0.5), "last": np.zeros(3)}},
        "hyper_parameters": argparse.Namespace(path=Path("x"), dtype=torch.float16),
        "loss": nn.functional.binary_cross_entropy,
        "criterion": nn.MSELoss(),
        "seen": {1, 2},
        "size": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "table": collections.defaultdict(list, {(0, "a"): [b"bytes"]}),
        "object": module.ModelCheckpoint(),
    }
    path = saved(state, tmp_path / "m.ckpt")
    monkeypatch.undo()
    assert list(read(path)) == ["x"]
    assert name not in sys.modules


def test_a_tensor_with_attributes_is_a_tensor(tmp_path: Path) -> None:
    tensor = torch.ones(2)
    tensor.note = "mine"  # type: ignore[attr-defined]
    parameter = nn.Parameter(torch.zeros(2))
    parameter.note = "mine"  # type: ignore[attr-defined]
    found = read(saved({"x": tensor, "y": parameter}, tmp_path / "m.pt"))
    assert found["x"].tolist() == [1, 1] and found["y"].tolist() == [0, 0]


def test_content_decides_which_kind_of_file_it_is(tmp_path: Path) -> None:
    pickled = saved({"x": torch.ones(1)}, tmp_path / "a.safetensors")
    plain = save_tensors({"x": torch.ones(1)}, tmp_path / "b.ckpt")
    with open_weights(pickled) as a, open_weights(plain) as b:
        assert isinstance(a, PickleFile) and isinstance(b, WeightFile)
        assert a.shapes == b.shapes
    with pytest.raises(CheckpointNotFound):
        open_weights(tmp_path / "nothing.pt")


def test_a_header_whose_length_looks_like_a_pickle(tmp_path: Path) -> None:
    for i in range(600):
        path = save_tensors({"x": torch.ones(1)}, tmp_path / "a.safetensors", note="n" * i)
        if path.read_bytes()[:2] == b"\x80\x02":
            break
    assert path.read_bytes()[:2] == b"\x80\x02"
    with open_weights(path) as file:
        assert isinstance(file, WeightFile)


# ---------------------------------------------------------------------------- hostile pickles


class _Call:
    """An object whose pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@FORMATS
def test_a_call_is_refused_by_name_and_not_made(tmp_path: Path, zipped: bool) -> None:
    marker = tmp_path / "marker"
    state = {"x": torch.ones(1), "y": _Call(os.mkdir, str(marker))}
    message = refused(saved(state, tmp_path / "m.pt", zipped))
    assert f"'{os.mkdir.__module__}.mkdir'" in message and "Nothing of it was run" in message
    assert not marker.exists()


def global_(name: str) -> bytes:
    module, _, last = name.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def stack_global(name: str) -> bytes:
    module, _, last = name.rpartition(".")
    return text(module) + text(last) + b"\x93"


def hostile(marker: Path) -> dict[str, tuple[bytes, str]]:
    """Return pickles that would write ``marker``, by the instruction, and what is said of each."""
    made = text(str(marker)) + b"\x85"  # the argument of mkdir, in a tuple
    inert = global_("argparse.Namespace") + b")\x81"
    return {
        "REDUCE": (global_("posix.mkdir") + made + b"R", "'posix.mkdir'"),
        "NEWOBJ": (global_("posix.mkdir") + made + b"\x81", "'posix.mkdir'"),
        "NEWOBJ_EX": (global_("posix.mkdir") + made + b"}\x92", "'posix.mkdir'"),
        "STACK_GLOBAL": (stack_global("posix.mkdir") + made + b"R", "'posix.mkdir'"),
        "no call": (global_("posix.system"), "'posix.system'"),
        "INST": (b"(" + text(str(marker)) + b"iposix\nmkdir\n", "'posix.mkdir'"),
        "INST of a known class": (b"(iargparse\nNamespace\n", "INST"),
        "OBJ": (b"(" + global_("posix.mkdir") + text(str(marker)) + b"o", "'posix.mkdir'"),
        "OBJ of a known class": (b"(" + global_("argparse.Namespace") + b"o", "b'o'"),
        "EXT1": (b"\x82\x01", "b'\\x82'"),
        "EXT4": (b"\x84\x01\0\0\0", "b'\\x84'"),
        "PERSID": (b"Pposix.mkdir\n", "b'P'"),
        "a persistent id": (made + b"Q", "persistent id"),
        "a storage of another type": (
            b"(" + text("storage") + global_("torch.device") + text("0") + text("cpu") + b"K\x01tQ",
            "persistent id",
        ),
        "an attribute": (stack_global("torch.serialization.os.mkdir") + made + b"R", "os.mkdir"),
        "a nested pickle": (
            global_("pickle.loads") + b"C" + bytes([3]) + b"\x80\x02." + b"\x85R",
            "'pickle.loads'",
        ),
        "torch.load": (global_("torch.load") + made + b"R", "'torch.load'"),
        "getattr": (global_("builtins.getattr") + made + b"R", "'builtins.getattr'"),
        "Python 2": (global_("__builtin__.eval") + made + b"R", "'builtins.eval'"),
        "__setstate__": (
            inert + b"}" + text("__setstate__") + global_("posix.mkdir") + b"s" + made + b"b",
            "'posix.mkdir'",
        ),
        "__reduce__ of a class": (global_("collections.OrderedDict.__reduce__"), "__reduce__"),
        "a subclass hook": (
            global_("torch._tensor._rebuild_from_type_v2")
            + global_("posix.mkdir") + global_("torch.Tensor") + made + b"N\x87R",
            "'posix.mkdir'",
        ),
        "a factory": (
            global_("collections.defaultdict") + global_("posix.mkdir") + b"\x85R",
            "'posix.mkdir'",
        ),
        "a name with a line": (stack_global("posix.sys\ntem"), "'posix.sys\\ntem'"),
        "a long name": (stack_global("x." + "y" * 10_000), "..."),
    }  # fmt: skip


@pytest.mark.parametrize("kind", list(hostile(Path("x"))))
def test_no_instruction_runs_anything(tmp_path: Path, kind: str) -> None:
    marker = tmp_path / "marker"
    program, said = hostile(marker)[kind]
    for content in (b"\x80\x02" + program + b".", b"\x80\x04\x95" + bytes(8) + program + b"."):
        assert said in refused_bytes(tmp_path, content), content
        assert said in refused_bytes(tmp_path, zipped(content))
        assert said in refused_bytes(tmp_path, old(content))
    assert not marker.exists()


def zipped(description: bytes, **storages: bytes) -> bytes:
    """Return a zip as torch writes it, around any description; storages are "s0", "s1", ..."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("m/data.pkl", description)
        archive.writestr("m/byteorder", "little")
        for name, content in storages.items():
            archive.writestr(f"m/data/{name[1:]}", content)
    return buffer.getvalue()


def old(description: bytes, keys: tuple[str, ...] = (), body: bytes = b"") -> bytes:
    """Return a file of torch before 1.6, around any description."""
    first = pickle.dumps(pickles._MAGIC, 2) + pickle.dumps(pickles._VERSION, 2)
    machine = pickle.dumps({"protocol_version": 1001, "little_endian": True}, 2)
    return first + machine + description + pickle.dumps(list(keys), 2) + body


def tensor(
    shape: tuple[int, ...] = (2, 3),
    strides: tuple[int, ...] = (3, 1),
    offset: int = 0,
    count: int = 6,
    kind: str = "FloatStorage",
    key: str = "0",
) -> bytes:
    """Return the instructions that make a tensor."""

    def number(n: int) -> bytes:
        return pickle.dumps(n, 2)[2:-1]

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    storage = b"(" + text("storage") + global_(f"torch.{kind}") + text(key) + text("cpu")
    storage += number(count) + b"tQ"
    arguments = storage + number(offset) + numbers(shape) + numbers(strides) + b"\x89N"
    return global_("torch._utils._rebuild_tensor_v2") + b"(" + arguments + b"tR"


def described(*tensors: bytes) -> bytes:
    """Return a pickle of a dict {"0": tensor, ...}."""
    items = b"".join(text(str(n)) + each for n, each in enumerate(tensors))
    return b"\x80\x02}(" + items + b"u."


def test_a_tensor_made_by_hand_is_read(tmp_path: Path) -> None:
    numbers = np.arange(6, dtype="<f4")
    content = described(tensor())
    (tmp_path / "a.pt").write_bytes(zipped(content, s0=numbers.tobytes()))
    (tmp_path / "b.pt").write_bytes(old(content, ("0",), struct.pack("<q", 6) + numbers.tobytes()))
    for name in ("a.pt", "b.pt"):
        assert read(tmp_path / name)["0"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"offset": 1}, "beyond its storage"),
        ({"offset": 2**61}, "beyond its storage"),
        ({"shape": (3, 3)}, "beyond its storage"),
        ({"strides": (4, 1)}, "beyond its storage"),
        ({"strides": (2**62, 1)}, "beyond its storage"),
        ({"kind": "DoubleStorage"}, "beyond its storage"),
        ({"offset": -1}, "impossible shape"),
        ({"shape": (-2, 3)}, "impossible shape"),
        ({"strides": (-3, 1)}, "impossible shape"),
        ({"shape": (2, 2**63)}, "impossible shape"),
        ({"shape": (6,)}, "impossible shape"),
        ({"shape": (1,) * 9, "strides": (1,) * 9}, "impossible shape"),
        ({"shape": (2**40, 2**20), "strides": (0, 0)}, "claim to be"),
        ({"count": -1}, "storage of -1 numbers"),
        ({"key": "1"}, "without the numbers"),
        ({"key": "../data.pkl"}, "without the numbers"),
        ({"kind": "QInt8Storage"}, "'torch.QInt8Storage'"),
    ],
)
def test_a_tensor_outside_of_its_storage(
    tmp_path: Path, changes: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "empty", lambda *a, **b: pytest.fail("memory was taken"))
    assert said in refused_bytes(tmp_path, zipped(described(tensor(**changes)), s0=bytes(24)))


def test_old_storages_that_are_not_there(tmp_path: Path) -> None:
    content = described(tensor())
    for keys, body, said in (
        (("0",), b"", "cut"),
        (("0",), struct.pack("<q", 6) + bytes(23), "cut"),
        (("0",), struct.pack("<q", -1) + bytes(24), "cut"),
        (("0",), struct.pack("<q", 5) + bytes(24), "beyond its storage"),
        ((), struct.pack("<q", 6) + bytes(24), "without the numbers"),
        (("0", "0"), struct.pack("<q", 0) * 2, "have no names"),
        (("9",), struct.pack("<q", 6) + bytes(24), "have no names"),
    ):
        assert said in refused_bytes(tmp_path, old(content, keys, body))


def test_programs_that_work_long_or_take_memory_are_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpickling, "STEP_LIMIT", 20_000)
    limit = "20,000 instructions"
    twice = b"\x80\x02" + text("a" * 4) + b"2\x86" * 10_000 + b"."
    assert limit in refused_bytes(tmp_path, twice)
    pairs = b"\x80\x02](" + (text("a") + b"N\x86") * 300 + b"eq\x00"
    again = pairs + (global_("collections.OrderedDict") + b"h\x00\x85R0") * 1000 + b"."
    assert limit in refused_bytes(tmp_path, again)
    nested = b"\x80\x02N\x85" + b"q\x00h\x00\x86" * 60
    assert "keys are nested" in refused_bytes(tmp_path, b"\x80\x02}" + nested[2:] + b"Ns.")
    assert "keys are no names" in refused_bytes(
        tmp_path, b"\x80\x02}\x8a\x09" + b"\x7f" * 9 + b"Ns."
    )
    itself = b"\x80\x02}q\x00" + text("a") + b"h\x00s" + text("b") + b"h\x00s."
    assert "nested" in refused_bytes(tmp_path, zipped(itself))
    many = b"\x80\x02](" + b"Nq\x00h\x00" * 5 + b"er\xff\xff\xff\x7f."  # memo 2,147,483,647
    assert "without any tensor" in refused_bytes(tmp_path, zipped(many))
    promised = b"\x80\x02\x8e" + struct.pack("<Q", 2**60) + b"x."
    assert "damaged" in refused_bytes(tmp_path, zipped(promised))
    assert "description of more than" in refused_bytes(tmp_path, promised)


def test_a_long_description_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "PICKLE_LIMIT", 1000)
    content = b"\x80\x02" + b"N0" * 600 + described(tensor())[2:]
    assert "description of" in refused_bytes(tmp_path, zipped(content, s0=bytes(24)))
    assert "description of" in refused_bytes(tmp_path, old(content))


def test_a_zip_with_a_long_list_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pickles, "DIRECTORY_LIMIT", 100_000)
    storages = {f"s{n}": b"" for n in range(2000)}
    assert "a list of" in refused_bytes(tmp_path, zipped(described(tensor()), **storages))


def test_too_many_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "TENSOR_LIMIT", 10)
    assert "more than 10 tensors" in refused(saved([torch.ones(1)] * 11, tmp_path / "m.pt"))


@pytest.mark.parametrize("name", ["\ud800", "x" * 2000], ids=["half", "long"])
def test_impossible_names_of_tensors(tmp_path: Path, name: str) -> None:
    key = name.encode("utf-8", "surrogatepass")
    key = b"X" + struct.pack("<I", len(key)) + key
    content = b"\x80\x02}" + key + tensor() + b"s."
    assert "no proper name" in refused_bytes(tmp_path, zipped(content, s0=bytes(24)))


def test_two_tensors_of_a_name(tmp_path: Path) -> None:
    state = {"a.b": torch.ones(1), "a": {"b": torch.zeros(1)}}
    assert "two tensors of the name 'a.b'" in refused(saved(state, tmp_path / "m.pt"))


# -------------------------------------------------------------------------------- other files


def test_a_compressed_zip_is_refused_with_its_sizes(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", described(tensor()))
        archive.writestr("archive/data/0", bytes(20_000_000))
    assert path.stat().st_size < 100_000
    message = refused(path)
    assert "compressed zip" in message and "unpack to 20,000," in message


def test_zips_that_are_not_torchs(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    assert "none of torch's" in refused(tmp_path / "a.npz")
    program = torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2))
    torch.jit.save(program, tmp_path / "m.pt")
    assert "TorchScript" in refused(tmp_path / "m.pt")


def test_the_bytes_of_another_machine(tmp_path: Path) -> None:
    content = zipped(described(tensor()), s0=bytes(24)).replace(b"little", b"big\0\0\0")
    assert "another order of bytes" in refused_bytes(tmp_path, content)
    machine = pickle.dumps({"little_endian": False}, 2)
    first = pickle.dumps(pickles._MAGIC, 2) + pickle.dumps(pickles._VERSION, 2)
    assert "another order of bytes" in refused_bytes(tmp_path, first + machine)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (bytes(100), "empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (bytes(257) + b"ustar" + bytes(300), "a tar archive, the format of torch before 2017"),
        (b"version https://git-lfs.github.com/spec/v1\nsize 99\n", "Git LFS pointer"),
        (pickle.dumps({"x": 1}), "that torch did not write"),
        (pickle.dumps([1.5] * 10)[:-5], "damaged"),
        (b"PK\x03\x04" + bytes(50), "cut or damaged"),
    ],
)
def test_what_is_no_pickle_of_weights(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in refused_bytes(tmp_path, content)


def test_a_safetensors_file_is_no_pickle(tmp_path: Path) -> None:
    path = save_tensors({"x": torch.zeros(1)}, tmp_path / "m.ckpt")
    assert "is a safetensors file" in refused(path)


@FORMATS
def test_a_network_with_its_code_is_named_as_such(tmp_path: Path, zipped: bool) -> None:
    network = nn.Sequential(nn.Linear(2, 2))
    for state in (network, {"model": network, "epoch": 1}):
        message = refused(saved(state, tmp_path / "m.pt", zipped))
        assert "an object ('torch.nn.modules.container.Sequential') with its code" in message


def test_a_pickle_without_tensors(tmp_path: Path) -> None:
    assert "without any tensor" in refused(saved({"epoch": 1}, tmp_path / "m.pt"))


@FORMATS
def test_a_file_cut_anywhere(tmp_path: Path, zipped: bool) -> None:
    whole = saved({"x": torch.randn(40), "y": torch.zeros(3)}, tmp_path / "w.pt", zipped)
    content = whole.read_bytes()
    for place in random.Random(0).sample(range(len(content)), 40):
        refused_bytes(tmp_path, content[:place])


@FORMATS
def test_damaged_files_are_refused_or_read(tmp_path: Path, zipped: bool) -> None:
    """Whatever a few changed bytes do, the answer is a CheckpointError or tensors in bounds."""
    path = tmp_path / "m.pt"
    state = {"state_dict": {**kinds_of_tensors()}, "epoch": 1, "list": [torch.ones(2)]}
    content = saved(state, tmp_path / "w.pt", zipped).read_bytes()
    chance, read_ones = random.Random(1), 0
    for _ in range(300):
        changed = bytearray(content)
        for _ in range(chance.choice((1, 1, 2, 8))):
            place = chance.randrange(len(changed))
            match chance.randrange(3):
                case 0:
                    changed[place] = chance.randrange(256)
                case 1:
                    del changed[place : place + chance.randrange(1, 20)]
                case _:
                    changed[place:place] = chance.randbytes(chance.randrange(1, 9))
        path.write_bytes(changed)
        try:
            found = read(path)
        except CheckpointError as error:
            assert len(str(error).splitlines()) <= 3 and str(error).isascii()
        else:
            read_ones += 1
            assert sum(each.numel() for each in found.values()) < 10 * len(changed)
    assert read_ones  # some changes are in the numbers
