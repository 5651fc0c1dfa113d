from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tqdm import tqdm

from sdwidgets import __version__
from sdwidgets.errors import InputError
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import PROMPT_LENGTH, AttentionSettings, Settings
from sdwidgets.trace import DAAM, PromptTokens, Recipe, StepAttention, Trace, TraceStep, read_record
from sdwidgets.trace.reel import header_of

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


def test_a_trace_says_what_its_model_predicts(tiny_model: LatentDiffusion) -> None:
    model = replace(tiny_model, prediction_source="caller")
    trace = model.generate("a cat", **SETTINGS)
    assert (trace.prediction, trace.prediction_source) == ("eps", "caller")
    record = read_record(trace.png())
    assert record is not None
    assert (record["prediction"], record["prediction_source"]) == ("eps", "caller")


def test_each_step_has_its_own_seconds(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("a cat", **SETTINGS)
    last = list(run)[-1]
    trace = Trace.of([last], run)
    assert trace.seconds == (run.seconds[2],)
    assert trace.total == sum(run.seconds)
    assert trace.complete  # its image is


def test_a_progress_bar_is_seen_through(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("a cat", **SETTINGS)
    assert len(Trace.of(tqdm(run, disable=True)).steps) == 3


def test_a_batch_has_a_image_each(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", batch_size=2, **SETTINGS)
    assert len(trace.images) == 2 and trace.image is trace.images[0]


def test_a_stopped_run_gives_the_best_guess_so_far(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("a cat", **SETTINGS)
    taken = [next(run), next(run)]
    trace = Trace.of(taken, run)
    assert not trace.complete and len(trace.steps) == 2
    assert trace.image.tobytes() == tiny_model.decode(taken[-1].denoised)[0].tobytes()


def test_a_run_stopped_before_its_first_step_has_no_image(tiny_model: LatentDiffusion) -> None:
    trace = Trace.of([], tiny_model.sample("a cat", **SETTINGS))
    assert trace.images == () and not trace.complete
    with pytest.raises(InputError, match="before its first step"):
        _ = trace.image


def test_steps_alone_are_no_record(tiny_model: LatentDiffusion) -> None:
    with pytest.raises(InputError, match="give the run"):
        Trace.of(list(tiny_model.sample("a cat", **SETTINGS)))


def test_the_record_in_a_png_makes_the_image_again(tiny_model: LatentDiffusion) -> None:
    batch = tiny_model.generate(["a cat", "the dog 👨‍👩‍👧"], **SETTINGS)
    record = read_record(batch.png(1))
    assert record["model"] == "tiny" and record["task"] == "text to image"
    settings = Settings(**record["settings"])
    assert settings.prompt == "the dog 👨‍👩‍👧" and settings.seed == 2
    again = tiny_model.generate(**settings.as_dict())
    difference = again.steps[-1].x_next - batch.steps[-1].x_next[1:]
    assert np.abs(difference).max() < 1e-4


def test_the_record_in_a_png_says_what_was_cut(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate(["a cat", "cat " * 75 + "dog"], chunks=1, **SETTINGS)
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


# -- where steps are missing ------------------------------------------------------------------


@pytest.fixture
def gaps(tiny_model: LatentDiffusion) -> tuple[Trace, Trace]:
    """Return a run of ten steps, and the same with only every third step."""
    whole = tiny_model.generate("a cat", attention=True, **{**SETTINGS, "steps": 10})
    return whole, replace(whole, steps=whole.steps[::3])


def test_a_step_goes_by_its_number(gaps: tuple[Trace, Trace]) -> None:
    whole, some = gaps
    assert [step.index for step in some.steps] == [0, 3, 6, 9]
    for step in (0, 3, [3, 9], np.array([0, 6]), np.int64(6)):
        assert np.array_equal(some.heat_map("cat", step), whole.heat_map("cat", step))
    assert np.array_equal(some.heat_map("cat", -2), whole.heat_map("cat", 6))


def test_a_recipes_share_is_of_the_whole_run(gaps: tuple[Trace, Trace]) -> None:
    whole, some = gaps
    recipe = Recipe(steps=(0.5, 0.8))
    wanted = whole.heat_map("cat", 6, recipe=DAAM)
    assert np.array_equal(some.heat_map("cat", recipe=recipe), wanted)


@pytest.mark.parametrize("step", [1, 10, -5, [0, 1], np.array([]), np.array([0.0]), 3.0])
def test_a_step_that_is_not_there_names_those_that_are(
    gaps: tuple[Trace, Trace], step: Any
) -> None:
    with pytest.raises(InputError, match="0, 3, 6, 9") as caught:
        gaps[1].heat_map("cat", step)
    assert caught.value.parameter == "step"


# -- steps from other code -------------------------------------------------------------------


@pytest.fixture
def own() -> Trace:
    """Return steps that no run of ours made: two images, no prompt, no settings."""
    x = np.zeros((2, 4, 8, 6), np.float32)
    maps = {"mid": np.full((2, 1, 4, 8, 6), 0.25, np.float16)}
    step = TraceStep(0, 1.0, x, x, 0.0, x, attention=StepAttention(cross=maps))
    return Trace("", "", Settings(), steps=(step,))


def test_without_a_prompt_no_word_has_a_map(own: Trace) -> None:
    with pytest.raises(InputError, match="no prompt"):
        own.heat_map("cat")


def test_without_a_size_it_is_that_of_the_usual_autoencoder(own: Trace) -> None:
    assert own.size == (48, 64)
    tokens = (PromptTokens("a cat", ("a",), ((0, 1),)),) * 2
    assert replace(own, tokens=tokens).heat_map("a", picture=1).shape == (64, 48)


def test_it_can_be_kept_in_a_file(own: Trace, tmp_path: Path) -> None:
    back = Trace.load(own.save(tmp_path / "own.sdtrace"))
    assert np.array_equal(back.steps[0].x, own.steps[0].x)


def test_its_image_has_a_record_too(own: Trace) -> None:
    drawn = replace(own, images=(Image.new("RGB", (48, 64)),) * 2)
    assert Settings(**read_record(drawn.png(1))["settings"]) == Settings()


# -- into files ------------------------------------------------------------------------------


def test_an_image_is_saved_as_its_name_says(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    trace = tiny_model.generate("a cat", steps=1, seed=0)
    for name in ("cat.png", "CAT.PNG", "cat"):
        assert trace.save_image(tmp_path / name).read_bytes().startswith(b"\x89PNG")
    for name in ("cat.jpg", "cat.webp", "cat.png.txt", "v1.5"):
        with pytest.raises(InputError, match=r"ends in \.png"):
            trace.save_image(tmp_path / name)
        assert not (tmp_path / name).exists()


@pytest.mark.parametrize("wrong", [None, 5, b"cat.png", "a\0.png", ["cat.png"]])
def test_impossible_paths_are_refused(tiny_model: LatentDiffusion, wrong: Any) -> None:
    with pytest.raises(InputError, match="path must be the path"):
        tiny_model.generate("a cat", steps=1, seed=0).save_image(wrong)


def test_an_image_of_another_shape_is_fitted_as_the_record_says(
    tiny_model: LatentDiffusion,
) -> None:
    image = Image.new("RGB", (32, 16), "red")
    image.paste("blue", (0, 0, 8, 16))
    traces = {
        fit: tiny_model.generate("a cat", steps=2, seed=0, image=image, strength=0.5, fit=fit)
        for fit in ("crop", "pad", "stretch")
    }
    for fit, trace in traces.items():
        assert trace.record()["settings"]["fit"] == fit
        assert len(trace.notices) == 1 and "32 x 16" in trace.notices[0]
    blue = [np.asarray(trace.given_image)[8, :, 2].mean() / 255 for trace in traces.values()]
    np.testing.assert_allclose(blue, [0, 0.25, 0.25], atol=0.06)
    default = tiny_model.generate("a cat", steps=2, seed=0, image=image)
    assert default.settings.fit == "crop"
    old = dict(default.record()["settings"])
    del old["fit"]  # as written before there was a choice: images were cropped
    assert Settings(**old).checked().fit == "crop"


@pytest.mark.parametrize("picture", [2, -3, 1.0, "0", True])
@pytest.mark.parametrize("act", ["png", "save_image", "record", "heat_map"])
def test_a_image_that_is_not_there(
    tiny_model: LatentDiffusion, tmp_path: Path, act: str, picture: Any
) -> None:
    trace = tiny_model.generate("a cat", batch_size=2, attention=True, **SETTINGS)
    first = {"save_image": (tmp_path / "a.png",), "heat_map": ("cat",)}.get(act, ())
    with pytest.raises(InputError) as caught:
        getattr(trace, act)(*first, picture=picture)
    assert caught.value.parameter == "picture" and not any(tmp_path.iterdir())


def test_images_may_be_counted_from_the_end(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate(["a cat", "the dog"], attention=True, **SETTINGS)
    assert trace.png(-1) == trace.png(1)
    assert np.array_equal(trace.heat_map("dog", picture=-1), trace.heat_map("dog", picture=1))


def test_heads_may_be_counted_from_the_end(tiny_model: LatentDiffusion) -> None:
    settings = AttentionSettings(heads=True)
    trace = tiny_model.generate("a cat", attention=settings, **SETTINGS)
    count = min(maps.shape[1] for maps in trace.steps[0].attention.cross.values())
    last = trace.heat_map("cat", head=-1)
    assert np.array_equal(last, trace.heat_map("cat", head=count - 1))


def test_the_record_says_what_else_was_given(tiny_model: LatentDiffusion) -> None:
    picture = Image.effect_noise((16, 16), 60)
    plain = tiny_model.generate("a cat", **SETTINGS)
    assert {"given", "complete"}.isdisjoint(plain.record())
    noise = np.zeros((1, 4, 8, 8), np.float32)
    assert tiny_model.generate("a cat", latents=noise, **SETTINGS).record()["given"] == ["latents"]
    filled = tiny_model.generate(
        "a cat", image=picture, mask=Image.new("L", (16, 16), 255), **SETTINGS
    )
    assert filled.record()["given"] == ["image", "mask"]


def test_the_record_of_a_stopped_run_says_so(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("a cat", **SETTINGS)
    assert Trace.of([next(run)], run).record()["complete"] is False


def test_a_notebook_shows_the_image(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", **SETTINGS)
    assert trace._repr_png_() == trace.png()


def test_attention_of_later_steps_alone_is_attention(tiny_model: LatentDiffusion) -> None:
    whole = tiny_model.generate("a cat", steps=4, seed=1, attention=True)
    late = replace(
        whole,
        steps=tuple(replace(one, attention=None) if one.index < 2 else one for one in whole.steps),
    )
    assert late.layers == whole.layers
    assert [one["name"] for one in header_of(late, 1)["layers"]] == list(whole.layers)
    recipe = Recipe(steps=(0.0, 1.0))
    assert np.array_equal(
        late.heat_map("cat", recipe=recipe), whole.heat_map("cat", step=[2, 3], recipe=recipe)
    )
    with pytest.raises(InputError, match="No attention was recorded"):
        late.heat_map("cat", step=0)
