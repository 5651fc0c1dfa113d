"""A pass of a run: the steps from a beginning, noise or an image, down a grid of noise levels."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from .configs import LowResolutionConfig, MaskedImageConfig, ModelConfig
from .controls import Controls
from .diffusion import SAMPLERS, Denoise, Step, coefficients, inpainting, repainted
from .drawing import Drawing
from .errors import NumericsError
from .guiding import Guide, Guiding
from .models.conditioning import Given, Tokens
from .network import Network
from .numerics import is_finite
from .refining import START, steps_before
from .resumed import Resumed, drawn_by
from .settings import AttentionSettings, Settings
from .threads import threads_for
from .told import Told, seen, with_noise

if TYPE_CHECKING:
    from .pipeline import LatentDiffusion

Around: TypeAlias = Callable[[Denoise, Tokens, Sequence[float]], Denoise]
"""``around(denoise, tokens, sigmas) -> denoise`` wraps the denoiser of a pass along the grid
``sigmas``, with the tokens of all its prompts, the negative ones last."""

Made: TypeAlias = "Tensor | Sequence[Image.Image]"
"""What an earlier pass has made, at the size of the next: clean latents [B, C, h, w], or images."""


@dataclass(frozen=True, eq=False)
class Part:
    """Consecutive steps of a pass that one model makes.

    ``settings``: the pass's, checked for this model. ``steps``: the indices of its steps in the
    pass. ``attention``: what it records.
    """

    model: LatentDiffusion
    settings: Settings
    told: Told
    steps: range
    attention: AttentionSettings | None = None

    @property
    def sees_mask(self) -> bool:
        """Whether its network sees the mask, and keeps what is outside by itself."""
        return self.model.config.has(MaskedImageConfig)

    @property
    def positions(self) -> int:
        """The latents' cells of a call, of the whole batch."""
        _, _, height, width = latent_shape(self.model.config, self.settings)
        return len(self.told.given) * height * width


