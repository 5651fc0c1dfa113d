"""The Painter without a browser: its traits, and what pages say to it."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from random_values import anything

from sdwidgets import painting
from sdwidgets.errors import ImageError, InputError
from sdwidgets.painting import packed, unpacked
from sdwidgets.widgets import Painter

if TYPE_CHECKING:
    from sdwidgets.pipeline import LatentDiffusion

WIDTH, HEIGHT = 48, 32
Say = Callable[..., None]


def photo(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def mask(*box: int, level: int = 255) -> np.ndarray:
    """A mask that is painted from left, top to right, bottom."""
    left, top, right, bottom = box
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[top:bottom, left:right] = level
    return values


def pixels(painter: Painter) -> np.ndarray:
    assert painter.mask is not None
    return np.asarray(painter.mask)


@pytest.fixture
def painter() -> Iterator[Painter]:
    painter = Painter(photo())
    yield painter
    painter.close()


@pytest.fixture
def say(painter: Painter) -> Say:
    """Says something to the painter, as its page does."""

    def say(kind: str, *buffers: bytes, **more: Any) -> None:
        painter._handle_custom_msg({"kind": kind, **more}, list(buffers))

    return say


@pytest.fixture
def paint(painter: Painter, say: Say) -> Say:
    """Paints a box of levels, as a page does."""

    def paint(x: int, y: int, levels: np.ndarray, **more: Any) -> None:
        height, width = levels.shape
        message = {"page": "page", "number": 1, "image": painter.shown, "last": True}
        say("mask", packed(levels), **(message | {"box": [x, y, width, height]} | more))

    return paint


# ------------------------------------------------------------------------------ image and mask


def test_nothing_is_painted_at_first(painter: Painter) -> None:
    assert painter.image == photo()
    assert (painter.mask, painter.pad, painter.painted) == (None, (0, 0, 0, 0), b"")
    assert (painter.width, painter.height, painter.undos, painter.redos) == (WIDTH, HEIGHT, 0, 0)


def test_without_an_image_there_is_nothing_to_paint_on() -> None:
    painter = Painter()
    assert (painter.image, painter.mask, painter.cells, repr(painter)) == (
        None, None, None, "Painter: no image yet",
    )  # fmt: skip
    for act in (
        painter.invert,
        lambda: setattr(painter, "mask", mask(0, 0, 4, 4)),
        lambda: painter.take_map(np.zeros((4, 4))),
        lambda: painter.feather(2),
    ):
        with pytest.raises(InputError, match="image"):
            act()
    assert painter.mask is None
    painter.close()


def test_the_mask_keeps_its_greys(painter: Painter) -> None:
    painter.mask = mask(3, 4, 10, 20, level=77)
    assert painter.mask.mode == "L"
    assert np.array_equal(pixels(painter), mask(3, 4, 10, 20, level=77))
    assert np.array_equal(unpacked(painter.painted, WIDTH, HEIGHT), pixels(painter))


def test_a_black_mask_is_none(painter: Painter) -> None:
    painter.mask = mask(0, 0, 0, 0)
    assert painter.mask is None


def test_a_mask_of_another_size_is_refused(painter: Painter) -> None:
    with pytest.raises(ImageError, match="The mask is 32 x 48, the image is 48 x 32"):
        painter.mask = mask(0, 0, 9, 9).T
    with pytest.raises(ImageError, match="the image is 8 x 8"):
        painter.show(photo(8, 8), mask(0, 0, 9, 9))
    assert painter.image.size == (WIDTH, HEIGHT)


def test_observers_hear_of_image_mask_and_pad(painter: Painter) -> None:
    heard: list[Any] = []
    painter.observe(
        lambda change: heard.append((change.name, change.new)), ["image", "mask", "pad"]
    )
    painter.mask = mask(0, 0, 9, 9)
    painter.pad = [0, 8, 0, 0]
    painter.image = photo(16, 16)
    names = [name for name, _ in heard]
    assert names[:2] == ["mask", "pad"]
    assert sorted(names[2:]) == ["image", "mask", "pad"]
    assert dict(heard[2:])["mask"] is None
    assert dict(heard[2:])["pad"] == (0, 0, 0, 0)


def test_a_new_image_begins_anew(painter: Painter) -> None:
    painter.mask = mask(0, 0, 9, 9)
    number = painter.shown
    painter.image = photo(20, 10)
    assert (painter.mask, painter.undos, painter.shown) == (None, 0, number + 1)
    painter.undo()
    assert painter.mask is None


def test_the_same_image_shown_again_begins_anew(painter: Painter) -> None:
    painter.mask = mask(0, 0, 9, 9)
    number = painter.shown
    assert painter.show(photo(), mask(1, 1, 2, 2)) is painter
    assert (painter.shown, painter.undos) == (number + 1, 1)
    painter.undo()
    assert painter.mask is None


def test_an_image_is_upright_and_opaque() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    file = io.BytesIO()
    photo(40, 20).save(file, "JPEG", exif=exif)
    painter = Painter(file.getvalue())
    assert (painter.image.size, painter.width, painter.height) == ((20, 40), 20, 40)
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    painter.image = clear
    assert painter.image.mode == "RGB"
    assert painter.image.getpixel((3, 3)) == (255, 255, 255)
    assert painter.note == "Its transparent parts are on white."
    painter.image = clear.convert("RGB")
    assert painter.note == ""
    painter.close()


def test_a_large_image_is_saved_small() -> None:
    painter = Painter(Image.new("RGB", (4000, 3000), "teal"))
    saved = Image.open(io.BytesIO(painter.picture))
    assert saved.size == (1024, 768)
    assert (painter.width, painter.height) == (4000, 3000)
    painter.close()


# ----------------------------------------------------------------------------- undo, and the like


def test_changes_are_undone_and_done_again(painter: Painter) -> None:
    painter.mask = mask(0, 0, 9, 9)
    painter.invert()
    assert np.array_equal(pixels(painter), 255 - mask(0, 0, 9, 9))
    painter.clear()
    assert (painter.mask, painter.undos) == (None, 3)
    painter.undo()
    painter.undo()
    assert np.array_equal(pixels(painter), mask(0, 0, 9, 9))
    assert (painter.undos, painter.redos) == (1, 2)
    painter.redo()
    assert np.array_equal(pixels(painter), 255 - mask(0, 0, 9, 9))
    painter.mask = mask(1, 1, 2, 2)
    assert painter.redos == 0
    for _ in range(9):
        painter.undo()
    assert (painter.mask, painter.undos) == (None, 0)


def test_feathering_softens_the_edges_alone(painter: Painter) -> None:
    painter.mask = mask(16, 0, WIDTH, HEIGHT)
    painter.feather(4)
    row = pixels(painter)[HEIGHT // 2].astype(int)
    assert (row[10], row[22]) == (0, 255)
    assert 0 < row[14] < row[16] < row[18] < 255
    assert (np.diff(row) >= 0).all()


def test_the_oldest_changes_are_forgotten() -> None:
    history = painting.History()
    for number in range(300):
        history.add(str(number).encode())
    assert history.undos == 100
    assert history.move(-1) == b"298"


# ------------------------------------------------------------------------------ what a page says


def test_a_page_paints_a_box(painter: Painter, paint: Say) -> None:
    paint(45, 28, np.full((4, 3), 200, np.uint8), number=7)
    wanted = mask(45, 28, 48, 32, level=200)
    assert np.array_equal(pixels(painter), wanted)
    assert (painter.stamp, painter.undos) == (["page", 7], 1)


def test_bands_are_one_change(painter: Painter, paint: Say) -> None:
    paint(0, 0, np.full((4, WIDTH), 255, np.uint8), last=False)
    assert painter.mask is None
    paint(0, 4, np.full((4, WIDTH), 255, np.uint8))
    assert np.array_equal(pixels(painter), mask(0, 0, WIDTH, 8))
    assert painter.undos == 1


def test_a_page_that_undoes_goes_back_in_the_history(painter: Painter, paint: Say) -> None:
    paint(0, 0, np.full((4, 4), 255, np.uint8))
    paint(8, 8, np.full((4, 4), 255, np.uint8), number=2)
    paint(8, 8, np.zeros((4, 4), np.uint8), number=3)  # undone
    assert (painter.undos, painter.redos) == (1, 1)
    paint(8, 8, np.full((4, 4), 255, np.uint8), number=4)  # and done again
    assert (painter.undos, painter.redos) == (2, 0)


def test_a_change_of_nothing_is_answered(painter: Painter, paint: Say) -> None:
    paint(0, 0, np.zeros((4, 4), np.uint8), number=5)
    assert (painter.mask, painter.stamp, painter.undos) == (None, ["page", 5], 0)


def test_paint_for_an_earlier_image_is_ignored(painter: Painter, paint: Say) -> None:
    before = painter.shown
    painter.image = photo(WIDTH, HEIGHT).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    paint(0, 0, np.full((4, 4), 255, np.uint8), image=before)
    assert painter.mask is None


def test_a_file_comes_in_parts(painter: Painter, say: Say) -> None:
    file = io.BytesIO()
    photo(20, 10).save(file, "PNG")
    data = file.getvalue()
    whole = {"name": "photo.png", "size": len(data), "parts": 2}
    say("file", data[:100], part=0, **whole)
    assert painter.width == WIDTH
    say("file", data[100:], part=1, **whole)
    assert (painter.width, painter.height, painter.problem) == (20, 10, "")


def test_a_file_that_is_no_image_is_refused_in_words(painter: Painter, say: Say) -> None:
    say("file", b"words", name="a.txt", size=5, part=0, parts=1)
    assert "format" in painter.problem
    assert painter.image == photo()


def test_the_rest_of_what_a_page_asks_for(painter: Painter, paint: Say, say: Say) -> None:
    paint(0, 0, np.full((4, 4), 255, np.uint8))
    say("undo")
    assert painter.mask is None
    say("redo")
    assert painter.mask is not None
    say("pad", pad=[8, 0, 0, 16])
    assert painter.pad == (8, 0, 0, 16)
    say("drop")
    assert painter.image is None


BAD: dict[str, dict[str, Any]] = {
    "beyond the right edge": {"box": [46, 0, 4, 4]},
    "beyond the bottom": {"box": [0, 30, 4, 4]},
    "negative": {"box": [-1, 0, 4, 4]},
    "of no size": {"box": [0, 0, 0, 4]},
    "no whole numbers": {"box": [0, 0, 4.5, 4]},
    "true": {"box": [True, 0, 4, 4]},
    "too short a box": {"box": [0, 0, 4]},
    "no box": {"box": None},
    "a box of a size that its levels have not": {"box": [0, 0, 5, 4]},
    "no page": {"page": ""},
    "a long name": {"page": "x" * 65},
    "no number": {"number": None},
    "number 0": {"number": 0},
    "another image": {"image": -1},
}


@pytest.mark.parametrize("name", BAD)
def test_malformed_paint_is_ignored(name: str, painter: Painter, paint: Say) -> None:
    paint(0, 0, np.full((4, 4), 255, np.uint8), **BAD[name])
    assert (painter.mask, painter.problem, painter.stamp) == (None, "", ["", 0])


def test_bytes_that_unpack_to_more_are_ignored(painter: Painter, say: Say) -> None:
    message = {"page": "p", "number": 1, "image": painter.shown, "box": [0, 0, 4, 4], "last": True}
    whole = packed(np.full((4, 4), 255, np.uint8))
    for data in (b"", b"no bytes of zlib", whole[:-3], packed(np.zeros((9000, 9000), np.uint8))):
        say("mask", data, **message)
    say("mask", whole, whole, **message)
    say("mask", **message)
    assert painter.mask is None


def test_pads_and_thresholds_of_nonsense_are_ignored(painter: Painter, say: Say) -> None:
    for pad in (None, 8, [1, 2, 3], [0, 0, 0, -1], [0, 0, 0, 1e9], [0, 0, 0, 0.5], [True] * 4):
        say("pad", pad=pad)
    for threshold in (None, "0.5", -0.1, 1.1, float("nan"), True):
        say("threshold", threshold=threshold)
    assert (painter.pad, painter.threshold, painter.problem) == ((0, 0, 0, 0), 0.5, "")


def test_a_page_sets_no_trait(painter: Painter) -> None:
    painter.set_state({"pad": [8, 8, 8, 8], "painted": b"x", "threshold": 0.9, "shown": 9})
    assert (painter.pad, painter.painted, painter.threshold) == ((0, 0, 0, 0), b"", 0.5)


def test_nonsense_is_ignored(painter: Painter) -> None:
    dice = random.Random(0)
    kinds = ("file", "mask", "undo", "redo", "pad", "threshold", "settle", "image", "nothing")
    for _ in range(300):
        message = anything(dice)
        if dice.random() < 0.7:
            message = {"kind": dice.choice(kinds), "pad": anything(dice), "box": anything(dice)}
        painter._handle_custom_msg(message, dice.choice([[], [b"x"], None, [b"", b""]]))
    assert painter.image == photo()
    assert painter.mask is None


# ------------------------------------------------------------------------------------- maps


RAMP = np.tile(np.linspace(0, 1, WIDTH, dtype=np.float32), (HEIGHT, 1))


def test_a_map_becomes_a_mask_that_follows_its_threshold(painter: Painter, say: Say) -> None:
    painter.take_map(RAMP, 0.5)
    assert np.array_equal(pixels(painter), np.where(RAMP >= 0.5, 255, 0))
    assert painter.mapped
    say("threshold", threshold=0.75)
    assert painter.threshold == 0.75
    assert np.array_equal(pixels(painter), np.where(RAMP >= 0.75, 255, 0))
    assert painter.undos == 1  # a slider's way is one change


def test_a_map_adds_to_the_mask_or_subtracts(painter: Painter) -> None:
    painter.mask = mask(0, 0, WIDTH, 8)
    painter.take_map(RAMP, 0.5, how="add")
    there = RAMP >= 0.5
    assert np.array_equal(pixels(painter), np.where(there, 255, mask(0, 0, WIDTH, 8)))
    painter.undo()
    painter.take_map(RAMP, 0.5, how="subtract")
    assert np.array_equal(pixels(painter), np.where(there, 0, mask(0, 0, WIDTH, 8)))


def test_what_is_painted_by_hand_stays_at_another_threshold(painter: Painter, paint: Say) -> None:
    painter.take_map(RAMP, 0.5)
    paint(0, 0, np.full((4, 4), 255, np.uint8))
    painter.threshold = 0.9
    assert painter.mapped
    wanted = np.where(RAMP >= 0.9, 255, 0)
    wanted[:4, :4] = 255
    assert np.array_equal(pixels(painter), wanted)


@pytest.mark.parametrize("act", ["invert", "clear", "undo", "settle", "image"])
def test_a_map_goes_when_all_changes(act: str, painter: Painter, say: Say) -> None:
    painter.take_map(RAMP, 0.5)
    if act == "settle":
        say("settle")
    elif act == "image":
        painter.image = photo(16, 16)
    else:
        getattr(painter, act)()
    assert not painter.mapped
    before = painter.mask
    painter.threshold = 0.1
    assert painter.mask == before


def test_a_small_map_is_enlarged_and_a_flag_is_a_map(painter: Painter) -> None:
    painter.take_map(RAMP[::8, ::8] > 0.5)
    assert pixels(painter).shape == (HEIGHT, WIDTH)
    assert pixels(painter)[:, -4:].min() == 255
    assert pixels(painter)[:, :12].max() == 0


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (RAMP * 2, "between 0 and 1"),
        (RAMP - 0.1, "between 0 and 1"),
        (np.full_like(RAMP, np.nan), "between 0 and 1"),
        (RAMP[0], "array"),
        (np.zeros((4, 4, 3)), "array"),
        (np.zeros((0, 4)), "array"),
        (np.zeros((4, 4), np.uint8), "array"),
        ("a map", "array"),
    ],
)
def test_what_is_no_map_is_refused(given: Any, why: str, painter: Painter) -> None:
    with pytest.raises(ImageError, match=why):
        painter.take_map(given)
    assert (painter.mask, painter.mapped) == (None, False)


def test_a_way_and_a_threshold_are_checked(painter: Painter) -> None:
    with pytest.raises(InputError, match="how"):
        painter.take_map(RAMP, how="multiply")
    with pytest.raises(InputError, match="threshold"):
        painter.take_map(RAMP, 1.5)


# ------------------------------------------------------------------------------------- cells


def test_a_cell_has_the_most_of_its_pixels(painter: Painter) -> None:
    painter.mask = np.maximum(mask(15, 7, 17, 9), mask(40, 24, 48, 32, level=51))
    wanted = np.zeros((4, 6), np.float32)
    wanted[:2, 1:3] = 1
    wanted[3, 5] = 0.2
    assert painter.cells.dtype == np.float32
    assert np.allclose(painter.cells, wanted)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(24, 24), (32, 16), (48, 32), (64, 64)])
def test_the_cells_are_those_of_a_run(
    fit: str, size: tuple[int, int], painter: Painter, model: LatentDiffusion
) -> None:
    factor = model.config.autoencoder.factor
    painter.size, painter.fit, painter.factor = size, fit, factor
    painter.mask = mask(5, 3, 21, 30)
    settings = {"width": size[0], "height": size[1], "fit": fit, "steps": 2, "seed": 1}
    run = model.sample("a cat", image=painter.image, mask=painter.mask, **settings)
    assert np.array_equal(painter.cells, run._pass._cells(run._area).cpu().numpy()[0, 0])


@pytest.mark.parametrize("pad", [(8, 0, 0, 0), (0, 0, 0, 3), (16, 5, 0, 24)])
def test_the_cells_are_those_of_a_run_with_new_area(
    pad: Any, painter: Painter, model: LatentDiffusion
) -> None:
    painter.factor, painter.pad = model.config.autoencoder.factor, pad
    for painted in (None, mask(5, 3, 21, 30)):
        painter.mask = painted
        given = {"image": painter.image, "mask": painter.mask, "pad": pad}
        run = model.sample("a cat", steps=2, seed=1, **given)
        assert np.array_equal(painter.cells, run._pass._cells(run._area).cpu().numpy()[0, 0])


@pytest.mark.parametrize(
    "options", [{"size": (16,)}, {"size": (0, 8)}, {"factor": 0}, {"fit": "x"}]
)
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        Painter(photo(), **options)


# ----------------------------------------------------------------------------------- as output


def test_a_host_without_widgets_sees_the_tint(painter: Painter) -> None:
    painter.image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    painter.mask = mask(0, 0, 24, HEIGHT)
    shown = Image.open(io.BytesIO(painter._still() or b""))
    assert shown.getpixel((40, 10)) == (255, 255, 255)
    assert shown.getpixel((4, 10))[1] < 128
    assert repr(painter) == "Painter: 48 x 32, 50.0% painted over"
