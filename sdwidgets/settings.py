"""The settings of a run, with every limit, checked in one place before any work is done.

Plain data without torch, shared by the pipeline, the widgets and records.
"""

from __future__ import annotations

import contextlib
import difflib
import itertools
import math
import re
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from . import checks
from .checks import is_whole, shown
from .classes import Labels, Layout, boxes_of, labels_of, layouts_in, named
from .configs import (
    AutoencoderConfig,
    ImageConfig,
    LowResolutionConfig,
    ModelConfig,
    SizesConfig,
)
from .contract import HIRES_METHODS, MOST_CONTROLS, RECORD
from .errors import InputError
from .prompts import MOST_CHUNKS, WEIGHTS, Reading
from .sampling import (
    EVERY_OPTION,
    OPTIONS,
    SAMPLERS,
    SCHEDULES,
    default_schedule,
    takers,
)

LIMITS: dict[str, tuple[int, int]] = {
    "steps": (1, 1000),
    "guidance_scale": (0, 100),
    "guidance_rescale": (0, 1),
    "seed": (0, 2**32 - 1),  # what torch's generator reads of a seed
    "width": (1, 4096),
    "height": (1, 4096),
    "batch_size": (1, 64),
    "strength": (0, 1),
    "image_guidance_scale": (1, 100),
    "noise_level": (0, 999),
    "aesthetic_score": (0, 10),
    "negative_aesthetic_score": (0, 10),
    "clip_skip": (0, 31),  # the largest encoder has 32 layers
    "chunks": (1, MOST_CHUNKS),
    "start_step": (0, 999),
    "end_step": (1, 1000),
    "hires": (1, 4),
    "hires_strength": (0, 1),
    "hires_steps": (1, 1000),
    "window": (1, 4096),
    "refiner_start": (0, 1),
    "guide_scale": (0, 10_000),
    **{option.name: (option.low, option.high) for option in EVERY_OPTION.values()},
}
"""The lowest and the highest value of each number."""

PROMPT_LENGTH = 100_000  # characters
LARGEST_SIDE = 100_000  # pixels, of an image that a model is told of
FITS = ("crop", "pad", "stretch")
"""How an image of another shape is brought to the run's; see `pictures.fitted`."""

TOLD: dict[str, float] = {
    "image_guidance_scale": 1.5,
    "noise_level": 20,
    "aesthetic_score": 6.0,
    "negative_aesthetic_score": 2.5,
}
"""The settings that only some models are told, with their defaults there; see `takes`."""


def takes(config: ModelConfig, name: str) -> bool:
    """Whether a model takes the setting ``name`` of `TOLD`."""
    if name == "image_guidance_scale":
        return config.has(ImageConfig)
    if name == "noise_level":
        return any(
            isinstance(each, LowResolutionConfig) and each.levels for each in config.embedders
        )
    return any(isinstance(each, SizesConfig) and each.score for each in config.embedders)


