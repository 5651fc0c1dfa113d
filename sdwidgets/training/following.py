"""A training followed in a terminal: a progress bar, or lines for a log."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from .loop import Plan, Task, train

if TYPE_CHECKING:
    from accelerate import Accelerator


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
