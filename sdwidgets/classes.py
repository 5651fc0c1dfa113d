"""What a run is given by the names of classes, checked: labels, and the boxes of a layout; and what
each model takes and its runs do, in words.

Plain data without torch. A label is a class's name or number; a layout is a tuple of boxes, (name,
(x0, y0, x1, y1)), in fractions of the image from its upper left corner.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from . import checks
from .checks import shown
from .configs import BoxesConfig, ClassConfig, ModelConfig
from .contract import CLASSES
from .errors import InputError

Box: TypeAlias = "tuple[float, float, float, float]"
"""x0, y0, x1, y1."""
Layout: TypeAlias = "tuple[tuple[str, Box], ...]"
Labels: TypeAlias = "str | int | tuple[str | int | None, ...] | None"

SHOWN = 20
"""How many names an error lists."""

INPUTS: dict[str, str] = {
    "prompt": "a prompt",
    "label": "a label",
    "boxes": "boxes",
    "label_map": "a label map",
    "low_res": "a low-resolution image (low_res)",
    "image": "an image",
    "mask": "a mask",
    "depth": "a depth map",
    "neighbours": "neighbours",
    "guide": "a guide",
}
"""What runs may be given beside numbers, in words."""

TASKS: dict[str, str] = {
    "low_res": "super-resolution",
    "label_map": "label map to image",
    "boxes": "layout to image",
    "label": "class to image",
    "neighbours": "neighbours to image",
}
"""What runs do with models that take such an input, in words."""


def labels_of(value: Any, most: int) -> Labels:
    """Return a run's ``label``: a name or a number, one for each of at most ``most`` images, or
    None, the null class. An empty name is None. Raises InputError."""
    if not isinstance(value, (list, tuple)):
        return _label(value)
    _check_several("label", value, most)
    return tuple(map(_label, value))


def boxes_of(value: Any, most: int) -> Layout | tuple[Layout, ...] | None:
    """Return a run's ``boxes``: a layout, one for each of at most ``most`` images, or None.

    Corners may be given in any order. Raises InputError.
    """
    if value is None:
        return None
    if not isinstance(value, (list, tuple)):
        raise _no_box(value)
    if not _is_list_of_layouts(value):
        return _layout(value)
    _check_several("boxes", value, most)
    return tuple(map(_layout, value))


def layouts_in(boxes: Sequence[Any] | None) -> tuple[Layout, ...] | None:
    """Return the layouts in checked ``boxes`` that have one for each image; None for others."""
    several = boxes is not None and _is_list_of_layouts(boxes)
    return boxes if several else None  # type: ignore[return-value]


def named(
    config: ModelConfig, labels: Labels, boxes: Layout | tuple[Layout, ...] | None
) -> tuple[Labels, Layout | tuple[Layout, ...] | None]:
    """Return a run's checked label and boxes with the names that a model has for them.

    Raises InputError for classes that the model does not know, and if it takes no label or boxes.
    """
    several = labels if isinstance(labels, tuple) else (labels,)
    if any(label is not None for label in several):
        known = _names(config, "label", ClassConfig)
        found = tuple(None if one is None else _class(one, known, "label") for one in several)
        labels = found if isinstance(labels, tuple) else found[0]
    if boxes is None:
        return labels, None
    known = _names(config, "boxes", BoxesConfig)

    def own(layout: Layout) -> Layout:
        return tuple((_class(name, known, "boxes"), corners) for name, corners in layout)

    layouts = layouts_in(boxes)
    return labels, own(boxes) if layouts is None else tuple(map(own, layouts))  # type: ignore[arg-type]


def task_of(config: ModelConfig) -> str:
    """Return what a model's runs from noise do, in words: one of `TASKS`, or "text to image"."""
    return next((task for name, task in TASKS.items() if name in config.takes), "text to image")


def refused(config: ModelConfig, name: str) -> InputError:
    """Return the error for an input that a model does not take, with those that it does."""
    taken = [words for each, words in INPUTS.items() if each in config.takes]
    return InputError(
        f"This model takes no {INPUTS[name].removeprefix('a ')}.\nIt takes {', '.join(taken)}.",
        parameter=name,
    )


