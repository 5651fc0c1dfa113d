"""How long until the lab shows a new image, or an edit? ``python -m benchmarks.lab_update``

A scene of 128 x 128 pixels goes through four bundled autoencoders, with everything that the page
receives: images, error maps, numbers, latents, posterior, and the packing of it all. Then comes an
edit of the latents, as a dragged slider makes many. Only the kernel's part counts; the target is
0.3 s.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from PIL import ImageChops

from sdwidgets.lab import Scale
from sdwidgets.widgets import Lab

from .measure import Options, Ratio, begin, duration, interleaved, options, report

TARGET = 0.3  # seconds


def measure(given: Options) -> int:
    question = "How long until the lab shows a new image, or an edit?"
    described = begin(question, given)
    torch.set_num_threads(given.threads)
    lab = Lab()
    lab.wait()
    assert lab.picture is not None
    picture = lab.picture.image
    asked = iter(range(10**6))

    def show() -> float:
        fresh = ImageChops.offset(picture, next(asked) % 127 + 1, 0)  # an image not seen before
        return timed(lambda: lab.show(fresh))

    def edit() -> float:
        factor = 1 + next(asked) % 97 / 100
        return timed(lambda: lab.edit(Scale(channel=0, factor=factor), live=True))

    def timed(ask: Callable[[], None]) -> float:
        began = time.perf_counter()
        ask()
        lab.wait()
        return time.perf_counter() - began

    seconds = interleaved(given.rounds, {"a new image": show, "an edit": edit})
    ratios = []
    for name, each in seconds.items():
        middle = statistics.median(each)
        ratios.append(
            Ratio(f"The lab: {name}", middle / TARGET, 1.0, duration(middle), f"target {TARGET} s")
        )
    return report(
        "lab_update", question, ratios, given, described, autoencoders=lab.chosen, seconds=seconds
    )


if __name__ == "__main__":
    sys.exit(measure(options(__doc__, 15)))
