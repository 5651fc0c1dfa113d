"""Models from the Hugging Face hub: ids are checked, and only safetensors and settings fetched."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple, TypeVar

from ..daemon import start_daemon
from ..errors import Busy, HubError, InputError, SDWidgetsError, Stopped
from ..sources import Source
from ..untrusted import open_regular
from . import system
from .folder import VARIANTS, shards
from .model_index import TEXT_FOLDERS, text_folders
from .weights import quoted, read_json

T = TypeVar("T")

_TIMEOUT = 10.0  # seconds for a request
_DELAYS = (1.0, 4.0)  # seconds until a download that was cut is tried again
_UNREACHABLE = {"ConnectionError", "ConnectError", "TimeoutException", "Timeout", "TimeoutError"}
_PATIENCE = 3.0  # seconds for news about a model that is in the cache
_SLOW_SECONDS, _SLOW_BYTES = 300.0, 2**20  # a hub that sends less in that time is given up

# Only what a model folder needs: no pickles, no code, no second copy in a single file.
_SETTINGS = [
    "model_index.json",
    "preview.json",
    "vocabulary.json",
    "scheduler/scheduler_config.json",
    "low_res_scheduler/scheduler_config.json",
    "unet/config.json",
    "vae/config.json",
    *(
        name
        for encoder, tokenizer in TEXT_FOLDERS
        for name in (f"{tokenizer}/*.json", f"{tokenizer}/merges.txt", f"{encoder}/config.json")
    ),
]
_STEMS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    **{encoder: "model" for encoder, _ in TEXT_FOLDERS},
}
# The names of a part's weights, in the order in which they are wanted: as they were trained, or in
# another precision only. Older versions of diffusers put the variant at the end of a shard's name.
_WEIGHTS: list[tuple[str, ...]] = []
for _v in ("", *VARIANTS):
    _WEIGHTS.append((f"{{stem}}{_v}.safetensors",))
    for _index in (f"{{stem}}.safetensors.index{_v}.json", f"{{stem}}{_v}.safetensors.index.json"):
        _WEIGHTS.append((_index, f"{{stem}}{_v}-?????-of-?????.safetensors"))
        _WEIGHTS.append((_index, f"{{stem}}-?????-of-?????{_v}.safetensors"))

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_ID = re.compile(rf"{_NAME}/{_NAME}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")


def is_model_id(text: object) -> bool:
    """Whether ``text`` can be the id of a model on the hub, "owner/name"."""
    if not isinstance(text, str):
        return False
    return bool(_ID.fullmatch(text)) and "--" not in text and ".." not in text


def fetch(
    model_id: str, revision: str | None = None, *, stop: Callable[[], bool] | None = None
) -> Path:
    """Return a local folder with the model, from the cache if it is there, else downloaded.

    ``revision`` is a branch, tag or commit. ``stop()`` is asked while files are downloaded. Raises
    ``HubError``, which says what to do, ``Stopped``, and ``InputError`` for an impossible id or
    revision, before any request.
    """
    if not is_model_id(model_id):
        raise InputError(
            f"{quoted(model_id)} is not a model id like 'owner/name'.", parameter="name"
        )
    if revision is not None and not _is_revision(revision):
        raise InputError(
            f"{quoted(revision)} is not a branch, tag or commit.", parameter="revision"
        )
    if cached := _cached(model_id, revision):
        return cached
    listing = _asked(model_id, revision, lambda: _listing(model_id, revision))
    names = wanted_files(list(listing.files))
    if not names:
        raise HubError(_what_is_there(model_id, list(listing.files)))
    _check_disk(model_id, sum(listing.files[name].size or 0 for name in names))
    folder = _asked(model_id, revision, lambda: _downloaded(model_id, revision, names, stop))
    for name in names:
        _check_digest(model_id, folder / name, listing.files[name].sha256)
    if not _is_whole(folder):
        raise HubError(
            f"{model_id} was not downloaded completely, for a reason that the hub did not give.\n"
            "Try again."
        )
    return folder


class File(NamedTuple):
    """A file of a repository, as the hub lists it."""

    size: int | None = None  # bytes
    sha256: str = ""  # of large files only


class Listing(NamedTuple):
    """A repository's state."""

    model_id: str  # its present name, to which an older one leads
    commit: str
    files: Mapping[str, File]


