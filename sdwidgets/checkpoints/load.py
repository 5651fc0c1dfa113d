"""``load_model``: a bundled name, a path or a hub id -> a model, ready to run.

Everything is checked before weights are read: names and headers, then configs, then the shapes of
all tensors, then the memory. An error leaves nothing loaded.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from .. import checks
from ..configs import (
    BertConfig,
    BoxesConfig,
    ClassConfig,
    EmbedderConfig,
    LabelMapConfig,
    ModelConfig,
    NeighboursConfig,
    Prediction,
    TextConfig,
)
from ..errors import CheckpointError, CheckpointNotFound, InputError
from ..loras import Lora, LoraLike, loras_of
from ..sources import Source
from . import config_json, hub, zoo
from .embeddings import EmbeddingsLike, embeddings_of
from .exchange import is_there
from .fill import (
    Part,
    Plan,
    check_count,
    check_strays,
    extras,
    fill_all,
    leftovers,
    plan,
    precision,
)
from .layout import Layout
from .lora import check_loras
from .lora_files import Networks
from .parts import Elsewhere, with_parts
from .prediction import settled
from .single_file import open_file
from .system import open_model_folder
from .target import device_of, dtype_of, loaded
from .weights import quoted

if TYPE_CHECKING:
    from ..models.autoencoder import Autoencoder
    from ..models.conditioning import Embedder
    from ..models.text import TextEncoder
    from ..models.tokenizer import Tokenizer
    from ..models.unet import UNet
    from ..pipeline import LatentDiffusion

BUNDLED = zoo.WEIGHTS
DEFAULT = zoo.MODEL


def load_model(
    name: str | os.PathLike[str] = DEFAULT,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    revision: str | None = None,
    prediction: str | None = None,
    zero_snr: bool | None = None,
    vae: str | os.PathLike[str] | Autoencoder | None = None,
    text: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    tokenizer: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    config: ModelConfig | None = None,
    loras: Sequence[LoraLike] = (),
    embeddings: EmbeddingsLike = (),
    check_finite: bool = True,
    make_room: Callable[[int, torch.device], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> LatentDiffusion:
    """Return the model of that name.

    ``name``: "emoji" or another bundled model ("emoji-class", ...); a folder in the diffusers
    layout, or as `save_model` wrote it; a safetensors file with CompVis's or diffusers' names; or
    the hub's "owner/name", whose safetensors files and settings are downloaded to the hub's cache.
    Models are Stable Diffusion 1, 2 and XL and their variants.

    ``device``: "auto" takes an NVIDIA GPU, Apple's GPU or the CPU, in this order. ``dtype``: "auto"
    is float16 on an NVIDIA GPU and float32 elsewhere; weights of another type are converted.
    ``revision``: a hub model's branch, tag or commit. If the hub can be reached, a warning says
    that a model in the cache is older than its branch, or was renamed.

    Parts may come from elsewhere, and files may lack them. ``vae`` is a file or folder of an
    autoencoder or of a model that has it, or an autoencoder that is loaded already; ``text`` a file
    or folder of a text encoder or of a model that has it, or a list of them. ``tokenizer`` is a
    folder with vocab.json and merges.txt, or a list with one for each text encoder; a single file
    takes those beside it, or else CLIP's own.

    A single file tells less than a folder. ``prediction`` ("eps" or "v") is what the network
    predicts, and ``zero_snr`` whether its noise ends in pure noise (zero terminal SNR, arXiv
    2305.08891); by default, the file decides, or else its family, with a notice. ``config`` is the
    whole config, for models of other sizes than the published ones.

    ``loras``: files of LoRAs to apply, each a path, (path, strength) or (path, strength,
    text_strength); see `LatentDiffusion.with_lora`. They are checked before weights are read.

    ``embeddings``: files of learnt words (textual inversions), whose names are the words, or
    {word: file}; see `LatentDiffusion.with_embeddings`.

    ``check_finite=False`` loads weights that contain NaN or infinity. ``make_room(bytes, device)``
    is called before memory is allocated, so that a cache can drop something. ``stop()`` is called
    before each tensor; when it returns true, ``Stopped`` is raised and nothing is kept.

    Raises ``CheckpointNotFound``, ``CheckpointError`` (for truncated, unknown, unsafe or unfit
    files), ``HubError``, ``OutOfMemory`` or ``InputError``. Except for values that are not finite,
    it does so before any weight is read.
    """
    target = device_of(device)
    number = dtype_of(dtype, target)
    wanted = _prediction(prediction)
    checks.flag("check_finite", check_finite)
    adapters, words = loras_of(loras), embeddings_of(embeddings)
    if zero_snr is not None:
        checks.flag("zero_snr", zero_snr)
    checks.function("make_room", make_room)
    checks.function("stop", stop)
    elsewhere = _elsewhere(vae, text, tokenizer)
    if config is not None:
        checks.instance("config", config, ModelConfig, "See sdwidgets.configs, as for SD1.")
    path, label, model_id = _locate(name, revision, stop)
    sources = (hub.source_of(model_id, path),) if model_id else ()
    news = hub.Question(model_id, revision, path) if model_id else None
    if path.is_dir() and config is not None:
        raise InputError("config= is for single files; a folder has its own.", parameter="config")

    def assemble(stack: ExitStack) -> tuple[LatentDiffusion, list[str]]:
        if path.is_dir():
            layout = with_parts(open_model_folder(path, label, stack), elsewhere, stack)
        else:
            layout = open_file(path, stack, config=config, elsewhere=elsewhere)
        config_json.check_schedule(layout.config.schedule, str(path))
        layout = settled(layout, wanted, zero_snr)
        origin = (*(sources or layout.sources), *layout.parts)
        return _assemble(layout, origin, target, number, check_finite, make_room, stop, adapters)

    model, notices = loaded(path, target, assemble)
    if words:
        model = model.with_embeddings(words)
    if adapters:
        plain = len(model.notices)
        model = model.with_loras(adapters, make_room=make_room, stop=stop)
        notices = [*notices, *model.notices[plain:]]
    if news is not None and (said_there := news.notices()):
        model = replace(model, notices=said_there + model.notices)
        notices = [*said_there, *notices]
    for said in notices:
        warnings.warn(said, stacklevel=2)
    return model


def _elsewhere(vae: object, text: object, tokenizer: object) -> Elsewhere:
    """Return the parts from elsewhere, as they were asked for. Raises ``InputError``."""
    from ..models.autoencoder import Autoencoder

    coder = vae if isinstance(vae, Autoencoder) or vae is None else checks.path("vae", vae)
    words = _paths("tokenizer", tokenizer)
    # A file of a tokenizer stands for its folder.
    folders = tuple(path.parent if path.is_file() else path for path in words)
    return Elsewhere(coder, _paths("text", text), folders)


def _paths(parameter: str, value: object) -> tuple[Path, ...]:
    if value is None:
        return ()
    values = value if isinstance(value, (list, tuple)) else (value,)
    if not values:
        raise InputError(f"{parameter}= is a path or a list of paths.", parameter=parameter)
    return tuple(checks.path(parameter, each) for each in values)


def _prediction(prediction: str | None) -> Prediction | None:
    found = config_json.as_prediction(prediction)
    if prediction is not None and found is None:
        raise InputError(
            f"Unknown prediction {quoted(prediction)}. Known: eps, v, x0.",
            parameter="prediction",
        )
    return found


def _locate(
    name: str | os.PathLike[str], revision: str | None, stop: Callable[[], bool] | None
) -> tuple[Path, str, str]:
    """Return (path, name to show, hub id); the hub id is "" unless the model is from the hub.

    A hub id is fetched only if no local file or folder has that name.
    """
    try:
        text = os.fspath(name)
    except Exception:  # objects may say anything
        text = ""
    if not isinstance(text, str) or not text:
        raise InputError(f"{checks.shown(name)} is not the name of a model.", parameter="name")
    is_path = not isinstance(name, str)
    if not is_path and text in zoo.MODELS:
        folder = zoo.WEIGHTS / text
        if not folder.is_dir():
            raise CheckpointNotFound(
                f"The bundled model {text!r} is not in this installation ({folder}).\n"
                "Install sdwidgets again, or load a file, a folder or a hub id."
            )
        return folder, text, ""
    if "://" in text:
        raise InputError(
            "Models are not loaded from addresses.\n"
            "Pass the hub's id, 'owner/name', or download the file and pass its path.",
            parameter="name",
        )
    path = None if _is_no_path(text) else checks.path("name", text)
    if path is not None and is_there(path):
        if revision is not None:
            raise InputError("revision= is for models from the hub.", parameter="revision")
        return path, path.resolve().name if path.is_dir() else path.stem, ""
    is_path = is_path or text.endswith((".safetensors", ".ckpt", ".pt", ".bin"))
    if not is_path and hub.is_model_id(text):
        return hub.fetch(text, revision, stop=stop), text, text
    raise CheckpointNotFound(
        f"There is no model {quoted(text)}: no such file or folder.\n"
        f"Pass {DEFAULT!r}, the path of a file or folder, or the hub's 'owner/name'."
    )


def _is_no_path(text: str) -> bool:
    """Whether no file can have this name."""
    try:
        return b"\0" in os.fsencode(text)
    except UnicodeEncodeError:  # half a character
        return True


@dataclass(frozen=True)
class Built:
    """The networks of a layout without memory, and where each of their parameters comes from."""

    unet: UNet
    autoencoder: Autoencoder
    embedders: tuple[Embedder, ...]
    texts: tuple[TextEncoder, ...]  # those of the embedders that read words
    plans: tuple[Plan, ...]  # of all networks but an autoencoder that is loaded already
    notices: tuple[str, ...]  # about the tokenizers


def built(layout: Layout) -> Built:
    """Build the networks of a layout, and find all their parameters in its files.

    Raises ``CheckpointError`` if they are not there, or if there are others.
    """
    from ..models.autoencoder import Autoencoder
    from ..models.clip import CLIPText
    from ..models.embedders import embedders_of
    from ..models.text import TextEncoder
    from ..models.tokenizer import clip_tokenizer, load_tokenizer
    from ..models.unet import UNet

    config = layout.config
    _check_counts(layout)
    with torch.device("meta"):  # shapes without memory
        unet = UNet(config.unet)
        autoencoder = layout.autoencoder or Autoencoder(config.autoencoder)
    texts, doubts = [], list[str]()
    for number, (text, folder) in enumerate(zip(config.text, layout.tokenizers, strict=True)):
        tokenizer = clip_tokenizer() if folder is None else load_tokenizer(folder)
        if folder is not None:
            doubts += _doubts(tokenizer, folder, dict(enumerate(layout.token_ids)).get(number))
        known = _with_token_ids(text, tokenizer, layout)
        with torch.device("meta"):
            texts.append(TextEncoder(known, CLIPText(known), tokenizer))
    try:
        with torch.device("meta"):
            embedders = embedders_of(config.embedders, texts, autoencoder)
    except InputError as error:  # numbers of which no embedder can be made
        raise CheckpointError(f"{layout.path}: {error}") from None
    modules = [unet, autoencoder, *(each.model for each in embedders)]
    plans = tuple(
        plan(Part(label, module, weights))
        for label, module, weights in zip(labels(config), modules, layout.weights, strict=True)
        if module is not layout.autoencoder
    )
    check_strays(layout, plans)
    return Built(unet, autoencoder, embedders, tuple(texts), plans, tuple(doubts))


def _assemble(
    layout: Layout,
    sources: tuple[Source, ...],
    device: torch.device,
    dtype: torch.dtype,
    check_finite: bool,
    make_room: Callable[[int, torch.device], None] | None,
    stop: Callable[[], bool] | None,
    loras: Sequence[Lora],
) -> tuple[LatentDiffusion, list[str]]:
    """Return the model, and notices: first what changes its meaning, then what was left out."""
    from ..pipeline import LatentDiffusion, noise_schedule

    config, made = layout.config, built(layout)
    known_texts = tuple(text.config for text in made.texts)
    networks = tuple(text.model for text in made.texts)
    check_loras(Networks(config.name, made.unet, networks, config.unet, known_texts), loras)
    fill_all(
        made.plans, f"The model {config.name}", dtype, device,
        check_finite=check_finite, make_room=make_room, stop=stop,
    )  # fmt: skip
    notices = (*layout.notices, *made.notices, *precision(layout.shown, made.plans))
    model = LatentDiffusion(
        config=replace(config, embedders=tuple(each.config for each in made.embedders)),
        unet=made.unet,
        autoencoder=made.autoencoder,
        embedders=made.embedders,
        schedule=noise_schedule(config.schedule),
        preview=layout.preview,
        vocabulary=layout.vocabulary,
        sources=sources,
        prediction_source=layout.prediction_source,
        notices=notices,
    )
    return model, [*notices, *layout.said, *leftovers(layout.shown, extras(made.plans))]


def _check_counts(layout: Layout) -> None:
    """Raise ``CheckpointError`` for configs of far larger networks than the files have."""
    unet = layout.config.unet
    down, levels = unet.blocks_per_level, range(len(unet.depths))
    blocks = 2 * down + 1  # of a level, on the way down and up
    up = sum(unet.depth_up(level, block) for level in levels for block in range(down + 1))
    transformers = down * sum(unet.depths) + unet.mid_depth + up
    counts = [20 * transformers + 10 * blocks * len(levels)]
    vae = layout.config.autoencoder
    counts.append(8 * (2 * vae.blocks_per_level + 1) * len(vae.channels))
    counts += [16 * _layers(each) for each in layout.config.embedders]
    for label, count, weights in zip(labels(layout.config), counts, layout.weights, strict=True):
        if weights.files:
            check_count(label, count, weights)


def labels(config: ModelConfig) -> list[str]:
    """Return the names of a model's networks, for messages."""
    found, texts = ["UNet", "autoencoder"], ["text encoder", "second text encoder"]
    for each in config.embedders:
        is_text = isinstance(each, TextConfig) and texts
        found.append(texts.pop(0) if is_text else _LABELS.get(type(each), "embedder"))
    return found


