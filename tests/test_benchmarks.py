"""The code that benchmarks share; their results are not tested."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import measure
from benchmarks.all import BENCHMARKS
from benchmarks.measure import MISSED, Ratio
from benchmarks.tiles import inputs, largest_difference, largest_seam


def test_rounds_alternate_their_order_and_the_first_does_not_count() -> None:
    order: list[str] = []
    work = {name: lambda name=name: order.append(name) for name in ("a", "b")}
    seconds = measure.interleaved(2, work)
    assert "".join(order) == "ab" + "ba" + "ab"
    assert {name: len(each) for name, each in seconds.items()} == {"a": 2, "b": 2}


def test_work_may_measure_itself() -> None:
    assert measure.interleaved(3, {"a": lambda: 7.5})["a"] == [7.5] * 3


def test_a_ratio_compares_rounds_with_themselves() -> None:
    seconds = {"ours": [1.0, 10.0, 3.0], "theirs": [2.0, 20.0, 3.0]}
    assert measure.against("it", seconds, "ours", "theirs").value == 0.5


@pytest.mark.parametrize(("target", "met"), [(0.9, False), (1.0, True), (None, None)])
def test_a_target_is_a_ratio_not_to_exceed(target: float | None, met: bool | None) -> None:
    assert Ratio("it", 1.0, target).met is met


def test_durations_in_words() -> None:
    assert [measure.duration(s) for s in (12.0, 0.0123, 4e-6)] == ["12 s", "12.3 ms", "4 us"]


def test_results_are_kept_and_tabled(tmp_path: Path) -> None:
    given = measure.options("", 5, arguments=["--out", str(tmp_path), "--machine", "this"])
    described = measure.begin("Is it so?", given)
    ratios = [Ratio("loading", 0.5, 0.9, "ours 1 s", "theirs 2 s"), Ratio("running", 2.0, 1.0)]
    assert measure.report("speed", "Is it so?", ratios, given, described, rounds_of=[1]) == MISSED
    kept = json.loads((tmp_path / "speed-this.json").read_text())
    assert [Ratio(**fields) for fields in kept["ratios"]] == ratios
    table = (tmp_path / "README.md").read_text().splitlines()
    rows = [line for line in table if line.startswith(("| loading", "| running"))]
    assert rows[0].startswith("| loading | 0.500 | 0.9 | ours 1 s | theirs 2 s | 5")
    assert "**missed**" in rows[1]


def test_a_seam_is_a_step_of_the_difference_along_a_whole_row_or_column() -> None:
    whole = inputs("decode", 512, 8, 4)
    assert largest_seam(whole, whole) == largest_difference(whole, whole) == 0
    step = np.abs(np.diff(whole)).mean(), np.abs(np.diff(whole, axis=-2)).mean()
    shifted = whole.copy()
    shifted[..., 20:] += 0.5  # a seam between two columns
    assert largest_seam(shifted, whole) == pytest.approx(0.5 / np.mean(step), rel=1e-4)
    spot = whole.copy()
    spot[..., 20, 20] += 0.5
    assert largest_seam(spot, whole) < 0.05 * largest_seam(shifted, whole)
    assert largest_difference(spot, whole) == pytest.approx(0.5 / np.abs(whole).max(), rel=1e-4)


def test_every_question_of_the_readme_has_its_command() -> None:
    text = (measure.HERE / "README.md").read_text()
    for name in (*BENCHMARKS, "all"):
        assert f"python -m benchmarks.{name}`" in text
        assert (measure.HERE / f"{name}.py").is_file()
