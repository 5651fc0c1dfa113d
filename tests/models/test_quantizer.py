"""Vector quantisation: the nearest code, its gradient, the number of used codes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sdwidgets.errors import InputError
from sdwidgets.models.quantizer import (
    COMMITMENT,
    Quantizer,
    codebook_usage,
    count_codes,
    nearest_codes,
    perplexity,
)

pytestmark = pytest.mark.usefixtures("seeded")


def quantizer(codes: int = 20, width: int = 3) -> Quantizer:
    made = Quantizer(codes, width)
    torch.nn.init.normal_(made.embedding.weight)
    return made


def by_all_differences(z: Tensor, codes: Tensor) -> Tensor:
    return (z[:, None] - codes[None]).square().sum(-1).argmin(1)


@pytest.mark.parametrize("chunk", [1, 100, 750, 2**24])
def test_the_nearest_code_whatever_the_chunks(chunk: int) -> None:
    z, codes = torch.randn(75, 4), torch.randn(50, 4)
    assert torch.equal(nearest_codes(z, codes, chunk=chunk), by_all_differences(z, codes))


def test_no_more_distances_than_a_chunk_are_ever_held() -> None:
    z, codes = torch.randn(4096, 3), torch.randn(512, 3)
    sizes = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                sizes.append(result.numel())
            return result

    with Watch():
        nearest_codes(z, codes, chunk=2**16)
    assert max(sizes) == 2**16  # not 4096 x 512, let alone three times that


def test_codes_too_close_for_half_precision_are_told_apart() -> None:
    codes = torch.tensor([[1.0], [1.001], [1.002]])
    with torch.autocast("cpu", torch.bfloat16):
        assert nearest_codes(codes, codes).tolist() == [0, 1, 2]


def test_latents_become_exactly_their_codes() -> None:
    made = quantizer()
    z = torch.randn(2, 3, 4, 5)
    latents, indices, _ = made(z)
    assert indices.shape == (2, 4, 5)
    assert torch.equal(latents, made.embedding.weight[indices].permute(0, 3, 1, 2))
    assert torch.equal(made.look_up(indices), latents)


def test_a_code_is_its_own_nearest() -> None:
    made = quantizer()
    latents, indices, loss = made(torch.randn(1, 3, 4, 4))
    again = made(latents)
    assert torch.equal(again.indices, indices)
    assert loss > 0 and again.loss == 0


def test_gradients_pass_straight_through() -> None:
    z = torch.randn(2, 3, 4, 4, requires_grad=True)
    latents = quantizer()(z).latents
    weight = torch.randn_like(latents)
    (latents * weight).sum().backward()
    assert z.grad is not None and torch.equal(z.grad, weight)


def test_a_reconstruction_alone_does_not_move_the_codes() -> None:
    made = quantizer()
    made(torch.randn(1, 3, 4, 4, requires_grad=True)).latents.sum().backward()
    assert made.embedding.weight.grad is None


def test_the_loss_is_the_papers() -> None:
    made = quantizer()
    z = torch.randn(2, 3, 4, 4, requires_grad=True)
    _, indices, loss = made(z)
    distance = (made.embedding.weight[indices].permute(0, 3, 1, 2) - z).detach()
    assert loss.item() == pytest.approx((1 + COMMITMENT) * distance.square().mean().item())
    loss.backward()
    # The commitment pulls latents to codes, with beta; the codebook's term codes to latents.
    assert z.grad is not None and made.embedding.weight.grad is not None
    pull = -2 * COMMITMENT * distance / distance.numel()
    torch.testing.assert_close(z.grad, pull)
    used = torch.zeros_like(made.embedding.weight)
    pushes = (2 * distance / distance.numel()).permute(0, 2, 3, 1).reshape(-1, 3)
    used.index_add_(0, indices.flatten(), pushes)
    torch.testing.assert_close(made.embedding.weight.grad, used)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_broken_latents_are_not_made_to_look_whole(broken: float) -> None:
    z = torch.zeros(1, 3, 2, 2)
    z[0, 0, 0, 0] = broken
    assert quantizer()(z).latents.isnan().any()


def test_codes_are_counted() -> None:
    counts = count_codes(torch.tensor([[[0, 2], [2, 2]]]), 4)
    assert counts.tolist() == [1, 0, 3, 0]
    assert codebook_usage(counts) == 0.5


def test_perplexity_is_the_number_of_codes_used_evenly() -> None:
    assert perplexity(torch.tensor([5, 0, 0])) == pytest.approx(1.0)
    assert perplexity(torch.full((16,), 7)) == pytest.approx(16.0)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert perplexity(torch.tensor([1, 0, 3])) == pytest.approx(math.exp(entropy))


def test_perplexity_of_nothing() -> None:
    with pytest.raises(InputError, match="All counts are zero"):
        perplexity(torch.zeros(8, dtype=torch.int64))
