"""`Point`: an image to be made, as plain data that travels to where it is made. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..loras import Lora
from ..pictures import Start
from ..settings import AttentionSettings, Settings


@dataclass(frozen=True, eq=False)
class Given:
    """What all points with this value are given beside settings.

    ``start``: the image, mask and depth map, opened. ``control``: as in `LatentDiffusion.sample`;
    to be sent elsewhere, each names its network by a path.
    """

    start: Start | None = field(default=None, repr=False)
    control: tuple[Any, ...] = ()


@dataclass(frozen=True, eq=False)
class Point:
    """A point of a sweep: names and numbers, never weights. It can be pickled, and is small.

    ``index``: its number in grid order. ``place``: its index on each axis. ``model``: the name of
    the model; a bundled name, a path or the hub's "owner/name". ``settings``: those of its image,
    with the seed; None is left to the model. ``from_step``: the step from which its settings act,
    and ``before``, pairs of a name and a value, what differs in the steps before; negative steps
    count back from the end. At 0, all steps are its own. ``given``: images and controls, the same
    object for all points that are given the same. ``loras``, ``refiner``: as in `Request`.
    """

    index: int
    place: tuple[int, ...]
    model: str
    settings: Settings
    from_step: int = 0
    before: tuple[tuple[str, Any], ...] = ()
    given: Given = field(default_factory=Given)
    attention: bool | AttentionSettings = False
    loras: tuple[Lora, ...] = ()
    refiner: str | None = None

    @property
    def trunk(self) -> Settings:
        """The settings of its first steps, before `from_step`; its own if it has no others."""
        if not self.branches:
            return self.settings
        return replace(self.settings, end_step=None, **dict(self.before))

    @property
    def branches(self) -> bool:
        """Whether it goes on otherwise than its first steps began."""
        return self.from_step != 0 and any(
            getattr(self.settings, name) != value for name, value in self.before
        )

    @property
    def changes(self) -> dict[str, Any]:
        """What changes at `from_step`, by name, as `Trace.branch` takes it."""
        changed = {name: getattr(self.settings, name) for name, _ in self.before}
        return {**changed, "end_step": self.settings.end_step}

    def facts(self) -> dict[str, Any]:
        """Its settings that differ from the defaults, for people and tables."""
        usual = Settings()
        own = {each.name: getattr(self.settings, each.name) for each in fields(Settings)}
        return {name: value for name, value in own.items() if value != getattr(usual, name)}
