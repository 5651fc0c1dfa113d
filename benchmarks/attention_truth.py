"""Do the words look where they mean? Recipes for attention maps, against exact masks.

``python -m benchmarks.attention_truth [--scenes 200] [--pictures 60] [--heads]``

Emoji scenes have a mask for every noun. Scenes from no training are noised to ten levels, the
network sees each with its caption, and every recipe turns the recorded attention into a map per
noun. A map is scaled bilinearly to the image's size and linearly to 256 levels, from its minimum to
its maximum, and compared with the mask: AUC is the area under the ROC curve, mIoU the mean
intersection over union at a single threshold for all maps of that recipe. Half the scenes choose
thresholds and recipe; the other half reports. Finally, real runs: images of a single object made by
the model, where the object is whatever differs from the background.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sdwidgets.checkpoints import load_model
from sdwidgets.models.attention import looking
from sdwidgets.models.conditioning import conditioned
from sdwidgets.pixels import to_tensor
from sdwidgets.scenes import SIZE, Glyphs, Scene, load_glyphs, plural, render
from sdwidgets.trace.attention import grid_of
from sdwidgets.trace.recipe import DAAM, DEFAULT, Recipe
from sdwidgets.trace.tokens import PromptTokens
from sdwidgets.training.data import scene_at
from sdwidgets.training.evaluate import TEST_SEED

from .measure import Options, Ratio, begin, options, report

if TYPE_CHECKING:
    from sdwidgets.pipeline import LatentDiffusion

AIM = 0.60  # mIoU of the default recipe, on the half that reports
LEVELS = tuple(range(950, 0, -100))  # training steps, in the order of a run


# ------------------------------------------------------------------------- what is looked at


@dataclass(frozen=True)
class Sample:
    """An image: what its words attended to, in the order of a run, and where they are."""

    group: str  # "choosing", "reporting" or "generated"
    latents: tuple[int, int]  # (h, w)
    maps: dict[str, Tensor]  # layer -> [steps, W + 1, h, w]: of W words, and the sum of all words
    own: dict[str, Tensor]  # layer -> [steps, N, N], self-attention
    kinds: tuple[str, ...]  # of the W words: "noun" or "colour"
    masks: tuple[np.ndarray, ...]  # of the W words: bool [128, 128]
    heads: dict[str, Tensor] = field(default_factory=dict)  # as maps, each head as a layer

    @property
    def steps(self) -> int:
        return len(next(iter(self.maps.values())))


@dataclass(frozen=True)
class Target:
    """A word that has a mask."""

    kind: str
    tokens: tuple[int, ...]
    mask: np.ndarray


class Recording:
    """Cross- and self-attention of a network's calls: of each call the first ``rows`` rows."""

    def __init__(self, rows: int):
        self.rows = rows
        self.cross: dict[str, list[Tensor]] = defaultdict(list)  # each [rows, heads, N, T]
        self.own: dict[str, list[Tensor]] = defaultdict(list)  # each [rows, N, N]

    @contextmanager
    def of(self, unet: Any) -> Iterator[None]:
        """Record what runs inside."""

        cross = {layer: name for name, layer in unet.cross_attentions().items()}
        own = {layer: name for name, layer in unet.self_attentions().items()}

        def look(layer: Any, queries: Tensor, context: Tensor, found: Tensor | None) -> None:
            if found is not None and layer in cross:
                self.cross[cross[layer]].append(found[: self.rows].float().cpu())
            elif layer in own:
                p = layer.probabilities_of(queries[: self.rows], context[: self.rows])
                self.own[own[layer]].append(p.mean(1).cpu())

        with torch.no_grad(), looking(look):
            yield

    def sample(
        self,
        group: str,
        latents: tuple[int, int],
        prompt: PromptTokens,
        targets: Sequence[Target],
        heads: bool = False,
    ) -> Sample:
        """The recorded maps of the targets and of all the prompt's words."""
        maps: dict[str, Tensor] = {}
        single: dict[str, Tensor] = {}
        for name, calls in self.cross.items():
            p = torch.cat(calls)  # [steps, heads, N, T]
            rows = [p[..., target.tokens].mean(-1) for target in targets]
            words = torch.stack([p[..., word.tokens].mean(-1) for word in prompt.words])
            every = torch.stack([*rows, words.sum(0)], dim=2)  # [steps, heads, W + 1, N]
            every = every.unflatten(-1, grid_of(every.shape[-1], *latents))
            maps[name] = every.mean(1)
            if heads:
                single |= {f"{name} head {i}": every[:, i] for i in range(every.shape[1])}
        own = {name: torch.cat(calls) for name, calls in self.own.items()}
        kinds, masks = tuple(t.kind for t in targets), tuple(t.mask for t in targets)
        return Sample(group, latents, maps, own, kinds, masks, single)


