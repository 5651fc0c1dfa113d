"""``inspect``: what a file or a folder is, in plain words, told by its headers alone.

Whole models are opened and checked by the functions that load them, so the words are true of what
`load` would do. Everything else is told by the table in `recognise`. No tensor is read, except for
a few hundred numbers where only these tell what a network predicts; nothing is fetched.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from .. import checks
from ..configs import DECIDED, SD1, SDXL, UNetConfig
from ..errors import CheckpointError, CheckpointNotFound
from . import bases, few_steps, hub, infer, zoo
from .description import CONVERT, Description, capital, notes_of, plain
from .exchange import is_there
from .families import family_of, is_exactly
from .folder import weight_files
from .held import Opened, held_in
from .layout import Layout
from .pickles import PickleFile, open_weights
from .prediction import settled
from .recognise import UNKNOWN, Kind, Names, algorithms, foreign_names, kind_of
from .single_file import layout_of
from .system import WEIGHTS, is_system, open_model_folder
from .weights import Entry, WeightFile, quoted, read_json


def inspect(path: str | os.PathLike[str]) -> Description:
    """Return what a file or a folder is: a model, an addition to one, a part, or something else.

    ``path``: a file of weights of any kind, a model folder of either layout, the folder of a
    part or of a LoRA, a model of the hub's cache ("owner/name"), or a bundled model ("emoji").

    Only headers are read. Nothing is fetched, and nothing in a pickle runs. A well-formed file that
    is not known is described, too, by the names in it. Raises ``CheckpointNotFound``,
    ``CheckpointError`` for damaged files and files of other formats, or ``InputError``.
    """
    place = checks.path("path", path)
    if is_there(place):
        return _of_folder(place) if place.is_dir() else _of_file(place)
    text = os.fspath(path)
    if (bundled := zoo.model_folder(text)) is not None:
        return _of_folder(bundled, text)
    if hub.is_model_id(text):
        cached = next((folder for name, folder in hub.cached_models() if name == text), None)
        if cached is not None:
            return _of_folder(cached, text)
        raise CheckpointNotFound(
            f"There is no file or folder {quoted(text)}, and no such model in the hub's cache.\n"
            f"sdw.load({text!r}) fetches it."
        )
    raise CheckpointNotFound(f"There is no file or folder {quoted(text)}.")


# ------------------------------------------------------------------------------------- one file


def _of_file(path: Path) -> Description:
    with open_weights(path) as file:
        kind = kind_of(file.shapes)
        found = held_in(path, [file])
        if kind is None or kind.key == "unet":
            network = _network(file.shapes)
            if network is not None or kind is None:
                return _of_model_file(file, network, found)
        found = _of_addition(file, kind, found)
        if isinstance(file, PickleFile):
            found = replace(found, notices=_pickled(file))
            if found.loads and found.kind not in _AS_PICKLES:
                found = replace(found, loads=f"{_converted(path)}; then use it with {found.loads}")
        return found


def _of_addition(file: Opened, kind: Kind, found: Description) -> Description:
    """Describe a file that is not a whole model."""
    shapes, metadata = file.shapes, file.metadata
    family = bases.base_of(kind.key, shapes, metadata)
    names = Names(shapes)
    more = _MORE.get(kind.key)
    details = more(shapes) if more else []
    what = foreign_names(shapes) if kind is UNKNOWN else kind.title
    use, refused = kind.use.replace("FILE", repr(str(file.path))), ""
    if kind.key == "lora" and (strange := [a.title for a in algorithms(shapes) if not a.runs]):
        use, refused = "", f"{' and '.join(strange)} cannot be applied by this kit."
    few = None
    if kind.key == "lora":
        is_xl = "XL" in family
        few = few_steps.of_addition(file.path, metadata, (SDXL if is_xl else SD1).unet)
    return replace(
        found,
        few_steps=str(few or ""),
        kind=kind.key,
        what=capital(", ".join([what or kind.title, *details])),
        family=family,
        layout=next((title for pattern, title in _LAYOUTS if names.some(pattern)), ""),
        loads=use,
        refused=refused,
        notes=notes_of(metadata),
    )


# How programs name the tensors of additions and parts; the first that is found counts.
_LAYOUTS = (
    (r"^base_model\.model\.", "PEFT"),
    (r"^\w+:#:(up|down)|^#$", "cloneofsimo"),
    (r"^lycoris_", "LyCORIS"),
    (r"^lora_\w+", "kohya"),
    (r"lora_[AB]\b", "diffusers (PEFT)"),
    (r"processor\.\w+_lora\.|to_\w+_lora\.", "diffusers (2022)"),
    (r"\.lora\.(up|down)\.|lora_linear_layer", "diffusers (2023)"),
    (r"^string_to_param\b", "A1111"),
    (r"^emb_params$", "kohya"),
    (r"^clip_[lg]$", "two encoders"),
    (r"^text_encoders_#$", "replicate"),
    (r"^<[^>]*>", "diffusers"),
    (r"^conditioner\.embedders\.", "Stability (sgm)"),
    (r"(^|\.)(down_blocks|up_blocks|mid_block)\.", "diffusers"),
    (
        r"(^|\.)(input_blocks|output_blocks|middle_block)\.|(encoder|decoder)\.(down|up)\.#",
        "CompVis",
    ),
    (r"(^|\.)transformer\.resblocks\.", "OpenCLIP"),
    (r"(^|\.)encoder\.layers\.#\.self_attn\.", "transformers"),
)


def _of_lora(shapes: infer.Shapes) -> list[str]:
    """The algorithms and ranks of a LoRA, and what else is known of it."""
    names = Names(shapes)
    titles = [each.title for each in algorithms(shapes)]
    if names.some(r"\.dora_scale$"):
        titles.append("with DoRA")
    convolutions = any(len(s) == 4 and s[2:] == (3, 3) for s in shapes.values())
    if convolutions and titles[:1] == ["LoRA"]:
        titles[0] = "LoRA of convolutions, too (LoCon)"
    found = [" and ".join(titles[:3])] if titles and titles != ["LoRA"] else []
    if ranks := bases.ranks(shapes):
        found.append(f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {ranks[0]} to {ranks[-1]}")
    if names.some(r"resnets_#_time_emb_proj\.lora_down"):
        found.append("of the whole network, as those for few steps are (LCM-LoRA, Hyper)")
    if names.some(r"^<[^>]*>|^bundle_emb\."):
        found.append("with new words of its own")
    return found


def _of_embedding(shapes: infer.Shapes) -> list[str]:
    """How many of the prompt's tokens its word takes."""
    counts = {shape[0] if len(shape) > 1 else 1 for shape in shapes.values()}
    count = max(counts, default=0)
    return [f"{count:,} vector{'s' * (count != 1)}"]


