"""Ready guides: losses of images by name, which records can keep as plain data.

They are made as in ``guide=sdw.guides.colour("red")``. All take ``through``: without it, a step
takes about half the time; see `_Ready`. `plain` is a guide as data, and `made` is the
guide of such data. A function of one's own is a guide, too, but its data is only its name.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, ClassVar

import torch
from PIL import Image, ImageColor
from torch import Tensor
from torch.nn import functional as F

from . import checks
from .errors import InputError
from .guiding import Guide, check_guide
from .models.classifier import NoisyClassifier
from .models.clip_space import ClipSpace
from .pictures import PictureLike, as_picture
from .pixels import to_tensor

MOST_TOGETHER = 8
"""The most guides that are one."""


@dataclass(frozen=True)
class _Ready:
    """A guide with a name and plain numbers. ``through``: whether the gradient passes through the
    network; without, a step takes about half the time and a fraction of the memory, and the guide
    does not know what the network would make of its change."""

    name: ClassVar[str] = ""

    through: bool = field(default=True, kw_only=True)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the loss [B] of images [B, 3, H, W] in [-1, 1]."""
        raise NotImplementedError

    def as_dict(self) -> dict[str, Any]:
        """Return the guide as data of JSON; `made` makes it again."""
        return {"name": self.name} | {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True)
class Colour(_Ready):
    """The mean squared distance of the pixels from a colour, 0 to 4.

    ``colour``: a name or "#rrggbb". ``part``: (x0, y0, x1, y1) of the image in fractions, or None.
    """

    name: ClassVar[str] = "colour"

    colour: str
    part: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        try:
            ImageColor.getrgb(self.colour)
        except (ValueError, AttributeError, TypeError):
            raise InputError(
                f"There is no colour {checks.shown(self.colour)}.\n"
                "Give a name, such as 'red', or '#ff0000'.",
                parameter="colour",
            ) from None
        if self.part is not None:
            object.__setattr__(self, "part", _part(self.part))

    def __call__(self, images: Tensor) -> Tensor:
        rgb = ImageColor.getrgb(self.colour)[:3]
        target = torch.tensor(rgb, dtype=images.dtype, device=images.device) / 127.5 - 1
        if self.part is not None:
            height, width = images.shape[2:]
            x0, y0, x1, y1 = self.part
            left, top = min(int(x0 * width), width - 1), min(int(y0 * height), height - 1)
            right, bottom = (
                max(math.ceil(x1 * width), left + 1),
                max(math.ceil(y1 * height), top + 1),
            )
            images = images[..., top:bottom, left:right]
        return (images - target.view(3, 1, 1)).square().mean((1, 2, 3))


@dataclass(frozen=True)
class Like(_Ready):
    """The mean squared distance from an image, both averaged over ``size`` x ``size`` cells.

    Latent diffusion's own guide (arXiv 2112.10752, appendix C): a small image decides where which
    colours are, and the model adds what is between. ``png``: the cells' colours, a PNG in base64.
    """

    name: ClassVar[str] = "like"

    png: str
    size: int = 16

    def __post_init__(self) -> None:
        checks.whole("size", self.size, 1, 64)
        try:
            with Image.open(io.BytesIO(base64.b64decode(self.png, validate=True))) as image:
                is_right = image.size == (self.size, self.size) and image.mode == "RGB"
                image.load()
        except (OSError, ValueError, TypeError, binascii.Error, SyntaxError):
            is_right = False
        if not is_right:
            raise InputError(
                f"A guide's png must be an RGB image of {self.size} x {self.size} in base64.",
                parameter="png",
            )

    @classmethod
    def of(cls, image: PictureLike, size: int = 16, *, through: bool = True) -> Like:
        """Return the guide towards ``image``, a file, an array or a PIL image.

        ``size``: 1 to 64 cells along each side. Raises ImageError and InputError.
        """
        size = checks.whole("size", size, 1, 64)
        small = as_picture(image)[0].resize((size, size), Image.Resampling.BOX)
        buffer = io.BytesIO()
        small.save(buffer, "PNG")
        return cls(base64.b64encode(buffer.getvalue()).decode("ascii"), size, through=through)

    def __call__(self, images: Tensor) -> Tensor:
        with Image.open(io.BytesIO(base64.b64decode(self.png))) as image:
            target = to_tensor(image.convert("RGB")).to(images.device, images.dtype)
        cells = F.adaptive_avg_pool2d(images, self.size)
        return (cells - target).square().mean((1, 2, 3))