@dataclass(frozen=True)
class Settings:
    """The settings of one run: the arguments of `LatentDiffusion.sample` that are plain data.

    ``prompt``, ``negative_prompt``, ``label``, ``boxes`` and ``seed`` take a single value, or a
    list with a value for each image of a batch. None means the model's default (guidance_scale,
    width, height) or a random seed; the schedule "default" is the model's. ``weights``,
    ``clip_skip`` and ``chunks`` say how the prompts are read; see `prompts.Reading`.
    ``original_size``, ``crop`` and ``target_size`` are pairs of pixels, (width, height) or (left,
    top), for models that are conditioned on them; None is the size of the image, uncropped.

    ``steps`` and ``sampler`` are the model's, too, where they are None. ``sigmas`` is a grid of
    noise levels given by hand, in place of ``steps`` and ``schedule``. ``eta``, ``s_noise`` and
    ``s_churn`` are options of samplers (`sampling.OPTIONS`). Only the steps from ``start_step`` to
    before ``end_step`` of the grid are made. ``variation``: (another seed, how far the noise goes
    towards its own); the seed is one number or a list, as ``seed`` is. ``toward``: (another prompt,
    how far the context goes towards its own). ``pad``: new area around an
    image, (left, top, right, bottom) in pixels. ``hires``: the factor by which a second pass
    enlarges what the first made at ``width`` x ``height``, with ``hires_strength``,
    ``hires_steps`` and ``hires_method``. ``window``: the side in pixels of the overlapping windows
    at which the network looks. ``refiner_start``: the share of the run after which a second model
    goes on. ``label`` is the class of a model of classes, by name or number, and ``boxes`` are the
    objects of a layout; see `classes`. ``guide_scale`` is how much a guide of images steers.

    ``image_guidance_scale`` is for
    models that edit an image, ``noise_level`` for those that enlarge one, ``aesthetic_score`` and
    ``negative_aesthetic_score`` for refiners; for other models, they stay None.
    """

    prompt: str | tuple[str, ...] = ""
    negative_prompt: str | tuple[str, ...] = ""
    weights: str = WEIGHTS[0]
    clip_skip: int = 0
    chunks: int = MOST_CHUNKS
    steps: int | None = None
    sampler: str | None = None
    schedule: str = SCHEDULES[0]
    sigmas: tuple[float, ...] | None = None
    start_step: int = 0
    end_step: int | None = None
    guidance_scale: float | None = None
    guidance_rescale: float = 0.0
    seed: int | tuple[int, ...] | None = None
    width: int | None = None
    height: int | None = None
    batch_size: int = 1
    variation: tuple[int | tuple[int, ...], float] | None = None
    toward: tuple[str, float] | None = None
    label: Labels = None
    boxes: Layout | tuple[Layout, ...] | None = None
    strength: float = 0.8
    fit: str = FITS[0]
    pad: tuple[int, int, int, int] | None = None
    eta: float | None = None
    s_noise: float | None = None
    s_churn: float | None = None
    hires: float | None = None
    hires_strength: float = 0.6
    hires_steps: int | None = None
    hires_method: str = HIRES_METHODS[0]
    window: int | None = None
    refiner_start: float | None = None
    guide_scale: float = 1.0
    original_size: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    target_size: tuple[int, int] | None = None
    image_guidance_scale: float | None = None
    noise_level: int | None = None
    aesthetic_score: float | None = None
    negative_aesthetic_score: float | None = None

    _checked_for: ClassVar[tuple[ModelConfig | None, ...]] = ()  # set on checked instances

    def checked(self, config: ModelConfig | None = None) -> Settings:
        """Return these settings for a model: every None and "default" filled in, lists as tuples.

        Without a model, only limits that all models share are checked, and the model's defaults
        stay None. So does the size of an enlarged or padded image, which follows from it. Checked
        settings are not checked again for the same model, or for none. Raises InputError at the
        first value that cannot be used, with the parameter's name and what to give instead.
        """
        if config is not None and not isinstance(config, ModelConfig):
            raise InputError(
                f"config must be a model's config, got {shown(config)}.\nGive model.config.",
                parameter="config",
            )
        if self._checked_for and config in (None, *self._checked_for):
            return self
        guidance, width, height = self.guidance_scale, self.width, self.height
        steps, sampler = self.steps, self.sampler
        schedule, high = _choice("schedule", self.schedule, SCHEDULES), LIMITS["steps"][1]
        sigmas = _sigmas(self.sigmas)
        if sigmas is not None:
            steps = _steps_of(sigmas, steps, schedule)
        deepest = LIMITS["clip_skip"][1]
        if config is not None:
            steps = config.steps if steps is None else steps
            sampler = config.sampler if sampler is None else sampler
            if sigmas is None and schedule == SCHEDULES[0]:
                schedule = config.schedule_name
            if sigmas is None and schedule == SCHEDULES[0]:
                schedule = default_schedule(config.schedule.spacing)
            guidance = config.guidance_scale if guidance is None else guidance
            if not config.has(LowResolutionConfig) and self.pad is None:
                width = config.size if width is None else width
                height = config.size if height is None else height
            high = min(high, config.schedule.steps)
            left = [each.layers - each.skip - 1 for each in config.text_encoders]
            deepest = min([deepest, *left])  # one layer must stay
        label = labels_of(self.label, LIMITS["batch_size"][1])
        boxes = boxes_of(self.boxes, LIMITS["batch_size"][1])
        if config is not None:
            label, boxes = named(config, label, boxes)
        options = {name: _optional(_real, name, getattr(self, name)) for name in EVERY_OPTION}
        if sampler is not None:
            options = _options_of(_choice("sampler", sampler, SAMPLERS), options)
        settings = Settings(
            prompt=_texts("prompt", self.prompt),
            negative_prompt=_texts("negative_prompt", self.negative_prompt),
            weights=_choice("weights", self.weights, WEIGHTS),
            clip_skip=_whole("clip_skip", self.clip_skip, high=deepest),
            chunks=_whole("chunks", self.chunks),
            steps=None if steps is None else _whole("steps", steps, high=high),
            sampler=sampler,
            schedule=schedule,
            sigmas=sigmas,
            start_step=_whole("start_step", self.start_step),
            end_step=_optional(_whole, "end_step", self.end_step),
            guidance_scale=None if guidance is None else _real("guidance_scale", guidance),
            guidance_rescale=_real("guidance_rescale", self.guidance_rescale),
            seed=_seeds(self.seed),
            width=None if width is None else _side("width", width, config),
            height=None if height is None else _side("height", height, config),
            batch_size=_whole("batch_size", self.batch_size),
            variation=_variation(self.variation),
            toward=_toward(self.toward),
            label=label,
            boxes=boxes,
            strength=_real("strength", self.strength),
            fit=_choice("fit", self.fit, FITS),
            pad=_pad(self.pad),
            **options,
            hires=_optional(_real, "hires", self.hires),
            hires_strength=_real("hires_strength", self.hires_strength),
            hires_steps=_optional(_whole, "hires_steps", self.hires_steps),
            hires_method=_choice("hires_method", self.hires_method, HIRES_METHODS),
            window=None if self.window is None else _side("window", self.window, config),
            refiner_start=_optional(_real, "refiner_start", self.refiner_start),
            guide_scale=_real("guide_scale", self.guide_scale),
            original_size=_pair("original_size", self.original_size, low=1),
            crop=_pair("crop", self.crop, low=0),
            target_size=_pair("target_size", self.target_size, low=1),
            **_told(self, config),
        )
        for name in ("strength", "hires_strength"):
            if getattr(settings, name) == 0:
                raise InputError(
                    f"{name} is 0: nothing would change.\nGive more than 0 and at most 1.",
                    parameter=name,
                )
        if settings.hires == 1:
            raise InputError(
                "hires is 1: nothing would be enlarged.\nGive more than 1 and at most 4.",
                parameter="hires",
            )
        _check_steps(settings)
        if config is not None and settings.hires is not None:
            _check_hires(settings, settings.hires, config)
        settings = settings._with_batch()
        object.__setattr__(settings, "_checked_for", (config,))
        return settings

    def _with_batch(self) -> Settings:
        """Return these settings with the batch size that all lists agree on."""
        sizes = {"batch_size": self.batch_size}
        other = None if self.variation is None else self.variation[0]
        others = {"variation": other, "boxes": layouts_in(self.boxes)}
        for name in ("prompt", "negative_prompt", "label", "boxes", "seed", "variation"):
            value = others.get(name, getattr(self, name))
            if isinstance(value, tuple):
                sizes[name] = len(value)
        batch = max(sizes.values())
        for name, size in sizes.items():
            if size not in ((1, batch) if name == "batch_size" else (batch,)):
                counts = ", ".join(f"{name}: {size}" for name, size in sizes.items())
                raise InputError(
                    f"These settings disagree about how many images to make ({counts}).\n"
                    "Give lists of the same length, or single values.",
                    parameter=name,
                )
        _whole("batch_size", batch)
        if isinstance(self.seed, int) and self.seed + batch - 1 > LIMITS["seed"][1]:
            raise InputError(
                f"seed {self.seed} leaves no room for {batch} seeds.\n"
                f"Give at most {LIMITS['seed'][1] - batch + 1}.",
                parameter="seed",
            )
        if isinstance(other, int) and other + batch - 1 > LIMITS["seed"][1]:
            raise InputError(
                f"The seed of variation, {other}, leaves no room for {batch} seeds.\n"
                f"Give at most {LIMITS['seed'][1] - batch + 1}.",
                parameter="variation",
            )
        return replace(self, batch_size=batch)

    # The values for each image of the batch; for checked settings.

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompt of each image of the batch."""
        return self._each(self.prompt)

    @property
    def negative_prompts(self) -> tuple[str, ...]:
        """The negative prompt of each image of the batch."""
        return self._each(self.negative_prompt)

    @property
    def labels(self) -> tuple[str | int | None, ...]:
        """The class of each image of the batch; None is the null class."""
        return self.label if isinstance(self.label, tuple) else (self.label,) * self.batch_size

    @property
    def layouts(self) -> tuple[Layout | None, ...]:
        """The boxes of each image of the batch; None for none, which is unconditional."""
        several = layouts_in(self.boxes)
        return (self.boxes,) * self.batch_size if several is None else several  # type: ignore[return-value]

    @property
    def reading(self) -> Reading:
        """How the prompts are read."""
        return Reading(self.weights, self.clip_skip, self.chunks)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each image of the batch: seed, seed + 1, ... if a single seed was given."""
        if isinstance(self.seed, tuple):
            return self.seed
        if self.seed is None:
            raise ValueError("no seed yet: Settings.checked draws it")
        return tuple(range(self.seed, self.seed + self.batch_size))

    @property
    def other_seeds(self) -> tuple[int, ...]:
        """The seed of ``variation`` for each image of the batch, as `seeds`; () without it."""
        if self.variation is None:
            return ()
        other = self.variation[0]
        return other if isinstance(other, tuple) else tuple(range(other, other + self.batch_size))

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        if self.width is None or self.height is None:
            raise ValueError("no size yet: Settings.checked fills it in")
        return self.width, self.height

    @property
    def final_size(self) -> tuple[int, int]:
        """(width, height) of the image in pixels: `size`, or that of the second pass.

        Sides are rounded to multiples of the autoencoder's factor; to multiples of 8 for settings
        that were not checked for a model.
        """
        width, height = self.size
        if self.hires is None:
            return width, height
        config = self._checked_for[0] if self._checked_for else None
        factor = 8 if config is None else config.autoencoder.factor
        return _enlarged(width, self.hires, factor), _enlarged(height, self.hires, factor)

    def resolved(self, **changes: Any) -> Settings:
        """These checked settings with other values, known to be right: they stay checked."""
        changed = replace(self, **changes)
        object.__setattr__(changed, "_checked_for", self._checked_for)
        return changed

    def _each(self, value: str | tuple[str, ...]) -> tuple[str, ...]:
        return value if isinstance(value, tuple) else (value,) * self.batch_size

    @property
    def options(self) -> dict[str, float]:
        """The options of the chosen sampler, by name."""
        options = {}
        for option in OPTIONS[self.sampler] if self.sampler else ():
            value = getattr(self, option.name)
            options[option.name] = option.default if value is None else value
        return options

    @property
    def all_steps(self) -> int:
        """The number of steps of the grid, of which a run may make only some."""
        if self.steps is None:
            raise ValueError("no steps yet: Settings.checked fills them in")
        return self.steps

    @property
    def skipped_steps(self) -> int:
        """How many of ``steps`` are skipped when a run begins from an image, by ``strength``.

        The nearest whole number; see `effective_strength`. Raises InputError if no step would be
        left.
        """
        steps = self.all_steps
        left = _steps_left(steps, self.strength)
        if left == 0:
            raise InputError(
                f"strength {self.strength:g} of {steps} steps leaves no step to take.\n"
                f"Give strength {_least_strength(steps):g} or more, or more steps.",
                parameter="strength",
            )
        return steps - left

    @property
    def effective_strength(self) -> float:
        """The share of ``steps`` that a run from an image takes: ``strength`` in whole steps."""
        return (self.all_steps - self.skipped_steps) / self.all_steps

    @property
    def is_guided(self) -> bool:
        """Whether guidance does anything: up to a scale of 1, the network only reads the prompt."""
        return self.guidance_scale is not None and self.guidance_scale > 1

    @property
    def has_windows(self) -> bool:
        """Whether ``window`` does anything: an image within it is seen at once."""
        return self.window is not None and self.window < max(self.size)

    def of_picture(self, index: int) -> Settings:
        """The settings that make image ``index`` of the batch alone. Raises InputError."""
        index = checks.index("index", index, self.batch_size)
        variation = self.variation and (self.other_seeds[index], self.variation[1])
        return replace(
            self,
            variation=variation,
            prompt=self.prompts[index],
            negative_prompt=self.negative_prompts[index],
            label=self.labels[index],
            boxes=self.layouts[index],
            seed=self.seeds[index],
            batch_size=1,
        )

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain data for JSON; ``Settings(**data)`` restores them."""
        return asdict(self)


@dataclass(frozen=True)
class AttentionSettings:
    """What is recorded of attention beyond the mean over heads for each word, layer and step.

    ``heads``: every head separately instead of their mean. ``uncond``: also the negative prompt's
    half of a guided run. ``self_attention``: how the cells attend to each other. ``queries``: the
    cells' queries, from which `Trace.query` answers for any word afterwards. The last two are
    recorded in layers with at most 16 x 16 cells.
    """

    heads: bool = False
    uncond: bool = False
    self_attention: bool = False
    queries: bool = False

    @classmethod
    def of(cls, attention: bool | AttentionSettings) -> AttentionSettings | None:
        """The settings for a run's argument ``attention``; None for False. Raises InputError."""
        if isinstance(attention, bool):
            return cls() if attention else None
        if not isinstance(attention, cls):
            raise InputError(
                f"attention must be True, False or AttentionSettings, got {shown(attention)}.",
                parameter="attention",
            )
        for name, value in asdict(attention).items():
            if not isinstance(value, bool):
                raise InputError(
                    f"{name} of AttentionSettings must be True or False, got {shown(value)}.",
                    parameter="attention",
                )
        return attention


