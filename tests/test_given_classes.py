"""Runs that are given classes, boxes, label maps, small images and neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_families import picture

import sdwidgets as sdw
from sdwidgets.configs import (
    TINY,
    BoxesConfig,
    ClassConfig,
    EmbedderConfig,
    LabelMapConfig,
    LowResolutionConfig,
    ModelConfig,
    NeighboursConfig,
    VisionConfig,
)
from sdwidgets.errors import ImageError, InputError
from sdwidgets.pictures import Start, as_label_map, map_at
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import Settings
from sdwidgets.trace.about import about

Make = Callable[[ModelConfig], LatentDiffusion]
NAMES = ("cat", "traffic light", "dog")
CAT = ("cat", (0.0, 0.0, 0.5, 1.0))
RUN: dict[str, Any] = {"steps": 2, "seed": 1, "sampler": "euler"}
WIDTH = TINY.context_width


def told(*embedders: EmbedderConfig) -> ModelConfig:
    """Return TINY with these embedders instead of its own, and a network that takes their parts."""
    config = replace(TINY, name="told", embedders=embedders, guidance_scale=2.0)
    unet = replace(
        TINY.unet, in_channels=4 + config.concat_width, context_dim=config.context_width or WIDTH
    )
    return replace(config, unet=unet)


CLASSES = told(ClassConfig(NAMES, WIDTH))
BOXES = told(BoxesConfig(NAMES, WIDTH, 1, 2, 4, most=4, vocab_size=32, length=14))
FACTOR = TINY.autoencoder.factor
MAPS = told(*TINY.embedders, LabelMapConfig(NAMES, FACTOR.bit_length() - 1))
ENLARGES = told(*TINY.embedders, LowResolutionConfig(levels=0))
VISION = VisionConfig(size=8, patch=4, width=8, layers=1, heads=2, hidden=8, projection_dim=WIDTH)
NEAR = told(NeighboursConfig(WIDTH, most=3, vision=VISION))


@pytest.mark.parametrize(
    ("config", "takes", "classes"),
    [
        (TINY, {"prompt", "image", "mask"}, ()),
        (CLASSES, {"label", "prompt", "image", "mask"}, NAMES),
        (BOXES, {"boxes", "image", "mask"}, NAMES),
        (MAPS, {"prompt", "label_map", "image", "mask"}, NAMES),
        (ENLARGES, {"prompt", "low_res"}, ()),
        (NEAR, {"neighbours", "image", "mask"}, ()),
    ],
)
def test_a_model_says_what_it_takes(
    make_model: Make, config: ModelConfig, takes: set[str], classes: tuple[str, ...]
) -> None:
    model = make_model(config)
    assert model.takes == takes | {"guide"} and model.classes == classes


@pytest.mark.parametrize(
    ("config", "given", "task"),
    [
        (TINY, {"prompt": "a cat"}, "text to image"),
        (CLASSES, {"label": "cat"}, "class to image"),
        (CLASSES, {}, "class to image"),
        (CLASSES, {"label": "cat", "image": picture(16, 16)}, "image to image"),
        (BOXES, {"boxes": [CAT]}, "layout to image"),
        (MAPS, {"label_map": np.zeros((16, 16), int)}, "label map to image"),
        (ENLARGES, {"low_res": picture(8, 8)}, "super-resolution"),
        (NEAR, {"neighbours": [picture(8, 8)]}, "neighbours to image"),
    ],
)
def test_a_run_says_in_words_what_it_does(
    make_model: Make, config: ModelConfig, given: dict[str, Any], task: str
) -> None:
    trace = make_model(config).generate(**given, **RUN)
    assert trace.task == task and trace.record()["task"] == task
    assert dict(about(trace))["task"].startswith(task)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("label", "cat"),
        ("boxes", [CAT]),
        ("label_map", np.zeros((16, 16), int)),
        ("low_res", picture(4, 4)),
        ("neighbours", [picture(8, 8)]),
    ],
)
def test_what_a_model_does_not_take_is_refused_with_what_it_does(
    tiny_model: LatentDiffusion, name: str, value: Any
) -> None:
    with pytest.raises(InputError, match=r"takes no .*\nIt takes a prompt, an image") as error:
        tiny_model.sample(**{name: value}, **RUN)
    assert error.value.parameter == name and str(error.value).count("\n") <= 2


def test_a_class_is_named_or_numbered_and_each_image_may_have_its_own(make_model: Make) -> None:
    model = make_model(CLASSES)
    trace = model.generate(label=["CAT", 1, None], **RUN)
    assert trace.settings.label == ("cat", "traffic light", None)
    assert len(trace.images) == 3
    alone = model.generate(label="Traffic  Light", **{**RUN, "seed": 2})
    assert alone.settings.label == "traffic light"
    difference = np.abs(alone.steps[-1].x_next - trace.steps[-1].x_next[1:2])
    assert difference.max() < 1e-3 * np.abs(alone.steps[-1].x_next).max()
    as_prompt = model.generate("traffic light", **{**RUN, "seed": 2})
    assert np.array_equal(as_prompt.steps[-1].x_next, alone.steps[-1].x_next)
    nothing = model.generate(**{**RUN, "seed": 2})
    assert not np.array_equal(nothing.steps[-1].x_next, alone.steps[-1].x_next)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"label": "cow"}, "Did you mean|Known: cat"),
        ({"label": 3}, "3 classes|no class 3"),
        ({"label": -1}, "name or the number"),
        ({"label": 1.5}, "name or the number"),
        ({"label": ["cat"], "seed": [1, 2]}, "disagree"),
        ({"boxes": [CAT]}, "takes no boxes"),
    ],
)
def test_a_wrong_class_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Settings(**given).checked(CLASSES)


@pytest.mark.parametrize(
    "boxes",
    [
        "cat",
        [("cat", (0, 0, 1, 1.1))],
        [("cat", (0, 0, 1))],
        [("cat", (0.5, 0, 0.5, 1))],
        [("cow", (0, 0, 1, 1))],
        [(3, (0, 0, 1, 1))],
        [("cat", (0, 0, float("nan"), 1))],
        [CAT] * 101,
    ],
)
def test_wrong_boxes_are_refused(boxes: Any) -> None:
    with pytest.raises(InputError) as error:
        Settings(boxes=boxes).checked(BOXES)
    assert error.value.parameter == "boxes" and str(error.value).count("\n") <= 2


def test_boxes_are_words_with_heat_maps_and_a_batch_may_have_several_layouts(
    make_model: Make, tmp_path: Path
) -> None:
    model = make_model(BOXES)
    light = ("Traffic light", np.array([1, 1, 0.5, 0.5]))
    trace = model.generate(boxes=[CAT, light, CAT], attention=True, **RUN)
    corners = (0.5, 0.5, 1.0, 1.0)  # in order
    assert trace.settings.boxes == (CAT, ("traffic light", corners), CAT)
    words = [word.text for word in trace.tokens[0].words]
    assert words == ["cat", "traffic light", "cat 2"]
    both, one = trace.heat_map("cat"), trace.heat_map("cat 2")
    assert both.shape == (16, 16) and one.max() > 0
    assert np.array_equal(one, trace.heat_map("cat", occurrence=1))
    assert np.array_equal(one, trace.heat_map(2))
    first = trace.heat_map("cat", occurrence=0)
    assert not np.array_equal(one, first)
    assert np.allclose(both, (one + first) / 2, rtol=1e-3)
    again = sdw.Trace.load(trace.save(tmp_path / "boxes.sdtrace"))
    assert again.settings == trace.settings
    assert again.tokens == trace.tokens
    several = model.generate(boxes=[[CAT], []], **RUN)
    assert len(several.images) == 2 and several.settings.layouts == ((CAT,), ())
    assert several.settings.of_picture(1).boxes == ()


def test_what_is_not_a_prompt_cannot_be_replaced_in_it(make_model: Make) -> None:
    trace = make_model(BOXES).generate(boxes=[CAT], attention=True, **RUN)
    for ask in (
        lambda: trace.ablate("cat", "dog"),
        lambda: trace.editing("cat", "dog"),
    ):
        with pytest.raises(InputError, match="not of a prompt"):
            ask()


def test_a_label_map_is_brought_to_the_images_size_and_kept(
    make_model: Make, tmp_path: Path
) -> None:
    model = make_model(MAPS)
    small = np.array([[0, 1], [2, 0]])
    trace = model.generate("a cat", label_map=small, **RUN)
    assert trace.given_label_map is not None
    assert np.array_equal(trace.given_label_map, small.repeat(8, 0).repeat(8, 1))
    image = model.generate("a cat", label_map=Image.fromarray(small.astype(np.uint8)), **RUN)
    other = model.generate("a cat", label_map=np.zeros((16, 16)), **RUN)
    last = trace.steps[-1].x_next
    assert np.array_equal(last, image.steps[-1].x_next)
    assert not np.array_equal(last, other.steps[-1].x_next)
    again = sdw.Trace.load(trace.save(tmp_path / "map.sdtrace"))
    assert np.array_equal(again.given_label_map, trace.given_label_map)  # type: ignore[arg-type]
    same = again.branch(0, model=model, exact=True)
    assert np.allclose(same.steps[-1].x_next, last, atol=1e-4)
    assert "label_map" in trace.record()["given"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.full((4, 4), 3), "number 3"),
        (np.full((4, 4), -1), "whole numbers"),
        (np.full((4, 4), 0.5), "whole numbers"),
        (np.full((4, 4), np.nan), "whole numbers"),
        (np.zeros((4, 4, 3)), r"\[H, W\]"),
        (picture(4, 4), "mode RGB"),
        ([[0, 1]], r"\[H, W\]"),
        ("no such file.png", "no image file"),
        (b"nothing", "cannot be read"),
        (None, "none was given"),
    ],
)
def test_a_wrong_label_map_is_refused(make_model: Make, value: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_model(MAPS).sample(label_map=value, **RUN)


def test_label_maps_follow_the_fit_of_images() -> None:
    wide = np.arange(8, dtype=np.uint16)[None].repeat(4, 0)
    assert map_at(wide, 4, 4)[0].tolist() == [2, 3, 4, 5]
    assert map_at(wide, 4, 4, "stretch")[0].tolist() == [0, 2, 4, 6]
    assert map_at(wide, 8, 8, "pad").shape == (8, 8)
    assert as_label_map(np.ones((2, 2), bool)).dtype == np.uint16


def test_a_small_image_is_enlarged(make_model: Make) -> None:
    model = make_model(ENLARGES)
    small = picture(6, 4)
    trace = model.generate(low_res=small, **RUN)
    assert trace.image.size == (6 * FACTOR, 4 * FACTOR)
    assert trace.given_image is not None and trace.given_image.size == (6, 4)
    same = model.generate(image=small, **RUN)
    assert np.array_equal(trace.steps[-1].x_next, same.steps[-1].x_next)
    with pytest.raises(InputError, match="Give low_res="):
        model.sample(**RUN)
    with pytest.raises(InputError, match="both are the image"):
        model.sample(low_res=small, image=small, **RUN)


def test_neighbours_are_seen_kept_and_have_heat_maps(make_model: Make, tmp_path: Path) -> None:
    model = make_model(NEAR)
    near = [picture(8, 8), picture(20, 9)]
    trace = model.generate(neighbours=near, attention=True, **RUN)
    assert [one.size for one in trace.given_neighbours] == [(8, 8), (20, 9)]
    assert [word.text for word in trace.tokens[0].words] == ["1", "2"]
    assert trace.heat_map("2").shape == (16, 16)
    again = sdw.Trace.load(trace.save(tmp_path / "near.sdtrace"))
    for one, other in zip(again.given_neighbours, near, strict=True):
        assert np.array_equal(np.asarray(one), np.asarray(other))
    alone = model.generate(neighbours=near[:1], **RUN)
    without = model.generate(neighbours=[], **RUN)
    assert without.given_neighbours == ()
    assert len({one.steps[-1].x_next.tobytes() for one in (trace, alone, without)}) == 3
    with pytest.raises(InputError, match="up to 3 neighbours"):
        model.sample(neighbours=near * 2, **RUN)
    with pytest.raises(InputError, match="must be a list"):
        model.sample(neighbours=near[0], **RUN)
    with pytest.raises(ImageError):
        model.sample(neighbours=["no such file.png"], **RUN)


def test_a_large_neighbour_is_made_smaller() -> None:
    large = Image.new("RGB", (3000, 1500))
    start = Start.of(None, neighbours=[large])
    assert start is not None and start.neighbours[0].size == (1024, 512)
    assert large.size == (3000, 1500)


def test_guidance_leads_away_from_no_class_no_layout_no_map_and_no_neighbours(
    make_model: Make,
) -> None:
    for config, given in (
        (CLASSES, {"label": "cat"}),
        (BOXES, {"boxes": [CAT]}),
        (MAPS, {"label_map": np.ones((16, 16), int)}),
        (NEAR, {"neighbours": [picture(8, 8)]}),
    ):
        run = make_model(config).sample(**given, **RUN)  # type: ignore[arg-type]
        prompted, away = run._pass.told.given
        names = ("label", "boxes", "label_map", "neighbours")
        assert [name for name in names if getattr(prompted, name) is not None] == [*given]
        assert all(getattr(away, name) is None for name in names)
        step = next(run)
        assert step.cond is not None and step.uncond is not None
        assert not torch.equal(step.cond, step.uncond)


def test_a_guide_is_named_in_the_record_and_kept_with_it(make_model: Make, tmp_path: Path) -> None:
    def redder(images: torch.Tensor) -> torch.Tensor:
        return -images[:, 0].mean((1, 2))

    model = make_model(TINY)
    trace = model.generate("a cat", guide=redder, guide_scale=2.0, **RUN)
    own = {"name": "function", "function": redder.__qualname__}
    assert trace.given_guide == own and trace.guide is redder
    assert "guide" in trace.record()["given"]
    same = trace.branch(1)
    assert np.array_equal(same.steps[-1].x_next, trace.steps[-1].x_next)
    again = sdw.Trace.load(trace.save(tmp_path / "guided.sdtrace"))
    assert again.given_guide == trace.given_guide and again.settings.guide_scale == 2
    with pytest.raises(InputError, match="Give it again: guide="):
        again.branch(1, model=model)
    ready = model.generate("a cat", guide=sdw.guides.colour("red"), guide_scale=2.0, **RUN)
    loaded = sdw.Trace.load(ready.save(tmp_path / "ready.sdtrace"))
    assert loaded.guide == sdw.guides.colour("red")
    made = loaded.branch(0, model=model)
    assert np.allclose(made.steps[-1].x_next, ready.steps[-1].x_next, rtol=1e-3, atol=1e-3)
    given = again.branch(0, model=model, guide=redder)
    assert np.allclose(given.steps[-1].x_next, trace.steps[-1].x_next, rtol=1e-3, atol=1e-3)
