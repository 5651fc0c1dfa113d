"""Branches: a finished run goes on from before one of its steps, otherwise than it did.

A `Branch` is plain data, made without a model: what is the parent's own, and the settings of what
is left. `sdwidgets.run` makes its steps.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks
from ..errors import InputError
from ..pictures import Start
from ..sampling import EVERY_OPTION
from ..settings import TOLD, AttentionSettings, Settings, controls_of
from .alone import alone
from .parent import Parent
from .record import Record, attention_of, listed
from .step import TraceStep

if TYPE_CHECKING:
    from .recording import Recordable

NEAR = 1e-3
"""Noise levels that differ by this share or less are the same where a grid goes on."""

GRID = ("steps", "schedule", "sigmas")
"""The settings that say which noise levels are visited."""

SAID = (
    "prompt", "negative_prompt", "toward", "label", "boxes", "weights", "clip_skip", "chunks",
    "guidance_scale", "guidance_rescale", "guide_scale", "original_size", "crop", "target_size",
    *TOLD, "window",
)  # fmt: skip
"""The settings that change what the network predicts."""

FREE = (*GRID, *SAID, "sampler", *EVERY_OPTION, "end_step")
"""The settings that a branch may change."""


@dataclass(frozen=True, eq=False)
class Branch:
    """What a branch is made of; `Trace.branching` returns it.

    ``record``: that of the run, of one of its images if that was asked. ``step``: the branch goes
    on before it. ``settings``: those of the steps that are left, with the ``seed`` of the noise
    that the run began from. ``noise``: the seed of fresh noise, or None if the run's goes on.
    ``attention``, ``control``: as in `LatentDiffusion.sample`. ``exact``: the steps before are made
    again instead of taken from the record.
    """

    record: Record = field(repr=False)
    step: int
    settings: Settings
    noise: int | tuple[int, ...] | None = None
    attention: bool | AttentionSettings = False
    control: tuple[Any, ...] | None = field(default=None, repr=False)  # None: those of the run
    exact: bool = False
    refiner: Any = field(default=None, repr=False)  # that of the run, if it had any
    guide: Any = field(default=None, repr=False)  # None: that of the run, if it had any

    @classmethod
    def of(
        cls,
        record: Record,
        step: int,
        *,
        seed: int | Sequence[int] | None = None,
        control: Any = None,
        attention: bool | AttentionSettings | None = None,
        picture: int | None = None,
        exact: bool = False,
        refiner: Any = None,
        guide: Any = None,
        **changes: Any,
    ) -> Branch:
        """The branch of a record; see `Trace.branch`. Raises InputError."""
        _check_names(changes)
        if not record.task or record.settings.seed is None:
            raise InputError(
                "This record does not say how its run began, so it cannot go on otherwise.\n"
                "Only runs of model.sample(...), model.generate(...) and the Studio have branches."
            )
        if picture is not None:
            record = alone(record, picture)
        place = _place(record, step)
        settings = _changed(record.settings, {n: v for n, v in changes.items() if v is not None})
        if settings.batch_size != record.settings.batch_size:
            raise InputError(
                f"The run has {record.settings.batch_size} images, so a branch has as many.\n"
                "Give a single prompt, or one for each image.",
                parameter="batch_size",
            )
        if attention is None:
            attention = attention_of(record.steps) or False
        AttentionSettings.of(attention)
        control = None if control is None else controls_of(control)
        if record.settings.hires is not None:
            raise InputError(
                "A run of two passes (hires) cannot go on otherwise.\n"
                "Branch its first pass, trace.parent.trace, or make a new run."
            )
        exact = checks.flag("exact", exact)
        guide = record.guide if guide is None else guide
        made = cls(record, place, settings, None, attention, control, exact, refiner, guide)
        if seed is not None:
            made = made.with_noise(_seeds(seed, settings.batch_size))
        if not exact:
            made._check_kept()
        return made

    def run(self, model: Any = None) -> Recordable:
        """The run, which has all steps: first those of the parent, then those that are left.

        ``Trace.of(run)`` is the record. ``model``: that of the parent's run while it is loaded,
        else to be given. Raises InputError if its weights differ, and what
        `LatentDiffusion.sample` raises.
        """
        from .questions import model_of

        model = model_of(self.record, model)
        return model.run(self.settings, attention=self.attention, control=self.control, branch=self)

    @property
    def start(self) -> Start | None:
        """The images that the run was given."""
        return self.record.start

    @property
    def latents(self) -> np.ndarray | None:
        """[B, C, h, w]: the noise that the run was given, if it was not its seed's."""
        return self.record.given_latents

    def with_noise(self, seed: int | tuple[int, ...] | None) -> Branch:
        """This branch with fresh noise of that seed, unless noise of it goes on anyway."""
        same = seed is None or _each(seed, self.settings.batch_size) == self.noise_from[0]
        return self if same else replace(self, noise=seed)

    @property
    def noise_from(self) -> tuple[tuple[int, ...], int | None]:
        """(The seeds whose noise goes on, the step before which they began; None: at the run's own
        beginning.)"""
        batch, above = self.settings.batch_size, self.record.parent
        if self.noise is not None:
            return _each(self.noise, batch), self.step
        if above is not None and above.seed is not None and self.step >= above.step:
            return _each(above.seed, batch), _noise_began(above)
        return self.settings.seeds, None

    @cached_property
    def parent(self) -> Parent:
        """The parent of the branch's record."""
        seeds, since = self.noise_from
        one = seeds == _each(seeds[0], len(seeds))
        seed = None if since is None else seeds[0] if one else seeds
        return Parent.of("branch", self.record, step=self.step, seed=seed)

    @cached_property
    def steps(self) -> tuple[TraceStep, ...]:
        """The parent's own steps, as far as they are kept."""
        return tuple(step for step in self.record.steps if step.index < self.step)

    @property
    def begins(self) -> tuple[np.ndarray, float] | None:
        """(The latents [B, C, h, w] from which the branch goes on, their noise level), if kept."""
        for step in self.record.steps:
            if step.index == self.step:
                return step.x, step.sigma
        if self.steps and self.steps[-1].index == self.step - 1:
            return self.steps[-1].x_next, self.steps[-1].sigma_next
        return None

    @property
    def begins_itself(self) -> bool:
        """Whether the branch has all steps of the run, and so begins as the run did."""
        record = self.record
        exact_latents = record.settings.start_step and record.given_latents is not None
        if self.step or (exact_latents and not record.stored):
            return False
        return self.begins is None or not any(
            getattr(record.settings, name) != getattr(self.settings, name) for name in GRID
        )

    @property
    def says_the_same(self) -> bool:
        """Whether the settings let the network predict what it would have predicted."""
        before, parent = self.record.settings, self.record.parent
        if parent is not None and parent.how == "edit":
            return False  # an edit changes what the network says
        return all(getattr(before, n, 0) == getattr(self.settings, n, 0) for n in SAID)

    def cost(self, model: Any = None) -> int | None:
        """How many steps are left to be made.

        Where other noise levels are visited, the model's schedule says so: that of the parent's run
        while it is loaded, or ``model``; None without it.
        """
        own, before = self.settings, self.record.settings
        ends = (*GRID, "start_step", "end_step")
        made = 0 if self.exact else self.step
        if all(getattr(before, name) == getattr(own, name) for name in ends):
            return max(self.record.expected - made, 0)
        if own.sigmas is not None:
            grid = list(own.sigmas)
        else:
            model = self.record.model_ref() if model is None and self.record.model_ref else model
            if model is None or (self.start is not None and not self.step):
                return None
            from ..diffusion import SCHEDULES

            grid = SCHEDULES[own.schedule](model.schedule, own.all_steps).tolist()
        grid = grid[: None if own.end_step is None else own.end_step + 1]
        if self.begins_itself or self.begins is None:
            return len(grid) - 1 - own.start_step
        left = len(levels_after(self.begins[1], grid)) - 1
        return left + self.step - made

    def _check_kept(self) -> None:
        if self.begins is None and self.step > 0:
            kept = sorted({one.index for one in self.record.steps})
            after = [index + 1 for index in kept if index + 1 not in kept]
            places = sorted({0, *kept, *(i for i in after if i < self.record.expected)})
            raise InputError(
                f"This record does not keep the latents before step {self.step}.\n"
                f"It keeps those before steps {listed(places)}.\n"
                "Branch there, or give exact=True, which makes the first steps again.",
                parameter="step",
            )


