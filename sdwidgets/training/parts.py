"""The parts of a model as training tasks, each built on the checkpoints of those before it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from ..configs import ModelConfig
from ..errors import InputError
from ..models.autoencoder import Autoencoder
from ..scenes import Glyphs
from .autoencoder import AutoencoderTask, standardize
from .loop import Plan, Task, averaged


def trained_autoencoder(
    config: ModelConfig, runs: Path, glyphs: Glyphs, device: str = "cpu"
) -> Autoencoder:
    """The autoencoder of the runs folder, its latents scaled to unit variance."""
    model = Autoencoder(config.autoencoder)
    model.load_state_dict(averaged(_needed(runs / "autoencoder.pt", "autoencoder")))
    model = model.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
    model.config = standardize(model, glyphs)
    if (runs / "decoder.pt").exists():
        model.load_state_dict(averaged(runs / "decoder.pt"))
    return model


def _needed(checkpoint: Path, part: str) -> Path:
    if not checkpoint.exists():
        raise InputError(
            f"{checkpoint} is not there yet.\nTrain it first: python -m sdwidgets.training {part}"
        )
    return checkpoint


def task(
    part: str, config: ModelConfig, runs: Path, device: str, glyphs: Glyphs, plan: Plan
) -> Task:
    """The training task of that name, on ``device``."""
    if part == "autoencoder":
        model = Autoencoder(replace(config.autoencoder, scaling_factor=1.0, shift_factor=0.0))
        model = model.to(device, memory_format=torch.channels_last)
        return AutoencoderTask(model, glyphs, plan.seed)
    raise InputError(f"There is no part called {part!r}.")
