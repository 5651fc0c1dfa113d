"""Recording on a GPU equals recording on the CPU, and ends up on the CPU."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import AttentionSettings

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here"),
]

SETTINGS: dict[str, Any] = {"steps": 3, "seed": 1, "sampler": "euler"}
EVERYTHING = AttentionSettings(heads=True, uncond=True, self_attention=True, queries=True)


@pytest.fixture
def on_gpu(tiny_model: LatentDiffusion) -> LatentDiffusion:
    twin = copy.deepcopy(tiny_model)
    for part in (twin.unet, twin.autoencoder, twin.text.model):
        part.to("cuda")
    return twin


def test_looking_does_not_change_the_image(on_gpu: LatentDiffusion) -> None:
    plain = on_gpu.generate("a cat", **SETTINGS)
    looked = on_gpu.generate("a cat", attention=EVERYTHING, **SETTINGS)
    assert np.array_equal(plain.steps[-1].x_next, looked.steps[-1].x_next)


def test_maps_are_those_of_the_cpu(on_gpu: LatentDiffusion, tiny_model: LatentDiffusion) -> None:
    here, there = (m.generate("a cat", attention=True, **SETTINGS) for m in (tiny_model, on_gpu))
    for one, other in zip(here.steps, there.steps, strict=True):
        for name, maps in one.attention.cross.items():
            assert np.abs(maps - other.attention.cross[name]).max() <= 1 / 255
    assert np.allclose(here.heat_map("cat"), there.heat_map("cat"), atol=1 / 255)


def test_other_words_and_the_run_without_one(on_gpu: LatentDiffusion) -> None:
    trace = on_gpu.generate("the cat", attention=EVERYTHING, **SETTINGS)
    assert np.abs(trace.query("cat", prompt="the cat") - trace.heat_map("cat")).max() < 1 / 255
    assert trace.ablate("cat").change.max() > 0
