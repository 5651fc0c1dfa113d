"""How different two pictures look, as features tell it."""

import pytest
import torch
from torch import nn

from sdwidgets.models.perceptual import VGG16, FeatureDistance, SceneFeatures, unit

pytestmark = pytest.mark.usefixtures("seeded")


class Maps(nn.Module):
    """The picture itself, and it at half its size."""

    def forward(self, image):
        return [image, nn.functional.avg_pool2d(image, 2)]


def pictures(count=3, size=16):
    return torch.rand(count, 3, size, size) * 2 - 1


@pytest.mark.parametrize("features", [SceneFeatures, Maps])
def test_a_picture_is_at_no_distance_from_itself_and_at_some_from_others(features):
    distance, (one, other) = FeatureDistance(features()), (pictures(), pictures())
    assert torch.equal(distance(one, one), torch.zeros(3))
    assert (distance(one, other) > 0).all()
    assert torch.allclose(distance(one, other), distance(other, one))


def test_a_pictures_distance_does_not_depend_on_the_batch():
    distance, one, other = FeatureDistance(SceneFeatures()), pictures(), pictures()
    assert torch.allclose(distance(one, other)[1:2], distance(one[1:2], other[1:2]), atol=1e-6)


def explicit(first, second, weights):
    """arXiv 1801.03924, equation 1, a place at a time."""
    total = 0.0
    for a, b, weight in zip(Maps()(first), Maps()(second), weights, strict=True):
        height, width = a.shape[2:]
        for y in range(height):
            for x in range(width):
                one, other = (m[0, :, y, x] / m[0, :, y, x].norm() for m in (a, b))
                total += float((weight * (one - other) ** 2).sum()) / (height * width)
    return total


def test_with_weights_it_is_the_papers_formula():
    one, other = pictures(1, 4), pictures(1, 4)
    weights = [torch.rand(3), torch.rand(3)]
    distance = FeatureDistance(Maps(), weights)(one, other)
    assert distance.item() == pytest.approx(explicit(one, other, weights), rel=1e-4)


def test_without_weights_channels_count_alike_and_layers_are_averaged():
    one, other = pictures(1, 4), pictures(1, 4)
    halves = [torch.full((3,), 0.5)] * 2
    distance = FeatureDistance(Maps())(one, other)
    assert distance.item() == pytest.approx(explicit(one, other, halves), rel=1e-4)


def test_gradients_reach_the_pictures_and_not_the_features():
    distance, made = FeatureDistance(SceneFeatures()), pictures().requires_grad_()
    distance(made, pictures()).sum().backward()
    assert torch.isfinite(made.grad).all()
    assert made.grad.abs().sum() > 0
    assert not any(weight.requires_grad for weight in distance.parameters())


def test_black_places_are_no_trouble():
    dark = torch.zeros(1, 3, 8, 8, requires_grad=True)
    FeatureDistance(Maps())(dark, pictures(1, 8)).sum().backward()
    assert torch.isfinite(dark.grad).all()


def test_unit_features_have_length_one():
    assert torch.allclose(unit(pictures()).norm(dim=1), torch.ones(3, 16, 16), atol=1e-4)


def test_vgg16_is_configuration_d():
    with torch.device("meta"):
        network = VGG16()
        maps = network(torch.empty(1, 3, 32, 32))
    assert sum(weight.numel() for weight in network.parameters()) == 14_714_688
    assert [tuple(m.shape[1:]) for m in maps] == [
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
        (512, 2, 2),
    ]
    names = [name for name, _ in network.named_parameters()]
    assert names[0] == "features.0.weight"
    assert names[-1] == "features.28.bias"  # torchvision's


def test_vgg16_sees_pictures_as_imagenet_has_them():
    """Grey of ImageNet's mean is zero to it."""
    network = VGG16()
    nn.init.zeros_(network.features[0].bias)
    grey = torch.tensor(network.MEAN).view(1, 3, 1, 1).expand(1, 3, 16, 16) * 2 - 1
    seen = []
    network.features[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(grey)
    network(grey + 2 * torch.tensor(network.STD).view(1, 3, 1, 1))
    assert seen[0].abs().max() < 1e-6
    assert torch.allclose(seen[1], torch.ones_like(seen[1]), atol=1e-5)
