"""What a run is given, checked against its model, and the sizes that follow from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from .classes import refused
from .configs import DepthConfig, ImageConfig, LabelMapConfig, LowResolutionConfig, ModelConfig
from .errors import InputError
from .numerics import is_finite, tensor
from .outpainting import laid_out
from .passes import latent_shape
from .pictures import Start
from .settings import LIMITS, Settings

if TYPE_CHECKING:
    from .pipeline import LatentDiffusion


def check_given(
    config: ModelConfig,
    settings: Settings,
    start: Start | None,
    latents: Tensor | np.ndarray | None,
) -> None:
    """Raise InputError for what the model needs and was not given, or does not take."""
    if start is not None:
        _check_start(config, start)
        start = start.with_small_image()
    image = start.image if start else None
    mask = start.mask if start else None
    depth = start.depth if start else None
    if image is None and config.starts_from_noise:
        does, name = ("edits", "image") if config.has(ImageConfig) else ("enlarges", "low_res")
        raise InputError(
            f"This model {does} an image, and none was given.\nGive {name}=...", parameter=name
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
    if config.has(LabelMapConfig) and (start is None or start.label_map is None):
        raise InputError(
            "This model paints a label map, and none was given.\n"
            "Give label_map=..., an array [H, W] of the numbers of classes; model.classes are their"
            " names.",
            parameter="label_map",
        )
    if settings.pad is not None and config.starts_from_noise:
        raise InputError(
            "This model takes no pad: it makes all of the image.\nLeave it out.", parameter="pad"
        )
    if settings.pad is not None and image is None:
        raise InputError(
            "pad is new area around an image, and none was given.\nGive image=...",
            parameter="image",
        )
    if settings.variation is not None and latents is not None and settings.start_step == 0:
        raise InputError(
            "latents take the place of the seeds' noise, so there is none to vary.\n"
            "Give latents or variation.",
            parameter="variation",
        )


def _check_start(config: ModelConfig, start: Start) -> None:
    """Raise InputError for images that the model does not take."""
    given = {
        "low_res": start.low_res is not None,
        "label_map": start.label_map is not None,
        "neighbours": bool(start.neighbours),
    }
    for name, is_given in given.items():
        if is_given and name not in config.takes:
            raise refused(config, name)
    if start.low_res is not None and start.image is not None:
        raise InputError(
            "low_res and image both are the image to enlarge.\nGive only low_res.",
            parameter="image",
        )
    if start.label_map is not None:
        count, most = len(_map_names(config)), int(start.label_map.max())
        if most >= count:
            raise InputError(
                f"The label map has the number {most}; this model has {count} classes, counted from"
                " 0.\nmodel.classes are their names.",
                parameter="label_map",
            )


def _map_names(config: ModelConfig) -> tuple[str, ...]:
    return next(each.names for each in config.embedders if isinstance(each, LabelMapConfig))


def sized(settings: Settings, config: ModelConfig, start: Start | None) -> Settings:
    """The settings with the size of an enlarged or padded image, which follows from the image's."""
    if settings.pad is not None and start is not None and start.image is not None:
        return _padded(settings, config, start.image.size)
    if settings.width is not None and settings.height is not None:
        return settings
    if start is None or start.image is None:
        raise ValueError("no image to enlarge")  # `check_given` refuses it
    factor = config.autoencoder.factor
    size = [side * factor for side in start.image.size]
    if max(size) > LIMITS["width"][1]:
        raise InputError(
            f"The image is {start.image.width} x {start.image.height}; {factor} times as large is "
            f"more than {LIMITS['width'][1]}.\nGive a smaller image, or width and height.",
            parameter="image",
        )
    width, height = settings.width or size[0], settings.height or size[1]
    return settings.resolved(width=width, height=height)


def _padded(settings: Settings, config: ModelConfig, size: tuple[int, int]) -> Settings:
    """The settings with the size of the canvas and the pad on it, for an image of that size."""
    assert settings.pad is not None
    factor, high = config.autoencoder.factor, LIMITS["width"][1]
    layout = laid_out(size, settings.pad, settings.width, settings.height, factor=factor)
    width, height = layout.canvas
    if max(width, height) > high:
        raise InputError(
            f"The image with its pad is {width} x {height}; the limit is {high} pixels a side.\n"
            "Give width and height of the whole: the image is made smaller then.",
            parameter="pad",
        )
    return settings.resolved(width=width, height=height, pad=layout.pad)


def rounded_notice(settings: Settings, factor: int) -> str:
    """What to say where the sides of a padded image had to be rounded."""
    width, height = settings.size
    left, top, right, bottom = settings.pad or (0, 0, 0, 0)
    return (
        f"The sides were rounded up to multiples of {factor}, {width} x {height}: the new area has "
        f"{left} pixels on the left, {top} on the top, {right} on the right, {bottom} at the "
        "bottom."
    )


def size_of_image(settings: Settings, config: ModelConfig) -> tuple[int, int]:
    """(width, height) of the given image: the run's own, less the new area around it; or a pixel
    for each latent cell."""
    width, height = settings.size
    if settings.pad is not None:
        left, top, right, bottom = settings.pad
        width, height = width - left - right, height - top - bottom
    factor = config.autoencoder.factor if config.has(LowResolutionConfig) else 1
    return width // factor, height // factor


def starting_noise(
    model: LatentDiffusion, settings: Settings, latents: Tensor | np.ndarray | None
) -> Tensor | None:
    """The latents in place of the seeds' noise, checked. Raises InputError."""
    if latents is None:
        return None
    latents = tensor("latents", latents, latent_shape(model.config, settings))
    if not is_finite(latents.float()):
        raise InputError("latents hold NaN or infinity.", parameter="latents")
    return latents
