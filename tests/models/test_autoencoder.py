from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sdwidgets import configs
from sdwidgets.models.autoencoder import Autoencoder, Posterior

pytestmark = pytest.mark.usefixtures("seeded")

CONFIG = configs.TINY.autoencoder


def test_sd_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        autoencoder = Autoencoder(configs.SD1.autoencoder)
    assert sum(p.numel() for p in autoencoder.parameters()) == 83_653_863


@torch.no_grad()
def test_a_picture_becomes_latents_smaller_by_the_factor_and_comes_back() -> None:
    autoencoder = Autoencoder(CONFIG)
    image = torch.rand(2, 3, 8, 12) * 2 - 1
    latents = autoencoder.encode(image).mode()
    assert latents.shape == (2, 4, 4, 6)
    assert autoencoder.decode(latents).shape == image.shape


@torch.no_grad()
def test_the_scale_is_undone_in_decoding() -> None:
    plain = Autoencoder(replace(CONFIG, scaling_factor=1.0))
    scaled = Autoencoder(replace(CONFIG, scaling_factor=0.25, shift_factor=0.5))
    scaled.load_state_dict(plain.state_dict())
    image = torch.rand(1, 3, 8, 8) * 2 - 1
    one, other = plain.encode(image), scaled.encode(image)
    torch.testing.assert_close(other.mean, (one.mean - 0.5) * 0.25)
    torch.testing.assert_close(other.std, one.std * 0.25)
    torch.testing.assert_close(other.kl(), one.kl())
    torch.testing.assert_close(scaled.decode(other.mean), plain.decode(one.mean))


def test_kl_is_torch_distributions_of_the_unscaled_latents() -> None:
    mean, std = torch.randn(2, 4, 3, 3), torch.rand(2, 4, 3, 3) + 0.1
    p, q = torch.distributions.Normal(mean, std), torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(p, q).sum((1, 2, 3))
    torch.testing.assert_close(Posterior(mean * 3, std * 3, scale=3.0).kl(), expected)


def test_samples_follow_the_posterior_and_the_seed() -> None:
    posterior = Posterior(torch.full((1, 4, 50, 50), 2.0), torch.full((1, 4, 50, 50), 0.5))
    one, other = (posterior.sample(torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one, other)
    assert one.mean().item() == pytest.approx(2.0, abs=0.03)
    assert one.std().item() == pytest.approx(0.5, abs=0.03)


def test_every_parameter_gets_a_gradient() -> None:
    autoencoder = Autoencoder(CONFIG)
    posterior = autoencoder.encode(torch.rand(2, 3, 8, 8))
    (autoencoder.decode(posterior.sample()).square().mean() + posterior.kl().mean()).backward()
    # A key's bias shifts all scores of a row alike, which the softmax cannot see.
    named = {n: p for n, p in autoencoder.named_parameters() if not n.endswith("to_k.bias")}
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in named.values())


@torch.no_grad()
def test_the_middle_attention_is_optional() -> None:
    autoencoder = Autoencoder(replace(CONFIG, mid_attention=False))
    assert not any("attentions" in name for name in autoencoder.state_dict())
    assert autoencoder(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 8, 8)
