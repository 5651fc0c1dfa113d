"""Models from the Hugging Face hub: ids are checked, and only safetensors and settings fetched."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import HubError, InputError
from ..sources import Source
from .config_json import is_xl, text_folders
from .folder import shards
from .weights import read_json

# Only what a model folder needs: no pickles, no code, no second copy in a single file.
FILES = [
    "model_index.json",
    "preview.json",
    "vocabulary.json",
    "scheduler/scheduler_config.json",
    *(
        name
        for encoder, tokenizer in text_folders(2)
        for name in (
            f"{tokenizer}/*.json",
            f"{tokenizer}/merges.txt",
            f"{encoder}/config.json",
            f"{encoder}/model.safetensors",
            f"{encoder}/model.safetensors.index.json",
            f"{encoder}/model-?????-of-?????.safetensors",
        )
    ),
    *(
        f"{part}/{name}"
        for part in ("unet", "vae")
        for name in (
            "config.json",
            "diffusion_pytorch_model.safetensors",
            "diffusion_pytorch_model.safetensors.index.json",
            "diffusion_pytorch_model-?????-of-?????.safetensors",
        )
    ),
]

# Repositories whose CLIP vocabulary serves Stable Diffusion 1 and 2; looked for in the cache only.
_VOCABULARIES = (
    ("openai/clip-vit-large-patch14", ""),
    ("stable-diffusion-v1-5/stable-diffusion-v1-5", "tokenizer/"),
    ("runwayml/stable-diffusion-v1-5", "tokenizer/"),
    ("CompVis/stable-diffusion-v1-4", "tokenizer/"),
    ("stabilityai/stable-diffusion-2-1", "tokenizer/"),
    ("stabilityai/stable-diffusion-2-1-base", "tokenizer/"),
    ("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", ""),
)

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_ID = re.compile(rf"{_NAME}/{_NAME}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")


def is_model_id(text: str) -> bool:
    """Whether ``text`` can be the id of a model on the hub, "owner/name"."""
    return bool(_ID.fullmatch(text)) and "--" not in text and ".." not in text


def fetch(model_id: str, revision: str | None = None) -> Path:
    """Return a local folder with the model, from the cache if it is there, else downloaded.

    ``revision`` is a branch, tag or commit. Raises ``HubError``, which says what to do, and
    ``InputError`` for an impossible id or revision, before any request.
    """
    if not is_model_id(model_id):
        raise InputError(
            f"{ascii(model_id)[:80]} is not a model id like 'owner/name'.", parameter="name"
        )
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise InputError(
            f"{ascii(revision)[:80]} is not a branch, tag or commit.", parameter="revision"
        )
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(
                model_id, revision=revision, allow_patterns=FILES, local_files_only=True
            )
        )
        if _is_whole(folder):
            return folder
    except Exception:  # not in the cache, or not completely
        pass
    failure = None
    try:
        folder = Path(snapshot_download(model_id, revision=revision, allow_patterns=FILES))
    except Exception as error:  # of three libraries, by version
        failure = _explain(error, model_id, revision)
    # Raised here because the library's error may hold addresses with a token in them.
    if failure is not None:
        raise HubError(failure)
    if not _is_whole(folder):
        raise HubError(_what_is_there(model_id, revision))
    return folder


def source_of(model_id: str, folder: Path) -> Source:
    """Return the source of a fetched folder, which the hub's cache names by its commit."""
    return Source(model_id, commit=folder.name if _COMMIT.fullmatch(folder.name) else "")


def cached_tokenizer() -> Path | None:
    """Return a folder with CLIP's vocabulary from the hub's cache; None if there is none."""
    from huggingface_hub import try_to_load_from_cache

    for model_id, folder in _VOCABULARIES:
        found = [
            try_to_load_from_cache(model_id, folder + name) for name in ("vocab.json", "merges.txt")
        ]
        if all(isinstance(path, str) for path in found):
            return Path(str(found[0])).parent
    return None


def _is_whole(folder: Path) -> bool:
    index = folder / "model_index.json"
    if not index.is_file():
        return False
    encoders = [encoder for encoder, _ in text_folders(2 if is_xl(read_json(index)) else 1)]
    return all(_has_weights(folder / part) for part in ("unet", "vae", *encoders))


def _has_weights(part: Path) -> bool:
    """Whether the folder has a file with all weights, or every file that an index lists."""
    if any("-of-" not in path.name for path in part.glob("*.safetensors")):
        return True
    indices = list(part.glob("*.safetensors.index.json"))
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
    if any(isinstance(e, PermissionError) for e in errors):
        return f"{model_id} was not stored: the hub's cache folder is not writable."
    if "OfflineModeIsEnabled" in kinds:
        return f"{model_id} is not on this machine, and HF_HUB_OFFLINE forbids fetching it."
    if kinds & {"ConnectionError", "ConnectError", "TimeoutException", "Timeout", "TimeoutError",
                "LocalEntryNotFoundError"}:  # fmt: skip
        return (
            f"The hub cannot be reached, and {model_id} is not on this machine.\n"
            "Check the connection, or load a local file or folder."
        )
    return f"{model_id} could not be downloaded ({type(error).__name__}). Try again."


def _what_is_there(model_id: str, revision: str | None) -> str:
    """Return a message about a repository without a diffusers folder: what it has instead."""
    from huggingface_hub import HfApi

    try:
        names = HfApi().list_repo_files(model_id, revision=revision)
    except Exception:
        names = []
    pickles = [name for name in names if name.endswith((".bin", ".ckpt", ".pt", ".pth"))]
    single = [name for name in names if name.endswith(".safetensors") and "/" not in name]
    why = f"{model_id} holds no model folder with safetensors weights."
    if single:
        return f"{why}\nIt has {ascii(single[0])[:100]}: download that file and load its path."
    if pickles:
        shown = ", ".join(ascii(name)[:60] for name in pickles[:5])
        return f"{why}\nIts weights are pickles, which can run code: {shown}."
    return why
