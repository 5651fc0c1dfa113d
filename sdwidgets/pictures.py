"""Pictures and masks as people give them, made into what a run takes. No torch here.

Nothing of a file is trusted: its kind is told from its content, its size from the header before a
pixel is read, and whatever goes wrong inside a decoder comes out as `ImageError`.
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
    """What a run begins from: an RGB ``image``, its ``mask`` (255: to be painted anew, 0: kept) or
    None, and the ``notices`` of what was done to them."""

    image: Image.Image
    mask: Image.Image | None = None
    notices: tuple[str, ...] = ()

    @classmethod
    def of(cls, image: PictureLike | None, mask: PictureLike | None = None) -> Start | None:
        """From the arguments ``image`` and ``mask`` of a run; None if neither is given.

        Files are read and decoded here. Raises ImageError, and InputError for a mask alone.
        """
        if image is None:
            if mask is not None:
                raise InputError(
                    "A mask alone says nothing: give the image it belongs to.", parameter="image"
                )
            return None
        opened, notices = as_picture(image)
        if mask is None:
            return cls(opened, None, notices)
        checked = as_mask(mask)
        _check_size(opened, checked)
        return cls(opened, checked, notices)

    def fitted(self, width: int, height: int) -> Start:
        """The same at the run's size; see `fitted`."""
        image, mask, notices = fitted(self.image, self.mask, width, height)
        return Start(image, mask, self.notices + notices)


def as_picture(value: PictureLike) -> tuple[Image.Image, tuple[str, ...]]:
    """An RGB picture, upright, and notices of what was done to it that one might not expect.

    Transparency is flattened on white, 16-bit and float pictures are scaled to 8 bits, the camera's
    orientation is applied, of an animation the first frame is taken. Raises ImageError.
    """
    picture, notices = _opened(value, "image")
    return _flat(picture, "white").convert("RGB"), notices


def as_mask(value: PictureLike) -> Image.Image:
    """A mask in mode L, each pixel 255 (to be painted anew) or 0 (kept).

    Lighter than middle grey is painted anew; so is the visible part of a transparent picture, where
    it is light. Raises ImageError.
    """
    mask, _ = _opened(value, "mask")
    grey = np.asarray(_flat(mask, "black").convert("L"))
    return Image.fromarray(np.where(grey >= 128, 255, 0).astype(np.uint8))


def fitted(
    picture: Image.Image, mask: Image.Image | None, width: int, height: int
) -> tuple[Image.Image, Image.Image | None, tuple[str, ...]]:
    """Picture and mask at the run's size: scaled to cover it, the overhang cut off evenly.

    Raises ImageError when the mask is not of the picture's size.
    """
    notices: list[str] = []
    if mask is not None:
        _check_size(picture, mask)
        low, high = mask.getextrema()
        if high == 0:
            notices.append("The mask is all black: nothing will change.")
        elif low == 255:
            notices.append("The mask is all white: nothing of the picture will be kept.")
    if picture.size != (width, height):
        notices.append(f"The picture was resized from {_size(picture)} to {width} x {height}.")
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
        if mask is not None:
            mask = ImageOps.fit(mask, (width, height), Image.Resampling.NEAREST)
    return picture, mask, tuple(notices)


def _check_size(picture: Image.Image, mask: Image.Image) -> None:
    if mask.size != picture.size:
        raise ImageError(
            f"The mask is {_size(mask)}, the picture {_size(picture)}.\n"
            "Give a mask of the picture's size.",
            parameter="mask",
        )


def _size(picture: Image.Image) -> str:
    return f"{picture.width} x {picture.height}"


def _opened(value: Any, what: str) -> tuple[Image.Image, tuple[str, ...]]:
    """The picture behind whatever was given, decoded, upright, in one of Pillow's modes."""
    try:
        with warnings.catch_warnings(), ExitStack() as opened:
            warnings.simplefilter("ignore")  # Pillow's own size warning; our limit is lower
            if isinstance(value, np.ndarray):
                picture = _from_array(value, what)
            elif isinstance(value, (str, os.PathLike)):
                path = Path(value)
                if not path.is_file():  # also keeps pipes and devices out, which may never end
                    raise ImageError(f"There is no picture file {str(path)!r}.", parameter=what)
                picture = opened.enter_context(Image.open(path, formats=FORMATS))
            elif isinstance(value, bytes):
                picture = Image.open(io.BytesIO(value), formats=FORMATS)
            elif isinstance(value, Image.Image):
                picture = value
            else:
                raise ImageError(
                    f"The {what} must be a PIL image, an array or a path, got a "
                    f"{type(value).__name__}.",
                    parameter=what,
                )
            if not 0 < picture.width * picture.height <= MAX_PIXELS:
                raise ImageError(
                    f"The {what} is {_size(picture)}; "
                    f"1 to {MAX_PIXELS // 10**6} million pixels are taken.",
                    parameter=what,
                )
            notices: tuple[str, ...] = ()
            if getattr(picture, "n_frames", 1) > 1:
                notices = (f"The {what} is animated: its first frame is used.",)
                picture = _first_frame(picture)
            picture.load()
            return ImageOps.exif_transpose(picture), notices
    except ImageError:
        raise
    except Image.DecompressionBombError:
        problem = f"it has more than {MAX_PIXELS // 10**6} million pixels"
    except Image.UnidentifiedImageError:
        problem = f"it is none of {', '.join(FORMATS)}"
    except Exception as error:  # decoders raise nearly everything on broken files
        problem = str(error) or type(error).__name__
    raise ImageError(f"The {what} cannot be read: {problem}.", parameter=what)


def _first_frame(picture: Image.Image) -> Image.Image:
    """A copy of it; the picture, which may be the caller's, stays at the frame where it is."""
    at = picture.tell()
    picture.seek(0)
    try:
        return picture.copy()
    finally:
        picture.seek(at)


def _from_array(array: np.ndarray, what: str) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(
            f"The {what} is an array {[*array.shape]}; it must be [H, W] or [H, W, 1, 3 or 4].",
            parameter=what,
        )
    if array.size == 0 or array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise ImageError(
            f"The {what} is {array.shape[1]} x {array.shape[0]}; "
            f"1 to {MAX_PIXELS // 10**6} million pixels are taken.",
            parameter=what,
        )
    if array.dtype == np.bool_:
        array = array * np.uint8(255)
    elif array.dtype == np.uint16:
        array = (array / 257).round().astype(np.uint8)
    elif array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ImageError(f"A float {what} must be within 0 and 1.", parameter=what)
        array = (array * 255).round().astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageError(
            f"The {what} is an array of {array.dtype}; give uint8, or floats from 0 to 1.",
            parameter=what,
        )
    return Image.fromarray(array)


def _flat(picture: Image.Image, background: str) -> Image.Image:
    """Eight bits a channel and no transparency."""
    if picture.mode.startswith("I"):  # 16-bit greys, in Pillow's several ways
        values = np.asarray(picture).astype(np.float64)
        values = values / 257 if values.max() > 255 else values
        picture = Image.fromarray(values.clip(0, 255).round().astype(np.uint8))
    elif picture.mode == "F":
        values = np.nan_to_num(np.asarray(picture))
        values = values * 255 if values.max() <= 1 else values
        picture = Image.fromarray(values.clip(0, 255).round().astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, background)
        picture = Image.alpha_composite(ground, picture)
    return picture
