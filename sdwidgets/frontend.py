"""Where the built front end is, for widgets and exported pages."""

from __future__ import annotations

from pathlib import Path

from .errors import SDWidgetsError

STATIC = Path(__file__).parent / "widgets" / "static"


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
