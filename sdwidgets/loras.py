"""LoRAs to apply to a model: files and strengths, checked, without torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

from . import checks
from .errors import InputError
from .sources import STRENGTH_LIMIT, LocalFile

MOST = 32
"""The most LoRAs on a model."""

LoraLike = Union[
    str,
    "os.PathLike[str]",
    tuple[Union[str, "os.PathLike[str]"], float],
    tuple[Union[str, "os.PathLike[str]"], float, float | None],
    "Lora",
]
"""A path, (path, strength), (path, strength, text_strength) or a `Lora`."""


@dataclass(frozen=True)
class Lora:
    """A file of a LoRA, or a folder as PEFT saves it, and how strongly it is applied.

    ``strength``: 1 is as it was trained, 0 nothing, less than 0 the opposite; at most a million.
    ``text_strength``: the strength for text encoders; None is ``strength``. Raises InputError for
    other values.
    """

    path: Path
    strength: float = 1.0
    text_strength: float | None = None
    file: LocalFile | None = field(default=None, repr=False, compare=False)
    """The file as it was when it was applied; None before."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", checks.path("file", self.path))
        for name in ("strength", "text_strength"):
            value = getattr(self, name)
            if name == "strength" or value is not None:
                value = checks.real(name, value, -STRENGTH_LIMIT, STRENGTH_LIMIT)
                object.__setattr__(self, name, value)

    @classmethod
    def of(cls, value: Any) -> Lora:
        """Return the LoRA that a user means by a path or a tuple. Raises InputError."""
        if isinstance(value, Lora):
            return value
        parts = value if isinstance(value, (tuple, list)) else (value,)
        if not 1 <= len(parts) <= 3 or not isinstance(parts[0], (str, os.PathLike)):
            raise InputError(
                f"A LoRA is a path, (path, strength) or (path, strength, text_strength); got "
                f"{checks.shown(value)}.",
                parameter="loras",
            )
        return cls(*parts)

    def is_named(self, name: str | os.PathLike[str]) -> bool:
        """Whether ``name`` is its path, or the file's name, with or without its ending."""
        return str(name) in (str(self.path), self.path.name, self.path.stem)

    @property
    def strengths(self) -> tuple[float, float]:
        """The strength of the network, and that of text encoders."""
        return self.strength, self.strength if self.text_strength is None else self.text_strength

    @property
    def different_text_strength(self) -> float | None:
        """``text_strength`` if it differs from ``strength``, else None."""
        network, text = self.strengths
        return text if text != network else None


def loras_of(values: Any) -> tuple[Lora, ...]:
    """Return the LoRAs of a list. Raises InputError for what is no list of at most `MOST`."""
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes)):
        raise InputError(
            f"loras is a list of paths, or of (path, strength); got {checks.shown(values)}.",
            parameter="loras",
        )
    if len(values) > MOST:
        raise InputError(
            f"A model takes at most {MOST} LoRAs, got {len(values):,}.", parameter="loras"
        )
    return tuple(Lora.of(each) for each in values)
