"""The names of samplers and noise grids, and the options of each sampler, as plain data.

The functions are in `diffusion`. The names are here because settings are checked, and widgets are
drawn, before torch is imported. A test makes sure that both agree on names, options and defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Option:
    """A number that only some samplers take: their argument, and a field of `Settings`.

    None in `Settings` is the sampler's own ``default``, which may differ between samplers.
    """

    name: str
    default: float
    low: int
    high: int
    help: str


ETA = Option("eta", 0.0, 0, 1, "the share of a step's noise that is fresh; 0 is deterministic")
S_NOISE = Option("s_noise", 1.0, 0, 2, "the factor of fresh noise; 1 keeps the noise level")
S_CHURN = Option("s_churn", 0.0, 0, 100, "how much noise is put back before each step, over all")
FRESH = replace(ETA, default=1.0)
"""`ETA` of samplers that are stochastic unless told otherwise."""

GAMMA = replace(ETA, default=0.3)
"""`ETA` of `tcd`, whose paper calls it gamma."""

OPTIONS: dict[str, tuple[Option, ...]] = {
    "dpmpp_2m": (),
    "euler": (S_CHURN, S_NOISE),
    "euler_ancestral": (FRESH, S_NOISE),
    "heun": (S_CHURN, S_NOISE),
    "unipc": (),
    "dpmpp_2m_sde": (FRESH, S_NOISE),
    "dpmpp_3m_sde": (FRESH, S_NOISE),
    "dpmpp_sde": (FRESH, S_NOISE),
    "dpmpp_2s_ancestral": (FRESH, S_NOISE),
    "dpm2": (S_CHURN, S_NOISE),
    "dpm2_ancestral": (FRESH, S_NOISE),
    "lms": (),
    "ddim": (ETA,),
    "ddpm": (FRESH,),
    "plms": (),
    "lcm": (),
    "tcd": (GAMMA,),
}
"""The options of each sampler. Pickers list samplers in this order; the first is the default."""

SAMPLERS = tuple(OPTIONS)

SCHEDULES = (
    "default",
    "karras",
    "exponential",
    "simple",
    "sgm_uniform",
    "beta",
    "uniform",
    "trailing",
    "ddim",
    "dpmsolver",
    "config",
)
"""The noise grids. Pickers list them in this order; the first is the default."""


def default_schedule(spacing: str) -> str:
    """The grid that "default" means for a model whose config has that ``spacing``."""
    names = {"karras": "karras", "exponential": "exponential", "beta": "config", "lcm": "config"}
    return names.get(spacing, "trailing")


EVERY_OPTION = {option.name: option for option in (ETA, S_NOISE, S_CHURN)}
"""The options of all samplers, by name, with the defaults that change nothing. The same name means
the same in every sampler."""


def takers(name: str) -> tuple[str, ...]:
    """The samplers that take an option."""
    return tuple(
        sampler for sampler, options in OPTIONS.items() if name in {one.name for one in options}
    )
