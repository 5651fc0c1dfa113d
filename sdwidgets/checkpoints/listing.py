"""The models that can be loaded without a download: the bundled ones, the hub's cache, folders.

A model is told by its configs and by the headers of its weights, with the functions that load it,
so a listed model says what loading it would say. No weights are read, nothing is fetched, and torch
is not imported.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..configs import ModelConfig
from ..daemon import start_daemon
from ..errors import CheckpointNotFound, SDWidgetsError
from . import hub, zoo
from .describe import inspect, words_of
from .layout import Layout
from .single_file import open_file
from .system import is_system, open_model_folder
from .weights import FLOATS, quoted

Place = Literal["bundled", "hub", "folder"]
State = Literal["reading", "found", "part", "refused"]

SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".gguf")
MOST = 1_000  # models
MOST_ENTRIES = 50_000  # files and folders that are looked at
DEEPEST = 8  # folders inside one another
REMEMBERED = 5_000  # models, over all listings of the process
REST = 4  # how much longer it rests than it works while something else is to be quick

_SHARD = re.compile(r"-\d{5}-of-\d{5}\.\w+$")  # a file of several, as large language models have


@dataclass(frozen=True)
class Listed:
    """A model that was found, or a part of one or an addition to one.

    ``name``: what `load_model` takes. ``title``: a name for people. ``path``: its file or folder,
    with all links followed. ``state``: "reading", as long as its headers have not been read, then
    "found", "part" for what is used with a model (a LoRA, an autoencoder), or "refused". ``what``:
    what it is, in words. ``bytes``: of its weights; None if not known. ``why``: why it is refused,
    how a part is used, or "".
    """

    name: str
    title: str
    place: Place
    path: Path
    state: State = "reading"
    what: str = ""
    bytes: int | None = None
    why: str = ""


class Listing:
    """Finds models on a thread of its own, which lives while it looks.

    ``on_change`` is called on that thread whenever `models` or `done` has changed. While
    ``is_busy()``, it works slowly: reading headers takes time from other threads.
    """

    def __init__(
        self, on_change: Callable[[], object], is_busy: Callable[[], bool] = lambda: False
    ):
        self._on_change, self._is_busy = on_change, is_busy
        self._lock = threading.Lock()
        self._models: list[Listed] = []
        self._folders: Sequence[str] = ()
        self._number = 0  # of the latest request; work for an earlier one ends
        self._thread: threading.Thread | None = None
        self.done = True

    @property
    def models(self) -> Sequence[Listed]:
        """The models found so far: all names at once, then what each is."""
        with self._lock:
            return tuple(self._models)

    def look(self, folders: Sequence[str] = ()) -> None:
        """Look for models, also in these folders: absolute paths, or "~/...". Returns at once.

        Raises ``Busy`` if the system cannot start another thread.
        """
        with self._lock:
            self._folders, self.done = tuple(folders), False
            self._number += 1
            if self._thread is None:
                self._thread = start_daemon(
                    "sdwidgets listing", self._work, end=self.close, patience=1.0
                )

    def close(self) -> None:
        """End the work soon, without waiting."""
        with self._lock:
            self._number += 1
            self._folders, self.done = (), True

    def _work(self) -> None:
        while True:
            with self._lock:
                if self.done:
                    self._thread = None
                    return
                number, folders = self._number, self._folders
            self._list(number, folders)

    def _list(self, number: int, folders: Sequence[str]) -> None:
        found: list[Listed] = []
        if not self._models:
            self._models = found  # they appear one by one; else all at once, in place of the old
        for one in find(folders):
            with self._lock:
                if number != self._number:
                    return
                found.append(one)
            self._tell()
        with self._lock:
            if number == self._number:
                self._models = found
        self._tell()
        for i, one in enumerate(found):
            if one.state != "reading":
                continue
            began = time.monotonic()
            examined = examine(one)
            with self._lock:
                if number != self._number:
                    return
                found[i] = examined
            self._tell()
            if self._is_busy():
                time.sleep(min(REST * (time.monotonic() - began), 1.0))
        with self._lock:
            if number == self._number:
                self.done = True
        self._tell()

    def _tell(self) -> None:
        with suppress(Exception):
            self._on_change()


# --------------------------------------------------------------------------------------- names


def find(folders: Sequence[str] = (), most: int = MOST) -> Iterator[Listed]:
    """Find models by the names of files: the bundled models, the hub's cache, then the folders.

    What cannot be looked into is an entry that is refused.
    """
    for name in zoo.bundled_models():
        yield Listed(name, name, "bundled", zoo.WEIGHTS / name)
    with suppress(OSError):
        for model_id, path in hub.cached_models():
            yield Listed(model_id, model_id, "hub", path)
    seen: set[Path] = set()
    for folder in folders:
        for one in _in_folder(folder):
            if one.path in seen:
                continue
            if len(seen) >= most:
                why = f"Only the first {most:,} models in folders are listed."
                yield _refused(folder, one.path.parent, why)
                return
            seen.add(one.path)
            yield one


def _in_folder(text: str) -> Iterator[Listed]:
    try:
        root = Path(text).expanduser()
        if not root.is_absolute():
            yield _refused(text, root, f"{quoted(text)} is no absolute path, nor one like '~/...'.")
            return
        mode = root.stat().st_mode
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a NUL, no home
        reason = getattr(error, "strerror", None) or str(error)
        yield _refused(text, Path(text.replace("\0", "")), f"{quoted(text)}: {reason}.")
        return
    if not stat.S_ISDIR(mode):
        yield _listed(root, root.name)
        return
    entered: set[tuple[int, int]] = set()
    left = MOST_ENTRIES
    waiting = [(root, 0)]
    while waiting:
        folder, depth = waiting.pop(0)
        try:
            info = folder.stat()
            if (info.st_dev, info.st_ino) in entered:  # a link to a folder that contains it
                continue
            entered.add((info.st_dev, info.st_ino))
            if (folder / "model_index.json").is_file() or is_system(folder):
                yield _listed(folder, _title(folder, root))
                continue
            with os.scandir(folder) as entries:
                names = sorted(entry.name for _, entry in zip(range(left), entries, strict=False))
        except OSError as error:
            yield _refused(_title(folder, root), folder, f"It cannot be read: {error.strerror}.")
            continue
        left -= len(names)
        for name in names:
            path = folder / name
            if name.startswith("."):
                continue
            if path.is_dir():
                if depth < DEEPEST:
                    waiting.append((path, depth + 1))
            elif name.lower().endswith(SUFFIXES) and not _SHARD.search(name):
                yield _listed(path, _title(path, root))
        if left <= 0:
            why = f"Only the first {MOST_ENTRIES:,} files of this folder were looked at."
            yield _refused(root.name, root, why)
            return


def _listed(path: Path, title: str) -> Listed:
    size = None
    with suppress(OSError):
        info = path.stat()
        size = info.st_size if stat.S_ISREG(info.st_mode) else None
    return Listed(str(path), title, "folder", Path(os.path.realpath(path)), bytes=size)


def _refused(title: str, path: Path, why: str) -> Listed:
    return Listed(str(path), title, "folder", path, state="refused", why=why)


def _title(path: Path, root: Path) -> str:
    return path.name if path == root else path.relative_to(root).as_posix()


# -------------------------------------------------------------------------------------- headers

_Stamp = tuple[tuple[str, int, int], ...]  # of each file: name, size, time of its last change
_known: OrderedDict[tuple[Place, Path], tuple[_Stamp, Listed]] = OrderedDict()
_known_lock = threading.Lock()


def examine(listed: Listed) -> Listed:
    """The model with its state, told by its configs and headers. It never raises."""
    try:
        stamp = _stamp(listed.path)
    except OSError as error:
        return replace(listed, state="refused", why=f"It cannot be read: {error.strerror}.")
    key = listed.place, listed.path
    with _known_lock:
        before = _known.get(key)
        if before is not None and before[0] == stamp:
            _known.move_to_end(key)
            return replace(before[1], name=listed.name, title=listed.title)
    lasts = True
    try:
        with ExitStack() as stack:
            layout = _open(listed, stack)
            files = {file.path: file.stamp.size for part in layout.weights for file in part.files}
            found = replace(
                listed, state="found", what=described(layout), bytes=sum(files.values())
            )
    except CheckpointNotFound as error:
        lasts = False  # what is missing may be beside it
        if listed.place == "hub":
            why = "Not all of it is in the hub's cache; loading it fetches the rest."
            found = replace(listed, state="found", why=why)
        else:
            found = replace(listed, state="refused", why=str(error))
    except SDWidgetsError as error:
        found = _part(listed) or replace(listed, state="refused", why=str(error))
    except Exception as error:  # a file that lies may lead to anything
        found = replace(listed, state="refused", why=f"It cannot be read: {quoted(str(error))}.")
    if lasts:
        with _known_lock:
            _known[key] = stamp, found
            while len(_known) > REMEMBERED:
                _known.popitem(last=False)
    return found


def described(layout: Layout) -> str:
    """What a model is, in words: its family, its size of images, its type of numbers."""
    config = layout.config
    parts = [
        words_of(config.unet),
        f"{config.size} x {config.size} pixels",
    ]
    if layout.few_steps is not None:
        steps = layout.few_steps.steps
        parts.append("1 step" if steps == 1 else f"{steps} steps")
    if layout.prediction_source == "config":
        parts.append(f"predicts {config.schedule.prediction}")
    kinds = Counter(
        FLOATS[entry.dtype]
        for file in layout.weights[0].files
        for entry in file.entries.values()
        if entry.dtype in FLOATS
    )
    return ", ".join([*parts, *(kind for kind, _ in kinds.most_common(1))])


def _part(listed: Listed) -> Listed | None:
    """What is no whole model, but part of one or an addition to one; None for anything else."""
    try:
        found = inspect(listed.path)
    except SDWidgetsError:
        return None
    if not found.is_part:
        return None
    use = f"Use it with {found.loads}" if found.loads else found.refused
    why = use or "This kit does not use it."
    return replace(listed, state="part", what=found.title, bytes=found.bytes, why=why)


def _open(listed: Listed, stack: ExitStack) -> Layout:
    if listed.path.is_dir():
        return open_model_folder(listed.path, listed.title, stack)
    return open_file(listed.path, stack)


def _stamp(path: Path) -> _Stamp:
    """The state of a file, or of all files of a model folder."""
    paths = [path]
    if path.is_dir():
        paths = sorted([*path.glob("*.json"), *path.glob("*.py"), *path.glob("*/*")])
    return tuple(_state(one) for one in paths[:MOST])


def _state(path: Path) -> tuple[str, int, int]:
    try:
        info = path.stat()
    except FileNotFoundError:  # a link to a file that is gone
        return str(path), -1, -1
    return str(path), info.st_size, info.st_mtime_ns


def config_of(name: str) -> ModelConfig | None:
    """The config of a model that is on this machine, told by its headers alone.

    ``name``: what `load_model` takes. None for what is not here, or is no whole model. It never
    raises.
    """
    try:
        place = Path(name).expanduser()
        if (bundled := zoo.model_folder(name)) is not None:
            found = Listed(name, name, "bundled", bundled)
        elif place.exists():
            found = Listed(name, place.name, "folder", Path(os.path.realpath(place)))
        else:
            cached = (path for model_id, path in hub.cached_models() if model_id == name)
            path = next(cached, None)
            if path is None:
                return None
            found = Listed(name, name, "hub", path)
        with ExitStack() as stack:
            return _open(found, stack).config
    except Exception:  # a file that lies may lead to anything
        return None
