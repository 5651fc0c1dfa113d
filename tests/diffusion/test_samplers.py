"""Samplers on data whose exact denoiser and exact result are known."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from itertools import islice, pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from sdwidgets.diffusion import SAMPLERS, SCHEDULES, NoiseSchedule, Step, inpainting
from sdwidgets.diffusion.samplers import ddim, euler, euler_ancestral, lcm, tcd

MEAN, STD = 0.7, 0.5
SCHEDULE = NoiseSchedule.from_betas()
PURE = NoiseSchedule.from_betas(zero_snr=True)  # begins at sigma 4096

NO_NOISE = ("ddim", "plms", "euler", "heun", "dpm2", "lms", "dpmpp_2m", "unipc")
FRESH_NOISE = (
    "ddpm", "euler_ancestral", "dpm2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde", "dpmpp_2m_sde",
    "dpmpp_3m_sde",
)  # fmt: skip
SOLVERS = (*NO_NOISE, *FRESH_NOISE)


def exact(x: Tensor, sigma: float) -> Tensor:
    """E[x0 | x] of x0 ~ N(MEAN, STD^2), by Bayes."""
    return (STD**2 * x + sigma**2 * MEAN) / (STD**2 + sigma**2)


exact.schedule = SCHEDULE  # type: ignore[attr-defined]


def solution(x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """Return where the flow takes x: its distance to the mean shrinks with the spread."""
    return MEAN + (x - MEAN) * math.sqrt((STD**2 + sigma_next**2) / (STD**2 + sigma**2))


def two_modes(x: Tensor, sigma: float) -> Tensor:
    """E[x0 | x] of x0 from N(-1, 0.2^2) in 3 of 10 cases, else from N(0.6, 0.2^2)."""
    means, shares = x.new_tensor([-1.0, 0.6]), x.new_tensor([0.3, 0.7])
    variance = 0.2**2 + sigma**2
    logs = shares.log() - (x[..., None] - means) ** 2 / (2 * variance)
    expected = (0.2**2 * x[..., None] + sigma**2 * means) / variance
    return (torch.softmax(logs, -1) * expected).sum(-1)


def runge_kutta(x: Tensor, sigma: float, sigma_next: float, steps: int = 1000) -> Tensor:
    """Return where the flow of `two_modes` takes x, by another method, in log(sigma)."""

    def slope(x: Tensor, log: float) -> Tensor:
        return x - two_modes(x, math.exp(log))

    log, h = math.log(sigma), math.log(sigma_next / sigma) / steps
    for _ in range(steps):
        k1 = slope(x, log)
        k2 = slope(x + h / 2 * k1, log + h / 2)
        k3 = slope(x + h / 2 * k2, log + h / 2)
        k4 = slope(x + h * k3, log + h)
        x, log = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), log + h
    return x


def start(sigma: float, n: int = 3) -> Tensor:
    noise = torch.randn(1, 1, n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return MEAN + noise * math.sqrt(STD**2 + sigma**2)


def unit_noise(like: Tensor, seed: int = 1) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(like.shape, dtype=like.dtype, generator=generator)


def last_of(name: str, denoise: Any, x: Tensor, sigmas: Any, **options: Any) -> Tensor:
    *_, last = SAMPLERS[name](denoise, x, sigmas, **options)
    return last.x_next


def no_noise(name: str) -> dict[str, float]:
    """The options that make a sampler deterministic."""
    return {"eta": 0.0} if "eta" in inspect.signature(SAMPLERS[name]).parameters else {}


# -- orders -----------------------------------------------------------------------------------


def levels(grid: str, n: int, top: float = 10.0, bottom: float = 0.1) -> Tensor:
    """``n + 1`` levels: even in log(sigma), in sigma^(1/7), or in sigma."""
    if grid == "log":
        return torch.logspace(math.log10(top), math.log10(bottom), n + 1, dtype=torch.float64)
    power = {"karras": 7, "even": 1}[grid]
    ends = top ** (1 / power), bottom ** (1 / power)
    return torch.linspace(*ends, n + 1, dtype=torch.float64) ** power


def measured_order(error: Callable[[int], float], few: int, many: int) -> float:
    return math.log(error(few) / error(many)) / math.log(many / few)


ORDERS = {
    "euler": 1, "ddim": 1, "ddpm": 1, "euler_ancestral": 1, "tcd": 1,
    "heun": 2, "dpm2": 2, "plms": 2, "dpmpp_2m": 2,
    "dpm2_ancestral": 2, "dpmpp_2s_ancestral": 2, "dpmpp_sde": 2, "dpmpp_2m_sde": 2,
    "dpmpp_3m_sde": 2, "unipc": 3,
}  # fmt: skip


@pytest.mark.parametrize("grid", ["log", "karras"])
@pytest.mark.parametrize(("name", "expected"), ORDERS.items())
def test_order_of_convergence_without_noise(name: str, expected: int, grid: str) -> None:
    x = start(10.0)

    def error(n: int) -> float:
        ended = last_of(name, exact, x, levels(grid, n), **no_noise(name))
        return float((ended - solution(x, 10.0, 0.1)).abs().max())

    assert measured_order(error, 80, 320) == pytest.approx(expected, abs=0.15)


@pytest.fixture(scope="module")
def parted() -> tuple[Tensor, Tensor]:
    """Latents at sigma 10, and where the flow of `two_modes` takes them at 0.1."""
    x = torch.linspace(-12, 12, 16, dtype=torch.float64)
    return x, runge_kutta(x, 10.0, 0.1)


@pytest.mark.parametrize(("name", "expected"), ORDERS.items())
def test_order_of_convergence_where_the_flow_parts(
    name: str, expected: int, parted: tuple[Tensor, Tensor]
) -> None:
    x, wanted = parted

    def error(n: int) -> float:
        ended = last_of(name, two_modes, x, levels("log", n), **no_noise(name))
        return float((ended - wanted).abs().max())

    assert measured_order(error, 160, 320) == pytest.approx(expected, abs=0.2)


@pytest.mark.parametrize(
    ("name", "grid", "expected"),
    [
        ("lms", "log", 4),
        ("lms", "karras", 4),
        ("plms", "even", 4),  # its weights are those of even steps
        ("plms", "log", 2),
        ("dpmpp_3m_sde", "log", 2),  # as published, the curvature counts half
    ],
)
def test_order_of_convergence_once_there_is_a_past(name: str, grid: str, expected: int) -> None:
    first = start(4.0)

    def error(n: int) -> float:
        sigmas = levels(grid, n, 4.0, 1.0).tolist()
        xs = [solution(first, 4.0, sigma) for sigma in sigmas[:4]]
        past = [
            Step(i, sigmas[i], xs[i], exact(xs[i], sigmas[i]), sigmas[i + 1], xs[i + 1])
            for i in range(3)
        ]
        ended = last_of(name, exact, xs[3], sigmas[3:], before=past, **no_noise(name))
        return float((ended - solution(first, 4.0, 1.0)).abs().max())

    assert measured_order(error, 40, 160) == pytest.approx(expected, abs=0.3)


def test_lms_begins_with_lower_orders_and_is_hardly_worse_for_it() -> None:
    x = start(10.0)

    def error(n: int) -> float:
        ended = last_of("lms", exact, x, levels("log", n))
        return float((ended - solution(x, 10.0, 0.1)).abs().max())

    assert measured_order(error, 40, 80) > 3
    assert measured_order(error, 640, 1280) < 2.7  # that of its first step


# -- moments ----------------------------------------------------------------------------------


def moments(name: str, sigmas: Sequence[float], **options: Any) -> tuple[float, float]:
    """Return the exact mean and deviation of where a sampler ends, over all noise.

    On Gaussian data a sampler is an affine map of the noise that it starts from and that it draws.
    So latents are vectors of coefficients: of 1, of the first noise, and of each noise drawn.
    """
    count = 2 + 2 * len(sigmas)
    one = torch.eye(count, dtype=torch.float64)
    drawn = iter(one[2:])

    def denoise(x: Tensor, sigma: float) -> Tensor:
        return (STD**2 * x + sigma**2 * MEAN * one[0]) / (STD**2 + sigma**2)

    denoise.schedule = SCHEDULE  # type: ignore[attr-defined]
    x = MEAN * one[0] + math.sqrt(STD**2 + sigmas[0] ** 2) * one[1]
    ended = last_of(name, denoise, x, sigmas, noise=lambda: next(drawn), **options)
    return float(ended[0]), float(ended[1:].norm())


WEAK_ORDERS = {
    "ddim": 1, "ddpm": 1, "euler_ancestral": 1, "dpm2_ancestral": 2, "dpmpp_2s_ancestral": 2,
    "dpmpp_sde": 2, "dpmpp_2m_sde": 2, "dpmpp_3m_sde": 2,
}  # fmt: skip


@pytest.mark.parametrize("eta", [0.5, 1.0])
@pytest.mark.parametrize("grid", ["log", "karras"])
@pytest.mark.parametrize(("name", "expected"), WEAK_ORDERS.items())
def test_halving_the_steps_brings_the_moments_nearer(
    name: str, expected: int, grid: str, eta: float
) -> None:
    wanted, errors = math.sqrt(STD**2 + 0.1**2), []
    for n in (20, 40, 80, 160, 320):
        mean, deviation = moments(name, levels(grid, n).tolist(), eta=eta)
        assert mean == pytest.approx(MEAN, abs=1e-12)
        errors.append(abs(deviation - wanted))
    assert errors == sorted(errors, reverse=True)
    assert math.log2(errors[-2] / errors[-1]) == pytest.approx(expected, abs=0.15)


@pytest.mark.parametrize(("name", "expected"), [("euler", 1), ("heun", 2), ("dpm2", 2)])
def test_churn_keeps_the_moments(name: str, expected: int) -> None:
    errors = []
    for n in (40, 80, 160):
        mean, deviation = moments(name, levels("log", n).tolist(), s_churn=10.0)
        assert mean == pytest.approx(MEAN, abs=1e-12)
        errors.append(abs(deviation - math.sqrt(STD**2 + 0.1**2)))
    assert errors == sorted(errors, reverse=True)
    assert math.log2(errors[-2] / errors[-1]) == pytest.approx(expected, abs=0.4)


@pytest.mark.parametrize("name", SOLVERS)
def test_samples_have_the_datas_mean_and_spread(name: str) -> None:
    sigmas = SCHEDULE.karras(200)
    x = start(float(sigmas[0]), n=100)
    ended = last_of(name, exact, x, sigmas, noise=unit_noise(x))
    assert float(ended.mean()) == pytest.approx(MEAN, abs=0.03)
    assert float(ended.std()) == pytest.approx(STD, rel=0.05)


def of_a_point(x: Tensor, sigma: float) -> Tensor:
    """E[x0 | x] where all data are MEAN: then x is MEAN and noise of deviation sigma."""
    return torch.full_like(x, MEAN)


of_a_point.schedule = SCHEDULE  # type: ignore[attr-defined]


@pytest.mark.parametrize("options", [{}, {"eta": 0.6}, {"s_churn": 30.0}], ids=str)
@pytest.mark.parametrize("name", SAMPLERS)
def test_noise_always_has_the_deviation_that_its_level_says(
    name: str, options: dict[str, float]
) -> None:
    if not options.keys() <= inspect.signature(SAMPLERS[name]).parameters.keys():
        pytest.skip("not an option of this sampler")
    sigmas = SCHEDULE.karras(6)
    x = MEAN + start(0.0, n=300).sub(MEAN).div(STD) * float(sigmas[0])
    for step in SAMPLERS[name](of_a_point, x, sigmas, noise=unit_noise(x), **options):
        assert float((step.x_next - MEAN).std()) == pytest.approx(step.sigma_next, rel=0.02)


@pytest.mark.parametrize("name", SAMPLERS)
def test_s_noise_is_the_deviation_of_the_noise_that_is_added(name: str) -> None:
    if "s_noise" not in inspect.signature(SAMPLERS[name]).parameters:
        pytest.skip("not an option of this sampler")
    churn = {"s_churn": 40.0} if name in NO_NOISE else {}
    x, sigmas = start(8.0), [8.0, 2.0, 1.0]
    noises = {
        s_noise: last_of(name, of_a_point, x, sigmas, noise=unit_noise(x), s_noise=s_noise, **churn)
        for s_noise in (0.0, 1.0, 2.0)
    }
    assert not torch.allclose(noises[0.0], noises[1.0])
    torch.testing.assert_close(noises[2.0] - noises[1.0], noises[1.0] - noises[0.0])


def where_the_flow_ends(x: Tensor, sigma: float) -> Tensor:
    """What a distilled network expects: the flow's end, not the mean over all images."""
    return solution(x, sigma, 0.0)


