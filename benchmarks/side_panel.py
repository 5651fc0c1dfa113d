"""Does the side panel slow a run down? ``python -m benchmarks.side_panel``

The bundled model makes an image of 30 steps, by a manager that nobody follows and by one whose
jobs, models, memory and images a page watches. The page's comm packs what it gets and drops it. At
most 2% is the target.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch

from sdwidgets.manager import ModelManager, Request
from sdwidgets.settings import Settings
from sdwidgets.widgets.side import Side

from .measure import Options, Ratio, begin, duration, interleaved, options, report

TARGET = 1.02
STEPS = 30


class Comm:
    """The comm of a page that watches everything."""

    def on_msg(self, callback: Any) -> None:
        self.hear = callback

    def on_close(self, callback: Any) -> None: ...

    def send(self, data: dict[str, Any], buffers: Sequence[bytes]) -> None:
        json.dumps(data)

    def close(self) -> None: ...


def measure(given: Options) -> int:
    question = "Does the side panel slow a run down?"
    described = begin(question, given)
    torch.set_num_threads(given.threads)
    alone, watched = ModelManager(), ModelManager()
    side, comm = Side(), Comm()
    side.show(watched)
    side.opened(comm, None)
    for said in ({"kind": "watch", "visible": True}, {"kind": "models", "folders": []}):
        comm.hear({"content": {"data": said}})
    request = Request("emoji", Settings("a cat left of a car", steps=STEPS, seed=1))

    def timed(manager: ModelManager) -> float:
        began = time.perf_counter()
        manager.submit(request).result()
        return time.perf_counter() - began

    for manager in (alone, watched):
        timed(manager)  # loads the model
    seconds = interleaved(
        given.rounds, {"alone": lambda: timed(alone), "watched": lambda: timed(watched)}
    )
    side.close()
    ours, other = statistics.median(seconds["watched"]), statistics.median(seconds["alone"])
    ratio = Ratio(
        "A run that the panel watches", ours / other, TARGET, duration(ours), duration(other)
    )
    return report("side_panel", question, [ratio], given, described, seconds=seconds)


if __name__ == "__main__":
    sys.exit(measure(options(__doc__, 25)))
