"""Steps as pictures at the picture's own size: what animations and contact sheets are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from .. import checks
from ..errors import InputError
from .images import preview_rgb
from .maps import resized
from .reel import factors_for
from .step import TraceStep
from .tokens import Span
from .trace import Trace

OPACITY = 0.6
"""Of a heat map over a picture."""


@dataclass(frozen=True)
class Stills:
    """One picture of a run at every step. InputError where there is no step or no such picture."""

    trace: Trace
    picture: int = 0  # of the batch; from 0 once it is here, where it was counted from the end
    side: int | None = None  # pixels of the longer side; None: those of the picture
    even: bool = False  # whether both sides must be even

    def __post_init__(self) -> None:
        if not self.trace.steps:
            raise InputError("This record has no steps: the run was stopped before its first.")
        picture = checks.index("picture", self.picture, self.trace.batch_size)
        object.__setattr__(self, "picture", picture)

    @cached_property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels of every still."""
        width, height = self.trace.size
        scale = 1 if self.side is None else self.side / max(width, height)
        unit = 2 if self.even else 1
        return (
            max(round(width * scale / unit), 1) * unit,
            max(round(height * scale / unit), 1) * unit,
        )

    @cached_property
    def final(self) -> Image.Image | None:
        """The picture itself; None where the record has no picture of that number."""
        images = self.trace.images
        if self.picture >= len(images):
            return None
        return images[self.picture].convert("RGB").resize(self.size, Image.Resampling.LANCZOS)

    def noisy(self, step: TraceStep) -> Image.Image:
        """The noisy latents that the step began with."""
        return self._preview(step.x, step.sigma)

    def clean(self, step: TraceStep) -> Image.Image:
        """The clean latents that the network expected there."""
        return self._preview(step.denoised)

    def view(self, name: str, step: TraceStep) -> Image.Image:
        """One of `VIEWS`."""
        return VIEWS[name](self, step)

    @property
    def end(self) -> Image.Image:
        """The latents after the last step."""
        step = self.trace.steps[-1]
        return self._preview(step.x_next, step.sigma_next)

    def _preview(self, latents: np.ndarray, sigma: float = 0.0) -> Image.Image:
        factors = self.trace.factors
        if factors is None:
            factors = factors_for(latents.shape[1])
        one = latents[self.picture][None]
        preview = Image.fromarray(preview_rgb(one, factors, sigma=sigma)[0])
        return preview.resize(self.size, Image.Resampling.BICUBIC)

    def heat(self, word: str | int | Span, step: TraceStep | None = None) -> Image.Image:
        """A word's heat map in colours, from its least to its greatest: of a step or the run."""
        which = None if step is None else step.index
        heat = self.trace.heat_map(word, step=which, picture=self.picture, scale="picture")
        return self.coloured(heat)

    def coloured(self, heat: np.ndarray) -> Image.Image:
        """A map [H, W] of values from 0 to 1 in colours."""
        from matplotlib import colormaps

        width, height = self.size
        colours = colormaps["magma"](resized(heat, (height, width)))[..., :3]
        return Image.fromarray((colours * 255).round().astype(np.uint8))


VIEWS = {"noisy": Stills.noisy, "clean": Stills.clean}
"""Ways to look at a step."""


def overlaid(picture: Image.Image, heat: Image.Image) -> Image.Image:
    """The picture with a heat map over it."""
    return Image.blend(picture, heat, OPACITY)
