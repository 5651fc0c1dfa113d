"""The axes of a sweep: settings that take several values, counted before any is made. No torch."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from ..checks import shortened, shown
from ..classes import layouts_in
from ..errors import InputError
from ..loras import Lora, loras_of
from ..settings import Settings
from .alternatives import Pattern, pattern

MOST_AXES = 3
MOST_POINTS = 10_000
"""The most points of a sweep, unless another number is given as ``most``."""

PAIRS = ("size", "crop", "original_size", "target_size")
"""Settings whose values are pairs of pixels; "size" is (width, height)."""
TUPLES = (*PAIRS, "pad", "variation", "sigmas", "toward")
"""Settings whose values are tuples: a tuple is a value, a list has several. Layouts of boxes are
lists themselves, so a list of lists has several."""
IMAGES = ("image", "mask", "depth", "label_map", "low_res", "neighbours")
LOOKED_AT = (*IMAGES, "control")
"""What is given beside settings: images, in every form that a run takes."""
NAMES = tuple(each.name for each in fields(Settings))
KNOWN = ("model", *NAMES, "size", "loras", "refiner", "image", "from_step")
"""What an axis may be of."""
REFUSED = {
    "batch_size": "A sweep makes one image for each point.\nGive several seeds: seed=range(4).",
    "latents": "A sweep takes no latents: its points draw their noise from their seeds.",
}
LABEL = 80  # characters


@dataclass(frozen=True)
class Axis:
    """An axis: the values of a setting, or the alternatives of a group in a prompt.

    ``name``: that of the setting, as in `KNOWN`. ``title``: what a person calls it; of a group, it
    has all its alternatives. ``values``: in the order given. ``group``: its number among the
    prompt's groups; None for all others.
    """

    name: str
    values: Sequence[Any] = field(repr=False)
    group: int | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def key(self) -> str:
        """A short name that no other axis of the sweep has: that of a column in a table."""
        if self.group is None:
            return self.name
        return f"{self.name} part {self.group + 1}"

    @property
    def title(self) -> str:
        """What a person calls it."""
        if self.group is None:
            return self.name.replace("_", " ")
        return self.key

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """A short text for each value."""
        if self.name in LOOKED_AT:
            return tuple(
                label(self.name, value) or f"{self.name} {number}"
                for number, value in enumerate(self.values, 1)
            )
        return tuple(label(self.name, value) for value in self.values)

    @cached_property
    def captions(self) -> tuple[str, ...]:
        """The labels with the axis's name before them, where they do not say by themselves what
        they are."""
        if self.name in ("prompt", "model", "image", "sampler"):
            return self.labels
        return tuple(f"{self.name.replace('_', ' ')} {text}" for text in self.labels)


@dataclass(frozen=True)
class Found:
    """What was found in a sweep's arguments: its axes, and values that all points have.

    ``patterns``: prompts with groups, by the setting's name.
    """

    axes: tuple[Axis, ...]
    fixed: Mapping[str, Any]
    patterns: Mapping[str, Pattern]

    @property
    def count(self) -> int:
        """How many points there are."""
        return math.prod(map(len, self.axes))

    def places(self) -> Iterator[tuple[int, ...]]:
        """The index on each axis of each point, in grid order: the first axis is the fastest."""
        sizes = [range(len(axis)) for axis in reversed(self.axes)]
        return (place[::-1] for place in itertools.product(*sizes))

    def values(self, place: Sequence[int]) -> dict[str, Any]:
        """The settings of a point by name, with those that are not on an axis."""
        values = dict(self.fixed)
        parts: dict[str, list[str]] = {name: [] for name in self.patterns}
        for axis, index in zip(self.axes, place, strict=True):
            value = axis.values[index]
            if axis.group is None:
                values[axis.name] = value
            else:
                parts[axis.name].append(value)
        for name, chosen in parts.items():
            values[name] = self.patterns[name].filled(tuple(chosen))
        return values


def found(given: Mapping[str, Any], most: int = MOST_POINTS) -> Found:
    """The axes among a sweep's arguments, in their order. Raises InputError.

    Lists, ranges, arrays and iterators are axes; of settings whose values are tuples themselves
    (`TUPLES`), a list of them is. Nothing is made for more than ``most`` points but the count.
    """
    axes: list[Axis] = []
    fixed: dict[str, Any] = {}
    patterns: dict[str, Pattern] = {}
    counts: dict[str, int] = {}
    for name, value in given.items():
        _check_name(name)
        if not _is_several(name, value):
            groups: tuple[tuple[str, ...], ...] = ()
            if name in ("prompt", "negative_prompt") and isinstance(value, str):
                read = pattern(value, name)
                groups = read.groups
                value = read.filled(tuple("" for _ in groups))
                if groups:
                    patterns[name] = read
            if not groups:
                one = value if name in LOOKED_AT else _plain(value)
                fixed[name] = one if isinstance(one, str) else _one(name, one)
            for number, group in enumerate(groups):
                axis = Axis(name, group, number)
                _check_values(axis)
                axes.append(axis)
                counts[axis.key] = len(axis)
            continue
        values, count = _sized(value, most)
        if count == 0:
            raise InputError(
                f"{name} is empty, so there is nothing to make.\nGive one value or more.",
                parameter=name,
            )
        counts[name] = count
        axes.append(Axis(name, values))
    _check_counts(counts, most)
    axes = [axis if axis.group is not None else _checked(axis) for axis in axes]
    return Found(tuple(axes), fixed, patterns)


def label(name: str, value: Any) -> str:
    """A short text for a value."""
    if value is None:
        return "default"
    if name in LOOKED_AT:  # only the name of a file says anything
        is_path = isinstance(value, (str, os.PathLike))
        return shortened(os.path.basename(os.fspath(value)), LABEL) if is_path else ""
    if value == "":
        return "(empty)"
    if name in PAIRS and isinstance(value, tuple):
        return " x ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    if name in ("model", "refiner") and isinstance(value, str):
        return shortened(os.path.basename(value.rstrip("/\\")) or value, LABEL)
    if name == "loras":
        return shortened(", ".join(map(_lora_label, value)), LABEL) or "none"
    if isinstance(value, (tuple, list)):
        return shortened(", ".join(label("", one) for one in value), LABEL)
    return shortened(str(value), LABEL)


def _lora_label(lora: Lora) -> str:
    return lora.path.stem + ("" if lora.strength == 1 else f" {lora.strength:g}")


def _check_name(name: str) -> None:
    if name in REFUSED:
        raise InputError(REFUSED[name], parameter=name)
    if name in ("width", "height") or name in KNOWN or name in LOOKED_AT:
        return
    import difflib

    near = difflib.get_close_matches(name[:50], [*KNOWN, *LOOKED_AT], 1, 0.6)
    hint = f"Did you mean {near[0]}?" if near else "It takes those of model.sample(...), and size."
    raise InputError(f"A sweep has no setting {shown(name)}.\n{hint}", parameter=name)


def _is_several(name: str, value: Any) -> bool:
    """Whether an argument has several values."""
    if value is None or isinstance(value, (str, bytes, Mapping, Image.Image, os.PathLike)):
        return False
    if name in LOOKED_AT:
        return name == "image" and isinstance(value, list)
    if name == "loras":
        return isinstance(value, list) and any(isinstance(one, list) for one in value)
    if isinstance(value, np.ndarray):
        return value.ndim > (1 if name in TUPLES else 0)
    if name == "boxes":
        return isinstance(value, (list, tuple)) and layouts_in(value) is not None
    if name in TUPLES:
        if name == "sigmas" and isinstance(value, list):
            return any(isinstance(one, (list, tuple, np.ndarray)) for one in value)
        return isinstance(value, Iterable) and not isinstance(value, tuple)
    return isinstance(value, Iterable) and not hasattr(value, "unet")  # a model is one


def _sized(value: Any, most: int) -> tuple[Any, int]:
    """(The values, how many): an iterator is read up to one more than there may be."""
    if isinstance(value, Sized) and (isinstance(value, (Sequence, np.ndarray))):
        return value, len(value)
    values = list(itertools.islice(iter(value), most + 1))
    return values, len(values)


def _check_counts(counts: Mapping[str, int], most: int) -> None:
    if not counts:
        raise InputError(
            "A sweep needs a setting with several values.\n"
            'For example seed=range(4), guidance_scale=[1, 3, 7] or prompt="a {cat|dog}".'
        )
    if len(counts) > MOST_AXES:
        raise InputError(
            f"A sweep has at most {MOST_AXES} axes, got {len(counts)}: {', '.join(counts)}.\n"
            "Give the others a single value, or make several sweeps.",
            parameter=list(counts)[MOST_AXES],
        )
    count = math.prod(counts.values())
    if count > most:
        product = " x ".join(f"{number:,} of {name}" for name, number in counts.items())
        least = "at least " if most + 1 in counts.values() else ""
        raise InputError(
            f"This sweep has {least}{count:,} points ({product}); the limit is {most:,}.\n"
            f"Give fewer values, or a higher limit: most={count}.",
            parameter=max(counts, key=lambda name: counts[name]),
        )


def _checked(axis: Axis) -> Axis:
    """The axis with plain values, each there once."""
    if axis.name in LOOKED_AT:
        return Axis(axis.name, tuple(axis.values))
    values = []
    for number, value in enumerate(axis.values):
        try:
            values.append(_one(axis.name, _plain(value)))
        except InputError as error:
            raise InputError(
                f"{axis.name}, value {number + 1} of {len(axis)}: {error}", parameter=axis.name
            ) from None
    axis = Axis(axis.name, tuple(values), axis.group)
    _check_values(axis)
    return axis


def _check_values(axis: Axis) -> None:
    """Raise InputError for a value that is there twice."""
    try:
        seen: set[Any] = set()
        for value in axis.values:
            if value in seen:
                raise InputError(
                    f"{axis.key} has {shown(value)} twice.\nGive each value once.",
                    parameter=axis.name,
                )
            seen.add(value)
    except TypeError:
        pass  # a value of a wrong type, which the settings refuse


def _plain(value: Any) -> Any:
    """A value without numpy's types; a float of fewer bits is the shortest decimal that it is."""
    if isinstance(value, np.ndarray):
        return tuple(_plain(one) for one in value)
    if isinstance(value, np.generic):
        narrow = value.dtype.kind == "f" and value.dtype.itemsize < 8
        return float(str(value)) if narrow else value.item()
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(one) for one in value)
    return value


