"""The autoencoders that come with the package, by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sdwidgets.checkpoints import load_autoencoder, save_autoencoder, zoo
from sdwidgets.configs import TINY
from sdwidgets.errors import CheckpointNotFound
from sdwidgets.models.autoencoder import Autoencoder


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of a package with a single small autoencoder, named KL-f8."""
    save_autoencoder(Autoencoder(TINY.autoencoder), tmp_path / "zoo" / "kl-f8")
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path)
    return tmp_path


def test_names_are_of_those_that_are_here(weights: Path) -> None:
    assert zoo.bundled_autoencoders() == ("KL-f8",)


def test_a_package_without_any_has_no_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path)
    assert zoo.bundled_autoencoders() == ()
    assert zoo.bundled_folder("KL-f8") is None


def test_a_bundled_autoencoder_loads_by_its_name(weights: Path) -> None:
    assert load_autoencoder("KL-f8", device="cpu").config == TINY.autoencoder


def test_its_config_needs_no_weights(weights: Path) -> None:
    (weights / "zoo" / "kl-f8" / "diffusion_pytorch_model.safetensors").unlink()
    assert zoo.bundled_config("KL-f8") == TINY.autoencoder


def test_a_file_or_folder_here_comes_before_a_name(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    mine = save_autoencoder(Autoencoder(TINY.autoencoder), here / "KL-f8")
    loaded = load_autoencoder("KL-f8", device="cpu").encoder.conv_in.weight
    torch.testing.assert_close(
        loaded, load_autoencoder(mine, device="cpu").encoder.conv_in.weight, rtol=0, atol=0
    )


def test_a_name_of_none_is_a_path_that_is_missing(weights: Path) -> None:
    with pytest.raises(CheckpointNotFound):
        load_autoencoder("VQ-f4")


@pytest.mark.parametrize("name", zoo.bundled_autoencoders())
def test_each_that_is_bundled_rebuilds_a_picture_of_its_size(name: str) -> None:
    """The autoencoders of this checkout; without weights in it, there is nothing to test."""
    autoencoder = load_autoencoder(name, device="cpu")
    assert zoo.bundled_config(name) == autoencoder.config
    if name != zoo.MODEL:
        assert name.endswith(f"-f{autoencoder.config.factor}")
        assert name.startswith("VQ" if autoencoder.config.codes else "KL")
    with torch.no_grad():
        assert autoencoder.reconstruct(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 32, 32)
