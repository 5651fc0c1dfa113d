"""The table of families: a network belongs to the published family of its shapes, or nearest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sdwidgets.checkpoints.families import FAMILIES, Family, completed, family_of, is_exactly
from sdwidgets.configs import BK_SDM_TINY, SD1, SD2, SDXL, X4_UPSCALER, UNetConfig


def read(unet: UNetConfig) -> UNetConfig:
    """Return the config as shapes tell it: without heads."""
    return replace(unet, heads=(1,) * len(unet.channels))


@pytest.mark.parametrize("family", FAMILIES, ids=[family.key for family in FAMILIES])
def test_a_published_network_is_its_familys(family: Family) -> None:
    unet = read(family.preset.unet)
    assert family_of(unet) is family and is_exactly(family, unet)
    assert completed(unet, family) == family.preset.unet


def test_keys_and_titles_are_different() -> None:
    assert len({family.key for family in FAMILIES}) == len(FAMILIES)
    assert len({family.title for family in FAMILIES}) == len(FAMILIES)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"context_dim": 768}, "sd1"),
        ({"context_dim": 768, "guidance_dim": 256}, "lcm"),
        ({"context_dim": 768, "in_channels": 9}, "sd1-inpainting"),
        ({"context_dim": 768, "in_channels": 8}, "pix2pix"),
        ({"context_dim": 1024}, "sd2"),
        ({"context_dim": 1024, "in_channels": 9}, "sd2-inpainting"),
        ({"context_dim": 1024, "in_channels": 5}, "sd2-depth"),
        ({"context_dim": 1024, "in_channels": 7}, "x4-upscaler"),
        ({"context_dim": 2048, "vector_dim": 2816}, "sdxl"),
        ({"context_dim": 2048, "vector_dim": 2816, "in_channels": 9}, "sdxl-inpainting"),
        ({"context_dim": 1280, "vector_dim": 2560}, "sdxl-refiner"),
    ],
)
def test_other_sizes_belong_to_the_nearest_family(changes: dict[str, int], key: str) -> None:
    small = replace(SD1.unet, channels=(64, 128), depths=(1, 1), heads=(1, 1), **changes)
    family = family_of(small)
    assert family is not None and family.key == key
    assert not is_exactly(family, small)


@pytest.mark.parametrize(
    ("context", "vector", "inputs"), [(64, 0, 4), (1024, 2048, 4), (768, 0, 6), (2048, 0, 4)]
)
def test_inputs_of_no_family(context: int, vector: int, inputs: int) -> None:
    unet = replace(SD1.unet, context_dim=context, vector_dim=vector, in_channels=inputs)
    assert family_of(unet) is None


def test_heads_are_the_familys() -> None:
    small = read(replace(SD1.unet, channels=(64, 192, 256), depths=(1, 1, 1)))
    for preset, heads in ((SD1, (8, 8, 8)), (SD2, (1, 3, 4)), (SDXL, (1, 3, 4))):
        unet = replace(
            small, context_dim=preset.unet.context_dim, vector_dim=preset.unet.vector_dim
        )
        family = family_of(unet)
        assert family is not None and completed(unet, family).heads == heads


def test_a_level_as_wide_as_the_text_attends_as_in_the_family() -> None:
    unet = replace(X4_UPSCALER.unet, channels=(64, 128, 128, 1024), heads=(8, 8, 8, 8))
    shown = replace(unet, cross_only=(False, True, True, False))  # what shapes tell
    family = family_of(shown)
    assert family is not None and completed(shown, family) == unet


def test_a_spelt_out_way_up_is_the_same_network() -> None:
    unet = replace(BK_SDM_TINY.unet, up_depths=((1, 1), (1, 1), (1, 1)))
    family = family_of(unet)
    assert family is not None and family.key == "bk-sdm-tiny"
