"""Samplers and grids against diffusers' schedulers, without a network.

Both sides call the same smooth, nonlinear function of (x / sqrt(1 + sigma^2), t) as network. Where
diffusers has no class, or its class does something else than the paper, the reference is written
here in the paper's symbols.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
import torch
from references import relative_error
from torch import Tensor

from sdwidgets.diffusion import SAMPLERS, SCHEDULES, Denoiser, NoiseSchedule

pytestmark = pytest.mark.parity
diffusers = pytest.importorskip("diffusers")

# Stable Diffusion's own scheduler configuration.
SD = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
STEPS = 7
SCHEDULE = NoiseSchedule.from_betas()
PREDICTIONS = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}


def network(x: Tensor, t: Tensor | float) -> Tensor:
    t = torch.as_tensor(t, dtype=torch.float32).reshape(-1, 1, 1, 1)
    return torch.tanh(1.3 * x.roll(1, -1) + 0.4 * x * torch.cos(t / 150)) + 0.1


class ThirdOrder(diffusers.DPMSolverMultistepScheduler):  # type: ignore[misc]
    """diffusers' class, whose weight of D2 in the SDE's third order is 1 too small.

    ``(1 - exp(-z) - z) / z^2 - 0.5`` there is ``+ 0.5`` in the integral that it stands for; with h
    in place of z, the class's formula without noise has it.
    """

    def multistep_dpm_solver_third_order_update(self, outputs: Any, **given: Any) -> Tensor:
        made = super().multistep_dpm_solver_third_order_update(outputs, **given)
        sigmas = self.sigmas[self.step_index - 2 : self.step_index + 2]
        h_1, h_0, h = (-sigmas.log()).diff()
        r_0, r_1 = h_0 / h, h_1 / h
        m_2, m_1, m_0 = outputs
        bend = ((m_0 - m_1) / r_0 - (m_1 - m_2) / r_1) / (r_0 + r_1)
        alpha, _ = self._sigma_to_alpha_sigma_t(sigmas[-1])
        return made + alpha * bend  # type: ignore[no-any-return]


def _sde_scheduler() -> Any:
    """diffusers' `DPMSolverSDEScheduler`, without torchsde, which would only draw its noise."""
    with patch.dict(sys.modules, {"torchsde": ModuleType("torchsde")}):
        module = importlib.import_module("diffusers.schedulers.scheduling_dpmsolver_sde")
        return module.DPMSolverSDEScheduler


SDE = {"algorithm_type": "sde-dpmsolver++"}
MADE: dict[str, tuple[Any, dict[str, Any]]] = {
    "ddim": (diffusers.DDIMScheduler, {"set_alpha_to_one": False, "clip_sample": False}),
    "ddpm": (diffusers.DDPMScheduler, {"variance_type": "fixed_small", "clip_sample": False}),
    "plms": (diffusers.PNDMScheduler, {"set_alpha_to_one": False, "skip_prk_steps": True}),
    "euler": (diffusers.EulerDiscreteScheduler, {}),
    "euler_ancestral": (diffusers.EulerAncestralDiscreteScheduler, {}),
    "heun": (diffusers.HeunDiscreteScheduler, {}),
    "dpm2": (diffusers.KDPM2DiscreteScheduler, {}),
    "dpm2_ancestral": (diffusers.KDPM2AncestralDiscreteScheduler, {}),
    "lms": (diffusers.LMSDiscreteScheduler, {}),
    "dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, {}),
    "dpmpp_sde": (_sde_scheduler(), {}),
    "dpmpp_2m_sde": (diffusers.DPMSolverMultistepScheduler, SDE),
    # k-diffusion's second step is diffusers' "heun", its last but one not of a lower order
    "dpmpp_3m_sde": (
        ThirdOrder,
        {**SDE, "solver_order": 3, "solver_type": "heun", "lower_order_final": False},
    ),
    "unipc": (diffusers.UniPCMultistepScheduler, {}),
    "lcm": (diffusers.LCMScheduler, {"clip_sample": False}),
    "tcd": (diffusers.TCDScheduler, {}),
}


def scheduler(name: str, **options: Any) -> Any:
    cls, more = MADE[name]
    made = cls.from_config({**SD, **more, **options})
    made.set_timesteps(STEPS)
    return made


def theirs(scheduler: Any, noise: Tensor, **options: Any) -> Tensor:
    """Run diffusers' loop, with the noise scaled for the first step by our rule."""
    first = float(scheduler.init_noise_sigma)
    # where diffusers starts at sigma * noise, we start at sqrt(1 + sigma^2) * noise
    x = noise * ((1 + first**2) ** 0.5 if spaced(scheduler) and first != 1 else first)
    for t in scheduler.timesteps:
        out = network(scheduler.scale_model_input(x, t), t)
        x = scheduler.step(out, t, x, return_dict=False, **options)[0]
    return x


