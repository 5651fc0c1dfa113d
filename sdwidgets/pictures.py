"""Images and masks in all the forms people give them, turned into what a run takes. No torch.

Files are not trusted: the format is told by the content, the size is read from the header before
any pixel, and whatever goes wrong inside a decoder becomes an `ImageError`. How values become eight
bits depends on their type alone, never on what the values are.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageCms, ImageOps

from . import checks
from .checks import shown
from .contract import MOST_NEIGHBOURS
from .errors import ImageError, InputError
from .settings import FITS

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 40_000_000
LARGEST_NEIGHBOUR = 1024
"""Pixels along the longer side of a neighbour; larger ones are made smaller."""
NEARLY = 8  # levels of a mask that are as good as black or white

PictureLike: TypeAlias = (
    "Image.Image | np.ndarray | str | os.PathLike[str] | bytes | bytearray | memoryview"
)
"""A PIL image; an array [H, W], [H, W, 1 | 3 | 4] of uint8, uint16, bool or floats in [0, 1]; a
path; or a file's bytes."""


@dataclass(frozen=True, eq=False)
class Start:
    """What a run is given to look at: an RGB ``image``, its ``mask`` (255: repaint, 0: keep,
    greys in part), a
    ``depth`` map [H, W] float32 of any range, a ``label_map`` [H, W] uint16, a small image to
    enlarge, ``low_res``, each or None, ``neighbours``, and ``notices`` of how they were changed."""

    image: Image.Image | None
    mask: Image.Image | None = None
    notices: tuple[str, ...] = ()
    depth: np.ndarray | None = None
    label_map: np.ndarray | None = None
    low_res: Image.Image | None = None
    neighbours: tuple[Image.Image, ...] = ()

    @classmethod
    def of(
        cls,
        image: PictureLike | None,
        mask: PictureLike | None = None,
        depth: PictureLike | None = None,
        label_map: PictureLike | None = None,
        low_res: PictureLike | None = None,
        neighbours: Sequence[PictureLike] | None = None,
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
        near, notices = as_neighbours(neighbours)
        opened, small = None, None
        if image is not None:
            opened, said = as_picture(image)
            notices = said + notices
        if low_res is not None:
            small, said = _read(low_res, "low_res", "white")
            notices += said
        checked = None if mask is None else as_mask(mask)
        if opened is not None and checked is not None:
            check_mask(opened, checked)
        start = cls(
            opened,
            checked,
            notices,
            None if depth is None else as_depth(depth),
            None if label_map is None else as_label_map(label_map),
            small,
            near,
        )
        return start if start.has_any else None

    @property
    def has_any(self) -> bool:
        """Whether there is anything to look at."""
        given = (self.image, self.depth, self.label_map, self.low_res)
        return bool(self.neighbours) or any(one is not None for one in given)

    def with_small_image(self) -> Start:
        """The same for a model that enlarges an image, which is the ``image`` then."""
        return self if self.low_res is None else replace(self, image=self.low_res, low_res=None)

    def fitted(
        self, width: int, height: int, fit: str = FITS[0], canvas: tuple[int, int] | None = None
    ) -> Start:
        """Image and mask at that size, see `fitted`, and the depth map in the shape, the label map
        at the size, of the whole ``canvas``, where the image is only a part of it."""
        image, mask, depth, notices = self.image, self.mask, self.depth, self.notices
        if image is not None:
            if canvas is not None and mask is not None and mask.getextrema()[1] == 0:
                mask = None  # it adds nothing to the canvas's own
            image, mask, more = fitted(image, mask, width, height, fit)
            notices += more
        if depth is not None:
            depth = in_shape(depth, *(canvas or (width, height)), fit)
        label_map = self.label_map
        if label_map is not None:
            label_map = map_at(label_map, *(canvas or (width, height)), fit)
        return replace(
            self, image=image, mask=mask, notices=notices, depth=depth, label_map=label_map
        )


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


def is_transparent(value: PictureLike) -> bool:
    """Whether an image has transparent parts, which `as_picture` shows on white. Raises
    ImageError."""
    if isinstance(value, np.ndarray):
        value = _from_array(value, "image")
    return as_picture(value)[0] != _read(value, "image", "black")[0]


def as_mask(value: PictureLike) -> Image.Image:
    """A mask in mode L, as a run takes it: 255 is repainted, 0 is kept, and greys in part.

    What is within 8 levels of black or white counts as that: JPEG files have neither exactly.
    Transparent pixels count as black. Raises ImageError.
    """
    return as_soft_mask(value).point(
        [0 if i <= NEARLY else 255 if i >= 255 - NEARLY else i for i in range(256)]
    )


def as_soft_mask(value: PictureLike) -> Image.Image:
    """A mask in mode L with all its levels. Transparent pixels count as black. Raises
    ImageError."""
    return _read(value, "mask", "black")[0].convert("L")


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


def as_label_map(value: PictureLike) -> np.ndarray:
    """A label map [H, W] uint16: the number of the class of each pixel.

    An array [H, W] of whole numbers, or an image whose greys, or colours of its palette, are the
    numbers. Raises ImageError.
    """
    if isinstance(value, (str, bytes, bytearray, memoryview, os.PathLike)):
        value = _numbers_in(value)
    elif isinstance(value, Image.Image):
        _check_pixels(value.width, value.height, "label_map")
        value = _greys(value)
    if not (isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "biuf"):
        what = f"{value.dtype} {[*value.shape]}" if isinstance(value, np.ndarray) else shown(value)
        raise ImageError(
            f"A label map is an array [H, W] of whole numbers, got {what}.\n"
            "model.classes are the names of the numbers.",
            parameter="label_map",
        )
    _check_pixels(value.shape[1], value.shape[0], "label_map")
    with np.errstate(invalid="ignore"):
        numbers = value.astype(np.uint16)
    if not np.array_equal(numbers, value):
        raise ImageError(
            "A label map has whole numbers from 0 to 65,535, those of classes.\n"
            "model.classes are their names.",
            parameter="label_map",
        )
    return numbers


def _numbers_in(source: Any) -> np.ndarray:
    """The numbers in an image file."""
    if not isinstance(source, (str, os.PathLike)):
        source = io.BytesIO(source)
    elif not Path(source).is_file():  # excludes pipes and devices, which may never end
        raise ImageError(f"There is no image file {str(source)!r}.", parameter="label_map")
    try:
        with warnings.catch_warnings(), Image.open(source, formats=FORMATS) as image:
            warnings.simplefilter("ignore")
            _check_pixels(image.width, image.height, "label_map")
            return _greys(image)
    except ImageError:
        raise
    except Exception as error:  # decoders raise almost anything on broken files
        problem = checks.shortened(str(error).split("\n")[0], 200) or type(error).__name__
    raise ImageError(f"The label map cannot be read: {problem}.", parameter="label_map")


def _greys(image: Image.Image) -> np.ndarray:
    if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
        raise ImageError(
            f"A label map has a number for each pixel; this image has the mode {image.mode}.\n"
            "Give an array [H, W], or an image of greys or with a palette.",
            parameter="label_map",
        )
    return np.asarray(image)


def map_at(label_map: np.ndarray, width: int, height: int, fit: str = FITS[0]) -> np.ndarray:
    """A label map [H, W] at the size of an image: in its shape, see `in_shape`, and then of each
    pixel the nearest number."""
    shaped = in_shape(label_map, width, height, fit)
    h, w = shaped.shape
    rows, columns = np.arange(height) * h // height, np.arange(width) * w // width
    return shaped[rows[:, None], columns]


def as_neighbours(
    value: Sequence[PictureLike] | None,
) -> tuple[tuple[Image.Image, ...], tuple[str, ...]]:
    """RGB images like the one to make, and notices; larger ones are made smaller. Raises
    InputError for no list, ImageError."""
    if value is None:
        return (), ()
    if not isinstance(value, (list, tuple)) or len(value) > MOST_NEIGHBOURS:
        raise InputError(
            f"neighbours must be a list of at most {MOST_NEIGHBOURS} images, got {shown(value)}.",
            parameter="neighbours",
        )
    images: list[Image.Image] = []
    notices: list[str] = []
    for each in value:
        image, said = _read(each, "neighbours", "white")
        image.thumbnail((LARGEST_NEIGHBOUR,) * 2, Image.Resampling.LANCZOS)
        images.append(image)
        notices += said
    return tuple(images), tuple(dict.fromkeys(notices))


def in_shape(depth: np.ndarray, width: int, height: int, fit: str = FITS[0]) -> np.ndarray:
    """A depth or label map [H, W] in the shape of an image, at its own scale.

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
        check_mask(image, mask)
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
    made = mask and resized_mask(mask, size, fit)
    smooth = Image.Resampling.LANCZOS
    if fit == "crop":
        return ImageOps.fit(image, size, smooth), made
    inside = size if fit == "stretch" else _inside(image.size, size)
    image = image.resize(inside, smooth)
    if inside != size:
        left, top, right, bottom = _around(inside, size)
        beyond = ((top, bottom), (left, right), (0, 0))
        image = Image.fromarray(np.pad(np.asarray(image), beyond, mode="edge"))
    return image, made


def resized_mask(mask: Image.Image, size: tuple[int, int], fit: str = FITS[0]) -> Image.Image:
    """A mask at the run's size, as `fitted` makes it beside its image."""
    checks.choice("fit", fit, FITS)
    sharp = Image.Resampling.NEAREST
    if fit == "crop":
        return ImageOps.fit(mask, size, sharp)
    inside = size if fit == "stretch" else _inside(mask.size, size)
    return ImageOps.expand(mask.resize(inside, sharp), _around(inside, size), fill=255)


def _around(inside: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The pixels on the left, top, right and bottom of an image in the middle of a larger size."""
    left, top = ((outer - inner) // 2 for outer, inner in zip(size, inside, strict=True))
    return left, top, size[0] - inside[0] - left, size[1] - inside[1] - top


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


def check_mask(image: Image.Image, mask: Image.Image) -> None:
    """Raise ImageError if the mask has another size than its image."""
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
