"""The texts inside an image file, by their keywords. The file is not trusted: every text has a
limit, and pixels are decoded only if nothing was said before them."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from ..pictures import MAX_PIXELS, opened_for_settings

LONGEST = 2**20
"""The most characters of a text; workflows have up to some hundred thousand."""

USER_COMMENT = "UserComment"
"""The keyword of the comment in JPEG's and WebP's Exif."""

_EXIF, _USER_COMMENT, _MAKER_NOTE = 0x8769, 0x9286, 0x927C
_EXIF_TAGS = {0x010E: "ImageDescription", 0x010F: "Make", 0x0110: "Model", 0x0131: "Software"}
_STEALTH = {b"stealth_pnginfo": False, b"stealth_pngcomp": True}
"""Texts in the lowest bits of an image's transparency begin with this; whether they are packed."""


def texts_of(source: str | os.PathLike[str] | bytes) -> Iterator[Mapping[str, str]]:
    """Yield the texts of an image file by keyword: those before its pixels, those after them, and
    the one hidden in its transparency.

    Raises ImageError for a file that is no image, or that is damaged.
    """
    with opened_for_settings(source) as image:
        yield from _texts(image)


def _texts(image: Image.Image) -> Iterator[Mapping[str, str]]:
    yield _short({**image.info, **_exif(image)})
    if image.format != "PNG" or image.width * image.height > MAX_PIXELS:
        return
    before = set(image.info)
    image.load()
    later = getattr(image, "text", {})  # with the texts that follow the pixels
    yield _short({name: text for name, text in later.items() if name not in before})
    if image.mode == "RGBA":
        yield _hidden(image)


def _short(texts: Mapping[Any, Any]) -> dict[str, str]:
    return {
        str(name)[:80]: str(text)
        for name, text in texts.items()
        if isinstance(text, str) and len(text) <= LONGEST
    }


def _exif(image: Image.Image) -> dict[str, str]:
    """The comments in an image's Exif."""
    raw = image.info.get("exif")
    if not isinstance(raw, bytes) or len(raw) > 4 * LONGEST:
        return {}
    exif = image.getexif()
    texts = {name: exif.get(tag) for tag, name in _EXIF_TAGS.items()}
    inner = exif.get_ifd(_EXIF)
    texts |= {USER_COMMENT: inner.get(_USER_COMMENT), "MakerNote": inner.get(_MAKER_NOTE)}
    return {name: said for name, text in texts.items() if (said := comment(text))}


def comment(value: Any) -> str:
    """The text of an Exif comment: eight bytes name its code (Exif 2.3, section 4.6.5)."""
    if isinstance(value, str):
        return value.strip("\0 ")
    if not isinstance(value, bytes):
        return ""
    code, text = value[:8], value[8:]
    if code == b"UNICODE\0":
        # big endian in AUTOMATIC1111's files, little in some others': letters have a zero byte
        even = sum(byte == 0 for byte in text[:2000:2])
        odd = sum(byte == 0 for byte in text[1:2000:2])
        said = text.decode("utf-16-le" if odd > even else "utf-16-be", "replace")
    elif code in (b"ASCII\0\0\0", b"\0" * 8):
        said = text.decode("utf-8", "replace")
    else:
        said = value.decode("utf-8", "replace")
    return said.strip("\0 ")


def _hidden(image: Image.Image) -> dict[str, str]:
    """The text in the lowest bits of the transparency, column by column (stealth_pnginfo)."""
    bits = (np.asarray(image)[..., 3] & 1).T.reshape(-1)

    def taken(start: int, count: int) -> bytes:
        return np.packbits(bits[start : start + count]).tobytes()

    name = taken(0, 120)
    if name not in _STEALTH or len(bits) < 152:
        return {}
    count = int.from_bytes(taken(120, 32), "big")  # in bits
    if not 0 < count <= min(8 * LONGEST, len(bits) - 152):
        return {}
    text = taken(152, count)
    if _STEALTH[name]:
        with gzip.GzipFile(fileobj=io.BytesIO(text)) as packed:
            try:
                text = packed.read(LONGEST + 1)
            except (OSError, EOFError, zlib.error):
                return {}
    said = text.decode("utf-8", "replace")
    return {"stealth": said} if len(said) <= LONGEST else {}
