"""Where on the noise schedule a run from an image begins, and what the image looks like there.

A preview of latents is linear in them: that of an image with noise on it is the sum of the image's
and the noise's. With both and the noise levels, any strength can be shown without the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from .contract import BEGINNING
from .drawing import Drawing
from .outpainting import canvas
from .pictures import fitted
from .run import grid_of
from .settings import Settings

if TYPE_CHECKING:
    from .pipeline import LatentDiffusion


@dataclass(frozen=True)
class Begins:
    """What it takes to show where a run begins, as plain data.

    ``levels``: the noise levels sigma around the steps, from the noisiest, one more than steps.
    ``size``: (w, h) of the previews. ``clean``, ``noise``: uint8 [h, w, 3], the previews of the
    image and of the noise without their constant: ``(byte - zero) * scale``, see
    `contract.BEGINNING`. ``base``: the constant; red, green and blue in [-1, 1].
    """

    levels: tuple[float, ...] = ()
    size: tuple[int, int] = (0, 0)
    clean: bytes = b""
    noise: bytes = b""
    base: tuple[float, ...] = ()


def encoded(
    model: LatentDiffusion, image: Image.Image, size: tuple[int, int], settings: Settings
) -> np.ndarray:
    """The latents [C, h, w] float32 of an image as a run begins from it: at that ``size``, with the
    new area of ``settings.pad`` around it."""
    at_size, _, _ = fitted(image, None, *size, settings.fit)
    if settings.pad is not None:
        at_size = canvas(at_size, settings.pad)
    return model.encode(at_size)[0].cpu().numpy()


def begins(model: LatentDiffusion, latents: np.ndarray, settings: Settings) -> Begins:
    """Where a run from the image of these ``latents`` begins, with the noise of its first image.

    Raises InputError for settings that the model does not take.
    """
    settings = settings.checked(model.config)
    levels = tuple(float(f"{level:.4g}") for level in grid_of(model.schedule, settings))
    factors = model.preview_factors
    rows, columns = (_places(side) for side in latents.shape[1:])
    clean, noise = (
        _bytes(np.einsum("chw,cr->hwr", one[:, rows][:, :, columns], factors[:-1]))
        for one in (latents, _noise(latents.shape, settings))
    )
    base = tuple(round(float(value), 4) for value in factors[-1])
    return Begins(levels, (len(columns), len(rows)), clean, noise, base)


def _noise(shape: tuple[int, ...], settings: Settings) -> np.ndarray:
    """The noise [C, h, w] on the first image of a run from an image."""
    others, share = settings.other_seeds[:1], settings.variation[1] if settings.variation else 0.0
    draw = Drawing(settings.seeds[:1], torch.device("cpu"), others, share)
    draw(*shape)  # the first is for the image's own latents
    return draw(*shape)[0].numpy()


def _places(cells: int) -> np.ndarray:
    """The cells of a side that are shown: all, or evenly chosen ones. Averages would hide noise."""
    count = min(cells, BEGINNING["cells"])
    return ((np.arange(count) + 0.5) * cells / count).astype(int)


def _bytes(values: np.ndarray) -> bytes:
    levels = values / BEGINNING["scale"] + BEGINNING["zero"]
    return np.rint(levels).clip(0, 255).astype(np.uint8).tobytes()
