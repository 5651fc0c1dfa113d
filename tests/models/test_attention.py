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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("context_width", [64, None])  # cross-attention, self-attention
@torch.no_grad()
def test_scores_beyond_half_precision_are_exact(
    dtype: torch.dtype, context_width: int | None
) -> None:
    """As in Stable Diffusion 2.1, whose config says upcast_attention for that reason."""
    attention = Attention(64, 1, context_width=context_width).to(dtype)
    for linear in (attention.to_q, attention.to_k):
        linear.weight.copy_(200 * torch.eye(64))
    attention.to_out[0].bias.zero_()
    x = torch.randn(1, 20, 64).to(dtype)
    context = torch.randn(1, 7, 64).to(dtype) if context_width else None
    scores = (
        attention.to_q(x).float() @ attention.to_k(x if context is None else context).float().mT
    )
    assert scores.abs().max() > torch.finfo(torch.float16).max
    exact = torch.softmax(scores.double() / 8, dim=-1)
    values = attention.to_v(x if context is None else context).double()
    wanted = exact @ values @ attention.to_out[0].weight.double().mT
    found = attention(x, context).double()
    assert (found - wanted).abs().max() < 0.02 * wanted.abs().max()
    if context is not None:
        shown = attention.probabilities(x, context)[:, 0].double()
        torch.testing.assert_close(shown, exact, atol=1e-3, rtol=0)
