"""The viewer with only its denoising panel."""

from __future__ import annotations

import traitlets

from .viewer import Viewer


class Denoising(Viewer):
    """The steps of a run: noisy and clean latents, channels, guidance, the noise schedule.

    Example::

        sdw.Denoising(model.generate("a cat left of a car"), step=7, view="clean")
    """

    @traitlets.default("panels")
    def _own_panels(self) -> list[str]:
        return ["denoising"]
