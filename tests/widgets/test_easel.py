"""The Painter inside the Studio: the start image at the run's size, masks by hand and from maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdwidgets.errors import InputError
from sdwidgets.widgets import Painter, Studio

WAIT = 60  # seconds, never reached
Say = Callable[[Any, Any], None]


def picture(width: int = 16, height: int = 16) -> Image.Image:
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([8 * rows % 256, 8 * columns % 256, 4 * (rows + columns) % 256], -1)
    return Image.fromarray(pixels.astype(np.uint8))


def box(size: tuple[int, int], area: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("L", size)
    mask.paste(255, area)
    return mask


@pytest.fixture
def painting(studio: Studio, say: Say) -> tuple[Studio, Painter]:
    studio.image = picture()
    say(studio.controls.start, {"kind": "paint"})
    assert studio.easel.painter is not None
    return studio, studio.easel.painter


def test_it_opens_below_the_start_image_and_closes_again(studio: Studio, say: Say) -> None:
    start, before, place = studio.controls.start, studio.children, studio.controls.easel
    studio.image = picture()
    say(start, {"kind": "paint"})
    painter = studio.easel.painter
    assert painter is not None and start.painting
    assert place.children == (painter,) and "sdw-folded" not in place.get_state()["_dom_classes"]
    assert studio.children == before  # a page draws nothing else again
    painter.mask = box((16, 16), (0, 0, 4, 4))
    say(start, {"kind": "paint"})
    assert (place.children, start.painting, painter.comm) == ((), False, None)
    assert studio.mask is not None  # what was painted stays
    say(start, {"kind": "paint"})
    again = studio.easel.painter
    assert again is not None and again.mask.tobytes() == studio.mask.tobytes()
    say(start, {"kind": "drop"})  # without an image there is nothing to paint on
    assert (studio.easel.painter, again.comm) == (None, None)


def test_what_is_painted_is_what_the_run_changes(painting: tuple[Studio, Painter]) -> None:
    studio, painter = painting
    mask = box((16, 16), (8, 0, 16, 16))
    painter.mask = mask
    assert studio.mask.tobytes() == mask.tobytes()
    studio.strength = 1
    studio.generate()
    trace = studio.wait(WAIT)
    assert trace.task == "inpainting"
    made, given = np.asarray(trace.image), np.asarray(picture())
    assert (made[:, :8] == given[:, :8]).all() and (made[:, 8:] != given[:, 8:]).any()
    painter.invert()
    assert np.asarray(studio.mask)[:, :8].all()
    painter.undo()
    assert studio.mask.tobytes() == mask.tobytes()
    studio.mask = None
    assert painter.mask is None


def test_it_paints_in_the_pixels_of_the_run(studio: Studio, say: Say) -> None:
    studio.image = picture(64, 32)
    say(studio.controls.start, {"kind": "paint"})
    painter = studio.easel.painter
    assert painter is not None and painter.image.size == (16, 16)
    assert studio.image.size == (64, 32)  # it is as it was until something is painted
    studio.width = 32
    assert painter.image.size == (32, 16)
    studio.fit = "stretch"
    painter.mask = box((32, 16), (0, 0, 8, 16))
    assert studio.image.size == studio.mask.size == (32, 16)
    studio.width = 16
    assert painter.image.size == (16, 16)
    assert np.asarray(painter.mask)[:, :4].all() and not np.asarray(painter.mask)[:, 4:].any()


def test_an_edge_that_is_dragged_is_new_area_and_the_image_keeps_its_size(
    painting: tuple[Studio, Painter],
) -> None:
    studio, painter = painting
    painter.pad = (0, 0, 8, 0)
    assert studio.pad == (0, 0, 8, 0) and (studio.width, studio.height) == (24, 16)
    assert painter.image.size == (16, 16)
    studio.generate()
    assert studio.wait(WAIT).image.size == (24, 16)
    painter.pad = (0, 0, 0, 0)
    assert studio.pad is None and studio.width == 16
    studio.pad = (8, 0, 0, 0)
    assert painter.pad == (8, 0, 0, 0) and painter.image.size == (16, 16)


def test_an_image_dropped_on_the_painter_is_the_start_image(
    painting: tuple[Studio, Painter],
) -> None:
    studio, painter = painting
    painter.mask = box((16, 16), (0, 0, 4, 4))
    painter.image = picture(48, 48)
    assert studio.image.size == (48, 48) and studio.mask is None
    assert painter.image.size == (16, 16) and painter.mask is None


def test_a_mask_from_a_word_of_the_last_result(studio: Studio, say: Say) -> None:
    start = studio.controls.start
    assert (start.results, start.words) == (0, [])
    studio.prompt = "a cat, a dog"
    studio.generate()
    trace = studio.wait(WAIT)
    assert start.results == 1 and "cat" in start.words
    say(start, {"kind": "word", "word": "cat"})
    assert "no start image" in start.problem
    say(start, {"kind": "last"})
    assert studio.image.tobytes() == trace.image.tobytes()
    say(start, {"kind": "word", "word": "cat"})
    painter = studio.easel.painter
    assert painter is not None and painter.mapped and start.problem == ""
    wanted = trace.heat_map("cat", scale="picture")
    painter.threshold = 0.75
    inside = np.asarray(studio.mask) > 0
    assert inside.any() and not inside.all()
    assert wanted[inside].min() > wanted[~inside].max() - 0.01  # eight bits
    say(start, {"kind": "word", "word": "horse"})
    assert "not a word of the prompt" in start.problem


def test_a_mask_from_the_last_change(studio: Studio, say: Say) -> None:
    start = studio.controls.start
    for seed in (1, 2):
        studio.seed = seed
        studio.generate()
        studio.wait(WAIT)
    assert start.results == 2
    say(start, {"kind": "last"})
    say(start, {"kind": "change"})
    one, other = (np.asarray(result.trace.image, np.float32) for result in studio.history.results)
    painter = studio.easel.painter
    assert painter is not None
    painter.threshold = 0.5
    wanted = np.abs(one - other).max(-1) >= np.ceil(0.5 * 255)
    assert (
        np.asarray(painter.mask if painter.mask else Image.new("L", (16, 16))) > 0
    ).tolist() == (wanted.tolist())


def test_painting_without_an_image_is_refused_in_words(studio: Studio, say: Say) -> None:
    with pytest.raises(InputError, match="no start image"):
        studio.easel.open()
    say(studio.controls.start, {"kind": "paint"})
    assert "no start image" in studio.controls.start.problem
    say(studio.controls.start, {"kind": "last"})  # there is no result yet
    say(studio.controls.start, {"kind": "change"})
    assert studio.image is None and studio.easel.painter is None


def test_closing_the_studio_closes_the_painter(make_studio: Callable[..., Studio]) -> None:
    studio = make_studio(image=picture())
    studio.easel.open()
    painter = studio.easel.painter
    studio.close()
    assert painter is not None and painter.comm is None
