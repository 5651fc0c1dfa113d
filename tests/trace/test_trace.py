from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sdwidgets import __version__
from sdwidgets.errors import InputError
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import PROMPT_LENGTH, Settings
from sdwidgets.trace import Trace, read_record

SETTINGS: dict[str, Any] = {"steps": 3, "seed": 1, "sampler": "euler"}


def test_a_trace_says_what_was_asked_and_what_came(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", negative_prompt="dog", **SETTINGS)
    assert (trace.prompt, trace.negative_prompt, trace.model) == ("a cat", "dog", "tiny")
    assert trace.task == "text to image"
    assert trace.settings.seeds == (1,) and trace.settings.guidance_scale == 3.0
    assert [tokens.pieces for tokens in trace.tokens] == [("a", "cat")]
    assert [tokens.pieces for tokens in trace.negative_tokens] == [("dog",)]
    assert len(trace.steps) == len(trace.seconds) == 3
    assert trace.total == pytest.approx(sum(trace.seconds))
    assert trace.complete
    assert trace.versions["sdwidgets"] == __version__
    assert trace.versions["torch"] == torch.__version__


def test_a_batch_has_a_picture_each(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", batch_size=2, **SETTINGS)
    assert len(trace.images) == 2 and trace.image is trace.images[0]


def test_a_stopped_run_gives_the_best_guess_so_far(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("a cat", **SETTINGS)
    taken = [next(run), next(run)]
    trace = Trace.of(taken, run)
    assert not trace.complete and len(trace.steps) == 2
    assert trace.image.tobytes() == tiny_model.decode(taken[-1].denoised)[0].tobytes()


def test_a_run_stopped_before_its_first_step_has_no_picture(tiny_model: LatentDiffusion) -> None:
    trace = Trace.of([], tiny_model.sample("a cat", **SETTINGS))
    assert trace.images == () and not trace.complete
    with pytest.raises(InputError, match="before its first step"):
        _ = trace.image


def test_steps_alone_are_no_record(tiny_model: LatentDiffusion) -> None:
    with pytest.raises(TypeError, match="give the run"):
        Trace.of(list(tiny_model.sample("a cat", **SETTINGS)))


def test_the_record_in_a_png_makes_the_picture_again(tiny_model: LatentDiffusion) -> None:
    batch = tiny_model.generate(["a cat", "the dog 👨‍👩‍👧"], **SETTINGS)
    record = read_record(batch.png(1))
    assert record["model"] == "tiny" and record["task"] == "text to image"
    settings = Settings(**record["settings"])
    assert settings.prompt == "the dog 👨‍👩‍👧" and settings.seed == 2
    again = tiny_model.generate(**settings.as_dict())
    difference = again.steps[-1].x_next - batch.steps[-1].x_next[1:]
    assert np.abs(difference).max() < 1e-4


def test_the_record_in_a_png_says_what_was_cut(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate(["a cat", "cat " * 75 + "dog"], **SETTINGS)
    assert "cut" not in trace.record(0)
    record = read_record(trace.png(1))
    assert record["cut"] == "dog" and record["notices"] == list(trace.notices)


def test_without_notices_the_record_has_none(tiny_model: LatentDiffusion) -> None:
    assert {"cut", "notices"}.isdisjoint(tiny_model.generate("a cat", **SETTINGS).record())


@pytest.mark.parametrize(
    "prompt",
    ["nul \0 cat", "bidi \u202e cat", "👨‍👩‍👧 cat", "e" + "\u0301" * 5000, "\0" * PROMPT_LENGTH],
    ids=["nul", "bidi", "zwj", "combining", "longest"],
)
def test_odd_prompts_run_and_are_recorded_exactly(tiny_model: LatentDiffusion, prompt: str) -> None:
    trace = tiny_model.generate(prompt, negative_prompt=prompt, **SETTINGS)
    settings = read_record(trace.png())["settings"]
    assert settings["prompt"].encode() == settings["negative_prompt"].encode() == prompt.encode()


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [
        ({"word": 5}, "word"),
        ({"word": None}, "word"),
        ({"step": 1.5}, "step"),
        ({"step": True}, "step"),
        ({"step": 3}, "step"),
        ({"layer": 50}, "layer"),
        ({"layer": ["down"]}, "layer"),
        ({"picture": 0.0}, "picture"),
        ({"picture": "a"}, "picture"),
    ],
)
def test_a_heat_map_of_what_is_not_there(
    tiny_model: LatentDiffusion, asked: dict[str, Any], parameter: str
) -> None:
    trace = tiny_model.generate("a cat", attention=True, **SETTINGS)
    with pytest.raises(InputError) as caught:
        trace.heat_map(**{"word": "cat", **asked})
    assert caught.value.parameter == parameter
    assert len(str(caught.value).splitlines()) <= 3


def test_a_notebook_shows_the_picture(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", **SETTINGS)
    assert trace._repr_png_() == trace.png()
