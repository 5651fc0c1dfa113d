"""A folder of images to train on, with captions beside them or in a table, and classes."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from ..checks import whole
from ..errors import ImageError, InputError, OutOfMemory
from ..memory import available_memory
from ..pictures import as_picture, fitted
from ..settings import amount
from .captions import captions_beside, captions_listed
from .data import Arrays

NO_PICTURES = {".txt", ".csv", ".jsonl", ".json"}
NAMED = 3  # files that a warning names


class ImageFolder(Arrays):
    """All images in a folder and its subfolders, as squares of ``size`` pixels, in memory.

    Each image is scaled to cover the square and cropped evenly. Its captions are the lines of the
    ``.txt`` file of its name, or its rows in ``captions``: a ``.csv`` or ``.jsonl`` file with
    ``file_name`` (relative to the folder) and ``text``. Its class is the outermost folder it is in;
    ``classes`` has the names, in the order of the labels.

    Files that cannot be read are left out, never fatal: ``skipped`` has the name of each and the
    reason, ``notices`` has other surprises; warnings sum them up.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        size: int = 64,
        captions: str | os.PathLike[str] | None = None,
    ):
        root = Path(folder)
        if not root.is_dir():
            raise InputError(f"There is no folder {str(root)!r}.", parameter="folder")
        whole("size", size, 8, 4096)
        listed = None if captions is None else captions_listed(_table(root, captions))
        files = _files(root)
        _check_room(len(files), size)
        skipped: dict[str, str] = {}
        notices: dict[str, str] = {}
        images, told, self.names = [], [], []
        for name in tqdm(files, desc="images", delay=3, mininterval=1):
            try:
                picture, notes = as_picture(root / name)
                square = np.array(fitted(picture, None, size, size)[0])
            except ImageError as error:
                skipped[name] = str(error)
                continue
            if min(picture.size) < size:
                notes += (f"It was enlarged from {picture.width} x {picture.height}.",)
            if notes:
                notices[name] = " ".join(notes)
            self.names.append(name)
            images.append(square)
            told.append(_told(root, name, listed, skipped))
        if not images:
            raise InputError(
                f"There is no image in {str(root)!r}"
                + (f": {_some(skipped)}." if skipped else "."),
                parameter="folder",
            )
        for name in sorted((listed or {}).keys() - {*self.names, *skipped}):
            notices[name] = "It has a caption, but there is no such image."
        classes = [name.split("/")[0] if "/" in name else None for name in self.names]
        self.classes = tuple(sorted({one for one in classes if one is not None}))
        numbers = {one: number for number, one in enumerate(self.classes)}
        super().__init__(images, told, [numbers.get(one or "") for one in classes])
        self.skipped, self.notices = skipped, notices
        for what, about in (("skipped", skipped), ("worth a look", notices)):
            if about:
                warnings.warn(f"{root}: {len(about)} {what}: {_some(about)}", stacklevel=2)


def _files(root: Path) -> list[str]:
    """The names, relative to ``root``, of all files that may be images; the content decides."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [one for one in folders if not one.startswith(".")]
        for name in files:
            path = Path(folder, name)
            if not name.startswith(".") and path.suffix.lower() not in NO_PICTURES:
                found.append(path.relative_to(root).as_posix())
    return sorted(found)


def _table(root: Path, captions: str | os.PathLike[str]) -> Path:
    """The captions' file: in the folder or, if it is not there, where the path says."""
    inside = root / captions
    return inside if inside.is_file() else Path(captions)


def _told(
    root: Path, name: str, listed: dict[str, tuple[str, ...]] | None, skipped: dict[str, str]
) -> tuple[str, ...]:
    """An image's captions; a text that cannot be read is skipped, and the image then has none."""
    if listed is not None:
        return listed.get(name, ())
    try:
        return captions_beside(root / name)
    except ValueError as error:
        skipped[Path(name).with_suffix(".txt").as_posix()] = f"This is not a caption: {error}."
        return ()


def _check_room(count: int, size: int) -> None:
    needed, free = count * size * size * 3, available_memory(torch.device("cpu"))
    if free is not None and needed > free:
        raise OutOfMemory(
            f"{count:,} images of {size} x {size} pixels need {amount(needed)} of memory, and "
            f"{amount(free)} are free.\nUse a smaller size, or fewer images."
        )


def _some(about: dict[str, str]) -> str:
    """A few of the names with their reasons, in one line."""
    some = [f"{name} ({reason.splitlines()[0]})" for name, reason in [*about.items()][:NAMED]]
    return ", ".join(some) + (", ..." if len(about) > NAMED else "")
