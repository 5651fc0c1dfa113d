"""The image that goes into autoencoders, at the size they get it."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

LEAST = 32
"""Pixels along the shorter side, at least: the perceptual distance and SSIM need them."""


@dataclass(frozen=True, eq=False)
class Original:
    """An RGB image at the size it is worked on, with its name and what was done to it."""

    name: str
    image: Image.Image
    notices: tuple[str, ...] = ()
    caption: str = ""  # of a sample; the noise panel's network gets it as its prompt


def fit(image: Image.Image, side: int) -> tuple[Image.Image, tuple[str, ...]]:
    """The image with a longer side of at most ``side`` pixels, and notices of what was done to it.

    It is enlarged only if its shorter side is below `LEAST`; an image too narrow for both limits is
    stretched.
    """
    width, height = image.size
    longer, shorter = max(image.size), min(image.size)
    scale = min(1.0, side / longer)
    if shorter * scale < LEAST:
        scale = min(LEAST / shorter, side / longer)
    size = (max(round(width * scale), LEAST), max(round(height * scale), LEAST))
    if size == image.size:
        return image, ()
    stretched = shorter * scale < LEAST - 0.5
    verb = "stretched" if stretched else "enlarged" if scale > 1 else "resized"
    notice = f"The image was {verb} from {width} x {height} to {size[0]} x {size[1]}."
    return image.resize(size, Image.Resampling.LANCZOS), (notice,)
