"""Images and masks in all the forms people give them, turned into what a run takes. No torch.

Files are not trusted: the format is told by the content, the size is read from the header before
any pixel, and whatever goes wrong inside a decoder becomes an `ImageError`. How values become eight
bits depends on their type alone, never on what the values are.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageCms, ImageOps

from . import checks
from .errors import ImageError, InputError
from .settings import FITS

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 40_000_000

PictureLike: TypeAlias = (
    "Image.Image | np.ndarray | str | os.PathLike[str] | bytes | bytearray | memoryview"
)
"""A PIL image; an array [H, W], [H, W, 1 | 3 | 4] of uint8, uint16, bool or floats in [0, 1]; a
path; or a file's bytes."""


@dataclass(frozen=True, eq=False)
class Start:
    """What a run is given to look at: an RGB ``image``, its ``mask`` (255: repaint, 0: keep), a
    ``depth`` map [H, W] float32 of any range, each or None, and ``notices`` of how they were
    changed."""

    image: Image.Image | None
    mask: Image.Image | None = None
    notices: tuple[str, ...] = ()
    depth: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        image: PictureLike | None,
        mask: PictureLike | None = None,
        depth: PictureLike | None = None,
    ) -> Start | None:
        """The start for a run's arguments of these names; None if all are None.

        Files are read and decoded here. Raises ImageError, and InputError for a mask without an
        image.
        """
        if image is None and mask is not None:
            raise InputError(
                "A mask was given without an image.\nGive the image that it belongs to.",
                parameter="image",
            )
        if image is None and depth is None:
            return None
        opened, notices = (None, ()) if image is None else as_picture(image)
        checked = None if mask is None else as_mask(mask)
        if opened is not None and checked is not None:
            _check_size(opened, checked)
        return cls(opened, checked, notices, None if depth is None else as_depth(depth))

    def fitted(self, width: int, height: int, fit: str = FITS[0]) -> Start:
        """Image and mask at the run's size, see `fitted`, and the depth map in its shape."""
        image, mask, depth, notices = self.image, self.mask, self.depth, self.notices
        if image is not None:
            image, mask, more = fitted(image, mask, width, height, fit)
            notices += more
        if depth is not None:
            depth = in_shape(depth, width, height, fit)
        return Start(image, mask, notices, depth)


@contextmanager
def opened_for_settings(source: str | os.PathLike[str] | bytes) -> Iterator[Image.Image]:
    """An open image file (path or bytes), whose pixels have not been decoded.

    Raises ImageError for a file that is no image, and for whatever goes wrong as it is read.
    """
    try:
        if not isinstance(source, bytes) and not Path(source).is_file():  # a pipe may never end
            raise FileNotFoundError("there is no such file")
        file = io.BytesIO(source) if isinstance(source, bytes) else Path(source)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own, of what is never read here
            with Image.open(file, formats=FORMATS) as image:
                yield image
    except Exception as error:  # decoders raise nearly everything on broken files
        problem = str(error) or type(error).__name__
    else:
        return
    raise ImageError(f"No settings can be read from this image: {problem}.", parameter="image")


def as_picture(value: PictureLike) -> tuple[Image.Image, tuple[str, ...]]:
    """An upright RGB image without metadata, and notices of changes that might surprise.

    Transparency is flattened on white, the camera's orientation is applied, and only the first
    frame of an animation is used. 16 bits are read as 0 to 65,535, floats as 0 to 1. Raises
    ImageError.
    """
    return _read(value, "image", "white")


def as_mask(value: PictureLike) -> Image.Image:
    """A mask in mode L: each pixel is 255 (repaint) or 0 (keep).

    Pixels lighter than middle grey are repainted. Transparent pixels count as black. Raises
    ImageError.
    """
    grey = np.asarray(_read(value, "mask", "black")[0].convert("L"))
    return Image.fromarray(np.where(grey >= 128, 255, 0).astype(np.uint8))


