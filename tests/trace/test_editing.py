from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from control_nets import control_config, picture, random_control
from small_families import FAMILIES, needed

from sdwidgets.configs import TINY, ModelConfig
from sdwidgets.control import Control
from sdwidgets.diffusion import Denoiser
from sdwidgets.errors import InputError
from sdwidgets.manager import ModelManager, Request
from sdwidgets.models.attention import EDIT
from sdwidgets.models.conditioning import conditioned
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.sampling import SAMPLERS
from sdwidgets.settings import AttentionSettings, Settings
from sdwidgets.trace import Trace
from sdwidgets.trace.alignment import Alignment
from sdwidgets.trace.editor import Editor

SETTINGS: dict[str, Any] = {"steps": 4, "seed": 1, "sampler": "euler", "guidance_scale": 3.0}
ALL = AttentionSettings(self_attention=True)
KINDS = [
    "SD1", "SD1_INPAINTING", "INSTRUCT_PIX2PIX", "LCM", "BK_SDM_TINY", "SD2", "SD2_DEPTH",
    "X4_UPSCALER", "SDXL", "SDXL_REFINER",
]  # fmt: skip
"""Families that differ in what their networks are told, or in where they attend."""
OFF: dict[str, Any] = {"cross_attention": 0, "self_attention": 0}


def latents(trace: Trace) -> np.ndarray:
    return trace.steps[-1].x_next


def off(one: Trace, other: Trace) -> float:
    return float(np.abs(latents(one) - latents(other)).max())


def rounding_apart(one: Trace, other: Trace) -> bool:
    """Whether two runs are the same but for batches of other sizes, which round otherwise."""
    pixels = np.asarray(one.image, int) - np.asarray(other.image, int)
    return off(one, other) < 1e-4 * np.abs(latents(other)).max() and np.abs(pixels).max() <= 1


# -- facts of any edit ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        {"word": "cat", "replacement": "cat"},
        {"prompt": "the cat"},
        {"weights": {"cat": 1}},
        {"prompt": "the cat", "blend": "cat"},
    ],
)
@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_an_edit_that_changes_nothing_is_the_same_image(
    tiny_model: LatentDiffusion, asked: dict[str, Any], guidance_scale: float
) -> None:
    trace = tiny_model.generate("the cat", **{**SETTINGS, "guidance_scale": guidance_scale})
    same = trace.edit(**asked)
    assert rounding_apart(same, trace)
    assert same.settings == trace.settings


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_without_the_runs_attention_it_is_a_run_of_the_new_prompt(
    tiny_model: LatentDiffusion, guidance_scale: float
) -> None:
    settings = {**SETTINGS, "guidance_scale": guidance_scale}
    trace = tiny_model.generate("the cat", **settings)
    plain = tiny_model.generate("the dog", **settings)
    edited = trace.edit("cat", "dog", **OFF)
    assert edited.settings == plain.settings and edited.prompt == "the dog"
    assert off(edited, plain) < 1e-4
    assert off(trace.edit("cat", "dog"), plain) > 1e-2


