"""Does an edit change the object that it is to change, and nothing else?

``python -m benchmarks.edits [--prompts 100] [--tune]``

The bundled model makes images of two objects on a coloured background, and in each prompt the name
of one object is exchanged for another. Three ways lead to the new image: ``trace.edit``, a plain
run of the new prompt from the same seed, and image to image with the new prompt at several
strengths, of which the best counts. A recogniser that was trained on real scenes alone judges:

- *new*: the new object is there once, and the old one is gone;
- *kept*: the background has the source's colour; the other object is there, within 12 pixels of
  its old place; and so is one more object, whatever it is, within 12 pixels of the old one's place;
- *both* of these at once.

Prompts whose first image the recogniser does not find right are passed over. ``--tune`` scores
``trace.edit`` with other shares and blends on other prompts; the defaults were chosen there.
"""

from __future__ import annotations

import itertools
import random
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from sdwidgets.checkpoints import load_model
from sdwidgets.pixels import to_tensor
from sdwidgets.scenes import OBJECTS, Scene, article, held_out_color
from sdwidgets.training.data import scene_at
from sdwidgets.training.evaluate import TEST_SEED, plain_caption, trained_judge
from sdwidgets.training.recognizer import Recognizer, Seen, recognize

from .measure import Options, Ratio, begin, options, report

if TYPE_CHECKING:
    from sdwidgets.pipeline import LatentDiffusion
    from sdwidgets.trace import Trace

REPORTING, TUNING = TEST_SEED + 20, TEST_SEED + 21  # the seeds of the scenes
NEAR = 12.0  # pixels; objects are about 45 wide
STRENGTHS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
BATCH = 20


@dataclass(frozen=True)
class Case:
    """A prompt and the same with another object in the place of one."""

    prompt: str
    old: str
    new: str
    other: str  # the object that stays
    color: str
    seed: int

    @property
    def edited(self) -> str:
        return re.sub(rf"\b{article(self.old)}\b", article(self.new), self.prompt)


@dataclass(frozen=True)
class Score:
    """Shares in [0, 1] over some cases."""

    new: float
    kept: float
    both: float

    def __str__(self) -> str:
        return "".join(f"{100 * share:8.1f}" for share in (self.new, self.kept, self.both))


# ------------------------------------------------------------------------- what is asked


def case_of(scene: Scene, seed: int) -> Case:
    """A case of a scene of two objects; the new one was seen on this background in training."""
    rng = random.Random(f"edit/{seed}/{scene.caption}")
    nouns = [placed.noun for placed in scene.objects]
    old = rng.choice(nouns)
    (other,) = (noun for noun in nouns if noun != old)
    fits = [n for n in OBJECTS if n not in nouns and not held_out_color(n, scene.background)]
    return Case(plain_caption(scene), old, rng.choice(fits), other, scene.background, seed)


def cases(seed: int) -> Iterator[Case]:
    """An endless sequence of cases, the same for the same seed."""
    number = 0
    while True:
        yield case_of(scene_at(seed, number, kind="two"), number)
        number += 1


def is_right(seen: Seen, *nouns: str, color: str) -> bool:
    """Whether exactly these objects are there, each once, on this background."""
    there = {noun: len(places) for noun, places in seen.objects.items()}
    return there == dict.fromkeys(nouns, 1) and seen.color == color


# ------------------------------------------------------------------------- what comes out


@dataclass(frozen=True)
class Source:
    """A case with its first image, which is right: a member of a batch."""

    case: Case
    trace: Trace
    picture: int
    seen: Seen


def looked_at(judge: Recognizer, images: Sequence[Image.Image]) -> list[Seen]:
    return recognize(judge, torch.cat([to_tensor(image) for image in images]))


def sources(
    model: LatentDiffusion, judge: Recognizer, seed: int, count: int
) -> tuple[list[Source], int]:
    """The first ``count`` cases whose source is right, and how many were passed over."""
    found: list[Source] = []
    passed = 0
    endless = cases(seed)
    while len(found) < count:
        some = list(itertools.islice(endless, min(BATCH, count - len(found))))
        prompts, seeds = [case.prompt for case in some], [case.seed for case in some]
        trace = model.generate(prompts, seed=seeds)
        for number, seen in enumerate(looked_at(judge, trace.images)):
            case = some[number]
            if is_right(seen, case.old, case.other, color=case.color):
                found.append(Source(case, trace, number, seen))
            else:
                passed += 1
    return found, passed


def judged(case: Case, before: Seen, after: Seen) -> tuple[bool, bool]:
    """(the new object is right, the rest is kept)."""
    new = len(after.objects.get(case.new, ())) == 1 and case.old not in after.objects
    others = [at for noun, places in after.objects.items() if noun != case.other for at in places]
    kept = (
        after.color == before.color
        and len(after.objects.get(case.other, ())) == 1
        and len(others) == 1
        and near(after.objects[case.other][0], before.objects[case.other][0])
        and near(others[0], before.objects[case.old][0])
    )
    return new, kept


