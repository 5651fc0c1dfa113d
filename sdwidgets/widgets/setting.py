"""Settings of a run as traits: of the right kind at once, within their limits when a run starts."""

from __future__ import annotations

import numbers
import secrets
from typing import Any

from ..configs import EMOJI
from ..errors import InputError
from ..pictures import as_picture
from ..settings import Settings
from . import kernel
from .selection import SAFE_WHOLE


class Setting(kernel.AnyTrait):
    """A field of `Settings`, of the same name.

    A person may type 33 into a control and learns what is wrong with it from Generate, while
    ``studio.steps = "3"`` raises InputError at that line.
    """

    def validate(self, obj: Any, value: Any) -> Any:
        kind = type(self.default_value)
        if kind is not str and type(value) is not bool:
            wanted: Any = numbers.Integral if kind is int else numbers.Real
            if isinstance(value, wanted) and -SAFE_WHOLE <= value <= SAFE_WHOLE:
                return kind(value)
        name = str(self.name)
        checked = Settings(**{name: value}).checked(EMOJI)
        if not isinstance(value, kind):  # a batch's list, or None: a control has no room for it
            raise InputError(
                f"{name} takes one value in the Studio, got {value!r}.\n"
                "Lists are for sample and generate of a model.",
                parameter=name,
            )
        return getattr(checked, name)


class Seed(Setting):
    """A setting for which None rolls a new value."""

    def validate(self, obj: Any, value: Any) -> Any:
        return secrets.randbelow(2**32) if value is None else super().validate(obj, value)


class StartImage(kernel.AnyTrait):
    """An image, whatever it is given as, made RGB; or None."""

    def validate(self, obj: Any, value: Any) -> Any:
        return None if value is None else as_picture(value)[0]
