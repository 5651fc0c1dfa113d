"""Targets and weights of the denoising loss against the papers' formulas."""

import pytest
import torch

from sdwidgets.configs import EMOJI, SD1
from sdwidgets.diffusion import PREDICTIONS, coefficients
from sdwidgets.pipeline import noise_schedule
from sdwidgets.training.losses import even_steps, min_snr_weight, noised, target

KINDS = tuple(PREDICTIONS)


@pytest.fixture
def drawn():
    generator = torch.Generator().manual_seed(0)
    z, eps = torch.randn(2, 4, 3, 5, 5, generator=generator).double()
    sigma = torch.tensor([0.1, 0.7, 2.0, 9.0]).double().view(-1, 1, 1, 1)
    return z, eps, sigma


def test_the_noised_latents_are_those_of_ddpm(drawn):
    z, eps, sigma = drawn
    abar = 1 / (1 + sigma.square())
    for kind in ("eps", "v", "x0"):
        wanted = abar.sqrt() * z + (1 - abar).sqrt() * eps
        assert torch.allclose(noised(kind, z, eps, sigma), wanted)


def test_the_noised_latents_of_a_flow_lie_on_a_straight_line(drawn):
    z, eps, sigma = drawn
    t = sigma / (1 + sigma)
    assert torch.allclose(noised("flow", z, eps, sigma), (1 - t) * z + t * eps)


def test_the_targets_are_the_papers_formulas(drawn):
    z, eps, sigma = drawn
    alpha = (1 / (1 + sigma.square())).sqrt()
    assert torch.equal(target("eps", z, eps, sigma), eps)
    assert torch.equal(target("x0", z, eps, sigma), z)
    v = alpha * eps - (1 - alpha.square()).sqrt() * z  # arXiv 2202.00512, appendix D
    assert torch.allclose(target("v", z, eps, sigma), v)
    assert torch.allclose(target("flow", z, eps, sigma), eps - z)  # arXiv 2209.03003


@pytest.mark.parametrize("kind", KINDS)
def test_targets_of_float32_latents_are_as_exact_at_the_lowest_noise(drawn, kind):
    z, eps, _ = drawn
    sigma = noise_schedule(SD1.schedule).sigmas[:4].view(-1, 1, 1, 1)
    found = target(kind, z.float(), eps.float(), sigma)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), target(kind, z, eps, sigma), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_hits_its_target_denoises_to_the_clean_latents(drawn, kind):
    z, eps, sigma = drawn
    for i, level in enumerate(sigma.flatten().tolist()):
        c_skip, c_out = (of(level) for of in (coefficients(kind).c_skip, coefficients(kind).c_out))
        x = z[i] + level * eps[i]
        denoised = c_skip * x + c_out * target(kind, z, eps, sigma)[i]
        assert torch.allclose(denoised, z[i])


def test_the_weights_are_the_papers_for_each_prediction():
    sigma = noise_schedule(SD1.schedule).sigmas
    abar = 1 / (1 + sigma.square())
    snr = abar / (1 - abar)
    least = torch.minimum(snr, torch.full_like(snr, 5.0))
    assert torch.allclose(min_snr_weight("x0", sigma), least)  # arXiv 2303.09556, section 3.4
    assert torch.allclose(min_snr_weight("eps", sigma), least / snr)
    assert torch.allclose(min_snr_weight("v", sigma), least / (snr + 1))


@pytest.mark.parametrize("kind", KINDS)
def test_weighted_losses_are_the_same_whatever_is_predicted(drawn, kind):
    z, eps, sigma = drawn
    level = sigma[1].item()
    c_skip, c_out = (of(level) for of in (coefficients(kind).c_skip, coefficients(kind).c_out))
    x = z[1] + level * eps[1]
    denoised = z[1] + 0.3  # an error of 0.3 in x0 ...
    predicted = (denoised - c_skip * x) / c_out  # ... is this prediction's
    error = (predicted - target(kind, z, eps, sigma)[1]).square().mean()
    weighted = min_snr_weight(kind, sigma[1].flatten(), 1.5) * error
    assert weighted.item() == pytest.approx(min(level**-2, 1.5) * 0.09)


def test_steps_are_spread_evenly_over_a_batch():
    steps = EMOJI.schedule.steps
    t = even_steps(8, steps, 0.5)
    assert t.tolist() == [62, 187, 312, 437, 562, 687, 812, 937]
    assert even_steps(1, steps, 0.9999).item() == 999