def spaced(scheduler: Any) -> bool:
    return scheduler.config.timestep_spacing in ("linspace", "trailing")


def expectation(prediction: str) -> Denoiser:
    return Denoiser(network, SCHEDULE, prediction)  # type: ignore[arg-type]


def ours(
    sampler: str, grid: str | Sequence[float], prediction: str, start: Tensor, **options: Any
) -> Tensor:
    sigmas = SCHEDULES[grid](SCHEDULE, STEPS).tolist() if isinstance(grid, str) else grid
    denoise = expectation(prediction)
    x = start * math.sqrt(1 + sigmas[0] ** 2)
    *_, last = SAMPLERS[sampler](denoise, x, sigmas, **options)
    return last.x_next / (1 + last.sigma_next**2) ** 0.5


@pytest.fixture
def noise() -> Tensor:
    return torch.randn(2, 4, 6, 5, generator=torch.Generator().manual_seed(0))


def drawn(like: Tensor) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(5)
    return lambda: torch.randn(like.shape, generator=generator)


# -- without noise ----------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize(
    ("sampler", "grid"),
    [
        ("ddim", "ddim"),
        ("euler", "config"),
        ("heun", "config"),
        ("dpm2", "config"),
        ("lms", "config"),
        ("dpmpp_2m", "dpmsolver"),
        ("unipc", "dpmsolver"),
    ],
)
def test_with_stable_diffusions_configuration(
    sampler: str, grid: str, prediction: str, noise: Tensor
) -> None:
    expected = theirs(scheduler(sampler, prediction_type=PREDICTIONS[prediction]), noise)
    assert relative_error(ours(sampler, grid, prediction, noise), expected) < 1e-4


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_plms(prediction: str, noise: Tensor) -> None:
    """The slopes of several steps are those of the noise, as in the paper and in latent diffusion.

    diffusers' class extrapolates v itself where the network predicts v. So it is told the noise.
    """
    reference, x = scheduler("plms"), noise
    for t in reference.timesteps:
        alpha = float(reference.alphas_cumprod[t]) ** 0.5
        sigma = (1 - alpha**2) ** 0.5
        x0 = expectation(prediction)(x / alpha, sigma / alpha)
        x = reference.step((x - alpha * x0) / sigma, int(t), x, return_dict=False)[0]
    assert relative_error(ours("plms", "ddim", prediction, noise), x) < 1e-4


@pytest.mark.parametrize(
    ("sampler", "grid"),
    [
        ("ddim", "ddim"),
        ("euler", "config"),
        ("lms", "config"),
        ("heun", "config"),
        ("dpmpp_2m", "dpmsolver"),
        ("unipc", "dpmsolver"),
    ],
)
def test_prediction_of_the_picture_itself(sampler: str, grid: str, noise: Tensor) -> None:
    if sampler in ("euler", "heun", "lms"):  # which know no prediction of x0
        expected = told_the_noise(scheduler(sampler), noise)
    else:
        expected = theirs(scheduler(sampler, prediction_type="sample"), noise)
    assert relative_error(ours(sampler, grid, "x0", noise), expected) < 1e-4


def told_the_noise(scheduler: Any, noise: Tensor) -> Tensor:
    """Run diffusers' loop with a network that predicts x0, and tell the scheduler the noise."""
    x = noise * float(scheduler.init_noise_sigma)
    for i, t in enumerate(scheduler.timesteps):
        x0 = network(scheduler.scale_model_input(x, t), t)
        sigma = scheduler.sigmas[i]
        x = scheduler.step((x - x0) / sigma, t, x, return_dict=False)[0]
    return x


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm2", "lms"])
@pytest.mark.parametrize(
    ("grid", "options"),
    [
        ("uniform", {"timestep_spacing": "linspace"}),
        ("trailing", {"timestep_spacing": "trailing"}),
        ("karras", {"timestep_spacing": "linspace", "use_karras_sigmas": True}),
    ],
)
def test_other_grids(sampler: str, grid: str, options: dict[str, Any], noise: Tensor) -> None:
    if sampler == "dpm2" and grid == "karras":
        options = {**options, "exact": True}
    expected = theirs(exact_steps(scheduler, sampler, **options), noise)
    assert relative_error(ours(sampler, grid, "eps", noise), expected) < 1e-4


def exact_steps(make: Any, sampler: str, exact: bool = False, **options: Any) -> Any:
    """A scheduler; ``exact``: with the training steps of its levels, which it rounds."""
    made = make(sampler, **options)
    if exact:
        levels = made.sigmas[::2][:STEPS]
        made.timesteps[::2] = torch.tensor([SCHEDULE.t(float(sigma)) for sigma in levels])
    return made


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "unipc"])
def test_two_step_methods_on_a_trailing_grid(sampler: str, noise: Tensor) -> None:
    expected = theirs(scheduler(sampler, timestep_spacing="trailing"), noise)
    assert relative_error(ours(sampler, "trailing", "eps", noise), expected) < 1e-4


