"""Errors without the frames in which they were raised, which keep a run's tensors alive."""

from __future__ import annotations

import traceback


def without_frames(error: BaseException) -> str:
    """Remove the frames, and with them the run's tensors, from an error; return them as text."""
    try:
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except BaseException:  # from somebody's __str__
        text = f"{type(error).__name__}, which cannot be shown"
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        found = queue.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            found.__traceback__ = None
            queue += [found.__cause__, found.__context__]
    return text
