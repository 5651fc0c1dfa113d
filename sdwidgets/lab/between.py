"""From one image to another: through their latents, and through their pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from PIL import Image

from ..models.autoencoder import Autoencoder
from ..pixels import to_image
from .reconstruction import Encoded, decode

STEPS = 11


class Frame(NamedTuple):
    """The images at a share ``w`` of the way: decoded from mixed latents, and mixed pixels."""

    w: float
    latent: Image.Image
    pixel: Image.Image


@dataclass(frozen=True, eq=False)
class Between:
    """All frames from one image to another, through the autoencoder of that name."""

    name: str
    frames: tuple[Frame, ...]


def between(
    autoencoder: Autoencoder, first: Encoded, second: Encoded, steps: int = STEPS
) -> Iterator[Frame]:
    """Frames from ``first`` to ``second``, images of one size, evenly spaced, both included.

    Both ways are linear: (1 - w) a + w b. Latents of images lie about the decoder's own mean; only
    for pure noise does a straight line lose length, which a slerp would keep.
    """
    height, width = first.pixels.shape[-2:]
    for w in torch.linspace(0, 1, steps, device="cpu").tolist():
        latents = torch.lerp(first.latents, second.latents, w)
        yield Frame(
            w,
            to_image(decode(autoencoder, latents, (width, height))[0]),
            to_image(torch.lerp(first.pixels, second.pixels, w)[0]),
        )
