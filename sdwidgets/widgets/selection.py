"""What a person chose to see of a run: the same traits in every viewer, so that they can be linked.

Both the page and Python set them. A change computes nothing in the kernel: the browser already has
all the data.
"""

from __future__ import annotations

import logging
import reprlib
from collections.abc import Callable
from functools import partial
from typing import Any

import traitlets

from .. import checks
from ..contract import SELECTION, Spec
from ..errors import InputError
from .kernel import AnyTrait

log = logging.getLogger(__name__)

SAFE_WHOLE = 2**53 - 1  # the largest whole number that a browser holds exactly


class Choice(AnyTrait):
    """A trait whose values pass ``check(name, value)``, which returns the value to keep.

    Refused values raise InputError, which names the trait and says what is ``wanted``; if that is
    "", the check's own message is used.
    """

    def __init__(self, default: Any, check: Callable[[str, Any], Any], wanted: str = ""):
        super().__init__(default)
        self.tag(sync=True)
        self._check, self._wanted = check, wanted

    def validate(self, obj: Any, value: Any) -> Any:
        name = str(self.name)
        try:
            return self._check(name, value)
        except InputError:
            if not self._wanted:
                raise
            raise InputError(
                f"{name} must be {self._wanted}, got {checks.shown(value)}.", parameter=name
            ) from None


def choice(spec: Spec, wanted: str = "") -> Choice:
    """The trait for an entry of the contract's `SELECTION` or `LAB_SELECTION`."""
    return Choice(spec["default"], partial(_CHECKS[spec["kind"]], spec=spec), wanted)


def _whole(name: str, value: Any, spec: Spec) -> int:
    return checks.whole(name, value, spec["least"], SAFE_WHOLE)


def _real(name: str, value: Any, spec: Spec) -> float | None:
    if value is None and spec["default"] is None:
        return None
    return checks.real(name, value, spec["least"], spec["most"])


def _text(name: str, value: Any, spec: Spec) -> str:
    if not isinstance(value, str) or len(value) > spec["longest"]:
        raise InputError(
            f"{name} must be a text of at most {spec['longest']} characters, "
            f"got {checks.shown(value)}.",
            parameter=name,
        )
    return checks.whole_text(name, value)


def _flag(name: str, value: Any, spec: Spec) -> bool:
    if not isinstance(value, bool):
        raise InputError(
            f"{name} must be True or False, got {checks.shown(value)}.", parameter=name
        )
    return value


def _choice(name: str, value: Any, spec: Spec) -> Any:
    among = spec["among"]
    if isinstance(among[0], str):
        return checks.choice(name, value, among)
    if not checks.is_whole(value) or value not in among:
        raise InputError(
            f"{name} must be {', '.join(map(str, among))}, got {checks.shown(value)}.",
            parameter=name,
        )
    return int(value)


_CHECKS: dict[str, Callable[..., Any]] = {
    "whole": _whole,
    "real": _real,
    "text": _text,
    "flag": _flag,
    "choice": _choice,
}


class FromPage(traitlets.HasTraits):
    """A widget whose `Choice` traits a page may set, and no others."""

    _refused = False

    def set_state(self, sync_data: Any) -> None:
        """Accept valid values of choices from a page.

        Anything else is ignored; the first time, the log says so.
        """
        accepted = {}
        for name, value in sync_data.items() if isinstance(sync_data, dict) else ():
            try:
                trait = self.traits()[name]
                if not isinstance(trait, Choice):
                    raise KeyError(name)
                accepted[name] = trait.validate(self, value)
            except (InputError, KeyError):
                self._ignore({name: value})
        if accepted:
            super().set_state(accepted)  # type: ignore[misc]  # the widget's own

    def _ignore(self, what: Any) -> None:
        """Log that a value of the page is ignored, as a warning the first time."""
        level = logging.DEBUG if self._refused else logging.WARNING
        self._refused = True
        log.log(level, "A page sent %s, which is ignored.", reprlib.repr(what))


class Selections(FromPage):
    """The traits that every viewer has and a page may set."""

    step = choice(SELECTION["step"], "a step's number, or -1 for the newest")
    """The step on show, counted from 0; -1 is the newest. A step of a long run that was not kept
    shows the nearest kept one."""

    word = choice(SELECTION["word"])
    """The pinned word, as written in the prompt; "" for none. Also "<start>", "<end>" and
    "<padding>"."""

    other = choice(SELECTION["other"])
    """A second word, shown beside the first; "" for none."""

    layer = choice(SELECTION["layer"], "a layer's number, or -1 for the recipe's layers")
    """The layer whose attention is shown, counted from 0; -1 for the layers of the `Recipe`."""

    span = choice(SELECTION["span"])
    """The steps whose attention is shown: "run", the mean so far, or only the "step" on show."""

    guidance = choice(SELECTION["guidance"], "a number from -100 to 100, or None for the run's own")
    """The guidance scale for the clean image of the step on show; None is the run's own. It changes
    only this view: the step itself was taken with the run's scale."""

    picture = choice(SELECTION["picture"], "an image's index")
    """The index of the image of a batch that is shown."""

    view = choice(SELECTION["view"])
    """What the stage shows: the "picture", which forms and is decoded at the end, the "clean"
    latents that the step predicts, the "noisy" latents, or the "change" since the step before."""

    opacity = choice(SELECTION["opacity"])
    """The opacity of the heat map over the image, 0 to 1."""

    colormap = choice(SELECTION["colormap"])
    """The colours of the heat map."""

    contour = choice(SELECTION["contour"])
    """Whether a line surrounds the area where the word's attention is strongest."""


SELECTIONS: dict[str, Choice] = {
    name: trait for name, trait in Selections.class_traits().items() if isinstance(trait, Choice)
}
"""All selections: name -> trait."""

OF_A_RUN = ("step", "layer", "guidance", "picture")
"""Selections that each run resets, since their values have no meaning in another run."""
