"""A matplotlib figure that a notebook shows. Importing this module imports matplotlib."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text

INK = "#797979"
"""The grey of texts on a screen: its contrast is 4.3 on white and on the black of dark themes."""


class Sheet(Figure):
    """A figure made without pyplot: not among its open figures, but shown at the end of a cell.

    On a screen, whose colours are not known, it has no background, and its texts are grey. Files
    get a white background and the texts' own colours (`write`).
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, facecolor="none", **kwargs)
        self._own: list[tuple[Text, str]] = []  # each text and its colour in files

    def write(self, x: float, y: float, text: str, *, color: str = "black", **look: Any) -> None:
        """Write a text in the first axes; ``color`` is for files, ``look`` for `Text`."""
        written = self.axes[0].text(x, y, text, color=INK, usetex=False, **look)
        self._own.append((written, color))

    def savefig(self, fname: Any, **kwargs: Any) -> None:
        """Write it to a file, as `matplotlib.figure.Figure.savefig` does."""
        if not kwargs.get("transparent"):
            kwargs.setdefault("facecolor", "white")
        try:
            for text, color in self._own:
                text.set_color(color)
            super().savefig(fname, **kwargs)
        finally:
            for text, _ in self._own:
                text.set_color(INK)

    def on_screen(self, dpi: float) -> bytes:
        """A PNG without a background, at ``dpi`` pixels per inch."""
        buffer = io.BytesIO()
        super().savefig(buffer, format="png", dpi=dpi, transparent=True)
        return buffer.getvalue()

    def _repr_png_(self) -> bytes:
        return self.on_screen(self.dpi)
