"""How a model came from another, and the fingerprint that follows from it.

An ordinary fingerprint reads a few values of every tensor, and could miss a patch. A derived
model's fingerprint also depends on its parent's and on the change: on the hashes of the sources or,
if a source has no hash, on every byte of the new weights.
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
    """How a model was derived: the fingerprint of its ``parent``, the ``sources`` of the change,
    and a ``digest`` of the new weights, which is "" if the sources have hashes."""

    parent: str
    sources: tuple[Source, ...]
    digest: str = ""

    def fingerprint(self, values: str) -> str:
        """Return 64 hexadecimal digits; ``values`` is the digest of the model's sampled values."""
        changes = [source.as_dict() for source in hashed(self.sources)]
        text = json.dumps([self.parent, values, self.digest, changes], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def derivation_of(
    parent: str, sources: Sequence[Source], parts: Sequence[tuple[nn.Module, nn.Module]]
) -> Derivation:
    """Return the derivation of a model; ``parts`` are pairs of new and old modules."""
    known = all(source.sha256 or source.commit or source.file for source in sources)
    return Derivation(parent, tuple(sources), "" if known else _digest(parts))


def _digest(parts: Sequence[tuple[nn.Module, nn.Module]]) -> str:
    """Return the SHA-256 of all tensors of the new modules that the old modules do not have."""
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
