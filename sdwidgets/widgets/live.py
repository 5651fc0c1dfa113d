"""Live typing: runs that follow what a person types, the newest only."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..configs import ModelConfig
from ..settings import Settings
from .newest import Newest

if TYPE_CHECKING:
    from ..manager import ModelManager, Request
    from ..trace import Trace

log = logging.getLogger(__name__)

PAUSE = 0.8
"""Seconds without a change, once a preview is on show, after which the full run begins."""

LOOK = 0.02
"""Seconds between two looks at whether a run is still wanted."""

FEWEST = 4
"""The fewest steps of a preview, unless the model's own are fewer."""

IsOld = Callable[[], bool]
Rest = Callable[[float, threading.Event], bool]
"""``rest(seconds, woken)`` waits and returns whether ``woken`` was not set meanwhile."""


class Live:
    """Makes a preview after each change and, once nothing changes, the full run.

    ``preview(is_old)`` makes a preview and returns whether it is on show; it should stop as soon as
    ``is_old()``. ``full(is_old)`` makes the full run, likewise. Both are called on a thread that
    lives while there is work. At most one of them runs and at most one preview waits, that of the
    newest change. A preview that follows a stopped one is finished, so that a person who types fast
    still sees something. ``rest`` waits; tests give their own.
    """

    def __init__(
        self,
        preview: Callable[[IsOld], bool],
        full: Callable[[IsOld], object],
        *,
        pause: float = PAUSE,
        rest: Rest = lambda seconds, woken: not woken.wait(seconds),
    ):
        self._make_preview, self._make_full = preview, full
        self._pause, self._rest = pause, rest
        self._work = Newest(_failed, lambda: None, "sdwidgets live")
        self._woken = threading.Event()
        self._left = False  # rather than changed: then nothing is finished
        self._stopped = False  # whether the preview before was

    @property
    def idle(self) -> threading.Event:
        """Set while nothing runs or waits."""
        return self._work.idle

    def change(self) -> None:
        """Something has changed. Returns at once; from any thread."""
        self._left = False
        self._work.drop("full")
        self._work.ask("preview", self._preview)
        self._woken.set()

    def leave(self) -> None:
        """Forget what waits, and stop what runs."""
        self._left = True
        self._work.drop("preview")
        self._work.drop("full")
        self._woken.set()

    def close(self) -> None:
        """Leave, for good."""
        self.leave()
        self._work.close()

    def _preview(self, is_old: IsOld) -> None:
        to_its_end = self._stopped
        shown = self._make_preview(lambda: is_old() and (self._left or not to_its_end))
        self._stopped = not shown and is_old()
        if not self._left and not is_old():
            self._work.ask("full", self._full)

    def _full(self, is_old: IsOld) -> None:
        self._woken.clear()
        if not is_old() and self._rest(self._pause, self._woken) and not is_old():
            self._make_full(is_old)


def preview_of(settings: Settings, config: ModelConfig | None, steps: int | None) -> Settings:
    """The settings of a fast pass: fewer steps, in a single pass over the grid of the schedule.

    ``steps``: how many; None is a third of the model's own, but no fewer than 4. Never more than
    those of the full run.
    """
    own = (config.steps if config else Settings().checked().steps) or 20
    few = max(own // 3, min(FEWEST, own)) if steps is None else steps
    most = settings.steps or own
    few = min(few, most)
    begins = settings.start_step * few // most  # the same share of the way
    return replace(settings, steps=few, start_step=begins, end_step=None, hires=None, sigmas=None)


def followed(
    manager: ModelManager, request: Request, is_old: IsOld, say: Callable[[str], object]
) -> Trace | None:
    """The record of a run that is stopped at its next step once ``is_old()``; None then.

    A model that is being loaded for it is loaded to its end. ``say`` gets the messages until the
    first step. Raises what the run raises.
    """
    job = manager.submit(request, on_message=lambda text: text and say(text))
    while not job.wait(LOOK):
        if is_old() and job.state != "loading":
            job.cancel()
    return None if job.state == "stopped" else job.result()


def _failed(error: BaseException) -> None:
    log.warning("A live run has failed.", exc_info=error)
