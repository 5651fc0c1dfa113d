"""Files that a page sends in parts, joined again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .. import checks
from ..checks import shortened
from ..contract import UPLOAD
from ..errors import ImageError, InputError

LARGEST = UPLOAD["largest"]
"""The most bytes of a file; the page refuses larger files before it sends anything."""

PART = UPLOAD["part"]
"""The most bytes of a part."""


@dataclass(frozen=True)
class Part:
    """A part of a file, counted from 0. The file's name is only shown, never used as a path."""

    name: str
    size: int  # bytes of the whole file
    part: int
    parts: int
    second: bool
    data: bytes

    @classmethod
    def of(cls, message: dict[str, Any], buffers: Sequence[Any]) -> Part:
        """Return the part in a message. Raises ``InputError`` for a message without a part."""
        size = checks.whole("size", message.get("size"), 0, 2**53 - 1)
        parts = checks.whole("parts", message.get("parts"), 1, 2**14)
        part = checks.whole("part", message.get("part"), 0, parts - 1)
        name = message.get("name")
        if not isinstance(name, str) or len(buffers) != 1 or len(buffers[0]) > PART:
            raise InputError(f"A part of a file has a name and at most {PART:,} bytes.")
        name = shortened("".join(filter(str.isprintable, name)), 100) or "image"
        return cls(name, size, part, parts, message.get("second") is True, bytes(buffers[0]))


@dataclass
class Upload:
    """The parts of the newest file that have arrived so far."""

    parts: list[Part] = field(default_factory=list)

    @contextmanager
    def taking(
        self, part: Part, send: Callable[[dict[str, Any]], object]
    ) -> Iterator[bytes | None]:
        """What `add` returns. After the last part, ``send`` tells the page that the file was taken,
        even if nothing has changed or it was refused."""
        try:
            yield self.add(part)
        finally:
            if part.part == part.parts - 1:
                send({"kind": "taken"})

    def add(self, part: Part) -> bytes | None:
        """Take the next part; return the whole file after the last part, otherwise None.

        Raises ``ImageError`` for a file that is too large or does not arrive whole.
        """
        if part.part == 0:
            self.parts = []
        if part.size > LARGEST:
            raise ImageError(
                f"The file has {part.size / 2**20:.1f} MB; at most {LARGEST // 2**20} are taken.\n"
                "Save the image smaller.",
                parameter="size",
            )
        self.parts.append(part)
        whole = sum(len(one.data) for one in self.parts)
        is_last = part.part == part.parts - 1
        in_order = part.part == len(self.parts) - 1 and part.size == self.parts[0].size
        if not in_order or whole > part.size or (is_last and whole < part.size):
            self.parts = []
            raise ImageError("The image file did not arrive whole. Open it again.")
        if not is_last:
            return None
        parts, self.parts = self.parts, []
        return b"".join(one.data for one in parts)
