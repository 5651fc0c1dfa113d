"""Cached latents: computed once, and never taken for others."""

from dataclasses import replace

import pytest
import torch
from few_pictures import Few

from sdwidgets.configs import TINY
from sdwidgets.errors import CheckpointError, InputError
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.pixels import to_tensor
from sdwidgets.training.latents import Latents, cached_latents


@pytest.fixture
def autoencoder(seeded):
    return Autoencoder(TINY.autoencoder).eval().requires_grad_(False)


def test_they_are_the_posteriors_mean_and_deviation(autoencoder):
    pictures = Few()
    cache = cached_latents(autoencoder, pictures, 5)
    posterior = autoencoder.encode(torch.cat([to_tensor(pictures.picture(i)) for i in range(5)]))
    assert torch.allclose(cache.mean.float(), posterior.mean, atol=5e-3)
    assert torch.allclose(cache.std.float(), posterior.std, atol=5e-3)


def test_a_drawn_latent_is_the_mean_and_a_deviation_of_noise():
    cache = Latents(torch.full((3, 1, 2, 2), 2.0).half(), torch.full((3, 1, 2, 2), 0.5).half())
    assert torch.equal(cache.draw([0, 2], torch.ones(2, 1, 2, 2)), torch.full((2, 1, 2, 2), 2.5))


def test_their_deviation_counts_both_that_of_means_and_that_of_posteriors():
    generator = torch.Generator().manual_seed(0)
    mean = 3 * torch.randn(500, 1, 8, 8, generator=generator)
    cache = Latents(mean.half(), torch.full((500, 1, 8, 8), 4.0).half())
    assert cache.deviation == pytest.approx(5, rel=0.02)
    assert cache.scaled(0.5).deviation == pytest.approx(2.5, rel=0.02)


def test_a_file_is_read_and_not_made_again(autoencoder, tmp_path, monkeypatch):
    file = tmp_path / "latents.pt"
    first = cached_latents(autoencoder, Few(), 12, file)
    monkeypatch.setattr(Autoencoder, "encode", None)
    assert torch.equal(cached_latents(autoencoder, Few(), 12, file).mean, first.mean)
    assert torch.equal(cached_latents(autoencoder, Few(), 7, file).mean, first.mean[:7])


def test_what_a_file_lacks_is_added(autoencoder, tmp_path):
    file = tmp_path / "latents.pt"
    cached_latents(autoencoder, Few(), 5, file)
    grown = cached_latents(autoencoder, Few(), 12, file)
    assert torch.allclose(grown.mean, cached_latents(autoencoder, Few(), 12).mean, atol=5e-3)
    assert len(torch.load(file, weights_only=True)["pictures"]) == 12


def test_latents_of_another_autoencoder_are_refused(autoencoder, tmp_path):
    file = tmp_path / "latents.pt"
    cached_latents(autoencoder, Few(), 4, file)
    other = Autoencoder(TINY.autoencoder)
    with pytest.raises(InputError, match="of another autoencoder"):
        cached_latents(other, Few(), 4, file)
    autoencoder.config = replace(autoencoder.config, scaling_factor=0.5)
    with pytest.raises(InputError, match="of another autoencoder"):
        cached_latents(autoencoder, Few(), 4, file)


def test_latents_of_other_pictures_are_refused(autoencoder, tmp_path):
    file = tmp_path / "latents.pt"
    cached_latents(autoencoder, Few(), 4, file)
    before = file.read_bytes()
    with pytest.raises(InputError, match=r"of other images \(number 0 differs\)"):
        cached_latents(autoencoder, Few(shade=1), 4, file)
    assert file.read_bytes() == before


def test_a_file_without_fingerprints_is_refused(autoencoder, tmp_path):
    file = tmp_path / "latents.pt"
    torch.save({"mean": torch.zeros(4, 4, 8, 8), "std": torch.zeros(4, 4, 8, 8)}, file)
    with pytest.raises(InputError, match="does not say whose"):
        cached_latents(autoencoder, Few(), 4, file)


def test_what_is_no_file_of_latents_is_named(autoencoder, tmp_path):
    file = tmp_path / "latents.pt"
    file.write_bytes(b"hours of work")
    with pytest.raises(CheckpointError, match="could not be read as latents"):
        cached_latents(autoencoder, Few(), 4, file)
    assert file.read_bytes() == b"hours of work"