_LABELS: dict[type, str] = {
    BertConfig: "text encoder",
    TextConfig: "third text encoder",
    ClassConfig: "table of classes",
    BoxesConfig: "encoder of boxes",
    LabelMapConfig: "encoder of label maps",
    NeighboursConfig: "encoder of neighbours",
}


def _layers(config: EmbedderConfig) -> int:
    if isinstance(config, NeighboursConfig):
        return config.vision.layers + (config.text.layers if config.text else 0)
    return getattr(config, "layers", 0)


def _doubts(tokenizer: Tokenizer, folder: Path, named: tuple[int, int] | None) -> list[str]:
    """Return notices about a tokenizer that seems to be another model's.

    ``named`` are the ids of start and end in the text encoder's config.
    """
    doubts = []
    if named is not None and named != (tokenizer.bos, tokenizer.eos):
        doubts.append(
            f"{folder}: texts begin and end with the ids {tokenizer.bos} and {tokenizer.eos}, but "
            f"the text encoder's config names {named[0]} and {named[1]}. They may belong to two "
            "different models."
        )
    if pair := tokenizer.disorder():
        doubts.append(
            f"{folder}: the ids of {quoted(pair[0])} and {quoted(pair[1])} are not in the order of "
            "the merges. The vocabulary and the merges may be of two different tokenizers."
        )
    return doubts


def _with_token_ids(config: TextConfig, tokenizer: Tokenizer, layout: Layout) -> TextConfig:
    """Return the config with the token ids of the tokenizer, since configs are often wrong."""
    bos, eos = tokenizer.bos, tokenizer.eos
    if layout.pad_from_tokenizer:
        pad = tokenizer.pad
    else:
        pad = eos if config.pad == config.eos else config.pad
    return replace(config, bos=bos, eos=eos, pad=pad)
