"""The Studio's start image with a mask and with new area around it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdwidgets.errors import ImageError, InputError
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.widgets import Studio

WAIT = 60  # seconds, never reached
Say = Callable[[Any, Any], None]


def picture(width: int = 16, height: int = 16) -> Image.Image:
    """An image whose pixels all differ."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([8 * rows % 256, 8 * columns % 256, 4 * (rows + columns) % 256], -1)
    return Image.fromarray(pixels.astype(np.uint8))


def right_half(width: int = 16, height: int = 16) -> Image.Image:
    mask = Image.new("L", (width, height))
    mask.paste(255, (width // 2, 0, width, height))
    return mask


def png_of(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def send(studio: Studio, file: bytes, **more: Any) -> None:
    message = {"kind": "file", "name": "a.png", "size": len(file), "part": 0, "parts": 1, **more}
    studio.controls.start._handle_custom_msg(message, [file])


def inpainted(make_studio: Callable[..., Studio]) -> Studio:
    studio = make_studio(image=picture(), mask=right_half(), strength=1.0)
    studio.generate()
    studio.wait(WAIT)
    return studio


def test_what_the_mask_leaves_out_is_kept(
    make_studio: Callable[..., Studio], model: LatentDiffusion
) -> None:
    studio = inpainted(make_studio)
    trace = studio.trace
    assert trace.task == "inpainting"
    made, given = np.asarray(trace.image), np.asarray(picture())
    assert (made[:, :8] == given[:, :8]).all() and (made[:, 8:] != given[:, 8:]).any()
    alone = model.generate(image=picture(), mask=right_half(), **trace.settings.as_dict())
    assert trace.image.tobytes() == alone.image.tobytes()
    assert "from an image inside a mask" in studio.history.entries[0]["title"]


def test_the_page_shows_how_much_is_painted_over_and_can_remove_it(
    studio: Studio, say: Say
) -> None:
    start = studio.controls.start
    studio.image = picture()
    plain = start.thumbnail
    studio.mask = np.asarray(right_half())
    assert start.masked == "50 % of it painted over"
    assert start.thumbnail != plain
    say(start, {"kind": "unmask"})
    assert (studio.mask, start.masked, start.thumbnail) == (None, "", plain)


def test_a_mask_goes_with_its_image(studio: Studio, say: Say) -> None:
    studio.image, studio.mask = picture(), right_half()
    studio.image = picture()  # of the same size
    assert studio.mask is not None
    studio.image = picture(24)
    assert studio.mask is None
    studio.mask = right_half(24)
    send(studio, png_of(picture(24)))  # another file, by hand
    assert studio.mask is None
    studio.mask = right_half(24)
    say(studio.controls.start, {"kind": "drop"})
    assert (studio.image, studio.mask) == (None, None)
    studio.mask = right_half()  # in either order
    studio.image = picture()
    assert studio.mask is not None


@pytest.mark.parametrize(
    ("image", "words"), [(picture(24), "The mask is 16 x 16"), (None, "without an image")]
)
def test_a_mask_that_does_not_fit_is_refused_by_name(
    studio: Studio, image: Any, words: str
) -> None:
    studio.image = image
    studio.mask = right_half()
    with pytest.raises(InputError, match=words) as refused:
        studio.generate()
    assert refused.value.parameter == "mask"
    assert studio.state == "error"
    assert "sdw-wrong" in studio.controls.start.get_state()["_dom_classes"]
    studio.image = picture()
    assert (studio.error, studio.state) == (None, "idle")


def test_what_is_no_mask_is_refused_where_it_is_set(studio: Studio) -> None:
    with pytest.raises(ImageError) as refused:
        studio.mask = b"not an image"
    assert refused.value.parameter == "mask"


def test_an_earlier_result_brings_its_mask_back(
    make_studio: Callable[..., Studio], say: Say
) -> None:
    studio = inpainted(make_studio)
    studio.image = None
    studio.generate()
    studio.wait(WAIT)
    assert studio.trace.task == "text to image"
    say(studio.history, {"kind": "recall", "id": studio.history.entries[0]["id"]})
    assert studio.mask.tobytes() == right_half().tobytes()
    assert studio.image.tobytes() == picture().tobytes()


def test_a_recorded_run_brings_its_mask(studio: Studio, say: Say) -> None:
    made = {"model": "tiny", "task": "inpainting", "settings": {"prompt": "a dog", "seed": 9}}
    studio.mask = right_half(24)
    send(studio, png_of(picture()))
    send(studio, png_of(right_half()), second=True)
    say(studio.controls.start, {"kind": "settings", "made": made, "image": True, "mask": True})
    assert studio.mask.tobytes() == right_half().tobytes()
    assert studio.controls.start.message == "The settings of the file are loaded."
    say(studio.controls.start, {"kind": "settings", "made": made, "image": True})
    assert studio.mask is None
    assert "inside a mask that is not in the file" in studio.controls.start.message


def test_the_whole_grows_with_the_new_area(studio: Studio) -> None:
    studio.image = picture()
    studio.pad = (0, 0, 8, 0)
    assert (studio.width, studio.height) == (24, 16)
    assert studio.view.shape == [24, 16]
    studio.generate()
    trace = studio.wait(WAIT)
    assert (trace.task, trace.image.size) == ("outpainting", (24, 16))
    assert trace.settings.pad == (0, 0, 8, 0)
    assert "with new area" in studio.history.entries[0]["title"]
    studio.pad = (0, 3, 8, 0)  # it need not be a multiple of anything
    assert (studio.width, studio.height) == (24, 24)
    studio.pad = None
    assert (studio.width, studio.height) == (16, 16)
    studio.pad = 8
    assert (studio.width, studio.height) == (32, 32)
    studio.image = None  # what was around it goes, too
    assert (studio.pad, studio.width, studio.height) == (None, 16, 16)


def test_sizes_that_are_given_with_new_area_are_those_of_the_whole(
    make_studio: Callable[..., Studio],
) -> None:
    studio = make_studio(image=picture(), pad=(0, 0, 8, 0), width=32, height=16)
    assert (studio.width, studio.height) == (32, 16)
    studio.generate()
    assert studio.wait(WAIT).image.size == (32, 16)


def test_new_area_without_an_image_waits_for_one(studio: Studio) -> None:
    studio.pad = 8
    studio.generate()
    assert studio.wait(WAIT).settings.pad is None


def test_an_outpainted_result_is_the_next_start_image_as_a_whole(studio: Studio, say: Say) -> None:
    studio.image, studio.pad = picture(), (8, 0, 0, 0)
    studio.generate()
    studio.wait(WAIT)
    say(studio.history, {"kind": "use", "id": studio.history.entries[0]["id"]})
    assert (studio.pad, studio.image.size) == (None, (24, 16))
    assert (studio.width, studio.height) == (24, 16)
    say(studio.history, {"kind": "recall", "id": studio.history.entries[0]["id"]})
    assert (studio.pad, studio.image.size) == ((8, 0, 0, 0), (16, 16))
    assert (studio.width, studio.height) == (24, 16)
