"""Arguments of the wrong types: an InputError that names the argument, before anything is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import write_folder

from sdwidgets.checkpoints import load_autoencoder, load_model, save_autoencoder, save_model
from sdwidgets.checkpoints.features import bundled_features, load_lpips
from sdwidgets.checkpoints.zoo import bundled_config, bundled_folder
from sdwidgets.errors import InputError, SDWidgetsError
from sdwidgets.sources import Source


class Odd:
    """An object that fails whatever is asked of it."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __fspath__(self) -> str:
        raise RuntimeError("no path")


class Bytes:
    def __fspath__(self) -> bytes:
        return b"emoji"


HUGE = pytest.param(10**5000, id="huge")
NO_PATHS = [None, 5, 2.5, b"emoji", b"\xff", [], {}, object(), Odd(), Bytes(), np.zeros(3),
            torch.zeros(2), "a\0b", "\ud800", torch.float32, int, HUGE]  # fmt: skip
NOTHING = [5, b"cpu", b"\xff", [], Odd(), np.zeros(3), torch.zeros(2), "nonsense", int, HUGE]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("types") / "model")


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load_model(folder, device="cpu")


def refused(call: Callable[[], Any], parameter: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.parameter == parameter
    message = str(caught.value)
    assert len(message.splitlines()) <= 3 and len(message) < 500
    message.encode()  # also without half characters


@pytest.mark.parametrize("value", NO_PATHS, ids=lambda value: type(value).__name__)
def test_impossible_paths(value: Any, model: Any, folder: Path, tmp_path: Path) -> None:
    if not isinstance(value, str):  # a name of nothing
        refused(lambda: load_model(value), "name")
    if value is not None:
        refused(lambda: load_model(folder, device="cpu", tokenizer=value), "tokenizer")
        refused(lambda: load_lpips(folder / "x", value), "weights")
    refused(lambda: load_autoencoder(value), "path")
    refused(lambda: load_lpips(value), "vgg16")
    refused(lambda: save_model(model, value), "folder")
    refused(lambda: save_autoencoder(model.autoencoder, value), "folder")


@pytest.mark.parametrize("value", NOTHING, ids=lambda value: type(value).__name__)
def test_what_is_no_device_type_model_or_choice(
    value: Any, model: Any, folder: Path, tmp_path: Path
) -> None:
    for load in (load_model, load_autoencoder):
        refused(lambda load=load: load(folder, device=value), "device")
        refused(lambda load=load: load(folder, device="cpu", dtype=value), "dtype")
        refused(lambda load=load: load(folder, device="cpu", check_finite=value), "check_finite")
        refused(lambda load=load: load(folder, device="cpu", config=value), "config")
    refused(lambda: load_model(folder, device="cpu", prediction=value), "prediction")
    refused(lambda: load_model("a/b", device="cpu", revision=[value]), "revision")
    if not callable(value):
        refused(lambda: load_model(folder, device="cpu", stop=value), "stop")
        refused(lambda: load_model(folder, device="cpu", make_room=value), "make_room")
    refused(lambda: bundled_features(value), "device")
    refused(lambda: save_model(value, tmp_path / "out"), "model")
    refused(lambda: save_model(model, tmp_path / "out", dtype=value), "dtype")
    refused(lambda: save_autoencoder(value, tmp_path / "out"), "autoencoder")
    refused(lambda: save_autoencoder(model.autoencoder, tmp_path / "out", dtype=value), "dtype")
    refused(lambda: bundled_config(value), "name")
    assert bundled_folder(value) is None
    with pytest.raises(SDWidgetsError):
        model.derived(Source("x"), embedders=value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["", " ", "x" * 5000, "..", "/dev/null", "~nobody-here/x"])
def test_odd_names_of_files_have_errors_of_ours(
    name: str, model: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path / "folder")
    for call in (load_model, load_autoencoder, load_lpips):
        with pytest.raises(SDWidgetsError):
            call(name)
    if name in ("..", "/dev/null", "x" * 5000):
        with pytest.raises(SDWidgetsError):
            save_model(model, name)


def test_the_users_own_folder_has_its_short_name(
    model: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert save_model(model, "~/saved") == tmp_path / "saved"
    assert load_model("~/saved", device="cpu").name == model.name
    assert load_autoencoder("~/saved", device="cpu").config == model.config.autoencoder
