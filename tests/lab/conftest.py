"""Small autoencoders, and an image of noise."""

from __future__ import annotations

import pytest
from PIL import Image
from small_autoencoders import KL, VQ, build, noise

from sdwidgets.models.autoencoder import Autoencoder


@pytest.fixture(scope="session")
def kl() -> Autoencoder:
    return build(KL)


@pytest.fixture(scope="session")
def vq() -> Autoencoder:
    return build(VQ)


@pytest.fixture
def image() -> Image.Image:
    """48 x 40 pixels."""
    return noise(48, 40)
