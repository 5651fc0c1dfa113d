"""Samplers and grids against diffusers' schedulers, without a network.

Both sides call the same smooth, nonlinear function of (x / sqrt(1 + sigma^2), t) as network.
"""

from __future__ import annotations

from typing import Any

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


def network(x: Tensor, t: Tensor | float) -> Tensor:
    t = torch.as_tensor(t, dtype=torch.float32).reshape(-1, 1, 1, 1)
    return torch.tanh(1.3 * x.roll(1, -1) + 0.4 * x * torch.cos(t / 150)) + 0.1


def scheduler(name: str, **options: Any) -> Any:
    made = {
        "ddim": (diffusers.DDIMScheduler, {"set_alpha_to_one": False, "clip_sample": False}),
        "euler": (diffusers.EulerDiscreteScheduler, {}),
        "euler_ancestral": (diffusers.EulerAncestralDiscreteScheduler, {}),
        "heun": (diffusers.HeunDiscreteScheduler, {}),
        "dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, {}),
    }
    cls, more = made[name]
    return cls.from_config({**SD, **more, **options})


def theirs(scheduler: Any, noise: Tensor, **options: Any) -> Tensor:
    """Run diffusers' loop, with the noise scaled for the first step by our rule."""
    scheduler.set_timesteps(STEPS)
    first = float(scheduler.init_noise_sigma)
    # where diffusers starts at sigma * noise, we start at sqrt(1 + sigma^2) * noise
    x = noise * ((1 + first**2) ** 0.5 if spaced(scheduler) and first != 1 else first)
    for t in scheduler.timesteps:
        out = network(scheduler.scale_model_input(x, t), t)
        x = scheduler.step(out, t, x, return_dict=False, **options)[0]
    return x


def spaced(scheduler: Any) -> bool:
    return scheduler.config.timestep_spacing in ("linspace", "trailing")


def ours(sampler: str, grid: str, prediction: str, start: Tensor, **options: Any) -> Tensor:
    schedule = NoiseSchedule.from_betas()
    sigmas = SCHEDULES[grid](schedule, STEPS)
    denoise = Denoiser(network, schedule, prediction)
    x = start * float((1 + sigmas[0] ** 2).sqrt())
    *_, last = SAMPLERS[sampler](denoise, x, sigmas, **options)
    return last.x_next / (1 + last.sigma_next**2) ** 0.5


@pytest.fixture
def noise() -> Tensor:
    return torch.randn(2, 4, 6, 5, generator=torch.Generator().manual_seed(0))


PREDICTIONS = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}


@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize(
    ("sampler", "grid"),
    [
        ("ddim", "ddim"),
        ("euler", "config"),
        ("heun", "config"),
        ("dpmpp_2m", "dpmsolver"),
    ],
)
def test_with_stable_diffusions_configuration(
    sampler: str, grid: str, prediction: str, noise: Tensor
) -> None:
    expected = theirs(scheduler(sampler, prediction_type=PREDICTIONS[prediction]), noise)
    assert relative_error(ours(sampler, grid, prediction, noise), expected) < 1e-4


def test_prediction_of_the_picture_itself(noise: Tensor) -> None:
    expected = theirs(scheduler("ddim", prediction_type="sample"), noise)
    assert relative_error(ours("ddim", "ddim", "x0", noise), expected) < 1e-4


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_ddim_with_eta(eta: float, noise: Tensor) -> None:
    def drawn(generator: torch.Generator) -> Tensor:
        return torch.randn(noise.shape, generator=generator)

    generator = torch.Generator().manual_seed(5)
    expected = theirs(scheduler("ddim"), noise, eta=eta, generator=generator)
    generator = torch.Generator().manual_seed(5)
    mine = ours("ddim", "ddim", "eps", noise, eta=eta, noise=lambda: drawn(generator))
    assert relative_error(mine, expected) < 1e-4


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_euler_ancestral(prediction: str, noise: Tensor) -> None:
    generator = torch.Generator().manual_seed(5)
    reference = scheduler("euler_ancestral", prediction_type=PREDICTIONS[prediction])
    expected = theirs(reference, noise, generator=generator)
    generator = torch.Generator().manual_seed(5)
    mine = ours(
        "euler_ancestral",
        "config",
        prediction,
        noise,
        noise=lambda: torch.randn(noise.shape, generator=generator),
    )
    assert relative_error(mine, expected) < 1e-4


@pytest.mark.parametrize("sampler", ["euler", "heun"])
@pytest.mark.parametrize(
    ("grid", "options"),
    [
        ("uniform", {"timestep_spacing": "linspace"}),
        ("trailing", {"timestep_spacing": "trailing"}),
        ("karras", {"timestep_spacing": "linspace", "use_karras_sigmas": True}),
    ],
)
def test_other_grids(sampler: str, grid: str, options: dict[str, Any], noise: Tensor) -> None:
    expected = theirs(scheduler(sampler, **options), noise)
    assert relative_error(ours(sampler, grid, "eps", noise), expected) < 1e-4
