"""From what size on is a network faster with more threads than one?

``python -m benchmarks.threads``

A guided step of the bundled model's network, at growing sizes and batches, with one thread and with
all, in turns. ``sdwidgets.threads.SMALL`` is to be where all of them begin to pay: passes below it
take one thread, and leave the other cores to others.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from .measure import Ratio, begin, cores, duration, interleaved, options, report

SIZES = ((1, 16), (2, 16), (4, 16), (8, 16), (16, 16), (4, 32), (8, 32), (16, 32), (4, 64), (8, 64))


def main() -> int:
    given = options(__doc__, 9)
    question = "From what size on is a network faster with more threads than one?"
    if given.device != "cpu":
        raise SystemExit("Threads are the CPU's.")
    import torch

    from sdwidgets.configs import EMOJI
    from sdwidgets.models.unet import UNet
    from sdwidgets.threads import SMALL, multiply_adds

    described = begin(question, given)
    unet = UNet(EMOJI.unet).eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def step(threads: int, batch: int, side: int) -> None:
        torch.set_num_threads(threads)
        x = torch.randn(batch, EMOJI.unet.in_channels, side, side)
        unet(x, torch.full((batch,), 500.0), torch.randn(batch, 77, EMOJI.unet.context_dim))

    rows = []
    for batch, side in SIZES:
        work: dict[str, Callable[[], Any]] = {
            "one": partial(step, 1, batch, side),
            "all": partial(step, cores(), batch, side),
        }
        seconds = interleaved(given.rounds, work)
        one, everything = (statistics.median(seconds[name]) for name in ("one", "all"))
        gain = statistics.median(a / b for a, b in zip(*seconds.values(), strict=True))
        rows.append(
            {
                "batch": batch,
                "side": side,
                "multiply_adds": multiply_adds(unet, batch * side * side),
                "one": one,
                "all": everything,
                "gain": gain,
            }
        )
    print(f"   multiply-adds   one thread   {cores()} threads   one / all   (bound {SMALL:.1e})")
    for row in rows:
        print(
            f"   {row['multiply_adds']:13.1e} {duration(row['one']):>12} {duration(row['all']):>11}"
            f"   {row['gain']:9.2f}"
        )
    ratios = [
        Ratio(
            f"A step of {row['multiply_adds']:.1e} multiply-adds with one thread, and with all",
            row["gain"],
            None,
            f"one {duration(row['one'])}",
            f"all {duration(row['all'])}",
        )
        for row in rows
    ]
    return report("threads", question, ratios, given, described, rows=rows, bound=SMALL)


if __name__ == "__main__":
    sys.exit(main())
