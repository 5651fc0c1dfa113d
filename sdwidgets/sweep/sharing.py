"""Which points have the same first steps, and how many steps that saves. No torch.

Points form trees. The trunk is a run whose steps several points have: those that end it earlier or
later (``end_step``), those that leave it at a step for other settings (``from_step``), and those
that have it as the first of two passes (``hires``). Each of the second kind is a branch, whose
members end it earlier or later in turn.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..configs import ModelConfig
from ..errors import InputError
from ..settings import Settings
from ..trace.branching import GRID
from .points import Point

SECOND: dict[str, Any] = {
    each.name: each.default
    for each in fields(Settings)
    if each.name in ("hires", "hires_strength", "hires_steps", "hires_method")
}
"""The settings of second passes, with their defaults."""


@dataclass(frozen=True)
class Line:
    """Points that are made in one run, each an end of it: the longest run has all of its steps.

    ``leaves``: the step at which it leaves its trunk; 0 for a trunk itself. ``is_second``: it is
    the second pass after its trunk, of a single point.
    """

    points: tuple[Point, ...]
    leaves: int = 0
    is_second: bool = False

    @property
    def longest(self) -> Point:
        """The point with the most steps."""
        return max(self.points, key=lambda point: point.settings.end_step or float("inf"))


@dataclass(frozen=True)
class Tree:
    """Points that share steps: a trunk, perhaps without points of its own, and its branches.

    ``settings``: those of the trunk, all of it. ``branches``: second passes are among them.
    """

    settings: Settings
    trunk: Line | None
    branches: tuple[Line, ...] = ()

    @property
    def points(self) -> tuple[Point, ...]:
        """All points, in the order in which they are made."""
        lines = (*([self.trunk] if self.trunk else []), *self.branches)
        return tuple(point for line in lines for point in line.points)


def trees(points: Iterable[Point]) -> list[Tree]:
    """The trees of some points, each model's together, in the order of their first points."""
    groups: dict[Hashable, list[Point]] = {}
    for point in points:
        groups.setdefault(_key(point), []).append(point)
    models = list(dict.fromkeys(key[0] for key in groups))  # type: ignore[index]
    ordered = sorted(groups.items(), key=lambda item: models.index(item[0][0]))  # type: ignore[index]
    return [_tree(group) for _, group in ordered]


def groups(points: Iterable[Point]) -> list[tuple[Point, ...]]:
    """The points of each tree, in the order in which they are made."""
    return [tree.points for tree in trees(points)]


def _key(point: Point) -> tuple[Hashable, ...]:
    """What points of the same tree have in common, first all that a model is made of."""
    made_of = (point.model, point.loras, point.refiner)
    given = id(point.given) if point.given.start or point.given.control else None
    return made_of, given, point.attention, _first(point)


def _first(point: Point) -> Settings:
    """The settings of a point's trunk, all of it."""
    trunk = replace(point.trunk, end_step=None)
    if point.refiner is not None or trunk.refiner_start is not None:
        return trunk  # a refiner has no part in the first of two passes
    return replace(trunk, **SECOND)


def _tree(points: Sequence[Point]) -> Tree:
    first = _first(points[0])
    own: list[Point] = []
    lines: dict[Hashable, list[Point]] = {}
    for point in points:
        if point.branches:
            key = (point.from_step, replace(point.settings, end_step=None))
            lines.setdefault(key, []).append(point)
        elif point.settings.hires != first.hires:
            lines[point.index] = [point]
        else:
            own.append(point)
    branches = tuple(
        Line(tuple(line), line[0].from_step)
        if line[0].branches
        else Line(tuple(line), is_second=True)
        for line in lines.values()
    )
    trunk = Line(tuple(own)) if own else None
    return Tree(trunk.longest.settings if trunk and not branches else first, trunk, branches)


# ------------------------------------------------------------------------------ counts of steps


@dataclass(frozen=True)
class Cost:
    """How many steps points take: ``made`` are computed, ``saved`` are those of other points."""

    made: int = 0
    saved: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.made + other.made, self.saved + other.saved)


@dataclass(frozen=True)
class Counting:
    """Counts steps in advance. ``configs``: those of the models that are known, by name."""

    configs: Mapping[str, ModelConfig] = field(default_factory=dict)

    def steps(self, point: Point, settings: Settings | None = None) -> int | None:
        """How many steps a run of a point makes alone; None if its model would have to be loaded.

        ``settings``: others than the point's own. 0 for settings that no model takes.
        """
        settings = point.settings if settings is None else settings
        config = self.configs.get(point.model)
        if point.loras and settings.steps is None:
            return None  # a LoRA may be made for few steps
        if point.branches and any(name in GRID for name, _ in point.before):
            return None  # it depends on the noise levels
        try:
            checked = settings.checked(config)
            if checked.steps is None:
                return None
            image = None if point.given.start is None else point.given.start.image
            if image is not None and config is None:
                return None  # whether it begins at the image, or sees it
            return _count(checked, config, image is not None)
        except InputError:
            return 0

    def cost(self, points: Iterable[Point]) -> Cost | None:
        """What points cost together; None if that is not known yet."""
        total = Cost()
        for tree in trees(points):
            cost = self._tree(tree)
            if cost is None:
                return None
            total += cost
        return total

    def _tree(self, tree: Tree) -> Cost | None:
        alone = [self.steps(point) for point in tree.points]
        whole = self.steps(tree.points[0], tree.settings)
        if whole is None or None in alone:
            return None
        needed = [self.steps(point) or 0 for point in (tree.trunk.points if tree.trunk else ())]
        made = 0
        for line in tree.branches:
            leaves = whole if line.is_second else left_at(line.leaves, whole)
            longest = self.steps(line.longest) or 0
            if line.is_second and longest > whole:
                needed.append(whole)
                made += longest - whole
                continue
            if not 0 < leaves < whole or longest <= leaves:
                continue  # it will fail
            needed.append(leaves)
            made += longest - leaves
        made += max(needed, default=0)
        return Cost(made, sum(count or 0 for count in alone) - made)


def left_at(from_step: int, steps: int) -> int:
    """The index of the step at which a run of so many ``steps`` is left; negative counts back."""
    return from_step + steps if from_step < 0 else from_step


def _count(settings: Settings, config: ModelConfig | None, from_image: bool) -> int:
    skipped = settings.start_step
    begins_there = from_image and not (config is not None and config.starts_from_noise)
    if begins_there and not skipped:
        skipped = settings.skipped_steps
    end = settings.all_steps if settings.end_step is None else settings.end_step
    count = max(min(end, settings.all_steps) - skipped, 0)
    if settings.hires is None:
        return count
    second = settings.all_steps if settings.hires_steps is None else settings.hires_steps
    passed = replace(settings, steps=second, strength=settings.hires_strength)
    return count + second - passed.skipped_steps