class Pass:
    """The steps at one size, with the images that they are made from at that size.

    ``settings``: checked, with the pass's own size and strength. ``grid``: the noise levels that it
    visits. ``mask``: 255 where all is new, 0 where ``image`` is kept, and between them as in
    `outpainting.blended`. ``from_image``: whether it begins at ``image`` with noise on it, and not
    at noise. ``latents``: [B, C, h, w], unit noise in place of the seeds'. ``around``: wraps its
    denoiser, not that of a refiner. ``refiner``: a model that makes the steps from
    ``settings.refiner_start`` on; ``attention`` is recorded in those before. ``guide`` steers
    all steps. ``before``: how many steps the run has made when the pass begins. ``resumed``: its
    first steps, where they are those of another run; ``looks_back``: whether a sampler may look
    back at them. ``earlier``, ``later``: the levels of the run's whole grid before and after its
    own, of which it has only a part.
    ``noisy``: ``latents`` are no noise to begin with, but what is left at the first level, as a
    network sees it.
    """

    def __init__(
        self,
        model: LatentDiffusion,
        settings: Settings,
        grid: Sequence[float],
        *,
        image: Image.Image | None = None,
        mask: Image.Image | None = None,
        depth: np.ndarray | None = None,
        label_map: np.ndarray | None = None,
        neighbours: Sequence[Image.Image] = (),
        from_image: bool = False,
        latents: Tensor | None = None,
        attention: AttentionSettings | None = None,
        around: Around | None = None,
        refiner: LatentDiffusion | None = None,
        guide: Guide | None = None,
        before: int = 0,
        resumed: Resumed | None = None,
        earlier: Sequence[float] = (),
        later: Sequence[float] = (),
        noisy: bool = False,
    ):
        """Raises InputError for inputs that a model does not take."""
        self.model = model
        self.settings = settings
        self.grid = tuple(grid)
        self.image = image
        self.mask = mask
        self.depth = depth
        self.from_image = from_image
        self.latents = latents
        self.around = around
        self.guide = guide
        self.before = before
        self.resumed = resumed
        self.earlier, self.later = tuple(earlier), tuple(later)
        self.noisy = noisy
        self.looks_back = True
        self.controls = Controls()  # their networks may have to be loaded, which comes last
        held = seen(image, mask, depth, label_map, neighbours)
        self.told = Told.of(model, settings, held)
        self.taken_over = len(self)  # the index of the refiner's first step
        if refiner is not None:
            start = START if settings.refiner_start is None else settings.refiner_start
            self.taken_over = steps_before(model.schedule, self.grid, start)
        parts = [Part(model, settings, self.told, range(self.taken_over), attention)]
        if refiner is not None:
            theirs = settings.checked(refiner.config)
            told, left = Told.of(refiner, theirs, held), range(self.taken_over, len(self))
            parts.append(Part(refiner, theirs, told, left))
        self.parts = tuple(part for part in parts if part.steps)

    def __len__(self) -> int:
        """The number of its steps."""
        return len(self.grid) - 1

    def steps(self, made: Made | None = None) -> Generator[Step, None, None]:
        """Make its steps; ``made`` is what it begins from in place of ``image``.

        Raises NumericsError.
        """
        first = 0
        if self.resumed is not None:
            first = len(self.resumed)
            yield from self.resumed.steps()
        steps = self._steps(made)
        for part in self.parts:
            for _ in part.steps[max(first - part.steps[0], 0) :]:
                with threads_for(part.model.unet, part.positions):
                    step = next(steps)
                yield step

    @torch.no_grad()
    def _steps(self, made: Made | None) -> Generator[Step, None, None]:
        model, settings, grid, resumed = self.model, self.settings, self.grid, self.resumed
        goes_on = resumed is not None and resumed.goes_on  # from latents that were made already
        shape = latent_shape(model.config, settings)[1:]
        drawing = Drawing(
            settings.seeds,
            model.device,
            settings.other_seeds,
            settings.variation[1] if settings.variation else 0.0,
        )

        def noise() -> Tensor:
            return drawing(*shape)

        network = self._network(self.parts[0], drawing)
        known = None
        if not goes_on or self.mask is not None:
            known = self._known(made, noise)
        elif self.from_image:
            noise()  # it takes part in latents that were made already
        c_in = coefficients(model.config.schedule.prediction).c_in
        if self.latents is None or self.noisy:
            start = noise()
        else:
            start = self.latents.to(model.device, torch.float32)
        if self.noisy and self.latents is not None:
            # in double precision, so that what was left comes back to the bit
            x = (self.latents.cpu().double() / c_in(grid[0])).float().to(model.device)
            drawing.skip(drawing.count + drawn_by(settings, (*self.earlier, grid[0])), shape)
        elif known is None or (made is None and self._repaints):
            x = start / c_in(grid[0])  # networks see unit variance
        else:
            x = torch.add(known, start, alpha=grid[0])
        cells = None if known is None or self.mask is None else self._cells(self.mask)

        assert settings.sampler is not None  # checked settings have one
        begun, history = 0, tuple[Step, ...]()
        if resumed is not None:
            begun, drawing = len(resumed), resumed.drawing(drawing, shape)
            if goes_on:
                x, history = resumed.x, resumed.before if self.looks_back else ()
        sampler, before = SAMPLERS[settings.sampler], drawing.count
        whole = (*self.earlier, *grid, *self.later)
        for part in self.parts:
            left = part.steps[max(begun - part.steps[0], 0) :]
            if not left:
                continue
            first = left[0]
            if part is not self.parts[0]:
                network = self._network(part, drawing)
                history = ()  # of another network
            denoise: Denoise = network.denoiser
            guiding: Guiding | None = None
            if self.guide is not None:
                autoencoder, schedule = part.model.autoencoder, part.model.schedule
                guiding = Guiding(self.guide, autoencoder, settings.guide_scale, schedule)
                denoise = guiding.steered(denoise)
            mask = None if part.sees_mask else cells
            if mask is not None and known is not None:
                denoise = inpainting(denoise, known, start, mask, whole)
            if self.around is not None and part.model is model:
                denoise = self.around(denoise, part.told.read, grid)

            def at(
                step: int, network: Network = network, guiding: Guiding | None = guiding
            ) -> None:
                network.at(step, len(self))
                if guiding is not None:
                    guiding.at(self.before + step)

            at(first)
            # the sampler knows of the levels after its own, as if it went on
            levels = (*grid[first:], *self.later)
            steps = sampler(denoise, x, levels, noise=noise, before=history, **settings.options)
            for index, step in zip(left, steps, strict=False):
                if not is_finite(step.x_next):
                    count = self.before + len(self)
                    where = f"at step {self.before + index} of {count} (counted from 0)"
                    raise NumericsError(network.fault(where))
                x, step = step.x_next, network.recorded(step)
                cond, uncond = step.cond, step.uncond
                if mask is not None and known is not None and cond is not None:
                    # both halves keep the unmasked part, so guidance of any scale keeps it
                    free = repainted(mask, step.sigma, whole)
                    cond = torch.where(free, cond, known)
                    uncond = None if uncond is None else torch.where(free, uncond, known)
                yield replace(
                    step, index=self.before + index, cond=cond, uncond=uncond, draws=before
                )
                before = drawing.count
                at(index + 1)  # the sampler goes on with the next step

    def _network(self, part: Part, drawing: Drawing) -> Network:
        """The network of a part; it may draw noise for an image that the network sees."""
        given: Sequence[Given] = part.told.given
        _, _, *cells = latent_shape(part.model.config, self.settings)
        for small in part.model.config.embedders:
            if isinstance(small, LowResolutionConfig) and small.levels and self.image is not None:
                given = with_noise(given, small, drawing(small.channels, *cells))
        controls = self.controls if part.model is self.model else Controls()
        return Network(part.model, part.settings, part.told, given, part.attention, controls)

    @property
    def _repaints(self) -> bool:
        """Whether all of a mask is made from noise."""
        return self.mask is not None and self.settings.strength == 1

    def _known(self, made: Made | None, noise: Callable[[], Tensor]) -> Tensor | None:
        """[B, C, h, w]: the clean latents at which it begins, and which it keeps outside a mask;
        None where it needs none."""
        if made is not None and not isinstance(made, Tensor):
            return self._encoded(made, noise)
        if made is not None and (self.mask is None or self.image is None):
            return made.to(self.model.device)
        all_see_mask = all(part.sees_mask for part in self.parts)
        if made is None and (not self.from_image or (all_see_mask and self._repaints)):
            return None
        assert self.image is not None
        known = self._encoded([self.image], noise)
        if made is None or self.mask is None:
            return known
        return torch.where(self._cells(self.mask) > 0, made.to(known.device), known)

    def _encoded(self, images: Sequence[Image.Image], noise: Callable[[], Tensor]) -> Tensor:
        """Latents drawn from the posteriors of these images, or of the only one."""
        means, stds = zip(*(self.model.posterior(image) for image in images), strict=True)
        mean, std = torch.cat(means), torch.cat(stds)
        return (mean + std * noise().to(mean.device)).to(self.model.device)

    def _cells(self, mask: Image.Image) -> Tensor:
        """[1, 1, h, w], 1 for every cell with a pixel to repaint, so thin strokes are not lost."""
        pixels = torch.from_numpy(np.array(mask, dtype=np.float32) / 255)[None, None]
        return F.max_pool2d(pixels, self.model.config.autoencoder.factor).to(self.model.device)


def latent_shape(config: ModelConfig, settings: Settings) -> tuple[int, int, int, int]:
    """[B, C, h, w] of the latents of a run with these settings."""
    factor, channels = config.autoencoder.factor, config.autoencoder.latent_channels
    width, height = settings.size
    return settings.batch_size, channels, height // factor, width // factor
