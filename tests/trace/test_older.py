"""Settings that version 0.1 wrote, read so that they make the same images today."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sdwidgets.models.conditioning import Given
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import Settings
from sdwidgets.trace import Trace, read_record, read_settings
from sdwidgets.trace.images import encode_png
from sdwidgets.trace.older import settings_of

OLD: dict[str, Any] = {
    "prompt": "a cat", "negative_prompt": "", "steps": 20, "sampler": "dpmpp_2m",
    "schedule": "default", "guidance_scale": 3.0, "guidance_rescale": 0.0, "seed": 3, "width": 16,
    "height": 16, "batch_size": 1, "strength": 0.8, "eta": 0.0, "original_size": None, "crop": None,
    "target_size": None,
}  # fmt: skip


def read(task: str = "text to image", **changes: Any) -> Settings:
    return Settings(**settings_of({"task": task, "settings": {**OLD, **changes}})).checked()


def test_the_default_schedule_was_that_of_the_models_config() -> None:
    assert read().schedule == "config"
    assert read(schedule="karras").schedule == "karras"


def test_only_32_bits_of_a_seed_had_an_effect() -> None:
    assert read(seed=2**32 + 5).seed == 5
    assert read(seed=[1, 2**40 + 2]).seed == (1, 2)
    assert read(seed=2**32 - 1, batch_size=2).seeds == (2**32 - 1, 0)
    assert read(seed=2**32 + 5, batch_size=3).seeds == (5, 6, 7)


@pytest.mark.parametrize(("steps", "strength"), [(100, 0.29), (20, 0.84), (20, 0.82), (7, 0.5)])
def test_strength_was_rounded_down(steps: int, strength: float) -> None:
    settings = read("image to image", steps=steps, strength=strength)
    assert settings.steps - settings.skipped_steps == int(steps * strength)
    assert read(steps=steps, strength=strength).strength == strength  # without an image, unused


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": "many"}, {"steps": 0}, {"steps": 10**400}, {"strength": None},
        {"strength": float("nan")}, {"seed": "x"}, {"seed": None}, {"seed": 10**400},
        {"batch_size": 10**400, "seed": 2**40}, {"schedule": ["default"]}, {"seed": [[2**40]]},
    ],
)  # fmt: skip
def test_settings_that_anyone_may_have_written_raise_nothing(changes: dict[str, Any]) -> None:
    given = {**OLD, **changes}
    settings_of({"task": "inpainting", "settings": given})
    assert settings_of({"settings": 5}) == 5 and settings_of({}) is None


def test_todays_settings_are_left_as_they_are(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    trace = tiny_model.generate("a cat", steps=3, seed=2**32 - 1)
    assert trace.settings.schedule == "trailing"
    assert read_settings(trace.png()) == trace.settings
    assert Trace.load(trace.save(tmp_path / "run.sdtrace")).settings == trace.settings


def test_a_record_of_settings_without_a_model_keeps_their_default(tmp_path: Path) -> None:
    own = Trace("own", "text to image", Settings(seed=1).checked())
    assert Trace.load(own.save(tmp_path / "own.sdtrace")).settings.schedule == "default"


def test_an_old_image_gives_the_image_again(tiny_model: LatentDiffusion) -> None:
    old = {"model": "tiny", "task": "text to image", "settings": {**OLD, "steps": 4}}
    png = encode_png(Image.new("RGB", (16, 16)), old)
    again = tiny_model.generate(**read_settings(png).as_dict())
    then = tiny_model.generate(**{**OLD, "steps": 4, "schedule": "config"})
    leading = tiny_model.schedule.leading(4)
    assert [step.sigma for step in again.steps] == leading[:-1].tolist()
    assert np.array_equal(again.steps[-1].x_next, then.steps[-1].x_next)
    record = read_record(png)
    assert record is not None
    assert Settings(**record["settings"]).checked() == read_settings(png)
    assert read_record(encode_png(again.image, json.loads(json.dumps(record)))) == record


def test_brackets_were_text_and_long_prompts_were_cut(tiny_model: LatentDiffusion) -> None:
    """Up to format 2."""
    prompt, negative = "a (cat:1.3) [dog] " + "cat " * 80, "the (dog) BREAK " + "owl " * 80
    old = {**OLD, "prompt": prompt, "negative_prompt": negative, "steps": 2, "schedule": "karras"}
    record = {"task": "text to image", "settings": old, "settings_format": 2}
    again = tiny_model.generate(**settings_of(record))
    # what the network was told then: one chunk, with the brackets in it
    text = tiny_model.text
    assert text is not None
    for asked, tokens in zip(
        (prompt, negative), (again.tokens, again.negative_tokens), strict=True
    ):
        ids = text.tokenizer.encode(asked).ids[:75]
        assert len(tokens[0].pieces) == 75 and tokens[0].slots == 77
        found = tiny_model.condition([Given(asked, (16, 16), reading=again.settings.reading)])
        row = torch.tensor([[text.config.bos, *ids, text.config.eos]])
        assert torch.equal(found.context, text.read(row).states)
    assert tiny_model.generate(**{**old, "seed": 3}).settings.reading != again.settings.reading


def test_each_of_the_largest_seeds_makes_its_own_image(tiny_model: LatentDiffusion) -> None:
    made = [
        next(tiny_model.sample("a cat", steps=2, seed=seed)).x
        for seed in (0, 1, 2**31, 2**32 - 2, 2**32 - 1)
    ]
    assert not any(torch.equal(a, b) for i, a in enumerate(made) for b in made[:i])
