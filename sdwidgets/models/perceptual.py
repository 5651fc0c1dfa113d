"""How different two images look, measured by a network's features.

Source: "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (Zhang et al.,
arXiv 1801.03924, section 3.2): features of several layers are scaled to unit length at each
position, and their squared differences are averaged over positions and summed over layers.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class SceneFeatures(nn.Module):
    """image [B, 3, H, W] in [-1, 1] -> six maps, at H/2, H/4 and (four of them) H/8.

    The convolutions of the network that was trained to recognise the objects in emoji scenes (see
    training/recognizer.py). It is small and fast and needs no download. H and W are at least 8.
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
    """image [B, 3, H, W] in [-1, 1] -> the five maps that LPIPS compares; H and W at least 16.

    Parameter names are torchvision's ("features.0.weight"). The last map is the output of the 13th
    convolution (arXiv 1409.1556, configuration D).
    """

    LEVELS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions
    MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for images in [0, 1]

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
    """Two batches of images [B, 3, H, W] in [-1, 1] -> how different they look [B], 0 if equal.

    ``features`` returns a list of maps. Without ``weights``, all channels count the same and the
    result is the mean over layers. With ``weights`` (a tensor [C] per layer, not negative), it is
    LPIPS: channels are weighted, and layers summed.
    """

    def __init__(self, features: nn.Module, weights: Sequence[Tensor] | None = None):
        super().__init__()
        self.features = features.eval().requires_grad_(False)
        self.weights = weights

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.distance(first, second)

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the distance [B] between the images of both batches, with gradients to both."""
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
    """Return features [B, C, h, w] scaled to unit length at every position."""
    return features / (features.square().sum(1, keepdim=True) + 1e-10).sqrt()
