"""The adversary of autoencoder training, and its weight."""

import pytest
import torch
from torch import nn

from sdwidgets.training.adversary import Adversary, adaptive_weight, found_out, told_apart

pytestmark = pytest.mark.usefixtures("seeded")


def images(count=2, size=16):
    return torch.rand(count, 3, size, size) * 2 - 1


@pytest.mark.parametrize(("layers", "patch"), [(1, 16), (2, 34), (3, 70)])
def test_a_score_sees_a_patch_of_the_pictures_size_it_says(layers, patch):
    adversary = Adversary(8, layers)
    for module in adversary.modules():  # a group's mean is over the whole image
        if isinstance(module, nn.GroupNorm):
            module.forward = lambda x: x
    image = images(1, 128).requires_grad_()
    scores = adversary(image)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    seen = image.grad[0].abs().sum(0) > 0
    assert seen.any(0).sum() == seen.any(1).sum() == patch


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_smallest_picture_has_one_score_and_a_smaller_one_none(layers):
    adversary = Adversary(8, layers)
    assert adversary(images(1, adversary.smallest)).shape == (1, 1, 1, 1)
    with pytest.raises(RuntimeError):
        adversary(images(1, adversary.smallest - 1))


def test_a_score_depends_on_its_own_picture_alone():
    adversary, batch = Adversary(8, 2), images(4)
    assert torch.allclose(adversary(batch)[:1], adversary(batch[:1]), atol=1e-4)


def test_telling_apart_is_the_hinge_loss():
    class Brightness(nn.Module):
        def forward(self, image):
            return image.mean((1, 2, 3))

    real, made = torch.full((2, 3, 4, 4), 0.25), torch.full((2, 3, 4, 4), 0.5)
    loss = told_apart(Brightness(), real, made)
    assert loss.item() == pytest.approx(0.5 * ((1 - 0.25) + (1 + 0.5)))
    assert told_apart(Brightness(), real * 8, made * -4).item() == 0


def test_telling_apart_teaches_the_adversary_and_not_who_made_the_pictures():
    adversary, made = Adversary(8, 1), images().requires_grad_()
    told_apart(adversary, images(), made).backward()
    assert made.grad is None
    assert all(weight.grad is not None for weight in adversary.parameters())


def test_being_found_out_teaches_who_made_the_pictures_and_not_the_adversary():
    adversary, made = Adversary(8, 1), images().requires_grad_()
    loss = found_out(adversary, made)
    loss.backward()
    assert loss.item() == pytest.approx(-adversary(made).mean().item(), abs=1e-6)
    assert made.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in adversary.parameters())


def test_the_adaptive_weight_is_equation_7():
    last = torch.tensor([1.0, 2.0], requires_grad=True)
    told, found = (3 * last).sum() + last[0], 0.5 * last.square().sum()  # (4, 3) and (1, 2)
    weight = adaptive_weight(told, found, last)
    assert weight.item() == pytest.approx(5 / (5**0.5 + 1e-4))
    assert not weight.requires_grad


def test_the_adaptive_weight_is_limited():
    last = torch.tensor([1.0], requires_grad=True)
    assert adaptive_weight(last.sum() * 1e9, last.sum() * 1e-9, last) == 1e4


def test_the_adaptive_weight_takes_gradients_of_all_processes():
    last = torch.tensor([1.0, 2.0], requires_grad=True)
    told, found = (3 * last).sum(), last.sum()
    seen = []
    weight = adaptive_weight(told, found, last, lambda gradient: seen.append(gradient) or gradient)
    assert [gradient.tolist() for gradient in seen] == [[3, 3], [1, 1]]
    assert weight.item() == pytest.approx(3, rel=1e-3)
