"""What a record keeps of controls, what it shows, and its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from control_nets import control_config, picture, random_control
from record_files import apart, together

from sdwidgets import InputError, Trace, Viewer, read_settings
from sdwidgets.configs import TINY
from sdwidgets.control import Control
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.trace.about import about
from sdwidgets.trace.reel import header_of, pack

LEVELS = ["down_blocks.0", "down_blocks.1", "mid_block"]


@pytest.fixture
def trace(tiny_model: LatentDiffusion) -> Trace:
    """Return a run of two images with two controls, of which the first stops half-way."""
    nets = [random_control(control_config(TINY), seed) for seed in (0, 1)]
    controls = [
        Control(nets[0], picture(30, 30), strength=0.5, end=0.5),
        Control(nets[1], picture(seed=1), start=0.25),
    ]
    return tiny_model.generate("a cat", steps=4, seed=3, batch_size=2, control=controls)


def test_a_record_has_its_controls(trace: Trace) -> None:
    first, second = trace.given_controls
    assert (first.name, first.strength, first.start, first.end) == ("a ControlNet", 0.5, 0, 0.5)
    assert (second.strength, second.start, second.end) == (1, 0.25, 1)
    assert first.image is not None and first.image.size == (16, 16)
    kinds = [(source.kind, source.strength) for source in trace.sources]
    assert kinds == [("controlnet", 0.5), ("controlnet", 1.0)]
    for step in trace.steps:
        assert list(step.control) == LEVELS
        shapes = [maps.shape for maps in step.control.values()]
        assert shapes == [(2, 2, 1, 8, 8), (2, 2, 1, 4, 4), (2, 2, 1, 4, 4)]
        acts = [bool(step.control["mid_block"][:, k].any()) for k in range(2)]
        assert acts == [step.index < 2, step.index > 0]


def test_a_map_of_what_a_control_adds(trace: Trace) -> None:
    whole = trace.control_map()
    assert whole.shape == (16, 16) and whole.dtype == np.float32
    levels = [trace.control_map(level) for level in ("down 1", "down_blocks.1", 2)]
    np.testing.assert_allclose(np.mean(levels, axis=0), whole, rtol=1e-5)
    steps = [trace.control_map(step=step) for step in range(4)]
    np.testing.assert_allclose(np.mean(steps, axis=0), whole, rtol=1e-5)
    assert not steps[3].any() and steps[0].all()
    assert not trace.control_map(step=0, control=1).any()
    np.testing.assert_array_equal(trace.control_map("mid", -1), trace.control_map("mid", 3))
    assert not np.array_equal(whole, trace.control_map(picture=1))
    stretched = trace.control_map(scale="picture")
    assert (stretched.min(), stretched.max()) == (0, 1)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"level": "up 1"}, r"There is no level 'up 1'\.\nLevels: down 1, down 2, mid"),
        ({"level": 3}, "level must be a whole number from 0 to 2"),
        ({"step": 9}, "no step 9"),
        ({"control": 2}, "control must be a whole number from 0 to 1"),
        ({"picture": 2}, "picture must be a whole number from 0 to 1"),
        ({"scale": "log"}, "scale must be one of"),
    ],
)
def test_a_map_that_is_not_there(trace: Trace, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        trace.control_map(**asked)


def test_a_run_without_controls_has_no_map(tiny_model: LatentDiffusion) -> None:
    plain = tiny_model.generate("a cat", steps=2)
    with pytest.raises(InputError, match=r"This run was not controlled\.\nGenerate with control="):
        plain.control_map()
    assert "controls" not in header_of(plain, 1)
    assert "controls" not in plain.record()


@pytest.mark.parametrize("precision", ["8-bit", "float16"])
def test_a_file_keeps_them(trace: Trace, tmp_path: Path, precision: str) -> None:
    loaded = Trace.load(trace.save(tmp_path / "run.sdtrace", precision=precision))
    assert loaded.notices == trace.notices and loaded.complete
    for one, other in zip(loaded.given_controls, trace.given_controls, strict=True):
        assert one.as_dict() == other.as_dict()
        np.testing.assert_array_equal(np.asarray(one.image), np.asarray(other.image))
    for mine, kept in zip(trace.steps, loaded.steps, strict=True):
        for level in LEVELS:
            most = float(mine.control[level].max(initial=0))
            error = np.abs(mine.control[level].astype(float) - kept.control[level]).max()
            assert error <= (most / 255 if precision == "8-bit" else 0)
    again = Trace.load(loaded.save(tmp_path / "again.sdtrace", precision=precision))
    np.testing.assert_array_equal(again.control_map(), loaded.control_map())
    assert header_of(loaded, 1) == header_of(trace, 1)


def test_an_image_that_a_file_lacks_is_named(trace: Trace, tmp_path: Path) -> None:
    path = trace.save(tmp_path / "run.sdtrace")
    record, tensors = apart(path.read_bytes())
    del tensors["given_control.1"]
    path.write_bytes(together(record, tensors))
    loaded = Trace.load(path)
    assert "Missing in the file: given_control.1." in loaded.notices
    assert [control.image is None for control in loaded.given_controls] == [False, True]


def test_maps_of_no_control_are_unknown(trace: Trace, tmp_path: Path) -> None:
    path = trace.save(tmp_path / "run.sdtrace")
    record, tensors = apart(path.read_bytes())
    tensors["steps.0.control.7"] = tensors["steps.0.control.0"]
    tensors["steps.0.cross.0"] = tensors["steps.0.control.0"]
    path.write_bytes(together(record, tensors))
    (said,) = [one for one in Trace.load(path).notices if "does not know" in one]
    assert said.endswith("steps.0.control.7, steps.0.cross.0.")


def test_an_image_file_says_what_was_given(trace: Trace, tmp_path: Path) -> None:
    path = trace.save_image(tmp_path / "cat.png")
    made = trace.record()
    assert made["given"] == ["control"]
    assert made["controls"][0] == {
        "name": "a ControlNet", "strength": 0.5, "start": 0.0, "end": 0.5
    }  # fmt: skip
    with pytest.raises(InputError, match="also given control"):
        read_settings(path)
    assert read_settings(path, partial=True).steps == 4


def test_the_settings_in_words(trace: Trace) -> None:
    words = dict(about(trace))
    assert words["controls"].splitlines() == [
        "a ControlNet, strength 0.5, from 0% to 50% of the steps",
        "a ControlNet, strength 1, from 25% to 100% of the steps",
    ]
    assert words["sources"].splitlines()[0] == "a ControlNet, controlnet, strength 0.5"


def test_frames_and_pages_have_them(trace: Trace, tmp_path: Path) -> None:
    with_them, without = pack(trace.steps[0]), pack(trace.steps[0], parts=("x", "denoised"))
    assert b'"control"' in with_them and b"control" not in without
    assert header_of(trace, 1)["levels"] == ["down 1", "down 2", "mid"]
    viewer = Viewer(trace)
    assert [control["end"] for control in viewer.header["controls"]] == [0.5, 1.0]
    viewer.close()
    page = trace.export_html(tmp_path / "run.html").read_text("utf-8")
    assert '"panels":["denoising","tokens","control"]' in page
