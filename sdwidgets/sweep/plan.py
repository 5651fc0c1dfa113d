"""`Plan`: what a sweep makes, as plain data: its axes and points, known before any is made."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, product
from typing import TYPE_CHECKING, Any

from .. import checks
from ..configs import EMOJI, ModelConfig
from ..errors import InputError
from ..folders import last_part
from ..loras import Lora
from ..manager import DEFAULT_MODEL
from ..pictures import Start
from ..settings import AttentionSettings, Settings, controls_of
from ..trace.branching import FREE
from .axes import IMAGES, LOOKED_AT, MOST_POINTS, NAMES, Axis, Found, found
from .points import Given, Point
from .sharing import Cost, Counting

if TYPE_CHECKING:
    from ..pipeline import LatentDiffusion

FORMAT = 1
"""Of a plan's identity."""
TRIES = 200
"""Combinations of the other axes in which a value is tried before it is refused."""
CEILING = 10**7
"""The highest limit of points."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What a sweep makes. `Plan.of` makes it from a sweep's arguments, and checks them.

    ``models``: those that are in memory, by the names that points have. ``seed``: that of all
    points, if no seed was given.
    """

    _found: Found = field(repr=False)
    seed: int
    models: Mapping[str, LatentDiffusion] = field(default_factory=dict, repr=False)
    configs: Mapping[str, ModelConfig] = field(default_factory=dict, repr=False)
    attention: bool | AttentionSettings = False
    given: tuple[Given, ...] = field(default=(), repr=False)  # one, or one for each image

    @classmethod
    def of(
        cls,
        model: Any = DEFAULT_MODEL,
        *,
        attention: bool | AttentionSettings = False,
        most: int = MOST_POINTS,
        configs: Mapping[str, ModelConfig] | None = None,
        **settings: Any,
    ) -> Plan:
        """The plan of a sweep over ``settings``, those of `LatentDiffusion.sample`.

        Every setting may have several values, and up to three have: a list, a range, an array or
        an iterator, in the order of the arguments: columns, rows, pages. Every group ``{a|b}`` of a
        prompt is an axis, too. ``model``: a name, a path, or a model in memory; or a list of them.
        ``size``: (width, height). ``loras``: a list of files, or a list of such lists. ``refiner``:
        as ``model``. ``image``: one, or a list. Without a ``seed``, one is drawn for all points.

        ``from_step``: the values that a run may change on its way act from this step on, and the
        steps before have the first value of each axis; negative numbers count back from the end.
        It may be an axis itself. ``most``: how many points there may be. ``configs``: those of
        models that are loaded, by name.

        Raises InputError: for a wrong value, with the axis; for too many points, with their number,
        before anything is made.
        """
        checks.whole("most", most, 1, CEILING)
        AttentionSettings.of(attention)
        models: dict[str, LatentDiffusion] = {}
        settings = {"model": model, **settings}
        for name in ("model", "refiner"):
            value = settings.get(name)
            if isinstance(value, (list, tuple)):
                settings[name] = [_named(one, models) for one in value]
            elif name in settings:
                settings[name] = _named(value, models)
        grid = found(settings, most)
        known = {name: one.config for name, one in models.items()}
        plan = cls(
            grid,
            secrets.randbelow(2**32),
            models,
            {DEFAULT_MODEL: EMOJI, **(configs or {}), **known},
            attention,
            _given(grid),
        )
        plan._check()
        return plan

    # -------------------------------------------------------------------------------- the grid

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Its one to three axes: columns, rows and pages."""
        return self._found.axes

    @property
    def shape(self) -> tuple[int, ...]:
        """How many values each axis has."""
        return tuple(map(len, self.axes))

    @property
    def fixed(self) -> dict[str, Any]:
        """The settings that all points have, as they were given."""
        return {n: v for n, v in self._found.fixed.items() if n not in LOOKED_AT}

    @property
    def texts(self) -> dict[str, str]:
        """The prompts with groups, by name, with an ellipsis in the place of each group."""
        found = self._found.patterns
        return {name: one.filled(("…",) * len(one.groups)) for name, one in found.items()}

    def __len__(self) -> int:
        """How many points there are."""
        return self._found.count

    def __iter__(self) -> Iterator[Point]:
        """The points in grid order: the first axis is the fastest."""
        for index, place in enumerate(self._found.places()):
            yield self._point(index, place)

    def point(self, index: int) -> Point:
        """A point by its number in grid order. Raises InputError."""
        index = checks.index("index", index, len(self))
        left, place = index, []
        for size in self.shape:
            left, at = divmod(left, size)
            place.append(at)
        return self._point(index, tuple(place))

    def index(self, place: Sequence[int]) -> int:
        """The number of a point by its index on each axis."""
        index = 0
        for size, at in zip(reversed(self.shape), reversed(place), strict=True):
            index = index * size + at
        return index

    def labels(self, place: Sequence[int]) -> tuple[str, ...]:
        """A short text for a point's value on each axis."""
        return tuple(axis.labels[at] for axis, at in zip(self.axes, place, strict=True))

    def cost(self, points: Sequence[Point] | None = None) -> Cost | None:
        """The steps that points take, of all of them by default; None if that is not known yet.

        Steps are known as soon as they are given, or the models are loaded.
        """
        return Counting(self.configs).cost(self if points is None else points)

    def knowing(self, configs: Mapping[str, ModelConfig]) -> Plan:
        """This plan with more models known."""
        return self._replaced(configs={**self.configs, **configs})

    def with_seed(self, seed: int) -> Plan:
        """This plan with that seed for all points, where none was given."""
        return self._replaced(seed=seed)

    def _replaced(self, **changes: Any) -> Plan:
        return replace(self, **changes)

    # ---------------------------------------------------------------------------------- points

    def _point(self, index: int, place: tuple[int, ...]) -> Point:
        values = self._found.values(place)
        settings = _settings(values, self.seed)
        from_step = values.get("from_step") or 0
        before: tuple[tuple[str, Any], ...] = ()
        if from_step:
            first = self._found.values((0,) * len(place))
            before = tuple((name, first.get(name)) for name in self._branching)
            before = tuple((name, _usual(name) if v is None else v) for name, v in before)
        image = next(
            (at for axis, at in zip(self.axes, place, strict=True) if axis.name == "image"), 0
        )
        return Point(
            index,
            place,
            values["model"],
            settings,
            from_step,
            before,
            self.given[image],
            self.attention,
            values.get("loras", ()),
            values.get("refiner"),
        )

    @property
    def _branching(self) -> tuple[str, ...]:
        """The settings of axes that a run may change on its way."""
        return tuple(dict.fromkeys(axis.name for axis in self.axes if axis.name in FREE))

    def _check(self) -> None:
        """Raise InputError for values that no point can have."""
        self._check_from_step()
        self._check_names()
        shape = self.shape
        for number, axis in enumerate(self.axes):
            others = [range(size) for size in shape]
            for at, value in enumerate(axis.values):
                others[number] = range(at, at + 1)
                error = self._error_of(others)
                if error is not None:
                    raise InputError(
                        f"{axis.key} = {checks.shown(value)}: {error}", parameter=axis.name
                    )

    def _check_from_step(self) -> None:
        values = [self.fixed.get("from_step")]
        for axis in self.axes:
            values = list(axis.values) if axis.name == "from_step" else values
        if values == [None]:
            return
        for value in values:
            checks.whole("from_step", value, -1000, 999)
        if not self._branching:
            raise InputError(
                "from_step needs an axis of what may change during a run, and there is none.\n"
                "The prompt, the guidance, the sampler and its options may.",
                parameter="from_step",
            )
        if any(self._found.values(place).get("hires") for place in self._some_places()):
            raise InputError(
                "A run of two passes (hires) cannot change on its way.\n"
                "Leave out from_step or hires.",
                parameter="from_step",
            )

    def _check_names(self) -> None:
        for name in ("model", "refiner"):
            values = [self.fixed.get(name)]
            for axis in self.axes:
                values = list(axis.values) if axis.name == name else values
            for value in values:
                if not (isinstance(value, str) and value) and not (
                    value is None and name != "model"
                ):
                    raise InputError(
                        f"{name} must be the name of a model, got {checks.shown(value)}.",
                        parameter=name,
                    )

    def _some_places(self) -> Iterator[tuple[int, ...]]:
        return islice(self._found.places(), TRIES)

    def _error_of(self, others: Sequence[range]) -> str | None:
        """Why no point at some of the places has settings that a run takes; None if one has."""
        message = None
        for place in islice(product(*others), TRIES):
            values = self._found.values(place)
            try:
                _unchecked(values, self.seed).checked(self.configs.get(values["model"]))
            except InputError as error:
                message = message or str(error)
            else:
                return None
        return message

    # -------------------------------------------------------------------------------- identity

    @property
    def identity(self) -> dict[str, Any]:
        """What makes this sweep the one that it is, as data for JSON: the same arguments have the
        same. The seed is None where it is drawn."""
        values = {axis.key: self._told(axis.name, axis.values) for axis in self.axes}
        for axis in self.axes:
            if axis.name == "image":
                values[axis.key] = [_digest(one) for one in self.given]
        patterns = {name: list(one.texts) for name, one in self._found.patterns.items()}
        fixed = {name: self._told(name, [one])[0] for name, one in sorted(self.fixed.items())}
        return {
            "format": FORMAT,
            "axes": values,
            "fixed": {**fixed, "seed": fixed.get("seed")} if "seed" not in values else fixed,
            "texts": patterns,
            "given": _digest(self.given[0]) if len(self.given) == 1 else "",
        }

    def _told(self, name: str, values: Sequence[Any]) -> list[Any]:
        """Values as data for JSON, in which files have no folders, but a digest of their path."""
        if name in ("model", "refiner"):
            return [self._told_model(one) for one in values]
        if name == "loras":
            return [[_told_lora(lora) for lora in one] for one in values]
        return [_told(one) for one in values]

    def _told_model(self, name: Any) -> Any:
        if name in self.models:
            return f"{name} {self.models[name].fingerprint[:12]}"
        return _told_path(name) if isinstance(name, str) and os.path.exists(name) else _told(name)

    @property
    def digest(self) -> str:
        """64 hexadecimal digits of its identity."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()


def _named(model: Any, models: dict[str, LatentDiffusion]) -> Any:
    """The name of a model; one in memory is put into ``models``."""
    if not hasattr(model, "unet"):
        return model
    name, number = model.name, 2
    while name in models and models[name] is not model:
        name, number = f"{model.name} ({number})", number + 1
    models[name] = model
    return name


def _given(grid: Found) -> tuple[Given, ...]:
    """What points are given: once for all, or for each value of an axis of images."""
    fixed = grid.fixed
    control = controls_of(fixed.get("control"))
    others = {name: fixed.get(name) for name in IMAGES if name != "image"}
    images: Sequence[Any] = [fixed.get("image")]
    for axis in grid.axes:
        images = axis.values if axis.name == "image" else images
    return tuple(Given(Start.of(image, **others), control) for image in images)


def _usual(name: str) -> Any:
    return getattr(Settings(), name)


def _unchecked(values: Mapping[str, Any], seed: int) -> Settings:
    own = {name: value for name, value in values.items() if name in NAMES}
    if values.get("size") is not None:
        own["width"], own["height"] = values["size"]
    if own.get("seed") is None:
        own["seed"] = seed
    if values.get("prompt") is None:
        own.pop("prompt", None)
    return Settings(**{name: _usual(name) if v is None else v for name, v in own.items()})


def _settings(values: Mapping[str, Any], seed: int) -> Settings:
    """The settings of a point; unchecked if they do not go together, so that it fails when made."""
    settings = _unchecked(values, seed)
    try:
        return settings.checked()
    except InputError:
        return settings


def _told(value: Any) -> Any:
    """A value as data for JSON."""
    if isinstance(value, (list, tuple)):
        return [_told(one) for one in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)


def _told_path(path: str) -> str:
    whole = os.path.abspath(os.path.expanduser(path))
    return f"{last_part(whole)} {hashlib.sha256(os.fsencode(whole)).hexdigest()[:12]}"


def _told_lora(lora: Lora) -> list[Any]:
    return [_told_path(str(lora.path)), *lora.strengths]


def _digest(given: Given) -> str:
    """64 hexadecimal digits of what points are given; "" for nothing."""
    start, digest = given.start, hashlib.sha256()
    if start is None and not given.control:
        return ""
    if start is not None:
        for image in (start.image, start.mask, start.low_res, *start.neighbours):
            if image is not None:
                digest.update(f"{image.mode} {image.size}".encode() + image.tobytes())
        for values in (start.depth, start.label_map):
            if values is not None:
                digest.update(values.tobytes())
    for control in given.control:
        digest.update(f"{control.name} {control.strength} {control.start} {control.end}".encode())
        digest.update(control.image.tobytes())
    return digest.hexdigest()
