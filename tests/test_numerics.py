"""What is taken for a tensor, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sdwidgets.errors import InputError
from sdwidgets.numerics import tensor

SHAPE = ("B", 3, "w")


@pytest.mark.parametrize(
    "value",
    [
        torch.ones(2, 3, 4),
        torch.ones(2, 3, 4, requires_grad=True),
        torch.ones(4, 3, 2).permute(2, 1, 0),
        torch.ones(2, 3, 8)[..., ::2],
        torch.ones(2, 3, 4, dtype=torch.bfloat16),
        torch.ones(2, 3, 4).to(torch.float8_e4m3fn),
        np.ones((2, 3, 4)),
        np.ones((2, 3, 4), ">f4"),
        np.ones((2, 3, 4), np.float32)[:, ::-1, ::-1],
        np.broadcast_to(np.ones((1, 3, 1), np.float16), (2, 3, 4)),  # which cannot be written
    ],
)
def test_floats_of_every_kind_are_taken(value: Any) -> None:
    taken = tensor("latents", value, SHAPE)
    assert taken.shape == value.shape and not taken.requires_grad
    assert (taken.float() == 1).all()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "NoneType"),
        ([[[1.0]]], "list"),
        (np.ones((2, 3, 4), int), "int64 [2, 3, 4]"),
        (np.ones((2, 3, 4), object), "object [2, 3, 4]"),
        (np.ones((2, 3, 4), bool), "bool"),
        (np.ones((2, 3, 4), complex), "complex128"),
        (np.ones((2, 3, 4), [("a", "f4")]), "[('a', '<f4')]"),
        (torch.ones(2, 3, 4, dtype=torch.int64), "int64"),
        (torch.ones(2, 3, 4, dtype=torch.bool), "bool"),
        (torch.ones(2, 3, 4, dtype=torch.complex64), "complex64"),
        (torch.ones(2, 3, 4).to_sparse(), "float32 [2, 3, 4] in the layout sparse_coo"),
        (torch.ones(2, 3, 4, device="meta"), "the device meta"),
        (torch.ones(2, 3), "[2, 3]"),
        (torch.ones(2, 4, 4), "[2, 4, 4]"),
        (torch.ones(0, 3, 4), "[0, 3, 4]"),
        (torch.ones(()), "[]"),
    ],
    ids=str,
)
def test_other_values_are_refused_and_described(value: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        tensor("latents", value, SHAPE)
    assert caught.value.parameter == "latents"
    assert str(caught.value).startswith("latents must be floats [B, 3, w], a tensor or an array")
    assert said in str(caught.value)


def test_whole_numbers_and_either() -> None:
    whole = np.zeros((1, 3, 2), np.uint8)
    assert tensor("codes", whole, SHAPE, kind="whole numbers").dtype == torch.uint8
    assert tensor("codes", whole, SHAPE, kind="numbers").dtype == torch.uint8
    with pytest.raises(InputError, match="whole numbers"):
        tensor("codes", whole.astype(float), SHAPE, kind="whole numbers")
