"""What lies between encoder and decoder: channels, their statistics, and the codes of a VQ one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..models.autoencoder import Autoencoder, Codes
from ..models.quantizer import count_codes, perplexity
from ..pixels import to_image
from .reconstruction import Encoded, decode

SEED = 0  # of the posterior's sample: the same picture gives the same one


class Statistics(NamedTuple):
    """Of one channel of the mean."""

    mean: float
    std: float
    min: float
    max: float


@dataclass(frozen=True, eq=False)
class CodeMap:
    """Which code stands where: ``indices`` [h, w], and as colours [h, w, 3] uint8, in which codes
    that are alike have colours that are alike. Of ``count`` codes ``used`` stand in the picture."""

    count: int
    indices: np.ndarray
    used: int
    perplexity: float
    colours: np.ndarray


@dataclass(frozen=True, eq=False)
class Latents:
    """The latents of a picture [C, h, w] float32: the posterior's ``mean``, its standard deviation
    (None for VQ, which is sure) and a ``sample``, with the picture decoded from it.

    For VQ ``mean`` is what was there before quantising, and ``codes`` says what it became.
    """

    name: str
    mean: np.ndarray
    std: np.ndarray | None
    sample: np.ndarray
    sample_image: Image.Image
    statistics: tuple[Statistics, ...]
    codes: CodeMap | None


def look_inside(name: str, autoencoder: Autoencoder, encoded: Encoded) -> Latents:
    """The latents of an encoded picture."""
    posterior = encoded.posterior
    is_vq = isinstance(posterior, Codes)
    if is_vq:
        sample, sampled = posterior.mean, encoded.rebuilt
    else:
        sample = posterior.sample(torch.Generator().manual_seed(SEED))
        height, width = encoded.pixels.shape[-2:]
        sampled = decode(autoencoder, sample, (width, height))
    mean = array(posterior.mean)
    return Latents(
        name=name,
        mean=mean,
        std=None if is_vq else array(posterior.std),
        sample=array(sample),
        sample_image=to_image(sampled[0]),
        statistics=tuple(
            Statistics(*(float(f()) for f in (z.mean, z.std, z.min, z.max))) for z in mean
        ),
        codes=_code_map(autoencoder, posterior) if isinstance(posterior, Codes) else None,
    )


def array(latents: Tensor) -> np.ndarray:
    """[C, h, w] float32 of the first of latents [B, C, h, w]."""
    return latents[0].float().cpu().numpy()


def _code_map(autoencoder: Autoencoder, posterior: Codes) -> CodeMap:
    indices = posterior.indices[0].cpu()
    counts = count_codes(indices, posterior.codes)
    assert autoencoder.quantize is not None  # it gave codes
    colours = code_colours(autoencoder.quantize.embedding.weight)
    return CodeMap(
        count=posterior.codes,
        indices=indices.numpy(),
        used=int((counts > 0).sum()),
        perplexity=perplexity(counts),
        colours=colours[indices.numpy()],
    )


@torch.no_grad()
def code_colours(codes: Tensor) -> np.ndarray:
    """A colour for each code, uint8 [K, 3], of the codebook [K, D].

    Red, green and blue are the codes' first three principal components, each from its 2nd
    percentile to its 98th; fewer of a narrower codebook, and middle grey for the rest.
    """
    centred = codes.float().cpu() - codes.float().cpu().mean(0)
    _, vectors = torch.linalg.eigh(centred.mT @ centred)
    values = (centred @ vectors.flip(1)[:, :3]).numpy()  # [K, 3 or less]
    low, high = np.percentile(values, (2, 98), axis=0)
    levels = np.clip((values - low) / np.maximum(high - low, 1e-12), 0, 1)
    colours = np.full((len(values), 3), 128, np.uint8)
    colours[:, : levels.shape[1]] = (40 + 200 * levels).round().astype(np.uint8)
    return colours