def _of_autoencoder(shapes: infer.Shapes) -> list[str]:
    """The kind of an autoencoder, in the paper's words."""
    prefix = next((p for p in ("first_stage_model.", "vae.", "model.")
                   if f"{p}decoder.conv_in.weight" in shapes), "")  # fmt: skip
    try:
        config = infer.infer_autoencoder(shapes, prefix)
    except (KeyError, IndexError, ValueError):  # not of this family
        return []
    kind = f"VQ-f{config.factor}" if config.codes else f"KL-f{config.factor}"
    return [f"{kind} with {config.latent_channels:,} latent channels"]


_MORE: Mapping[str, Callable[[infer.Shapes], list[str]]] = {
    "lora": _of_lora,
    "embedding": _of_embedding,
    "embedding_bundle": _of_embedding,
    "autoencoder": _of_autoencoder,
}


# ----------------------------------------------------------------------------------- whole models


def _network(shapes: infer.Shapes) -> UNetConfig | None:
    """The config of the denoising network in a file; None if it has none of a known shape."""
    place = infer.unet_place(shapes)
    if place is None:
        return None
    try:
        return infer.infer_unet(shapes, place)
    except (KeyError, IndexError, ValueError):  # a missing name, or another rank
        return None


def _of_model_file(
    file: WeightFile | PickleFile, network: UNetConfig | None, found: Description
) -> Description:
    """Describe the file of a model; it may lack parts, which `load` then takes from elsewhere."""
    shapes = file.shapes
    place = infer.unet_place(shapes)
    if any(name.startswith("conditioner.embedders.") for name in shapes):
        layout = "Stability (sgm)"
    else:
        layout = "CompVis" if place is None or place.compvis else "diffusers"
    found = replace(
        found,
        kind="model",
        layout=layout,
        notes=notes_of(file.metadata),
        what="Diffusion model",
    )
    if network is not None:
        found = _of_family(found, network)
    opened = cast(WeightFile, file)  # a pickle has all that is asked of it here
    found = _checked(found, lambda stack: layout_of(opened, stack))
    if found.refused and network is not None:
        found = _completed(found, network)
    if isinstance(file, PickleFile):
        said = (*_pickled(file), *found.notices)
        found = replace(found, notices=said, loads="" if found.refused else _converted(file.path))
    return found


