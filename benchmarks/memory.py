"""Are the weights ever in memory twice? How much does a run need?

``python -m benchmarks.memory [--model sd1]``

Each number comes from a fresh process, which imports everything first. The peak of memory while
loading, beyond what was there before, is divided by the size of the weights in memory. Then comes a
run of guided steps: its peak on top of the loaded model, for ours and for diffusers on the same
files. On a CPU this is resident memory, whose peak Linux keeps; on a GPU, what torch allocated.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

from .measure import Options, Ratio, begin, options, report
from .models import PROMPT, model_folder

CHILD = """
import json, re, sys
folder, device, prompt, steps = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
import torch
{imports}

def status(field):
    found = re.search(field + r":\\s+(\\d+) kB", open("/proc/self/status").read())
    return int(found[1]) * 1024

def now():
    if device == "cuda":
        torch.cuda.synchronize(); return torch.cuda.memory_allocated()
    return status("VmRSS")

def peak():
    if device == "cuda":
        torch.cuda.synchronize(); return torch.cuda.max_memory_allocated()
    return status("VmHWM")

def forget_peak():
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        open("/proc/self/clear_refs", "w").write("5")

if device == "cuda":
    torch.zeros(1, device="cuda")
before = now(); forget_peak()
{load}
loading = peak() - before
weights = sum(t.numel() * t.element_size() for m in modules for t in m.state_dict().values())
loaded = now(); forget_peak()
{run}
print(json.dumps({{"weights": weights, "loading": loading, "running": peak() - loaded}}))
"""

OURS = {
    "imports": """
import sdwidgets as sdw; sdw.load; import sdwidgets.pipeline
""",
    "load": """
model = sdw.load(folder, device=device, dtype=torch.float16 if device == "cuda" else torch.float32)
modules = [model.unet, model.autoencoder, model.text.model]
""",
    "run": "model.generate(prompt, steps=steps, seed=0)",
}
THEIRS = {
    "imports": """
from diffusers import StableDiffusionPipeline
import transformers.models.clip.modeling_clip
""",
    "load": """
kind = torch.float16 if device == "cuda" else torch.float32
model = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=kind).to(device)
modules = [model.unet, model.vae, model.text_encoder]
""",
    "run": "model(prompt, num_inference_steps=steps, guidance_scale=3.0)",
}


def fresh(work: dict[str, str], folder: str, steps: int, given: Options) -> dict[str, int]:
    """Bytes of the weights, of the peak while loading, and of the peak of a run."""
    arguments = [sys.executable, "-c", CHILD.format(**work), folder, given.device, PROMPT]
    done = subprocess.run(
        [*arguments, str(steps)], env=given.child(), capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"A child process failed:\n{done.stderr[-3000:]}")
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    def add(parser: Any) -> None:
        parser.add_argument("--model", default="sd1", help="sd1 (2.1 GB of disk), emoji, a path")
        parser.add_argument("--steps", type=int, default=2, help="of the run; each needs the same")

    given = options(__doc__, 3, add)
    if given.device == "mps" or (given.device == "cpu" and sys.platform != "linux"):
        raise SystemExit("Peaks of memory are known on Linux and on NVIDIA GPUs alone.")
    question = "Are the weights ever in memory twice? How much does a run need?"
    described = begin(question, given)
    rows: dict[str, list[dict[str, int]]] = {"sdwidgets": [], "diffusers": []}
    with model_folder(given.more.model) as folder:
        for number in range(given.rounds):
            for name, work in (("sdwidgets", OURS), ("diffusers", THEIRS)):
                row = fresh(work, str(folder), given.more.steps, given)
                rows[name].append(row)
                words = ", ".join(f"{k} {v / 1e6:.0f} MB" for k, v in row.items())
                print(f"  round {number + 1} of {given.rounds}: {name}: {words}", flush=True)

    def median(name: str, field: str) -> float:
        return statistics.median(row[field] for row in rows[name])

    def ratio(what: str, a: tuple[str, str], b: tuple[str, str], target: float | None) -> Ratio:
        one, other = median(*a), median(*b)
        words = [f"{' '.join(who)} {n / 1e6:.0f} MB" for who, n in ((a, one), (b, other))]
        return Ratio(what, one / other, target, *words)

    # Twice would be 2; next to the weights there are their names, configs and one spare tensor.
    size = ("sdwidgets", "weights")
    label = given.more.model if given.more.model in ("sd1", "emoji") else "model"
    ratios = [
        ratio(f"Peak of loading, in sizes of the weights ({label})",
              ("sdwidgets", "loading"), size, 1.25 if label == "sd1" else None),
        ratio(f"Peak of loading ({label})",
              ("sdwidgets", "loading"), ("diffusers", "loading"), None),
        ratio(f"Peak of a run on top of the model ({label})",
              ("sdwidgets", "running"), ("diffusers", "running"), None),
    ]  # fmt: skip
    return report("memory", question, ratios, given, described, rows=rows, model=label)


if __name__ == "__main__":
    sys.exit(main())
