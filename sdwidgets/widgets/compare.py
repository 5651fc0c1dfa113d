"""Runs side by side, locked to one step and one word."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, TypeVar

import anywidget
import traitlets

from ..contract import LONGEST_SIDE, NUMBERED, numbered
from ..errors import InputError
from ..frontend import Code
from ..trace.about import DIFFERENCES
from ..trace.reel import film, header_of, pack
from ..trace.thinning import stride_for, strided
from ..trace.trace import Trace
from .final import SAVED_IMAGES, finals, fit_within
from .life import Living
from .pace import Answer
from .reel import SAVED, SAVED_AS, check_known
from .selection import OF_A_RUN, SELECTIONS, Selections
from .slots import SLOTS

AnyCompare = TypeVar("AnyCompare", bound="Compare")

FEWEST, MOST = 2, NUMBERED["film"]
FILMS = numbered("film")


class Compare(Living, Selections, anywidget.AnyWidget):
    """Shows two to six runs side by side, at the same step and with the same word.

    Example::

        traces = [model.generate("a cat", seed=7, guidance_scale=g) for g in (1, 3, 9)]
        sdw.Compare(*traces, step=4)
    """

    _esm = Code("compare.js")
    _css = Code("compare.css")

    uid = traitlets.Unicode(read_only=True).tag(sync=True)
    """Identifies this widget: its views in a page share what they have read."""

    headers: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    """Everything about each run except its steps (`trace.reel.header_of`)."""

    labels: traitlets.List[str] = traitlets.List().tag(sync=True)
    """How each run differs from the others, in words: "seed 7, guidance 3"."""

    pictures: traitlets.List[list[dict[str, Any]]] = traitlets.List().tag(sync=True)
    """The final images of each run, one dict each with ``data`` and ``type``."""

    # film0 to film5 hold the steps of one run each. `ReelView` says why they are separate traits.
    locals().update({name: traitlets.Bytes().tag(sync=True) for name in FILMS})

    def __init__(self, *traces: Trace, **selections: Any):
        check_known(self, selections)
        _check_count(traces)
        self._traces: tuple[Trace, ...] = ()
        self._whole: list[bytes] = []  # full films, if the traits hold smaller ones
        self._run = 0
        self._answer = Answer(self._send_whole)
        super().__init__(**selections)
        self.set_trait("uid", secrets.token_hex(8))
        self._begin()
        self.show(*traces)
        for name, value in selections.items():
            setattr(self, name, value)

    @property
    def traces(self) -> tuple[Trace, ...]:
        """The traces on show."""
        return self._traces

    def show(self: AnyCompare, *traces: Trace) -> AnyCompare:
        """Show other runs and return the widget. Raises InputError unless there are 2 to 6."""
        _check_count(traces)
        self._check_process()
        whole = films = _films(traces, LONGEST_SIDE, 1)
        ways = iter(SAVED_AS)
        while sum(map(len, films)) > SAVED:
            way = next(ways, None)
            films = _films(traces, *way) if way else [b""] * len(traces)
        saved = {} if films == whole else {"saved": True}
        self._traces, self._whole = traces, whole if saved else []
        first = self._run + 1
        self._run += len(traces)
        with self.hold_sync():
            for name in OF_A_RUN:
                setattr(self, name, SELECTIONS[name].default_value)
            self.headers = [header_of(one, first + i) | saved for i, one in enumerate(traces)]
            self.labels = _labels(traces)
            self.pictures = [fit_within(SAVED_IMAGES // len(traces), finals(one)) for one in traces]
            for i, name in enumerate(FILMS):
                setattr(self, name, films[i] if i < len(films) else b"")
        self._redraw()
        return self

    def _receive(self, message: Any, buffers: Any) -> None:
        """Answer a page that asks for the full films. Other messages are ignored."""
        if isinstance(message, dict) and message.get("kind") == "frames" and self._whole:
            self._answer()

    def _send_whole(self) -> None:
        whole = self._whole
        if whole:
            run, names = self.headers[0]["run"], list(FILMS[: len(whole)])
            self.send({"kind": "frames", "run": run, "names": names}, whole)

    _instead = "Save its traces with trace.save(path), and compare those elsewhere."

    def __repr__(self) -> str:
        return f"Compare: {'; '.join(self.labels)}"

    def _still(self) -> bytes:
        """A row of images."""
        from ..trace.sheet import comparison_png

        return comparison_png(self._traces, self.labels)


def _check_count(traces: Sequence[object]) -> None:
    for one in traces:
        if not isinstance(one, Trace):
            raise InputError(
                f"Compare takes traces, got a {type(one).__name__}.\n"
                "model.generate(...) and sdw.Trace.load(...) return traces.",
                parameter="traces",
            )
    if not FEWEST <= len(traces) <= MOST:
        raise InputError(
            f"Compare takes {FEWEST} to {MOST} traces, got {len(traces)}.", parameter="traces"
        )


def _films(traces: Sequence[Trace], longest: int, by: int) -> list[bytes]:
    """The steps of each run as bytes, at most ``longest`` cells along a side.

    Each film has every ``by``-th of the steps that a viewer would keep.
    """
    kept = [strided(trace.steps, stride_for(len(trace.steps), SLOTS)) for trace in traces]
    return [film([pack(step, longest=longest) for step in strided(one, by)]) for one in kept]


def _labels(traces: Sequence[Trace]) -> list[str]:
    """The differences of each run from the others; its number if there are none."""
    labels: list[list[str]] = [[] for _ in traces]
    for say in DIFFERENCES:
        said = [say(trace) for trace in traces]
        if len(set(said)) > 1:
            for label, words in zip(labels, said, strict=True):
                label.append(words)
    return [", ".join(filter(None, label)) or f"run {i}" for i, label in enumerate(labels, start=1)]
