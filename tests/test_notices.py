"""What a run says before it starts: settings that do nothing, or are not what they seem."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from sdwidgets.configs import SDXL, TINY
from sdwidgets.notices import about
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import Settings
from sdwidgets.trace import Trace, read_record


def said(config: Any = TINY, *, from_image: bool = False, begins: float = 1.0, **given: Any) -> str:
    settings = Settings("a cat", seed=1, **given).checked(config)
    return " ".join(about(settings, config, from_image=from_image, begins=begins))


def test_usual_settings_need_no_words() -> None:
    assert said() == "" and said(from_image=True) == ""
    assert said(guidance_scale=1) == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"strength": 0.5}, "strength had no effect"),
        ({"fit": "pad"}, "fit had no effect"),
        ({"guidance_scale": 0.5}, "Guidance 0.5 is the same as 1"),
        ({"guidance_scale": 1, "negative_prompt": "a dog"}, "the negative prompt had no effect"),
        ({"guidance_scale": 1, "guidance_rescale": 0.5}, "guidance_rescale had no effect"),
        ({"negative_prompt": "a cat"}, "are the same"),
        ({"width": 32}, "trained on 16 x 16 pixels; at 32 x 16"),
        ({"begins": 0.5, "schedule": "ddim"}, "'ddim' begin at 50%"),
        ({"from_image": True, "steps": 20, "strength": 0.82}, "strength 0.8 in effect"),
    ],
)
def test_what_has_no_effect_or_another_one_is_said(given: dict[str, Any], words: str) -> None:
    assert words in said(**given)


def test_strength_in_whole_steps_is_as_it_was_given() -> None:
    assert said(from_image=True, steps=20, strength=0.85) == ""
    assert said(from_image=True, steps=100, strength=0.29) == ""


def test_shapes_of_about_the_same_area_are_known_to_models_that_are_told_sizes() -> None:
    assert said(SDXL, width=1152, height=896) == ""
    assert "1024 x 1024" in said(SDXL, width=512, height=512)


def test_a_run_has_them_and_so_has_its_record(tiny_model: LatentDiffusion) -> None:
    given: dict[str, Any] = {"steps": 3, "seed": 1, "guidance_scale": 1, "negative_prompt": "a dog"}
    run = tiny_model.sample("a cat", **given)
    assert len(run.notices) == 1 and "negative prompt" in run.notices[0]
    trace = Trace.of(run)
    record = read_record(trace.png())
    assert record is not None and tuple(record["notices"]) == trace.notices == run.notices


def test_a_run_from_an_image_records_the_strength_in_effect(tiny_model: LatentDiffusion) -> None:
    image = Image.effect_noise((16, 16), 50)
    run = tiny_model.sample("a cat", image=image, steps=4, strength=0.6, seed=1)
    assert len(run) == 2 and run.settings.strength == 0.5
    assert any("strength 0.5 in effect" in notice for notice in run.notices)
    again = tiny_model.sample(image=image, **run.settings.as_dict())
    assert len(again) == 2 and not any("in effect" in notice for notice in again.notices)


@pytest.mark.parametrize("steps", [1, 2, 9, 501, 999])
def test_a_grid_that_begins_too_low_is_named(tiny_model: LatentDiffusion, steps: int) -> None:
    low = tiny_model.sample("a cat", steps=steps, seed=1, schedule="config").notices
    assert any("begin at" in notice for notice in low) == (steps != 999)
    assert tiny_model.sample("a cat", steps=steps, seed=1).notices == ()
    (step, *_) = tiny_model.sample("a cat", steps=1, seed=1)
    assert step.sigma == pytest.approx(float(tiny_model.schedule.sigmas[-1]))


def test_a_model_that_reads_no_words_records_none(tiny_model: LatentDiffusion) -> None:
    mute = replace(tiny_model, config=replace(tiny_model.config, embedders=()), embedders=())
    run = mute.sample("", steps=1, seed=0, attention=True)
    assert "The model reads no words, so no attention is recorded." in run.notices


def test_noise_levels_given_by_hand_are_named_where_they_surprise() -> None:
    assert said(sigmas=[14.6, 1.0, 0.0]) == ""
    assert "The noise levels given begin at 50%" in said(sigmas=[1.6, 1.0, 0.0], begins=0.5)
    assert "given end at 0.25: noise is left" in said(sigmas=[14.6, 0.25])
    assert said(sigmas=[14.6, 1.0, 0.25], end_step=1) == ""