def prompt_of(model: LatentDiffusion, caption: str) -> PromptTokens:
    tokens = model.tokenize([caption])
    return PromptTokens(caption, tokens.pieces[0], tokens.words[0])


def targets_of(scene: Scene, masks: dict[str, np.ndarray], prompt: PromptTokens) -> list[Target]:
    """Every word of the caption that has a mask: the nouns, and the background's colour."""
    targets = []
    for word, mask in masks.items():
        colour = word == scene.background
        if mask.all() or not mask.any() or (colour and not scene.names_background):
            continue
        written = plural(word) if scene.counts.get(word, 1) > 1 else word
        targets.append(Target("colour" if colour else "noun", prompt.find(written), mask))
    return targets


def noised(
    model: LatentDiffusion, scene: Scene, glyphs: Glyphs, group: str, seed: int, heads: bool = False
) -> Sample:
    """A known scene at all levels of noise, in one call of the network."""
    picture = render(scene, glyphs)
    image = to_tensor(picture.image).to(model.device)
    recording = Recording(len(LEVELS))
    with recording.of(model.unet):
        z = model.autoencoder.encode(image).mode().float()  # [1, C, h, w]
        sigma = model.schedule.sigmas[list(LEVELS)].float().to(z.device).view(-1, 1, 1, 1)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn((len(LEVELS), *z.shape[1:]), generator=generator).to(z.device)
        x = (z + sigma * noise) / (1 + sigma.square()).sqrt()
        told = model.condition([scene.caption] * len(LEVELS)).to(model.device, model.dtype)
        t = torch.tensor(LEVELS, dtype=torch.float32, device=z.device)
        conditioned(model.unet, told)(x.to(model.dtype), t)
    prompt = prompt_of(model, scene.caption)
    targets = targets_of(scene, picture.masks, prompt)
    return recording.sample(group, (z.shape[-2], z.shape[-1]), prompt, targets, heads)


def generated(
    model: LatentDiffusion, scene: Scene, seed: int, heads: bool = False
) -> Sample | None:
    """A run with the caption of a scene of one object; None if no object can be told apart."""
    recording = Recording(1)  # of a guided call, the prompt's half comes first
    with recording.of(model.unet):
        *_, last = model.sample(scene.caption, steps=20, seed=seed)
        picture = model.autoencoder.decode(last.x_next)[0].clamp(-1, 1).float().cpu()
    mask = differs((picture.permute(1, 2, 0).numpy() + 1) * 127.5)
    if not 0.01 < mask.mean() < 0.8:
        return None
    prompt = prompt_of(model, scene.caption)
    masks = {scene.objects[0].noun: mask, scene.background: ~mask}
    targets = targets_of(scene, masks, prompt)
    return recording.sample(
        "generated", (last.x.shape[-2], last.x.shape[-1]), prompt, targets, heads
    )


def differs(image: np.ndarray) -> np.ndarray:
    """bool [H, W]: where [H, W, 3] in 0..255 is far from the colour of its upper and lower edge."""
    edges = np.concatenate([image[:3], image[-3:]]).reshape(-1, 3)
    return np.linalg.norm(image - np.median(edges, axis=0), axis=-1) > 40


def lone_scenes(count: int, glyphs: Glyphs) -> list[Scene]:
    """Scenes of one object, of which `differs` finds what the mask says, to nine tenths."""
    found: list[Scene] = []
    index = 0
    while len(found) < count:
        scene = scene_at(TEST_SEED + 3, index, "held_out", "one")
        index += 1
        picture = render(scene, glyphs)
        mask, seen = picture.masks[scene.objects[0].noun], differs(picture.image)
        if scene.names_background and (mask & seen).sum() > 0.9 * (mask | seen).sum():
            found.append(scene)
    return found


def all_samples(model: LatentDiffusion, scenes: int, pictures: int, heads: bool) -> list[Sample]:
    """Known scenes, the first half of them to choose with, and the model's own pictures."""
    glyphs = load_glyphs()
    samples = []
    for i in range(scenes):
        group = "choosing" if i < scenes // 2 else "reporting"
        scene = scene_at(TEST_SEED + 2, i, "held_out")
        samples.append(noised(model, scene, glyphs, group, i, heads))
    made = [generated(model, s, i, heads) for i, s in enumerate(lone_scenes(pictures, glyphs))]
    return samples + [sample for sample in made if sample is not None]


# ------------------------------------------------------------------------- recipes


