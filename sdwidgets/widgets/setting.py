"""Settings of a run as traits: types are checked when they are set, limits when a run starts."""

from __future__ import annotations

import numbers
import secrets
from typing import Any

from ..errors import InputError
from ..pictures import as_picture
from ..settings import Settings
from . import kernel
from .selection import SAFE_WHOLE


class Setting(kernel.AnyTrait):
    """A trait for the field of `Settings` with the same name.

    A control may hold a number outside the limits: Generate then explains the error. A value of the
    wrong type, as in ``studio.steps = "3"``, raises InputError at once.
    """

    def validate(self, obj: Any, value: Any) -> Any:
        kind = type(self.default_value)
        if kind is not str and type(value) is not bool:
            wanted: Any = numbers.Integral if kind is int else numbers.Real
            if isinstance(value, wanted) and -SAFE_WHOLE <= value <= SAFE_WHOLE:
                return kind(value)
        name = str(self.name)
        checked = Settings(**{name: value}).checked()
        if not isinstance(value, kind):  # a batch's list, or None, which no control can hold
            raise InputError(
                f"{name} takes one value in the Studio, got {value!r}.\n"
                "Use sample or generate of a model for lists.",
                parameter=name,
            )
        return getattr(checked, name)


class Seed(Setting):
    """A setting for which None draws a random value."""

    def validate(self, obj: Any, value: Any) -> Any:
        return secrets.randbelow(2**32) if value is None else super().validate(obj, value)


class StartImage(kernel.AnyTrait):
    """An image in any accepted form, converted to RGB; or None."""

    def validate(self, obj: Any, value: Any) -> Any:
        return None if value is None else as_picture(value)[0]
