"""A run of a model: its steps, made one at a time.

The task follows from the arguments. A prompt alone makes an image from noise. With an image the run
starts part of the way, from that image with noise on it (SDEdit, Meng et al., arXiv 2108.01073);
with an image and a mask it repaints only the mask's white part. A network that sees images beside
the latents is shown what was given: `models.images`. One that edits or enlarges an image starts
from noise.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from .configs import (
    DepthConfig,
    GuidanceConfig,
    ImageConfig,
    LowResolutionConfig,
    MaskedImageConfig,
    ModelConfig,
)
from .controls import Controls
from .devices import OnDevice
from .diffusion import (
    SAMPLERS,
    SCHEDULES,
    Denoise,
    Denoiser,
    NoiseSchedule,
    Step,
    coefficients,
    inpainting,
)
from .errors import InputError, NumericsError, OutOfMemory
from .memory import available_memory, within_memory
from .models.conditioning import Conditioning, Given, Held, Tokens, conditioned
from .models.controlled import Controlled
from .notices import about
from .numerics import dtype_name, is_finite, tensor
from .pictures import Start
from .pixels import to_tensor
from .prompts import without_marks
from .settings import (
    LIMITS,
    AttentionSettings,
    Settings,
    amount,
    controls_of,
    largest_tensor,
    memory_needed,
)
from .sources import Source
from .threads import threads_for
from .tiling import needs_tiles
from .trace.attention import AttentionRecorder
from .trace.control import ControlRecorder
from .trace.step import check_steps
from .trace.tokens import PromptTokens
from .vocabulary import unknown_notice

if TYPE_CHECKING:
    from .control import Control
    from .pipeline import LatentDiffusion


MPS_TENSOR = 2**32 - 1
"""Bytes of the largest tensor on Apple's GPU; beyond, Metal ends the process."""

