"""For tests of trainings: the same rounding on every machine, and glyphs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PIL import Image, ImageDraw

from sdwidgets.scenes import OBJECTS, Glyphs


@pytest.fixture(scope="session", autouse=True)
def single_precision() -> Iterator[None]:
    """Run trainings in single precision on every processor."""
    from sdwidgets.training import loop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "halves_well", lambda device: False)
        yield


@pytest.fixture(scope="session")
def glyphs() -> Glyphs:
    """Draw an ellipse in a different colour for each noun, without a font."""
    made = {}
    for i, noun in enumerate(OBJECTS):
        made[noun] = Image.new("RGBA", (60, 50), (0, 0, 0, 0))
        ImageDraw.Draw(made[noun]).ellipse((0, 0, 59, 49), fill=(6 * i, 255 - 6 * i, 128, 255))
    return made
