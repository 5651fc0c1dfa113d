"""What networks see beside the latents: masked images, images to edit, depth, small images."""

from __future__ import annotations

import pytest
import torch

from sdwidgets.configs import (
    AutoencoderConfig,
    DepthConfig,
    ImageConfig,
    LowResolutionConfig,
    MaskedImageConfig,
)
from sdwidgets.errors import InputError
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.models.conditioning import Given, Held, condition, read
from sdwidgets.models.embedders import embedders_of
from sdwidgets.models.images import SmallImage, seeing

SIZE = (12, 8)


@pytest.fixture
def autoencoder(seeded: None) -> Autoencoder:
    config = AutoencoderConfig(
        channels=(8, 16), blocks_per_level=1, norm_groups=4, scaling_factor=0.5, shift_factor=0.1
    )
    return Autoencoder(config).eval().requires_grad_(False)


@pytest.fixture
def image(seeded: None) -> torch.Tensor:
    return torch.rand(3, 8, 12) * 2 - 1


def test_a_masked_image_is_the_mask_and_the_latents_of_what_is_kept(
    autoencoder: Autoencoder, image: torch.Tensor
) -> None:
    mask = torch.zeros(1, 8, 12)
    mask[:, 2:6, 4:] = 1
    (seen,) = embedders_of([MaskedImageConfig()], autoencoder=autoencoder)
    concat = seen.embed([Given("a cat", SIZE, image=Held(image), mask=Held(mask))]).concat
    kept = torch.where(mask == 1, 0, image)
    assert concat.shape == (1, 5, 4, 6)
    assert concat[0, 0].tolist() == mask[0, ::2, ::2].tolist()
    assert torch.allclose(concat[:, 1:], autoencoder.encode(kept[None]).mean)


def test_latent_diffusions_own_mask_comes_last_in_signs_over_black(
    autoencoder: Autoencoder, image: torch.Tensor
) -> None:
    mask = torch.zeros(1, 8, 12)
    mask[:, 2:6, 4:] = 1
    config = MaskedImageConfig(mask_last=True, signed=True, fill=-1.0)
    (seen,) = embedders_of([config], autoencoder=autoencoder)
    concat = seen.embed([Given(None, SIZE, image=Held(image), mask=Held(mask))]).concat
    kept = torch.where(mask == 1, -1, image)
    assert concat.shape == (1, config.concat_width, 4, 6)
    assert torch.allclose(concat[:, :4], autoencoder.encode(kept[None]).mean)
    assert concat[0, 4].tolist() == (2 * mask[0, ::2, ::2] - 1).tolist()


@pytest.mark.parametrize("has_image", [True, False])
def test_without_a_mask_all_is_repainted(
    autoencoder: Autoencoder, image: torch.Tensor, has_image: bool
) -> None:
    (seen,) = embedders_of([MaskedImageConfig()], autoencoder=autoencoder)
    given = Given("a cat", SIZE, image=Held(image) if has_image else None)
    concat = seen.embed([given]).concat
    grey = autoencoder.encode(torch.zeros(1, 3, 8, 12)).mean
    assert (concat[:, 0] == 1).all()
    assert torch.allclose(concat[:, 1:], grey)


def test_an_image_to_edit_is_its_mean_latents_unscaled(
    autoencoder: Autoencoder, image: torch.Tensor
) -> None:
    (seen,) = embedders_of([ImageConfig()], autoencoder=autoencoder)
    batch = [Given("make it snow", SIZE, image=Held(image)), Given(None, SIZE)]
    concat = seen.embed(batch).concat
    moments = autoencoder.quant_conv(autoencoder.encoder(image[None]))
    assert torch.allclose(concat[:1], moments[:, :4], atol=1e-4)
    assert not concat[1].any()


def test_a_depth_map_goes_from_minus_one_to_one(autoencoder: Autoencoder) -> None:
    (seen,) = embedders_of([DepthConfig()], autoencoder=autoencoder)
    slope = torch.arange(40.0).expand(1, 20, 40) * 7 + 300
    batch = [
        Given("a cat", SIZE, depth=Held(slope)),
        Given("a cat", SIZE),
        Given("a cat", SIZE, depth=Held(torch.full((1, 5, 5), 3.0))),
    ]
    concat = seen.embed(batch).concat
    assert concat.shape == (3, 1, 4, 6)
    assert (concat[0].min(), concat[0].max()) == (-1, 1)
    assert (concat[0].diff(dim=-1) > 0).all()
    assert not concat[1:].any()  # nothing given, and nothing near or far


