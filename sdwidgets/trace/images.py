"""Images out of a run: quick previews of latents, and the bytes of JPEG and PNG files.

A preview is one small matrix product: red, green and blue are roughly linear in the latents of a KL
autoencoder. At the latents' own size it takes microseconds, where decoding takes a network.
"""

from __future__ import annotations

import io
import json
import math
import re
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from .step import as_array

# Stable Diffusion 1's latents to RGB in [-1, 1], fitted by Keturn ("Decoding latents to RGB without
# upscaling", discuss.huggingface.co/t/23204); a row for each channel, then the constant.
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
"""The keyword of a PNG's text chunk that has a record."""


def fit_preview(latents: Any, pictures: Any) -> np.ndarray:
    """The preview factors [C + 1, 3] that fit best, by least squares.

    ``latents`` [B, C, h, w], and ``pictures`` [B, 3, f * h, f * w] in [-1, 1], the images that
    these latents stand for; tensors or arrays.
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
    """uint8 [B, h, w, 3]: an image of latents [B, C, h, w], at their own size.

    ``latents``: a tensor or an array. ``factors`` [C + 1, 3]: a row for each channel, then the
    constant; red, green, blue in [-1, 1]. Noisy latents, ``x = x0 + sigma * noise``, are first
    scaled to unit variance.
    """
    x = as_array(latents).transpose(0, 2, 3, 1) / math.sqrt(1 + sigma**2)
    rgb = x @ factors[:-1] + factors[-1]
    return ((np.nan_to_num(rgb) + 1) * 127.5).round().clip(0, 255).astype(np.uint8)


def encode_jpeg(picture: np.ndarray | Image.Image, *, quality: int = 90) -> bytes:
    """The bytes of a JPEG of an image, uint8 [H, W, 3] or PIL, with colours at full resolution."""
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    buffer = io.BytesIO()
    # a preview is a few dozen pixels wide: colours at half its resolution would show
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def encode_png(picture: Image.Image, record: dict[str, Any] | None = None) -> bytes:
    """The bytes of a PNG, with the record as JSON in an international text chunk "sdwidgets"."""
    info = PngImagePlugin.PngInfo()
    if record is not None:
        text = json.dumps(record, ensure_ascii=False)
        # half a surrogate pair (in a file's name, say) has no UTF-8; JSON can spell it
        text = re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)
        info.add_itxt(TEXT_KEY, text)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()
