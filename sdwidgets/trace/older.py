"""Settings of earlier versions, converted so that they make the same images today.

Records name the format of their settings, except those in the first format. In format 3, steps and
sampler had fixed defaults, and an option that a sampler did not have was kept at its default. In
format 2, moreover, brackets were text, and a prompt was cut after the first 75 tokens. In the
first, moreover:

- The schedule "default" was the grid of the model's config, which is "config" today.
- A seed's bits above 32 had no effect.
- Strength was rounded down to whole steps, not to the nearest.
- Guidance below 1 blended the two predictions. No setting does that any more, so it stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..checks import is_whole
from ..contract import PARENT
from ..prompts import PLAIN

FORMAT = 4
"""The format of the settings that `Settings.as_dict` returns today."""


def settings_of(record: Mapping[str, Any]) -> Any:
    """The settings of a record, not checked yet, in today's format."""
    settings, form = record.get("settings"), record.get("settings_format", 1)
    if form not in (1, 2, 3) or not isinstance(settings, Mapping):
        return settings
    changed: dict[str, Any] = {"steps": 20, "sampler": "dpmpp_2m", **settings}
    if changed.get("eta") == 0:
        changed["eta"] = None
    if form == 3:
        return changed
    changed = {"weights": PLAIN.weights, "chunks": PLAIN.chunks, **changed}
    if form == 2:
        return changed
    if settings.get("schedule", "default") == "default":
        changed["schedule"] = "config"
    if "seed" in settings:
        changed["seed"] = _seed(settings["seed"], settings.get("batch_size", 1))
    if record.get("task") in ("image to image", "inpainting"):
        steps, strength = settings.get("steps", 20), settings.get("strength", 0.8)
        if is_whole(steps) and 1 <= steps <= 10**6 and isinstance(strength, (int, float)):
            taken = int(steps * strength) if 0 < strength <= 1 else 0
            changed["strength"] = taken / steps if taken else strength
    return changed


def translated(record: dict[str, Any], parents: int = PARENT["depth"]) -> dict[str, Any]:
    """The record with its settings, and those of its parents, in today's format.

    Of more than so many ``parents``, the last ones are left out.
    """
    made = {**record, "settings": settings_of(record), "settings_format": FORMAT}
    parent = made.pop("parent", None)
    if parents and isinstance(parent, dict) and isinstance(parent.get("record"), dict):
        made["parent"] = {**parent, "record": translated(parent["record"], parents - 1)}
    return made


def _seed(seed: Any, batch: Any) -> Any:
    """A seed, or a list of them, of 32 bits."""
    if isinstance(seed, (list, tuple)):
        return [_seed(one, 1) for one in seed]
    if not (is_whole(seed) and is_whole(batch) and 1 <= batch <= 64 and seed + batch > 2**32):
        return seed
    seeds = [(seed + number) % 2**32 for number in range(batch)]
    return seeds[0] if seeds[-1] - seeds[0] == batch - 1 else seeds
