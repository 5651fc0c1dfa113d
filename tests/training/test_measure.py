"""How the small systems are measured."""

from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sdwidgets.scenes import OBJECTS, SIZE, Glyphs, make_scene, render
from sdwidgets.training.recognizer import CELL, NOTHING, NOUNS, cell_labels
from sdwidgets.training.zoo.measure import HOLE, MEASURES, _cell_ious, _overlap, hole, report
from sdwidgets.training.zoo.systems import SYSTEMS


@pytest.fixture(scope="module")
def glyphs() -> Glyphs:
    """A disc for every noun, so that scenes need no font."""
    disc = Image.new("RGBA", (60, 60))
    ImageDraw.Draw(disc).ellipse((0, 0, 59, 59), fill=(200, 30, 30, 255))
    return dict.fromkeys(OBJECTS, disc)


def test_every_system_is_measured() -> None:
    assert set(MEASURES) == set(SYSTEMS)


def test_the_overlap_is_that_of_a_box_and_the_extent_of_cells() -> None:
    labels = np.full((16, 16), NOTHING)
    labels[4:8, 2:6] = NOUNS.index("cat")
    labels[12:14, 12:14] = NOUNS.index("cat")  # another group
    box = (2 * CELL / SIZE, 4 * CELL / SIZE, 6 * CELL / SIZE, 8 * CELL / SIZE)
    assert _overlap(labels, "cat", box) == pytest.approx(1)
    assert _overlap(labels, "dog", box) == 0
    half = (box[0], box[1], box[2], (box[1] + box[3]) / 2)
    assert _overlap(labels, "cat", half) == pytest.approx(0.5)


def test_right_cells_have_a_full_iou_and_others_none(glyphs: Glyphs) -> None:
    for seed in range(10):
        scene = make_scene(random.Random(seed), kind="two")
        labels = cell_labels(scene, render(scene, glyphs).masks)
        ious = list(_cell_ious(labels, labels))
        assert ious and set(ious) == {1.0}
        assert set(_cell_ious(np.full_like(labels, NOTHING), labels)) == {0.0}


def test_a_hole_lies_in_the_image_and_takes_a_part_of_an_object(glyphs: Glyphs) -> None:
    for seed in range(20):
        scene = make_scene(random.Random(seed))
        rows, columns = hole(seed, scene)
        assert rows.start >= 0 and rows.stop <= SIZE and columns.start >= 0
        assert rows.stop - rows.start == columns.stop - columns.start == HOLE
        masks = render(scene, glyphs).masks
        assert any(masks[noun][rows, columns].any() for noun in scene.counts)
        assert hole(seed, scene) == (rows, columns)


def test_the_report_has_shares_in_per_cent_and_decibels_as_they_are() -> None:
    text = report("emoji-upscale", {"PSNR": 28.9, "better than bicubic": 0.75})
    assert "28.900" in text and "75.0 %" in text