where_the_flow_ends.schedule = SCHEDULE  # type: ignore[attr-defined]


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize(("name", "options"), [("lcm", {}), ("tcd", {"eta": 1.0})])
def test_distilled_models_end_in_the_data_with_any_number_of_steps(
    name: str, options: dict[str, float], n: int
) -> None:
    sigmas = SCHEDULE.trailing(n)
    x = start(float(sigmas[0]), n=300)
    ended = last_of(name, where_the_flow_ends, x, sigmas, noise=unit_noise(x), **options)
    assert float(ended.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(ended.std()) == pytest.approx(STD, rel=0.04)


# -- with and without noise -------------------------------------------------------------------


def dpmpp_3m(x: Tensor, sigmas: Sequence[float]) -> Tensor:
    """DPM-Solver++(3M) without noise, in the paper's symbols (arXiv 2211.01095, appendix B)."""
    lam = [-math.log(sigma) for sigma in sigmas]
    made: list[Tensor] = []
    for i, h in enumerate(b - a for a, b in pairwise(lam)):
        made.append(exact(x, sigmas[i]))
        phi_1, phi_2 = math.expm1(-h), math.expm1(-h) / h + 1
        phi_3 = phi_2 / h - 0.5
        x = sigmas[i + 1] / sigmas[i] * x - phi_1 * made[i]
        if i == 1:
            x = x + phi_2 * (made[1] - made[0]) * h / (lam[1] - lam[0])
        elif i > 1:
            r_0, r_1 = (lam[i] - lam[i - 1]) / h, (lam[i - 1] - lam[i - 2]) / h
            d_0, d_1 = (made[i] - made[i - 1]) / r_0, (made[i - 1] - made[i - 2]) / r_1
            x = x + phi_2 * (d_0 + r_0 / (r_0 + r_1) * (d_0 - d_1))
            x = x - phi_3 * (d_0 - d_1) / (r_0 + r_1)
    return x


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("ddim", "euler"),
        ("ddpm", "euler"),
        ("euler_ancestral", "euler"),
        ("tcd", "euler"),
        ("dpm2_ancestral", "dpm2"),
        ("dpmpp_sde", "dpmpp_2s_ancestral"),
        ("dpmpp_2m_sde", "dpmpp_2m"),
    ],
)
@pytest.mark.parametrize("end", [0.0, 0.1])
def test_eta_0_is_the_sampler_without_noise(name: str, other: str, end: float) -> None:
    x, sigmas = start(5.0), [5.0, 2.0, 1.0, 0.4, end]
    steps = SAMPLERS[name](exact, x, sigmas, eta=0.0)
    for mine, wanted in zip(
        steps, SAMPLERS[other](exact, x, sigmas, **no_noise(other)), strict=True
    ):
        torch.testing.assert_close(mine.x_next, wanted.x_next, rtol=1e-12, atol=1e-12)


