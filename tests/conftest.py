"""For every test: the helper modules beside this file, a single thread, small fixtures."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # references.py, vocabulary.py

if TYPE_CHECKING:
    from sdwidgets.configs import EmbedderConfig, ModelConfig
    from sdwidgets.pipeline import LatentDiffusion


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Make Ctrl-C interrupt even where tests run in the background, where it is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _rounding() -> Iterator[None]:
    """Round as another machine would, if SDWIDGETS_ROUNDING asks for it."""
    if not os.environ.get("SDWIDGETS_ROUNDING"):
        yield
        return
    from rounding import round_otherwise

    with pytest.MonkeyPatch.context() as patch:
        round_otherwise(patch)
        yield


@pytest.fixture
def seeded() -> Iterator[None]:
    """Give a test the same random weights and inputs in every run."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="session")
def make_model(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[ModelConfig], LatentDiffusion]:
    """Return a whole model with random weights, the same for the same config.

    Its text encoders have the small vocabulary of vocabulary.py, whatever the config says.
    """
    import torch
    from vocabulary import write_vocabulary

    from sdwidgets.configs import NeighboursConfig, TextConfig
    from sdwidgets.models.autoencoder import Autoencoder
    from sdwidgets.models.clip import CLIPText
    from sdwidgets.models.embedders import embedders_of
    from sdwidgets.models.text import TextEncoder
    from sdwidgets.models.tokenizer import load_tokenizer
    from sdwidgets.models.unet import UNet
    from sdwidgets.pipeline import LatentDiffusion, noise_schedule

    folder = tmp_path_factory.mktemp("tokenizer")
    n = write_vocabulary(folder)
    tokenizer = load_tokenizer(folder)

    def make(config: ModelConfig) -> LatentDiffusion:
        vocabulary = {"vocab_size": n, "bos": n - 2, "eos": n - 1}

        def small(each: EmbedderConfig) -> EmbedderConfig:
            if isinstance(each, NeighboursConfig) and each.text is not None:
                return replace(each, text=small(each.text))
            if isinstance(each, TextConfig):
                return replace(each, **vocabulary, pad=0 if each.pad == 0 else n - 1)
            return each

        config = replace(config, embedders=tuple(map(small, config.embedders)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            unet, autoencoder = UNet(config.unet), Autoencoder(config.autoencoder)
            texts = [TextEncoder(text, CLIPText(text), tokenizer) for text in config.text]
            embedders = embedders_of(config.embedders, texts, autoencoder)
        for each in embedders:
            each.model.eval().requires_grad_(False)
        unet.eval().requires_grad_(False)
        autoencoder.eval().requires_grad_(False)
        schedule = noise_schedule(config.schedule)
        return LatentDiffusion(config, unet, autoencoder, embedders, schedule)

    return make


@pytest.fixture
def tiny_model(make_model: Callable[[ModelConfig], LatentDiffusion]) -> LatentDiffusion:
    """A whole model with random weights: 16 x 16 pixels, milliseconds per step."""
    from sdwidgets.configs import TINY

    return make_model(TINY)


def pytest_collection_finish() -> None:
    """What all imports have made stays: then collecting garbage, which many tests do, is quick."""
    gc.collect()
    gc.freeze()