def near(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return bool(np.hypot(one[0] - other[0], one[1] - other[1]) <= NEAR)


def score(judge: Recognizer, found: Sequence[Source], images: Sequence[Image.Image]) -> Score:
    """How well the images are the edits that were asked for."""
    seen = looked_at(judge, images)
    rows = [judged(one.case, one.seen, after) for one, after in zip(found, seen, strict=True)]
    new, kept = np.array(rows).T
    return Score(float(new.mean()), float(kept.mean()), float((new & kept).mean()))


# ------------------------------------------------------------------------- the ways there


def edits(found: Sequence[Source], arguments: Mapping[str, Any]) -> list[Image.Image]:
    """By ``trace.edit``, with the whole new prompt, because an article may change, too."""
    return [
        one.trace.edit(prompt=one.case.edited, picture=one.picture, **arguments).image
        for one in found
    ]


def plain(model: LatentDiffusion, found: Sequence[Source]) -> list[Image.Image]:
    """By a run of the new prompt from the same seed."""
    images: list[Image.Image] = []
    for first in range(0, len(found), BATCH):
        some = [one.case for one in found[first : first + BATCH]]
        prompts, seeds = [case.edited for case in some], [case.seed for case in some]
        images += model.generate(prompts, seed=seeds).images
    return images


def from_image(
    model: LatentDiffusion, found: Sequence[Source], strength: float
) -> list[Image.Image]:
    """By image to image from the source with the new prompt."""
    return [
        model.generate(
            one.case.edited,
            seed=one.case.seed,
            image=one.trace.images[one.picture],
            strength=strength,
        ).image
        for one in found
    ]


GRID: tuple[dict[str, Any], ...] = (
    {"cross_attention": 0.4, "self_attention": 0.2},
    {"cross_attention": 0.4, "self_attention": 0.4},
    {"cross_attention": 0.6, "self_attention": 0.2},
    {"cross_attention": 0.8, "self_attention": 0.0},
    {"cross_attention": 0.8, "self_attention": 0.4},
    {"cross_attention": 1.0, "self_attention": 0.4},
    {"cross_attention": 1.0, "self_attention": 0.8},
    {"cross_attention": 0.4, "self_attention": 0.2, "blend": True},
    {"cross_attention": 0.8, "self_attention": 0.4, "blend": True},
)
"""What is tried to choose the defaults."""


def named(arguments: Mapping[str, Any]) -> str:
    words = [f"{name.replace('_attention', '')} {value:g}" for name, value in arguments.items()]
    return ", ".join(words) or "the defaults"


def tune(model: LatentDiffusion, judge: Recognizer, given: Options) -> int:
    """Print the scores of the grid on prompts that report nothing."""
    found, _ = sources(model, judge, TUNING, given.more.prompts)
    some = given.more.only or range(len(GRID))
    for arguments in [GRID[number] for number in some]:
        print(f"{named(arguments):36}{score(judge, found, edits(found, arguments))}", flush=True)
    return 0


def measure(given: Options) -> int:
    question = "Does an edit change the object that it is to change, and nothing else?"
    torch.set_num_threads(given.threads)
    model = load_model("emoji", device=given.device)
    judge = trained_judge(given.more.runs / "recognizer.pt")
    if given.more.tune:
        return tune(model, judge, given)
    described = begin(question, given)
    began = time.perf_counter()
    found, passed = sources(model, judge, REPORTING, given.more.prompts)
    print(f"   {len(found)} prompts; {passed} passed over\n\n{'':36}     new    kept    both")
    scores: dict[str, Score] = {}

    def add(name: str, images: Sequence[Image.Image]) -> None:
        scores[name] = score(judge, found, images)
        print(f"{name:36}{scores[name]}", flush=True)

    add("trace.edit", edits(found, {}))
    add("plain run, same seed", plain(model, found))
    for strength in STRENGTHS:
        add(f"image to image, strength {strength:g}", from_image(model, found, strength))
    print(f"\n   {time.perf_counter() - began:.0f} s", flush=True)
    return report(
        "edits",
        question,
        ratios(scores),
        given,
        described,
        prompts=len(found),
        passed_over=passed,
        scores={name: vars(one) for name, one in scores.items()},
    )


def ratios(scores: Mapping[str, Score]) -> list[Ratio]:
    """How often an edit fails, against the others."""
    ours = scores["trace.edit"].both
    images = {name: one.both for name, one in scores.items() if name.startswith("image")}
    best = max(images, key=lambda name: images[name])
    return [
        Ratio(
            f"Edits that fail, against {name}",
            (1 - ours) / max(1 - scores[name].both, 1e-9),
            1.0,
            f"{100 * ours:.0f} % right",
            f"{100 * scores[name].both:.0f} % right",
        )
        for name in ("plain run, same seed", best)
    ]


def main() -> int:
    def add(parser: Any) -> None:
        parser.add_argument("--prompts", type=int, default=100)
        parser.add_argument("--runs", type=Path, default=Path("runs"), help="with recognizer.pt")
        parser.add_argument("--tune", action="store_true", help="score other arguments")
        parser.add_argument("--only", type=int, nargs="*", help="numbers of the grid to try")

    return measure(options(__doc__, 1, add))


if __name__ == "__main__":
    sys.exit(main())
