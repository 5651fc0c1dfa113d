"""A training's checkpoint: written whole or not at all, and checked when read.

It is a dict of "model" (the weights), "ema" (their average), "step" (steps taken so far) and
"optimizers" (their states) and "identity" (see `identity`). A model unpacked from a folder has no
optimisers and no identity, and files of earlier versions have no identity.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import is_whole
from ..errors import CheckpointError, CheckpointNotFound

_RENAMED = (
    # transformers 5 leaves out the prefix of a text transformer's names
    (
        re.compile(r"^(text|conditioner)\.(?=(embeddings|encoder|final_layer_norm)\.)"),
        r"\1.text_model.",
    ),
    (re.compile(r"^conditioner\."), "embedders.0."),
)
"""Names of weights in checkpoints of version 0.1.0, and what replaces them."""

REMEDY = "Give the file of this training, or a new name to start over. Nothing was loaded."


def save_atomically(state: dict, path: Path) -> None:
    """Write ``path`` so that at every moment it is either the old file or the whole new one.

    Raises CheckpointError if it cannot be written; the old file is then untouched.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError when a disk is full
        problem = getattr(error, "strerror", None) or str(error).splitlines()[0]
    except BaseException:  # Ctrl-C
        part.unlink(missing_ok=True)
        raise
    else:
        return
    _remove(part)
    kept = "The file that was there is untouched. " if path.exists() else ""
    raise CheckpointError(
        f"{path} could not be written: {problem}.\n{kept}The weights in memory are not lost:\n"
        "make room, or save them elsewhere."
    )


def _remove(part: Path) -> None:
    """Remove the unfinished file, if possible."""
    try:
        part.unlink(missing_ok=True)
    except OSError:
        return


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The state that a training left in ``path``. Raises CheckpointError for any other file."""
    problem = ""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        state = None
    except Exception as error:  # torch raises nearly everything on broken files
        problem = (str(error) or type(error).__name__).splitlines()[0]
    if problem:
        raise CheckpointError(
            f"{path} cannot be read as a training's checkpoint: {problem:.120}\n"
            "It is truncated, or another kind of file. Move it away to start over."
        )
    if state is None:
        raise CheckpointNotFound(f"There is no checkpoint {str(path)!r}.")
    if not (
        isinstance(state, dict)
        and all(_are_weights(state.get(part)) for part in ("model", "ema"))
        and is_whole(state.get("step"))
        and state["step"] >= 0
    ):
        raise CheckpointError(f"{path} is not the checkpoint of a training.\n{REMEDY}")
    return state | {part: _renamed(state[part]) for part in ("model", "ema")}


def _renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the names that they have now."""
    renamed = {}
    for name, value in weights.items():
        for old, new in _RENAMED:
            name = old.sub(new, name)
        renamed[name] = value
    return renamed


def _are_weights(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, Tensor) for one in value.values())


def check_fits(state: dict[str, Any], model: nn.Module, path: Path) -> None:
    """Raise CheckpointError, naming the first difference, if ``state`` is another model's."""
    own = model.state_dict()
    for kept in (state["model"], state["ema"]):
        missing = own.keys() - kept.keys() if "optimizers" in state else set()
        for name in sorted(missing | kept.keys()):
            there = [*kept[name].shape] if name in kept else "missing"
            here = [*own[name].shape] if name in own else "missing"
            if there != here:
                raise CheckpointError(
                    f"{path} belongs to another model: {name} is {there} there and {here} here.\n"
                    f"{REMEDY}"
                )


def load_optimizers(
    optimizers: list[torch.optim.Optimizer], states: list[dict], path: Path
) -> None:
    """Load the optimisers' states. Raises CheckpointError if they are of other optimisers."""
    try:
        for optimizer, kept in zip(optimizers, states, strict=True):
            optimizer.load_state_dict(kept)
        return
    except (ValueError, KeyError, TypeError) as error:
        problem = str(error).splitlines()[0]
    raise CheckpointError(f"{path} was made with other optimisers: {problem:.120}\n{REMEDY}")


def averaged(checkpoint: Path) -> dict[str, Tensor]:
    """The averaged weights that a training left in ``checkpoint``, on the CPU."""
    weights: dict[str, Tensor] = read_checkpoint(checkpoint)["ema"]
    return weights
