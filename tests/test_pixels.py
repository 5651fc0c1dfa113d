"""Images to tensors and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from small_autoencoders import noise

from sdwidgets.pixels import from_levels, to_image, to_levels, to_tensor


@pytest.fixture
def image() -> Image.Image:
    return noise(48, 40)


def test_an_image_comes_back_from_its_tensor(image: Image.Image) -> None:
    pixels = to_tensor(image)
    assert pixels.shape == (1, 3, 40, 48) and pixels.dtype == torch.float32
    assert pixels.min() >= -1 and pixels.max() <= 1
    assert np.array_equal(np.array(to_image(pixels[0])), np.array(image))


def test_an_array_is_as_good_as_an_image(image: Image.Image) -> None:
    array = np.array(image)
    array.flags.writeable = False
    assert torch.equal(to_tensor(array), to_tensor(image))


def test_every_level_comes_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_levels(from_levels(levels)), levels)
    assert from_levels(levels)[[0, 255]].tolist() == [-1, 1]


def test_what_lies_outside_is_clipped_and_nan_is_grey() -> None:
    values = torch.tensor([-math.inf, -2.0, 2.0, math.inf, math.nan])
    assert to_levels(values).tolist() == [0, 0, 255, 255, 128]
    assert to_levels(values.half()).tolist() == [0, 0, 255, 255, 128]
