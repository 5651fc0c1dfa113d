"""A latent diffusion model, put together: from a prompt to steps, and from steps to images.

"High-Resolution Image Synthesis with Latent Diffusion Models" (Rombach et al., arXiv 2112.10752).
"""

from __future__ import annotations

import copy
import hashlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from . import checks
from .checkpoints.embeddings import EmbeddingsLike, LearntWord, embeddings_of, read_embeddings
from .checkpoints.lora import apply_loras
from .checkpoints.lora_files import Networks
from .configs import SD1, ModelConfig, PredictionSource, ScheduleConfig
from .derivation import Derivation, derivation_of
from .devices import OnDevice
from .diffusion import NoiseSchedule
from .errors import InputError, NumericsError
from .loras import Lora, LoraLike, loras_of
from .memory import asks_for_tiles, tiled_where_short
from .models.autoencoder import Autoencoder
from .models.conditioning import (
    Conditioning,
    Embedder,
    Given,
    Tokens,
    condition,
    read,
    replaced,
)
from .models.images import in_tiles, seeing
from .models.patched import restored
from .models.text import BertEncoder, TextEncoder
from .models.unet import UNet
from .numerics import dtype_name, is_finite, tensor
from .passes import Around
from .pictures import PictureLike, Start, as_picture, fitted
from .pixels import to_image, to_tensor
from .run import Run
from .settings import AttentionSettings, Settings
from .sources import Source, listed
from .threads import threads_for
from .trace import Trace
from .trace.branching import Branch
from .trace.images import SD1_PREVIEW, fit_preview, preview_rgb
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from .control import Control
    from .guiding import Guide
    from .passes import Around


