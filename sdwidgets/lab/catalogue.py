"""What there is to choose from: each autoencoder in a few numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..configs import AutoencoderConfig


@dataclass(frozen=True)
class Entry:
    """An autoencoder in numbers: f, channels of its latents, codes (0: KL).

    ``bits`` a pixel: of VQ log2(K) / f^2, what its codes cost. Of KL 16 C / f^2, its latents as
    float16: that is at most what is needed, and what a picture's posterior costs is measured with
    the picture (`metrics.bits_per_pixel`). ``ratio``: how many numbers of the picture there are for
    each that is kept, 3 f^2 / C; of VQ one code is kept a cell, so 3 f^2.
    """

    name: str
    label: str
    kind: str  # "KL", "VQ", or "KL (model)": that of the bundled diffusion model
    factor: int
    channels: int
    codes: int
    bits: float
    ratio: float


def entry(name: str, config: AutoencoderConfig, *, of_model: bool = False) -> Entry:
    """The entry of an autoencoder."""
    factor, channels, codes = config.factor, config.latent_channels, config.codes
    kind = ("VQ" if codes else "KL") + (" (model)" if of_model else "")
    bits = (math.log2(codes) if codes else 16 * channels) / factor**2
    ratio = 3 * factor**2 / (1 if codes else channels)
    what = f"{codes:,} codes" if codes else f"{channels} channels"
    label = f"f = {factor} · {kind} · {what} · {ratio:.3g}x fewer numbers"
    return Entry(name, label, kind, factor, channels, codes, bits, ratio)
