"""Recorded attention equals an explicit softmax, in every kind of run."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_families import FAMILIES, needed
from torch import Tensor

from sdwidgets.configs import (
    SD1,
    SD2,
    SDXL,
    TINY,
    GuidanceConfig,
    ImageConfig,
    ModelConfig,
    UNetConfig,
)
from sdwidgets.errors import InputError
from sdwidgets.models.attention import LOOK
from sdwidgets.models.unet import UNet
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import AttentionSettings
from sdwidgets.trace import DAAM, Recipe, Trace
from sdwidgets.trace.attention import AttentionRecorder, grid_of, tapped

SETTINGS: dict[str, Any] = {"steps": 3, "seed": 1, "sampler": "euler"}
EVERYTHING = AttentionSettings(heads=True, uncond=True, self_attention=True, queries=True)


def left_behind(model: LatentDiffusion) -> list[Any]:
    """Return what still observes: this thread's attention, or hooks of the modules."""
    hooks = [
        hook
        for module in model.unet.modules()
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    ]
    return hooks if LOOK.get() is None else [LOOK.get(), *hooks]


@contextmanager
def reference(unet: UNet) -> Iterator[list[dict[str, Tensor]]]:
    """For each call of the network, each layer's softmax [B, heads, N, T], computed separately."""
    calls: list[dict[str, Tensor]] = []
    handles = [unet.register_forward_pre_hook(lambda *_: calls.append({}))]
    for name, layer in unet.cross_attentions().items():

        def look(module: Any, args: tuple[Tensor, Tensor], name: str = name) -> None:
            q, k = module.to_q(args[0]), module.to_k(args[1])
            q, k = (x.unflatten(-1, (module.heads, -1)).movedim(2, 1).double() for x in (q, k))
            scores = torch.einsum("bhnd,bhtd->bhnt", q, k) / q.shape[-1] ** 0.5
            calls[-1][name] = torch.softmax(scores, -1)

        handles.append(layer.register_forward_pre_hook(look))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def columns(probabilities: Tensor, lengths: list[int]) -> Tensor:
    """[B, ..., T] -> [B, ..., n + 1]: start, pieces, end of each prompt; then the rest."""
    n = max(lengths) + 2
    kept = torch.zeros(*probabilities.shape[:-1], n + 1, dtype=probabilities.dtype)
    for row, length in enumerate(lengths):
        kept[row, ..., : length + 2] = probabilities[row, ..., : length + 2]
        kept[row, ..., n] = probabilities[row, ..., length + 2 :].sum(-1)
    return kept


# -- the matrix ------------------------------------------------------------------------------

