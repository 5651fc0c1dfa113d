"""Label maps: shares of classes at the latents' size, mapped to channels beside the latents."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sdwidgets.configs import LabelMapConfig
from sdwidgets.errors import InputError
from sdwidgets.models.conditioning import Given, Held, condition, read
from sdwidgets.models.embedders import embedders_of
from sdwidgets.models.label_map import LabelMap

CONFIG = LabelMapConfig(("sky", "sea", "tree", "sand"), stages=2, channels=3)
SIZE = (24, 16)


def given(values: torch.Tensor | None) -> Given:
    return Given(None, SIZE, label_map=None if values is None else Held(values))


@pytest.fixture
def label_map(seeded: None) -> LabelMap:
    (embedder,) = embedders_of([CONFIG])
    assert isinstance(embedder, LabelMap)
    return embedder


def test_channels_are_those_of_one_hot_maps_halved_bilinearly(label_map: LabelMap) -> None:
    values = torch.randint(0, 4, (1, 16, 24))
    concat = condition([label_map], [given(values.float())]).concat
    shares = F.one_hot(values, 4).permute(0, 3, 1, 2).float()
    for _ in range(CONFIG.stages):
        shares = F.interpolate(shares, scale_factor=0.5, mode="bilinear")
    wanted = label_map.model.channel_mapper(shares)
    assert concat is not None
    assert concat.shape == (1, CONFIG.concat_width, 4, 6)
    assert torch.allclose(concat, wanted, atol=1e-5)


def test_no_map_is_zeros(label_map: LabelMap) -> None:
    concat = condition([label_map], [given(None), given(torch.zeros(1, 16, 24))]).concat
    assert concat is not None
    assert [bool(row.any()) for row in concat] == [False, True]


def test_its_channels_are_learnt(label_map: LabelMap) -> None:
    concat = condition([label_map], [given(torch.ones(1, 16, 24))]).concat
    assert concat is not None
    concat.sum().backward()
    (grad,) = (weight.grad for weight in label_map.model.parameters())
    sea = torch.tensor([0.0, 24.0, 0.0, 0.0])  # each of the 4 x 6 cells is sea
    torch.testing.assert_close(grad[:, :, 0, 0], sea.expand(3, 4))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (torch.zeros(1, 16, 16), "must have the size 24 x 16 .* got 16 x 16"),
        (torch.full((1, 16, 24), 4.0), "whole numbers from 0 to 3"),
        (torch.full((1, 16, 24), -1.0), "whole numbers from 0 to 3"),
        (torch.full((1, 16, 24), 0.5), "whole numbers from 0 to 3"),
    ],
)
def test_maps_that_fit_neither_image_nor_classes_are_refused(
    label_map: LabelMap, values: torch.Tensor, says: str
) -> None:
    with pytest.raises(InputError, match=says) as caught:
        label_map.embed([given(values)])
    assert caught.value.parameter == "label_map"


def test_it_has_no_words(label_map: LabelMap) -> None:
    assert read([label_map], [given(None)]).ids.shape == (1, 0)
