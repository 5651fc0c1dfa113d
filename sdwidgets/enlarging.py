"""A run of two passes: what each is asked, and from the first to the second, at a larger size.

A model repeats things at sizes far above those of its training. So the first pass composes the
image at a size that suits the model, and the second, from that image with noise on it (SDEdit, Meng
et al., arXiv 2108.01073), only draws it finer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from .errors import InputError
from .settings import LIMITS, Settings

_USUAL = {field.name: field.default for field in fields(Settings)}


def first_pass(settings: Settings) -> Settings:
    """The settings of the first pass: those of a run without the second.

    A refiner only refines what is final, so it makes steps in the second pass alone.
    """
    names = ("hires", "hires_strength", "hires_steps", "hires_method", "refiner_start")
    return settings.resolved(**{name: _USUAL[name] for name in names})


def second_pass(settings: Settings) -> Settings:
    """The settings of the second pass: those of image to image at the final size.

    Raises InputError for an image of a size that follows from a given one, and would be too large.
    """
    width, height = settings.final_size
    high = LIMITS["width"][1]
    if max(width, height) > high:
        raise InputError(
            f"hires {settings.hires:g} makes {width} x {height}; the limit is {high} pixels a side."
            "\nGive a smaller hires, or a smaller image.",
            parameter="hires",
        )
    scale, pad = settings.hires or 1, settings.pad
    return first_pass(settings).resolved(
        width=width,
        height=height,
        pad=None if pad is None else tuple(round(side * scale) for side in pad),
        steps=settings.hires_steps or settings.steps,
        strength=settings.hires_strength,
        refiner_start=settings.refiner_start,
    )


def enlarged_latents(latents: Tensor, height: int, width: int) -> Tensor:
    """Clean latents [B, C, h, w] resized bicubically to [B, C, height, width], float32.

    On the CPU, as noise is drawn there: a GPU would round otherwise.
    """
    values = latents.float().cpu()
    larger = F.interpolate(values, size=(height, width), mode="bicubic", antialias=True)
    return larger.to(latents.device)


def enlarged_images(
    images: Sequence[Image.Image],
    size: tuple[int, int],
    original: Image.Image | None = None,
    mask: Image.Image | None = None,
) -> list[Image.Image]:
    """The images resized with Lanczos's filter to ``size`` (width, height).

    Outside a ``mask``, which has that size as ``original`` has, they are ``original``: an image
    that is larger than the first pass keeps its details there.
    """
    larger = [image.resize(size, Image.Resampling.LANCZOS) for image in images]
    if original is None or mask is None:
        return larger
    return [Image.composite(image, original, mask) for image in larger]
