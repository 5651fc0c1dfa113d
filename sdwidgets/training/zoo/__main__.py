"""``python -m sdwidgets.training zoo NAME``: train a small system of latent diffusion.

Training resumes from its checkpoint in the runs folder. ``--minutes`` ends it after so much time
of the processor, which other work on the machine does not use up; the learning rate falls at the
end of ``--steps`` alone. With ``--further``, a new training begins with the weights of a model that
was packed before. With ``--pack``, the model of the checkpoint is written to a folder that
``sdwidgets.load`` reads; nothing is trained then. ``tower`` is the vision tower of
emoji-neighbours, which comes before it.
"""

from __future__ import annotations

import argparse
import math
import signal
import time
from dataclasses import replace
from pathlib import Path
from threading import Event

import torch

from ...checkpoints import load_model
from ...scenes import load_glyphs
from ..following import follow
from .systems import SYSTEMS, TOWER_PLAN
from .task import ZooTask, tower_task, zoo_task
from .tower import TowerTask


class Spent(Event):
    """An event that sets itself when the process has computed for some ``seconds`` more."""

    def __init__(self, seconds: float):
        super().__init__()
        self.end = time.process_time() + seconds

    def is_set(self) -> bool:
        return super().is_set() or time.process_time() > self.end


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m sdwidgets.training zoo", description=__doc__)
    parser.add_argument("name", choices=[*SYSTEMS, "tower"])
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of checkpoints")
    parser.add_argument("--further", metavar="MODEL", help="a folder or the bundled model's name")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--minutes", type=float, help="of processor time, after which it ends")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--lr", type=float, help="learning rate of AdamW's weights")
    parser.add_argument("--matrix-lr", type=float, help="learning rate of Muon's weights")
    parser.add_argument("--seed", type=int, help="of what is drawn; another one to train further")
    parser.add_argument("--device", help="by default a GPU, if there is one")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--pack", type=Path, metavar="FOLDER", help="write the model to a folder")
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    folder = args.runs / "zoo"
    is_tower = args.name == "tower"
    system = SYSTEMS["emoji-neighbours" if is_tower else args.name]
    overrides = {
        name: getattr(args, name)
        for name in ("steps", "batch_size", "lr", "matrix_lr", "seed")
        if getattr(args, name) is not None
    }
    plan = replace(TOWER_PLAN if is_tower else system.plan, **overrides)
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    task: ZooTask | TowerTask
    if is_tower:
        task = tower_task(system, device=device, seed=plan.seed)
    else:
        before = args.further
        further = load_model(before, device=device, dtype="float32") if before else None
        glyphs = load_glyphs()
        task = zoo_task(system, folder, glyphs, device=device, seed=plan.seed, further=further)
    checkpoint = folder / f"{args.name}.pt"
    if args.pack and isinstance(task, ZooTask):
        from .packing import pack

        print(f"The model is in {pack(task, checkpoint, args.pack)}.")
        return
    stop = Spent(60 * (args.minutes or math.inf))
    for kind in (signal.SIGINT, signal.SIGTERM):  # a request to end takes effect between steps
        signal.signal(kind, lambda *_: stop.set())
    follow(task, plan, checkpoint, stop, log_every=10)
    if stop.is_set():
        print(f"Stopped; the same command continues from {checkpoint}.")


if __name__ == "__main__":
    main()
