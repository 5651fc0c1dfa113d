"""The selections of a viewer: the same traits in every viewer, so that they can be linked.

The page and Python can both set them. Nothing is computed when they change: they select from the
data that is in the browser already.
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

SAFE_WHOLE = 2**53 - 1  # browsers hold whole numbers exactly up to here


class Choice(AnyTrait):
    """A trait whose values are checked by ``check(name, value)``, which returns the kept value.

    Refused values raise InputError with the trait's name and the values ``wanted``, or with the
    message of the check if ``wanted`` is "".
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
    """Return the trait of an entry of the contract's `SELECTION` or `LAB_SELECTION`."""
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
    return value


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
    """A widget whose page may set the traits that are a `Choice`, and no others."""

    _refused = False

    def set_state(self, sync_data: Any) -> None:
        """Take the valid choices that a page sends.

        Everything else is ignored and logged the first time: only the kernel sets other traits.
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
            super().set_state(accepted)  # type: ignore[misc]  # the widget's, beside this

    def _ignore(self, what: Any) -> None:
        """Log once that a page sent something invalid."""
        level = logging.DEBUG if self._refused else logging.WARNING
        self._refused = True
        log.log(level, "A page sent %s, which is ignored.", reprlib.repr(what))


class Selections(FromPage):
    """The traits of all viewers that a page may set."""

    step = choice(SELECTION["step"], "a step's number, or -1 for the newest")
    """The step that is shown, counted from 0; -1 is the newest. If a long run was thinned, the
    nearest kept step is shown."""

    word = choice(SELECTION["word"])
    """The pinned word, as it is written in the prompt; "" for none. Also "<start>", "<end>" and
    "<padding>"."""

    other = choice(SELECTION["other"])
    """A second word, shown beside the first; "" for none."""

    layer = choice(SELECTION["layer"], "a layer's number, or -1 for the layers of the recipe")
    """The layer whose attention is shown, counted from 0; -1 for the layers of the `Recipe`."""

    span = choice(SELECTION["span"])
    """Attention of the "run", which is the mean over its steps so far, or of the "step" shown."""

    guidance = choice(SELECTION["guidance"], "a number from -100 to 100, or None for the run's own")
    """The guidance scale with which the clean image of the step is computed; None is the run's own.
    Only that view changes: the step itself was made with the run's scale."""

    picture = choice(SELECTION["picture"], "an image's index")
    """The index of the image that is shown of a batch."""

    view = choice(SELECTION["view"])
    """What the stage shows: the "picture" as it forms, decoded at the end; the "clean" latents
    expected at the step; the "noisy" latents; or the "change" from the previous step."""

    opacity = choice(SELECTION["opacity"])
    """The opacity of the heat map over the image, 0 to 1."""

    colormap = choice(SELECTION["colormap"])
    """The colours of the heat map."""

    contour = choice(SELECTION["contour"])
    """Whether a line surrounds the strongest attention of the word."""


SELECTIONS: dict[str, Choice] = {
    name: trait for name, trait in Selections.class_traits().items() if isinstance(trait, Choice)
}
"""The selections: name -> trait."""

OF_A_RUN = ("step", "layer", "guidance", "picture")
"""The selections that are reset for another run, where they would mean something else."""
