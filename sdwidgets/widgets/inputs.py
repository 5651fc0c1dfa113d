"""The panels of what a model takes beside a prompt: each is made for a model that takes it.

A panel shows a setting of the Studio, and sets it. It is closed for a model that does not take it:
a saved notebook has the code of each panel that is open.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..configs import (
    BoxesConfig,
    ClassConfig,
    ModelConfig,
    NeighboursConfig,
)
from ..errors import SDWidgetsError
from ..manager import Request
from ..pictures import PictureLike, map_at
from .alone import Alone
from .boxes import Boxes
from .class_picker import ClassPicker
from .given import GIVEN, RunInputs
from .label_map import LabelMap
from .low_res import LowResolution
from .neighbours import NeighboursView
from .setting import RunSettings

FOLLOWED = ("prompt", "label", "boxes", "label_map", "low_res", "neighbours", "width", "height")
"""The settings that the panels show."""


@dataclass(frozen=True, eq=False)
class Panel:
    """An open panel: its ``widget``, and ``show()``, which shows the setting as it is."""

    widget: Any
    show: Callable[[], object]


class Inputs:
    """The open panels, by the name of the input.

    ``settings``: the Studio's. ``lock``: held while they or a panel change. ``place`` shows the
    panels' widgets. ``last`` returns the newest result, or None without one.
    """

    def __init__(
        self,
        settings: RunSettings,
        lock: threading.RLock,
        place: Callable[[Sequence[Any]], object],
        last: Callable[[], Image.Image | None],
    ) -> None:
        self.panels: dict[str, Panel] = {}
        self._settings, self._lock, self._place, self._last = settings, lock, place, last
        self._config: ModelConfig | None = None
        self._alone = Alone(lock)
        self._results = 0
        settings.observe(lambda _: self._follow(), list(FOLLOWED))

    def show(self, config: ModelConfig | None) -> None:
        """Show the panels of what a model takes; none for None, as long as it is not known."""
        with self._lock:
            if config == self._config:
                return
            self._config = config
            old, self.panels = self.panels, {}
            if config is not None:
                self.panels = {
                    name: make(self, config)
                    for name, make in _PANELS.items()
                    if name in config.takes
                }
        self._place([panel.widget for panel in self.panels.values()])
        for panel in old.values():
            panel.widget.close()
        self.offer(self._results)
        self._follow()

    def offer(self, results: int) -> None:
        """Say how many results there are to use again."""
        self._results = results
        for panel in self.panels.values():
            if panel.widget.has_trait("results"):
                panel.widget.results = min(results, 1)

    def compare(self, given: PictureLike | None, made: Image.Image) -> None:
        """Show the result of a run beside the small image that it was ``given``."""
        panel = self.panels.get("low_res")
        if panel is not None:
            panel.widget.compare(given, made)

    def mark(self, parameter: str | None) -> None:
        """Mark the panel that an error is about, and unmark all others."""
        for name, panel in self.panels.items():
            wrong = name == parameter
            (panel.widget.add_class if wrong else panel.widget.remove_class)("sdw-wrong")

    def close(self) -> None:
        """Close all panels; what they have set stays."""
        self.show(None)

    def _follow(self) -> None:
        """Show what is set. What a panel cannot show, the run refuses in words."""
        with self._alone() as first:
            for panel in self.panels.values() if first else ():
                with suppress(SDWidgetsError):
                    panel.show()

    def _set(self, name: str, value: Any) -> None:
        """Take what somebody has set in a panel."""
        with self._alone() as first:
            if first:
                setattr(self._settings, name, value)


# -------------------------------------------------------------------------------- the panels


def _classes(inputs: Inputs, config: ModelConfig) -> Panel:
    given = next(each for each in config.embedders if isinstance(each, ClassConfig))
    now, names = inputs._settings, given.names
    picker = ClassPicker(names, optional=given.null)
    picker.observe(lambda change: inputs._set("label", change.new or None), "name")

    def show() -> None:
        if now.label is None and now.prompt in names:  # these models take a prompt for a label
            now.label, now.prompt = now.prompt, ""
        picker.name = name_of(now.label, names)

    return Panel(picker, show)


def _boxes(inputs: Inputs, config: ModelConfig) -> Panel:
    given = next(each for each in config.embedders if isinstance(each, BoxesConfig))
    now = inputs._settings
    panel = Boxes(classes=given.names, most=given.most, part=True)
    panel._lock = inputs._lock  # one lock for both, so that neither waits for the other
    panel.observe(lambda change: inputs._set("boxes", change.new or None), "boxes")

    def show() -> None:
        if panel.size != (size := (now.width, now.height)):
            panel.size = size
        if panel.boxes != (boxes := [*(now.boxes or ())]):
            panel.boxes = boxes

    return Panel(panel, show)


def _label_map(inputs: Inputs, config: ModelConfig) -> Panel:
    now = inputs._settings
    panel = LabelMap(classes=config.classes, size=(now.width, now.height), part=True)
    panel._lock = inputs._lock
    if now.label_map is None:
        now.label_map = panel.map  # what is on show is what the model is told
    panel.observe(lambda change: inputs._set("label_map", change.new), "map")

    def show() -> None:
        if now.label_map is None:
            panel.clear()
            return
        sized = map_at(now.label_map, now.width, now.height)
        if not np.array_equal(panel.map, sized):
            panel.map = sized

    return Panel(panel, show)


def _small_image(inputs: Inputs, config: ModelConfig) -> Panel:
    now = inputs._settings
    view = LowResolution(lambda image: _take_small(inputs, image), inputs._last)
    return Panel(view, lambda: view.show(now.low_res, config.autoencoder.factor))


def _take_small(inputs: Inputs, image: Image.Image | None) -> None:
    inputs._settings.low_res = image  # which the panel shows, too


def _neighbours(inputs: Inputs, config: ModelConfig) -> Panel:
    given = next(each for each in config.embedders if isinstance(each, NeighboursConfig))
    view = NeighboursView(
        given.most, lambda images: inputs._set("neighbours", images), inputs._last
    )
    return Panel(view, lambda: view.show(inputs._settings.neighbours))


_PANELS: dict[str, Callable[[Inputs, ModelConfig], Panel]] = {
    "label": _classes,
    "boxes": _boxes,
    "label_map": _label_map,
    "low_res": _small_image,
    "neighbours": _neighbours,
}
"""What makes the panel of each input, in the order of the page."""


# ----------------------------------------------------------------------------- what is taken


def is_worded(config: ModelConfig) -> bool:
    """Whether a model is told words: one of classes also takes a prompt, for a label."""
    return "prompt" in config.takes and "label" not in config.takes


def name_of(label: Any, names: Sequence[str]) -> str:
    """The name of a class that is given by name or number; "" for none."""
    if isinstance(label, int):
        return names[label] if label < len(names) else str(label)
    return label or ""


def given_to(settings: RunInputs, config: ModelConfig | None) -> dict[str, Any]:
    """What a run of a model is given, by the names of a request's fields; of a model that is known,
    without what it does not take, which is hidden."""
    given = {name: value for name in GIVEN if _is_set(value := getattr(settings, name))}
    if config is not None:
        given = {name: value for name, value in given.items() if name in config.takes}
    return given


def given_in(request: Request) -> dict[str, Any]:
    """What a request was given, by the names of the settings that it came from."""
    given = {name: getattr(request, name, None) for name in GIVEN}
    return {name: value for name, value in given.items() if _is_set(value)}


def says_something(request: Request, config: ModelConfig | None) -> bool:
    """Whether a run is told anything of the image to come, or its model is told nothing."""
    now = request.settings
    told = str(now.prompt).strip() or now.label is not None or now.boxes or given_in(request)
    return bool(told) or (config is not None and not config.embedders)


def unset_for(config: ModelConfig | None) -> dict[str, Any]:
    """The values of the settings that a model does not take, which are hidden."""
    if config is None:
        return {}
    unset: dict[str, Any] = {n: None for n in ("label", "boxes") if n not in config.takes}
    return unset if is_worded(config) else unset | {"prompt": "", "negative_prompt": ""}


def _is_set(value: Any) -> bool:
    return value is not None and not (isinstance(value, tuple) and not value)
