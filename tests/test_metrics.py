"""PSNR, SSIM, error maps, bits: numbers computed by hand, or by scikit-image."""

from __future__ import annotations

import math

import pytest
import torch

from sdwidgets.errors import InputError
from sdwidgets.metrics import bits_per_pixel, error_map, psnr, ssim
from sdwidgets.models.autoencoder import Codes, Posterior


def pictures(seed: int, size: tuple[int, ...] = (2, 3, 24, 20)) -> torch.Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_an_error_of_a_tenth_of_the_range_is_twenty_decibels() -> None:
    a = torch.zeros(1, 3, 16, 16)
    assert psnr(a, a + 0.2).item() == pytest.approx(20, abs=1e-4)


def test_the_same_picture_has_no_noise() -> None:
    a = pictures(0)
    assert psnr(a, a).tolist() == [math.inf, math.inf]
    assert ssim(a, a).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert error_map(a, a).max() == 0


def test_each_picture_of_a_batch_is_measured_by_itself() -> None:
    a, b = pictures(0), pictures(1)
    for measure in (psnr, ssim, error_map):
        both = measure(a, b)
        torch.testing.assert_close(both[1:], measure(a[1:], b[1:]))


def test_ssim_knows_no_order() -> None:
    a, b = pictures(0), pictures(1)
    torch.testing.assert_close(ssim(a, b), ssim(b, a))


def test_ssim_of_two_flat_pictures_is_that_of_their_light() -> None:
    """Equation 6 of Wang et al.: (2 m n + c) / (m^2 + n^2 + c), with c = (0.01 * 2)^2."""
    a = torch.full((1, 3, 16, 16), 0.5)
    b = torch.full((1, 3, 16, 16), -0.25)
    c = 0.02**2
    expected = (2 * 0.5 * -0.25 + c) / (0.5**2 + 0.25**2 + c)
    assert ssim(a, b).item() == pytest.approx(expected, abs=1e-4)


def test_ssim_equals_scikit_images() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    a, b = pictures(0), pictures(0) * 0.7 + pictures(1) * 0.3
    expected = [
        metrics.structural_similarity(
            x.double().numpy(),
            y.double().numpy(),
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=2.0,
        )
        for x, y in zip(a, b, strict=True)
    ]
    assert ssim(a, b).tolist() == pytest.approx(expected, abs=1e-4)


def test_ssim_needs_a_window() -> None:
    a = torch.zeros(1, 3, 10, 16)
    with pytest.raises(InputError, match="11 x 11 pixels, got 16 x 10"):
        ssim(a, a)


def test_an_error_is_the_mean_over_the_colours() -> None:
    a = torch.zeros(1, 3, 4, 5)
    b = a.clone()
    b[0, 0, 2, 3] = 0.6
    errors = error_map(a, b)
    assert errors.shape == (1, 4, 5)
    assert errors[0, 2, 3].item() == pytest.approx(0.2)
    assert errors.sum().item() == pytest.approx(0.2)


def test_a_posterior_that_is_the_prior_costs_nothing() -> None:
    posterior = Posterior(torch.zeros(1, 4, 2, 2), torch.ones(1, 4, 2, 2))
    assert bits_per_pixel(posterior, 256).item() == pytest.approx(0, abs=1e-6)


def test_a_shift_by_one_deviation_costs_half_a_nat_a_number() -> None:
    posterior = Posterior(torch.ones(1, 4, 2, 2), torch.ones(1, 4, 2, 2))
    expected = 16 * 0.5 / math.log(2) / 256
    assert bits_per_pixel(posterior, 256).item() == pytest.approx(expected)


def test_codes_cost_log_k_a_cell() -> None:
    zeros = torch.zeros(1, 4, 2, 2)
    codes = Codes(
        zeros,
        zeros,
        indices=torch.zeros(1, 2, 2, dtype=torch.long),
        quantized=zeros,
        loss=torch.zeros(()),
        codes=1024,
    )
    assert bits_per_pixel(codes, 16 * 16).item() == pytest.approx(10 / 8**2)
