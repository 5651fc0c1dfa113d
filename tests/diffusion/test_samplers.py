"""Samplers on Gaussian data, where the exact denoiser and the exact result are known."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from sdwidgets.diffusion import SAMPLERS, NoiseSchedule
from sdwidgets.diffusion.samplers import ddim, euler, euler_ancestral

MEAN, STD = 0.7, 0.5
SCHEDULE = NoiseSchedule.from_betas()


def exact(x: Tensor, sigma: float) -> Tensor:
    """E[x0 | x] of x0 ~ N(MEAN, STD^2), by Bayes."""
    return (STD**2 * x + sigma**2 * MEAN) / (STD**2 + sigma**2)


def solution(x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """Return where the flow takes x: its distance to the mean shrinks with the spread."""
    return MEAN + (x - MEAN) * math.sqrt((STD**2 + sigma_next**2) / (STD**2 + sigma**2))


def start(sigma: float, n: int = 3) -> Tensor:
    noise = torch.randn(1, 1, n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return MEAN + noise * math.sqrt(STD**2 + sigma**2)


def unit_noise(like: Tensor, seed: int = 1) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(like.shape, dtype=like.dtype, generator=generator)


def order(name: str, grid: str) -> float:
    """Return the order of convergence, from the errors with 40 and 160 steps."""
    errors = []
    for n in (40, 160):
        ends = (10.0, 0.1)
        if grid == "log":
            sigmas = torch.logspace(math.log10(ends[0]), math.log10(ends[1]), n + 1).double()
        else:
            roots = torch.linspace(ends[0] ** (1 / 7), ends[1] ** (1 / 7), n + 1).double()
            sigmas = roots**7
        x = start(float(sigmas[0]))
        *_, last = SAMPLERS[name](exact, x, sigmas)
        wanted = solution(x, float(sigmas[0]), float(sigmas[-1]))
        errors.append(float((last.x_next - wanted).abs().max()))
    return math.log(errors[0] / errors[1]) / math.log(4)


@pytest.mark.parametrize("grid", ["log", "karras"])
@pytest.mark.parametrize(
    ("name", "expected"), [("euler", 1), ("ddim", 1), ("heun", 2), ("dpmpp_2m", 2)]
)
def test_order_of_convergence(name: str, expected: int, grid: str) -> None:
    assert order(name, grid) == pytest.approx(expected, abs=0.15)


FEW_AND_MANY = (1, 2, 3, 4, 5, 7, 10, 15, 20, 33, 50, 101, 250)


@pytest.mark.parametrize("name", ["euler", "ddim", "heun", "dpmpp_2m"])
def test_by_default_more_steps_come_closer_from_the_first_on(name: str) -> None:
    top, errors = float(SCHEDULE.sigmas[-1]), []
    for n in FEW_AND_MANY:
        x = start(top)
        *_, last = SAMPLERS[name](exact, x, SCHEDULE.default(n))
        errors.append(float((last.x_next - solution(x, top, 0)).abs().max()))
    assert errors == sorted(errors, reverse=True)


def test_by_default_more_ancestral_steps_come_closer_to_the_datas_spread() -> None:
    errors = []
    for n in FEW_AND_MANY[:8]:
        x = start(float(SCHEDULE.sigmas[-1]), n=200)
        *_, last = euler_ancestral(exact, x, SCHEDULE.default(n), noise=unit_noise(x))
        errors.append(abs(float(last.x_next.std()) - STD))
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_single_step_is_the_networks_expectation_at_the_noisiest_level(name: str) -> None:
    x = start(float(SCHEDULE.sigmas[-1]))
    (step,) = SAMPLERS[name](exact, x, SCHEDULE.default(1), noise=unit_noise(x))
    assert torch.allclose(step.x_next, exact(x, float(SCHEDULE.sigmas[-1])))


@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_have_the_datas_mean_and_spread(name: str) -> None:
    sigmas = SCHEDULE.karras(200)
    x = start(float(sigmas[0]), n=100)
    *_, last = SAMPLERS[name](exact, x, sigmas, noise=unit_noise(x))
    assert float(last.x_next.mean()) == pytest.approx(MEAN, abs=0.03)
    assert float(last.x_next.std()) == pytest.approx(STD, rel=0.05)


@pytest.mark.parametrize("name", SAMPLERS)
def test_steps_are_linked_and_counted(name: str) -> None:
    sigmas = SCHEDULE.leading(6)
    x = start(float(sigmas[0]))
    steps = list(SAMPLERS[name](exact, x, sigmas, noise=unit_noise(x)))
    assert [step.index for step in steps] == list(range(6))
    assert steps[0].x is x
    assert all(step.x_next is after.x for step, after in pairwise(steps))
    assert [step.sigma for step in steps] + [steps[-1].sigma_next] == sigmas.tolist()


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_last_step_to_zero_ends_at_the_denoised(name: str) -> None:
    x = start(5.0)
    *_, last = SAMPLERS[name](exact, x, [5.0, 1.0, 0.0], noise=unit_noise(x))
    assert torch.allclose(last.x_next, last.denoised)


@pytest.mark.parametrize("name", SAMPLERS)
def test_nothing_given_is_written_to(name: str) -> None:
    x = start(5.0)
    before = x.clone()
    list(SAMPLERS[name](exact, x, [5.0, 1.0, 0.0], noise=unit_noise(x)))
    assert torch.equal(x, before)


def test_ddim_without_noise_is_euler() -> None:
    x, sigmas = start(5.0), [5.0, 2.0, 1.0, 0.0]
    for one, other in zip(ddim(exact, x, sigmas), euler(exact, x, sigmas), strict=True):
        assert torch.equal(one.x_next, other.x_next)


def test_ddim_with_all_noise_is_euler_ancestral() -> None:
    x, sigmas = start(5.0), [5.0, 2.0, 1.0, 0.0]
    ones = ddim(exact, x, sigmas, noise=unit_noise(x), eta=1.0)
    for one, other in zip(
        ones, euler_ancestral(exact, x, sigmas, noise=unit_noise(x)), strict=True
    ):
        assert torch.equal(one.x_next, other.x_next)


@pytest.mark.parametrize(
    ("name", "calls"), [("euler", 5), ("ddim", 5), ("dpmpp_2m", 5), ("heun", 9)]
)
def test_calls_of_the_network(name: str, calls: int) -> None:
    seen = []

    def counted(x: Tensor, sigma: float) -> Tensor:
        seen.append(sigma)
        return exact(x, sigma)

    list(SAMPLERS[name](counted, start(14.0), SCHEDULE.karras(5)))
    assert len(seen) == calls


def test_gradients_are_off_inside_and_as_they_were_outside() -> None:
    inside = []

    def looked(x: Tensor, sigma: float) -> Tensor:
        inside.append(torch.is_grad_enabled())
        return exact(x, sigma)

    for name in SAMPLERS:
        x = start(5.0)
        for _ in SAMPLERS[name](looked, x, [5.0, 1.0, 0.0], noise=unit_noise(x)):
            assert torch.is_grad_enabled()
    assert not any(inside)


@pytest.mark.parametrize("sigmas", [[], [1.0], [1.0, 2.0], [1.0, 1.0, 0.0], [1.0, -1.0]])
def test_a_grid_that_does_not_descend_is_refused(sigmas: list[float]) -> None:
    with pytest.raises(ValueError, match="descend"):
        list(euler(exact, start(1.0), sigmas))


def test_a_sampler_that_needs_noise_says_so() -> None:
    with pytest.raises(ValueError, match="noise"):
        list(euler_ancestral(exact, start(1.0), [1.0, 0.5, 0.0]))
