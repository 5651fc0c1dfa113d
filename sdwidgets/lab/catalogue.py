"""What there is to choose from: each autoencoder in a few numbers."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from .. import checks
from ..checkpoints import load_autoencoder
from ..checkpoints.zoo import MODEL, bundled_autoencoders, bundled_config
from ..configs import AutoencoderConfig
from ..errors import InputError
from ..models.autoencoder import Autoencoder

LONGEST_NAME = 60  # characters


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


def bundled_entries() -> list[Entry]:
    """The entries of all autoencoders that come with the package and are here."""
    return [
        entry(name, bundled_config(name), of_model=name == MODEL) for name in bundled_autoencoders()
    ]


def usable(name: object, autoencoder: Autoencoder | str | os.PathLike[str]) -> Autoencoder:
    """An autoencoder of one's own, loaded if it is a path or a name.

    Raises ``InputError`` where the lab cannot show it, and what `load_autoencoder` raises.
    """
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise InputError(
            f"A name has 1 to {LONGEST_NAME} characters, got {checks.shown(name)}.",
            parameter="name",
        )
    if not isinstance(autoencoder, Autoencoder):
        autoencoder = load_autoencoder(autoencoder)
    if autoencoder.config.in_channels != 3:
        raise InputError(
            f"{name} takes pictures of {autoencoder.config.in_channels} channels, not of 3."
        )
    return autoencoder