SIZES = {"square": {}, "wide": {"width": 22, "height": 10}}
GUIDANCE = {"guided": {"guidance_scale": 3.0}, "unguided": {"guidance_scale": 1.0}}
BATCHES: dict[str, dict[str, Any]] = {
    "one": {"prompt": "a cat"},
    "several pictures": {"prompt": "a cat", "batch_size": 3},
    "several prompts": {"prompt": ["a cat", "the dog and a bird"], "negative_prompt": ["", "cat"]},
}
PICTURE = Image.effect_noise((16, 16), 60)
TASKS: dict[str, dict[str, Any]] = {
    "text": {},
    "image": {"image": PICTURE, "strength": 0.7},
    "inpainting": {"image": PICTURE, "mask": Image.new("L", (16, 16), 255), "strength": 1.0},
}
SAMPLERS = {"one call": {"sampler": "dpmpp_2m"}, "two calls": {"sampler": "heun"}}


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("guidance", GUIDANCE)
@pytest.mark.parametrize("size", SIZES)
def test_what_is_recorded_is_an_explicit_softmax(
    tiny_model: LatentDiffusion, size: str, guidance: str, batch: str, task: str, sampler: str
) -> None:
    settings = {
        "steps": 3, "seed": 1, **SIZES[size], **GUIDANCE[guidance], **BATCHES[batch],
        **TASKS[task], **SAMPLERS[sampler],
    }  # fmt: skip
    plain = list(tiny_model.sample(**settings))
    with reference(tiny_model.unet) as calls:
        run = tiny_model.sample(attention=EVERYTHING, **settings)
        steps = list(run)
    lengths = [len(tokens.pieces) for tokens in run.prompt_tokens()]
    negative = [len(tokens.pieces) for tokens in run.negative_tokens()]
    each = 2 if sampler == "two calls" else 1  # Heun's last step has a single call
    for step, call, bare in zip(steps, calls[::each], plain, strict=True):
        assert torch.equal(step.x_next, bare.x_next)
        assert list(step.attention.cross) == list(tiny_model.unet.cross_attentions())
        halves = [(step.attention.cross, slice(0, len(lengths)), lengths)]
        if negative:
            halves.append((step.attention.uncond, slice(len(lengths), None), negative))
        for maps, rows, counts in halves:
            for name, recorded in maps.items():
                wanted = columns(call[name][rows], counts).mT  # [B, heads, n + 1, N]
                assert recorded.shape[-2] * recorded.shape[-1] == wanted.shape[-1]
                difference = recorded.reshape(wanted.shape) - wanted.numpy()
                assert np.abs(difference).max() <= 1 / 255
    assert bool(steps[0].attention.uncond) == bool(negative)


@pytest.mark.slow
@pytest.mark.parametrize("guidance", GUIDANCE)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_records_what_its_words_look_at(
    make_model: Callable[[ModelConfig], LatentDiffusion], name: str, guidance: str
) -> None:
    model = make_model(FAMILIES[name])
    factor = model.config.autoencoder.factor
    width, height = 11 * factor, 6 * factor
    settings = {
        "steps": 2, "seed": 1, "sampler": "euler", "width": width, "height": height,
        **GUIDANCE[guidance], **BATCHES["several prompts"], **needed(model.config, width, height),
    }  # fmt: skip
    with reference(model.unet) as calls:
        run = model.sample(attention=EVERYTHING, **settings)
        trace = Trace.of(run)
    lengths = [len(tokens.pieces) for tokens in run.prompt_tokens()]
    negative = [len(tokens.pieces) for tokens in run.negative_tokens()]
    told = model.config.has(GuidanceConfig)  # the network predicts once
    assert bool(negative) == (guidance == "guided" and not told)
    rows = len(next(iter(calls[0].values())))
    assert rows == 2 * (1 if not negative else 3 if model.config.has(ImageConfig) else 2)
    for step, call in zip(trace.steps, calls, strict=True):
        halves = [(step.attention.cross, slice(0, 2), lengths)]
        halves += [(step.attention.uncond, slice(2, 4), negative)] if negative else []
        for maps, part, counts in halves:
            assert list(maps) == list(model.unet.cross_attentions())
            for layer, recorded in maps.items():
                wanted = columns(call[layer][part], counts).mT
                difference = recorded.reshape(wanted.shape) - wanted.numpy()
                assert np.abs(difference).max() <= 1 / 255
        assert (step.cond is None) == (step.uncond is None) == (not negative)
    if negative:
        step = trace.steps[0]
        guided = step.uncond + 3.0 * (step.cond - step.uncond)
        assert np.abs(guided - step.denoised).max() <= 1e-3 * np.abs(step.denoised).max()
    assert trace.heat_map("dog", picture=1).shape == (height, width)


def small(unet: UNetConfig, *, heads: int = 2) -> UNetConfig:
    """Return the network with few channels, but with its levels, depths and attention."""
    channels = tuple(8 * (i + 1) for i in range(len(unet.channels)))
    counts = tuple(heads for _ in unet.heads)
    return replace(
        unet, channels=channels, heads=counts, context_dim=24, norm_groups=4,
        vector_dim=unet.vector_dim and 64,
    )  # fmt: skip


