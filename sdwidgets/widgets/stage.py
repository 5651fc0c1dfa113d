"""The Studio's stage: the forming image and the inside of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import traitlets

from ..contract import PANELS, numbered
from ..frontend import Code
from ..trace.reel import pack
from ..trace.step import TraceStep
from ..trace.trace import Trace
from .picture import PictureView
from .reel import FRAMES
from .selection import OF_A_RUN, SELECTIONS
from .slots import Slots

MORE = numbered("more")
"""Traits with the parts of the steps in `reel.FRAMES` that only the panels need."""

ALWAYS = ("x", "denoised")
INSIDE = ("uncond", "difference", "attention")
"""The parts of a step that the stage needs, and those that only the panels need."""


@dataclass(frozen=True)
class Reel:
    """A run as the traits hold it: enough to show it again without its record."""

    header: Mapping[str, Any]
    frames: Mapping[str, bytes]


class Stage(PictureView):
    """The Studio's image and, if open, the panels of a viewer.

    It is one widget with one stream. The parts of a step that only the panels need are sent while
    the panels are open. Opening them sends these parts of earlier steps.
    """

    _esm = Code("studio.js")
    _css = Code("studio.css")

    panels: traitlets.List[str] = traitlets.List(traitlets.Enum(PANELS)).tag(sync=True)
    """The open panels: "denoising", "attention", "tokens"; [] if closed."""

    locals().update({name: traitlets.Bytes().tag(sync=True) for name in MORE})

    _is_part = True
    _steps_in = (*FRAMES, *MORE)

    @traitlets.observe("panels")
    def _open(self, change: Any) -> None:
        """Send what the panels need of steps that were sent without it."""
        if change.old or not change.new:
            return
        with self.lock, self._harmless:
            with self.hold_sync():
                for slot, step in self._slots.steps():
                    if not getattr(self, MORE[slot]):
                        setattr(self, MORE[slot], self._more(step, self._longest))
            if self.state not in ("loading", "running"):
                self._fit()

    def _traits_of(self, slot: int) -> Sequence[str]:
        return FRAMES[slot], MORE[slot]

    def _pack(self, slot: int, step: TraceStep, longest: int) -> dict[str, bytes]:
        more = self._more(step, longest) if self.panels else b""
        return {FRAMES[slot]: pack(step, longest=longest, parts=ALWAYS), MORE[slot]: more}

    def _more(self, step: TraceStep, longest: int) -> bytes:
        return pack(step, longest=longest, parts=INSIDE)

    def kept(self) -> Reel:
        """The run on show, as the traits hold it."""
        with self.lock:
            values = {name: getattr(self, name) for name in self._steps_in}
            frames = {name: frame for name, frame in values.items() if frame}
            header = self.header
            if header and not any(name in frames for name in MORE):
                header = {**header, "layers": [], "recipe": {**header["recipe"], "layers": []}}
            return Reel(header, frames)

    def recall(
        self,
        number: int,
        reel: Reel,
        images: Sequence[dict[str, Any]],
        message: str,
        trace: Trace | None = None,
    ) -> None:
        """Show an earlier run again, from its record or, without one, as it was saved."""
        if trace is not None:
            self._show(trace, message, number=number, images=images)
            return
        with self.lock, self.hold_sync():
            self._run, self._slots, self._trace, self._whole = number, Slots(), None, {}
            for name in OF_A_RUN:
                setattr(self, name, SELECTIONS[name].default_value)
            for name in self._steps_in:
                setattr(self, name, reel.frames.get(name, b""))
            self.header = dict(reel.header)
            self._show_images(images, "done")
            self.state, self.message = "done", message
        if self._files is not None:
            self.send(*self._files)