IN_TILES = (
    "Memory ran out while the image was decoded, so it was decoded in tiles; it may differ slightly"
    " where they meet."
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
        control: Control | Sequence[Control] | None = None,
    ):
        """``settings`` must be checked. Raises InputError, ImageError, OutOfMemory, and what
        `load_control` raises."""
        self.model = model
        config = model.config
        _check_given(config, start)
        settings = _sized(settings, config, start)
        self.image: Image.Image | None = None
        self.mask: Image.Image | None = None
        self.depth: np.ndarray | None = None  # [H, W] float32
        notices = model.notices
        if start is not None:
            start = start.fitted(*_size_of_image(settings, config), settings.fit)
            self.image, self.mask, self.depth = start.image, start.mask, start.depth
            notices += start.notices
        self.latents = _starting_noise(model, settings, latents)
        self.attention = AttentionSettings.of(attention)
        self._from_image = self.image is not None and not config.starts_from_noise
        skipped = settings.skipped_steps if self._from_image else 0
        controls = controls_of(control)
        self._grid = SCHEDULES[settings.schedule](model.schedule, settings.steps)[skipped:].tolist()
        begins = model.schedule.t(self._grid[0]) / (len(model.schedule) - 1)
        notices += tuple(
            about(
                settings,
                config,
                from_image=self._from_image,
                sees_image=self.image is not None,
                controlled=bool(controls),
                begins=begins,
            )
        )
        if self.image is not None:
            strength = settings.effective_strength if self._from_image else 1.0
            settings = replace(settings, strength=strength)
        self.settings = settings
        self._seen = _seen(self.image, self.mask, self.depth)
        self._given = self._told(settings.prompts)
        self.tokens: Tokens = model.tokenize(self._given)
        notices += _token_notices("prompt", self.tokens)
        self._negative: Tokens | None = None
        self._is_guided = settings.is_guided and not config.has(GuidanceConfig)
        if self._is_guided:
            prompts = [prompt or None for prompt in settings.negative_prompts]
            away = self._told(prompts, away=True)
            self._negative = model.tokenize(away)
            notices += _token_notices("negative prompt", self._negative)
            self._given += away  # after the prompts' half
            if config.has(ImageConfig):  # the image guides, too
                self._given += [replace(each, image=None) for each in away]
        said = (*settings.prompts, *(settings.negative_prompts if self._negative else ()))
        read = without_marks if settings.weights != "none" else str
        notices += unknown_notice(map(read, said), model.vocabulary)
        self._read = model.tokenize(self._given)  # together: their contexts have the same length
        notices += _length_notices(self._read)
        _check_memory(model, settings, self._read.ids.shape[1], len(controls))
        if self.attention and self.tokens.ids.shape[1] <= 1:
            notices += ("The model reads no words, so no attention is recorded.",)
        self.notices: tuple[str, ...] = notices
        self.seconds: list[float] = []
        self.last: Step | None = None
        # last: a network may be loaded from a file
        self.controls = Controls.of(controls, model, settings, len(self._grid) - 1)
        self.notices += self.controls.notices
        _, _, height, width = _latent_shape(config, settings)
        self._positions = len(self._given) * height * width
        self._steps = self._run()

    def __len__(self) -> int:
        """The number of steps of the whole run, including those already made."""
        return len(self._grid) - 1

    def __iter__(self) -> Run:
        return self

    def __next__(self) -> Step:
        began = time.perf_counter()
        try:
            with OnDevice(self.model.device), threads_for(self.model.unet, self._positions):
                step = within_memory(lambda: next(self._steps), self._memory_message)
        except StopIteration:
            raise
        except BaseException:
            self.last = None  # when memory runs out, no tensor may stay alive
            raise
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

    @property
    def model_name(self) -> str:
        """The name of the model."""
        return self.model.name

    @property
    def sources(self) -> tuple[Source, ...]:
        """What the model and the controls were made of."""
        return (*self.model.sources, *self.controls.sources)

    def prompt_tokens(self) -> tuple[PromptTokens, ...]:
        """Each image's prompt as the network reads it."""
        return _prompt_tokens(self.settings.prompts, self.tokens)

    def negative_tokens(self) -> tuple[PromptTokens, ...]:
        """Each image's negative prompt as the network reads it; () without guidance."""
        if self._negative is None:
            return ()
        return _prompt_tokens(self.settings.negative_prompts, self._negative)

    @property
    def task(self) -> str:
        """ "text to image", "image to image" or "inpainting"."""
        if self.image is None:
            return "text to image"
        return "image to image" if self.mask is None else "inpainting"

    def pictures(self, step: Step) -> list[Image.Image]:
        """The images of a step: the result at the last step, the prediction so far at the others.

        Outside an inpainting mask, the original's own pixels. If memory runs out, it decodes once
        more in tiles, and `notices` says so. Raises OutOfMemory and NumericsError.
        """
        check_steps([step])
        last = step.index == len(self) - 1
        # a grid may end above 0 ("ddim"); decode the latents as the network sees them
        c_in = coefficients(self.model.config.schedule.prediction).c_in(step.sigma_next)
        held = [c_in * step.x_next if last else step.denoised]
        del step  # when memory runs out, the error's frames must keep no tensor alive
        images = self._decoded(held)
        if self.image is None or self.mask is None:
            return images
        return [Image.composite(image, self.image, self.mask) for image in images]

    def _decoded(self, held: list[Tensor]) -> list[Image.Image]:
        """The images of the latents in the list, which is emptied: an error keeps none alive."""
        try:
            with OnDevice(self.model.device):
                if not needs_tiles(held[0]):
                    return within_memory(
                        lambda: self.model.decode(held.pop()), self._memory_message
                    )
                with contextlib.suppress(OutOfMemory):
                    return within_memory(lambda: self.model.decode(held[0]), self._memory_message)
                images = within_memory(
                    lambda: self.model.decode(held.pop(), tiled=True), self._memory_message
                )
        except BaseException:
            self.last = None
            raise
        self.notices += (IN_TILES,)
        return images

    def _told(self, prompts: Sequence[str | None], *, away: bool = False) -> list[Given]:
        """What the network is told of each image; ``away``: where guidance leads away from."""
        settings = self.settings
        score = settings.negative_aesthetic_score if away else settings.aesthetic_score
        facts: dict[str, Any] = {
            "aesthetic_score": score,
            "noise_level": settings.noise_level,
            "guidance_scale": settings.guidance_scale,
            **self._seen,
        }
        taken = frozenset[str]().union(*(each.inputs for each in self.model.embedders))
        facts = {name: fact for name, fact in facts.items() if name in taken}
        sizes = (settings.size, settings.original_size, settings.crop, settings.target_size)
        return [Given(prompt, *sizes, reading=settings.reading, **facts) for prompt in prompts]

    @torch.no_grad()
    def _run(self) -> Generator[Step, None, None]:
        model, settings = self.model, self.settings
        device, dtype = model.device, model.dtype
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in settings.seeds]
        shape = _latent_shape(model.config, settings)[1:]

        def drawn(*shape: int) -> Tensor:
            values = [
                torch.randn(shape, generator=g, dtype=torch.float32, device="cpu")
                for g in generators
            ]
            return torch.stack(values).to(device)

        def noise() -> Tensor:
            return drawn(*shape)

        given = self._given
        for small in model.config.embedders:
            if isinstance(small, LowResolutionConfig) and self.image is not None:
                given = _with_noise(given, small, drawn(small.channels, *shape[1:]))
        conditioning = model.condition(given)
        controlled: Controlled | None = None
        added: ControlRecorder | None = None
        if self.controls.nets:
            added = ControlRecorder(model.config.unet.skip_levels, settings.batch_size)
            controlled = Controlled(model.unet, self.controls.parts(), added.look)
        network = conditioned(controlled or model.unet, conditioning.to(device, dtype))
        recorder = None
        if self.attention and self.tokens.ids.shape[1] > 1:  # a lone token takes it all
            negative = self._negative.pieces if self._negative else ()
            recorder = AttentionRecorder(
                model.unet,
                *shape[1:],
                lengths=[len(pieces) for pieces in self.tokens.pieces],
                uncond_lengths=[len(pieces) for pieces in negative],
                settings=self.attention,
                read=self._read,
            )
            network = recorder(network)
        denoiser = Denoiser(
            network,
            model.schedule,
            model.config.schedule.prediction,
            dtype=dtype,
            guidance_scale=settings.guidance_scale if self._is_guided else None,
            guidance_rescale=settings.guidance_rescale,
            image_guidance_scale=settings.image_guidance_scale
            if model.config.has(ImageConfig)
            else None,
        )

        grid, known = self._grid, None
        sees_mask = model.config.has(MaskedImageConfig)
        repaints = self.mask is not None and settings.strength == 1  # all of the mask, from noise
        if self._from_image and self.image is not None and not (sees_mask and repaints):
            mean, std = model.posterior(self.image)
            known = (mean + std * noise().to(mean.device)).to(device)
        start = noise() if self.latents is None else self.latents.to(device, torch.float32)
        if known is None or repaints:
            x = start / denoiser.coefficients.c_in(grid[0])  # the network sees unit variance
        else:
            x = torch.add(known, start, alpha=grid[0])
        denoise: Denoise = denoiser
        mask: Tensor | None = None
        if known is not None and self.mask is not None and not sees_mask:
            mask = _latent_mask(self.mask, model.config.autoencoder.factor).to(device)
            denoise = inpainting(denoiser, known, start, mask, grid[0])

        if controlled is not None:
            controlled.at(0, len(self))
        sampler = SAMPLERS[settings.sampler]
        for step in sampler(denoise, x, grid, noise=noise, **settings.options):
            if not is_finite(step.x_next):
                raise NumericsError(self._numerics_message(step, conditioning))
            cond, uncond = denoiser.take_halves()
            if mask is not None and known is not None and cond is not None and uncond is not None:
                # both halves keep the unmasked part, so guidance of any scale keeps it
                cond = torch.where(mask > 0, cond, known)
                uncond = torch.where(mask > 0, uncond, known)
            attention = recorder.take() if recorder else None
            control = added.take() if added else None
            yield replace(step, cond=cond, uncond=uncond, attention=attention, control=control)
            if controlled is not None:  # the sampler goes on with the next step
                controlled.at(step.index + 1, len(self))

    def _numerics_message(self, step: Step, conditioning: Conditioning) -> str:
        broken = [
            name
            for name in ("context", "vector", "concat")
            if (route := getattr(conditioning, name)) is not None and not is_finite(route)
        ]
        component = "UNet"
        if broken:
            component = "autoencoder" if broken == ["concat"] else "text encoder"
        dtype = dtype_name(self.model.dtype)
        remedy = "The weights are broken, or the settings extreme."
        if dtype != "float32":
            remedy = "Load the model with dtype='float32'."
        return (
            f"The {component} gave NaN or infinity at step {step.index} of {len(self)} "
            f"(counted from 0) in {dtype}.\n{remedy}"
        )

    def _memory_message(self) -> str:
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        free, words = available_memory(self.model.device), self._read.ids.shape[1]
        return _out_of_memory(self.model, self.settings, free, words)