@dataclass(frozen=True)
class Row:
    """A way to make one map of all that was recorded."""

    what: str  # which layers, in words
    recipe: Recipe = DAAM
    layer: str | None = None  # this layer (or head) alone
    refined: int = 0  # how often the map goes through the self-attention of the finest layers

    @property
    def plain(self) -> bool:
        """Whether a `Recipe` says all of it: cross-attention alone."""
        return self.layer is None and not self.refined


def maps_of(sample: Sample, row: Row, size: tuple[int, int] = (SIZE, SIZE)) -> Tensor:
    """[W, *size]: the row's map of every word."""
    grids = {name: (maps.shape[-2], maps.shape[-1]) for name, maps in sample.maps.items()}
    names = [row.layer] if row.layer else row.recipe.layers(grids, sample.latents)
    steps = row.recipe.chosen_steps(sample.steps)
    known = {**sample.maps, **sample.heads}
    sums: dict[tuple[int, ...], Tensor] = {}  # by resolution: one resize each
    for name in names:
        one = known[name][steps].mean(0)  # [W + 1, h, w]
        sums[one.shape] = sums[one.shape] + one if one.shape in sums else one
    first = sample.latents if row.refined else size
    maps = sum((resized(one, first) for one in sums.values()), torch.zeros(())) / len(names)
    if row.refined:
        maps = resized(refine(maps, sample, steps, row.refined), size)
    return maps[:-1] / maps[-1] if row.recipe.against == "words" else maps[:-1]


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps[None], size=size, mode="bilinear")[0]


def refine(maps: Tensor, sample: Sample, steps: list[int], times: int) -> Tensor:
    """[W, h, w]: each cell takes what the cells that it attends to have, ``times`` times over."""
    finest = [own[steps].mean(0) for own in sample.own.values() if own.shape[-1] == maps[0].numel()]
    attention = torch.stack(finest).mean(0)  # [N, N]; rows sum to one
    flat = maps.flatten(1)
    for _ in range(times):
        flat = flat @ attention.T
    return flat.unflatten(1, maps.shape[-2:])


NEAR_16 = 384  # cells: 16 x 16 here and in Stable Diffusion 1, 24 x 24 in its 2 at 768 pixels
LAYERS = {  # from simple to special
    "all layers": Recipe(),
    "all but the middle": Recipe(places=("down", "up")),
    "down": Recipe(places=("down",)),
    "middle": Recipe(places=("mid",)),
    "up": Recipe(places=("up",)),
    "4 x 4": Recipe(reductions=(4,)),
    "8 x 8": Recipe(reductions=(2,)),
    "16 x 16": Recipe(cells=NEAR_16, places=("down", "up")),
    "16 x 16, up": Recipe(cells=NEAR_16, places=("up",)),
    "16 x 16 and 8 x 8": Recipe(reductions=(1, 2)),
    "16 x 16 and 8 x 8, up": Recipe(reductions=(1, 2), places=("up",)),
    "16 x 16 and 4 x 4": Recipe(reductions=(1, 4)),
}
STEPS = {
    "all": (0.0, 1.0),
    "first third": (0.0, 1 / 3),
    "middle third": (1 / 3, 2 / 3),
    "last third": (2 / 3, 1.0),
    "last half": (0.5, 1.0),
    "last fifth": (0.8, 1.0),
}
REFINED = ("all layers", "16 x 16", "16 x 16 and 8 x 8, up")


def rows_of(sample: Sample) -> list[Row]:
    """Everything that is tried: layers x steps x against what, some refined; each layer alone."""
    rows = []
    for against in ("none", "words"):
        for steps in STEPS.values():
            for what, base in LAYERS.items():
                row = Row(what, replace(base, steps=steps, against=against))
                rows.append(row)
                rows += [replace(row, refined=n) for n in (1, 2) if what in REFINED]
        alone = Recipe(against=against)
        rows += [Row(name, alone, layer=name) for name in (*sample.maps, *sample.heads)]
    return rows


# ------------------------------------------------------------------------- scores


def histograms(values: Tensor, mask: np.ndarray) -> np.ndarray:
    """[2, 256]: how many pixels have each level, outside and inside the mask, of [H, W] values."""
    scaled = (values - values.min()) / (values.max() - values.min()).clamp_min(1e-12)
    level = (scaled * 255).round().long().numpy() + 256 * mask
    return np.bincount(level.ravel(), minlength=512).reshape(2, 256)


def ious(counts: np.ndarray) -> np.ndarray:
    """[..., 256]: intersection over union of mask and "at least this level", of [..., 2, 256]."""
    above = counts[..., ::-1].cumsum(-1)[..., ::-1]
    outside, inside = above[..., 0, :], above[..., 1, :]
    return inside / (outside + counts[..., 1, :].sum(-1, keepdims=True))