def as_depth(value: PictureLike) -> np.ndarray:
    """A depth map [H, W] float32, of any range: high values are near.

    An array [H, W] of numbers is taken as it is, an image by its greys. Raises ImageError.
    """
    if isinstance(value, Image.Image) and value.mode[0] in "IF":  # more levels than eight bits have
        _check_pixels(value.width, value.height, "depth")
        try:
            value = np.asarray(value)
        except Exception as error:  # decoders raise almost anything on broken files
            problem = checks.shortened(str(error).split("\n")[0], 200)
            raise ImageError(f"The depth cannot be read: {problem}.", parameter="depth") from None
    if isinstance(value, np.ndarray) and value.ndim == 3 and value.shape[2] == 1:
        value = value[:, :, 0]
    if not (isinstance(value, np.ndarray) and value.ndim == 2):
        return np.asarray(_read(value, "depth", "black")[0].convert("L"), np.float32)
    _check_pixels(value.shape[1], value.shape[0], "depth")
    depth = np.array(value, np.float32) if value.dtype.kind in "biuf" else None
    if depth is None or not np.isfinite(depth).all():
        raise ImageError(
            f"The depth is an array of {value.dtype}; give finite numbers.", parameter="depth"
        )
    return depth


def in_shape(depth: np.ndarray, width: int, height: int, fit: str = FITS[0]) -> np.ndarray:
    """A depth map [H, W] in the shape of an image ``width`` x ``height``, at its own scale.

    As `fitted`: its outer parts are cut off ("crop"), its edges repeated ("pad"), or it stays as it
    is, for the network to stretch.
    """
    checks.choice("fit", fit, FITS)
    h, w = depth.shape
    if fit == "crop":
        rows, columns = (
            min(h, max(round(w * height / width), 1)),
            min(w, max(round(h * width / height), 1)),
        )
        top, left = (h - rows) // 2, (w - columns) // 2
        return depth[top : top + rows, left : left + columns]
    if fit == "pad":
        rows, columns = max(h, round(w * height / width)), max(w, round(h * width / height))
        top, left = (rows - h) // 2, (columns - w) // 2
        return np.pad(depth, ((top, rows - h - top), (left, columns - w - left)), mode="edge")
    return depth


def fitted(
    image: Image.Image, mask: Image.Image | None, width: int, height: int, fit: str = FITS[0]
) -> tuple[Image.Image, Image.Image | None, tuple[str, ...]]:
    """Image and mask at the run's size, and notices of what was done.

    ``fit`` is for an image of another shape. "crop": it is scaled to cover the size, and what
    stands out on both sides is cut off. "pad": it is scaled to lie inside; its edges are repeated
    beyond it, and a mask repaints that part. "stretch": it is distorted.

    Raises ImageError if the mask has another size than the image.
    """
    checks.choice("fit", fit, FITS)
    notices: list[str] = []
    if mask is not None:
        _check_size(image, mask)
    if image.size != (width, height):
        notices.append(_fit_notice(image, (width, height), fit))
        image, mask = _resized(image, mask, (width, height), fit)
    if mask is not None:
        low, high = mask.getextrema()
        if high == 0:
            notices.insert(0, "The mask is all black: nothing will change.")
        elif low == 255:
            notices.insert(0, "The mask is all white: nothing of the image will be kept.")
    return image, mask, tuple(notices)


