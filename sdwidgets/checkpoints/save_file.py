"""A model as a single file: its tensors by the names, and in the shapes, of published files.

CompVis's code (https://github.com/CompVis/stable-diffusion) made the files of Stable Diffusion 1
and 2, Stability's newer code (https://github.com/Stability-AI/generative-models) those of XL. Both
have OpenCLIP's text encoders by OpenCLIP's names. The tables are those by which such files are read
(`names`): a part of a matrix is joined with the others, a transposed matrix turned back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from ..configs import ModelConfig, NeighboursConfig, ScheduleConfig, TextConfig
from ..errors import InputError
from . import names
from .config_json import can_be_json
from .contents import Contents, Part, Tensors, parts_of
from .families import family_of, is_exactly, is_latent_diffusions
from .stages import is_trained
from .writing import Outgoing, converted

FileLayout = Literal["compvis", "diffusers"]


def in_one_file(contents: Contents, layout: FileLayout) -> dict[str, Outgoing]:
    """Return the tensors of a model by the names of a single file.

    "compvis": the original names, for XL those of Stability's newer code. "diffusers": those of a
    model folder, with the folder's name in front. A mark says that the noise ends in pure noise.
    CLIP's towers that embed neighbours are left out, as they are in published files.

    Raises ``InputError`` for a model that has no names in the layout.
    """
    config = contents.config
    unet, autoencoder, *texts = contents.networks
    _check_has_names(config, layout)
    if layout == "diffusers":
        tensors = {f"unet.{name}": tensor for name, tensor in unet.items()}
        tensors |= {f"vae.{name}": tensor for name, tensor in autoencoder.items()}
        for folder, each in zip(parts_of(config)[2:], texts, strict=True):
            tensors |= _transformers(each, f"{folder}.")
    else:
        tensors = _compvis_unet(unet, config)
        tensors |= _compvis_autoencoder(autoencoder, config)
        own = [each for each in config.embedders if isinstance(each, TextConfig)]
        for number, (each, text) in enumerate(zip(texts, own, strict=True)):
            is_new = bool(config.unet.vector_dim)
            start = f"conditioner.embedders.{number}." if is_new else names.STAGE
            tensors |= _text(each, text, start)
        for told, each in zip(config.embedders, contents.embedders, strict=True):
            if is_trained(told):
                tensors |= _renamed(each, names.stage_names(told))
        tensors |= _scale(config)
    return tensors | _marks(config.schedule)


def _check_has_names(config: ModelConfig, layout: FileLayout) -> None:
    if config.autoencoder.is_identity:
        raise InputError(
            f"{config.name} has no autoencoder, and published files of such models have other "
            "names.\nConvert it to a folder.",
            parameter="layout",
        )
    is_own = any(is_trained(e) or isinstance(e, NeighboursConfig) for e in config.embedders)
    if layout == "diffusers" and (is_own or not can_be_json(config.unet)):
        raise InputError(
            f"diffusers has no names for {config.name}.\n"
            "Convert it to a folder, or to one file in the layout 'compvis'.",
            parameter="layout",
        )


def _scale(config: ModelConfig) -> dict[str, Outgoing]:
    """The latents' scale, where it is not that of the family, as CompVis's training keeps one that
    it has measured."""
    family, scale = family_of(config.unet), config.autoencoder.scaling_factor
    if family is None or not is_latent_diffusions(family):
        return {}
    if scale == family.preset.autoencoder.scaling_factor:
        return {}
    return {names.SCALE: Outgoing("F32", (), lambda: torch.tensor(scale))}


def part_in_file(contents: Contents, part: Part, layout: FileLayout) -> dict[str, Outgoing]:
    """Return the tensors of a part of a model, by the names of a file of that part alone.

    Autoencoders have no prefix; a network keeps CompVis's, as files of networks do. Text encoders
    have transformers' names in both layouts.
    """
    tensors = contents.network(part)
    if part.startswith("text"):
        return _transformers(tensors)
    if layout == "diffusers":
        return dict(tensors)
    if part == "vae":
        return _compvis_autoencoder(tensors, contents.config, "")
    return _compvis_unet(tensors, contents.config)


def _compvis_autoencoder(
    tensors: Tensors, config: ModelConfig, prefix: str = names.AUTOENCODER
) -> dict[str, Outgoing]:
    """Return an autoencoder by CompVis's names, where its attention is made of 1x1 convolutions."""
    renamed = _renamed(tensors, names.compvis_autoencoder_names(config.autoencoder, prefix))
    ends = tuple(f".{each}.weight" for each in ("q", "k", "v", "proj_out"))
    return _convolved(renamed, ends)


def notes(config: ModelConfig) -> dict[str, str]:
    """Return what a file's metadata says about a model, in ModelSpec's words
    (https://github.com/Stability-AI/ModelSpec)."""
    prediction = config.schedule.prediction
    told = {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": config.name,
        "modelspec.prediction_type": {"eps": "epsilon", "x0": "sample"}.get(prediction, prediction),
        "modelspec.resolution": f"{config.size}x{config.size}",
    }
    family = family_of(config.unet)
    if family is not None and is_exactly(family, config.unet):
        key = f"sd2-{prediction}" if family.key == "sd2" else family.key
        if key in _ARCHITECTURES:
            told["modelspec.architecture"] = _ARCHITECTURES[key]
    return told


