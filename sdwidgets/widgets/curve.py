"""The values that a training has reported, thinned for a plot, with their running means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from .. import checks
from ..errors import InputError
from ..trace.thinning import Thinned

MOST = 300
"""Steps kept of a training, at most; of a longer one every n-th and the newest."""

LARGEST_NAMES = 12
"""Values of a step that are plotted, at most; the loss comes first."""

SMOOTHED_OVER = 40
"""A running mean looks back over this fraction of all steps, one in 40..."""

LEAST, LONGEST = 10, 500
"""... but over no fewer and no more steps than these."""


class TrainStep(Protocol):
    """One step of a training: ``index`` of ``total``, from 0; the mean ``loss`` of its batch, its
    learning rate, the seconds it took, and further ``metrics`` by name."""

    @property
    def index(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def loss(self) -> float: ...
    @property
    def lr(self) -> float: ...
    @property
    def seconds(self) -> float: ...
    @property
    def metrics(self) -> Mapping[str, float]: ...


FIELDS = ("index", "total", "loss", "lr", "seconds", "metrics")


class Curve:
    """The steps of a training, added one by one.

    ``names`` are those of their values, "loss" first; a metric that comes late is appended. NaN
    stands for a value that is missing or not finite.
    """

    def __init__(self) -> None:
        self.names: list[str] = ["loss"]
        self._kept: Thinned[tuple[TrainStep, list[float]]] = Thinned(MOST)  # steps, rows of table
        self._means: dict[str, tuple[float, int]] = {}  # and of how many values

    @property
    def steps(self) -> tuple[TrainStep, ...]:
        """The steps kept, oldest first; the newest is the last."""
        return tuple(step for step, _ in self._kept.items.values())

    def add(self, step: TrainStep) -> None:
        """Add a step."""
        values = {"loss": float(step.loss)}
        values |= {str(name): float(value) for name, value in step.metrics.items()}
        known = [name for name in values if name not in self.names]
        self.names += known[: LARGEST_NAMES - len(self.names)]
        window = min(max(step.total / SMOOTHED_OVER, LEAST), LONGEST)
        row = [float(step.index + 1)]
        for name in self.names:
            value = values.get(name, math.nan)
            row += [value, self._mean(name, value, window)]
        self._kept.add((step, row))

    def _mean(self, name: str, value: float, window: float) -> float:
        """The exponential mean with this value; the plain mean while there are few values."""
        mean, count = self._means.get(name, (0.0, 0))
        if not math.isfinite(value):
            return mean if count else math.nan
        count += 1
        mean += (value - mean) / min(count, window)
        self._means[name] = mean, count
        return mean

    def means(self) -> dict[str, float | None]:
        """The running mean of each value for JSON, None if there is none yet."""
        return {name: self._means[name][0] if name in self._means else None for name in self.names}

    def table(self) -> np.ndarray:
        """float32 [steps, 1 + 2 * names]: the step's number from 1, then of each name the value and
        its running mean."""
        rows = [row for _, row in self._kept.items.values()]
        table = np.full((len(rows), 1 + 2 * len(self.names)), np.nan, np.float32)
        for into, row in zip(table, rows, strict=True):
            into[: len(row)] = row
        return table


def checked(step: TrainStep) -> TrainStep:
    """The step. Raises InputError if it is not a training's."""
    if not all(hasattr(step, name) for name in FIELDS):
        raise InputError(
            f"A TrainingView shows steps of a training, got a {type(step).__name__}.\n"
            f"Steps have {', '.join(FIELDS[:-1])} and {FIELDS[-1]}.",
            parameter="steps",
        )
    return step


def checked_count(name: str, value: object) -> int:
    """A number of steps or samples, 1 or more."""
    return checks.whole(name, value, 1, 10**9)
