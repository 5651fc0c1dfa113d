"""``load_model``: a bundled name, a path or a hub id -> a model, ready to run.

Everything is checked before weights are read: names and headers, then configs, then the shapes
of all tensors, then the memory. What fails, fails with nothing loaded.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..configs import ModelConfig, Prediction
from ..errors import CheckpointError, CheckpointNotFound, InputError
from . import config_json, hub, infer, names
from .fill import Part, Plan, extras, fill, plan
from .memory import check_memory
from .recognise import PICKLE_ADVICE, foreign_names
from .weights import WeightFile, quoted, read_json

if TYPE_CHECKING:
    from ..pipeline import LatentDiffusion

BUNDLED = Path(__file__).resolve().parent.parent / "weights"
DEFAULT = "emoji"


def load_model(
    name: str | os.PathLike[str] = DEFAULT,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    revision: str | None = None,
    prediction: str | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    config: ModelConfig | None = None,
    check_finite: bool = True,
) -> LatentDiffusion:
    """Return the model of that name.

    ``name``: "emoji", the bundled model; a folder in the diffusers layout; a safetensors file with
    CompVis's or diffusers' names; or the hub's "owner/name", of which safetensors and settings are
    fetched and kept in the hub's cache. Stable Diffusion 1 and 2 and models shaped like them.

    ``device``: "auto" takes an NVIDIA GPU, Apple's, or the CPU, in this order. ``dtype``: "auto" is
    float16 on an NVIDIA GPU and float32 elsewhere; weights stored otherwise are converted.
    ``revision``: a hub model's branch, tag or commit.

    One file says less than a folder: ``prediction`` ("eps" or "v") is what the network predicts,
    ``tokenizer`` a folder with vocab.json and merges.txt (else one beside the file or in the hub's
    cache serves), ``config`` the whole configuration, for models of a size of their own.

    ``check_finite`` False loads weights with NaN or infinity in them.

    Raises ``CheckpointNotFound``, ``CheckpointError`` (cut, foreign, unsafe or unfit files),
    ``HubError``, ``OutOfMemory`` or ``InputError``, all before any weight has been read, but for
    those about the values themselves.
    """
    target = _device(device)
    number = _dtype(dtype, target)
    wanted = _prediction(prediction)
    path, label = _locate(name, revision)
    if path.is_dir() and config is not None:
        raise InputError("config= is for single files; a folder has its own.", parameter="config")
    with ExitStack() as stack:
        if path.is_dir():
            layout = _open_folder(path, label, stack)
        else:
            layout = _open_file(path, stack, config=config, prediction=wanted, tokenizer=tokenizer)
        if wanted is not None:
            schedule = replace(layout.config.schedule, prediction=wanted)
            layout = replace(layout, config=replace(layout.config, schedule=schedule))
        if tokenizer is not None:
            layout = replace(layout, tokenizer=Path(tokenizer))
        return _assemble(layout, target, number, check_finite)


@dataclass(frozen=True)
class Layout:
    """A checkpoint with its configs read and its weight files open, nothing loaded yet."""

    path: Path
    config: ModelConfig
    unet: Part
    autoencoder: Part
    text: Part
    tokenizer: Path
    pad_from_tokenizer: bool  # a folder's tokenizer says how to pad; a file's family does
    preview: dict[str, Any] | None = None

    @property
    def parts(self) -> tuple[Part, Part, Part]:
        return self.unet, self.autoencoder, self.text


# --------------------------------------------------------------------------------- the arguments


def _device(device: str | torch.device) -> torch.device:
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        result = torch.device(device)
    except (RuntimeError, TypeError):
        result = torch.device("meta")
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if result.type not in there:
        raise InputError(
            f"There is no device {quoted(str(device))}. Known: auto, cpu, cuda, mps.",
            parameter="device",
        )
    if not there[result.type] or (
        result.type == "cuda" and (result.index or 0) >= torch.cuda.device_count()
    ):
        raise InputError(f"This machine has no device {result}. Take device='auto'.", parameter="device")
    return result


_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def _dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    if dtype == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    found = _DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if found not in _DTYPES.values():
        raise InputError(
            f"There is no dtype {quoted(str(dtype))} for models. Known: auto, {', '.join(_DTYPES)}.",
            parameter="dtype",
        )
    if found == torch.float16 and device.type == "cpu":
        warnings.warn("float16 is slow on a CPU: the model is loaded in float32.", stacklevel=3)
        return torch.float32
    return found


def _prediction(prediction: str | None) -> Prediction | None:
    found = config_json.as_prediction(prediction)
    if prediction is not None and found is None:
        raise InputError(
            f"There is no prediction {quoted(prediction)}. Known: eps, v, x0.", parameter="prediction"
        )
    return found


def _locate(name: str | os.PathLike[str], revision: str | None) -> tuple[Path, str]:
    """Return (path, name to show). A hub id is fetched only if nothing here has that name."""
    text = os.fspath(name)
    if not isinstance(text, str) or not text:
        raise InputError(f"{quoted(name)} is no name of a model.", parameter="name")
    is_path = not isinstance(name, str)
    if not is_path and text == DEFAULT:
        folder = BUNDLED / DEFAULT
        if not folder.is_dir():
            raise CheckpointNotFound(
                f"The bundled model is not in this installation ({folder}).\n"
                "Install sdwidgets again, or load a file, a folder or a hub id."
            )
        return folder, text
    if "://" in text:
        raise InputError(
            "Models are not loaded from addresses.\n"
            "Give the hub's id, 'owner/name', or download the file and give its path.",
            parameter="name",
        )
    path = Path(text).expanduser()
    try:
        path.lstat()  # a link to nowhere is something, and is reported as what it is
        there = True
    except (OSError, ValueError):
        there = False
    if there:
        if revision is not None:
            raise InputError("revision= is for models of the hub.", parameter="revision")
        return path, path.resolve().name if path.is_dir() else path.stem
    looks_like_path = is_path or text.startswith((".", "/", "~")) or "\\" in text
    if not looks_like_path and not text.endswith((".safetensors", ".ckpt", ".pt", ".bin")):
        if hub.is_model_id(text):
            return hub.fetch(text, revision), text
    raise CheckpointNotFound(
        f"There is no model {quoted(text)}: no such file or folder.\n"
        f"Give {DEFAULT!r}, the path of a file or folder, or the hub's 'owner/name'."
    )


# ------------------------------------------------------------------------- a folder of diffusers


def _open_folder(folder: Path, label: str, stack: ExitStack) -> Layout:
    if not (folder / "model_index.json").is_file():
        raise CheckpointError(_why_no_model_folder(folder))
    _refuse_code(folder)
    index_path = folder / "model_index.json"
    index = read_json(index_path)
    config_json.check_model_index(index, str(index_path))
    name, guidance_scale = config_json.notes_from_index(index, str(index_path), label)

    unet, side = _config(folder / "unet" / "config.json", config_json.unet_from_json)
    autoencoder = _config(folder / "vae" / "config.json", config_json.autoencoder_from_json)
    text = _config(folder / "text_encoder" / "config.json", config_json.text_from_json)
    schedule = _config(
        folder / "scheduler" / "scheduler_config.json", config_json.schedule_from_json
    )
    config = ModelConfig(
        name=name,
        unet=unet,
        autoencoder=autoencoder,
        text=(text,),
        schedule=schedule,
        size=side * autoencoder.factor,
        guidance_scale=guidance_scale,
    )
    config_json.check_parts_fit(config, str(folder))
    networks = _networks(config)
    preview = folder / "preview.json"
    return Layout(
        path=folder,
        config=config,
        unet=Part("UNet", networks[0], _weights(folder / "unet", "diffusion_pytorch_model", stack),
                  names.diffusers_names()),
        autoencoder=Part("autoencoder", networks[1],
                         _weights(folder / "vae", "diffusion_pytorch_model", stack),
                         names.diffusers_names()),
        text=Part("text encoder", networks[2], _weights(folder / "text_encoder", "model", stack),
                  names.clip_names()),
        tokenizer=folder / "tokenizer",
        pad_from_tokenizer=True,
        preview=read_json(preview) if preview.is_file() else None,
    )  # fmt: skip


def _config(path: Path, convert: Any) -> Any:
    return convert(read_json(path), str(path))


def _why_no_model_folder(folder: Path) -> str:
    why = f"{folder} is no model folder: it has no model_index.json."
    files = sorted(path.name for path in folder.iterdir() if path.suffix == ".safetensors")
    if files:
        return f"{why}\nIt has {quoted(files[0])}: give the path of that file."
    return f"{why}\nGive a folder in the diffusers layout, or one safetensors file."


def _refuse_code(folder: Path) -> None:
    """Python in a model folder is never run; such a model would not be what it seems without it."""
    code = sorted(path.relative_to(folder) for n in ("*.py", "*/*.py") for path in folder.glob(n))
    if code:
        raise CheckpointError(
            f"{folder} brings its own Python code ({quoted(str(code[0]))}), which is never run.\n"
            "If the model does without it, remove the code and load it again."
        )


def _weights(folder: Path, stem: str, stack: ExitStack) -> list[WeightFile]:
    """Open the weights of one part: one file, or shards listed by an index."""
    for variant in ("", ".fp16"):
        path = folder / f"{stem}{variant}.safetensors"
        if path.exists():
            return [stack.enter_context(WeightFile(path))]
        for index in (
            folder / f"{stem}.safetensors.index{variant}.json",
            folder / f"{stem}{variant}.safetensors.index.json",
        ):
            if index.exists():
                return [stack.enter_context(WeightFile(path)) for path in _shards(index)]
    pickles = sorted(path.name for n in ("*.bin", "*.ckpt", "*.pt") for path in folder.glob(n))
    if pickles:
        raise CheckpointError(
            f"{folder} has its weights in a pickle only ({quoted(pickles[0])}).\n{PICKLE_ADVICE}"
        )
    raise CheckpointNotFound(f"{folder} holds no {stem}.safetensors.\nDownload the model again.")


def _shards(index: Path) -> list[Path]:
    weight_map = read_json(index, limit=16 * 2**20).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} lists no tensors.")
    files = list(dict.fromkeys(weight_map.values())) if _all_text(weight_map.values()) else [None]
    for file in files:
        # A plain name in the same folder: never a path that leads somewhere else.
        if not isinstance(file, str) or Path(file).name != file or "\\" in file or "\0" in file:
            raise CheckpointError(f"{index} names the file {quoted(file)}, which is no plain name.")
    if len(files) > 1000:
        raise CheckpointError(f"{index} names {len(files):,} files; at most 1,000 can be right.")
    return [index.parent / str(file) for file in files]


def _all_text(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


# -------------------------------------------------------------------------------------- one file


def _open_file(
    path: Path,
    stack: ExitStack,
    *,
    config: ModelConfig | None,
    prediction: Prediction | None,
    tokenizer: str | os.PathLike[str] | None,
) -> Layout:
    file = stack.enter_context(WeightFile(path))
    shapes = {name: entry.shape for name, entry in file.entries.items()}
    if what := foreign_names(shapes):
        raise CheckpointError(f"{path} is {what}.")
    if config is None:
        inferred = infer.infer_config(shapes, file.metadata, path, prediction=prediction)
        config = inferred.config
        if inferred.assumed:
            warnings.warn(inferred.assumed, stacklevel=4)
    config_json.check_parts_fit(config, str(path))
    unet, autoencoder, text = _networks(config)
    if infer.is_compvis(shapes):
        lookups: tuple[names.Lookup, ...] = (
            names.compvis_unet_names(config.unet),
            names.compvis_autoencoder_names(config.autoencoder),
            names.open_clip_names(config.text[0])
            if names.OPEN_CLIP + "token_embedding.weight" in shapes
            else names.clip_names(names.CLIP),
        )
    else:
        lookups = (
            names.diffusers_names("unet."),
            names.diffusers_names("vae."),
            names.clip_names("text_encoder."),
        )
    return Layout(
        path=path,
        config=config,
        unet=Part("UNet", unet, [file], lookups[0]),
        autoencoder=Part("autoencoder", autoencoder, [file], lookups[1]),
        text=Part("text encoder", text, [file], lookups[2]),
        tokenizer=Path(tokenizer) if tokenizer is not None else _find_tokenizer(path),
        pad_from_tokenizer=False,
    )


def _find_tokenizer(path: Path) -> Path:
    """A single file has no vocabulary: one beside it, or one that the hub's cache happens to have."""
    for folder in (path.parent / "tokenizer", path.parent):
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            return folder
    if found := hub.cached_tokenizer():
        return found
    raise CheckpointNotFound(
        f"{path.name} has no vocabulary, and there is none in {path.parent / 'tokenizer'}.\n"
        "Put CLIP's vocab.json and merges.txt there (they are in the tokenizer folder of every\n"
        "Stable Diffusion on the hub), or pass tokenizer=FOLDER."
    )


# ----------------------------------------------------------------------------------- all together


def _networks(config: ModelConfig) -> tuple[torch.nn.Module, torch.nn.Module, torch.nn.Module]:
    """The three networks with shapes and no memory."""
    from ..models.autoencoder import Autoencoder
    from ..models.text import build_text
    from ..models.unet import UNet

    with torch.device("meta"):
        return UNet(config.unet), Autoencoder(config.autoencoder), build_text(config.text[0])


def _assemble(
    layout: Layout, device: torch.device, dtype: torch.dtype, check_finite: bool
) -> LatentDiffusion:
    from ..models.text import TextEncoder
    from ..pipeline import LatentDiffusion

    plans = [plan(part) for part in layout.parts]
    _check_memory(layout.path, plans, dtype, device)
    tokenizer = _tokenizer(layout.tokenizer)
    text_config = replace(
        layout.config.text[0],
        bos=tokenizer.bos_token_id,
        eos=tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id if layout.pad_from_tokenizer else layout.config.text[0].pad,
    )
    config = replace(layout.config, text=(text_config,))
    text = TextEncoder(text_config, layout.text.module, tokenizer)
    for each in plans:
        fill(each, dtype, device, check_finite=check_finite)
    _notices(layout.path, plans)
    ...
