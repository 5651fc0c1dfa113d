"""A run of a model: its steps, made one at a time.

The task follows from the arguments. A prompt alone makes an image from noise. With an image the run
starts part of the way, from that image with noise on it (SDEdit, Meng et al., arXiv 2108.01073);
with an image and a mask it repaints only the mask's white part, and with a ``pad`` it paints new
area around the image (`outpainting`). A network that sees images beside the latents is shown what
was given: `models.images`. One that edits or enlarges an image starts from noise. With ``hires``, a
run at the given size comes first; what it made is enlarged, and goes through a second pass from
there (`enlarging`). A refiner makes the last steps (`refining`).
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from PIL import Image
from torch import Tensor

from .classes import task_of
from .controls import Controls, are_same, controls_again
from .devices import OnDevice
from .diffusion import SCHEDULES, NoiseSchedule, Step, coefficients
from .enlarging import enlarged_images, enlarged_latents, first_pass, second_pass
from .errors import InputError
from .given import check_given, rounded_notice, size_of_image, sized, starting_noise
from .guiding import Guide, check_guide
from .memory import tiled_where_short, within_memory
from .models.conditioning import Tokens
from .notices import NO_WINDOWS, about, about_blended_words, about_strength
from .outpainting import OVERLAP, blended, canvas
from .passes import Around, Made, Pass
from .pictures import Start
from .refining import START, check_refiner, sources_of
from .resumed import Resumed
from .room import check_memory, out_of_memory
from .settings import AttentionSettings, Settings, controls_of
from .sources import Source
from .trace.branching import Branch, levels_after
from .trace.parent import Parent
from .trace.questions import check_weights
from .trace.record import GivenControl
from .trace.step import TraceStep, check_steps
from .trace.tokens import PromptTokens

if TYPE_CHECKING:
    from .control import Control
    from .pipeline import LatentDiffusion


ROUNDED = 1e-3
"""How far, as a share, given noise levels may exceed the noisiest: published lists are rounded."""

IN_TILES = (
    "There was too little memory to decode the image at once, so it was decoded in tiles. The image"
    " is the same; it took longer."
)


class Run(Iterator[Step]):
    """The steps of a run, made one at a time; `LatentDiffusion.sample` returns it.

    Attributes: ``settings`` (resolved, with the seed), ``tokens`` (of the prompts), ``notices``
    (messages for the user), ``seconds`` (of each step so far), ``task``, ``last`` (the step made
    last; None before the first and after an error).
    """

    def __init__(
        self,
        model: LatentDiffusion,
        settings: Settings,
        start: Start | None = None,
        latents: Tensor | np.ndarray | None = None,
        attention: bool | AttentionSettings = False,
        control: Control | Sequence[Control] | Sequence[GivenControl] | None = None,
        around: Around | None = None,
        refiner: LatentDiffusion | None = None,
        branch: Branch | None = None,
        guide: Guide | None = None,
    ):
        """``settings`` must be checked. Raises InputError, ImageError, OutOfMemory, and what
        `load_control` raises."""
        self.model = model
        self.parent: Parent | None = None
        if branch is not None:
            check_weights(branch.record, model)
            start, latents, self.parent = branch.start, branch.latents, branch.parent
            refiner = branch.refiner or refiner
            guide = branch.guide if guide is None else guide
            if refiner is None and branch.record.settings.refiner_start is not None:
                raise InputError(
                    "A refiner made the last steps of this run.\nGive it again: refiner=...",
                    parameter="refiner",
                )
            if branch.control is None:
                control = branch.record.given_controls
        if isinstance(control, tuple) and any(isinstance(one, GivenControl) for one in control):
            control = controls_again(control)
        self.refiner, self.guide = refiner, guide
        if guide is not None:
            check_guide(guide)
        config = model.config
        check_given(config, settings, start, latents)
        start = start and start.with_small_image()
        asked, settings = settings.pad, sized(settings, config, start)
        if refiner is not None:
            check_refiner(model, refiner)
            check_given(refiner.config, settings, start, latents)
            if settings.refiner_start is None:
                settings = settings.resolved(refiner_start=START)
        self.first: Run | None = None  # of a run of two passes, whose own pass is the second
        own = settings  # of this run's own pass
        if settings.hires is not None:
            first = first_pass(settings)
            self.first = Run(model, first, start, latents, attention, control, around, guide=guide)
            own = second_pass(settings)
        self.image: Image.Image | None = None
        self.mask: Image.Image | None = None
        self.depth: np.ndarray | None = None  # [H, W] float32
        self.label_map: np.ndarray | None = None  # [H, W] uint16
        self.neighbours: tuple[Image.Image, ...] = ()
        notices = model.notices
        if start is not None:
            larger = own.size if own.pad else None
            start = start.fitted(*size_of_image(own, config), own.fit, larger)
            self.image, self.mask, self.depth = start.image, start.mask, start.depth
            self.label_map, self.neighbours = start.label_map, start.neighbours
            notices += start.notices
        self._canvas, self._area = self.image, self.mask
        if self.image is not None and own.pad is not None:
            overlap = OVERLAP * config.autoencoder.factor
            self._canvas = canvas(self.image, own.pad)
            self._area = blended(self.image.size, own.pad, self.mask, overlap=overlap)
            if settings.pad != asked:
                notices += (rounded_notice(settings, config.autoencoder.factor),)
        self.latents = starting_noise(model, settings, latents)
        self.attention = AttentionSettings.of(attention)
        from_image = self.image is not None and not config.starts_from_noise
        from_image = from_image or self.first is not None
        resumed = None if branch is None else Resumed(branch, model)
        self.own_steps: dict[int, TraceStep] = {}  # those that are recorded already
        if branch is not None and resumed is not None:
            notices += resumed.notices
            if not branch.exact:
                self.own_steps = {step.index: step for step in branch.steps}
        goes_on = resumed is not None and resumed.goes_on
        by_strength = from_image and not own.start_step and not goes_on
        noisy = own.start_step > 0 and self.latents is not None
        controls = controls_of(control)
        skipped = own.skipped_steps if by_strength else own.start_step
        whole = tuple(grid_of(model.schedule, own))
        if own.start_step or own.end_step is not None:
            _check_part(own, len(whole) - 1, self.image, from_strength=branch is None)
        end = len(whole) - 1 if own.end_step is None else own.end_step
        grid = _levels(whole[: end + 1], skipped, resumed)
        begins = 1.0 if noisy else model.schedule.t(grid[0]) / (len(model.schedule) - 1)
        if self.first is None:
            notices += tuple(
                about(
                    settings if by_strength or not from_image else replace(settings, strength=1.0),
                    config,
                    from_image=from_image,
                    sees_image=self.image is not None,
                    controlled=bool(controls),
                    begins=begins,
                    refiner=None if refiner is None else refiner.config,
                )
            )
            if by_strength:
                own = settings = settings.resolved(strength=own.effective_strength)
            elif self.image is not None and not from_image and not own.start_step:
                own = settings = settings.resolved(strength=1.0)
        else:
            notices = tuple(n for n in self.first.notices if n != NO_WINDOWS or not own.has_windows)
            notices += tuple(about_strength(own, "The second pass's strength"))
            own = own.resolved(strength=own.effective_strength)
            strength = self.first.settings.strength
            settings = settings.resolved(strength=strength, hires_strength=own.strength)
        self.settings: Settings = settings
        self._pass = Pass(
            model,
            own,
            grid,
            image=self._canvas,
            mask=self._area,
            depth=self.depth,
            label_map=self.label_map,
            neighbours=self.neighbours,
            from_image=from_image,
            latents=self.latents if self.first is None else None,
            attention=self.attention,
            around=around,
            refiner=refiner,
            guide=guide,
            before=0 if self.first is None else len(self.first),
            resumed=resumed,
            earlier=whole[: own.start_step] if noisy else (),
            later=whole[end + 1 :],
            noisy=noisy,
        )
        told = self._pass.told
        notices += tuple(notice for part in self._pass.parts for notice in part.told.notices)
        for part in self._pass.parts:
            words = part.told.read.ids.shape[1]
            check_memory(part.model, settings, own.size, words, len(controls), guide)
        if self.attention and not told.has_words:
            notices += ("The model reads no words, so no attention is recorded.",)
        elif self.attention:
            notices += tuple(about_blended_words(own))
        kinds = self.attention and (self.attention.self_attention or self.attention.queries)
        if kinds and own.has_windows:
            notices += (
                "Windows attend to no others, so no self-attention or queries are recorded.",
            )
        if refiner is not None:
            recorded = self.attention is not None and told.has_words
            notices += _about_refiner(self._pass, recorded, bool(controls))
        self.notices: tuple[str, ...] = tuple(dict.fromkeys(notices))
        self.seconds: list[float] = []
        self.last: Step | None = None
        # last: a network may be loaded from a file
        nets = () if self.first is None else self.first.controls.nets
        self._pass.controls = Controls.of(controls, model, own, len(self._pass), nets)
        if self.first is None:
            self.notices += self._pass.controls.notices
        if branch is not None:
            followed = branch.record.given_controls
            self._pass.looks_back = branch.says_the_same and are_same(followed, self.controls.given)
        self._steps = self._run()

    def __len__(self) -> int:
        """The number of steps of the whole run, including those already made."""
        return self._pass.before + len(self._pass)

    @property
    def levels(self) -> tuple[float, ...]:
        """The noise levels around its steps; of two passes, those of the second."""
        return self._pass.grid

    def __iter__(self) -> Run:
        return self

    def __next__(self) -> Step:
        began = time.perf_counter()
        try:
            with OnDevice(self.model.device):
                step = within_memory(lambda: next(self._steps), self._memory_message)
        except StopIteration:
            raise
        except BaseException:
            self.last = None  # when memory runs out, no tensor may stay alive
            if self.first is not None:
                self.first.last = None
            raise
        while len(self.seconds) < step.index:
            self.seconds.append(0.0)  # of steps that a parent did not keep
        self.seconds.append(time.perf_counter() - began)
        self.last = step
        return step

    def __reduce__(self) -> NoReturn:
        raise InputError(
            "A run uses a model while it goes on, so it cannot be copied or pickled.\n"
            "Take its record, Trace.of(run), or its settings, run.settings."
        )

    def close(self) -> None:
        """End the run after the steps made so far."""
        self._steps.close()

    def skip_first(self, steps: Sequence[Step], seconds: Sequence[float]) -> None:
        """Go on from the steps of the first pass that another run has made; before any is taken.

        The other run has the settings of this one but for the second pass. The run then has only
        the steps of the second. ``seconds``: what the steps took.
        """
        if self.first is None or self.last is not None or len(steps) != len(self.first):
            raise ValueError("no run of two passes, or not all steps of the first")
        self.first.close()
        self.first.last = steps[-1]
        self.first.seconds, self.seconds = list(seconds), list(seconds)

    @property
    def tokens(self) -> Tokens:
        """The tokens of the prompts."""
        return self._pass.told.tokens

    @property
    def controls(self) -> Controls:
        """What the run follows."""
        return self._pass.controls

    @property
    def model_name(self) -> str:
        """The name of the model."""
        return self.model.name

    @property
    def sources(self) -> tuple[Source, ...]:
        """What the model, its refiner and the controls were made of."""
        refiner = () if self.refiner is None else sources_of(self.refiner)
        return (*self.model.sources, *refiner, *self.controls.sources)

    def prompt_tokens(self) -> tuple[PromptTokens, ...]:
        """Each image's prompt as the network reads it."""
        return self._pass.told.prompt_tokens(self.settings)

    def negative_tokens(self) -> tuple[PromptTokens, ...]:
        """Each image's negative prompt as the network reads it; () without guidance."""
        return self._pass.told.negative_tokens(self.settings)

    @property
    def task(self) -> str:
        """ "image to image", "inpainting", "outpainting", or what `classes.task_of` says."""
        if self.image is None or "low_res" in self.model.config.takes:
            return task_of(self.model.config)
        if self.settings.pad is not None:
            return "outpainting"
        return "image to image" if self.mask is None else "inpainting"

    def pictures(self, step: Step) -> list[Image.Image]:
        """The images of a step: the result at the last step, the prediction so far at the others.

        Outside the mask, the original's own pixels; across an outpainting's seam, a blend of both.
        If memory is short, it decodes in tiles, and `notices` says so. Raises OutOfMemory and
        NumericsError.
        """
        check_steps([step])
        if self.first is not None and step.index < len(self.first):
            return self.first.pictures(step)
        held = [self._result(step) if step.index == len(self) - 1 else step.denoised]
        del step  # when memory runs out, the error's frames must keep no tensor alive
        images = self._decoded(held)
        if self._canvas is None or self._area is None:
            return images
        return [Image.composite(image, self._canvas, self._area) for image in images]

    def _run(self) -> Generator[Step, None, None]:
        made: Made | None = None
        if self.first is not None:
            yield from self.first
            made = self._enlarged(self.first)
        yield from self._pass.steps(made)

    def _enlarged(self, first: Run) -> Made:
        """What the first pass made, at this pass's size."""
        assert first.last is not None
        width, height = self._pass.settings.size
        if self.settings.hires_method == "pixels":
            images = enlarged_images(
                first.pictures(first.last), (width, height), self._canvas, self._area
            )
            self.notices = tuple(dict.fromkeys([*self.notices, *first.notices]))  # of tiles
            return images
        factor = self.model.config.autoencoder.factor
        return enlarged_latents(first._result(first.last), height // factor, width // factor)

    @property
    def latents_left(self) -> Tensor:
        """[B, C, h, w] float64: the latents after the last step that was made, with their noise.

        As the network sees them, of unit variance, at the level ``last.sigma_next``. A run with
        ``latents=`` these and ``start_step`` goes on from them. Raises InputError before the first
        step.
        """
        if self.last is None:
            raise InputError("This run has made no step yet, so it has no latents to go on from.")
        c_in = coefficients(self.model.config.schedule.prediction).c_in
        return self.last.x_next.cpu().double() * c_in(self.last.sigma_next)

    def _result(self, last: Step) -> Tensor:
        """The clean latents [B, C, h, w] that the last step leaves.

        A grid may end above 0 ("ddim"): they are as the network sees them there. Where the run
        makes only a part of its grid, noise is left, so they are the last prediction.
        """
        if self._pass.later:
            return last.denoised
        prediction = self.model.config.schedule.prediction
        return coefficients(prediction).c_in(last.sigma_next) * last.x_next

    def _decoded(self, held: list[Tensor]) -> list[Image.Image]:
        """The images of the latents in the list, which is emptied: an error keeps none alive."""
        autoencoder = self.model.autoencoder
        height, width = (side * autoencoder.config.factor for side in held[0].shape[2:])
        weight = autoencoder.weight

        def decoded(tiled: bool) -> list[Image.Image]:
            return self.model.decode(held[0], tiled=tiled)

        try:
            with OnDevice(self.model.device):
                images, tiled = within_memory(
                    lambda: tiled_where_short(autoencoder.config, width, height, weight, decoded),
                    self._memory_message,
                )
        except BaseException:
            self.last = None
            raise
        finally:
            held.clear()
        if tiled and IN_TILES not in self.notices:
            self.notices += (IN_TILES,)
        return images

    def _memory_message(self) -> str:
        words = self._pass.told.read.ids.shape[1]
        return out_of_memory(self.model, self.settings, self._pass.settings.size, words, self.guide)


def _levels(grid: tuple[float, ...], skipped: int, resumed: Resumed | None) -> tuple[float, ...]:
    """The noise levels around the steps of a pass, of a grid that ends where the pass does.

    ``skipped``: how many of the first steps are not made, unless the pass goes on from others.
    """
    if resumed is None or not resumed.goes_on:
        return grid[skipped:]
    left = levels_after(resumed.levels[-1], grid)
    if len(left) < 2:
        raise InputError(
            f"There is no noise level below {left[0]:.3g}, that of the latents before step "
            f"{len(resumed)}.\nGive lower ones, or an earlier step.",
            parameter="step",
        )
    return resumed.levels[:-1] + left


def _check_part(
    settings: Settings, steps: int, image: Image.Image | None, *, from_strength: bool
) -> None:
    """Raise InputError for a part of a grid of ``steps`` that a run cannot make.

    ``from_strength``: whether a strength would say where the run begins.
    """
    if settings.end_step is not None and settings.end_step > steps:
        raise InputError(
            f"end_step {settings.end_step} is beyond the grid, which has {steps} steps.\n"
            f"Give at most {steps}, or leave it out.",
            parameter="end_step",
        )
    usual = settings.strength in (Settings.strength, 1.0)
    if settings.start_step and image is not None and from_strength and not usual:
        raise InputError(
            "start_step and strength both say where a run from an image begins.\n"
            f"Give one of them: strength {settings.strength:g}, or start_step "
            f"{settings.start_step}.",
            parameter="start_step",
        )


def grid_of(schedule: NoiseSchedule, settings: Settings) -> list[float]:
    """The noise levels around all steps of the grid. Raises InputError for given levels with more
    noise than the network was trained on."""
    if settings.sigmas is not None:
        first, noisiest = settings.sigmas[0], float(schedule.sigmas[-1])
        if first > noisiest * (1 + ROUNDED):
            raise InputError(
                f"sigmas begin at {first:g}, but the model was trained on noise of up to "
                f"{noisiest:g}.\nBegin at {noisiest:.6g} or below.",
                parameter="sigmas",
            )
        return list(settings.sigmas)
    return SCHEDULES[settings.schedule](schedule, settings.all_steps).tolist()


def _about_refiner(own: Pass, recorded: bool, controlled: bool) -> tuple[str, ...]:
    """Notices of which steps a refiner makes. ``recorded``: whether attention is."""
    share = own.settings.refiner_start
    if own.taken_over == len(own):
        return (f"No step is below refiner_start {share:g}, so the refiner had no effect.",)
    notices = []
    if own.taken_over == 0:
        notices.append(f"All steps are below refiner_start {share:g}: the refiner makes them all.")
    if recorded:
        notices.append("Attention is not recorded in the refiner's steps: its layers are others.")
    if controlled:
        notices.append("Controls do not act in the refiner's steps: they were made for the model.")
    return tuple(notices)
