from __future__ import annotations

import contextlib
import copy
import gc
import math
import pickle
import random
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from random_values import anything, near_its_limits
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from tqdm import tqdm

import sdwidgets as sdw
from sdwidgets import room
from sdwidgets.configs import TINY, ModelConfig
from sdwidgets.diffusion import PREDICTIONS, SAMPLERS, Prediction, Step
from sdwidgets.errors import ImageError, InputError, NumericsError, OutOfMemory
from sdwidgets.lab import Noise
from sdwidgets.models import text
from sdwidgets.models.attention import LOOK
from sdwidgets.models.text import TextEncoder
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.sampling import SCHEDULES
from sdwidgets.settings import Settings, largest_tensor, memory_needed
from sdwidgets.sources import Source
from sdwidgets.trace import Trace, preview_rgb
from sdwidgets.trace.about import about

SETTINGS: dict[str, Any] = {"steps": 3, "seed": 1, "sampler": "euler"}


def latents_of(trace: Trace) -> Tensor:
    return torch.from_numpy(trace.steps[-1].x_next)


def pixels_of(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


@pytest.fixture
def picture() -> Image.Image:
    levels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return Image.fromarray(levels)


@pytest.fixture
def left_half() -> Image.Image:
    mask = Image.new("L", (16, 16))
    mask.paste(255, (0, 0, 8, 16))
    return mask


# -- one run ---------------------------------------------------------------------------------


def test_a_run_is_an_iterator_of_known_length(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("a cat", **SETTINGS)
    assert len(run) == 3
    steps = list(tqdm(run, disable=True))
    assert [step.index for step in steps] == [0, 1, 2]
    assert len(run.seconds) == 3
    assert list(run) == []


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_sampler_on_every_grid(
    tiny_model: LatentDiffusion, sampler: str, schedule: str
) -> None:
    trace = tiny_model.generate("a cat", steps=3, seed=1, sampler=sampler, schedule=schedule)
    assert trace.image.size == (16, 16)
    assert all(before.x_next is after.x for before, after in pairwise(trace.steps))


LEVELS = [14.0, 2.5, 0.5, 0.0]


@pytest.mark.parametrize("levels", [LEVELS, np.array(LEVELS), torch.tensor(LEVELS), tuple(LEVELS)])
def test_a_run_visits_the_noise_levels_that_it_is_given(
    tiny_model: LatentDiffusion, levels: Any
) -> None:
    run = tiny_model.sample("a cat", sigmas=levels, seed=1)
    assert run.settings.sigmas == tuple(LEVELS) and run.settings.steps == len(run) == 3
    visited = [(step.sigma, step.sigma_next) for step in run]
    assert visited == [*pairwise(LEVELS)]


def test_the_levels_of_a_grid_given_by_hand_make_the_same_image(
    tiny_model: LatentDiffusion,
) -> None:
    named = tiny_model.generate("a cat", steps=5, schedule="karras", seed=1)
    given = tiny_model.generate("a cat", sigmas=tiny_model.schedule.karras(5), seed=1)
    assert torch.equal(latents_of(named), latents_of(given))


def test_a_run_from_an_image_skips_levels_given_by_hand(
    tiny_model: LatentDiffusion, picture: Image.Image
) -> None:
    run = tiny_model.sample("a cat", sigmas=LEVELS, strength=0.7, image=picture, seed=1)
    assert [step.sigma for step in run] == LEVELS[1:3]
    assert run.settings.strength == pytest.approx(2 / 3)


def test_given_levels_may_leave_noise_which_is_said(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("a cat", sigmas=LEVELS[:3], seed=1)
    assert [step.sigma_next for step in run][-1] == 0.5
    assert any("noise is left" in notice for notice in run.notices)


def test_given_levels_have_at_most_the_noise_that_the_model_knows(
    tiny_model: LatentDiffusion,
) -> None:
    tiny_model.sample("a cat", sigmas=[14.615, 1, 0], seed=1)  # as published lists round 14.6146
    with pytest.raises(InputError, match=r"begin at 15, .*up to 14\.6146\.\nBegin at 14\.6146"):
        tiny_model.sample("a cat", sigmas=[15, 1, 0], seed=1)


def test_given_levels_take_the_place_of_steps_and_schedule(tiny_model: LatentDiffusion) -> None:
    for other in ({"steps": 4}, {"schedule": "karras"}):
        with pytest.raises(InputError, match="noise levels"):
            tiny_model.sample("a cat", sigmas=LEVELS, **other)
    assert tiny_model.sample("a cat", sigmas=LEVELS, steps=3).settings.sigmas == tuple(LEVELS)


def test_a_record_has_the_noise_levels_that_were_given(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", sigmas=LEVELS, seed=1)
    assert trace.settings.sigmas == tuple(LEVELS)
    assert dict(about(trace))["schedule"] == "14, 2.5, 0.5, 0"
    many = tiny_model.generate("a cat", sigmas=[*range(14, -1, -1)], seed=1)
    assert dict(about(many))["schedule"] == "15 levels from 14 to 0"
    again = tiny_model.sample(**trace.settings.as_dict())
    assert torch.equal([*again][-1].x_next, latents_of(trace))


def test_sizes_need_not_be_square_nor_even_in_cells(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", width=22, height=10, **SETTINGS)
    assert trace.image.size == (22, 10)
    assert latents_of(trace).shape == (1, 4, 5, 11)


def test_the_prompt_matters(tiny_model: LatentDiffusion) -> None:
    one = tiny_model.generate("a cat", **SETTINGS)
    other = tiny_model.generate("the dog", **SETTINGS)
    assert not torch.equal(latents_of(one), latents_of(other))


def test_the_guided_prediction_is_made_of_its_halves(tiny_model: LatentDiffusion) -> None:
    for step in tiny_model.sample("a cat", guidance_scale=3.0, **SETTINGS):
        assert step.cond is not None and step.uncond is not None
        guided = step.uncond + 3.0 * (step.cond - step.uncond)
        assert torch.allclose(step.denoised, guided, atol=1e-4)


def test_the_negative_prompt_takes_the_empty_ones_place(tiny_model: LatentDiffusion) -> None:
    empty = next(tiny_model.sample("a cat", **SETTINGS))
    negative = next(tiny_model.sample("a cat", negative_prompt="the dog", **SETTINGS))
    assert torch.allclose(empty.cond, negative.cond, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(empty.uncond, negative.uncond, rtol=1e-3, atol=1e-3)


def calls_of(model: LatentDiffusion, **settings: Any) -> list[tuple[int, Tensor]]:
    """(batch, context) of each call of the network."""
    calls = []

    def look(_: Any, args: tuple[Any, ...]) -> None:
        calls.append((len(args[0]), args[2]))

    handle = model.unet.register_forward_pre_hook(look)
    try:
        model.generate("a cat", **{**SETTINGS, **settings})
    finally:
        handle.remove()
    return calls


def test_a_guided_step_is_one_call_with_the_prompts_half_first(
    tiny_model: LatentDiffusion,
) -> None:
    calls = calls_of(tiny_model, batch_size=2)
    assert [batch for batch, _ in calls] == [4, 4, 4]
    context = calls[0][1]
    wanted = tiny_model.condition(["a cat", "a cat", "", ""]).context
    assert torch.allclose(context, wanted, atol=1e-6)
    assert context is calls[2][1]  # made once


def test_without_guidance_the_other_half_is_not_computed(tiny_model: LatentDiffusion) -> None:
    assert [batch for batch, _ in calls_of(tiny_model, guidance_scale=1)] == [1, 1, 1]


def test_heun_calls_twice_but_for_the_last_step(tiny_model: LatentDiffusion) -> None:
    assert len(calls_of(tiny_model, sampler="heun")) == 5


# -- seeds -----------------------------------------------------------------------------------


def test_one_seed_one_picture(tiny_model: LatentDiffusion) -> None:
    one, again = (tiny_model.generate("a cat", **SETTINGS) for _ in range(2))
    assert torch.equal(latents_of(one), latents_of(again))
    assert one.png() == again.png()


def test_another_seed_another_picture(tiny_model: LatentDiffusion) -> None:
    one = tiny_model.generate("a cat", **SETTINGS)
    other = tiny_model.generate("a cat", **{**SETTINGS, "seed": 2})
    assert not np.array_equal(one.steps[0].x, other.steps[0].x)


def test_a_drawn_seed_is_recorded_and_makes_the_picture_again(tiny_model: LatentDiffusion) -> None:
    one = tiny_model.generate("a cat", steps=2)
    again = tiny_model.generate("a cat", steps=2, seed=one.settings.seed)
    assert torch.equal(latents_of(one), latents_of(again))


@pytest.mark.parametrize("options", [{}, {"sampler": "euler_ancestral"}])
def test_a_batchs_picture_is_that_of_its_seed_alone(
    tiny_model: LatentDiffusion, options: dict[str, Any]
) -> None:
    settings = {**SETTINGS, **options}
    batch = tiny_model.generate("a cat", batch_size=3, **settings)
    alone = tiny_model.generate("a cat", **{**settings, "seed": 2})
    assert np.array_equal(batch.steps[0].x[1:2], alone.steps[0].x)
    assert torch.allclose(latents_of(batch)[1:2], latents_of(alone), atol=1e-4)


def test_prompts_and_seeds_go_together(tiny_model: LatentDiffusion) -> None:
    batch = tiny_model.generate(["a cat", "the dog"], **{**SETTINGS, "seed": [5, 9]})
    alone = tiny_model.generate("the dog", **{**SETTINGS, "seed": 9})
    assert len(batch.images) == 2
    assert torch.allclose(latents_of(batch)[1:], latents_of(alone), atol=1e-4)


def test_the_noise_is_the_seeds_on_the_cpu(tiny_model: LatentDiffusion) -> None:
    step = next(tiny_model.sample("", **SETTINGS))
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator("cpu").manual_seed(1))
    assert torch.allclose(step.x, noise * (1 + step.sigma**2) ** 0.5)


def test_given_latents_take_the_noises_place(tiny_model: LatentDiffusion) -> None:
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator("cpu").manual_seed(1))
    given = tiny_model.generate("a cat", latents=noise, **{**SETTINGS, "seed": 77})
    drawn = tiny_model.generate("a cat", **SETTINGS)
    assert torch.equal(latents_of(given), latents_of(drawn))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral"])
def test_one_seed_one_picture_on_every_device(tiny_model: LatentDiffusion, sampler: str) -> None:
    settings = {**SETTINGS, "sampler": sampler, "batch_size": 2}
    here = latents_of(tiny_model.generate("a cat", **settings))
    for module in (tiny_model.unet, tiny_model.autoencoder, tiny_model.text.model):
        module.cuda()
    there = latents_of(tiny_model.generate("a cat", **settings))
    assert tiny_model.device.type == "cuda"
    assert (there - here).abs().max() < 1e-2 * here.abs().max()


# -- image to image, inpainting --------------------------------------------------------------


def test_a_picture_spares_the_first_steps(
    tiny_model: LatentDiffusion, picture: Image.Image
) -> None:
    run = tiny_model.sample("a cat", steps=10, seed=1, image=picture, strength=0.3)
    steps = list(run)
    assert len(run) == len(steps) == 3
    assert run.task == "image to image"


def test_the_picture_is_in_the_starting_latents(
    tiny_model: LatentDiffusion, picture: Image.Image
) -> None:
    noise = torch.zeros(1, 4, 8, 8)
    settings = {**SETTINGS, "steps": 10, "strength": 0.3, "latents": noise}
    step = next(tiny_model.sample("", image=picture, **settings))
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        known = tiny_model.autoencoder.encode(pixels).sample(generator)
    assert torch.allclose(step.x, known, atol=1e-5)


def test_unmasked_pixels_are_kept_exactly(
    tiny_model: LatentDiffusion, picture: Image.Image, left_half: Image.Image
) -> None:
    for strength in (0.5, 1.0):
        trace = tiny_model.generate(
            "a cat", steps=4, seed=1, image=picture, mask=left_half, strength=strength
        )
        assert trace.task == "inpainting"
        result, original = pixels_of(trace.image), pixels_of(picture)
        assert (result[:, 8:] == original[:, 8:]).all()
        assert (result[:, :8] != original[:, :8]).any()


def test_outside_the_mask_the_latents_stay_the_pictures(
    tiny_model: LatentDiffusion, picture: Image.Image, left_half: Image.Image
) -> None:
    steps = list(tiny_model.sample("a cat", image=picture, mask=left_half, **SETTINGS))
    known = steps[-1].x_next[..., 4:]
    assert all(torch.equal(step.denoised[..., 4:], known) for step in steps)


def test_a_stroke_thinner_than_a_cell_is_not_lost(
    tiny_model: LatentDiffusion, picture: Image.Image
) -> None:
    mask = Image.new("L", (16, 16))
    mask.putpixel((5, 5), 255)
    steps = list(tiny_model.sample("a cat", image=picture, mask=mask, **SETTINGS))
    moved = (steps[0].denoised != steps[-1].denoised).any(1)[0]
    assert moved.nonzero().tolist() == [[2, 2]]


def test_a_black_mask_gives_the_picture_back_with_a_notice(
    tiny_model: LatentDiffusion, picture: Image.Image
) -> None:
    trace = tiny_model.generate("a cat", image=picture, mask=Image.new("L", (16, 16)), **SETTINGS)
    assert (pixels_of(trace.image) == pixels_of(picture)).all()
    assert "nothing will change" in trace.notices[0]


def test_a_picture_of_another_size_is_resized_with_a_notice(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", image=Image.new("RGBA", (40, 30)), **SETTINGS)
    assert trace.image.size == (16, 16)
    assert trace.notices[0] == (
        "The image was resized from 40 x 30 to 16 x 16; 25% of it was cut off, left and right."
    )


def test_encode_and_decode_keep_the_pictures_place(tiny_model: LatentDiffusion) -> None:
    latents = tiny_model.encode(Image.new("RGB", (21, 12), "red"))
    assert latents.shape == (1, 4, 6, 10) and latents.dtype == torch.float32
    assert tiny_model.decode(latents)[0].size == (20, 12)


# -- invalid inputs --------------------------------------------------------------------------


class CountedOps(TorchDispatchMode):
    """Counts every tensor operation done while it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "bad",
    [
        *({"steps": steps} for steps in (0, -1, 2.5, True, "3", math.nan, 10**9)),
        {"guidance_scale": float("nan")},
        {"width": 7},
        {"height": 20000},
        {"sampler": "__class__"},
        {"prompt": None},
        {"batch_size": 10**6},
        {"image": Image.new("RGB", (16, 16)), "strength": 0.01},
        {"image": "no-such-file.png"},
        {"image": b"not a picture"},
        {"mask": Image.new("L", (16, 16))},
        {"image": Image.new("RGB", (16, 16)), "mask": Image.new("L", (8, 16))},
        {"latents": torch.zeros(1, 4, 8, 9)},
        {"latents": torch.zeros(1, 4, 8, 8, dtype=torch.int64)},
        {"latents": [[0.0]]},
    ],
    ids=lambda bad: "-".join(bad),
)
def test_bad_input_is_refused_before_any_tensor_operation(
    tiny_model: LatentDiffusion, bad: dict[str, Any]
) -> None:
    with CountedOps() as ops, pytest.raises(InputError) as caught:
        tiny_model.sample(**{"prompt": "a cat", **bad})
    assert ops.count == 0
    assert len(str(caught.value).splitlines()) <= 3


@pytest.mark.parametrize("bad", ["a cat", [], [3], [None], ["a cat", b"a dog"]])
def test_what_is_no_list_of_prompts_is_refused(tiny_model: LatentDiffusion, bad: Any) -> None:
    for ask in (tiny_model.tokenize, tiny_model.condition):
        with pytest.raises(InputError, match="list of strings") as caught:
            ask(bad)
        assert caught.value.parameter == "prompt"


def test_latents_that_are_not_finite_are_refused(tiny_model: LatentDiffusion) -> None:
    with pytest.raises(InputError, match="NaN"):
        tiny_model.sample("a cat", latents=torch.full((1, 4, 8, 8), float("nan")))


def test_an_unknown_setting_is_pythons_own_error(tiny_model: LatentDiffusion) -> None:
    with pytest.raises(TypeError, match="guidance"):
        tiny_model.generate("a cat", guidance=3)


def random_settings(rng: random.Random) -> dict[str, Any]:
    values = {
        "prompt": ["a cat", "", "x" * 500, ["a", "b"], None, 5, [], "\ud800", "\0👨‍👩‍👧"],
        "negative_prompt": ["", "dog", ["a", "b"], b"no"],
        "steps": [1, 2, 3, 0, -1, 2.5, True, "3", 10**9, float("nan")],
        "sampler": [*SAMPLERS, "dpm", "__class__", None],
        "schedule": [*SCHEDULES, "karas", 7],
        "guidance_scale": [None, 0, 1, 3.5, 100, -5, float("inf"), "7"],
        "guidance_rescale": [0, 0.7, 1, 2],
        "seed": [None, 0, 7, [1, 2], -1, 2**60, "7"],
        "width": [None, 2, 10, 16, 7, 33, 20000, 16.0],
        "height": [None, 2, 10, 16, 0, -8],
        "batch_size": [1, 2, 0, 10**6, None],
        "strength": [0.1, 0.5, 1, 0, 2, float("nan")],
        "eta": [0, 0, 0.5, 1, 5],
        "image": [None, Image.new("RGB", (16, 16), "red"), Image.new("LA", (3, 9)), "none", 5],
        "mask": [None, Image.new("L", (16, 16), 255), Image.new("1", (3, 9))],
    }
    chosen = rng.sample(sorted(values), rng.randint(1, 5))
    # mostly valid values, or hardly any run would start
    settings = {
        name: rng.choice(values[name][: 3 if rng.random() < 0.7 else None]) for name in chosen
    }
    if rng.random() < 0.5:
        name = rng.choice(("prompt", "guidance_scale", "guidance_rescale", "seed", "strength"))
        settings[name] = near_its_limits(rng, name)
    if rng.random() < 0.1:
        settings[rng.choice(sorted(values))] = anything(rng)
    return settings


@pytest.mark.slow
def test_random_settings_give_a_typed_error_or_a_picture(tiny_model: LatentDiffusion) -> None:
    rng = random.Random(0)
    pictures = 0
    for _ in range(300):
        settings = {"steps": 2, **random_settings(rng)}
        try:
            run = tiny_model.sample(**settings)
        except InputError as error:
            assert len(str(error).splitlines()) <= 3
            continue
        trace = Trace.of(run)
        assert torch.isfinite(latents_of(trace)).all()
        assert len(trace.images) == trace.settings.batch_size
        pictures += 1
    assert pictures > 50


# -- long prompts ----------------------------------------------------------------------------


def test_words_cut_from_a_prompt_are_told(tiny_model: LatentDiffusion) -> None:
    room = tiny_model.config.text[0].length - 2
    prompt = "cat " * room + "dog the end"
    run = tiny_model.sample(prompt, chunks=1, **SETTINGS)
    assert run.tokens.cut == ("dog the end",)
    trace = Trace.of(run)
    assert trace.cut == ("dog the end",)
    assert "dog the end" in trace.notices[0]


def test_words_cut_from_a_negative_prompt_are_told(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("a cat", negative_prompt="cat " * 750 + "dog", **SETTINGS)
    assert run.notices == ("The negative prompt is too long; the model does not see: dog",)


@pytest.mark.parametrize(("count", "chunks"), [(75, 1), (750, 10)])
def test_a_prompt_that_fits_has_nothing_cut(
    tiny_model: LatentDiffusion, count: int, chunks: int
) -> None:
    trace = tiny_model.generate("cat " * count, chunks=chunks, **SETTINGS)
    assert trace.cut == ("",) and trace.notices == ()


def test_a_run_tokenises_what_it_is_told_once(
    tiny_model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    encode_start = text._encode_start

    def watched(tokenizer: Any, prompt: str, room: int) -> Any:
        asked.append(prompt)
        return encode_start(tokenizer, prompt, room)

    monkeypatch.setattr(text, "_encode_start", watched)
    tiny_model.generate("a cat", negative_prompt="dog", batch_size=3, **SETTINGS)
    assert asked == ["a cat", "dog"]


# -- memory and numerics ---------------------------------------------------------------------

OUT_OF_MEMORY = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB)"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
    RuntimeError("CUDA error: out of memory"),
    MemoryError(),
]


def failing(error: Exception, call: int = 0) -> Callable[..., None]:
    """A forward hook that raises a copy of an error at its nth call and does not keep it."""
    calls = iter(range(1000))

    def hook(*_: Any) -> None:
        if next(calls) == call:
            raise type(error)(*error.args)

    return hook


@pytest.fixture
def no_gc() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=range(len(OUT_OF_MEMORY)))
@pytest.mark.parametrize("part", ["text", "unet", "decoder"])
def test_out_of_memory_is_one_error_and_the_next_run_is_right(
    tiny_model: LatentDiffusion, error: Exception, part: str
) -> None:
    modules = {
        "text": tiny_model.text.model,
        "unet": tiny_model.unet.mid_block,
        "decoder": tiny_model.autoencoder.decoder,
    }
    before = tiny_model.generate("a cat", **SETTINGS)
    handle = modules[part].register_forward_hook(failing(error))
    with pytest.raises(OutOfMemory, match="Try width=8, height=8") as caught:
        tiny_model.generate("a cat", **SETTINGS)
    handle.remove()
    assert caught.value.__context__ is None
    assert tiny_model.generate("a cat", **SETTINGS).png() == before.png()


@pytest.mark.parametrize(("part", "call"), [("unet", 2), ("autoencoder", 0)])
def test_out_of_memory_leaves_no_tensor_alive(
    tiny_model: LatentDiffusion,
    monkeypatch: pytest.MonkeyPatch,
    no_gc: None,
    part: str,
    call: int,
) -> None:
    alive: list[weakref.ref[Tensor]] = []
    sampler = SAMPLERS["euler"]

    def watched(*args: Any, **options: Any) -> Iterator[Step]:
        for step in sampler(*args, **options):
            alive.extend(map(weakref.ref, (step.x, step.denoised, step.x_next)))
            yield step

    monkeypatch.setitem(SAMPLERS, "euler", watched)
    error = RuntimeError("MPS backend out of memory")
    module = {"unet": tiny_model.unet, "autoencoder": tiny_model.autoencoder.decoder}[part]
    module.register_forward_hook(failing(error, call))
    with pytest.raises(OutOfMemory) as caught:
        tiny_model.generate("a cat", **SETTINGS)
    assert caught.value.__traceback__ is not None  # IPython keeps it, too
    assert len(alive) >= 6
    assert not any(reference() is not None for reference in alive)


def test_a_run_that_does_not_fit_into_free_memory_is_refused_before_it_begins(
    tiny_model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = memory_needed(tiny_model.config, 16, 16, 8)
    monkeypatch.setattr(room, "available_memory", lambda device: needed - 1)
    with pytest.raises(OutOfMemory, match=r" of .*B.\nTry batch_size=4, or width=8"):
        tiny_model.sample("a cat", batch_size=8)
    monkeypatch.setattr(room, "available_memory", lambda device: needed)
    tiny_model.sample("a cat", batch_size=8)


def test_a_tensor_that_apples_gpu_does_not_take_is_refused_before_it_begins(
    tiny_model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = {"width": 512, "height": 512}
    largest = largest_tensor(tiny_model.config, 512, 512, 2)
    assert largest == 4 * 2 * 2 * 2 * (256 * 256) ** 2  # 2 heads at the first level
    tiny_model.sample("a cat", batch_size=2, **size)
    monkeypatch.setattr(LatentDiffusion, "device", torch.device("mps"))
    with pytest.raises(OutOfMemory, match="Apple's GPU") as caught:
        tiny_model.sample("a cat", batch_size=2, **size)
    assert "Try batch_size=1" in str(caught.value) and len(str(caught.value).splitlines()) <= 3
    tiny_model.sample("a cat")


def test_other_errors_pass_as_they_are(tiny_model: LatentDiffusion) -> None:
    tiny_model.unet.mid_block.register_forward_hook(failing(RuntimeError("shapes")))
    with pytest.raises(RuntimeError, match="shapes"):
        tiny_model.generate("a cat", **SETTINGS)


def nan_at(call: int) -> Callable[..., Tensor | None]:
    calls = iter(range(1000))

    def hook(module: Any, args: Any, out: Tensor) -> Tensor | None:
        return out * float("nan") if next(calls) == call else None

    return hook


def test_nan_in_a_step_stops_there_and_is_named(tiny_model: LatentDiffusion) -> None:
    tiny_model.unet.conv_out.register_forward_hook(nan_at(1))
    run = tiny_model.sample("a cat", **SETTINGS)
    next(run)
    with pytest.raises(NumericsError, match=r"UNet .* step 1 of 3 .* in float32"):
        next(run)


def test_nan_in_half_precision_offers_float32(tiny_model: LatentDiffusion) -> None:
    tiny_model.unet.to(torch.bfloat16).conv_out.register_forward_hook(nan_at(0))
    with pytest.raises(NumericsError, match=r"in bfloat16\.\nLoad the model with dtype='float32'"):
        tiny_model.generate("a cat", **SETTINGS)


def test_nan_of_the_text_encoder_is_told_apart(tiny_model: LatentDiffusion) -> None:
    with torch.no_grad():
        next(tiny_model.text.model.parameters()).fill_(float("nan"))
    with pytest.raises(NumericsError, match="text encoder"):
        tiny_model.generate("a cat", **SETTINGS)


def test_nan_in_the_decoder_is_tried_again_once_in_float32(tiny_model: LatentDiffusion) -> None:
    good = tiny_model.generate("a cat", **SETTINGS)
    tiny_model.autoencoder.to(torch.float16)
    seen = []

    def overflow_in_half(module: Any, args: Any, out: Tensor) -> Tensor | None:
        seen.append(out.dtype)
        return out * float("nan") if out.dtype == torch.float16 else None

    tiny_model.autoencoder.decoder.register_forward_hook(overflow_in_half)
    trace = tiny_model.generate("a cat", **SETTINGS)
    assert seen == [torch.float16, torch.float32]
    assert next(tiny_model.autoencoder.parameters()).dtype == torch.float16
    assert np.abs(pixels_of(trace.image) - pixels_of(good.image)).max() <= 2


def test_a_decoder_that_is_broken_says_so(tiny_model: LatentDiffusion) -> None:
    tiny_model.autoencoder.decoder.register_forward_hook(lambda m, a, out: out * float("inf"))
    with pytest.raises(NumericsError, match="decoder"):
        tiny_model.generate("a cat", **SETTINGS)


def test_in_half_precision_latents_stay_float32(tiny_model: LatentDiffusion) -> None:
    exact = tiny_model.generate("a cat", **SETTINGS)
    tiny_model.unet.to(torch.bfloat16)
    steps = list(tiny_model.sample("a cat", **SETTINGS))
    assert tiny_model.dtype == torch.bfloat16
    assert all(step.x_next.dtype == step.denoised.dtype == torch.float32 for step in steps)
    scale = latents_of(exact).abs().max()
    assert (steps[-1].x_next - latents_of(exact)).abs().max() < 0.1 * scale


def test_a_flat_picture_is_noticed(tiny_model: LatentDiffusion) -> None:
    tiny_model.autoencoder.decoder.register_forward_hook(lambda m, a, out: out * 0)
    assert "one flat colour" in tiny_model.generate("a cat", **SETTINGS).notices[0]


def state() -> tuple[Any, ...]:
    return (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
    )


def test_no_call_touches_global_random_state(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    folder = sdw.save(tiny_model, tmp_path / "model")
    image = Image.new("RGB", (64, 64), "red")
    before = state()
    loaded = sdw.load(folder, device="cpu")
    assert state() == before, "load"
    latents = loaded.encode(Image.new("RGB", (16, 16), "red"))
    assert state() == before, "encode"
    loaded.decode(latents)
    loaded.decode(latents, tiled=True)
    assert state() == before, "decode"
    trace = loaded.generate("a cat", attention=True, **{**SETTINGS, "seed": None})
    trace.ablate("cat")
    trace.save(tmp_path / "a.sdtrace")
    Trace.load(tmp_path / "a.sdtrace").heat_map("cat")
    trace.animation(tmp_path / "a.gif")
    trace.export_html(tmp_path / "a.html")
    assert state() == before, "trace"
    with contextlib.closing(sdw.Lab(image, autoencoders=["VQ-f8"], side=64)) as lab:
        lab.edit(Noise(0.5))
        lab.panel = "between"
        lab.wait()
    assert state() == before, "lab"


@pytest.mark.parametrize("ending", ["success", "failure", "stop"])
def test_the_worlds_state_is_as_before(tiny_model: LatentDiffusion, ending: str) -> None:
    before = state()
    modes = [module.training for module in tiny_model.unet.modules()]
    run = tiny_model.sample("a cat", steps=3, sampler="euler_ancestral", attention=True)
    if ending == "success":
        Trace.of(run)
    elif ending == "stop":
        next(run)
        run.close()
    else:
        tiny_model.unet.mid_block.register_forward_hook(failing(KeyError("a fault"), 1))
        with pytest.raises(KeyError):
            list(run)
    assert state() == before
    assert [module.training for module in tiny_model.unet.modules()] == modes
    assert LOOK.get() is None


def test_two_runs_of_one_model_do_not_meet(tiny_model: LatentDiffusion) -> None:
    alone = [latents_of(tiny_model.generate(p, **SETTINGS)) for p in ("a cat", "the dog")]
    runs = [tiny_model.sample(p, attention=True, **SETTINGS) for p in ("a cat", "the dog")]
    *_, last = zip(*runs, strict=True)
    assert all(torch.equal(step.x_next, wanted) for step, wanted in zip(last, alone, strict=True))


def test_a_default_dtype_of_float64_changes_nothing(tiny_model: LatentDiffusion) -> None:
    wanted = latents_of(tiny_model.generate("a cat", **SETTINGS))
    torch.set_default_dtype(torch.float64)
    try:
        trace = tiny_model.generate("a cat", **SETTINGS)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(latents_of(trace), wanted)


@pytest.mark.parametrize("task", ["text", "image", "inpainting"])
def test_the_guided_step_lies_on_a_line_through_its_halves(
    tiny_model: LatentDiffusion, task: str
) -> None:
    image = Image.effect_noise((16, 16), 60)
    mask = Image.new("L", (16, 16), 0)
    mask.paste(255, (0, 0, 8, 16))
    given: dict[str, Any] = {
        "text": {}, "image": {"image": image}, "inpainting": {"image": image, "mask": mask},
    }[task]  # fmt: skip
    for step in tiny_model.sample("a cat", guidance_scale=5.0, **given, **SETTINGS):
        guided = step.uncond + 5.0 * (step.cond - step.uncond)
        assert torch.allclose(guided, step.denoised, atol=1e-4)


# -- previews --------------------------------------------------------------------------------


def test_preview_factors_are_fitted_once(tiny_model: LatentDiffusion) -> None:
    factors = tiny_model.preview_factors
    assert factors.shape == (5, 3) and np.isfinite(factors).all()
    assert tiny_model.preview_factors is factors


def test_a_preview_is_a_pixel_a_cell(tiny_model: LatentDiffusion) -> None:
    step = next(tiny_model.sample("a cat", width=22, **SETTINGS))
    (preview,) = tiny_model.previews(step.x, sigma=step.sigma)
    assert preview.size == (11, 8)
    expected = preview_rgb(step.x, tiny_model.preview_factors, sigma=step.sigma)[0]
    assert np.array_equal(np.asarray(preview), expected)


def test_given_preview_factors_are_used(tiny_model: LatentDiffusion) -> None:
    given = np.zeros((5, 3), np.float32)
    assert replace(tiny_model, preview=given).preview_factors is given


def test_a_model_can_be_copied(tiny_model: LatentDiffusion) -> None:
    twin = copy.copy(tiny_model)
    assert twin.name == "tiny" and twin.unet is tiny_model.unet


def test_a_model_can_be_sent_to_another_process(tiny_model: LatentDiffusion) -> None:
    sent = pickle.loads(pickle.dumps(tiny_model))
    assert sent.fingerprint == tiny_model.fingerprint
    ours, theirs = (each.generate("a cat", steps=1, seed=0) for each in (tiny_model, sent))
    assert ours.image.tobytes() == theirs.image.tobytes()


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_every_prediction_shows_the_network_unit_variance_at_first(
    make_model: Callable[[ModelConfig], LatentDiffusion], prediction: Prediction
) -> None:
    config = replace(TINY, schedule=replace(TINY.schedule, prediction=prediction))
    model, inputs = make_model(config), []
    hook = model.unet.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    trace = model.generate("a cat", latents=torch.ones(1, 4, 8, 8), **SETTINGS)
    hook.remove()
    assert torch.allclose(inputs[0], torch.ones_like(inputs[0]))
    assert torch.isfinite(latents_of(trace)).all()


def test_errors_of_pictures_are_image_errors(tiny_model: LatentDiffusion) -> None:
    with pytest.raises(ImageError):
        tiny_model.sample("a cat", image=5)


# -- words that the model was not taught -----------------------------------------------------


def test_a_run_names_the_words_that_its_model_was_not_taught(tiny_model: LatentDiffusion) -> None:
    model = replace(tiny_model, vocabulary={"things": ("cat",), "others": ("a",)})
    assert model.sample("a cat", **SETTINGS).notices == ()
    run = model.sample(["a cat", "a grey Dog"], negative_prompt="a cast", **SETTINGS)
    assert run.notices == ('The model was never taught: "grey", "Dog", "cast" (nearest: "cat").',)
    assert tiny_model.sample("a grey dog", **SETTINGS).notices == ()  # it does not say


def test_a_derived_model_with_another_text_encoder_may_know_other_words(
    tiny_model: LatentDiffusion,
) -> None:
    model = replace(tiny_model, vocabulary={"things": ("cat",)})
    source = Source("style")
    unet = copy.deepcopy(model.unet)
    assert model.derived(source, unet=unet).vocabulary == {"things": ("cat",)}
    (text,) = model.embedders
    other = TextEncoder(text.config, copy.deepcopy(text.model), text.tokenizer)
    assert model.derived(source, embedders=[other]).vocabulary is None


# -- what surrounds a run --------------------------------------------------------------------


@pytest.mark.parametrize("call", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_run_cannot_be_copied_or_sent_and_says_so(
    tiny_model: LatentDiffusion, call: Callable[[Any], Any]
) -> None:
    with pytest.raises(InputError, match="its record"):
        call(tiny_model.sample("a cat", **SETTINGS))


def test_a_run_whose_steps_were_taken_still_has_its_image(tiny_model: LatentDiffusion) -> None:
    whole = tiny_model.generate("a cat", **SETTINGS)
    run = tiny_model.sample("a cat", **SETTINGS)
    for _ in tqdm(run, disable=True):
        pass
    for trace in (Trace.of(run), Trace.of(tqdm(run, disable=True))):
        assert trace.complete and trace.image.tobytes() == whole.image.tobytes()
        assert [step.index for step in trace.steps] == [2] and trace.expected == 3
        assert trace.total == sum(run.seconds)


def test_a_run_that_was_ended_has_the_image_of_its_last_step(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("a cat", **SETTINGS)
    step = next(run)
    run.close()
    trace = Trace.of(run)
    assert not trace.complete and len(trace.steps) == 1
    assert trace.image.tobytes() == tiny_model.decode(step.denoised)[0].tobytes()
    assert Trace.of([], run).images == ()  # none of the steps, as was asked


def test_a_run_begins_and_ends_without_a_last_step(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("a cat", **SETTINGS)
    assert run.last is None and run.last is not next(run)
    hook = tiny_model.unet.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(run)
    hook.remove()
    assert run.last is None


@pytest.mark.parametrize("task", ["text", "image", "mask"])
def test_the_users_default_device_changes_nothing(
    tiny_model: LatentDiffusion, picture: Image.Image, left_half: Image.Image, task: str
) -> None:
    given: dict[str, Any] = {"sampler": "ddim", "eta": 0.5, "attention": True}
    if task != "text":
        given["image"] = picture
    if task == "mask":
        given["mask"] = left_half
    expected = tiny_model.generate("a cat", **{**SETTINGS, **given})
    fresh = replace(tiny_model)  # nothing cached
    with torch.device("meta"):  # where nothing can be computed
        found = fresh.generate("a cat", **{**SETTINGS, **given})
        assert fresh.encode(picture).device.type == "cpu"
        assert fresh.preview_factors.shape == (5, 3)
    assert found.image.tobytes() == expected.image.tobytes()
    assert np.array_equal(found.heat_map("cat"), expected.heat_map("cat"))


@pytest.mark.parametrize("level", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize("name", ["sigma", "sigma_next"])
def test_an_impossible_noise_level_is_refused(
    tiny_model: LatentDiffusion, name: str, level: float
) -> None:
    run = tiny_model.sample("a cat", **SETTINGS)
    steps = [replace(step, **{name: level}) for step in run]
    with pytest.raises(InputError, match=f"{name} of step 0"):
        Trace.of(steps, run)


def test_control_tokens_that_a_prompt_spells_out_are_told(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample(
        "a cat <|endoftext|> dog", negative_prompt="<|startoftext|>", **SETTINGS
    )
    assert [notice[:40] for notice in run.notices] == [
        "The prompt has <|endoftext|>, which the ",
        "The negative prompt has <|startoftext|>,",
    ]
    assert tiny_model.sample("a cat < | endoftext | >", **SETTINGS).notices == ()
    assert list(run.tokens.ids[0]).count(tiny_model.text.config.eos) >= 2  # as in CLIP


class Contrary:
    """Raises whatever is asked of it."""

    __hash__ = None  # type: ignore[assignment]

    def _refuse(self, *_: Any) -> Any:
        raise RuntimeError("no")

    __repr__ = __bool__ = __len__ = __iter__ = __eq__ = _refuse


ODD = [
    None, 5, math.nan, 10**400, "x", b"x", [None], {}, object(), Contrary(), Settings, 1j,
    torch.zeros(3), torch.zeros(1, 4, 8, 8).to_sparse(), torch.zeros(1, 4, 8, 8, device="meta"),
    torch.zeros(1, 4, 8, 8, dtype=torch.complex64), np.zeros((1, 4, 8, 8), object), np.array(3),
    torch.zeros(1, 4, 8, 8, dtype=torch.bool),
]  # fmt: skip
CALLS: dict[str, Callable[[LatentDiffusion, Any], Any]] = {
    "encode": lambda model, odd: model.encode(odd),
    "posterior": lambda model, odd: model.posterior(odd),
    "decode": lambda model, odd: model.decode(odd),
    "tiled": lambda model, odd: model.decode(torch.zeros(1, 4, 2, 2), tiled=odd),
    "previews": lambda model, odd: model.previews(odd),
    "tokenize": lambda model, odd: model.tokenize(odd),
    "condition": lambda model, odd: model.condition(odd),
    "run": lambda model, odd: model.run(odd),
    "derived": lambda model, odd: model.derived(odd),
    "with_autoencoder": lambda model, odd: model.with_autoencoder(odd),
    "of": lambda model, odd: Trace.of(odd),
    "of steps": lambda model, odd: Trace.of(odd, model.sample("a cat", **SETTINGS)),
    "begun": lambda model, odd: Trace.begun(odd),
    "pictures": lambda model, odd: model.sample("a cat", **SETTINGS).pictures(odd),
}


@pytest.mark.parametrize("call", CALLS)
def test_wrong_types_are_input_errors(tiny_model: LatentDiffusion, call: str) -> None:
    for odd in ODD:
        if call == "of steps" and isinstance(odd, dict):
            continue  # no steps, which is no error
        if call == "tiled" and odd is None:
            continue  # in tiles where memory is short
        with pytest.raises(InputError) as caught:
            CALLS[call](tiny_model, odd)
        assert len(str(caught.value).splitlines()) <= 3
