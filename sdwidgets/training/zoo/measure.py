"""``python -m sdwidgets.training.zoo.measure NAME``: how good a small system is, in numbers.

Every system is measured by what it is for, beside what it has to be compared with: the same judge
on real scenes, bicubic enlargement, latent blending, no neighbours. The judge is the recogniser of
emoji scenes (see `training.recognizer`); it has seen only real scenes. The scenes are those of no
training.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...checkpoints import load_model
from ...metrics import psnr
from ...models.conditioning import Held
from ...pipeline import LatentDiffusion
from ...pixels import to_image, to_tensor
from ...scenes import (
    COLORS,
    SIZE,
    Glyphs,
    Scene,
    boxes,
    label_map,
    load_glyphs,
    render,
)
from ..data import scene_at
from ..evaluate import TEST_SEED, generated, prompt_scenes, score, trained_judge
from ..recognizer import CELL, NOTHING, NOUNS, Recognizer, cell_labels, groups, recognize
from .glyphs import every_glyph, one_glyph, unseen_glyphs
from .telling import MOST_NEIGHBOURS, neighbour

Scores = dict[str, float]
STEPS = 20
HOLE = 48  # pixels along a side of the hole that is filled
FACTOR = 4  # of super-resolution


@dataclass(frozen=True)
class Judged:
    """What a measurement needs beside the model: the judge, the glyphs, and how many images."""

    judge: Recognizer
    glyphs: Glyphs
    count: int = 200
    steps: int = STEPS

    def scenes(self, kinds: Sequence[str]) -> list[Scene]:
        """Scenes of held-out combinations, of these kinds in turn."""
        return [
            scene_at(TEST_SEED + 2, i, "held_out", kinds[i % len(kinds)]) for i in range(self.count)
        ]


def measure_class(model: LatentDiffusion, by: Judged) -> Scores:
    """Object accuracy: how often the image of a class shows that object, and it alone."""
    labels = [NOUNS[i % len(NOUNS)] for i in range(by.count)]
    images = []
    for start in range(0, by.count, 20):
        part = labels[start : start + 20]
        seeds = list(range(start, start + len(part)))
        images.append(_tensor(model.generate(label=part, seed=seeds, steps=by.steps).images))
    seen = recognize(by.judge, torch.cat(images))
    there = [label in one.objects for label, one in zip(labels, seen, strict=True)]
    alone = [[*one.objects] == [label] for label, one in zip(labels, seen, strict=True)]
    return {"object": _mean(there), "alone": _mean(alone)}


def measure_layout(model: LatentDiffusion, by: Judged) -> Scores:
    """Layout IoU: how far the objects that the judge sees fill the boxes that were asked for.

    An object's extent is that of its cells, so even real scenes do not reach 1."""
    scenes = by.scenes(("one", "two", "three"))
    made, real = [], []
    for seed, scene in enumerate(scenes):
        asked = [(scene.background, (0.0, 0.0, 1.0, 1.0)), *boxes(scene, by.glyphs)]
        made.append(model.generate(boxes=asked, seed=seed, steps=by.steps).image)
        real.append(render(scene, by.glyphs).image)
    result: Scores = {}
    for name, images in (("", made), ("real ", real)):
        cells, colors = _seen(by.judge, images)
        overlaps = [
            _overlap(labels, noun, box)
            for labels, scene in zip(cells, scenes, strict=True)
            for noun, box in boxes(scene, by.glyphs)
        ]
        result[f"{name}IoU"] = _mean(overlaps)
        result[f"{name}found"] = _mean(overlap > 0.5 for overlap in overlaps)
        wanted = [list(COLORS).index(scene.background) for scene in scenes]
        result[f"{name}colour"] = _mean(c == w for c, w in zip(colors, wanted, strict=True))
    return result


def measure_map(model: LatentDiffusion, by: Judged) -> Scores:
    """Mask mIoU of the objects of a label map, in the judge's cells, and the background's colour.

    Cells that are half covered do not count, as in the judge's training."""
    scenes = by.scenes(("one", "two", "three"))
    pictures = [render(scene, by.glyphs) for scene in scenes]
    made = [
        model.generate(label_map=label_map(picture), seed=seed, steps=by.steps).image
        for seed, picture in enumerate(pictures)
    ]
    result: Scores = {}
    for name, images in (("", made), ("real ", [picture.image for picture in pictures])):
        cells, colors = _seen(by.judge, images)
        ious = [
            iou
            for labels, scene, picture in zip(cells, scenes, pictures, strict=True)
            for iou in _cell_ious(labels, cell_labels(scene, picture.masks))
        ]
        result[f"{name}mIoU"] = _mean(ious)
        wanted = [list(COLORS).index(scene.background) for scene in scenes]
        result[f"{name}colour"] = _mean(c == w for c, w in zip(colors, wanted, strict=True))
    return result