def _seen(
    image: Image.Image | None, mask: Image.Image | None, depth: np.ndarray | None
) -> dict[str, Held]:
    """The images that a network may see, by their fields of `Given`."""
    seen = {}
    if image is not None:
        seen["image"] = to_tensor(image)[0]
    if mask is not None:
        seen["mask"] = torch.from_numpy(np.array(mask, np.float32) / 255)[None]
    if depth is not None:
        seen["depth"] = torch.from_numpy(depth)[None]
    return {name: Held(values) for name, values in seen.items()}


def _check_given(config: ModelConfig, start: Start | None) -> None:
    """Raise InputError for images that the model needs and was not given, or does not take."""
    image = start.image if start else None
    mask = start.mask if start else None
    depth = start.depth if start else None
    if image is None and config.starts_from_noise:
        does = "edits" if config.has(ImageConfig) else "enlarges"
        raise InputError(
            f"This model {does} an image, and none was given.\nGive image=...", parameter="image"
        )
    if mask is not None and config.starts_from_noise:
        raise InputError(
            "This model takes no mask: it makes all of the image.\nLeave it out.", parameter="mask"
        )
    if depth is None and config.has(DepthConfig):
        raise InputError(
            "This model needs a depth map, and none was given.\n"
            "Give depth=..., an image or an array [H, W] with high values for what is near.",
            parameter="depth",
        )
    if depth is not None and not config.has(DepthConfig):
        raise InputError("This model takes no depth map.\nLeave it out.", parameter="depth")


