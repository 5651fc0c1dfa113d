from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sdwidgets import configs
from sdwidgets.configs import AutoencoderConfig
from sdwidgets.errors import InputError
from sdwidgets.models.autoencoder import Autoencoder, Codes, Posterior, padded

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
    # A key's bias shifts all scores of a row equally, which the softmax cancels.
    named = {n: p for n, p in autoencoder.named_parameters() if not n.endswith("to_k.bias")}
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in named.values())


@torch.no_grad()
def test_the_middle_attention_is_optional() -> None:
    autoencoder = Autoencoder(replace(CONFIG, mid_attention=False))
    assert not any("attentions" in name for name in autoencoder.state_dict())
    assert autoencoder(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 8, 8)


# -------------------------------------------------------------------------------- the identity


@torch.no_grad()
def test_without_levels_it_is_the_identity() -> None:
    autoencoder = Autoencoder(configs.PIXELS)
    assert autoencoder.config.factor == 1
    assert not autoencoder.state_dict() and not [*autoencoder.parameters()]
    image = torch.rand(2, 3, 5, 7) * 2 - 1
    posterior = autoencoder.encode(image)
    assert torch.equal(posterior.mode(), image)
    assert torch.equal(posterior.sample(torch.Generator().manual_seed(0)), image)
    assert torch.equal(autoencoder.decode(image), image)
    assert torch.equal(autoencoder.decode(image, tiled=True), image)
    assert torch.equal(autoencoder.reconstruct(image), image)
    assert posterior.kl().tolist() == pytest.approx([5 * 7 * 3 * math.log(256)] * 2)
    with pytest.raises(InputError, match="no codes"):
        autoencoder.decode_codes(torch.zeros(1, 2, 2, dtype=torch.int64))


@torch.no_grad()
def test_the_identity_has_a_scale_and_a_shift() -> None:
    autoencoder = Autoencoder(replace(configs.PIXELS, scaling_factor=2.0, shift_factor=0.5))
    image = torch.rand(1, 3, 4, 4)
    latents = autoencoder.encode(image).mode()
    torch.testing.assert_close(latents, (image - 0.5) * 2)
    torch.testing.assert_close(autoencoder.decode(latents), image)


def test_the_identity_says_where_and_in_what_type_it_computes() -> None:
    with torch.device("meta"):  # as models are loaded
        autoencoder = Autoencoder(configs.PIXELS)
    assert autoencoder.to("cpu").weight.device.type == "cpu"
    assert autoencoder.half().weight.dtype == torch.float16
    assert Autoencoder(CONFIG).half().weight.dtype == torch.float16


# --------------------------------------------------------------------------------- vector quantised

VQ = replace(CONFIG, codes=30)


def encode(autoencoder: Autoencoder, image: Tensor) -> Codes:
    codes = autoencoder.encode(image)
    assert isinstance(codes, Codes)
    return codes


def vq_autoencoder(config: AutoencoderConfig = VQ) -> Autoencoder:
    autoencoder = Autoencoder(config)
    assert autoencoder.quantize is not None
    torch.nn.init.normal_(autoencoder.quantize.embedding.weight, std=0.3)
    return autoencoder


@torch.no_grad()
def test_a_vq_posterior_is_sure() -> None:
    autoencoder = vq_autoencoder()
    codes = encode(autoencoder, torch.rand(2, 3, 8, 12))
    generator = torch.Generator().manual_seed(1)
    before = generator.get_state()
    assert torch.equal(codes.sample(generator), codes.mode())
    assert torch.equal(generator.get_state(), before)
    assert not codes.std.any()
    assert codes.indices.shape == (2, 4, 6) and codes.quantized.shape == codes.mean.shape
    torch.testing.assert_close(codes.kl(), torch.full((2,), 24 * math.log(30)))


@torch.no_grad()
def test_vq_decoding_quantises_first() -> None:
    autoencoder = vq_autoencoder(replace(VQ, scaling_factor=0.5, shift_factor=0.25))
    codes = encode(autoencoder, torch.rand(1, 3, 8, 8))
    decoded = autoencoder.decode(codes.mode())
    torch.testing.assert_close(autoencoder.decode(codes.quantized), decoded)
    torch.testing.assert_close(autoencoder.decode_codes(codes.indices), decoded)


