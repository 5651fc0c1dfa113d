"""The sources of a model: checkpoint files, models from the hub and adapters, by name and hash.

A record names its model's sources so that others can find them. A name is that of the file, or the
hub's "owner/name". It never contains a folder of this machine, a user's name or a token.

Three digests answer three questions. `LatentDiffusion.fingerprint` reads a few values of every
tensor, which is quick, and tells whether a loaded model has the weights of a run. A commit tells
which state of a repository on the hub was loaded, without reading any file. A SHA-256, by which
others list a file, reads all of it, which takes seconds for gigabytes. So the loader only notes
which file it read, and `hashed` reads the file when a record is kept, once per process.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from . import checks
from .errors import InputError

MOST = 64
"""The most sources that a record names, more than any model has."""

NAME_LIMIT = 512  # characters
STRENGTH_LIMIT = 1e6

QUICK = 64 * 2**20
"""Bytes that `hashed` reads in a fraction of a second: the most that is read to save an image."""

_BLOCK = 2**20


class LocalFile(NamedTuple):
    """A file of this machine as it was when a model was loaded from it."""

    path: Path
    size: int  # bytes
    modified: int  # nanoseconds

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> LocalFile:
        """Return the file as it is now. Raises OSError."""
        found = os.stat(path)
        return cls(Path(path).absolute(), found.st_size, found.st_mtime_ns)


@dataclass(frozen=True)
class Source:
    """A file, or a model on the hub, from which weights of a model came.

    Raises InputError for values that no record can keep.
    """

    name: str
    """The file's name, with its subfolder in a model folder ("unet/model.safetensors"); or the
    hub's "owner/name"."""
    sha256: str = ""
    """64 hexadecimal digits, of the whole file; "" if not known yet (see `hashed`)."""
    kind: str = "checkpoint"
    """Its role: "checkpoint", or what a derived model adds to one ("lora", "autoencoder")."""
    strength: float | None = None
    """The factor with which it was applied, 1 in full; None if there is nothing to scale."""
    commit: str = ""
    """40 hexadecimal digits, the commit of a repository on the hub; "" for files."""
    file: LocalFile | None = field(default=None, repr=False, compare=False)
    """The file that `hashed` reads. It stays in this process: `as_dict` leaves it out."""
    text_strength: float | None = None
    """The factor for text encoders, where it is another than ``strength``."""

    def __post_init__(self) -> None:
        for name, digits in (("sha256", 64), ("commit", 40)):
            value = getattr(self, name)
            if not isinstance(value, str) or not re.fullmatch(f"([0-9a-f]{{{digits}}})?", value):
                raise InputError(
                    f"The {name} of a source is {digits} hexadecimal digits, in lower case, or '';"
                    f" got {checks.shown(value)}.",
                    parameter=name,
                )
        for name in ("name", "kind"):
            value = getattr(self, name)
            if not isinstance(value, str) or not 0 < len(value) <= NAME_LIMIT:
                raise InputError(
                    f"The {name} of a source is a text of 1 to {NAME_LIMIT} characters, got"
                    f" {checks.shown(value)}.",
                    parameter=name,
                )
        for name in ("strength", "text_strength"):
            if (factor := getattr(self, name)) is not None:
                factor = checks.real(name, factor, -STRENGTH_LIMIT, STRENGTH_LIMIT)
                object.__setattr__(self, name, factor)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Source:
        """Return the source that `as_dict` describes; unknown fields are ignored.

        Raises InputError for values that no source can have.
        """
        if not isinstance(data, Mapping):
            raise InputError(f"A source is an object, got {checks.shown(data)}.")
        return cls(
            data.get("name", ""),
            sha256=data.get("sha256", ""),
            kind=data.get("kind", ""),
            strength=data.get("strength"),
            text_strength=data.get("text_strength"),
            commit=data.get("commit", ""),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return its fields for JSON, without empty ones."""
        known: dict[str, Any] = {"name": self.name, "kind": self.kind}
        more = {
            name: getattr(self, name) for name in ("sha256", "commit", "strength", "text_strength")
        }
        return known | {name: value for name, value in more.items() if value not in ("", None)}


def recorded(sources: object) -> tuple[Source, ...]:
    """Return the sources in a record that anyone may have written; what is none is left out."""
    found = []
    for each in sources[:MOST] if isinstance(sources, list) else ():
        with suppress(InputError):
            found.append(Source.from_dict(each))
    return tuple(found)


def hashed(sources: Sequence[Source], most: int | None = None) -> tuple[Source, ...]:
    """Return the sources with the SHA-256 of their files, which are read if it is not known yet.

    If there are more than ``most`` bytes to read, nothing is read. A file that is gone or has
    changed since the model was loaded gets no SHA-256, which would be that of another file.
    """
    left = [source.file for source in sources if source.file is not None and not source.sha256]
    if most is not None and sum(file.size for file in left) > most:
        return tuple(sources)
    return tuple(_hashed(source) for source in sources)


def differences(expected: Sequence[Source], found: Sequence[Source]) -> str:
    """Return a notice that a model was made from other sources than expected, or "".

    Sources are compared by their SHA-256 or commit if both have one, else by name; and by their
    role and strength. Files are read if a SHA-256 is expected.
    """
    if not expected:
        return ""
    if any(source.sha256 for source in expected):
        found = hashed(found)
    missing = [source for source in expected if not any(_is_same(source, f) for f in found)]
    added = [source for source in found if not any(_is_same(source, e) for e in expected)]
    if not found:
        return f"The model's files are not known; expected: {listed(missing)}."
    parts = [
        f"{what}: {listed(some)}" for what, some in (("used", added), ("expected", missing)) if some
    ]
    return f"Made with other files; {', '.join(parts)}." if parts else ""


def _is_same(a: Source, b: Source) -> bool:
    if (a.kind, a.strength, a.text_strength) != (b.kind, b.strength, b.text_strength):
        return False
    if a.sha256 and b.sha256:
        return a.sha256 == b.sha256
    if a.commit and b.commit:
        return a.commit == b.commit
    return a.name == b.name


def listed(sources: Sequence[Source], most: int = 3) -> str:
    """Return the first sources in words, with the start of their digests: "a/b (0123abcd)"."""
    names = []
    for source in sources[:most]:
        known = [source.sha256[:8] or source.commit[:8]]
        known += [] if source.strength is None else [f"strength {source.strength:g}"]
        text = source.text_strength
        known += [] if text is None else [f"text strength {text:g}"]
        details = ", ".join(filter(None, known))
        names.append(checks.shortened(source.name, 60) + (f" ({details})" if details else ""))
    more = len(sources) - most
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def _hashed(source: Source) -> Source:
    if source.file is None or source.sha256:
        return source
    try:
        return replace(source, sha256=_sha256(source.file))
    except OSError:
        return source


@lru_cache(maxsize=1024)
def _sha256(file: LocalFile) -> str:
    """Return the digest of an unchanged file. Raises OSError."""
    _check_unchanged(file)  # before it is opened: something else may have its name now
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