def _sized(settings: Settings, config: ModelConfig, start: Start | None) -> Settings:
    """The settings with the size of an enlarged image, which follows from the image's."""
    if settings.width is not None and settings.height is not None:
        return settings
    if start is None or start.image is None:
        raise ValueError("no image to enlarge")  # `_check_given` refuses it
    factor = config.autoencoder.factor
    size = [side * factor for side in start.image.size]
    if max(size) > LIMITS["width"][1]:
        raise InputError(
            f"The image is {start.image.width} x {start.image.height}; {factor} times as large is "
            f"more than {LIMITS['width'][1]}.\nGive a smaller image, or width and height.",
            parameter="image",
        )
    width, height = settings.width or size[0], settings.height or size[1]
    return replace(settings, width=width, height=height)


def _size_of_image(settings: Settings, config: ModelConfig) -> tuple[int, int]:
    """(width, height) of the given image: the run's own, or a pixel for each latent cell."""
    width, height = settings.size
    factor = config.autoencoder.factor if config.has(LowResolutionConfig) else 1
    return width // factor, height // factor


def _with_noise(given: Sequence[Given], config: LowResolutionConfig, noise: Tensor) -> list[Given]:
    """What is given, with noise [B, 3, h, w] of its level on the small image, as in training."""
    sigmas = NoiseSchedule.from_betas(config.levels, config.beta_start, config.beta_end).sigmas
    noisy = []
    for index, each in enumerate(given):
        assert each.image is not None
        sigma = float(sigmas[each.noise_level or 0])
        image = each.image.values + sigma * noise[index % len(noise)].to(each.image.values.device)
        noisy.append(replace(each, image=Held(image / (1 + sigma**2) ** 0.5)))
    return noisy


