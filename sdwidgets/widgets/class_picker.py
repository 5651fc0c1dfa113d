"""The class of a model of classes: chosen in a list, found by typing."""

from __future__ import annotations

from collections.abc import Sequence

import anywidget
import traitlets

from ..frontend import Code
from .life import Living
from .selection import FromPage, choice

LONGEST = 1_000
"""The most characters of a name."""


class ClassPicker(Living, FromPage, anywidget.AnyWidget):
    """A field to search in, and the list of the ``names`` of all classes, by number.

    The page chooses by itself, so nothing here asks the kernel.
    """

    _esm = Code("class_picker.js")
    _css = Code("class_picker.css")

    _is_part = True

    names: traitlets.List[str] = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """The names of the classes, in the model's order."""

    name = choice({"kind": "text", "default": "", "longest": LONGEST})
    """The name of the chosen class; "" for none."""

    optional = traitlets.Bool(True).tag(sync=True)
    """Whether the model also makes images of no class."""

    def __init__(self, names: Sequence[str] = (), *, optional: bool = True) -> None:
        super().__init__()
        self.names, self.optional = [*names], optional
        self._begin()
