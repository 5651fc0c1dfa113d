from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sdwidgets.diffusion import (
    PREDICTIONS,
    Denoiser,
    NoiseSchedule,
    Prediction,
    coefficients,
    guide,
    inpainting,
    repainted,
)
from sdwidgets.diffusion.samplers import euler

SCHEDULE = NoiseSchedule.from_betas()
SIGMA = 2.5


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 4, 5, generator=generator), torch.randn(
        2, 3, 4, 5, generator=generator
    )


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_perfect_network_gives_the_image_back(
    prediction: Prediction, images: tuple[Tensor, Tensor]
) -> None:
    x0, noise = images
    v = (noise - SIGMA * x0) / math.sqrt(1 + SIGMA**2)
    answers = {"eps": noise, "x0": x0, "v": v, "flow": noise - x0}
    denoise = Denoiser(lambda x, t: answers[prediction], SCHEDULE, prediction)
    assert torch.allclose(denoise(x0 + SIGMA * noise, SIGMA), x0, atol=1e-5)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_coefficients_of_many_levels_are_those_of_each(prediction: Prediction) -> None:
    levels = torch.tensor([0.03, 1.0, 14.6], dtype=torch.float64)
    c = coefficients(prediction)
    for of in (c.c_skip, c.c_out, c.c_in):
        each = torch.tensor([of(level) for level in levels.tolist()], dtype=torch.float64)
        assert of(levels).dtype == torch.float64
        assert torch.allclose(of(levels), each, rtol=1e-12)
    times = [c.c_noise(level, SCHEDULE) for level in levels.tolist()]
    assert torch.allclose(c.c_noise(levels, SCHEDULE).double(), torch.tensor(times).double())


def test_a_flow_network_sees_the_straight_line_and_its_time() -> None:
    t, seen = 0.8, list[tuple[Tensor, Tensor]]()
    x0, noise = torch.randn(2, 2, 4, 3, 3, generator=torch.Generator().manual_seed(0))

    def network(x: Tensor, time: Tensor) -> Tensor:
        seen.append((x, time))
        return noise - x0

    sigma = t / (1 - t)
    Denoiser(network, SCHEDULE, "flow")(x0 + sigma * noise, sigma)
    assert torch.allclose(seen[0][0], (1 - t) * x0 + t * noise, atol=1e-6)
    assert torch.allclose(seen[0][1], torch.full((2,), t))


def test_an_euler_step_of_a_flow_is_a_step_along_its_velocity() -> None:
    """x_t' = x_t + (t' - t) * velocity, whatever the network answers."""
    t, t_next = 0.8, 0.5
    x_t, velocity = torch.randn(2, 1, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    denoise = Denoiser(lambda x, time: velocity, SCHEDULE, "flow")
    sigmas = [t / (1 - t), t_next / (1 - t_next)]
    (step,) = euler(denoise, x_t / (1 - t), sigmas)
    assert torch.allclose(step.x_next * (1 - t_next), x_t + (t_next - t) * velocity, atol=1e-5)


def test_the_network_sees_unit_variance_and_the_training_step() -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        seen.append((x, t))
        return torch.zeros_like(x)

    x = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    sigma = SCHEDULE.sigma(700)
    Denoiser(network, SCHEDULE)(x, sigma)
    assert torch.allclose(seen[0][0], x / math.sqrt(1 + sigma**2))
    assert torch.allclose(seen[0][1], torch.full((3,), 700.0))


def test_only_the_network_sees_its_dtype(images: tuple[Tensor, Tensor]) -> None:
    types = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        types.append((x.dtype, t.dtype))
        return x

    denoised = Denoiser(network, SCHEDULE, dtype=torch.bfloat16)(images[0], SIGMA)
    assert types == [(torch.bfloat16, torch.float32)]
    assert denoised.dtype == torch.float32


def test_guidance_calls_once_with_the_prompts_half_first(images: tuple[Tensor, Tensor]) -> None:
    calls = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        calls.append(len(x))
        return torch.cat([x[:2] + 1, x[2:] - 1])

    x, _ = images
    denoiser = Denoiser(network, SCHEDULE, guidance_scale=3.0)
    denoised = denoiser(x, SIGMA)
    cond, uncond = denoiser.take_halves()
    assert calls == [4]
    assert torch.allclose(uncond - cond, torch.full_like(cond, 2 * SIGMA))  # eps is subtracted
    assert torch.allclose(denoised, uncond + 3 * (cond - uncond), atol=1e-5)


def test_an_image_guides_beside_the_prompt(images: tuple[Tensor, Tensor]) -> None:
    x, _ = images
    both, image, neither = torch.randn(3, *x.shape)
    calls = []

    def network(x_in: Tensor, t: Tensor) -> Tensor:
        calls.append((len(x_in), len(t)))
        return torch.cat([both, image, neither])

    denoiser = Denoiser(network, SCHEDULE, guidance_scale=7.5, image_guidance_scale=1.5)
    denoised = denoiser(x, SIGMA)
    cond, uncond = denoiser.take_halves()
    eps = neither + 7.5 * (both - image) + 1.5 * (image - neither)  # arXiv 2211.09800, eq. 3
    assert calls == [(6, 6)]
    assert torch.allclose(denoised, x - SIGMA * eps, atol=1e-4)
    assert torch.allclose(denoised, uncond + 7.5 * (cond - uncond), atol=1e-4)
    assert torch.allclose(uncond, x - SIGMA * (neither + 1.5 * (image - neither)), atol=1e-4)


def test_the_halves_are_those_of_the_first_call_and_taken_once(
    images: tuple[Tensor, Tensor],
) -> None:
    x, other = images
    denoiser = Denoiser(lambda x, t: x, SCHEDULE, guidance_scale=3.0)
    denoiser(x, SIGMA)
    denoiser(other, SIGMA)
    cond, _ = denoiser.take_halves()
    assert torch.allclose(cond, x - SIGMA * x / math.sqrt(1 + SIGMA**2))
    assert denoiser.take_halves() == (None, None)


def test_without_guidance_there_are_no_halves(images: tuple[Tensor, Tensor]) -> None:
    denoiser = Denoiser(lambda x, t: x, SCHEDULE)
    denoiser(images[0], SIGMA)
    assert denoiser.take_halves() == (None, None)


def test_full_rescale_gives_the_prompts_contrast(images: tuple[Tensor, Tensor]) -> None:
    cond, uncond = images
    guided = guide(cond, uncond, 7.5, rescale=1.0)
    assert torch.allclose(guided.std((1, 2, 3)), cond.std((1, 2, 3)), rtol=1e-5)


def test_rescale_of_a_flat_prediction_is_finite() -> None:
    flat = torch.ones(1, 4, 2, 2)
    assert torch.isfinite(guide(flat, 0 * flat, 7.5, rescale=0.5)).all()


def test_an_unknown_prediction_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="velocity"):
        Denoiser(lambda x, t: x, SCHEDULE, "velocity")