def test_the_edit_leaves_the_source_beside_it_alone(
    tiny_model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tiny_model.generate("the cat", **SETTINGS)
    sources = []
    step = Editor.step

    def kept(self: Editor, made: Any) -> Any:
        sources.append(made.x_next[:1])
        return step(self, made)

    monkeypatch.setattr(Editor, "step", kept)
    trace.edit("cat", "dog", self_attention=1, blend=True)
    for mine, theirs in zip(sources, trace.steps, strict=True):
        assert np.abs(mine.numpy() - theirs.x_next).max() < 1e-4


@pytest.mark.parametrize("share", ["cross_attention", "self_attention"])
def test_the_runs_attention_is_used_in_a_share_of_the_steps(
    tiny_model: LatentDiffusion, share: str
) -> None:
    trace = tiny_model.generate("the cat", **SETTINGS)
    edited = trace.edit("cat", "dog", **{**OFF, share: 0.5})
    network = conditioned(tiny_model.unet, tiny_model.condition(["the dog", ""]))
    denoise = Denoiser(network, tiny_model.schedule, guidance_scale=3.0)
    for step in edited.steps:
        with torch.no_grad():
            plain = denoise(torch.from_numpy(step.x), step.sigma).numpy()
        is_plain = np.abs(step.denoised - plain).max() < 1e-4
        assert is_plain == (step.index >= 2)


def test_the_edit_attends_as_the_run_did(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("the cat", attention=ALL, **SETTINGS)
    edited = trace.edit("cat", "dog", cross_attention=0.5, self_attention=0.5)
    for mine, theirs in zip(edited.steps, trace.steps, strict=True):
        for layer in trace.layers:
            maps = mine.attention.cross[layer], theirs.attention.cross[layer]
            assert np.allclose(*maps, atol=2e-3) == (mine.index < 2), layer
        for layer, cells in mine.attention.cells.items():
            same = np.allclose(cells, theirs.attention.cells[layer], atol=1e-4)
            assert same == (mine.index < 2), layer


def test_self_attention_is_only_replaced_in_small_layers(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("the cat", attention=ALL, **SETTINGS)
    edited = trace.edit("cat", "dog", cross_attention=0, self_attention=1, resolution=4)
    mine, theirs = (record.steps[2].attention.cells for record in (edited, trace))
    assert {cells.shape[-1] for cells in mine.values()} == {16, 64}
    for layer, cells in mine.items():
        same = np.allclose(cells, theirs[layer], atol=1e-4)
        assert same == (cells.shape[-1] <= 16), layer


def test_weights_scale_the_attention_to_a_word(tiny_model: LatentDiffusion) -> None:
    settings = {**SETTINGS, "steps": 1}
    trace = tiny_model.generate("the cat", attention=True, **settings)
    edited = trace.edit(weights={"cat": 0.25})
    (mine,), (theirs,) = edited.steps, trace.steps
    for layer in trace.layers:  # the run's own attention is scaled, so all layers are alike
        maps, before = mine.attention.cross[layer], theirs.attention.cross[layer]
        assert np.allclose(maps[:, :, 2], before[:, :, 2] / 4, atol=2e-3)
        assert np.allclose(maps[:, :, [0, 1, 3]], before[:, :, [0, 1, 3]], atol=2e-3)
    both = trace.edit("cat", "dog", weights={"dog": 0.25})
    layer = trace.layers[-1]
    assert np.allclose(both.steps[0].attention.cross[layer], mine.attention.cross[layer], atol=2e-3)


def test_weights_scale_in_every_step(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("the cat", **SETTINGS)
    edited = trace.edit(weights={"cat": 0}, **OFF)
    assert all(
        np.abs(mine.denoised - theirs.denoised).max() > 1e-3
        for mine, theirs in zip(edited.steps, trace.steps, strict=True)
    )


def test_a_blend_keeps_what_is_outside(
    tiny_model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = []
    found = Editor._mask

    def kept(self: Editor, size: Any) -> Any:
        masks.append(found(self, size))
        return masks[-1]

    monkeypatch.setattr(Editor, "_mask", kept)
    trace = tiny_model.generate("the cat and a bird", **SETTINGS)
    edited = trace.edit("cat", "dog", self_attention=0, blend=True, threshold=0.9)
    inside = masks[-1].numpy()
    assert inside.any() and not inside.all()
    change = np.abs(latents(edited) - latents(trace))[0].max(0)
    assert change[~inside].max() < 1e-4 < 1e-2 < change[inside].max()
    last, before = edited.steps[-1], trace.steps[-1]
    for name in ("denoised", "cond", "uncond"):  # guidance of any scale keeps it
        change = np.abs(getattr(last, name) - getattr(before, name))[0].max(0)
        assert change[~inside].max() < 1e-4
    assert off(trace.edit("cat", "dog", self_attention=0), edited) > 1e-2


def test_a_blend_may_name_other_words(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("the cat and a bird", **SETTINGS)
    some = trace.edit("cat", "dog", blend="bird", threshold=0.9)
    assert off(some, trace.edit("cat", "dog", blend=["cat", "dog"], threshold=0.9)) > 1e-3
    named = trace.edit("cat", "dog", blend=["cat", "dog"], threshold=0.9)
    assert off(named, trace.edit("cat", "dog", blend=True, threshold=0.9)) < 1e-6
    weighed = trace.edit(weights={"bird": 2}, blend=True, threshold=0.9)
    assert off(weighed, trace.edit(weights={"bird": 2}, blend="bird", threshold=0.9)) < 1e-6


# -- any run ------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_with_every_sampler(tiny_model: LatentDiffusion, sampler: str) -> None:
    settings = {**SETTINGS, "sampler": sampler}
    trace = tiny_model.generate("the cat", **settings)
    assert rounding_apart(trace.edit("cat", "cat"), trace)
    plain = tiny_model.generate("the dog", **settings)
    assert off(trace.edit("cat", "dog", **OFF), plain) < 1e-3
    assert off(trace.edit("cat", "dog"), plain) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("family", KINDS)
def test_every_kind_of_family(
    make_model: Callable[[ModelConfig], LatentDiffusion], family: str
) -> None:
    config = FAMILIES[family]
    model = make_model(config)
    side = config.size + config.autoencoder.factor * 3  # an odd number of cells
    given = needed(config, config.size, side)
    settings = {**SETTINGS, "width": config.size, "height": side, "steps": 2}
    settings["guidance_scale"] = None
    trace = model.generate("the cat", **given, **settings)
    plain = model.generate("the dog", **given, **settings)
    rounding = 1e-4 * np.abs(latents(plain)).max()
    assert off(trace.edit("cat", "cat"), trace) < rounding
    assert off(trace.edit("cat", "dog", **OFF), plain) < rounding
    edited = trace.edit("cat", "dog", blend=True)
    assert edited.batch_size == 1 and edited.size == trace.size
    assert off(edited, plain) > rounding


@pytest.mark.parametrize("given", ["noise", "image", "mask", "control"])
def test_it_begins_from_what_the_run_began_from(tiny_model: LatentDiffusion, given: str) -> None:
    noise = np.random.default_rng(0).standard_normal((2, 4, 8, 8)).astype(np.float32)
    start: dict[str, Any] = {"latents": noise}
    again: dict[str, Any] = {}
    image = picture()
    if given == "image":
        start = {"image": image, "strength": 0.5}
    elif given == "mask":
        mask = np.zeros((16, 16), np.uint8)
        mask[4:12] = 255
        start = {"image": image, "mask": mask, "strength": 0.5}
    elif given == "control":
        net = random_control(control_config(tiny_model.config))
        again = {"control": Control(net, image, end=0.5)}
    trace = tiny_model.generate(["the cat", "a cat"], **start, **again, **SETTINGS)
    edited = trace.edit("cat", "cat", picture=1, **again)
    assert edited.images[0].tobytes() == trace.images[1].tobytes()
    plain = tiny_model.generate(["the dog", "a dog"], **start, **again, **SETTINGS)
    wanted = latents(plain)[1:]
    assert (
        np.abs(latents(trace.edit("cat", "dog", picture=1, **OFF, **again)) - wanted).max() < 1e-4
    )
    assert edited.settings == trace.settings.of_picture(1)


def test_of_a_record_that_was_kept_in_a_file(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    trace = tiny_model.generate("the cat", attention=True, **SETTINGS)
    wanted = trace.edit("cat", "dog")
    loaded = Trace.load(trace.save(tmp_path / "run.sdtrace"))
    edited = loaded.edit("cat", "dog", model=tiny_model)
    assert edited.image.tobytes() == wanted.image.tobytes() and edited.layers == wanted.layers
    with pytest.raises(InputError, match="not loaded"):
        loaded.edit("cat", "dog")


def test_settings_are_enough(tiny_model: LatentDiffusion) -> None:
    wanted = tiny_model.generate("the cat", **SETTINGS).edit("cat", "dog")
    bare = Trace("tiny", "text to image", Settings("the cat", **SETTINGS))
    edited = bare.edit("cat", "dog", model=tiny_model)
    assert edited.image.tobytes() == wanted.image.tobytes()


def test_attention_is_recorded_as_it_was(tiny_model: LatentDiffusion) -> None:
    assert not tiny_model.generate("the cat", **SETTINGS).edit("cat", "dog").layers
    everything = replace(ALL, heads=True, uncond=True, queries=True)
    trace = tiny_model.generate("the cat", attention=everything, **SETTINGS)
    (mine, *_), (theirs, *_) = (t.steps for t in (trace.edit("cat", "catfish"), trace))
    layer = trace.layers[0]
    assert mine.attention.cross[layer].shape[1] == theirs.attention.cross[layer].shape[1] > 1
    for name in ("uncond", "cells", "queries"):
        assert set(getattr(mine.attention, name)) == set(getattr(theirs.attention, name)) != set()


def test_long_prompts_in_chunks(tiny_model: LatentDiffusion) -> None:
    long = "the cat " + "dog " * 80
    for old, new in ((long, long.replace("cat", "bird")), ("the cat", long), (long, "the cat")):
        trace = tiny_model.generate(old, **SETTINGS)
        edited = trace.edit(prompt=new)
        assert edited.prompt == " ".join(new.split()) or edited.prompt == new
        plain = tiny_model.generate(new, **SETTINGS)
        assert off(trace.edit(prompt=new, **OFF), plain) < 1e-3
        assert off(edited, plain) > 1e-3


def test_a_fault_leaves_no_edit_behind(
    tiny_model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tiny_model.generate("the cat", **SETTINGS)

    def fails(*_: Any) -> Any:
        raise KeyError

    monkeypatch.setattr(Editor, "cross", fails)
    with pytest.raises(KeyError):
        trace.edit("cat", "dog")
    assert EDIT.get() is None


def test_a_compiled_network_says_that_it_cannot_be_edited(tiny_model: LatentDiffusion) -> None:
    same = Alignment(np.eye(77, dtype=np.float32), np.zeros(77), np.zeros(77))
    editor = Editor(tiny_model.unet, same, cross_attention=1, self_attention=1)
    compiled = torch.compile(tiny_model.unet, backend="eager")
    context = tiny_model.condition(["the cat", "the cat"]).context

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return compiled(x, torch.ones(2), context)

    with torch.no_grad(), pytest.raises(InputError, match="compiled"):
        editor.around(denoise, [1.0, 0.0])(torch.randn(2, 4, 8, 8), 1.0)


def test_an_edit_knows_the_run_that_it_came_from(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    trace = tiny_model.generate(["a bird", "the cat"], **SETTINGS)
    edited = trace.edit("cat", "dog", weights={"dog": 2}, blend=True, picture=-1)
    parent = edited.parent
    assert parent.how == "edit" and parent.trace is trace
    assert parent.record["settings"]["prompt"] == ("a bird", "the cat")
    assert parent.edit == {
        "word": "cat", "replacement": "dog", "weights": {"dog": 2.0}, "cross_attention": 0.8,
        "self_attention": 0.4, "blend": True, "threshold": 0.3, "picture": 1,
    }  # fmt: skip
    loaded = Trace.load(edited.save(tmp_path / "edit.sdtrace"))
    assert loaded.parent.edit == parent.edit
    again = trace.edit(**{"model": tiny_model, **loaded.parent.edit})
    assert again.image.tobytes() == edited.image.tobytes()
    assert trace.edit(prompt="a dog", blend=["dog"]).parent.edit["blend"] == ["dog"]


def test_an_edit_is_not_edited_again(tiny_model: LatentDiffusion) -> None:
    edited = tiny_model.generate("the cat", **SETTINGS).edit("cat", "dog")
    with pytest.raises(InputError, match=r"trace\.parent\.trace"):
        edited.edit("dog", "bird")


@pytest.mark.parametrize("kind", ["hires", "pad", "variation", "part", "sigmas"])
def test_every_setting_of_a_run(tiny_model: LatentDiffusion, kind: str) -> None:
    more: dict[str, dict[str, Any]] = {
        "hires": {"hires": 1.5, "hires_method": "latents"},
        "pad": {"image": picture(8, 8), "pad": 4},
        "variation": {"variation": (5, 0.4)},
        "part": {"end_step": 3},
        "sigmas": {"steps": None, "sigmas": [10.0, 4.0, 1.0, 0.3, 0.0]},
    }
    settings = {**SETTINGS, **more[kind]}
    trace = tiny_model.generate("the cat", **settings)
    same = trace.edit("cat", "cat")
    assert same.image.tobytes() == trace.image.tobytes() and same.settings == trace.settings
    assert len(same.steps) == len(trace.steps)
    plain = tiny_model.generate("the dog", **settings)
    assert off(trace.edit("cat", "dog", **OFF), plain) < 1e-3
    assert off(trace.edit("cat", "dog", blend=True), plain) > 1e-3


def test_a_refiner_makes_its_steps_without_the_edit(tiny_model: LatentDiffusion) -> None:
    refiner = replace(tiny_model)
    refined = {**SETTINGS, "refiner": refiner, "refiner_start": 0.5}
    trace = tiny_model.generate("the cat", **refined)
    edited = trace.edit("cat", "dog", refiner=refiner, cross_attention=1, self_attention=1)
    network = conditioned(tiny_model.unet, tiny_model.condition(["the dog", ""]))
    denoise = Denoiser(network, tiny_model.schedule, guidance_scale=3.0)
    is_plain = []
    for step in edited.steps:
        with torch.no_grad():
            plain = denoise(torch.from_numpy(step.x), step.sigma).numpy()
        is_plain.append(bool(np.abs(step.denoised - plain).max() < 1e-4))
    assert is_plain == sorted(is_plain) and True in is_plain and False in is_plain
    with pytest.raises(InputError, match="refiner"):
        trace.edit("cat", "dog")


# -- what cannot be edited ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "parameter", "said"),
    [
        ({}, "word", "Nothing was asked"),
        ({"replacement": "dog"}, "word", "to replace"),
        ({"word": "dog", "replacement": "cat"}, "word", "not a word"),
        ({"word": "", "replacement": "cat"}, "word", "no word"),
        ({"word": "<end>", "replacement": "cat"}, "word", "no word"),
        ({"word": 5, "replacement": "cat"}, "word", "texts"),
        ({"word": "cat", "replacement": 5}, "word", "texts"),
        ({"word": "cat", "prompt": "the dog"}, "prompt", "not both"),
        ({"prompt": 5}, "prompt", "text"),
        ({"weights": 5}, "weights", "factor"),
        ({"weights": {"dog": 2}}, "word", "not a word"),
        ({"weights": {"<end>": 2}}, "weights", "no word"),
        ({"weights": {"cat": 1e9}}, "weights", "-100 to 100"),
        ({"weights": {"cat": "much"}}, "weights", "number"),
        ({"prompt": "the dog", "cross_attention": 1.5}, "cross_attention", "0 to 1"),
        ({"prompt": "the dog", "self_attention": None}, "self_attention", "0 to 1"),
        ({"prompt": "the dog", "resolution": 0}, "resolution", "whole"),
        ({"prompt": "the dog", "threshold": float("nan")}, "threshold", "0 to 1"),
        ({"prompt": "the dog", "blend": 5}, "blend", "no word"),
        ({"prompt": "the dog", "blend": "bird"}, "word", "not a word"),
        ({"prompt": "the cat", "blend": True}, "blend", "same words"),
        ({"prompt": "the dog", "picture": 1}, "picture", "0 to 0"),
    ],
)
def test_what_cannot_be_asked(
    tiny_model: LatentDiffusion, asked: dict[str, Any], parameter: str, said: str
) -> None:
    trace = tiny_model.generate("the cat", **{**SETTINGS, "steps": 1})
    with pytest.raises(InputError, match=said) as caught:
        trace.edit(**asked)
    assert caught.value.parameter == parameter
    assert len(str(caught.value).splitlines()) <= 3


def test_what_changes_must_be_seen(tiny_model: LatentDiffusion) -> None:
    prompt = "the " + "dog " * 80 + "cat"
    trace = tiny_model.generate(prompt, chunks=1, **{**SETTINGS, "steps": 1})
    with pytest.raises(InputError, match="was cut"):
        trace.edit("cat", "bird")
    with pytest.raises(InputError, match="was cut"):
        trace.edit(prompt=prompt.replace("cat", "bird"))


def test_controls_are_those_of_the_run_while_they_are_loaded(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    net = random_control(control_config(tiny_model.config))
    followed = Control(net, picture())
    trace = tiny_model.generate("the cat", control=followed, **SETTINGS)
    edited = trace.edit("cat", "dog")
    assert edited.image.tobytes() == trace.edit("cat", "dog", control=followed).image.tobytes()
    assert off(edited, trace.edit("cat", "dog", control=())) > 1e-3
    loaded = Trace.load(trace.save(tmp_path / "run.sdtrace"))
    with pytest.raises(InputError, match="control"):
        loaded.edit("cat", "dog", model=tiny_model)
    again = loaded.edit("cat", "dog", model=tiny_model, control=followed)
    assert again.image.tobytes() == edited.image.tobytes()


def test_a_network_without_words_has_nothing_to_edit(
    make_model: Callable[[ModelConfig], LatentDiffusion],
) -> None:
    model = make_model(replace(TINY, embedders=(), unet=replace(TINY.unet, context_dim=0)))
    trace = model.generate(**{**SETTINGS, "steps": 1})
    with pytest.raises(InputError, match="no words"):
        trace.edit(prompt="")


# -- as a request ---------------------------------------------------------------------------


def test_a_manager_makes_the_same_edit(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("the cat", attention=True, **SETTINGS)
    wanted = trace.edit("cat", "dog", weights={"dog": 2})
    steps: list[Any] = []
    with ModelManager() as manager:
        name = manager.add(tiny_model)
        asked = trace.editing("cat", "dog", weights={"dog": 2})
        job = manager.submit(Request(name, asked.settings, edit=asked), on_step=steps.append)
        made = job.result(120)
    assert job.steps == len(steps) == 4
    assert {step.x.shape[0] for step in steps} == {1}  # the edit alone, not the run beside it
    assert made.image.tobytes() == wanted.image.tobytes()
    assert made.parent.how == "edit" and made.parent.edit == wanted.parent.edit
    assert made.settings == wanted.settings and made.layers == wanted.layers


def test_an_edit_on_a_manager_stops_after_a_step(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("the cat", **SETTINGS)
    asked = trace.editing("cat", "dog")
    with ModelManager() as manager:
        name = manager.add(tiny_model)
        held = threading.Event()  # the first step waits until the job is known here
        stopping: list[Any] = []

        def stop(_: Any) -> None:
            held.wait(120)
            stopping[0].cancel()

        job = manager.submit(Request(name, asked.settings, edit=asked), on_step=stop)
        stopping.append(job)
        held.set()
        assert job.wait(120)
    assert job.state == "stopped" and (job.step, job.steps) == (1, 4)


def test_a_request_takes_an_edit_alone(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("the cat", **SETTINGS)
    asked, branch = trace.editing("cat", "dog"), trace.branching(2, guidance_scale=1)
    with ModelManager() as manager:
        name = manager.add(tiny_model)
        for more, said in (
            ({"branch": branch}, "not for both"),
            ({"image": picture(16, 16)}, "cannot have image"),
            ({"edit": "dog"}, "trace.editing"),
        ):
            with pytest.raises(InputError, match=said):
                manager.submit(
                    Request(**{"model": name, "settings": asked.settings, "edit": asked, **more})
                )


def test_the_run_of_an_edit_shows_the_edit_alone(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("the cat", **SETTINGS)
    run = trace.editing("cat", "dog").run()
    begun = Trace.begun(run)
    assert begun.prompt == "the dog" and begun.batch_size == 1 and len(begun.tokens) == 1
    steps = [*run]
    assert [step.index for step in steps] == [0, 1, 2, 3]
    assert all(after.x is step.x_next for step, after in pairwise(steps))
    assert len(run.pictures(steps[-1])) == 1 and run.last is steps[-1]
