"""The inside of a run: every step and every word, live and afterwards."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import ipywidgets
import traitlets

from ..contract import PANELS
from ..errors import InputError
from ..frontend import Code
from ..trace.recording import Recordable
from ..trace.trace import Trace
from .reel import ReelView, check_known, record_of
from .selection import SELECTIONS, Selections

log = logging.getLogger(__name__)


class Viewer(ReelView):
    """Shows every step and every word of a run, live and afterwards without a kernel.

    Example::

        viewer = sdw.Viewer()
        display(viewer)
        for step in viewer.watch(model.sample("a cat left of a car", attention=True)):
            pass                                   # your own loop; each step appears as it passes
        viewer.word = "cat"                        # its attention, over the image
        viewer.step, viewer.guidance = 7, 9.0      # one step, with more guidance

        sdw.Viewer(sdw.Trace.load("cat.sdtrace"))  # a finished run, also one from a file

    Any thread may use it, also during a run. ``lock`` is held while the content changes. A thread
    that makes steps does not wait for the lock: `add` returns in microseconds.
    """

    _esm = Code("viewer.js")
    _css = Code("viewer.css")

    panels: traitlets.List[str] = traitlets.List(traitlets.Enum(PANELS), list(PANELS)).tag(
        sync=True
    )
    """The panels beside the image: "denoising", "attention", "tokens", and "control", which only
    runs with controls have."""

    def __init__(self, trace: Trace | Recordable | None = None, **selections: Any):
        check_known(self, selections)
        record = None if trace is None else record_of(trace)
        super().__init__(**selections)
        if record is not None:
            self.show(record)
            for name, value in selections.items():
                setattr(self, name, value)

    def _still(self) -> bytes | None:
        """A sheet of the run."""
        trace = self.trace
        if trace is None or self.panels == ["tokens"]:  # the tokens of a prompt need no image
            return None
        return on_paper(trace, self.word, self.picture)


def link(
    *viewers: Selections, traits: Sequence[str] = ("step", "word", "layer")
) -> list[ipywidgets.Widget]:
    """Link viewers in the page, without the kernel: a choice in one is made in all.

    Example::

        first, second = sdw.Viewer(cat), sdw.Viewer(dog)
        links = link(first, second, traits=["step"])   # links[0].unlink() ends it

    Returns the links. ``traits``: names of selections. Raises InputError for fewer than two viewers
    and for a trait that is no selection.
    """
    if len(viewers) < 2 or not all(isinstance(one, Selections) for one in viewers):
        raise InputError("link takes two or more viewers.", parameter="viewers")
    for name in traits:
        if name not in SELECTIONS:
            raise InputError(
                f"There is no selection {name!r}.\nSelections: {', '.join(SELECTIONS)}.",
                parameter="traits",
            )
    first, *others = viewers
    return [ipywidgets.jslink((first, name), (one, name)) for one in others for name in traits]


def on_paper(trace: Trace, word: str = "", picture: int = 0) -> bytes | None:
    """A PNG of a run for hosts without scripts: its steps side by side, with a word's heat maps.

    Only the final image if no sheet can be drawn; None if there is no image yet.
    """
    picture = min(picture, max(trace.settings.batch_size - 1, 0))
    try:
        from ..trace.sheet import sheet_png

        words = (word,) if word and trace.layers and _has(trace, word, picture) else ()
        return sheet_png(trace, words=words, picture=picture)
    except Exception:  # a caller's own steps may lack data; matplotlib may be missing
        log.debug("No sheet can be drawn.", exc_info=True)
    return trace.png(picture) if picture < len(trace.images) else None


def _has(trace: Trace, word: str, picture: int) -> bool:
    try:
        return bool(trace.tokens[picture].find(word))
    except InputError:
        return False
