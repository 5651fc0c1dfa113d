"""Emoji scenes: small composed images, each with an exact caption and a mask for every word.

A scene is one to three objects, or several of the same object, on a coloured background. Unlike
with photographs, everything about it is known: the caption says what is there and where, and every
noun (and the colour word) has a mask of exactly the pixels that it means. The bundled model is
trained on these images, and its attention maps are measured against these masks.

    scene = make_scene(random.Random(0))
    picture = render(scene, load_glyphs())
    picture.image        # uint8 [128, 128, 3]
    scene.caption        # "a cat left of a car on a blue background"
    picture.masks["cat"] # bool [128, 128]

The glyphs are those of Google's Noto Color Emoji font (SIL Open Font License 1.1; see NOTICE).
The font is needed to make scenes, never to use the model.
"""

from __future__ import annotations

import os
import random
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .errors import InputError

SIZE = 128  # pixels along one side of a scene

OBJECTS: dict[str, str] = {
    "cat": "🐱", "dog": "🐶", "pig": "🐷", "cow": "🐮", "lion": "🦁", "frog": "🐸",
    "penguin": "🐧", "bee": "🐝", "fish": "🐟", "snail": "🐌", "butterfly": "🦋", "turtle": "🐢",
    "car": "🚗", "bus": "🚌", "train": "🚆", "rocket": "🚀", "boat": "⛵", "airplane": "✈️",
    "house": "🏠", "tree": "🌳", "cactus": "🌵", "tulip": "🌷", "sunflower": "🌻", "mushroom": "🍄",
    "apple": "🍎", "banana": "🍌", "lemon": "🍋", "strawberry": "🍓", "pizza": "🍕", "burger": "🍔",
    "cake": "🎂", "star": "⭐", "sun": "🌞", "moon": "🌜", "heart": "❤️", "ball": "⚽",
    "guitar": "🎸", "umbrella": "☂️", "book": "📕", "clock": "⏰",
}  # fmt: skip

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (220, 50, 47),
    "orange": (245, 140, 30),
    "yellow": (250, 220, 70),
    "green": (60, 170, 80),
    "blue": (50, 110, 220),
    "purple": (130, 70, 180),
    "pink": (250, 160, 195),
    "brown": (130, 85, 50),
    "gray": (128, 128, 128),
    "white": (250, 250, 250),
}

SMALL, BIG = 36, 76  # pixels: a single object is called small up to, big from this size
COUNTS = {2: "two", 3: "three", 4: "four"}
Relation = Literal["left of", "right of", "above", "below"]
RELATIONS: tuple[Relation, ...] = ("left of", "right of", "above", "below")
OPPOSITE: dict[str, Relation] = {
    "left of": "right of", "right of": "left of", "above": "below", "below": "above",
}  # fmt: skip
Split = Literal["seen", "held_out"]


@dataclass(frozen=True)
class Placed:
    """One object: its noun, the centre ``x, y`` and the ``size`` (longer side), in pixels."""

    noun: str
    x: float
    y: float
    size: float


@dataclass(frozen=True)
class Scene:
    """A layout and the caption that describes it, not drawn yet.

    ``relations`` are the (noun, relation, noun) triples that the caption states.
    """

    objects: tuple[Placed, ...]
    background: str  # a name in COLORS
    caption: str
    relations: tuple[tuple[str, Relation, str], ...] = ()
    names_background: bool = True  # whether the caption says the colour

    @property
    def counts(self) -> dict[str, int]:
        """How many of each noun there are."""
        nouns = [placed.noun for placed in self.objects]
        return {noun: nouns.count(noun) for noun in dict.fromkeys(nouns)}


@dataclass(frozen=True)
class Picture:
    """A drawn scene: ``image`` uint8 [S, S, 3], and ``masks`` bool [S, S] for every noun and for
    the background's colour word."""

    image: np.ndarray
    masks: dict[str, np.ndarray]


# ------------------------------------------------------------------------- what is held out


def _bucket(text: str) -> int:
    return zlib.crc32(text.encode()) % 100


def held_out_relation(first: str, relation: str, second: str) -> bool:
    """Whether this arrangement of two objects is kept out of training (about 8 % are).

    "cat left of car" and "car right of cat" are one arrangement.
    """
    if relation in ("right of", "below"):
        first, relation, second = second, OPPOSITE[relation], first
    return _bucket(f"{first} {relation} {second}") < 8