# -- with noise -------------------------------------------------------------------------------


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_ddim_with_eta(eta: float, noise: Tensor) -> None:
    generator = torch.Generator().manual_seed(5)
    expected = theirs(scheduler("ddim"), noise, eta=eta, generator=generator)
    mine = ours("ddim", "ddim", "eps", noise, eta=eta, noise=drawn(noise))
    assert relative_error(mine, expected) < 1e-4


@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize(
    ("sampler", "grid"),
    [
        ("ddpm", "config"),
        ("euler_ancestral", "config"),
        ("dpm2_ancestral", "config"),
        ("dpmpp_2m_sde", "dpmsolver"),
        ("dpmpp_3m_sde", "dpmsolver"),
    ],
)
def test_with_the_same_noise(sampler: str, grid: str, prediction: str, noise: Tensor) -> None:
    generator = torch.Generator().manual_seed(5)
    reference = scheduler(sampler, prediction_type=PREDICTIONS[prediction])
    expected = theirs(reference, noise, generator=generator)
    mine = ours(sampler, grid, prediction, noise, noise=drawn(noise))
    assert relative_error(mine, expected) < 1e-4


@pytest.mark.parametrize(
    ("sampler", "grid"),
    [("ddpm", "config"), ("dpmpp_2m_sde", "dpmsolver"), ("dpmpp_3m_sde", "dpmsolver")],
)
def test_prediction_of_the_picture_itself_with_noise(
    sampler: str, grid: str, noise: Tensor
) -> None:
    generator = torch.Generator().manual_seed(5)
    expected = theirs(scheduler(sampler, prediction_type="sample"), noise, generator=generator)
    mine = ours(sampler, grid, "x0", noise, noise=drawn(noise))
    assert relative_error(mine, expected) < 1e-4


@pytest.mark.parametrize("sampler", ["ddpm", "dpm2_ancestral", "dpmpp_2m_sde", "dpmpp_3m_sde"])
def test_with_the_same_noise_on_a_trailing_grid(sampler: str, noise: Tensor) -> None:
    generator = torch.Generator().manual_seed(5)
    reference = scheduler(sampler, timestep_spacing="trailing")
    expected = theirs(reference, noise, generator=generator)
    mine = ours(sampler, "trailing", "eps", noise, noise=drawn(noise))
    assert relative_error(mine, expected) < 1e-4


