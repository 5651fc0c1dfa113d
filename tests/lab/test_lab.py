"""The lab's engine: images, their reconstructions and their latents."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from small_autoencoders import noise

from sdwidgets.errors import InputError
from sdwidgets.lab import Knock
from sdwidgets.lab.between import between
from sdwidgets.lab.catalogue import entry, usable
from sdwidgets.lab.contact_sheet import contact_sheet
from sdwidgets.lab.directions import principal_directions
from sdwidgets.lab.forward import forward_diffusion, prompt_of
from sdwidgets.lab.history import History
from sdwidgets.lab.latents import code_colours, look_inside
from sdwidgets.lab.original import Original, fit
from sdwidgets.lab.receptive_field import receptive_field
from sdwidgets.lab.reconstruction import encode, measure
from sdwidgets.lab.samples import samples
from sdwidgets.lab.workbench import Workbench
from sdwidgets.metrics import psnr
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.pixels import to_image, to_tensor

# ----------------------------------------------------------------------------------- images


@pytest.mark.parametrize(
    ("size", "expected", "word"),
    [
        ((128, 96), (128, 96), ""),
        ((100, 40), (100, 40), ""),  # never enlarged
        ((512, 256), (128, 64), "resized"),
        ((256, 512), (64, 128), "resized"),
        ((7, 7), (32, 32), "enlarged"),
        ((9, 33), (32, 117), "enlarged"),
        ((1, 2000), (32, 128), "stretched"),
        ((2000, 1), (128, 32), "stretched"),
        ((1, 1), (32, 32), "enlarged"),
    ],
)
def test_a_picture_is_brought_to_its_side(
    size: tuple[int, int], expected: tuple[int, int], word: str
) -> None:
    image, notices = fit(Image.new("RGB", size), 128)
    assert image.size == expected
    assert [word in notice for notice in notices] == ([True] if word else [])


def test_samples_are_pictures_with_captions() -> None:
    assert len(samples()) == 6
    for sample in samples():
        assert Image.open(sample.path).size == (128, 128)
        assert sample.caption


# ---------------------------------------------------------------------------- reconstruction


def test_a_reconstruction_is_the_autoencoders(kl: Autoencoder, image: Image.Image) -> None:
    encoded = encode(kl, to_tensor(image))
    expected = kl.reconstruct(to_tensor(image)).clamp(-1, 1)
    torch.testing.assert_close(encoded.rebuilt, expected)
    result = measure("tiny", encoded, None)
    assert result.image.size == image.size
    assert result.psnr == pytest.approx(psnr(to_tensor(image), expected).item())
    assert result.error.shape == (40, 48)
    assert result.padded is None and result.notices == ()
    assert math.isnan(result.perceptual)


def test_a_size_that_f_does_not_divide_is_padded_and_said(kl: Autoencoder) -> None:
    encoded = encode(kl, to_tensor(noise(41, 34, seed=0)))
    assert encoded.latents.shape[-2:] == (9, 11)
    result = measure("tiny", encoded, None)
    assert result.image.size == (41, 34)
    assert result.padded == (44, 36)
    assert result.notices == ("Padded to 44 x 36 for tiny and cropped back.",)


def test_bits_of_codes_are_log_k_by_f_squared(vq: Autoencoder, image: Image.Image) -> None:
    result = measure("tiny", encode(vq, to_tensor(image)), None)
    assert result.bits == pytest.approx(math.log2(20) / 16)


def test_an_autoencoder_that_gives_nan_says_so(kl: Autoencoder, image: Image.Image) -> None:
    bias = kl.decoder.conv_out.bias
    kept = bias.clone()
    try:
        bias.fill_(math.nan)
        result = measure("tiny", encode(kl, to_tensor(image)), None)
    finally:
        bias.copy_(kept)
    assert "NaN" in result.notices[0]
    assert math.isnan(result.psnr)


# ----------------------------------------------------------------------------------- latents


def test_latents_of_a_kl_are_mean_deviation_and_a_sample(
    kl: Autoencoder, image: Image.Image
) -> None:
    encoded = encode(kl, to_tensor(image))
    latents = look_inside("tiny", kl, encoded)
    assert latents.std is not None and latents.codes is None
    assert latents.mean.shape == latents.std.shape == latents.sample.shape == (4, 10, 12)
    scores = (latents.sample - latents.mean) / latents.std
    assert np.std(scores) == pytest.approx(1, abs=0.15)
    first = latents.statistics[0]
    assert first.mean == pytest.approx(float(latents.mean[0].mean()))
    assert first.min <= first.mean <= first.max


def test_codes_of_a_vq_are_counted(vq: Autoencoder, image: Image.Image) -> None:
    encoded = encode(vq, to_tensor(image))
    latents = look_inside("tiny", vq, encoded)
    assert latents.std is None and latents.codes is not None
    codes = latents.codes
    assert codes.count == 20
    assert codes.indices.shape == (10, 12)
    assert codes.used == len(np.unique(codes.indices))
    assert 1 <= codes.perplexity <= codes.used
    assert codes.colours.shape == (10, 12, 3)


def test_codes_that_are_alike_have_colours_that_are_alike() -> None:
    codes = torch.tensor([[0.0, 0.0], [0.01, 0.0], [5.0, 1.0], [-5.0, 2.0]])
    colours = code_colours(codes).astype(int)
    near, far = (np.abs(colours[0] - colours[i]).sum() for i in (1, 2))
    assert near < far


def test_a_codebook_of_one_number_a_code_has_colours() -> None:
    assert code_colours(torch.tensor([[0.0], [1.0]])).shape == (2, 3)


def test_the_first_direction_is_the_one_of_most_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(1, 3, 40, 40, generator=generator) * torch.tensor([1.0, 5.0, 2.0]).view(3, 1, 1)
    found = principal_directions([z, z[..., :7]])
    assert len(found) == 3
    assert found.vectors[0].abs().argmax() == 1
    assert found.std[0].item() == pytest.approx(5, rel=0.1)
    assert found.shares[0] == pytest.approx(25 / 30, abs=0.05)
    assert sum(found.shares) == pytest.approx(1)
    torch.testing.assert_close(found.vectors @ found.vectors.mT, torch.eye(3), atol=1e-5, rtol=0)


def test_at_most_eight_directions_and_one_of_one_channel() -> None:
    assert len(principal_directions([torch.randn(1, 16, 8, 8)])) == 8
    assert principal_directions([torch.randn(1, 1, 8, 8)]).shares == pytest.approx((1.0,))


# ------------------------------------------------------- receptive fields, between, forward


def test_a_cell_reaches_its_own_pixels_most(kl: Autoencoder, image: Image.Image) -> None:
    encoded = encode(kl, to_tensor(image))
    found = receptive_field(kl, encoded, "cell", 5, 4)
    assert found.heat.shape == (40, 48)
    assert found.heat.max() == 255
    own = found.heat[16:20, 20:24].mean()
    assert own > found.heat.mean()
    assert 0 < found.share < 1


def test_a_pixel_reaches_its_own_cell(kl: Autoencoder, image: Image.Image) -> None:
    found = receptive_field(kl, encode(kl, to_tensor(image)), "pixel", 22, 17)
    assert found.heat.shape == (10, 12)
    assert found.heat[4, 5] > found.heat.mean()


def test_what_is_not_there_touches_nothing(kl: Autoencoder, image: Image.Image) -> None:
    encoded = encode(kl, to_tensor(image))
    with pytest.raises(InputError):
        receptive_field(kl, encoded, "cell", 12, 0)
    with pytest.raises(InputError):
        receptive_field(kl, encoded, "pixel", 0, 40)


def test_the_way_between_begins_and_ends_with_the_pictures(
    kl: Autoencoder, image: Image.Image
) -> None:
    first, second = (encode(kl, to_tensor(one)) for one in (image, noise(48, 40, seed=1)))
    frames = list(between(kl, first, second, steps=3))
    assert [frame.w for frame in frames] == [0, 0.5, 1]
    assert np.array_equal(np.array(frames[0].pixel), np.array(image))
    for frame, encoded in ((frames[0], first), (frames[2], second)):
        assert np.array_equal(np.array(frame.latent), np.array(to_image(encoded.rebuilt[0])))


def test_forward_diffusion_goes_from_picture_to_noise(tiny_model: LatentDiffusion) -> None:
    pixels = to_tensor(noise(32, 33, seed=0))
    levels = list(forward_diffusion(tiny_model, pixels, "a cat", levels=4))
    assert [level.t for level in levels] == [0, 333, 666, 999]
    assert [level.sigma for level in levels] == sorted(level.sigma for level in levels)
    for level in levels:
        assert level.snr_db == pytest.approx(-20 * math.log10(level.sigma))
        assert level.noisy.size == level.guess.size == (32, 33)
        assert level.latents.shape == (17, 16, 3)


def test_a_model_that_reads_no_text_is_told_nothing(tiny_model: LatentDiffusion) -> None:
    assert prompt_of(tiny_model, "a cat") == "a cat"
    silent = replace(tiny_model, embedders=())
    assert prompt_of(silent, "a cat") == ""


def test_the_less_noise_the_nearer_to_the_reconstruction(tiny_model: LatentDiffusion) -> None:
    pixels = to_tensor(noise(32, 32))
    rebuilt = encode(tiny_model.autoencoder, pixels).rebuilt
    levels = list(forward_diffusion(tiny_model, pixels, levels=3))
    apart = [(to_tensor(level.noisy) - rebuilt).abs().mean().item() for level in levels]
    assert apart[0] < apart[1] < apart[2]


# --------------------------------------------------------------------- the workbench, the catalogue


def test_a_picture_is_encoded_once(kl: Autoencoder, image: Image.Image) -> None:
    bench, picture = Workbench(), Original("noise", image)
    bench.put("tiny", kl)
    assert bench.encoded("tiny", picture) is bench.encoded("tiny", picture)
    assert bench.reconstruction("tiny", picture) is bench.reconstruction("tiny", picture)


def test_another_autoencoder_of_that_name_encodes_anew(
    kl: Autoencoder, vq: Autoencoder, image: Image.Image
) -> None:
    bench, picture = Workbench(), Original("noise", image)
    bench.put("mine", kl)
    before = bench.encoded("mine", picture)
    bench.put("mine", vq)
    assert bench.encoded("mine", picture) is not before


def test_without_edits_the_edited_picture_is_the_reconstruction(
    kl: Autoencoder, image: Image.Image
) -> None:
    bench, picture = Workbench(), Original("noise", image)
    bench.put("tiny", kl)
    edited = bench.edited("tiny", picture, History())
    result = bench.reconstruction("tiny", picture)
    assert np.array_equal(np.array(edited.image), np.array(result.image))
    assert edited.psnr == pytest.approx(result.psnr)


def test_edits_are_applied_in_order(kl: Autoencoder, image: Image.Image) -> None:
    bench, picture = Workbench(), Original("noise", image)
    bench.put("tiny", kl)
    edited = bench.edited("tiny", picture, History().add(Knock(0)).add(Knock(3)))
    assert np.abs(edited.latents[[0, 3]]).max() == 0
    assert np.abs(edited.latents[1]).max() > 0
    assert edited.edits == ("channel 0 knocked out", "channel 3 knocked out")


def test_entries_say_how_much_smaller(kl: Autoencoder, vq: Autoencoder) -> None:
    of_kl, of_vq = entry("a", kl.config), entry("b", vq.config)
    assert (of_kl.kind, of_kl.factor, of_kl.ratio, of_kl.bits) == ("KL", 4, 12, 4)
    assert (of_vq.kind, of_vq.codes, of_vq.ratio) == ("VQ", 20, 48)
    assert of_vq.bits == pytest.approx(math.log2(20) / 16)
    assert of_kl.label == "f = 4 · KL · 4 channels · 12x fewer numbers"


@pytest.mark.parametrize("name", ["", "x" * 61, 5, None])
def test_a_name_that_cannot_be_shown_is_refused(name: object, kl: Autoencoder) -> None:
    with pytest.raises(InputError, match="1 to 60 characters"):
        usable(name, kl)


def test_the_contact_sheet_has_a_column_for_each(kl: Autoencoder, image: Image.Image) -> None:
    result = measure("tiny", encode(kl, to_tensor(image)), None)
    one, two = contact_sheet(image, [result]), contact_sheet(image, [result, result])
    assert two.width > one.width > 2 * image.width