def wanted_files(names: Sequence[str]) -> list[str]:
    """Return those of a repository's files that make a model folder; [] if it has none.

    Weights in half precision are taken only if there are no others.
    """
    chosen = [name for name in names if any(fnmatchcase(name, p) for p in _SETTINGS)]
    if "model_index.json" not in names and {*system.FILES} <= {*names}:  # our own layout
        return [*chosen, *system.FILES]
    for part, stem in _STEMS.items():
        for patterns in _WEIGHTS:
            paths = [f"{part}/{pattern.format(stem=stem)}" for pattern in patterns]
            found = [[n for n in names if fnmatchcase(n, path)] for path in paths]
            if all(found):
                chosen += [name for some in found for name in some]
                break
        else:
            if part in ("unet", "vae"):
                return []
    encoders = tuple(f"{encoder}/{_STEMS[encoder]}" for encoder, _ in TEXT_FOLDERS)
    whole = "model_index.json" in chosen and any(name.startswith(encoders) for name in chosen)
    return chosen if whole else []


def _is_revision(revision: object) -> bool:
    return (
        isinstance(revision, str) and bool(_REVISION.fullmatch(revision)) and ".." not in revision
    )


def _cached(model_id: str, revision: str | None) -> Path | None:
    """Return the folder in the cache, if all of the model is there."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(model_id, revision=revision, local_files_only=True))
        return folder if _is_whole(folder) else None
    except Exception:  # not in the cache, or not completely
        return None


def _asked(model_id: str, revision: str | None, request: Callable[[], T]) -> T:
    """Return what the hub answers. Raises ``HubError`` in our words."""
    try:
        return request()
    except SDWidgetsError:
        raise
    except Exception as error:  # of three libraries, by version
        failure = _explain(error, model_id, revision)
    # Raised here because the library's error may hold addresses with a token in them.
    raise HubError(failure)


def _listing(model_id: str, revision: str | None) -> Listing:
    from huggingface_hub import HfApi

    info = HfApi().model_info(model_id, revision=revision, files_metadata=True, timeout=_TIMEOUT)
    files = {}
    for each in info.siblings or []:
        large = each.lfs  # a dictionary in older versions of the library
        digest = large.get("sha256") if isinstance(large, dict) else getattr(large, "sha256", None)
        files[each.rfilename] = File(each.size, digest or "")
    return Listing(info.id or model_id, info.sha or "", files)


def _downloaded(
    model_id: str, revision: str | None, names: Sequence[str], stop: Callable[[], bool] | None
) -> Path:
    """Return the folder, once all files are there.

    A thread downloads, so that this can stop, and can give up on a hub that hardly sends anything:
    the library only limits the time of each request.
    """
    from huggingface_hub import snapshot_download

    outcome: list[Path | Exception] = []
    patterns = [glob.escape(name) for name in names]

    def download() -> None:
        for delay in (*_DELAYS, None):
            try:
                folder = snapshot_download(model_id, revision=revision, allow_patterns=patterns)
                outcome.append(Path(folder))
                return
            except Exception as error:
                if delay is None or not _may_pass(error):
                    outcome.append(error)
                    return
            time.sleep(delay)  # then what is there already is kept

    thread = start_daemon("sdwidgets-download", download)
    there, since = _stored(model_id), time.monotonic()
    while thread.is_alive():
        thread.join(0.1)
        if stop is not None and stop():
            raise Stopped("Stopped while the model was downloaded.")
        if time.monotonic() - since > _SLOW_SECONDS:
            now = _stored(model_id)
            if now - there < _SLOW_BYTES and thread.is_alive():
                raise HubError(
                    f"The hub sent {max(now - there, 0):,} bytes of {model_id} in "
                    f"{_SLOW_SECONDS:,.0f} seconds.\nTry again later, or over another connection."
                )
            there, since = now, time.monotonic()
    result = outcome[0]
    if isinstance(result, Exception):
        raise result
    return result


def _may_pass(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    errors = list(_causes(error))
    status = {getattr(getattr(e, "response", None), "status_code", None) for e in errors}
    kinds = {kind.__name__ for e in errors for kind in type(e).__mro__}
    busy = any(isinstance(code, int) and (code >= 500 or code == 429) for code in status)
    cut = {"ChunkedEncodingError", "IncompleteRead", "ProtocolError", "RemoteProtocolError"}
    return busy or bool(kinds & (_UNREACHABLE | cut))


def _cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _stored(model_id: str) -> int:
    """Return how many bytes of a model are in the cache, with those of files under way."""
    total = 0
    for folder, _, names in os.walk(_cache() / f"models--{model_id.replace('/', '--')}" / "blobs"):
        for name in names:
            with suppress(OSError):  # renamed meanwhile
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def _check_disk(model_id: str, needed: int) -> None:
    """Raise ``HubError`` if the files cannot fit on the cache's disk."""
    needed -= _stored(model_id)
    place = next((p for p in (_cache(), *_cache().parents) if p.is_dir()), None)
    if place is None:
        return
    free = shutil.disk_usage(place).free
    if needed > free:
        raise HubError(
            f"{model_id} needs {needed:,} bytes on the disk of {place}, which has {free:,} left.\n"
            "Free some space, or set HF_HOME to a folder on another disk."
        )