@pytest.mark.parametrize("config", [SD1, SD2, SDXL], ids=lambda config: config.name)
def test_networks_of_every_published_shape(config: ModelConfig) -> None:
    torch.manual_seed(0)
    unet = UNet(small(config.unet)).eval().requires_grad_(False)
    x, t, context = torch.randn(2, 4, 16, 24), torch.tensor([500.0]), torch.randn(2, 77, 24)
    vector = torch.randn(2, 64) if config.unet.vector_dim else None
    recorder = AttentionRecorder(unet, 16, 24, [5], [0], AttentionSettings(uncond=True))
    with reference(unet) as calls:
        plain = unet(x, t, context, vector)
        looked = recorder(lambda x, t: unet(x, t, context, vector))(x, t)
    assert torch.equal(plain, looked)
    taken = recorder.take()
    assert len(taken.cross) == len(calls[1]) > 0
    for name, probabilities in calls[1].items():
        wanted = columns(probabilities[:1], [5]).mean(1, keepdim=True).mT
        difference = taken.cross[name].reshape(wanted.shape) - wanted.numpy()
        assert np.abs(difference).max() <= 1 / 255
        assert taken.uncond[name].shape[2] == 3  # start, end, the rest


def test_a_prompt_that_fills_every_slot_has_no_padding(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("cat " * 80, chunks=1, attention=True, **SETTINGS)
    assert {maps.shape[2] for maps in trace.steps[0].attention.cross.values()} == {78}
    assert trace.heat_map("<padding>").max() < 1e-2


def test_two_runs_in_a_row_do_not_mix(tiny_model: LatentDiffusion) -> None:
    first = tiny_model.generate("a cat", attention=True, **SETTINGS)
    tiny_model.generate("the dog", attention=True, **{**SETTINGS, "seed": 5})
    again = tiny_model.generate("a cat", attention=True, **SETTINGS)
    for one, other in zip(first.steps, again.steps, strict=True):
        for name, maps in one.attention.cross.items():
            assert np.array_equal(maps, other.attention.cross[name])


# -- all ends of a run -----------------------------------------------------------------------


@pytest.mark.parametrize("fault", [KeyboardInterrupt, RuntimeError])
def test_after_a_fault_in_the_network_nothing_is_left(
    tiny_model: LatentDiffusion, fault: type[BaseException]
) -> None:
    run = tiny_model.sample("a cat", attention=EVERYTHING, **SETTINGS)
    next(run)
    assert left_behind(tiny_model) == []

    def interrupt(*_: Any) -> None:
        raise fault

    handle = tiny_model.unet.mid_block.register_forward_hook(interrupt)
    with pytest.raises(fault):
        next(run)
    handle.remove()
    assert left_behind(tiny_model) == []
    fresh = tiny_model.generate("a cat", attention=True, **SETTINGS)
    wanted = tiny_model.generate("a cat", attention=True, **SETTINGS)
    assert np.array_equal(fresh.heat_map("cat"), wanted.heat_map("cat"))


def test_an_early_stop_leaves_nothing_either(tiny_model: LatentDiffusion) -> None:
    for _ in itertools.islice(tiny_model.sample("a cat", attention=EVERYTHING, **SETTINGS), 1):
        break
    assert left_behind(tiny_model) == []


def test_a_stopped_run_has_heat_maps_too(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("a cat", attention=True, **SETTINGS)
    trace = Trace.of([next(run)], run)
    assert not trace.complete
    assert trace.heat_map("cat").shape == (16, 16)


def test_a_look_gives_way_and_comes_back(tiny_model: LatentDiffusion) -> None:
    x, t, context = torch.zeros(1, 4, 8, 8), torch.zeros(1), torch.zeros(1, 77, 24)
    outer: list[str] = []
    inner: list[str] = []
    layers = list(tiny_model.unet.cross_attentions())
    with torch.no_grad(), tapped(tiny_model.unet, lambda layer, _: outer.append(layer)):
        with tapped(tiny_model.unet, lambda layer, _: inner.append(layer)):
            tiny_model.unet(x, t, context)
        assert (outer, inner) == ([], layers)
        tiny_model.unet(x, t, context)
    assert (outer, inner) == (layers, layers)


@pytest.mark.slow
def test_a_compiled_network_says_that_it_cannot_be_looked_into(tiny_model: LatentDiffusion) -> None:
    compiled = torch.compile(tiny_model.unet, backend="eager")
    x, t, context = torch.zeros(1, 4, 8, 8), torch.zeros(1), torch.zeros(1, 77, 24)
    recorder = AttentionRecorder(tiny_model.unet, 8, 8, [2])
    with torch.no_grad(), pytest.raises(InputError, match="compiled"):
        recorder(lambda x, t: compiled(x, t, context))(x, t)


# -- with other threads ----------------------------------------------------------------------


def everything_of(step: Any) -> list[np.ndarray]:
    """Return the latents of a step and everything that was recorded of it."""
    found = [step.x_next.numpy()]
    if step.attention is not None:
        found += step.attention.cross.values()
        found += step.attention.uncond.values()
        found += step.attention.cells.values()
        found += (part for one in step.attention.queries.values() for part in one)
    return found


@pytest.mark.parametrize("other", [False, EVERYTHING], ids=["bare", "recorded"])
def test_beside_another_thread_a_run_is_as_it_is_alone(
    tiny_model: LatentDiffusion, other: Any
) -> None:
    asked = [("a cat", EVERYTHING), ("the dog and a bird", other)]

    def steps_of(prompt: str, attention: Any) -> list[list[np.ndarray]]:
        run = tiny_model.sample(prompt, attention=attention, **SETTINGS)
        return [everything_of(step) for step in run]

    alone = [steps_of(*each) for each in asked]
    barrier = threading.Barrier(2, timeout=120)

    def meet(*_: Any) -> None:
        barrier.wait()

    handle = tiny_model.unet.mid_block.register_forward_hook(meet)  # in the middle of every pass
    with ThreadPoolExecutor(2) as pool:
        beside = list(pool.map(steps_of, *zip(*asked, strict=True)))
    handle.remove()
    for one, same in zip(alone, beside, strict=True):
        for step, again in zip(one, same, strict=True):
            assert len(step) == len(again) > 0
            assert all(map(np.array_equal, step, again))
    assert left_behind(tiny_model) == []


def test_another_thread_is_not_looked_at(tiny_model: LatentDiffusion) -> None:
    x, t, context = torch.zeros(1, 4, 8, 8), torch.zeros(1), torch.zeros(1, 77, 24)
    seen: list[str] = []
    with (
        tapped(tiny_model.unet, lambda layer, _: seen.append(layer)),
        ThreadPoolExecutor(1) as pool,
    ):
        pool.submit(tiny_model.unet, x, t, context).result()
    assert seen == []


# -- what is kept ----------------------------------------------------------------------------


def test_heads_are_averaged_unless_asked_for(tiny_model: LatentDiffusion) -> None:
    apart = tiny_model.generate("a cat", attention=AttentionSettings(heads=True), **SETTINGS)
    mean = tiny_model.generate("a cat", attention=True, **SETTINGS)
    for name, maps in mean.steps[0].attention.cross.items():
        heads = apart.steps[0].attention.cross[name]
        assert (
            maps.shape[1] == 1 and heads.shape[1] == tiny_model.unet.cross_attentions()[name].heads
        )
        assert np.allclose(heads.astype(np.float32).mean(1, keepdims=True), maps, atol=1e-3)


def test_heads_apart_keep_no_more_than_their_tokens(tiny_model: LatentDiffusion) -> None:
    unet, settings = tiny_model.unet, AttentionSettings(heads=True)
    x, t, context = torch.zeros(1, 4, 8, 8), torch.zeros(1), torch.zeros(1, 77, 24)
    recorder = AttentionRecorder(unet, 8, 8, [2], settings=settings)
    with torch.no_grad():
        recorder(lambda x, t: unet(x, t, context))(x, t)
    for held in recorder._cross.values():
        assert held.shape[-1] == 4  # start, two pieces, end: of 77
        assert held.untyped_storage().nbytes() == held.numel() * held.element_size()


def test_without_asking_nothing_is_recorded(tiny_model: LatentDiffusion) -> None:
    assert tiny_model.generate("a cat", **SETTINGS).steps[0].attention is None
    attention = tiny_model.generate("a cat", attention=True, **SETTINGS).steps[0].attention
    assert not attention.uncond and not attention.cells and not attention.queries


def test_self_attention_is_what_the_fused_kernel_computes(tiny_model: LatentDiffusion) -> None:
    calls: dict[str, list[tuple[Tensor, Tensor]]] = {}
    layers = tiny_model.unet.self_attentions()
    for name, layer in layers.items():
        seen = calls.setdefault(name, [])
        layer.register_forward_hook(lambda _, args, out, seen=seen: seen.append((args[0], out)))
        with torch.no_grad():  # heads that look alike, so that their mean is each of them
            for project in (layer.to_q, layer.to_k):
                head = project.weight[: len(project.weight) // layer.heads]
                project.weight.copy_(head.repeat(layer.heads, 1))
    settings = AttentionSettings(self_attention=True)
    trace = tiny_model.generate("a cat", attention=settings, guidance_scale=1.0, **SETTINGS)
    assert list(trace.steps[0].attention.cells) == list(layers)
    for name, cells in trace.steps[0].attention.cells.items():
        x, out = calls[name][0]
        attended = torch.from_numpy(cells.astype(np.float32)) @ layers[name].to_v(x)
        assert torch.allclose(out, layers[name].to_out[0](attended), atol=5e-3)


def test_large_layers_keep_neither_cells_nor_queries(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate(
        "a cat", attention=EVERYTHING, width=40, height=40, **{**SETTINGS, "steps": 1}
    )
    attention = trace.steps[0].attention
    sides = {maps.shape[-1] for maps in attention.cross.values()}
    assert sides == {20, 10}
    assert {maps.shape[-1] for maps in attention.cells.values()} == {100}
    assert {one.values.shape[1] for one in attention.queries.values()} == {100}


@pytest.mark.parametrize("wrong", [1, None, "yes", AttentionSettings(heads=1)])  # type: ignore[arg-type]
def test_attention_is_a_switch_or_its_settings(tiny_model: LatentDiffusion, wrong: Any) -> None:
    with pytest.raises(InputError, match="True") as caught:
        tiny_model.sample("a cat", attention=wrong)
    assert caught.value.parameter == "attention"


def test_levels_are_told_from_their_number_of_cells() -> None:
    assert grid_of(64 * 40, 64, 40) == (64, 40)
    assert grid_of(16 * 10, 64, 40) == (16, 10)
    assert grid_of(3 * 6, 5, 11) == (3, 6)
    with pytest.raises(ValueError, match="100 cells"):
        grid_of(100, 64, 40)


# -- heat maps of a run ----------------------------------------------------------------------


def test_a_heat_map_is_the_mean_of_those_of_steps_and_layers(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate(["a cat", "the dog"], attention=True, width=22, **SETTINGS)
    whole = trace.heat_map("cat", recipe=DAAM)
    assert whole.shape == (16, 22) and whole.dtype == np.float32
    steps = [trace.heat_map("cat", i, recipe=DAAM) for i in range(3)]
    assert np.allclose(whole, np.mean(steps, axis=0), atol=1e-6)
    assert np.allclose(whole, trace.heat_map("cat", range(3), recipe=DAAM))
    layers = [trace.heat_map("cat", layer=name, recipe=DAAM) for name in trace.layers]
    assert np.allclose(whole, np.mean(layers, axis=0), atol=1e-6)
    assert trace.heat_map("dog", picture=1).shape == (16, 22)


def test_a_layer_has_a_name_a_number_and_a_label(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", attention=True, **SETTINGS)
    second = [name for name in trace.layers if name.startswith("up")][1]
    by_name = trace.heat_map("cat", layer=second)
    for layer in (
        "up 2",
        trace.layers.index(second),
        trace.layers.index(second) - len(trace.layers),
    ):
        assert np.array_equal(trace.heat_map("cat", layer=layer), by_name)


def test_a_resolution_is_the_mean_of_its_layers(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", attention=True, **SETTINGS)
    maps = trace.steps[0].attention.cross
    names = [name for name, one in maps.items() if one.shape[-1] == 4]
    layers = [trace.heat_map("cat", layer=name, recipe=DAAM) for name in names]
    heat = trace.heat_map("cat", resolution=4, recipe=DAAM)
    assert np.allclose(heat, np.mean(layers, axis=0), atol=1e-6)


def test_a_recipe_names_layers_and_steps(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", attention=True, **SETTINGS)
    mid = [name for name in trace.layers if name.startswith("mid")]
    heat = trace.heat_map("cat", recipe=Recipe(places=("mid",), steps=(0.5, 1.0)))
    wanted = [trace.heat_map("cat", i, layer=mid[0], recipe=DAAM) for i in (1, 2)]
    assert np.allclose(heat, np.mean(wanted, axis=0), atol=1e-6)


def test_all_tokens_of_a_cell_have_one_together(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", attention=True, **SETTINGS)
    words = ("<start>", "a", "cat", "<end>", "<padding>")
    total = sum(trace.heat_map(word, recipe=DAAM) for word in words)
    assert np.allclose(total, 1, atol=1e-2)


def test_against_the_other_words_it_is_a_share(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("the cat", attention=True, **SETTINGS)
    shares = [trace.heat_map(word, against="words") for word in ("the", "cat")]
    assert np.allclose(sum(shares), 1, atol=1e-6)


@pytest.mark.parametrize("word", ["<start>", "<end>", "<padding>"])
def test_what_stands_for_no_word_has_no_share(tiny_model: LatentDiffusion, word: str) -> None:
    trace = tiny_model.generate("the cat", attention=True, **SETTINGS)
    with pytest.raises(InputError, match="no word") as caught:
        trace.heat_map(word, against="words")
    assert caught.value.parameter == "against"
    recipe = Recipe(against="words")
    assert np.array_equal(trace.heat_map(word, recipe=recipe), trace.heat_map(word, recipe=DAAM))


def test_on_request_it_is_stretched_over_the_image(tiny_model: LatentDiffusion) -> None:
    heat = tiny_model.generate("the cat", attention=True, **SETTINGS).heat_map(
        "cat", scale="picture"
    )
    assert heat.min() == 0 and heat.max() == 1


def test_the_negative_prompts_words_have_maps_on_request(tiny_model: LatentDiffusion) -> None:
    settings = AttentionSettings(uncond=True)
    trace = tiny_model.generate("a cat", negative_prompt="dog", attention=settings, **SETTINGS)
    assert trace.heat_map("dog", uncond=True).shape == (16, 16)
    with pytest.raises(InputError, match="not a word"):
        trace.heat_map("cat", uncond=True)
    plain = tiny_model.generate("a cat", negative_prompt="dog", attention=True, **SETTINGS)
    with pytest.raises(InputError, match="uncond=True"):
        plain.heat_map("dog", uncond=True)


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [
        ({"step": 3}, "step"), ({"step": -4}, "step"), ({"step": [0, 3]}, "step"),
        ({"step": []}, "step"), ({"step": "0"}, "step"), ({"layer": "nowhere"}, "layer"),
        ({"layer": 99}, "layer"), ({"layer": 1.0}, "layer"),
        ({"picture": 1}, "picture"), ({"head": 1}, "head"), ({"resolution": 7}, "resolution"),
        ({"resolution": True}, "resolution"), ({"scale": "log"}, "scale"),
        ({"against": "all"}, "against"), ({"word": "dog"}, "word"),
    ],
)  # fmt: skip
def test_what_a_heat_map_cannot_show(
    tiny_model: LatentDiffusion, asked: dict[str, Any], parameter: str
) -> None:
    trace = tiny_model.generate("a cat", attention=True, **SETTINGS)
    with pytest.raises(InputError) as caught:
        trace.heat_map(**{"word": "cat", **asked})
    assert caught.value.parameter == parameter


def test_nothing_recorded_raises(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", **SETTINGS)
    with pytest.raises(InputError, match="attention=True"):
        trace.heat_map("cat")


def test_a_network_without_words_records_nothing(
    make_model: Callable[[ModelConfig], LatentDiffusion],
) -> None:
    unet = replace(TINY.unet, context_dim=0)
    trace = make_model(replace(TINY, unet=unet)).generate("a cat", attention=True, **SETTINGS)
    assert trace.layers == ()
    with pytest.raises(InputError, match="No attention"):
        trace.heat_map("cat")


# -- prompts in chunks -------------------------------------------------------------------------


def test_attention_to_a_repeated_context_is_the_attention_to_it_once(
    tiny_model: LatentDiffusion,
) -> None:
    """So a prompt makes the same image with a negative prompt of any length, and in any batch."""
    settings = {**SETTINGS, "attention": AttentionSettings(uncond=True), "guidance_scale": 3.0}
    short, long = "a cat", "the dog " * 50 + "BREAK owl"  # 1 and 3 chunks
    batch = tiny_model.generate([short, long], negative_prompt="bird BREAK cat", **settings)
    for i, prompt in enumerate((short, long)):
        alone = tiny_model.generate(
            prompt, negative_prompt="bird BREAK cat", **{**settings, "seed": 1 + i}
        )
        assert alone.tokens[0] == batch.tokens[i]
        for one, other in zip(alone.steps, batch.steps, strict=True):
            np.testing.assert_allclose(one.x_next[0], other.x_next[i], atol=1e-4)
            for name, maps in one.attention.cross.items():
                others = other.attention.cross[name][i, :, : maps.shape[2] - 1]
                np.testing.assert_allclose(maps[0, :, :-1], others, atol=2e-3)
            for name, maps in one.attention.uncond.items():
                np.testing.assert_allclose(maps[0], other.attention.uncond[name][i], atol=2e-3)


def test_the_words_of_all_chunks_have_maps(tiny_model: LatentDiffusion) -> None:
    """What is recorded of a word is what its tokens get, wherever in the context they are."""
    prompt = "cat " * 75 + "the (dog:1.2)"
    kept: dict[str, torch.Tensor] = {}
    settings = {**SETTINGS, "guidance_scale": 1.0}
    run = tiny_model.sample(prompt, attention=True, **settings)
    first = next(run)
    with tapped(tiny_model.unet, lambda name, p: kept.setdefault(name, p.detach())):
        next(tiny_model.sample(prompt, **settings))
    (tokens,) = run.prompt_tokens()
    (dog,) = tokens.find("dog")
    assert dog == 77 and tokens.places[dog] == 79 and tokens.slots == 154
    for name, maps in first.attention.cross.items():
        column = kept[name][0, :, :, 79].mean(0)
        np.testing.assert_allclose(maps[0, 0, dog].ravel(), column, atol=2e-3)
        np.testing.assert_allclose(maps[0, 0].sum(0), 1, atol=2e-2)
