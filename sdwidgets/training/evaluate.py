"""``python -m sdwidgets.training.evaluate``: how good a model of the emoji scenes is, in numbers.

On held-out scenes: the autoencoder's PSNR. Over prompts of seen and of held-out combinations: how
often the image has the objects, the background colour and the relations of the prompt, as seen by a
recogniser trained on real scenes, beside that recogniser's own accuracy on real scenes. Finally,
whether the words look where they mean: the cross-attention of nouns (and of the colour word)
against the exact masks, while known scenes are denoised.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError
from ..models.conditioning import conditioned
from ..pipeline import LatentDiffusion
from ..pixels import to_tensor
from ..scenes import (
    COUNTS,
    SIZE,
    Glyphs,
    Scene,
    Split,
    article,
    load_glyphs,
    plural,
    render,
)
from ..trace.attention import grid_of, tapped
from ..trace.tokens import PromptTokens
from .checkpoint import averaged
from .data import draw, scene_at
from .loop import placed
from .recognizer import Recognizer, Seen, holds, recognize
from .surroundings import settled

TEST_SEED = 1_000_000  # its scenes are in no training
KINDS = ("one", "two", "two", "two", "three", "several")


def plain_caption(scene: Scene) -> str:
    """The scene in the plainest words, as a person would type it."""
    nouns = [placed.noun for placed in scene.objects]
    if scene.relations:
        what = f" {scene.relations[0][1]} ".join(article(noun) for noun in nouns)
    elif len(nouns) > 1:
        what = f"{COUNTS[len(nouns)]} {plural(nouns[0])}"
    else:
        what = article(nouns[0])
    return f"{what} on {article(scene.background)} background"


def prompt_scenes(count: int, split: Split) -> list[Scene]:
    """``count`` scenes of that split, of all kinds, with plain captions."""
    scenes = [scene_at(TEST_SEED, i, split, KINDS[i % len(KINDS)]) for i in range(count)]
    return [replace(scene, caption=plain_caption(scene)) for scene in scenes]


# ------------------------------------------------------------------------- images


@dataclass(frozen=True)
class Score:
    """Shares in [0, 1] over ``pictures`` images.

    ``objects``: every noun of the prompt is there, as often as asked for; ``nouns``: single nouns
    that are there; ``exact``: the objects are right and nothing else is there; ``color``: the
    background's colour is right; ``relation``: all relations hold, among prompts that have some.
    """

    pictures: int
    objects: float
    nouns: float
    exact: float
    color: float
    relation: float


def score(scenes: list[Scene], seen: list[Seen]) -> Score:
    """How well what was seen matches the scenes."""
    objects, nouns, exact, color, relation = [], [], [], [], []
    for scene, one in zip(scenes, seen, strict=True):
        there = {noun: len(one.objects.get(noun, ())) for noun in scene.counts}
        right = there == scene.counts
        objects.append(right)
        exact.append(right and set(one.objects) == set(scene.counts))
        nouns += [there[noun] > 0 for noun in scene.counts]
        color.append(one.color == scene.background)
        if scene.relations:
            relation.append(all(holds(one, *triple) for triple in scene.relations))
    return Score(
        pictures=len(scenes),
        objects=float(np.mean(objects)),
        nouns=float(np.mean(nouns)),
        exact=float(np.mean(exact)),
        color=float(np.mean(color)),
        relation=float(np.mean(relation)) if relation else float("nan"),
    )


@settled()
def generated(
    model: LatentDiffusion,
    scenes: list[Scene],
    *,
    steps: int,
    guidance_scale: float,
    batch: int = 25,
) -> Tensor:
    """The images that the model makes from the scenes' captions [B, 3, 128, 128] in [-1, 1]."""
    images = []
    for start in range(0, len(scenes), batch):
        part = scenes[start : start + batch]
        run = model.sample(
            [scene.caption for scene in part],
            steps=steps,
            guidance_scale=guidance_scale,
            seed=[start + i for i in range(len(part))],
        )
        (last,) = deque(run, maxlen=1)
        images.append(model.autoencoder.decode(last.x_next).clamp(-1, 1).float().cpu())
    return torch.cat(images)


