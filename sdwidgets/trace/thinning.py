"""Some of many: what a sheet, an animation, a page or a curve has room for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


def evenly(count: int, most: int) -> list[int]:
    """At most ``most`` (1 or more) of ``count`` indices, spread evenly.

    Both ends are among them; a single index is the last.
    """
    if count <= most:
        return list(range(count))
    if most == 1:
        return [count - 1]
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def stride_for(count: int, most: int) -> int:
    """The smallest stride that leaves at most ``most`` (2 or more) of ``count`` items, the last
    one included."""
    return max(math.ceil((count - 1) / (most - 1)), 1)


def strided(items: Sequence[T], stride: int) -> list[T]:
    """Every ``stride``-th item, starting with the first, and the last."""
    return [item for i, item in enumerate(items) if i % stride == 0 or i == len(items) - 1]


class Thinned(Generic[T]):
    """At most ``most`` of the items of a stream whose length is not known beforehand.

    It keeps every ``stride``-th item, starting with the first, and the newest. When there is no
    room, the stride doubles.
    """

    def __init__(self, most: int, stride: int = 1):
        self.count = 0
        """Items added so far."""
        self._most, self._stride = most, stride
        self._kept: dict[int, T] = {}

    def add(self, item: T) -> None:
        """Keep an item as the newest; others make room if need be."""
        self.make_room()
        self._kept[self.count] = item
        self.count += 1

    def make_room(self) -> None:
        """Drop what the next item replaces: the newest so far, unless the stride keeps it."""
        newest = self.count - 1
        if newest % self._stride:
            self._kept.pop(newest, None)
        if len(self._kept) == self._most:
            self._stride *= 2
            self._kept = {n: one for n, one in self._kept.items() if n % self._stride == 0}

    @property
    def items(self) -> dict[int, T]:
        """The kept items by their index in the stream, oldest first."""
        return dict(self._kept)
