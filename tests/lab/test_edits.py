"""Edits of latents: their effects, labels, JSON and refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sdwidgets.errors import InputError
from sdwidgets.lab import Edit, Flip, Knock, Noise, Paint, Scale, Shift, Walk
from sdwidgets.lab.directions import Directions
from sdwidgets.lab.edits import EDITS, from_json

ALONG = Directions(torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([2.0]), (0.4321,))
ONE_OF_EACH = (
    Knock(1),
    Scale(-1, 2.5),
    Noise(0.5, seed=3),
    Shift(1, -2),
    Flip("y"),
    Paint(0, -1.5, ((0, 1), (2, 2)), "add"),
    Walk(0, -1),
)


@pytest.fixture
def z() -> torch.Tensor:
    return torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("edit", ONE_OF_EACH, ids=lambda edit: edit.type)
def test_an_edit_makes_new_latents_and_leaves_the_old_ones(edit: Edit, z: torch.Tensor) -> None:
    before = z.clone()
    after = edit.apply(z, ALONG)
    assert torch.equal(z, before)
    assert after.shape == z.shape
    assert not torch.equal(after, z)


@pytest.mark.parametrize("edit", ONE_OF_EACH, ids=lambda edit: edit.type)
def test_an_edit_comes_back_from_its_json(edit: Edit) -> None:
    assert from_json(edit.as_json()) == edit


def test_one_of_each_is_all_there_are() -> None:
    assert {edit.type for edit in ONE_OF_EACH} == set(EDITS)


def test_a_knocked_out_channel_is_zero_and_the_others_stay(z: torch.Tensor) -> None:
    after = Knock(1).apply(z)
    assert after[:, 1].abs().max() == 0
    assert torch.equal(after[:, ::2], z[:, ::2])


def test_a_channel_is_scaled_alone_or_with_all(z: torch.Tensor) -> None:
    torch.testing.assert_close(Scale(2, -0.5).apply(z)[:, 2], z[:, 2] * -0.5)
    assert torch.equal(Scale(2, -0.5).apply(z)[:, :2], z[:, :2])
    torch.testing.assert_close(Scale(-1, 3).apply(z), z * 3)


def test_noise_has_its_sigma_and_its_seed() -> None:
    z = torch.zeros(1, 4, 64, 64)
    assert Noise(2.0).apply(z).std().item() == pytest.approx(2, rel=0.02)
    assert torch.equal(Noise(1.0, 5).apply(z), Noise(1.0, 5).apply(z))
    assert not torch.equal(Noise(1.0, 5).apply(z), Noise(1.0, 6).apply(z))


def test_a_shift_comes_in_again_on_the_other_side(z: torch.Tensor) -> None:
    after = Shift(dx=2, dy=1).apply(z)
    assert torch.equal(after[0, :, 1, 2], z[0, :, 0, 0])
    assert torch.equal(after[0, :, 0, 0], z[0, :, 3, 3])


def test_two_flips_are_none(z: torch.Tensor) -> None:
    assert torch.equal(Flip("x").apply(z)[..., 0], z[..., -1])
    assert torch.equal(Flip("y").apply(z)[..., 0, :], z[..., -1, :])
    assert torch.equal(Flip("x").apply(Flip("x").apply(z)), z)


def test_paint_sets_or_adds_where_the_brush_was(z: torch.Tensor) -> None:
    cells = ((4, 3), (0, 0))
    after = Paint(1, 2.0, cells).apply(z)
    assert after[0, 1, 3, 4] == after[0, 1, 0, 0] == 2
    assert (after != z).sum() == 2
    added = Paint(-1, 1.0, cells, "add").apply(z)
    torch.testing.assert_close(added[0, :, 3, 4], z[0, :, 3, 4] + 1)
    assert (added != z).sum() == 6


def test_a_cell_twice_under_the_brush_is_painted_once(z: torch.Tensor) -> None:
    after = Paint(0, 1.0, ((1, 1), (1, 1)), "add").apply(z)
    torch.testing.assert_close(after[0, 0, 1, 1], z[0, 0, 1, 1] + 1)


def test_a_brush_may_hang_over_the_edge(z: torch.Tensor) -> None:
    after = Paint(0, 1.0, ((-1, 0), (5, 0), (0, 4), (2, 2))).apply(z)
    assert (after != z).sum() == 1


def test_a_walk_goes_deviations_along_a_direction(z: torch.Tensor) -> None:
    after = Walk(0, 1.5).apply(z, ALONG)
    torch.testing.assert_close(after[:, 1], z[:, 1] + 1.5 * 2)
    assert torch.equal(after[:, ::2], z[:, ::2])


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (Knock(2), "channel 2 knocked out"),
        (Scale(-1, 0.5), "all channels times 0.5"),
        (Noise(0.25), "noise of sigma 0.25"),
        (Shift(-3, 1), "shifted 3 left and 1 down (cells)"),
        (Flip("x"), "flipped left to right"),
        (Paint(1, 2, ((0, 0), (1, 0), (1, 0))), "2 cells of channel 1 set to 2"),
        (Walk(0, 1), "direction 1 (43 % of the variance): +1"),
    ],
    ids=lambda value: getattr(value, "type", ""),
)
def test_an_edit_says_itself_in_words(edit: Edit, words: str) -> None:
    assert edit.label(ALONG) == words


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"type": "melt"},
        {"type": ["knock"]},
        {"type": "knock"},
        {"type": "knock", "channel": -1},
        {"type": "knock", "channel": True},
        {"type": "scale", "channel": 0, "factor": 4.5},
        {"type": "scale", "channel": 0, "factor": float("nan")},
        {"type": "noise", "sigma": "1"},
        {"type": "noise", "sigma": 1, "seed": -1},
        {"type": "shift", "dx": 0.5, "dy": 0},
        {"type": "flip", "axis": "z"},
        {"type": "flip", "axis": ["x"]},
        {"type": "paint", "channel": 0, "value": 1, "cells": "all"},
        {"type": "paint", "channel": 0, "value": 1, "cells": [[1]]},
        {"type": "paint", "channel": 0, "value": 1, "cells": [[1, 1.5]]},
        {"type": "paint", "channel": 0, "value": 1, "cells": [[0, 0]] * (2**14 + 1)},
        {"type": "paint", "channel": 0, "value": 1, "cells": [], "mode": "melt"},
        {"type": "walk", "direction": 8, "amount": 1},
    ],
    ids=str,
)
def test_what_is_no_edit_is_refused(value: Any) -> None:
    with pytest.raises(InputError):
        from_json(value)


@pytest.mark.parametrize("edit", [Knock(3), Scale(3, 1), Paint(3, 0, ()), Walk(2, 1)])
def test_an_edit_of_what_is_not_there_is_refused(edit: Edit) -> None:
    with pytest.raises(InputError):
        edit.check(channels=3, directions=2)
