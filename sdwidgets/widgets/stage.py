"""The Studio's stage: the image as it forms, earlier results, and all that is inside a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import traitlets

from ..contract import PANELS, numbered
from ..frontend import bundle
from ..trace.reel import pack
from ..trace.step import TraceStep
from ..trace.trace import Trace
from .picture import PictureView
from .reel import FRAMES
from .selection import OF_A_RUN, SELECTIONS
from .slots import Slots

MORE = numbered("more")
"""The traits that hold what only the panels need of the steps in `reel.FRAMES`."""

ALWAYS = ("x", "denoised")
INSIDE = ("uncond", "difference", "attention")
"""What the stage needs of a step, and what the panels need beside it: no part is in both."""


@dataclass(frozen=True)
class Reel:
    """A run as it is in the traits: enough to show it again without its record."""

    header: Mapping[str, Any]
    frames: Mapping[str, bytes]


class Stage(PictureView):
    """The Studio's picture: with earlier results below it and, opened, the panels of a viewer.

    It is one widget with one stream. What only the panels need of a step travels when they are
    open: of the steps that were sent before, once they are opened.
    """

    _esm = bundle("studio.js")
    _css = bundle("studio.css")

    panels: traitlets.List[str] = traitlets.List(traitlets.Enum(PANELS)).tag(sync=True)
    """What is shown of the inside of a run: "denoising", "attention", "tokens"; [] is closed."""

    history: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    """Earlier results, oldest first: ``id``, ``prompt``, ``seed``, ``title``, ``thumbnail``."""

    locals().update({name: traitlets.Bytes().tag(sync=True) for name in MORE})

    _steps_in = (*FRAMES, *MORE)

    @traitlets.observe("panels")
    def _open(self, change: Any) -> None:
        """Send what the panels need of the steps that were sent without it."""
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
        """What is on show, as it is in the traits."""
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
        """Show an earlier run again: from its record or, where that is gone, as it was saved."""
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
