"""Layouts: the tokens of boxes, their words, and the states that the network sees."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sdwidgets.configs import BoxesConfig
from sdwidgets.errors import InputError
from sdwidgets.models.boxes import Boxes
from sdwidgets.models.conditioning import Given, Layout, condition, read
from sdwidgets.models.embedders import embedders_of
from sdwidgets.trace.attention import chosen

# a grid of 9 x 9 points; 89 is the token for no box
SMALL = BoxesConfig(
    ("cat", "dog"), width=16, layers=2, heads=2, head_width=8, most=3, vocab_size=90, length=11
)
CAT, DOG = ("cat", (0.0, 0.25, 0.5, 1.0)), ("dog", (0.5, 0.0, 1.0, 0.125))
CATS: Layout = (CAT, DOG, ("Cat", (0.0, 0.0, 1.0, 1.0)))


def given(boxes: Layout | None) -> Given:
    return Given(None, (16, 16), boxes=boxes)


@pytest.fixture
def layouts(seeded: None) -> Boxes:
    (embedder,) = embedders_of([SMALL])
    assert isinstance(embedder, Boxes)
    return embedder


def test_a_box_is_its_class_and_two_corners_row_by_row(layouts: Boxes) -> None:
    ids = layouts.tokens([given((CAT, DOG)), given(()), given(None)]).ids
    assert ids[0].tolist() == [0, 18, 76, 1, 4, 17, *[89] * 3, 0, 80]  # 18 = 2 * 9 + 0
    assert ids[1].tolist() == [89] * 9 + [0, 80]  # the crop is the whole image
    assert ids[2].tolist() == [89] * 11


def test_without_a_crop_its_corners_are_no_tokens() -> None:
    layouts = Boxes(replace(SMALL, crop=False))
    assert layouts.tokens([given((DOG,))]).ids.tolist() == [[1, 4, 17, *[89] * 6]]


def test_each_box_is_a_word_and_the_second_of_a_class_has_a_number(layouts: Boxes) -> None:
    tokens = read([layouts], [given(CATS), given(None)])
    (text, none), (words, _) = tokens.texts, tokens.words
    assert text == "cat, dog, cat 2"
    assert none == ""
    assert [text[a:b] for a, b in words[::3]] == ["cat", "dog", "cat 2"]
    assert words[0] == words[1] == words[2]  # a class and its corners
    assert tokens.pieces == (("cat", "↖", "↘", "dog", "↖", "↘", "cat 2", "↖", "↘"), ())
    assert tokens.first(1).texts == (text,)


def test_recorded_columns_are_the_boxes_without_a_start(layouts: Boxes) -> None:
    tokens = layouts.tokens([given((CAT, DOG)), given((CAT,))])
    columns = chosen(tokens, [0, 1])
    assert columns is not None
    assert columns.shape == (2, 11, 8)
    kept = torch.zeros(11, 8)
    kept[torch.arange(6), torch.arange(6) + 1] = 1
    assert torch.equal(columns[0], kept)
    kept[3:] = 0
    assert torch.equal(columns[1], kept)


def test_the_context_tells_where_the_boxes_are(layouts: Boxes) -> None:
    moved = ("cat", (0.25, 0.25, 0.5, 1.0))
    context = condition([layouts], [given((CAT,)), given((moved,)), given(None)]).context
    assert context is not None
    assert context.shape == (3, 11, SMALL.context_width)
    assert not torch.allclose(context[0], context[1], atol=1e-4)
    assert not torch.allclose(context[0], context[2], atol=1e-4)


def test_boxes_are_learnt(layouts: Boxes) -> None:
    context = condition([layouts], [given((CAT,))]).context
    assert context is not None
    context.square().sum().backward()
    changed = {name for name, w in layouts.model.named_parameters() if w.grad is not None}
    assert changed == {name for name, _ in layouts.model.named_parameters()}


@pytest.mark.parametrize(
    ("boxes", "says"),
    [
        ((("cow", (0.0, 0.0, 1.0, 1.0)),), r"'cow' is not a class\.[^\n]*\nKnown: cat, dog\."),
        ((CAT,) * 4, "takes at most 3 boxes, got 4"),
    ],
)
def test_boxes_that_the_model_cannot_read_are_refused(
    layouts: Boxes, boxes: Layout, says: str
) -> None:
    with pytest.raises(InputError, match=says) as caught:
        read([layouts], [given(boxes)])
    assert caught.value.parameter == "boxes"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"vocab_size": 81}, "too small for 2 names, 9 x 9 points"),
        ({"length": 10}, "3 boxes are 11 tokens, more than the length 10"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(change: dict[str, int], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Boxes(replace(SMALL, **change))
