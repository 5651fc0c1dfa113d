"""Edits in order, with undo and redo; every change makes a new history."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

from ..errors import InputError
from .edits import Edit, Knock

MOST_EDITS = 64
MOST_STEPS = 200  # that can be undone

Edits = tuple[Edit, ...]


@dataclass(frozen=True)
class History:
    """The edits ``now``; in the ``past`` those before each step, in the ``future`` those undone."""

    now: Edits = ()
    past: tuple[Edits, ...] = ()
    future: tuple[Edits, ...] = ()
    stroke: Hashable = None  # the drag that is under way

    def add(self, edit: Edit, *, live: bool = False) -> History:
        """The history with another edit. All edits of a drag (``live``) are one step.

        Raises ``InputError`` if there are too many.
        """
        goes_on = self.stroke is not None and self.stroke == edit.stroke
        if edit.slider is not None:
            now = _moved(self.now, edit)
        else:
            before = self.now[:-1] if goes_on else self.now
            now = before if edit.is_neutral else (*before, edit)
        if len(now) > MOST_EDITS:
            raise InputError(f"At most {MOST_EDITS} edits are kept. Undo some, or reset.")
        stroke = edit.stroke if live else None
        if goes_on and not live and now == self.past[-1]:  # dragged there and back
            return History(now, self.past[:-1], ())
        if goes_on:
            return replace(self, now=now, stroke=stroke)
        if now == self.now and not live:
            return replace(self, stroke=None)
        return History(now, (*self.past, self.now)[-MOST_STEPS:], (), stroke)

    def undo(self) -> History:
        """The history a step back; the same if there is none."""
        if not self.past:
            return self
        return History(self.past[-1], self.past[:-1], (self.now, *self.future))

    def redo(self) -> History:
        """The history with the step that was undone last; the same if there is none."""
        if not self.future:
            return self
        return History(self.future[0], (*self.past, self.now), self.future[1:])

    def reset(self) -> History:
        """The history without any edit, a step like any other."""
        return History((), (*self.past, self.now), ()) if self.now else self


def _moved(edits: Edits, edit: Edit) -> Edits:
    """The edits with a slider moved; its new edit replaces its earlier one."""
    at = next((i for i, other in enumerate(edits) if other.slider == edit.slider), len(edits))
    taken_back = isinstance(edit, Knock) and at < len(edits)
    kept = () if edit.is_neutral or taken_back else (edit,)
    return (*edits[:at], *kept, *edits[at + 1 :])
