"""Files written whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from .. import checks
from ..errors import InputError


def write_file(path: str | os.PathLike[str], content: bytes, *, mode: int | None = None) -> Path:
    """Write a file whole or not at all; return its path. A failure leaves an older file as it was.

    ``mode``: its permissions, on a file system that has any; the usual ones if None. Raises
    InputError with the path and the reason.
    """
    path = checks.path("path", path)
    if _is_special(path):
        raise InputError(
            f"{str(path)!r} exists and is not a file.\nGive another name.",
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
    with suppress(OSError):  # Windows and some network disks cannot; the file is there anyway
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return path


def _is_special(path: Path) -> bool:
    """Whether the name is taken by something other than a file, such as a folder or a device."""
    try:
        return path.exists() and not path.is_file()
    except (OSError, ValueError):  # writing will say what is wrong
        return False
