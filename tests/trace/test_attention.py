from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sdwidgets.errors import InputError
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.trace import Trace, heat_map, tapped
from sdwidgets.trace.attention import grid_of, tokens_of

SETTINGS: dict[str, Any] = {"steps": 3, "seed": 1, "sampler": "euler"}


def taps(model: LatentDiffusion) -> list[Any]:
    return [layer.tap for layer in model.unet.cross_attentions().values()]


# -- recording -------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_looking_does_not_change_the_picture(tiny_model: LatentDiffusion, sampler: str) -> None:
    settings = {**SETTINGS, "sampler": sampler}
    plain = tiny_model.generate("a cat", **settings)
    looked = tiny_model.generate("a cat", attention=True, **settings)
    assert torch.equal(plain.steps[-1].x_next, looked.steps[-1].x_next)
    assert plain.steps[0].attention is None


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_every_step_has_every_layer_of_every_picture(
    tiny_model: LatentDiffusion, guidance: float
) -> None:
    trace = tiny_model.generate(
        "a cat",
        attention=True,
        batch_size=2,
        width=22,
        height=10,
        guidance_scale=guidance,
        **SETTINGS,
    )
    layers = list(tiny_model.unet.cross_attentions())
    for step in trace.steps:
        assert list(step.attention) == layers
        sizes = {tuple(maps.shape) for maps in step.attention.values()}
        assert sizes == {(2, 5, 11, 77), (2, 3, 6, 77)}  # odd sizes are halved rounding up
        assert all(maps.dtype == torch.float16 for maps in step.attention.values())