class Brownian:
    """A Brownian motion in the time 1 / sigma^2, asked from a level to two levels below, in turn.

    Its increments are divided by their deviation, as `DPMSolverSDEScheduler` wants them.
    """

    def __init__(self, noise: Callable[[], Tensor]):
        self.noise = noise
        self.half: tuple[float, Tensor] | None = None

    def __call__(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        begin, end = float(sigma) ** -2, float(sigma_next) ** -2
        if self.half is None:
            moved = math.sqrt(end - begin) * self.noise()
            self.half = end, moved
        else:
            between, so_far = self.half
            moved = so_far + math.sqrt(end - between) * self.noise()
            self.half = None
        return moved / math.sqrt(end - begin)


@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize("s_noise", [1.0, 0.7])
@pytest.mark.parametrize(("grid", "spacing"), [("config", "leading"), ("trailing", "trailing")])
def test_dpmpp_sde_on_the_same_brownian_path(
    grid: str, spacing: str, s_noise: float, prediction: str, noise: Tensor
) -> None:
    reference = scheduler(
        "dpmpp_sde", timestep_spacing=spacing, prediction_type=PREDICTIONS[prediction]
    )
    reference.noise_sampler = Brownian(drawn(noise))
    expected = theirs(reference, noise, s_noise=s_noise)
    mine = ours("dpmpp_sde", grid, prediction, noise, noise=drawn(noise), s_noise=s_noise)
    assert relative_error(mine, expected) < 1e-4


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_dpmpp_2s_ancestral_in_the_papers_symbols(
    eta: float, prediction: str, noise: Tensor
) -> None:
    """arXiv 2211.01095, algorithm 1, for variance-preserving x = alpha x_0 + sigma noise, down to a
    level of which DDIM's eq. 16 (arXiv 2010.02502) says how much noise follows."""
    levels = SCHEDULES["trailing"](SCHEDULE, STEPS).tolist()
    x_theta, z = expectation(prediction), drawn(noise)

    def alpha(level: float) -> float:
        return 1 / math.sqrt(1 + level**2)

    def sigma(level: float) -> float:
        return level * alpha(level)

    x = noise
    for s, t in pairwise(levels):
        up = eta * math.sqrt(t**2 * (s**2 - t**2) / s**2)
        down = math.sqrt(t**2 - up**2)
        now = x_theta(x / alpha(s), s)
        if down == 0:
            x = now
            continue
        h, r = math.log(s / down), 0.5
        middle = s * math.exp(-r * h)
        u = sigma(middle) / sigma(s) * x - alpha(middle) * math.expm1(-r * h) * now
        d = (1 - 1 / (2 * r)) * now + 1 / (2 * r) * x_theta(u / alpha(middle), middle)
        x = sigma(down) / sigma(s) * x - alpha(down) * math.expm1(-h) * d
        x = alpha(t) * (x / alpha(down) + up * z())
    mine = ours("dpmpp_2s_ancestral", "trailing", prediction, noise, noise=drawn(noise), eta=eta)
    assert relative_error(mine, x) < 1e-4


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm2"])
def test_churn_in_the_papers_symbols(sampler: str, noise: Tensor) -> None:
    """arXiv 2206.00364, algorithm 2. diffusers asks the network before it adds the noise."""
    s_churn, s_noise = 3.0, 1.007
    t = SCHEDULES["karras"](SCHEDULE, STEPS).tolist()
    denoise, epsilon = expectation("eps"), drawn(noise)
    x = noise * math.sqrt(1 + t[0] ** 2)
    for i, (t_i, t_next) in enumerate(pairwise(t)):
        s_tmax = t[0]  # none above the first level
        gamma = min(s_churn / STEPS, math.sqrt(2) - 1) if t_i < s_tmax else 0.0
        t_hat = t_i + gamma * t_i
        assert t_hat < s_tmax or i == 0
        x_hat = x
        if gamma:
            x_hat = x + math.sqrt(t_hat**2 - t_i**2) * s_noise * epsilon()
        d = (x_hat - denoise(x_hat, t_hat)) / t_hat
        x = x_hat + (t_next - t_hat) * d
        if t_next and sampler == "heun":
            d_next = (x - denoise(x, t_next)) / t_next
            x = x_hat + (t_next - t_hat) * (d / 2 + d_next / 2)
        if t_next and sampler == "dpm2":
            middle = math.sqrt(t_hat * t_next)
            x_middle = x_hat + (middle - t_hat) * d
            d_middle = (x_middle - denoise(x_middle, middle)) / middle
            x = x_hat + (t_next - t_hat) * d_middle
    mine = ours(sampler, t, "eps", noise, noise=drawn(noise), s_churn=s_churn, s_noise=s_noise)
    assert relative_error(mine, x) < 1e-4


# -- few steps --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["LCMScheduler", "TCDScheduler"])
def test_the_grid_of_latent_consistency_models(name: str) -> None:
    schedule = NoiseSchedule.from_betas(spacing="lcm")
    for steps in (1, 2, 3, 4, 7, 8, 25, 49, 50):
        reference = getattr(diffusers, name)(**{k: v for k, v in SD.items() if k != "steps_offset"})
        reference.set_timesteps(steps)
        visited = [schedule.t(float(sigma)) for sigma in schedule.config(steps)[:-1]]
        assert visited == pytest.approx(reference.timesteps.tolist())


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_lcm(prediction: str, noise: Tensor) -> None:
    reference = scheduler("lcm", prediction_type=PREDICTIONS[prediction])
    expected = theirs(reference, noise, generator=torch.Generator().manual_seed(5))
    # diffusers' steps are those of the distillation, evenly chosen
    levels = [SCHEDULE.sigma(float(t)) for t in reference.timesteps]
    mine = ours("lcm", [*levels, 0.0], prediction, noise, noise=drawn(noise))
    # its boundary condition keeps 1e-5 of x
    assert relative_error(mine, expected) < 1e-4


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_tcd(eta: float, prediction: str, noise: Tensor) -> None:
    reference = scheduler("tcd", prediction_type=PREDICTIONS[prediction])
    steps = [999, 800, 600, 400, 200, 100, 50]  # of which 7 tenths are whole numbers
    reference.set_timesteps(timesteps=steps)
    expected = theirs(reference, noise, eta=eta, generator=torch.Generator().manual_seed(5))
    # diffusers ends at training step 0
    levels = [SCHEDULE.sigma(float(t)) for t in (*steps, 0)]
    mine = ours("tcd", levels, prediction, noise, noise=drawn(noise), eta=eta)
    assert relative_error(mine, expected) < 1e-4


def test_tcd_between_whole_training_steps(noise: Tensor) -> None:
    reference = scheduler("tcd")  # which rounds them down
    expected = theirs(reference, noise, eta=0.3, generator=torch.Generator().manual_seed(5))
    levels = [SCHEDULE.sigma(float(t)) for t in (*reference.timesteps, 0)]
    assert relative_error(ours("tcd", levels, "eps", noise, noise=drawn(noise)), expected) < 1e-3
