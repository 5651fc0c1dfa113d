"""Undo and redo: what counts as a step, and the steps that a slider leaves."""

from __future__ import annotations

import pytest

from sdwidgets.errors import InputError
from sdwidgets.lab import Flip, Knock, Noise, Paint, Scale, Shift, Walk
from sdwidgets.lab.history import MOST_EDITS, History


def test_undo_and_redo_go_through_all_steps() -> None:
    history = History().add(Knock(0)).add(Flip("x"))
    back = history.undo().undo()
    assert back.now == ()
    assert back.redo().redo().now == history.now == (Knock(0), Flip("x"))


def test_there_is_nothing_before_the_first_and_after_the_last() -> None:
    history = History().add(Flip("x"))
    assert history.redo() == history
    assert history.undo().undo() == history.undo()


def test_a_new_edit_forgets_what_was_undone() -> None:
    history = History().add(Flip("x")).undo().add(Flip("y"))
    assert history.future == ()
    assert history.now == (Flip("y"),)


def test_a_reset_is_a_step_that_can_be_undone() -> None:
    history = History().add(Flip("x")).reset()
    assert history.now == ()
    assert history.undo().now == (Flip("x"),)
    assert History().reset() == History()


def test_a_slider_counts_where_it_stands_now() -> None:
    history = History().add(Scale(0, 2)).add(Flip("x")).add(Scale(0, 3))
    assert history.now == (Scale(0, 3), Flip("x"))
    assert history.undo().now == (Scale(0, 2), Flip("x"))


def test_sliders_of_other_channels_and_directions_are_others() -> None:
    history = History().add(Scale(0, 2)).add(Scale(1, 2)).add(Walk(0, 1)).add(Walk(1, 1))
    assert len(history.now) == 4


def test_a_slider_back_at_rest_leaves_no_edit() -> None:
    history = History().add(Noise(1)).add(Noise(0))
    assert history.now == ()
    assert history.undo().now == (Noise(1),)


def test_a_drag_is_one_step() -> None:
    history = History().add(Flip("x"))
    for factor in (1.1, 1.2, 1.3):
        history = history.add(Scale(0, factor), live=True)
    history = history.add(Scale(0, 1.4))
    assert history.now == (Flip("x"), Scale(0, 1.4))
    assert history.undo().now == (Flip("x"),)


def test_a_drag_through_rest_and_on_is_one_step() -> None:
    history = History()
    for sigma in (1, 0, 2):
        history = history.add(Noise(sigma), live=True)
    assert history.now == (Noise(2),)
    assert history.undo().now == ()


def test_a_drag_there_and_back_is_no_step() -> None:
    before = History().add(Flip("x"))
    history = before.add(Noise(1), live=True).add(Noise(0))
    assert history == before


def test_the_next_drag_is_the_next_step() -> None:
    history = History().add(Noise(1), live=True).add(Noise(2)).add(Noise(3), live=True)
    assert history.undo().now == (Noise(2),)


def test_a_stroke_of_the_brush_is_one_step_and_strokes_add_up() -> None:
    history = History()
    for cells in (((0, 0),), ((0, 0), (1, 0))):
        history = history.add(Paint(0, 1, cells), live=True)
    history = history.add(Paint(0, 1, ((0, 0), (1, 0))))
    history = history.add(Paint(0, 1, ((2, 2),)))
    assert [len(edit.cells) for edit in history.now if isinstance(edit, Paint)] == [2, 1]
    assert len(history.undo().now) == 1


def test_knocking_out_twice_takes_it_back() -> None:
    history = History().add(Knock(1)).add(Knock(1))
    assert history.now == ()
    assert history.undo().now == (Knock(1),)


def test_an_edit_that_changes_nothing_is_no_step() -> None:
    assert History().add(Shift(0, 0)) == History()


def test_there_may_not_be_too_many() -> None:
    history = History()
    for _ in range(MOST_EDITS):
        history = history.add(Flip("x"))
    with pytest.raises(InputError, match="At most 64"):
        history.add(Flip("x"))
