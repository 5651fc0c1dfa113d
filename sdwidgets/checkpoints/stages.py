"""What latent diffusion's files have beside the network: the embedders that were trained with it.

Its code calls them "cond_stage_model": a table of classes, a transformer for captions or layouts, a
rescaler of label maps (https://github.com/CompVis/latent-diffusion, ``encoders/modules.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import count

from ..configs import (
    AutoencoderConfig,
    BertConfig,
    BoxesConfig,
    ClassConfig,
    EmbedderConfig,
    LabelMapConfig,
)
from .names import STAGE

Shapes = Mapping[str, tuple[int, ...]]

_CLASSES = f"{STAGE}embedding.weight"
_TOKENS = f"{STAGE}transformer.token_emb.weight"
_POSITIONS = f"{STAGE}transformer.pos_emb.emb.weight"
_LAYER = f"{STAGE}transformer.attn_layers.layers.{{}}.0.weight"
_QUERIES = f"{STAGE}transformer.attn_layers.layers.0.1.to_q.weight"
_MAPPER = f"{STAGE}channel_mapper.weight"

HEAD = 64
"""The width of a transformer's heads, x-transformers' default."""


def stage_of(shapes: Shapes) -> tuple[type[EmbedderConfig], ...]:
    """Return the classes of configs that may describe the trained embedder in a file; () if there
    is none. Captions and layouts have the same transformer."""
    if _TOKENS in shapes:
        return BertConfig, BoxesConfig
    if _CLASSES in shapes:
        return (ClassConfig,)
    return (LabelMapConfig,) if _MAPPER in shapes else ()


def read_as(
    known: EmbedderConfig, shapes: Shapes, autoencoder: AutoencoderConfig
) -> EmbedderConfig:
    """Return the config of an embedder in a file of the family that has ``known``.

    No file has the names of classes: another number of them than the family's are called "0", "1",
    ... Raises ``KeyError``, ``IndexError`` or ``ValueError`` for missing names or unexpected ranks.
    """
    if isinstance(known, ClassConfig):
        rows, width = shapes[_CLASSES]
        if rows == len(known.names) + known.null:
            return replace(known, width=width)
        return ClassConfig(_numbers(rows), width, null=False)
    if isinstance(known, (BertConfig, BoxesConfig)):
        vocabulary, width = shapes[_TOKENS]
        return replace(
            known,
            vocab_size=vocabulary,
            width=width,
            layers=next(n for n in count() if _LAYER.format(2 * n) not in shapes),
            heads=max(shapes[_QUERIES][0] // HEAD, 1),
            length=shapes[_POSITIONS][0],
        )
    if isinstance(known, LabelMapConfig):
        channels, classes = shapes[_MAPPER][:2]
        names = known.names if classes == len(known.names) else _numbers(classes)
        return replace(
            known, names=names, channels=channels, stages=autoencoder.factor.bit_length() - 1
        )
    return known


def is_trained(config: EmbedderConfig) -> bool:
    """Whether an embedder of this config was trained with the network, and is in its file."""
    return isinstance(config, (ClassConfig, BertConfig, BoxesConfig, LabelMapConfig))


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))
