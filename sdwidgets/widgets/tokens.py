"""The viewer with only its tokens panel."""

from __future__ import annotations

import traitlets

from .viewer import Viewer


class Tokens(Viewer):
    """A prompt as the network read it: its tokens, how words were split, what was cut.

    Example::

        sdw.Tokens(model.generate("a hippopotamus " * 40, steps=1))
    """

    @traitlets.default("panels")
    def _own_panels(self) -> list[str]:
        return ["tokens"]
