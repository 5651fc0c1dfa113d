"""The latents between encoder and decoder: channels, their statistics, and codes of VQ."""

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

SEED = 0  # of the posterior's sample: the same for the same image


class Statistics(NamedTuple):
    """The statistics of a channel of the posterior's mean."""

    mean: float
    std: float
    min: float
    max: float


@dataclass(frozen=True, eq=False)
class CodeMap:
    """The code of each cell: ``indices`` [h, w], and ``colours`` uint8 [h, w, 3], in which similar
    codes have similar colours. The image uses ``used`` of the ``count`` codes."""

    count: int
    indices: np.ndarray
    used: int
    perplexity: float
    colours: np.ndarray


@dataclass(frozen=True, eq=False)
class Latents:
    """The latents of an image, [C, h, w] float32: the posterior's ``mean``, its standard deviation
    ``std`` (None for VQ, which has none) and a ``sample``, with the image decoded from it.

    For VQ ``mean`` is the encoder's output before quantising, and ``codes`` what it becomes.
    """

    name: str
    mean: np.ndarray
    std: np.ndarray | None
    sample: np.ndarray
    sample_image: Image.Image
    statistics: tuple[Statistics, ...]
    codes: CodeMap | None


def look_inside(name: str, autoencoder: Autoencoder, encoded: Encoded) -> Latents:
    """The latents of an encoded image."""
    posterior = encoded.posterior
    is_vq = isinstance(posterior, Codes)
    if is_vq:
        sample, sampled = posterior.mean, encoded.rebuilt
    else:
        sample = posterior.sample(torch.Generator("cpu").manual_seed(SEED))
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
    """The first of the latents [B, C, h, w], as an array [C, h, w] float32."""
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

    Red, green and blue are the codes' first three principal components, each scaled from its 2nd to
    its 98th percentile. A codebook with D < 3 leaves the other colours at a middle grey.
    """
    centred = codes.float().cpu() - codes.float().cpu().mean(0)
    _, vectors = torch.linalg.eigh(centred.mT @ centred)
    values = (centred @ vectors.flip(1)[:, :3]).numpy()  # [K, 3 or less]
    low, high = np.percentile(values, (2, 98), axis=0)
    levels = np.clip((values - low) / np.maximum(high - low, 1e-12), 0, 1)
    colours = np.full((len(values), 3), 128, np.uint8)
    colours[:, : levels.shape[1]] = (40 + 200 * levels).round().astype(np.uint8)
    return colours
