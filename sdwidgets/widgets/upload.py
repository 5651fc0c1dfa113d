"""A file that a page sends in parts, put together again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import checks
from ..checks import shortened
from ..errors import ImageError

LARGEST = 16 * 2**20
"""Bytes of a file, at most; the page refuses larger ones before it sends any."""

PART = 2**20
"""Bytes of a part, at most: messages of more are cut off by some servers."""


@dataclass
class Upload:
    """The parts of one file so far. A name is shown to a person and is never a path."""

    name: str
    size: int
    parts: int
    second: bool = False
    data: list[bytes] = field(default_factory=list)

    @classmethod
    def begin(cls, message: dict[str, Any]) -> Upload:
        """An upload as its first part announces it. Raises ``ImageError`` (too large) and
        ``InputError``."""
        size = checks.whole("size", message.get("size"), 0, 2**53 - 1)
        if size > LARGEST:
            raise ImageError(
                f"The file has {size / 2**20:.1f} MB; at most {LARGEST // 2**20} are taken.\n"
                "Save the picture smaller.",
                parameter="size",
            )
        parts = checks.whole("parts", message.get("parts"), 1, LARGEST // 2**10)
        name = message.get("name")
        name = "".join(filter(str.isprintable, name)) if isinstance(name, str) else ""
        return cls(shortened(name, 100) or "picture", size, parts, message.get("second") is True)

    def add(self, part: object, buffers: Sequence[Any]) -> bytes | None:
        """Take the next part; the whole file, once that was the last, else None.

        Raises ``ImageError`` for parts that are out of order or too large.
        """
        data = b"".join(bytes(one) for one in buffers)
        if part != len(self.data) or isinstance(part, bool) or len(data) > PART:
            raise ImageError("The picture's file did not arrive whole. Open it once more.")
        self.data.append(data)
        if len(self.data) < self.parts:
            return None
        whole = b"".join(self.data)
        if len(whole) != self.size:
            raise ImageError("The picture's file did not arrive whole. Open it once more.")
        return whole
