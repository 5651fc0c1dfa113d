"""What a model consists of, to be written in any layout: its config, tensors and tokenizers.

A loaded model has its tensors in memory. Those of a file or folder stay there, and each is read
when it is written, so that a model of any size is converted in the memory of a single tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..configs import ModelConfig, TextConfig
from ..errors import InputError
from ..vocabulary import Vocabulary
from .fill import Plan, extras, read_place, scale_of
from .layout import Layout
from .load import built
from .model_index import folders_of
from .weights import FLOATS
from .writing import Outgoing, code_of, converted

if TYPE_CHECKING:
    from ..models.tokenizer import Tokenizer
    from ..pipeline import LatentDiffusion

Tensors = Mapping[str, Outgoing]
Part = Literal["unet", "vae", "text_encoder", "text_encoder_2"]


def parts_of(config: ModelConfig) -> tuple[str, ...]:
    """Return the names of a model's networks, which are those of their folders."""
    count = sum(isinstance(each, TextConfig) for each in config.embedders)
    return ("unet", "vae", *(encoder for encoder, _ in folders_of(config)[:count]))


@dataclass(frozen=True)
class Contents:
    """A model to write. The names of its tensors are those of our networks' parameters."""

    config: ModelConfig
    unet: Tensors
    autoencoder: Tensors
    embedders: tuple[Tensors, ...]  # of each embedder; some have none
    tokenizers: tuple[Tokenizer, ...]  # of each text encoder
    preview: np.ndarray | None = None
    vocabulary: Vocabulary | None = None
    left_out: tuple[str, ...] = ()  # names in the files that are none of ours

    @property
    def texts(self) -> tuple[Tensors, ...]:
        """The tensors of each text encoder."""
        told = zip(self.config.embedders, self.embedders, strict=True)
        return tuple(each for config, each in told if isinstance(config, TextConfig))

    @property
    def read_by(self) -> tuple[tuple[int, Tokenizer], ...]:
        """Each text encoder's index among the embedders, and its tokenizer."""
        return tuple(zip(self.config.readers, self.tokenizers, strict=True))

    @property
    def all(self) -> tuple[Tensors, ...]:
        """The tensors of the UNet, the autoencoder and each embedder."""
        return self.unet, self.autoencoder, *self.embedders

    @property
    def networks(self) -> tuple[Tensors, ...]:
        """The tensors of the networks in `parts_of`: UNet, autoencoder and text encoders."""
        return self.unet, self.autoencoder, *self.texts

    def network(self, part: Part) -> Tensors:
        """Return the tensors of a part. Raises ``InputError`` if the model has no such part."""
        found = dict(zip(parts_of(self.config), self.networks, strict=True))
        if part not in found:
            raise InputError(
                f"{self.config.name} has no {part}; its parts are {', '.join(found)}.",
                parameter="part",
            )
        return found[part]

    @classmethod
    def of(cls, model: LatentDiffusion) -> Contents:
        """Return those of a loaded model."""
        texts: list[Any] = [model.embedders[n] for n in model.config.readers]
        return cls(
            config=model.config,
            unet=tensors_of(model.unet),
            autoencoder=tensors_of(model.autoencoder),
            embedders=tuple(tensors_of(each.model) for each in model.embedders),
            tokenizers=tuple(getattr(each, "text", each).tokenizer for each in texts),
            preview=model.preview,
            vocabulary=model.vocabulary,
        )

    @classmethod
    def of_layout(cls, layout: Layout) -> Contents:
        """Return those of a checked file or folder, whose files must stay open.

        Raises ``CheckpointError`` if they are not whole.
        """
        made = built(layout)
        unet, autoencoder, *embedders = map(_stored, made.plans)
        return cls(
            config=replace(layout.config, embedders=tuple(each.config for each in made.embedders)),
            unet=unet,
            autoencoder=autoencoder,
            embedders=tuple(embedders),
            tokenizers=tuple(text.tokenizer for text in made.texts),
            preview=layout.preview,
            vocabulary=layout.vocabulary,
            left_out=tuple(extras(made.plans)),
        )

    def as_dtype(self, dtype: torch.dtype | None) -> Contents:
        """Return the contents with floats of another type; None keeps theirs."""
        return replace(
            self,
            unet=as_dtype(self.unet, dtype),
            autoencoder=as_dtype(self.autoencoder, dtype),
            embedders=tuple(as_dtype(each, dtype) for each in self.embedders),
        )


def as_dtype(tensors: Tensors, dtype: torch.dtype | None) -> Tensors:
    """Return the tensors with floats of another type; None keeps theirs."""
    if dtype is None:
        return tensors
    code = code_of(dtype)
    return {name: converted(tensor, code, name) for name, tensor in tensors.items()}


def tensors_of(network: nn.Module) -> dict[str, Outgoing]:
    """Return the tensors of a network in memory."""

    def outgoing(tensor: Tensor) -> Outgoing:
        shape = tuple(tensor.shape)
        return Outgoing(code_of(tensor.dtype), shape, lambda: tensor.detach().to("cpu"))

    return {name: outgoing(tensor) for name, tensor in network.state_dict().items()}


def _stored(plan: Plan) -> dict[str, Outgoing]:
    """Return the tensors of a network in files, as they are stored; scaled ones as float32."""
    shapes = {name: tensor.shape for name, tensor in plan.part.module.state_dict().items()}

    def outgoing(name: str) -> Outgoing:
        file, source = plan.places[name]
        code = file.entries[source.name].dtype
        code = code if scale_of(file, source.name) is None else "F32"
        dtype = getattr(torch, FLOATS[code])
        return Outgoing(
            code, tuple(shapes[name]), lambda: read_place(file, source, dtype, shapes[name])
        )

    return {name: outgoing(name) for name in shapes}
