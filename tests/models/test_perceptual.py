"""How different two images look: the formula, its networks, its gradients."""

import pytest
import torch
from torch import nn

from sdwidgets.models.perceptual import VGG16, FeatureDistance, SceneFeatures, unit

pytestmark = pytest.mark.usefixtures("seeded")


def images(count=2, size=16):
    return torch.rand(count, 3, size, size) * 2 - 1


def learnt(features, image):
    """Return a weight per channel of every map, not negative."""
    return [torch.rand(one.shape[1]) for one in features(image)]


# ------------------------------------------------------------------------- the distance


@pytest.mark.parametrize("kind", [SceneFeatures, VGG16])
def test_the_same_picture_is_not_different(kind):
    image = images()
    assert FeatureDistance(kind())(image, image).tolist() == [0, 0]


def test_other_pictures_are():
    distance = FeatureDistance(SceneFeatures())
    assert (distance(images(), images()) > 0).all()


def test_it_is_as_far_there_as_back():
    distance, first, second = FeatureDistance(SceneFeatures()), images(), images()
    assert torch.allclose(distance(first, second), distance(second, first))


def test_every_pair_is_compared_on_its_own():
    distance, first, second = FeatureDistance(SceneFeatures()), images(3), images(3)
    alone = [distance(first[i : i + 1], second[i : i + 1]) for i in range(3)]
    assert torch.allclose(distance(first, second), torch.cat(alone), atol=1e-5)


@pytest.mark.parametrize("weighed", [False, True], ids=["even", "learnt"])
def test_it_is_the_papers_formula(weighed):
    """Equation 1 of arXiv 1801.03924 at each position; without weights, the mean over layers."""
    network, first, second = SceneFeatures(), images(1), images(1)
    weights = learnt(network, first) if weighed else None
    layers = []
    for number, (a, b) in enumerate(zip(network(first), network(second), strict=True)):
        _, channels, height, width = a.shape
        w = weights[number] if weighed else torch.ones(channels)
        places = []
        for y in range(height):
            for x in range(width):
                one, other = (f[0, :, y, x] / (f[0, :, y, x].norm() + 1e-10) for f in (a, b))
                places.append((w * (one - other) ** 2).sum())
        layers.append(torch.stack(places).mean())
    expected = torch.stack(layers).sum() if weighed else torch.stack(layers).mean()
    found = FeatureDistance(network, weights)(first, second)
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)


def test_features_of_unit_length_have_it_at_every_place():
    length = unit(torch.randn(2, 5, 3, 4)).norm(dim=1)
    assert torch.allclose(length, torch.ones(2, 3, 4), atol=1e-5)


def test_where_nothing_is_seen_gradients_are_finite():
    features = torch.zeros(1, 5, 2, 2, requires_grad=True)
    unit(features).sum().backward()
    assert torch.isfinite(features.grad).all()


def test_gradients_reach_the_picture_and_not_the_network():
    distance, image = FeatureDistance(SceneFeatures()), images().requires_grad_()
    distance(image, images()).sum().backward()
    assert image.grad.abs().sum() > 0
    assert not any(weight.requires_grad for weight in distance.parameters())


def test_a_small_step_against_the_gradient_brings_pictures_closer():
    distance, first, second = FeatureDistance(SceneFeatures()), images(1), images(1)
    first.requires_grad_()
    before = distance(first, second).sum()
    (slope,) = torch.autograd.grad(before, first)
    after = distance(first - 1e-3 * slope / slope.norm(), second).sum()
    assert after < before


# ------------------------------------------------------------------------- the networks


def test_the_scenes_network_sees_at_the_sizes_it_says():
    maps = SceneFeatures()(images(1, 32))
    assert [one.shape[2] for one in maps] == [16, 8, 4, 4, 4, 4]
    assert [one.shape[1] for one in maps] == [width for width, _ in SceneFeatures.WIDTHS]


def test_vgg16_has_the_parameters_of_the_paper():
    with torch.device("meta"):
        network = VGG16()
    assert sum(weight.numel() for weight in network.parameters()) == 14_714_688
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == 13


def test_vgg16_has_torchvisions_names():
    """Convolutions have torchvision's indices, between ReLUs and four of its five pools."""
    with torch.device("meta"):
        names = VGG16().state_dict()
    places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    assert [*names] == [f"features.{i}.{kind}" for i in places for kind in ("weight", "bias")]


def test_vgg16_gives_the_five_maps_after_the_last_relus_of_its_levels():
    maps = VGG16()(images(1, 32))
    shapes = [(64, 32), (128, 16), (256, 8), (512, 4), (512, 2)]
    assert [(one.shape[1], one.shape[2]) for one in maps] == shapes
    assert all((one >= 0).all() for one in maps)


def test_vgg16_sees_pictures_scaled_as_imagenets():
    """ImageNet's mean is zero before the first convolution, and white is as in its formula."""
    network = VGG16()
    seen = []
    network.features[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    mean = torch.tensor(VGG16.MEAN).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    network(mean * 2 - 1)
    network(torch.ones(1, 3, 16, 16))
    assert torch.allclose(seen[0], torch.zeros(1, 3, 16, 16), atol=1e-6)
    white = [(1 - m) / s for m, s in zip(VGG16.MEAN, VGG16.STD, strict=True)]
    assert seen[1][0, :, 0, 0].tolist() == pytest.approx(white)
