"""Training a denoising network on the latents of any images, by any autoencoder.

The loss is DDPM's (arXiv 2006.11239, eq. 14) for the prediction that the config names, at evenly
spread training steps; with ``min_snr``, it is weighted as in arXiv 2303.09556. Some prompts are
dropped, for classifier-free guidance (arXiv 2207.12598). The network has any number of embedders,
which are frozen or learn along.
"""

from __future__ import annotations

import copy
import os
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..checkpoints import load_autoencoder
from ..checkpoints.target import device_of
from ..checks import real, whole
from ..configs import (
    AutoencoderConfig,
    ClassConfig,
    ModelConfig,
    Prediction,
    ScheduleConfig,
    UNetConfig,
)
from ..errors import InputError
from ..models.autoencoder import Autoencoder
from ..models.conditioning import (
    Conditioning,
    Embedder,
    Given,
    condition,
    conditioned,
    learns,
)
from ..models.embedders import ClassLabels
from ..models.text import TextEncoder
from ..models.unet import UNet, zero_residuals
from ..pipeline import LatentDiffusion, fingerprint_of, noise_schedule
from ..pixels import to_tensor
from ..prompts import PLAIN
from ..trace import fit_preview
from .checkpoint import averaged
from .data import check_pictures
from .identity import Fact, of_captions, of_embedders, of_images, of_schedule
from .latents import Latents, cached_latents
from .loop import LARGEST_SEED, Average, Draw, placed
from .losses import even_steps, min_snr_weight, noised, target
from .order import sample_rows
from .surroundings import drawn_from, settled
from .text import new_text, warn_of_cut

if TYPE_CHECKING:
    from .data import Pictures

# High noise at the end, and v: or a trace of flat backgrounds would remain (see configs.EMOJI).
NOISY = ScheduleConfig(beta_start=0.0015, beta_end=0.0195, prediction="v")
SHOWN = 16  # samples, by default
MOST = 20_000  # images whose latents are kept, by default
TOGETHER = 32  # samples made in a batch
CLASS_WIDTH = 64  # of a class's token


class Denoising(nn.Module):
    """The modules that training changes: the network, and the embedders that learn along."""

    def __init__(self, unet: UNet, embedders: Sequence[nn.Module] = ()):
        super().__init__()
        self.unet = unet
        self.embedders = nn.ModuleList(embedders)

    @staticmethod
    def kept(weights: dict[str, Tensor], part: str = "unet") -> dict[str, Tensor]:
        """Return the weights of one part."""
        own = f"{part}."
        return {k.removeprefix(own): v for k, v in weights.items() if k.startswith(own)}