def test_inpainting_denoises_the_known_part_to_itself(images: tuple[Tensor, Tensor]) -> None:
    known, noise = images
    mask = torch.zeros(1, 1, 4, 5)
    mask[..., :2] = 1
    denoise = inpainting(lambda x, sigma: x * 0 + 9, known, noise, mask, [10.0, 1.0, 0.0])
    denoised = denoise(torch.zeros_like(known), SIGMA)
    assert torch.equal(denoised[..., 2:], known[..., 2:])
    assert (denoised[..., :2] == 9).all()


def test_inpainting_shows_the_network_the_known_part_at_its_noise(
    images: tuple[Tensor, Tensor],
) -> None:
    known, noise = images
    seen = []
    mask = torch.zeros(1, 1, 4, 5)
    denoise = inpainting(lambda x, s: (seen.append(x), x)[1], known, noise, mask, [10.0, 1.0, 0.0])
    denoise(torch.zeros_like(known), SIGMA)
    denoise(torch.zeros_like(known), 10.0)
    assert torch.allclose(seen[0], known + SIGMA * noise)
    assert torch.equal(seen[1], torch.zeros_like(known))  # the first latents are used as they are


def test_a_grey_mask_is_repainted_in_its_share_of_the_steps() -> None:
    levels = [8.0, 4.0, 2.0, 1.0, 0.0]
    mask = torch.tensor([1.0, 0.75, 0.5, 0.25, 0.1, 0.0])
    found = [repainted(mask, level, levels).tolist() for level in levels[:-1]]
    assert [sum(row[place] for row in found) for place in range(6)] == [4, 3, 2, 1, 0, 0]
    assert all(row == sorted(row, reverse=True) for row in found)
    # between two levels as at the one before
    assert torch.equal(repainted(mask, 3.0, levels), repainted(mask, 4.0, levels))
    assert not repainted(torch.zeros(1), 0.0, levels)


def test_a_grey_part_is_known_first_and_then_repainted(images: tuple[Tensor, Tensor]) -> None:
    known, noise = images
    mask = torch.full((1, 1, 4, 5), 0.5)
    denoise = inpainting(lambda x, sigma: x * 0 + 9, known, noise, mask, [8.0, 4.0, 2.0, 1.0, 0.0])
    assert torch.equal(denoise(torch.zeros_like(known), 4.0), known)
    assert (denoise(torch.zeros_like(known), 2.0) == 9).all()
