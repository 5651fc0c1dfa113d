"""Samplers and noise grids by the names that other programs give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..sampling import SAMPLERS, SCHEDULES
from .found import Found

_SAMPLERS = {
    "euler": "euler",
    "euler a": "euler_ancestral",
    "euler ancestral": "euler_ancestral",
    "eulerancestral": "euler_ancestral",
    "heun": "heun",
    "lms": "lms",
    "dpm2": "dpm2",
    "dpm2 a": "dpm2_ancestral",
    "dpm 2": "dpm2",
    "dpm 2 a": "dpm2_ancestral",
    "dpm 2 ancestral": "dpm2_ancestral",
    "kdpm 2": "dpm2",
    "kdpm 2 a": "dpm2_ancestral",
    "dpm++ 2s a": "dpmpp_2s_ancestral",
    "dpm++2s a": "dpmpp_2s_ancestral",
    "dpmpp 2s ancestral": "dpmpp_2s_ancestral",
    "dpm++ 2m": "dpmpp_2m",
    "dpm++2m": "dpmpp_2m",
    "dpmpp 2m": "dpmpp_2m",
    "dpm++ sde": "dpmpp_sde",
    "dpmpp sde": "dpmpp_sde",
    "dpm++ 2m sde": "dpmpp_2m_sde",
    "dpmpp 2m sde": "dpmpp_2m_sde",
    "dpm++ 3m sde": "dpmpp_3m_sde",
    "dpmpp 3m sde": "dpmpp_3m_sde",
    "ddim": "ddim",
    "ddpm": "ddpm",
    "plms": "plms",
    "pndm": "plms",
    "unipc": "unipc",
    "uni pc": "unipc",
    "uni pc bh2": "unipc",
    "lcm": "lcm",
    "tcd": "tcd",
}
"""Our names, by those of AUTOMATIC1111, stable-diffusion.cpp, ComfyUI, InvokeAI and NovelAI in
lower case, without "k_" and with spaces. All others are only shown: among them are methods that we
lack (Restart, CFG++, DPM fast and adaptive, DEIS, IPNDM), and 2M SDE with Heun's formula."""

_SCHEDULES = {
    "karras": "karras",
    "exponential": "exponential",
    "beta": "beta",
    "uniform": "uniform",  # k-diffusion's own grid, evenly spaced from the last training step
    "normal": "uniform",
    "discrete": "uniform",  # stable-diffusion.cpp
    "native": "uniform",  # NovelAI
    "simple": "simple",
    "sgm uniform": "sgm_uniform",
    "trailing": "trailing",
}
_OTHER_SCHEDULES = (
    "align your steps", "automatic", "ays", "ddim", "ddim uniform", "gits", "kl optimal",
    "linear quadratic", "polyexponential", "smoothstep", "turbo",
)  # fmt: skip
"""Noise grids that we lack, or that depend on the sampler."""

_ENDINGS = sorted({*_SCHEDULES, *_OTHER_SCHEDULES}, key=len, reverse=True)

UNTIL_1_8 = {"ddim": "ddim", "plms": "ddim", "unipc": "sgm_uniform"}
"""The grids of AUTOMATIC1111's samplers that have one of their own; all others have "uniform"."""

AUTOMATIC = {
    **UNTIL_1_8,
    "dpmpp_2m": "karras",
    "dpmpp_sde": "karras",
    "dpmpp_2s_ancestral": "karras",
    "dpm2": "karras",
    "dpm2_ancestral": "karras",
    "dpmpp_2m_sde": "exponential",
    "dpmpp_3m_sde": "exponential",
}
"""What "Automatic" means there since version 1.9 (modules/sd_samplers_kdiffusion.py)."""


def take_sampler(
    found: Found, sampler: Any, schedule: Any = None, usual: Mapping[str, str] | None = None
) -> None:
    """Put a sampler and a noise grid into ``found``: as settings if there are such, else as they
    are. A sampler's name may end with its grid, as in "DPM++ 2M Karras".

    ``usual``: the grid of each sampler if none is named, else "uniform"; None: that is not known.
    """
    known = ""
    if isinstance(sampler, str) and sampler:
        name = _plain(sampler)
        if not schedule:
            name, schedule = _divided(name)
        known = _SAMPLERS.get(name.removesuffix(" gpu"), "")
        if known in SAMPLERS:
            found.values["sampler"] = known
        else:
            found.others["sampler"] = sampler
    if schedule is None and usual is not None and known:
        found.values["schedule"] = usual.get(known, "uniform")
    if isinstance(schedule, str) and schedule:
        plain = _plain(schedule)
        grid = AUTOMATIC.get(known, "uniform") if plain == "automatic" else _SCHEDULES.get(plain)
        if grid in SCHEDULES and (known or plain != "automatic"):
            found.values["schedule"] = grid
        else:
            found.others["noise levels"] = schedule


def take_options(found: Found, options: Mapping[str, Any]) -> None:
    """Put options of the sampler into ``found``, by our names; without a sampler of ours, they say
    nothing about a run here."""
    place = found.values if "sampler" in found.values else found.others
    place |= {name: real(value) for name, value in options.items() if value is not None}


def _divided(name: str) -> tuple[str, str | None]:
    """A sampler's name without the grid at its end, and that grid."""
    if name.endswith(" k"):  # InvokeAI
        return name.removesuffix(" k"), "karras"
    for ending in _ENDINGS:
        if name.endswith(f" {ending}"):
            return name.removesuffix(ending).strip(), ending
    return name, None


def _plain(name: str) -> str:
    plain = name.lower().removeprefix("k_").removeprefix("sample_")
    return " ".join(plain.replace("_", " ").split())


def whole(value: Any) -> Any:
    """A whole number that was written as a text or a float; any other value as it is."""
    if isinstance(value, str) and len(value) <= 40:
        text = value.strip()
        if text.removeprefix("-").isascii() and text.removeprefix("-").isdigit():
            return int(text)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def real(value: Any) -> Any:
    """A number that was written as a text; any other value as it is."""
    if isinstance(value, str) and len(value) <= 40:
        try:
            return float(value)
        except ValueError:
            return value
    return value


def skipped(layers: Any) -> int | None:
    """`Settings.clip_skip` for a "Clip skip" that counts from 1, the last layer."""
    number = whole(layers)
    return number - 1 if isinstance(number, int) and 1 <= number <= 100 else None
