from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sdwidgets.models import attention
from sdwidgets.models.attention import EDIT, LOOK, Attention, editing, looking

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


# -- edits -------------------------------------------------------------------------------------


class Given:
    """An edit that uses what it was given."""

    def __init__(self, probabilities: Tensor | None = None, states: Tensor | None = None):
        self.probabilities, self.states = probabilities, states

    def cross(self, layer: Attention, probabilities: Tensor) -> Tensor:
        return probabilities if self.probabilities is None else self.probabilities

    def itself(self, layer: Attention, x: Tensor) -> Tensor:
        return x if self.states is None else self.states


def test_an_edit_that_changes_nothing_gives_the_same_bits() -> None:
    cross, x, context = cross_attention()
    itself = Attention(8, 2)
    plain = cross(x, context), itself(x)
    with editing(Given()):
        assert torch.equal(cross(x, context), plain[0])
        assert torch.equal(itself(x), plain[1])


def test_edited_probabilities_weigh_the_layers_own_values() -> None:
    attention, x, context = cross_attention()
    p = torch.rand(3, 2, 20, 7)
    with editing(Given(p)):
        edited = attention(x, context)
    values = attention.to_v(context).unflatten(-1, (2, 4)).transpose(1, 2)
    wanted = attention.to_out[0]((p @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(edited, wanted)


def test_queries_and_keys_of_other_states_are_their_probabilities() -> None:
    attention, x, other = Attention(8, 2), torch.randn(3, 20, 8), torch.randn(3, 20, 8)
    with editing(Given(states=other)):
        edited = attention(x)
    values = attention.to_v(x).unflatten(-1, (2, 4)).transpose(1, 2)
    p = attention.probabilities(other, other)
    wanted = attention.to_out[0]((p @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(edited, wanted)


def test_an_observer_sees_the_edited_attention() -> None:
    cross, x, context = cross_attention()
    itself, other = Attention(8, 2), torch.randn(3, 20, 8)
    p = torch.rand(3, 2, 20, 7)
    seen: list[tuple[Any, ...]] = []
    with editing(Given(p, other)), looking(lambda *what: seen.append(what)):
        cross(x, context)
        itself(x)
    assert torch.equal(seen[0][3], p)
    _, queries, keys, _ = seen[1]
    again = itself.probabilities_of(queries, keys)
    assert torch.equal(again, itself.probabilities(other, other))


def test_after_a_fault_nothing_is_edited() -> None:
    with pytest.raises(KeyError), editing(Given()):
        raise KeyError
    assert EDIT.get() is None


def test_an_edit_ends_with_its_block_and_stays_in_its_thread() -> None:
    attention, x, context = cross_attention()
    plain = attention(x, context)
    with editing(Given(torch.zeros(3, 2, 20, 7))):
        with ThreadPoolExecutor(1) as pool:
            assert torch.equal(pool.submit(attention, x, context).result(), plain)
        with editing(Given()):
            assert torch.equal(attention(x, context), plain)
        assert not torch.equal(attention(x, context), plain)
    assert torch.equal(attention(x, context), plain)


@pytest.mark.usefixtures("seeded")
@torch.no_grad()
def test_many_queries_are_computed_in_parts_alike_for_those_who_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = Attention(16, 2, context_width=12)
    x, context = torch.randn(2, 23, 16), torch.randn(2, 7, 12)
    whole, seen = layer(x, context), list[torch.Tensor]()
    monkeypatch.setattr(attention, "QUERIES", 5)
    sizes = list[int]()
    of = Attention.probabilities_of

    def counted(self: Attention, queries: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        sizes.append(queries.shape[1])
        return of(self, queries, context)

    monkeypatch.setattr(Attention, "probabilities_of", counted)
    parts = layer(x, context)
    assert sizes == [5, 5, 5, 5, 3] and torch.allclose(parts, whole, atol=1e-5)
    with attention.looking(lambda _, __, ___, p: seen.append(p)):
        assert torch.equal(layer(x, context), parts)
    assert torch.allclose(seen[0], layer.probabilities(x, context), atol=1e-5)
