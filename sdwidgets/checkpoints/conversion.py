"""``convert``: safetensors out of a pickle, another type of numbers, another layout, or a part.

Without a layout and a part, any file of weights is converted, whatever it holds: its tensors keep
their names. A layout needs to know what the file is, so that is for models.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import torch

from .. import checks
from ..configs import ModelConfig
from ..errors import CheckpointError, InputError
from ..untrusted import PREFIX, is_pickle, open_regular
from ..version import __version__
from . import config_json
from .contents import Contents, Part, Tensors, as_dtype
from .exchange import is_there
from .fill import leftovers
from .folder_files import MARKERS, placed
from .layout import Layout
from .pickles import PickleFile, open_weights
from .prediction import settled
from .save import check_has_folder, is_describable, write_model_folder, write_part_folder
from .save_file import FileLayout, in_one_file, notes, part_in_file
from .save_system import write_system_folder
from .single_file import open_file
from .system import open_model_folder
from .target import stored_dtype
from .weights import TensorFile
from .writing import Progress, check_disk, outgoing, write_tensors

TargetLayout = Literal["compvis", "diffusers", "folder"]

LAYOUTS = ("compvis", "diffusers", "folder")
PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")


@dataclass(frozen=True)
class Converted:
    """What `convert` wrote: ``tensors`` of ``bytes`` together at ``path``. ``notes`` say more."""

    path: Path
    tensors: int
    bytes: int
    notes: tuple[str, ...] = ()


def convert(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    dtype: str | torch.dtype | None = None,
    layout: TargetLayout | None = None,
    part: Part | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Converted:
    """Write a file of weights to the safetensors file or model folder ``out``.

    ``path``: a safetensors file, a pickle (.ckpt, .pt, .pth, .bin) or a model folder. Nothing in a
    pickle is run; a pickle that wants anything but tensors and containers is refused, and the error
    names what it wants. Its tensors are those of its ``state_dict`` or ``model`` if it has one;
    `PickleFile` has the names. Tensors that share memory become tensors of their own.

    ``dtype``: "float16", "bfloat16" or "float32" for all tensors of floats; None keeps each as it
    is. Integers are always kept. ``layout``, for models: "compvis" is one file by the original
    names (for XL those of Stability's code), "diffusers" one file by diffusers' names, "folder" a
    model folder. ``part``: "unet", "vae", "text_encoder" or "text_encoder_2" alone. ``overwrite``:
    replace an existing ``out``. ``progress(done, total)`` is called with bytes.

    A tensor is read and written at a time. The result takes its name when it is complete. Raises
    ``CheckpointNotFound``, ``CheckpointError`` or ``InputError``; nothing is left behind then.
    """
    source, target = checks.path("path", path), checks.path("out", out)
    number = stored_dtype(dtype)
    if layout is not None:
        checks.choice("layout", layout, LAYOUTS)
    if part is not None:
        checks.choice("part", part, PARTS)
    checks.flag("overwrite", overwrite)
    checks.function("progress", progress)
    if layout is None and source.is_dir() and part is None:
        layout = "compvis" if target.suffix == ".safetensors" else "folder"
    _check_target(source, target, layout == "folder", overwrite)
    if layout is None and part is None:
        return _with_same_names(source, target, number, progress)
    with ExitStack() as stack:
        opened = _open(source, target, stack)
        contents = Contents.of_layout(opened).as_dtype(number)
        job = _Job(contents, target, progress, lambda: _check_unchanged(opened))
        said = (*opened.notices, *opened.said, *leftovers(opened.shown, contents.left_out))
        if layout == "folder":
            found = job.write_folder(part)
        else:
            found = job.write_file(layout or "compvis", part)
    return replace(found, notes=(*said, *found.notes))


_ORIGIN = {"converted_by": f"sdwidgets {__version__}"}


@dataclass(frozen=True)
class _Job:
    """The contents of a model, and where they are to be written."""

    contents: Contents
    target: Path
    progress: Progress | None
    check: Callable[[], None]

    def write_file(self, layout: FileLayout, part: Part | None) -> Converted:
        config = self.contents.config
        if part is None:
            tensors, told = in_one_file(self.contents, layout), notes(config)
        else:
            tensors, told = part_in_file(self.contents, part, layout), {}
        write_tensors(self.target, tensors, {**told, **_ORIGIN}, self.progress, self.check)
        found = _converted(self.target, tensors)
        return found if part is not None else replace(found, notes=_untold(self.target, config))

    def write_folder(self, part: Part | None) -> Converted:
        contents, done = self.contents, 0
        if part is None:
            networks: tuple[Tensors, ...] = contents.all
        else:
            check_has_folder(contents.config)
            networks = (contents.network(part),)
        tensors = {f"{n}.{name}": t for n, each in enumerate(networks) for name, t in each.items()}
        total = sum(tensor.size for tensor in tensors.values())
        check_disk(self.target.absolute().parent, total)

        def progress(written: int, size: int) -> None:
            nonlocal done
            if self.progress is not None:
                self.progress(done + written, total)
            done += size if written == size else 0

        def write(new: Path) -> None:
            if part is None and is_describable(contents.config):
                write_model_folder(contents, new, progress)
            elif part is None:
                write_system_folder(contents, new, progress=progress)
            else:
                write_part_folder(contents, part, new, progress)
            self.check()

        placed(self.target, MARKERS if part is None else ("config.json",), write)
        return _converted(self.target, tensors)


def _converted(target: Path, tensors: Tensors) -> Converted:
    return Converted(target, len(tensors), sum(each.size for each in tensors.values()))


def _with_same_names(
    source: Path, target: Path, dtype: torch.dtype | None, progress: Progress | None
) -> Converted:
    """Convert a file of anything."""
    with open_weights(source) as file:
        stored = {name: outgoing(file, name) for name in file.entries}
        tensors = _as_dtype(file, stored, dtype)
        told = {key: value for key, value in file.metadata.items() if key != "format"}
        write_tensors(target, tensors, {**told, **_ORIGIN}, progress, file.check_unchanged)
        return replace(_converted(target, tensors), notes=_taken(file))


def _open(source: Path, target: Path, stack: ExitStack) -> Layout:
    """Open a model, until ``stack`` closes. Raises ``CheckpointError`` for what is none."""
    if source.is_dir():
        layout = open_model_folder(source, source.resolve().name, stack)
    elif _is_pickle(source):
        # Its tensors are first put into a safetensors file, in the same way as without a layout.
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.parent / f".{source.stem[:80]}.{secrets.token_hex(8)}.safetensors"
        stack.callback(scratch.unlink, missing_ok=True)
        _with_same_names(source, scratch, None, None)
        layout = open_file(scratch, stack)
        layout = replace(layout, config=replace(layout.config, name=source.stem))
    else:
        layout = open_file(source, stack)
    config_json.check_schedule(layout.config.schedule, str(source))
    return settled(layout, None)


def _is_pickle(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return is_pickle(file.read(PREFIX))
    except OSError:  # opening it as a model says what is wrong
        return False


def _check_unchanged(layout: Layout) -> None:
    for weights in layout.weights:
        for file in weights.files:
            file.check_unchanged()


def _check_target(source: Path, target: Path, is_folder: bool, overwrite: bool) -> None:
    if not is_folder and target.suffix != ".safetensors":
        raise InputError(
            f"The new file is a safetensors file: end the name {target.name!a} in .safetensors.",
            parameter="out",
        )
    if not is_there(target):
        return
    if target.is_dir() != is_folder or not (is_folder or target.is_file()):
        raise InputError(
            f"{target} exists and is no {'folder' if is_folder else 'file'}.", parameter="out"
        )
    what = "folder" if is_folder else "file"
    if source.exists() and target.samefile(source):
        raise InputError(
            f"{target} is the {what} to convert. Give the new {what} another name.",
            parameter="out",
        )
    if not overwrite and not (is_folder and not any(target.iterdir())):
        raise InputError(
            f"{target} exists. Give another name, or ask for it to be replaced (overwrite).",
            parameter="out",
        )


def _as_dtype(file: TensorFile, tensors: Tensors, dtype: torch.dtype | None) -> Tensors:
    if dtype is not None and any(
        name.endswith((".scale_weight", ".weight_scale", "scaled_fp8")) for name in tensors
    ):
        raise CheckpointError(
            f"{file.path} has weights of 8 bits with scales, which another type would change.\n"
            "Give a layout, too, which applies the scales; or convert it without dtype."
        )
    return as_dtype(tensors, dtype)


def _taken(file: TensorFile) -> tuple[str, ...]:
    """Say which tensors of a pickle were taken, and what was not."""
    if not isinstance(file, PickleFile):
        return ()
    said = []
    if file.place:
        said.append(f"The tensors of {'.'.join(file.place)!a} were taken.")
    if file.left_out:
        shown = ", ".join(ascii(name[:40]) for name in file.left_out[:5])
        more = len(file.left_out) - 5
        said.append(f"Left out: {shown}{f' and {more} more' if more > 0 else ''}.")
    return tuple(said)


def _untold(path: Path, config: ModelConfig) -> tuple[str, ...]:
    """Say what a single file does not tell about the model in it, so that it loads differently."""
    try:
        with ExitStack() as stack:
            read = settled(open_file(path, stack), None).config
    except CheckpointError:
        return (f"To load {path.name}, pass config=ModelConfig(...): its family is not known.",)
    parts = (
        ("network", config.unet, read.unet),
        ("autoencoder", config.autoencoder, read.autoencoder),
        ("noise", config.schedule, read.schedule),
    )
    unlike = [
        f"{field.name} of the {title}"
        for title, own, found in parts
        for field in fields(own)
        if field.name not in _NOT_TOLD and getattr(own, field.name) != getattr(found, field.name)
    ]
    if not unlike:
        return ()
    return (
        f"A single file does not tell {', '.join(unlike[:5])}; to load {path.name}, pass "
        "config=ModelConfig(...).",
    )


# Spelled in several ways, or of no effect on what is computed.
_NOT_TOLD = ("up_depths", "middle_depth", "cross_only", "spacing", "offset")
