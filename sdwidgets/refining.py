"""The refiner of a run: a model for the last noise levels, which goes on from another's latents.

As in "SDXL" (Podell et al., arXiv 2307.01952, section 2.5), whose refiner was trained on the lowest
200 of the 1000 training steps alone ("ensemble of expert denoisers", eDiff-I, Balaji et al., arXiv
2211.01324).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from .diffusion import NoiseSchedule, coefficients
from .errors import InputError
from .sources import Source

if TYPE_CHECKING:
    from .pipeline import LatentDiffusion

START = 0.8
"""Where a refiner takes over if nothing else is said."""


def steps_before(schedule: NoiseSchedule, grid: Sequence[float], start: float) -> int:
    """How many steps of a grid come before a refiner that takes over at ``start``.

    ``start`` is a share of the way from pure noise, in training steps: of 1000, at 0.8 the refiner
    has those from a level below training step 200. So it gets the levels that it was trained on,
    whatever the grid.
    """
    steps = len(schedule)
    cutoff = round(steps - start * steps)
    # a level is found again up to a rounding
    return sum(round(schedule.t(level), 3) >= cutoff for level in grid[:-1])


def check_refiner(model: LatentDiffusion, refiner: LatentDiffusion) -> None:
    """Raise InputError for a refiner that cannot go on from the model's latents."""
    if not all(hasattr(refiner, name) for name in ("unet", "autoencoder", "schedule", "config")):
        raise InputError(
            f"refiner must be a LatentDiffusion, got a {type(refiner).__name__}.\n"
            "sdwidgets.load(...) returns one.",
            parameter="refiner",
        )
    said = f"{refiner.name!r} cannot go on from {model.name!r}"
    ours, theirs = model.config.autoencoder, refiner.config.autoencoder
    facts = ("latent_channels", "factor", "scaling_factor", "shift_factor")
    for name in facts:
        if getattr(ours, name) != getattr(theirs, name):
            raise InputError(
                f"{said}: its latents have a {name} of {getattr(theirs, name):g}, those of the "
                f"model {getattr(ours, name):g}.\nGive a refiner for the same latents.",
                parameter="refiner",
            )
    a, b = model.schedule.sigmas, refiner.schedule.sigmas
    scales = [coefficients(each.config.schedule.prediction).c_in for each in (model, refiner)]
    if len(a) != len(b) or not torch.allclose(a, b) or scales[0](1.0) != scales[1](1.0):
        raise InputError(
            f"{said}: they were trained on different noise levels.\n"
            "Give a refiner with the same noise schedule.",
            parameter="refiner",
        )
    if model.device != refiner.device:
        raise InputError(
            f"The model is on {model.device}, its refiner on {refiner.device}.\n"
            "Load both on the same device.",
            parameter="refiner",
        )


def sources_of(refiner: LatentDiffusion) -> tuple[Source, ...]:
    """What a refiner was made of, for the record: its files have the kind "refiner"."""
    found = refiner.sources or (Source(refiner.name),)
    return tuple(replace(one, kind="refiner") if one.kind == Source.kind else one for one in found)
