"""The strip of the Studio's earlier results, and what a person does with them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import anywidget
import traitlets

from ..checks import is_whole
from ..contract import ASKS
from ..frontend import bundle
from . import kernel
from .results import Result, Results
from .selection import FromPage

Act = Callable[[int, int], object]
"""What happens with a result: it gets the result's id and a second number, 0 unless needed."""


class History(FromPage, anywidget.AnyWidget):
    """Earlier results as thumbnails, with buttons for the result on the stage.

    ``acts``: what the Studio does with a result, by the kind of the page's message: "recall",
    "use" (with the index of an image of the batch) and "compare" (with the id of the other result).
    The history itself pins, deletes and opens results.
    """

    _esm = bundle("history.js")
    _css = bundle("history.css")

    entries: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    """Earlier results, oldest first, as `Result.entry` describes them."""

    current = traitlets.Int(-1).tag(sync=True)
    """The id of the result on the stage; -1 for none."""

    def __init__(self, acts: Mapping[str, Act]):
        super().__init__()
        self.results = Results()
        self._lock = threading.Lock()  # a run may end while the page pins a result
        self._acts: dict[str, Act] = {
            **acts,
            "pin": lambda number, _: self._change(lambda: self.results.pin(number)),
            "delete": lambda number, _: self._change(lambda: self.results.delete(number)),
            "open": lambda number, _: self._open(number),
        }
        self.on_msg(self._receive)
        kernel.unpin(self)

    def add(self, result: Result) -> None:
        """Keep a result and show it."""
        self._change(lambda: self.results.add(result))

    def close(self) -> None:
        """Remove the widget from every page."""
        self.layout.close()  # it is a widget, too, and nothing else closes it
        super().close()

    def _change(self, change: Callable[[], object]) -> None:
        with self._lock:
            change()
            self.entries = [one.entry() for one in self.results]

    def _receive(self, _: Any, message: Any, buffers: Any) -> None:
        """Handle a message of the page. Malformed messages are ignored."""
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
