"""Maps for ControlNets from any image: edges, blur, greyscale. Without torch.

Others (depth, poses, ...) come from networks of their own, and are given as images.
"""

from __future__ import annotations

from PIL import Image, ImageFilter, ImageOps

from . import checks
from .errors import InputError
from .pictures import PictureLike, as_picture


def edges(image: PictureLike, *, low: float = 0.1, high: float = 0.2) -> Image.Image:
    """The edges of an image, white on black, in RGB.

    With scikit-image installed, they are Canny's (1986), a pixel wide: brightness changes by more
    than ``high`` somewhere along an edge, and by more than ``low`` along all of it, as shares of
    the full range. Without it, Pillow's edge filter finds wider and softer ones, and all that are
    below ``low`` are left out. Raises InputError, and ImageError for the image.
    """
    low = checks.real("low", low, 0, 1)
    high = checks.real("high", high, 0, 1)
    if low > high:
        raise InputError(
            f"low ({low:g}) is above high ({high:g}): edges would begin where they end.",
            parameter="low",
        )
    grey = _grey(image)
    try:
        from skimage.feature import canny
    except ImportError:
        found = grey.filter(ImageFilter.GaussianBlur(1)).filter(ImageFilter.FIND_EDGES)
        found = ImageOps.crop(found, 1) if min(found.size) > 2 else found  # the frame is no edge
        framed = ImageOps.expand(found, (grey.width - found.width) // 2, fill=0)
        return framed.point([0 if i < 255 * low else i for i in range(256)]).convert("RGB")
    import numpy as np

    line = canny(np.asarray(grey, np.float32) / 255, low_threshold=low, high_threshold=high)
    return Image.fromarray(np.where(line, 255, 0).astype(np.uint8)).convert("RGB")


def blur(image: PictureLike, radius: float = 8.0) -> Image.Image:
    """The image, blurred by a Gaussian of that ``radius`` in pixels, 0 to 1000, in RGB.

    Raises InputError, and ImageError for the image.
    """
    radius = checks.real("radius", radius, 0, 1000)
    return as_picture(image)[0].filter(ImageFilter.GaussianBlur(radius))


def greyscale(image: PictureLike) -> Image.Image:
    """The brightness of the image (ITU-R BT.601), in RGB. Raises ImageError."""
    return _grey(image).convert("RGB")


def _grey(image: PictureLike) -> Image.Image:
    return as_picture(image)[0].convert("L")
