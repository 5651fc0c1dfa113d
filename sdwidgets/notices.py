"""Notices of a run, known before it starts: settings without effect or with a surprising one, and
sizes that the model was not trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from .configs import DepthConfig, GuidanceConfig, LowResolutionConfig, ModelConfig, SizesConfig
from .settings import TOLD, Settings, takes

NO_WINDOWS = "The image is no larger than a window, so window had no effect."

FAR_BELOW = 0.95
"""A run from noise that begins below this share of the training steps has a notice."""

_USUAL = {field.name: field.default for field in fields(Settings)}


def about(
    settings: Settings,
    config: ModelConfig,
    *,
    from_image: bool,
    sees_image: bool = False,
    controlled: bool = False,
    begins: float,
    refiner: ModelConfig | None = None,
) -> Iterator[str]:
    """The notices of a run with these settings, as given and checked for the model of ``config``.

    ``from_image``: whether it starts from an image; ``sees_image``: or from noise, and the network
    sees an image. ``controlled``: it follows an image, which is fitted to its size, too.
    ``begins``: the run's first noise level as a share of the training steps, 0 to 1. ``refiner``:
    the config of the model that makes the last steps.
    """
    if from_image:
        yield from about_strength(settings)
    else:
        if sees_image and settings.strength not in (_USUAL["strength"], 1):
            yield "This model sees the image and starts from noise, so strength had no effect."
        unused = [] if sees_image else ["strength"]
        if not (sees_image or controlled or config.has(DepthConfig)):
            unused.append("fit")
        idle = [name for name in unused if getattr(settings, name) != _USUAL[name]]
        if idle:
            yield f"No image was given, so {' and '.join(idle)} had no effect."
        if begins < FAR_BELOW:
            levels = "given" if settings.sigmas else repr(settings.schedule)
            yield (
                f"The noise levels {levels} begin at {begins:.0%} of the way to pure noise, which "
                "is too low for an image from nothing; 'default' begins at the top."
            )
    if settings.sigmas and settings.sigmas[-1] > 0 and settings.end_step is None:
        yield f"The noise levels given end at {settings.sigmas[-1]:g}: noise is left in the image."
    if not config.text_encoders:
        idle = [n for n in ("weights", "clip_skip", "chunks") if getattr(settings, n) != _USUAL[n]]
        if idle:
            yield f"The model has no text encoder, so {' and '.join(idle)} had no effect."
    if config.has(GuidanceConfig):
        yield from _about_told_guidance(settings)
    elif not settings.is_guided:
        yield from _about_no_guidance(settings)
    elif settings.prompt == settings.negative_prompt != "":
        yield "The prompt and the negative prompt are the same, so guidance had no effect."
    configs = (config,) if refiner is None else (config, refiner)
    untold = [
        name
        for name in TOLD
        if getattr(settings, name) is not None and not any(takes(one, name) for one in configs)
    ]
    if untold:
        yield f"This model is not told {' and '.join(untold)}, which had no effect."
    if settings.hires is None:
        names = ("hires_strength", "hires_steps", "hires_method")
        idle = [name for name in names if getattr(settings, name) != _USUAL[name]]
        if idle:
            yield f"Without hires there is no second pass, so {' and '.join(idle)} had no effect."
    if refiner is None and settings.refiner_start is not None:
        yield "No refiner was given, so refiner_start had no effect."
    if settings.window is not None and not settings.has_windows:
        yield NO_WINDOWS
    yield from _about_size(settings, config)


def about_blended_words(settings: Settings) -> Iterator[str]:
    """The notice of recorded attention to tokens that belong to two prompts."""
    share = settings.toward[1] if settings.toward else 0
    if share > 0:
        nearer = " Swap the prompts: the other is the nearer of the two." if share > 0.5 else ""
        yield (
            "The words are blended with those of toward, and the attention to them is named by the "
            f"words of the prompt.{nearer}"
        )


def about_strength(settings: Settings, what: str = "Strength") -> Iterator[str]:
    """A notice if the strength was rounded; ``what`` it is called."""
    effective = settings.effective_strength
    if abs(effective - settings.strength) > 1e-9:
        steps = settings.all_steps
        taken = steps - settings.skipped_steps
        yield (
            f"{what} {settings.strength:g} was rounded to whole steps, {taken} of "
            f"{steps}: strength {effective:g} in effect."
        )


def _about_no_guidance(settings: Settings) -> Iterator[str]:
    scale = settings.guidance_scale or 0.0
    if scale < 1:
        yield f"Guidance {scale:g} is the same as 1: the prompt alone, without guidance."
    idle = _idle_without_guidance(settings)
    if idle:
        yield f"Without guidance (a scale above 1), {' and '.join(idle)} had no effect."


def _about_told_guidance(settings: Settings) -> Iterator[str]:
    idle = _idle_without_guidance(settings)
    if idle:
        yield (
            "This model is told the guidance scale and predicts once, so "
            f"{' and '.join(idle)} had no effect."
        )


def _idle_without_guidance(settings: Settings) -> list[str]:
    """What only has an effect where there is a second prediction, for the negative prompt."""
    idle = []
    if any(prompt.strip() for prompt in settings.negative_prompts):
        idle.append("the negative prompt")
    if settings.guidance_rescale:
        idle.append("guidance_rescale")
    return idle


def _about_size(settings: Settings, config: ModelConfig) -> Iterator[str]:
    width, height = settings.size
    seen, limited = f"{width} x {height}", settings.window is not None
    if settings.has_windows:
        assert settings.window is not None
        width, height = min(width, settings.window), min(height, settings.window)
        seen = f"windows of {width} x {height}"
    if (width, height) == (config.size, config.size) or config.has(LowResolutionConfig):
        return
    # Models that are told sizes were trained on many shapes of about the same area.
    shapes = any(isinstance(each, SizesConfig) for each in config.embedders)
    if shapes and 0.9 <= width * height / config.size**2 <= 1.1:
        return
    hint = ""
    if not limited and max(width, height) >= 2 * config.size:
        hint = f" window={config.size} lets it see parts of that size."
    yield (
        f"The model was trained on {config.size} x {config.size} pixels; at {seen}, "
        f"things may be cut, repeated or out of shape.{hint}"
    )
