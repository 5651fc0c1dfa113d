"""What does an image lose when it is squeezed by f? ``python -m benchmarks.first_stages``

Every bundled autoencoder of emoji scenes reconstructs held-out scenes, beside the paper's own
numbers for photographs (arXiv 2112.10752, table 8). All had the same loss and the same number of
crops. The time per image is measured against diffusers with the same weights.

R-FD is a Frechet distance between scenes and their reconstructions, as the paper's R-FID, but on
the features of the project's recogniser (`sdwidgets.training.recognizer`), not on Inception's: the
two columns are not comparable, nor are "perceptual" and PSIM.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdwidgets import metrics
from sdwidgets.checkpoints import load_autoencoder
from sdwidgets.checkpoints.features import bundled_features
from sdwidgets.checkpoints.zoo import bundled_autoencoders, bundled_folder
from sdwidgets.configs import SCENE_STAGES
from sdwidgets.models.autoencoder import Autoencoder, Codes
from sdwidgets.models.quantizer import codebook_usage, count_codes, perplexity
from sdwidgets.scenes import load_glyphs
from sdwidgets.training.data import draw, scene_at
from sdwidgets.training.evaluate import TEST_SEED, trained_judge
from sdwidgets.training.frechet import frechet_distance, scene_features
from sdwidgets.training.recognizer import Recognizer

from .measure import (
    Options,
    Ratio,
    against,
    begin,
    interleaved,
    options,
    report,
    synchroniser,
    use_threads,
)

# arXiv 2112.10752v2, table 8, the rows with these f and regularisers: R-FID, PSNR, PSIM, SSIM.
PAPER = {
    "KL-f2": ("c 2", 0.086, 32.47, 0.20, 0.93),
    "KL-f4": ("c 3", 0.27, 27.53, 0.55, 0.82),
    "KL-f8": ("c 4", 0.90, 24.19, 1.02, 0.69),
    "KL-f16": ("c 16", 0.87, 24.08, 1.07, 0.68),
    "KL-f32": ("c 64", 2.04, 22.27, 1.41, 0.61),
    "VQ-f2": ("2048 codes", 0.16, 30.85, 0.27, 0.91),
    "VQ-f4": ("8192 codes", 0.58, 27.43, 0.53, 0.82),
    "VQ-f8": ("16384 codes", 1.14, 23.07, 1.17, 0.65),
    "VQ-f16": ("16384 codes", 5.15, 20.83, 1.73, 0.54),
    "VQ-f32": ("16384 codes", 31.83, 17.45, 2.58, 0.41),
}


@dataclass(frozen=True)
class Row:
    """An autoencoder on all images: means, and the standard deviation of PSNR."""

    name: str
    size: str
    psnr: float
    psnr_std: float
    ssim: float
    perceptual: float
    frechet: float
    bits: float
    usage: float | None  # share of the codes that were ever used
    perplexity: float | None


@torch.no_grad()
def measured(name: str, model: Autoencoder, images: Tensor, judge: Recognizer) -> Row:
    """The row of an autoencoder on images [N, 3, H, W] in [-1, 1]."""
    look = bundled_features(images.device)
    rebuilt, bits = [], []
    counts = torch.zeros(max(model.config.codes, 1), dtype=torch.int64, device=images.device)
    for batch in images.split(25):
        posterior = model.encode(batch)
        bits.append(metrics.bits_per_pixel(posterior, batch[0, 0].numel()))
        if isinstance(posterior, Codes):
            counts += count_codes(posterior.indices, posterior.codes)
        rebuilt.append(model.decode(posterior.mode()).clamp(-1, 1))
    made = torch.cat(rebuilt)
    psnr = metrics.psnr(made, images)
    distance = torch.cat(
        [look.distance(a, b) for a, b in zip(made.split(25), images.split(25), strict=True)]
    )
    config = model.config
    codes = bool(config.codes)
    return Row(
        name,
        f"{config.codes} codes" if codes else f"c {config.latent_channels}",
        float(psnr.mean()),
        float(psnr.std()),
        float(metrics.ssim(made, images).mean()),
        float(distance.mean()),
        frechet_distance(scene_features(judge, images), scene_features(judge, made)),
        float(torch.cat(bits).mean()),
        codebook_usage(counts) if codes else None,
        perplexity(counts) if codes else None,
    )


def table(rows: Sequence[Row], seconds: dict[str, float]) -> str:
    """The rows as a Markdown table, with the paper's numbers on the right."""
    lines = [
        "| | size of z | PSNR | SSIM | perceptual | R-FD | bits a pixel | codes used | ms "
        "| paper: size | PSNR | SSIM | PSIM | R-FID |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        size, fid, psnr, psim, ssim = PAPER[row.name]
        used = "" if row.usage is None else f"{row.usage:.0%} ({row.perplexity:.0f} evenly)"
        lines.append(
            f"| {row.name} | {row.size} | {row.psnr:.2f} ± {row.psnr_std:.2f} | {row.ssim:.3f} "
            f"| {row.perceptual:.3f} | {row.frechet:.3f} | {row.bits:.3f} | {used} "
            f"| {seconds[row.name] * 1000:.1f} "
            f"| {size} | {psnr:.2f} | {ssim:.2f} | {psim:.2f} | {fid:g} |"
        )
    return "\n".join(lines)


def plot(rows: Sequence[Row], path: Path) -> None:
    """What is lost against f, ours and the paper's, drawn into a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    psnr, frechet = figure.subplots(1, 2)
    for kind, colour in (("KL", "tab:blue"), ("VQ", "tab:orange")):
        ours = [row for row in rows if row.name.startswith(kind)]
        f = [SCENE_STAGES[row.name].factor for row in ours]
        psnr.errorbar(
            f, [r.psnr for r in ours], [r.psnr_std for r in ours],
            color=colour, marker="o", capsize=3, label=f"{kind}, scenes",
        )  # fmt: skip
        psnr.plot(
            f, [PAPER[r.name][2] for r in ours],
            color=colour, marker="o", mfc="none", ls=":", label=f"{kind}, paper",
        )  # fmt: skip
        frechet.plot(
            f, [r.frechet for r in ours], color=colour, marker="o", label=f"{kind}, scenes"
        )
    psnr.set(ylabel="PSNR (dB)", title="What comes back")
    frechet.set(ylabel="Fréchet distance (recogniser)", yscale="log", title="What looks different")
    for axes in (psnr, frechet):
        ticks = sorted({SCENE_STAGES[row.name].factor for row in rows})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_xlabel("f, pixels along a side of a latent cell")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def peers(models: dict[str, Autoencoder], device: str) -> dict[str, torch.nn.Module]:
    """diffusers' classes with the same weights, checked to give the same pictures."""
    from diffusers import AutoencoderKL, VQModel

    found = {}
    for name, model in models.items():
        kind = VQModel if model.config.codes else AutoencoderKL
        theirs = (
            kind.from_pretrained(bundled_folder(name), torch_dtype=torch.float32).to(device).eval()
        )
        found[name] = theirs
    return found


@torch.no_grad()
def timed(
    models: dict[str, Autoencoder], image: Tensor, given: Options
) -> tuple[dict[str, float], list[Ratio]]:
    """Seconds per image there and back, and the ratio to diffusers over all images."""
    theirs = peers(models, given.device)
    apart = 0.0

    def ours(name: str) -> Tensor:
        return models[name](image)

    def others(name: str) -> Tensor:
        peer: Any = theirs[name]
        if models[name].config.codes:
            return peer.decode(peer.encode(image).latents).sample
        return peer.decode(peer.encode(image).latent_dist.mode()).sample

    work: dict[str, Any] = {}
    for name in models:
        apart = max(apart, float((ours(name) - others(name)).abs().max()))
        work[f"{name}"] = lambda name=name: ours(name)
        work[f"{name}, diffusers"] = lambda name=name: others(name)
    print(f"   reconstructions differ from diffusers' by at most {apart * 127.5:.3f} of 255 levels")
    seconds = interleaved(given.rounds, work, sync=synchroniser(given.device))
    ratios = [
        against(f"A picture there and back ({name})", seconds, name, f"{name}, diffusers", 1.0)
        for name in models
    ]
    return {name: statistics.median(seconds[name]) for name in models}, ratios


def measure(given: Options) -> int:
    question = "What does a picture lose, squeezed by f?"
    described = begin(question, given)
    use_threads(given.threads)
    more = given.more
    judge = trained_judge(more.runs / "recognizer.pt").to(given.device)
    names = [name for name in SCENE_STAGES if name in bundled_autoencoders()]
    models = {name: load_autoencoder(name, device=given.device) for name in names}
    scenes = [scene_at(TEST_SEED + 2, i, "held_out") for i in range(more.scenes)]
    images = draw(scenes, load_glyphs()).to(given.device)
    seconds, ratios = timed(models, images[:1], given)
    rows = [measured(name, model, images, judge) for name, model in models.items()]
    text = table(rows, seconds)
    print(f"\n{text}\n", flush=True)
    if more.plot:
        plot(rows, more.plot)
    return report(
        "first_stages", question, ratios, given, described,
        scenes=more.scenes, rows=[vars(row) for row in rows], table=text.splitlines(),
    )  # fmt: skip


def main() -> int:
    def add(parser: Any) -> None:
        parser.add_argument("--scenes", type=int, default=1000, help="held-out scenes (1000)")
        parser.add_argument("--runs", type=Path, default=Path("runs"), help="with recognizer.pt")
        parser.add_argument("--plot", type=Path, help="also draw it into this PNG file")

    return measure(options(__doc__, 7, add))


if __name__ == "__main__":
    sys.exit(main())
