"""Embedders of images: what networks see beside the latents, and a class that goes with it.

Each makes channels of the concat [B, C, h, w], at the latents' size. The images come in `Given`, as
tensors. Where there is none, an embedder returns what stands for nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..configs import DepthConfig, ImageConfig, LowResolutionConfig, MaskedImageConfig
from ..errors import InputError
from .autoencoder import Autoencoder, Posterior
from .conditioning import Conditioning, Embedder, Given

C = TypeVar("C", MaskedImageConfig, ImageConfig, DepthConfig, LowResolutionConfig)
S = TypeVar("S", bound="_Seen")  # type: ignore[type-arg]


class _Seen(Generic[C]):
    """What the embedders of this file share: no words, no weights, and the model's autoencoder."""

    inputs: frozenset[str] = frozenset()

    def __init__(self, config: C, autoencoder: Autoencoder):
        self.config: C = config
        self.model: nn.Module = nn.Identity()
        self.autoencoder = autoencoder
        self.tiled = False

    def with_autoencoder(self: S, autoencoder: Autoencoder) -> S:
        """Return the same embedder for another autoencoder."""
        other = copy.copy(self)
        other.autoencoder = autoencoder
        return other

    def in_tiles(self: S) -> S:
        """Return the same embedder, which encodes images in tiles; see `models.tiling`."""
        other = copy.copy(self)
        other.tiled = True
        return other

    def tokens(self, given: Sequence[Given]) -> None:
        return None

    @torch.no_grad()
    def embed(self, given: Sequence[Given]) -> Conditioning:
        """Return the channels [B, C, h, w], float32."""
        return Conditioning(concat=torch.cat([self._channels(each) for each in given]))

    def _channels(self, given: Given) -> Tensor:
        """[1, C, h, w]: the channels of one image."""
        raise NotImplementedError

    @property
    def _weight(self) -> Tensor:
        return self.autoencoder.weight

    def _cells(self, given: Given) -> tuple[int, int]:
        """(h, w) of the image's latents."""
        width, height = given.size
        factor = self.autoencoder.config.factor
        return height // factor, width // factor

    def _zeros(self, given: Given, channels: int) -> Tensor:
        return torch.zeros(1, channels, *self._cells(given), device=self._weight.device)

    def _posterior(self, pixels: Tensor) -> Posterior:
        """Of pixels [3, H, W]."""
        weight = self._weight
        pixels = pixels[None].to(weight.device, weight.dtype)
        return self.autoencoder.encode(pixels, tiled=self.tiled)


class MaskedImage(_Seen[MaskedImageConfig]):
    """The mask, and the latents of the image without its masked part: channels 1 + C, or C + 1.

    What an inpainting model sees (arXiv 2112.10752, section 4.5, and the inpainting models of
    Stable Diffusion). The mask has the value of the pixel in each cell's upper left corner, as in
    their training. Latents are the posterior's mean. Without an image or a mask, all is repainted.
    The config says the order, the mask's range and the colour of the masked part.
    """

    inputs = frozenset({"image", "mask"})

    def _channels(self, given: Given) -> Tensor:
        (width, height), config = given.size, self.config
        image = torch.zeros(3, height, width) if given.image is None else given.image.values
        mask = torch.ones(1, height, width) if given.mask is None else given.mask.values
        if image.shape[1:] != (height, width) or mask.shape[1:] != (height, width):
            raise InputError(
                f"The image and the mask must have the size {width} x {height} of the image to "
                "make.",
                parameter="image",
            )
        kept = torch.where(mask.to(image.device) < 0.5, image, config.fill)
        latents = self._posterior(kept).mean.float()
        small = F.interpolate(mask[None].float(), size=self._cells(given))  # nearest
        small = small.to(latents.device)
        if config.signed:
            small = 2 * small - 1
        return torch.cat([latents, small] if config.mask_last else [small, latents], dim=1)


class EditedImage(_Seen[ImageConfig]):
    """The latents [B, C, h, w] of the image to edit, the posterior's mean; zeros for none.

    As the autoencoder makes them: not scaled to unit variance (InstructPix2Pix, Brooks et al.,
    arXiv 2211.09800, section 3.2).
    """

    inputs = frozenset({"image"})

    def _channels(self, given: Given) -> Tensor:
        if given.image is None:
            return self._zeros(given, self.config.latent_channels)
        config = self.autoencoder.config
        mean = self._posterior(given.image.values).mean.float()
        return mean / config.scaling_factor + config.shift_factor


class DepthMap(_Seen[DepthConfig]):
    """A depth map at the latents' size, its least value -1 and its greatest 1; zeros for none.

    The depth model of Stable Diffusion 2 saw the inverse depth of MiDaS: what is near has high
    values. The map is resized bicubically.
    """

    inputs = frozenset({"depth"})

    def _channels(self, given: Given) -> Tensor:
        if given.depth is None:
            return self._zeros(given, 1)
        depth = given.depth.values[None].to(self._weight.device, torch.float32)
        if depth.max() == depth.min():  # nothing is near or far
            return self._zeros(given, 1)
        depth = F.interpolate(depth, size=self._cells(given), mode="bicubic", align_corners=False)
        low, high = depth.aminmax()
        return 2 * (depth - low) / (high - low).clamp_min(1e-12) - 1


class SmallImage(_Seen[LowResolutionConfig]):
    """The image to enlarge, with noise on it, and the noise's level as a class.

    A pixel for each latent cell ("Cascaded Diffusion Models", Ho et al., arXiv 2106.15282, section
    4.1: the noise makes up for what is unlike the small images of training). Zeros and level 0 for
    none. Where the config has no levels, the image is as it is, without noise and class, as in
    arXiv 2112.10752, section 4.4.
    """

    def __init__(self, config: LowResolutionConfig, autoencoder: Autoencoder):
        super().__init__(config, autoencoder)
        self.inputs = frozenset({"image", "noise_level"} if config.levels else {"image"})

    @torch.no_grad()
    def embed(self, given: Sequence[Given]) -> Conditioning:
        """Return the images [B, 3, h, w], and the levels [B] int64 as classes."""
        concat = super().embed(given).concat
        if not self.config.levels:
            return Conditioning(concat=concat)
        levels = [each.noise_level or 0 for each in given]
        if min(levels) < 0 or max(levels) >= self.config.levels:
            raise InputError(
                f"noise_level must be 0 to {self.config.levels - 1}.", parameter="noise_level"
            )
        return Conditioning(concat=concat, label=torch.tensor(levels, device=self._weight.device))

    def _channels(self, given: Given) -> Tensor:
        if given.image is None:
            return self._zeros(given, self.config.channels)
        image = given.image.values[None].to(self._weight.device, torch.float32)
        if image.shape[2:] != self._cells(given):
            height, width = self._cells(given)
            raise InputError(
                f"The image to enlarge must be {width} x {height}, a pixel for each latent cell.",
                parameter="image",
            )
        return image


def seeing(embedder: Embedder, autoencoder: Autoencoder) -> Embedder:
    """Return the embedder for a model with this autoencoder: itself, unless it has another."""
    if isinstance(embedder, _Seen) and embedder.autoencoder is not autoencoder:
        return embedder.with_autoencoder(autoencoder)
    return embedder


def in_tiles(embedder: Embedder) -> Embedder:
    """Return the embedder, which encodes images in tiles, if it does."""
    return embedder.in_tiles() if isinstance(embedder, _Seen) else embedder
