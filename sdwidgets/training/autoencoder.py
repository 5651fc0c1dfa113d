"""Training autoencoders, KL and VQ, on crops of pictures.

The loss is that of the latent-diffusion paper (arXiv 2112.10752, section 3.1 and appendix G), with
all its terms; which of them count, and how much, is in the task's fields.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..configs import AutoencoderConfig
from ..errors import InputError
from ..models.autoencoder import Autoencoder, Codes, Posterior
from ..models.perceptual import FeatureDistance
from ..models.quantizer import codebook_usage, count_codes, perplexity
from ..scenes import Glyphs
from .adversary import Adversary, adaptive_weight, found_out, told_apart
from .data import Crops, draw, scene_at
from .loop import Draw


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
    and four times as large from step ``large_from`` on.
    """

    model: Trained
    pictures: Crops
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
    large_from: int = 0
    decoder_only: bool = False

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
        if draw.step >= self.large_from and draw.size >= 4 * draw.ranks:
            size, draw = 2 * size, replace(draw, size=draw.size // 4 // draw.ranks * draw.ranks)
        image = self.pictures.crops(draw.numbers, size)
        image = image.to(draw.device, memory_format=torch.channels_last)
        posterior = autoencoder.encode(image)
        if isinstance(posterior, Codes) and not self.decoder_only:
            self._revive(posterior, draw)
        decoded = autoencoder.decode(self._latents(posterior, draw)).float()

        error = (decoded - image).abs().mean(), (decoded - image).square().mean()
        told = self.l1 * error[0] + self.l2 * error[1]
        values = {"psnr": 10 * torch.log10(4 / error[1].detach())}
        if self.distance is not None and self.look:
            values["look"] = self.distance(decoded, image).mean()
            told = told + self.look * values["look"]
        if isinstance(posterior, Codes):
            loss = told + self.codebook * posterior.loss
            counts = count_codes(posterior.indices, posterior.codes)
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
            weight = adaptive_weight(told, found, autoencoder.decoder.conv_out.weight)
            values["found_out"] = found
            loss = loss + self.adversary * weight * found
        return {"loss": loss, **values}

    def _latents(self, posterior: Posterior, draw: Draw) -> Tensor:
        if isinstance(posterior, Codes):
            return posterior.quantized  # decoding finds the same codes, and passes gradients on
        return posterior.mean + posterior.std * draw.normal(*posterior.mean.shape[1:])

    @torch.no_grad()
    def _revive(self, posterior: Codes, draw: Draw) -> None:
        """Set codes that lay idle to latents of this batch; the next batch may use them."""
        quantize = self.model.autoencoder.quantize
        assert quantize is not None
        idle = self.model.get_buffer("idle")
        used = count_codes(posterior.indices, posterior.codes) > 0
        idle.copy_(torch.where(used, 0, idle + 1))
        dead = (idle > IDLE).nonzero().flatten()
        if not len(dead):
            return
        config = self.model.autoencoder.config
        flat = (posterior.mean / config.scaling_factor + config.shift_factor).movedim(1, -1)
        flat = flat.flatten(0, -2)
        rows = torch.randint(len(flat), (len(dead),), generator=draw.generator, device=draw.device)
        quantize.embedding.weight[dead] = flat[rows].to(quantize.embedding.weight)
        idle[dead] = 0


@torch.no_grad()
def quieten(model: Autoencoder) -> None:
    """Starts a KL posterior with little noise (a standard deviation of 0.05): with the usual start
    the first thousand steps go by until the latents have grown out of it. Codes have no noise."""
    if model.config.codes:
        return
    half = model.config.latent_channels
    model.quant_conv.weight[half:] *= 0.1
    assert model.quant_conv.bias is not None
    model.quant_conv.bias[half:] = -6.0


@torch.no_grad()
def standardize(model: Autoencoder, glyphs: Glyphs, scenes: int = 256) -> AutoencoderConfig:
    """The model's config with the shift and scale that give its latents zero mean and unit
    variance over whole scenes (arXiv 2112.10752, appendix G)."""
    images = draw([scene_at(1, i) for i in range(scenes)], glyphs)
    device = next(model.parameters()).device
    old = model.config
    latents = torch.cat([model.encode(b.to(device)).mode().cpu() for b in images.split(32)])
    latents = latents / old.scaling_factor + old.shift_factor
    shift = float(latents.mean())
    scale = 1 / float(latents.std())
    return replace(old, scaling_factor=scale, shift_factor=shift)


@torch.no_grad()
def absorb_shift(model: Autoencoder) -> None:
    """Moves the latents' shift out of the config into the two 1x1 convolutions around the latents:
    the same autoencoder, for programs that know a scaling factor only (diffusers' Stable Diffusion
    pipelines do). Codes move along."""
    shift, channels = model.config.shift_factor, model.config.latent_channels
    before, after = model.quant_conv, model.post_quant_conv
    assert before.bias is not None and after.bias is not None
    before.bias[:channels] -= shift
    after.bias += after.weight.sum((1, 2, 3)) * shift
    if model.quantize is not None:
        model.quantize.embedding.weight -= shift
    model.config = replace(model.config, shift_factor=0.0)
