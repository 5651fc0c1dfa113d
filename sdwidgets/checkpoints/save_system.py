"""``save_system``: a complete folder of our own layout, or none; see `system`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from .. import checks
from ..configs import ModelConfig
from ..errors import CheckpointError, InputError
from .contents import Contents, Tensors
from .exchange import sync
from .fill import read_place
from .folder_files import (
    MARKERS,
    placed,
    write_json,
    write_notes,
    write_tokenizer,
    write_weights,
)
from .layout import Weights
from .plain_config import config_from_plain, config_to_plain
from .system import (
    MARK,
    MODEL,
    VERSION,
    WEIGHTS,
    Shared,
    parts_of_system,
    shares_from,
    tokenizer_folder,
)
from .target import stored_dtype
from .weights import FLOATS
from .writing import Outgoing, Progress

if TYPE_CHECKING:
    from ..models.tokenizer import Tokenizer
    from ..pipeline import LatentDiffusion


def save_system(
    model: LatentDiffusion,
    folder: str | os.PathLike[str],
    *,
    dtype: str | torch.dtype | None = torch.float16,
    shares: Mapping[str, str] | None = None,
) -> Path:
    """Write any ``model`` to ``folder`` in our own layout and return its path; `load_model` reads
    it.

    ``dtype`` is the type of the stored weights; None keeps theirs. ``shares``: {part: name of a
    bundled model}, for the parts "unet", "autoencoder" and "embedders.N"; an autoencoder may also
    be that of a bundled autoencoder ("KL-f4"). Tensors that are equal to that model's, as they are
    stored, are left out, and so is the tokenizer of a shared text encoder.

    Raises what `save_model` raises, and ``InputError`` for unknown names.
    """
    from ..pipeline import LatentDiffusion

    stored = stored_dtype(dtype)
    target = checks.path("folder", folder)
    checks.instance("model", model, LatentDiffusion, "sdwidgets.load() returns one.")
    contents = Contents.of(model).as_dtype(stored)
    check_has_system(contents.config)
    return placed(target, MARKERS, lambda new: write_system_folder(contents, new, shares or {}))


def check_has_system(config: ModelConfig) -> None:
    """Raise ``InputError`` for a model whose config our own layout would not read again."""
    try:
        same = config_from_plain(config_to_plain(config), "the config") == config
    except CheckpointError as error:
        raise InputError(f"The model cannot be saved: {error}", parameter="model") from None
    if not same:
        raise InputError(
            "The model cannot be saved: its config has values of other types than it says.",
            parameter="model",
        )


def write_system_folder(
    contents: Contents,
    folder: Path,
    shares: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a folder of our own layout, which does not exist yet. Raises ``OSError``, or
    ``InputError`` for names in ``shares`` that no bundled model has."""
    config = contents.config
    with ExitStack() as stack:
        try:
            shared = shares_from(shares or {}, config, "The model", stack)
        except CheckpointError as error:
            raise InputError(str(error), parameter="shares") from None
        folder.mkdir()
        tensors, used = dict[str, Outgoing](), set[str]()
        for part, own in zip(parts_of_system(config), contents.all, strict=True):
            kept = own if part not in shared else _others(own, shared[part].weights)
            used |= {part} if len(kept) < len(own) else set()
            tensors |= {f"{part}.{name}": tensor for name, tensor in kept.items()}
        named = {part: name for part, name in (shares or {}).items() if part in used}
        write_json(
            folder / MODEL, {MARK: VERSION, "shares": named, "config": config_to_plain(config)}
        )
        write_weights(folder / WEIGHTS, tensors, progress=progress)
    for number, (index, tokenizer) in enumerate(contents.read_by):
        if not _has_tokenizer(shared.get(f"embedders.{index}"), tokenizer):
            write_tokenizer(folder / tokenizer_folder(number), tokenizer, config.text[number])
    write_notes(contents, folder)
    for path in (*folder.iterdir(), folder):
        if path.is_dir():
            sync(path)


def _others(tensors: Tensors, base: Weights) -> Tensors:
    """Return the tensors that are not equal to those of the same names in a bundled model."""
    return {name: each for name, each in tensors.items() if not _is_in(base, name, each)}


def _is_in(base: Weights, name: str, tensor: Outgoing) -> bool:
    place = base.place(name)
    if place is None or tensor.dtype not in FLOATS:
        return False
    file, source = place
    if file.entries[source.name].shape != tensor.shape:
        return False
    dtype = getattr(torch, FLOATS[tensor.dtype])
    return torch.equal(read_place(file, source, dtype, torch.Size(tensor.shape)), tensor.read())


def _has_tokenizer(shared: Shared | None, tokenizer: Tokenizer) -> bool:
    """Whether a text encoder's tokenizer is that of the bundled one with which it shares."""
    from ..models.tokenizer import load_tokenizer

    if shared is None or shared.tokenizer is None:
        return False
    theirs = load_tokenizer(shared.tokenizer)
    return (theirs.vocab, theirs.merges, {*theirs.added}) == (
        tokenizer.vocab,
        tokenizer.merges,
        {*tokenizer.added},
    )
