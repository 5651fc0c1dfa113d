"""What a model was made of: checkpoint files, models of the hub, adapters, by name and hash.

A record names its model's sources so that others can find them. A name is a file's own, or the
hub's "owner/name": no folder of this machine, no user's name and no token is part of it.

Three digests answer three questions. `LatentDiffusion.fingerprint` reads a few values of every
tensor, at once, and says whether a loaded model has the weights that a run had. A commit says which
state of a repository on the hub was loaded, and is known without reading any file. SHA-256 is what
others list a file by, and has to read all of it: seconds for gigabytes. So the loader only notes
which file it read, and `hashed` reads that file when someone keeps a record, once a process.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

MOST = 64
"""Sources that a record names; no model has as many."""

NAME_LIMIT = 512  # characters

QUICK = 64 * 2**20
"""Bytes that `hashed` reads in a fraction of a second: with a picture, no more is read."""

_BLOCK = 2**20


class LocalFile(NamedTuple):
    """A file of this machine as it was when a model was loaded from it."""

    path: Path
    size: int  # bytes
    modified: int  # nanoseconds

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> LocalFile:
        """The file as it is now. Raises OSError."""
        found = os.stat(path)
        return cls(Path(path).absolute(), found.st_size, found.st_mtime_ns)


@dataclass(frozen=True)
class Source:
    """One file, or one model of the hub, that a model's weights came from."""

    name: str
    """The file's name, in a model folder with its part ("unet/model.safetensors"); or the hub's
    "owner/name"."""
    sha256: str = ""
    """64 hexadecimal digits, of the whole file; "" where it is not known (yet: see `hashed`)."""
    kind: str = "checkpoint"
    """What it gave: "checkpoint", or what a derived model adds to one ("lora", "autoencoder")."""
    strength: float | None = None
    """How much of it counts, 1 all; None where there is nothing to scale."""
    commit: str = ""
    """40 hexadecimal digits, the state of a hub's repository; "" for files."""
    file: LocalFile | None = field(default=None, repr=False, compare=False)
    """Where `hashed` finds it. Stays in this process: `as_dict` leaves it out."""

    def as_dict(self) -> dict[str, Any]:
        """Its fields for JSON, without those that say nothing."""
        known: dict[str, Any] = {"name": self.name, "kind": self.kind}
        more = {"sha256": self.sha256, "commit": self.commit, "strength": self.strength}
        return known | {name: value for name, value in more.items() if value not in ("", None)}


def hashed(sources: Sequence[Source], most: int | None = None) -> tuple[Source, ...]:
    """The sources with the SHA-256 of their files, which are read where it is not known yet.

    ``most``: with more bytes than that to read, none is read. A file that has changed since the
    model was loaded, or is gone, stays without: its digest would be another file's.
    """
    left = [one.file for one in sources if one.file is not None and not one.sha256]
    if most is not None and sum(file.size for file in left) > most:
        return tuple(sources)
    return tuple(_hashed(one) for one in sources)


def _hashed(source: Source) -> Source:
    if source.file is None or source.sha256:
        return source
    try:
        return replace(source, sha256=_sha256(source.file))
    except OSError:
        return source


@lru_cache(maxsize=1024)
def _sha256(file: LocalFile) -> str:
    """The digest of a file that is as it was. Raises OSError."""
    _check_unchanged(file)  # before it is opened: something else may have its name by now
    digest = hashlib.sha256()
    with open(file.path, "rb") as opened:
        while block := opened.read(_BLOCK):
            digest.update(block)
    _check_unchanged(file)
    return digest.hexdigest()


def _check_unchanged(file: LocalFile) -> None:
    found = os.stat(file.path)
    if not stat.S_ISREG(found.st_mode) or (found.st_size, found.st_mtime_ns) != file[1:]:
        raise OSError(f"{file.path} has changed")
