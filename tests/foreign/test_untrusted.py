"""Images of strangers: limits, wrong shapes, and nothing that a file says is run."""

from __future__ import annotations

import json
import random

import pytest
from foreign_images import A1111, comfyui, exif_image, graph, late_png, png, stealth_png

import sdwidgets as sdw
from sdwidgets.foreign import FoundSettings, read
from sdwidgets.foreign.found import LONGEST, MOST
from sdwidgets.foreign.texts import LONGEST as LONGEST_TEXT
from sdwidgets.settings import Settings


def test_found_settings_make_a_run():
    settings = sdw.read_settings(png(parameters=A1111))
    assert Settings(**settings.as_dict()).checked() == Settings(**settings.as_dict())


def test_own_settings_come_first(tiny_model):
    trace = tiny_model.generate("a cat", steps=1, seed=3)
    settings = sdw.read_settings(trace.png())
    assert settings == trace.settings and not isinstance(settings, FoundSettings)


def test_an_image_that_says_nothing_is_refused():
    with pytest.raises(sdw.ImageError, match="no settings inside"):
        sdw.read_settings(png())


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"x" * 100])
def test_a_broken_file_is_refused(data):
    with pytest.raises(sdw.ImageError, match="No settings can be read"):
        sdw.read_settings(data)


@pytest.mark.parametrize(
    "texts",
    [
        {"prompt": "{"},
        {"prompt": "[]"},
        {"prompt": json.dumps({"3": 5, "4": {"inputs": []}})},
        {"prompt": "{" * 5000},
        {"prompt": '{"a":' * 5000 + "1" + "}" * 5000},
        {"workflow": json.dumps({"nodes": [1, {"inputs": [3]}], "links": [[1], 2]})},
        {"sd__metadata": json.dumps([1])},
        {"invokeai_metadata": "nothing"},
        {"Comment": json.dumps({"prompt": "an ordinary comment"})},
        {"parameters": "an ordinary text"},
        {"Dream": ""},
    ],
)
def test_texts_of_other_shapes_say_nothing(texts):
    assert read(png(**texts)) is None


@pytest.mark.parametrize(
    "said",
    [
        {"invokeai_metadata": json.dumps({"positive_prompt": [1], "loras": {"a": 1}, "model": 3})},
        {"sd__metadata": json.dumps({"image": {"prompt": [7], "steps": {}, "sampler": []}})},
        {"parameters": json.dumps({"base_model": 5, "loras": [[1, 2], 3], "resolution": [1]})},
        {"Comment": json.dumps({"uc": 5, "steps": "x", "v4_prompt": [1], "seed": 1e308})},
        {"Dream": '"a cat" -s'},
        {"Dream": "a cat -s 'open"},
    ],
)
def test_values_of_other_types_are_left_out(said):
    settings = sdw.read_settings(png(**said))
    assert isinstance(settings, FoundSettings)
    assert Settings(**settings.as_dict()).checked()


def test_what_is_listed_has_limits():
    line = ", ".join(
        f"Key{letter} {number}: {'x' * 500}" for letter in "ab" for number in range(90)
    )
    left_out = sdw.read_settings(png(parameters=f"a cat\nSteps: 20, {line}")).left_out
    assert len(left_out) == MOST + 1
    assert all(len(value) <= LONGEST for value in left_out.values())


def test_a_text_beyond_the_limit_is_not_read():
    assert read(late_png("parameters", "x" * LONGEST_TEXT + A1111)) is None


def test_a_hidden_text_that_unpacks_beyond_the_limit_is_not_read():
    assert read(stealth_png("x" * (LONGEST_TEXT + 10) + A1111, packed=True)) is None


def test_code_in_a_value_is_a_text():
    text = "Fooocus: __import__('os').system('true')"
    said = {"base_model": "m", "resolution": "__import__('os')", "prompt": text, "seed": "1"}
    settings = sdw.read_settings(png(parameters=json.dumps(said)))
    assert settings.prompt == text
    assert settings.left_out["resolution"] == "__import__('os')"


def test_a_grammar_of_brackets_takes_no_time():
    # a pattern that goes back would need years for this
    line = "Steps: 20, X: " + "[{(" * 20_000 + ", Seed: 4"
    assert sdw.read_settings(png(parameters=f"a cat\n{line}")).steps == 20


@pytest.mark.parametrize("number", range(8))
def test_mutated_files_are_read_or_refused(number):
    draw = random.Random(number)
    whole = [
        png(parameters=A1111),
        comfyui(),
        exif_image("JPEG", b"UNICODE\0" + A1111.encode("utf-16-be")),
        exif_image("WEBP", Model="prompt:" + json.dumps(graph())),
        stealth_png(A1111, packed=True),
    ]
    for data in whole:
        for _ in range(20):
            changed = bytearray(data)
            for _ in range(draw.randrange(1, 6)):
                changed[draw.randrange(len(changed))] = draw.randrange(256)
            cut = bytes(changed[: draw.randrange(len(changed))] if draw.random() < 0.3 else changed)
            try:
                settings = sdw.read_settings(cut, partial=True)
            except sdw.InputError:
                continue
            assert Settings(**settings.as_dict()).checked()