def areas(counts: np.ndarray) -> np.ndarray:
    """[...]: how likely a pixel inside has a higher level than one outside (ties: half)."""
    outside, inside = counts[..., 0, :], counts[..., 1, :]
    below = outside.cumsum(-1) - outside / 2
    return (inside * below).sum(-1) / (inside.sum(-1) * outside.sum(-1))


@dataclass(frozen=True)
class Score:
    """Of one row: mIoU and AUC over the nouns of each group, at the choosing half's threshold."""

    row: Row
    threshold: float
    miou: dict[str, float]
    auc: dict[str, float]
    each: dict[str, np.ndarray] = field(repr=False)  # [words]: the IoU of every one


def scored(row: Row, counts: np.ndarray, groups: np.ndarray) -> Score:
    """``counts`` [words, 2, 256]; ``groups`` [words] of their samples' groups."""
    every, area = ious(counts), areas(counts)
    best = int(every[groups == "choosing"].mean(0).argmax())
    each = {str(name): every[groups == name, best] for name in dict.fromkeys(groups)}
    return Score(
        row,
        best / 255,
        {name: float(values.mean()) for name, values in each.items()},
        {name: float(area[groups == name].mean()) for name in each},
        each,
    )


def score(samples: Sequence[Sample], rows: Sequence[Row], kind: str = "noun") -> list[Score]:
    """Every row's scores over the words of that kind."""
    chosen = [(s, i) for s in samples for i, one in enumerate(s.kinds) if one == kind]
    groups = np.array([sample.group for sample, _ in chosen])
    counts = np.zeros((len(rows), len(chosen), 2, 256), np.int32)
    place = 0
    for sample in samples:
        mine = [i for i, one in enumerate(sample.kinds) if one == kind]
        for r, row in enumerate(rows):
            maps = maps_of(sample, row)
            for j, i in enumerate(mine):
                counts[r, place + j] = histograms(maps[i], sample.masks[i])
        place += len(mine)
    return [scored(row, one, groups) for row, one in zip(rows, counts, strict=True)]


def ceiling(samples: Sequence[Sample]) -> Score:
    """What a map of 16 x 16 cells could reach: the masks themselves, averaged over the cells."""
    chosen = [(s, s.masks[i]) for s in samples for i, kind in enumerate(s.kinds) if kind == "noun"]
    counts = []
    for sample, mask in chosen:
        cells = F.adaptive_avg_pool2d(torch.from_numpy(mask).float()[None], sample.latents)
        counts.append(histograms(resized(cells, (SIZE, SIZE))[0], mask))
    groups = np.array([sample.group for sample, _ in chosen])
    return scored(Row("the masks, in 16 x 16 cells"), np.array(counts), groups)


# ------------------------------------------------------------------------- the answer


def near(rows: Sequence[Row], one: Row) -> list[Row]:
    """The rows that differ from that one in one respect."""

    def respects(row: Row) -> tuple[object, ...]:
        return row.what, row.recipe.steps, row.recipe.against, row.refined

    return [
        row
        for row in rows
        if row.layer is None
        and sum(a != b for a, b in zip(respects(row), respects(one), strict=True)) == 1
    ]


def table(scores: Sequence[Score]) -> str:
    """In Markdown, a row each."""
    head = (
        "| layers | steps | against | self-attention | mIoU, choosing | **mIoU** | AUC "
        "| mIoU, generated | at |\n|---|---|---|---|---|---|---|---|---|"
    )
    names = {steps: name for name, steps in STEPS.items()}
    lines = [head]
    for one in scores:
        recipe, refined = one.row.recipe, ("", "once", "twice")[one.row.refined]
        against = {"none": "", "words": "words"}[recipe.against]
        what = one.row.what.replace(".transformer_blocks.0.attn2", "")
        lines.append(
            f"| {what} | {names[recipe.steps]} | {against} | {refined} "
            f"| {one.miou['choosing']:.3f} | **{one.miou['reporting']:.3f}** "
            f"| {one.auc['reporting']:.3f} | {one.miou.get('generated', float('nan')):.3f} "
            f"| {one.threshold:.2f} |"
        )
    return "\n".join(lines)


def find(scores: Sequence[Score], recipe: Recipe) -> Score:
    """Of the rows that are a `Recipe`, that one's. Raises StopIteration if it was not tried."""
    return next(one for one in scores if one.row.plain and one.row.recipe == recipe)


