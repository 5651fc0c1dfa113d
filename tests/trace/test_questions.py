from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sdwidgets.configs import TINY, ModelConfig
from sdwidgets.errors import InputError
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import AttentionSettings
from sdwidgets.trace import DEFAULT, Trace

SETTINGS: dict[str, Any] = {"steps": 3, "seed": 1, "sampler": "euler"}
QUERIES = AttentionSettings(queries=True)


# -- words that were never in the prompt -----------------------------------------------------


def test_of_the_runs_own_prompt_a_query_is_the_recorded_map(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("the cat", attention=QUERIES, **SETTINGS)
    asked = trace.query("cat", prompt="the cat")
    assert asked.shape == (16, 16) and asked.dtype == np.float32
    assert np.abs(asked - trace.heat_map("cat", recipe=DEFAULT)).max() < 1 / 255


def test_another_word_stands_behind_the_prompt(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("the cat", attention=QUERIES, **SETTINGS)
    assert np.array_equal(trace.query("bird"), trace.query("bird", prompt="the cat bird"))
    assert not np.allclose(trace.query("bird"), trace.query("dog"))


def test_a_query_of_one_step_and_image(tiny_model: LatentDiffusion) -> None:
    batch = tiny_model.generate(["a cat", "the dog"], attention=QUERIES, **SETTINGS)
    alone = tiny_model.generate("the dog", attention=QUERIES, **{**SETTINGS, "seed": 2})
    asked = batch.query("bird", picture=1, step=0)
    assert np.allclose(asked, alone.query("bird", step=0), atol=1e-3)


def test_queries_take_a_byte_each(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", attention=QUERIES, **SETTINGS)
    for name, queries in trace.steps[0].attention.queries.items():
        layer = tiny_model.unet.cross_attentions()[name]
        cells = trace.steps[0].attention.cross[name].shape[-1] ** 2
        assert queries.values.dtype == np.int8
        assert queries.values.shape == (1, cells, layer.to_q.out_features)


@pytest.mark.parametrize("word", ["", "  ", None, 5])
def test_a_query_needs_a_word(tiny_model: LatentDiffusion, word: Any) -> None:
    trace = tiny_model.generate("a cat", attention=QUERIES, **SETTINGS)
    with pytest.raises(InputError, match="word"):
        trace.query(word)


def test_without_queries_the_error_says_how_to_have_them(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", attention=True, **SETTINGS)
    with pytest.raises(InputError, match="queries=True"):
        trace.query("dog")


def test_the_word_must_be_in_the_prompt_it_is_asked_in(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", attention=QUERIES, **SETTINGS)
    with pytest.raises(InputError, match="not a word"):
        trace.query("bird", prompt="the dog")


# -- the run without a word ------------------------------------------------------------------


def test_without_the_word_it_is_the_run_of_the_other_prompt(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("the cat and  the dog", attention=True, **SETTINGS)
    gone = trace.ablate("cat")
    assert gone.trace.prompt == "the and the dog"
    wanted = tiny_model.generate("the and the dog", **SETTINGS)
    assert gone.trace.image.tobytes() == wanted.image.tobytes()
    pixels = [np.asarray(t.image, np.float32) for t in (trace, wanted)]
    assert np.allclose(gone.change, np.abs(pixels[0] - pixels[1]).mean(-1) / 255)


def test_another_word_may_take_its_place(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("the cat, Cat", **SETTINGS)
    assert trace.ablate("cat", r"\1 dog").trace.prompt == r"the \1 dog, \1 dog"


def test_change_and_attention_are_correlated(tiny_model: LatentDiffusion) -> None:
    gone = tiny_model.generate("the cat", attention=True, **SETTINGS).ablate("cat")
    assert gone.heat is not None and gone.correlation is not None
    assert gone.correlation == pytest.approx(
        np.corrcoef(gone.heat.ravel(), gone.change.ravel())[0, 1]
    )
    bare = tiny_model.generate("the cat", **SETTINGS).ablate("cat")
    assert bare.heat is None and bare.correlation is None


def test_a_word_for_itself_changes_nothing(tiny_model: LatentDiffusion) -> None:
    same = tiny_model.generate("the cat", attention=True, **SETTINGS).ablate("cat", "cat")
    assert same.change.max() == 0 and same.correlation is None


@pytest.mark.parametrize("given", ["noise", "image"])
def test_it_begins_from_what_the_run_began_from(tiny_model: LatentDiffusion, given: str) -> None:
    noise = np.random.default_rng(0).standard_normal((2, 4, 8, 8)).astype(np.float32)
    start: dict[str, Any] = {"latents": noise, "batch_size": 2}
    if given == "image":
        image = tiny_model.generate("the dog", **SETTINGS).image
        start = {"image": image, "strength": 0.7, "batch_size": 2}
    trace = tiny_model.generate("the cat", **start, **SETTINGS)
    same = trace.ablate("cat", "cat", picture=1)
    assert np.abs(same.change).max() <= 1 / 255


def test_a_word_that_is_not_there_cannot_be_taken_away(tiny_model: LatentDiffusion) -> None:
    with pytest.raises(InputError, match="not a word"):
        tiny_model.generate("the cat", **SETTINGS).ablate("dog")


def test_a_stopped_run_has_nothing_to_compare(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("the cat", **SETTINGS)
    with pytest.raises(InputError, match="stopped"):
        Trace.of([next(run)], run).ablate("cat")


@pytest.mark.parametrize("word", ["<start>", "<end>", "<padding>", "", "  ", None])
def test_what_is_no_word_cannot_be_taken_away(tiny_model: LatentDiffusion, word: Any) -> None:
    with pytest.raises(InputError) as caught:
        tiny_model.generate("the cat", **SETTINGS).ablate(word)
    assert caught.value.parameter == "word"


@pytest.mark.parametrize("picture", [2, -3, 0.0, True])
@pytest.mark.parametrize("act", ["query", "ablate"])
def test_of_a_image_that_is_not_there(tiny_model: LatentDiffusion, act: str, picture: Any) -> None:
    trace = tiny_model.generate("the cat", batch_size=2, attention=QUERIES, **SETTINGS)
    with pytest.raises(InputError) as caught:
        getattr(trace, act)("cat", picture=picture)
    assert caught.value.parameter == "picture"


def test_images_may_be_counted_from_the_end(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate(["a cat", "the dog"], attention=QUERIES, **SETTINGS)
    asked = [trace.query("bird", picture=picture) for picture in (-1, 1)]
    assert np.array_equal(*asked)
    gone = trace.ablate("dog", picture=-1)
    assert gone.picture == 1 and gone.trace.prompt == "the"


def test_a_image_that_was_lost_has_nothing_to_compare(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("the cat", batch_size=2, **SETTINGS)
    with pytest.raises(InputError, match="no image") as caught:
        replace(trace, images=trace.images[:1]).ablate("cat", picture=1)
    assert caught.value.parameter == "picture"


def test_a_record_without_prompt_has_no_word_to_take_away(tiny_model: LatentDiffusion) -> None:
    trace = replace(tiny_model.generate("the cat", **SETTINGS), tokens=())
    with pytest.raises(InputError, match="no prompt"):
        trace.ablate("cat")


def test_a_mark_makes_another_word(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("e\u0301a cat a", **SETTINGS)
    assert trace.ablate("a").trace.prompt == "e\u0301a cat"
    with pytest.raises(InputError, match="not a word"):
        trace.ablate("e")


# -- the model that is asked -----------------------------------------------------------------


def test_a_record_keeps_no_model_alive(
    make_model: Callable[[ModelConfig], LatentDiffusion],
) -> None:
    model = make_model(TINY)
    trace = model.generate("the cat", **SETTINGS)
    del model
    with pytest.raises(InputError, match="not loaded") as caught:
        trace.ablate("cat")
    assert caught.value.parameter == "model"
    assert trace.ablate("cat", model=make_model(TINY)).change.max() > 0


def test_another_models_weights_are_refused(
    tiny_model: LatentDiffusion, make_model: Callable[[ModelConfig], LatentDiffusion]
) -> None:
    trace = tiny_model.generate("the cat", **SETTINGS)
    other = make_model(TINY)
    other.unet.conv_in.bias.data += 1
    with pytest.raises(InputError, match="other weights"):
        trace.ablate("cat", model=other)


def test_its_figure_shows_images_change_and_heat(
    tiny_model: LatentDiffusion,
) -> None:
    gone = tiny_model.generate("the $cat$", attention=True, **SETTINGS).ablate("cat", "dog")
    axes = gone.figure().axes[0]
    words = [text.get_text() for text in axes.texts]
    assert {"with “cat”", "with “dog”", "what changed", "where “cat” looked"} <= set(words)
    assert len(axes.images) == 4
    bare = tiny_model.generate("the cat", **SETTINGS).ablate("cat").figure()
    assert len(bare.axes[0].images) == 3
