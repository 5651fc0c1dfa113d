"""The strip of the Studio's earlier results, and what a person does with them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import anywidget
import traitlets

from ..checks import is_whole
from ..contract import ASKS
from ..frontend import Code
from .life import Living
from .results import Result, Results
from .selection import FromPage

Act = Callable[[int, int], object]
"""What happens with a result: it gets the result's id and a second number, 0 unless needed."""


class History(Living, FromPage, anywidget.AnyWidget):
    """Earlier results as thumbnails, with buttons for the result on the stage.

    ``acts``: what the Studio does with a result, by the kind of the page's message: "recall",
    "use" (with the index of an image of the batch) and "compare" (with the id of the other result).
    The history itself pins, deletes and opens results.
    """

    _esm = Code("history.js")
    _css = Code("history.css")

    _is_part = True

    entries: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    """Earlier results, oldest first, as `Result.entry` describes them."""

    current = traitlets.Int(-1).tag(sync=True)
    """The id of the result on the stage; -1 for none."""

    def __init__(self, acts: Mapping[str, Act]):
        super().__init__()
        self.results = Results()
        self.on_error: Callable[[Exception], object] = lambda error: None
        self._lock = threading.Lock()  # a run may end while the page pins a result
        self._acts: dict[str, Act] = {
            **acts,
            "pin": lambda number, _: self._change(lambda: self.results.pin(number)),
            "delete": lambda number, _: self._change(lambda: self.results.delete(number)),
            "open": lambda number, _: self._open(number),
        }
        self._begin()

    def add(self, result: Result) -> None:
        """Keep a result and show it."""
        self._change(lambda: self.results.add(result))

    def _change(self, change: Callable[[], object]) -> None:
        with self._lock:
            change()
            self.entries = [one.entry() for one in self.results]

    def _complain(self, error: Exception) -> None:
        self.on_error(error)

    def _receive(self, message: Any, buffers: Any) -> None:
        kind = message.get("kind") if isinstance(message, dict) else None
        if not isinstance(kind, str) or kind not in ASKS["history"]:
            return
        number, second = message.get("id"), message.get("other", 0)
        if is_whole(number) and is_whole(second) and self.results.find(number) is not None:
            self._acts[kind](number, second)

    def _open(self, number: int) -> None:
        """Send every image of a result in full."""
        result = self.results.find(number)
        if result is not None:
            words = [{"type": one["type"], "label": one["label"]} for one in result.images]
            answer = {"kind": "images", "id": number, "images": words}
            self.send(answer, [one["data"] for one in result.images])
