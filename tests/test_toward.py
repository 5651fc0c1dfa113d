"""Runs whose context lies between those of two prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from small_families import FAMILIES

from sdwidgets.configs import TINY, ModelConfig
from sdwidgets.errors import InputError
from sdwidgets.models.conditioning import Given
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import Settings
from sdwidgets.trace import Trace
from sdwidgets.trace.about import about

SETTINGS: dict[str, Any] = {"steps": 3, "seed": 5}
LONG = "a cat " * 40  # more than a chunk


def last(run: Any) -> torch.Tensor:
    *_, step = run
    return step.x_next


def near(made: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(made, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("other", ["a dog", LONG, ""])
def test_the_ends_are_the_prompts_own_images(tiny_model: LatentDiffusion, other: str) -> None:
    first, second = (last(tiny_model.sample(each, **SETTINGS)) for each in ("a cat", other))
    none, all_ = (
        last(tiny_model.sample("a cat", toward=(other, share), **SETTINGS)) for share in (0, 1)
    )
    assert torch.equal(none, first)
    near(all_, second)
    assert not torch.equal(first, second)


def test_the_way_back_is_the_same_way(tiny_model: LatentDiffusion) -> None:
    there = last(tiny_model.sample("a cat", toward=("a dog", 0.3), **SETTINGS))
    back = last(tiny_model.sample("a dog", toward=("a cat", 0.7), **SETTINGS))
    near(there, back)


@pytest.mark.parametrize("name", ["SDXL", "SD2"])
def test_every_route_is_blended(
    make_model: Callable[[ModelConfig], LatentDiffusion], name: str
) -> None:
    model = make_model(FAMILIES[name])
    size = (model.config.size, model.config.size)
    texts = ("a cat", "a dog")
    told = model.condition([Given(texts[0], size, toward=(texts[1], 0.25))])
    first, second = (model.condition([Given(text, size)]) for text in texts)
    for route in ("context", "vector"):
        a, b, made = (getattr(each, route) for each in (first, second, told))
        if made is not None:
            near(made, 0.75 * a + 0.25 * b)


def test_prompts_of_several_chunks_are_as_long_as_in_a_batch(tiny_model: LatentDiffusion) -> None:
    size = (64, 64)
    told = tiny_model.condition([Given("a cat", size, toward=(LONG, 0.5))]).context
    both = tiny_model.condition([Given("a cat", size), Given(LONG, size)]).context
    assert told is not None and both is not None
    near(told[0], both.mean(0))
    read = tiny_model.tokenize([Given("a cat", size, toward=(LONG, 0.5))])
    assert read.ids.shape == (1, both.shape[1])
    assert read.pieces == tiny_model.tokenize(["a cat"]).pieces


def test_each_image_of_a_batch_goes_there(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample(["a cat", "a red car"], toward=("a dog", 0.4), steps=3, seed=[5, 6])
    both = last(run)
    for index, prompt in enumerate(("a cat", "a red car")):
        alone = tiny_model.sample(prompt, toward=("a dog", 0.4), steps=3, seed=5 + index)
        near(both[index], last(alone)[0])
        assert run.settings.of_picture(index).toward == ("a dog", 0.4)


def test_the_negative_prompt_stays(tiny_model: LatentDiffusion) -> None:
    given = {"negative_prompt": "a car", "guidance_scale": 4.0, **SETTINGS}
    plain, blended = (
        next(tiny_model.sample("a cat", toward=toward, **given))
        for toward in (None, ("a dog", 0.4))
    )
    assert plain.uncond is not None and blended.uncond is not None
    near(blended.uncond, plain.uncond)
    assert not torch.equal(blended.cond, plain.cond)  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0, 0.3, 0.7])
def test_attention_is_named_by_the_words_of_the_prompt(
    tiny_model: LatentDiffusion, share: float
) -> None:
    given = {"toward": ("a white horse", share), "attention": True, **SETTINGS}
    trace = tiny_model.generate("a cat", **given)
    assert [word.text for word in trace.prompt_of(0).words] == ["a", "cat"]
    assert trace.heat_map("cat").shape == trace.image.size[::-1]
    said = [notice for notice in trace.notices if "blended" in notice]
    assert len(said) == (share > 0)
    assert any("Swap the prompts" in notice for notice in said) == (share > 0.5)


def test_a_record_makes_it_again_and_says_so(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", toward=["a dog", 0.3], **SETTINGS)
    assert dict(about(trace))["toward"] == "0.3 of the way to a dog"
    record = trace.record()
    again = tiny_model.generate(**Settings(**record["settings"]).as_dict())
    assert (again.steps[-1].x_next == trace.steps[-1].x_next).all()


def test_a_branch_changes_it(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", sampler="euler", **SETTINGS)
    same = trace.branch(1, toward=("a dog", 0), model=tiny_model)
    other = trace.branch(1, toward=("a dog", 0.6), model=tiny_model)
    assert (same.steps[-1].x_next == trace.steps[-1].x_next).all()
    assert (other.steps[0].x == trace.steps[0].x).all()
    assert not (other.steps[-1].x_next == trace.steps[-1].x_next).all()
    assert other.settings.toward == ("a dog", 0.6)


def test_an_edit_goes_there_too(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", toward=("a horse", 0.3), **SETTINGS)
    edited = trace.edit("cat", "dog", model=tiny_model)
    assert edited.settings.toward == ("a horse", 0.3)
    assert isinstance(edited, Trace) and edited.complete


def test_what_is_cut_is_told(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("a cat", toward=("a dog " * 60, 0.5), chunks=1, **SETTINGS)
    assert any("prompt of toward is too long" in notice for notice in run.notices)


def test_a_model_without_words_refuses_it(
    make_model: Callable[[ModelConfig], LatentDiffusion],
) -> None:
    unet = replace(TINY.unet, context_dim=0)
    with pytest.raises(InputError) as caught:
        make_model(replace(TINY, embedders=(), unet=unet)).sample(toward=("a dog", 0.5))
    assert caught.value.parameter == "toward"
