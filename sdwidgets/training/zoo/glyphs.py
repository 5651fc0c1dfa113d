"""Every glyph of the emoji font, for a system that is to draw things it never saw.

Scenes show 40 things. The font has more than a thousand, and most are told to the network with
neighbours; the others are held out.
"""

from __future__ import annotations

import random
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from ...errors import InputError
from ...scenes import COLORS, OBJECTS, SIZE, Glyphs, Placed, Scene, find_font, load_glyphs
from ..data import Scenes

HELD_OUT = ("frog", "penguin", "bus", "tulip", "pizza", "strawberry", "guitar", "moon")
"""Things of scenes that training with neighbours never shows."""
ALIKE = {
    "frog": "🐸", "penguin": "🐧", "bus": "🚌🚍🚎🚐🚏", "tulip": "🌷", "pizza": "🍕",
    "strawberry": "🍓", "guitar": "🎸🪕", "moon": "🌛🌜🌙🌝🌚🌒🌘",
}  # fmt: skip
"""Glyphs that show nearly the same as a held-out thing; they are not shown either."""
EVERY = 12  # of the other glyphs, one in so many is held out, too
RANGES = ((0x2600, 0x27BF), (0x1F300, 0x1F3FA), (0x1F400, 0x1F64F), (0x1F680, 0x1F6FF),
          (0x1F900, 0x1F9FF), (0x1FA70, 0x1FAFF))  # fmt: skip
SMALLEST = 40  # pixels along a side of a glyph that is worth showing


@lru_cache(maxsize=1)
def every_glyph() -> Glyphs:
    """The glyphs of the font by name: the nouns of scenes, and Unicode's names of the others.

    Raises InputError if the font is not installed."""
    nouns = load_glyphs()
    path = find_font()
    if path is None:
        raise InputError("The Noto Color Emoji font was not found.")
    font = ImageFont.truetype(str(path), 109)
    missing = _drawn(font, chr(0xFFFFF))
    known = {text[0] for text in OBJECTS.values()}
    found = dict(nouns)
    for first, last in RANGES:
        for code in range(first, last + 1):
            name = unicodedata.name(chr(code), "").lower()
            if not name or chr(code) in known:
                continue
            glyph = _drawn(font, chr(code))
            if glyph is None or min(glyph.size) < SMALLEST:
                continue
            if missing is not None and glyph.tobytes() == missing.tobytes():
                continue
            found[name] = glyph
    return found


def held_out(name: str) -> bool:
    """Whether training with neighbours never shows a glyph."""
    if name in OBJECTS:
        return name in HELD_OUT
    return name in _alike() or zlib.crc32(name.encode()) % EVERY == 0


def shown_glyphs() -> tuple[str, ...]:
    """The names of all glyphs that are not held out."""
    return tuple(name for name in every_glyph() if not held_out(name))


def unseen_glyphs() -> tuple[str, ...]:
    """The names of the glyphs that are held out and that scenes do not have either, so that the
    bundled model never saw them: without those that are nearly a thing of scenes."""
    told = {*OBJECTS, *_alike()}
    return tuple(name for name in every_glyph() if held_out(name) and name not in told)


@dataclass
class GlyphScenes(Scenes):
    """Scenes of a single glyph each, any of ``names``, on a coloured background."""

    names: Sequence[str] = ()

    def scene(self, number: int) -> Scene:
        rng = random.Random(f"glyph/{self.seed}/{number % self.count}")
        return one_glyph(rng, rng.choice(self.names))


def one_glyph(rng: random.Random, name: str) -> Scene:
    """A scene of one glyph, a little off the centre."""
    size = rng.uniform(46, 92)
    jitter = (SIZE - size) / 2 - 2
    x, y = (SIZE / 2 + rng.uniform(-1, 1) * min(jitter, 16) for _ in "xy")
    return Scene((Placed(name, x, y, size),), rng.choice(list(COLORS)), name)


def _alike() -> set[str]:
    return {unicodedata.name(glyph, "").lower() for like in ALIKE.values() for glyph in like}


def _drawn(font: ImageFont.FreeTypeFont, text: str) -> Image.Image | None:
    """A glyph, cropped to what is visible; None if nothing is."""
    canvas = Image.new("RGBA", (180, 180), (0, 0, 0, 0))
    ImageDraw.Draw(canvas).text((16, 16), text, font=font, embedded_color=True)
    box = canvas.getbbox()
    return canvas.crop(box) if box else None