def measure_upscale(model: LatentDiffusion, by: Judged) -> Scores:
    """PSNR in dB of images enlarged four times, against bicubic enlargement, and what the
    autoencoder alone would keep."""
    made: list[float] = []
    bicubic: list[float] = []
    kept: list[float] = []
    for seed, scene in enumerate(by.scenes(("one", "two", "three", "several"))):
        image = Image.fromarray(render(scene, by.glyphs).image)
        small = image.resize((SIZE // FACTOR,) * 2, Image.Resampling.BOX)
        enlarged = small.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        trace = model.generate(low_res=small, seed=seed, steps=by.steps)
        coded = model.decode(model.encode(image))[0]
        made.append(_psnr(trace.image, image))
        bicubic.append(_psnr(enlarged, image))
        kept.append(_psnr(coded, image))
    better = [a > b for a, b in zip(made, bicubic, strict=True)]
    return {
        "PSNR": _mean(made),
        "bicubic PSNR": _mean(bicubic),
        "autoencoder PSNR": _mean(kept),
        "better than bicubic": _mean(better),
    }


def measure_inpaint(model: LatentDiffusion, by: Judged) -> Scores:
    """PSNR in dB inside a hole, filled by the model and by latent blending with the bundled model,
    with the same words, seeds and steps."""
    blending = load_model(device=str(model.device))
    own: list[float] = []
    blended: list[float] = []
    for seed, scene in enumerate(prompt_scenes(by.count, "held_out")):
        image = render(scene, by.glyphs).image
        rows, columns = hole(seed, scene)
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[rows, columns] = 255
        settings = {
            "image": Image.fromarray(image), "mask": Image.fromarray(mask), "seed": seed,
            "steps": by.steps, "strength": 1.0,
        }  # fmt: skip
        for one, found in ((model, own), (blending, blended)):
            filled = np.asarray(one.generate(scene.caption, **settings).image)
            found.append(_psnr(filled[rows, columns], image[rows, columns]))
    return {
        "hole PSNR": _mean(own),
        "blending PSNR": _mean(blended),
        "better than blending": _mean(a > b for a, b in zip(own, blended, strict=True)),
    }


def hole(seed: int, scene: Scene) -> tuple[slice, slice]:
    """The rows and columns of a hole that takes away a part of one object."""
    rng = random.Random(f"hole/{seed}")
    placed = rng.choice(scene.objects)
    reach = placed.size / 2
    corners = (
        round(min(max(center + rng.uniform(-reach, reach) - HOLE / 2, 0), SIZE - HOLE))
        for center in (placed.y, placed.x)
    )
    top, left = corners
    return slice(top, top + HOLE), slice(left, left + HOLE)


def measure_neighbours(model: LatentDiffusion, by: Judged) -> Scores:
    """How often an image of a thing that no training showed is nearer to that thing than to all
    others of that kind, with its neighbours and without, and for real images.

    Nearness is that of the judge's features, averaged over the cells that are not background and
    scaled to unit variance over the things. A thing is the mean of a few images of it; chance is
    one in the number of things."""
    names, glyphs = unseen_glyphs(), every_glyph()
    asked = [names[i % len(names)] for i in range(by.count)]

    def drawn(name: str, seed: str) -> np.ndarray:
        return render(one_glyph(random.Random(f"measure/{seed}"), name), glyphs).image

    things = torch.stack(
        [
            _features(by.judge, [drawn(name, f"thing/{name}/{i}") for i in range(8)]).mean(0)
            for name in names
        ]
    )
    told, untold = [], []
    for seed, name in enumerate(asked):
        near = [_image(neighbour(name, variant, glyphs)) for variant in range(MOST_NEIGHBOURS)]
        told.append(model.generate(neighbours=near, seed=seed, steps=by.steps).image)
        untold.append(model.generate(seed=seed, steps=by.steps).image)
    real = [drawn(name, f"real/{seed}") for seed, name in enumerate(asked)]
    wanted = torch.tensor([names.index(name) for name in asked])
    spread, middle = torch.std_mean(things, 0)
    scores: Scores = {}
    for key, images in (("right", told), ("without neighbours", untold), ("real", real)):
        features = _features(by.judge, images)
        nearest = torch.cdist((features - middle) / spread, (things - middle) / spread).argmin(1)
        scores[key] = _mean((nearest == wanted).float().tolist())
    return {**scores, "chance": 1 / len(names)}


def measure_prompts(model: LatentDiffusion, by: Judged) -> Scores:
    """How often the image has what its prompt says; see `evaluate.score`."""
    scenes = prompt_scenes(by.count, "seen")
    scale = model.config.guidance_scale
    began = time.perf_counter()
    images = generated(model, scenes, steps=by.steps, guidance_scale=scale)
    seconds = time.perf_counter() - began
    shares = vars(score(scenes, recognize(by.judge, images)))
    return {**shares, "seconds an image": seconds / len(scenes)}


MEASURES: dict[str, Callable[[LatentDiffusion, Judged], Scores]] = {
    "emoji-class": measure_class,
    "emoji-layout": measure_layout,
    "emoji-map": measure_map,
    "emoji-upscale": measure_upscale,
    "emoji-inpaint": measure_inpaint,
    "emoji-neighbours": measure_neighbours,
    "emoji-pixels": measure_prompts,
    "emoji-latents": measure_prompts,
}
"""What each system is measured by."""


# ------------------------------------------------------------------------- the judge


def _seen(judge: Recognizer, images: Sequence[Image.Image | np.ndarray]) -> tuple[Any, list[int]]:
    """The class of each cell [B, 16, 16], and the number of each background's colour."""
    cells, colors = [], []
    with torch.no_grad():
        for start in range(0, len(images), 50):
            labels, ground = judge(_tensor(images[start : start + 50]))
            cells.append(labels.argmax(1).numpy())
            colors += ground.argmax(1).tolist()
    return np.concatenate(cells), colors


@torch.no_grad()
def _features(judge: Recognizer, images: Sequence[Image.Image | np.ndarray]) -> Tensor:
    """The judge's features of what each image shows [B, 96]."""
    found = []
    for start in range(0, len(images), 50):
        h = judge.body(_tensor(images[start : start + 50]))
        shows = 1 - judge.cells(h).softmax(1)[:, NOTHING:]
        found.append((h * shows).sum((2, 3)) / shows.sum((2, 3)).clamp(min=1e-4))
    return torch.cat(found)


def _image(held: Held) -> Image.Image:
    return to_image(held.values)


def _overlap(labels: np.ndarray, noun: str, box: tuple[float, float, float, float]) -> float:
    """Intersection over union of a box with the extent of a group of cells of that noun: the
    highest of all groups."""
    x0, y0, x1, y1 = (SIZE * side for side in box)
    best = 0.0
    for number, group in groups(labels):
        if number != NOUNS.index(noun):
            continue
        rows, columns = zip(*group, strict=True)
        left, right = min(columns) * CELL, (max(columns) + 1) * CELL
        top, bottom = min(rows) * CELL, (max(rows) + 1) * CELL
        width = max(min(x1, right) - max(x0, left), 0)
        shared = width * max(min(y1, bottom) - max(y0, top), 0)
        union = (x1 - x0) * (y1 - y0) + (right - left) * (bottom - top) - shared
        best = max(best, shared / union)
    return best


def _cell_ious(labels: np.ndarray, wanted: np.ndarray) -> Iterable[float]:
    """Intersection over union for each object of a scene, over the cells that count: those with a
    class in ``wanted`` (see `recognizer.cell_labels`)."""
    counts = wanted >= 0
    for number in np.unique(wanted[counts & (wanted != NOTHING)]):
        there, found = wanted == number, (labels == number) & counts
        yield float((there & found).sum() / (there | found).sum())


def _tensor(images: Sequence[Image.Image | np.ndarray]) -> Tensor:
    return torch.cat([to_tensor(np.asarray(image)) for image in images])


def _psnr(a: Image.Image | np.ndarray, b: Image.Image | np.ndarray) -> float:
    return float(psnr(_tensor([a]), _tensor([b])))


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def report(name: str, scores: Scores) -> str:
    """The scores as lines of text: shares in per cent, others as they are."""
    lines = [name]
    for key, value in scores.items():
        is_share = not any(word in key for word in ("PSNR", "seconds", "pictures", "IoU"))
        lines.append(f"  {key:24}" + (f"{100 * value:8.1f} %" if is_share else f"{value:8.3f}"))
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m sdwidgets.training.zoo.measure", description=__doc__
    )
    parser.add_argument("name", choices=MEASURES)
    parser.add_argument("--model", help="a folder, in place of the bundled model of that name")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="with recognizer.pt")
    parser.add_argument("--count", type=int, default=200, help="images")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--json", type=Path, help="also write the scores here")
    args = parser.parse_args(argv)
    checkpoint = args.runs / "recognizer.pt"
    if not checkpoint.exists():
        parser.error(f"{checkpoint} is missing: python -m sdwidgets.training recognizer")
    by = Judged(trained_judge(checkpoint), load_glyphs(), args.count, args.steps)
    scores = MEASURES[args.name](load_model(args.model or args.name, device="cpu"), by)
    print(report(args.name, scores))
    if args.json:
        args.json.write_text(json.dumps(scores, indent=2) + "\n")


if __name__ == "__main__":
    main()