def test_dpmpp_3m_sde_with_eta_0_is_dpmpp_3m() -> None:
    x, sigmas = start(5.0), [5.0, 2.0, 1.0, 0.4, 0.1]
    mine = last_of("dpmpp_3m_sde", exact, x, sigmas, eta=0.0)
    torch.testing.assert_close(mine, dpmpp_3m(x, sigmas), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["ddpm", "euler_ancestral"])
def test_ddim_with_all_noise_is(name: str) -> None:
    x, sigmas = start(5.0), [5.0, 2.0, 1.0, 0.0]
    ones = ddim(exact, x, sigmas, noise=unit_noise(x), eta=1.0)
    others = SAMPLERS[name](exact, x, sigmas, noise=unit_noise(x))
    for one, other in zip(ones, others, strict=True):
        assert torch.equal(one.x_next, other.x_next)


def test_ddpm_draws_from_the_posterior() -> None:
    x, sigma, sigma_next = start(5.0), 5.0, 2.0
    z = unit_noise(x)()
    (step,) = SAMPLERS["ddpm"](exact, x, [sigma, sigma_next], noise=lambda: z.clone())
    # q(x_next | x, x0) of two Gaussians: precisions add
    forward, prior = 1 / (sigma**2 - sigma_next**2), 1 / sigma_next**2
    variance = 1 / (forward + prior)
    mean = variance * (forward * x + prior * exact(x, sigma))
    torch.testing.assert_close(step.x_next, mean + math.sqrt(variance) * z)


