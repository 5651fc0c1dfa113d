"""The latents of images, encoded once and kept: what a denoiser is trained on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from ..errors import CheckpointError, InputError
from ..models.autoencoder import Autoencoder
from ..pipeline import fingerprint_of
from ..pixels import to_tensor
from .checkpoint import save_atomically
from .loop import half_precision
from .surroundings import settled

if TYPE_CHECKING:
    from .data import Pictures

CHECKED = 32  # images compared with those of a file


@dataclass(frozen=True, eq=False)
class Latents:
    """Posteriors of images: ``mean`` and ``std`` [N, C, h, w] float16, so that every epoch can draw
    new latents."""

    mean: Tensor
    std: Tensor

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def deviation(self) -> float:
        """The standard deviation of latents drawn from all posteriors."""
        mean, std = self.mean.float(), self.std.float()
        return float((mean.var() + std.square().mean()).sqrt())

    def scaled(self, factor: float) -> Latents:
        """These posteriors, ``factor`` times as large."""
        return Latents(*((part.float() * factor).half() for part in (self.mean, self.std)))

    def draw(self, rows: Sequence[int], noise: Tensor) -> Tensor:
        """Latents [n, C, h, w] float32 of these rows, on the device of the unit ``noise``."""
        mean, std = (part[list(rows)].to(noise.device).float() for part in (self.mean, self.std))
        return mean + std * noise


@settled()
def cached_latents(
    autoencoder: Autoencoder, pictures: Pictures, count: int, file: Path | None = None
) -> Latents:
    """The latents of images 0 to ``count`` - 1.

    A ``file`` keeps them for the next time; if it holds fewer than ``count``, the rest is added. It
    also holds fingerprints of the autoencoder and of every image, up to 32 of which are checked.
    Raises InputError if they differ.
    """
    whose = hashlib.sha256(
        f"{fingerprint_of(autoencoder)} {autoencoder.config}".encode()
    ).hexdigest()
    known, prints = None, torch.zeros(0, dtype=torch.int64)
    if file is not None and file.exists():
        known, prints = _read(file, whose, pictures)
        if count <= len(known):
            return Latents(known.mean[:count], known.std[:count])
    new, more = _encoded(autoencoder, pictures, range(len(prints), count))
    if known is not None:
        new = Latents(torch.cat([known.mean, new.mean]), torch.cat([known.std, new.std]))
    if file is not None:
        state = {"autoencoder": whose, "pictures": torch.cat([prints, more])}
        save_atomically({"mean": new.mean, "std": new.std, **state}, file)
    return new


def _read(file: Path, whose: str, pictures: Pictures) -> tuple[Latents, Tensor]:
    """The latents in a file, and its images' fingerprints."""
    try:
        state = torch.load(file, weights_only=True)
        latents, prints = Latents(state["mean"], state["std"]), state.get("pictures")
    except Exception as error:  # of many kinds: the file may be anything
        raise CheckpointError(f"{file} could not be read as latents: {error!s:.200}") from error
    remedy = "Give another file, or delete this one: it will be made again."
    if prints is None or len(prints) != len(latents):
        raise InputError(f"{file} does not say whose latents it holds.\n{remedy}")
    if state["autoencoder"] != whose:
        raise InputError(f"{file} holds latents of another autoencoder.\n{remedy}")
    for number in np.linspace(0, len(prints) - 1, min(CHECKED, len(prints))).astype(int).tolist():
        if picture_print(pictures.picture(number)) != prints[number]:
            raise InputError(
                f"{file} holds latents of other images (number {number} differs).\n{remedy}"
            )
    return latents, prints


def picture_print(picture: np.ndarray) -> int:
    """An image's fingerprint, in 63 bits."""
    digest = hashlib.sha256(f"{picture.shape}".encode() + np.ascontiguousarray(picture).tobytes())
    return int.from_bytes(digest.digest()[:8], "big") >> 1


class _Numbered(Dataset):
    """Images with their fingerprints, for loading by several workers."""

    def __init__(self, pictures: Pictures, numbers: range):
        self.pictures, self.numbers = pictures, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = self.pictures.picture(self.numbers[index])
        return to_tensor(picture)[0], picture_print(picture)


def _encoded(
    autoencoder: Autoencoder, pictures: Pictures, numbers: range
) -> tuple[Latents, Tensor]:
    device = autoencoder.weight.device
    workers = (os.cpu_count() or 1) - 1 if device.type == "cuda" else 0
    loader = DataLoader(
        _Numbered(pictures, numbers),
        batch_size=32,
        num_workers=workers,
        generator=torch.Generator(),  # without one it draws from torch's own
    )
    means, stds, prints = [], [], []
    for images, found in tqdm(loader, desc="latents", delay=3, mininterval=1):
        with half_precision(device):
            posterior = autoencoder.encode(images.to(device, memory_format=torch.channels_last))
        means.append(posterior.mean.half().cpu())
        stds.append(posterior.std.half().cpu())
        prints.append(found)
    return Latents(torch.cat(means), torch.cat(stds)), torch.cat(prints)
