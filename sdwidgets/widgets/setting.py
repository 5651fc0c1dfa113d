"""Settings of a run as traits: types are checked when they are set, limits when a run starts."""

from __future__ import annotations

import numbers
import secrets
from typing import Any

import traitlets

from ..configs import EMOJI
from ..errors import InputError
from ..manager import DEFAULT_MODEL
from ..pictures import as_picture
from ..prompts import MOST_CHUNKS, WEIGHTS
from ..sampling import SAMPLERS, SCHEDULES
from ..settings import FITS, TOLD, Settings
from . import kernel
from .loras import Loras
from .selection import SAFE_WHOLE

SETTINGS = (
    "prompt",
    "negative_prompt",
    "weights",
    "clip_skip",
    "chunks",
    "seed",
    "steps",
    "guidance_scale",
    "strength",
    "fit",
    "sampler",
    "schedule",
    "width",
    "height",
    "batch_size",
    *TOLD,
)
"""The Studio's traits that go into a run's `Settings`, under the same names."""

OWN = ("width", "height", "guidance_scale")
"""The settings whose defaults come from the model."""


class Setting(kernel.AnyTrait):
    """A trait for the field of `Settings` with the same name.

    A control may hold a number outside the limits: Generate then explains the error. A value of the
    wrong type, as in ``studio.steps = "3"``, raises InputError at once.
    """

    def validate(self, obj: Any, value: Any) -> Any:
        kind = type(TOLD.get(str(self.name), self.default_value))
        if kind is not str and type(value) is not bool:
            wanted: Any = numbers.Integral if kind is int else numbers.Real
            if isinstance(value, wanted) and -SAFE_WHOLE <= value <= SAFE_WHOLE:
                return kind(value)
        name = str(self.name)
        checked = Settings(**{name: value}).checked()
        if not isinstance(value, kind):  # a batch's list, or None, which no control can hold
            raise InputError(
                f"{name} takes one value in the Studio, got {value!r}.\n"
                "Use sample or generate of a model for lists.",
                parameter=name,
            )
        return getattr(checked, name)


class Seed(Setting):
    """A setting for which None draws a random value."""

    def validate(self, obj: Any, value: Any) -> Any:
        return secrets.randbelow(2**32) if value is None else super().validate(obj, value)


class Told(Setting):
    """A setting that only some models take; None is the model's default."""

    def validate(self, obj: Any, value: Any) -> Any:
        return None if value is None else super().validate(obj, value)


class StartImage(kernel.AnyTrait):
    """An image in any accepted form, converted to RGB; or None."""

    def validate(self, obj: Any, value: Any) -> Any:
        return None if value is None else as_picture(value)[0]


class RunSettings(traitlets.HasTraits):
    """The settings of the Studio's runs, as traits."""

    model = traitlets.Unicode(DEFAULT_MODEL)
    """The name of a model that the manager knows, a path, or ``owner/name`` on the hub."""

    loras = Loras(())
    """The LoRAs on the model: paths, (path, strength) or (path, strength, text_strength). They are
    a tuple of `loras.Lora`."""

    prompt = Setting("")
    """What the image should show."""

    negative_prompt = Setting("")
    """What the image should not show."""

    weights = Setting(WEIGHTS[0])
    """What brackets in the prompts do: "mean", "plain" or "none"; see `prompts.Reading`."""

    clip_skip = Setting(0)
    """How many more of the text encoder's last layers are left out; 0 is as the model does."""

    chunks = Setting(MOST_CHUNKS)
    """The most chunks of 75 tokens of a prompt; the rest is cut."""

    seed = Seed(0)
    """The seed of the noise. None draws a random one."""

    steps = Setting(20)
    """The number of denoising steps, 1 to 1000."""

    guidance_scale = Setting(float(EMOJI.guidance_scale))
    """How strongly the image follows the prompt; 1 is no guidance. Until set, this is the model's
    default, as are ``width`` and ``height``. Choosing another model resets all three to its own."""

    image = StartImage(None)
    """The image to start from (image to image): a PIL image, an array, a path or a file's bytes.
    None starts from noise."""

    strength = Setting(0.8)
    """How much of the start image changes: 1 is everything, near 0 almost nothing."""

    fit = Setting(FITS[0])
    """How a start image of another shape is brought to the run's: "crop", "pad" or "stretch"."""

    sampler = Setting(SAMPLERS[0])
    """The method that steps from one noise level to the next."""

    schedule = Setting(SCHEDULES[0])
    """How the noise levels of the steps are spaced."""

    width = Setting(EMOJI.size)
    """Pixels, a multiple of the autoencoder's factor (8). The model's own until set."""

    height = Setting(EMOJI.size)
    """Pixels, a multiple of the autoencoder's factor (8). The model's own until set."""

    batch_size = Setting(1)
    """The number of images of a run. They use the seeds seed, seed + 1, ..."""

    image_guidance_scale = Told(None)
    """How closely an edited image follows the start image, for models that edit one. None is the
    model's default; choosing another model resets it, and the three that follow, to None."""

    noise_level = Told(None)
    """How much noise is put on the start image, for models that enlarge it."""

    aesthetic_score = Told(None)
    """What a refiner is told of the prompt's half of guidance, 0 to 10."""

    negative_aesthetic_score = Told(None)
    """What a refiner is told of the negative prompt's half of guidance, 0 to 10."""

    @property
    def settings(self) -> Settings:
        """The current settings, not yet checked against the model."""
        return Settings(**{name: getattr(self, name) for name in SETTINGS})
