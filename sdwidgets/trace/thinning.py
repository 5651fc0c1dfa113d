"""Few of many: the steps of a long run that a sheet, an animation or a page has room for."""

from __future__ import annotations


def evenly(count: int, most: int) -> list[int]:
    """At most ``most`` (1 or more) of ``count`` indices, spread evenly: both ends, or the last."""
    if count <= most:
        return list(range(count))
    if most == 1:
        return [count - 1]
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]