def test_tcd_with_all_noise_is_nearly_lcm() -> None:
    x, sigmas = start(14.0), [14.0, 4.0, 1.6, 0.7, 0.0]
    fresh, kept = lcm, tcd
    ones = fresh(exact, x, sigmas, noise=unit_noise(x))
    others = kept(exact, x, sigmas, noise=unit_noise(x), eta=1.0)
    for one, other in zip(ones, others, strict=True):  # the noise of training step 0 is kept
        assert float((one.x_next - other.x_next).abs().max()) < 4 * float(SCHEDULE.sigmas[0])


def test_tcd_needs_the_training_steps_and_finds_them_under_a_mask() -> None:
    x, sigmas = start(5.0), [5.0, 2.0, 0.0]
    with pytest.raises(ValueError, match="schedule"):
        list(tcd(two_modes, x, sigmas, noise=unit_noise(x)))
    mask = torch.ones(1, 1, 3, 3)
    masked = inpainting(exact, x, x, mask, sigmas)
    ended = last_of("tcd", masked, x, sigmas, noise=unit_noise(x))
    assert torch.equal(ended, last_of("tcd", exact, x, sigmas, noise=unit_noise(x)))


def test_churn_never_goes_above_the_level_at_which_the_run_began() -> None:
    for name in ("euler", "heun", "dpm2"):
        x, seen = start(5.0), []

        def looked(x: Tensor, sigma: float, seen: list[float] = seen) -> Tensor:
            seen.append(sigma)
            return exact(x, sigma)

        list(SAMPLERS[name](looked, x, [5.0, 4.5, 1.0, 0.0], noise=unit_noise(x), s_churn=100.0))
        assert seen[0] == max(seen) == 5.0
        assert math.sqrt(2) in [pytest.approx(level) for level in seen]