def _check_digest(model_id: str, path: Path, expected: str) -> None:
    """Remove a file, and raise ``HubError``, if it is not what the hub lists."""
    if not expected or not path.is_file():
        return
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    if digest.hexdigest() == expected:
        return
    stored = path.resolve()  # the cache links to its files
    for each in {path, stored}:
        each.unlink(missing_ok=True)
    raise HubError(
        f"{model_id}: {path.parent.name}/{path.name} is not the file that the hub lists (its "
        "SHA-256 differs); it was removed.\nTry again."
    )


class Question:
    """Asks the hub, while a model from the cache is loaded, whether its branch has moved on."""

    def __init__(self, model_id: str, revision: str | None, folder: Path):
        self._id, self._branch, self._commit = model_id, revision or "main", folder.name
        self._listing: Listing | None = None
        self._end = time.monotonic() + _PATIENCE
        self._thread: threading.Thread | None = None
        # A commit stays as it is. A folder of another name is not from the library's cache.
        if _COMMIT.fullmatch(self._commit) and not _COMMIT.fullmatch(self._branch):
            with suppress(Busy):
                self._thread = start_daemon("sdwidgets-hub", self._ask, revision)

    def _ask(self, revision: str | None) -> None:
        with suppress(Exception):  # no network, a private model: then nothing is known
            self._listing = _listing(self._id, revision)

    def notices(self) -> tuple[str, ...]:
        """Return what the hub says, if it has answered within a few seconds."""
        if self._thread is not None:
            self._thread.join(max(self._end - time.monotonic(), 0.0))
        answer = self._listing
        if answer is None:
            return ()
        said = []
        if answer.model_id.lower() != self._id.lower():
            said.append(
                f"{self._id} is now called {quoted(answer.model_id)} on the hub: its owner or name "
                "has changed."
            )
        if _COMMIT.fullmatch(answer.commit) and answer.commit != self._commit:
            said.append(
                f"{self._id} was loaded from the cache, at commit {self._commit[:8]}; on the hub, "
                f"{self._branch} is now at {answer.commit[:8]}. "
                f"For that pass revision={answer.commit!r}."
            )
        return tuple(said)


def source_of(model_id: str, folder: Path) -> Source:
    """Return the source of a fetched folder, which the hub's cache names by its commit."""
    return Source(model_id, commit=folder.name if _COMMIT.fullmatch(folder.name) else "")