@torch.no_grad()
def test_the_scale_of_vq_latents_is_undone_in_decoding() -> None:
    plain = vq_autoencoder(replace(VQ, scaling_factor=1.0))
    scaled = Autoencoder(replace(VQ, scaling_factor=0.25, shift_factor=0.5))
    scaled.load_state_dict(plain.state_dict())
    image = torch.rand(1, 3, 8, 8) * 2 - 1
    one, other = encode(plain, image), encode(scaled, image)
    torch.testing.assert_close(other.mean, (one.mean - 0.5) * 0.25)
    torch.testing.assert_close(other.quantized, (one.quantized - 0.5) * 0.25)
    torch.testing.assert_close(other.loss, one.loss)
    assert torch.equal(other.indices, one.indices)
    torch.testing.assert_close(scaled.decode(other.mean), plain.decode(one.mean))


@pytest.mark.parametrize("attention", [(), (0, 1)])
def test_every_parameter_of_a_vq_autoencoder_gets_a_gradient(attention: tuple[int, ...]) -> None:
    autoencoder = vq_autoencoder(replace(VQ, attention_levels=attention, codes=2))
    codes = encode(autoencoder, torch.rand(4, 3, 16, 16))
    (autoencoder.decode(codes.sample()).square().mean() + codes.loss).backward()
    named = {n: p for n, p in autoencoder.named_parameters() if not n.endswith("to_k.bias")}
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in named.values())


def test_a_codebook_learns_what_it_is_given() -> None:
    autoencoder = vq_autoencoder(replace(VQ, codes=8))
    image = torch.rand(2, 3, 16, 16) * 2 - 1
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        codes = encode(autoencoder, image)
        loss = (autoencoder.decode(codes.mode()) - image).abs().mean() + codes.loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_indices_that_are_no_codes() -> None:
    with pytest.raises(InputError, match=r"0 to 29; the indices are 0 to 30"):
        vq_autoencoder().decode_codes(torch.tensor([[[0, 30]]]))
    with pytest.raises(InputError, match="no codes"):
        Autoencoder(CONFIG).decode_codes(torch.zeros(1, 2, 2, dtype=torch.int64))


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(1, 2, 2),
        torch.zeros(2, 2, dtype=torch.int64),
        torch.zeros(0, 2, 2, dtype=torch.int64),
        torch.zeros(1, 2, 2, dtype=torch.bool),
        torch.zeros(1, 2, 2, dtype=torch.int64, device="meta"),
        [[[0]]],
        None,
    ],
)
def test_impossible_indices_are_refused(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"indices must be whole numbers \[B, h, w\]"):
        vq_autoencoder().decode_codes(wrong)


def test_indices_of_every_integer_type() -> None:
    vq = vq_autoencoder()
    wanted = vq.decode_codes(torch.full((1, 2, 2), 7))
    for dtype in (torch.uint8, torch.int16, torch.int32):
        assert torch.equal(vq.decode_codes(torch.full((1, 2, 2), 7, dtype=dtype)), wanted)


# --------------------------------------------------------------------------------- levels and sizes


def test_attention_stands_in_the_levels_that_the_config_names() -> None:
    autoencoder = Autoencoder(replace(CONFIG, channels=(8, 16, 32), attention_levels=(2,)))
    down = [len(level.attentions) for level in autoencoder.encoder.down_blocks]
    up = [len(level.attentions) for level in autoencoder.decoder.up_blocks]
    assert (down, up) == ([0, 0, 1], [2, 0, 0])  # after each residual block


@pytest.mark.parametrize("config", [CONFIG, VQ], ids=["KL", "VQ"])
@pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 1), (5, 8)])
@torch.no_grad()
def test_a_reconstruction_has_the_pictures_size(
    config: AutoencoderConfig, size: tuple[int, int]
) -> None:
    assert Autoencoder(config).reconstruct(torch.rand(2, 3, *size)).shape == (2, 3, *size)


@torch.no_grad()
def test_a_size_that_f_divides_is_reconstructed_as_it_is() -> None:
    autoencoder = Autoencoder(CONFIG)
    image = torch.rand(1, 3, 8, 12)
    assert torch.equal(autoencoder.reconstruct(image), autoencoder(image))


def test_padding_repeats_the_edge_at_the_bottom_and_right() -> None:
    image = torch.arange(6.0).view(1, 1, 2, 3)
    assert padded(image, 4)[0, 0].tolist() == [
        [0, 1, 2, 2],
        [3, 4, 5, 5],
        [3, 4, 5, 5],
        [3, 4, 5, 5],
    ]
