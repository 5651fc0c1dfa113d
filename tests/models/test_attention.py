from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sdwidgets.models.attention import LOOK, Attention, looking

pytestmark = pytest.mark.usefixtures("seeded")


def cross_attention() -> tuple[Attention, Tensor, Tensor]:
    return Attention(8, 2, context_width=6), torch.randn(3, 20, 8), torch.randn(3, 7, 6)


def test_probabilities_of_every_pixel_sum_to_one() -> None:
    attention, x, context = cross_attention()
    p = attention.probabilities(x, context)
    assert p.shape == (3, 2, 20, 7)
    torch.testing.assert_close(p.sum(-1), torch.ones(3, 2, 20))


def test_the_open_path_is_the_fused_kernel() -> None:
    attention, x, context = cross_attention()
    q, k, v = attention.to_q(x), attention.to_k(context), attention.to_v(context)
    q, k, v = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in (q, k, v))
    fused = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention(x, context), attention.to_out[0](fused))


def test_looking_does_not_change_the_result() -> None:
    attention, x, context = cross_attention()
    plain = attention(x, context)
    seen: list[tuple[Any, ...]] = []
    with looking(lambda *what: seen.append(what)):
        assert torch.equal(attention(x, context), plain)
    ((layer, queries, keys, p),) = seen
    assert layer is attention and keys is context
    assert torch.equal(queries, attention.to_q(x))
    assert torch.equal(p, attention.probabilities(x, context))


def test_self_attention_shows_what_its_probabilities_are_made_of() -> None:
    attention, x = Attention(8, 2), torch.randn(3, 20, 8)
    plain = attention(x)
    seen: list[tuple[Any, ...]] = []
    with looking(lambda *what: seen.append(what)):
        assert torch.equal(attention(x), plain)
    ((layer, queries, keys, p),) = seen
    assert layer is attention and p is None
    again = attention.probabilities_of(queries, keys)
    assert torch.equal(again, attention.probabilities(x, x))


def test_after_a_fault_nobody_looks() -> None:
    with pytest.raises(KeyError), looking(lambda *_: None):
        raise KeyError
    assert LOOK.get() is None


def test_probabilities_are_float32_under_half_precision_weights() -> None:
    attention, x, context = cross_attention()
    attention.bfloat16()
    p = attention.probabilities(x.bfloat16(), context.bfloat16())
    assert p.dtype == torch.float32
    torch.testing.assert_close(p.sum(-1), torch.ones(3, 2, 20))
    assert attention(x.bfloat16(), context.bfloat16()).dtype == torch.bfloat16


def test_self_attention_has_no_favourite_order() -> None:
    attention, x = Attention(8, 2), torch.randn(1, 20, 8)
    order = torch.randperm(20)
    torch.testing.assert_close(attention(x[:, order]), attention(x)[:, order])
