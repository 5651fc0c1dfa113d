"""How a model came from another, and the fingerprint that follows from it.

A model's own fingerprint reads a few values of every tensor, which a patch may miss. That of a
derived model also depends on its parent's fingerprint and on what was changed: by the hashes of the
sources, or, where a source has none, by every byte of the new weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .sources import Source, hashed


@dataclass(frozen=True)
class Derivation:
    """What a derived model changed: its ``parent``'s fingerprint, the ``sources`` of the change,
    and a ``digest`` of the new weights, "" where the sources say which they are."""

    parent: str
    sources: tuple[Source, ...]
    digest: str = ""

    def fingerprint(self, values: str) -> str:
        """64 hexadecimal digits, of a model whose own sampled values have the digest ``values``."""
        changes = [source.as_dict() for source in hashed(self.sources)]
        text = json.dumps([self.parent, values, self.digest, changes], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def derivation_of(
    parent: str, sources: Sequence[Source], parts: Sequence[tuple[nn.Module, nn.Module]]
) -> Derivation:
    """The derivation of a model whose ``parts`` are replaced: pairs of new and old modules."""
    known = all(source.sha256 or source.commit or source.file for source in sources)
    return Derivation(parent, tuple(sources), "" if known else _digest(parts))


def _digest(parts: Sequence[tuple[nn.Module, nn.Module]]) -> str:
    """SHA-256 of all tensors of the new modules that the old ones do not have."""
    digest = hashlib.sha256()
    for new, old in parts:
        kept = _tensors(old)
        for name, tensor in _tensors(new).items():
            if tensor is not kept.get(name):
                digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
                values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
                digest.update(values.numpy().data)
    return digest.hexdigest()


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
