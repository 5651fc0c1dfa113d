"""Finds out in the background where a run from the Studio's start image begins."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import SDWidgetsError
from ..settings import Settings
from .newest import Newest

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from ..beginning import Begins
    from ..pipeline import LatentDiffusion


class Beginning:
    """Finds out where runs begin, on a thread of its own; ``show`` is called there, with None where
    that is not known.

    The image is encoded once, and its latents are kept as long as the model is.
    """

    def __init__(self, show: Callable[[Begins | None], object]):
        self._show = show
        self._asked = False
        self._key: tuple[Any, ...] = ()
        self._model: Callable[[], object] = lambda: None
        self._latents: np.ndarray | None = None
        self._queue = Newest(lambda _: show(None), lambda: None, name="sdwidgets beginning")

    @property
    def idle(self) -> bool:
        """Whether everything that was asked for has been shown."""
        return self._queue.idle.is_set()

    def look(
        self, model: LatentDiffusion, image: Image.Image, size: tuple[int, int], settings: Settings
    ) -> None:
        """Show where a run of these settings begins, from an image at that ``size`` within it.

        Returns at once. Settings that no run takes show nothing.
        """

        def work(is_old: Callable[[], bool]) -> None:
            from ..beginning import begins

            found = None
            with contextlib.suppress(SDWidgetsError):  # Generate explains it
                found = begins(model, self._encoded(model, image, size, settings), settings)
            if not is_old():
                self._show(found)

        self._asked = True
        self._queue.ask("begins", work)

    def forget(self) -> None:
        """Show nothing."""
        if self._asked:
            self._asked = False
            self._queue.ask("begins", lambda is_old: None if is_old() else self._show(None))

    def close(self) -> None:
        """Find out nothing more."""
        self._queue.close()

    def _encoded(
        self, model: LatentDiffusion, image: Image.Image, size: tuple[int, int], settings: Settings
    ) -> np.ndarray:
        from ..beginning import encoded

        key = (image, size, settings.fit, settings.pad)
        if self._latents is None or self._key != key or self._model() is not model:
            self._latents = encoded(model, image, size, settings)
            self._key, self._model = key, weakref.ref(model)
        return self._latents