@dataclass(frozen=True)
class Symmetric(_Ready):
    """The mean squared distance of an image from its reflection; ``axis``: "vertical" (left and
    right are alike) or "horizontal" (top and bottom are)."""

    name: ClassVar[str] = "symmetric"

    axis: str = "vertical"

    def __post_init__(self) -> None:
        checks.choice("axis", self.axis, ("vertical", "horizontal"))

    def __call__(self, images: Tensor) -> Tensor:
        mirrored = images.flip(-1 if self.axis == "vertical" else -2)
        return (images - mirrored).square().mean((1, 2, 3))


@dataclass(frozen=True)
class Smooth(_Ready):
    """The mean squared difference between pixels side by side (total variation)."""

    name: ClassVar[str] = "smooth"

    def __call__(self, images: Tensor) -> Tensor:
        across = images.diff(dim=-1).square().mean((1, 2, 3))
        return across + images.diff(dim=-2).square().mean((1, 2, 3))


@dataclass(frozen=True)
class Together(_Ready):
    """The sum of several ready guides, each times its weight."""

    name: ClassVar[str] = "together"

    guides: tuple[_Ready, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not (
            all(isinstance(each, _Ready) for each in self.guides)
            and 1 <= len(self.guides) == len(self.weights) <= MOST_TOGETHER
            and all(checks.is_number(weight) for weight in self.weights)
        ):
            raise InputError(
                f"Give 1 to {MOST_TOGETHER} ready guides, and a weight for each.",
                parameter="guides",
            )

    def __call__(self, images: Tensor) -> Tensor:
        pairs = zip(self.guides, self.weights, strict=True)
        return torch.stack([weight * each(images) for each, weight in pairs]).sum(0)

    def as_dict(self) -> dict[str, Any]:
        return super().as_dict() | {
            "guides": [each.as_dict() for each in self.guides],
            "weights": list(self.weights),
        }


@dataclass(frozen=True, eq=False)
class Text:
    """How far images are from a text, by CLIP: the squared angle between their embeddings.

    ``cutouts``: random squares of each image, all embedded, so that the text is about its parts as
    well (Disco Diffusion; the loss is that of Crowson's CLIP-guided diffusion). They are drawn from
    ``seed`` and the step. It holds a CLIP, so records keep its name and text and cannot make it
    again.
    """

    text: str
    clip: ClipSpace
    cutouts: int = 8
    seed: int = 0
    through: bool = True
    step: int = 0

    name: ClassVar[str] = "text"

    def at(self, step: int) -> Text:
        """Return the guide of a step, with cutouts of its own."""
        return Text(self.text, self.clip, self.cutouts, self.seed, self.through, step)

    def __call__(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            target = self.clip.texts([self.text])
        squares = torch.stack([self.clip.images(part) for part in self._parts(images)])
        # a distance d of unit vectors is an angle of 2 asin(d / 2)
        distance = (squares - target.to(squares.device)).norm(dim=-1)
        return 2 * (distance / 2).clamp(1e-6, 1 - 1e-6).asin().square().mean(0)

    def _parts(self, images: Tensor) -> list[Tensor]:
        """The whole images, and random squares of them, between half and all of a side."""
        generator = torch.Generator("cpu").manual_seed((self.seed << 20) + self.step)
        height, width = images.shape[2:]
        parts = [images]
        for share, down, right in torch.rand(self.cutouts, 3, generator=generator).tolist():
            side = max(round(min(height, width) * (0.5 + share / 2)), 1)
            top, left = round(down * (height - side)), round(right * (width - side))
            parts.append(images[..., top : top + side, left : left + side])
        return parts


@dataclass(frozen=True, eq=False)
class Classifier:
    """``-log p(class | noisy latents)`` of a classifier of noisy latents (arXiv 2105.05233,
    algorithm 1): a ``guide_scale`` of 1 is Bayes's rule. Records keep only its name.

    ``label``: the name of a class of ``classifier``. Raises InputError for another.
    """

    classifier: NoisyClassifier
    label: str

    def __post_init__(self) -> None:
        checks.choice("label", self.label, self.classifier.config.names)

    def noisy(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the loss [B] of latents [B, C, h, w] of unit variance at training steps t [B]."""
        weight = self.classifier.conv_in.weight
        logits = self.classifier(x.to(weight.device, weight.dtype), t.to(weight.device)).float()
        return -logits.log_softmax(-1)[:, self.classifier.config.names.index(self.label)]

    def __call__(self, images: Tensor) -> Tensor:
        raise InputError("This guide judges noisy latents, not images.", parameter="guide")


READY: Mapping[str, type[_Ready]] = {
    kind.name: kind for kind in (Colour, Like, Symmetric, Smooth, Together)
}
"""The guides that data can make, by name."""


def plain(guide: Guide) -> dict[str, Any]:
    """Return a guide as data of JSON: a ready one whole, any other by the name of its function.

    Raises InputError for what is no guide.
    """
    check_guide(guide)
    ready: object = guide
    if isinstance(ready, _Ready):
        return ready.as_dict()
    if isinstance(ready, Text):
        return {"name": "function", "function": f"text: {ready.text}"[:200]}
    inner = guide.func if isinstance(guide, partial) else guide
    named = getattr(inner, "__qualname__", type(inner).__qualname__)
    return {"name": "function", "function": str(named)[:200]}


def made(data: object) -> Guide:
    """Return the guide of `plain` data. Raises InputError for the data of a function, of which only
    the name is known, and for any other data."""
    if not isinstance(data, Mapping) or not isinstance(data.get("name"), str):
        raise InputError("A guide's data is an object with a name.", parameter="guide")
    facts = {name: value for name, value in data.items() if name != "name"}
    if data["name"] == "function":
        raise InputError(
            f"This run was steered by a function, {checks.shown(facts.get('function'))}, which a "
            "record cannot keep.\nGive it again: guide=...",
            parameter="guide",
        )
    if data["name"] not in READY:
        raise InputError(
            f"There is no guide {checks.shown(data['name'])}.\nKnown: {', '.join(READY)}.",
            parameter="guide",
        )
    kind = READY[data["name"]]
    known = {each.name for each in fields(kind)}
    through = facts.get("through", True)
    if not facts.keys() <= known or not isinstance(through, bool):
        raise InputError(f"A guide {kind.name!r} has other data.", parameter="guide")
    if kind is Together:
        inner = facts.get("guides")
        parts = inner if isinstance(inner, Sequence) and not isinstance(inner, str) else ()
        if any(isinstance(each, Mapping) and each.get("name") == "together" for each in parts):
            raise InputError("Guides together hold no others together.", parameter="guide")
        facts["guides"] = tuple(made(each) for each in parts[: MOST_TOGETHER + 1])
        weights = facts.get("weights")
        facts["weights"] = tuple(weights) if isinstance(weights, (list, tuple)) else ()
    try:
        return kind(**facts)
    except TypeError:
        raise InputError(f"A guide {kind.name!r} has other data.", parameter="guide") from None


def together(*parts: _Ready, weights: Sequence[float] | None = None) -> Together:
    """Return the sum of ready guides, each times its weight (None: 1)."""
    given = (1.0,) * len(parts) if weights is None else tuple(weights)
    return Together(parts, given, through=all(getattr(each, "through", True) for each in parts))


colour, like, symmetric, smooth = Colour, Like.of, Symmetric, Smooth
text, classifier = Text, Classifier


def _part(part: object) -> tuple[float, float, float, float]:
    if not (
        isinstance(part, (tuple, list))
        and len(part) == 4
        and all(checks.is_number(number) and 0 <= number <= 1 for number in part)
        and part[0] < part[2]
        and part[1] < part[3]
    ):
        raise InputError(
            f"part must be (x0, y0, x1, y1) in fractions of the image, got {checks.shown(part)}.",
            parameter="part",
        )
    x0, y0, x1, y1 = map(float, part)
    return x0, y0, x1, y1


guides = sys.modules[__name__]  # the public name is this module
