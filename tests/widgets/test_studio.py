"""The Studio without a browser: settings, runs, errors, history, threads."""

from __future__ import annotations

import copy
import io
import json
import pickle
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import ipywidgets
import numpy as np
import pytest
from foreign_images import A1111, png
from ipywidgets.widgets import widget as widget_module
from lora_files import attention_of, kohya, named, write
from made_runs import large, saved_size
from PIL import Image
from wires import Wire, meta, steps_sent

from sdwidgets.checkpoints.zoo import bundled_models
from sdwidgets.configs import EMOJI, TINY, ImageConfig, PredictionSource
from sdwidgets.contract import PANELS, PARTS
from sdwidgets.errors import (
    Busy,
    CheckpointError,
    ImageError,
    InputError,
    OutOfMemory,
    SDWidgetsError,
)
from sdwidgets.manager import DEFAULT_MODEL, ModelManager
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.prompts import WEIGHTS
from sdwidgets.settings import TOLD, Settings
from sdwidgets.trace import read_record
from sdwidgets.trace.images import encode_png
from sdwidgets.widgets import PictureView, Studio
from sdwidgets.widgets import picture as picture_module
from sdwidgets.widgets import results as results_module
from sdwidgets.widgets import studio as studio_module
from sdwidgets.widgets.controls import about, trait_of
from sdwidgets.widgets.more import MORE as FURTHER
from sdwidgets.widgets.reel import FRAMES, SAVED
from sdwidgets.widgets.results import Results
from sdwidgets.widgets.stage import MORE
from sdwidgets.widgets.upload import PART
from sdwidgets.widgets.words import EXAMPLES

WAIT = 60  # seconds, never reached
NO_MEMORY = "DefaultCPUAllocator: not enough memory"


