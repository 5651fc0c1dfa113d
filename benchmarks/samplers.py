"""How many calls of the network does each sampler need? ``python -m benchmarks.samplers``

Samplers without noise follow one flow, so all of them have the same result in the limit: here 250
steps of Heun's method on the grid "karras". The error of a run is the root of the mean square of
how far its last latents are from that, divided by their standard deviation; the median over images.

Samplers with fresh noise end elsewhere each time. Of them it is measured how much detail their
latents have: the standard deviation of what a mean over 3 x 3 cells takes away, divided by that of
the reference. Below 1 images are smoother, above 1 noise is left.

It times nothing: a busy machine gives the same numbers.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional as F

import sdwidgets as sdw

from .measure import Options, Ratio, begin, options, report, use_threads
from .models import model_folder

PROMPTS = (
    "a cat left of a car on a blue background",
    "a dog on a green background",
    "a red apple above a tree",
)
REFERENCE = {"sampler": "heun", "schedule": "karras", "steps": 250}
FLOW = ("euler", "heun", "dpm2", "lms", "plms", "dpmpp_2m", "unipc")  # ddim is euler
FRESH = (
    "euler_ancestral", "dpm2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde", "dpmpp_2m_sde",
    "dpmpp_3m_sde",
)  # fmt: skip  # ddpm is euler_ancestral
RUNS = (
    *((sampler, schedule) for schedule in ("default", "karras") for sampler in FLOW),
    *((sampler, "default") for sampler in FRESH),
)
STEPS = (2, 3, 4, 6, 10, 15, 20, 40)


@dataclass(frozen=True)
class Row:
    """A sampler on a grid with a number of steps: medians over images."""

    sampler: str
    schedule: str
    steps: int
    calls: int  # of the network, for an image
    error: float
    detail: float


def ended(model: sdw.LatentDiffusion, seed: int, **settings: Any) -> tuple[Tensor, int]:
    """Return the last latents [len(PROMPTS), C, h, w] of a run, and how often it asked."""
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    hook = model.unet.register_forward_hook(count)
    try:
        *_, last = model.sample(list(PROMPTS), seed=seed, **settings)
    finally:
        hook.remove()
    return last.x_next.cpu(), calls


def error(latents: Tensor, wanted: Tensor) -> list[float]:
    """Return how far each image's latents are from those wanted, in standard deviations."""
    far = (latents - wanted).square().mean((1, 2, 3)).sqrt()
    return (far / wanted.std((1, 2, 3))).tolist()  # type: ignore[no-any-return]


def detail(latents: Tensor) -> list[float]:
    """Return the standard deviation of each image's latents after their 3 x 3 means are taken."""
    smooth = F.avg_pool2d(F.pad(latents, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return (latents - smooth).std((1, 2, 3)).tolist()  # type: ignore[no-any-return]


def measured(model: sdw.LatentDiffusion, seeds: Sequence[int]) -> list[Row]:
    """All `RUNS` with all numbers of steps."""
    wanted = {seed: ended(model, seed, **REFERENCE)[0] for seed in seeds}
    usual = statistics.median(value for each in wanted.values() for value in detail(each))
    rows = []
    for sampler, schedule in RUNS:
        for steps in STEPS:
            errors, details, calls = [], [], 0
            for seed in seeds:
                settings = {"sampler": sampler, "schedule": schedule, "steps": steps}
                latents, calls = ended(model, seed, **settings)
                errors += error(latents, wanted[seed])
                details += detail(latents)
            far, fine = statistics.median(errors), statistics.median(details) / usual
            rows.append(Row(sampler, schedule, steps, calls, far, fine))
        print(f"   {sampler} on {schedule}: error {far:.3f}, detail {fine:.2f}", flush=True)
    return rows


def table(rows: Sequence[Row]) -> str:
    """The errors of samplers without noise, and the details of the others, as Markdown."""
    found: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for row in rows:
        value = f"{row.error:.3f}" if row.sampler in FLOW else f"{row.detail:.2f}"
        found[row.sampler, row.schedule][row.steps] = value
    lines = [
        f"| sampler | grid | {' | '.join(map(str, STEPS))} |",
        f"|---|---|{'---|' * len(STEPS)}",
    ]
    for (sampler, schedule), values in found.items():
        cells = " | ".join(values[steps] for steps in STEPS)
        lines.append(f"| `{sampler}` | {schedule} | {cells} |")
    return "\n".join(lines)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Errors and details against calls of the network, drawn into a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    trailing, karras, fresh = figure.subplots(1, 3)
    panels = ((trailing, FLOW, "default"), (karras, FLOW, "karras"), (fresh, FRESH, "default"))
    for axes, samplers, schedule in panels:
        for index, sampler in enumerate(samplers):
            of = [row for row in rows if (row.sampler, row.schedule) == (sampler, schedule)]
            values = [row.error if samplers is FLOW else row.detail for row in of]
            axes.plot(
                [row.calls for row in of], values,
                color=f"C{index}", marker="osD^vPX"[index], ms=4, lw=1.3, label=sampler,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks([2, 5, 10, 20, 50, 100], ["2", "5", "10", "20", "50", "100"])
        axes.minorticks_off()
        axes.set_xlabel("calls of the network")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    errors = [row.error for row in rows if row.sampler in FLOW]
    for axes, title in ((trailing, "Error, default grid"), (karras, "Error, karras grid")):
        axes.set(title=title, yscale="log", ylim=(min(errors) * 0.8, min(max(errors), 2) * 1.2))
    trailing.set_ylabel("distance to the flow's end (1: latents' deviation)")
    fresh.axhline(1, color="0.5", lw=1, ls=":")
    fresh.set(title="Detail with fresh noise", ylabel="detail (1: the flow's end)")
    figure.savefig(path, dpi=100)


def measure(given: Options) -> int:
    question = "How many calls of the network does each sampler need?"
    described = begin(question, given)
    use_threads(given.threads)
    with model_folder(given.more.model) as folder:
        model = sdw.load(folder, device=given.device)
        rows = measured(model, range(1, 1 + given.more.seeds))
    text = table(rows)
    print(f"\n{text}\n", flush=True)
    if given.more.plot:
        plot(rows, given.more.plot)
    at = {(row.sampler, row.schedule, row.steps): row.error for row in rows}
    ratios = [
        Ratio(
            f"Error of {sampler} with 20 steps ({schedule})",
            at[sampler, schedule, 20] / at["euler", schedule, 20],
            None,
            f"{at[sampler, schedule, 20]:.4f}",
            f"euler {at['euler', schedule, 20]:.4f}",
        )
        for sampler, schedule in RUNS
        if sampler in FLOW[1:]
    ]
    return report(
        "samplers", question, ratios, given, described,
        prompts=PROMPTS, seeds=given.more.seeds, rows=[vars(row) for row in rows],
        table=text.splitlines(),
    )  # fmt: skip


def main() -> int:
    def add(parser: Any) -> None:
        parser.add_argument("--model", default="emoji", help="emoji, tiny, sd1 or a folder")
        parser.add_argument("--seeds", type=int, default=1, help="seeds for each prompt (1)")
        parser.add_argument("--plot", type=Path, help="also draw it into this PNG file")

    return measure(options(__doc__, 1, add))


if __name__ == "__main__":
    sys.exit(main())
