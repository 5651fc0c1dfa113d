"""``python -m sdwidgets.training PART``: train a part of the bundled model from scratch.

The parts build on each other: autoencoder, text, diffusion; the recogniser only judges. Each part
resumes from its checkpoint in the runs folder. ``pack`` turns the checkpoints into a model folder
that ``sdwidgets.load`` and diffusers read; ``unpack`` turns such a folder (by default the bundled
model) back into checkpoints, to train its denoiser further.

Under torchrun (``torchrun --nproc_per_node 4 -m sdwidgets.training PART``) the processes share
every batch.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import torch
from tqdm.auto import tqdm

from ..checkpoints import load_model
from ..configs import EMOJI, SCENE_STAGES
from ..scenes import load_glyphs
from .loop import Plan, Task, distributed, train

if TYPE_CHECKING:
    from accelerate import Accelerator

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


def follow(
    task: Task,
    plan: Plan,
    checkpoint: Path,
    stop: Event,
    log_every: int = 50,
    accelerator: Accelerator | None = None,
) -> None:
    """Train with a progress bar, or without a terminal a line every ``log_every`` steps.

    Of several processes the first shows it. When one is asked to stop, all stop."""
    speaks = accelerator is None or accelerator.is_main_process
    live = speaks and sys.stderr.isatty()
    bar: tqdm | None = None
    mean: dict[str, float] = {}
    began = time.perf_counter()
    for step in train(task, plan, checkpoint, accelerator=accelerator):
        if bar is None:
            bar = tqdm(total=step.total, initial=step.index, disable=not live, desc=checkpoint.stem)
            first = step.index
        for name, value in {"loss": step.loss, **step.metrics}.items():
            mean[name] = value if name not in mean else 0.98 * mean[name] + 0.02 * value
        bar.update()
        bar.set_postfix({k: f"{v:.4g}" for k, v in mean.items()}, refresh=False)
        if speaks and not live and (step.index + 1) % log_every == 0:
            spent = time.perf_counter() - began
            rate = (step.index + 1 - first) / spent
            values = "  ".join(f"{k} {v:.4g}" for k, v in mean.items())
            print(
                f"{checkpoint.stem} {step.index + 1}/{step.total}  {values}  "
                f"{rate * plan.batch_size:.0f} samples/s  "
                f"{(step.total - step.index - 1) / rate / 60:.0f} min left",
                flush=True,
            )
        if _asked(stop, accelerator):
            stop.set()
            break
    if bar is not None:
        bar.close()


def _asked(stop: Event, accelerator: Accelerator | None) -> bool:
    """Whether this or any other process has been asked to stop."""
    if accelerator is None:
        return stop.is_set()
    if stop.is_set():
        accelerator.set_trigger()
    return bool(accelerator.check_trigger())


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m sdwidgets.training", description=__doc__)
    parser.add_argument("part", choices=[*PLANS, "pack", "pack-first-stages", "unpack"])
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
    args = parser.parse_args(argv)
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
