"""What the Studio's runs are given beside settings, as traits: images, masks, maps, neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import traitlets

from .. import checks
from ..pictures import as_label_map, as_neighbours, as_picture, as_soft_mask
from . import kernel

GIVEN = ("image", "mask", "label_map", "low_res", "neighbours", "guide")
"""The traits of `RunInputs`: arguments of a request, by name. They are loaded in this order."""


class OneImage(kernel.AnyTrait):
    """An image in any accepted form, converted to RGB; or None."""

    def validate(self, obj: Any, value: Any) -> Any:
        return None if value is None else as_picture(value)[0]


class StartMask(kernel.AnyTrait):
    """A mask in any accepted form, converted to mode L, 255 where it repaints; or None."""

    def validate(self, obj: Any, value: Any) -> Any:
        return None if value is None else as_soft_mask(value)


class Map(kernel.AnyTrait):
    """A map of classes in any accepted form, as an array [H, W] that cannot be written to."""

    def validate(self, obj: Any, value: Any) -> Any:
        if value is None:
            return None
        made = np.array(as_label_map(value))
        made.flags.writeable = False
        return made


class Images(kernel.AnyTrait):
    """Images in any accepted form, as a tuple of RGB images."""

    def validate(self, obj: Any, value: Any) -> Any:
        return as_neighbours(value)[0]


class Steering(kernel.AnyTrait):
    """A function of images to their losses; or None. A run checks what it returns."""

    def validate(self, obj: Any, value: Any) -> Any:
        checks.function("guide", value)
        return value


class RunInputs(traitlets.HasTraits):
    """What the runs are given: each as the argument of `LatentDiffusion.generate` of that name."""

    image = OneImage(None)
    """The image to start from (image to image): a PIL image, an array, a path or a file's bytes.
    None starts from noise."""

    mask = StartMask(None)
    """The part of the start image that is painted anew (inpainting), in the image's own size: white
    changes, black is kept. A start image of another size drops it. None changes all of it."""

    label_map = Map(None)
    """The number of the class of each pixel, [H, W], for models of label maps; `model.classes` has
    their names. None is unconditional; choosing another model resets it."""

    low_res = OneImage(None)
    """The small image to enlarge, for models that do: a PIL image, an array, a path or a file's
    bytes."""

    neighbours = Images(())
    """Images that the result is to resemble, for models with neighbours: a list of PIL images,
    arrays, paths or files' bytes. () is unconditional."""

    guide = Steering(None)
    """What steers the runs: one of `sdwidgets.guides`, or a function of images [B, 3, H, W] in
    [-1, 1] to a loss [B], the lower the better. None steers nothing. A record keeps a ready guide
    whole, of a function only its name."""
