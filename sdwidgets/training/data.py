"""Images to train on: arrays in memory, and emoji scenes without end.

Image ``i`` is always the same, whoever asks for it. What a training takes from them depends on the
sample's number alone, so a resumed run sees what it would have seen.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..checks import is_whole, shown, whole
from ..errors import ImageError, InputError
from ..pictures import PictureLike, as_picture
from ..pixels import to_tensor
from ..scenes import (
    OBJECTS,
    SIZE,
    Glyphs,
    Scene,
    Split,
    describe,
    load_glyphs,
    make_scene,
    render,
)
from .order import sample_row


class Pictures(Protocol):
    """What a training is given: images, their captions and labels.

    ``number`` counts from 0 and is taken modulo the length, which is nominal for sources without
    end (see `Scenes`).
    """

    @property
    def skipped(self) -> dict[str, str]:
        """The files that could not be read, and why."""
        ...

    def __len__(self) -> int: ...

    def picture(self, number: int) -> np.ndarray:
        """uint8 [H, W, 3]."""
        ...

    def caption(self, number: int, rng: random.Random) -> str:
        """A caption of that image, chosen by ``rng`` if there are several; "" if there is none."""
        ...

    def label(self, number: int) -> int | None:
        """The number of the image's class, or None."""
        ...

    def crops(self, numbers: Sequence[int], size: int) -> Tensor:
        """Square crops [count, 3, size, size] in [-1, 1]; ``numbers`` count on without end.

        Each number always gives the same crop: another part of an image in every epoch.
        """
        ...


def check_pictures(pictures: object, *methods: str) -> None:
    """Raise InputError unless a training can take images from ``pictures``."""
    if all(callable(getattr(pictures, name, None)) for name in ("__len__", *methods)):
        if not len(pictures):  # type: ignore[arg-type]
            raise InputError("There are no images to train on.", parameter="pictures")
        return
    raise InputError(
        f"pictures must be images to train on, got {shown(pictures)}.\n"
        "Make them with training.ImageFolder, training.Arrays or training.Scenes.",
        parameter="pictures",
    )


# ------------------------------------------------------------------------- arrays


class Arrays:
    """Images in memory: uint8 [N, H, W, 3] (not copied), floats from 0 to 1, or a list of images of
    any kind, all of the same size.

    Each image has a caption (or several, and one of them is drawn each time) and a label, if given.
    Raises ImageError for what is not an image, InputError for captions or labels that do not fit.
    """

    def __init__(
        self,
        images: np.ndarray | Sequence[PictureLike],
        captions: Sequence[str | Sequence[str]] | None = None,
        labels: Sequence[int | None] | None = None,
    ):
        self.images = _arrays(images)
        self.captions = _captions(captions, len(self.images))
        self.labels = _labels(labels, len(self.images))
        self.skipped: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.images)

    def picture(self, number: int) -> np.ndarray:
        return self.images[number % len(self)]

    def caption(self, number: int, rng: random.Random) -> str:
        captions = self.captions[number % len(self)]
        return rng.choice(captions) if captions else ""

    def label(self, number: int) -> int | None:
        return self.labels[number % len(self)]

    def crops(self, numbers: Sequence[int], size: int) -> Tensor:
        return torch.stack([self._crop(number, size) for number in numbers])

    def _crop(self, number: int, size: int) -> Tensor:
        image = self.images[sample_row(number, len(self), seed=0)]
        rng = random.Random(f"crop/{number}")
        y, x = (rng.randint(0, side - size) for side in image.shape[:2])
        return to_tensor(image[y : y + size, x : x + size])[0]


def _arrays(images: np.ndarray | Sequence[PictureLike]) -> list[np.ndarray]:
    """Every image as uint8 [H, W, 3]."""
    if hasattr(images, "__array__"):
        images = np.asarray(images)
        if images.ndim == 4 and images.shape[3] == 3 and images.dtype == np.uint8 and images.size:
            return list(images)
    if not len(images):
        raise InputError("There are no images.", parameter="images")
    found = []
    for number, image in enumerate(images):
        try:
            picture, _ = as_picture(image)
        except ImageError as error:
            raise ImageError(f"Image {number}: {error}", parameter="images") from None
        found.append(np.array(picture))
        if found[0].shape != found[-1].shape:
            (a, b, _), (h, w, _) = found[0].shape, found[-1].shape
            raise InputError(
                f"Image {number} is {w} x {h}, but the images before it are {b} x {a}.\n"
                "All images must have the same size.",
                parameter="images",
            )
    return found


def _captions(captions: Sequence | None, count: int) -> list[tuple[str, ...]]:
    """The captions of each image."""
    if captions is None:
        return [()] * count
    _check_count("captions", captions, count)
    told = [(one,) if isinstance(one, str) else tuple(one) for one in captions]
    for number, some in enumerate(told):
        for one in some:
            if not isinstance(one, str):
                raise InputError(
                    f"Caption {number} must be a text, got {shown(one)}.", parameter="captions"
                )
    return told


