"""The names of samplers and noise grids, and the options that each sampler takes, as plain data.

`diffusion` has the functions behind these names; this list is apart because settings are checked,
and a widget is drawn, before torch is imported. A test holds the two together: the same names, and
for each sampler the same options with the same defaults.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """A number that only some samplers take: an argument of theirs and a field of `Settings`."""

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
"""Each sampler's options. The order of the samplers is that of a picker; the first is the default.
"""

SAMPLERS = tuple(OPTIONS)

SCHEDULES = ("default", "karras", "uniform", "trailing", "ddim", "dpmsolver")
"""The noise grids, in the order of a picker; the first is the default."""

EVERY_OPTION = {option.name: option for options in OPTIONS.values() for option in options}
"""All samplers' options by name; samplers that share a name share the option."""


def takers(name: str) -> tuple[str, ...]:
    """The samplers that take an option."""
    return tuple(sampler for sampler, options in OPTIONS.items() if EVERY_OPTION[name] in options)