def cached_models() -> Iterator[tuple[str, Path]]:
    """Return the id and the folder of each model in the hub's cache, perhaps not all of it there.

    These are the folders that `fetch` looks for first, without a revision. Raises OSError if the
    cache cannot be read.
    """
    for entry in sorted(_cache().iterdir()) if _cache().is_dir() else ():
        model_id = entry.name.removeprefix("models--").replace("--", "/")
        if not entry.name.startswith("models--") or not is_model_id(model_id):
            continue
        with suppress(OSError, ValueError), open_regular(entry / "refs" / "main") as file:
            commit = file.read(100).decode("ascii").strip()
            folder = entry / "snapshots" / commit
            is_model = (folder / "model_index.json").is_file() or system.is_system(folder)
            if _COMMIT.fullmatch(commit) and is_model:
                yield model_id, folder


def _is_whole(folder: Path) -> bool:
    index = folder / "model_index.json"
    if not index.is_file():
        return all((folder / name).is_file() for name in system.FILES)
    encoders = [encoder for encoder, _ in text_folders(read_json(index))]
    return all(_has_weights(folder / part) for part in ("unet", "vae", *encoders))


def _has_weights(part: Path) -> bool:
    """Whether the folder has a file with all weights, or every file that an index lists."""
    if any("-of-" not in path.name for path in part.glob("*.safetensors")):
        return True
    indices = list(part.glob("*.index*.json"))
    return any(all(path.is_file() for path in shards(index)) for index in indices)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _explain(error: Exception, model_id: str, revision: str | None) -> str:
    """Return the error in our words: its own text may hold a token and has many lines."""
    errors = list(_causes(error))
    # By name, because the classes have moved between the library's versions.
    kinds = {kind.__name__ for e in errors for kind in type(e).__mro__}
    status = {getattr(getattr(e, "response", None), "status_code", None) for e in errors}
    if "GatedRepoError" in kinds or 403 in status:
        return (
            f"{model_id} is only for users who accepted its terms.\n"
            f"Accept them at huggingface.co/{model_id}, then run `hf auth login`."
        )
    if "RevisionNotFoundError" in kinds:
        return f"{model_id} has no branch, tag or commit {ascii(revision)[:80]}."
    if "RepositoryNotFoundError" in kinds or status & {401, 404}:
        return (
            f"There is no model {model_id} on the hub, or it is private.\n"
            "Check the spelling; for a private model run `hf auth login`."
        )
    if 429 in status:
        return "The hub refused because of too many requests (429).\nTry again in a few minutes."
    if any(isinstance(code, int) and code >= 500 for code in status):
        return "The hub itself has an error (5xx).\nTry again later."
    if any(isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT) for e in errors):
        return f"The disk is full: {model_id} could not be stored.\nFree some space and try again."
    if denied := [e for e in errors if isinstance(e, PermissionError)]:
        place = quoted(str(denied[0].filename or _cache()), 200)
        return (
            f"{model_id} was not stored: {place} is not writable.\n"
            "Set HF_HOME to a folder of your own."
        )
    if "OfflineModeIsEnabled" in kinds:
        return f"{model_id} is not on this machine, and HF_HUB_OFFLINE forbids fetching it."
    if kinds & {*_UNREACHABLE, "LocalEntryNotFoundError"}:
        return (
            f"The hub cannot be reached, and {model_id} is not on this machine.\n"
            "Check the connection, or load a local file or folder."
        )
    return f"{model_id} could not be downloaded ({type(error).__name__}). Try again."


def _what_is_there(model_id: str, names: Sequence[str]) -> str:
    """Return a message about a repository without a diffusers folder: what it has instead."""
    pickles = [name for name in names if name.endswith((".bin", ".ckpt", ".pt", ".pth"))]
    single = [name for name in names if name.endswith(".safetensors") and "/" not in name]
    why = f"{model_id} holds no model folder with safetensors weights."
    if single:
        return f"{why}\nIt has {ascii(single[0])[:100]}: download that file and load its path."
    if pickles:
        shown = ", ".join(ascii(name)[:60] for name in pickles[:5])
        return (
            f"{why}\nIts weights are pickles, which can run code: {shown}.\n"
            "Download one of a whole model: sdwidgets convert FILE --out NEW.safetensors"
        )
    return why
