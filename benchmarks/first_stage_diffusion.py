"""Which f should diffusion run on? ``python -m benchmarks.first_stage_diffusion``

A small network, equally wide on every bundled autoencoder of emoji scenes, is trained for the same
number of steps on the latents of the same scenes, with the same captions through the same text
encoder: the paper's second experiment (arXiv 2112.10752, section 4.1 and figure 6) at small scale.
The recogniser then says how much of each prompt is in the images, and how far they are from real
scenes as a whole. Diffusion cannot bring back what an autoencoder has lost, so the table also has
the reconstructions.

Checkpoints are kept in ``--runs``; the same command continues from them.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdwidgets.checkpoints import load_model
from sdwidgets.checkpoints.zoo import bundled_autoencoders
from sdwidgets.configs import SCENE_STAGES, UNetConfig
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.scenes import SIZE, Scene
from sdwidgets.training.checkpoint import averaged
from sdwidgets.training.data import Scenes, draw, scene_at
from sdwidgets.training.diffusion import DiffusionTask, diffusion
from sdwidgets.training.evaluate import TEST_SEED, generated, plain_caption, score, trained_judge
from sdwidgets.training.frechet import frechet_distance, scene_features
from sdwidgets.training.loop import Draw, Plan, seeded, train
from sdwidgets.training.recognizer import Recognizer, recognize

from .measure import Ratio, begin, options, report

NOUNS = ("cat", "frog", "penguin", "car", "rocket", "house", "tree", "apple", "pizza", "star")
LEVELS = 3


@dataclass(frozen=True)
class Row:
    """The diffusion model on an autoencoder: shares in [0, 1], seconds per training step."""

    name: str
    cells: str
    loss: float
    objects: float
    color: float
    frechet: float
    rebuilt: float  # the Frechet distance of the autoencoder's reconstructions
    seconds: float
    parameters: int


def network(name: str, width: int) -> UNetConfig:
    """The network, the same for all autoencoders except for the latents' channels."""
    channels = SCENE_STAGES[name].latent_channels
    return UNetConfig(
        channels=tuple(width * 2**level for level in range(LEVELS)),
        depths=(0, 1, 1),
        heads=(1, 2, 4),
        blocks_per_level=1,
        context_dim=128,
        norm_groups=4,
        in_channels=channels,
        out_channels=channels,
    )


def trained(task: DiffusionTask, plan: Plan, file: Path) -> None:
    """Train, or continue, until the plan is done."""
    began = time.perf_counter()
    for step in train(task, plan, file):
        if (step.index + 1) % 100 == 0:
            said = f"{file.stem} {step.index + 1} of {step.total}: {step.loss:.3f}"
            print(f"   {said}, {time.perf_counter() - began:.0f} s", flush=True)


@torch.no_grad()
def loss_of(task: DiffusionTask, file: Path, draws: int = 30) -> float:
    """The mean loss of the averaged weights, on noise that training did not draw."""
    task.model.load_state_dict(averaged(file))
    device = next(task.model.parameters()).device
    numbers = range(10**6, 10**6 + draws)
    some = [Draw(number, 32, seeded(1, number, device)) for number in numbers]
    return statistics.mean(float(task.loss(draw)["loss"]) for draw in some)


def seconds_of(task: DiffusionTask, plan: Plan, steps: int = 12) -> float:
    """The median seconds of a training step."""
    return statistics.median(step.seconds for step in train(task, replace(plan, steps=steps)))