def _prompt_tokens(prompts: Sequence[str], tokens: Tokens) -> tuple[PromptTokens, ...]:
    return tuple(PromptTokens.of(prompt, tokens, row) for row, prompt in enumerate(prompts))


def _length_notices(tokens: Tokens) -> tuple[str, ...]:
    """A notice of contexts that could not be repeated to the same length."""
    if not tokens.padded:
        return ()
    counts = ", ".join(map(str, sorted(set(tokens.chunks))))
    return (
        f"The prompts have different numbers of chunks ({counts}); empty chunks follow the shorter"
        " ones, so an image may differ from the one made alone.",
    )


def _token_notices(what: str, tokens: Tokens) -> tuple[str, ...]:
    cuts = [cut if len(cut) <= 200 else cut[:200] + " ..." for cut in tokens.cut if cut]
    return (
        *(f"The {what} is too long; the model does not see: {cut}" for cut in dict.fromkeys(cuts)),
        *(
            f"The {what} has {control}, which the model does not read as text: it is a control"
            " token, as at a prompt's start or end."
            for control in tokens.controls
        ),
    )


def _latent_shape(config: ModelConfig, settings: Settings) -> tuple[int, int, int, int]:
    factor, channels = config.autoencoder.factor, config.autoencoder.latent_channels
    width, height = settings.size
    return settings.batch_size, channels, height // factor, width // factor


def _starting_noise(
    model: LatentDiffusion, settings: Settings, latents: Tensor | np.ndarray | None
) -> Tensor | None:
    if latents is None:
        return None
    latents = tensor("latents", latents, _latent_shape(model.config, settings))
    if not is_finite(latents.float()):
        raise InputError("latents hold NaN or infinity.", parameter="latents")
    return latents


def _latent_mask(mask: Image.Image, factor: int) -> Tensor:
    """[1, 1, h, w], 1 for every cell with a pixel to repaint, so thin strokes are not lost."""
    pixels = torch.from_numpy(np.array(mask, dtype=np.float32) / 255)[None, None]
    return F.max_pool2d(pixels, factor)


def _check_memory(model: LatentDiffusion, settings: Settings, words: int, controls: int) -> None:
    """Raise OutOfMemory for a run that will not fit.

    A GPU reports when it is full, and the estimate, made for float32, may be off by a factor of
    two, so a run may try there. When main memory runs out, the system ends the process without any
    error.
    """
    asked = model.config, *settings.size, settings.batch_size
    if model.device.type == "mps" and (largest := largest_tensor(*asked)) > MPS_TENSOR:
        raise OutOfMemory(
            f"Apple's GPU takes no tensor above {amount(MPS_TENSOR)}; this run needs one of "
            f"{amount(largest)}.\n{_smaller(model, settings)}"
        )
    free = available_memory(model.device)
    needed = memory_needed(*asked, words=words, controls=controls)
    margin = 4 if model.device.type == "cuda" else 1
    if free is not None and needed > margin * free:
        raise OutOfMemory(_out_of_memory(model, settings, free, words))


def _smaller(model: LatentDiffusion, settings: Settings) -> str:
    """What to try where a run is too large."""
    batch, factor = settings.batch_size, model.config.autoencoder.factor
    tries = []
    if batch > 1:
        tries.append(f"batch_size={batch // 2}")
    smaller = [max(side // 2 // factor * factor, factor) for side in settings.size]
    if smaller != [*settings.size]:
        tries.append(f"width={smaller[0]}, height={smaller[1]}")
    return f"Try {', or '.join(tries)}." if tries else "Free some memory, or use a smaller model."


def _out_of_memory(model: LatentDiffusion, settings: Settings, free: int | None, words: int) -> str:
    batch, (width, height) = settings.batch_size, settings.size
    needed = memory_needed(model.config, width, height, batch, words=words)
    have = "" if free is None else f" of {amount(free)}"
    return (
        f"Out of memory on {model.device}: {batch} x {width} x {height} pixels "
        f"need about {amount(needed)}{have}.\n{_smaller(model, settings)}"
    )
