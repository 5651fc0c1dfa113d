"""Scenes are drawn as their captions say, and their masks are exact."""

import random
import re

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sdwidgets import scenes
from sdwidgets.errors import InputError


@pytest.fixture(scope="module")
def glyphs():
    """Draw a disc in a different colour for every noun, so that scenes need no font."""
    made = {}
    for i, noun in enumerate(scenes.OBJECTS):
        made[noun] = Image.new("RGBA", (60, 50), (0, 0, 0, 0))
        colour = (5 * i, 255 - 6 * i, (37 * i) % 256, 255)
        ImageDraw.Draw(made[noun]).ellipse((0, 0, 59, 49), fill=colour)
    return made


def some(count=60, split="seen", kind=None):
    return [scenes.make_scene(random.Random(i), split, kind=kind) for i in range(count)]


def test_there_are_at_least_forty_objects_and_ten_colours():
    assert len(scenes.OBJECTS) >= 40
    assert len(scenes.COLORS) == 10


def test_the_masks_of_a_scene_share_out_all_its_pixels(glyphs):
    for scene in some():
        masks = scenes.render(scene, glyphs).masks
        assert set(masks) == {*scene.counts, scene.background}
        assert (np.sum(list(masks.values()), axis=0) == 1).all()


def test_the_background_has_its_colour_where_its_mask_is(glyphs):
    for scene in some(20):
        picture = scenes.render(scene, glyphs)
        ground = picture.image[picture.masks[scene.background]]
        colour = np.array(scenes.COLORS[scene.background])
        assert (np.median(ground, axis=0) == colour).all()


def test_stated_relations_hold_between_the_masks(glyphs):
    for scene in some(40, kind="two") + some(20, kind="three"):
        masks = scenes.render(scene, glyphs).masks
        for first, relation, second in scene.relations:
            (y1, x1), (y2, x2) = (np.argwhere(masks[n]).mean(0) for n in (first, second))
            gap = {"left of": x2 - x1, "right of": x1 - x2, "above": y2 - y1, "below": y1 - y2}
            assert gap[relation] > 20


def test_the_caption_names_every_object_and_mostly_the_colour():
    named = 0
    for scene in some(400):
        words = re.findall(r"\w+", scene.caption)
        for noun, count in scene.counts.items():
            assert (noun if count == 1 else scenes.plural(noun)) in words
        assert scene.names_background == (scene.background in words)
        named += scene.names_background
    assert 330 < named < 390


def test_a_relation_is_worded_in_both_orders_and_in_many_ways():
    rng = random.Random(0)
    texts = {scenes.relation_text(rng, "cat", "left of", "car") for _ in range(400)}
    assert len(texts) >= 12
    assert any(t.index("cat") < t.index("car") for t in texts)
    assert any(t.index("cat") > t.index("car") for t in texts)


@pytest.mark.parametrize("split", ["seen", "held_out"])
def test_a_split_holds_its_own_combinations_only(split):
    for scene in some(80, split):
        assert scenes.split_of(scene) == split


def test_an_arrangement_is_held_out_in_both_of_its_wordings():
    nouns = list(scenes.OBJECTS)
    pairs = [(a, b) for a in nouns for b in nouns if a != b]
    for a, b in pairs:
        assert scenes.held_out_relation(a, "left of", b) == scenes.held_out_relation(
            b, "right of", a
        )
    share = np.mean([scenes.held_out_relation(a, "above", b) for a, b in pairs])
    assert 0.04 < share < 0.12


def test_one_seed_makes_one_scene():
    assert scenes.make_scene(random.Random(5)) == scenes.make_scene(random.Random(5))


def test_describing_again_changes_the_words_and_not_the_scene():
    (scene,) = some(1, kind="two")
    others = [scenes.describe(random.Random(i), scene) for i in range(20)]
    assert len({other.caption for other in others}) > 10
    assert {other.objects for other in others} == {scene.objects}


def test_an_unknown_kind_is_refused():
    with pytest.raises(InputError, match="one, two, three or several"):
        scenes.make_scene(random.Random(0), kind="many")


@pytest.mark.skipif(scenes.find_font() is None, reason="the Noto Color Emoji font is not installed")
def test_the_font_has_every_object():
    glyphs = scenes.load_glyphs()
    assert set(glyphs) == set(scenes.OBJECTS)
    for glyph in glyphs.values():
        assert min(glyph.size) > 40
        assert np.asarray(glyph)[..., 3].mean() > 60


def test_without_the_font_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(scenes, "_FONT_PLACES", ())
    monkeypatch.delenv("SDWIDGETS_EMOJI_FONT", raising=False)
    with pytest.raises(InputError, match="fonts-noto-color-emoji"):
        scenes.load_glyphs.__wrapped__()


def test_a_box_is_the_extent_of_its_object(glyphs):
    for scene in some(20, kind="two"):
        masks = scenes.render(scene, glyphs).masks
        for noun, (x0, y0, x1, y1) in scenes.boxes(scene, glyphs):
            rows, columns = np.nonzero(masks[noun])
            corners = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            box = scenes.SIZE * np.array([x0, y0, x1, y1])
            assert np.abs(box - corners).max() <= 2  # edges are covered by less than half


def test_every_pixel_has_the_class_of_its_mask(glyphs):
    for scene in some(10):
        picture = scenes.render(scene, glyphs)
        labels = scenes.label_map(picture)
        for word, mask in picture.masks.items():
            assert np.array_equal(labels == scenes.CLASSES.index(word), mask)
