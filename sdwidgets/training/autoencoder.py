"""Training autoencoders, KL and VQ, on crops of pictures.

The loss is that of the latent-diffusion paper (arXiv 2112.10752, section 3.1 and appendix G), with
all its terms; which of them count, and how much, is in the task's fields.
"""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..checkpoints.features import bundled_features
from ..checkpoints.target import device_of
from ..checks import choice, real, shown, whole
from ..configs import FIRST_STAGES, SCENE_STAGES, AutoencoderConfig
from ..errors import InputError
from ..models.autoencoder import Autoencoder, Codes, Posterior, padded
from ..models.perceptual import FeatureDistance
from ..models.quantizer import codebook_usage, count_codes, perplexity
from ..pixels import to_image, to_tensor
from .adversary import Adversary, adaptive_weight, found_out, told_apart
from .checkpoint import averaged
from .data import Pictures
from .loop import Average, Draw, placed
from .scaling import absorb_shift, quieten, standardize

SHOWN = 8  # pictures that are shown rebuilt, by default
MEASURED = 256  # pictures on which the latents' scale is measured


class Trained(nn.Module):
    """What training changes: the autoencoder, its adversary, and how long each code lay idle."""

    def __init__(self, autoencoder: Autoencoder, adversary: Adversary | None = None):
        super().__init__()
        self.autoencoder = autoencoder
        self.adversary = adversary
        if autoencoder.quantize is not None:
            self.register_buffer("idle", torch.full((autoencoder.config.codes,), IDLE))

    @staticmethod
    def kept(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights of the autoencoder alone."""
        own = "autoencoder."
        return {k.removeprefix(own): v for k, v in weights.items() if k.startswith(own)}


IDLE = 100  # steps after which a code that stands for nothing begins anew


@dataclass
class AutoencoderTask:
    """The autoencoder of ``model`` learns to rebuild crops of ``pictures``.

    The loss, in which all but the adversary's share are means over a pixel's channels (of a range
    of 2): ``l1`` and ``l2`` weigh the absolute and the squared error, ``look`` the ``distance``
    of features (without one there is no such term), ``kl`` the KL in the paper's unit, where it and
    the error are sums (its weight is about 1e-6), ``codebook`` the loss of codes. From step
    ``adversary_from`` on the model's adversary, if it has one, counts ``adversary`` times as much
    as the error, by equation 7 of arXiv 2012.09841. It learns from ``head_start`` steps before on:
    an adversary that knows nothing yet has hardly any gradient, which that equation would blow up.

    Codes that were nobody's nearest for 100 steps are set to latents of the batch (as in Jukebox,
    arXiv 2005.00341, section 3.1): else most of a codebook can lie idle for good.

    With ``decoder_only`` the latents stay as they are, for going on after a denoiser has been
    trained on them. Crops are small at first, for many of them are worth more than few large ones,
    and four times as large from step ``large_from`` on (None: never).
    """

    model: Trained
    pictures: Pictures
    distance: FeatureDistance | None = None
    l1: float = 1.0
    l2: float = 0.0
    look: float = 1.0
    kl: float = 1e-6
    codebook: float = 1.0
    adversary: float = 0.5
    adversary_from: int = 0
    head_start: int = 200
    crop: int = 32
    large_from: int | None = 0
    decoder_only: bool = False
    average: Average | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        autoencoder = self.model.autoencoder
        if self.crop % autoencoder.config.factor:
            raise InputError(
                f"Crops of {self.crop} pixels cannot be encoded: f = {autoencoder.config.factor}.",
                parameter="crop",
            )
        if self.decoder_only:
            autoencoder.encoder.requires_grad_(False)
            autoencoder.quant_conv.requires_grad_(False)
            if autoencoder.quantize is not None:
                autoencoder.quantize.requires_grad_(False)

    def loss(self, draw: Draw) -> dict[str, Tensor]:
        autoencoder = self.model.autoencoder
        size = self.crop
        large = self.large_from is not None and draw.step >= self.large_from
        if large and draw.size >= 4 * draw.ranks:
            size, draw = 2 * size, replace(draw, size=draw.size // 4 // draw.ranks * draw.ranks)
        image = self.pictures.crops(draw.numbers, size)
        image = image.to(draw.device, memory_format=torch.channels_last)
        posterior = autoencoder.encode(image)
        if isinstance(posterior, Codes) and not self.decoder_only:
            self._revive(posterior, draw)
        decoded = autoencoder.decode(self._latents(posterior, draw)).float()

        error = (decoded - image).abs().mean(), (decoded - image).square().mean()
        told = self.l1 * error[0] + self.l2 * error[1]
        values = {"error": told, "psnr": 10 * torch.log10(4 / error[1].detach())}
        if self.distance is not None and self.look:
            values["look"] = self.distance(decoded, image).mean()
            told = told + self.look * values["look"]
        if isinstance(posterior, Codes):
            loss = told + self.codebook * posterior.loss
            counts = count_codes(draw.whole(posterior.indices), posterior.codes)
            values["codes"] = image.new_tensor(codebook_usage(counts))
            values["perplexity"] = image.new_tensor(perplexity(counts))
        else:
            values["kl"] = posterior.kl().mean() / posterior.mean[0].numel()  # nats a number
            loss = told + self.kl * posterior.kl().mean() / image[0].numel()
        if self.model.adversary is not None and draw.step >= self.adversary_from - self.head_start:
            values["told_apart"] = told_apart(self.model.adversary, image, decoded)
            loss = loss + values["told_apart"]
        if self.model.adversary is not None and draw.step >= self.adversary_from:
            found = found_out(self.model.adversary, decoded)
            last = autoencoder.decoder.conv_out.weight
            weight = adaptive_weight(told, found, last, draw.mean)
            values["found_out"] = found
            loss = loss + self.adversary * weight * found
        return {"loss": loss, **values}

    def _latents(self, posterior: Posterior, draw: Draw) -> Tensor:
        if isinstance(posterior, Codes):
            return posterior.quantized  # decoding finds the same codes, and passes gradients on
        return posterior.mean + posterior.std * draw.normal(*posterior.mean.shape[1:])

    @torch.no_grad()
    def _revive(self, posterior: Codes, draw: Draw) -> None:
        """Set codes that lay idle to latents of the whole batch; the next one may use them."""
        quantize = self.model.autoencoder.quantize
        assert quantize is not None
        idle = self.model.get_buffer("idle")
        used = count_codes(draw.whole(posterior.indices), posterior.codes) > 0
        idle.copy_(torch.where(used, 0, idle + 1))
        dead = (idle > IDLE).nonzero().flatten()
        if not len(dead):
            return
        config = self.model.autoencoder.config
        flat = (posterior.mean / config.scaling_factor + config.shift_factor).movedim(1, -1)
        flat = draw.whole(flat.flatten(0, -2))  # [Bhw, C]
        rows = torch.randint(len(flat), (len(dead),), generator=draw.generator, device=draw.device)
        quantize.embedding.weight[dead] = flat[rows].to(quantize.embedding.weight)
        idle[dead] = 0

    # -- what has been learnt --------------------------------------------------------------------

    @torch.no_grad()
    def reconstructions(self, count: int = SHOWN) -> np.ndarray:
        """The first ``count`` pictures [count, H, 2 W, 3] uint8: at the left as they are, at the
        right rebuilt by the averaged weights as they are now."""
        model = self._model(None)
        device = next(model.parameters()).device
        rows = []
        for number in range(count):
            picture = self.pictures.picture(number)
            rebuilt = model.reconstruct(to_tensor(picture).to(device))[0]
            rows.append(np.concatenate([picture, np.asarray(to_image(rebuilt))], axis=1))
        return np.stack(rows)

    def result(self, checkpoint: str | os.PathLike[str] | None = None) -> Autoencoder:
        """The autoencoder with the averaged weights as they are now or in a training's file, its
        latents scaled to unit variance on the pictures (not those of ``decoder_only``)."""
        model = self._model(checkpoint)
        if not self.decoder_only:
            numbers = range(min(MEASURED, len(self.pictures)))
            images = torch.cat([to_tensor(self.pictures.picture(number)) for number in numbers])
            model.config = standardize(model, padded(images, model.config.factor))
            absorb_shift(model)
        return model

    def _model(self, checkpoint: str | os.PathLike[str] | None) -> Autoencoder:
        if checkpoint is not None:
            weights = averaged(Path(checkpoint))
        else:
            weights = self.average.weights if self.average else self.model.state_dict()
        model = copy.deepcopy(self.model.autoencoder).eval().requires_grad_(False)
        model.load_state_dict(Trained.kept(weights), strict=True)
        return model


def autoencoder(
    pictures: Pictures,
    model: str | AutoencoderConfig | Autoencoder = "KL-f8",
    *,
    l1: float = 1.0,
    l2: float = 0.0,
    perceptual: FeatureDistance | Literal["bundled"] | None = "bundled",
    perceptual_weight: float = 1.0,
    kl: float = 1e-6,
    codebook: float = 1.0,
    adversary: float = 0.5,
    adversary_from: int = 1000,
    head_start: int = 200,
    adversary_layers: int = 2,
    adversary_width: int = 32,
    crop: int | None = None,
    large_from: int | None = None,
    decoder_only: bool = False,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> AutoencoderTask:
    """Training of an autoencoder on crops of pictures.

    model: a config, for a new one (``configs.FIRST_STAGES`` has the paper's), the name of one
    ("KL-f8"; where a small one has the name, too, that one), or an autoencoder to go on with.

    The loss: ``l1`` and ``l2`` weigh the absolute and the squared error. perceptual: the distance
    by which pictures should look alike, as heavy as ``perceptual_weight``: the bundled features of
    emoji scenes, LPIPS on a VGG16 of yours (`load_lpips`), or None. ``kl`` weighs the KL term,
    ``codebook`` that of codes; which one there is, the config says. adversary: how much the
    adversary counts beside the error (0: there is none), from step ``adversary_from`` on; it learns
    ``head_start`` steps longer. Its patches are 16, 34 or 70 pixels wide with one, two or three
    ``adversary_layers``.

    crop: the crops' side, 32 pixels by default; from step ``large_from`` on they are twice as wide,
    and a fourth as many. decoder_only: the latents stay as they are.

    Raises InputError for what does not go together. The same arguments make the same task, so a
    training is resumed by making it again and giving its checkpoint to `train`.
    """
    weights = {
        "l1": l1,
        "l2": l2,
        "perceptual_weight": perceptual_weight,
        "kl": kl,
        "codebook": codebook,
        "adversary": adversary,
    }
    for name, value in weights.items():
        real(name, value, 0, 1e6)
    if not l1 and not l2:
        raise InputError("Without l1 and l2 nothing holds a picture to its original.")
    place = device_of(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(model)
        opponent = None
        if adversary:
            whole("adversary_layers", adversary_layers, 1, 3)
            whole("adversary_width", adversary_width, 4, 512)
            opponent = Adversary(adversary_width, adversary_layers)
    side = _crop(pictures, network.config.factor, crop, large_from)
    if opponent is not None and side < opponent.smallest:
        raise InputError(
            f"Crops of {side} pixels are too small for an adversary with {adversary_layers} layers:"
            f" it needs {opponent.smallest}.\nTake fewer layers, larger crops, or adversary=0.",
            parameter="adversary_layers",
        )
    return AutoencoderTask(
        placed(Trained(network, opponent), place),
        pictures,
        _distance(perceptual, place),
        l1=l1,
        l2=l2,
        look=perceptual_weight,
        kl=kl,
        codebook=codebook,
        adversary=adversary,
        adversary_from=whole("adversary_from", adversary_from, 0, 10**12),
        head_start=whole("head_start", head_start, 0, 10**12),
        crop=side,
        large_from=large_from,
        decoder_only=decoder_only,
    )


def _network(model: str | AutoencoderConfig | Autoencoder) -> Autoencoder:
    """A network of its own, with gradients; a new one has latents that are not scaled."""
    if isinstance(model, Autoencoder):
        return copy.deepcopy(model).requires_grad_(True)
    if isinstance(model, str):
        known = FIRST_STAGES | SCENE_STAGES
        model = known[choice("model", model, sorted(known))]
    if not isinstance(model, AutoencoderConfig):
        raise InputError(
            f"model is a config, a name or an Autoencoder, got {shown(model)}.", parameter="model"
        )
    network = Autoencoder(replace(model, scaling_factor=1.0, shift_factor=0.0))
    quieten(network)
    return network


def _crop(pictures: Pictures, factor: int, crop: int | None, large_from: int | None) -> int:
    """The crops' side: it fits into the pictures, in its later size, too, and f divides it."""
    side = min(pictures.picture(0).shape[:2])
    times = 1
    if large_from is not None:
        whole("large_from", large_from, 0, 10**12)
        times = 2
    if crop is None:
        crop = max(min(32, side // times) // factor, 1) * factor
    whole("crop", crop, 1, 4096)
    if crop * times > side or crop % factor:
        raise InputError(
            f"Crops of {crop * times} pixels do not fit: pictures have {side}, and f is {factor}.\n"
            "Take a multiple of f that is not larger than the pictures.",
            parameter="crop",
        )
    return crop


def _distance(
    perceptual: FeatureDistance | str | None, device: torch.device
) -> FeatureDistance | None:
    if perceptual is None or isinstance(perceptual, FeatureDistance):
        return perceptual.to(device) if perceptual is not None else None
    choice("perceptual", perceptual, ["bundled"])
    return bundled_features(device)
