from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import beta

from sdwidgets.diffusion import SCHEDULES, NoiseSchedule
from sdwidgets.diffusion.schedule import SPACINGS
from sdwidgets.sampling import default_schedule


@pytest.fixture(scope="module")
def schedule() -> NoiseSchedule:
    return NoiseSchedule.from_betas()


def test_stable_diffusions_range_of_noise(schedule: NoiseSchedule) -> None:
    # 0.0292 and 14.6146, as in k-diffusion and in every guide to Stable Diffusion
    assert float(schedule.sigmas[0]) == pytest.approx(0.0292, abs=1e-4)
    assert float(schedule.sigmas[-1]) == pytest.approx(14.6146, abs=1e-4)


def test_sigma_is_the_ratio_of_noise_to_picture(schedule: NoiseSchedule) -> None:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    abar = torch.cumprod(1 - betas, 0)[500]
    assert schedule.sigma(500) == pytest.approx(float(((1 - abar) / abar).sqrt()), rel=1e-12)


def test_linear_betas_are_those_of_ddpm() -> None:
    schedule = NoiseSchedule.from_betas(1000, 1e-4, 0.02, "linear")
    assert float(schedule.sigmas[0]) == pytest.approx(math.sqrt(1e-4 / (1 - 1e-4)), rel=1e-9)


def test_zero_snr_ends_in_pure_noise_and_begins_as_before(schedule: NoiseSchedule) -> None:
    rescaled = NoiseSchedule.from_betas(zero_snr=True)
    roots = 1 / (1 + schedule.sigmas**2).sqrt()  # of abar
    wanted = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])  # arXiv 2305.08891, alg. 1
    found = 1 / (1 + rescaled.sigmas**2).sqrt()
    assert torch.allclose(found[:-1], wanted[:-1], rtol=1e-9)
    assert float(rescaled.sigmas[-1]) == pytest.approx(4096, rel=1e-6)
    assert float(rescaled.default(5)[0]) == pytest.approx(4096, rel=1e-6)


def test_t_inverts_sigma(schedule: NoiseSchedule) -> None:
    for t in (0, 0.5, 17.25, 500, 999):
        assert schedule.t(schedule.sigma(t)) == pytest.approx(t, abs=1e-9)


def test_t_is_clamped_to_what_was_trained(schedule: NoiseSchedule) -> None:
    assert schedule.t(0.0) == schedule.t(1e-9) == 0
    assert schedule.t(1e9) == 999


def test_tensors_come_back_in_float32_and_in_shape(schedule: NoiseSchedule) -> None:
    t = torch.tensor([[0, 10], [500, 999]])
    sigma = schedule.sigma(t)
    assert sigma.dtype == torch.float32 and sigma.shape == t.shape
    assert torch.equal(schedule.t(sigma).round().long(), t)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("n", [1, 2, 7, 20, 999, 1000])
def test_every_grid_descends_from_within_the_range(
    schedule: NoiseSchedule, name: str, n: int
) -> None:
    grid = SCHEDULES[name](schedule, n)
    assert grid.shape == (n + 1,) and grid.dtype == torch.float64
    assert (grid.diff() < 0).all()
    assert grid[0] <= schedule.sigmas[-1] and grid[-1] >= 0


FROM_BELOW = ("config", "ddim", "dpmsolver")
"""The grids that exist to be like other programs, and begin below the noisiest level."""
FROM_THE_TOP = sorted(set(SCHEDULES) - set(FROM_BELOW))


@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize("name", SCHEDULES)
def test_no_grid_of_any_length_has_a_level_twice(name: str, zero_snr: bool) -> None:
    for steps in (2, 3, 50, 1000):
        schedule = NoiseSchedule.from_betas(steps, zero_snr=zero_snr)
        for n in range(1, steps + 1):
            grid = SCHEDULES[name](schedule, n)
            assert len(grid) == n + 1 and bool((grid.diff() < 0).all()), (steps, n)
            # nor two that are the same to the network
            assert bool((grid[1:-1] < grid[:-2] * (1 - 1e-5)).all()), (steps, n)


@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize("name", FROM_THE_TOP)
def test_a_run_of_any_length_begins_at_the_noisiest_level(name: str, zero_snr: bool) -> None:
    schedule = NoiseSchedule.from_betas(zero_snr=zero_snr)
    first = [float(SCHEDULES[name](schedule, n)[0]) for n in range(1, 1001)]
    assert first == pytest.approx([float(schedule.sigmas[-1])] * 1000, rel=1e-9)


@pytest.mark.parametrize("name", sorted(set(SCHEDULES) - {"ddim"}))
def test_grids_end_without_noise(schedule: NoiseSchedule, name: str) -> None:
    assert SCHEDULES[name](schedule, 20)[-1] == 0


def test_ddim_ends_at_the_first_training_step(schedule: NoiseSchedule) -> None:
    assert schedule.ddim(20)[-1] == schedule.sigmas[0]
    assert torch.equal(schedule.ddim(20)[:-1], schedule.leading(20)[:-1])


def test_the_default_grid_is_stable_diffusions(schedule: NoiseSchedule) -> None:
    visited = [schedule.t(float(sigma)) for sigma in schedule.leading(4)[:-1]]
    assert visited == pytest.approx([751, 501, 251, 1], abs=1e-9)


