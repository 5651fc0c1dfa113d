"""The training task of a system: scenes, their latents, and what its network is told of them."""

from __future__ import annotations

import copy
import random
import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ...checkpoints import load_autoencoder, load_model
from ...models.autoencoder import Autoencoder
from ...models.conditioning import Conditioning, Embedder, Given, condition, learns
from ...models.embedders import embedders_of
from ...models.neighbours import NeighbourImages
from ...models.text import TextEncoder
from ...models.unet import UNet, zero_residuals
from ...pipeline import LatentDiffusion
from ...scenes import SIZE, Glyphs
from ..checkpoint import averaged, save_atomically
from ..data import Scenes
from ..diffusion import DiffusionTask
from ..latents import cached_latents
from ..loop import Draw, placed
from ..naming import NamingTask, WithCells
from ..parts import needed
from ..surroundings import drawn_from
from .beginnings import begin
from .glyphs import GlyphScenes, every_glyph, shown_glyphs
from .systems import System
from .telling import Sample
from .tower import TowerTask, TowerWithDecoder

TOWER = "tower.pt"  # in the runs folder
SEED = 10  # of the scenes: others than those that the bundled model saw
TOGETHER = 50  # scenes that are seen in a batch, before the training


@dataclass(kw_only=True)
class ZooTask(NamingTask):
    """A `NamingTask` that is told what its ``system`` says.

    ``seen``: what its network sees beside the latents of each image [N, C, h, w], float16, where no
    weight that learns has a part in it; None where it sees nothing, or one has."""

    pictures: Scenes
    system: System
    seen: Tensor | None = None

    def given(self, draw: Draw) -> list[Given]:
        rows = zip(self.rows(draw), draw.numbers, strict=True)
        return [self._given(row, f"told/{self.seed}/{number}") for row, number in rows]

    def told(self, draw: Draw) -> Conditioning:
        if self.seen is None:
            return super().told(draw)
        others = [each for each in self.embedders if not each.config.concat_width]
        given = [replace(each, image=None, mask=None) for each in self.given(draw)]
        told = condition(others, given, join=self.config.join, device=draw.device)
        return replace(told, concat=self.seen[self.rows(draw)].to(draw.device).float())

    def loss(self, draw: Draw) -> dict[str, Tensor]:
        return super().loss(draw) if self.naming else DiffusionTask.loss(self, draw)

    def _given(self, row: int, seed: str) -> Given:
        rng = random.Random(seed)
        dropped = rng.random() < self.dropout
        assert self.pictures.glyphs is not None
        return self.system.tell(Sample(self.scenes[row], self.pictures.glyphs, rng, dropped))