def _resized(
    image: Image.Image, mask: Image.Image | None, size: tuple[int, int], fit: str
) -> tuple[Image.Image, Image.Image | None]:
    smooth, sharp = Image.Resampling.LANCZOS, Image.Resampling.NEAREST
    if fit == "crop":
        return ImageOps.fit(image, size, smooth), mask and ImageOps.fit(mask, size, sharp)
    inside = size if fit == "stretch" else _inside(image.size, size)
    image, mask = image.resize(inside, smooth), mask and mask.resize(inside, sharp)
    if inside == size:
        return image, mask
    left, top = ((outer - inner) // 2 for outer, inner in zip(size, inside, strict=True))
    right, bottom = size[0] - inside[0] - left, size[1] - inside[1] - top
    around = ((top, bottom), (left, right))
    padded = Image.fromarray(np.pad(np.asarray(image), (*around, (0, 0)), mode="edge"))
    if mask is not None:
        mask = ImageOps.expand(mask, (left, top, right, bottom), fill=255)
    return padded, mask


def _inside(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The largest size of that shape inside the box."""
    scale = min(outer / inner for outer, inner in zip(box, size, strict=True))
    width, height = (max(round(inner * scale), 1) for inner in size)
    return min(width, box[0]), min(height, box[1])


def _fit_notice(image: Image.Image, size: tuple[int, int], fit: str) -> str:
    width, height = size
    said = f"The image was resized from {_size(image)} to {width} x {height}"
    if _inside(image.size, size) == size:  # of the same shape
        return f"{said}."
    if fit == "stretch":
        return f"{said} and distorted: it has another shape."
    wide = image.width * height > image.height * width
    if fit == "pad":
        return f"{said}; {'above and below' if wide else 'left and right'}, its edge is repeated."
    share = image.height * width / (image.width * height)
    lost = 1 - (share if wide else 1 / share)
    sides = "left and right" if wide else "top and bottom"
    return f"{said}; {max(lost, 0.01):.0%} of it was cut off, {sides}."


def _check_size(image: Image.Image, mask: Image.Image) -> None:
    if mask.size != image.size:
        raise ImageError(
            f"The mask is {_size(mask)}, the image is {_size(image)}.\n"
            "Give a mask of the same size as the image.",
            parameter="mask",
        )


def _size(image: Image.Image) -> str:
    return f"{image.width} x {image.height}"


# ------------------------------------------------------------------------------- what is given


def _read(value: Any, what: str, ground: str) -> tuple[Image.Image, tuple[str, ...]]:
    """Any accepted value in RGB, upright, over ``ground`` where it is transparent; and notices."""
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
            elif isinstance(value, (bytes, bytearray, memoryview)):
                image = Image.open(io.BytesIO(value), formats=FORMATS)
            elif isinstance(value, Image.Image):
                image = value
            else:
                raise ImageError(
                    f"The {what} must be a PIL image, an array, a path or bytes, got a "
                    f"{type(value).__name__}.",
                    parameter=what,
                )
            _check_pixels(image.width, image.height, what)
            image, notices = _first_frame(image, what)
            image.load()
            rgb = _over(_eight_bits(image, what), ground)
            turn = _TURNS.get(_orientation(image))
            rgb = rgb if turn is None else rgb.transpose(turn)
            rgb.info = {}  # may be large, and may say where a photograph was taken
            return rgb, notices
    except ImageError:
        raise
    except Image.DecompressionBombError:
        problem = f"it has more than {MAX_PIXELS // 10**6} million pixels"
    except Image.UnidentifiedImageError:
        problem = f"its format is none of {', '.join(FORMATS)}"
    except Exception as error:  # decoders raise almost anything on broken files
        problem = checks.shortened(str(error).split("\n")[0], 200) or type(error).__name__
    raise ImageError(f"The {what} cannot be read: {problem}.", parameter=what)


def _check_pixels(width: int, height: int, what: str) -> None:
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise ImageError(
            f"The {what} is {width} x {height}; "
            f"the limits are 1 and {MAX_PIXELS // 10**6} million pixels.",
            parameter=what,
        )


def _first_frame(image: Image.Image, what: str) -> tuple[Image.Image, tuple[str, ...]]:
    """The first frame, and a notice if there are more.

    It is a copy of an animation's; the image, which may be the caller's, stays at its frame.
    """
    if not getattr(image, "is_animated", False):
        return image, ()
    # the other images of a photograph (MPO) are of the camera: depth, gain, a second lens
    notices = (
        () if image.format == "MPO" else (f"The {what} is animated: its first frame is used.",)
    )
    at = image.tell()
    try:
        image.seek(0)
    except EOFError:  # some formats (PSD) count from 1, and are at their whole image
        return image, notices
    try:
        return image.copy(), notices
    finally:
        image.seek(at)


_ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _orientation(image: Image.Image) -> int:
    """How the camera was held, as in EXIF; 1, upright, where that is not known."""
    try:
        value = image.getexif().get(_ORIENTATION)
    except Exception:  # the pixels are right, whatever is wrong with the metadata
        return 1
    return value if isinstance(value, int) else 1


# ----------------------------------------------------------------------------------- to 8 bits


def _from_array(given: np.ndarray, what: str) -> Image.Image:
    array = np.asarray(given)
    if np.ma.is_masked(given):
        raise ImageError(f"The {what} has masked values.\nFill them first.", parameter=what)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(
            f"The {what} is an array of shape {[*array.shape]}; it must be [H, W] or "
            "[H, W, 1, 3 or 4].",
            parameter=what,
        )
    _check_pixels(array.shape[1], array.shape[0], what)
    return Image.fromarray(_levels(array, what))


def _levels(values: np.ndarray, what: str) -> np.ndarray:
    """uint8 of bool, uint8, uint16 (0 to 65,535) or floats (0 to 1)."""
    kind, width = values.dtype.kind, values.dtype.itemsize
    if kind == "b":
        return values * np.uint8(255)
    if (kind, width) == ("u", 1):
        return values
    if (kind, width) == ("u", 2):  # in either order of bytes
        return (values / np.float32(257)).round().astype(np.uint8)
    if kind != "f":
        raise ImageError(
            f"The {what} is an array of {values.dtype}; give uint8, or floats from 0 to 1.",
            parameter=what,
        )
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # NaN is not
        raise ImageError(
            f"A float {what} must be between 0 and 1; this has {low:g} to {high:g}.\n"
            "Divide it by its greatest possible value.",
            parameter=what,
        )
    return (values * 255).round().astype(np.uint8)


def _eight_bits(image: Image.Image, what: str) -> Image.Image:
    """The image as RGB or, if anything in it may be transparent, as RGBA."""
    mode = image.mode
    key = _transparency(image)
    if mode == "F":
        return Image.fromarray(_levels(np.asarray(image), what)).convert("RGB")
    if mode.startswith("I"):  # 16-bit grey, for which Pillow has several modes
        values = np.asarray(image)
        # "I" has 32 bits, and holds 16-bit files
        levels = _levels(values.clip(0, 65535).astype(np.uint16), what)
        grey = Image.fromarray(levels)
        if key is None:
            return grey.convert("RGB")
        return Image.merge(
            "RGBA", (grey, grey, grey, Image.fromarray(_levels(values != key, what)))
        )
    if mode == "LAB":
        to_rgb = ImageCms.buildTransform(
            ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
        )
        return ImageCms.applyTransform(image, to_rgb) or image
    if key is None and "transparency" in image.info:
        image = image.copy()  # the caller's stays as it is
        del image.info["transparency"]
    if mode == "La":
        image = image.convert("LA")
    transparent = key is not None or mode in ("LA", "La", "PA", "RGBA", "RGBa")
    return image.convert("RGBA" if transparent or mode == "P" else "RGB")


def _transparency(image: Image.Image) -> Any:
    """The colour that is transparent (of a palette perhaps several); None for none.

    It comes from a file or from the caller, in any type; what does not fit the mode is left out, as
    PNG decoders do.
    """
    key, mode = image.info.get("transparency"), image.mode
    if mode == "P":
        fits = isinstance(key, bytes) and len(key) <= 256
        return key if fits or _is_level(key, 255) else None
    if mode == "RGB":
        fits = isinstance(key, tuple) and len(key) == 3 and all(_is_level(one, 255) for one in key)
        return key if fits else None
    most = 255 if mode in ("1", "L") else 65535 if mode.startswith("I") else -1
    return key if _is_level(key, most) else None


def _is_level(value: Any, most: int) -> bool:
    return checks.is_whole(value) and 0 <= value <= most


def _over(image: Image.Image, ground: str) -> Image.Image:
    """The image in RGB, on a ground of one colour where it is transparent."""
    if image.mode == "RGB":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, ground), image).convert("RGB")