# -- few steps and many -----------------------------------------------------------------------

FEW_AND_MANY = (1, 2, 3, 4, 5, 7, 10, 15, 20, 33, 50, 101, 250)
# Multistep methods in sigma follow polynomials, which come near and go away again with few steps.
STEADY_FROM = {"plms": 4, "lms": 20}


@pytest.mark.parametrize("schedule", [SCHEDULE, PURE], ids=["usual", "from pure noise"])
@pytest.mark.parametrize("name", SOLVERS)
def test_by_default_more_steps_come_closer_from_the_first_on(
    name: str, schedule: NoiseSchedule
) -> None:
    top, errors = float(schedule.sigmas[-1]), []
    x = start(top)
    for n in FEW_AND_MANY:
        ended = last_of(name, exact, x, schedule.default(n), **no_noise(name))
        errors.append(float((ended - solution(x, top, 0)).abs().max()))
    steady = [
        error
        for n, error in zip(FEW_AND_MANY, errors, strict=True)
        if n >= STEADY_FROM.get(name, 1)
    ]
    assert steady == sorted(steady, reverse=True)
    assert max(errors) == errors[0]  # no number of steps is worse than a single one


@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize("grid", sorted(set(SCHEDULES) - {"config", "ddim", "dpmsolver"}))
def test_more_steps_of_a_grid_never_end_further_from_the_solution(
    grid: str, zero_snr: bool
) -> None:
    schedule = NoiseSchedule.from_betas(zero_snr=zero_snr)
    top, errors = float(schedule.sigmas[-1]), []
    for n in FEW_AND_MANY:
        x = start(top)
        *_, last = euler(exact, x, SCHEDULES[grid](schedule, n))
        errors.append(float((last.x_next - solution(x, top, 0)).abs().max()))
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("schedule", [SCHEDULE, PURE], ids=["usual", "from pure noise"])
@pytest.mark.parametrize("name", FRESH_NOISE)
def test_by_default_more_steps_come_closer_to_the_datas_spread(
    name: str, schedule: NoiseSchedule
) -> None:
    errors = []
    for n in FEW_AND_MANY:
        mean, deviation = moments(name, schedule.default(n).tolist())
        assert mean == pytest.approx(MEAN, abs=1e-6)
        errors.append(abs(deviation - STD))
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("grid", ["default", "karras", "uniform", "trailing", "config"])
@pytest.mark.parametrize("schedule", [SCHEDULE, PURE], ids=["usual", "from pure noise"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_single_step_is_what_the_network_expects(
    name: str, schedule: NoiseSchedule, grid: str
) -> None:
    sigmas = getattr(schedule, grid)(1)
    x = start(float(sigmas[0]))
    (step,) = SAMPLERS[name](exact, x, sigmas, noise=unit_noise(x))
    assert torch.allclose(step.x_next, exact(x, float(sigmas[0])))


@pytest.mark.parametrize("grid", ["default", "karras"])
@pytest.mark.parametrize("schedule", [SCHEDULE, PURE], ids=["usual", "from pure noise"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_few_steps_are_no_noise(name: str, schedule: NoiseSchedule, grid: str) -> None:
    for n in (2, 3, 4, 5):
        sigmas = getattr(schedule, grid)(n)
        x = start(float(sigmas[0]), n=30)
        ended = last_of(name, exact, x, sigmas, noise=unit_noise(x))
        assert float((ended - MEAN).square().mean().sqrt()) < 4 * STD


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_grid_may_end_above_0(name: str, n: int) -> None:
    sigmas = [5.0, 3.0, 1.5, 0.8, 0.4][: n + 1]
    x = start(5.0, n=200)
    steps = list(SAMPLERS[name](exact, x, sigmas, noise=unit_noise(x)))
    assert [step.sigma_next for step in steps] == sigmas[1:]
    wanted = math.sqrt(STD**2 + sigmas[-1] ** 2)
    assert float(steps[-1].x_next.std()) == pytest.approx(wanted, rel=0.4)


# -- what holds for every sampler -------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLERS)
def test_steps_are_linked_and_counted(name: str) -> None:
    sigmas = SCHEDULE.leading(6)
    x = start(float(sigmas[0]))
    steps = list(SAMPLERS[name](exact, x, sigmas, noise=unit_noise(x)))
    assert [step.index for step in steps] == list(range(6))
    assert steps[0].x is x
    assert all(step.x_next is after.x for step, after in pairwise(steps))
    assert [step.sigma for step in steps] + [steps[-1].sigma_next] == sigmas.tolist()


VARIANTS = [
    *((name, {}) for name in SAMPLERS),
    ("ddim", {"eta": 0.7}),
    ("euler", {"s_churn": 5.0}),
    ("heun", {"s_churn": 5.0}),
    ("dpm2", {"s_churn": 5.0, "s_noise": 1.01}),
    ("dpmpp_3m_sde", {"eta": 0.3, "s_noise": 0.9}),
]


@pytest.mark.parametrize("end", [0.0, 0.05])
@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_a_sampler_that_was_stopped_goes_on_to_the_bit(
    name: str, options: dict[str, float], end: float
) -> None:
    sigmas = [*SCHEDULE.karras(7).tolist()[:-2], 0.1, end]
    x = start(sigmas[0]).float()
    whole = list(SAMPLERS[name](exact, x, sigmas, noise=unit_noise(x), **options))
    for k in range(1, 7):
        noise = unit_noise(x)
        first = list(islice(SAMPLERS[name](exact, x, sigmas, noise=noise, **options), k))
        rest = SAMPLERS[name](
            exact, first[-1].x_next, sigmas[k:], noise=noise, before=first, **options
        )
        for i, (mine, wanted) in enumerate(zip(rest, whole[k:], strict=True)):
            assert mine.index == i
            assert (mine.sigma, mine.sigma_next) == (wanted.sigma, wanted.sigma_next)
            assert torch.equal(mine.denoised, wanted.denoised)
            assert torch.equal(mine.x_next, wanted.x_next)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_last_step_to_zero_ends_at_the_denoised(name: str) -> None:
    if name in ("plms", "lms"):
        pytest.skip("extrapolates the slope to sigma 0, too")
    x = start(5.0)
    *_, last = SAMPLERS[name](exact, x, [5.0, 3.0, 1.0, 0.0], noise=unit_noise(x))
    if name in ("dpmpp_2s_ancestral", "dpmpp_sde", "heun", "dpm2"):
        assert torch.allclose(last.x_next, exact(last.x, last.sigma))
    assert torch.allclose(last.x_next, last.denoised)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_nothing_given_is_written_to(name: str, options: dict[str, float]) -> None:
    x, sigmas = start(5.0), torch.tensor([5.0, 3.0, 1.5, 0.7, 0.3, 0.0], dtype=torch.float64)
    held: list[tuple[Tensor, Tensor]] = []

    def kept(values: Tensor) -> Tensor:
        held.append((values, values.clone()))
        return values

    def denoise(x: Tensor, sigma: float) -> Tensor:
        return kept(exact(kept(x), sigma))

    denoise.schedule = SCHEDULE  # type: ignore[attr-defined]
    drawn = unit_noise(x)
    kept(x), kept(sigmas)
    run = SAMPLERS[name](denoise, x, sigmas, noise=lambda: kept(drawn()), **options)
    first = [*islice(run, 3)]
    for step in first:
        kept(step.x), kept(step.denoised), kept(step.x_next)
    rest = SAMPLERS[name](
        denoise, first[-1].x_next, sigmas[3:], noise=lambda: kept(drawn()), before=first, **options
    )
    for step in rest:
        kept(step.x), kept(step.denoised), kept(step.x_next)
    assert all(torch.equal(values, before) for values, before in held)


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        *((name, 5) for name in ("euler", "ddim", "ddpm", "euler_ancestral", "lms", "lcm", "tcd")),
        *((name, 5) for name in ("dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m_sde", "unipc")),
        ("plms", 6),
        *((name, 9) for name in ("heun", "dpm2", "dpm2_ancestral")),
        *((name, 9) for name in ("dpmpp_2s_ancestral", "dpmpp_sde")),
    ],
)
def test_calls_of_the_network(name: str, calls: int) -> None:
    seen = []

    def counted(x: Tensor, sigma: float) -> Tensor:
        seen.append(sigma)
        return exact(x, sigma)

    counted.schedule = SCHEDULE  # type: ignore[attr-defined]
    x = start(14.0)
    list(SAMPLERS[name](counted, x, SCHEDULE.karras(5), noise=unit_noise(x)))
    assert len(seen) == calls
    assert all(0 < sigma <= float(SCHEDULE.sigmas[-1]) for sigma in seen)


@pytest.mark.parametrize("name", SAMPLERS)
def test_noise_is_drawn_where_it_is_added_alone(name: str) -> None:
    x, drawn = start(14.0), []

    def counted() -> Tensor:
        drawn.append(1)
        return torch.zeros_like(x)

    list(SAMPLERS[name](exact, x, SCHEDULE.trailing(5), noise=counted))
    wanted = 0 if name in NO_NOISE else 8 if name == "dpmpp_sde" else 4
    assert len(drawn) == wanted
    if wanted:
        with pytest.raises(ValueError, match="noise"):
            list(SAMPLERS[name](exact, x, SCHEDULE.trailing(5)))


@pytest.mark.parametrize("schedule", [SCHEDULE, PURE], ids=["usual", "from pure noise"])
@pytest.mark.parametrize(("name", "options"), VARIANTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float16, 0.05)])
def test_fewer_digits_change_little(
    name: str,
    options: dict[str, float],
    schedule: NoiseSchedule,
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    sigmas = schedule.default(12)
    x = (start(float(sigmas[0])) / 4).half()  # values that float16 has

    def drawn(dtype: torch.dtype) -> Any:
        noise = unit_noise(x.double())
        return lambda: noise().half().to(dtype)

    def denoise(x: Tensor, sigma: float) -> Tensor:
        return exact(x.double(), sigma).to(x.dtype)

    denoise.schedule = schedule  # type: ignore[attr-defined]
    wanted = last_of(name, denoise, x.double(), sigmas, noise=drawn(torch.float64), **options)
    *_, last = SAMPLERS[name](denoise, x.to(dtype), sigmas, noise=drawn(dtype), **options)
    assert last.x_next.dtype == dtype
    assert float((last.x_next.double() - wanted).abs().max()) < tolerance


def test_gradients_are_off_inside_and_as_they_were_outside() -> None:
    inside = []

    def looked(x: Tensor, sigma: float) -> Tensor:
        inside.append(torch.is_grad_enabled())
        return exact(x, sigma)

    looked.schedule = SCHEDULE  # type: ignore[attr-defined]
    for name in SAMPLERS:
        x = start(5.0)
        for _ in SAMPLERS[name](looked, x, [5.0, 1.0, 0.0], noise=unit_noise(x)):
            assert torch.is_grad_enabled()
    assert not any(inside)


@pytest.mark.parametrize("sigmas", [[], [1.0], [1.0, 2.0], [1.0, 1.0, 0.0], [1.0, -1.0]])
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_grid_that_does_not_descend_is_refused(name: str, sigmas: list[float]) -> None:
    with pytest.raises(ValueError, match="descend"):
        list(SAMPLERS[name](exact, start(1.0), sigmas))


def test_a_sampler_that_needs_noise_says_so() -> None:
    with pytest.raises(ValueError, match="noise"):
        list(euler_ancestral(exact, start(1.0), [1.0, 0.5, 0.0]))
    assert len(list(euler(exact, start(1.0), [1.0, 0.5, 0.0]))) == 2
