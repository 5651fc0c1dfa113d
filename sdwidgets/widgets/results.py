"""The Studio's finished runs: their settings, images and steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..checks import shortened
from ..settings import Settings
from ..trace.trace import Trace
from .controls import THUMBNAIL
from .final import SHOWN, jpeg
from .stage import Reel

if TYPE_CHECKING:
    from ..pictures import PictureLike

HISTORY = 12
"""The most results kept."""

TRACES = 4
"""Newest results whose record, with every step, is kept, too."""


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
    start: PictureLike | None = None  # the start image
    trace: Trace | None = None

    @classmethod
    def of(
        cls,
        number: int,
        model: str,
        trace: Trace,
        images: Sequence[dict[str, Any]],
        reel: Reel,
        start: PictureLike | None,
    ) -> Result:
        """The result of a run from its record, ``trace``."""
        settings = trace.settings
        small = jpeg(trace.images[0], THUMBNAIL)
        title = title_of(model, settings, start is not None)
        return cls(number, model, settings, images, reel, small, title, start, trace)

    def entry(self) -> dict[str, Any]:
        """The result as the page shows it in the strip of earlier results."""
        return {
            "id": self.id,
            "prompt": shortened(str(self.settings.prompt), SHOWN),
            "seed": self.settings.seed,
            "title": self.title,
            "thumbnail": self.thumbnail,
        }


class Results:
    """The newest results, oldest first, up to `HISTORY`."""

    def __init__(self) -> None:
        self._results: list[Result] = []

    def __iter__(self) -> Any:
        return iter(self._results)

    def add(self, result: Result) -> None:
        """Keep a result."""
        kept = [*self._results, result][-HISTORY:]
        kept[:-TRACES] = [replace(old, trace=None) for old in kept[:-TRACES]]
        self._results = kept

    def find(self, number: int) -> Result | None:
        """The result with that id, or None if it was dropped."""
        return next((result for result in self._results if result.id == number), None)


def title_of(model: str, settings: Settings, start: bool) -> str:
    """The settings of a result in words. ``start``: whether it started from an image."""
    negative = shortened(str(settings.negative_prompt), SHOWN)
    parts = [
        shortened(str(settings.prompt), SHOWN) or "no prompt",
        f"negative prompt {negative!r}" if negative else "",
        f"seed {settings.seed}",
        f"{settings.steps} steps of {settings.sampler}",
        f"guidance {settings.guidance_scale:g}",
        f"from an image, strength {settings.strength:g}" if start else "",
        f"{settings.width} x {settings.height}",
        model,
    ]
    return ", ".join(part for part in parts if part)
