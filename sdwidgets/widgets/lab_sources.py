"""The lab's two images as they came, and where they come from."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from .. import checks
from ..pictures import PictureLike, as_picture, fitted

if TYPE_CHECKING:
    from ..lab.original import Original
    from ..lab.samples import Sample

LARGEST_KEPT = 1024
"""Pixels along the longer side of an image that is kept, at most."""


@dataclass(frozen=True, eq=False)
class Source:
    """An image as it came, with its name and what was done to it."""

    name: str
    image: Image.Image
    notices: tuple[str, ...] = ()
    caption: str = ""


def source_of(image: PictureLike, name: str) -> Source:
    """The image, read and at most `LARGEST_KEPT` pixels long. Raises ``ImageError``."""
    read, notices = as_picture(image)
    if max(read.size) > LARGEST_KEPT:
        notices = (*notices, f"The image came with {read.width} x {read.height} pixels.")
        read = read.copy()
        read.thumbnail((LARGEST_KEPT, LARGEST_KEPT), Image.Resampling.LANCZOS)
    return Source(name, read, notices)


class Sources:
    """The ``first`` image, which is looked at, and the ``second``; either may be missing."""

    def __init__(self) -> None:
        from ..lab.samples import samples

        self.samples: dict[str, Sample] = {sample.name: sample for sample in samples()}
        self.first: Source | None = None
        self.second: Source | None = None

    def read(self, image: PictureLike) -> Source:
        """The sample of that name, or whatever `as_picture` reads. Raises ``ImageError``."""
        if isinstance(image, str) and image in self.samples:
            return self.sample(image)
        is_path = isinstance(image, (str, os.PathLike))
        name = Path(os.fspath(image)).name if is_path else "image"  # type: ignore[arg-type]
        return source_of(image, name)

    def sample(self, name: str) -> Source:
        """A sample image. Raises ``InputError`` for an unknown name."""
        sample = self.samples[checks.choice("sample", name, list(self.samples))]
        return replace(source_of(sample.path, name), caption=sample.caption)

    def choose_second(self) -> None:
        """Take the sample after the first image as the second, if there is none yet."""
        names = list(self.samples)
        if self.first is None or self.second is not None or not names:
            return
        at = names.index(self.first.name) if self.first.name in names else -1
        self.second = self.sample(names[(at + 1) % len(names)])

    def swap(self) -> bool:
        """Exchange the two; False if there are not two."""
        if self.first is None or self.second is None:
            return False
        self.first, self.second = self.second, self.first
        return True

    def first_at(self, side: int) -> Original | None:
        """The first image with a longer side of at most ``side`` pixels."""
        from ..lab.original import Original, fit

        if self.first is None:
            return None
        image, notices = fit(self.first.image, side)
        return Original(self.first.name, image, (*self.first.notices, *notices), self.first.caption)

    def second_at(self, size: tuple[int, int]) -> Original | None:
        """The second image at that size, cropped to its shape."""
        from ..lab.original import Original

        if self.second is None:
            return None
        image, _, notices = fitted(self.second.image, None, *size)
        return Original(self.second.name, image, (*self.second.notices, *notices))