def test_each_cells_attention_sums_to_one(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", attention=True, **SETTINGS)
    for maps in trace.steps[0].attention.values():
        assert torch.allclose(maps.float().sum(-1), torch.ones(()), atol=1e-2)


def test_it_is_the_prompts_half_that_is_kept(tiny_model: LatentDiffusion) -> None:
    guided = tiny_model.generate("a cat", attention=True, guidance_scale=3.0, **SETTINGS)
    alone = tiny_model.generate("a cat", attention=True, guidance_scale=1.0, **SETTINGS)
    for layer, maps in guided.steps[0].attention.items():
        assert torch.allclose(maps.float(), alone.steps[0].attention[layer].float(), atol=1e-3)


def test_of_heuns_two_calls_the_first_is_the_steps(tiny_model: LatentDiffusion) -> None:
    euler = tiny_model.generate("a cat", attention=True, **SETTINGS)
    heun = tiny_model.generate("a cat", attention=True, **{**SETTINGS, "sampler": "heun"})
    for layer, maps in heun.steps[0].attention.items():
        assert torch.equal(maps, euler.steps[0].attention[layer])
    assert len(heun.steps[1].attention) == len(heun.steps[0].attention)


def test_taps_are_off_between_steps_and_after_a_fault(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("a cat", attention=True, **SETTINGS)
    next(run)
    assert taps(tiny_model) == [None] * len(taps(tiny_model))

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    tiny_model.unet.mid_block.register_forward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        next(run)
    assert taps(tiny_model) == [None] * len(taps(tiny_model))


def test_a_tap_gives_way_and_comes_back(tiny_model: LatentDiffusion) -> None:
    first = next(iter(tiny_model.unet.cross_attentions().values()))
    mine: list[Tensor] = []
    first.tap = mine.append
    seen: list[str] = []
    with tapped(tiny_model.unet, lambda layer, probabilities: seen.append(layer)):
        tiny_model.unet(torch.zeros(1, 4, 8, 8), torch.zeros(1), torch.zeros(1, 77, 24))
    assert seen == list(tiny_model.unet.cross_attentions())
    assert first.tap == mine.append and mine == []


def test_levels_are_told_from_their_number_of_cells() -> None:
    assert grid_of(64 * 40, 64, 40) == (64, 40)
    assert grid_of(16 * 10, 64, 40) == (16, 10)
    assert grid_of(3 * 6, 5, 11) == (3, 6)
    with pytest.raises(ValueError, match="100 cells"):
        grid_of(100, 64, 40)


# -- words and their tokens ------------------------------------------------------------------


def spans_of(model: LatentDiffusion, prompt: str) -> tuple[tuple[int, int], ...]:
    return model.text.tokenize([prompt]).words[0]


def test_a_words_tokens_are_all_its_pieces(tiny_model: LatentDiffusion) -> None:
    prompt = "a bird and a cat"  # the vocabulary spells "bird" and knows "cat"
    spans = spans_of(tiny_model, prompt)
    assert len(tokens_of("bird", prompt, spans)) == 4
    assert len(tokens_of("cat", prompt, spans)) == 1
    found = [prompt[slice(*spans[token - 1])].strip() for token in tokens_of("bird", prompt, spans)]
    assert found == list("bird")


def test_all_occurrences_of_whole_words_count(tiny_model: LatentDiffusion) -> None:
    prompt = "Cat, catcat; cat"
    tokens = tokens_of("cat", prompt, spans_of(tiny_model, prompt))
    assert len(tokens) == 2


def test_several_words_may_be_asked_for(tiny_model: LatentDiffusion) -> None:
    prompt = "the cat  and the dog"
    tokens = tokens_of("the cat", prompt, spans_of(tiny_model, prompt))
    assert tokens == tokens_of("the", prompt, spans_of(tiny_model, prompt))[:1] + tokens_of(
        "cat", prompt, spans_of(tiny_model, prompt)
    )


@pytest.mark.parametrize("word", ["bird", "ca", "", "   ", "(", "a b"])
def test_a_word_that_is_not_there_names_those_that_are(
    tiny_model: LatentDiffusion, word: str
) -> None:
    with pytest.raises(InputError, match="Its words: the, cat"):
        tokens_of(word, "the cat", spans_of(tiny_model, "the cat"))


def test_a_word_that_was_cut_is_told_so(tiny_model: LatentDiffusion) -> None:
    tokens = tiny_model.text.tokenize(["cat " * 75 + "dog"])
    with pytest.raises(InputError, match="was cut"):
        tokens_of("dog", "cat " * 75 + "dog", tokens.words[0], tokens.cut[0])


# -- heat maps -------------------------------------------------------------------------------


def maps_with(token: int, cell: tuple[int, int]) -> dict[str, Tensor]:
    small, large = torch.zeros(1, 2, 2, 5), torch.zeros(1, 4, 4, 5)
    small[0, cell[0] // 2, cell[1] // 2, token] = 1
    large[0, cell[0], cell[1], token] = 1
    return {"small": small.half(), "large": large.half()}


def test_a_heat_map_is_hot_where_the_word_was_looked_at() -> None:
    steps = [maps_with(3, (0, 3)), maps_with(3, (0, 3))]
    heat = heat_map(steps, [3], (16, 16))
    assert heat.shape == (16, 16) and heat.dtype == torch.float32
    row, column = divmod(int(heat.argmax()), 16)
    assert row < 4 and column >= 12
    assert heat_map(steps, [2], (16, 16)).max() == 0


def test_a_heat_map_is_the_mean_over_steps_layers_and_tokens() -> None:
    one, other = maps_with(3, (0, 3)), maps_with(4, (2, 1))
    size = (8, 8)
    parts = [heat_map([s], [t], size, layer=n) for s in (one, other) for t in (3, 4) for n in one]
    assert torch.allclose(heat_map([one, other], [3, 4], size), torch.stack(parts).mean(0))


def test_even_attention_gives_an_even_map_of_any_shape() -> None:
    maps = {"a": torch.full((1, 3, 5, 2), 0.25), "b": torch.full((1, 6, 10, 2), 0.25)}
    assert torch.allclose(heat_map([maps], [1], (48, 80)), torch.full((48, 80), 0.25))


def test_heat_maps_of_a_run(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate(["a cat", "the dog"], attention=True, width=22, **SETTINGS)
    whole = trace.heat_map("cat")
    assert whole.shape == (16, 22)
    steps = torch.stack([trace.heat_map("cat", step=i) for i in range(3)])
    assert torch.allclose(whole, steps.mean(0), atol=1e-6)
    layers = torch.stack([trace.heat_map("cat", layer=n) for n in trace.steps[0].attention])
    assert torch.allclose(whole, layers.mean(0), atol=1e-6)
    assert trace.heat_map("dog", picture=1).shape == (16, 22)


def test_what_a_heat_map_cannot_show(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", attention=True, **SETTINGS)
    for wrong in ({"step": 3}, {"step": -4}, {"layer": "nowhere"}, {"picture": 1}):
        with pytest.raises(InputError):
            trace.heat_map("cat", **wrong)
    with pytest.raises(InputError, match="not a word of the prompt"):
        trace.heat_map("dog")


def test_nothing_recorded_raises(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", **SETTINGS)
    with pytest.raises(InputError, match="attention=True"):
        trace.heat_map("cat")


def test_a_stopped_run_has_heat_maps_too(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("a cat", attention=True, **SETTINGS)
    trace = Trace.of([next(run)], run)
    assert not trace.complete
    assert trace.heat_map("cat").shape == (16, 16)