def zoo_task(
    system: System,
    runs: Path,
    glyphs: Glyphs,
    *,
    device: str = "cpu",
    seed: int = 0,
    further: LatentDiffusion | None = None,
) -> ZooTask:
    """The task of training a system; ``runs`` keeps the latents of its scenes.

    ``further``: a model of this system, to be trained further; by default the training begins
    where `beginnings` says."""
    base = load_model("emoji", device=device, dtype="float32") if system.base else None
    autoencoder, kept = _autoencoder(system, base, device)
    pictures = _pictures(system, glyphs)
    file = runs / f"latents-{kept}.pt" if system.autoencoder else None  # pixels are quickly drawn
    latents = cached_latents(autoencoder, pictures, system.scenes, file)
    config = replace(system.config, autoencoder=autoencoder.config)
    if system.autoencoder in ("", "KL-f4"):
        scale = 1 / latents.deviation
        latents = latents.scaled(scale)
        config = replace(
            config,
            autoencoder=replace(
                config.autoencoder, scaling_factor=config.autoencoder.scaling_factor * scale
            ),
        )
        autoencoder.config = config.autoencoder
    with drawn_from(seed):
        network = UNet(config.unet)
        texts = _texts(base or load_model("emoji", device=device, dtype="float32"))
        embedders = embedders_of(config.embedders, texts, autoencoder)
        if base is None:
            zero_residuals(network)
        else:
            begin(network, embedders, base)
        for each in embedders:
            if isinstance(each, NeighbourImages):
                weights = averaged(needed(runs / TOWER, "zoo tower"))
                each.model.load_state_dict(TowerWithDecoder.kept(weights), strict=True)
        if further is not None:
            network.load_state_dict(further.unet.state_dict())
            for own, theirs in zip(embedders, further.embedders, strict=True):
                own.model.load_state_dict(theirs.model.state_dict())
        for name, weight in network.named_parameters():
            weight.requires_grad_(
                not system.learns or any(re.search(each, name) for each in system.learns)
            )
        for each in embedders:
            each.model.to(device)
        model = WithCells(network, [each.model for each in embedders if learns(each)])
        model.cells.requires_grad_(system.naming > 0)
    task = ZooTask(
        model=placed(model, device),
        config=config,
        pictures=pictures,
        latents=latents,
        autoencoder=autoencoder,
        embedders=embedders,
        scenes=[pictures.scene(row) for row in range(system.scenes)],
        naming=system.naming,
        dropout=system.dropout,
        seed=seed,
        system=system,
    )
    still = [each for each in embedders if each.config.concat_width and not learns(each)]
    if still:
        task.seen = _seen(task, still, runs / f"seen-{kept}-{system.config.concat_width}.pt")
    return task


def tower_task(system: System, *, device: str = "cpu", seed: int = 0) -> TowerTask:
    """The task of training the vision tower of a system with neighbours."""
    with drawn_from(seed):
        (embedder,) = embedders_of(system.config.embedders)
        assert isinstance(embedder, NeighbourImages)
        model = TowerWithDecoder(embedder)
    return TowerTask(placed(model, device), embedder, shown_glyphs(), every_glyph(), seed)


def _pictures(system: System, glyphs: Glyphs) -> Scenes:
    if system.kind == "glyph":
        return GlyphScenes(
            SEED, SIZE, glyphs=every_glyph(), count=system.scenes, names=shown_glyphs()
        )
    return Scenes(SEED, SIZE, kind=system.kind, glyphs=glyphs, count=system.scenes)


def _texts(base: LatentDiffusion) -> list[Embedder]:
    """The bundled model's text encoder, frozen."""
    texts = [each for each in base.embedders if isinstance(each, TextEncoder)]
    for each in texts:
        each.model.requires_grad_(False)
    return list(texts)


def _autoencoder(
    system: System, base: LatentDiffusion | None, device: str
) -> tuple[Autoencoder, str]:
    """The system's autoencoder, and what the file of its latents is called."""
    kind = system.kind or "scenes"
    if system.autoencoder == "emoji":
        base = base or load_model("emoji", device=device, dtype="float32")
        return copy.deepcopy(base.autoencoder).requires_grad_(False), kind
    if system.autoencoder:
        found = load_autoencoder(system.autoencoder, device=device)
        return found.float().eval().requires_grad_(False), f"{kind}-{system.autoencoder}"
    return Autoencoder(system.config.autoencoder), f"{kind}-pixels"


def _seen(task: ZooTask, embedders: list[Embedder], file: Path) -> Tensor:
    """What the network sees beside the latents of each image [N, C, h, w], kept in ``file``."""
    count = len(task.latents)
    if file.exists():
        kept: Tensor = torch.load(file, weights_only=True)["seen"]
        if len(kept) == count:
            return kept
    parts = []
    for start in range(0, count, TOGETHER):
        rows = range(start, min(start + TOGETHER, count))
        given = [replace(task._given(row, f"seen/{row}"), prompt=None) for row in rows]
        concat = condition(embedders, given).concat
        assert concat is not None
        parts.append(concat.half())
    seen = torch.cat(parts)
    save_atomically({"seen": seen}, file)
    return seen