@dataclass(kw_only=True)
class DiffusionTask:
    """``model`` learns to denoise ``latents``, those of ``pictures`` in the same order.

    ``config`` describes the model. ``embedders`` turn prompts (see `prompt_of`) into conditioning;
    those that learn along are in ``model.embedders``. A share ``dropout`` of the prompts is
    dropped. ``min_snr`` is gamma of the min-SNR weights, 5 in the paper; with None, all noise
    levels have the same weight.

    `samples` are drawn for ``prompts`` in ``steps`` steps.
    """

    model: Denoising
    config: ModelConfig
    pictures: Pictures
    latents: Latents
    autoencoder: Autoencoder
    embedders: tuple[Embedder, ...]
    prompts: Sequence[str] = ("",)
    min_snr: float | None = None
    dropout: float = 0.1
    seed: int = 0
    steps: int = 20
    average: Average | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.noise = noise_schedule(self.config.schedule)

    def rows(self, draw: Draw) -> list[int]:
        """Return the indices of a batch's images."""
        return sample_rows(draw, len(self.latents), self.seed)

    def given(self, draw: Draw) -> list[Given]:
        """Return the inputs for each image of a batch, with some prompts dropped."""
        batch = []
        for row, number in zip(self.rows(draw), draw.numbers, strict=True):
            rng = random.Random(f"prompt/{self.seed}/{number}")
            left_out = rng.random() < self.dropout
            prompt = None if left_out else prompt_of(self.embedders, self.pictures, row, rng)
            batch.append(Given(prompt, (self.config.size, self.config.size), reading=PLAIN))
        return batch

    def told(self, draw: Draw) -> Conditioning:
        """Return the network's inputs for a batch, beside its noisy latents."""
        join = self.config.join
        return condition(self.embedders, self.given(draw), join=join, device=draw.device)

    def identity(self) -> dict[str, Fact]:
        """Return facts that identify the training, for its checkpoint."""
        count, coder = len(self.latents), self.autoencoder
        facts: dict[str, Fact] = {
            **of_schedule(self.config.schedule),
            "autoencoder": _latents_of(coder),
            **of_embedders(self.embedders),
            **of_images(self.pictures, count),
            "seed of the task": self.seed,
        }
        reads = any("prompt" in each.inputs for each in self.embedders)
        return facts | (of_captions(self.pictures, count) if reads else {})

    def loss(self, draw: Draw) -> dict[str, Tensor]:
        device, steps = draw.device, self.config.schedule.steps
        prediction = self.config.schedule.prediction
        channels = self.latents.mean.shape[1:]
        z = self.latents.draw(self.rows(draw), draw.normal(*channels))
        start = random.Random(f"diffusion/{self.seed}/{draw.step}").random()
        t = even_steps(draw.size, steps, start)[draw.rows]
        sigma = self.noise.sigmas[t].view(-1, 1, 1, 1)  # float64, on the CPU
        eps = draw.normal(*channels)
        x = noised(prediction, z, eps, sigma).to(memory_format=torch.channels_last)
        out = conditioned(self.model.unet, self.told(draw))(x, t.to(device))
        wanted = target(prediction, z, eps, sigma)
        error = (out.float() - wanted).square().mean((1, 2, 3))  # [B]
        weight = torch.ones_like(error)
        if self.min_snr is not None:
            weight = min_snr_weight(prediction, sigma.flatten(), self.min_snr).to(error)
        little, much = (third.to(device) for third in (t < steps / 3, t >= steps * 2 / 3))
        return {
            "loss": (weight * error).mean(),
            "little_noise": 3 * (error * little).mean(),  # a third of the batch has little noise
            "much_noise": 3 * (error * much).mean(),
        }

    # -- what has been learnt --------------------------------------------------------------------

    @settled()
    def samples(self, count: int = SHOWN, seed: int = 0) -> np.ndarray:
        """Return ``count`` images [count, H, W, 3] uint8 for ``prompts`` in turn, by the averaged
        weights as they are now. Image i has the noise of ``seed`` + i."""
        model, images = self._model(None), []
        for start in range(0, count, TOGETHER):
            numbers = range(start, min(start + TOGETHER, count))
            run = model.sample(
                [self.prompts[number % len(self.prompts)] for number in numbers],
                seed=[seed + number for number in numbers],
                steps=self.steps,
            )
            (last,) = deque(run, maxlen=1)
            images += [np.asarray(image) for image in run.pictures(last)]
        return np.stack(images)

    @settled()
    def result(self, checkpoint: str | os.PathLike[str] | None = None) -> LatentDiffusion:
        """Return the whole model, with the averaged weights as they are now or in a checkpoint."""
        model = self._model(checkpoint)
        some = range(min(200, len(self.latents)))
        pictures = torch.cat([to_tensor(self.pictures.picture(number)) for number in some])
        return replace(model, preview=fit_preview(self.latents.mean[: len(some)], pictures))

    def _model(self, checkpoint: str | os.PathLike[str] | None) -> LatentDiffusion:
        if checkpoint is not None:
            weights = averaged(Path(checkpoint))
        else:
            weights = self.average.weights if self.average else self.model.state_dict()
        unet = copy.deepcopy(self.model.unet)
        unet.load_state_dict(Denoising.kept(weights), strict=True)
        learning = copy.deepcopy(self.model.embedders)
        learning.load_state_dict(Denoising.kept(weights, "embedders"), strict=True)
        embedders = tuple(copy.copy(embedder) for embedder in self.embedders)
        for embedder in embedders:
            for trained, own in zip(learning, self.model.embedders, strict=True):
                if embedder.model is own:
                    embedder.model = trained
            embedder.model.eval().requires_grad_(False)
        unet.eval().requires_grad_(False)
        return LatentDiffusion(
            self.config,
            unet,
            self.autoencoder,
            embedders,
            self.noise,
            prediction_source="training",
        )


