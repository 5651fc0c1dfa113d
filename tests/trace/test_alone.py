from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sdwidgets.errors import InputError
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import AttentionSettings
from sdwidgets.trace.alone import alone

SETTINGS: dict[str, Any] = {"steps": 3, "sampler": "euler", "guidance_scale": 3.0}
ALL = AttentionSettings(uncond=True, self_attention=True, queries=True)


def test_an_image_of_a_batch_alone_has_the_record_of_a_run_alone(
    tiny_model: LatentDiffusion,
) -> None:
    prompts = ["the cat", "a bird with a dog"]
    noise = np.random.default_rng(0).standard_normal((2, 4, 8, 8)).astype(np.float32)
    batch = tiny_model.generate(prompts, seed=4, latents=noise, attention=ALL, **SETTINGS)
    for number in (0, 1):
        one = alone(batch, number)
        wanted = tiny_model.generate(
            prompts[number], seed=4 + number, latents=noise[[number]], attention=ALL, **SETTINGS
        )
        assert one.settings == wanted.settings and one.batch_size == 1
        assert one.tokens == wanted.tokens and one.negative_tokens == wanted.negative_tokens
        assert np.array_equal(one.given_latents, wanted.given_latents)
        assert one.images == batch.images[number : number + 1]
        for own, other in zip(one.steps, wanted.steps, strict=True):
            for name in ("x", "denoised", "x_next", "cond", "uncond"):
                assert np.allclose(getattr(own, name), getattr(other, name), atol=1e-4), name
            for name in ("cross", "uncond", "cells"):
                maps, theirs = getattr(own.attention, name), getattr(other.attention, name)
                assert list(maps) == list(theirs)
                for layer in maps:
                    assert maps[layer].shape == theirs[layer].shape
                    assert np.allclose(maps[layer], theirs[layer], atol=2e-3), (name, layer)
            assert all(q.values.shape[0] == 1 for q in own.attention.queries.values())
        assert one.steps[1].x is one.steps[0].x_next


def test_it_shares_no_memory_with_the_batch(tiny_model: LatentDiffusion) -> None:
    batch = tiny_model.generate("the cat", batch_size=2, seed=1, attention=True, **SETTINGS)
    one = alone(batch, 1)
    assert not np.shares_memory(one.steps[0].x, batch.steps[0].x)
    layer = one.layers[0]
    maps = (record.steps[0].attention.cross[layer] for record in (one, batch))
    assert not np.shares_memory(*maps)


def test_of_an_image_that_is_not_there(tiny_model: LatentDiffusion) -> None:
    with pytest.raises(InputError):
        alone(tiny_model.generate("the cat", seed=1, **SETTINGS), 1)
