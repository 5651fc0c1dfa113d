from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import compvis
import pytest
import torch
from compvis import values
from references import relative_error
from safetensors.torch import load_file, save_file

from sdwidgets.checkpoints.classifier import load_classifier
from sdwidgets.configs import ClassifierConfig, UNetConfig
from sdwidgets.errors import CheckpointError
from sdwidgets.models.classifier import NoisyClassifier

CONFIG = ClassifierConfig(
    UNetConfig(
        (32, 64), (0, 1), (1, 2), 1, context_dim=0, in_channels=3, out_channels=3,
        transformers=False,
    ),
    tuple("abcde"),
    side=8,
)  # fmt: skip


def file_of(config: ClassifierConfig, path: Path, prefix: str = "") -> Path:
    """Write the golden numbers' network by the names of latent diffusion."""
    theirs = compvis.tensors(NoisyClassifier(config), compvis.classifier_names(config))
    save_file({prefix + name: tensor for name, tensor in theirs.items()}, path)
    return path


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("pool", ["attention", "adaptive", "spatial", "spatial_v2"])
@torch.no_grad()
def test_a_classifier_comes_from_a_file_of_latent_diffusion(
    tmp_path: Path, pool: str, prefix: str
) -> None:
    config = replace(CONFIG, pool=pool)
    path = file_of(config, tmp_path / "classifier.safetensors", prefix)
    network = load_classifier(path, config, device="cpu")
    logits = network(values("x", (2, 3, 8, 8)), torch.tensor([3.0, 987.0]))
    assert relative_error(logits, load_file(compvis.GOLDEN)[f"classifier.{pool}"]) < 1e-5


def test_another_file_or_config_is_refused(tmp_path: Path) -> None:
    path = file_of(CONFIG, tmp_path / "classifier.safetensors")
    with pytest.raises(CheckpointError, match="out"):
        load_classifier(path, replace(CONFIG, names=("a", "b")), device="cpu")
    with pytest.raises(CheckpointError, match="missing"):
        load_classifier(path, replace(CONFIG, pool="spatial"), device="cpu")
    save_file({"other": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="no classifier of noisy latents"):
        load_classifier(path, CONFIG, device="cpu")
