"""Images of one's own, searched for those that are like an image or a text.

Retrieval-augmented models are told the nearest ones ("Retrieval-Augmented Diffusion Models",
Blattmann et al., arXiv 2204.11824, section 3). Likeness is the cosine of CLIP's embeddings.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from . import checks
from .errors import ImageError, InputError
from .models.clip_space import ClipSpace, space_of
from .pictures import PictureLike, as_picture
from .pipeline import LatentDiffusion, fingerprint_of
from .pixels import to_tensor
from .strict_json import parse
from .trace.writing import write_file

FORMAT = "sdwidgets neighbours 1"
ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
"""The ends of the names of a folder's files that are taken to be images."""

Stamp: TypeAlias = "tuple[int, int]"
"""The size of a file in bytes and when it changed, in nanoseconds: the same if it is unchanged."""


@dataclass(frozen=True)
class Neighbour:
    """An image that was found: its name, how alike it is (a cosine, -1 to 1), and where it is."""

    name: str
    similarity: float
    source: PictureLike = field(repr=False)

    @property
    def image(self) -> Image.Image:
        """The image, RGB. Raises ImageError if its file is gone or damaged."""
        return as_picture(self.source)[0]


class Neighbours:
    """An index of images, to be searched by an image or, with a text tower, by a text.

    ``images``: a folder, with all folders in it, or a sequence of images (files, PIL images or
    arrays). ``encoder``: a model that takes neighbours, or a CLIP of `load_clip`. ``file``: where
    the embeddings of a folder are kept; then only images that are new or have changed are embedded.
    An index of another encoder is made anew.

    Attributes: ``names`` of the images, in order: paths within the folder, or numbers from 0.
    ``skipped``: why an image is left out, by its name.

    Needs scikit-learn. Raises InputError, also for a ``file`` that is no index.

        index = sdw.Neighbours("photos", model, file="photos.neighbours")
        found = index.near("a cat on a sofa", 4)
        model.generate(neighbours=[each.image for each in found])
    """

    def __init__(
        self,
        images: str | os.PathLike[str] | Sequence[PictureLike],
        encoder: ClipSpace | LatentDiffusion,
        *,
        file: str | os.PathLike[str] | None = None,
    ):
        self.encoder = _space(encoder)
        self.folder: Path | None = None
        self._given: Mapping[str, PictureLike] = {}
        if isinstance(images, (str, os.PathLike)):
            self.folder = checks.path("images", images)
            if not self.folder.is_dir():
                raise InputError(f"There is no folder {self.folder}.", parameter="images")
        else:
            self._given = {str(number): image for number, image in enumerate(images)}
        if file is not None and self.folder is None:
            raise InputError(
                "Only the index of a folder can be kept in a file.\nLeave file out.",
                parameter="file",
            )
        self.file = None if file is None else checks.path("file", file)
        self.names: tuple[str, ...] = ()
        self.skipped: dict[str, str] = {}
        self._embeddings = np.zeros((0, self.encoder.width), np.float32)
        self._stamps: dict[str, Stamp] = {}
        self._nearest = _nearest()
        if self.file is not None and self.file.exists():
            self._read(self.file)
        self.update()

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        return f"<Neighbours: {len(self)} images{skipped}>"

    def update(self) -> int:
        """Look for images that are new, changed or gone; return how many were embedded."""
        sources = dict(self._sources())
        stamps = {name: _stamp(source) for name, source in sources.items()}
        rows = dict(zip(self.names, self._embeddings, strict=True))
        rows = {
            name: row for name, row in rows.items() if stamps.get(name) == self._stamps.get(name)
        }
        new = {name: source for name, source in sources.items() if name not in rows}
        self.skipped = {}
        made = 0
        for name, source in new.items():
            try:
                image = as_picture(source)[0]
            except (ImageError, OSError) as error:
                self.skipped[name] = str(error).splitlines()[0]
                continue
            rows[name] = self._embedded(image)
            made += 1
        changed = made > 0 or set(rows) != set(self.names)
        self.names = tuple(name for name in stamps if name in rows)
        self._stamps = {name: stamps[name] for name in self.names}
        self._embeddings = (
            np.stack([rows[name] for name in self.names])
            if rows
            else (np.zeros((0, self.encoder.width), np.float32))
        )
        if self.names:
            self._nearest.fit(self._embeddings)
        if changed and self.file is not None:
            self._write(self.file)
        return made

    def near(self, query: PictureLike, count: int = 4) -> tuple[Neighbour, ...]:
        """Return the ``count`` images, or all, that are most like ``query``, the nearest first.

        ``query``: an image, or a text. A text that is the name of a file stands for that image.
        Raises InputError, ImageError and, without a text tower, InputError for a text.
        """
        count = checks.whole("count", count, 1, 10_000)
        if not self.names:
            return ()
        if isinstance(query, str) and not Path(query).is_file():
            with torch.no_grad():
                vector = self.encoder.texts([query]).cpu().numpy()
        else:
            vector = self._embedded(as_picture(query)[0])[None]
        distances, places = self._nearest.kneighbors(vector, min(count, len(self)))
        sources = dict(self._sources(self.names))
        return tuple(
            Neighbour(self.names[place], 1 - float(distance), sources[self.names[place]])
            for distance, place in zip(distances[0], places[0], strict=True)
        )

    def _sources(self, names: Sequence[str] | None = None) -> Iterator[tuple[str, PictureLike]]:
        if self.folder is None:
            yield from self._given.items()
        elif names is not None:
            yield from ((name, self.folder / name) for name in names)
        else:
            for path in sorted(self.folder.rglob("*")):
                if path.suffix.lower() in ENDINGS and path.is_file():
                    yield path.relative_to(self.folder).as_posix(), path

    @torch.no_grad()
    def _embedded(self, image: Image.Image) -> np.ndarray:
        return self.encoder.images(to_tensor(image))[0].cpu().numpy().astype(np.float32)

    def _read(self, file: Path) -> None:
        try:
            with safe_open(file, "np") as opened:
                about = opened.metadata() or {}
                if about.get("format") != FORMAT:
                    raise ValueError("of another format")
                files = parse(about["files"])
                embeddings = opened.get_tensor("embeddings")
            stamps = {name: (size, changed) for name, size, changed in files}
        except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{file} is no index of neighbours, or it is damaged.\n"
                "Give another file, or delete this one.",
                parameter="file",
            ) from error
        width = self.encoder.width
        if about.get("encoder") != _fingerprint(self.encoder) or not (
            embeddings.dtype == np.float32
            and embeddings.shape == (len(stamps), width)
            and np.isfinite(embeddings).all()
        ):
            return  # made anew
        self.names, self._stamps, self._embeddings = tuple(stamps), stamps, embeddings

    def _write(self, file: Path) -> None:
        about = {
            "format": FORMAT,
            "encoder": _fingerprint(self.encoder),
            "files": json.dumps([[name, *self._stamps[name]] for name in self.names]),
        }
        write_file(file, save({"embeddings": self._embeddings}, about))


def _space(encoder: object) -> ClipSpace:
    if isinstance(encoder, ClipSpace):
        return encoder
    space = space_of(getattr(encoder, "embedders", ()))
    if space is None:
        raise InputError(
            "encoder must be a model that takes neighbours, or what sdwidgets.load_clip returns.",
            parameter="encoder",
        )
    return space


def _nearest() -> Any:
    try:
        from sklearn.neighbors import NearestNeighbors
    except ImportError:
        missing = True
    else:
        missing = False
    if missing:
        raise InputError(
            "A search for neighbours needs scikit-learn, which is not installed.\n"
            "pip install 'sdwidgets[neighbours]'"
        )
    return NearestNeighbors(metric="cosine", algorithm="brute")


def _stamp(source: PictureLike) -> Stamp:
    if isinstance(source, Path):
        with suppress(OSError):
            found = source.stat()
            return found.st_size, found.st_mtime_ns
    return 0, 0


def _fingerprint(space: ClipSpace) -> str:
    return fingerprint_of(space.vision)
