"""Steps as images at the final image's size: what animations and contact sheets are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from .. import checks
from ..errors import InputError
from .heat import heat_map
from .images import preview_rgb
from .maps import resized
from .record import Record
from .reel import factors_for
from .step import TraceStep
from .tokens import Span

OPACITY = 0.6
"""Of a heat map over an image."""


@dataclass(frozen=True)
class Stills:
    """One image of a run at every step.

    Raises InputError for a record without steps, or an image that is not there.
    """

    record: Record
    picture: int = 0  # the image's index in the batch; a negative one is made positive here
    side: int | None = None  # pixels of the longer side; None: the image's own
    even: bool = False  # whether both sides must be even

    def __post_init__(self) -> None:
        if not self.record.steps:
            raise InputError("This record has no steps: the run was stopped before its first.")
        picture = checks.index("picture", self.picture, self.record.batch_size)
        object.__setattr__(self, "picture", picture)

    @cached_property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels of every still."""
        width, height = self.record.size
        scale = 1 if self.side is None else self.side / max(width, height)
        unit = 2 if self.even else 1
        return (
            max(round(width * scale / unit), 1) * unit,
            max(round(height * scale / unit), 1) * unit,
        )

    @cached_property
    def final(self) -> Image.Image | None:
        """The final image; None where the record has none of that index."""
        images = self.record.images
        if self.picture >= len(images):
            return None
        return images[self.picture].convert("RGB").resize(self.size, Image.Resampling.LANCZOS)

    def noisy(self, step: TraceStep) -> Image.Image:
        """The noisy latents at the start of the step."""
        return self._preview(step.x, step.sigma)

    def clean(self, step: TraceStep) -> Image.Image:
        """The clean latents that the network predicted in the step."""
        return self._preview(step.denoised)

    def view(self, name: str, step: TraceStep) -> Image.Image:
        """The step in one of `VIEWS`."""
        return VIEWS[name](self, step)

    @property
    def end(self) -> Image.Image:
        """The latents after the last step."""
        step = self.record.steps[-1]
        return self._preview(step.x_next, step.sigma_next)

    def _preview(self, latents: np.ndarray, sigma: float = 0.0) -> Image.Image:
        factors = self.record.factors
        if factors is None:
            factors = factors_for(latents.shape[1])
        one = latents[self.picture][None]
        preview = Image.fromarray(preview_rgb(one, factors, sigma=sigma)[0])
        return preview.resize(self.size, Image.Resampling.BICUBIC)

    def heat(self, word: str | int | Span, step: TraceStep | None = None) -> Image.Image:
        """A word's heat map in colours, of a step or of the run, stretched to its own range."""
        which = None if step is None else step.index
        heat = heat_map(self.record, word, step=which, picture=self.picture, scale="picture")
        return self.coloured(heat)

    def coloured(self, heat: np.ndarray) -> Image.Image:
        """A map [H, W] of values from 0 to 1, in colours."""
        from matplotlib import colormaps

        width, height = self.size
        colours = colormaps["magma"](resized(heat, (height, width)))[..., :3]
        return Image.fromarray((colours * 255).round().astype(np.uint8))


VIEWS = {"noisy": Stills.noisy, "clean": Stills.clean}
"""Ways to look at a step."""


def overlaid(picture: Image.Image, heat: Image.Image) -> Image.Image:
    """The image with a heat map over it."""
    return Image.blend(picture, heat, OPACITY)
