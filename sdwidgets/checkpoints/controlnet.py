"""``load_control``: a ControlNet, from a file of any layout or a folder."""

from __future__ import annotations

import os
import warnings
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from .. import checks
from ..configs import ControlNetConfig, UNetConfig
from ..errors import CheckpointError, InputError
from ..sources import Source
from . import names
from .control_json import control_from_json
from .fill import Part, check_count, extras, fill_all, leftovers, plan, precision
from .folder import weight_files
from .layout import Weights
from .recognise import Shapes, family, foreign_names, kind_of
from .target import device_of, dtype_of, loaded
from .weights import WeightFile, quoted, read_json

if TYPE_CHECKING:
    from ..models.controlnet import ControlNet

_HINT = "input_hint_block.0.weight"
_THEIR_HINT = "controlnet_cond_embedding.conv_in.weight"
_PREFIXES = ("", "control_model.", "controlnet.")


def load_control(
    path: str | os.PathLike[str],
    config: ControlNetConfig | None = None,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    check_finite: bool = True,
) -> ControlNet:
    """Return the ControlNet (arXiv 2302.05543) in a safetensors file or a diffusers folder.

    A file may have CompVis's names ("control_model." before them or not) or diffusers'; of a file
    with a whole model, only the ControlNet is read. Files are recognised for Stable Diffusion 1, 2
    and XL, also those with fewer transformers; ``config`` is for other sizes. ``device`` and
    ``dtype`` are as for `load`; a run converts the network to its model's.

    Raises ``CheckpointNotFound``, ``CheckpointError`` (for truncated, unknown, unsafe or unfit
    files, and for controls of another kind: T2I-Adapters, control-LoRA, ...), ``OutOfMemory`` or
    ``InputError``. Except for values that are not finite, it does so before any weight is read.
    """
    target = device_of(device)
    number = dtype_of(dtype, target)
    checks.flag("check_finite", check_finite)
    place = checks.path("path", path)
    if config is not None:
        checks.instance("config", config, ControlNetConfig, "See sdwidgets.configs.")

    def assemble(stack: ExitStack) -> tuple[ControlNet, list[str]]:
        if place.is_dir():
            if config is not None:
                raise InputError(
                    "config= is for single files; a folder has its own.", parameter="config"
                )
            known, weights = _open_folder(place, stack)
        else:
            known, weights = _open_file(place, config, stack)
        return _assembled(place, known, weights, target, number, check_finite)

    net, notices = loaded(place, target, assemble)
    for said in notices:
        warnings.warn(said, stacklevel=2)
    return net


def _open_folder(folder: Path, stack: ExitStack) -> tuple[ControlNetConfig, Weights]:
    if (folder / "model_index.json").is_file():
        folder = folder / "controlnet"
    path = folder / "config.json"
    config = control_from_json(read_json(path), str(path))
    files = weight_files(folder, "diffusion_pytorch_model", stack)
    return config, Weights(files, names.diffusers_names())


def _open_file(
    path: Path, config: ControlNetConfig | None, stack: ExitStack
) -> tuple[ControlNetConfig, Weights]:
    file = stack.enter_context(WeightFile(path))
    shapes = file.shapes
    kind = kind_of(shapes)
    if kind is None or kind.key not in ("controlnet", "controlled"):
        what = foreign_names(shapes) or "a whole model, which sdwidgets.load takes"
        raise CheckpointError(f"{path} holds no ControlNet: it is {what}.")
    for prefix in _PREFIXES:
        is_compvis = prefix + _HINT in shapes
        if is_compvis or prefix + _THEIR_HINT in shapes:
            break
    else:
        raise CheckpointError(
            f"{path} is not a whole ControlNet: it has no embedding of its image "
            f"({_HINT} or {_THEIR_HINT})."
        )
    if config is None:
        config = _recognised(shapes, prefix, is_compvis, path)
    if is_compvis:
        return config, Weights([file], names.compvis_control_names(config, prefix))
    return config, Weights([file], names.diffusers_names(prefix))


def _assembled(
    path: Path,
    config: ControlNetConfig,
    weights: Weights,
    device: torch.device,
    dtype: torch.dtype,
    check_finite: bool,
) -> tuple[ControlNet, list[str]]:
    """Return the network, and notices about precision lost and tensors left out."""
    from ..models.controlnet import ControlNet

    unet = config.unet
    transformers = unet.blocks_per_level * sum(unet.depths) + unet.mid_depth
    check_count("ControlNet", 20 * transformers + 10 * len(unet.skips), weights)
    with torch.device("meta"):  # shapes, and no memory
        net = ControlNet(config)
    planned = plan(Part("ControlNet", net, weights))
    fill_all([planned], f"The ControlNet {path.name}", dtype, device, check_finite=check_finite)
    net.sources = tuple(
        Source(_name(file.path.absolute(), path.absolute()), kind="controlnet", file=file.stamp)
        for file in weights.files
    )
    unused = [name for name in extras([planned]) if not _of_the_model(name, planned.used)]
    return net, [*precision(path.name, [planned]), *leftovers(path.name, unused)]


def _name(path: Path, place: Path) -> str:
    """The file's name; in a folder, behind that of the folder, which tells it from others."""
    if path == place:
        return path.name
    return path.relative_to(place.parent).as_posix()


