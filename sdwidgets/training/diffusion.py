"""Training the denoising network on cached latents, with the text encoder frozen.

The loss is DDPM's (arXiv 2006.11239, eq. 14), over training steps drawn evenly, on whatever the
config says is predicted. One caption in ten is empty, for classifier-free guidance (arXiv
2207.12598); all others are worded anew each time a scene comes up.

Beside it, small heads on the network's features name what stands where, and are not kept: which of
two things goes where is a faint signal in the noise, and is asked for here in so many words (as
representation alignment asks for another network's features, arXiv 2410.06940). Nothing is asked of
the attention maps.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from ..configs import ScheduleConfig
from ..models.autoencoder import Autoencoder
from ..models.text import TextEncoder
from ..models.unet import UNet
from ..pipeline import noise_schedule
from ..scenes import SIZE, Glyphs, Scene, describe, render
from .data import scene_at, to_tensor
from .loop import Draw, half_precision, save_atomically
from .recognizer import NOTHING, NOUNS

EMPTY = 0.1  # how many captions are left out


class _Drawn(Dataset):
    """The pictures of the scenes of a seed with these numbers, for loading by several workers."""

    def __init__(self, seed: int, numbers: range, glyphs: Glyphs):
        self.seed, self.numbers, self.glyphs = seed, numbers, glyphs

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Tensor:
        return to_tensor(render(scene_at(self.seed, self.numbers[index]), self.glyphs).image)


@torch.no_grad()
def cached_latents(
    autoencoder: Autoencoder, glyphs: Glyphs, count: int, seed: int, file: Path
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the latents of ``count`` scenes, each [N, C, h, w] float16.

    They are computed once and kept in ``file``; where more are asked for, the rest is added.
    """
    means, stds = [], []
    if file.exists():
        known = torch.load(file, weights_only=True)
        means, stds = [known["mean"]], [known["std"]]
    missing = range(sum(map(len, means)), count)
    if not missing:
        return means[0][:count], stds[0][:count]
    device = next(autoencoder.parameters()).device
    workers = (os.cpu_count() or 1) - 1 if device.type == "cuda" else 0
    loader = DataLoader(_Drawn(seed, missing, glyphs), batch_size=32, num_workers=workers)
    for images in tqdm(loader, desc="latents", mininterval=20):
        with half_precision(device):
            posterior = autoencoder.encode(images.to(device, memory_format=torch.channels_last))
        means.append(posterior.mean.half().cpu())
        stds.append(posterior.std.half().cpu())
    mean, std = torch.cat(means), torch.cat(stds)
    save_atomically({"mean": mean, "std": std}, file)
    return mean, std


class WithCells(nn.Module):
    """The network, and heads that name what stands in each cell of its features on the way up."""

    def __init__(self, unet: UNet):
        super().__init__()
        self.unet = unet
        self.cells = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(1, width), nn.Conv2d(width, 128, 1), nn.SiLU(),
                nn.Conv2d(128, NOTHING + 1, 1),
            )
            for width in reversed(unet.config.channels[1:])
        )  # fmt: skip

    def forward(self, x: Tensor, t: Tensor, context: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The prediction [B, C, h, w], and of each head the logits [B, 41, cells, cells]."""
        features: list[Tensor] = []
        taps = [
            up.register_forward_hook(lambda *call: features.append(call[-1]))
            for up in list(self.unet.up_blocks)[:-1]
        ]
        try:
            out = self.unet(x, t, context)
        finally:
            for tap in taps:
                tap.remove()
        return out, [head(h) for head, h in zip(self.cells, features, strict=True)]

    @staticmethod
    def kept(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights of the network alone."""
        unet = "unet."
        return {k.removeprefix(unet): v for k, v in weights.items() if k.startswith(unet)}


def layout(scene: Scene, cells: int) -> np.ndarray:
    """What stands in each cell of a scene [cells, cells]: a noun's number, or NOTHING."""
    labels = np.full((cells, cells), NOTHING)
    centres = (np.arange(cells) + 0.5) * SIZE / cells
    for placed in scene.objects:
        rows, columns = (abs(centres - at) < 0.4 * placed.size for at in (placed.y, placed.x))
        labels[np.ix_(rows, columns)] = NOUNS.index(placed.noun)
    return labels


@dataclass
class DiffusionTask:
    """``model`` learns to denoise the scenes whose latents are ``mean`` and ``std``."""

    model: WithCells
    text: TextEncoder
    schedule: ScheduleConfig
    mean: Tensor
    std: Tensor
    seed: int = 0
    naming: float = 0.5  # how much the heads' cross-entropy counts

    def __post_init__(self) -> None:
        self.noise = noise_schedule(self.schedule)
        self.scenes = [scene_at(self.seed, i) for i in range(len(self.mean))]
        self.rarity = torch.ones(NOTHING + 1)
        self.rarity[NOTHING] = 0.2  # most of a scene is background

    def loss(self, draw: Draw) -> dict[str, Tensor]:
        device = draw.device
        rng = random.Random(f"diffusion/{self.seed}/{draw.step}")
        rows = rng.sample(range(len(self.scenes)), draw.size)[draw.rows]
        captions = [
            "" if rng.random() < EMPTY else describe(rng, self.scenes[row]).caption for row in rows
        ]
        context = self.text.encode(captions)
        mean, std = (part[rows].to(device).float() for part in (self.mean, self.std))
        z = mean + std * draw.normal(*mean.shape[1:])

        # Evenly spread over the batch, so that every batch sees every amount of noise.
        even = ((torch.arange(draw.size) + rng.random()) / draw.size)[draw.rows]
        t = (even * self.schedule.steps).floor().clamp(max=self.schedule.steps - 1)
        sigma = self.noise.sigmas[t.long()].float().to(device).view(-1, 1, 1, 1)
        eps = draw.normal(*z.shape[1:])
        size = (1 + sigma.square()).sqrt()
        x = ((z + sigma * eps) / size).to(memory_format=torch.channels_last)
        out, cells = self.model(x, t.to(device), context)
        target = {"eps": eps, "v": (eps - sigma * z) / size, "x0": z}[self.schedule.prediction]
        each = F.mse_loss(out.float(), target, reduction="none").mean((1, 2, 3))
        named = torch.stack([self._named(logits, rows) for logits in cells]).mean()
        third = max(len(rows) // 3, 1)
        return {
            "loss": each.mean() + self.naming * named,
            "denoising": each.mean(),
            "named": named,
            "little_noise": each[:third].mean(),
            "much_noise": each[-third:].mean(),
        }

    def _named(self, logits: Tensor, rows: list[int]) -> Tensor:
        """The cross-entropy of what a head says stands where."""
        labels = np.stack([layout(self.scenes[row], logits.shape[-1]) for row in rows])
        target = torch.from_numpy(labels).to(logits.device)
        return F.cross_entropy(logits.float(), target, self.rarity.to(logits.device))
