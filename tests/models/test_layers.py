from __future__ import annotations

import pytest
import torch

from sdwidgets.models.layers import Downsample, ResnetBlock, Upsample, timestep_embedding

pytestmark = pytest.mark.usefixtures("seeded")


def test_timestep_zero_is_cosines_of_one_and_sines_of_zero() -> None:
    assert timestep_embedding(torch.zeros(1), 6).tolist() == [[1, 1, 1, 0, 0, 0]]


def test_slowest_frequency_is_almost_a_ten_thousandth() -> None:
    features = timestep_embedding(torch.tensor([1.0]), 320)[0]
    assert features[-1] == pytest.approx(10000 ** (-159 / 160), rel=1e-5)


def test_timesteps_need_not_be_whole() -> None:
    low, mid, high = timestep_embedding(torch.tensor([10.0, 10.5, 11.0]), 8)[:, -1].tolist()
    assert low < mid < high


def test_resnet_block_leaves_its_input_alone_in_inference() -> None:
    block = ResnetBlock(8, 8, groups=2, eps=1e-5, embedding_width=4)
    x, embedding = torch.randn(2, 8, 5, 5), torch.randn(2, 4)
    x_before, embedding_before = x.clone(), embedding.clone()
    with torch.no_grad():
        block(x, embedding)
    assert torch.equal(x, x_before)
    assert torch.equal(embedding, embedding_before)


def test_resnet_block_is_the_same_in_training_and_inference() -> None:
    block = ResnetBlock(8, 16, groups=2, eps=1e-5)
    x = torch.randn(2, 8, 5, 5)
    with torch.no_grad():
        inference = block(x)
    assert torch.equal(block(x), inference)


def test_gradients_of_a_resnet_block_are_those_of_finite_differences() -> None:
    block = ResnetBlock(2, 4, groups=1, eps=1e-5, embedding_width=3).double()
    x = torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    embedding = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, (x, embedding))


@pytest.mark.parametrize(("asymmetric", "expected"), [(False, (3, 4)), (True, (2, 3))])
def test_downsample_of_odd_sizes(asymmetric: bool, expected: tuple[int, int]) -> None:
    assert Downsample(2, asymmetric=asymmetric)(torch.zeros(1, 2, 5, 7)).shape[2:] == expected


def test_upsample_meets_the_size_asked_for() -> None:
    upsample = Upsample(2)
    assert upsample(torch.zeros(1, 2, 3, 4)).shape[2:] == (6, 8)
    assert upsample(torch.zeros(1, 2, 3, 4), (5, 7)).shape[2:] == (5, 7)