_ARCHITECTURES = {
    "sd1": "stable-diffusion-v1",
    "sd1-inpainting": "stable-diffusion-v1-inpainting",
    "sd2-eps": "stable-diffusion-v2-512",
    "sd2-v": "stable-diffusion-v2-768-v",
    "sd2-inpainting": "stable-diffusion-v2-inpainting",
    "sd2-depth": "stable-diffusion-v2-depth",
    "sdxl": "stable-diffusion-xl-v1-base",
    "sdxl-refiner": "stable-diffusion-xl-v1-refiner",
}


def _marks(schedule: ScheduleConfig) -> dict[str, Outgoing]:
    """The empty tensors by which ComfyUI knows noise that ends in pure noise."""
    mark = Outgoing("F32", (0,), lambda: torch.zeros(0))
    names = ["ztsnr"] * schedule.zero_snr
    names += ["v_pred"] * (schedule.zero_snr and schedule.prediction == "v")
    return dict.fromkeys(names, mark)


def _compvis_unet(tensors: Tensors, config: ModelConfig) -> dict[str, Outgoing]:
    renamed = _renamed(tensors, names.compvis_unet_names(config.unet))
    if config.has(TextConfig) and config.unet.context_dim != 768:
        return renamed  # later families than Stable Diffusion 1 have linear layers there
    ends = ("qkv.weight", "proj_in.weight", "proj_out.weight")
    if not config.unet.transformers:
        return _convolved(renamed, ends, dimensions=1)
    return _convolved(renamed, ends)


def _text(tensors: Tensors, config: TextConfig, start: str) -> dict[str, Outgoing]:
    if config.activation == "quick_gelu":  # OpenAI's CLIP, by transformers' names
        return _transformers(tensors, f"{start}transformer.")
    prefix = f"{start}model."
    renamed = _renamed(tensors, names.open_clip_names(config, prefix))
    code = renamed[f"{prefix}token_embedding.weight"].dtype
    scale = Outgoing("F32", (), lambda: torch.tensor(100.0).log())  # CLIP's largest
    renamed[f"{prefix}logit_scale"] = converted(scale, code, "logit_scale")
    if config.projection_dim:
        return renamed
    # Stable Diffusion 2 does not use the last layer and the projection, but readers count layers.
    last, unused = f"resblocks.{config.layers - 1}.", f"resblocks.{config.layers}."
    for name, tensor in list(renamed.items()):
        if f".{last}" in name:
            renamed[name.replace(last, unused)] = tensor
    width = config.width
    whole = Outgoing("F32", (width, width), lambda: torch.eye(width))
    renamed[f"{prefix}text_projection"] = converted(whole, code, "text_projection")
    return renamed


def _transformers(tensors: Tensors, prefix: str = "") -> dict[str, Outgoing]:
    """Return a text encoder by transformers' names, in which the projection is outside."""
    outside = {name: each for name, each in tensors.items() if name.startswith("text_projection")}
    inside = {name: each for name, each in tensors.items() if name not in outside}
    projection = {f"{prefix}{name}": each for name, each in outside.items()}
    return _renamed(inside, names.clip_names(prefix)) | projection


def _renamed(tensors: Tensors, lookup: names.Lookup) -> dict[str, Outgoing]:
    """Return tensors by the names of a file, joined where the file has them in one matrix."""
    pieces: dict[str, dict[int, Outgoing]] = {}
    groups: dict[str, int] = {}
    for name, tensor in tensors.items():
        source = lookup(name)[0]
        if source.transposed:
            tensor = _transposed(tensor)
        pieces.setdefault(source.name, {})[source.part] = tensor
        groups[source.name] = source.groups
    return {
        name: _joined([found[part] for part in sorted(found)], name, groups[name])
        for name, found in pieces.items()
    }


def _transposed(tensor: Outgoing) -> Outgoing:
    return Outgoing(tensor.dtype, tensor.shape[::-1], lambda: tensor.read().t())


def _joined(parts: list[Outgoing], name: str, groups: int = 1) -> Outgoing:
    """Return tensors under one another, group by group; in float32 if their types differ."""
    if len(parts) == 1:
        return parts[0]
    if len({part.dtype for part in parts}) > 1:
        parts = [converted(part, "F32", name) for part in parts]
    rows = sum(part.shape[0] for part in parts)

    def read() -> Tensor:
        split = [part.read().unflatten(0, (groups, -1)) for part in parts]
        return torch.cat(split, dim=1).flatten(0, 1)

    return Outgoing(parts[0].dtype, (rows, *parts[0].shape[1:]), read)


def _convolved(
    tensors: Mapping[str, Outgoing], ends: tuple[str, ...], dimensions: int = 2
) -> dict[str, Outgoing]:
    """Return the matrices whose names end so as convolutions of width 1."""

    def convolved(tensor: Outgoing) -> Outgoing:
        shape = (*tensor.shape, *[1] * dimensions)
        return Outgoing(tensor.dtype, shape, lambda: tensor.read().reshape(shape))

    return {
        name: convolved(each) if name.endswith(ends) and len(each.shape) == 2 else each
        for name, each in tensors.items()
    }
