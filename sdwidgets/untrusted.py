"""Files that are not trusted: opened without blocking, and identified by their first bytes."""

from __future__ import annotations

import errno
import os
import re
import stat
from io import FileIO

PREFIX = 512
"""The number of first bytes that identify a file's format."""


class NotRegular(OSError):
    """The file is not a regular file. The text tells what it is, such as "a folder"."""


def open_regular(path: str | os.PathLike[str]) -> FileIO:
    """Return the file, open for reading and unbuffered. Never blocks, as opening a pipe would.

    Raises ``NotRegular`` for a folder, pipe, socket or device, and other OSErrors as `open` does.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    # Checked before it is opened, since opening a device can already do something.
    try:
        _check_regular(os.stat(path).st_mode)
    except ValueError as error:  # a NUL in the name
        raise OSError(errno.EINVAL, str(error)) from None
    file = FileIO(os.open(path, flags | getattr(os, "O_CLOEXEC", 0)), "rb", closefd=True)
    try:
        _check_regular(os.fstat(file.fileno()).st_mode)
    except OSError:
        file.close()
        raise
    return file


def _check_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise NotRegular("a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device")


_BEGINNINGS = (
    (b"PK\x03\x04", "a zip archive (such as torch's .ckpt and NumPy's .npz files)"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"GGUF", "a GGUF file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "a WebP image or another RIFF file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
)
_WEB_PAGE = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<body")


def format_of(first: bytes) -> str | None:
    """Return the format of a file that is *not* safetensors, by its first bytes; None if unknown.

    The answer fits into "FILE is ...". The first eight bytes of a safetensors file, a length, may
    look like the start of any format.
    """
    if first.startswith(b"version https://git-lfs.github.com/spec/"):
        size = re.search(rb"\nsize (\d{1,20})", first)
        promised = f" for a file of {int(size[1]):,} bytes" if size else ""
        return f"a Git LFS pointer{promised} (run `git lfs pull`)"
    text = first.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(_WEB_PAGE):
        return "a web page (a login or error page saved instead of the file)"
    for beginning, what in _BEGINNINGS:
        if first.startswith(beginning):
            return what
    if is_pickle(first):
        return "a Python pickle (such as torch's old .ckpt, .pt and .bin files)"
    if first[257:262] == b"ustar":
        return "a tar archive"
    if _is_text(first):
        return JSON_TEXT if text.startswith((b"{", b"[")) else f"a text ({_first_line(first)})"
    return None


JSON_TEXT = "a JSON text"
_CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\r\f") | {127}


def _is_text(first: bytes) -> bool:
    """Whether the first bytes are words, in UTF-8 or UTF-16."""
    if first.startswith((b"\xff\xfe", b"\xfe\xff")):
        characters = first[: len(first) // 2 * 2].decode("utf-16", "replace")
        return len(characters) > 1 and not any(ord(c) in _CONTROLS for c in characters)
    if not first.strip() or not _CONTROLS.isdisjoint(first):
        return False
    try:
        first.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(first) - 3 and len(first) == PREFIX  # a character that was cut
    return True


def _first_line(first: bytes, most: int = 40) -> str:
    code = "utf-16" if first.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    text = first.decode(code, "replace").strip()
    line = text.splitlines()[0] if text else ""
    return f"it begins with {line[:most]!a}"


def is_pickle(first: bytes) -> bool:
    """Whether the first bytes are those of a pickle, protocol 2 to 5, or of one in a zip."""
    return first.startswith(b"PK\x03\x04") or (
        len(first) > 2 and first[0] == 0x80 and first[1] in (2, 3, 4, 5)
    )