def _completed(found: Description, network: UNetConfig) -> Description:
    """Name the parts that a model lacks, and the arguments of `load` that bring them."""
    family = family_of(network)
    parts = {holding.part for holding in found.holds}
    if family is None:
        return found
    coder = "autoencoder" not in parts
    texts = {"text encoder", "second text encoder"} & parts
    lacking = ["an autoencoder"] if coder else []
    if len(texts) < len(family.preset.text):
        lacking.append("text encoders" if len(family.preset.text) > 1 else "a text encoder")
    if not lacking:
        return found
    arguments = "".join(
        (", vae=VAE" if coder else "", ", text=TEXT" if len(lacking) > coder else "")
    )
    return replace(
        found,
        missing=tuple(lacking),
        loads=f"sdw.load({str(found.path)!r}{arguments})",
        refused="",
    )


_AS_PICKLES = ("lora", "embedding")  # small files that are taken as pickles, too


def _converted(path: Path) -> str:
    new = path.with_suffix(".safetensors").name
    return f"{CONVERT} {quoted(path.name)} --out {quoted(new)}"


def _pickled(file: PickleFile) -> tuple[str, ...]:
    """What is said of every pickle."""
    beside = f", beside {', '.join(map(quoted, file.left_out[:3]))}" if file.left_out else ""
    inside = f" Its weights are in {quoted('.'.join(file.place))}{beside}." if file.place else ""
    return (f"It is a pickle, which can hold programs; nothing of it was run.{inside}",)


def _of_family(found: Description, network: UNetConfig) -> Description:
    """Name the family of a network, and the size of its images."""
    family = family_of(network)
    found = replace(found, what=words_of(network))
    if family is None:
        return found
    return replace(found, family=family.title, resolution=family.preset.size)


def words_of(network: UNetConfig) -> str:
    """The family of a network, in words."""
    family = family_of(network)
    if family is None:
        return "Latent diffusion"
    return family.title if is_exactly(family, network) else f"{family.title}, of other sizes"


def _checked(
    found: Description, opened: Callable[[ExitStack], Layout], name: str = ""
) -> Description:
    """Complete the description by what the functions find that load the model.

    ``name`` is what `load` takes, as code; "" for the path.
    """
    try:
        with ExitStack() as stack:
            layout = opened(stack)
            found = replace(_of_family(found, layout.config.unet), resolution=layout.config.size)
            layout = settled(layout, None)
            found = replace(
                found,
                resolution=layout.config.size,
                prediction=layout.config.schedule.prediction,
                decided=layout.decided or DECIDED.get(layout.prediction_source, ""),
                zero_snr=layout.config.schedule.zero_snr,
                few_steps=str(layout.few_steps or ""),
                notices=layout.notices,
            )
    except (CheckpointError, CheckpointNotFound) as error:
        return replace(found, refused=str(error))
    return replace(found, loads=f"sdw.load({name or repr(str(found.path))})")


# ---------------------------------------------------------------------------------------- folders


