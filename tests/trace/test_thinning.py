"""Keeping some of many."""

from __future__ import annotations

import itertools

import pytest

from sdwidgets.trace.thinning import Thinned, stride_for, strided


@pytest.mark.parametrize("count", [1, 2, 8, 9, 10, 16, 17, 100, 1000])
def test_of_a_stream_the_first_and_the_newest_are_kept_and_some_between(count: int) -> None:
    thinned: Thinned[str] = Thinned(8)
    for number in range(count):
        thinned.add(str(number))
        kept = list(thinned.items)
        assert [int(item) for item in thinned.items.values()] == kept
        assert (kept[0], kept[-1]) == (0, number)
        assert min(number + 1, 5) <= len(kept) <= 8
        assert len({b - a for a, b in itertools.pairwise(kept[:-1])}) <= 1
    assert thinned.count == count


def test_room_may_be_made_before_the_item_comes() -> None:
    thinned: Thinned[int] = Thinned(4)
    for number in range(4):
        thinned.add(number)
    thinned.make_room()
    thinned.make_room()
    assert list(thinned.items) == [0, 2]
    thinned.add(4)
    assert list(thinned.items) == [0, 2, 4]


def test_where_the_number_is_known_the_stride_is_right_from_the_start() -> None:
    thinned: Thinned[int] = Thinned(4, stride=3)
    for number in range(9):
        thinned.add(number)
    assert list(thinned.items) == [0, 3, 6, 8]


@pytest.mark.parametrize("count", [0, 1, 2, 8, 9, 10, 15, 16, 17, 1000])
def test_a_list_is_strided_as_a_stream_of_known_length_is(count: int) -> None:
    stride = stride_for(count, 8)
    thinned: Thinned[int] = Thinned(8, stride)
    for number in range(count):
        thinned.add(number)
    kept = strided(range(count), stride)
    assert kept == list(thinned.items)
    assert len(kept) <= 8
    assert stride == 1 or len(strided(range(count), stride - 1)) > 8
