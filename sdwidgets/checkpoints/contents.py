"""What a model consists of, to be written in any layout: its config, tensors and tokenizers.

A loaded model has its tensors in memory. Those of a file or folder stay there, and each is read
when it is written, so that a model of any size is converted in the memory of a single tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..configs import ModelConfig, TextConfig
from ..vocabulary import Vocabulary
from .writing import Outgoing, code_of, converted

if TYPE_CHECKING:
    from ..models.tokenizer import Tokenizer
    from ..pipeline import LatentDiffusion

Tensors = Mapping[str, Outgoing]


@dataclass(frozen=True)
class Contents:
    """A model to write. The names of its tensors are those of our networks' parameters."""

    config: ModelConfig
    networks: tuple[Tensors, ...]  # the UNet, the autoencoder, and each text encoder
    tokenizers: tuple[Tokenizer, ...]  # of each text encoder
    preview: np.ndarray | None = None
    vocabulary: Vocabulary | None = None

    @classmethod
    def of(cls, model: LatentDiffusion) -> Contents:
        """Return those of a loaded model."""
        texts: list[Any] = [each for each in model.embedders if isinstance(each.config, TextConfig)]
        networks = (model.unet, model.autoencoder, *(text.model for text in texts))
        return cls(
            config=model.config,
            networks=tuple(map(tensors_of, networks)),
            tokenizers=tuple(text.tokenizer for text in texts),
            preview=model.preview,
            vocabulary=model.vocabulary,
        )

    def as_dtype(self, dtype: torch.dtype | None) -> Contents:
        """Return the contents with floats of another type; None keeps theirs."""
        return replace(self, networks=tuple(as_dtype(each, dtype) for each in self.networks))


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
