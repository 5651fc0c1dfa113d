"""Guidance by a loss: for Gaussian data, what a step should be is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sdwidgets.diffusion import SAMPLERS, classified, steered
from sdwidgets.diffusion.steering import LONGEST

pytestmark = pytest.mark.usefixtures("seeded")
VARIANCE = 0.25
GRID = [20.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.0]


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """The expected clean latents of data of mean 0 and ``VARIANCE``."""
    return x * VARIANCE / (VARIANCE + sigma**2)


def towards(target: float, precision: float) -> torch.nn.Module:
    """The slope of ``-log p(y | x0)`` of a measurement y of x0, with noise of that precision."""

    def slope(clean: Tensor) -> Tensor:
        return precision * (clean - target)

    return slope  # type: ignore[return-value]


@pytest.mark.parametrize("sigma", [0.05, 1.0, 50.0, 4096.0])
def test_a_step_is_the_covariance_of_what_is_possible_times_the_slope(sigma: float) -> None:
    x = sigma * torch.randn(2, 4, 3, 3)
    clean = gaussian(x, sigma)
    found = steered(gaussian, towards(0.1, 0.2), 1.0)(x, sigma)
    covariance = VARIANCE * sigma**2 / (VARIANCE + sigma**2)
    assert torch.allclose(found, clean - covariance * 0.2 * (clean - 0.1), rtol=1e-4, atol=1e-5)
    assert not found.requires_grad


@pytest.mark.parametrize("sigma", [0.05, 1.0, 50.0])
def test_without_the_network_the_variance_is_that_of_unit_latents(sigma: float) -> None:
    x = sigma * torch.randn(2, 4, 3, 3)
    clean = gaussian(x, sigma)
    found = steered(gaussian, towards(0.1, 0.2), 1.0, through=False)(x, sigma)
    expected = clean - sigma**2 / (1 + sigma**2) * 0.2 * (clean - 0.1)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_guidance_by_the_noisy_likelihood_is_the_posterior() -> None:
    """With ``log p(y | x)`` of a measurement, the expectation is that given y (Bayes)."""
    y, noise, sigma = 0.3, 0.5, 0.7
    x = sigma * torch.randn(1, 4, 8, 8)

    def slope(x: Tensor, sigma: float) -> Tensor:
        gain = VARIANCE / (VARIANCE + sigma**2)
        left = VARIANCE * sigma**2 / (VARIANCE + sigma**2)  # variance of x0 given x
        return gain * (gain * x - y) / (left + noise)

    precision = 1 / VARIANCE + 1 / sigma**2 + 1 / noise
    expected = (x / sigma**2 + y / noise) / precision
    assert torch.allclose(classified(gaussian, slope, 1.0)(x, sigma), expected, atol=1e-5)


def test_no_step_is_longer_than_what_is_possible() -> None:
    sigma, x = 3.0, torch.randn(2, 4, 3, 3)
    for through in (False, True):
        found = steered(gaussian, towards(5.0, 1.0), 1e9, through=through)(x, sigma)
        step = (found - gaussian(x, sigma)).square().mean((1, 2, 3)).sqrt()
        most = LONGEST * sigma / (1 + sigma**2) ** 0.5
        assert torch.allclose(step, torch.full((2,), most), rtol=1e-3)


def test_a_slope_of_zero_changes_nothing() -> None:
    x = torch.randn(1, 4, 3, 3)
    for through in (False, True):
        found = steered(gaussian, torch.zeros_like, 5.0, through=through)(x, 2.0)
        assert torch.allclose(found, gaussian(x, 2.0))


@pytest.mark.parametrize(
    "sampler", ["euler", "heun", "dpmpp_2m", "ddim", "euler_ancestral", "dpmpp_sde"]
)
@pytest.mark.parametrize("through", [True, False])
def test_every_sampler_is_steered(sampler: str, through: bool) -> None:
    start = GRID[0] * torch.randn(1, 4, 8, 8)
    noise = iter(torch.randn(200, 1, 4, 8, 8))
    means = []
    for denoise in (gaussian, steered(gaussian, towards(1.0, 2.0), 1.0, through=through)):
        draw = lambda: next(noise)  # noqa: E731
        *_, last = SAMPLERS[sampler](denoise, start, GRID, noise=draw)
        means.append(float(last.x_next.mean()))
    assert abs(means[0]) < 0.1 and 0.15 < means[1] < 1.0


def test_steering_works_in_inference_mode() -> None:
    with torch.inference_mode():
        x = torch.randn(1, 4, 3, 3)
        found = steered(gaussian, towards(0.1, 0.2), 1.0)(x, 1.0)
    assert torch.isfinite(found).all()
