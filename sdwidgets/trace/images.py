"""Pictures out of a run: cheap previews of latents, and PNG files that know their settings.

A preview is one small matrix product: red, green and blue are about linear in the latents of a KL
autoencoder. At the latents' own size it costs microseconds; decoding costs a network.
"""

from __future__ import annotations

import io
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor
from torch.nn import functional as F

from ..errors import ImageError
from ..pictures import FORMATS

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
_MAX_TEXT = 1 << 20  # bytes of a record read from a file


def fit_preview(latents: Tensor, pictures: Tensor) -> np.ndarray:
    """The preview factors [C + 1, 3] that fit best, by least squares.

    latents [B, C, h, w] and the pictures [B, 3, fh, fw] in [-1, 1] they stand for.
    """
    height, width = latents.shape[-2:]
    small = F.adaptive_avg_pool2d(pictures.float(), (height, width))
    known = latents.float().movedim(1, -1).flatten(0, -2)  # [Bhw, C]
    known = torch.cat([known, known.new_ones(len(known), 1)], dim=1)
    wanted = small.clamp(-1, 1).movedim(1, -1).flatten(0, -2)  # [Bhw, 3]
    return np.linalg.lstsq(known.cpu().numpy(), wanted.cpu().numpy(), rcond=None)[0].astype(
        np.float32
    )


def preview_rgb(latents: Tensor, factors: np.ndarray, *, sigma: float = 0.0) -> np.ndarray:
    """uint8 [B, h, w, 3]: a picture of latents [B, C, h, w], at their own size.

    ``factors`` [C + 1, 3]: one row a channel, then the constant; red, green, blue in [-1, 1].
    Noisy latents, ``x = x0 + sigma * noise``, are first brought to unit variance.
    """
    x = latents.detach().float().cpu().numpy().transpose(0, 2, 3, 1) / math.sqrt(1 + sigma**2)
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
    """The bytes of a PNG, with the record as JSON in a text chunk named "sdwidgets"."""
    info = PngImagePlugin.PngInfo()
    if record is not None:
        info.add_text(TEXT_KEY, json.dumps(record))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def read_record(source: str | os.PathLike[str] | bytes) -> dict[str, Any] | None:
    """The record inside a PNG (path or bytes) as `Trace.record` wrote it, or None. ImageError.

    Plain data and not to be trusted: ``Settings(**record["settings"]).checked(config)`` says
    whether it will do.
    """
    try:
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


def write_file(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file whole or not at all: a failure leaves an older file as it was."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:50]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's own is for secrets
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
