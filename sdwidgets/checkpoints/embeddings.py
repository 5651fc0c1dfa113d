"""Textual inversions: files of learnt words, each with its vectors for every text encoder.

"An Image is Worth One Word" (Gal et al., arXiv 2208.01618, section 4). The files of A1111, kohya,
diffusers, cog-sdxl and ComfyUI differ in their names; the vectors are the same. The word is the
file's name without its ending, as in A1111: the name inside is often an older one.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Union

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .. import checks
from ..configs import BertConfig, TextConfig
from ..errors import CheckpointError, InputError
from ..sources import LocalFile, Source
from ..strict_json import parse
from .pickles import PickleFile, open_weights
from .weights import WeightFile, quoted

EmbeddingsLike = Union[
    "Sequence[str | os.PathLike[str]]",
    "Mapping[str, str | os.PathLike[str]]",
]
"""Paths of files, whose names are the words; or the path of each word."""

MOST = 64
"""The most learnt words that are given at once."""
MOST_VECTORS = 750
"""The most vectors of a word, as many as a prompt has tokens."""
MOST_TENSORS = 8
"""The most tensors of a file that is a single learnt word."""
WORD_LIMIT = 100  # characters

_PNG = b"\x89PNG\r\n\x1a\n"
_CHUNK = "sd-ti-embedding"
# Words inside files of LoRAs: OneTrainer's, and cloneofsimo's "<s1>".
_BUNDLED = re.compile(
    r"^bundle_emb\.(?P<word>.+?)\.(?P<kind>string_to_param\.\*|emb_params|clip_[lg])$|^(?P<own><[^>]+>)$"
)
# Names for the vectors of the first encoder and of the second.
_OF_FIRST = ("clip_l", "text_encoders_0", "emb")
_OF_SECOND = ("clip_g", "text_encoders_1", "emb2")
_FAMILIES = {
    (768,): "Stable Diffusion 1",
    (1024,): "Stable Diffusion 2",
    (768, 1280): "Stable Diffusion XL",
    (1280,): "the refiner of Stable Diffusion XL",
    (4096,): "a model that reads prompts with T5, such as Stable Diffusion 3 or Flux",
}


@dataclass(frozen=True, eq=False)
class LearntWord:
    """A word, and its vectors [n, width] float32 for each text encoder, in the model's order."""

    word: str
    vectors: tuple[Tensor, ...]
    source: Source


def embeddings_of(value: object) -> dict[str, Path]:
    """Return the file of each word, as a user gives them. Raises InputError."""
    if isinstance(value, Mapping):
        given = [(word, path) for word, path in value.items()]
    elif isinstance(value, (list, tuple)):
        given = [(None, path) for path in value]
    else:
        raise InputError(
            f"embeddings must be a list of paths or {{word: path}}, got {checks.shown(value)}.",
            parameter="embeddings",
        )
    found: dict[str, Path] = {}
    for word, path in given:
        file = checks.path("embeddings", path)
        word = file.stem if word is None else word
        if not isinstance(word, str) or not 0 < len(word) <= WORD_LIMIT or not word.strip():
            raise InputError(
                f"A learnt word has 1 to {WORD_LIMIT} characters, got {checks.shown(word)}.",
                parameter="embeddings",
            )
        if word.casefold() in map(str.casefold, found):
            raise InputError(
                f"Two files are for the word {word!r}.\nGive {{word: path}} with other words.",
                parameter="embeddings",
            )
        found[word] = file
    if len(found) > MOST:
        raise InputError(
            f"At most {MOST} learnt words are taken, got {len(found)}.", parameter="embeddings"
        )
    return found


def read_embeddings(
    word: str, path: Path, texts: Sequence[TextConfig | BertConfig]
) -> tuple[LearntWord, ...]:
    """Return the learnt word in a file, for a model with the text encoders ``texts``; of a LoRA's
    file, all words inside, by their own names.

    Safetensors files, pickles (.pt, .bin; nothing in them runs) and PNG images with the vectors in
    their text. Raises ``CheckpointNotFound`` or ``CheckpointError``, for other families with the
    likely one.
    """
    if _begins_as_png(path):
        words = {word: _of_image(path)}
    else:
        with open_weights(path) as file:
            words = {
                name or word: {kind: _vectors(file, each) for kind, each in names.items()}
                for name, names in _words(file).items()
            }
            file.check_unchanged()
    source = Source(path.name[:200], kind="embedding", file=LocalFile.of(path))
    return tuple(
        LearntWord(each, _fitted(vectors, texts, str(path)), source)
        for each, vectors in words.items()
    )


