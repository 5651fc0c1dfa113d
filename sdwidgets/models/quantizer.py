"""Vector quantisation: every latent is replaced by the nearest of K learnt codes.

Source: "Neural Discrete Representation Learning" (van den Oord et al., arXiv 1711.00937).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError

COMMITMENT = 0.25  # beta of equation 3, in the paper and in latent diffusion
CHUNK = 2**24  # distances in memory at a time: 64 MB of float32


class Quantized(NamedTuple):
    """Quantised latents [B, D, h, w], the indices of their codes [B, h, w] (int64), the loss []."""

    latents: Tensor
    indices: Tensor
    loss: Tensor


class Quantizer(nn.Module):
    """z [B, D, h, w] -> its nearest codes (arXiv 1711.00937, section 3, equations 1 to 3).

    The loss is the codebook loss ||sg[z] - e||^2, which moves codes to latents, plus beta times the
    commitment loss ||z - sg[e]||^2, which holds latents to their codes. Both are means over
    elements. Latent diffusion's published autoencoders were trained with beta on the codebook loss
    instead ("legacy" in taming-transformers); here it is as in the paper.
    """

    def __init__(self, codes: int, width: int):
        super().__init__()
        self.embedding = nn.Embedding(codes, width)
        nn.init.uniform_(self.embedding.weight, -1 / codes, 1 / codes)  # as in latent diffusion

    def forward(self, z: Tensor) -> Quantized:
        """Return the quantised latents; their gradients pass straight through to ``z``."""
        flat = z.movedim(1, -1).flatten(0, -2)  # [Bhw, D]
        indices = nearest_codes(flat, self.embedding.weight).view(z.shape[0], *z.shape[2:])
        e = self.look_up(indices)
        loss = F.mse_loss(e, z.detach()) + COMMITMENT * F.mse_loss(z, e.detach())
        # The values are exactly the codes', except where z is NaN or infinite, which must show.
        return Quantized(e.detach() + (z - z.detach()), indices, loss)

    def look_up(self, indices: Tensor) -> Tensor:
        """Return the codes [B, D, h, w] of ``indices`` [B, h, w]."""
        return self.embedding(indices).movedim(-1, 1)


@torch.no_grad()
def nearest_codes(z: Tensor, codes: Tensor, *, chunk: int = CHUNK) -> Tensor:
    """Return [N] int64: the index of the nearest of ``codes`` [K, D] for each row of ``z`` [N, D].

    ||z - e||^2 is ||e||^2 - 2 z e^T plus a term that is the same for all codes, so one matrix
    product is enough. At most ``chunk`` (but at least K) of its N K numbers are in memory at a
    time. It is computed in float32 for all types, since half precision cannot tell close codes
    apart.
    """
    z, codes = z.float(), codes.float()
    norms = codes.square().sum(1)
    rows = max(chunk // len(codes), 1)
    distances = z.new_empty(min(rows, len(z)), len(codes))
    nearest = []
    for some in z.split(rows):
        # With ``out``, autocast leaves the call in float32.
        found = torch.addmm(norms, some, codes.mT, alpha=-2, out=distances[: len(some)])
        nearest.append(found.argmin(1))
    return torch.cat(nearest)


def count_codes(indices: Tensor, codes: int) -> Tensor:
    """Return [``codes``] int64: how often each code occurs in ``indices``, of any shape.

    Counts of several images can be added.
    """
    return torch.bincount(indices.flatten(), minlength=codes)


def codebook_usage(counts: Tensor) -> float:
    """Return the share of codes that are used, 0 to 1, from ``counts`` [K] of `count_codes`."""
    return float((counts > 0).double().mean())


def perplexity(counts: Tensor) -> float:
    """Return exp(entropy) of the codes' frequencies ``counts`` [K], from 1 (a single code) to K.

    That many codes, used evenly, would carry as much information. Raises ``InputError`` if all
    counts are zero.
    """
    total = counts.sum()
    if not total:
        raise InputError("All counts are zero, so there is no perplexity.", parameter="counts")
    return float(torch.special.entr(counts.double() / total).sum().exp())