R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class LatentDiffusion:
    """The parts of a model. It holds no state: runs of the same model are independent."""

    config: ModelConfig
    unet: UNet
    autoencoder: Autoencoder
    embedders: tuple[Embedder, ...]  # what tells the network the prompt, as in the config
    schedule: NoiseSchedule
    preview: np.ndarray | None = field(default=None, repr=False)  # [C + 1, 3], see preview_factors
    sources: tuple[Source, ...] = field(default=(), repr=False)  # files and adapters it has
    derivation: Derivation | None = field(default=None, repr=False)  # from its parent
    prediction_source: PredictionSource = field(default="", repr=False)  # what `prediction` is from
    vocabulary: Vocabulary | None = field(default=None, repr=False)
    """The words that it was taught, in groups by title, if it knows few; None: any, or unknown."""
    loras: tuple[Lora, ...] = field(default=(), repr=False)
    """The LoRAs that it has, in the order in which they came."""
    plain: LatentDiffusion | None = field(default=None, repr=False)
    """The same model without LoRAs; None if it has none."""
    notices: tuple[str, ...] = field(default=(), repr=False)  # doubts about it, for every record

    def __repr__(self) -> str:
        size, number = self.config.size, dtype_name(self.dtype)
        facts = [
            f"{size} x {size} pixels",
            f"predicts {self.prediction}",
            f"{number} on {self.device}",
        ]
        facts += [f"from {listed(self.sources)}"] if self.sources else []
        return f"<LatentDiffusion {self.name!r}: {', '.join(facts)}>"

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
        """The network's type; latents are always float32."""
        return next(self.unet.parameters()).dtype

    @property
    def prediction(self) -> str:
        """What the network predicts: "eps", "v", "x0" or "flow"; see `diffusion.PREDICTIONS`.

        ``prediction_source`` says how that was decided; see `configs.PredictionSource`.
        """
        return self.config.schedule.prediction

    @property
    def takes(self) -> frozenset[str]:
        """What a run of it may be given beside numbers, of "prompt", "label", "boxes", "label_map",
        "low_res", "image", "mask", "depth", "neighbours" and "guide"."""
        return self.config.takes

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its classes, of labels, boxes or label maps, by number; () without any."""
        return self.config.classes

    @cached_property
    def fingerprint(self) -> str:
        """64 hexadecimal digits that identify its weights; see `fingerprint_of`.

        The fingerprint of a derived model also depends on its parent's and on the changes; see
        `derivation`.
        """
        models = (embedder.model for embedder in self.embedders)
        values = fingerprint_of(self.unet, self.autoencoder, *models)
        return values if self.derivation is None else self.derivation.fingerprint(values)

    @property
    def text(self) -> TextEncoder | BertEncoder | None:
        """The first text encoder; None for a model that reads no text."""
        return next(iter(self._readers), None)

    @property
    def _readers(self) -> list[TextEncoder | BertEncoder]:
        return [each for each in self.embedders if isinstance(each, (TextEncoder, BertEncoder))]

    def derived(
        self,
        *sources: Source,
        name: str | None = None,
        unet: UNet | None = None,
        autoencoder: Autoencoder | None = None,
        embedders: Sequence[Embedder] | None = None,
    ) -> LatentDiffusion:
        """A model with some new parts that shares all others with this model, which stays as it is.

        ``sources`` say where the new parts came from; they follow this model's own in records.
        ``name`` defaults to this model's name and those of the sources. To change single weights,
        as LoRA does, give parts made by `models.patched.patched`. The new model has its own
        fingerprint. The two share memory, so neither may be moved to another device in place.

        Raises InputError if no part is new, if there is no source, and for parts that do not fit:
        an autoencoder whose latents do not have the UNet's shape, a UNet with other inputs.
        """
        unet = self.unet if unet is None else unet
        encoder = self.autoencoder if autoencoder is None else autoencoder
        given = self.embedders if embedders is None else embedders
        given = tuple(checks.typed("embedders", given, (list, tuple), "a list of embedders"))
        told = tuple(seeing(embedder, encoder) for embedder in given)
        if name is not None:
            checks.typed("name", name, str, "a text")
        _check_network(self, unet)
        _check_latents(self, encoder)
        _check_embedders(self, told)
        pairs = [(unet, self.unet), (encoder, self.autoencoder)]
        pairs += [(new.model, old.model) for new, old in zip(told, self.embedders, strict=True)]
        changed = [(new, old) for new, old in pairs if new is not old]
        if not changed or not sources or not all(isinstance(each, Source) for each in sources):
            raise InputError(
                "A derived model needs a new part, and a source that says what it is.\n"
                "Give, for example, unet=patched(model.unet, weights) and Source('my-lora').",
                parameter="sources",
            )
        if self.plain is not None:
            return self._derived_below(sources, name, unet, encoder, told)
        name = name or "+".join([self.name, *(source.name for source in sources)])
        return replace(
            self,
            config=replace(
                self.config,
                name=name,
                unet=unet.config,
                autoencoder=encoder.config,
                embedders=tuple(embedder.config for embedder in told),
            ),
            unet=unet,
            autoencoder=encoder,
            embedders=told,
            preview=self.preview if encoder is self.autoencoder else None,
            vocabulary=self.vocabulary if given == self.embedders else None,
            sources=self.sources + sources,
            derivation=derivation_of(self.fingerprint, sources, changed),
        )

    def with_lora(
        self,
        file: str | os.PathLike[str],
        strength: float = 1.0,
        text_strength: float | None = None,
    ) -> LatentDiffusion:
        """This model with a LoRA more; the two share all weights that no LoRA changes.

        ``file``: a safetensors file, or a folder as PEFT or diffusers saves it, with the names of
        kohya, LyCORIS, diffusers, PEFT or cloneofsimo. ``strength``: 1 is as it was trained, less
        than 0 the opposite, 0 nothing; at most a million. ``text_strength``: that for text encoders
        if it differs. Weights are summed in float32 from the model's own, so neither the order nor
        the number of LoRAs matters, up to a rounding.

        Raises ``CheckpointNotFound``, ``CheckpointError`` (with counts, for a LoRA made for other
        networks), ``OutOfMemory`` or ``InputError``.

        Example::

            warm = model.with_lora("watercolour.safetensors", strength=0.8)
        """
        return self.with_loras([Lora(file, strength, text_strength)])  # type: ignore[arg-type]

    def with_loras(
        self,
        loras: Sequence[LoraLike],
        *,
        make_room: Callable[[int, torch.device], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> LatentDiffusion:
        """This model with several LoRAs more; each a path, (path, strength) or
        (path, strength, text_strength).

        ``make_room`` and ``stop`` are as for `load`. Raises what `with_lora` raises.
        """
        new, plain = loras_of(loras), self.plain or self
        if not new:
            return self
        loras = loras_of([*self.loras, *new])
        found = apply_loras(plain._networks, loras, make_room=make_room, stop=stop)
        texts = iter(found.texts)
        embedders = [
            replaced(each, next(texts)) if isinstance(each, TextEncoder) else each
            for each in plain.embedders
        ]
        few, config = found.few_steps, plain.config
        config = few.defaults_of(config) if few else config
        notices = plain.notices + found.notices
        return plain._below(found.loras, found.sources, found.unet, embedders, notices, config)

    def with_embeddings(self, embeddings: EmbeddingsLike) -> LatentDiffusion:
        """This model with learnt words (textual inversions) more; the two share all weights.

        ``embeddings``: files, whose names without their endings are the words; or {word: file}. In
        a prompt, a word stands for its vectors, each of which takes the place of a token. Files are
        those of A1111, kohya, diffusers, cog-sdxl and ComfyUI.

        Raises ``CheckpointNotFound``, ``CheckpointError`` (for vectors of another family, with the
        likely one) or ``InputError``.

        Example::

            better = model.with_embeddings(["easynegative.safetensors"])
            better.generate("a cat", negative_prompt="easynegative")
        """
        files = embeddings_of(embeddings)
        configs = [each.config for each in self._readers]
        found = [read_embeddings(word, path, configs) for word, path in files.items()]
        return self.with_learnt([word for words in found for word in words])

    def with_learnt(self, words: Sequence[LearntWord]) -> LatentDiffusion:
        """This model with learnt words that are read already; see `with_embeddings`."""
        if not words:
            return self
        names = [word.word.casefold() for word in words]
        if len(set(names)) < len(names):
            raise InputError(
                f"The files have the word {next(w for w in names if names.count(w) > 1)!r} twice.",
                parameter="embeddings",
            )
        numbers = {id(each): number for number, each in enumerate(self._readers)}
        embedders = [
            each.learning({word.word: word.vectors[numbers[id(each)]] for word in words})
            if isinstance(each, (TextEncoder, BertEncoder))
            else each
            for each in self.embedders
        ]
        sources = dict.fromkeys(word.source for word in words)
        derived = self.derived(*sources, name=self.name, embedders=embedders)
        if self.vocabulary is None:
            return derived
        learnt = self.vocabulary.get("learnt words", ())
        added = (*learnt, *(word.word for word in words))
        return replace(derived, vocabulary={**self.vocabulary, "learnt words": added})

    def without_lora(self, name: str | os.PathLike[str] | None = None) -> LatentDiffusion:
        """This model without the LoRA of that name (of the file, with or without its ending; or its
        path), or without any: then it is the very model to which they were added.

        Raises InputError if it has no such LoRA.
        """
        left = tuple(lora for lora in self.loras if not (name is None or lora.is_named(name)))
        if self.plain is None or len(left) == len(self.loras):
            known = ", ".join(lora.path.name for lora in self.loras) or "none"
            raise InputError(f"{self.name!r} has no such LoRA. It has: {known}.", parameter="name")
        return self.plain.with_loras(left)

    @property
    def _networks(self) -> Networks:
        """What LoRAs change."""
        texts = [each for each in self.embedders if isinstance(each, TextEncoder)]
        return Networks(
            self.name,
            self.unet,
            tuple(each.model for each in texts),
            self.config.unet,
            tuple(each.config for each in texts),
        )

    def _below(
        self,
        loras: tuple[Lora, ...],
        sources: tuple[Source, ...],
        unet: UNet,
        embedders: Sequence[Embedder],
        notices: tuple[str, ...],
        defaults: ModelConfig,
    ) -> LatentDiffusion:
        """This model below ``loras``, with the networks that have them, and the ``defaults`` of
        runs."""
        derived = self.derived(*sources, name=self.name, unet=unet, embedders=embedders)
        names = ("steps", "sampler", "schedule_name", "guidance_scale")
        own = {name: getattr(defaults, name) for name in names}
        return replace(
            derived,
            config=replace(derived.config, **own),
            loras=loras,
            plain=self,
            notices=notices,
            vocabulary=self.vocabulary,
        )

    def _derived_below(
        self,
        sources: tuple[Source, ...],
        name: str | None,
        unet: UNet,
        autoencoder: Autoencoder,
        embedders: Sequence[Embedder],
    ) -> LatentDiffusion:
        """What `derived` returns for a model with LoRAs: they stay on top of all other changes, so
        that they can still be taken away."""
        plain = self.plain
        assert plain is not None
        own = [
            below if new is old else replaced(new, restored(new.model, old.model, below.model))
            for new, old, below in zip(embedders, self.embedders, plain.embedders, strict=True)
        ]
        base = plain.derived(
            *sources,
            name=name,
            unet=restored(unet, self.unet, plain.unet),
            autoencoder=autoencoder,
            embedders=own,
        )
        added = self.sources[len(plain.sources) :]
        return base._below(self.loras, added, unet, embedders, self.notices, self.config)

    def with_autoencoder(
        self, autoencoder: Autoencoder, *, name: str | None = None
    ) -> LatentDiffusion:
        """This model with another autoencoder for the same latents: finer, smaller or your own.

        `load_autoencoder` returns an ``autoencoder``, which keeps its own scale and device. The
        models share the UNet and the text encoder. Raises InputError if the latents of the
        autoencoder do not have the UNet's channels and size.

        Example::

            finer = model.with_autoencoder(sdw.load_autoencoder("vae.safetensors"))
        """
        _check_latents(self, autoencoder)
        sources = autoencoder.sources or (Source("autoencoder", kind="autoencoder"),)
        return self.derived(*sources, name=name, autoencoder=autoencoder)

    @cached_property
    def preview_factors(self) -> np.ndarray:
        """[C + 1, 3] float32 for `trace.preview_rgb`: from the model's folder, or fitted once.

        They are published for Stable Diffusion's autoencoder, and exact for the identity; any other
        decodes a little noise.
        """
        config = self.config.autoencoder
        if self.preview is not None:
            return self.preview
        if config == SD1.autoencoder:
            return SD1_PREVIEW
        if config.is_identity:
            scales = np.eye(3) / config.scaling_factor
            return np.vstack([scales, np.full(3, config.shift_factor)]).astype(np.float32)
        channels, side = config.latent_channels, 8
        generator = torch.Generator("cpu").manual_seed(0)
        # flat patches of two sizes: a cell's colour depends on its neighbours, too
        noise = [
            torch.randn(4, channels, n, n, generator=generator, device="cpu")
            for n in (side // 4, side)
        ]
        latents = torch.cat([F.interpolate(x, size=(side, side)) for x in noise])
        positions = len(latents) * (side * config.factor) ** 2
        with torch.no_grad(), threads_for(self.autoencoder, positions):
            parameter = self.autoencoder.weight
            images = self.autoencoder.decode(latents.to(parameter.device, parameter.dtype))
        return fit_preview(latents, images.cpu())

    def previews(self, latents: Tensor | np.ndarray, *, sigma: float = 0.0) -> list[Image.Image]:
        """Quick images, a pixel per cell, of latents [B, C, h, w] at noise level ``sigma``.

        They are linear in the latents, and cost next to nothing compared with `decode`.
        """
        sigma = checks.real("sigma", sigma, 0, math.inf)
        images = preview_rgb(self._latents(latents), self.preview_factors, sigma=sigma)
        return [Image.fromarray(image) for image in images]

    def tokenize(self, given: Sequence[str | Given]) -> Tokens:
        """The tokens, with the words that a person may look at, of prompts or full inputs.

        Raises InputError for inputs that the model does not take.
        """
        return read(self.embedders, self._batch(given))

    @torch.no_grad()
    def condition(self, given: Sequence[str | Given]) -> Conditioning:
        """What the network is told by prompts or full inputs, float32, on the model's device.

        A lone prompt stands for an image of the model's own size. Raises InputError for inputs that
        the model does not take.
        """
        batch = self._batch(given)
        embedders = self.embedders
        read(embedders, batch)
        side = self.config.size // self.config.autoencoder.factor
        # no embedder works harder than a step
        with OnDevice(self.device), threads_for(self.unet, len(batch) * side**2):
            config, weight = self.config.autoencoder, self.autoencoder.weight
            if any(asks_for_tiles(config, *each.size, weight) for each in batch):
                embedders = tuple(map(in_tiles, embedders))
            return condition(embedders, batch, join=self.config.join, device=self.device)

    def _batch(self, given: Sequence[str | Given]) -> list[Given]:
        """What is given for each image; a lone prompt stands for an image of the model's size."""
        batch = list(given) if isinstance(given, (list, tuple)) else []
        if not batch or not all(isinstance(each, (str, Given)) for each in batch):
            raise InputError("Prompts are a list of strings, like ['a cat'].", parameter="prompt")
        size = (self.config.size, self.config.size)
        return [Given(each, size) if isinstance(each, str) else each for each in batch]

    def _latents(self, latents: object) -> Tensor:
        return tensor("latents", latents, ("B", self.config.autoencoder.latent_channels, "h", "w"))

    def encode(self, image: PictureLike, *, tiled: bool | None = None) -> Tensor:
        """The latents [1, C, H/f, W/f] float32 of an image: the mean of its posterior.

        An image whose sides are not multiples of f is scaled to the nearest multiples. ``tiled``:
        as for `decode`.
        """
        opened, _ = as_picture(image)
        factor = self.config.autoencoder.factor
        width, height = (max(round(side / factor), 1) * factor for side in opened.size)
        opened, _, _ = fitted(opened, None, width, height)
        return self.posterior(opened, tiled=tiled)[0]

    @torch.no_grad()
    def posterior(self, image: Image.Image, *, tiled: bool | None = None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [1, C, h, w] float32 of an RGB image's latents.

        ``tiled``: as for `decode`.
        """
        _check_tiled(tiled)
        parameter = self.autoencoder.weight
        factor = self.config.autoencoder.factor
        if not isinstance(image, Image.Image) or any(side % factor for side in image.size):
            raise InputError(
                f"image must be a PIL image with sides that are multiples of {factor}.\n"
                "model.encode(...) takes any image.",
                parameter="image",
            )
        pixels = to_tensor(image.convert("RGB")).to(parameter.device, parameter.dtype)
        with (
            OnDevice(parameter.device),
            threads_for(self.autoencoder, image.width * image.height),
        ):
            posterior = self._autoencoded(
                tiled, image.size, lambda tiled: self.autoencoder.encode(pixels, tiled=tiled)
            )
        return posterior.mean.float(), posterior.std.float()

    @torch.no_grad()
    def decode(
        self, latents: Tensor | np.ndarray, *, tiled: bool | None = None
    ) -> list[Image.Image]:
        """The images of clean latents [B, C, h, w], decoded one at a time to save memory.

        ``tiled``: in tiles, which gives the same image, up to rounding, in a fraction of the memory
        and about one and a half times as long; see `models.tiling`. None: where memory is short. If
        half precision overflows in the decoder, it decodes again in float32. Raises NumericsError
        if that does not help, and InputError if ``latents`` have another shape or type.
        """
        _check_tiled(tiled)
        parameter = self.autoencoder.weight
        latents = self._latents(latents).to(parameter.device)
        factor = self.config.autoencoder.factor
        size = (latents.shape[3] * factor, latents.shape[2] * factor)

        def decoded(autoencoder: Autoencoder, dtype: torch.dtype) -> list[Tensor]:
            return [
                self._autoencoded(
                    tiled,
                    size,
                    lambda tiled, one=one: _decoded(autoencoder, one[None], dtype, tiled),  # type: ignore[misc]
                )
                for one in latents
            ]

        with OnDevice(parameter.device):
            pixels = decoded(self.autoencoder, parameter.dtype)
            if not all(is_finite(one) for one in pixels):
                pixels = decoded(copy.deepcopy(self.autoencoder).float(), torch.float32)
            if not all(is_finite(one) for one in pixels):
                raise NumericsError(
                    f"The decoder gave NaN or infinity in {dtype_name(parameter.dtype)}, "
                    "and again in float32.\nIts weights or the latents are broken."
                )
        return [to_image(one[0]) for one in pixels]

    def _autoencoded(
        self, tiled: bool | None, size: tuple[int, int], work: Callable[[bool], R]
    ) -> R:
        """What ``work(tiled)`` of an image of that (width, height) returns. None: in tiles where
        memory is short."""
        if tiled is not None:
            return work(tiled)
        config, weight = self.config.autoencoder, self.autoencoder.weight
        return tiled_where_short(config, *size, weight, work)[0]

    def sample(
        self,
        prompt: str | Sequence[str] = "",
        *,
        negative_prompt: str | Sequence[str] = "",
        weights: str = "mean",
        clip_skip: int = 0,
        chunks: int = 10,
        steps: int | None = None,
        sampler: str | None = None,
        schedule: str = "default",
        sigmas: Sequence[float] | np.ndarray | Tensor | None = None,
        start_step: int = 0,
        end_step: int | None = None,
        guidance_scale: float | None = None,
        guidance_rescale: float = 0.0,
        seed: int | Sequence[int] | None = None,
        width: int | None = None,
        height: int | None = None,
        batch_size: int = 1,
        variation: tuple[int | Sequence[int], float] | None = None,
        toward: tuple[str, float] | None = None,
        label: str | int | Sequence[str | int | None] | None = None,
        boxes: Sequence[Any] | None = None,
        image: PictureLike | None = None,
        strength: float = 0.8,
        fit: str = "crop",
        pad: int | tuple[int, int, int, int] | None = None,
        mask: PictureLike | None = None,
        depth: PictureLike | None = None,
        label_map: PictureLike | None = None,
        low_res: PictureLike | None = None,
        neighbours: Sequence[PictureLike] | None = None,
        latents: Tensor | np.ndarray | None = None,
        eta: float | None = None,
        s_noise: float | None = None,
        s_churn: float | None = None,
        hires: float | None = None,
        hires_strength: float = 0.6,
        hires_steps: int | None = None,
        hires_method: str = "latents",
        window: int | None = None,
        refiner_start: float | None = None,
        guide_scale: float = 1.0,
        original_size: tuple[int, int] | None = None,
        crop: tuple[int, int] | None = None,
        target_size: tuple[int, int] | None = None,
        image_guidance_scale: float | None = None,
        noise_level: int | None = None,
        aesthetic_score: float | None = None,
        negative_aesthetic_score: float | None = None,
        attention: bool | AttentionSettings = False,
        control: Control | Sequence[Control] | None = None,
        refiner: LatentDiffusion | None = None,
        guide: Guide | None = None,
    ) -> Run:
        """An iterator of the run's `Step`s, each made on demand; ``len()`` is their number.

        prompt, negative_prompt, seed: a value, or a list with a value per image of the batch.
        weights, clip_skip, chunks: how the prompts are read; see `prompts.Reading`. In prompts,
        "(word)", "(word:1.3)" and "[word]" weigh words, and BREAK begins a new chunk of 75 tokens.
        steps: 1 to 1000. sampler: one of `sampling.SAMPLERS`, such as "euler"; some take options,
        eta, s_noise and s_churn (`sampling.OPTIONS`). None is the model's own: 20 steps of
        "dpmpp_2m", unless it is made for few steps. schedule: the noise levels visited: "default"
        (from the noisiest one on), "karras", "config" (as the model's config says, exactly as in
        diffusers), or another of `diffusion.SCHEDULES`. sigmas: noise levels given by hand, in
        place of steps and schedule: descending, from at most the model's noisiest one.
        guidance_scale: how much the prompt is exaggerated; 1 or less means not at all, and is twice
        as fast; None is the model's own. guidance_rescale: 0 to 1, how much of the added contrast
        is taken back. seed: None draws a random seed; image i of a batch has seed + i, and equals
        the image that this seed makes alone, on every device. variation: (another seed, 0 to 1);
        the noise goes that share of the way to the other seed's, along the sphere (Shoemake,
        SIGGRAPH 1985; A1111's "variation seed"). The other seed is counted up or listed as seed is:
        ``seed=[7] * 4, variation=(8, 0.1)`` makes four variations of an image. At 0 and 1, the
        image is that of the one seed or the other. toward: (another prompt, 0 to 1); the context
        and the pooled vector go that share of the way from the prompt's to the other's, in a
        straight line, token by token. At 0 the run is that of the prompt, to the bit; at 1 that of
        the other, to rounding. Recorded attention is that to the blended tokens, named by the words
        of ``prompt``, which should be the nearer of the two. width, height: pixels, multiples of
        the autoencoder's factor; None is the model's own size.
        image: an image to start from; ``strength`` (0 to 1) is the share of the way from noise that
        is left. fit: what happens to an image of another shape: "crop" (its outer parts are cut
        off), "pad" (its edges are repeated) or "stretch". mask: its white part is repainted, and
        its black part is kept exactly. Grey is between: it is repainted in that share of the steps,
        the last ones (Differential Diffusion, arXiv 2306.00950), and blended by as much. A model
        that sees images takes them here, too; see below.
        pad: pixels of new area on the left, top, right and bottom of ``image``, or one number for
        all four. The image keeps its size, or that which ``width`` and ``height`` of the whole
        leave it. The new area begins as its edges continued, with noise by ``strength`` (1: as
        noise alone). The nearest 4 latent cells of the image are blended with it; all pixels beyond
        are kept exactly. A mask, of the image's size, is repainted, too. A depth map and controls
        are those of the whole.
        latents: [B, C, h, w], unit-variance noise in place of the seed's. start_step, end_step:
        only the steps of the grid from the one to before the other are made. With an image,
        start_step takes the place of strength. With latents, they are those that a run with this
        end_step left (`Run.latents_left`), noise and all. attention: record in
        ``step.attention`` where the words look; True, or `AttentionSettings` to record more.
        original_size, target_size (width, height) and crop (left, top), in pixels: the sizes that
        Stable Diffusion XL is told; None is the size of the image to make, uncropped.
        aesthetic_score, negative_aesthetic_score: 0 to 10, what its refiner is told of the prompt's
        half and of the other.

        Inpainting models (9 channels) see the image and the mask; without a mask, all is repainted.
        Models that edit an image (8 channels) need ``image``, start from noise, and take
        image_guidance_scale (1 to 100): how closely the result follows the image. Depth models need
        ``depth``: a map of any range and size, high values near. The x4 upscaler needs ``image``,
        the small one; its size, times 4, is the default of width and height. noise_level: 0 to 350,
        how much noise is put on it, and so how freely it is enlarged.

        label: the class, for a model of classes: one of ``model.classes`` by name or number, or a
        list with one for each image; None is the null class. boxes: the layout for a model of
        layouts, [(name, (x0, y0, x1, y1)), ...] in fractions of the image from its upper left
        corner, or a list of layouts; None leaves it to the model, [] is empty. label_map: [H, W] of
        whole numbers, the class of each pixel (or an image of them), for a model that paints one.
        It is brought to the run's size like an image, to the nearest. low_res: the small image for
        a model that enlarges one. neighbours: images like the one to make, for a model that is
        augmented by retrieval. ``model.takes`` names what a model takes.

        control: a `Control` that the run follows, or several; what they add is summed.

        guide: a function of images [B, 3, H, W] float32 in [-1, 1] to a loss [B], in torch, which
        steers the run towards images of a lower loss; or one of `sdwidgets.guides`. It sees the
        image that each step expects, decoded. guide_scale: how much it steers; see `guiding`.

        hires: 1 to 4, the factor by which a second pass enlarges what the first made at width x
        height. It is image to image with ``hires_strength`` and the same seed, of ``hires_steps``
        steps before the strength is applied (None: of ``steps``). hires_method: "latents" resizes
        the first pass's clean latents bicubically; "pixels" decodes them, resizes the image with
        Lanczos's filter and encodes it. The run has the steps of both passes. An image and a mask
        are brought to the size of each pass.
        refiner: another model with the same latents and noise levels, such as Stable Diffusion XL's
        refiner. It makes the steps below ``refiner_start`` (0 to 1; 0.8 if it is None) of the way
        from noise, measured in training steps; with hires, those of the second pass.

        window: pixels, for sizes far past the trained one. The network looks at overlapping windows
        of that side, and its predictions are blended in every step (MultiDiffusion, arXiv
        2302.08113); None: at all of the image at once.

        Everything is checked before this returns: InputError (ImageError for images) for what
        cannot be used, OutOfMemory for what cannot fit. The run itself may raise OutOfMemory and
        NumericsError.
        """
        settings = Settings(
            prompt=prompt,  # type: ignore[arg-type]  # lists become tuples when checked
            negative_prompt=negative_prompt,  # type: ignore[arg-type]
            weights=weights,
            clip_skip=clip_skip,
            chunks=chunks,
            steps=steps,
            sampler=sampler,
            schedule=schedule,
            sigmas=sigmas,  # type: ignore[arg-type]
            start_step=start_step,
            end_step=end_step,
            guidance_scale=guidance_scale,
            guidance_rescale=guidance_rescale,
            seed=seed,  # type: ignore[arg-type]
            width=width,
            height=height,
            batch_size=batch_size,
            variation=variation,  # type: ignore[arg-type]
            toward=toward,
            label=label,  # type: ignore[arg-type]
            boxes=boxes,  # type: ignore[arg-type]
            strength=strength,
            fit=fit,
            pad=pad,  # type: ignore[arg-type]  # a number becomes four when checked
            eta=eta,
            s_noise=s_noise,
            s_churn=s_churn,
            hires=hires,
            hires_strength=hires_strength,
            hires_steps=hires_steps,
            hires_method=hires_method,
            window=window,
            refiner_start=refiner_start,
            guide_scale=guide_scale,
            original_size=original_size,
            crop=crop,
            target_size=target_size,
            image_guidance_scale=image_guidance_scale,
            noise_level=noise_level,
            aesthetic_score=aesthetic_score,
            negative_aesthetic_score=negative_aesthetic_score,
        )
        # errors in the settings come first
        checked = settings.checked(self.config)
        start = Start.of(image, mask, depth, label_map, low_res, neighbours)
        return self.run(
            checked,
            start,
            latents=latents,
            attention=attention,
            control=control,
            refiner=refiner,
            guide=guide,
        )

    def run(
        self,
        settings: Settings,
        start: Start | None = None,
        *,
        latents: Tensor | np.ndarray | None = None,
        attention: bool | AttentionSettings = False,
        control: Control | Sequence[Control] | None = None,
        around: Around | None = None,
        refiner: LatentDiffusion | None = None,
        branch: Branch | None = None,
        guide: Guide | None = None,
    ) -> Run:
        """The run of `sample`, from a `Settings` value and an image that is already open.

        Settings that were checked for this model are not checked again. ``around`` wraps the
        denoiser; see `passes.Around`. ``branch``: what `Trace.branching` returned, with its
        ``settings``; images, latents and a refiner are then its own. Raises what `sample` does.
        """
        checks.typed("settings", settings, Settings, "a Settings")
        checks.typed("start", start, (Start, type(None)), "a Start")
        settings = settings.checked(self.config)
        return Run(
            self, settings, start, latents, attention, control, around, refiner, branch, guide
        )

    def generate(self, prompt: str | Sequence[str] = "", **settings: Any) -> Trace:
        """The record of a whole run, with its images; takes the arguments of `sample`."""
        return Trace.of(self.sample(prompt, **settings))


def _check_network(model: LatentDiffusion, unet: UNet) -> None:
    if not isinstance(unet, UNet):
        raise InputError(
            f"unet must be a UNet, got a {type(unet).__name__}.\n"
            "Make one with patched(model.unet, weights).",
            parameter="unet",
        )
    inputs = ("in_channels", "out_channels", "context_dim", "vector_dim", "guidance_dim", "classes")
    for name in inputs:
        old, new = getattr(model.config.unet, name), getattr(unet.config, name)
        if new != old:
            raise InputError(
                f"{model.name!r} needs a UNet with a {name} of {old}, got {new}.", parameter="unet"
            )


def _check_embedders(model: LatentDiffusion, embedders: Sequence[Embedder]) -> None:
    if len(embedders) != len(model.embedders):
        raise InputError(
            f"{model.name!r} has {len(model.embedders)} embedders, got {len(embedders)}.",
            parameter="embedders",
        )
    for number, (new, old) in enumerate(zip(embedders, model.embedders, strict=True)):
        if not isinstance(new, type(old)):
            raise InputError(
                f"embedders[{number}] must be a {type(old).__name__}, got a {type(new).__name__}.",
                parameter="embedders",
            )
        widths = [
            (each.config.context_width, each.config.vector_width, each.config.concat_width)
            for each in (new, old)
        ]
        if widths[0] != widths[1]:
            raise InputError(
                f"embedders[{number}] makes a context, a vector and channels of widths {widths[0]};"
                f" {model.name!r} needs {widths[1]}.",
                parameter="embedders",
            )


def _check_latents(model: LatentDiffusion, autoencoder: Autoencoder) -> None:
    if not isinstance(autoencoder, Autoencoder):
        raise InputError(
            f"autoencoder must be an Autoencoder, got a {type(autoencoder).__name__}.\n"
            "Load one with sdwidgets.load_autoencoder(path).",
            parameter="autoencoder",
        )
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
    """The noise schedule that a config describes."""
    return NoiseSchedule.from_betas(
        config.steps,
        config.beta_start,
        config.beta_end,
        config.kind,
        zero_snr=config.zero_snr,
        spacing=config.spacing,
        offset=config.offset,
    )


def _decoded(autoencoder: Autoencoder, latents: Tensor, dtype: torch.dtype, tiled: bool) -> Tensor:
    with threads_for(autoencoder, latents[:, 0].numel() * autoencoder.config.factor**2):
        return autoencoder.decode(latents.to(dtype), tiled=tiled).float()


def _check_tiled(tiled: object) -> None:
    if tiled is not None:
        checks.flag("tiled", tiled)
