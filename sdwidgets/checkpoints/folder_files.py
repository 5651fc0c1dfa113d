"""The files of a model folder: written beside the target, which they replace all at once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..configs import TextConfig
from ..errors import CheckpointError, InputError
from .contents import Contents, Tensors
from .exchange import replaced, sync
from .system import MODEL, WEIGHTS
from .writing import Progress, write_into

if TYPE_CHECKING:
    from ..models.tokenizer import Tokenizer


def placed(target: Path, markers: Sequence[str], write: Callable[[Path], None]) -> Path:
    """Let ``write`` fill a new folder, which replaces ``target`` at once; return ``target``.

    A folder is only replaced if it is empty or has one of the files ``markers``.
    """
    try:
        refused = target.exists() and not _may_replace(target, markers)
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise CheckpointError(f"{target} cannot be written: {error.strerror}.") from error
    if refused:
        raise InputError(
            f"{target} holds something other than a model, and was left unchanged.\n"
            "Pass a new or empty folder.",
            parameter="folder",
        )
    try:
        replaced(target, write, lambda new: _keep_other_files(target, new))
    except OSError as error:
        raise CheckpointError(
            f"{target} could not be written: {error.strerror or error}.\n"
            "Its previous content is unchanged."
        ) from error
    return target


def _may_replace(target: Path, markers: Sequence[str]) -> bool:
    if not target.is_dir():
        return False
    return any((target / name).is_file() for name in markers) or not any(target.iterdir())


MARKERS = ("model_index.json", MODEL)
"""The files that tell a model folder, of either layout."""
_OURS = (*MARKERS, WEIGHTS, "preview.json", "vocabulary.json")
"""Files of a model. Those of the model that is replaced are not kept."""


def _keep_other_files(old: Path, new: Path) -> None:
    for path in old.iterdir():
        if path.is_file() and not (new / path.name).exists() and path.name not in _OURS:
            shutil.copy2(path, new / path.name)


def write_notes(contents: Contents, folder: Path) -> None:
    """Write the optional files of a model folder."""
    if contents.preview is not None:
        write_json(folder / "preview.json", {"factors": contents.preview.tolist()})
    if contents.vocabulary is not None:
        write_json(folder / "vocabulary.json", {"words": contents.vocabulary})


def write_weights(
    path: Path,
    tensors: Tensors,
    notes: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> None:
    with open(path, "xb") as file:
        write_into(file, tensors, notes or {}, progress)
    sync(path)


def write_tokenizer(folder: Path, tokenizer: Tokenizer, config: TextConfig) -> None:
    """Write the four files of CLIP's tokenizer, which every version of transformers reads."""
    words = sorted(tokenizer.vocab.items(), key=lambda item: item[1])
    merges = (" ".join(pair) for pair in tokenizer.merges)
    names = {number: token for token, number in words}
    ids = {"bos_token": config.bos, "eos_token": config.eos, "pad_token": config.pad}
    special = {role: names[number] for role, number in ids.items()}
    special["unk_token"] = special["eos_token"]  # as in CLIP; byte pairs leave nothing unknown
    flags = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    added = {
        str(number): {flag: getattr(token, flag) for flag in flags}
        for number, token in sorted(tokenizer.added.items())
    }
    write_json(folder / "vocab.json", dict(words), indent=None)
    _write_text(folder / "merges.txt", "\n".join(["#version: 0.2", *merges, ""]))
    write_json(folder / "special_tokens_map.json", special)
    write_json(
        folder / "tokenizer_config.json",
        {
            **special,
            "added_tokens_decoder": added,
            "model_max_length": config.length,
            "tokenizer_class": "CLIPTokenizer",
        },
    )


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    _write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    sync(path)
