"""Pictures out of a run: cheap previews of latents, and PNG files that know their settings.

A preview is one small matrix product: red, green and blue are about linear in the latents of a KL
autoencoder. At the latents' own size it costs microseconds; decoding costs a network.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import secrets
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from ..errors import ImageError, InputError
from ..pictures import FORMATS
from ..settings import PROMPT_LENGTH, Settings
from ..sources import MOST, NAME_LIMIT
from .step import as_array

# Stable Diffusion 1's latents to RGB in [-1, 1], fitted by Keturn ("Decoding latents to RGB without
# upscaling", discuss.huggingface.co/t/23204); a row a channel, then the constant.
SD1_PREVIEW = np.array(
    [
        [0.298, 0.207, 0.208],
        [0.187, 0.286, 0.173],
        [-0.158, 0.189, 0.264],
        [-0.184, -0.271, -0.473],
        [0, 0, 0],
    ],
    dtype=np.float32,
)
"""Preview factors [4 + 1, 3] of Stable Diffusion 1 and 2; see `preview_rgb`."""

TEXT_KEY = "sdwidgets"
# Characters of a record in a file: two prompts, what was cut, the names of sources (a character may
# take six, "\u0000"), and the rest.
_MAX_TEXT = 6 * (3 * PROMPT_LENGTH + MOST * NAME_LIMIT) + (1 << 16)


def fit_preview(latents: Any, pictures: Any) -> np.ndarray:
    """The preview factors [C + 1, 3] that fit best, by least squares.

    latents [B, C, h, w] and the pictures [B, 3, f * h, f * w] in [-1, 1] they stand for, as
    tensors or arrays.
    """
    z, rgb = as_array(latents), as_array(pictures)
    batch, channels, height, width = z.shape
    factor = rgb.shape[-1] // width
    blocks = rgb.reshape(batch, 3, height, factor, width, factor)
    small = blocks.mean((3, 5)).clip(-1, 1)  # [B, 3, h, w]
    known = z.transpose(0, 2, 3, 1).reshape(-1, channels)  # [Bhw, C]
    known = np.concatenate([known, np.ones_like(known[:, :1])], axis=1)
    wanted = small.transpose(0, 2, 3, 1).reshape(-1, 3)  # [Bhw, 3]
    return np.linalg.lstsq(known, wanted, rcond=None)[0].astype(np.float32)


def preview_rgb(latents: Any, factors: np.ndarray, *, sigma: float = 0.0) -> np.ndarray:
    """uint8 [B, h, w, 3]: a picture of latents [B, C, h, w], at their own size.

    ``latents``: a tensor or an array. ``factors`` [C + 1, 3]: one row a channel, then the
    constant; red, green, blue in [-1, 1]. Noisy latents, ``x = x0 + sigma * noise``, are first
    brought to unit variance.
    """
    x = as_array(latents).transpose(0, 2, 3, 1) / math.sqrt(1 + sigma**2)
    rgb = x @ factors[:-1] + factors[-1]
    return ((np.nan_to_num(rgb) + 1) * 127.5).round().clip(0, 255).astype(np.uint8)


def encode_jpeg(picture: np.ndarray | Image.Image, *, quality: int = 90) -> bytes:
    """The bytes of a JPEG of a picture, uint8 [H, W, 3] or PIL; colours at full resolution."""
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    buffer = io.BytesIO()
    # previews are a few dozen pixels wide: halved colours would show
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def encode_png(picture: Image.Image, record: dict[str, Any] | None = None) -> bytes:
    """The bytes of a PNG, with the record as JSON in an international text chunk "sdwidgets"."""
    info = PngImagePlugin.PngInfo()
    if record is not None:
        text = json.dumps(record, ensure_ascii=False)
        # half a character (in a file's name, say) has no UTF-8; JSON can spell it
        text = re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)
        info.add_itxt(TEXT_KEY, text)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def read_record(source: str | os.PathLike[str] | bytes) -> dict[str, Any] | None:
    """The record inside a PNG (path or bytes) as `Trace.record` wrote it, or None. ImageError.

    Plain data and not to be trusted: ``Settings(**record["settings"]).checked(config)`` says
    whether it will do.
    """
    try:
        if not isinstance(source, bytes) and not Path(source).is_file():  # a pipe may never end
            raise FileNotFoundError("there is no such file")
        file = io.BytesIO(source) if isinstance(source, bytes) else Path(source)
        with Image.open(file, formats=FORMATS) as image:
            text = image.info.get(TEXT_KEY)
        if not isinstance(text, str) or len(text) > _MAX_TEXT:
            return None
        record = json.loads(text)
    except Exception as error:  # decoders raise nearly everything on broken files
        problem = str(error) or type(error).__name__
    else:
        return record if isinstance(record, dict) else None
    raise ImageError(f"No settings can be read from this picture: {problem}.", parameter="image")


def read_settings(source: str | os.PathLike[str] | bytes, *, partial: bool = False) -> Settings:
    """The settings inside a PNG (path or bytes) that `Trace.save_image` or the Studio wrote.

    ``model.generate(**read_settings("cat.png").as_dict())`` makes the picture again, with the model
    that `read_record` names; of a run that was stopped, the picture it would have become.

    A picture, a mask or latents that were given beside them are not in the file. Settings that
    need them are only returned if ``partial``: for ``generate(image=..., **settings.as_dict())``.

    Raises ImageError where there are none; InputError where more is needed, and where they are no
    settings that a run takes.
    """
    record = read_record(source)
    settings = record.get("settings") if record else None
    if record is None or not isinstance(settings, dict):
        raise ImageError("This picture has no settings inside.", parameter="image")
    needed = _given(record)
    if needed and not partial:
        raise InputError(
            f"This picture was made of more than settings: also given {' and '.join(needed)}.\n"
            "Take read_settings(..., partial=True), and give the same again.",
            parameter="partial",
        )
    known = {each.name for each in fields(Settings)}
    # a file of a newer version may say more; lists are what JSON makes of tuples
    return Settings(**{name: value for name, value in settings.items() if name in known}).checked()


def _given(record: dict[str, Any]) -> list[str]:
    """What a run was given beside its settings, by what its record says and by its task."""
    said, task = record.get("given"), record.get("task")
    by_task = {"image to image": ["image"], "inpainting": ["image", "mask"]}
    needed = [*(said if isinstance(said, list) else []), *by_task.get(str(task), [])]
    return [name for name in ("image", "mask", "latents") if name in needed]


def write_file(path: str | os.PathLike[str], content: bytes, *, mode: int | None = None) -> Path:
    """Write a file whole or not at all: a failure leaves an older file as it was.

    ``mode``: its permissions, where the disk knows any; the usual ones if None. Raises InputError,
    with the path and the reason.
    """
    path = Path(path)
    if _is_special(path):
        raise InputError(
            f"{str(path)!r} is no file that could be replaced.\nGive another name.",
            parameter="path",
        )
    temporary = path.parent / f".{path.name[:50]}.{secrets.token_hex(8)}"
    try:
        try:
            with open(temporary, "xb") as file:
                if mode is not None:
                    with suppress(OSError):  # before there is anything to be read
                        os.chmod(temporary, mode)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError, ValueError):
                temporary.unlink()
            raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{str(path)!r} could not be written: {why}.", parameter="path") from error
    with suppress(OSError):  # not on Windows, nor on every network's disk; the file is there
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return path


def _is_special(path: Path) -> bool:
    """Whether there is something of that name, a folder or a device, that is no file."""
    try:
        return path.exists() and not path.is_file()
    except (OSError, ValueError):  # said when it is written
        return False
