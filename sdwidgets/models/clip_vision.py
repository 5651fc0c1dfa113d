"""CLIP's vision transformer: images -> an embedding per image, in the space of the texts'.

Source: "Learning Transferable Visual Models From Natural Language Supervision" (Radford et al.,
arXiv 2103.00020, section 2.4): the transformer of "An Image is Worth 16x16 Words" (Dosovitskiy et
al., arXiv 2010.11929, section 3.1) with a norm before its first layer. Modules have the names of
the published weights, and new weights the scales of the published code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..configs import VisionConfig
from .clip import Encoder, draw, embedding, linear


class Patches(nn.Module):
    """[B, 3, S, S] -> [B, T, width]: a token for the whole image, then one for each patch."""

    def __init__(self, config: VisionConfig):
        super().__init__()
        width = config.width
        self.class_embedding = nn.Parameter(torch.empty(width))
        draw(self.class_embedding, width**-0.5)
        self.patch_embedding = nn.Conv2d(3, width, config.patch, stride=config.patch, bias=False)
        draw(self.patch_embedding.weight, 0.02)
        self.position_embedding = embedding(config.length, width)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch_embedding(pixels).flatten(2).mT  # [B, patches, width]
        first = self.class_embedding.expand(len(pixels), 1, -1)
        return torch.cat([first, patches], dim=1) + self.position_embedding.weight


class VisionTransformer(nn.Module):
    """[B, 3, S, S] -> [B, width]: the state of the image's token after all layers and the norm."""

    def __init__(self, config: VisionConfig):
        super().__init__()
        self.embeddings = Patches(config)
        self.pre_layrnorm = nn.LayerNorm(config.width)  # so spelt in the published files
        self.encoder = Encoder(config, causal=False)
        self.post_layernorm = nn.LayerNorm(config.width)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.pre_layrnorm(self.embeddings(pixels))
        for layer in self.encoder.layers:
            x = layer(x)
        return self.post_layernorm(x[:, 0])


class CLIPVision(nn.Module):
    """[B, 3, S, S] -> embeddings [B, projection_dim]; S is ``config.size``.

    Its images are normalised: `prepared` makes them from images of any size.
    """

    def __init__(self, config: VisionConfig):
        super().__init__()
        self.config = config
        self.vision_model = VisionTransformer(config)
        self.visual_projection = linear(
            config.width, config.projection_dim, std=config.width**-0.5, bias=False
        )

    def forward(self, pixels: Tensor) -> Tensor:
        return self.visual_projection(self.vision_model(pixels))

    def prepared(self, images: Tensor) -> Tensor:
        """Return [B, 3, S, S] of images [B, 3, H, W] in [-1, 1]: what the transformer reads.

        As CLIP does: resized bicubically until the shorter side is S, its centre cut out, and
        normalised by the mean and the deviation of CLIP's images. It has gradients.
        """
        return prepared(images, self.config)


def prepared(images: Tensor, config: VisionConfig) -> Tensor:
    """Return the images [B, 3, H, W] in [-1, 1] as `CLIPVision.prepared` does."""
    size = config.size
    height, width = images.shape[2:]
    scale = size / min(height, width)
    resized = max(round(height * scale), size), max(round(width * scale), size)
    if resized != (height, width):
        images = F.interpolate(images, size=resized, mode="bicubic", antialias=True)
    top, left = (resized[0] - size) // 2, (resized[1] - size) // 2
    images = images[..., top : top + size, left : left + size].clamp(-1, 1)
    mean, std = (
        torch.tensor(numbers, dtype=images.dtype, device=images.device).view(3, 1, 1)
        for numbers in (config.mean, config.std)
    )
    return ((images + 1) / 2 - mean) / std
