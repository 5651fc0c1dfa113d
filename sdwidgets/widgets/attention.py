"""The viewer with only its attention panel."""

from __future__ import annotations

import traitlets

from .viewer import Viewer


class Attention(Viewer):
    """Where the words of a prompt looked: over the image, and for each step and layer.

    Example::

        sdw.Attention(model.generate("a cat left of a car", attention=True), word="cat")
    """

    @traitlets.default("panels")
    def _own_panels(self) -> list[str]:
        return ["attention"]
