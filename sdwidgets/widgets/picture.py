"""The forming image: the stream of a run with its numbers, drawn by js/src/picture.ts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import traitlets

from ..frontend import Code
from .final import SAVED_IMAGES, fit_within
from .reel import ReelView
from .slots import Slots


class PictureView(ReelView):
    """Shows an image as it forms step by step, with the numbers of the run.

    Example::

        view = sdw.PictureView()
        display(view)
        for step in view.watch(model.sample("a cat left of a car", seed=7)):
            pass
    """

    _esm = Code("picture.js")
    _css = Code("picture.css")

    shape: traitlets.List[int] = traitlets.List([1, 1]).tag(sync=True)
    """Width and height of the result, also before it is there."""

    current = traitlets.Int(-1).tag(sync=True)
    """The number of the run that made ``pictures``; -1 for none. They stay on show until the next
    run has its first step, and if that run fails."""

    def __init__(self, **traits: Any):
        self._files: tuple[dict[str, Any], list[bytes]] | None = None
        super().__init__(**traits)

    @traitlets.observe("header")
    def _take_shape(self, change: Any) -> None:
        width, height = change.new.get("width"), change.new.get("height")
        if width and height:
            self.shape = [width, height]

    def _forget_images(self) -> None:
        """Keep them until there are new ones."""

    def _show_images(self, images: Sequence[dict[str, Any]], state: str) -> None:
        if images or state in ("done", "idle"):
            self.pictures = fit_within(SAVED_IMAGES, images)
            self.current = self._run if images else -1
            self._files = None
            if self.pictures != images:
                words = [{name: one[name] for name in one if name != "data"} for one in images]
                meta = {"kind": "pictures", "id": self._run, "pictures": words}
                self._files = meta, [one["data"] for one in images]
        elif state == "error" and self.pictures:  # the earlier images take the stage again
            self._slots = Slots()
            for name in self._steps_in:
                setattr(self, name, b"")

    def _conclude(self, *args: Any) -> None:
        super()._conclude(*args)
        if self._files is not None and self._files[0]["id"] == self._run:
            self.send(*self._files)

    def _receive(self, message: Any, buffers: Any) -> None:
        super()._receive(message, buffers)
        kind = message.get("kind") if isinstance(message, dict) else None
        if kind == "hello":  # a new or reloaded page: send what the traits do not hold
            self.send({"kind": "hello"})
            if self._files is not None:
                self.send(*self._files)
        elif kind == "ping":  # answered in order, so the click before it has been handled
            self.send({"kind": "pong"})
