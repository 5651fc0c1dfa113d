"""What every test may use: helper modules beside this file, one thread, small fixtures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # references.py, vocabulary.py

if TYPE_CHECKING:
    from sdwidgets.configs import ModelConfig
    from sdwidgets.pipeline import LatentDiffusion


@pytest.fixture
def seeded() -> Iterator[None]:
    """The same random weights and inputs in every run of a test."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="session")
def make_model(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[ModelConfig], LatentDiffusion]:
    """A whole model of a config with random weights, the same for the same config.

    Its text encoder's vocabulary is the small one of vocabulary.py, whatever the config says.
    """
    import torch
    from vocabulary import write_vocabulary

    from sdwidgets.models.autoencoder import Autoencoder
    from sdwidgets.models.clip import CLIPText
    from sdwidgets.models.text import TextEncoder
    from sdwidgets.models.tokenizer import load_tokenizer
    from sdwidgets.models.unet import UNet
    from sdwidgets.pipeline import LatentDiffusion, noise_schedule

    folder = tmp_path_factory.mktemp("tokenizer")
    n = write_vocabulary(folder)
    tokenizer = load_tokenizer(folder)

    def make(config: ModelConfig) -> LatentDiffusion:
        text = replace(config.text[0], vocab_size=n, bos=n - 2, eos=n - 1, pad=n - 1)
        config = replace(config, text=(text,))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            unet, autoencoder = UNet(config.unet), Autoencoder(config.autoencoder)
            encoder = TextEncoder(text, CLIPText(text), tokenizer)
        unet.eval().requires_grad_(False)
        autoencoder.eval().requires_grad_(False)
        return LatentDiffusion(config, unet, autoencoder, encoder, noise_schedule(config.schedule))

    return make


@pytest.fixture
def tiny_model(make_model: Callable[[ModelConfig], LatentDiffusion]) -> LatentDiffusion:
    """A whole model with random weights: 16 x 16 pixels, milliseconds a step."""
    from sdwidgets.configs import TINY

    return make_model(TINY)
