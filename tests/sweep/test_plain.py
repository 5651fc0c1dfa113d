"""Points and results on their way between machines."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest

pytest.importorskip("cloudpickle")

import torch

from sdwidgets import errors
from sdwidgets.errors import InputError, NumericsError, SDWidgetsError
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import Settings
from sdwidgets.sweep import plain
from sdwidgets.sweep.points import Point
from sdwidgets.sweep.results import Making, Result
from sdwidgets.sweep.running import run_points

WEIGHTS = torch.nn.Linear(2, 2)
POINT = Point(3, (1, 2), "emoji", Settings(prompt="a dog", seed=5, steps=2))


def test_a_point_is_small_and_comes_out_as_it_was() -> None:
    content = plain.as_bytes((POINT,), "A point")
    (again,) = pickle.loads(content)
    assert (again.index, again.place, again.settings) == (3, (1, 2), POINT.settings)
    assert len(content) < 5_000


@pytest.mark.parametrize("keep", ["image", "trace"])
def test_a_result_comes_back_with_the_same_pixels(tiny_model: LatentDiffusion, keep: str) -> None:
    making = Making(keep, {"mean": lambda trace: float(np.mean(np.asarray(trace.image)))})  # type: ignore[arg-type]
    (made,) = run_points(tiny_model, [POINT], making)
    sent = plain.as_plain(made)
    assert isinstance(sent["record"], bytes)
    back = plain.from_plain(sent, POINT)
    assert np.array_equal(np.asarray(back.image), np.asarray(made.image))
    assert back.settings == made.settings and back.scores == made.scores
    assert (back.made, back.shared, back.seconds) == (2, 0, made.seconds)
    assert back.notices == made.notices
    assert len(back.trace.steps) == (2 if keep == "trace" else 0)


def test_errors_keep_their_class_their_text_and_their_parameter() -> None:
    error = InputError("steps must be whole.", parameter="steps")
    back = plain.from_plain(plain.as_plain(Result(POINT, error=error)), POINT).error
    assert type(back) is InputError and back.parameter == "steps" and str(back) == str(error)
    back = plain.error_of(plain.plain_error(NumericsError("NaN in step 3.")))
    assert type(back) is NumericsError
    back = plain.error_of(plain.plain_error(ZeroDivisionError("by zero\nsecond line")))
    assert type(back) is SDWidgetsError and str(back) == "ZeroDivisionError: by zero"
    assert type(plain.error_of(["SystemExit", "from a worker", None])) is SDWidgetsError
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, SDWidgetsError):
            assert type(plain.error_of([name, "text", None])) is kind


def test_a_damaged_record_is_refused(tiny_model: LatentDiffusion) -> None:
    (made,) = run_points(tiny_model, [POINT])
    sent = plain.as_plain(made)
    record = bytearray(sent["record"])
    record[-1] ^= 1
    with pytest.raises(InputError, match="is damaged"):
        plain.from_plain({**sent, "record": bytes(record)}, POINT)
    with pytest.raises(InputError, match="not a recording"):
        plain.from_plain({**sent, "record": b"\x80\x04pickled" * 100}, POINT)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (torch.zeros(3), "holds weights .*Tensor"),
        (torch.nn.Linear(2, 2), "holds weights .*Linear"),
        ({"deep": [lambda trace: float(WEIGHTS.bias[0])]}, "holds weights"),
        (threading.Lock(), "lock"),
        (bytes(plain.LIMIT + 1), "limit is"),
    ],
)
def test_what_cannot_be_sent(value: object, why: str) -> None:
    with pytest.raises(
        InputError, match=f"The score cannot be sent to a worker: .*{why}"
    ) as caught:
        plain.as_bytes(value, "The score")
    assert len(str(caught.value).splitlines()) <= 3


def test_functions_of_a_notebook_can_be_sent() -> None:
    factor = 3
    assert pickle.loads(plain.as_bytes(lambda value: factor * value, "The score"))(2) == 6