def judged(
    model: LatentDiffusion, scenes: list[Scene], real: Tensor, judge: Recognizer, steps: int
) -> tuple[float, float, float, float]:
    """(objects, colour, Frechet distance of what is made, the same of what is rebuilt)."""
    made = generated(model, scenes, steps=steps, guidance_scale=model.config.guidance_scale)
    told = score(scenes, recognize(judge, made))
    with torch.no_grad():
        rebuilt = torch.cat(
            [
                model.autoencoder(some.to(model.device)).clamp(-1, 1).float().cpu()
                for some in real.split(25)
            ]
        )
    features = scene_features(judge, real)
    return (
        told.objects,
        told.color,
        frechet_distance(features, scene_features(judge, made)),
        frechet_distance(features, scene_features(judge, rebuilt)),
    )


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| first stage | latents | loss | objects | colour | FD of what is made "
        "| FD of what is rebuilt | s a step | parameters |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row.name} | {row.cells} | {row.loss:.3f} | {row.objects:.0%} | {row.color:.0%} "
            f"| {row.frechet:.2f} | {row.rebuilt:.2f} | {row.seconds:.3f} "
            f"| {row.parameters / 1e6:.2f} M |"
        )
    return "\n".join(lines)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Quality against f, drawn into a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    objects, distance = figure.subplots(1, 2)
    for kind, colour in (("KL", "tab:blue"), ("VQ", "tab:orange")):
        ours = [row for row in rows if row.name.startswith(kind)]
        f = [SCENE_STAGES[row.name].factor for row in ours]
        objects.plot(f, [100 * r.objects for r in ours], color=colour, marker="o", label=kind)
        distance.plot(f, [r.frechet for r in ours], color=colour, marker="o", label=f"{kind}, made")
        distance.plot(
            f, [r.rebuilt for r in ours], color=colour, marker="o", mfc="none", ls=":",
            label=f"{kind}, only rebuilt",
        )  # fmt: skip
    objects.set(ylabel="pictures with what was asked for (%)", ylim=(0, 100), title="Right objects")
    distance.set(ylabel="Fréchet distance (recogniser)", yscale="log", title="Like real scenes")
    ticks = sorted({SCENE_STAGES[row.name].factor for row in rows})
    for axes in (objects, distance):
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_xlabel("f, pixels along a side of a latent cell")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def measure(given: Any) -> int:
    question = "Which f should diffusion run on?"
    described = begin(question, given)
    torch.set_num_threads(given.threads)
    more = given.more
    judge = trained_judge(more.runs / "recognizer.pt")
    text = load_model(device=given.device).text
    pictures = Scenes(seed=0, size=SIZE, kind="one", nouns=NOUNS, count=more.scenes)
    scenes = [scene_at(TEST_SEED + 3, i, kind="one", nouns=NOUNS) for i in range(more.prompts)]
    asked = [replace(scene, caption=plain_caption(scene)) for scene in scenes]
    real = draw(asked, pictures.glyphs)
    plan = Plan(
        steps=more.steps, batch_size=32, ema=0.995, cooldown=0.3, checkpoint_every=100, seed=0
    )
    rows = []
    folder = more.runs / "first-stage-diffusion"
    names = [name for name in SCENE_STAGES if name in (more.names or bundled_autoencoders())]
    for name in names:
        task = diffusion(
            pictures, name, text="frozen", encoder=text, unet=network(name, more.width),
            latents=folder / f"{name}.latents.pt", device=given.device,
        )  # fmt: skip
        trained(task, plan, folder / f"{name}.pt")
        if more.train_only:
            continue
        model = task.result(folder / f"{name}.pt")
        loss = loss_of(task, folder / f"{name}.pt")
        side = SIZE // SCENE_STAGES[name].factor
        objects, color, made, rebuilt = judged(model, asked, real, judge, more.sampling_steps)
        rows.append(
            Row(
                name, f"{side} x {side} x {SCENE_STAGES[name].latent_channels}", loss, objects,
                color, made, rebuilt, seconds_of(task, plan),
                sum(weight.numel() for weight in model.unet.parameters()),
            )
        )  # fmt: skip
        print(table(rows[-1:]), flush=True)
    if more.train_only:
        return 0
    print(f"\n{table(rows)}\n", flush=True)
    if more.plot:
        plot(rows, more.plot)
    best = min(rows, key=lambda row: row.frechet)
    ratios = [
        Ratio(
            f"Frechet distance with {row.name}, and with {best.name}", row.frechet / best.frechet,
            None, f"{row.name} {row.frechet:.2f}", f"{best.name} {best.frechet:.2f}",
        )
        for row in rows if row is not best
    ]  # fmt: skip
    return report(
        "first_stage_diffusion", question, ratios, given, described,
        steps=more.steps, scenes=more.scenes, prompts=more.prompts,
        rows=[vars(row) for row in rows], table=table(rows).splitlines(),
    )  # fmt: skip


def main() -> int:
    def add(parser: Any) -> None:
        parser.add_argument("--names", nargs="+", choices=SCENE_STAGES, help="first stages (all)")
        parser.add_argument("--steps", type=int, default=1000, help="of training (1000)")
        parser.add_argument("--scenes", type=int, default=4000, help="to train on (4000)")
        parser.add_argument("--prompts", type=int, default=300, help="to judge (300)")
        parser.add_argument("--sampling-steps", type=int, default=20)
        parser.add_argument("--width", type=int, default=32, help="of the network (32)")
        parser.add_argument("--runs", type=Path, default=Path("runs"), help="with recognizer.pt")
        parser.add_argument("--train-only", action="store_true", help="for several at once")
        parser.add_argument("--plot", type=Path, help="also draw it into this PNG file")

    return measure(options(__doc__, 1, add))


if __name__ == "__main__":
    sys.exit(main())
