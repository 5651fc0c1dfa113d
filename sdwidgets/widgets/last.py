"""The Studio's last results, used again: to start from, as masks, as what a model is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PIL import Image

from ..checks import shortened
from ..pictures import as_picture
from .easel import Easel
from .results import Result, Results
from .start import StartView

MOST_WORDS = 100
"""The most words of a result that are offered as masks."""


class LastResults:
    """The last two ``results`` as images, masks and words.

    ``easel`` takes masks; ``start_from(id, index)`` starts from an image of a result.
    """

    def __init__(
        self,
        results: Callable[[], Results],
        easel: Callable[[], Easel],
        start_from: Callable[[int, int], object],
    ) -> None:
        self._results, self._easel, self._start_from = results, easel, start_from

    @property
    def _newest(self) -> Result | None:
        results = [*self._results()]
        return results[-1] if results else None

    def offer(self, start: StartView) -> int:
        """Tell the page what can be used; return how many results there are, at most 2."""
        count, words = len([*self._results()][-2:]), list[str]()
        newest = self._newest
        if newest is not None and newest.trace is not None and newest.trace.layers:
            found = newest.trace.prompt_of(0).words
            words = [*dict.fromkeys(shortened(word.text, 60) for word in found)][:MOST_WORDS]
        with start.hold_sync():
            start.results, start.words = count, words
        return count

    def image(self) -> Image.Image | None:
        """The first image of the last result; None without one."""
        newest = self._newest
        return None if newest is None else as_picture(newest.images[0]["data"])[0]

    def start(self) -> None:
        """Start from the first image of the last result."""
        newest = self._newest
        if newest is not None:
            self._start_from(newest.id, 0)

    def mask_word(self, word: Any) -> None:
        """Paint a mask where a word of the last result looked."""
        newest = self._newest
        if newest is not None and newest.trace is not None and isinstance(word, str):
            self._easel().take_word(newest.trace, word)

    def mask_change(self) -> None:
        """Paint a mask where the last two results differ."""
        images = [one.images[0]["data"] for one in self._results()][-2:]
        if len(images) == 2:
            before, after = (as_picture(data)[0] for data in images)
            self._easel().take_change(before, after)
