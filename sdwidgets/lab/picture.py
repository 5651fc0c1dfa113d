"""A picture as autoencoders take it: its size, and to numbers and back."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

LEAST = 32
"""Pixels along the shorter side, at least: what the perceptual distance and SSIM need."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture that is looked at: RGB, at the size it is worked on; where it is from."""

    name: str
    image: Image.Image
    notices: tuple[str, ...] = ()
    caption: str = ""  # of a sample: what the noise panel tells the network


def fit(image: Image.Image, side: int) -> tuple[Image.Image, tuple[str, ...]]:
    """The picture with a longer side of at most ``side`` pixels, and what was done to it.

    It is never enlarged, but for a shorter side under `LEAST`; a picture too narrow for both is
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
    notice = f"The picture was {verb} from {width} x {height} to {size[0]} x {size[1]}."
    return image.resize(size, Image.Resampling.LANCZOS), (notice,)
