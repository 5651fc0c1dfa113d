"""The benchmark of edits judges what it says."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.edits import (
    NEAR,
    REPORTING,
    TUNING,
    Case,
    Score,
    cases,
    is_right,
    judged,
    ratios,
)
from sdwidgets.training.recognizer import Seen

CASE = Case("a sun left of a sunflower on a red background", "sun", "apple", "sunflower", "red", 0)
BEFORE = Seen({"sun": [(30.0, 60.0)], "sunflower": [(90.0, 60.0)]}, "red")


def after(color: str = "red", **objects: list[tuple[float, float]]) -> tuple[bool, bool]:
    return judged(CASE, BEFORE, Seen(objects, color))


def test_the_edited_prompt_has_the_new_object_with_its_article() -> None:
    assert CASE.edited == "an apple left of a sunflower on a red background"


def test_cases_are_the_same_every_time_and_tuning_has_others() -> None:
    some, others = list(islice(cases(REPORTING), 30)), list(islice(cases(TUNING), 30))
    assert some == list(islice(cases(REPORTING), 30))
    assert not {case.prompt for case in some} & {case.prompt for case in others}
    for case in some:
        words = set(case.prompt.split())
        assert {case.old, case.other} < words and case.new not in words
        assert case.color in case.prompt and case.edited != case.prompt


def test_an_edit_is_right_when_the_object_is_new_and_the_rest_is_kept() -> None:
    assert after(apple=[(32.0, 58.0)], sunflower=[(91.0, 60.0)]) == (True, True)


@pytest.mark.parametrize(
    ("objects", "color", "wanted"),
    [
        ({"sun": [(30, 60)], "sunflower": [(90, 60)]}, "red", (False, True)),  # nothing changed
        ({"apple": [(30, 60)], "sunflower": [(90, 60)]}, "blue", (True, False)),
        ({"apple": [(30, 60)]}, "red", (True, False)),  # the other object is gone
        ({"apple": [(30, 60)], "sunflower": [(90, 60 + NEAR + 1)]}, "red", (True, False)),
        ({"apple": [(30 + NEAR + 1, 60)], "sunflower": [(90, 60)]}, "red", (True, False)),
        ({"apple": [(30, 60), (60, 20)], "sunflower": [(90, 60)]}, "red", (False, False)),
        ({"sun": [(30, 60)], "apple": [(90, 60)]}, "red", (False, False)),  # the wrong one
        ({"dog": [(30, 60)], "sunflower": [(90, 60)]}, "red", (False, True)),
        ({}, "red", (False, False)),
    ],
)
def test_each_fault_counts(
    objects: dict[str, list[tuple[float, float]]], color: str, wanted: tuple[bool, bool]
) -> None:
    assert after(color, **objects) == wanted


def test_sources_must_be_right() -> None:
    assert is_right(BEFORE, "sun", "sunflower", color="red")
    assert not is_right(BEFORE, "sun", "sunflower", color="blue")
    assert not is_right(BEFORE, "sun", color="red")


def test_edits_are_compared_with_image_to_image_at_its_best() -> None:
    scores = {
        "trace.edit": Score(1, 1, 0.9),
        "plain run, same seed": Score(1, 1, 0.6),
        "image to image, strength 0.5": Score(1, 1, 0.2),
        "image to image, strength 0.7": Score(1, 1, 0.8),
    }
    plain, image = ratios(scores)
    assert plain.value == pytest.approx(0.25) and image.value == pytest.approx(0.5)
    assert "0.7" in image.what
