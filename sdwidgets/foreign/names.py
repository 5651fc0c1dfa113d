"""Samplers and noise grids by the names that other programs give them."""

from __future__ import annotations

from typing import Any

from ..sampling import SAMPLERS, SCHEDULES
from .found import Found

_SAMPLERS = {
    "euler": "euler",
    "euler a": "euler_ancestral",
    "euler ancestral": "euler_ancestral",
    "heun": "heun",
    "lms": "lms",
    "dpm2": "dpm2",
    "dpm2 a": "dpm2_ancestral",
    "dpm 2": "dpm2",
    "dpm 2 ancestral": "dpm2_ancestral",
    "dpm++ 2s a": "dpmpp_2s_ancestral",
    "dpmpp 2s ancestral": "dpmpp_2s_ancestral",
    "dpm++ 2m": "dpmpp_2m",
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
    "lcm": "lcm",
    "tcd": "tcd",
}
"""Names as they are in k-diffusion and here, by the names of AUTOMATIC1111, ComfyUI and InvokeAI in
lower case, without "k_" and with spaces. Those that are not in `SAMPLERS` are only shown."""

_SCHEDULES = {
    "karras": "karras",
    "exponential": "exponential",
    "beta": "beta",
    "uniform": "uniform",  # k-diffusion's own grid, evenly spaced from the last training step
    "normal": "uniform",
    "automatic": "uniform",
    "simple": "simple",
    "sgm uniform": "sgm_uniform",
}


def take_sampler(found: Found, sampler: Any, schedule: Any = None) -> None:
    """Put a sampler and a noise grid into ``found``: as settings if there are such, else as they
    are. A sampler's name may end with its grid, as in "DPM++ 2M Karras"."""
    if isinstance(sampler, str) and sampler:
        name = _plain(sampler)
        for ending in ("karras", "exponential", " k"):
            if name.endswith(ending) and name != ending and not schedule:
                name, schedule = name.removesuffix(ending).strip(), ending.replace(" k", "karras")
        known = _SAMPLERS.get(name.removesuffix(" gpu"), "")
        if known in SAMPLERS:
            found.values["sampler"] = known
        else:
            found.others["sampler"] = sampler
    if isinstance(schedule, str) and schedule:
        known = _SCHEDULES.get(_plain(schedule), "")
        if known in SCHEDULES:
            found.values["schedule"] = known
        else:
            found.others["noise levels"] = schedule


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
