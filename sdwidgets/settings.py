"""The settings of a run, with every limit, checked in one place before any work is done.

Plain data without torch, shared by the pipeline, the widgets and records.
"""

from __future__ import annotations

import difflib
import math
import secrets
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from . import checks
from .checks import is_whole, shown
from .configs import ImageConfig, LowResolutionConfig, ModelConfig, SizesConfig
from .contract import MOST_CONTROLS
from .errors import InputError
from .prompts import MOST_CHUNKS, WEIGHTS, Reading
from .sampling import (
    ETA,
    EVERY_OPTION,
    OPTIONS,
    SAMPLERS,
    SCHEDULES,
    Option,
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
        return config.has(LowResolutionConfig)
    return any(isinstance(each, SizesConfig) and each.score for each in config.embedders)


@dataclass(frozen=True)
class Settings:
    """The settings of one run: the arguments of `LatentDiffusion.sample` that are plain data.

    ``prompt``, ``negative_prompt`` and ``seed`` take a single value, or a list with a value for
    each image of a batch. None means the model's default (guidance_scale, width, height) or a
    random seed; the schedule "default" is the model's. ``weights``, ``clip_skip`` and ``chunks``
    say how the prompts are read; see `prompts.Reading`. ``original_size``, ``crop`` and
    ``target_size`` are pairs of pixels, (width, height) or (left, top), for models that are
    conditioned on them; None is the size of the image, uncropped. ``image_guidance_scale`` is for
    models that edit an image, ``noise_level`` for those that enlarge one, ``aesthetic_score`` and
    ``negative_aesthetic_score`` for refiners; for other models, they stay None.
    """

    prompt: str | tuple[str, ...] = ""
    negative_prompt: str | tuple[str, ...] = ""
    weights: str = WEIGHTS[0]
    clip_skip: int = 0
    chunks: int = MOST_CHUNKS
    steps: int = 20
    sampler: str = SAMPLERS[0]
    schedule: str = SCHEDULES[0]
    guidance_scale: float | None = None
    guidance_rescale: float = 0.0
    seed: int | tuple[int, ...] | None = None
    width: int | None = None
    height: int | None = None
    batch_size: int = 1
    strength: float = 0.8
    fit: str = FITS[0]
    eta: float = ETA.default
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
        stay None. So does the size of an enlarged image, which follows from the small one. Checked
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
        schedule, high = _choice("schedule", self.schedule, SCHEDULES), LIMITS["steps"][1]
        deepest = LIMITS["clip_skip"][1]
        if config is not None:
            if schedule == SCHEDULES[0]:
                schedule = default_schedule(config.schedule.spacing)
            guidance = config.guidance_scale if guidance is None else guidance
            if not config.has(LowResolutionConfig):
                width = config.size if width is None else width
                height = config.size if height is None else height
            high = min(high, config.schedule.steps)
            left = [text.layers - text.skip - 1 for text in config.text]  # one layer must stay
            deepest = min([deepest, *left])
        options: dict[str, Any] = {n: _real(n, getattr(self, n)) for n in EVERY_OPTION}
        settings = Settings(
            prompt=_texts("prompt", self.prompt),
            negative_prompt=_texts("negative_prompt", self.negative_prompt),
            weights=_choice("weights", self.weights, WEIGHTS),
            clip_skip=_whole("clip_skip", self.clip_skip, high=deepest),
            chunks=_whole("chunks", self.chunks),
            steps=_whole("steps", self.steps, high=high),
            sampler=_choice("sampler", self.sampler, SAMPLERS),
            schedule=schedule,
            guidance_scale=None if guidance is None else _real("guidance_scale", guidance),
            guidance_rescale=_real("guidance_rescale", self.guidance_rescale),
            seed=_seeds(self.seed),
            width=None if width is None else _side("width", width, config),
            height=None if height is None else _side("height", height, config),
            batch_size=_whole("batch_size", self.batch_size),
            strength=_real("strength", self.strength),
            fit=_choice("fit", self.fit, FITS),
            **options,
            original_size=_pair("original_size", self.original_size, low=1),
            crop=_pair("crop", self.crop, low=0),
            target_size=_pair("target_size", self.target_size, low=1),
            **_told(self, config),
        )
        if settings.strength == 0:
            raise InputError(
                "strength is 0: nothing would change.\nGive more than 0 and at most 1.",
                parameter="strength",
            )
        for name, option in EVERY_OPTION.items():
            if option not in OPTIONS[settings.sampler]:
                _check_unused(option, getattr(settings, name), settings.sampler)
        settings = settings._with_batch()
        object.__setattr__(settings, "_checked_for", (config,))
        return settings

    def _with_batch(self) -> Settings:
        """Return these settings with the batch size that all lists agree on."""
        sizes = {"batch_size": self.batch_size}
        for name in ("prompt", "negative_prompt", "seed"):
            value = getattr(self, name)
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
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        if self.width is None or self.height is None:
            raise ValueError("no size yet: Settings.checked fills it in")
        return self.width, self.height

    def _each(self, value: str | tuple[str, ...]) -> tuple[str, ...]:
        return value if isinstance(value, tuple) else (value,) * self.batch_size

    @property
    def options(self) -> dict[str, float]:
        """The options of the chosen sampler, by name."""
        return {option.name: getattr(self, option.name) for option in OPTIONS[self.sampler]}

    @property
    def skipped_steps(self) -> int:
        """How many of ``steps`` are skipped when a run begins from an image, by ``strength``.

        The nearest whole number; see `effective_strength`. Raises InputError if no step would be
        left.
        """
        left = math.floor(self.steps * self.strength + 0.5)
        if left == 0:
            raise InputError(
                f"strength {self.strength:g} of {self.steps} steps leaves no step to take.\n"
                f"Give strength {math.ceil(50 / self.steps) / 100:g} or more, or more steps.",
                parameter="strength",
            )
        return self.steps - left

    @property
    def effective_strength(self) -> float:
        """The share of ``steps`` that a run from an image takes: ``strength`` in whole steps."""
        return (self.steps - self.skipped_steps) / self.steps

    @property
    def is_guided(self) -> bool:
        """Whether guidance does anything: up to a scale of 1, the network only reads the prompt."""
        return self.guidance_scale is not None and self.guidance_scale > 1

    def of_picture(self, index: int) -> Settings:
        """The settings that make image ``index`` of the batch alone. Raises InputError."""
        index = checks.index("index", index, self.batch_size)
        return replace(
            self,
            prompt=self.prompts[index],
            negative_prompt=self.negative_prompts[index],
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
) -> int:
    """The approximate number of bytes that a guided run needs beyond the weights, in float32.

    The larger of what the UNet needs (the whole batch, twice, or three times where an image guides,
    too) and what the decoder needs (one image at a time), from the widest tensors that are alive
    together at full resolution. Right to within about a factor of two. ``controls``: how many
    ControlNets it has; what each adds to the UNet's skips is kept until the UNet has read it.
    ``words``: tokens of the context, if there are more than in a single chunk.
    """
    cells = (width // config.autoencoder.factor) * (height // config.autoencoder.factor)
    words = max([words, *(text.length for text in config.text)])
    parts = 3 if config.has(ImageConfig) else 2
    unet = (
        parts
        * batch_size
        * cells
        * (12 * config.unet.channels[0] + 2 * config.unet.heads[0] * words)
    )
    skips = sum(
        channels * (config.unet.blocks_per_level + 1) / 4**level
        for level, channels in enumerate(config.unet.channels)
    )
    unet += int(controls * parts * batch_size * cells * skips)
    decoder = width * height * 6 * max(config.autoencoder.channels[:2])
    return 4 * max(unet, decoder)


def largest_tensor(config: ModelConfig, width: int, height: int, batch_size: int = 1) -> int:
    """The bytes of the largest tensor of a guided run where attention keeps its scores, in float32.

    The scores [2 B, heads, N, N] of the UNet's largest self-attention, or of the decoder's; [3 B,
    heads, N, N] where an image guides, too.
    """
    cells = (width // config.autoencoder.factor) * (height // config.autoencoder.factor)
    parts = 3 if config.has(ImageConfig) else 2
    scores = [cells**2 * config.autoencoder.mid_attention]
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
        longer = [name for name in known if name.startswith(given) and "_" in given]  # "euler_a"
        near = longer or difflib.get_close_matches(given, known, 1, 0.4)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise InputError(
        f"There is no {name} {shown(value)}.\n{hint}Known: {', '.join(known)}.", parameter=name
    )


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


def _check_unused(option: Option, value: float, sampler: str) -> None:
    """Raise InputError for an option that the sampler ignores, unless it is at its default."""
    if value == option.default:
        return
    known = " or ".join(map(repr, takers(option.name)))
    raise InputError(
        f"{option.name} only has an effect with the sampler {known}, not with {sampler!r}.\n"
        f"Leave it at {option.default:g}, or set sampler={known}.",
        parameter=option.name,
    )


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
        memory = amount(memory_needed(config, side, side))
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
