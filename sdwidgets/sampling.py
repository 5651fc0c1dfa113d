"""The names of samplers and noise grids, and the options of each sampler, as plain data.

The functions are in `diffusion`. The names are here because settings are checked, and widgets are
drawn, before torch is imported. A test makes sure that both agree on names, options and defaults.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """A number that only some samplers take: their argument, and a field of `Settings`."""

    name: str
    default: float
    low: int
    high: int
    help: str


ETA = Option("eta", 0.0, 0, 1, "the share of a step's noise that is fresh; 0 is deterministic")

OPTIONS: dict[str, tuple[Option, ...]] = {
    "dpmpp_2m": (),
    "euler": (),
    "euler_ancestral": (),
    "heun": (),
    "ddim": (ETA,),
}
"""The options of each sampler. Pickers list samplers in this order; the first is the default."""

SAMPLERS = tuple(OPTIONS)

SCHEDULES = ("default", "karras", "uniform", "trailing", "ddim", "dpmsolver", "config")
"""The noise grids. Pickers list them in this order; the first is the default."""


def default_schedule(spacing: str) -> str:
    """The grid that "default" means for a model whose config has that ``spacing``."""
    return "karras" if spacing == "karras" else "trailing"


EVERY_OPTION = {option.name: option for options in OPTIONS.values() for option in options}
"""The options of all samplers, by name. The same name is the same option in every sampler."""


def takers(name: str) -> tuple[str, ...]:
    """The samplers that take an option."""
    return tuple(sampler for sampler, options in OPTIONS.items() if EVERY_OPTION[name] in options)