def levels_after(sigma: float, grid: Sequence[float]) -> tuple[float, ...]:
    """``sigma``, and the levels of a descending grid below it.

    A level that is only a rounding below it, as where a grid was computed elsewhere, is left out.
    """
    if sigma in grid:
        return tuple(grid[grid.index(sigma) :])
    return (sigma, *(level for level in grid if level < sigma * (1 - NEAR)))


def _noise_began(parent: Parent) -> int:
    """The step before which the noise of a branch of that parent began."""
    above, step = parent.record.get("parent"), parent.step
    while above is not None and above.get("seed") == parent.seed and above.get("step", 0) <= step:
        above, step = above["record"].get("parent"), above.get("step", 0)
    return step


def _check_names(names: Iterable[str]) -> None:
    """Raise InputError for a setting that a branch cannot change."""
    for name in names:
        if name in FREE:
            continue
        if name in _BEGINNING:
            raise InputError(
                f"A branch cannot change {name}: it belongs to how the run began.\n"
                f"Make a new run: model.generate(..., {name}=...).",
                parameter=name,
            )
        near = difflib.get_close_matches(name[:50], FREE, 1, 0.6)
        hint = f"\nDid you mean {near[0]}?" if near else ""
        raise InputError(f"A branch has no setting {checks.shown(name)}.{hint}", parameter=name)


