"""Images and masks in all the forms people give them, turned into what a run takes. No torch.

Files are not trusted: the format is told by the content, the size is read from the header before
any pixel, and whatever goes wrong inside a decoder becomes an `ImageError`.
"""

from __future__ import annotations

import io
import os
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageOps

from .errors import ImageError, InputError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 40_000_000

PictureLike: TypeAlias = "Image.Image | np.ndarray | str | os.PathLike[str] | bytes"
"""A PIL image; an array [H, W], [H, W, 1 | 3 | 4] of uint8, uint16, bool or floats in [0, 1]; a
path; or a file's bytes."""


@dataclass(frozen=True, eq=False)
class Start:
    """What a run begins from: an RGB ``image``, its ``mask`` (255: repaint, 0: keep) or None, and
    ``notices`` of how they were changed."""

    image: Image.Image
    mask: Image.Image | None = None
    notices: tuple[str, ...] = ()

    @classmethod
    def of(cls, image: PictureLike | None, mask: PictureLike | None = None) -> Start | None:
        """The start for a run's arguments ``image`` and ``mask``; None if both are None.

        Files are read and decoded here. Raises ImageError, and InputError for a mask without an
        image.
        """
        if image is None:
            if mask is not None:
                raise InputError(
                    "A mask was given without an image.\nGive the image that it belongs to.",
                    parameter="image",
                )
            return None
        opened, notices = as_picture(image)
        if mask is None:
            return cls(opened, None, notices)
        checked = as_mask(mask)
        _check_size(opened, checked)
        return cls(opened, checked, notices)

    def fitted(self, width: int, height: int) -> Start:
        """Image and mask at the run's size; see `fitted`."""
        image, mask, notices = fitted(self.image, self.mask, width, height)
        return Start(image, mask, self.notices + notices)


def as_picture(value: PictureLike) -> tuple[Image.Image, tuple[str, ...]]:
    """An upright RGB image, and notices of changes that might surprise.

    Transparency is flattened on white, 16-bit and float images are scaled to 8 bits, the camera's
    orientation is applied, and only the first frame of an animation is used. Raises ImageError.
    """
    image, notices = _opened(value, "image")
    return _flat(image, "white").convert("RGB"), notices


def as_mask(value: PictureLike) -> Image.Image:
    """A mask in mode L: each pixel is 255 (repaint) or 0 (keep).

    Pixels lighter than middle grey are repainted. Transparent pixels count as black. Raises
    ImageError.
    """
    mask, _ = _opened(value, "mask")
    grey = np.asarray(_flat(mask, "black").convert("L"))
    return Image.fromarray(np.where(grey >= 128, 255, 0).astype(np.uint8))


def fitted(
    image: Image.Image, mask: Image.Image | None, width: int, height: int
) -> tuple[Image.Image, Image.Image | None, tuple[str, ...]]:
    """Image and mask at the run's size: scaled to cover it, then cropped around the centre.

    Also returns notices. Raises ImageError if the mask has another size than the image.
    """
    notices: list[str] = []
    if mask is not None:
        _check_size(image, mask)
        low, high = mask.getextrema()
        if high == 0:
            notices.append("The mask is all black: nothing will change.")
        elif low == 255:
            notices.append("The mask is all white: nothing of the image will be kept.")
    if image.size != (width, height):
        notices.append(f"The image was resized from {_size(image)} to {width} x {height}.")
        image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
        if mask is not None:
            mask = ImageOps.fit(mask, (width, height), Image.Resampling.NEAREST)
    return image, mask, tuple(notices)


def _check_size(image: Image.Image, mask: Image.Image) -> None:
    if mask.size != image.size:
        raise ImageError(
            f"The mask is {_size(mask)}, the image is {_size(image)}.\n"
            "Give a mask of the same size as the image.",
            parameter="mask",
        )


def _size(image: Image.Image) -> str:
    return f"{image.width} x {image.height}"


def _opened(value: Any, what: str) -> tuple[Image.Image, tuple[str, ...]]:
    """Return any accepted value as a decoded, upright image in one of Pillow's modes."""
    try:
        with warnings.catch_warnings(), ExitStack() as opened:
            warnings.simplefilter("ignore")  # Pillow's own size warning; our limit is lower
            if isinstance(value, np.ndarray):
                image = _from_array(value, what)
            elif isinstance(value, (str, os.PathLike)):
                path = Path(value)
                if not path.is_file():  # excludes pipes and devices, which may never end
                    raise ImageError(f"There is no image file {str(path)!r}.", parameter=what)
                image = opened.enter_context(Image.open(path, formats=FORMATS))
            elif isinstance(value, bytes):
                image = Image.open(io.BytesIO(value), formats=FORMATS)
            elif isinstance(value, Image.Image):
                image = value
            else:
                raise ImageError(
                    f"The {what} must be a PIL image, an array, a path or bytes, got a "
                    f"{type(value).__name__}.",
                    parameter=what,
                )
            if not 0 < image.width * image.height <= MAX_PIXELS:
                raise ImageError(
                    f"The {what} is {_size(image)}; "
                    f"the limits are 1 and {MAX_PIXELS // 10**6} million pixels.",
                    parameter=what,
                )
            notices: tuple[str, ...] = ()
            if getattr(image, "n_frames", 1) > 1:
                notices = (f"The {what} is animated: its first frame is used.",)
                image = _first_frame(image)
            image.load()
            return ImageOps.exif_transpose(image), notices
    except ImageError:
        raise
    except Image.DecompressionBombError:
        problem = f"it has more than {MAX_PIXELS // 10**6} million pixels"
    except Image.UnidentifiedImageError:
        problem = f"its format is none of {', '.join(FORMATS)}"
    except Exception as error:  # decoders raise almost anything on broken files
        problem = str(error) or type(error).__name__
    raise ImageError(f"The {what} cannot be read: {problem}.", parameter=what)


def _first_frame(image: Image.Image) -> Image.Image:
    """A copy of the first frame; the image, which may be the caller's, stays at its frame."""
    at = image.tell()
    image.seek(0)
    try:
        return image.copy()
    finally:
        image.seek(at)


def _from_array(array: np.ndarray, what: str) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(
            f"The {what} is an array of shape {[*array.shape]}; it must be [H, W] or "
            "[H, W, 1, 3 or 4].",
            parameter=what,
        )
    if array.size == 0 or array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise ImageError(
            f"The {what} is {array.shape[1]} x {array.shape[0]}; "
            f"the limits are 1 and {MAX_PIXELS // 10**6} million pixels.",
            parameter=what,
        )
    if array.dtype == np.bool_:
        array = array * np.uint8(255)
    elif array.dtype == np.uint16:
        array = (array / 257).round().astype(np.uint8)
    elif array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ImageError(f"A float {what} must be between 0 and 1.", parameter=what)
        array = (array * 255).round().astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageError(
            f"The {what} is an array of {array.dtype}; give uint8, or floats from 0 to 1.",
            parameter=what,
        )
    return Image.fromarray(array)


def _flat(image: Image.Image, background: str) -> Image.Image:
    """The image with eight bits per channel and without transparency."""
    if image.mode.startswith("I"):  # 16-bit grey, for which Pillow has several modes
        values = np.asarray(image).astype(np.float64)
        values = values / 257 if values.max() > 255 else values
        image = Image.fromarray(values.clip(0, 255).round().astype(np.uint8))
    elif image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        values = values * 255 if values.max() <= 1 else values
        image = Image.fromarray(values.clip(0, 255).round().astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, background)
        image = Image.alpha_composite(ground, image)
    return image