@settled()
def psnr(model: LatentDiffusion, scenes: list[Scene], glyphs: Glyphs) -> float:
    """Peak signal-to-noise ratio of the autoencoder in dB, averaged over the scenes."""
    errors = []
    for start in range(0, len(scenes), 25):
        images = draw(scenes[start : start + 25], glyphs).to(model.device)
        decoded = model.autoencoder.decode(model.autoencoder.encode(images).mode())
        errors.append((decoded.clamp(-1, 1) - images).square().mean((1, 2, 3)))
    return float(10 * torch.log10(4 / torch.cat(errors)).mean())


# ------------------------------------------------------------------------- attention


@dataclass(frozen=True)
class Grounding:
    """Attention maps of ``words`` words against their masks.

    ``auc`` is the mean area under the ROC curve; ``miou`` the mean intersection over union at the
    single ``threshold`` (of maps scaled to [0, 1]) that serves all maps best."""

    words: int
    auc: float
    miou: float
    threshold: float


def area_under_curve(values: np.ndarray, mask: np.ndarray) -> float:
    """The probability that a pixel in the mask has a higher value than a pixel outside it
    (Mann-Whitney)."""
    _, inverse, counts = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # ties share their mean rank
    inside = mask.ravel()
    n, m = int(inside.sum()), int((~inside).sum())
    return float((ranks[inside].sum() - n * (n + 1) / 2) / (n * m))


@settled()
def attention_maps(
    model: LatentDiffusion, scene: Scene, image: Tensor, ts: list[int], generator: torch.Generator
) -> Tensor:
    """The average map of every token [T, 128, 128]: over heads, all layers, and the training steps
    ``ts`` to which the scene is noised."""
    z = model.autoencoder.encode(image[None].to(model.device)).mode().float()
    sigma = model.schedule.sigmas[ts].float().to(z.device).view(-1, 1, 1, 1)
    noise = torch.randn((len(ts), *z.shape[1:]), generator=generator).to(z.device)
    x = (z + sigma * noise) / (1 + sigma.square()).sqrt()
    told = model.condition([scene.caption] * len(ts))
    if told.context is None:
        raise InputError("This model takes no prompt: there is no attention to measure.")
    total = torch.zeros(told.context.shape[1], SIZE, SIZE)
    layers = 0

    def look(_: str, probabilities: Tensor) -> None:
        nonlocal total, layers
        mean = probabilities.float().mean((0, 1)).T  # [T, N]
        grid = mean.unflatten(1, grid_of(mean.shape[1], *z.shape[-2:]))
        total += F.interpolate(grid[None].cpu(), size=(SIZE, SIZE), mode="bilinear")[0]
        layers += 1

    with tapped(model.unet, look):
        t = torch.tensor(ts, dtype=torch.float32, device=z.device)
        conditioned(model.unet, told.to(model.device, model.dtype))(x.to(model.dtype), t)
    return total / layers


def grounding(
    model: LatentDiffusion, scenes: list[Scene], glyphs: Glyphs, seed: int = 0
) -> dict[str, Grounding]:
    """Scores of the maps of nouns, and of colour words (against the background's mask)."""
    generator = torch.Generator().manual_seed(seed)
    maps: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"nouns": [], "colours": []}
    for scene in scenes:
        picture = render(scene, glyphs)
        image = to_tensor(picture.image)[0]
        found = attention_maps(model, scene, image, [100, 300, 500, 700, 900], generator).numpy()
        tokenized = model.tokenize([scene.caption])
        prompt = PromptTokens(scene.caption, tokenized.pieces[0], tokenized.words[0])
        for word, mask in picture.masks.items():
            kind = "colours" if word == scene.background else "nouns"
            many = scene.counts.get(word, 1) > 1
            tokens = list(prompt.find(plural(word) if many else word))
            if mask.any() and not mask.all():
                maps[kind].append((found[tokens].mean(0), mask))
    return {kind: _grounding(pairs) for kind, pairs in maps.items()}


def _grounding(pairs: list[tuple[np.ndarray, np.ndarray]]) -> Grounding:
    thresholds = np.arange(0.1, 0.9, 0.05)
    ious = np.zeros((len(pairs), len(thresholds)))
    for i, (values, mask) in enumerate(pairs):
        scaled = (values - values.min()) / max(float(np.ptp(values)), 1e-12)
        for j, threshold in enumerate(thresholds):
            over = scaled > threshold
            ious[i, j] = (over & mask).sum() / max((over | mask).sum(), 1)
    best = int(ious.mean(0).argmax())
    auc = float(np.mean([area_under_curve(values, mask) for values, mask in pairs]))
    return Grounding(len(pairs), auc, float(ious[:, best].mean()), float(thresholds[best]))