def controls_of(control: Any) -> tuple[Any, ...]:
    """The controls in a run's argument ``control``: None, one, or a list. Raises InputError."""
    if control is None:
        return ()
    several = tuple(control) if isinstance(control, (list, tuple)) else (control,)
    for each in several:
        said = "a sdwidgets.Control(net, picture), or a list of them"
        checks.able("control", each, "network", said)
    if len(several) > MOST_CONTROLS:
        raise InputError(
            f"A run takes at most {MOST_CONTROLS} controls, got {len(several)}.",
            parameter="control",
        )
    return several


def memory_needed(
    config: ModelConfig,
    width: int,
    height: int,
    batch_size: int = 1,
    *,
    words: int = 0,
    controls: int = 0,
    tiled: bool = False,
    window: int | None = None,
) -> int:
    """The approximate number of bytes that a guided run needs beyond the weights, in float32.

    The larger of what the UNet needs (the whole batch, twice, or three times where an image guides,
    too) and what the autoencoder needs (one image at a time), from the widest tensors that are
    alive together at full resolution. Right to within about a factor of two. ``controls``: how many
    ControlNets it has; what each adds to the UNet's skips is kept until the UNet has read it.
    ``words``: tokens of the context, if there are more than in a single chunk. ``tiled``: if the
    autoencoder computes in tiles where that needs less, as it does where memory is short.
    ``window``: the side in pixels of what the UNet sees at a time.
    """
    factor, seen = config.autoencoder.factor, window or max(width, height)
    cells = (min(width, seen) // factor) * (min(height, seen) // factor)
    words = max([words, *(text.length for text in config.text_encoders)])
    parts = 3 if config.has(ImageConfig) else 2
    scores = min(cells, 2**14) * 2 * config.unet.heads[0] * words  # see `models.attention.QUERIES`
    # 24: a feed-forward layer and the skips
    unet = parts * batch_size * (cells * 24 * config.unet.channels[0] + scores)
    skips = sum(
        channels * (config.unet.blocks_per_level + 1) / 4**level
        for level, channels in enumerate(config.unet.channels)
    )
    unet += int(controls * parts * batch_size * cells * skips)
    return max(4 * unet, autoencoder_memory(config.autoencoder, width, height, tiled=tiled))


def steering_memory(
    config: ModelConfig,
    width: int,
    height: int,
    batch_size: int = 1,
    *,
    words: int = 0,
    through: bool = True,
) -> int:
    """The approximate number of bytes that gradients of a guide need beyond `memory_needed`.

    They are what the decoder keeps of a single image and, where the gradient passes ``through`` the
    network, what that keeps of the batch, in float32; measured of small models, and right to within
    about a factor of two.
    """
    unet, cells = config.unet, width * height // config.autoencoder.factor**2
    words = max([words, *(text.length for text in config.text)])
    parts = 3 if config.has(ImageConfig) else 2
    kept = 0.0
    for level, (channels, heads, depth) in enumerate(
        zip(unet.channels, unet.heads, unet.depths, strict=True)
    ):
        attention = depth * (22 * channels + 2 * heads * words)
        kept += (2 * unet.blocks_per_level + 1) * cells / 4**level * (10 * channels + attention)
    decoder = config.autoencoder
    decoded = 10 * (decoder.blocks_per_level + 1) * width * height
    decoded *= sum(channels / 4**level for level, channels in enumerate(decoder.channels))
    return int(4 * (through * parts * batch_size * kept + decoded))


def autoencoder_memory(
    config: AutoencoderConfig, width: int, height: int, *, tiled: bool = False
) -> int:
    """The approximate number of bytes that the autoencoder needs for an image, in float32.

    ``tiled``: in tiles, if that needs less; see `models.tiling`.
    """
    if config.is_identity:
        return 4 * 2 * config.in_channels * width * height  # the image, and its values scaled
    pixels, widest = width * height, max(config.channels[:2])
    whole = 6 * widest * pixels
    if not tiled:
        return 4 * whole
    shares = [channels / 4**level for level, channels in enumerate(config.channels)]
    if config.mid_attention:
        shares.append(4 * shares[-1])  # its input, keys, values and output
    strip = 10 * widest * 32 * width  # of the fewest rows that a strip has
    return 4 * min(whole, int(max(shares) * pixels) + strip)


def largest_tensor(
    config: ModelConfig,
    width: int,
    height: int,
    batch_size: int = 1,
    *,
    window: int | None = None,
) -> int:
    """The bytes of the largest tensor of a guided run where attention keeps its scores, in float32.

    The scores [2 B, heads, N, N] of the UNet's largest self-attention; [3 B, heads, N, N] where an
    image guides, too. The autoencoder's attention has no such limit: in tiles, it takes a part of
    the queries at a time.
    """
    factor, seen = config.autoencoder.factor, window or max(width, height)
    cells = (min(width, seen) // factor) * (min(height, seen) // factor)
    parts = 3 if config.has(ImageConfig) else 2
    scores = [0]
    for level, depth in enumerate(config.unet.depths):
        if depth and not config.unet.cross_only_at(level):
            scores.append(parts * batch_size * config.unet.heads[level] * (cells // 4**level) ** 2)
    return 4 * max(scores)


def amount(size: float) -> str:
    """A number of bytes in words: 1.5e9 -> '1.5 GB'."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _choice(name: str, value: object, known: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in known:
        return str(value)
    near: list[str] = []
    if isinstance(value, str):
        given = value.lower().replace(" ", "_")[:50]
        same = [name for name in known if _plain(name) == _plain(given)]
        longer = [name for name in known if name.startswith(given) and "_" in given]  # "euler_a"
        near = same or longer or difflib.get_close_matches(given, known, 1, 0.4)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise InputError(
        f"There is no {name} {shown(value)}.\n{hint}Known: {_listed(known)}.", parameter=name
    )


def _plain(name: str) -> str:
    """A name without what is often left out: "DPM++ 2M" and "dpm2m" are dpmpp_2m."""
    return re.sub(r"[_+]|pp", "", name)


def _listed(names: tuple[str, ...]) -> str:
    """The names, on two lines if they are many."""
    half = -(-len(names) // 2) if len(", ".join(names)) > 100 else len(names)
    return ",\n".join(", ".join(part) for part in (names[:half], names[half:]) if part)


def _whole(name: str, value: Any, *, high: int | None = None) -> int:
    low, limit = LIMITS[name]
    high = limit if high is None else high
    if not is_whole(value):
        raise InputError(
            f"{name} must be a whole number, got {shown(value)}.\nGive {low} to {high}.",
            parameter=name,
        )
    if not low <= value <= high:
        raise InputError(f"{name} must be {low} to {high}, got {shown(value)}.", parameter=name)
    return int(value)


def _real(name: str, value: Any) -> float:
    low, high = LIMITS[name]
    if not checks.is_number(value):
        raise InputError(
            f"{name} must be a number, got {shown(value)}.\nGive {low} to {high}.", parameter=name
        )
    if not low <= value <= high:  # NaN is not
        raise InputError(f"{name} must be {low} to {high}, got {shown(value)}.", parameter=name)
    return float(value)


def _told(settings: Settings, config: ModelConfig | None) -> dict[str, Any]:
    """The settings of `TOLD`, checked; where the model takes one, None is its default."""
    values: dict[str, Any] = {}
    for name, default in TOLD.items():
        value = getattr(settings, name)
        if value is None and config is not None and takes(config, name):
            value = default
        if value is not None:
            value = _noise_level(value, config) if name == "noise_level" else _real(name, value)
        values[name] = value
    return values


def _noise_level(value: Any, config: ModelConfig | None) -> int:
    embedders = config.embedders if config else ()
    small = next((each for each in embedders if isinstance(each, LowResolutionConfig)), None)
    return _whole("noise_level", value, high=small.most if small else None)


def _optional(check: Callable[[str, Any], Any], name: str, value: Any) -> Any:
    return None if value is None else check(name, value)


def _options_of(sampler: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options, with None for those that the sampler does not have.

    Raises InputError if one of these would change something elsewhere.
    """
    known = {option.name for option in OPTIONS[sampler]}
    for name, option in EVERY_OPTION.items():
        if name not in known and options[name] not in (None, option.default):
            raise InputError(
                f"The sampler {sampler!r} has no {name}.\n"
                f"Leave it out, or take one that has: {', '.join(takers(name))}.",
                parameter=name,
            )
    return {name: value if name in known else None for name, value in options.items()}


def _check_steps(settings: Settings) -> None:
    """Raise InputError for a part of the grid that has no step."""
    start, end, steps = settings.start_step, settings.end_step, settings.steps
    if steps is not None and start >= steps:
        raise InputError(
            f"start_step {start} leaves no step of {steps}.\nGive 0 to {steps - 1}.",
            parameter="start_step",
        )
    if end is not None and end <= start:
        raise InputError(
            f"end_step must be more than start_step, {start}; got {end}.\n"
            "Steps are made from start_step to before end_step.",
            parameter="end_step",
        )


def _check_hires(settings: Settings, scale: float, config: ModelConfig) -> None:
    """Raise InputError for a second pass that cannot follow the first."""
    if settings.start_step > 0 or settings.end_step is not None:
        name = "start_step" if settings.start_step > 0 else "end_step"
        raise InputError(
            f"{name} and hires cannot be together: a second pass follows a whole one.\n"
            "Leave one of them out.",
            parameter=name,
        )
    if settings.sigmas is not None and settings.hires_steps is not None:
        raise InputError(
            "sigmas are the noise levels of both passes, so hires_steps cannot be given, too.\n"
            "Leave one of them out.",
            parameter="hires_steps",
        )
    steps = settings.all_steps if settings.hires_steps is None else settings.hires_steps
    _whole("hires_steps", steps, high=min(LIMITS["hires_steps"][1], config.schedule.steps))
    if _steps_left(steps, settings.hires_strength) == 0:
        raise InputError(
            f"hires_strength {settings.hires_strength:g} of {steps} steps leaves no step to take.\n"
            f"Give {_least_strength(steps):g} or more, or more hires_steps.",
            parameter="hires_strength",
        )
    for name in ("width", "height"):
        side, (_, high) = getattr(settings, name), LIMITS[name]
        if side is not None and _enlarged(side, scale, config.autoencoder.factor) > high:
            raise InputError(
                f"hires {scale:g} of a {name} of {side} is more than {high}.\n"
                f"Give at most {math.floor(100 * high / side) / 100:g}, or a smaller {name}.",
                parameter="hires",
            )


def _steps_left(steps: int, strength: float) -> int:
    """How many of the steps a run from an image makes: the nearest whole number."""
    return math.floor(steps * strength + 0.5)


def _least_strength(steps: int) -> float:
    """The least strength, in hundredths, that leaves a step of so many."""
    return math.ceil(50 / steps) / 100


def _enlarged(side: int, scale: float, factor: int) -> int:
    """A side of an enlarged image: the nearest multiple of the factor."""
    return max(math.floor(side * scale / factor + 0.5), 1) * factor


def _sigmas(value: Any) -> tuple[float, ...] | None:
    """A grid of noise levels, or None."""
    if value is None:
        return None
    if hasattr(value, "tolist"):  # an array or a tensor
        with contextlib.suppress(Exception):  # a tensor without values, on the meta device
            value = value.tolist()
    highest = float(RECORD["sigma"])
    right = (
        isinstance(value, (list, tuple))
        and 2 <= len(value) <= LIMITS["steps"][1] + 1
        and all(checks.is_number(one) and 0 <= one <= highest for one in value)
        and all(high > low for high, low in itertools.pairwise(value))
    )
    if not right:
        raise InputError(
            f"sigmas must be 2 to {LIMITS['steps'][1] + 1} noise levels, each below the one before "
            f"it and none below 0, got {shown(value)}.\nFor example [14.6, 3.0, 0.7, 0].",
            parameter="sigmas",
        )
    return tuple(map(float, value))


def _steps_of(sigmas: tuple[float, ...], steps: Any, schedule: str) -> int:
    """The number of steps of a grid given by hand, which takes the place of both others."""
    if schedule != SCHEDULES[0]:
        raise InputError(
            "sigmas and schedule both say which noise levels to visit.\nGive only one of them.",
            parameter="sigmas",
        )
    if steps not in (None, len(sigmas) - 1):
        raise InputError(
            f"{len(sigmas)} noise levels make {len(sigmas) - 1} steps, got steps={shown(steps)}.\n"
            "Leave out steps.",
            parameter="steps",
        )
    return len(sigmas) - 1


def _variation(value: Any) -> tuple[int | tuple[int, ...], float] | None:
    """(Another seed, or a list of them, and the share of the way to its noise), or None."""
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise InputError(
            f"variation must be a seed and a number from 0 to 1, got {shown(value)}.\n"
            "For example (7, 0.2).",
            parameter="variation",
        )
    seed, strength = value
    several = isinstance(seed, (list, tuple)) and len(seed) <= LIMITS["batch_size"][1]
    seeds = tuple(seed) if several else (seed,)
    low, high = LIMITS["seed"]
    if not seeds or not all(is_whole(one) and low <= one <= high for one in seeds):
        raise InputError(
            f"The seed of variation must be {low} to {high}, got {shown(seed)}.",
            parameter="variation",
        )
    if not checks.is_number(strength) or not 0 <= strength <= 1:
        raise InputError(
            f"The strength of variation must be 0 to 1, got {shown(strength)}.",
            parameter="variation",
        )
    return tuple(map(int, seeds)) if several else int(seed), float(strength)


def _toward(value: Any) -> tuple[str, float] | None:
    """(Another prompt, the share of the way to its context), or None."""
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise InputError(
            f"toward must be another prompt and a number from 0 to 1, got {shown(value)}.\n"
            "For example ('a dog', 0.5).",
            parameter="toward",
        )
    prompt, share = value
    if not checks.is_number(share) or not 0 <= share <= 1:
        raise InputError(
            f"The share of toward must be 0 to 1, got {shown(share)}.", parameter="toward"
        )
    return _text("toward", prompt), float(share)


def _pad(value: Any) -> tuple[int, int, int, int] | None:
    """Pixels of new area on the left, top, right and bottom, or None."""
    if value is None:
        return None
    sides = (value,) * 4 if is_whole(value) else value
    high = LIMITS["width"][1]
    if (
        not isinstance(sides, (list, tuple))
        or len(sides) != 4
        or not all(is_whole(side) and 0 <= side <= high for side in sides)
    ):
        raise InputError(
            f"pad must be a whole number of pixels from 0 to {high}, or four: left, top, right and "
            f"bottom; got {shown(value)}.",
            parameter="pad",
        )
    if not any(sides):
        raise InputError("pad is 0: no area would be added.\nGive more.", parameter="pad")
    left, top, right, bottom = map(int, sides)
    return left, top, right, bottom


def _side(name: str, value: Any, config: ModelConfig | None) -> int:
    """An image's width or height: a multiple of the autoencoder's factor, up to the limit."""
    if config is None:
        return _whole(name, value)
    factor = config.autoencoder.factor
    high = LIMITS[name][1] // factor * factor
    what = f"multiple of {factor} from {factor} to {high}"
    if not checks.is_number(value) or value != value:
        raise InputError(
            f"{name} must be a whole number of pixels, got {shown(value)}.\nGive a {what}.",
            parameter=name,
        )
    clamped = min(max(value, factor), high)
    nearest = round(clamped / factor) * factor
    if is_whole(value) and value == nearest:
        return nearest
    heavy = ""
    if high < value < 10**7:
        side = int(value)
        memory = amount(memory_needed(config, side, side, tiled=True))
        heavy = f"A square image of that size would need about {memory} of memory.\n"
    raise InputError(
        f"{name} must be a {what}, got {shown(value)}.\n"
        f"{heavy}The nearest that works is {nearest}.",
        parameter=name,
    )


def _pair(name: str, value: Any, *, low: int) -> tuple[int, int] | None:
    """Two whole numbers of pixels, or None."""
    if value is None:
        return None
    if (
        not isinstance(value, (list, tuple))
        or len(value) != 2
        or not all(is_whole(number) and low <= number <= LARGEST_SIDE for number in value)
    ):
        raise InputError(
            f"{name} must be two whole numbers from {low} to {LARGEST_SIDE:,}, got {shown(value)}.",
            parameter=name,
        )
    return int(value[0]), int(value[1])


def _texts(name: str, value: object) -> str | tuple[str, ...]:
    if isinstance(value, (list, tuple)):
        if not value:
            raise InputError(
                f"{name} is an empty list.\nGive one text, or one for each image.", parameter=name
            )
        if len(value) > LIMITS["batch_size"][1]:
            _whole("batch_size", len(value))
        return tuple(_text(name, text) for text in value)
    return _text(name, value)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InputError(
            f"{name} must be a text, got {shown(value)}.\nAn empty text, '', is fine.",
            parameter=name,
        )
    if len(value) > PROMPT_LENGTH:
        raise InputError(
            f"{name} has {len(value):,} characters; the limit is {PROMPT_LENGTH:,}.\n"
            "A model reads at most 750 tokens.",
            parameter=name,
        )
    return str(checks.whole_text(name, value))


def _seeds(value: object) -> int | tuple[int, ...]:
    if value is None:
        return secrets.randbelow(2**32)  # leaves torch's and Python's random state alone
    if isinstance(value, (list, tuple)):
        if not value:
            raise InputError(
                "seed is an empty list.\nGive one number, or one for each image.",
                parameter="seed",
            )
        if len(value) > LIMITS["batch_size"][1]:
            _whole("batch_size", len(value))
        return tuple(_seed(seed) for seed in value)
    return _seed(value)


def _seed(value: object) -> int:
    if is_whole(value) and LIMITS["seed"][1] < value < 2**64:  # type: ignore[operator]
        raise InputError(
            f"seed must be 0 to {LIMITS['seed'][1]}, got {shown(value)}.\n"
            "The generator reads 32 bits only, so larger seeds would repeat images.\n"
            f"Give {value % 2**32}, which makes the same image.",  # type: ignore[operator]
            parameter="seed",
        )
    return _whole("seed", value)
