"""A run looked at from inside: every step and every word, live and afterwards."""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from typing import Any

import ipywidgets
import traitlets

from ..contract import PANELS
from ..errors import InputError
from ..frontend import bundle
from ..trace.recording import Recordable
from ..trace.trace import Trace
from . import kernel
from .reel import ReelView, check_known, record_of
from .selection import SELECTIONS, Selections

log = logging.getLogger(__name__)


class Viewer(ReelView):
    """Every step and every word of a run: while it goes on, and afterwards with no kernel.

    Example::

        viewer = sdw.Viewer()
        display(viewer)
        for step in viewer.watch(model.sample("a cat left of a car", attention=True)):
            pass                                   # your own loop; each step is shown as it passes
        viewer.word = "cat"                        # where it looked, over the picture
        viewer.step, viewer.guidance = 7, 9.0      # one step, as more guidance would have made it

        sdw.Viewer(sdw.Trace.load("cat.sdtrace"))  # a finished run, also one from a file

    It may be used from any thread, also while a run goes on: ``lock`` is held while what it shows
    changes. A thread that makes steps need not wait for that: `add` takes them in microseconds.
    """

    _esm = bundle("viewer.js")
    _css = bundle("viewer.css")

    panels: traitlets.List[str] = traitlets.List(traitlets.Enum(PANELS), list(PANELS)).tag(
        sync=True
    )
    """What is shown beside the picture: "denoising", "attention", "tokens"."""

    def __init__(self, trace: Trace | Recordable | None = None, **selections: Any):
        check_known(self, selections)
        record = None if trace is None else record_of(trace)
        self._displayed = False
        super().__init__(**selections)
        kernel.replace_in_cell(self)
        if record is not None:
            self.show(record)
            for name, value in selections.items():
                setattr(self, name, value)

    def end(
        self,
        result: Trace | str,
        message: str = "",
        *,
        run: int | None = None,
        images: Sequence[dict[str, Any]] | None = None,
    ) -> bool:
        with self.lock:
            shown = super().end(result, message, run=run, images=images)
            with self._harmless:
                if shown and self._displayed and kernel.without_page():  # put down before the run
                    kernel.update_display(*self._repr_mimebundle_(), self.uid)
            return shown

    def _ipython_display_(self, **kwargs: Any) -> None:
        kernel.display(*self._repr_mimebundle_(), self.uid)
        self._displayed = True

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget; and where none can be shown, the run on one sheet, or a line of text."""
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        trace = self.trace
        still = on_paper(trace, self.word, self.picture) if trace is not None else None
        data = {**data, "text/plain": repr(self)}
        if still is not None:
            data["image/png"] = base64.b64encode(still).decode()
        return data, metadata


def link(
    *viewers: Selections, traits: Sequence[str] = ("step", "word", "layer")
) -> list[ipywidgets.Widget]:
    """Ties viewers together in the page, with no kernel: what is chosen in one is in all.

    Example::

        first, second = sdw.Viewer(cat), sdw.Viewer(dog)
        links = link(first, second, traits=["step"])   # links[0].unlink() ends it

    ``traits``: names of selections. Raises InputError for fewer than two viewers and for a trait
    that is no selection.
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
    """A PNG of a run for where no script runs: steps beside each other, and the pinned word's heat.

    Its picture alone where that cannot be drawn; None where there is none yet.
    """
    picture = min(picture, max(trace.settings.batch_size - 1, 0))
    try:
        from ..trace.sheet import sheet_png

        words = (word,) if word and trace.layers and _has(trace, word, picture) else ()
        return sheet_png(trace, words=words, picture=picture)
    except Exception:  # of someone's own steps little is known; matplotlib may be missing
        log.debug("No sheet can be drawn.", exc_info=True)
    return trace.png(picture) if picture < len(trace.images) else None


def _has(trace: Trace, word: str, picture: int) -> bool:
    try:
        return bool(trace.tokens[picture].find(word))
    except InputError:
        return False
