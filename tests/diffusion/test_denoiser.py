from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sdwidgets.diffusion import Denoiser, NoiseSchedule, guide, inpainting

SCHEDULE = NoiseSchedule.from_betas()
SIGMA = 2.5


@pytest.fixture
def pictures() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 4, 5, generator=generator), torch.randn(
        2, 3, 4, 5, generator=generator
    )


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
def test_a_perfect_network_gives_the_picture_back(
    prediction: str, pictures: tuple[Tensor, Tensor]
) -> None:
    x0, noise = pictures
    answers = {"eps": noise, "x0": x0, "v": (noise - SIGMA * x0) / math.sqrt(1 + SIGMA**2)}
    denoise = Denoiser(lambda x, t: answers[prediction], SCHEDULE, prediction)
    assert torch.allclose(denoise(x0 + SIGMA * noise, SIGMA), x0, atol=1e-5)


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


def test_only_the_network_sees_its_dtype(pictures: tuple[Tensor, Tensor]) -> None:
    types = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        types.append((x.dtype, t.dtype))
        return x

    denoised = Denoiser(network, SCHEDULE, dtype=torch.bfloat16)(pictures[0], SIGMA)
    assert types == [(torch.bfloat16, torch.float32)]
    assert denoised.dtype == torch.float32


def test_guidance_calls_once_with_the_prompts_half_first(pictures: tuple[Tensor, Tensor]) -> None:
    calls = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        calls.append(len(x))
        return torch.cat([x[:2] + 1, x[2:] - 1])

    x, _ = pictures
    denoiser = Denoiser(network, SCHEDULE, guidance_scale=3.0)
    denoised = denoiser(x, SIGMA)
    cond, uncond = denoiser.take_halves()
    assert calls == [4]
    assert torch.allclose(uncond - cond, torch.full_like(cond, 2 * SIGMA))  # eps is subtracted
    assert torch.allclose(denoised, uncond + 3 * (cond - uncond), atol=1e-5)


def test_the_halves_are_those_of_the_first_call_and_taken_once(
    pictures: tuple[Tensor, Tensor],
) -> None:
    x, other = pictures
    denoiser = Denoiser(lambda x, t: x, SCHEDULE, guidance_scale=3.0)
    denoiser(x, SIGMA)
    denoiser(other, SIGMA)
    cond, _ = denoiser.take_halves()
    assert torch.allclose(cond, x - SIGMA * x / math.sqrt(1 + SIGMA**2))
    assert denoiser.take_halves() == (None, None)


def test_without_guidance_there_are_no_halves(pictures: tuple[Tensor, Tensor]) -> None:
    denoiser = Denoiser(lambda x, t: x, SCHEDULE)
    denoiser(pictures[0], SIGMA)
    assert denoiser.take_halves() == (None, None)


def test_full_rescale_gives_the_prompts_contrast(pictures: tuple[Tensor, Tensor]) -> None:
    cond, uncond = pictures
    guided = guide(cond, uncond, 7.5, rescale=1.0)
    assert torch.allclose(guided.std((1, 2, 3)), cond.std((1, 2, 3)), rtol=1e-5)


def test_rescale_of_a_flat_prediction_is_finite() -> None:
    flat = torch.ones(1, 4, 2, 2)
    assert torch.isfinite(guide(flat, 0 * flat, 7.5, rescale=0.5)).all()


def test_an_unknown_prediction_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="velocity"):
        Denoiser(lambda x, t: x, SCHEDULE, "velocity")


def test_inpainting_denoises_the_known_part_to_itself(pictures: tuple[Tensor, Tensor]) -> None:
    known, noise = pictures
    mask = torch.zeros(1, 1, 4, 5)
    mask[..., :2] = 1
    denoise = inpainting(lambda x, sigma: x * 0 + 9, known, noise, mask, start=10.0)
    denoised = denoise(torch.zeros_like(known), SIGMA)
    assert torch.equal(denoised[..., 2:], known[..., 2:])
    assert (denoised[..., :2] == 9).all()


def test_inpainting_shows_the_network_the_known_part_at_its_noise(
    pictures: tuple[Tensor, Tensor],
) -> None:
    known, noise = pictures
    seen = []
    mask = torch.zeros(1, 1, 4, 5)
    denoise = inpainting(lambda x, s: (seen.append(x), x)[1], known, noise, mask, start=10.0)
    denoise(torch.zeros_like(known), SIGMA)
    denoise(torch.zeros_like(known), 10.0)
    assert torch.allclose(seen[0], known + SIGMA * noise)
    assert torch.equal(seen[1], torch.zeros_like(known))  # the first latents as they were given
