"""Which program made an image, and with what settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from . import a1111, comfyui, fooocus, invokeai, novelai
from .found import Found
from .texts import texts_of

_PROGRAMS: tuple[Callable[[Mapping[str, str]], Found | None], ...] = (
    fooocus.read,
    invokeai.read,
    novelai.read,
    a1111.read,
    comfyui.read,  # last: other programs' images may carry a workflow, too
)


def read(source: str | os.PathLike[str] | bytes) -> Found | None:
    """What the program that made an image (path or bytes) says; None if no known one says anything.

    Raises ImageError for a file that cannot be read.
    """
    for texts in texts_of(source):
        stealth = texts.get("stealth")
        if stealth and not stealth.lstrip().startswith("{"):
            texts = {"parameters": stealth}
        for program in _PROGRAMS:
            found = program(texts)
            if found is not None:
                return found
    return None
