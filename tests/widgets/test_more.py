"""The Studio's "More settings": which are shown, what their fields say, and what runs take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
from PIL import Image

from sdwidgets.configs import SDXL, TINY
from sdwidgets.errors import InputError
from sdwidgets.settings import Settings
from sdwidgets.trace.images import encode_png
from sdwidgets.widgets import Studio
from sdwidgets.widgets.more import MORE, Situation, taken, written
from sdwidgets.widgets.setting import SETTINGS

WAIT = 60  # seconds, never reached

VALUES: dict[str, tuple[str, Any]] = {
    "variation": ("7, 0.25", (7, 0.25)),
    "toward": ("a dog, left of a car, 0.5", ("a dog, left of a car", 0.5)),
    "guidance_rescale": ("0.5", 0.5),
    "eta": ("0.5", 0.5),
    "s_noise": ("1.25", 1.25),
    "s_churn": ("3", 3.0),
    "start_step": ("1", 1),
    "end_step": ("3", 3),
    "sigmas": ("14, 3 0.5,0", (14.0, 3.0, 0.5, 0.0)),
    "window": ("16", 16),
    "pad": ("8 0 8 16", (8, 0, 8, 16)),
    "hires": ("1.5", 1.5),
    "hires_strength": ("0.5", 0.5),
    "hires_steps": ("3", 3),
    "hires_method": ("pixels", "pixels"),
    "original_size": ("64, 32", (64, 32)),
    "crop": ("0, 4", (0, 4)),
    "target_size": ("64, 32", (64, 32)),
}


def enter(studio: Studio, name: str, text: Any) -> None:
    """Fill in a field, as the page does."""
    studio.controls.further._handle_custom_msg({"kind": "set", "name": name, "value": text}, [])


def shown(studio: Studio) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in studio.controls.further.rows}


def test_every_setting_of_a_run_has_a_control_but_for_what_the_studio_cannot_do() -> None:
    assert {each.name for each in fields(Settings)} - {*SETTINGS} == {"refiner_start"}
    assert {*VALUES} == {*MORE} <= {*SETTINGS}


@pytest.mark.parametrize("name", MORE)
def test_a_field_and_its_trait_are_one(studio: Studio, name: str) -> None:
    text, value = VALUES[name]
    usual = getattr(studio, name)
    enter(studio, name, text)
    assert getattr(studio, name) == value
    assert studio.controls.further.texts[name] == written(name, value)
    assert studio.error is None
    enter(studio, name, "latents" if name == "hires_method" else "")
    assert getattr(studio, name) == usual == getattr(Settings, name)
    setattr(studio, name, value)
    enter(studio, name, studio.controls.further.texts[name])  # what it shows means the same
    assert getattr(studio, name) == value
    setattr(studio, name, None)
    assert studio.controls.further.texts[name] == ("latents" if name == "hires_method" else "")


def test_what_a_run_takes_follows_the_sampler_the_image_and_the_second_pass(studio: Studio) -> None:
    always = {
        "variation",
        "toward",
        "guidance_rescale",
        "start_step",
        "end_step",
        "sigmas",
        "window",
        "hires",
    }
    studio.sampler = "dpmpp_2m"
    assert {*shown(studio)} == always
    studio.sampler = "euler_ancestral"
    assert {*shown(studio)} == always | {"eta", "s_noise"}
    assert shown(studio)["eta"]["usual"] == "1"
    studio.sampler = "tcd"
    assert {*shown(studio)} == always | {"eta"} and shown(studio)["eta"]["usual"] == "0.3"
    studio.image = Image.new("RGB", (16, 16))
    assert "pad" in shown(studio)
    studio.hires = 2
    second = {name for name in MORE if name.startswith("hires_")}
    assert {*shown(studio)} == (always | {"eta", "pad", *second}) - {"start_step", "end_step"}
    assert shown(studio)["hires_steps"]["usual"] == str(studio.steps)
    assert shown(studio)["hires_method"]["among"] == ["latents", "pixels"]


def test_sizes_are_told_to_models_that_are_conditioned_on_them() -> None:
    told = {"original_size", "crop", "target_size"}
    assert not told & {*taken(Situation(Settings(), TINY))}
    assert told <= {*taken(Situation(Settings(), SDXL))}


@pytest.mark.parametrize(
    ("name", "text"),
    [("eta", "much"), ("eta", "1.5"), ("variation", "7"), ("toward", "dog"), ("hires", "1"),
     ("sigmas", "1, 2"), ("window", "1.5"), ("end_step", "0"), ("pad", "1, 2, 3"),
     ("s_noise", "nan")],
)  # fmt: skip
def test_a_wrong_text_stays_marked_and_no_run_starts_until_it_is_corrected(
    studio: Studio, name: str, text: str
) -> None:
    studio.sampler = "euler_ancestral"
    before = getattr(studio, name)
    if name == "pad":
        studio.image = Image.new("RGB", (16, 16))
    enter(studio, name, text)
    view = studio.controls.further
    assert (view.wrong, view.unfolded, studio.controls.more.value) == (name, True, True)
    assert shown(studio)[name]["value"] == text
    assert getattr(studio, name) == before
    with pytest.raises(InputError) as refused:
        studio.generate()
    assert refused.value.parameter == name
    enter(studio, name, "")
    assert (view.wrong, studio.error, studio.state) == ("", None, "idle")


def test_a_field_that_is_hidden_holds_no_run_up(studio: Studio) -> None:
    studio.sampler = "euler_ancestral"
    enter(studio, "eta", "x")
    studio.sampler = "dpmpp_2m"
    assert studio.controls.wrong is None
    studio.sampler = "ddim"
    assert shown(studio)["eta"]["value"] == ""


def test_a_run_has_the_settings_that_it_takes_and_no_others(studio: Studio, model: Any) -> None:
    studio.sampler, studio.eta, studio.variation = "euler_ancestral", 0.5, (7, 0.25)
    studio.generate()
    trace = studio.wait(WAIT)
    assert (trace.settings.eta, trace.settings.variation) == (0.5, (7, 0.25))
    alone = model.generate(**trace.settings.as_dict())
    assert trace.image.tobytes() == alone.image.tobytes()
    studio.sampler = "dpmpp_2m"  # it has no eta, and its field is gone
    studio.generate()
    assert studio.wait(WAIT).settings.eta is None
    assert studio.eta == 0.5


def test_noise_levels_by_hand_take_the_place_of_steps_and_grid(studio: Studio) -> None:
    studio.schedule = "karras"
    enter(studio, "sigmas", "10, 2, 0.5, 0")
    assert (studio.steps, studio.schedule) == (3, "default")
    studio.generate()
    trace = studio.wait(WAIT)
    assert trace.settings.sigmas == (10, 2, 0.5, 0) and len(trace.steps) == 3
    studio.steps = 5
    assert studio.sigmas is None
    studio.generate()
    assert len(studio.wait(WAIT).steps) == 5


def test_an_image_of_two_passes_is_shown_at_its_size(studio: Studio) -> None:
    studio.hires = 2
    assert studio.view.shape == [32, 32]
    studio.generate()
    trace = studio.wait(WAIT)
    assert trace.size == (32, 32)
    assert studio.view.shape == [32, 32] and len(studio.view.pictures) == 1
    assert (studio.width, studio.height) == (16, 16)
    studio.hires = None
    studio.generate()
    studio.wait(WAIT)
    assert studio.view.shape == [16, 16]
    studio.history._handle_custom_msg({"kind": "recall", "id": studio.history.entries[0]["id"]}, [])
    assert (studio.hires, studio.view.shape) == (2, [32, 32])


def test_a_file_s_settings_come_back(studio: Studio, make_studio: Callable[..., Studio]) -> None:
    given = {"sampler": "euler_ancestral", "eta": 0.5, "hires": 2.0, "hires_method": "pixels"}
    settings = Settings(prompt="a dog", seed=9, variation=(4, 0.5), **given)  # type: ignore[arg-type]
    record = {"model": "tiny", "settings": settings.as_dict(), "settings_format": 4}
    start = studio.controls.start
    file = encode_png(Image.new("RGB", (16, 16)), record)
    part = {"kind": "file", "name": "a.png", "size": len(file), "part": 0, "parts": 1}
    start._handle_custom_msg(part, [file])
    start._handle_custom_msg({"kind": "restore"}, [])
    assert start.message == "The settings of the file are loaded."
    assert {name: getattr(studio, name) for name in given} == given
    assert studio.variation == (4, 0.5)
    assert shown(studio)["variation"]["value"] == "4, 0.5"


@pytest.mark.parametrize(
    "message",
    [None, 3, {}, {"kind": "set"}, {"kind": ["set"]}, {"kind": "set", "name": "eta", "value": 1},
     {"kind": "set", "name": "prompt", "value": "x"},
     {"kind": "set", "name": ["eta"], "value": "1"}],
)  # fmt: skip
def test_what_is_no_field_is_ignored(studio: Studio, message: Any) -> None:
    before = studio.settings
    studio.controls.further._handle_custom_msg(message, [])
    assert studio.settings == before and studio.error is None
