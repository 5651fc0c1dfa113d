"""Autoencoders in tiles: the result of the whole image, up to rounding, without a seam."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from small_autoencoders import KL, VQ, build, small_first_stage
from torch import Tensor, nn

from sdwidgets.checkpoints.first_stage import load_autoencoder
from sdwidgets.checkpoints.zoo import bundled_autoencoders, bundled_folder
from sdwidgets.configs import FIRST_STAGES, AutoencoderConfig
from sdwidgets.models import tiling
from sdwidgets.models.autoencoder import Autoencoder, Codes
from sdwidgets.models.layers import Downsample
from sdwidgets.models.tiling import in_tiles

CONFIGS = {
    "KL": KL,
    "VQ": VQ,
    "four levels": replace(KL, channels=(8, 8, 16, 16), blocks_per_level=1),
    "one level": replace(KL, channels=(8,)),
    "no attention": replace(KL, mid_attention=False),
    "attention at two levels": replace(KL, attention_levels=(1, 2)),
    "wider at the pixels": replace(KL, channels=(32, 8, 16)),
    **{name: small_first_stage(name) for name in FIRST_STAGES},
}


@pytest.fixture
def _short_strips(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tiling, "STRIP", 1)
    monkeypatch.setattr(tiling, "ROWS", 3)
    monkeypatch.setattr(tiling, "SCORES", 200)
    yield


def values(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def assert_rounding_apart(found: Tensor, expected: Tensor, bound: float = 1e-4) -> None:
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert (found - expected).abs().max() <= bound * expected.abs().max()


@torch.no_grad()
def there_and_back(autoencoder: Autoencoder, height: int, width: int, batch: int = 1) -> None:
    """Check that images and latents of (h, w) cells are the same in tiles."""
    factor = autoencoder.config.factor
    image = values(batch, 3, height * factor, width * factor)
    whole, tiled = autoencoder.encode(image), autoencoder.encode(image, tiled=True)
    assert_rounding_apart(tiled.mean, whole.mean)
    assert_rounding_apart(tiled.std, whole.std)
    latents = whole.mean
    assert_rounding_apart(autoencoder.decode(latents, tiled=True), autoencoder.decode(latents))


@pytest.mark.usefixtures("_short_strips")
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_tiles_give_the_result_of_the_whole(config: AutoencoderConfig) -> None:
    there_and_back(build(config), 7, 5)


@pytest.mark.usefixtures("_short_strips")
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (13, 2), (3, 3)])
def test_of_any_size(size: tuple[int, int]) -> None:
    there_and_back(build(KL), *size)


@pytest.mark.usefixtures("_short_strips")
def test_of_a_batch_with_unlike_members() -> None:
    autoencoder, latents = build(KL), values(3, 4, 5, 6)
    latents[1] = 4 * latents[1] + 7
    with torch.no_grad():
        tiled = autoencoder.decode(latents, tiled=True)
        assert_rounding_apart(tiled, autoencoder.decode(latents))
        assert_rounding_apart(tiled[1:2], autoencoder.decode(latents[1:2], tiled=True))


def test_an_image_of_a_single_strip() -> None:
    there_and_back(build(KL), 6, 4)


@pytest.mark.parametrize("name", bundled_autoencoders())
def test_of_the_bundled_autoencoders(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "STRIP", 1)
    autoencoder = load_autoencoder(bundled_folder(name))
    there_and_back(autoencoder, 96 // autoencoder.config.factor, 32 // autoencoder.config.factor)


@pytest.mark.usefixtures("_short_strips")
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_in_half_precision_it_is_the_rounding_of_that_type(kind: torch.dtype) -> None:
    exact, latents = build(KL), values(1, 4, 9, 5)
    half = build(KL).to(kind)
    found = half.decode(latents.to(kind), tiled=True)
    assert found.dtype == kind
    error = (half.decode(latents.to(kind)).float() - exact.decode(latents)).abs().max()
    assert (found.float() - exact.decode(latents)).abs().max() <= 2 * error


@pytest.mark.usefixtures("_short_strips")
@torch.no_grad()
def test_codes_are_those_of_the_whole_image() -> None:
    autoencoder, image = build(VQ), values(1, 3, 28, 20)
    whole, tiled = autoencoder.encode(image), autoencoder.encode(image, tiled=True)
    assert isinstance(whole, Codes) and isinstance(tiled, Codes)
    assert torch.equal(tiled.indices, whole.indices)


@pytest.mark.usefixtures("_short_strips")
@torch.no_grad()
def test_a_mean_far_from_zero_costs_no_precision() -> None:
    autoencoder = build(KL)
    autoencoder.decoder.conv_in.bias += 1000  # what a variance by E[x^2] - E[x]^2 would lose
    latents = values(1, 4, 9, 5)
    exact = build(KL).double()
    exact.decoder.conv_in.bias += 1000
    expected = exact.decode(latents.double()).float()
    error = (autoencoder.decode(latents) - expected).abs().max()
    assert (autoencoder.decode(latents, tiled=True) - expected).abs().max() <= 2 * error + 1e-6


@pytest.mark.parametrize("asymmetric", [True, False])
@pytest.mark.parametrize("size", [(7, 5), (8, 6), (2, 1)])
@pytest.mark.usefixtures("_short_strips", "seeded")
def test_odd_sizes_are_halved_as_by_the_layer(asymmetric: bool, size: tuple[int, int]) -> None:
    if asymmetric and min(size) == 1:
        size = (2, 2)
    layer = Downsample(4, asymmetric=asymmetric).requires_grad_(False)
    assert_rounding_apart(in_tiles([layer], values(2, 4, *size)), layer(values(2, 4, *size)))


@pytest.mark.parametrize(("part", "channels"), [("encoder", 3), ("decoder", 4)])
def test_the_layers_are_those_of_the_forward_pass(part: str, channels: int) -> None:
    network = getattr(build(replace(KL, attention_levels=(1, 2))), part)
    called: list[nn.Module] = []
    for layer in network.layers():
        layer.register_forward_pre_hook(lambda layer, _: called.append(layer))
    network(values(1, channels, 8, 8))
    assert called == list(network.layers())


@pytest.mark.usefixtures("_short_strips")
@torch.no_grad()
def test_no_more_is_kept_than_the_largest_output_of_a_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = replace(KL, channels=(8, 16, 32), mid_attention=False)
    autoencoder, latents = build(config), values(1, 4, 12, 12)
    side = 12 * config.factor
    held: dict[int, int] = {}
    most = 0
    keep, drop = tiling.Rows.keep, tiling.Rows._drop

    class Watched(dict[int, Tensor]):
        """The strips of a map, which are weighed whenever one is added."""

        def __setitem__(self, key: int, strip: Tensor) -> None:
            nonlocal most
            super().__setitem__(key, strip)
            held[id(self)] = sum(each.numel() for each in self.values())
            most = max(most, sum(held.values()))

    def kept(rows: tiling.Rows) -> None:
        rows._kept = Watched()
        keep(rows)

    def dropped(rows: tiling.Rows, before: int) -> None:
        drop(rows, before)
        if isinstance(rows._kept, Watched):
            held[id(rows._kept)] = sum(each.numel() for each in rows._kept.values())

    monkeypatch.setattr(tiling.Rows, "keep", kept)
    monkeypatch.setattr(tiling.Rows, "_drop", dropped)
    autoencoder.decode(latents, tiled=True)
    largest = 8 * side * side
    strips = 2 * (3 + 2 * 2) * 16 * side  # those being read and made, with the rows around them
    assert largest <= most <= largest + strips
