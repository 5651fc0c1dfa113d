"""The final images of a run for a page: in full, and smaller for the saved state."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image

from ..checks import shortened
from ..trace.images import encode_jpeg
from ..trace.trace import Trace

SAVED_IMAGES = 100_000
"""The most bytes of final images in a widget's saved state; larger images are saved as JPEG."""

SHOWN = 300  # characters of a prompt in labels


def finals(trace: Trace) -> list[dict[str, Any]]:
    """One dict for each image of the batch: its PNG file as ``data`` and ``type``, and labels.

    ``prompt`` and ``seed`` name the downloaded file. ``label`` is for screen readers.
    """
    return [_final(trace, i) for i in range(len(trace.images))]


def _final(trace: Trace, index: int) -> dict[str, Any]:
    prompts, settings = trace.settings.prompts, trace.settings
    prompt = shortened(prompts[index] if index < len(prompts) else prompts[0], SHOWN)
    seed = settings.seeds[index] if settings.seed is not None else None
    label = f"the image for: {prompt or 'no prompt'}"
    return {
        "data": trace.png(index),
        "type": "image/png",
        "prompt": prompt,
        "seed": seed,
        "label": label if seed is None else f"{label}, seed {seed}",
    }


def fit_within(size: int, finals: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The images, as smaller JPEGs if their files together exceed ``size`` bytes."""
    if sum(len(one["data"]) for one in finals) <= size:
        return list(finals)
    return [smaller(one, size // len(finals)) for one in finals]


def smaller(final: dict[str, Any], within: int) -> dict[str, Any]:
    """The image, as the largest JPEG that fits if its file exceeds ``within`` bytes."""
    file = final["data"]
    if len(file) <= within:
        return final
    image = Image.open(io.BytesIO(file))
    side = max(image.size)
    while len(file) > within and side > 16:
        file = jpeg(image, side)
        side = side * 2 // 3
    return final | {"data": file, "type": "image/jpeg"}


def jpeg(image: Image.Image, side: int) -> bytes:
    """The JPEG bytes of an image, its longer side scaled down to ``side`` pixels."""
    copy = image.convert("RGB")
    copy.thumbnail((side, side))
    return encode_jpeg(copy, quality=85)
