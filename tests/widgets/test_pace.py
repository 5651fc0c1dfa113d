"""How often widgets send, alone and together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sdwidgets.widgets.pace import INTERVAL, Answer, Pace

if TYPE_CHECKING:
    from conftest import Clock


def sent_in(seconds: float, widgets: int, clock: Clock) -> list[int]:
    """Return how many messages each widget sends, if all always have something to send."""
    paces = [Pace() for _ in range(widgets)]
    counts = [0] * widgets
    for turn in range(round(seconds * 1000)):
        clock.now += 0.001
        for i in range(widgets):
            one = (i + turn) % widgets  # no widget is always the first to ask
            if paces[one].left() <= 0:
                paces[one].sent()
                counts[one] += 1
    return counts


def test_one_widget_sends_fifteen_messages_a_second(clock: Clock) -> None:
    assert 14 * 3 <= sent_in(3, 1, clock)[0] <= 15 * 3 + 1


@pytest.mark.parametrize("widgets", [8, 50])
def test_all_widgets_together_send_at_most_a_hundred_a_second(widgets: int, clock: Clock) -> None:
    counts = sent_in(3, widgets, clock)
    assert sum(counts) <= 100 * 3
    assert min(counts) > 0


def test_how_long_to_wait_is_said(clock: Clock) -> None:
    pace = Pace()
    assert pace.left() <= 0
    pace.sent()
    assert pace.left() == pytest.approx(INTERVAL)
    assert 0 < Pace().left() < INTERVAL


def test_an_answer_is_given_at_once(clock: Clock) -> None:
    answers: list[str] = []
    answer = Answer(lambda: answers.append("here"))
    answer()
    clock.now += 1
    answer()
    assert answers == ["here"] * 2