def _names(
    config: ModelConfig, name: str, kind: type[ClassConfig] | type[BoxesConfig]
) -> Sequence[str]:
    for each in config.embedders:
        if isinstance(each, kind):
            return each.names
    raise refused(config, name)


def _class(value: str | int, names: Sequence[str], parameter: str) -> str:
    if isinstance(value, str):
        return names[number_of(value, names, parameter=parameter)]
    if value < len(names):
        return names[value]
    raise InputError(
        f"There is no class {value}: this model has {len(names)}, counted from 0.\n"
        "model.classes are their names.",
        parameter=parameter,
    )


def _is_list_of_layouts(value: Sequence[Any]) -> bool:
    """A layout has boxes, which begin with a name; a list of layouts has lists of those."""
    return bool(value) and all(
        isinstance(one, (list, tuple)) and not (one and isinstance(one[0], str)) for one in value
    )


def _check_several(name: str, value: Any, most: int) -> None:
    if not 1 <= len(value) <= most:
        raise InputError(
            f"{name} is a list of {len(value)}.\nGive one for each image, 1 to {most}.",
            parameter=name,
        )


def _label(value: Any) -> str | int | None:
    if value is None:
        return None
    if isinstance(value, str) and len(value) <= CLASSES["name"]:
        return " ".join(checks.whole_text("label", value).split()) or None
    if checks.is_whole(value) and 0 <= value <= CLASSES["number"]:
        return int(value)
    raise InputError(
        f"label must be the name or the number of a class, got {shown(value)}.\n"
        "model.classes are the names.",
        parameter="label",
    )


def _layout(value: Any) -> Layout:
    if len(value) > CLASSES["boxes"]:
        raise InputError(
            f"boxes are at most {CLASSES['boxes']} for an image, got {len(value)}.",
            parameter="boxes",
        )
    return tuple(map(_box, value))


def _box(value: Any) -> tuple[str, Box]:
    right = isinstance(value, (list, tuple)) and len(value) == 2 and isinstance(value[0], str)
    if not right or not value[0].strip() or len(value[0]) > CLASSES["name"]:
        raise _no_box(value)
    name, corners = " ".join(checks.whole_text("boxes", value[0]).split()), value[1]
    corners = corners.tolist() if hasattr(corners, "tolist") else corners
    if not isinstance(corners, (list, tuple)) or len(corners) != 4:
        raise _no_box(value)
    if not all(checks.is_number(each) and 0 <= each <= 1 for each in corners):  # NaN is not
        raise InputError(
            f"The box of {name[:60]!r} must lie within the image, got {shown(corners)}.\n"
            "Give x0, y0, x1, y1 in fractions of the image, 0 to 1.",
            parameter="boxes",
        )
    x0, y0, x1, y1 = map(float, corners)
    (x0, x1), (y0, y1) = sorted((x0, x1)), sorted((y0, y1))
    if x0 == x1 or y0 == y1:
        raise InputError(
            f"The box of {name[:60]!r} has no area: {shown(corners)}.\nGive a larger one.",
            parameter="boxes",
        )
    return name, (x0, y0, x1, y1)


def _no_box(value: Any) -> InputError:
    return InputError(
        f"boxes must be a list of (name, (x0, y0, x1, y1)), got {shown(value)}.\n"
        'For example [("cat", (0.1, 0.2, 0.6, 0.9))], in fractions of the image.',
        parameter="boxes",
    )


def number_of(name: str, names: Sequence[str], *, parameter: str, known: str = "classes") -> int:
    """Return the index of ``name`` in ``names``; case and repeated spaces do not count.

    Raises InputError for an unknown name, with the nearest one; ``known`` says what a model of
    these names knows.
    """
    numbers = _numbers(tuple(names))
    key = _key(name)
    if key in numbers:
        return numbers[key]
    near = difflib.get_close_matches(key, numbers, 1, 0.4)
    hint = f" Did you mean {names[numbers[near[0]]]!r}?" if near else ""
    few = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    raise InputError(
        f"This model knows {known}, and {name.strip()[:60]!r} is not a class.{hint}\n"
        f"Known: {few or '(none)'}.",
        parameter=parameter,
    )


@lru_cache(maxsize=16)
def _numbers(names: tuple[str, ...]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for number, name in enumerate(names):
        numbers.setdefault(_key(name), number)
    return numbers


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()
