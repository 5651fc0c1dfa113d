"""The last images of a kernel, for the side panel."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..checks import shortened
from ..contract import SIDE_LIMITS
from ..trace.images import encode_png
from ..trace.png import settings_record
from ..trace.trace import Trace
from .final import jpeg
from .results import name_of

MOST_PIXELS = 2**25
"""The most pixels of all images together; the newest is kept whatever its size."""


@dataclass(eq=False)
class Picture:
    """An image of a record. What is made of it is made when it is first asked for."""

    id: int
    name: str  # of the model, as the manager knows it
    record: Trace  # without its steps
    index: int  # in the batch
    _settings: dict[str, Any] = field(default_factory=dict)
    _thumbnail: bytes = b""

    @property
    def pixels(self) -> int:
        """The number of its pixels."""
        width, height = self.record.images[self.index].size
        return width * height

    @property
    def settings(self) -> dict[str, Any]:
        """What its file has inside; see `Trace.record`."""
        if not self._settings:
            self._settings = settings_record(self.record, self.index)
        return self._settings

    @property
    def thumbnail(self) -> bytes:
        """A small JPEG."""
        if not self._thumbnail:
            self._thumbnail = jpeg(self.record.images[self.index], SIDE_LIMITS["thumbnail"])
        return self._thumbnail

    def entry(self) -> dict[str, Any]:
        """The image as the page lists it; see `contract.SIDE_IMAGE`."""
        settings = self.record.settings
        prompts, seeds = settings.prompts, settings.seeds if settings.seed is not None else ()
        width, height = self.record.images[self.index].size
        prompt = prompts[self.index] if self.index < len(prompts) else prompts[0]
        return {
            "id": self.id,
            "prompt": shortened(prompt, SIDE_LIMITS["text"]),
            "name": self.name,
            "model": name_of(self.name),
            "seed": seeds[self.index] if self.index < len(seeds) else None,
            "width": width,
            "height": height,
            "settings": self.settings,
        }

    def png(self) -> bytes:
        """The file, with its settings inside."""
        return encode_png(self.record.images[self.index], self.settings)


class Gallery:
    """The last images, oldest first: at most ``SIDE_LIMITS["images"]`` and `MOST_PIXELS`."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.pictures: Sequence[Picture] = ()

    def add(self, name: str, trace: Trace) -> None:
        """Keep the images of a run by the model of that name, but none of its steps.

        It takes no time: it is called on the thread that runs.
        """
        slim = replace(trace, steps=(), factors=None, model_ref=None, negative_tokens=())
        if slim.parent is not None:
            slim = replace(slim, parent=slim.parent.without_trace())
        added = [Picture(next(self._numbers), name, slim, i) for i in range(len(slim.images))]
        pictures = [*self.pictures, *added][-SIDE_LIMITS["images"] :]
        while len(pictures) > 1 and sum(one.pixels for one in pictures) > MOST_PIXELS:
            del pictures[0]
        self.pictures = tuple(pictures)

    def find(self, number: object) -> Picture | None:
        """The image with that id; None if it is no longer kept."""
        return next((one for one in self.pictures if one.id == number), None)
