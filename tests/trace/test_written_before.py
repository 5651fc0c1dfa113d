"""Files that version 0.1.0 wrote: every later version reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sdwidgets.settings import Settings
from sdwidgets.trace import Trace, read_record, read_settings

FILES = Path(__file__).parent / "written_before"
ASKED = Settings(
    prompt="a cat", negative_prompt="a dog", steps=2, sampler="ddim", eta=0.5, seed=3,
    guidance_scale=3.0, width=16, height=16, schedule="config",  # its "default" then
    weights="none", chunks=1,  # brackets were text, and prompts were cut
)  # fmt: skip


def test_a_record_is_read_whole() -> None:
    trace = Trace.load(FILES / "format_1.sdtrace")
    assert trace.settings == ASKED
    assert trace.complete and trace.notices == () and trace.sources == ()
    assert (trace.prediction, trace.prediction_source) == ("", "")  # not kept yet
    assert [word.text for word in trace.tokens[0].words] == ["a", "cat"]
    assert [step.index for step in trace.steps] == [0, 1]
    # what it measured itself before it was saved
    assert trace.steps[-1].x_next.std() == pytest.approx(2.00266, rel=1e-3)
    assert trace.heat_map("cat").mean() == pytest.approx(0.0134084, rel=1e-3)


def test_a_record_is_saved_again_without_loss(tmp_path: Path) -> None:
    trace = Trace.load(FILES / "format_1.sdtrace")
    again = Trace.load(trace.save(tmp_path / "again.sdtrace"))
    assert again.settings == trace.settings and again.png() == trace.png()
    assert np.array_equal(again.heat_map("cat"), trace.heat_map("cat"))


def test_an_image_has_its_settings() -> None:
    assert read_settings(FILES / "settings.png") == ASKED
    record = read_record(FILES / "settings.png")
    assert record is not None and record["fingerprint"]
    assert record["fingerprint"] == Trace.load(FILES / "format_1.sdtrace").fingerprint
