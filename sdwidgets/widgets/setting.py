"""Settings of a run as traits: types are checked when they are set, limits when a run starts."""

from __future__ import annotations

import numbers
import secrets
from typing import Any

import traitlets

from ..checks import shown
from ..classes import layouts_in
from ..configs import EMOJI
from ..errors import InputError
from ..manager import DEFAULT_MODEL
from ..prompts import MOST_CHUNKS, WEIGHTS
from ..sampling import SAMPLERS, SCHEDULES
from ..settings import FITS, TOLD, Settings
from . import kernel
from .given import RunInputs
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
    "pad",  # before the size of the whole, which grows with it
    "width",
    "height",
    "batch_size",
    *TOLD,
    "label",
    "boxes",
    "guide_scale",
    "variation",
    "toward",
    "guidance_rescale",
    "eta",
    "s_noise",
    "s_churn",
    "sigmas",  # after the steps and the grid, whose place it takes
    "start_step",
    "end_step",
    "hires",
    "hires_strength",
    "hires_steps",
    "hires_method",
    "window",
    "original_size",
    "crop",
    "target_size",
)
"""The Studio's traits that go into a run's `Settings`, under the same names. They are loaded in
this order."""

OF_SOME = (*TOLD, "label", "boxes", "label_map")
"""The settings that only some models take, and each in its own way: another model resets them to
None."""

OWN = ("steps", "sampler", "width", "height", "guidance_scale")
"""The settings whose defaults come from the model, and from LoRAs for few steps. The noise grid is
the model's, too, as long as it is "default"."""


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


class Further(kernel.AnyTrait):
    """A setting that most runs leave at its default, which None restores.

    Its limits are checked at once: an empty control is the default, so none needs to be wrong.
    """

    def validate(self, obj: Any, value: Any) -> Any:
        name = str(self.name)
        if value is None:
            return getattr(Settings, name)
        checked = getattr(Settings(**{name: value}).checked(), name)
        if what := _several(name, checked):
            raise InputError(
                f"{name} takes one {what} in the Studio, got {shown(value)}.\n"
                "Use sample or generate of a model for lists.",
                parameter=name,
            )
        return checked


def _several(name: str, value: Any) -> str:
    """What a value has several of, for the images of a batch; "" if it is for a single one."""
    if name == "variation" and isinstance(value[0], tuple):
        return "seed"
    if name == "label" and isinstance(value, tuple):
        return "class"
    return "layout" if name == "boxes" and layouts_in(value) is not None else ""


class RunSettings(RunInputs):
    """The settings of the Studio's runs, and what these are given, as traits."""

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
    """The number of denoising steps, 1 to 1000. The model's default until set."""

    guidance_scale = Setting(float(EMOJI.guidance_scale))
    """How strongly the image follows the prompt; 1 is no guidance. Until set, this is the model's
    default, as are ``steps``, ``sampler``, ``width`` and ``height``. Choosing another model resets
    them all to its own, and ``schedule`` to "default"."""

    pad = Further(None)
    """Pixels of new area around the start image (outpainting): left, top, right, bottom, or one
    number for all. ``width`` and ``height`` are those of the whole, and grow with it."""

    strength = Setting(0.8)
    """How much of the start image changes: 1 is everything, near 0 almost nothing."""

    fit = Setting(FITS[0])
    """How a start image of another shape is brought to the run's: "crop", "pad" or "stretch"."""

    sampler = Setting(SAMPLERS[0])
    """The method that steps from one noise level to the next. The model's default until set."""

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

    label = Further(None)
    """The class, by name or number, for models of classes; `model.classes` has their names. None is
    no class; choosing another model resets it, and ``boxes``, to None."""

    boxes = Further(None)
    """The objects of a layout, for models that are told one: a list of (name, (x0, y0, x1, y1)), in
    fractions of the image from its upper left corner. None is unconditional."""

    guide_scale = Setting(Settings.guide_scale)
    """How much ``guide`` steers, 0 to 10,000; see `guiding.Guiding`."""

    variation = Further(None)
    """(Another seed, how far the noise goes towards its own, 0 to 1)."""

    toward = Further(None)
    """(Another prompt, how far the context goes towards its own, 0 to 1)."""

    guidance_rescale = Further(Settings.guidance_rescale)
    """How far guidance is brought back to the contrast of the prompt's half, 0 to 1."""

    eta = Further(None)
    """The share of a step's noise that is fresh, 0 to 1; None is the sampler's own. It acts where
    the chosen sampler has it, as do ``s_noise`` and ``s_churn``; see `sampling.OPTIONS`."""

    s_noise = Further(None)
    """The factor of fresh noise, 0 to 2; None is the sampler's own."""

    s_churn = Further(None)
    """How much noise is put back before each step, over all steps, 0 to 100; None is the
    sampler's own."""

    sigmas = Further(None)
    """Noise levels given by hand, falling, in place of ``steps`` and ``schedule``. Setting either
    of these drops them."""

    start_step = Further(Settings.start_step)
    """The first step of the grid that is made; more than 0 takes the place of ``strength``."""

    end_step = Further(None)
    """The step of the grid before which the run ends; None is all."""

    hires = Further(None)
    """The factor by which a second pass enlarges the image, more than 1 and at most 4; None makes
    no second pass."""

    hires_strength = Further(Settings.hires_strength)
    """How much the second pass changes, 0 to 1."""

    hires_steps = Further(None)
    """The steps of the second pass's grid; None is as many as ``steps``."""

    hires_method = Further(Settings.hires_method)
    """What is enlarged between the passes: "latents" or "pixels"."""

    window = Further(None)
    """The side in pixels of the overlapping windows at which the network looks; None is all at
    once."""

    original_size = Further(None)
    """(width, height) that the model is told the image once had, for models that are conditioned
    on it, as are ``crop`` and ``target_size``; None is the image's own."""

    crop = Further(None)
    """(left, top) that the model is told were cut off; None is (0, 0)."""

    target_size = Further(None)
    """(width, height) that the model is told the image is to have; None is the image's own."""

    @property
    def settings(self) -> Settings:
        """The current settings, not yet checked against the model."""
        return Settings(**{name: getattr(self, name) for name in SETTINGS})
