"""Checks of arguments: what they accept and return, and their errors."""

from __future__ import annotations

import numpy as np
import pytest

from sdwidgets.checks import choice, index, real, shortened, shown, whole
from sdwidgets.errors import InputError


def refusal(check, *given) -> InputError:
    with pytest.raises(InputError) as caught:
        check(*given)
    return caught.value


@pytest.mark.parametrize(("value", "which"), [(0, 0), (2, 2), (-1, 2), (-3, 0), (np.int64(1), 1)])
def test_an_index_counts_from_either_end(value, which):
    assert index("step", value, 3) == which
    assert type(index("step", value, 3)) is int


@pytest.mark.parametrize("value", [3, -4, True, 1.0, "1", None, [1], 10**5000], ids=shown)
def test_an_index_that_is_not_there_is_refused(value):
    error = refusal(index, "step", value, 3)
    assert error.parameter == "step"
    assert str(error).startswith("step must be a whole number from 0 to 2, got ")


def test_an_index_among_nothing_says_that_there_is_nothing():
    assert str(refusal(index, "picture", 0, 0)) == "There is no picture."


def test_a_choice_is_one_of_the_known():
    assert choice("view", "clean", ("noisy", "clean")) == "clean"


@pytest.mark.parametrize("value", ["", "Clean", 1, None, ["clean"]])
def test_a_choice_that_is_not_known_is_refused(value):
    error = refusal(choice, "view", value, ("noisy", "clean"))
    assert error.parameter == "view"
    assert str(error) == f"view must be one of 'noisy', 'clean', got {value!r}."


@pytest.mark.parametrize("value", [16, 2048, np.int32(64)])
def test_a_whole_number_within_its_limits(value):
    assert whole("side", value, 16, 2048) == value
    assert type(whole("side", value, 16, 2048)) is int


@pytest.mark.parametrize("value", [15, 2049, True, 64.0, "64", None, float("nan")])
def test_a_whole_number_beyond_its_limits_or_of_another_kind_is_refused(value):
    error = refusal(whole, "side", value, 16, 2048)
    assert error.parameter == "side"
    assert str(error) == f"side must be a whole number from 16 to 2048, got {value!r}."


@pytest.mark.parametrize("value", [2, 20, 3.5, np.float32(3.5)])
def test_a_number_within_its_limits(value):
    assert real("width", value, 2, 20) == value
    assert type(real("width", value, 2, 20)) is float


@pytest.mark.parametrize("value", [1.9, 20.1, True, "3", None, float("nan"), float("inf")])
def test_a_number_beyond_its_limits_or_of_another_kind_is_refused(value):
    error = refusal(real, "width", value, 2, 20)
    assert error.parameter == "width"
    assert str(error) == f"width must be a number from 2 to 20, got {value!r}."


@pytest.mark.parametrize("value", ["a" * 10**6, [0] * 10**6, "a\nb" * 10**6, 10**5000], ids=shown)
def test_what_was_given_is_shown_on_one_short_line(value):
    assert 0 < len(shown(value)) < 80
    assert "\n" not in shown(value)


def test_a_value_that_cannot_be_shown_is_named_by_its_type():
    class Shy:
        def __repr__(self):
            raise RuntimeError

    assert "Shy" in shown(Shy())


def test_a_long_text_is_shortened_to_the_length_that_was_asked():
    assert shortened("a cat", 5) == "a cat"
    assert shortened("a black cat", 8) == "a bla..."
