"""Tiny trainings for a single process or for several; torchrun runs this file."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING
from unittest.mock import patch

import torch

sys.path.insert(0, str(Path(__file__).parent))

from few_pictures import COLORS, Few

from sdwidgets import training
from sdwidgets.configs import TINY, AutoencoderConfig
from sdwidgets.errors import CheckpointError
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.training import loop
from sdwidgets.training.autoencoder import IDLE
from sdwidgets.training.following import follow
from sdwidgets.training.scaling import quieten

if TYPE_CHECKING:
    from accelerate import Accelerator

KL = AutoencoderConfig(channels=(8, 8), blocks_per_level=1, latent_channels=2, norm_groups=2)
VQ = replace(KL, codes=16)
PLAN = training.Plan(steps=6, batch_size=4, warmup=2, matrix_lr=0.01, checkpoint_every=4)
NAMES = ("KL", "VQ", "classes", "joint")


def make(name: str) -> training.Task:
    """Return a new task: an autoencoder with all loss terms, or a denoiser with classes or texts.

    The adversary learns from step 2 and counts from step 4; codes are revived at once.
    """
    few = Few()
    if name in ("KL", "VQ"):
        pictures = training.Arrays([few.picture(number) for number in range(len(few))])
        small = {"adversary_from": 4, "adversary_layers": 1, "adversary_width": 4}
        task = training.autoencoder(pictures, KL if name == "KL" else VQ, device="cpu", **small)
        task.head_start = 2
        if name == "VQ":
            task.model.get_buffer("idle").fill_(IDLE)
        return task
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Autoencoder(TINY.autoencoder)
    quieten(network)
    told = {"text": "joint"} if name == "joint" else {"text": None, "classes": tuple(COLORS)}
    return training.diffusion(few, network, width=16, device="cpu", **told)


def run(name: str, checkpoint: Path, accelerator: Accelerator | None = None) -> list[dict]:
    """Return the reports of every step: the loss, and the metrics."""
    steps = training.train(make(name), PLAN, checkpoint, accelerator=accelerator)
    return [{"loss": step.loss, **step.metrics} for step in steps]


def stop_one(checkpoint: Path, accelerator: Accelerator) -> None:
    """Train while only the last process is asked to stop, in step 2."""
    task, stop = make("KL"), Event()
    loss = task.loss

    def asked(draw: loop.Draw) -> dict:
        if draw.step == 2 and not accelerator.is_main_process:
            stop.set()
        return loss(draw)

    with patch.object(task, "loss", asked):
        follow(task, PLAN, checkpoint, stop, accelerator=accelerator)


def begin_apart(folder: Path, accelerator: Accelerator) -> str:
    """Return the error when only the first process finds the checkpoint."""
    own = folder / "stopped.pt" if accelerator.is_main_process else folder / "not there.pt"
    try:
        run("KL", own, accelerator)
    except CheckpointError as error:
        return str(error)
    return ""


def main(folder: Path) -> None:
    accelerator = training.distributed("cpu")
    told: dict = {name: run(name, folder / f"{name}.pt", accelerator) for name in NAMES}
    stop_one(folder / "stopped.pt", accelerator)
    accelerator.wait_for_everyone()  # until it is written
    told["apart"] = begin_apart(folder, accelerator)
    (folder / f"{accelerator.process_index}.json").write_text(json.dumps(told))
    accelerator.end_training()


if __name__ == "__main__":
    with patch.object(loop, "halves_well", return_value=False):  # same rounding
        main(Path(sys.argv[1]))