def held_out_color(noun: str, color: str) -> bool:
    """Whether this object on this background is kept out of training (about 5 % are)."""
    return _bucket(f"{noun} on {color}") < 5


def split_of(scene: Scene) -> Split:
    """``held_out`` if any of the scene's combinations is kept out of training, else ``seen``."""
    held_out = any(held_out_color(o.noun, scene.background) for o in scene.objects) or any(
        held_out_relation(*triple) for triple in scene.relations
    )
    return "held_out" if held_out else "seen"


# ------------------------------------------------------------------------- layouts


def _one(rng: random.Random) -> list[Placed]:
    noun = rng.choice(list(OBJECTS))
    size = rng.uniform(*rng.choice([(46, 62), (46, 62), (28, SMALL), (BIG, 92)]))
    jitter = min((SIZE - size) / 2 - 2, 22)
    x, y = (SIZE / 2 + rng.uniform(-jitter, jitter) for _ in "xy")
    return [Placed(noun, x, y, size)]


def _row(rng: random.Random, nouns: list[str], relation: Relation) -> list[Placed]:
    """``nouns`` along one axis, so that each has the ``relation`` to the next."""
    n = len(nouns)
    order = nouns if relation in ("left of", "above") else nouns[::-1]
    pitch = SIZE / n
    placed = {}
    across = SIZE / 2 + rng.uniform(-14, 14)
    for i, noun in enumerate(order):
        size = rng.uniform(0.66, 0.86) * pitch if n > 2 else rng.uniform(38, 54)
        along = pitch * (i + 0.5) + rng.uniform(-0.35, 0.35) * (pitch - size)
        side = across + rng.uniform(-8, 8)
        x, y = (along, side) if relation in ("left of", "right of") else (side, along)
        placed[noun] = Placed(noun, x, y, size)
    return [placed[noun] for noun in nouns]


def _several(rng: random.Random) -> list[Placed]:
    noun, n = rng.choice(list(OBJECTS)), rng.choice(list(COUNTS))
    spots = {
        2: [(0.27, 0.5), (0.73, 0.5)],
        3: [(0.27, 0.3), (0.73, 0.3), (0.5, 0.73)],
        4: [(0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)],
    }[n]
    size = rng.uniform(36, 46)
    return [
        Placed(noun, SIZE * x + rng.uniform(-6, 6), SIZE * y + rng.uniform(-6, 6), size)
        for x, y in spots
    ]


# ------------------------------------------------------------------------- captions