def _latents_of(coder: Autoencoder) -> str:
    """A fingerprint of what makes an autoencoder's latents."""
    if coder.config.is_identity:
        return "pixels"
    return fingerprint_of(coder.encoder, coder.quant_conv)[:12]


def prompt_of(
    embedders: Sequence[Embedder], pictures: Pictures, number: int, rng: random.Random
) -> str | None:
    """Return the prompt of a training image: the name of its label if the model has classes, a
    caption if it reads texts, otherwise None."""
    classes = next((each for each in embedders if isinstance(each, ClassLabels)), None)
    if classes is None:
        reads = any("prompt" in each.inputs for each in embedders)
        return pictures.caption(number, rng) if reads else None
    names, label = classes.config.names, pictures.label(number)
    if label is None or not 0 <= label < len(names):
        raise InputError(
            f"Image {number} has the label {label}; there are {len(names)} classes, from 0.",
            parameter="classes",
        )
    return names[label]


def small_unet(
    autoencoder: AutoencoderConfig, size: int, context_dim: int, width: int = 48
) -> UNetConfig:
    """Return a network for images of ``size`` pixels.

    It has at most four levels, down to 4 cells per side, with ``width`` channels and multiples of
    it, and attention at the levels with at most 16 cells per side.
    """
    side, levels = size // autoencoder.factor, 1
    while levels < 4 and side >> levels >= 4:
        levels += 1
    channels = tuple(width * (1, 2, 4, 4)[level] for level in range(levels))
    return UNetConfig(
        channels=channels,
        depths=tuple(int(side >> level <= 16) for level in range(levels)),
        heads=tuple(max(n // 32, 1) for n in channels),
        blocks_per_level=1,
        context_dim=context_dim,
        norm_groups=4,  # not more, see configs.EMOJI
        in_channels=autoencoder.latent_channels,
        out_channels=autoencoder.latent_channels,
    )


@settled()
def diffusion(
    pictures: Pictures,
    autoencoder: Autoencoder | str | os.PathLike[str] = "emoji",
    *,
    text: Literal["joint", "frozen"] | None = "joint",
    encoder: TextEncoder | None = None,
    classes: Sequence[str] | None = None,
    unet: UNetConfig | None = None,
    width: int = 48,
    prediction: Prediction = "v",
    schedule: ScheduleConfig = NOISY,
    min_snr: float | None = None,
    dropout: float = 0.1,
    count: int | None = None,
    latents: str | os.PathLike[str] | None = None,
    prompts: Sequence[str] = (),
    guidance_scale: float = 3.0,
    name: str = "mine",
    seed: int = 0,
    device: str | torch.device = "auto",
) -> DiffusionTask:
    """Return the task of training a new diffusion model on images of the same square size.

    autoencoder: a model, a file or folder, or the name of a bundled one ("emoji", "KL-f4", ...).
    Its latents are scaled to unit variance on these images.

    text: "joint" trains a small new text transformer, or ``encoder``, along with the network.
    "frozen" uses ``encoder`` as it is: that of another model (``model.text``), or one trained
    before by `text`. With None the model has no captions, but ``classes``, the names of the labels,
    if they are given. A share ``dropout`` of the captions or labels is dropped, so that the model
    can be guided (``guidance_scale``).

    unet: the network; by default a small network with ``width`` channels (see `small_unet`).
    prediction: what the network predicts. min_snr: gamma of the min-SNR weights, or None.
    count: how many of the images are used, 20,000 at most by default. latents: a file that keeps
    their latents. prompts: those of ``samples``; by default, the prompts of the first images.

    Raises InputError for arguments that do not fit together. The same arguments make the same task.
    To resume a training, make its task again and pass the checkpoint to `train`.
    """
    check_pictures(pictures, "picture", "caption", "label")
    if count is not None:
        whole("count", count, 1, 10**12)
    real("guidance_scale", guidance_scale, 0, 1e6)
    _check(prediction=prediction, min_snr=min_snr, dropout=dropout)
    whole("seed", seed, 0, LARGEST_SEED)
    place = device_of(device)
    if not isinstance(autoencoder, Autoencoder):
        autoencoder = load_autoencoder(autoencoder, device=place)
    side = _side(pictures, autoencoder.config.factor)
    autoencoder = placed(copy.deepcopy(autoencoder).float().eval().requires_grad_(False), place)
    embedders = _embedders(pictures, text, encoder, classes, seed)
    for each in embedders:
        learning = text != "frozen"
        each.model = each.model.to(place).train(learning).requires_grad_(learning)
        if isinstance(each, TextEncoder):
            warn_of_cut(each, pictures, min(len(pictures), count or MOST))
    shown = [prompt_of(embedders, pictures, i, random.Random(i)) or "" for i in range(SHOWN)]

    number = min(len(pictures), count or MOST)
    file = None if latents is None else Path(latents)
    cache = cached_latents(autoencoder, pictures, number, file)
    scale = 1 / max(cache.deviation, 1e-6)
    old = autoencoder.config
    autoencoder.config = replace(old, scaling_factor=old.scaling_factor * scale)

    context_width = max((each.config.context_width for each in embedders), default=0)
    unet = unet or small_unet(autoencoder.config, side, context_width, width)
    with drawn_from(seed):
        network = UNet(unet)
    zero_residuals(network)
    return DiffusionTask(
        model=placed(Denoising(network, [e.model for e in embedders if learns(e)]), place),
        config=ModelConfig(
            name=name,
            unet=unet,
            autoencoder=autoencoder.config,
            embedders=tuple(each.config for each in embedders),
            schedule=replace(schedule, prediction=prediction),
            size=side,
            guidance_scale=guidance_scale if embedders else 1.0,
        ),
        pictures=pictures,
        latents=cache.scaled(scale),
        autoencoder=autoencoder,
        embedders=embedders,
        prompts=tuple(prompts or classes or shown),
        min_snr=min_snr,
        dropout=dropout,
        seed=seed,
    )


def _check(*, prediction: str, min_snr: float | None, dropout: float) -> None:
    if prediction not in ("eps", "v", "x0"):
        raise InputError(
            f"prediction is 'eps', 'v' or 'x0', not {prediction!r}.", parameter="prediction"
        )
    if min_snr is not None and not min_snr > 0:
        raise InputError(
            f"min_snr is above 0 (5 in the paper), got {min_snr}.", parameter="min_snr"
        )
    if not 0 <= dropout <= 1:
        raise InputError(f"dropout is a share from 0 to 1, got {dropout}.", parameter="dropout")


def _side(pictures: Pictures, factor: int) -> int:
    """Return the side of the images in pixels. Raises InputError for unsuitable sizes."""
    height, side, _ = pictures.picture(0).shape
    if height != side or side % factor:
        raise InputError(
            f"The images have {side} x {height} pixels. They must be square, with a multiple of"
            f" {factor}, the autoencoder's factor, as their side.",
            parameter="pictures",
        )
    return side


def _embedders(
    pictures: Pictures,
    text: str | None,
    encoder: TextEncoder | None,
    classes: Sequence[str] | None,
    seed: int,
) -> tuple[Embedder, ...]:
    """Return the embedders that the arguments ask for, with their own weights."""
    if text not in ("joint", "frozen", None):
        raise InputError(f"text is 'joint', 'frozen' or None, not {text!r}.", parameter="text")
    if text is not None and classes is not None:
        raise InputError(
            "A network is trained with captions or classes, not both.\nFor classes pass text=None.",
            parameter="classes",
        )
    if text is None and encoder is not None:
        raise InputError(
            "With text=None the encoder would not be used.\nPass text='frozen' or text='joint'.",
            parameter="encoder",
        )
    if text == "frozen" and encoder is None:
        raise InputError(
            "A frozen text encoder must be trained already: pass it as encoder=.\n"
            "Take another model's (model.text), or train one first: training.text(pictures).",
            parameter="encoder",
        )
    if encoder is not None:
        return (TextEncoder(encoder.config, copy.deepcopy(encoder.model), encoder.tokenizer),)
    if text == "joint":
        return (new_text(pictures, seed=seed),)
    if classes is None:
        return ()
    with drawn_from(seed):
        return (ClassLabels(ClassConfig(tuple(classes), CLASS_WIDTH)),)