def _one(name: str, value: Any) -> Any:
    """A value as it is used, hashable. Raises InputError for what no such setting takes."""
    if name == "loras":
        return loras_of([] if value is None else list(value))
    if name == "size":
        return _size(value)
    if name in ("model", "refiner"):
        return os.fspath(value) if isinstance(value, os.PathLike) else value
    if name == "boxes":
        return _hashable(value)
    if name in ("prompt", "negative_prompt", "label", "seed") and isinstance(value, (list, tuple)):
        raise InputError(
            f"a point has one {name}, got {shown(value)}.\nGive a list of single values.",
            parameter=name,
        )
    if name in ("prompt", "negative_prompt") and isinstance(value, str):
        read = pattern(value, name)
        if read.groups:
            raise InputError(
                "it has a group in braces, and there are other prompts beside it.\n"
                r"Give a single prompt with groups, or write braces that are text as \{.",
                parameter=name,
            )
        return read.filled(())
    if isinstance(value, list) and name in NAMES:
        return tuple(value)
    return value


def _hashable(value: Any) -> Any:
    """The value with tuples in place of lists."""
    return tuple(map(_hashable, value)) if isinstance(value, (list, tuple)) else value


def _size(value: Any) -> tuple[int, int]:
    right = isinstance(value, (list, tuple)) and len(value) == 2
    if not right or not all(isinstance(side, int) and not isinstance(side, bool) for side in value):
        raise InputError(
            f"size must be (width, height) in pixels, got {shown(value)}.\n"
            "Several are a list of pairs: size=[(512, 512), (768, 512)].",
            parameter="size",
        )
    return value[0], value[1]
