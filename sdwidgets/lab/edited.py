"""An image decoded from edited latents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..metrics import psnr
from ..models.autoencoder import Autoencoder
from ..pixels import to_image
from .directions import Directions
from .history import History
from .latents import array
from .reconstruction import Encoded, decode


@dataclass(frozen=True, eq=False)
class Edited:
    """The image after edits of its latents: ``image``, ``latents`` [C, h, w] float32, and the PSNR
    in dB against the original. ``directions`` is None until they have been computed."""

    name: str
    image: Image.Image
    latents: np.ndarray
    psnr: float
    history: History
    directions: Directions | None

    @property
    def edits(self) -> tuple[str, ...]:
        """The edits in words, in the order they are applied."""
        return tuple(edit.label(self.directions) for edit in self.history.now)


def apply_edits(
    name: str,
    autoencoder: Autoencoder,
    encoded: Encoded,
    history: History,
    directions: Directions | None,
) -> Edited:
    """The encoded image after the edits of ``history``; without edits, its reconstruction.

    Raises ``InputError`` for a `Walk` where ``directions`` is None.
    """
    z = encoded.latents.float()
    for edit in history.now:
        z = edit.apply(z, directions)
    height, width = encoded.pixels.shape[-2:]
    pixels = decode(autoencoder, z, (width, height)) if history.now else encoded.rebuilt
    quality = psnr(encoded.pixels, pixels).item()
    return Edited(name, to_image(pixels[0]), array(z), quality, history, directions)
