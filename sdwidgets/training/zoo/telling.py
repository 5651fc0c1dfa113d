"""What a network is told of an emoji scene: everything about a scene is known.

A `Tell` turns a `Sample` into a `Given`. What it draws comes from the sample's own ``rng``, so that
a sample is always told in the same way.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, ImageDraw

from ...models.conditioning import Given, Held
from ...pixels import to_tensor
from ...prompts import PLAIN
from ...scenes import (
    COLORS,
    OBJECTS,
    SIZE,
    Glyphs,
    Picture,
    Scene,
    boxes,
    describe,
    label_map,
    render,
)
from .glyphs import one_glyph

LAYOUT_NAMES = (*OBJECTS, *COLORS)
"""The classes of boxes: things, and the background's colour as a box around all of the image."""
SMALL = 32  # pixels along one side of an image to enlarge
NEIGHBOUR = 64  # pixels along one side of a neighbour
MOST_NEIGHBOURS = 4
VARIANTS = 6  # images of each glyph that are neighbours
NAMES_BACKGROUND = 0.8  # the share of layouts with a box for the background


@dataclass(frozen=True)
class Sample:
    """A scene, and what is drawn for it in a training step.

    ``dropped``: whether the conditioning is left out, for classifier-free guidance.
    """

    scene: Scene
    glyphs: Glyphs
    rng: random.Random
    dropped: bool = False

    @cached_property
    def picture(self) -> Picture:
        """The drawn scene."""
        return render(self.scene, self.glyphs)


Tell: TypeAlias = Callable[[Sample], Given]


def told_caption(sample: Sample) -> Given:
    """A caption of the scene."""
    caption = describe(sample.rng, sample.scene).caption
    return _given(None if sample.dropped else caption)


def told_class(sample: Sample) -> Given:
    """The name of the only thing in the scene."""
    noun = sample.scene.objects[0].noun
    return _given(None if sample.dropped else noun)


def told_boxes(sample: Sample) -> Given:
    """A box around each thing and, mostly, one for the background; in any order."""
    if sample.dropped:
        return _given(None)
    rng, scene = sample.rng, sample.scene
    layout = boxes(scene, sample.glyphs)
    if rng.random() < NAMES_BACKGROUND:
        layout.append((scene.background, (0.0, 0.0, 1.0, 1.0)))
    rng.shuffle(layout)
    return _given(None, boxes=tuple(layout))


def told_map(sample: Sample) -> Given:
    """The class of each pixel."""
    if sample.dropped:
        return _given(None)
    return _given(None, label_map=Held(torch.from_numpy(label_map(sample.picture))[None].float()))


def told_hole(sample: Sample) -> Given:
    """A caption, and the image with a hole in it. The caption alone is dropped."""
    caption = describe(sample.rng, sample.scene).caption
    hole = random.Random(f"hole/{sample.scene}")  # a scene always has the same hole
    return _given(
        None if sample.dropped else caption,
        image=Held(to_tensor(sample.picture.image)[0]),
        mask=Held(torch.from_numpy(hole_of(sample.scene, sample.glyphs, hole))[None].float()),
    )


def told_small(sample: Sample) -> Given:
    """The same image, a quarter as large."""
    small = Image.fromarray(sample.picture.image).resize((SMALL, SMALL), Image.Resampling.BOX)
    return _given(None, image=Held(to_tensor(np.array(small))[0]))


def told_neighbours(sample: Sample) -> Given:
    """Other images of the same glyph, one to four."""
    if sample.dropped:
        return _given(None)
    name, rng = sample.scene.objects[0].noun, sample.rng
    variants = rng.sample(range(VARIANTS), rng.randint(1, MOST_NEIGHBOURS))
    images = tuple(neighbour(name, variant, sample.glyphs) for variant in variants)
    return _given(None, neighbours=images)


_neighbours: dict[tuple[str, int], Held] = {}


def neighbour(name: str, variant: int, glyphs: Glyphs) -> Held:
    """An image of a glyph [3, 64, 64], at another size and place and on another background."""
    if (name, variant) in _neighbours:
        return _neighbours[name, variant]
    rng = random.Random(f"neighbour/{name}/{variant}")
    scene = one_glyph(rng, name)
    image = Image.fromarray(render(scene, glyphs).image)
    small = image.resize((NEIGHBOUR, NEIGHBOUR), Image.Resampling.BOX)
    held = Held(to_tensor(np.array(small))[0])
    if variant < VARIANTS:
        _neighbours[name, variant] = held
    return held


def hole_of(scene: Scene, glyphs: Glyphs, rng: random.Random) -> np.ndarray:
    """A hole to repaint, bool [H, W]: around a thing, a rectangle, or a thick stroke."""
    image = Image.new("L", (SIZE, SIZE))
    pen = ImageDraw.Draw(image)
    kind = rng.choices(("thing", "rectangle", "stroke"), (50, 30, 20))[0]
    if kind == "thing":
        _, box = rng.choice(boxes(scene, glyphs))
        x0, y0, x1, y1 = (SIZE * end for end in box)
        left, top, right, bottom = (rng.uniform(2, 14) for _ in range(4))
        pen.rectangle((x0 - left, y0 - top, x1 + right, y1 + bottom), fill=255)
    elif kind == "rectangle":
        width, height = (rng.uniform(24, 80) for _ in range(2))
        x, y = rng.uniform(0, SIZE - width), rng.uniform(0, SIZE - height)
        pen.rectangle((x, y, x + width, y + height), fill=255)
    else:
        points = [(rng.uniform(0, SIZE), rng.uniform(0, SIZE)) for _ in range(rng.randint(2, 4))]
        thick = rng.randint(12, 30)
        pen.line(points, fill=255, width=thick, joint="curve")
        for x, y in points:
            pen.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=255)
    return np.asarray(image) == 255


def _given(prompt: str | None, **told: object) -> Given:
    return Given(prompt, (SIZE, SIZE), reading=PLAIN, **told)  # type: ignore[arg-type]
