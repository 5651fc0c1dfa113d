"""``python -m sdwidgets.training PART``: train a part of the bundled model from scratch.

The parts build on each other: autoencoder, text, diffusion; the recogniser only judges. Each part
resumes from its checkpoint in the runs folder. ``pack`` turns the checkpoints into a model folder
that ``sdwidgets.load`` and diffusers read; ``unpack`` turns such a folder (by default the bundled
model) back into checkpoints, to train its denoiser further.

``zoo NAME`` trains a small system of its own; see `zoo`.

Under torchrun (``torchrun --nproc_per_node 4 -m sdwidgets.training PART``) the processes share
every batch.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from threading import Event

import torch

from ..checkpoints import load_model
from ..configs import EMOJI, SCENE_STAGES
from ..scenes import load_glyphs
from .following import follow
from .loop import Plan, distributed

BUNDLED = Path(__file__).resolve().parents[1] / "weights" / "emoji"

# A starting point for a machine with time; the README beside the weights says what made them.
PLANS = {
    "autoencoder": Plan(steps=4000, batch_size=32, ema=0.998),
    "first-stage": Plan(steps=4000, batch_size=32, ema=0.998),
    "decoder": Plan(steps=1000, batch_size=32, ema=0.998, matrix_lr=0.005, lr=3e-4),
    "text": Plan(steps=1000, batch_size=128, ema=0.99),
    "recognizer": Plan(steps=1500, batch_size=32, ema=0.99),
    "diffusion": Plan(steps=15000, batch_size=64, ema=0.998, cooldown=0.3, checkpoint_every=200),
}


def main(argv: list[str] | None = None) -> None:
    given = sys.argv[1:] if argv is None else argv
    if given[:1] == ["zoo"]:
        from .zoo.__main__ import main as zoo

        return zoo(given[1:])
    parser = argparse.ArgumentParser(prog="python -m sdwidgets.training", description=__doc__)
    parser.add_argument("part", choices=[*PLANS, "pack", "pack-first-stages", "unpack", "zoo"])
    parser.add_argument("--name", choices=SCENE_STAGES, default="KL-f8", help="which first stage")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of checkpoints")
    parser.add_argument("--out", type=Path, default=Path("runs/emoji"), help="pack's model folder")
    parser.add_argument("--model", type=Path, default=BUNDLED, help="unpack's model folder")
    parser.add_argument("--device", help="by default a GPU, if there is one")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--scenes", type=int, default=20_000, help="latents cached for diffusion")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--lr", type=float, help="learning rate of AdamW's weights")
    parser.add_argument("--matrix-lr", type=float, help="learning rate of Muon's weights")
    parser.add_argument("--seed", type=int)
    args = parser.parse_args(given)
    if args.threads:
        torch.set_num_threads(args.threads)
    from . import parts

    if args.part == "pack":
        parts.pack(EMOJI, args.runs, load_glyphs(), args.out)
        print(f"The model is in {args.out}.")
        return
    if args.part == "pack-first-stages":
        for folder in parts.pack_first_stages(args.runs / "first-stages", load_glyphs(), args.out):
            print(folder)
        return
    if args.part == "unpack":
        parts.unpack(load_model(args.model, device="cpu"), args.model / "tokenizer", args.runs)
        print(f"The checkpoints of {args.model} are in {args.runs}.")
        return
    overrides = {
        name: getattr(args, name)
        for name in ("steps", "batch_size", "lr", "matrix_lr", "seed")
        if getattr(args, name) is not None
    }
    plan = replace(PLANS[args.part], **overrides)
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1  # torchrun says how many there are
    accelerator = distributed(args.device or "auto") if several else None
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if accelerator:
        device = str(accelerator.device)
    rank, ranks = (accelerator.process_index, accelerator.num_processes) if accelerator else (0, 1)
    for turn in range(ranks):  # one after the other: the others read what the first writes
        if turn == rank:
            torch.manual_seed(plan.seed)
            task = parts.task(
                args.part, EMOJI, args.runs, device, load_glyphs(), plan, args.scenes, args.name
            )
        if accelerator:
            accelerator.wait_for_everyone()
    checkpoint = args.runs / f"{args.part}.pt"
    if args.part == "first-stage":
        checkpoint = args.runs / "first-stages" / f"{args.name}.pt"
    stop = Event()
    for kind in (signal.SIGINT, signal.SIGTERM):  # a request to end takes effect between steps
        signal.signal(kind, lambda *_: stop.set())
    follow(task, plan, checkpoint, stop, accelerator=accelerator)
    if stop.is_set() and rank == 0:
        print(f"Stopped; the same command continues from {checkpoint}.")
    if accelerator:
        accelerator.end_training()


if __name__ == "__main__":
    main()
