"""Feature networks from files: the bundled one, and a VGG16 of the user's."""

import pytest
import torch
from safetensors.torch import save_file

from sdwidgets.checkpoints.features import BUNDLED, bundled_features, load_lpips
from sdwidgets.errors import CheckpointError, CheckpointNotFound
from sdwidgets.models.perceptual import VGG16


@pytest.fixture(scope="module")
def vgg16(tmp_path_factory):
    """A VGG16 file with torchvision's names, its weights random, and a bit of its classifier."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = {name: value.half() for name, value in VGG16().state_dict().items()}
    file = tmp_path_factory.mktemp("vgg16") / "vgg16.safetensors"
    save_file(weights | {"classifier.0.bias": torch.zeros(4096)}, file)
    return file


@pytest.fixture
def lin(tmp_path):
    """A file of LPIPS's learnt weights; ``**changes`` are put in their place."""

    def lin(**changes):
        weights = {
            f"lin{i}.model.1.weight": torch.full((1, width, 1, 1), 0.5 + i)
            for i, (width, _) in enumerate(VGG16.LEVELS)
        }
        weights |= {f"{name}.model.1.weight": value for name, value in changes.items()}
        save_file({k: v for k, v in weights.items() if v is not None}, tmp_path / "lin.safetensors")
        return tmp_path / "lin.safetensors"

    return lin


def pictures():
    torch.manual_seed(1)
    return (torch.rand(1, 3, 16, 16) * 2 - 1 for _ in range(2))


def test_the_bundled_features_are_small_and_tell_pictures_apart():
    assert BUNDLED.stat().st_size < 1_000_000
    distance, (one, other) = bundled_features(), pictures()
    assert distance(one, one).item() == 0
    assert distance(one, other).item() > 0.01


def test_the_bundled_features_mind_a_blur_more_than_as_much_of_a_shade():
    distance, (image, _) = bundled_features(), pictures()
    blurred = torch.nn.functional.avg_pool2d(image, 3, 1, 1)
    shaded = image + (blurred - image).square().mean().sqrt()
    assert distance(image, blurred) > 2 * distance(image, shaded)


def test_lpips_weighs_the_layers_of_a_users_vgg16(vgg16, lin):
    one, other = pictures()
    plain, learnt = load_lpips(vgg16), load_lpips(vgg16, lin())
    assert learnt(one, one).item() == 0
    assert [weight[0].item() for weight in learnt.weights] == [0.5, 1.5, 2.5, 3.5, 4.5]
    alone = load_lpips(vgg16, lin(**{f"lin{i}": torch.zeros(1, w, 1, 1) for i, w in FIRST_FOUR}))
    last = [unit(features[-1]) for features in (plain.features(one), plain.features(other))]
    expected = 4.5 * (last[0] - last[1]).square().sum(1).mean()
    assert alone(one, other).item() == pytest.approx(expected.item(), rel=1e-4)


FIRST_FOUR = [(i, width) for i, (width, _) in enumerate(VGG16.LEVELS[:4])]


def unit(features):
    return features / features.norm(dim=1, keepdim=True).clamp(min=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"lin2": torch.zeros(1, 255, 1, 1)},
        {"lin2": torch.zeros(256)},
        {"lin2": None},
    ],
)
def test_learnt_weights_of_another_shape_are_refused(vgg16, lin, changes):
    with pytest.raises(CheckpointError, match=r"no tensor 'lin2\.model\.1\.weight' of the shape"):
        load_lpips(vgg16, lin(**changes))


def test_a_network_of_another_shape_is_refused(tmp_path):
    save_file({"features.0.weight": torch.zeros(64, 3, 5, 5)}, tmp_path / "vgg.safetensors")
    with pytest.raises(CheckpointError):
        load_lpips(tmp_path / "vgg.safetensors")


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(CheckpointNotFound):
        load_lpips(tmp_path / "vgg.safetensors")
