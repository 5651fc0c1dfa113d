"""The final images of a run on their way to a page: whole, and smaller for the saved state."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image

from ..checks import shortened
from ..trace.images import encode_jpeg
from ..trace.trace import Trace

SAVED_PICTURE = 100_000
"""Bytes of final images in a widget's saved state; what has more is kept there as JPEG."""

SHOWN = 300  # characters of a prompt in labels


def finals(trace: Trace) -> list[dict[str, Any]]:
    """For each image of the batch its PNG file, ``data`` and ``type``, and words about it.

    ``prompt`` and ``seed`` name the file that a person downloads, ``label`` is read out.
    """
    return [_final(trace, i) for i in range(len(trace.images))]


def _final(trace: Trace, index: int) -> dict[str, Any]:
    prompts, settings = trace.settings.prompts, trace.settings
    prompt = shortened(prompts[index] if index < len(prompts) else prompts[0], SHOWN)
    seed = settings.seeds[index] if settings.seed is not None else None
    label = f"the picture for: {prompt or 'no prompt'}"
    return {
        "data": trace.png(index),
        "type": "image/png",
        "prompt": prompt,
        "seed": seed,
        "label": label if seed is None else f"{label}, seed {seed}",
    }


def fit_within(size: int, finals: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same images; smaller JPEGs if their files have over ``size`` bytes together."""
    if sum(len(one["data"]) for one in finals) <= size:
        return list(finals)
    return [smaller(one, size // len(finals)) for one in finals]


def smaller(final: dict[str, Any], within: int) -> dict[str, Any]:
    """The same image; as JPEG, as large as fits, where its file has over ``within`` bytes."""
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
