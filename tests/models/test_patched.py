"""Modules with some weights replaced share the others, and their parent is unchanged."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sdwidgets.configs import TINY
from sdwidgets.errors import InputError
from sdwidgets.models.patched import patched
from sdwidgets.models.unet import UNet


@pytest.fixture
def unet(seeded: None) -> UNet:
    return UNet(TINY.unet).eval().requires_grad_(False)


@pytest.fixture
def low_rank(unet: UNet, seeded: None) -> dict[str, Tensor]:
    """Return W + 0.5 B A of rank 2 for query and value projections (arXiv 2106.09685, eq. 3)."""
    weights = {}
    for name, weight in unet.named_parameters():
        if name.endswith(("to_q.weight", "to_v.weight")):
            a, b = torch.randn(2, weight.shape[1]), torch.randn(weight.shape[0], 2)
            weights[name] = weight + 0.5 * b @ a
    assert weights
    return weights


def answer(unet: UNet) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x, context = (torch.randn(1, *size, generator=generator) for size in ((4, 8, 8), (5, 24)))
    return unet(x, torch.tensor([500.0]), context)


def test_a_patched_network_is_one_with_these_weights(
    unet: UNet, low_rank: dict[str, Tensor]
) -> None:
    whole = UNet(TINY.unet).eval().requires_grad_(False)
    whole.load_state_dict({**unet.state_dict(), **low_rank})
    before = answer(unet)
    changed = answer(patched(unet, low_rank))
    assert torch.equal(changed, answer(whole))
    assert not torch.allclose(changed, before)


def test_the_parent_stays_bit_for_bit(unet: UNet, low_rank: dict[str, Tensor]) -> None:
    before, weights = answer(unet), {k: v.clone() for k, v in unet.state_dict().items()}
    answer(patched(unet, low_rank))
    assert torch.equal(answer(unet), before)
    assert all(torch.equal(now, weights[name]) for name, now in unet.state_dict().items())


def test_all_other_weights_are_shared(unet: UNet, low_rank: dict[str, Tensor]) -> None:
    old, new = dict(unet.named_parameters()), dict(patched(unet, low_rank).named_parameters())
    assert list(new) == list(old)
    assert {name for name in new if new[name] is not old[name]} == set(low_rank)


def test_new_weights_get_the_old_ones_type(unet: UNet, low_rank: dict[str, Tensor]) -> None:
    half = unet.to(torch.bfloat16)
    name, weight = next(iter(low_rank.items()))
    assert patched(half, {name: weight}).state_dict()[name].dtype == torch.bfloat16


def test_tied_weights_stay_tied() -> None:
    tied = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    tied[1].weight = tied[0].weight
    new = patched(tied, {"1.weight": torch.eye(3)})
    assert new[0].weight is new[1].weight and torch.equal(new[0].weight, torch.eye(3))


def test_a_patch_of_a_patch(unet: UNet, low_rank: dict[str, Tensor]) -> None:
    first, second = list(low_rank)[:2]
    once = patched(unet, {first: low_rank[first]})
    twice = dict(patched(once, {second: low_rank[second]}).named_parameters())
    assert twice[first] is dict(once.named_parameters())[first]
    assert torch.equal(twice[second], low_rank[second])


def test_what_does_not_fit_is_refused(unet: UNet) -> None:
    with pytest.raises(InputError, match="absent"):
        patched(unet, {"absent": torch.zeros(1)})
    name = next(iter(unet.state_dict()))
    with pytest.raises(InputError, match=name):
        patched(unet, {name: torch.zeros(1, 2, 3)})


def test_a_patched_network_need_not_keep_its_parent_alive(
    unet: UNet, low_rank: dict[str, Tensor]
) -> None:
    parent = UNet(TINY.unet).eval().requires_grad_(False)
    child = patched(parent, low_rank)
    wanted = answer(child)
    del parent
    assert torch.equal(answer(child), wanted)
