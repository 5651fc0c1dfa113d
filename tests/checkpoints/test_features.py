"""Networks whose features are compared, from files: the bundled network, and a VGG16 with LPIPS."""

import pytest
import torch
from checkpoint_files import save_tensors

from sdwidgets.checkpoints.features import BUNDLED, bundled_features, load_lpips
from sdwidgets.errors import CheckpointError, CheckpointNotFound, InputError
from sdwidgets.models.perceptual import VGG16, FeatureDistance
from sdwidgets.scenes import SIZE

WIDTHS = [width for width, _ in VGG16.LEVELS]


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VGG16()


@pytest.fixture(scope="module")
def vgg16(network, tmp_path_factory):
    """Write a VGG16 as torchvision saves it, with its classifier."""
    tensors = {**network.state_dict(), "classifier.0.weight": torch.zeros(2, 3)}
    return save_tensors(tensors, tmp_path_factory.mktemp("vgg16") / "vgg16.safetensors")


@pytest.fixture
def learnt():
    """Write LPIPS's weights, by that project's names."""
    torch.manual_seed(1)
    return {f"lin{i}.model.1.weight": torch.rand(1, n, 1, 1) for i, n in enumerate(WIDTHS)}


def images():
    torch.manual_seed(2)
    return torch.rand(2, 2, 3, 16, 16) * 2 - 1


# --------------------------------------------------------------------- the bundled network


def test_the_bundled_features_tell_pictures_apart():
    first, second = images()
    distance = bundled_features()
    assert distance(first, first).tolist() == [0, 0]
    assert (distance(first, second) > 0.01).all()


def test_the_bundled_features_are_small_and_without_gradients():
    distance = bundled_features()
    assert BUNDLED.stat().st_size < 2**20
    assert not any(weight.requires_grad for weight in distance.parameters())
    assert all(weight.dtype == torch.float32 for weight in distance.parameters())


def test_a_picture_that_is_blurred_more_looks_more_different():
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    disc = ((y - 64) ** 2 + (x - 64) ** 2 < 900).float().expand(1, 3, SIZE, SIZE) * 2 - 1
    blurred = [torch.nn.functional.avg_pool2d(disc, k, 1, k // 2) for k in (3, 9, 27)]
    distance = bundled_features()
    apart = [distance(disc, one).item() for one in blurred]
    assert 0 < apart[0] < apart[1] < apart[2]


# ------------------------------------------------------------------------- LPIPS


def test_a_vgg16_of_torchvision_loads_and_its_classifier_is_not_read(vgg16, network):
    distance = load_lpips(vgg16)
    assert "classifier.0.weight" not in distance.features.state_dict()
    first, second = images()
    assert torch.allclose(distance(first, second), FeatureDistance(network)(first, second))


def test_lpips_weighs_channels_as_it_learnt(vgg16, network, learnt, tmp_path):
    file = save_tensors(learnt, tmp_path / "lpips.safetensors")
    first, second = images()
    weights = [learnt[f"lin{i}.model.1.weight"].flatten() for i in range(5)]
    expected = FeatureDistance(network, weights)(first, second)
    assert torch.allclose(load_lpips(vgg16, file)(first, second), expected)
    assert not torch.allclose(load_lpips(vgg16)(first, second), expected)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: t.pop("lin3.model.1.weight"),
        lambda t: t.update({"lin3.model.1.weight": torch.rand(1, 256, 1, 1)}),
        lambda t: t.update({"lin3.model.1.weight": torch.rand(512)}),
    ],
    ids=["missing", "another network's", "another shape"],
)
def test_lpips_weights_that_do_not_fit_are_refused(vgg16, learnt, tmp_path, spoil):
    spoil(learnt)
    file = save_tensors(learnt, tmp_path / "lpips.safetensors")
    with pytest.raises(CheckpointError, match=r"'lin3.model.1.weight' of the shape \[1, 512, 1, 1"):
        load_lpips(vgg16, file)


def test_a_vgg_with_other_shapes_is_refused(network, tmp_path):
    tensors = {**network.state_dict(), "features.5.weight": torch.zeros(128, 32, 3, 3)}
    with pytest.raises(CheckpointError, match=r"features\.5\.weight") as caught:
        load_lpips(save_tensors(tensors, tmp_path / "other.safetensors"))
    assert len(str(caught.value).splitlines()) <= 3


def test_a_vgg_without_a_layer_is_refused(network, tmp_path):
    tensors = network.state_dict()
    del tensors["features.28.bias"]
    with pytest.raises(CheckpointError, match=r"features\.28\.bias"):
        load_lpips(save_tensors(tensors, tmp_path / "cut.safetensors"))


def test_a_file_that_is_not_there_is_said(vgg16, tmp_path):
    with pytest.raises(CheckpointNotFound):
        load_lpips(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointNotFound):
        load_lpips(vgg16, tmp_path / "none.safetensors")


def test_a_pickle_is_refused(tmp_path):
    file = tmp_path / "vgg16.pth"
    torch.save({"features.0.weight": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match=r"pickle|safetensors"):
        load_lpips(file)


def test_a_device_that_is_not_known_is_said():
    with pytest.raises(InputError, match="no device 'tpu'"):
        bundled_features("tpu")
