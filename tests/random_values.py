"""Unexpected values for settings."""

from __future__ import annotations

import math
import random
from typing import Any

from sdwidgets.contract import HIRES_METHODS
from sdwidgets.prompts import WEIGHTS
from sdwidgets.sampling import EVERY_OPTION, SAMPLERS, SCHEDULES
from sdwidgets.settings import FITS, LIMITS


def anything(rng: random.Random) -> Any:
    """Return a random number, text, or something else."""
    whole = rng.randint(-(10 ** rng.randrange(20)), 10 ** rng.randrange(20))
    real = rng.choice((-1, 1)) * 10 ** rng.uniform(-30, 30)
    text = "".join(map(chr, rng.choices(range(0x11000), k=rng.randrange(30))))
    odd = rng.choice((None, True, b"cat", {}, math.nan, math.inf, 1j, object(), (), range(3)))
    return rng.choice((whole, real, text, odd, [whole], [text, text], str(whole)))


def near_its_limits(rng: random.Random, name: str) -> Any:
    """Return a random value of the right kind, mostly of the right size."""
    if name in ("sampler", "schedule"):
        return rng.choice(SAMPLERS if name == "sampler" else SCHEDULES)
    if name == "weights":
        return anything(rng) if rng.random() < 0.3 else rng.choice(WEIGHTS)
    if name in ("prompt", "negative_prompt"):
        return anything(rng) if rng.random() < 0.1 else "cat " * rng.randrange(100)
    if name == "fit":
        return anything(rng) if rng.random() < 0.3 else rng.choice(FITS)
    if name in ("original_size", "crop", "target_size"):
        return rng.choice([None, tuple(rng.randrange(-1, 100) for _ in range(2))])
    if name == "sigmas":
        levels = [rng.uniform(-0.1, 10) for _ in range(rng.randrange(4))]
        return tuple(sorted(levels, reverse=rng.random() < 0.9))
    if name == "variation":
        return rng.randrange(-1, 100), rng.uniform(-0.1, 1.1)
    if name == "toward":
        return rng.choice(["a dog", anything(rng)]), rng.uniform(-0.1, 1.1)
    if name == "label":
        return anything(rng) if rng.random() < 0.3 else rng.choice([None, "cat", rng.randrange(9)])
    if name == "boxes":
        corners = [tuple(rng.uniform(-0.05, 1) for _ in range(4)) for _ in range(rng.randrange(3))]
        return anything(rng) if rng.random() < 0.3 else [("cat", each) for each in corners]
    if name == "pad":
        return rng.choice([rng.randrange(-1, 9), tuple(rng.randrange(9) for _ in range(4))])
    if name == "hires_method":
        return anything(rng) if rng.random() < 0.3 else rng.choice(HIRES_METHODS)
    low, high = LIMITS[name]
    if name in ("hires", "hires_strength", "refiner_start", "guide_scale", *EVERY_OPTION):
        return rng.uniform(low - 0.1 * (high - low), high * 1.1)
    if name in ("guidance_scale", "guidance_rescale", "strength"):
        return rng.uniform(low - 0.1 * (high - low), high * 1.1)
    return rng.randint(low - 2, high + 2) // rng.choice((1, 2, 10))
