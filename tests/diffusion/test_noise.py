from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sdwidgets.diffusion import slerp


def noises(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def test_the_ends_are_the_noises_themselves() -> None:
    first, second = noises(4, 8, 8)
    assert torch.equal(slerp(first, second, 0.0), first)
    assert torch.equal(slerp(first, second, 1.0), second)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.75])
def test_it_is_the_textbooks_formula(share: float) -> None:
    first, second = noises(4, 3, 5)
    dot = sum((first * second).flatten().tolist())
    theta = math.acos(dot / math.sqrt(float((first**2).sum()) * float((second**2).sum())))
    wanted = (
        math.sin((1 - share) * theta) * first + math.sin(share * theta) * second
    ) / math.sin(theta)  # fmt: skip
    assert torch.allclose(slerp(first, second, share), wanted, atol=1e-5)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_variance_stays_one(share: float) -> None:
    first, second = noises(4, 128, 128)
    mixed = slerp(first, second, share)
    assert abs(float(mixed.var()) - 1) < 0.03
    assert float(torch.lerp(first, second, share).var()) < 0.85


def test_noises_on_a_line_have_no_arc() -> None:
    first, _ = noises(4, 4, 4)
    assert torch.equal(slerp(first, first, 0.5), first)
    assert torch.isfinite(slerp(first, -first, 0.3)).all()
    assert torch.isfinite(slerp(torch.zeros(2, 2), torch.ones(2, 2), 0.3)).all()