def _words(file: WeightFile | PickleFile) -> dict[str, dict[str, str]]:
    """Return the names of the tensors of each word in a file; "" is the word without a name."""
    names = list(file.entries)
    if len(names) <= MOST_TENSORS and not any(name.startswith("bundle_emb.") for name in names):
        return {"": {name: name for name in names}}
    words: dict[str, dict[str, str]] = {}
    for name in names:
        if match := _BUNDLED.match(name):
            words.setdefault(match["word"] or match["own"], {})[match["kind"] or "emb"] = name
    if not words or len(words) > MOST:
        raise CheckpointError(
            f"{file.path} has {len(names):,} tensors and {len(words)} learnt words.\n"
            "A learnt word has a tensor for each text encoder; sdw.inspect(path) says what it is."
        )
    return words


def _vectors(file: WeightFile | PickleFile, name: str) -> Tensor:
    shape = tuple(file.shapes[name])
    if len(shape) not in (1, 2) or 0 in shape or (len(shape) == 2 and shape[0] > MOST_VECTORS):
        raise CheckpointError(
            f"{file.path} is no learnt word: {quoted(name)} has the shape {[*shape]}, and a word's"
            f" vectors are [width] or [n, width], n at most {MOST_VECTORS}."
        )
    values = file.read(name, torch.float32, torch.device("cpu"))
    return values.view(-1, shape[-1])


def _fitted(
    found: Mapping[str, Tensor], texts: Sequence[TextConfig | BertConfig], where: str
) -> tuple[Tensor, ...]:
    """Return the vectors for each text encoder. Raises ``CheckpointError``."""
    widths = tuple(text.width for text in texts)
    own = tuple(sorted({vectors.shape[1] for vectors in found.values()}))
    if not texts:
        raise CheckpointError(f"{where}: the model reads no text, so it takes no learnt words.")
    chosen = []
    for number, width in enumerate(widths):
        names = _OF_SECOND if number else _OF_FIRST
        fits = [name for name, vectors in found.items() if vectors.shape[1] == width]
        named = [name for name in fits if name in names] or fits
        chosen.append(found[named[0]] if len(named) == 1 else None)
    if len(found) != len(texts) or any(vectors is None for vectors in chosen):
        made = f", as for {_FAMILIES[own]}" if own in _FAMILIES else ""
        wanted = " and ".join(map(str, widths))
        raise CheckpointError(
            f"{where} has {len(found)} lists of vectors of width {' and '.join(map(str, own))}"
            f"{made}; this model needs {len(texts)}, of width {wanted}.\n"
            "Give a learnt word that was made for this model's family."
        )
    vectors = tuple(each for each in chosen if each is not None)
    if len({len(each) for each in vectors}) > 1:
        raise CheckpointError(f"{where} has different numbers of vectors for its text encoders.")
    if not all(bool(torch.isfinite(each).all()) for each in vectors):
        raise CheckpointError(f"{where} has vectors with NaN or infinity.\nDownload it again.")
    return vectors


def _begins_as_png(path: Path) -> bool:
    if not path.is_file():  # a folder, a pipe; `open_weights` says what is wrong
        return False
    with open(path, "rb") as file:
        return file.read(len(_PNG)) == _PNG


def _of_image(path: Path) -> dict[str, Tensor]:
    """Return the vectors in the text of a PNG image, as A1111 writes them (base64 of JSON)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=["PNG"]) as image:
                text = image.info.get(_CHUNK)
        if not isinstance(text, str):
            raise CheckpointError(
                f"{path} has no learnt word in its text; words hidden in pixels are not read.\n"
                "Give its .pt or .safetensors file."
            )
        content = parse(base64.b64decode(text, validate=True), subject="its JSON is ", most=10**6)
        params = content["string_to_param"]
        if len(params) != 1:
            raise ValueError(f"it has {len(params)} terms")
        (values,) = params.values()
        numbers = np.array(values["TORCHTENSOR"], np.float32)
        if numbers.ndim not in (1, 2) or numbers.size == 0:
            raise ValueError(f"its vectors have the shape {[*numbers.shape]}")
    except CheckpointError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise CheckpointError(
            f"{path} has a learnt word that cannot be read: {quoted(str(error), 100)}.\n"
            "Give its .pt or .safetensors file."
        ) from None
    return {"string_to_param.*": torch.from_numpy(numbers).view(-1, numbers.shape[-1])}