def test_a_small_image_goes_beside_the_latents_with_its_noise_as_a_class(
    autoencoder: Autoencoder,
) -> None:
    (seen,) = embedders_of([LowResolutionConfig()], autoencoder=autoencoder)
    small = torch.rand(3, 4, 6)
    told = condition(
        [seen],
        [Given("a cat", SIZE, image=Held(small), noise_level=20), Given(None, SIZE)],
    )
    assert torch.equal(told.concat[0], small) and not told.concat[1].any()
    assert told.label.tolist() == [20, 0]
    half = told.to(torch.device("cpu"), torch.float16)
    assert (half.concat.dtype, half.label.dtype) == (torch.float16, torch.int64)


def test_a_small_image_without_levels_has_no_noise_and_no_class(autoencoder: Autoencoder) -> None:
    (seen,) = embedders_of([LowResolutionConfig(levels=0)], autoencoder=autoencoder)
    small = torch.rand(3, 4, 6)
    told = condition([seen], [Given(None, SIZE, image=Held(small)), Given(None, SIZE)])
    assert torch.equal(told.concat[0], small) and not told.concat[1].any()
    assert told.label is None
    with pytest.raises(InputError, match="takes no noise_level"):
        read([seen], [Given(None, SIZE, image=Held(small), noise_level=20)])


@pytest.mark.parametrize("level", [-1, 1000])
def test_a_noise_level_beyond_the_table_is_refused(autoencoder: Autoencoder, level: int) -> None:
    seen = SmallImage(LowResolutionConfig(), autoencoder)
    with pytest.raises(InputError, match="0 to 999") as caught:
        seen.embed([Given("a cat", SIZE, noise_level=level)])
    assert caught.value.parameter == "noise_level"


def test_images_of_another_size_are_refused(autoencoder: Autoencoder) -> None:
    other = Held(torch.zeros(3, 16, 16))
    for config in (MaskedImageConfig(), LowResolutionConfig()):
        (seen,) = embedders_of([config], autoencoder=autoencoder)
        with pytest.raises(InputError, match="must"):
            seen.embed([Given("a cat", SIZE, image=other)])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image", Held(torch.zeros(1, 8, 12))),
        ("image", torch.zeros(3, 8, 12)),
        ("image", Held(torch.full((3, 8, 12), torch.nan))),
        ("mask", Held(torch.zeros(8, 12))),
        ("depth", Held(torch.zeros(1, 8, 12, dtype=torch.int32))),
        ("noise_level", 0.5),
        ("aesthetic_score", "high"),
        ("guidance_scale", "high"),
    ],
)
def test_what_cannot_be_given_is_refused(name: str, value: object) -> None:
    with pytest.raises(InputError) as caught:
        Given("a cat", SIZE, **{name: value})
    assert caught.value.parameter == name


def test_a_model_without_such_an_input_refuses_it(autoencoder: Autoencoder) -> None:
    embedders = embedders_of([DepthConfig()], autoencoder=autoencoder)
    with pytest.raises(InputError, match="takes no image"):
        read(embedders, [Given(None, SIZE, image=Held(torch.zeros(3, 8, 12)))])


def test_the_same_image_is_seen_once(autoencoder: Autoencoder, image: torch.Tensor) -> None:
    (seen,) = embedders_of([ImageConfig()], autoencoder=autoencoder)
    calls = []
    autoencoder.encoder.register_forward_hook(lambda *_: calls.append(1))
    held = Held(image)
    told = condition([seen], [Given("a", SIZE, image=held)] * 3)
    assert told.concat.shape == (3, 4, 4, 6) and len(calls) == 1


def test_an_embedder_is_for_one_autoencoder(autoencoder: Autoencoder, image: torch.Tensor) -> None:
    other = Autoencoder(autoencoder.config).eval()
    (seen,) = embedders_of([ImageConfig()], autoencoder=autoencoder)
    moved = seeing(seen, other)
    given = [Given("a", SIZE, image=Held(image))]
    assert seeing(seen, autoencoder) is seen
    assert moved.model is seen.model
    assert not torch.equal(moved.embed(given).concat, seen.embed(given).concat)


def test_without_an_autoencoder_there_is_no_such_embedder() -> None:
    with pytest.raises(ValueError, match="autoencoder"):
        embedders_of([ImageConfig()])
