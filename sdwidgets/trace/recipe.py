"""Which of a run's attention maps make a word's heat map. Numbers and names, no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import checks
from ..errors import InputError


@dataclass(frozen=True)
class Recipe:
    """Which maps of a word make its heat map, and what they are measured against.

    The heat map is the mean of the maps that count, each resized to the image. ``layers`` and
    ``chosen_steps`` say which ones count. Neither is ever empty: where nothing matches, all count.
    """

    reductions: tuple[int, ...] | None = None
    """The maps' sizes: 1 is the latents' own, 2 half of it, and so on; None: all."""
    places: tuple[str, ...] | None = None
    """"down", "mid", "up"; None: all."""
    steps: tuple[float, float] = (0.0, 1.0)
    """Share of the run, half-open: step ``i`` of ``n`` counts when (i + 0.5) / n is inside."""
    against: str = "none"
    """"none": the attention as it is; "words": its share among the prompt's words."""
    cells: int | None = None
    """Of the resolutions left, only the one nearest to this many cells; None: all."""

    def __post_init__(self) -> None:
        """Raise InputError for a field that cannot be."""
        if self.reductions is not None:
            _items("reductions", self.reductions, lambda one: checks.is_whole(one) and one > 0)
        if self.places is not None:
            _items("places", self.places, lambda one: isinstance(one, str) and one in PLACES)
        _items("steps", self.steps, lambda one: checks.is_number(one) and one == one)
        if len(self.steps) != 2:
            raise InputError(
                f"steps must be two numbers, got {checks.shown(self.steps)}.", parameter="steps"
            )
        checks.choice("against", self.against, ("none", "words"))
        if self.cells is not None:
            checks.whole("cells", self.cells, 1, 2**31)

    def layers(self, grids: Mapping[str, tuple[int, int]], latents: tuple[int, int]) -> list[str]:
        """The names of the layers that count, in the order given.

        ``grids``: every layer's name and the (h, w) of its maps; ``latents``: their (h, w). If the
        network has none of the sizes and places that the recipe names, all layers.
        """
        chosen = [
            name
            for name, grid in grids.items()
            if (self.places is None or place_of(name) in self.places)
            and (self.reductions is None or reduction_of(grid, latents) in self.reductions)
        ]
        if self.cells is not None and chosen:
            off = {name: abs(math.log(math.prod(grids[name]) / self.cells)) for name in chosen}
            chosen = [name for name in chosen if off[name] == min(off.values())]
        return chosen or list(grids)

    def chosen_steps(self, count: int) -> list[int]:
        """The indices of the steps that count in a run of ``count``; all, if none is inside."""
        first, end = self.steps
        chosen = [i for i in range(count) if first <= (i + 0.5) / count < end]
        return chosen or list(range(count))


PLACES = ("down", "mid", "up")


def _items(name: str, value: object, fits: Callable[[Any], bool]) -> None:
    if not isinstance(value, (tuple, list)) or not all(map(fits, value)):
        raise InputError(f"{name} of a recipe cannot be {checks.shown(value)}.", parameter=name)


def place_of(layer: str) -> str:
    """ "down", "mid" or "up": where in the network a layer is, by its module path."""
    return layer.partition("_")[0]


def labels(names: Sequence[str]) -> list[str]:
    """Short names: "down 1", "down 2", "mid", "up 1", ..., numbered within each place."""
    places = [place_of(name) for name in names]
    counts = [places[: i + 1].count(place) for i, place in enumerate(places)]
    return [
        f"{place} {count}" if places.count(place) > 1 else place
        for place, count in zip(places, counts, strict=True)
    ]


def reduction_of(grid: tuple[int, int], latents: tuple[int, int]) -> int:
    """How often (as 1, 2, 4, ...) the latents' side was halved, rounding up, to reach the grid."""
    reduction, (h, w) = 1, latents
    while h * w > grid[0] * grid[1]:
        reduction, h, w = 2 * reduction, (h + 1) // 2, (w + 1) // 2
    return reduction


DAAM = Recipe()
"""The plain average of all layers and steps (Tang et al., arXiv 2210.04885, section 3)."""

# The best recipe in benchmarks/attention_truth.py that needs only cross-attention, chosen on one
# half of known scenes. On the other half, against the nouns' masks: mIoU 0.735, AUC 0.995; DAAM
# 0.652, 0.991 (docs/attention.md). 384 cells lie between 16 x 16, which was best here and in the
# published measurements of Stable Diffusion 1, and 24 x 24, its grid for images 1.5 times as wide.
DEFAULT = Recipe(places=("down", "up"), cells=384, steps=(0.8, 1.0))
"""The last fifth of a run, at about 16 x 16 cells: what heat maps show by default."""
