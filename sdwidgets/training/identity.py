"""Facts that identify a training. Its checkpoint keeps them; resuming it compares them.

The shapes of weights are not enough: a network that predicts v would go on as one that predicts
eps, or on the latents of another autoencoder. How fast a training learns is not among the facts:
learning rates, the batch size and the number of steps may change between two parts of it.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..checks import shortened
from ..configs import ScheduleConfig
from ..errors import CheckpointError
from ..models.boxes import Boxes
from ..models.conditioning import Embedder, learns
from ..models.embedders import ClassLabels
from ..models.label_map import LabelMap
from ..models.text import BertEncoder, TextEncoder
from ..pipeline import fingerprint_of

if TYPE_CHECKING:
    from .data import Pictures
    from .text import SceneTwins

Fact = str | int | Tensor
"""A text or number is shown in errors; a tensor holds small copies of images."""

COMPARED = 32  # images, at most
SMALL = 4  # pixels along a side of a small copy
TOLERANCE = 8  # levels; decoders and processors differ by one or two


def of_images(pictures: Pictures | SceneTwins, count: int) -> dict[str, Fact]:
    """The number of images, and small copies of some, uint8 [n, 4, 4, 3]."""
    return {"number of images": count, "images": torch.from_numpy(_small(pictures, count))}


def of_captions(pictures: Pictures | SceneTwins, count: int) -> dict[str, Fact]:
    """A fingerprint of some captions."""
    some = [pictures.caption(number, random.Random(number)) for number in _some(count)]
    return {"captions": _digest("\n".join(some))}


def of_embedders(embedders: Sequence[Embedder]) -> dict[str, Fact]:
    """Classes by name, tokenizers, and frozen text encoders."""
    facts: dict[str, Fact] = {}
    for number, each in enumerate(embedders):
        after = f" {number + 1}" if number else ""
        if isinstance(each, (ClassLabels, Boxes, LabelMap)):
            facts[f"classes{after}"] = ", ".join(each.config.names)
        if isinstance(each, (TextEncoder, BertEncoder)):
            facts[f"tokenizer{after}"] = of_tokenizer(each)
            if not learns(each):
                facts[f"text encoder{after}"] = fingerprint_of(each.model)[:12]
    return facts


def of_tokenizer(text: TextEncoder | BertEncoder) -> str:
    """A fingerprint of its tokens and their ids."""
    return _digest("\n".join(f"{id} {token}" for token, id in sorted(text.tokenizer.vocab.items())))


def of_schedule(config: ScheduleConfig) -> dict[str, Fact]:
    """The prediction, and the schedule in words."""
    schedule = f"{config.kind}, {config.steps} steps, {config.beta_start} to {config.beta_end}"
    return {"prediction": config.prediction, "schedule": schedule}


def check_same(kept: object, own: dict[str, Fact], path: Path, remedy: str) -> None:
    """Raise CheckpointError, naming the first difference, if ``kept`` is of another training.

    What a file does not say is not compared; files of earlier versions say nothing."""
    if not isinstance(kept, dict):
        return
    for name in [name for name in own if name in kept]:
        there, here = kept[name], own[name]
        if isinstance(here, Tensor):
            differs = _differs(there, here)
            what = f"its {name} are different"
        else:
            differs = there != here
            what = f"{name} is {_shown(there)} there and {_shown(here)} here"
        if differs:
            raise CheckpointError(f"{path} belongs to another training: {what}.\n{remedy}")


def _differs(there: object, here: Tensor) -> bool:
    if not isinstance(there, Tensor) or there.shape != here.shape:
        return True
    return bool((there.cpu().int() - here.int()).abs().max() > TOLERANCE)


def _small(pictures: Pictures | SceneTwins, count: int) -> np.ndarray:
    images = (Image.fromarray(pictures.picture(number)) for number in _some(count))
    small = [image.resize((SMALL, SMALL), Image.Resampling.BOX) for image in images]
    return np.stack([np.asarray(image) for image in small])


def _some(count: int) -> list[int]:
    """Numbers spread over all images."""
    spread = np.linspace(0, count - 1, min(COMPARED, count))
    return [int(number) for number in spread]


def _shown(value: object) -> str:
    return shortened(str(value), 60)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]
