"""A walk between prompts and seeds: frames along a way, each an ordinary run.

Between two stops, the noise goes from one seed's to the other's along the sphere
(``Settings.variation``; Shoemake, SIGGRAPH 1985), and the context from one prompt's to the other's
in a straight line (``Settings.toward``). So the settings of a frame say all of it, and make it
alone. Of two stops, the nearer is a frame's own: its prompt, whose words name the attention, and
its seed.
"""

from __future__ import annotations

import heapq
import itertools
import math
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from . import checks
from .errors import InputError
from .settings import Settings
from .trace.animation import encoded, ending_of
from .trace.writing import write_file

if TYPE_CHECKING:
    from .pipeline import LatentDiffusion
    from .trace import Trace

FEWEST, MOST_STOPS = 2, 64
"""The stops of a walk."""

MOST_FRAMES = 1000
"""The most frames of a walk."""

PER_SECOND = 8
"""Frames a second, unless asked otherwise."""

FINEST = 1 / 1024
"""The shortest distance between two frames of an even walk, in legs: below it, images jump."""


class Stop(NamedTuple):
    """A prompt and a seed."""

    prompt: str
    seed: int


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a walk. ``place``: where it is, in legs from the first stop."""

    place: float
    trace: Trace = field(repr=False)

    @property
    def settings(self) -> Settings:
        """The settings that make it alone."""
        return self.trace.settings

    @property
    def image(self) -> Image.Image:
        """The image."""
        return self.trace.images[0]


@dataclass(frozen=True)
class Route:
    """The way of a walk; `of` makes one.

    ``stops``: at least two. ``frames``: how many a leg has, the stop at its beginning among them.
    ``loop``: whether a last leg leads back to the first stop. ``even``: whether frames are where
    the image changes, instead of at equal distances. ``settings``: all others, of one image.
    """

    stops: tuple[Stop, ...]
    frames: int
    loop: bool
    even: bool
    settings: Settings

    @classmethod
    def of(
        cls,
        stops: Sequence[str | int | tuple[str, int]],
        *,
        frames: int = 8,
        loop: bool = False,
        even: bool = False,
        **settings: Any,
    ) -> Route:
        """Return the way between ``stops``: prompts, seeds, or pairs of both.

        A prompt alone keeps the seed of the stop before, a seed alone its prompt. The first take
        what is left from ``settings``, which are those of `LatentDiffusion.sample`. Without a
        ``seed``, one is drawn. Raises InputError.
        """
        frames = checks.whole("frames", frames, 1, MOST_FRAMES)
        checks.flag("loop", loop)
        checks.flag("even", even)
        for name in ("variation", "toward"):
            if settings.get(name) is not None:
                raise InputError(
                    f"A walk sets {name} itself, for each frame.\nLeave it out.", parameter=name
                )
        try:
            base = Settings(**settings).checked()
        except TypeError:
            known = Settings.__dataclass_fields__
            name = next(name for name in settings if name not in known)
            raise InputError(f"A walk has no setting {name}.", parameter=name) from None
        if base.batch_size != 1 or not isinstance(base.seed, int):
            raise InputError("A frame is one image.\nGive a single prompt and seed.")
        route = cls(_stops(stops, base), frames, loop, even, base)
        if route.count > MOST_FRAMES:
            raise InputError(
                f"The walk would have {route.count} frames; the limit is {MOST_FRAMES}.\n"
                "Give fewer frames for each leg, or fewer stops.",
                parameter="frames",
            )
        return route

    @property
    def legs(self) -> int:
        """How many legs it has."""
        return len(self.stops) - (not self.loop)

    @property
    def count(self) -> int:
        """How many frames it has. In a loop, the first is not there again at the end."""
        return self.legs * self.frames + (not self.loop)

    def at(self, place: float) -> Settings:
        """Return the settings of the frame at a place, 0 to `legs`, in legs."""
        place = checks.real("place", place, 0, self.legs)
        leg = min(math.floor(place), self.legs - 1)
        near, far = self.stops[leg], self.stops[(leg + 1) % len(self.stops)]
        share = round(place - leg, 6)
        if share > 0.5:
            near, far, share = far, near, round(1 - share, 6)
        goes = share > 0
        return replace(
            self.settings,
            prompt=near.prompt,
            seed=near.seed,
            toward=(far.prompt, share) if goes and far.prompt != near.prompt else None,
            variation=(far.seed, share) if goes and far.seed != near.seed else None,
        )

    def places(self) -> Generator[float, Image.Image, None]:
        """Yield the places of the frames, coarse first: the stops, then what halves the ways left.

        Each must be answered with its image, by ``send``. An even walk halves the way between the
        two neighbours whose images differ most, so frames gather where the image changes.
        """
        return self._even() if self.even else self._uniform()

    def _uniform(self) -> Generator[float, Image.Image, None]:
        for stop in range(len(self.stops)):
            yield float(stop)
        ways = deque((leg * self.frames, (leg + 1) * self.frames) for leg in range(self.legs))
        while ways:
            first, last = ways.popleft()
            if last - first > 1:
                middle = (first + last) // 2
                yield middle / self.frames
                ways += [(first, middle), (middle, last)]

    def _even(self) -> Generator[float, Image.Image, None]:
        images: dict[float, Image.Image] = {}
        for stop in range(len(self.stops)):
            images[float(stop)] = yield float(stop)
        if self.loop:
            images[float(self.legs)] = images[0.0]
        # widest first; with equal images, the longest way, then the earliest
        ways = [_way(a, b, images) for a, b in itertools.pairwise(sorted(images))]
        heapq.heapify(ways)
        for _ in range(self.count - len(self.stops)):
            *_, first, last = heapq.heappop(ways)
            middle = (first + last) / 2
            images[middle] = yield middle
            for way in ((first, middle), (middle, last)):
                heapq.heappush(ways, _way(*way, images))


def walk(model: LatentDiffusion, route: Route, **given: Any) -> Iterator[Frame]:
    """Yield the frames of a walk as they are made, coarse first; see `Route.places`.

    ``given``: an image, a mask, controls or attention, as for `LatentDiffusion.sample`. Raises what
    that raises.

    Example::

        route = Route.of(["a cat", "a dog"], frames=16, seed=7)
        frames = sorted(walk(model, route), key=lambda frame: frame.place)
    """
    places = route.places()
    place = next(places, None)
    while place is not None:
        frame = Frame(place, model.generate(**route.at(place).as_dict(), **given))
        yield frame
        place = following(places, frame.image)


def save(
    frames: Iterable[Frame],
    path: str | os.PathLike[str],
    *,
    seconds: float | None = None,
    back: bool = False,
) -> Path:
    """Write frames as an animation that loops, in the order of their places; return its path.

    ``path``: its ending says how, .webp (the smallest), .gif, or .mp4 (H.264, with ``pip install
    'sdwidgets[video]'``). ``seconds``: of all frames, 0.1 to 600; None is an eighth for each.
    ``back``: whether the way back follows. Raises InputError.
    """
    path, kind = ending_of(path)
    return write_file(path, animated(frames, kind, seconds, back=back))


def animated(
    frames: Iterable[Frame], kind: str, seconds: float | None = None, *, back: bool = False
) -> bytes:
    """Return the file that `save` writes; ``kind``: ".webp", ".gif" or ".mp4"."""
    images = [frame.image for frame in sorted(frames, key=lambda frame: frame.place)]
    if len(images) < 2:
        raise InputError("An animation needs at least two frames.", parameter="frames")
    if checks.flag("back", back):
        images += images[-2:0:-1]
    if seconds is None:
        seconds = len(images) / PER_SECOND
    return encoded(images, kind, checks.real("seconds", seconds, 0.1, 600))


def following(places: Generator[float, Image.Image, None], image: Image.Image) -> float | None:
    """Return the next place after the one that ``image`` answers; None after the last."""
    try:
        return places.send(image)
    except StopIteration:
        return None


def difference(a: Image.Image, b: Image.Image) -> float:
    """Return how far two images of a size are apart: the root of the mean square of all pixels'
    differences, 0 to 1."""
    first, second = (np.asarray(each.convert("RGB"), np.float32) / 255 for each in (a, b))
    return float(np.sqrt(np.mean((first - second) ** 2)))


def _way(
    first: float, last: float, images: dict[float, Image.Image]
) -> tuple[float, float, float, float]:
    """Return a way between two neighbours, less the sooner it should be halved."""
    length = last - first
    apart = difference(images[first], images[last]) if length > FINEST else -1.0
    return -apart, -length, first, last


def _stops(stops: object, base: Settings) -> tuple[Stop, ...]:
    if isinstance(stops, str) or not isinstance(stops, Sequence) or not (
        FEWEST <= len(stops) <= MOST_STOPS
    ):  # fmt: skip
        raise InputError(
            f"stops must be a list of {FEWEST} to {MOST_STOPS} prompts, seeds or pairs of both, got"
            f" {checks.shown(stops)}.\nFor example ['a cat', 'a dog'], or [('a cat', 7), 9].",
            parameter="stops",
        )
    found: list[Stop] = []
    last = Stop(str(base.prompt), base.seeds[0])
    for number, stop in enumerate(stops):
        last = _stop(number, stop, last)
        found.append(last)
    return tuple(found)


def _stop(number: int, stop: object, before: Stop) -> Stop:
    if isinstance(stop, str):
        stop = (stop, before.seed)
    elif checks.is_whole(stop):
        stop = (before.prompt, stop)
    if not isinstance(stop, (tuple, list)) or len(stop) != 2:
        raise InputError(
            f"Stop {number} must be a prompt, a seed, or a pair of both, got "
            f"{checks.shown(stop)}.\nFor example 'a cat', 7, or ('a cat', 7).",
            parameter="stops",
        )
    try:
        settings = Settings(prompt=stop[0], seed=stop[1]).checked()
        is_one = isinstance(settings.prompt, str) and isinstance(settings.seed, int)
        if is_one and stop[1] is not None:
            return Stop(str(settings.prompt), settings.seeds[0])
    except InputError as error:
        raise InputError(f"Stop {number}: {error}", parameter="stops") from None
    raise InputError(
        f"Stop {number} must have one prompt and one seed, got {checks.shown(stop)}.",
        parameter="stops",
    )