_BEGINNING = {field.name for field in fields(Settings)} - {*FREE} | {
    "image",
    "mask",
    "depth",
    "label_map",
    "low_res",
    "neighbours",
    "latents",
}


def _place(record: Record, step: object) -> int:
    """The index of the step; negative numbers count back from the end. Raises InputError."""
    count = max(record.expected, *(one.index + 1 for one in record.steps), 1)
    if not checks.is_whole(step):
        raise InputError(
            f"step must be a whole number, got {checks.shown(step)}.\n"
            f"Give 0 to {count - 1}; -1 is the last.",
            parameter="step",
        )
    place = int(step) + (count if step < 0 else 0)  # type: ignore[call-overload, operator]
    if not 0 <= place < count:
        raise InputError(
            f"The run has no step {step}.\nGive 0 to {count - 1}; -1 is the last.",
            parameter="step",
        )
    return place


def _changed(before: Settings, changes: dict[str, Any]) -> Settings:
    """The settings of a run with those of its branch. Raises InputError."""
    if set(changes) & {*GRID}:
        if before.end_step is not None and "end_step" not in changes:
            raise InputError(
                f"The run ends at step {before.end_step} of its noise levels.\n"
                "Give end_step= for the new ones, too.",
                parameter="end_step",
            )
        changes = {"start_step": 0, "sigmas": None, **changes}
        if "sigmas" in changes and changes["sigmas"] is not None:
            changes = {"steps": None, "schedule": "default", **changes}
    if "sampler" in changes and changes["sampler"] != before.sampler:
        # each sampler has its own defaults
        usual = {one.name: one.default for one in fields(Settings) if one.name in EVERY_OPTION}
        changes = usual | changes
    return replace(before, **changes).checked()


def _each(seed: int | tuple[int, ...], batch: int) -> tuple[int, ...]:
    """The seed of each image."""
    return seed if isinstance(seed, tuple) else tuple(range(seed, seed + batch))


def _seeds(seed: Any, batch: int) -> int | tuple[int, ...]:
    """The seeds of fresh noise, checked."""
    checked = Settings(seed=seed, batch_size=batch).checked()
    assert checked.seed is not None
    return checked.seed
