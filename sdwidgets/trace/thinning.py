"""Some of many: what a sheet, an animation, a page or a curve has room for."""

from __future__ import annotations

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


class Thinned(Generic[T]):
    """Some of many items, while they come and nobody knows how many will: at most ``most`` of them.

    Every so-many-th is kept, from the first on, and the newest. When there is no room, every other
    one is dropped.
    """

    def __init__(self, most: int, stride: int = 1):
        self.count = 0
        """Items added so far."""
        self._most, self._stride = most, stride
        self._kept: dict[int, T] = {}

    def add(self, item: T) -> None:
        """Keep the item as the newest, in the room of others if need be."""
        self.make_room()
        self._kept[self.count] = item
        self.count += 1

    def make_room(self) -> None:
        """Drop what goes when the next item comes: the newest so far, unless it is in turn."""
        newest = self.count - 1
        if newest % self._stride:
            self._kept.pop(newest, None)
        if len(self._kept) == self._most:
            self._stride *= 2
            self._kept = {n: one for n, one in self._kept.items() if n % self._stride == 0}

    @property
    def items(self) -> dict[int, T]:
        """The items kept by their number, counted from 0, oldest first."""
        return dict(self._kept)
