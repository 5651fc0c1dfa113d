"""Where a word of a recorded run looked: which of its maps count, made into one (see maps.py)."""

from __future__ import annotations

import numpy as np

from .. import checks
from ..contract import SPECIAL
from ..errors import InputError
from .maps import sizes, stretched, word_map
from .recipe import DEFAULT, Recipe, labels
from .record import Record, StepNumbers
from .step import Maps, StepAttention
from .tokens import Span


def heat_map(
    record: Record,
    word: str | int | Span,
    step: StepNumbers = None,
    layer: str | int | None = None,
    *,
    resolution: int | None = None,
    head: int | None = None,
    occurrence: int | None = None,
    against: str | None = None,
    scale: str = "raw",
    uncond: bool = False,
    picture: int = 0,
    recipe: Recipe = DEFAULT,
) -> np.ndarray:
    """[H, W] float32 at the image's size; see `Trace.heat_map`."""
    picture = checks.index("picture", picture, record.batch_size)
    checks.choice("scale", scale, ("raw", "picture"))
    checks.flag("uncond", uncond)
    checks.typed("recipe", recipe, Recipe, "a Recipe")
    maps = _maps(record, step, recipe, uncond)
    names = _layers(record, maps[0], layer, resolution, recipe)
    if head is not None:
        head = checks.index("head", head, min(maps[0][name].shape[1] for name in names))
    prompt = record.prompt_of(picture, uncond=uncond)
    tokens = prompt.find(word, occurrence=occurrence)
    special = isinstance(word, str) and word in SPECIAL
    if against is None:
        against = "none" if special else recipe.against
    if checks.choice("against", against, ("none", "words")) == "words" and special:
        raise InputError(
            f"{word!r} stands for no word: it has no share among them.\nLeave out against.",
            parameter="against",
        )
    width, height = record.size
    result = word_map(
        maps,
        prompt,
        tokens,
        (height, width),
        layers=names,
        picture=picture,
        head=head,
        against=against,
    )
    return stretched(result) if scale == "picture" else result


def _maps(record: Record, step: StepNumbers, recipe: Recipe, uncond: bool) -> list[Maps]:
    """The maps of each step that counts. InputError where none were recorded.

    If no step is asked for, steps without maps do not count.
    """
    kept = [one.attention or StepAttention() for one in record.chosen_steps(step, recipe)]
    maps = [one.uncond if uncond else one.cross for one in kept]
    if step is None and not all(maps):
        every = [one.attention or StepAttention() for one in record.steps]
        maps = [one for one in maps if one] or [
            found for one in every if (found := one.uncond if uncond else one.cross)
        ]
    if not maps or not all(maps):
        if uncond and any(one.cross for one in kept):
            raise InputError(
                "The negative prompt's attention was not recorded.\n"
                "Generate with attention=AttentionSettings(uncond=True), and guidance.",
                parameter="uncond",
            )
        raise InputError("No attention was recorded.\nGenerate with attention=True.")
    return maps


def _layers(
    record: Record, maps: Maps, layer: str | int | None, resolution: int | None, recipe: Recipe
) -> list[str]:
    """The names of the layers that count."""
    grids = sizes(maps)
    if layer is not None:
        name = _layer(layer, list(grids))
        grids = {name: grids[name]}
    if resolution is not None:
        known = sorted({max(grid) for grid in grids.values()})
        if not checks.is_whole(resolution) or resolution not in known:
            raise InputError(
                f"No map has {checks.shown(resolution)} cells on its longer side.\n"
                f"Resolutions: {', '.join(map(str, known))}.",
                parameter="resolution",
            )
        grids = {name: grid for name, grid in grids.items() if max(grid) == resolution}
    if layer is not None or resolution is not None:
        return list(grids)
    latents = record.steps[0].x.shape
    return recipe.layers(grids, (latents[-2], latents[-1]))


def _layer(layer: str | int, names: list[str]) -> str:
    """The layer of that name, number or label."""
    if isinstance(layer, str):
        known = dict(zip(labels(names), names, strict=True)) | {name: name for name in names}
        if layer not in known:
            raise InputError(
                f"There is no layer {checks.shown(layer)}.\n"
                f"Layers: {', '.join(labels(names))}; or their full names, trace.layers.",
                parameter="layer",
            )
        return known[layer]
    return names[checks.index("layer", layer, len(names))]
