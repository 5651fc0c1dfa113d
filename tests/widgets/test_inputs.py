"""In the Studio, what the model takes decides what is shown, and what a run is given."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from told_models import ANIMALS, CONFIGS, THINGS, told_model

from sdwidgets import guides
from sdwidgets.checkpoints import listing
from sdwidgets.configs import TINY, ModelConfig, UNetConfig
from sdwidgets.errors import ImageError, InputError
from sdwidgets.manager import ModelManager
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.trace import Trace
from sdwidgets.widgets import Studio

WAIT = 60  # seconds, never reached
Make = Callable[[ModelConfig], LatentDiffusion]


def picture(side: int, shade: int = 0) -> Image.Image:
    rows, columns = np.mgrid[:side, :side]
    pixels = np.stack([rows + shade, columns, rows * columns % 256], -1)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture(scope="module")
def zoo(make_model: Make) -> Iterator[ModelManager]:
    """A manager with a tiny random model of each kind."""
    made = {name: told_model(name) for name in CONFIGS} | {"tiny": make_model(TINY)}
    with ModelManager(load=lambda name, **_: made[name]) as manager:
        yield manager


@pytest.fixture
def open_studio(zoo: ModelManager) -> Iterator[Callable[..., Studio]]:
    """Opens a Studio on a loaded model."""
    opened: list[Studio] = []

    def open_one(model: str, **settings: Any) -> Studio:
        zoo.load(model)
        opened.append(Studio(manager=zoo, model=model, steps=2, width=16, height=16, **settings))
        return opened[-1]

    yield open_one
    for studio in opened:
        studio.close()


Open = Callable[..., Studio]


def folded(widget: Any) -> bool:
    return "sdw-folded" in widget._dom_classes


def give_file(studio: Studio, data: bytes, **more: Any) -> None:
    message = {"kind": "file", "name": "a.png", "size": len(data), "part": 0, "parts": 1, **more}
    studio.controls.start._handle_custom_msg(message, [data])


def drop(studio: Studio, trace: Trace, path: Path, without: str = "nothing") -> str:
    """Drop a recorded run on a Studio, as its page does; return what the Studio says."""
    data = trace.save(path / "run.sdtrace").read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    made = json.loads(header["__metadata__"]["sdtrace"])
    parts = {
        name.removeprefix("given_"): (data[begin + info["data_offsets"][0] :], info)
        for name, info in header.items()
        if name.startswith("given_") and without not in name
    }
    came, given = [], [name.removeprefix("given_") for name in header if name.startswith("given_")]
    for name, (rest, info) in parts.items():
        part = rest[: info["data_offsets"][1] - info["data_offsets"][0]]
        if name in ("image", "mask"):
            give_file(studio, part, second=name == "mask")
        else:
            give_file(studio, part, of=name, shape=info["shape"])
            came.append(name)
    if any(name.startswith("neighbour") for name in given):
        given.append("neighbours")
    message = {"kind": "settings", "made": {**made, "given": given}, "came": came}
    message |= {name: name in parts for name in ("image", "mask")}
    studio.controls.start._handle_custom_msg(message, [])
    return studio.controls.start.problem or studio.controls.start.message


LOADED = "The settings of the file are loaded."


def test_a_model_of_classes_has_a_picker_in_place_of_the_prompt(open_studio: Open) -> None:
    studio = open_studio("classes", label="animal 7")
    picker, fields = studio.inputs.panels["label"].widget, studio.controls.fields
    assert picker.names == [*ANIMALS] and picker.name == "animal 7"
    assert folded(fields["prompt"]) and folded(fields["negative_prompt"])
    picker.set_state({"name": "animal 3"})  # as a page does
    assert studio.label == "animal 3"
    studio.generate()
    trace = studio.wait(WAIT)
    assert trace.settings.label == "animal 3" and trace.settings.prompt == ""
    studio.label = 299
    assert picker.name == "animal 299"
    studio.label = None
    assert picker.name == ""
    studio.prompt = "animal 5"  # which these models take for a label
    assert (studio.label, studio.prompt, picker.name) == ("animal 5", "", "animal 5")


def test_another_model_has_other_panels_and_the_label_goes(open_studio: Open) -> None:
    studio = open_studio("classes", label=4)
    picker = studio.inputs.panels["label"].widget
    studio.manager.load("tiny")
    studio.model = "tiny"
    assert studio.label is None and studio.inputs.panels == {}
    assert picker.comm is None and not folded(studio.controls.fields["prompt"])
    studio.prompt = "a cat"
    studio.model = "classes"
    assert [*studio.inputs.panels] == ["label"]
    studio.generate()  # the prompt is hidden, and not given
    assert studio.wait(WAIT).settings.prompt == ""
    assert studio.prompt == "a cat"


def test_an_unknown_class_is_refused_and_marked(open_studio: Open) -> None:
    studio = open_studio("classes", label="zebra")
    picker = studio.inputs.panels["label"].widget
    assert picker.name == "zebra"  # as it was given
    studio.generate()
    with pytest.raises(InputError, match="zebra"):
        studio.wait(WAIT)
    assert "sdw-wrong" in picker._dom_classes and studio.state == "error"
    picker.set_state({"name": "animal 1"})
    assert "sdw-wrong" not in picker._dom_classes and studio.state == "idle"


def test_a_small_image_is_enlarged_and_compared(open_studio: Open) -> None:
    studio = open_studio("larger", prompt="a cat")
    panel, small = studio.inputs.panels["low_res"].widget, picture(8)
    holds_start = next(
        box
        for box in studio.controls.everything
        if studio.controls.start in getattr(box, "children", ())
    )
    assert folded(holds_start) and folded(studio.controls.fields["prompt"])
    studio.image = picture(16)  # hidden, and not given
    with pytest.raises(InputError, match="none was given"):
        studio.generate()
        studio.wait(WAIT)
    studio.low_res = small
    assert panel.small and panel.before and not panel.after
    studio.generate()
    trace = studio.wait(WAIT)
    assert trace.task == "super-resolution" and trace.image.size == (16, 16)
    title = studio.history.entries[0]["title"]
    assert "from a small image" in title and "strength" not in title
    assert panel.after and panel.results == 1
    panel._receive({"kind": "last"}, [])
    assert studio.low_res.tobytes() == trace.image.tobytes() and panel.after == b""
    panel._receive({"kind": "drop"}, [])
    assert studio.low_res is None and panel.small == b""
    studio.controls.start._take(small)  # a file that is dropped on the Studio
    assert studio.low_res.size == (8, 8)


def test_what_a_result_was_given_comes_back_with_it(open_studio: Open) -> None:
    studio = open_studio("classes", label="animal 1")
    studio.generate()
    studio.wait(WAIT)
    first = studio.history.entries[0]
    assert "animal 1" in first["title"] and "no prompt" not in first["title"]
    studio.label = "animal 2"
    studio._recall(first["id"])
    assert studio.label == "animal 1"


def test_values_of_a_batch_and_of_wrong_types_are_refused(open_studio: Open) -> None:
    studio = open_studio("tiny")
    for name, value in (
        ("label", ["cat", "dog"]),
        ("label", 1.5),
        ("boxes", [[("cat", (0, 0, 1, 1))], [("dog", (0, 0, 1, 1))]]),
        ("boxes", "cat"),
    ):
        with pytest.raises(InputError):
            setattr(studio, name, value)
    for value in (np.full((4, 4), 0.5), np.zeros(4, int), "map", np.zeros((0, 4), int)):
        with pytest.raises(ImageError):
            studio.label_map = value
    studio.label_map = np.ones((4, 4), np.uint8)
    with pytest.raises(ValueError, match="read-only"):
        studio.label_map[0, 0] = 2
    studio.neighbours = [picture(4), np.zeros((4, 4, 3), np.uint8)]
    assert [image.mode for image in studio.neighbours] == ["RGB", "RGB"]
    studio.neighbours = None
    assert studio.neighbours == ()


def test_a_model_shows_its_panels_before_it_is_loaded(
    zoo: ModelManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "config_of", lambda name: CONFIGS["classes"])
    zoo.unload("classes")
    studio = Studio(manager=zoo, model="classes", prompt="a cat")
    end = time.monotonic() + WAIT
    while not folded(studio.controls.fields["prompt"]):  # after the panels
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)
    assert "classes" not in zoo.loaded() and [*studio.inputs.panels] == ["label"]
    studio.close()
    assert studio.inputs.panels == {}


def test_only_models_that_are_here_have_configs(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"no weights")
    for name in ("", "a\0b", str(tmp_path), str(tmp_path / "a.safetensors"), "ana/model"):
        assert listing.config_of(name) is None
    config = listing.config_of("emoji")
    assert config is not None and config.size == 128 and isinstance(config.unet, UNetConfig)


def test_boxes_are_drawn_in_place_of_a_prompt(open_studio: Open) -> None:
    studio = open_studio("layout", boxes=[("cat", (0, 0, 0.5, 0.5))])
    panel = studio.inputs.panels["boxes"].widget
    assert panel.classes == THINGS and panel.size == (16, 16)
    assert panel.boxes == [("cat", (0, 0, 0.5, 0.5))]
    panel.boxes = [("dog", (0, 0, 1, 1)), ("cat", (0.25, 0.25, 0.5, 0.5))]  # as a person does
    assert studio.boxes == (("dog", (0, 0, 1, 1)), ("cat", (0.25, 0.25, 0.5, 0.5)))
    studio.generate()
    trace = studio.wait(WAIT)
    assert trace.settings.boxes == studio.boxes
    assert [word.text for word in trace.prompt_of(0).words] == ["dog", "cat"]
    assert studio.history.entries[0]["title"].startswith("dog, cat, seed")
    panel.clear()
    assert studio.boxes is None
    studio._recall(studio.history.entries[0]["id"])
    assert len(panel.boxes) == 2
    studio.width = 32
    assert panel.size == (32, 16)


def test_a_label_map_is_what_is_painted(open_studio: Open) -> None:
    studio = open_studio("maps")
    panel = studio.inputs.panels["label_map"].widget
    assert panel.classes == THINGS and not studio.label_map.any()  # as it is shown
    painted = np.zeros((16, 16), np.uint8)
    painted[:, 8:] = 2
    panel.map = painted
    assert np.array_equal(studio.label_map, painted)
    studio.generate()
    studio.wait(WAIT)
    panel.clear()
    assert not studio.label_map.any()
    studio._recall(studio.history.entries[0]["id"])
    assert np.array_equal(panel.map, painted)
    studio.width = 32
    assert panel.map.shape == (16, 32) and (panel.map[:, 16:] == 2).all()
    studio.manager.load("tiny")
    studio.model = "tiny"
    assert studio.label_map is None


def test_neighbours_are_given_as_long_as_they_are_on(open_studio: Open) -> None:
    studio = open_studio("near", neighbours=[picture(8), picture(8, 90)])
    panel = studio.inputs.panels["neighbours"].widget
    assert panel.most == 2 and [item["on"] for item in panel.items] == [True, True]
    panel._receive({"kind": "use", "id": panel.items[0]["id"], "on": False}, [])
    assert len(studio.neighbours) == 1 and len(panel.items) == 2
    studio.generate()
    trace = studio.wait(WAIT)
    assert [word.text for word in trace.prompt_of(0).words] == ["1"]
    panel._receive({"kind": "off"}, [])
    assert studio.neighbours == ()


def test_a_recorded_run_brings_its_label_map_back(open_studio: Open, tmp_path: Path) -> None:
    studio = open_studio("maps", guide=guides.colour("blue", (0, 0, 0.5, 1)), guide_scale=3)
    painted = np.zeros((16, 16), np.uint16)
    painted[:, 8:] = 2
    studio.label_map = painted
    studio.generate()
    trace = studio.wait(WAIT)
    studio.manager.load("tiny")
    studio.model, studio.guide, studio.guide_scale = "tiny", guides.smooth(), 1.0
    assert drop(studio, trace, tmp_path) == LOADED
    assert studio.model == "maps" and np.array_equal(studio.label_map, painted)
    assert np.array_equal(studio.inputs.panels["label_map"].widget.map, painted)
    assert (studio.guide, studio.guide_scale) == (guides.colour("blue", (0, 0, 0.5, 1)), 3)
    studio.generate()
    assert studio.wait(WAIT).image.tobytes() == trace.image.tobytes()
    said = drop(studio, trace, tmp_path, without="label_map")
    assert "It was also given a label map, which is not in the file." in said


def test_a_recorded_run_brings_its_neighbours_back(open_studio: Open, tmp_path: Path) -> None:
    studio = open_studio("near", neighbours=[picture(8), picture(8, 90)])
    studio.generate()
    trace = studio.wait(WAIT)
    studio.neighbours = [picture(4)]
    assert drop(studio, trace, tmp_path) == LOADED
    assert [image.tobytes() for image in studio.neighbours] == [
        image.tobytes() for image in trace.given_neighbours
    ]
    assert len(studio.neighbours) == 2
    said = drop(studio, trace, tmp_path, without="neighbour")
    assert "It was also given neighbours, which are not in the file." in said
    studio.neighbours = ()
    studio.generate()
    alone = studio.wait(WAIT)
    studio.neighbours = [picture(4)]
    assert drop(studio, alone, tmp_path) == LOADED and studio.neighbours == ()


def test_a_recorded_run_brings_its_small_image_back(open_studio: Open, tmp_path: Path) -> None:
    studio = open_studio("larger", low_res=picture(8))
    studio.generate()
    trace = studio.wait(WAIT)
    studio.manager.load("tiny")
    studio.model, studio.low_res = "tiny", None
    assert drop(studio, trace, tmp_path) == LOADED
    assert (studio.model, studio.image) == ("larger", None)
    assert studio.low_res.tobytes() == picture(8).tobytes()
    assert studio.inputs.panels["low_res"].widget.small
    began = studio.manager.load("tiny").generate(
        "a cat", image=picture(16), steps=2, strength=0.5, width=16, height=16
    )
    drop(studio, began, tmp_path)
    studio.model = "tiny"  # which is no name in records
    studio.image = None
    drop(studio, trace, tmp_path)
    assert studio.image is None and studio.low_res.size == (8, 8)


def test_what_no_file_keeps_is_named(open_studio: Open, tmp_path: Path) -> None:
    def darker(images: Any) -> Any:
        return images.mean((1, 2, 3))

    studio = open_studio("classes", label=3, guide=darker)
    studio.generate()
    trace = studio.wait(WAIT)
    said = drop(studio, trace, tmp_path)
    assert said.startswith(LOADED) and "darker: give it again, as studio.guide." in said
    assert studio.guide is None
    for guide, words in (({"name": "gravity"}, "A guide steered it"), ({}, ""), (None, "")):
        made = {**trace.record(), "guide": guide, "given": []}
        studio.controls.start._handle_custom_msg({"kind": "settings", "made": made}, [])
        assert words in studio.controls.start.message and studio.guide is None


@pytest.mark.parametrize("shape", [None, [2], [2, 2, 2], [3, 2], [-2, -2], ["2", 2], [0, 4]])
def test_a_damaged_label_map_is_refused(open_studio: Open, shape: Any) -> None:
    studio = open_studio("tiny")
    start, made = studio.controls.start, {"settings": {"prompt": "a dog", "seed": 3}}
    give_file(studio, bytes(8), of="label_map", shape=shape)
    message = {"kind": "settings", "made": made, "came": ["label_map"]}
    start._handle_custom_msg(message, [])
    assert start.problem == "The label map in the file is damaged."
    assert studio.prompt == "" and studio.image is None
    start._handle_custom_msg(message, [])  # what came is used once
    assert start.problem == "" and studio.prompt == "a dog"
    give_file(studio, bytes(8), of="something", shape=[2, 2])
    give_file(studio, bytes(8), of=["label_map"], shape=[2, 2])
    assert start._held == {}