def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; fails when it never does."""
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)


def run_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("sdwidgets studio run")]


Say = Callable[[Any, Any], None]


def fail_once(studio: Studio, model: Any, raised: Exception, kind: type[Exception]) -> None:
    """Let a run end with what the network raises, as an error of that kind."""

    def broken(*_: Any) -> None:
        raise raised

    handle = model.unet.register_forward_pre_hook(broken)
    try:
        studio.generate()
        with pytest.raises(kind):
            studio.wait(WAIT)
    finally:
        handle.remove()


def classes(widget: Any) -> list[str]:
    return widget.get_state()["_dom_classes"]


def recall(studio: Studio, say: Say, place: int) -> None:
    """Click on an earlier image."""
    say(studio.history, {"kind": "recall", "id": studio.history.entries[place]["id"]})


# ------------------------------------------------------------------------------------ settings


def test_a_trait_and_its_control_are_one(studio: Studio) -> None:
    studio.steps = 7
    assert studio.controls.fields["steps"].value == 7
    studio.controls.fields["steps"].value = 9
    assert studio.steps == 9


OF_PANELS = ("label", "boxes")  # settings with a panel in place of a control


@pytest.mark.parametrize(
    "name", ["model", *(n for n in studio_module.SETTINGS if n not in (*FURTHER, *OF_PANELS))]
)
def test_every_setting_can_be_observed(studio: Studio, name: str) -> None:
    words = {"sampler": "euler", "schedule": "karras", "fit": "pad", "weights": "none"}
    new = {"guidance_scale": 2.5, **words}.get(
        name, "x" if isinstance(getattr(studio, name), str) else 24
    )
    seen: list[Any] = []
    studio.observe(lambda change: seen.append(change.new), name)
    setattr(studio, name, new)
    assert seen == [new]
    assert getattr(studio.controls.fields[name], trait_of(name)) == new


def test_settings_are_those_of_a_run(make_studio: Callable[..., Studio]) -> None:
    studio = make_studio(prompt="a dog", negative_prompt="a cat", seed=3, batch_size=2)
    expected = Settings(
        prompt="a dog", negative_prompt="a cat", seed=3, batch_size=2, steps=4, width=16, height=16,
        guidance_scale=studio.guidance_scale, sampler=studio.sampler,
    )  # fmt: skip
    assert studio.settings == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 2.5),
        ("steps", "3"),
        ("steps", True),
        ("steps", 10**400),
        ("guidance_scale", float("nan")),
        ("guidance_scale", "7"),
        ("width", 32.5),
        ("seed", "x"),
        ("seed", [1, 2]),
        ("prompt", 5),
        ("prompt", None),
        ("prompt", ["a", "b"]),
        ("prompt", "\ud800"),
        ("sampler", "eular"),
        ("schedule", None),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_where_it_is_set(
    studio: Studio, name: str, value: Any
) -> None:
    before = getattr(studio, name)
    with pytest.raises(InputError) as refused:
        setattr(studio, name, value)
    assert refused.value.parameter == name
    assert getattr(studio, name) == before


def test_an_unknown_setting_is_named(manager: Any) -> None:
    with pytest.raises(TypeError, match="guidance'"):
        Studio(manager=manager, guidance=3)


def test_size_and_guidance_follow_the_model_until_they_are_set(manager: Any) -> None:
    studio = Studio(manager=manager, model="tiny", steps=1, height=24)
    studio.generate()
    trace = studio.wait(WAIT)
    assert trace.settings.size == (studio.width, studio.height) == (16, 24)
    assert trace.settings.guidance_scale == studio.guidance_scale == 3.0
    studio.close()


def test_a_value_that_was_set_stays_also_where_it_is_the_default(manager: Any) -> None:
    studio = Studio(manager=manager, model="tiny", steps=1, width=128)
    studio.guidance_scale = 2.0
    studio.guidance_scale = 4.0
    studio.generate()
    trace = studio.wait(WAIT)
    assert trace.settings.size == (128, 16)
    assert trace.settings.guidance_scale == 4.0
    studio.close()


def test_with_another_model_they_follow_again(manager: Any) -> None:
    studio = Studio(manager=manager, model="tiny", steps=1, width=32)
    studio.generate()
    assert studio.wait(WAIT).settings.size == (32, 16)
    studio.model = "tiny too"
    studio.generate()
    assert studio.wait(WAIT).settings.size == (16, 16)
    studio.close()


def test_steps_sampler_and_grid_follow_a_model_for_few_steps(make_model: Any, model: Any) -> None:
    few = make_model(replace(TINY, steps=2, sampler="euler", schedule_name="karras"))
    with ModelManager(load=lambda name, **_: few if name == "few" else model) as manager:
        studio = Studio(manager=manager, model="few", prompt="a cat")
        studio.generate()
        settings = studio.wait(WAIT).settings
        assert (settings.steps, settings.sampler, settings.schedule) == (2, "euler", "karras")
        fields = studio.controls.fields
        assert (studio.steps, studio.sampler, studio.schedule) == (2, "euler", "default")
        assert (fields["steps"].value, fields["sampler"].value) == (2, "euler")
        studio.sampler, studio.schedule = "heun", "uniform"
        studio.generate()
        settings = studio.wait(WAIT).settings
        assert (settings.steps, settings.sampler, settings.schedule) == (2, "heun", "uniform")
        studio.model = "tiny"
        assert studio.schedule == "default"
        studio.generate()
        settings = studio.wait(WAIT).settings
        assert (settings.steps, settings.sampler) == (20, "dpmpp_2m")
        studio.close()


def test_they_follow_loras_for_few_steps(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    factors = named(tiny_model.unet, attention_of(tiny_model.unet)[:1], kohya("lora_unet_"))
    path = write(factors, tmp_path / "sdxl_lightning_2step_lora.safetensors")
    with ModelManager(load=lambda name, **_: tiny_model) as manager:
        studio = Studio(manager=manager, model="tiny", prompt="a cat", loras=[path])
        studio.generate()
        assert studio.wait(WAIT).settings.steps == studio.steps == 2
        assert (studio.sampler, studio.guidance_scale) == ("euler", 1)
        studio.loras = ()
        studio.generate()
        assert studio.wait(WAIT).settings.steps == studio.steps == 20
        assert (studio.sampler, studio.guidance_scale) == ("dpmpp_2m", 3)
        studio.close()


def test_what_only_some_models_take_is_shown_with_such_a_model(make_model: Any, model: Any) -> None:
    config = replace(TINY, embedders=(*TINY.embedders, ImageConfig()))
    edits = make_model(replace(config, unet=replace(TINY.unet, in_channels=8)))
    image = Image.new("RGB", (16, 16), "red")

    def shown(studio: Studio) -> list[str]:
        fields = studio.controls.fields
        return [name for name in TOLD if "sdw-folded" not in classes(fields[name])]

    with ModelManager(load=lambda name, **_: edits if name == "edits" else model) as manager:
        studio = Studio(manager=manager, model="edits", steps=1, image=image, prompt="a cat")
        field = studio.controls.fields["image_guidance_scale"]
        assert shown(studio) == []
        studio.generate()
        assert studio.wait(WAIT).settings.image_guidance_scale == field.value == 1.5
        assert shown(studio) == ["image_guidance_scale"]
        assert studio.image_guidance_scale is None
        field.value = 4.0
        studio.generate()
        assert studio.wait(WAIT).settings.image_guidance_scale == studio.image_guidance_scale == 4.0
        studio.model = "tiny"
        assert shown(studio) == []
        assert (studio.image_guidance_scale, field.value) == (None, 1.5)
        studio.generate()
        assert not [notice for notice in studio.wait(WAIT).notices if "not told" in notice]
        studio.close()


def test_they_follow_it_also_when_the_run_is_over_at_once(model: Any) -> None:
    class AtOnce(ModelManager):
        def submit(self, *args: Any, **kwargs: Any) -> Any:
            job = super().submit(*args, **kwargs)
            job.wait(WAIT)
            return job

    with AtOnce(load=lambda name, **_: model) as manager:
        studio = Studio(manager=manager, model="tiny", steps=1)
        studio.generate()
        trace = studio.wait(WAIT)
        assert trace.settings == replace(studio.settings, schedule="trailing")
        assert studio.width == 16
        studio.close()


def test_the_prompt_s_tokens_are_counted_and_what_is_cut_is_said(studio: Studio) -> None:
    studio.generate()
    trace = studio.wait(WAIT)
    assert studio.controls.words.count == f"{len(trace.tokens[0].pieces)} of 75 tokens"
    studio.controls.fields["prompt"].value = "a " * 75 + "cat"
    assert studio.controls.words.count == "76 tokens in 2 chunks of 75"
    studio.chunks = 1
    assert studio.controls.words.count == "75 of 75 tokens, not seen: cat"
    studio.controls.fields["prompt"].value = "a (cat:1.3) " + "(" * 60 + "dog"
    assert "more than 50 brackets" in studio.controls.words.count


def test_the_bundled_model_s_words_are_there_before_it_is_loaded(manager: Any) -> None:
    studio = Studio(manager=manager, prompt="a grey cat on a skateboard")
    words = studio.controls.words
    assert "cat" in words.groups["things"]
    assert words.unknown == [
        {"word": "grey", "nearest": "gray"},
        {"word": "skateboard", "nearest": ""},
    ]
    assert len(words.examples) == len(EXAMPLES)
    studio.prompt = "a gray cat"
    assert words.unknown == []
    studio.model = "another"  # knows any word, as far as is known
    assert (words.groups, words.examples, words.unknown) == ({}, [], [])
    studio.close()


def test_a_model_s_own_words_count_once_it_is_loaded(tiny_model: LatentDiffusion) -> None:
    model = replace(tiny_model, vocabulary={"things": ("cat",), "others": ("a",)})
    with ModelManager(load=lambda name, **_: model) as manager:
        studio = Studio(manager=manager, model="mine", prompt="a cat, a dog", steps=1)
        words = studio.controls.words
        assert words.groups == {}
        studio.generate()
        studio.wait(WAIT)
        assert words.groups == {"things": ["cat"], "others": ["a"]}
        assert [one["word"] for one in words.unknown] == ["dog"]
        assert words.examples == []  # it knows few of their words
        assert studio.controls.about.value == (
            f"This model predicts {model.prediction}; it was made for 16 x 16 pixels"
        )
        studio.close()


def test_the_words_before_loading_are_those_of_the_bundled_model() -> None:
    from sdwidgets.checkpoints.load import BUNDLED
    from sdwidgets.scenes import caption_words

    file = json.loads((BUNDLED / "emoji" / "vocabulary.json").read_text("utf-8"))
    assert {title: list(words) for title, words in caption_words().items()} == file["words"]


def test_of_a_long_prompt_only_the_first_unknown_words_are_named(manager: Any) -> None:
    prompt = " ".join(f"x{i}y" for i in range(5000))
    studio = Studio(manager=manager, prompt=prompt)
    assert [one["word"] for one in studio.controls.words.unknown] == [f"x{i}y" for i in range(8)]
    studio.close()


@pytest.mark.parametrize("source", get_args(PredictionSource))
def test_what_a_model_predicts_is_said_with_how_that_is_known(
    tiny_model: LatentDiffusion, source: Any
) -> None:
    line = about(replace(tiny_model, prediction_source=source))
    assert f"predicts {tiny_model.prediction}" in line
    assert ("(" in line) == (source != "")


def test_no_seed_and_the_dice_roll_one(studio: Studio) -> None:
    studio.seed = None
    first = studio.seed
    studio.controls.dice.click()
    assert isinstance(first, int)
    assert isinstance(studio.seed, int)
    assert studio.seed != first


# ---------------------------------------------------------------------------------------- runs


def test_a_run_gives_the_trace_of_its_settings(studio: Studio) -> None:
    studio.generate()
    trace = studio.wait(WAIT)
    assert trace is studio.trace
    assert trace.settings == replace(studio.settings, schedule="trailing")
    assert studio.state == "done"
    assert len(trace.steps) == 4


def test_the_image_is_that_of_the_model_alone(studio: Studio, model: Any) -> None:
    studio.seed = 11
    studio.generate()
    trace = studio.wait(WAIT)
    alone = model.generate("a cat", steps=4, seed=11, width=16, height=16)
    assert trace.settings == alone.settings
    assert trace.image.tobytes() == alone.image.tobytes()


def test_generate_returns_at_once_and_says_what_it_does(studio: Studio, gate: Any) -> None:
    gate.closed = True
    studio.generate()
    assert studio.state in ("loading", "running")
    until(lambda: studio.state == "running")
    gate.open()
    studio.wait(WAIT)
    assert studio.state == "done"


def test_a_studio_whose_run_is_over_keeps_no_model(
    studio: Studio, manager: ModelManager, tiny_model: LatentDiffusion
) -> None:
    manager.add(copy.deepcopy(tiny_model), "mine")
    studio.model = "mine"
    studio.generate()
    studio.wait(WAIT)
    model = weakref.ref(manager.load("mine"))
    manager.unload("mine")
    assert model() is None


def test_every_step_reaches_the_page_and_none_twice(studio: Studio, wire: Wire) -> None:
    studio.generate()
    studio.wait(WAIT)
    sent = sorted(steps_sent(wire, studio.view))  # in a message they have no order
    assert [name for name, _ in sent] == ["frame0", "frame1", "frame2", "frame3"]
    assert [meta(frame)["index"] for _, frame in sent] == [0, 1, 2, 3]
    assert {tuple(meta(frame)["parts"]) for _, frame in sent} == {("x", "denoised")}


def test_stop_ends_the_run_within_a_step(studio: Studio, gate: Any) -> None:
    gate.closed = True
    gate.allow(2)
    studio.generate()
    until(lambda: bool(studio.view.frame0))
    studio.controls.stop.click()
    gate.allow(1)  # the step under way; any further one would wait for ever
    assert studio.wait(WAIT) is None
    assert studio.state == "stopped"
    assert studio.error is None
    assert "Stopped after" in studio.view.message


def test_stop_before_the_first_step(studio: Studio, gate: Any) -> None:
    gate.closed = True
    studio.generate()
    studio.stop()
    gate.open()
    assert studio.wait(WAIT) is None
    assert studio.state == "stopped"
    assert studio.view.message.startswith("Stopped")


def test_stop_without_a_run_does_nothing(studio: Studio) -> None:
    studio.stop()
    assert studio.state == "idle"
    assert studio.wait() is None


def test_a_second_run_meanwhile_is_refused(studio: Studio, gate: Any) -> None:
    gate.closed = True
    studio.generate()
    with pytest.raises(Busy):
        studio.generate()
    for _ in range(100):  # clicks do nothing then
        studio.controls.generate.click()
    gate.open()
    studio.wait(WAIT)
    assert len(studio.history.entries) == 1


def test_an_interrupt_of_wait_stops_the_run(
    studio: Studio, gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> bool:
        raise KeyboardInterrupt

    gate.closed = True
    studio.generate()
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(studio_module.kernel, "wait_for", interrupted)
        studio.wait()
    gate.open()
    assert studio.wait(WAIT) is None
    assert studio.state == "stopped"


def test_wait_has_a_limit(studio: Studio, gate: Any) -> None:
    gate.closed = True
    studio.generate()
    with pytest.raises(TimeoutError):
        studio.wait(0.01)


def test_an_image_to_begin_from_is_what_the_run_begins_from(studio: Studio, model: Any) -> None:
    start = Image.new("RGB", (16, 16), "red")
    studio.image, studio.strength = start, 0.5
    studio.generate()
    trace = studio.wait()
    assert trace is not None
    wanted = model.generate(image=start, **trace.settings.as_dict())
    assert trace.settings.strength == 0.5
    assert np.array_equal(trace.image, wanted.image)


def test_the_start_image_is_shown_as_a_run_begins_from_it(studio: Studio) -> None:
    start = studio.controls.start
    assert start.thumbnail == b""
    studio.image = np.zeros((20, 30, 3), np.uint8)
    assert Image.open(io.BytesIO(start.thumbnail)).size == (16, 16)
    assert start.note == "30 x 20 pixels, cropped to 16 x 16"
    assert start.reshaped
    studio.fit = "pad"
    assert start.note == "30 x 20 pixels, padded to 16 x 16"
    studio.width, studio.height = 48, 32
    assert start.note == "30 x 20 pixels, resized to 48 x 32"
    assert not start.reshaped


def upload(data: bytes, name: str = "cat.png", size: int | None = None) -> list[tuple[Any, Any]]:
    """The messages of a page that sends a file, with their buffers."""
    parts = [data[i : i + PART] for i in range(0, len(data), PART)] or [b""]
    total = len(data) if size is None else size
    message = {"kind": "file", "name": name, "size": total, "parts": len(parts), "second": False}
    return [({**message, "part": i}, [part]) for i, part in enumerate(parts)]


def send(studio: Studio, data: bytes, **more: Any) -> None:
    for message, buffers in upload(data, **more):
        studio.controls.start._handle_custom_msg(message, buffers)


def png_of(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def test_an_image_file_of_the_page_is_started_from(studio: Studio, say: Say) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3), np.uint8)
    file = png_of(Image.fromarray(noise))
    assert len(file) > PART  # so it comes in parts
    send(studio, file)
    assert np.array_equal(np.asarray(studio.image), noise)
    say(studio.controls.start, {"kind": "drop"})
    assert studio.image is None


@pytest.mark.parametrize("data", [png_of(Image.new("RGB", (8, 8))), b"no image"])
def test_every_file_is_answered_even_if_nothing_changes(
    studio: Studio, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = studio.controls.start
    answers: list[Any] = []
    monkeypatch.setattr(start, "send", lambda message, buffers=None: answers.append(message))
    for count in (1, 2):
        send(studio, data)
        assert answers == [{"kind": "taken"}] * count


@pytest.mark.parametrize(
    ("data", "size", "words"),
    [(b"no image", None, "cannot be read"), (b"", None, "cannot be read"),
     (b"x", 2**30, "1024.0 MB; at most 16")],
)  # fmt: skip
def test_a_file_that_is_no_image_is_refused_in_words_and_the_image_stays(
    studio: Studio, data: bytes, size: int | None, words: str
) -> None:
    studio.image = Image.new("RGB", (16, 16), "red")
    send(studio, data, size=size)
    assert words in studio.controls.start.problem
    assert studio.image is not None
    send(studio, png_of(Image.new("RGB", (16, 16), "blue")))
    assert studio.controls.start.problem == ""
    assert studio.image.getpixel((0, 0)) == (0, 0, 255)


def test_a_file_with_settings_is_offered_and_restores_them(
    studio: Studio, manager: Any, say: Say
) -> None:
    studio.prompt, studio.seed, studio.steps = "a dog", 5, 3
    studio.generate()
    file = studio.wait(WAIT).png()
    studio.prompt, studio.seed, studio.steps, studio.model = "a cat", 6, 4, "tiny too"
    start = studio.controls.start
    send(studio, file)
    assert start.offer.startswith("cat.png was made with: a dog, seed 5, 3 steps")
    assert (studio.image, studio.seed) == (None, 6)
    say(start, {"kind": "restore"})
    assert (studio.prompt, studio.seed, studio.steps) == ("a dog", 5, 3)
    assert studio.model == "tiny"
    assert studio.controls.fields["prompt"].value == "a dog"
    assert (start.offer, studio.image) == ("", None)
    assert start.message.startswith("The settings of the file are loaded")
    say(start, {"kind": "restore"})  # a second click
    send(studio, file)
    say(start, {"kind": "take"})
    assert studio.image.size == (16, 16)
    assert start.offer == ""


def test_a_file_of_an_image_to_image_run_says_what_it_lacks(studio: Studio, say: Say) -> None:
    studio.image, studio.strength = Image.new("RGB", (16, 16), "red"), 0.5
    studio.generate()
    file = studio.wait(WAIT).png()
    studio.image, studio.strength = None, 0.8
    send(studio, file)
    assert "from an image, strength 0.5" in studio.controls.start.offer
    say(studio.controls.start, {"kind": "restore"})
    assert studio.strength == 0.5
    assert "from an image that is not in the file" in studio.controls.start.message


def test_a_file_does_not_choose_a_model_that_was_never_loaded(studio: Studio, say: Say) -> None:
    record = {"model": "stranger/model", "settings": {"prompt": "a dog", "seed": 9}}
    send(studio, encode_png(Image.new("RGB", (16, 16)), record))
    say(studio.controls.start, {"kind": "restore"})
    assert (studio.model, studio.prompt, studio.seed) == ("tiny", "a dog", 9)
    assert "Another model made the image: stranger/model" in studio.controls.start.message


def test_a_file_says_which_of_its_settings_the_studio_does_not_have(
    studio: Studio, say: Say
) -> None:
    settings = {"prompt": "a dog", "seed": 9, "hires": 2.0, "refiner_start": 0.5}
    record = {"model": "tiny", "settings": settings, "settings_format": 4}
    record["parent"] = {"how": "branch", "step": 2, "record": {"model": "tiny", "settings": {}}}
    send(studio, encode_png(Image.new("RGB", (16, 16)), record))
    say(studio.controls.start, {"kind": "restore"})
    said = studio.controls.start.message
    assert "It came from another run" in said
    assert "Left out: refiner start: 0.5." in said
    assert studio.hires == 2


def test_brackets_have_a_name_for_each_way_to_read_them(studio: Studio) -> None:
    options = studio.controls.fields["weights"].options
    assert [value for _, value in options] == list(WEIGHTS)


def test_an_image_of_another_program_fills_the_fields_and_says_what_it_lacks(
    studio: Studio, say: Say
) -> None:
    start = studio.controls.start
    send(studio, png(parameters=A1111.replace("512x768", "64x32")))
    assert start.offer.startswith("cat.png was made with: AUTOMATIC1111: a (cat:1.2) in a hat")
    say(start, {"kind": "restore"})
    assert (studio.seed, studio.steps, studio.schedule) == (123, 30, "karras")
    assert (studio.width, studio.height, studio.model) == (64, 32, "tiny")
    assert studio.controls.fields["negative_prompt"].value == studio.negative_prompt
    assert studio.negative_prompt.startswith("a dog, bad")
    assert "as AUTOMATIC1111 wrote them" in start.message
    assert "Another model made the image: anything-v3." in start.message
    assert "LoRA detail: 0.8" in start.message


def test_a_recorded_run_gives_the_studio_its_settings_at_once(studio: Studio, say: Say) -> None:
    studio.image = Image.new("RGB", (16, 16), "red")
    made = {"model": "tiny", "task": "text to image", "settings": {"prompt": "a dog", "seed": 9}}
    start = studio.controls.start
    say(start, {"kind": "settings", "made": made, "image": False})
    assert (studio.prompt, studio.seed) == ("a dog", 9)
    assert studio.image is None  # the run had none
    assert (start.message, start.offer) == ("The settings of the file are loaded.", "")
    assert studio.schedule == "config"  # settings of version 0.1 are those of today

    studio.image = Image.new("RGB", (16, 16), "red")
    began = {"task": "inpainting", "settings": {"prompt": "a cat", "seed": 1, "strength": 0.5}}
    say(start, {"kind": "settings", "made": {"model": "tiny", **began}, "image": True})
    assert (studio.strength, studio.image is not None) == (0.5, True)
    assert "image that is not in the file" not in start.message
    assert "It was painted inside a mask that is not in the file." in start.message


@pytest.mark.parametrize(
    ("made", "words"),
    [({}, "no settings"), ({"settings": []}, "no settings"),
     ({"settings": {"steps": "x"}}, "steps"), ({"settings": {"seed": 2**32}}, "seed"),
     ({"settings": {"prompt": ["a", "b"]}}, "batch")],
)  # fmt: skip
def test_what_a_recorded_run_says_is_checked(
    studio: Studio, say: Say, made: Any, words: str
) -> None:
    before = studio.settings
    say(studio.controls.start, {"kind": "settings", "made": {"settings_format": 2, **made}})
    assert words in studio.controls.start.problem
    assert studio.settings == before


def test_the_bundled_model_is_known_by_the_name_in_its_records(studio: Studio, say: Say) -> None:
    studio.model = DEFAULT_MODEL
    made = {"model": EMOJI.name, "settings": {"prompt": "a dog", "seed": 9}}
    say(studio.controls.start, {"kind": "settings", "made": made})
    assert (studio.model, studio.prompt) == (DEFAULT_MODEL, "a dog")
    assert studio.controls.start.message == "The settings of the file are loaded."


def test_a_record_of_a_bundled_system_selects_it(studio: Studio, say: Say) -> None:
    made = {"model": "emoji, by class", "settings": {"label": "cat", "seed": 9}}
    say(studio.controls.start, {"kind": "settings", "made": made})
    assert (studio.model, studio.label) == ("emoji-class", "cat")
    assert studio.controls.start.message == "The settings of the file are loaded."


def test_the_settings_of_a_batch_are_refused_and_none_is_taken(
    studio: Studio, model: Any, say: Say
) -> None:
    settings = Settings(prompt=("a", "b"), seed=9, steps=2).checked(model.config)
    record = {"model": "tiny", "settings": settings.as_dict()}
    send(studio, encode_png(Image.new("RGB", (16, 16)), record))
    say(studio.controls.start, {"kind": "restore"})
    assert "batch" in studio.controls.start.problem
    assert (studio.prompt, studio.seed, studio.steps) == ("a cat", 0, 4)


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [("strength", 0.25, 0.25), ("strength", 7, 0.8), ("strength", True, 0.8),
     ("strength", "x", 0.8), ("fit", "pad", "pad"), ("fit", "tear", "crop"),
     ("fit", ["pad"], "crop"), ("seed", 3, 0)],
)  # fmt: skip
def test_the_page_sets_strength_and_fit_within_their_limits(
    studio: Studio, say: Say, name: str, value: Any, kept: Any
) -> None:
    say(studio.controls.start, {"kind": "set", "name": name, "value": value})
    assert getattr(studio, name) == kept


@pytest.mark.parametrize(
    "message",
    [None, 3, {}, {"kind": "take"}, {"kind": "restore"}, {"kind": ["drop"]}, {"kind": "file"},
     {"kind": "file", "name": "x", "size": 1, "part": 1, "parts": 1}, {"kind": "set"}],
)  # fmt: skip
def test_messages_about_a_start_image_that_are_not_understood_are_ignored(
    studio: Studio, say: Say, message: Any
) -> None:
    before = studio.controls.start.get_state()
    say(studio.controls.start, message)
    studio.controls.start.set_state({"thumbnail": b"x", "offer": "x"})
    assert studio.controls.start.get_state() == before


def test_what_was_chosen_for_a_start_image_is_of_no_run_without_one(studio: Studio) -> None:
    studio.image, studio.strength, studio.fit = Image.new("RGB", (16, 16)), 0.5, "pad"
    studio.image = None
    studio.generate()
    trace = studio.wait(WAIT)
    assert trace.notices == ()
    assert (trace.settings.strength, trace.settings.fit) == (0.8, "crop")
    assert studio.strength == 0.5  # for the next image


def test_notices_of_a_run_are_said_and_are_no_errors(studio: Studio) -> None:
    studio.width = 24
    studio.generate()
    trace = studio.wait(WAIT)
    assert "was trained on 16 x 16 pixels" in trace.notices[0]
    assert studio.view.message.splitlines()[1:] == list(trace.notices)
    assert (studio.state, studio.view.state) == ("done", "done")


def test_what_is_no_image_is_refused_where_it_is_set(studio: Studio) -> None:
    studio.image = Image.new("RGB", (16, 16), "red")
    with pytest.raises(ImageError):
        studio.image = b"no picture"
    assert studio.image.getpixel((0, 0)) == (255, 0, 0)


def test_an_earlier_result_brings_the_image_it_began_from_back(studio: Studio, say: Say) -> None:
    studio.image = Image.new("RGB", (16, 16), "red")
    studio.generate()
    studio.wait()
    studio.image = None
    recall(studio, say, 0)
    assert studio.image.getpixel((0, 0)) == (255, 0, 0)
    assert "from an image, strength 0.75" in studio.history.entries[0]["title"]


def test_a_batch_shows_every_image(make_studio: Callable[..., Studio]) -> None:
    studio = make_studio(batch_size=3, seed=5)
    studio.generate()
    studio.wait(WAIT)
    assert [picture["seed"] for picture in studio.view.pictures] == [5, 6, 7]
    assert meta(studio.view.frame0)["size"][0] == 3


# -------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("steps", -1), ("steps", 10**9), ("width", 33), ("height", 20000),
     ("guidance_scale", -5.0), ("batch_size", 0), ("seed", -1)],
)  # fmt: skip
def test_bad_input_is_said_and_the_image_stays(
    make_studio: Callable[..., Studio], name: str, value: Any
) -> None:
    studio = make_studio()
    studio.generate()
    studio.wait(WAIT)
    trace, pictures = studio.trace, studio.view.pictures
    studio.controls.fields[name].value = value
    studio.controls.generate.click()
    if studio.state != "error":
        with pytest.raises(InputError):
            studio.wait(WAIT)
    assert studio.state == "error"
    assert isinstance(studio.error, InputError)
    assert name in studio.view.message
    assert studio.view.message.count("\n") <= 2
    assert "sdw-wrong" in classes(studio.controls.fields[name])
    assert studio.trace is trace
    assert studio.view.pictures == pictures


def test_an_error_clears_with_the_next_run(studio: Studio) -> None:
    studio.steps = 0
    studio.generate()
    with pytest.raises(InputError):
        studio.wait(WAIT)
    studio.steps = 4
    studio.generate()
    studio.wait(WAIT)
    assert studio.state == "done"
    assert studio.error is None
    assert "sdw-wrong" not in classes(studio.controls.fields["steps"])


def test_the_bundled_model_s_settings_are_checked_before_anything_is_loaded() -> None:
    studio = Studio(manager=ModelManager(), steps=0)
    with pytest.raises(InputError, match="steps"):
        studio.generate()
    assert studio.manager.loaded() == []
    assert studio.state == "error"
    studio.close()


def test_whatever_the_run_raises_is_shown_and_raised(studio: Studio, model: Any) -> None:
    fail_once(studio, model, ZeroDivisionError("by a hook"), ZeroDivisionError)
    assert studio.view.message == "ZeroDivisionError: by a hook"
    studio.generate()
    assert studio.wait(WAIT) is studio.trace


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [("seed", 2**60, 7), ("steps", 2.5, 3), ("prompt", "x" * 100_001, "a dog")],
)
def test_what_can_be_no_setting_stays_in_its_control_until_it_is_put_right(
    studio: Studio, name: str, value: Any, right: Any
) -> None:
    before = getattr(studio, name)
    control = studio.controls.fields[name]
    control.value = value
    assert control.value == value
    assert getattr(studio, name) == before
    assert "sdw-wrong" in classes(control)
    with pytest.raises(InputError, match=name):
        studio.generate()
    control.value = right
    studio.generate()
    assert getattr(studio.wait(WAIT).settings, name) == right


def test_a_field_s_error_does_not_end_the_run(studio: Studio, gate: Any) -> None:
    gate.closed = True
    studio.generate()
    studio.controls.fields["steps"].value = 2.5
    assert studio.state in ("loading", "running")
    assert "2.5" in studio.view.message
    assert "sdw-wrong" in classes(studio.controls.fields["steps"])
    gate.open()
    assert studio.wait(WAIT) is not None


def test_an_old_error_goes_with_the_next_run(studio: Studio, gate: Any) -> None:
    studio.controls.fields["steps"].value = 2.5
    assert studio.error is not None
    studio.controls.fields["steps"].value = 4
    gate.closed = True
    studio.generate()
    studio.stop()
    gate.open()
    studio.wait(WAIT)
    assert studio.state == "stopped"
    assert studio.error is None


def test_an_error_goes_with_its_correction(studio: Studio) -> None:
    studio.generate()
    studio.wait(WAIT)
    done = studio.view.message
    field = studio.controls.fields["steps"]
    studio.steps = 0
    studio.generate()
    with pytest.raises(InputError):
        studio.wait(WAIT)
    studio.seed = 3  # the error is not about this
    assert (studio.state, studio.view.state) == ("error", "error")
    field.value = 4
    assert (studio.state, studio.view.state, studio.error) == ("done", "done", None)
    assert "sdw-wrong" not in classes(field)
    field.value = 2.5
    assert studio.state == "error"
    field.value = 4  # as it was before: no trait changes
    assert (studio.state, studio.view.message, studio.error) == ("done", "", None)
    assert done.startswith("Done")


def test_the_next_mistake_is_said_in_place_of_the_one_before(studio: Studio) -> None:
    studio.model = "emoji"
    studio.width = 33
    with pytest.raises(InputError):
        studio.generate()
    studio.width = 35
    assert studio.state == "error"
    assert "35" in studio.view.message
    studio.width = 64
    assert (studio.state, studio.view.message) == ("idle", "")


def test_a_second_wrong_field_stays_wrong_when_the_first_is_corrected(studio: Studio) -> None:
    studio.controls.fields["seed"].value = 2.5
    studio.controls.fields["steps"].value = 3.5
    studio.controls.fields["steps"].value = 4
    assert studio.state == "error"
    assert "2.5" in studio.view.message
    assert "sdw-wrong" in classes(studio.controls.fields["seed"])


def test_an_error_that_names_no_setting_goes_with_what_may_have_caused_it(
    studio: Studio, model: Any
) -> None:
    fail_once(studio, model, RuntimeError(NO_MEMORY), OutOfMemory)
    studio.prompt = "a dog"
    assert studio.state == "error"
    studio.width = 24
    assert (studio.state, studio.error) == ("idle", None)


def test_a_corrected_field_takes_its_error_off_a_run_that_goes_on(
    studio: Studio, gate: Any
) -> None:
    gate.closed = True
    studio.generate()
    until(lambda: studio.view.state == "running")
    studio.controls.fields["steps"].value = 2.5
    studio.controls.fields["steps"].value = 4
    assert studio.view.message == "Denoising"
    assert studio.error is None


def test_a_model_that_was_refused_is_not_offered(model: Any) -> None:
    def load(name: str, **_: Any) -> Any:
        if name == "wrong":
            raise CheckpointError("no model")
        return model

    with ModelManager(load=load) as manager:
        studio = Studio(manager=manager, model="wrong", steps=1)
        studio.generate()
        with pytest.raises(CheckpointError):
            studio.wait(WAIT)
        studio.model = "right"
        assert studio.state == "idle"
        studio.generate()
        studio.wait(WAIT)
        assert studio.controls.fields["model"].options == (*bundled_models(), "right")
        studio.close()


def test_what_is_loaded_and_what_is_waited_for_is_said(model: Any, gate: Any) -> None:
    began, go = threading.Event(), threading.Event()

    def load(name: str, **_: Any) -> Any:
        began.set()
        go.wait(WAIT)
        return model

    with ModelManager(load=load) as manager:
        one, other = (Studio(manager=manager, model="tiny", steps=1) for _ in range(2))
        one.generate()
        assert began.wait(WAIT)
        until(lambda: one.view.message == "Opening tiny")
        other.generate()
        until(lambda: other.view.message == "Waiting for another run")
        go.set()
        assert one.wait(WAIT) is not None and other.wait(WAIT) is not None
        one.close()
        other.close()


def test_a_run_from_an_image_counts_the_steps_that_it_takes(studio: Studio, gate: Any) -> None:
    studio.image, studio.strength, studio.steps = Image.new("RGB", (16, 16)), 0.6, 10
    gate.closed = True
    gate.allow(2)
    studio.generate()
    until(lambda: bool(studio.view.frame0))
    assert studio.view.header["steps"] == 6
    studio.stop()
    gate.open()
    studio.wait(WAIT)
    assert studio.view.message.endswith("of 6 steps")
    studio.generate()
    assert len(studio.wait(WAIT).steps) == 6
    assert studio.view.header["steps"] == 6
    assert studio.view.message.startswith("Done: 6 steps")


def test_an_observer_that_raises_leaves_the_studio_usable(studio: Studio) -> None:
    def broken(change: Any) -> None:
        raise ZeroDivisionError

    studio.observe(broken, "state")
    with pytest.raises(ZeroDivisionError):
        studio.generate()
    studio.unobserve(broken, "state")
    studio.generate()
    assert studio.wait(WAIT) is studio.trace


def test_what_fails_in_showing_a_run_ends_it(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("shown badly")

    with monkeypatch.context() as patched:
        patched.setattr(Results, "add", broken)
        studio.generate()
        with pytest.raises(ZeroDivisionError):
            studio.wait(WAIT)
    assert studio.state == "error"
    assert "shown badly" in studio.view.message
    studio.generate()
    assert studio.wait(WAIT) is studio.trace


def test_who_sees_a_run_done_may_start_the_next(studio: Studio) -> None:
    ends = []

    def again(change: Any) -> None:
        if change.new == "done" and len(ends) < 2:
            ends.append(studio.trace)
            studio.seed += 1
            studio.generate()

    studio.observe(again, "state")
    studio.generate()
    until(lambda: len(studio.history.entries) == 3)
    studio.wait(WAIT)
    assert [one["seed"] for one in studio.history.entries] == [0, 1, 2]


def test_a_run_cannot_be_waited_for_by_its_own_observer(studio: Studio) -> None:
    raised: list[type] = []

    def waits(change: Any) -> None:
        if change.new == "running":
            try:
                studio.wait()
            except Busy as error:
                raised.append(type(error))

    studio.observe(waits, "state")
    studio.generate()
    studio.wait(WAIT)
    assert raised == [Busy]


@pytest.mark.parametrize("kind", ["missing", "cut", "foreign", "no model"])
def test_a_model_that_cannot_be_loaded_leaves_image_and_trace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, model: Any, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)  # long paths are shortened in messages
    path = tmp_path / "model.safetensors"
    if kind == "cut":
        path.write_bytes(b"\x40" + bytes(7))
    elif kind == "foreign":
        path.write_text("<!doctype html><title>Sign in</title>")
    elif kind == "no model":
        path.mkdir()

    def load(name: str, **options: Any) -> Any:
        from sdwidgets.checkpoints import load_model

        return model if name == "tiny" else load_model(name, **options)

    with ModelManager(load=load) as manager:
        studio = Studio(manager=manager, model="tiny", steps=2)
        studio.generate()
        trace = studio.wait(WAIT)
        pictures = studio.view.pictures
        studio.model = path.name
        studio.generate()
        with pytest.raises(SDWidgetsError):
            studio.wait(WAIT)
        assert studio.state == "error"
        assert path.name in studio.view.message
        assert studio.view.message.count("\n") <= 2
        assert (studio.trace, studio.view.pictures) == (trace, pictures)
        studio.model = "tiny"
        studio.generate()
        assert studio.wait(WAIT) is studio.trace
        studio.close()


def test_no_memory_leaves_image_and_trace(studio: Studio, model: Any) -> None:
    studio.generate()
    trace = studio.wait(WAIT)
    fail_once(studio, model, RuntimeError(NO_MEMORY), OutOfMemory)
    assert studio.trace is trace
    assert studio.view.pictures
    studio.generate()
    assert studio.wait(WAIT) is not trace


@pytest.mark.parametrize(
    "message",
    [None, 5, [], "stop", {}, {"kind": 3}, {"kind": "recall"}, {"kind": "recall", "id": "1"},
     {"kind": "recall", "id": 10**30}, {"kind": "recall", "id": True}, {"kind": ["generate"]}],
)  # fmt: skip
def test_messages_that_are_not_understood_are_ignored(
    studio: Studio, message: Any, say: Say
) -> None:
    say(studio.view, message)
    assert studio.state == "idle"


def test_the_page_cannot_write_the_image_s_traits(studio: Studio) -> None:
    before = studio.view.get_state()
    studio.view.set_state({"header": {"run": 9}, "state": "done", "_esm": "alert(1)"})
    assert studio.view.get_state() == before
    before = studio.history.get_state()
    studio.history.set_state({"entries": [{"id": 1}], "current": 1})
    assert studio.history.get_state() == before


# ------------------------------------------------------------------------------------- history


def test_an_earlier_result_brings_its_settings_and_image_back(studio: Studio, say: Say) -> None:
    studio.seed = 1
    studio.generate()
    studio.wait(WAIT)
    first = studio.view.pictures
    studio.prompt, studio.seed, studio.steps = "a dog", 2, 3
    studio.generate()
    studio.wait(WAIT)
    recall(studio, say, 0)
    assert (studio.prompt, studio.seed, studio.steps) == ("a cat", 1, 4)
    assert studio.view.pictures == first
    assert studio.state == "done"


def test_a_long_prompt_is_short_in_labels_and_saved_state(studio: Studio) -> None:
    studio.prompt = "cat " * 20_000
    studio.negative_prompt = "dog " * 20_000
    studio.generate()
    trace = studio.wait(WAIT)
    assert trace.settings.prompt == studio.prompt
    (shown,), (picture,) = studio.history.entries, studio.view.pictures
    texts = [shown["prompt"], shown["title"], picture["prompt"], picture["label"]]
    assert max(map(len, texts)) < 1000
    assert "does not see" in studio.view.message


def test_the_history_is_bounded_and_the_saved_state_small(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results_module, "HISTORY", 3)
    for seed in range(5):
        studio.seed = seed
        studio.generate()
        studio.wait(WAIT)
    assert [entry["seed"] for entry in studio.history.entries] == [2, 3, 4]


def made(studio: Studio, *seeds: int) -> list[int]:
    """Run once for each seed; return the ids of the results."""
    for seed in seeds:
        studio.seed = seed
        studio.generate()
        studio.wait(WAIT)
    return [entry["id"] for entry in studio.history.entries]


def test_a_pinned_result_stays_with_its_record(
    studio: Studio, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results_module, "HISTORY", 2)
    monkeypatch.setattr(results_module, "TRACES", 1)
    first, *_ = made(studio, 1)
    say(studio.history, {"kind": "pin", "id": first})
    made(studio, 2, 3, 4)
    seen = [(one["seed"], one["pinned"], one["whole"]) for one in studio.history.entries]
    assert seen == [(1, True, True), (3, False, False), (4, False, True)]
    say(studio.history, {"kind": "pin", "id": first})
    assert [entry["seed"] for entry in studio.history.entries] == [3, 4]


def test_only_so_many_results_are_pinned(
    studio: Studio, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results_module, "PINNED", 1)
    first, second = made(studio, 1, 2)
    say(studio.history, {"kind": "pin", "id": first})
    say(studio.history, {"kind": "pin", "id": second})
    assert [entry["pinned"] for entry in studio.history.entries] == [True, False]


def test_a_deleted_result_is_gone_and_the_others_stay(studio: Studio, say: Say) -> None:
    first, second = made(studio, 1, 2)
    say(studio.history, {"kind": "delete", "id": first})
    assert [entry["id"] for entry in studio.history.entries] == [second]
    say(studio.history, {"kind": "recall", "id": first})  # a click that came too late
    assert studio.seed == 2


def test_an_opened_result_sends_every_image_of_its_batch(
    make_studio: Callable[..., Studio], say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = make_studio(batch_size=3)
    studio.generate()
    trace = studio.wait(WAIT)
    sent: list[Any] = []
    monkeypatch.setattr(studio.history, "send", lambda *message: sent.append(message))
    (entry,) = studio.history.entries
    say(studio.history, {"kind": "open", "id": entry["id"]})
    ((content, buffers),) = sent
    assert content["id"] == entry["id"]
    assert [one["label"][-6:] for one in content["images"]] == ["seed 0", "seed 1", "seed 2"]
    assert buffers == [trace.png(i) for i in range(3)]
    assert entry["count"] == 3
    assert Image.open(io.BytesIO(entry["thumbnail"])).size == (32, 32)  # two by two of 16


def test_any_image_of_a_result_can_be_started_from(
    make_studio: Callable[..., Studio], say: Say
) -> None:
    studio = make_studio(batch_size=2)
    studio.generate()
    trace = studio.wait(WAIT)
    (number,) = [entry["id"] for entry in studio.history.entries]
    say(studio.history, {"kind": "use", "id": number, "other": 1})
    assert studio.image.tobytes() == trace.images[1].tobytes()
    say(studio.history, {"kind": "use", "id": number, "other": 2})  # there is none
    assert studio.image.tobytes() == trace.images[1].tobytes()


def test_two_results_are_compared_below_and_the_comparison_can_be_closed(
    studio: Studio, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results_module, "TRACES", 2)
    shown = studio.children
    old, first, second = made(studio, 1, 2, 3)
    say(studio.history, {"kind": "compare", "id": second, "other": old})  # its steps are gone
    assert studio.comparison is None
    say(studio.history, {"kind": "compare", "id": second, "other": first})
    comparison = studio.comparison
    assert comparison is not None
    assert [trace.settings.seed for trace in comparison.traces] == [3, 2]
    assert studio.children[-1] is comparison
    say(studio.history, {"kind": "compare", "id": first, "other": second})
    assert studio.comparison is comparison
    assert [trace.settings.seed for trace in comparison.traces] == [2, 3]
    studio.controls.end_comparison.click()
    assert studio.comparison is None
    assert studio.children == shown
    assert comparison.comm is None
    say(studio.history, {"kind": "compare", "id": first, "other": second})
    studio.comparison.close()  # by its own method
    say(studio.history, {"kind": "compare", "id": first, "other": second})
    assert studio.children[-1] is studio.comparison
    assert studio.comparison.comm is not None


@pytest.mark.parametrize(
    "message",
    [None, 5, {}, {"kind": "pin"}, {"kind": "pin", "id": "1"}, {"kind": ["pin"], "id": 1},
     {"kind": "use", "id": True}, {"kind": "use", "id": 1, "other": 10**30},
     {"kind": "compare", "id": 1, "other": -1}, {"kind": "delete", "id": 99}],
)  # fmt: skip
def test_the_history_ignores_what_it_does_not_understand(
    studio: Studio, message: Any, say: Say
) -> None:
    made(studio, 1)
    before = studio.history.entries
    say(studio.history, message)
    assert (studio.history.entries, studio.image, studio.comparison) == (before, None, None)


@pytest.mark.parametrize(
    ("model", "shown"),
    [("emoji", "emoji"), ("owner/name", "owner/name"), ("/home/me/secret/cats", "cats"),
     ("C:\\me\\cats\\", "cats"), ("./cats.safetensors", "cats.safetensors"), ("~/cats", "cats")],
)  # fmt: skip
def test_titles_hold_no_path(model: str, shown: str) -> None:
    assert results_module.name_of(model) == shown


def test_a_large_image_is_saved_small_and_sent_whole(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: dict[str, Any] = {}

    def send(content: Any, buffers: Any = None) -> None:
        sent[content["kind"]] = buffers

    monkeypatch.setattr(picture_module, "SAVED_IMAGES", 700)
    monkeypatch.setattr(studio.view, "send", send)
    studio.generate()
    trace = studio.wait(WAIT)
    (saved,) = studio.view.pictures
    assert saved["type"] == "image/jpeg"
    assert sent["pictures"] == [trace.png()]


def test_the_file_knows_its_settings(studio: Studio) -> None:
    studio.generate()
    trace = studio.wait(WAIT)
    (picture,) = studio.view.pictures
    record = read_record(picture["data"])
    assert record is not None
    assert Settings(**record["settings"]) == trace.settings.of_picture(0)


def test_the_saved_state_of_a_full_history_is_small(
    make_studio: Callable[..., Studio],
) -> None:
    studio = make_studio(batch_size=4)
    for _ in range(results_module.HISTORY):
        studio.generate()
        studio.wait(WAIT)
    assert saved_size(studio.view) < 300_000


def test_where_no_widget_shows_there_is_the_image(studio: Studio) -> None:
    studio.generate()
    studio.wait(WAIT)
    data, _ = studio._repr_mimebundle_()
    assert data["image/png"]
    assert "a cat" in data["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in data


def test_a_studio_cannot_be_sent(studio: Studio) -> None:
    with pytest.raises(InputError, match=r"studio\.settings"):
        pickle.dumps(studio)


# ------------------------------------------------------------------------------------- threads


def test_a_finished_run_leaves_no_thread_of_the_studio(studio: Studio) -> None:
    studio.generate()
    studio.wait(WAIT)
    until(lambda: not run_threads())


def test_closing_leaves_no_widget_behind(make_studio: Callable[..., Studio]) -> None:
    open_ones = getattr(widget_module, "_instances", None)
    if open_ones is None:  # ipywidgets 7
        open_ones = ipywidgets.Widget.widgets
    known = set(open_ones)
    make_studio().close()
    assert set(open_ones) == known


def test_closing_ends_the_run(studio: Studio, gate: Any) -> None:
    gate.closed = True
    studio.generate()
    until(lambda: studio.state == "running")
    studio.close()
    gate.open()
    until(lambda: not run_threads())
    assert studio.trace is None
    with pytest.raises(SDWidgetsError, match="closed"):
        studio.generate()


def test_running_the_cell_again_closes_its_studio(
    make_studio: Callable[..., Studio], gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = studio_module.kernel
    execution = iter(["first", "first", "second"])
    monkeypatch.setattr(kernel, "_made", {})
    monkeypatch.setattr(kernel, "current_cell", lambda: kernel.Cell("cell", next(execution)))
    old, beside = make_studio(), make_studio()
    gate.closed = True
    old.generate()
    new = make_studio()
    gate.open()
    until(lambda: not run_threads())
    assert [s.comm is None for s in (old, beside, new)] == [True, True, False]


def test_many_runs_leave_the_threads_as_they_were(studio: Studio) -> None:
    studio.generate()
    studio.wait(WAIT)
    until(lambda: not run_threads())
    before = threading.active_count()
    for _ in range(20):
        studio.generate()
        studio.stop()
        studio.wait(WAIT)
    until(lambda: threading.active_count() <= before)


def test_importing_and_drawing_the_studio_needs_no_torch() -> None:
    code = (
        "import sys, sdwidgets as sdw; sdw.Studio; assert 'torch' not in sys.modules;"
        "sdw.ModelManager.warm_up = lambda *_: None;"
        "sdw.Studio(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=WAIT)


# -- see inside ------------------------------------------------------------------------------


def steps_in(viewer: PictureView) -> int:
    return sum(bool(getattr(viewer, name)) for name in FRAMES)


def test_opened_or_closed_it_is_one_widget(studio: Studio) -> None:
    before = studio.children
    studio.inside = True
    assert studio.children == before
    assert studio.viewer is studio.view
    assert studio.view.panels == list(PANELS)


def test_closed_it_sends_nothing_that_only_panels_need(studio: Studio, wire: Wire) -> None:
    studio.generate()
    studio.wait(WAIT)
    assert not any(name in MORE for name, _ in steps_sent(wire, studio.view))


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_whenever_it_is_opened_no_part_of_a_step_is_sent_twice(
    studio: Studio, gate: Any, wire: Wire, when: str
) -> None:
    studio.inside = when == "before"
    gate.closed = True
    studio.generate()
    gate.allow(2)
    until(lambda: bool(studio.view.frame0))
    studio.inside = when != "after"
    gate.open()
    trace = studio.wait(WAIT)
    studio.inside = True
    sent = steps_sent(wire, studio.view)
    parts = Counter(
        (meta(frame)["index"], part) for _, frame in sent for part in meta(frame)["parts"]
    )
    assert set(parts.values()) == {1}
    without_control = [part for part in PARTS if part != "control"]
    assert set(parts) == {(i, part) for i in range(4) for part in without_control}
    traits = [getattr(studio.view, name) for name in (*FRAMES, *MORE)]
    assert sum(len(frame) for _, frame in sent) == sum(map(len, traits))
    assert studio.view.trace is trace


def test_opened_after_a_large_run_a_page_can_have_it_whole(
    make_studio: Callable[..., Studio], wire: Wire, say: Say
) -> None:
    studio = make_studio()
    studio.view.show(large())
    assert studio.view.header["saved"] is True
    studio.inside = True
    kept = sum(len(getattr(studio.view, name)) for name in (*FRAMES, *MORE))
    assert kept <= SAVED
    wire.clear()
    say(studio.view, {"kind": "frames"})
    ((content, buffers),) = [message for _, *message in wire]
    assert content["content"]["names"] == [
        f"{kind}{i}" for kind in ("frame", "more") for i in range(12)
    ]
    sizes = [meta(frame)["size"] for frame in buffers]
    assert sizes == [[1, 4, 64, 64]] * 24


def test_opened_it_follows_a_run_step_by_step(
    make_studio: Callable[..., Studio], gate: Any
) -> None:
    studio = make_studio(inside=True)
    gate.closed = True
    studio.generate()
    gate.allow(2)
    until(lambda: studio.viewer.header and steps_in(studio.viewer) >= 1)
    assert studio.viewer.state == "running" and studio.viewer.pictures == []
    gate.open()
    trace = studio.wait(60)
    until(lambda: studio.viewer.state == "done")
    assert steps_in(studio.viewer) == 4 and len(studio.viewer.pictures) == 1
    assert studio.viewer.trace is trace
    assert [picture["prompt"] for picture in studio.viewer.header["pictures"]] == ["a cat"]
    assert len(studio.viewer.header["layers"]) == len(trace.layers) > 0


def test_opened_afterwards_it_shows_the_last_run(studio: Studio) -> None:
    studio.generate()
    trace = studio.wait(60)
    studio.inside = True
    assert studio.viewer.trace is trace and steps_in(studio.viewer) == 4
    assert all(getattr(studio.viewer, name) for name in MORE[:4])
    studio.inside = False
    assert studio.viewer.panels == []


def test_opened_in_the_middle_it_shows_the_run_from_its_first_step(
    studio: Studio, gate: Any
) -> None:
    studio.generate()
    first = studio.wait(60)
    studio.inside, studio.prompt = True, "a dog"
    assert studio.viewer.trace is first
    studio.inside = False
    gate.closed = True
    studio.generate()
    gate.allow(2)
    until(lambda: studio.state == "running")
    studio.inside = True
    until(lambda: studio.viewer.header["pictures"][0]["prompt"] == "a dog")
    until(lambda: steps_in(studio.viewer) >= 1)
    assert studio.viewer.state == "running"
    gate.open()
    trace = studio.wait(60)
    assert studio.viewer.trace is trace
    assert steps_in(studio.viewer) == 4


def test_what_is_shown_in_the_middle_of_a_run_stays(
    make_studio: Callable[..., Studio], gate: Any, model: Any
) -> None:
    other = model.generate("a dog", steps=3, seed=1, width=16, height=16)
    studio = make_studio(inside=True)
    gate.closed = True
    studio.generate()
    gate.allow(2)
    until(lambda: steps_in(studio.viewer) >= 1)
    studio.viewer.show(other)
    gate.open()
    studio.wait(60)
    assert studio.viewer.trace is other
    assert (steps_in(studio.viewer), studio.viewer.state) == (3, "done")


def test_an_earlier_result_is_shown_in_place_of_something_else(
    studio: Studio, model: Any, say: Say
) -> None:
    studio.inside = True
    studio.generate()
    trace = studio.wait(60)
    assert studio.viewer.trace is trace
    studio.viewer.show(model.generate("a dog", steps=3, seed=1, width=16, height=16))
    recall(studio, say, 0)
    assert studio.viewer.trace is trace


def test_who_sees_it_done_inside_may_start_the_next_run(
    make_studio: Callable[..., Studio],
) -> None:
    studio = make_studio(inside=True)
    shown = []

    def again(change: Any) -> None:
        if change.new == "done":
            shown.append(studio.viewer.trace is studio.trace)
            if len(shown) < 3:
                studio.generate()

    studio.observe(again, "state")
    studio.generate()
    until(lambda: len(shown) == 3)
    studio.wait(60)
    assert shown == [True] * 3
    assert steps_in(studio.viewer) == 4


def test_the_worker_never_waits_for_what_shows_its_steps(
    make_studio: Callable[..., Studio], manager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Any] = []
    submit = manager.submit
    monkeypatch.setattr(manager, "submit", lambda *a, **k: jobs.append(submit(*a, **k)) or jobs[0])
    studio = make_studio(inside=True)
    with studio.view.lock:  # as if its page took very long
        studio.generate()
        until(lambda: bool(jobs) and jobs[0].state == "done")
    assert studio.wait(60) is studio.viewer.trace
    assert steps_in(studio.viewer) == 4


def test_the_button_and_the_trait_are_one(studio: Studio) -> None:
    studio.controls.look.value = True
    assert studio.inside and studio.viewer.panels
    studio.inside = False
    assert studio.controls.look.value is False


def test_a_stopped_run_stays_as_far_as_it_came(
    make_studio: Callable[..., Studio], gate: Any
) -> None:
    studio = make_studio(inside=True)
    gate.closed = True
    studio.generate()
    gate.allow(2)
    until(lambda: steps_in(studio.viewer) >= 1)
    studio.stop()
    gate.open()
    assert studio.wait(60) is None
    until(lambda: studio.viewer.state == "stopped")
    assert steps_in(studio.viewer) < 4


def test_an_earlier_result_is_shown_from_inside_again(studio: Studio, say: Say) -> None:
    studio.inside = True
    studio.generate()
    first = studio.wait(60)
    studio.seed = 99
    studio.generate()
    second = studio.wait(60)
    until(lambda: studio.viewer.trace is second)
    recall(studio, say, 0)
    assert studio.viewer.trace is first


def test_of_the_newest_results_alone_the_record_is_kept_of_all_the_steps_on_show(
    studio: Studio, say: Say
) -> None:
    for _ in range(6):
        studio.generate()
        studio.wait(60)
    found = []
    for place in range(6):
        recall(studio, say, place)
        found.append((studio.view.trace is not None, steps_in(studio.view)))
    assert found == [(False, 4)] * 2 + [(True, 4)] * 4


def test_closing_the_studio_closes_the_viewer(studio: Studio) -> None:
    studio.inside = True
    viewer = studio.viewer
    studio.close()
    assert viewer.comm is None
