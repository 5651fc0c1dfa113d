"""One latent diffusion model, put together: from a prompt to steps, and from steps to pictures.

"High-Resolution Image Synthesis with Latent Diffusion Models" (Rombach et al., arXiv 2112.10752).
What is given decides the task: a prompt alone makes a picture from noise; with ``image`` the run
begins part of the way, at that picture with noise on it (SDEdit, Meng et al., arXiv 2108.01073);
with ``image`` and ``mask`` only the mask's white part is made anew.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from .configs import SD1, ModelConfig, ScheduleConfig
from .derivation import Derivation, derivation_of
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
from .memory import available_memory
from .models.autoencoder import Autoencoder
from .models.conditioning import (
    Conditioning,
    Embedder,
    Given,
    Tokens,
    condition,
    conditioned,
    read,
)
from .models.text import TextEncoder
from .models.unet import UNet
from .pictures import PictureLike, Start, as_picture, fitted
from .pixels import to_image, to_tensor
from .settings import AttentionSettings, Settings, amount, memory_needed
from .sources import Source
from .threads import threads_for
from .trace import Trace
from .trace.attention import AttentionRecorder
from .trace.images import SD1_PREVIEW, fit_preview, preview_rgb
from .trace.tokens import PromptTokens

R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class LatentDiffusion:
    """The parts of one model. Holds no state: runs of one model do not know of each other."""

    config: ModelConfig
    unet: UNet
    autoencoder: Autoencoder
    embedders: tuple[Embedder, ...]  # of what the network is told, as in the config
    schedule: NoiseSchedule
    preview: np.ndarray | None = field(default=None, repr=False)  # [C + 1, 3], see preview_factors
    sources: tuple[Source, ...] = field(default=(), repr=False)  # files and adapters it is made of
    derivation: Derivation | None = field(default=None, repr=False)  # of a model made from another

    @property
    def name(self) -> str:
        """The model's name."""
        return self.config.name

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return next(self.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The network's type; latents are float32 all the same."""
        return next(self.unet.parameters()).dtype

    @cached_property
    def fingerprint(self) -> str:
        """64 hexadecimal digits that tell its weights from others; see `fingerprint_of`.

        A derived model's also depends on its parent's and on what was changed; see `derivation`.
        """
        models = (embedder.model for embedder in self.embedders)
        values = fingerprint_of(self.unet, self.autoencoder, *models)
        return values if self.derivation is None else self.derivation.fingerprint(values)

    @property
    def text(self) -> TextEncoder | None:
        """The first text encoder; None for a model that reads no text."""
        return next((each for each in self.embedders if isinstance(each, TextEncoder)), None)

    def derived(
        self,
        *sources: Source,
        name: str | None = None,
        unet: UNet | None = None,
        autoencoder: Autoencoder | None = None,
        embedders: Sequence[Embedder] | None = None,
    ) -> LatentDiffusion:
        """A model with other parts, which shares all the rest with this one; this one stays.

        ``sources`` say what the new parts came from; they follow this model's own in records.
        ``name``: this model's and the sources' by default. For single weights, as LoRA changes
        them, give parts made by `models.patched.patched`. The new model has a fingerprint of its
        own. It shares memory with this one, so neither may be moved to another device in place.

        Raises InputError if nothing is changed, without a source, and for an autoencoder whose
        latents are of another shape than the UNet's.
        """
        changed: list[tuple[nn.Module, nn.Module]] = []
        if unet is not None:
            changed.append((unet, self.unet))
        if autoencoder is not None:
            _check_latents(self, autoencoder)
            changed.append((autoencoder, self.autoencoder))
        told = self.embedders if embedders is None else tuple(embedders)
        if len(told) != len(self.embedders):
            raise InputError(
                f"{self.name!r} has {len(self.embedders)} embedders, got {len(told)}.",
                parameter="embedders",
            )
        pairs = zip(told, self.embedders, strict=True)
        changed += [(new.model, old.model) for new, old in pairs if new is not old]
        if not changed or not sources:
            raise InputError(
                "A derived model needs a part that is new, and a source that says what it is.\n"
                "Give, for example, unet=patched(model.unet, weights) and Source('my-lora').",
                parameter="sources",
            )
        encoder = self.autoencoder if autoencoder is None else autoencoder
        name = name or "+".join([self.name, *(source.name for source in sources)])
        return replace(
            self,
            config=replace(
                self.config,
                name=name,
                autoencoder=encoder.config,
                embedders=tuple(embedder.config for embedder in told),
            ),
            unet=self.unet if unet is None else unet,
            autoencoder=encoder,
            embedders=told,
            preview=self.preview if autoencoder is None else None,
            sources=self.sources + sources,
            derivation=derivation_of(self.fingerprint, sources, changed),
        )

    def with_autoencoder(
        self, autoencoder: Autoencoder, *, name: str | None = None
    ) -> LatentDiffusion:
        """This model with another autoencoder for the same latents: finer, smaller or your own.

        ``autoencoder`` is what `load_autoencoder` returns, with a scale of its own; it stays on its
        device. The UNet and the text encoder are shared with this model. Raises InputError if its
        latents have other channels or another size than the UNet's.

        Example::

            finer = model.with_autoencoder(sdw.load_autoencoder("vae.safetensors"))
        """
        if not isinstance(autoencoder, Autoencoder):
            raise InputError(
                f"autoencoder must be an Autoencoder, got a {type(autoencoder).__name__}.\n"
                "Load one with sdwidgets.load_autoencoder(path).",
                parameter="autoencoder",
            )
        sources = autoencoder.sources or (Source("autoencoder", kind="autoencoder"),)
        return self.derived(*sources, name=name, autoencoder=autoencoder)

    @cached_property
    def preview_factors(self) -> np.ndarray:
        """[C + 1, 3] float32 for `trace.preview_rgb`: those of the model's folder, or fitted once.

        Stable Diffusion's autoencoder has published ones; any other decodes a little noise.
        """
        if self.preview is not None:
            return self.preview
        if self.config.autoencoder == SD1.autoencoder:
            return SD1_PREVIEW
        channels, side = self.config.autoencoder.latent_channels, 8
        generator = torch.Generator("cpu").manual_seed(0)
        # flat patches of two sizes: a latent's colour is its own, and its neighbours' like it
        noise = [torch.randn(4, channels, n, n, generator=generator) for n in (side // 4, side)]
        latents = torch.cat([F.interpolate(x, size=(side, side)) for x in noise])
        factor = self.config.autoencoder.factor
        with torch.no_grad(), threads_for(self.autoencoder, len(latents) * (side * factor) ** 2):
            parameter = next(self.autoencoder.parameters())
            pictures = self.autoencoder.decode(latents.to(parameter.device, parameter.dtype))
        return fit_preview(latents, pictures.cpu())

    def previews(self, latents: Tensor | np.ndarray, *, sigma: float = 0.0) -> list[Image.Image]:
        """Quick pictures, a pixel a cell, of latents [B, C, h, w] at noise level ``sigma``.

        Linear in the latents: what `decode` makes of them costs a network.
        """
        pictures = preview_rgb(latents, self.preview_factors, sigma=sigma)
        return [Image.fromarray(one) for one in pictures]

    def tokenize(self, given: Sequence[str | Given]) -> Tokens:
        """The tokens that a person may look at, of prompts or of all that is given for each image.

        InputError for what the model cannot be told.
        """
        return read(self.embedders, [self._given(each) for each in given])

    @torch.no_grad()
    def condition(self, given: Sequence[str | Given]) -> Conditioning:
        """What the network is told, float32, by prompts or by all that is given for each image.

        A prompt alone is taken as that of an image of the model's own size. InputError for what
        the model cannot be told.
        """
        batch = [self._given(each) for each in given]
        read(self.embedders, batch)
        side = self.config.size // self.config.autoencoder.factor
        with threads_for(self.unet, len(batch) * side**2):  # no embedder does more than a step
            return condition(self.embedders, batch, join=self.config.join, device=self.device)

    def _given(self, one: str | Given) -> Given:
        side = self.config.size
        return Given(one, (side, side)) if isinstance(one, str) else one

    def encode(self, image: PictureLike) -> Tensor:
        """The latents [1, C, H/f, W/f] float32 of a picture: its posterior's mean.

        A picture whose sides are not multiples of f is scaled to the nearest that are.
        """
        picture, _ = as_picture(image)
        factor = self.config.autoencoder.factor
        width, height = (max(round(side / factor), 1) * factor for side in picture.size)
        picture, _, _ = fitted(picture, None, width, height)
        return self._posterior(picture)[0]

    @torch.no_grad()
    def _posterior(self, picture: Image.Image) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [1, C, h, w] float32 of an RGB picture's latents."""
        parameter = next(self.autoencoder.parameters())
        pixels = to_tensor(picture).to(parameter.device, parameter.dtype)
        with threads_for(self.autoencoder, picture.width * picture.height):
            posterior = self.autoencoder.encode(pixels)
        return posterior.mean.float(), posterior.std.float()

    @torch.no_grad()
    def decode(self, latents: Tensor | np.ndarray) -> list[Image.Image]:
        """The pictures of clean latents [B, C, h, w], one at a time to need little memory.

        Half precision can overflow in a decoder: then it is done again, once, in float32. Raises
        NumericsError if that did not help.
        """
        parameter = next(self.autoencoder.parameters())
        latents = torch.as_tensor(latents).to(parameter.device)
        pixels = [_decoded(self.autoencoder, one[None], parameter.dtype) for one in latents]
        if not all(_finite(one) for one in pixels):
            autoencoder = copy.deepcopy(self.autoencoder).float()
            pixels = [_decoded(autoencoder, one[None], torch.float32) for one in latents]
        if not all(_finite(one) for one in pixels):
            raise NumericsError(
                f"The autoencoder's decoder gave NaN or infinity in {_named(parameter.dtype)}, "
                "and again in float32.\nIts weights or the latents are broken."
            )
        return [to_image(one[0]) for one in pixels]

    def sample(
        self,
        prompt: str | Sequence[str] = "",
        *,
        negative_prompt: str | Sequence[str] = "",
        steps: int = 20,
        sampler: str = "dpmpp_2m",
        schedule: str = "default",
        guidance_scale: float | None = None,
        guidance_rescale: float = 0.0,
        seed: int | Sequence[int] | None = None,
        width: int | None = None,
        height: int | None = None,
        batch_size: int = 1,
        image: PictureLike | None = None,
        strength: float = 0.8,
        mask: PictureLike | None = None,
        latents: Tensor | np.ndarray | None = None,
        eta: float = 0.0,
        original_size: tuple[int, int] | None = None,
        crop: tuple[int, int] | None = None,
        target_size: tuple[int, int] | None = None,
        attention: bool | AttentionSettings = False,
    ) -> Run:
        """An iterator of the run's `Step`s, each made when asked for; ``len()`` says how many.

        prompt, negative_prompt, seed: one, or a list with one for each picture of a batch.
        steps: 1 to 1000. sampler: "dpmpp_2m", "euler", "euler_ancestral", "heun", "ddim" (with
        ``eta`` 0 to 1, the share of fresh noise). schedule: the noise levels visited, "default"
        (the model's own), "karras", or another of `diffusion.SCHEDULES`.
        guidance_scale: how much the prompt is exaggerated; 1 not at all, and twice as fast; the
        model's own if None. guidance_rescale: 0 to 1, how much of the contrast that adds is taken
        back. seed: a fresh random one if None; picture i of a batch has seed + i, and is the
        picture that seed makes alone, on every device. width, height: pixels, multiples of the
        autoencoder's factor; the model's own if None.
        image: a picture to begin from, with ``strength`` (0 to 1) of the way from noise still to
        go. mask: what of it to make anew, white; the rest of its pixels is kept exactly.
        latents: [B, C, h, w], unit-variance noise in place of the seed's. attention: keep what the
        words looked at in ``step.attention``; True, or `AttentionSettings` for more of it.
        original_size, target_size (width, height) and crop (left, top), in pixels: what Stable
        Diffusion XL is told of the images that it should imitate; None: of one like the image to
        make, uncropped.

        Everything is checked before this returns: InputError (ImageError for pictures) says what
        cannot be used, OutOfMemory what cannot fit. While it runs: OutOfMemory, NumericsError.
        """
        settings = Settings(
            prompt=prompt,  # type: ignore[arg-type]  # lists become tuples when checked
            negative_prompt=negative_prompt,  # type: ignore[arg-type]
            steps=steps,
            sampler=sampler,
            schedule=schedule,
            guidance_scale=guidance_scale,
            guidance_rescale=guidance_rescale,
            seed=seed,  # type: ignore[arg-type]
            width=width,
            height=height,
            batch_size=batch_size,
            strength=strength,
            eta=eta,
            original_size=original_size,
            crop=crop,
            target_size=target_size,
        )
        # what is wrong with the settings is said first
        checked = settings.checked(self.config)
        return self.run(checked, Start.of(image, mask), latents=latents, attention=attention)

    def run(
        self,
        settings: Settings,
        start: Start | None = None,
        *,
        latents: Tensor | np.ndarray | None = None,
        attention: bool | AttentionSettings = False,
    ) -> Run:
        """`sample` for settings that are one value already, and an image that is already opened.

        Settings checked for this model are not checked again.
        """
        return Run(self, settings.checked(self.config), start, latents, attention)

    def generate(self, prompt: str | Sequence[str] = "", **settings: Any) -> Trace:
        """The record of a whole run, with its pictures; takes what `sample` takes."""
        return Trace.of(self.sample(prompt, **settings))


def _check_latents(model: LatentDiffusion, autoencoder: Autoencoder) -> None:
    old, new = model.config.autoencoder, autoencoder.config
    if (old.latent_channels, old.factor) != (new.latent_channels, new.factor):
        raise InputError(
            f"The autoencoder's latents have {new.latent_channels} channels at 1/{new.factor} of "
            f"the size; {model.name!r} works on {old.latent_channels} at 1/{old.factor}.\n"
            "Give an autoencoder made for the same latents.",
            parameter="autoencoder",
        )


def fingerprint_of(*parts: nn.Module) -> str:
    """64 hexadecimal digits that identify the parts' weights: SHA-256 of every tensor's name, shape
    and 16 values spread over it, so gigabytes need not be read.

    The prefix that some CLIP files put before all names does not count.
    """
    digest = hashlib.sha256()
    for part in parts:
        for name, values in part.state_dict().items():
            flat = values.detach().flatten()
            some = flat[:: max(flat.numel() // 16, 1)][:16].double().cpu()
            name = name.removeprefix("text_model.")
            digest.update(f"{name} {tuple(values.shape)}".encode())
            digest.update(some.numpy().tobytes())
    return digest.hexdigest()


def noise_schedule(config: ScheduleConfig) -> NoiseSchedule:
    """The noise schedule a config describes."""
    return NoiseSchedule.from_betas(
        config.steps,
        config.beta_start,
        config.beta_end,
        config.kind,
        spacing=config.spacing,
        offset=config.offset,
    )


class Run(Iterator[Step]):
    """The steps of one run of a model, made one at a time; what `LatentDiffusion.sample` returns.

    Attributes: ``settings`` (as resolved, with the seed), ``tokens`` (of the prompts), ``notices``
    (what a person should know), ``seconds`` (time of each step so far), ``task``.
    """

    def __init__(
        self,
        model: LatentDiffusion,
        settings: Settings,
        start: Start | None = None,
        latents: Tensor | np.ndarray | None = None,
        attention: bool | AttentionSettings = False,
    ):
        """``settings`` must be checked. Raises InputError, ImageError, OutOfMemory."""
        self.model = model
        self.settings = settings
        start = start.fitted(*settings.size) if start else None
        self.image = start.image if start else None
        self.mask = start.mask if start else None
        notices = start.notices if start else ()
        self.latents = _starting_noise(model, settings, latents)
        self.attention = AttentionSettings.of(attention)
        skipped = settings.skipped_steps if self.image is not None else 0
        self._count = settings.steps - skipped
        _check_memory(model, settings)
        self._given = [_given_for(settings, prompt) for prompt in settings.prompts]
        self.tokens: Tokens = model.tokenize(self._given)
        notices += _cut_notices("prompt", self.tokens)
        self._negative: Tokens | None = None
        if settings.guidance_scale != 1:
            away = [_given_for(settings, prompt or None) for prompt in settings.negative_prompts]
            self._negative = model.tokenize(away)
            notices += _cut_notices("negative prompt", self._negative)
            self._given += away  # the prompts' half comes first
        self.notices: tuple[str, ...] = notices
        self.seconds: list[float] = []
        batch, _, height, width = _latent_shape(model.config, settings)
        self._positions = batch * height * width * (1 if self._negative is None else 2)
        self._steps = self._run(skipped)

    def __len__(self) -> int:
        """The number of steps of the whole run, taken ones included."""
        return self._count

    def __iter__(self) -> Run:
        return self

    def __next__(self) -> Step:
        began = time.perf_counter()
        with threads_for(self.model.unet, self._positions):
            step = _within_memory(lambda: next(self._steps), self._memory_message)
        self.seconds.append(time.perf_counter() - began)
        return step

    def close(self) -> None:
        """End the run here."""
        self._steps.close()

    @property
    def model_name(self) -> str:
        return self.model.name

    def prompt_tokens(self) -> tuple[PromptTokens, ...]:
        """Each picture's prompt as the network reads it."""
        return _prompt_tokens(self.settings.prompts, self.tokens)

    def negative_tokens(self) -> tuple[PromptTokens, ...]:
        """Each picture's negative prompt likewise; () without guidance."""
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
        """The pictures of a step: of the last one the result, of others the best guess so far.

        Outside an inpainting's mask, the given picture's own pixels. Raises OutOfMemory and
        NumericsError.
        """
        last = step.index == len(self) - 1
        # a grid may end above 0 ("ddim"): the network's own view of those latents is decoded
        c_in = coefficients(self.model.config.schedule.prediction).c_in(step.sigma_next)
        held = [c_in * step.x_next if last else step.denoised]
        del step  # out of memory, the error's frames must keep no tensor alive: not this one either
        images = _within_memory(lambda: self.model.decode(held.pop()), self._memory_message)
        if self.image is None or self.mask is None:
            return images
        return [Image.composite(image, self.image, self.mask) for image in images]

    @torch.no_grad()
    def _run(self, skipped: int) -> Generator[Step, None, None]:
        model, settings = self.model, self.settings
        device, dtype = model.device, model.dtype
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in settings.seeds]
        shape = _latent_shape(model.config, settings)[1:]

        def noise() -> Tensor:
            drawn = [torch.randn(shape, generator=g, dtype=torch.float32) for g in generators]
            return torch.stack(drawn).to(device)

        guided = settings.guidance_scale != 1
        conditioning = model.condition(self._given)
        network = conditioned(model.unet, conditioning.to(device, dtype))
        recorder = None
        if self.attention and self.tokens.ids.shape[1] > 1:  # one token has all the attention
            negative = self._negative.pieces if self._negative else ()
            recorder = AttentionRecorder(
                model.unet,
                *shape[1:],
                lengths=[len(pieces) for pieces in self.tokens.pieces],
                uncond_lengths=[len(pieces) for pieces in negative],
                settings=self.attention,
            )
            network = recorder(network)
        denoiser = Denoiser(
            network,
            model.schedule,
            model.config.schedule.prediction,
            dtype=dtype,
            guidance_scale=settings.guidance_scale if guided else None,
            guidance_rescale=settings.guidance_rescale,
        )

        grid = SCHEDULES[settings.schedule](model.schedule, settings.steps)[skipped:].tolist()
        known = None
        if self.image is not None:
            mean, std = model._posterior(self.image)
            known = (mean + std * noise().to(mean.device)).to(device)
        start = noise() if self.latents is None else self.latents.to(device, torch.float32)
        if known is None or (self.mask is not None and settings.strength == 1):
            x = start / denoiser.coefficients.c_in(grid[0])  # the network sees unit variance
        else:
            x = torch.add(known, start, alpha=grid[0])
        denoise: Denoise = denoiser
        mask: Tensor | None = None
        if known is not None and self.mask is not None:
            mask = _latent_mask(self.mask, model.config.autoencoder.factor).to(device)
            denoise = inpainting(denoiser, known, start, mask, grid[0])

        sampler = SAMPLERS[settings.sampler]
        for step in sampler(denoise, x, grid, noise=noise, **settings.options):
            if not _finite(step.x_next):
                raise NumericsError(self._numerics_message(step, conditioning))
            cond, uncond = denoiser.take_halves()
            if mask is not None and known is not None and cond is not None and uncond is not None:
                # what is kept is kept in both: so guidance of any scale keeps it, too
                cond = torch.where(mask > 0, cond, known)
                uncond = torch.where(mask > 0, uncond, known)
            attention = recorder.take() if recorder else None
            yield replace(step, cond=cond, uncond=uncond, attention=attention)

    def _numerics_message(self, step: Step, conditioning: Conditioning) -> str:
        told = (conditioning.context, conditioning.vector)
        broken_text = any(route is not None and not _finite(route) for route in told)
        component = "text encoder" if broken_text else "UNet"
        dtype = _named(self.model.dtype)
        remedy = "The weights are broken, or the settings extreme."
        if dtype != "float32":
            remedy = "Load the model with dtype='float32'."
        return (
            f"The {component} gave NaN or infinity at step {step.index + 1} of {len(self)} "
            f"in {dtype}.\n{remedy}"
        )

    def _memory_message(self) -> str:
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        return _out_of_memory(self.model, self.settings, available_memory(self.model.device))


def _given_for(settings: Settings, prompt: str | None) -> Given:
    return Given(prompt, settings.size, settings.original_size, settings.crop, settings.target_size)


def _decoded(autoencoder: Autoencoder, latents: Tensor, dtype: torch.dtype) -> Tensor:
    with threads_for(autoencoder, latents[:, 0].numel() * autoencoder.config.factor**2):
        return autoencoder.decode(latents.to(dtype)).float()


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _finite(x: Tensor) -> bool:
    """Whether all is finite; one pass and, on a GPU, one wait. (The sum of float32 latents cannot
    overflow unless they are far beyond use.)"""
    return bool(torch.isfinite(x.sum()))


def _prompt_tokens(prompts: Sequence[str], tokens: Tokens) -> tuple[PromptTokens, ...]:
    parts = zip(prompts, tokens.pieces, tokens.words, tokens.cut, strict=True)
    return tuple(PromptTokens(*part, slots=tokens.ids.shape[1]) for part in parts)


def _cut_notices(what: str, tokens: Tokens) -> tuple[str, ...]:
    cuts = [cut if len(cut) <= 200 else cut[:200] + " ..." for cut in tokens.cut if cut]
    return tuple(
        f"The {what} is too long; the model does not see: {cut}" for cut in dict.fromkeys(cuts)
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
    if isinstance(latents, np.ndarray) and latents.dtype.kind in "iuf":
        latents = torch.from_numpy(np.ascontiguousarray(latents))
    if not isinstance(latents, Tensor):
        raise InputError(
            f"latents must be a tensor or an array, got a {type(latents).__name__}.",
            parameter="latents",
        )
    shape = _latent_shape(model.config, settings)
    if tuple(latents.shape) != shape or not latents.is_floating_point():
        raise InputError(
            f"latents must be floats {[*shape]} for these settings, "
            f"got {_named(latents.dtype)} {[*latents.shape]}.",
            parameter="latents",
        )
    if not _finite(latents.float()):
        raise InputError("latents hold NaN or infinity.", parameter="latents")
    return latents


def _latent_mask(mask: Image.Image, factor: int) -> Tensor:
    """[1, 1, h, w], 1 for every cell with a pixel to be made anew: thin strokes are not lost."""
    pixels = torch.from_numpy(np.array(mask, dtype=np.float32) / 255)[None, None]
    return F.max_pool2d(pixels, factor)


def _within_memory(work: Callable[[], R], message: Callable[[], str]) -> R:
    """``work()``, with every kind of out-of-memory error as ours.

    Ours is raised when the other has gone: as its context it would keep the run's tensors alive.
    """
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
    raise OutOfMemory(message())


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    # CUDA's driver and libraries, MPS and the CPU raise plain RuntimeErrors
    said = str(error).lower()
    signs = ("out of memory", "defaultcpuallocator", "not enough memory", "alloc_failed")
    return any(sign in said for sign in signs)


def _check_memory(model: LatentDiffusion, settings: Settings) -> None:
    """Refuse what will not fit.

    A GPU says itself when it is full, and the estimate, made for float32, may be off by two: there
    a run may try. Where main memory runs out the system ends the process, with no error at all.
    """
    free = available_memory(model.device)
    needed = memory_needed(model.config, *settings.size, settings.batch_size)
    margin = 4 if model.device.type == "cuda" else 1
    if free is not None and needed > margin * free:
        raise OutOfMemory(_out_of_memory(model, settings, free))


def _out_of_memory(model: LatentDiffusion, settings: Settings, free: int | None) -> str:
    batch, factor = settings.batch_size, model.config.autoencoder.factor
    width, height = settings.size
    needed = memory_needed(model.config, width, height, batch)
    have = "" if free is None else f" of {amount(free)}"
    tries = []
    if batch > 1:
        tries.append(f"batch_size={batch // 2}")
    smaller = [max(side // 2 // factor * factor, factor) for side in (width, height)]
    if smaller != [width, height]:
        tries.append(f"width={smaller[0]}, height={smaller[1]}")
    remedy = (
        f"Try {', or '.join(tries)}." if tries else "Free some memory, or take a smaller model."
    )
    return (
        f"Out of memory on {model.device}: {batch} x {width} x {height} pixels "
        f"need about {amount(needed)}{have}.\n{remedy}"
    )