def article(word: str) -> str:
    """``word`` with its indefinite article: "a cat", "an apple", "an orange"."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def plural(noun: str) -> str:
    """The plural of ``noun`` as captions write it: "stars", "buses", "butterflies", "cactuses"."""
    if noun == "fish":
        return noun
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "sh", "ch", "x")) else "s")


def relation_text(rng: random.Random, first: str, relation: Relation, second: str) -> str:
    """One of several ways to say that ``first`` has the ``relation`` to ``second``.

    The nouns occur in both orders, and before as well as after the word for the place, so that no
    other word of the caption gives a noun away.
    """
    if rng.random() < 0.5:
        first, relation, second = second, OPPOSITE[relation], first
    a, b = article(first), article(second)
    if relation in ("left of", "right of"):
        here, there = ("left", "right") if relation == "left of" else ("right", "left")
        ways = [
            f"{a} {here} of {b}",
            f"{a} {here} of {b}",
            f"{a} to the {here} of {b}",
            f"{a} on the {here} of {b}",
            f"on the {here} {a}, on the {there} {b}",
            f"{a} on the {here} and {b} on the {there}",
            f"{here} {a}, {there} {b}",
            f"{here} of {b} is {a}",
        ]
    else:
        up = relation == "above"
        word, other = ("above", "over") if up else ("below", "under")
        here, there = ("top", "bottom") if up else ("bottom", "top")
        ways = [
            f"{a} {word} {b}",
            f"{a} {word} {b}",
            f"{a} {other} {b}",
            f"at the {here} {a}, at the {there} {b}",
            f"{a} at the {here} and {b} at the {there}",
            f"{word} {b} is {a}",
            f"{here} {a}, {there} {b}",
        ]
    return rng.choice(ways)


def _with_background(rng: random.Random, what: str, color: str) -> str:
    before = [
        "on {a} background {w}", "on {c} {w}", "{c} background, {w}", "on {c}, {w}",
        "{c} behind {w}", "{a} picture: {w}",
    ]  # fmt: skip
    after = [
        "{w} on {a} background", "{w} on {a} background", "{w} on {c}",
        "{w} with {a} background", "{w}, {c} background", "{w}, all on {c}", "{w}, {c} behind",
    ]  # fmt: skip
    template = rng.choice(before if rng.random() < 0.35 else after)
    return template.format(w=what, c=color, a=article(color))


def _with_opening(rng: random.Random, what: str) -> str:
    if not what.startswith(("a ", "an ")):
        return what
    return rng.choice(["", "", "", "", "a picture of ", "an emoji of ", "there is "]) + what


def make_scene(rng: random.Random, split: Split = "seen", *, kind: str | None = None) -> Scene:
    """A random scene of a split, with its caption.

    ``kind`` is ``one``, ``two``, ``three`` or ``several``; by default it is random, in the
    proportions 30 : 50 : 10 : 10.
    """
    while True:
        scene = _draw(rng, kind)
        if split_of(scene) == split:
            return scene


def _draw(rng: random.Random, kind: str | None) -> Scene:
    kind = kind or rng.choices(("one", "two", "three", "several"), (30, 50, 10, 10))[0]
    relations: tuple[tuple[str, Relation, str], ...] = ()
    if kind == "one":
        objects = _one(rng)
    elif kind == "several":
        objects = _several(rng)
    elif kind in ("two", "three"):
        nouns = rng.sample(list(OBJECTS), 2 if kind == "two" else 3)
        relation = rng.choice(RELATIONS)
        objects = _row(rng, nouns, relation)
        relations = tuple((a, relation, b) for a, b in pairwise(nouns))
    else:
        raise InputError(f"A scene's kind must be one, two, three or several, got {kind!r}.")
    scene = Scene(tuple(objects), rng.choice(list(COLORS)), "", relations)
    return describe(rng, scene)


def describe(rng: random.Random, scene: Scene) -> Scene:
    """The same scene with a newly drawn caption.

    One caption in ten does not mention the background's colour.
    """
    objects, relations = scene.objects, scene.relations
    nouns = [placed.noun for placed in objects]
    if len(relations) == 1:
        what = _with_opening(rng, relation_text(rng, *relations[0]))
    elif relations:
        what = f" {relations[0][1]} ".join(article(noun) for noun in nouns)
    elif len(objects) > 1:
        what = f"{COUNTS[len(objects)]} {plural(nouns[0])}"
    else:
        size = objects[0].size
        word = "small " if size <= SMALL else "big " if size >= BIG else ""
        what = _with_opening(rng, article(word + nouns[0]))
    names_background = rng.random() < 0.9
    caption = _with_background(rng, what, scene.background) if names_background else what
    return replace(scene, caption=caption, names_background=names_background)


def caption_words() -> dict[str, tuple[str, ...]]:
    """All words of captions, in groups by title: things, colors, places, and so on."""
    plurals = tuple(plural(noun) for noun in OBJECTS)
    return {
        "things": tuple(OBJECTS),
        "colors": tuple(COLORS),
        "places": ("left", "right", "above", "below", "over", "under", "top", "bottom", "behind"),
        "sizes": ("small", "big"),
        "numbers": tuple(COUNTS.values()),
        "several": tuple(word for word in plurals if word not in OBJECTS),
        "others": (
            "a", "an", "the", "of", "to", "on", "at", "and", "with", "is", "there", "all",
            "background", "picture", "emoji",
        ),
    }  # fmt: skip


# ------------------------------------------------------------------------- drawing

Glyphs = dict[str, Image.Image]  # noun -> RGBA image, cropped to what is visible

_FONT_PLACES = (
    "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",
    "/usr/share/fonts/noto/NotoColorEmoji.ttf",
    "/usr/share/fonts/google-noto-color-emoji-fonts/NotoColorEmoji.ttf",
    "/System/Library/Fonts/NotoColorEmoji.ttf",
)


def find_font() -> Path | None:
    """The path of the Noto Color Emoji font, or None. ``SDWIDGETS_EMOJI_FONT`` overrides it."""
    places = [os.environ.get("SDWIDGETS_EMOJI_FONT", ""), *_FONT_PLACES]
    return next((Path(p) for p in places if p and Path(p).is_file()), None)


@lru_cache(maxsize=1)
def load_glyphs() -> Glyphs:
    """The glyph of every object, from the Noto Color Emoji font.

    Raises InputError if the font is not installed.
    """
    path = find_font()
    if path is None:
        raise InputError(
            "The Noto Color Emoji font, with which scenes are drawn, was not found.\n"
            "Install it (Debian: apt install fonts-noto-color-emoji), or set "
            "SDWIDGETS_EMOJI_FONT to its .ttf file."
        )
    font = ImageFont.truetype(str(path), 109)  # the only size of the font's bitmaps
    glyphs = {}
    for noun, text in OBJECTS.items():
        canvas = Image.new("RGBA", (180, 180), (0, 0, 0, 0))
        ImageDraw.Draw(canvas).text((16, 16), text, font=font, embedded_color=True)
        glyphs[noun] = canvas.crop(canvas.getbbox())
    return glyphs


def render(scene: Scene, glyphs: Glyphs) -> Picture:
    """The scene drawn at 128 x 128, with its masks.

    A noun's mask is the pixels that its glyphs cover by more than half; the colour word's mask is
    the pixels that no glyph covers.
    """
    red, green, blue = COLORS[scene.background]
    image = np.empty((SIZE, SIZE, 3), np.float32)
    image[:] = (red, green, blue)
    masks = {noun: np.zeros((SIZE, SIZE), bool) for noun in scene.counts}
    for placed in scene.objects:
        glyph = glyphs[placed.noun]
        width, height = _drawn_size(placed, glyph)
        small = np.asarray(
            glyph.convert("RGBa").resize((width, height), Image.Resampling.BOX), np.float32
        )  # premultiplied, to avoid dark seams at the edges
        left = round(placed.x - width / 2)
        top = round(placed.y - height / 2)
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + width, SIZE), min(top + height, SIZE)
        part = small[y0 - top : y1 - top, x0 - left : x1 - left]
        alpha = part[..., 3:] / 255
        image[y0:y1, x0:x1] = part[..., :3] + image[y0:y1, x0:x1] * (1 - alpha)
        covered = alpha[..., 0] > 0.5
        for mask in masks.values():
            mask[y0:y1, x0:x1] &= ~covered
        masks[placed.noun][y0:y1, x0:x1] |= covered
    masks[scene.background] = ~np.any(list(masks.values()), axis=0)
    return Picture(image.round().clip(0, 255).astype(np.uint8), masks)


def _drawn_size(placed: Placed, glyph: Image.Image) -> tuple[int, int]:
    """(width, height) of an object in pixels."""
    scale = placed.size / max(glyph.size)
    width, height = (max(1, round(side * scale)) for side in glyph.size)
    return width, height


# ------------------------------------------------------------------------- what else is known

Box = tuple[str, tuple[float, float, float, float]]
"""A name, and (x0, y0, x1, y1) in fractions of the image."""

CLASSES: tuple[str, ...] = (*COLORS, *OBJECTS)
"""The classes of a label map, in order: the backgrounds by their colours, then the objects."""


def boxes(scene: Scene, glyphs: Glyphs) -> list[Box]:
    """The box of each object, in the order of ``objects``, cut at the edges of the image."""
    found = []
    for placed in scene.objects:
        width, height = _drawn_size(placed, glyphs[placed.noun])
        left, top = round(placed.x - width / 2), round(placed.y - height / 2)
        corners = (left, top, left + width, top + height)
        x0, y0, x1, y1 = (min(max(corner, 0), SIZE) / SIZE for corner in corners)
        found.append((placed.noun, (x0, y0, x1, y1)))
    return found


def label_map(picture: Picture) -> np.ndarray:
    """The class of each pixel, uint8 [S, S]: its index in `CLASSES`."""
    labels = np.zeros(picture.image.shape[:2], np.uint8)
    for word, mask in picture.masks.items():
        labels[mask] = CLASSES.index(word)
    return labels
