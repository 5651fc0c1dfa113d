"""Where the built front end is, for widgets and exported pages."""

from __future__ import annotations

import functools
from pathlib import Path

from .errors import SDWidgetsError

STATIC = Path(__file__).parent / "widgets" / "static"


class Code:
    """The text of a built front-end file, for a widget's ``_esm`` or ``_css``; read at first use.

    anywidget also takes a path, but connects each widget to what watches the file, and so no widget
    would ever be freed. Raises SDWidgetsError if the file was never built.
    """

    def __init__(self, name: str):
        self._path = bundle(name)

    @functools.cached_property
    def _text(self) -> str:
        return self._path.read_text("utf-8")

    def __str__(self) -> str:
        return self._text


def bundle(name: str) -> Path:
    """The path of a built front-end file. Raises SDWidgetsError if it was never built."""
    path = STATIC / name
    if not path.is_file():
        raise SDWidgetsError(
            f"The front end of sdwidgets is not built: {path} is missing.\n"
            "In a source checkout run: python hatch_build.py\n"
            "Otherwise install the package again."
        )
    return path
