"""How long does a fresh process take to its first image?

``python -m benchmarks.first_picture``

Each round starts a new Python, which imports sdwidgets, loads the bundled model, takes 20 guided
steps and decodes the image; as the peer, another that does the same through diffusers; and a third
that only imports torch, without which neither of them can do. The clock starts before the process
and stops when the image is there.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from .measure import Options, Ratio, against, begin, duration, interleaved, options, report
from .models import PROMPT, model_folder

# What a child does; `mark` notes the time. time.time() goes on across processes.
OURS = """
import sdwidgets as sdw; mark("import sdwidgets")
sdw.load; mark("import torch")
model = sdw.load(folder, device=device); mark("load")
run = model.sample(prompt, steps=20, seed=0)
for step in run: pass
sync(); mark("20 guided steps")
run.pictures(step); mark("decode")
"""

THEIRS = """
import torch; mark("import torch")
from diffusers import StableDiffusionPipeline; mark("import diffusers")
kind = torch.float16 if device == "cuda" else torch.float32
pipeline = StableDiffusionPipeline.from_pretrained(folder).to(device, kind)
pipeline.set_progress_bar_config(disable=True); mark("load")
generator = torch.Generator().manual_seed(0)
pipeline(prompt, num_inference_steps=20, guidance_scale=3.0, generator=generator)
mark("20 guided steps and decode")
"""

TORCH = """
import torch; mark("import torch")
"""

AROUND = """
import json, sys, time
began, folder, device, prompt = float(sys.argv[1]), *sys.argv[2:]
marks = {{}}
def mark(name):
    global began
    now = time.time(); marks[name] = now - began; began = now
def sync():
    if device == "cuda":
        import torch; torch.cuda.synchronize()
mark("start Python")
{work}
print(json.dumps(marks))
"""


def fresh(work: str, folder: str, given: Options, stages: list[dict[str, float]]) -> float:
    """Seconds a new process took for ``work``; its stages are added to ``stages``."""
    import time

    code = AROUND.format(work=work)
    arguments = [sys.executable, "-c", code, str(time.time()), folder, given.device, PROMPT]
    done = subprocess.run(arguments, env=given.child(), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"A child process failed:\n{done.stderr[-3000:]}")
    marks: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    stages.append(marks)
    return sum(marks.values())


def medians(stages: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in stages) for name in stages[0]}


def main() -> int:
    given = options(
        __doc__, 7, lambda p: p.add_argument("--model", default="emoji", help="emoji, sd1, a path")
    )
    question = "How long does a fresh process take to its first image?"
    described = begin(question, given)
    stages: dict[str, list[dict[str, float]]] = {"sdwidgets": [], "diffusers": [], "torch": []}
    with model_folder(given.more.model) as folder:
        work: dict[str, Callable[[], Any]] = {
            "sdwidgets": partial(fresh, OURS, str(folder), given, stages["sdwidgets"]),
            "diffusers": partial(fresh, THEIRS, str(folder), given, stages["diffusers"]),
            "torch": partial(fresh, TORCH, str(folder), given, stages["torch"]),
        }
        seconds = interleaved(given.rounds, work)
    by_stage = {name: medians(each[1:]) for name, each in stages.items()}  # the first warms up
    for name, stage in by_stage.items():
        print(f"   {name}: " + ", ".join(f"{k} {duration(v)}" for k, v in stage.items()))

    def limit(what: str, value: float, target: float) -> Ratio:
        return Ratio(what, value / target, 1.0, duration(value), f"target {duration(target)}")

    ours = by_stage["sdwidgets"]
    image = ours["20 guided steps"] + ours["decode"]
    ratios = [
        limit("Fresh process to image", statistics.median(seconds["sdwidgets"]), 5.0),
        limit("import sdwidgets", ours["import sdwidgets"], 0.2),
        limit("A guided image of 20 steps", image, 1.0),
        against("Fresh process to image, and to import torch", seconds, "sdwidgets", "torch", 2.0),
        against("Fresh process to image, and diffusers'", seconds, "sdwidgets", "diffusers"),
    ]
    return report(
        "first_picture", question, ratios, given, described, seconds=seconds, stages=by_stage
    )


if __name__ == "__main__":
    sys.exit(main())
