"""A matplotlib figure that a notebook shows. Importing this module imports matplotlib."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class Sheet(Figure):
    """A figure made without pyplot: not among its open figures, but shown at the end of a cell."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()
