"""The order in which samples are taken."""

from sdwidgets.training.loop import Draw, seeded
from sdwidgets.training.order import sample_rows


def batch(step, size, rank=0, ranks=1):
    return Draw(step, size, seeded(0, step), rank, ranks)


def test_an_epoch_takes_every_sample_once_and_the_next_in_another_order():
    first, second = (
        [row for step in steps for row in sample_rows(batch(step, 4), 12, seed=0)]
        for steps in ((0, 1, 2), (3, 4, 5))
    )
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second


def test_a_batch_may_be_larger_than_all_samples():
    assert sorted(sample_rows(batch(0, 6), 3, seed=0)) == [0, 0, 1, 1, 2, 2]


def test_groups_stay_together():
    rows = sample_rows(batch(1, 4), 12, seed=0, group=2)
    assert rows[1] == rows[0] + 1
    assert rows[0] % 2 == 0
    assert rows[3] == rows[2] + 1


def test_processes_share_out_the_batch_of_one():
    shares = [sample_rows(batch(2, 8, rank, 2), 12, seed=0) for rank in range(2)]
    assert shares[0] + shares[1] == sample_rows(batch(2, 8), 12, seed=0)
