"""From the checkpoint of a system to the folder that `sdwidgets.load` reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from ...checkpoints.save_system import save_system
from ...models.text import TextEncoder
from ...pipeline import LatentDiffusion
from ...scenes import caption_words
from ..parts import needed
from .task import ZooTask


def trained_system(task: ZooTask, checkpoint: Path) -> LatentDiffusion:
    """The whole model, with the averaged weights of ``checkpoint``."""
    model = task.result(needed(checkpoint, f"zoo {checkpoint.stem}"))
    reads = any(isinstance(each, TextEncoder) for each in model.embedders)
    return replace(model, vocabulary=caption_words() if reads else None)


def pack(task: ZooTask, checkpoint: Path, folder: Path) -> Path:
    """Write the model of ``checkpoint`` to ``folder`` in float16 and return its path.

    The weights that did not learn are those of bundled models, and are left out.
    """
    model, system = trained_system(task, checkpoint), task.system
    shares = {"unet": system.base, "autoencoder": system.autoencoder}
    shares |= {
        f"embedders.{number}": "emoji"
        for number, each in enumerate(model.embedders)
        if isinstance(each, TextEncoder)
    }
    return save_system(
        model,
        folder,
        dtype=torch.float16,
        shares={part: name for part, name in shares.items() if name},
    )
