"""The autoencoders to choose from, each in a few numbers."""

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
    """An autoencoder in numbers: ``factor`` f, latent ``channels`` C and ``codes`` K (0 for KL).

    ``bits`` per pixel: for VQ log2(K) / f^2, the cost of its codes; for KL 16 C / f^2, the cost of
    its latents in float16. That is an upper bound: the cost of an image's own posterior is measured
    with the image (`metrics.bits_per_pixel`). ``ratio``: numbers of the image for each number that
    is kept, 3 f^2 / C; for VQ 3 f^2, since it keeps one code for each cell.
    """

    name: str
    label: str
    kind: str  # "KL", "VQ", or "KL (model)": a diffusion model's own
    factor: int
    channels: int
    codes: int
    bits: float
    ratio: float


def entry(name: str, config: AutoencoderConfig, *, of_model: bool = False) -> Entry:
    """The entry of an autoencoder; ``of_model``: it is a diffusion model's own."""
    factor, channels, codes = config.factor, config.latent_channels, config.codes
    kind = ("VQ" if codes else "pixels" if config.is_identity else "KL") + " (model)" * of_model
    numbers = 8 if config.is_identity else 16  # bits of each
    bits = (math.log2(codes) if codes else numbers * channels) / factor**2
    ratio = 3 * factor**2 / (1 if codes else channels)
    what = f"{codes:,} codes" if codes else f"{channels} channels"
    label = f"f = {factor} · {kind} · {what} · {ratio:.3g}x fewer numbers"
    return Entry(name, label, kind, factor, channels, codes, bits, ratio)


def bundled_entries() -> list[Entry]:
    """The entries of all bundled autoencoders that are installed."""
    return [
        entry(name, bundled_config(name), of_model=name == MODEL) for name in bundled_autoencoders()
    ]


def usable(name: object, autoencoder: Autoencoder | str | os.PathLike[str]) -> Autoencoder:
    """A user's autoencoder, loaded if it is given by path or name.

    Raises ``InputError`` if the lab cannot show it, and what `load_autoencoder` raises.
    """
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise InputError(
            f"A name must have 1 to {LONGEST_NAME} characters, got {checks.shown(name)}.",
            parameter="name",
        )
    if not isinstance(autoencoder, Autoencoder):
        autoencoder = load_autoencoder(autoencoder)
    if autoencoder.config.in_channels != 3:
        raise InputError(
            f"{name} takes images of {autoencoder.config.in_channels} channels; the lab's have 3."
        )
    return autoencoder
