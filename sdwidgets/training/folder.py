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
from .captions import FOUND, TABLES, TEXTS, Captions
from .data import Arrays

DATA = {*TEXTS, *TABLES, ".json", ".parquet", ".arrow", ".npz", ".md", ".yaml", ".yml", ".toml"}
ABOUT = ("readme", "license", "licence")  # texts that are no captions
SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"}
NO_CAPTION = "It has no caption."
NAMED = 3  # files that a warning names


class ImageFolder(Arrays):
    """All images in a folder and its subfolders, as squares of ``size`` pixels, in memory.

    Each image is scaled to cover the square and cropped evenly. Its captions are its rows in a
    table, or else the lines of the ``.txt`` or ``.caption`` file of its name. Tables are
    ``metadata`` or ``captions`` as ``.csv``, ``.tsv`` or ``.jsonl`` in any folder, with a
    ``file_name`` relative to it and a ``text`` (or ``caption``, ``prompt``); or only the table
    ``captions``, whose names are relative to the folder. Its class is the outermost folder it is
    in; ``classes`` has the names, in the order of the labels. If the outermost folders are splits
    (``train``, ``test``, ``validation``), only ``train`` is used and the next folder is the class.

    Linked folders are followed. Files that cannot be read are left out, never fatal: ``skipped``
    has the name of each and the reason, ``notices`` has other surprises, such as texts that belong
    to no image; warnings sum them up.
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
        files, data = _files(root)
        notices: dict[str, str] = {}
        everything = {*files}
        files, start = _train_split(files, notices)
        data = [name for name in data if name.startswith(start) or "/" not in name]
        known = _captions(root, files, data, captions, notices)
        _check_room(len(files), size)
        skipped: dict[str, str] = {}
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
            told.append(_told(root, name, known, skipped))
        if not images:
            raise InputError(
                f"There is no image in {str(root)!r}"
                + (f": {_some(skipped)}." if skipped else "."),
                parameter="folder",
            )
        for name in known.without_image():
            if name not in everything:
                notices[name] = "It has a caption, but there is no such image."
        unused = [name for name in data if name not in {*known.used, *notices, *skipped}]
        for name in unused:
            notices[name] = _why_unused(name, captions)
        bare = [name for name, texts in zip(self.names, told, strict=True) if not texts]
        if 0 < len(bare) < len(told):
            for name in bare:
                notices[name] = f"{notices.get(name, '')} {NO_CAPTION}".strip()
            _warn(root, f"{len(bare)} of {len(told)} images have no caption", bare)
        if unused:
            _warn(root, f"{len(unused)} files with texts or data are not used", unused)
        inside = [name.removeprefix(start) for name in self.names]
        classes = [name.split("/")[0] if "/" in name else None for name in inside]
        self.classes = tuple(sorted({one for one in classes if one is not None}))
        numbers = {one: number for number, one in enumerate(self.classes)}
        super().__init__(images, told, [numbers.get(one or "") for one in classes])
        self.skipped, self.notices = skipped, notices
        told_before = {*unused, *(name for name in bare if notices.get(name) == NO_CAPTION)}
        others = {name: why for name, why in notices.items() if name not in told_before}
        for what, about in (("skipped", skipped), ("worth a look", others)):
            if about:
                warnings.warn(f"{root}: {len(about)} {what}: {_some(about)}", stacklevel=2)


def _files(root: Path) -> tuple[list[str], list[str]]:
    """The names, relative to ``root``, of all files that may be images (their content decides), and
    of files with texts and other data."""
    images: list[str] = []
    data: list[str] = []
    seen = {root.resolve()}
    for folder, folders, files in os.walk(root, followlinks=True):
        new = {one: Path(folder, one).resolve() for one in folders if not one.startswith(".")}
        folders[:] = []
        for one, where in sorted(new.items()):
            if where not in seen:  # else a link leads back
                folders.append(one)
                seen.add(where)
        for name in files:
            path = Path(folder, name)
            if not name.startswith("."):
                into = data if path.suffix.lower() in DATA else images
                into.append(path.relative_to(root).as_posix())
    return sorted(images), sorted(name for name in data if not _is_about(name))


def _is_about(name: str) -> bool:
    return name.rpartition("/")[2].lower().startswith(ABOUT)


def _train_split(files: list[str], notices: dict[str, str]) -> tuple[list[str], str]:
    """The files to train on, and the folder that they share: "train/", or "" without splits."""
    tops = {name.split("/")[0] if "/" in name else "" for name in files}
    train = next((top for top in sorted(tops) if top.lower() in ("train", "training")), None)
    if train is None or not all(top.lower() in SPLITS for top in tops):
        return files, ""
    for other in sorted(tops - {train}):
        count = sum(name.startswith(f"{other}/") for name in files)
        notices[other] = (
            f"Its images are another split: {count} are not used, only those in {train}."
        )
    return [name for name in files if name.startswith(f"{train}/")], f"{train}/"


def _captions(
    root: Path,
    files: list[str],
    data: list[str],
    captions: str | os.PathLike[str] | None,
    notices: dict[str, str],
) -> Captions:
    """The captions in the table that is asked for, or in all tables and texts that are found."""
    known = Captions()
    if captions is not None:
        inside = root / captions
        known.add_table(inside if inside.is_file() else Path(captions))
        known.used |= {name for name in data if root / name == inside}
        return known
    stems = {name.rpartition(".")[0] for name in files}
    for name in data:
        folder, _, own = name.rpartition("/")
        is_list = own.lower() == "captions.txt" and name.rpartition(".")[0] not in stems
        if own.lower() in FOUND or is_list:
            try:
                known.add_table(root / name, folder)
                known.used.add(name)
            except InputError as error:
                problem = str(error).splitlines()[0].removeprefix(f"{root / name}: ")
                notices[name] = f"It is not used: {problem}"
        elif Path(own).suffix.lower() in TEXTS:
            known.add_text(name)
    return known


def _told(root: Path, name: str, known: Captions, skipped: dict[str, str]) -> tuple[str, ...]:
    """An image's captions; a text that cannot be read is skipped, and the image then has none."""
    try:
        return known.of(root, name)
    except ValueError as error:
        text = str(error)
        skipped[Path(name).with_suffix(".txt").as_posix()] = f"This is not a caption: {text}."
        return ()


def _why_unused(name: str, captions: str | os.PathLike[str] | None) -> str:
    if captions is not None:
        return f"It is not used: captions come from {os.fspath(captions)} alone."
    ending = Path(name).suffix.lower()
    if ending in TEXTS:
        return "It is not used: there is no image of its name."
    if ending in TABLES:
        return f"It is not used. If it has the captions, pass captions={name!r}."
    return "It is not used: captions come from .txt, .caption, .csv, .tsv and .jsonl files."


def _warn(root: Path, what: str, names: list[str]) -> None:
    some = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    warnings.warn(f"{root}: {what}: {some}", stacklevel=3)


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