def _of_the_model(name: str, used: set[tuple[Path, str]]) -> bool:
    """Whether a tensor belongs to the model in whose file the ControlNet is."""
    return any(one.startswith("control_model.") for _, one in used) and not name.startswith(
        "control_model."
    )


# ------------------------------------------------------------------- the config, from the shapes


def _recognised(shapes: Shapes, prefix: str, is_compvis: bool, path: Path) -> ControlNetConfig:
    try:
        read = _of_compvis if is_compvis else _of_diffusers
        config = read({
            name.removeprefix(prefix): shape
            for name, shape in shapes.items()
            if name.startswith(prefix)
        })  # fmt: skip
    except (KeyError, IndexError, ValueError) as error:  # a missing name, or another rank
        missing = quoted(error.args[0]) if isinstance(error, KeyError) else "a dimension"
        raise CheckpointError(f"{path} is not a whole ControlNet: {missing} is missing.") from None
    unet = config.unet
    if not all(n and n % unet.norm_groups == 0 for n in unet.channels):
        raise CheckpointError(
            f"{path} has levels of {', '.join(map(str, unet.channels))} channels; they are "
            f"multiples of {unet.norm_groups} in every known ControlNet."
        )
    if config.reads_context and family(unet.context_dim) is None:
        raise CheckpointError(
            f"{path} is a ControlNet for text states of width {unet.context_dim}; those of Stable "
            "Diffusion 1 (768), 2 (1024) and XL (2048) are recognised.\n"
            "Pass config=ControlNetConfig(...)."
        )
    heads = tuple(8 if unet.context_dim == 768 else max(n // 64, 1) for n in unet.channels)
    return replace(config, unet=replace(unet, heads=heads))


def _of_compvis(shapes: Shapes) -> ControlNetConfig:
    """The config of a ControlNet with CompVis's names; its heads are not known."""
    levels: list[list[tuple[int, int | None]]] = [[]]
    for n in count(1):
        block = f"input_blocks.{n}"
        if weight := shapes.get(f"{block}.0.out_layers.3.weight"):
            levels[-1].append((weight[0], _depth(shapes, f"{block}.1")))
        elif f"{block}.0.op.weight" in shapes:
            levels.append([])
        else:
            break
    widths = [shapes[_HINT][0]]
    while shapes.get(f"input_hint_block.{4 * len(widths) + 2}.weight"):
        widths.append(shapes[f"input_hint_block.{4 * len(widths)}.weight"][0])
    return _config(
        shapes,
        levels,
        _depth(shapes, "middle_block.1"),
        ("input_blocks.0.0.weight", "label_emb.0.0.weight", _HINT),
        widths,
        is_whole="middle_block.2.out_layers.3.weight" in shapes,
    )


def _of_diffusers(shapes: Shapes) -> ControlNetConfig:
    """The config of a ControlNet with diffusers' names; its heads are not known."""
    levels: list[list[tuple[int, int | None]]] = []
    for level in count():
        block = f"down_blocks.{level}"
        found: list[tuple[int, int | None]] = []
        while weight := shapes.get(f"{block}.resnets.{len(found)}.conv1.weight"):
            found.append((weight[0], _depth(shapes, f"{block}.attentions.{len(found)}")))
        if not found:
            break
        levels.append(found)
    hint, widths = "controlnet_cond_embedding", [shapes[_THEIR_HINT][0]]
    while weight := shapes.get(f"{hint}.blocks.{2 * len(widths) - 1}.weight"):
        widths.append(weight[0])
    return _config(
        shapes,
        levels,
        _depth(shapes, "mid_block.attentions.0"),
        ("conv_in.weight", "add_embedding.linear_1.weight", _THEIR_HINT),
        widths,
        is_whole="mid_block.resnets.1.conv1.weight" in shapes,
    )


def _depth(shapes: Shapes, transformer: str) -> int | None:
    """The blocks of a transformer; None where there is none."""
    if f"{transformer}.proj_in.weight" not in shapes:
        return None
    return next(
        n for n in count() if f"{transformer}.transformer_blocks.{n}.norm1.weight" not in shapes
    )


def _config(
    shapes: Shapes,
    levels: list[list[tuple[int, int | None]]],
    middle: int | None,
    ends: tuple[str, str, str],
    widths: list[int],
    *,
    is_whole: bool,
) -> ControlNetConfig:
    """The config; ``levels`` has (channels, depth) of each block, ``middle`` that depth."""
    depths = [level[0][1] for level in levels]
    first, vector, hint = ends
    to_k = (name for name in shapes if name.endswith(".attn2.to_k.weight"))
    context = next((shapes[name][1] for name in to_k), 0)
    unet = UNetConfig(
        channels=tuple(level[0][0] for level in levels),
        depths=tuple(0 if depth is None else max(depth, 1) for depth in depths),
        heads=(1,) * len(levels),
        blocks_per_level=len(levels[0]),
        context_dim=context,
        vector_dim=shapes[vector][1] if vector in shapes else 0,
        in_channels=shapes[first][1],
        middle=2 if is_whole else 1,
        middle_depth=max(middle or 0, 1) if is_whole else 0,
    )
    hollow = [level for level, depth in enumerate(depths) if depth == 0]
    return ControlNetConfig(
        unet,
        hint_channels=shapes[hint][1],
        hint_widths=tuple(widths),
        hollow=(*hollow, *((-1,) if middle == 0 else ())),
    )
