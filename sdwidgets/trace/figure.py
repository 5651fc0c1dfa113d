"""A matplotlib figure that a notebook shows. Importing this module imports matplotlib."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class Sheet(Figure):
    """Made without pyplot: in no list of open figures, shown at the end of a cell all the same."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()
