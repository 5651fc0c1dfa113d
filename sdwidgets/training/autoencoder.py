"""Training autoencoders, KL and VQ, on crops of images.

The loss is that of the latent-diffusion paper (arXiv 2112.10752, section 3.1 and appendix G), with
all its terms; the task's fields weight them.
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
from .data import Pictures, check_pictures
from .identity import Fact, of_images
from .loop import LARGEST_SEED, Average, Draw, placed
from .scaling import absorb_shift, quieten, standardize
from .surroundings import drawn_from, settled

SHOWN = 8  # reconstructions shown by default
MEASURED = 256  # images on which the latents' scale is measured


class Trained(nn.Module):
    """What training changes: the autoencoder, its adversary, and how long each code was idle."""

    def __init__(self, autoencoder: Autoencoder, adversary: Adversary | None = None):
        super().__init__()
        self.autoencoder = autoencoder
        self.adversary = adversary
        if autoencoder.quantize is not None:
            self.register_buffer("idle", torch.full((autoencoder.config.codes,), IDLE))

    @staticmethod
    def kept(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Only the autoencoder's weights."""
        own = "autoencoder."
        return {k.removeprefix(own): v for k, v in weights.items() if k.startswith(own)}


IDLE = 100  # steps after which an unused code is reset


@dataclass
class AutoencoderTask:
    """The autoencoder of ``model`` learns to reconstruct crops of ``pictures``.

    All terms of the loss but the adversary's are means over a pixel's channels (values span a range
    of 2). ``l1`` and ``l2`` weight the absolute and the squared error; ``look`` weights the feature
    ``distance``, if there is one; ``kl`` weights the KL in the paper's unit, where KL and error are
    sums (its weight is about 1e-6); ``codebook`` weights the loss of codes. From step
    ``adversary_from`` on, the model's adversary, if any, counts ``adversary`` times as much as the
    error, by equation 7 of arXiv 2012.09841. It starts learning ``head_start`` steps earlier: an
    untrained adversary has hardly any gradient, which that equation would blow up.

    A code that was nearest to no latent for 100 steps is reset to a latent of the batch (as in
    Jukebox, arXiv 2005.00341, section 3.1); otherwise most of a codebook can stay unused for good.

    With ``decoder_only`` the latents stay fixed, to continue after a denoiser was trained on them.
    Crops are small at first, because many small crops teach more than a few large ones, and have
    four times the area from step ``large_from`` on (None: never).
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

    def identity(self) -> dict[str, Fact]:
        """Facts that identify the training, for its checkpoint."""
        return of_images(self.pictures, len(self.pictures))

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
            values["kl"] = posterior.kl().mean() / posterior.mean[0].numel()  # nats per number
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
            return posterior.quantized  # decoding finds the same codes and passes gradients on
        return posterior.mean + posterior.std * draw.normal(*posterior.mean.shape[1:])

    @torch.no_grad()
    def _revive(self, posterior: Codes, draw: Draw) -> None:
        """Reset idle codes to latents of the whole batch; the next batch may use them."""
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

    @settled()
    def reconstructions(self, count: int = SHOWN) -> np.ndarray:
        """The first ``count`` images [count, H, 2 W, 3] uint8: the original on the left, its
        reconstruction by the current averaged weights on the right."""
        model = self._model(None)
        device = next(model.parameters()).device
        rows = []
        for number in range(count):
            picture = self.pictures.picture(number)
            rebuilt = model.reconstruct(to_tensor(picture).to(device))[0]
            rows.append(np.concatenate([picture, np.asarray(to_image(rebuilt))], axis=1))
        return np.stack(rows)

    @settled()
    def result(self, checkpoint: str | os.PathLike[str] | None = None) -> Autoencoder:
        """The autoencoder with the current averaged weights, or those of a checkpoint file.

        Its latents are scaled to unit variance on the images, except with ``decoder_only``."""
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


@settled()
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
    """The task of training an autoencoder on crops of images.

    model: a config for a new autoencoder (``configs.FIRST_STAGES`` has the paper's), a name
    ("KL-f8"; a small autoencoder of that name comes first), or an autoencoder to continue with.

    The loss: ``l1`` and ``l2`` weight the absolute and the squared error. perceptual: a distance of
    how different images look, weighted by ``perceptual_weight``: the bundled features of emoji
    scenes, LPIPS on your own VGG16 (`load_lpips`), or None. ``kl`` weights the KL term,
    ``codebook`` the loss of codes; the config says which of them applies. adversary: the weight of
    the adversary relative to the error (0: no adversary), from step ``adversary_from`` on; it
    starts learning ``head_start`` steps earlier. Its patches are 16, 34 or 70 pixels wide with one,
    two or three ``adversary_layers``.

    crop: the crops' side, 32 pixels by default; from step ``large_from`` on crops are twice as wide
    and a quarter as many. decoder_only: the latents stay fixed.

    Raises InputError for arguments that do not go together. The same arguments make the same task:
    to resume a training, make the task again and give its checkpoint to `train`.
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
        raise InputError("Without l1 and l2 nothing ties a reconstruction to its original.")
    check_pictures(pictures, "picture", "crops")
    whole("seed", seed, 0, LARGEST_SEED)
    place = device_of(device)
    with drawn_from(seed):
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
            f" it needs {opponent.smallest}.\nUse fewer layers, larger crops, or adversary=0.",
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
    """A copy or a new network, with gradients; a new network does not scale its latents."""
    if isinstance(model, Autoencoder):
        return copy.deepcopy(model).float().requires_grad_(True)
    if isinstance(model, str):
        known = FIRST_STAGES | SCENE_STAGES
        model = known[choice("model", model, sorted(known))]
    if not isinstance(model, AutoencoderConfig):
        raise InputError(
            f"model must be a config, name or Autoencoder, got {shown(model)}.",
            parameter="model",
        )
    network = Autoencoder(replace(model, scaling_factor=1.0, shift_factor=0.0))
    quieten(network)
    return network


def _crop(pictures: Pictures, factor: int, crop: int | None, large_from: int | None) -> int:
    """The crops' side: a multiple of f that fits into the images, in its later size, too."""
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
            f"Crops of {crop * times} pixels do not fit: images have {side}, and f is {factor}.\n"
            "Use a multiple of f that is not larger than the images.",
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
