"""Paths in texts that others may read: saved notebooks, records and images keep only names.

A folder's name may say who somebody is, or what they work on.
"""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = r"(?:~|[A-Za-z]:(?=[/\\])|(?=/)|(?=\\\\))"
_FOLDERS = re.compile(
    # Not inside of an address ("https://...") or of a relative path ("owner/name").
    rf"(?<![\w:/\\.~-]){_ROOT}[/\\]+(?:[^\s/\\'\"<>|]+[/\\]+)*(?=[^\s/\\'\"])"
)
_QUOTED = re.compile(rf"(?<!\w)(['\"])({_ROOT}[/\\]+[^'\"\n]*?[/\\]*)\1")


def without_folders(text: str) -> str:
    """The text with only the last part of each absolute path: "/home/ana/x.pt" becomes "x.pt".

    Folders with spaces are recognised within quotes, and where they are the user's own folder.
    """
    for own in {str(Path.home()), repr(str(Path.home()))[1:-1]}:
        if len(own) > 1:
            text = re.sub(re.escape(own) + r"(?=[/\\])", "~", text)
    text = _QUOTED.sub(lambda found: found[1] + last_part(found[2]) + found[1], text)
    return _FOLDERS.sub("", text)


def last_part(path: str) -> str:
    """The name of a file or folder, of a path in the style of any system."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]