def _of_folder(folder: Path, label: str = "") -> Description:
    if (folder / "model_index.json").is_file():
        return _of_model_folder(folder, label)
    if is_system(folder):
        return _of_system(folder, label)
    if (folder / "adapter_config.json").is_file():
        return _of_part(folder, ("adapter_model",), "adapter_config.json")
    if (folder / "config.json").is_file():
        return _of_part(
            folder, ("diffusion_pytorch_model", "model", "pytorch_model"), "config.json"
        )
    files = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file())
    if len(files) == 1:
        return _of_file(files[0])
    if files:
        raise CheckpointError(
            f"{folder} is no model folder, and has {len(files):,} files of weights, such as "
            f"{quoted(files[0].name)}.\nInspect them one by one."
        )
    raise CheckpointError(f"{folder} has no weights that this kit knows: it has no config.json.")


_SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin")


def _of_model_folder(folder: Path, name: str) -> Description:
    """Describe a model folder in the diffusers layout; ``name`` is what `load` takes, or ""."""
    label = name or folder.resolve().name
    index = read_json(folder / "model_index.json")
    names = [part for part in _FOLDERS if (folder / part).is_dir()]
    with ExitStack() as stack:
        files, parts = list[WeightFile](), list[str]()
        for part in names:
            stem = "model" if part.startswith("text_encoder") else "diffusion_pytorch_model"
            for file in _weights_of(folder / part, stem, stack):
                files.append(file)
                parts.append(_FOLDERS[part])
        found = replace(
            held_in(folder, files, parts),
            kind="model",
            what=f"Model of the pipeline {plain(str(index.get('_class_name')))}",
            layout="diffusers",
        )
    return _checked(
        found, lambda stack: open_model_folder(folder, label, stack), name and repr(name)
    )


def _of_system(folder: Path, name: str) -> Description:
    """Describe a folder of our own layout; ``name`` is what `load` takes, or ""."""
    with ExitStack() as stack:
        try:
            files = [stack.enter_context(WeightFile(folder / WEIGHTS))]
        except (CheckpointError, CheckpointNotFound):  # loading it says so, too
            files = []
        found = replace(
            held_in(folder, files), kind="model", what="Latent diffusion", layout="sdwidgets"
        )
    return _checked(
        found, lambda stack: open_model_folder(folder, name, stack), name and repr(name)
    )


_FOLDERS = {
    "unet": "UNet",
    "transformer": "transformer",
    "vae": "autoencoder",
    "text_encoder": "text encoder",
    "text_encoder_2": "second text encoder",
    "text_encoder_3": "T5",
    "image_encoder": "image encoder",
    "depth_estimator": "depth network",
}


def _weights_of(folder: Path, stem: str, stack: ExitStack) -> list[WeightFile]:
    try:
        return weight_files(folder, stem, stack)
    except (CheckpointError, CheckpointNotFound):  # loading it says so, too
        return []


def _of_part(folder: Path, stems: Sequence[str], config: str) -> Description:
    """Describe a folder with the config and the weights of a part, or of a LoRA of PEFT."""
    settings = read_json(folder / config)
    with ExitStack() as stack:
        for stem in stems:
            if files := _weights_of(folder, stem, stack):
                break
        else:
            files = weight_files(folder, stems[0], stack)
        shapes = {name: shape for file in files for name, shape in file.shapes.items()}
        metadata = {key: value for file in files for key, value in file.metadata.items()}
        whole = _Together(folder, {n: e for f in files for n, e in f.entries.items()}, metadata)
        kind = kind_of(shapes) or UNKNOWN
        found = _of_addition(whole, kind, held_in(folder, files))
    known = {key: settings.get(key) for key in ("_class_name", "peft_type", "lora_alpha", "r",
             "base_model_name_or_path")}  # fmt: skip
    notes = [(_CONFIGS[key], plain(str(value))) for key, value in known.items() if value]
    return replace(found, notes=(*found.notes, *notes))


_CONFIGS = {
    "_class_name": "class",
    "peft_type": "kind",
    "lora_alpha": "alpha",
    "r": "rank",
    "base_model_name_or_path": "made for",
}


@dataclass(frozen=True)
class _Together:
    """Several files of a part, as one."""

    path: Path
    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: entry.shape for name, entry in self.entries.items()}