# ------------------------------------------------------------------------- all of it


@settled()
def evaluate(
    model: LatentDiffusion,
    judge: Recognizer,
    glyphs: Glyphs,
    *,
    prompts: int = 300,
    steps: int = 20,
    guidance_scale: float | None = None,
) -> dict:
    """Every score of the model as plain data; `report` makes a text of it."""
    scale = model.config.guidance_scale if guidance_scale is None else guidance_scale
    scenes: dict[Split, list[Scene]] = {
        "seen": prompt_scenes(prompts, "seen"), "held_out": prompt_scenes(prompts, "held_out"),
    }  # fmt: skip
    fresh = [scene_at(TEST_SEED + 1, i, "held_out") for i in range(200)]
    result: dict = {
        "steps": steps, "guidance_scale": scale, "psnr_db": psnr(model, fresh, glyphs),
    }  # fmt: skip
    for split, some in scenes.items():
        real = torch.cat([draw(some[i : i + 50], glyphs) for i in range(0, len(some), 50)])
        result[f"real_{split}"] = vars(score(some, recognize(judge, real)))
        made = generated(model, some, steps=steps, guidance_scale=scale)
        result[f"made_{split}"] = vars(score(some, recognize(judge, made)))
    named = [s for s in fresh if s.names_background][:100]
    for kind, one in grounding(model, named, glyphs).items():
        result[f"attention_{kind}"] = vars(one)
    return result


def report(result: dict) -> str:
    """The scores as a table, with the aims."""
    lines = [
        f"autoencoder, held-out scenes: PSNR {result['psnr_db']:.1f} dB   (aim 30)",
        "",
        f"images of {result['made_seen']['pictures']} prompts each, {result['steps']} steps, "
        f"guidance {result['guidance_scale']:g}; in per cent",
        f"{'':34}{'objects':>9}{'nouns':>9}{'exact':>9}{'colour':>9}{'relation':>9}",
    ]
    rows = {
        "made_seen": "model, seen combinations",
        "made_held_out": "model, held-out combinations",
        "real_seen": "judge on real scenes, seen",
        "real_held_out": "judge on real scenes, held out",
    }
    for key, name in rows.items():
        one = result[key]
        cells = (one[k] for k in ("objects", "nouns", "exact", "color", "relation"))
        lines.append(f"{name:34}" + "".join(f"{100 * cell:9.1f}" for cell in cells))
    lines.append(f"{'(aim, seen combinations)':34}{90:9.1f}{'':9}{'':9}{98:9.1f}{85:9.1f}")
    lines += ["", f"{'attention against masks':34}{'words':>9}{'AUC':>9}{'mIoU':>9}{'at':>9}"]
    for kind, aim in (("nouns", "   (aim: AUC 0.97, mIoU 0.50)"), ("colours", "")):
        one = result[f"attention_{kind}"]
        lines.append(
            f"{kind:34}{one['words']:9d}{one['auc']:9.3f}{one['miou']:9.3f}"
            f"{one['threshold']:9.2f}{aim}"
        )
    return "\n".join(lines)


def trained_judge(checkpoint: Path) -> Recognizer:
    """The recogniser of the runs folder."""
    judge = Recognizer()
    judge.load_state_dict(averaged(checkpoint))
    return placed(judge.eval(), "cpu")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m sdwidgets.training.evaluate", description=__doc__
    )
    parser.add_argument("model", nargs="?", default="emoji", help="name or folder")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="with recognizer.pt")
    parser.add_argument("--prompts", type=int, default=300, help="of each split")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance-scale", type=float)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="also write the scores here")
    args = parser.parse_args(argv)
    from ..checkpoints import load_model

    checkpoint = args.runs / "recognizer.pt"
    if not checkpoint.exists():
        parser.error(f"{checkpoint} is missing: python -m sdwidgets.training recognizer")
    began = time.perf_counter()
    model = load_model(args.model, device=args.device)
    result = evaluate(
        model,
        trained_judge(checkpoint),
        load_glyphs(),
        prompts=args.prompts,
        steps=args.steps,
        guidance_scale=args.guidance_scale,
    )
    print(report(result))
    print(f"\n{time.perf_counter() - began:.0f} s")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
