"""The Studio's finished runs: their settings, images and steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any

from PIL import Image

from ..checks import shortened
from ..classes import TASKS
from ..folders import last_part
from ..loras import Lora
from ..settings import Settings
from ..trace.about import guided
from ..trace.trace import Trace
from .final import SHOWN, jpeg
from .loras import shown
from .stage import Reel

HISTORY = 12
"""The most results kept, beside those that are pinned."""

PINNED = 12
"""The most results that can be pinned."""

TRACES = 4
"""Newest results whose record, with every step, is kept, too, as are those of pinned results."""

THUMBNAIL = 64
"""Pixels along the longer side of a thumbnail."""

FROM_IMAGES = ("image to image", "inpainting", "outpainting")
"""The tasks of runs that begin from an image."""

TILES = 4
"""The most images of a batch on a thumbnail."""


@dataclass(frozen=True)
class Result:
    """A finished run."""

    id: int
    model: str
    settings: Settings
    images: Sequence[dict[str, Any]]  # as `final.finals` gives them
    reel: Reel  # as it was saved
    thumbnail: bytes  # JPEG
    title: str
    trace: Trace | None = None
    pinned: bool = False
    loras: tuple[Lora, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)  # by the names of `given.GIVEN`

    @classmethod
    def of(
        cls,
        number: int,
        model: str,
        trace: Trace,
        images: Sequence[dict[str, Any]],
        reel: Reel,
        loras: tuple[Lora, ...],
        given: Mapping[str, Any],
    ) -> Result:
        """The result of a run from its record, ``trace``."""
        settings = trace.settings
        small = jpeg(contact(trace.images[:TILES]), THUMBNAIL)
        title = title_of(model, settings, trace.task, loras, guided(trace))
        more: dict[str, Any] = {"trace": trace, "loras": loras, "given": given}
        return cls(number, model, settings, images, reel, small, title, **more)

    def entry(self) -> dict[str, Any]:
        """The result as the page shows it in the strip of earlier results.

        ``count``: the number of its images. ``whole``: whether its record is kept, with every step.
        """
        return {
            "id": self.id,
            "prompt": shortened(asked_for(self.settings), SHOWN),
            "seed": self.settings.seed,
            "title": self.title,
            "thumbnail": self.thumbnail,
            "count": len(self.images),
            "pinned": self.pinned,
            "whole": self.trace is not None,
        }


class Results:
    """The pinned and the newest results, oldest first: at most `PINNED` and `HISTORY`."""

    def __init__(self) -> None:
        self._results: list[Result] = []

    def __iter__(self) -> Iterator[Result]:
        return iter(self._results)

    def add(self, result: Result) -> None:
        """Keep a result."""
        self._keep([*self._results, result])

    def pin(self, number: int) -> None:
        """Pin the result with that id, or unpin it. No more than `PINNED` results are pinned."""
        full = sum(one.pinned for one in self._results) >= PINNED
        self._keep(
            [
                replace(one, pinned=not one.pinned and not full) if one.id == number else one
                for one in self._results
            ]
        )

    def delete(self, number: int) -> None:
        """Drop the result with that id."""
        self._keep([one for one in self._results if one.id != number])

    def find(self, number: int) -> Result | None:
        """The result with that id, or None if it was dropped."""
        return next((result for result in self._results if result.id == number), None)

    def _keep(self, results: Sequence[Result]) -> None:
        newest = [one.id for one in results if not one.pinned][-HISTORY:]
        kept = [one for one in results if one.pinned or one.id in newest]
        whole = {one.id for one in kept[-TRACES:]}
        self._results = [
            one if one.pinned or one.id in whole else replace(one, trace=None) for one in kept
        ]


def contact(images: Sequence[Image.Image]) -> Image.Image:
    """Images of the same size in a grid, as square as it can be; a single image as it is."""
    if len(images) == 1:
        return images[0]
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    width, height = images[0].size
    grid = Image.new("RGB", (columns * width, rows * height), "white")
    for i, image in enumerate(images):
        grid.paste(image, (i % columns * width, i // columns * height))
    return grid


def name_of(model: str) -> str:
    """A model's name in labels. Of a path only the last part: the rest is private."""
    is_path = PurePath(model).is_absolute() or "\\" in model or model.startswith((".", "~"))
    return last_part(model) if is_path else model


def asked_for(settings: Settings) -> str:
    """What a run was to show, in words: its prompt, its class, or the names of its boxes."""
    if settings.prompt:
        return str(settings.prompt)
    if settings.label is not None:
        return f"class {settings.label}" if isinstance(settings.label, int) else str(settings.label)
    return ", ".join(str(box[0]) for box in settings.boxes or ())


def title_of(
    model: str, settings: Settings, task: str, loras: Sequence[Lora] = (), guide: str = ""
) -> str:
    """The settings of a result in words. ``task``: see `Record.task`; "" is not known. ``guide``:
    what steered it, in words."""
    negative = shortened(str(settings.negative_prompt), SHOWN)
    inside = {"inpainting": " inside a mask", "outpainting": ", with new area"}.get(task, "")
    parts = [
        shortened(asked_for(settings), SHOWN) or "no prompt",
        f"negative prompt {negative!r}" if negative else "",
        f"seed {settings.seed}",
        f"{settings.steps} steps of {settings.sampler}",
        "" if settings.guidance_scale is None else f"guidance {settings.guidance_scale:g}",
        f"from an image{inside}, strength {settings.strength:g}" if task in FROM_IMAGES else "",
        "from a small image" if task == TASKS["low_res"] else "",
        "{} x {}".format(*settings.final_size) if settings.width and settings.height else "",
        name_of(model),
        f"guide {guide}" if guide else "",
        *(f"with {shown(lora)}" for lora in loras[:3]),
        f"and {len(loras) - 3} more LoRAs" if len(loras) > 3 else "",
    ]
    return ", ".join(part for part in parts if part)
