"""`Result`: what became of a point; and what is asked of those who make points. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from ..errors import ImageError
from ..settings import Settings
from .points import Point

if TYPE_CHECKING:
    from ..trace import Trace

Keep = Literal["image", "trace"]
KEEPS: tuple[Keep, ...] = ("image", "trace")
"""What is kept of each point: its image and settings, or also every step."""

Score = Any
"""A function from a `Trace` to a number."""


@dataclass(frozen=True)
class Making:
    """How points are made, the same for all of a sweep.

    ``keep``: one of `KEEPS`. ``scores``: functions of a whole trace, by name, each called where the
    point is made, while it still has its steps.
    """

    keep: Keep = "image"
    scores: Mapping[str, Callable[[Trace], float]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Result:
    """What became of a point: an image with its settings, or an error.

    ``seconds``: what it took, without the steps that it shares with others. ``made``: the steps
    that were computed for it alone; ``shared``: those that another point had made. ``scores``: a
    number for each name, NaN where there is none. ``notices``: what a user should know. ``error``:
    why there is no image. `trace` and `image` raise it.
    """

    point: Point
    record: Trace | None = field(default=None, repr=False)  # None: on disk, or there is none
    scores: Mapping[str, float] = field(default_factory=dict)
    error: Exception | None = None
    seconds: float = 0.0
    made: int = 0
    shared: int = 0
    notices: tuple[str, ...] = ()
    load: Callable[[], Trace] | None = field(default=None, repr=False)
    """Reads the trace from disk, where it is kept there."""
    path: Path | None = None
    """The PNG with its settings inside, once it is on disk."""
    used: Settings | None = field(default=None, repr=False)
    """The settings as they were resolved, of a result on disk."""

    @property
    def ok(self) -> bool:
        """Whether there is an image."""
        return self.error is None

    @property
    def index(self) -> int:
        """The point's number in grid order."""
        return self.point.index

    @property
    def place(self) -> tuple[int, ...]:
        """The point's index on each axis."""
        return self.point.place

    @property
    def settings(self) -> Settings:
        """The settings as they were resolved; those that were asked for, where it has failed."""
        if self.record is not None:
            return self.record.settings
        return self.point.settings if self.used is None else self.used

    @property
    def trace(self) -> Trace:
        """The record of its run; without steps, unless ``keep="trace"`` was asked for.

        Read from disk each time where it is kept there. Raises its ``error``.
        """
        if self.error is not None:
            raise self.error.with_traceback(None)
        if self.record is not None:
            return self.record
        assert self.load is not None
        return self.load()

    @property
    def image(self) -> Image.Image:
        """The image. Raises its ``error``, and ImageError if its file is gone."""
        if self.record is None and self.path is not None:
            return image_of(self.path)
        return self.trace.image


def image_of(path: Path) -> Image.Image:
    """The image in a PNG on disk. Raises ImageError."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return image.convert("RGB")
    except Exception as error:  # decoders raise nearly everything on broken files
        problem = str(error)
    raise ImageError(f"{str(path)!r} cannot be read: {problem}.", parameter="image")


def without_steps(trace: Trace) -> Trace:
    """The record of a run without its steps, nor those of its parent."""
    parent = trace.parent and trace.parent.without_trace()
    return replace(trace, steps=(), parent=parent)