@pytest.mark.parametrize(
    ("spacing", "grid"),
    [
        ("leading", "leading"),
        ("trailing", "trailing"),
        ("linspace", "uniform"),
        ("karras", "karras"),
        ("exponential", "exponential"),
        ("beta", "beta_sigmas"),
        ("lcm", "lcm"),
    ],
)
def test_the_grid_of_a_config_is_the_one_that_it_names(spacing: str, grid: str) -> None:
    schedule = NoiseSchedule.from_betas(spacing=spacing)
    assert torch.equal(SCHEDULES["config"](schedule, 7), getattr(schedule, grid)(7))


@pytest.mark.parametrize("spacing", SPACINGS)
def test_by_default_every_number_of_steps_begins_at_the_noisiest_level(spacing: str) -> None:
    schedule = NoiseSchedule.from_betas(spacing=spacing)
    first = [float(schedule.default(n)[0]) for n in range(1, 1001)]
    assert first == pytest.approx([float(schedule.sigmas[-1])] * 1000, rel=1e-9)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_what_default_means_is_the_same_without_torch(spacing: str) -> None:
    schedule = NoiseSchedule.from_betas(spacing=spacing)
    for n in (1, 2, 9, 501):
        named = SCHEDULES[default_schedule(spacing)](schedule, n)
        assert torch.equal(SCHEDULES["default"](schedule, n), named)


@pytest.mark.parametrize("offset", [0, 3, 999])
@pytest.mark.parametrize("n", [4, 999, 1000])
def test_the_offset_is_where_leading_begins_within_the_range(offset: int, n: int) -> None:
    schedule = NoiseSchedule.from_betas(offset=offset)
    visited = [schedule.t(float(sigma)) for sigma in schedule.leading(n)[:-1]]
    first = min(offset, 999 - (n - 1) * (1000 // n))
    assert visited[-1] == pytest.approx(first, abs=1e-9)


@pytest.mark.parametrize("own", [{"spacing": "evenly"}, {"offset": -1}, {"offset": 1000}])
def test_a_grid_of_its_own_must_be_one(own: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(own))):
        NoiseSchedule.from_betas(**own)


def test_karras_is_even_in_the_seventh_root(schedule: NoiseSchedule) -> None:
    roots = schedule.karras(9)[:-1] ** (1 / 7)
    assert torch.allclose(roots.diff(), roots.diff()[0], rtol=1e-9)


def test_exponential_is_even_in_the_logarithm(schedule: NoiseSchedule) -> None:
    logs = schedule.exponential(9)[:-1].log()
    assert torch.allclose(logs.diff(), logs.diff()[0], rtol=1e-9)


def steps_of(schedule: NoiseSchedule, grid: torch.Tensor) -> list[float]:
    return [schedule.t(float(sigma)) for sigma in grid[:-1]]


def test_simple_takes_every_so_manyth_level_from_the_top(schedule: NoiseSchedule) -> None:
    assert steps_of(schedule, schedule.simple(4)) == pytest.approx([999, 749, 499, 249])
    # ComfyUI: -(1 + int(x * T / n))
    assert steps_of(schedule, schedule.simple(3)) == pytest.approx([999, 666, 333])
    assert steps_of(schedule, schedule.simple(1000)) == pytest.approx([*range(999, -1, -1)])


def test_sgm_uniform_stops_short_of_the_first_training_step(schedule: NoiseSchedule) -> None:
    evenly = np.linspace(999, 0, 8)[:-1]
    assert steps_of(schedule, schedule.sgm_uniform(7)) == pytest.approx(evenly.tolist())


def test_lcm_chooses_among_the_fifty_steps_of_its_teacher(schedule: NoiseSchedule) -> None:
    assert steps_of(schedule, schedule.lcm(4)) == pytest.approx([999, 759, 499, 259])
    assert steps_of(schedule, schedule.lcm(50)) == pytest.approx([*range(999, -1, -20)])
    assert torch.equal(schedule.lcm(51), schedule.trailing(51))


@pytest.mark.parametrize("n", [1, 2, 3, 10, 37, 500, 1000])
def test_beta_is_at_scipys_quantiles_of_the_steps(schedule: NoiseSchedule, n: int) -> None:
    expected = 999 * beta.ppf(1 - np.arange(n) / n, 0.6, 0.6)
    assert steps_of(schedule, schedule.beta(n)) == pytest.approx(expected.tolist(), abs=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 37, 1000])
def test_the_beta_of_configs_is_at_scipys_quantiles_of_the_levels(
    schedule: NoiseSchedule, n: int
) -> None:
    low, high = float(schedule.sigmas[0]), float(schedule.sigmas[-1])
    expected = low + (high - low) * beta.ppf(np.linspace(1, 0, n), 0.6, 0.6)
    assert schedule.beta_sigmas(n)[:-1].tolist() == pytest.approx(expected.tolist(), rel=1e-12)


@pytest.mark.parametrize("n", [0, -1, 1001])
def test_a_grid_of_impossible_length_is_refused(schedule: NoiseSchedule, n: int) -> None:
    for grid in SCHEDULES.values():
        with pytest.raises(ValueError, match="steps"):
            grid(schedule, n)


@pytest.mark.parametrize(
    "sigmas", [[1.0], [2.0, 1.0], [0.0, 1.0], [1.0, float("inf")], [1.0, float("nan")]]
)
def test_sigmas_must_ascend_and_be_finite(sigmas: list[float]) -> None:
    with pytest.raises(ValueError):
        NoiseSchedule(torch.tensor(sigmas, dtype=torch.float64))