def _labels(labels: Sequence | None, count: int) -> list[int | None]:
    if labels is None:
        return [None] * count
    _check_count("labels", labels, count)
    for number, label in enumerate(labels):
        if label is not None and not (is_whole(label) and label >= 0):
            raise InputError(
                f"Label {number} must be a whole number from 0, got {shown(label)}.",
                parameter="labels",
            )
    return [None if label is None else int(label) for label in labels]


def _check_count(name: str, given: Sequence, count: int) -> None:
    if isinstance(given, str) or len(given) != count:
        got = "a text" if isinstance(given, str) else len(given)
        raise InputError(f"There are {count} images, but {name} are {got}.", parameter=name)


# ------------------------------------------------------------------------- scenes


@dataclass
class Scenes:
    """Emoji scenes of a ``seed``, ``size`` pixels wide, without end; nominally ``count``.

    ``kind`` is that of `make_scene`. With ``nouns``, scenes show only these things; the label is
    the thing's number in ``classes`` if a scene shows a single kind of thing. The Noto Color Emoji
    font draws them, unless ``glyphs`` are given: InputError without it.
    """

    seed: int = 0
    size: int = 64
    kind: str | None = None
    nouns: Sequence[str] | None = None
    glyphs: Glyphs | None = None
    count: int = 20_000
    skipped: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        whole("size", self.size, 8, SIZE)
        whole("count", self.count, 1, 10**9)
        if self.nouns is not None:
            _check_nouns(self.nouns, self.kind)
        if self.glyphs is None:
            self.glyphs = load_glyphs()
        self.scene(0)  # refuses an unknown kind

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(OBJECTS if self.nouns is None else self.nouns)

    def __len__(self) -> int:
        return self.count

    def scene(self, number: int) -> Scene:
        """Its layout and first caption."""
        return scene_at(self.seed, number % self.count, kind=self.kind, nouns=self.nouns)

    def picture(self, number: int) -> np.ndarray:
        return self._drawn(self.scene(number))

    def caption(self, number: int, rng: random.Random) -> str:
        return describe(rng, self.scene(number)).caption

    def label(self, number: int) -> int | None:
        nouns = [*self.scene(number).counts]
        return self.classes.index(nouns[0]) if len(nouns) == 1 else None

    def crops(self, numbers: Sequence[int], size: int) -> Tensor:
        """Crops, each of its own scene, around one of the scene's objects.

        An autoencoder is convolutional: what it learns on crops holds on whole scenes, and a crop
        shows an object for a fraction of a scene's work.
        """
        return torch.stack([self._crop(number, size) for number in numbers])

    def _crop(self, number: int, size: int) -> Tensor:
        scene = scene_at(self.seed, number, kind=self.kind, nouns=self.nouns)
        rng = random.Random(f"crop/{self.seed}/{number}")
        placed = rng.choice(scene.objects)
        scale = self.size / SIZE
        x, y = (
            int(min(max(centre + rng.uniform(-0.5, 0.5) * size - size / 2, 0), self.size - size))
            for centre in (placed.x * scale, placed.y * scale)
        )
        return to_tensor(self._drawn(scene)[y : y + size, x : x + size])[0]

    def _drawn(self, scene: Scene) -> np.ndarray:
        assert self.glyphs is not None
        image = render(scene, self.glyphs).image
        if self.size == SIZE:
            return image
        small = Image.fromarray(image).resize((self.size, self.size), Image.Resampling.LANCZOS)
        return np.array(small)


def scene_at(
    seed: int,
    index: int,
    split: Split = "seen",
    kind: str | None = None,
    nouns: Sequence[str] | None = None,
) -> Scene:
    """Scene ``index`` of an endless, reproducible sequence; only with ``nouns``, if given."""
    rng = random.Random(f"{seed}/{split}/{kind}/{index}")
    while True:
        scene = make_scene(rng, split, kind=kind)
        if nouns is None or scene.counts.keys() <= set(nouns):
            return scene


def draw(scenes: list[Scene], glyphs: Glyphs) -> Tensor:
    """The scenes' images [B, 3, 128, 128] in [-1, 1]."""
    return torch.cat([to_tensor(render(scene, glyphs).image) for scene in scenes])


def _check_nouns(nouns: Sequence[str], kind: str | None) -> None:
    """Raise InputError unless scenes can show ``nouns``, and there are enough for that kind."""
    for noun in nouns:
        if noun not in OBJECTS:
            raise InputError(
                f"Scenes have no emoji {shown(noun)}. They have {', '.join(OBJECTS)}.",
                parameter="nouns",
            )
    least = {"two": 2, "three": 3}.get(kind or "", 1)
    if len(set(nouns)) < least:
        raise InputError(
            f"Scenes of the kind {kind!r} show {least} different things, nouns has {len(nouns)}.",
            parameter="nouns",
        )
