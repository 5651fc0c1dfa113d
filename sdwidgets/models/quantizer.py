"""Vector quantisation: every latent becomes the nearest of K learnt codes.

Source: "Neural Discrete Representation Learning" (van den Oord et al., arXiv 1711.00937).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError

COMMITMENT = 0.25  # beta of equation 3: the paper's, and latent diffusion's
CHUNK = 2**24  # distances held at once: 64 MB of float32


class Quantized(NamedTuple):
    """Latents [B, D, h, w] made of codes, which codes [B, h, w] (int64), and the loss []."""

    latents: Tensor
    indices: Tensor
    loss: Tensor


class Quantizer(nn.Module):
    """z [B, D, h, w] -> its nearest codes (arXiv 1711.00937, section 3, equations 1 to 3).

    The loss is the codebook's, ||sg[z] - e||^2, which moves codes to latents, plus beta times the
    commitment, ||z - sg[e]||^2, which holds latents to their codes; both are means over elements.
    The published autoencoders of latent diffusion were trained with beta on the other of the two
    (taming-transformers keeps that as "legacy"); here it is where the paper has it.
    """

    def __init__(self, codes: int, width: int):
        super().__init__()
        self.embedding = nn.Embedding(codes, width)
        nn.init.uniform_(self.embedding.weight, -1 / codes, 1 / codes)  # latent diffusion's start

    def forward(self, z: Tensor) -> Quantized:
        """Gradients of the latents returned pass straight through to ``z``."""
        flat = z.movedim(1, -1).flatten(0, -2)  # [Bhw, D]
        indices = nearest_codes(flat, self.embedding.weight).view(z.shape[0], *z.shape[2:])
        e = self.look_up(indices)
        loss = F.mse_loss(e, z.detach()) + COMMITMENT * F.mse_loss(z, e.detach())
        # Their values are exactly the codes', but where z is NaN or infinite: that must show.
        return Quantized(e.detach() + (z - z.detach()), indices, loss)

    def look_up(self, indices: Tensor) -> Tensor:
        """Return the codes [B, D, h, w] of ``indices`` [B, h, w]."""
        return self.embedding(indices).movedim(-1, 1)


@torch.no_grad()
def nearest_codes(z: Tensor, codes: Tensor, *, chunk: int = CHUNK) -> Tensor:
    """Return [N] int64: for each row of ``z`` [N, D] the nearest of ``codes`` [K, D].

    ||z - e||^2 is ||e||^2 - 2 z e^T and something that is the same for all codes, so one matrix
    product will do; at most ``chunk`` (at least K) of its N K numbers are in memory at once. In
    float32 whatever the types: half precision cannot tell close codes apart.
    """
    z, codes = z.float(), codes.float()
    norms = codes.square().sum(1)
    rows = max(chunk // len(codes), 1)
    distances = z.new_empty(min(rows, len(z)), len(codes))
    nearest = []
    for some in z.split(rows):
        # A call with ``out`` is also one that autocast leaves in float32.
        found = torch.addmm(norms, some, codes.mT, alpha=-2, out=distances[: len(some)])
        nearest.append(found.argmin(1))
    return torch.cat(nearest)


def count_codes(indices: Tensor, codes: int) -> Tensor:
    """Return [``codes``] int64: how often each code stands in ``indices``, of any shape.

    Counts of several pictures add up.
    """
    return torch.bincount(indices.flatten(), minlength=codes)


def codebook_usage(counts: Tensor) -> float:
    """Return the share of codes used at all, 0 to 1, of ``counts`` [K] (see `count_codes`)."""
    return float((counts > 0).double().mean())


def perplexity(counts: Tensor) -> float:
    """Return exp(entropy) of the codes' frequencies, of ``counts`` [K]: 1 (one code) to K (all
    alike); as many codes, used evenly, would carry as much. Raises ``InputError`` without a code.
    """
    total = counts.sum()
    if not total:
        raise InputError("No code was counted: there is no perplexity.", parameter="counts")
    return float(torch.special.entr(counts.double() / total).sum().exp())