def gain(one: Score, other: Score, group: str) -> tuple[float, float]:
    """How much more mIoU one has than the other, of the same words, and its standard error."""
    difference = one.each[group] - other.each[group]
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))


def choice(scores: Sequence[Score]) -> Score:
    """Of the recipes, the simplest that on the choosing half is as good as the best.

    As good: within one standard error of the difference (Breiman et al., "Classification and
    Regression Trees", 1984, section 3.4.3). Simplest: most of the run, no comparison, the fewest
    conditions on layers.
    """
    recipes = [one for one in scores if one.row.plain]
    best = max(recipes, key=lambda one: one.miou["choosing"])

    def as_good(one: Score) -> bool:
        more, error = gain(best, one, "choosing")
        return more <= error

    def special(one: Score) -> tuple[float, bool, int]:
        first, end = one.row.recipe.steps
        against = one.row.recipe.against != "none"
        return first - end, against, list(LAYERS).index(one.row.what)

    return min(filter(as_good, recipes), key=special)


def answer(scores: list[Score], best_possible: Score) -> tuple[str, list[Ratio]]:
    """The tables, and the default recipe's error against DAAM's and against the aim."""
    default, daam, chosen = find(scores, DEFAULT), find(scores, DAAM), choice(scores)
    rows = [one.row for one in scores]
    of = dict(zip(rows, scores, strict=True))
    by_choice = sorted(scores, key=lambda one: -one.miou["choosing"])
    parts = {
        "The default, DAAM's, and the most that 16 x 16 cells allow": [
            default, daam, best_possible,
        ],
        "Other than the default in one respect": [of[row] for row in near(rows, default.row)],
        "Other than DAAM's in one respect": [of[row] for row in near(rows, daam.row)],
        "One layer or head alone": [
            one for one in scores if one.row.layer and one.row.recipe.against == "none"
        ],
        "The best of everything, on the choosing half": by_choice[:8],
    }  # fmt: skip
    text = "\n\n".join(f"{title}:\n\n{table(some)}" for title, some in parts.items())
    more, error = gain(default, daam, "reporting")
    better = (default.each["reporting"] > daam.each["reporting"]).mean()
    text += (
        f"\n\nThe default against DAAM's, noun by noun: {more:+.3f} mIoU, standard error "
        f"{error:.3f}; better for {100 * better:.0f} %.\n"
        f"The choosing half chooses {chosen.row.recipe}"
        f"{', the default.' if chosen is default else ': NOT THE DEFAULT.'}"
    )
    ours, theirs = default.miou["reporting"], daam.miou["reporting"]
    words = f"default recipe mIoU {ours:.3f}"
    return text, [
        Ratio("Error of the words' maps, 1 - mIoU, and DAAM's recipe's",
              (1 - ours) / (1 - theirs), 1.0, words, f"DAAM's mIoU {theirs:.3f}"),
        Ratio("Error of the words' maps, 1 - mIoU",
              (1 - ours) / (1 - AIM), 1.0, words, f"target mIoU {AIM:.2f}"),
    ]  # fmt: skip


def measure(given: Options) -> int:
    question = "Do the words look where they mean?"
    described = begin(question, given)
    torch.set_num_threads(given.threads)
    model = load_model("emoji", device=given.device)
    began = time.perf_counter()
    samples = all_samples(model, given.more.scenes, given.more.pictures, given.more.heads)
    groups = list(dict.fromkeys(sample.group for sample in samples))
    nouns = {
        name: sum(s.kinds.count("noun") for s in samples if s.group == name) for name in groups
    }
    print(f"   nouns: {nouns}", flush=True)
    rows = rows_of(samples[0])
    scores = score(samples, rows)
    text, ratios = answer(scores, ceiling(samples))
    colours = score(samples, [find(scores, DEFAULT).row, find(scores, DAAM).row], "colour")
    print(f"\n{text}\n\nThe colour's word, against the background (default, DAAM's):\n")
    print(f"{table(colours)}\n\n   {time.perf_counter() - began:.0f} s", flush=True)
    return report(
        "attention_truth",
        question,
        ratios,
        given,
        described,
        nouns=nouns,
        levels=LEVELS,
        rows=table(scores).splitlines(),
        colours=table(colours).splitlines(),
    )


def main() -> int:
    def add(parser: Any) -> None:
        parser.add_argument("--scenes", type=int, default=200, help="half of them choose (200)")
        parser.add_argument("--pictures", type=int, default=60, help="that the model makes (60)")
        parser.add_argument("--heads", action="store_true", help="also every head alone")

    return measure(options(__doc__, 1, add))


if __name__ == "__main__":
    sys.exit(main())
