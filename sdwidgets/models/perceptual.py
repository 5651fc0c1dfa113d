"""How different two pictures look, as a network's features tell it.

Source: "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (Zhang et al.,
arXiv 1801.03924, section 3.2): features of several layers, each place's scaled to unit length,
their squared differences averaged over places and summed over layers.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class SceneFeatures(nn.Module):
    """image [B, 3, H, W] in [-1, 1] -> six maps, at H/2, H/4 and (four of them) H/8.

    The convolutions of the network that was trained to name what stands where in emoji scenes (see
    training/recognizer.py): small, fast, and here without a download. H and W are at least 8.
    """

    WIDTHS = ((24, 2), (48, 2), (64, 2), (96, 1), (96, 1), (96, 1))  # channels, stride

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential()
        before = 3
        for width, stride in self.WIDTHS:
            conv = nn.Conv2d(before, width, 3, stride, padding=1)
            self.body.append(nn.Sequential(conv, nn.GroupNorm(2, width), nn.SiLU()))
            before = width

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = []
        for layer in self.body:
            image = layer(image)
            maps.append(image)
        return maps


class VGG16(nn.Module):
    """image [B, 3, H, W] in [-1, 1] -> the five maps LPIPS compares; H and W are at least 16.

    Parameter names are torchvision's, "features.0.weight" and so on; the last map is that of the
    13th convolution (arXiv 1409.1556, configuration D).
    """

    LEVELS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions
    MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, pictures in [0, 1]

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential()
        before = 3
        for level, (width, count) in enumerate(self.LEVELS):
            if level:
                self.features.append(nn.MaxPool2d(2))
            for _ in range(count):
                self.features.extend([nn.Conv2d(before, width, 3, padding=1), nn.ReLU()])
                before = width

    def forward(self, image: Tensor) -> list[Tensor]:
        mean, std = (image.new_tensor(c).view(3, 1, 1) for c in (self.MEAN, self.STD))
        h = (image / 2 + 0.5 - mean) / std
        maps = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(h)
            h = layer(h)
        return [*maps, h]


class FeatureDistance(nn.Module):
    """How different pictures look [B], 0 for the same ones, of two batches [B, 3, H, W] in [-1, 1].

    ``features`` gives a list of maps. Without ``weights`` every channel counts alike, and the mean
    over layers is taken; with them (one tensor [C] a layer, not negative) this is LPIPS with its
    learnt weights, and its sum over layers.
    """

    def __init__(self, features: nn.Module, weights: Sequence[Tensor] | None = None):
        super().__init__()
        self.features = features.eval().requires_grad_(False)
        self.weights = weights

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.distance(first, second)

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the distance [B] of the pictures in both batches; gradients reach both."""
        pairs = list(zip(self.features(first), self.features(second), strict=True))
        total = first.new_zeros(len(first))
        for layer, (a, b) in enumerate(pairs):
            apart = (unit(a) - unit(b)).square()  # [B, C, h, w]
            if self.weights is None:
                apart = apart / len(pairs)
            else:
                apart = apart * self.weights[layer].to(apart).view(-1, 1, 1)
            total = total + apart.sum(1).mean((1, 2))
        return total


def unit(features: Tensor) -> Tensor:
    """Features [B, C, h, w] of unit length at every place."""
    return features / (features.square().sum(1, keepdim=True) + 1e-10).sqrt()
