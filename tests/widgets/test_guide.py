"""A guide in the Studio: chosen in its row or from Python, sent with the run, and brought back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image

from sdwidgets import guides
from sdwidgets.errors import InputError
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.widgets import Studio

WAIT = 60  # seconds, never reached


def darker(images: torch.Tensor) -> torch.Tensor:
    return images.mean((1, 2, 3))


def folded(widget: Any) -> bool:
    return "sdw-folded" in widget._dom_classes


def offered(studio: Studio) -> list[str]:
    return [name for _, name in studio.controls.guide.kind.options]


def choose(studio: Studio, **fields: Any) -> None:
    """Set fields of the row, as the page does."""
    for name, value in fields.items():
        getattr(studio.controls.guide, name).value = value


def test_a_guide_steers_the_run_and_its_record_keeps_it(
    studio: Studio, model: LatentDiffusion
) -> None:
    studio.guide, studio.guide_scale = guides.colour("blue"), 4
    studio.generate()
    trace = studio.wait(WAIT)
    assert trace.given_guide == guides.plain(guides.colour("blue"))
    assert trace.settings.guide_scale == 4
    settings = trace.settings.as_dict()
    alone = model.generate(**settings, guide=guides.colour("blue"))
    assert trace.image.tobytes() == alone.image.tobytes()
    assert "guide colour, scale 4" in studio.history.entries[0]["title"]
    studio.guide = None
    studio.generate()
    unguided = studio.wait(WAIT)
    assert unguided.given_guide is None
    assert unguided.settings.guide_scale == 1  # it is not on show, and of no run without a guide
    assert unguided.image.tobytes() != trace.image.tobytes()
    studio._recall(studio.history.entries[0]["id"])
    assert (studio.guide, studio.guide_scale) == (guides.colour("blue"), 4)


def test_the_row_is_behind_more_until_a_guide_steers(studio: Studio) -> None:
    row = studio.controls.guide
    assert folded(row.box) and row.box in studio.children
    studio.controls.more.value = True
    assert not folded(row.box)
    assert all(map(folded, (row.colour, row.slider, row.scale, row.through)))
    assert offered(studio) == ["none", "colour", "vertical", "horizontal", "smooth"]
    choose(studio, kind="colour")
    assert studio.guide == guides.colour("red")
    assert not any(map(folded, (row.colour, row.slider, row.scale, row.through)))
    choose(studio, colour="#00ff00", through=False)
    assert studio.guide == guides.colour("#00ff00", through=False)
    studio.controls.more.value = False
    assert not folded(row.box)
    choose(studio, kind="none")
    assert studio.guide is None and folded(row.box)


@pytest.mark.parametrize(
    ("kind", "guide"),
    [("vertical", guides.symmetric()), ("horizontal", guides.symmetric("horizontal")),
     ("smooth", guides.smooth())],
)  # fmt: skip
def test_a_choice_and_the_trait_are_one(studio: Studio, kind: str, guide: Any) -> None:
    row = studio.controls.guide
    choose(studio, kind=kind)
    assert studio.guide == guide and folded(row.colour)
    studio.guide = None
    assert row.kind.value == "none"
    studio.guide = type(guide)(**({"axis": kind} if kind != "smooth" else {}), through=False)
    assert (row.kind.value, row.through.value) == (kind, False)


def test_the_start_image_is_a_guide_that_follows_it(studio: Studio) -> None:
    red, blue = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    assert "like" not in offered(studio)
    studio.image = red
    assert "like" in offered(studio)
    choose(studio, kind="like")
    assert studio.guide == guides.like(red)
    studio.image = blue
    assert studio.guide == guides.like(blue)
    studio.image = None
    assert studio.guide == guides.like(blue)  # it has its own copy
    assert studio.controls.guide.kind.value == "like"
    own = guides.like(red, 4)
    studio.guide = own
    studio.image = blue
    assert studio.guide is own  # from Python
    choose(studio, through=False)
    assert studio.guide == guides.like(red, 4, through=False)


def test_a_function_is_a_guide_with_its_name(studio: Studio) -> None:
    row = studio.controls.guide
    studio.guide = darker
    assert row.kind.value == "own" and dict(row.kind.options)["your own: darker"] == "own"
    assert folded(row.through) and not folded(row.scale)
    studio.generate()
    assert studio.wait(WAIT).given_guide == {"name": "function", "function": "darker"}
    choose(studio, kind="smooth")
    assert offered(studio)[-1] == "smooth" and studio.guide == guides.smooth()
    studio.guide = guides.together(guides.smooth(), guides.colour("red"))
    assert dict(row.kind.options)["your own: together"] == "own"


def test_a_colour_of_a_part_of_the_image_keeps_its_part(studio: Studio) -> None:
    part = (0, 0, 0.5, 1)
    studio.guide = guides.colour("rgb(0, 0, 255)", part)
    assert studio.controls.guide.colour.value == "#0000ff"
    choose(studio, colour="green")
    assert studio.guide == guides.colour("green", part)


def test_how_much_it_steers_is_a_field_and_a_slider(studio: Studio) -> None:
    row = studio.controls.guide
    studio.guide = guides.smooth()
    row.slider.value = 10.0
    assert (studio.guide_scale, row.scale.value) == (10, 10)
    row.scale.value = 0.5
    assert (studio.guide_scale, round(row.slider.value, 6)) == (0.5, 0.5)
    studio.guide_scale = 5000.0
    assert row.scale.value == 5000 and row.slider.value == 100  # its end
    studio.guide_scale = 0.0
    assert (row.scale.value, studio.guide_scale) == (0, 0)
    studio.guide_scale = -1.0
    with pytest.raises(InputError, match="guide_scale"):
        studio.generate()
        studio.wait(WAIT)
    assert "sdw-wrong" in row.scale._dom_classes and studio.controls.more.value
    row.scale.value = 1.0
    assert studio.state == "idle" and studio.error is None


@pytest.mark.parametrize("guide", ["red", 3, [darker]])
def test_what_is_no_function_is_refused(studio: Studio, guide: Any) -> None:
    with pytest.raises(InputError, match="guide must be a function"):
        studio.guide = guide
    assert studio.guide is None


def test_a_guide_that_gives_no_losses_marks_its_row(
    make_studio: Callable[..., Studio],
) -> None:
    studio = make_studio(guide=lambda images: images.mean())
    studio.generate()
    with pytest.raises(InputError, match="a loss for each image"):
        studio.wait(WAIT)
    kind = studio.controls.guide.kind
    assert "sdw-wrong" in kind._dom_classes
    studio.guide = darker
    assert "sdw-wrong" not in kind._dom_classes and studio.error is None
