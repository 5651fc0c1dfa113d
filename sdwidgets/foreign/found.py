"""What another program says about an image: our settings, and what has no setting here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..checks import shortened
from ..errors import InputError
from ..settings import Settings

LONGEST = 200
"""Characters of a value that is only shown."""

MOST = 100
"""Values without a setting that are listed; a workflow may have thousands."""

_NAMES = tuple(each.name for each in fields(Settings))


@dataclass(frozen=True)
class FoundSettings(Settings):
    """The settings of an image that another program made.

    ``program`` names it, ``model`` is the name of its model, or "". ``left_out`` has, by their
    names there, the values that have no setting here or that no run takes. Such an image can be
    made again alike, but not the same: other programs draw their noise in other ways.
    """

    program: str = ""
    model: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain data for JSON; ``Settings(**data)`` restores them."""
        values = asdict(self)
        return {name: values[name] for name in _NAMES}


@dataclass
class Found:
    """What a program wrote into an image, as it is being read.

    ``values``: values by our names of settings, not checked. ``others``: all else that was said, by
    its name there. ``task``: as in `Run.task`.
    """

    program: str
    values: dict[str, Any] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    task: str = "text to image"

    def second_pass(self, scale: float, strength: Any, made: Any, method: str) -> None:
        """Set a second pass of ``made`` steps, of which none is skipped by its strength.

        Here `hires_steps` are those of the whole grid, of which ``strength`` is the share made.
        """
        self.values |= {"hires": scale, "hires_method": method}
        if strength is not None:
            self.values["hires_strength"] = strength
        if isinstance(made, int) and self.takes("hires_strength", strength):
            self.values["hires_steps"] = max(round(made / strength), 1)

    def takes(self, name: str, value: Any) -> bool:
        """Whether a run takes this value of a setting."""
        return name in _NAMES and _is_taken({name: value})

    def settings(self) -> FoundSettings:
        """The values that are settings and that a run takes; all others are left out."""
        kept: dict[str, Any] = {}
        left_out: dict[str, str] = {}
        for name, value in self.values.items():
            if name in _NAMES and _is_taken({**kept, name: value}):
                kept[name] = value
            elif value is not None:
                left_out[name.replace("_", " ")] = _text(value)
        left_out |= {name: _text(value) for name, value in self.others.items() if _says(value)}
        checked = asdict(Settings(**{"seed": 0, **kept}).checked())
        if "seed" not in kept:
            checked["seed"] = None
        return FoundSettings(
            **checked,
            program=self.program,
            model=shortened(self.model, LONGEST),
            left_out=dict(_listed(left_out)),
        )

    @property
    def given(self) -> list[str]:
        """What the run was given beside its settings, which is not in the file."""
        needed = {
            "image to image": ["image"],
            "outpainting": ["image"],
            "inpainting": ["image", "mask"],
        }
        return needed.get(self.task, [])


def _is_taken(values: dict[str, Any]) -> bool:
    try:
        Settings(**{"seed": 0, **values}).checked()
    except InputError:
        return False
    return True


def _says(value: Any) -> bool:
    return value is not None and value != "" and value != [] and value != {}


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        value = ", ".join(_text(one) for one in value[:20])
    elif isinstance(value, Mapping):
        value = ", ".join(f"{name}: {_text(one)}" for name, one in list(value.items())[:20])
    elif isinstance(value, float):
        value = f"{value:g}"
    return shortened(" ".join(str(value).split()), LONGEST)


def _listed(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for number, (name, value) in enumerate(values.items()):
        if number == MOST:
            yield "...", f"{len(values) - MOST} more"
            return
        yield shortened(name, 80), value
