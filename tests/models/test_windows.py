"""A network that looks at windows: where they lie, and how their predictions are blended."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sdwidgets.models.windows import Blended, Window, Windowed, windows_of


def values(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def pointwise(x: Tensor, t: Tensor, *_: object, **__: object) -> Tensor:
    """A network that looks at each cell alone."""
    return torch.tanh(x[:, :2] * 3) + t[:, None, None, None]


SIZES = [(64, 64), (40, 17), (5, 64), (33, 100), (16, 16), (17, 16), (1, 3)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("side", "step"), [(16, 1), (16, 4), (16, 8), (5, 8), (1, 8), (2, 1)])
def test_windows_cover_all_cells_and_share_half_with_their_neighbours(
    size: tuple[int, int], side: int, step: int
) -> None:
    windows = windows_of(*size, side, step)
    seen = torch.zeros(size)
    for window in windows:
        assert (window.height, window.width) == (min(side, size[0]), min(side, size[1]))
        part = window.of(seen)
        assert part.shape == (window.height, window.width)
        part += 1
    assert seen.min() >= 1 and len(set(windows)) == len(windows)
    tops = sorted({window.top for window in windows})
    assert all(b - a <= max(side // 2, 1) for a, b in itertools.pairwise(tops))
    if side >= 2 * step:
        assert all(top % step == 0 for top in tops[:-1])


def test_an_image_within_a_window_is_one_window() -> None:
    assert windows_of(9, 7, 9) == (Window(0, 0, 9, 7, (9, 7)),)


@pytest.mark.parametrize("size", SIZES)
def test_a_network_that_looks_at_cells_alone_predicts_the_same(size: tuple[int, int]) -> None:
    x, t = values(2, 3, *size), torch.tensor([1.0, 2.0])
    found = Windowed(pointwise, windows_of(*size, 16, 4))(x, t)
    assert torch.allclose(found, pointwise(x, t), atol=1e-5)


def test_predictions_are_blended_by_equation_5_of_multidiffusion() -> None:
    # J(x) = (sum_i W_i F_i(x)) / (sum_j W_j), with each F_i put back where it was cut out
    x, t = values(1, 1, 12, 20), torch.zeros(1)

    def network(x: Tensor, t: Tensor, *_: object, **__: object) -> Tensor:
        return F.avg_pool2d(x, 3, 1, 1)  # sees its neighbours, and so the window's border

    windows = windows_of(12, 20, 8)
    total, weight = torch.zeros(1, 1, 12, 20), torch.zeros(12, 20)
    for window in windows:
        for i in range(8):
            for j in range(8):
                w = math.sin(math.pi * (i + 0.5) / 8) ** 2 * math.sin(math.pi * (j + 0.5) / 8) ** 2
                one = network(x[..., window.top : window.top + 8, window.left : window.left + 8], t)
                total[..., window.top + i, window.left + j] += w * one[..., i, j]
                weight[window.top + i, window.left + j] += w
    found = Windowed(network, windows)(x, t)
    assert torch.allclose(found, total / weight, atol=1e-5)
    assert not torch.allclose(found, network(x, t), atol=1e-3)


def test_each_window_has_its_own_vector_and_is_announced() -> None:
    windows = windows_of(8, 24, 8)
    told: list[float] = []
    said: list[Window | None] = []

    def network(x: Tensor, t: Tensor, context: object, vector: Tensor, **_: object) -> Tensor:
        told.append(float(vector))
        return x

    vectors = [torch.tensor(float(n)) for n in range(len(windows))]
    x = values(1, 1, 8, 24)
    Windowed(network, windows, vectors=vectors, watch=[said.append])(x, torch.zeros(1))
    assert told == [float(n) for n in range(len(windows))]
    assert said == [*windows, None]


def test_a_network_that_fails_leaves_no_window_behind() -> None:
    said: list[Window | None] = []

    def network(*_: object, **__: object) -> Tensor:
        raise RuntimeError("full")

    with pytest.raises(RuntimeError, match="full"):
        Windowed(network, windows_of(8, 24, 8), watch=[said.append])(
            values(1, 1, 8, 24), torch.zeros(1)
        )
    assert said[-1] is None


@pytest.mark.parametrize("level", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [(64, 64), (40, 17), (37, 50)])
def test_maps_of_every_level_are_put_together(level: int, size: tuple[int, int]) -> None:
    def at(size: tuple[int, int]) -> tuple[int, int]:
        for _ in range(level):
            size = ((size[0] + 1) // 2, (size[1] + 1) // 2)
        return size

    constant = Blended()
    for window in windows_of(*size, 16, 8):
        constant.add(window, torch.full((2, *at((window.height, window.width))), 3.0))
    assert constant.mean().shape == (2, *at(size))
    assert torch.allclose(constant.mean(), torch.tensor(3.0))


def test_maps_of_windows_on_the_grid_are_those_of_the_whole() -> None:
    whole, blended = values(3, 8, 8), Blended()
    for window in windows_of(32, 32, 16, 4):
        top, left = window.top // 4, window.left // 4
        blended.add(window, whole[:, top : top + 4, left : left + 4])
    assert torch.allclose(blended.mean(), whole, atol=1e-6)
