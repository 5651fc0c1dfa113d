"""Runs of two passes in the views that watch them live: the latents grow on the way."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from sdwidgets.contract import numbered
from sdwidgets.manager import ModelManager, Request
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import Settings
from sdwidgets.trace import Trace
from sdwidgets.widgets import PictureView, Viewer
from sdwidgets.widgets.gallery import Gallery
from sdwidgets.widgets.running import Running
from sdwidgets.widgets.stage import Stage

RUN: dict[str, Any] = {"steps": 3, "seed": 1, "hires": 2, "hires_strength": 0.7}


def sizes(view: Any) -> list[tuple[int, list[int]]]:
    """The index and the size of each step that a view holds, in the order of the run."""
    frames = [getattr(view, name) for name in numbered("frame")]
    found = []
    for frame in filter(None, frames):
        (length,) = struct.unpack("<I", frame[:4])
        meta = json.loads(frame[4 : 4 + length])
        found.append((meta["index"], meta["size"][2:]))
    return sorted(found)


EXPECTED = [(0, [8, 8]), (1, [8, 8]), (2, [8, 8]), (3, [16, 16]), (4, [16, 16])]


@pytest.mark.parametrize("kind", [Viewer, PictureView])
def test_a_view_shows_both_passes_in_one_go(tiny_model: LatentDiffusion, kind: Any) -> None:
    view = kind()
    headers = []
    for _ in view.watch(tiny_model.sample("a cat", **RUN, attention=True)):
        headers.append(view.header)
    assert sizes(view) == EXPECTED
    for header in (*headers, view.header):  # the place of the image never changes
        assert (header["width"], header["height"], header["steps"]) == (32, 32, 5)
    assert view.state == "done" and view.message.startswith("Done: 5 steps")
    assert len(view.pictures) == 1
    trace = view.trace
    assert trace is not None and trace.complete and trace.size == (32, 32)
    assert [step.index for step in trace.steps] == [3, 4]
    assert trace.parent is not None and trace.parent.how == "hires"


def test_the_layers_that_count_are_those_of_the_pass_on_show(tiny_model: LatentDiffusion) -> None:
    """The recipe takes the resolution nearest to 16 x 16, which is another layer's then."""
    view = Viewer()
    run = tiny_model.sample("a cat", **{**RUN, "hires": 4}, attention=True)
    first = second = None
    for step in view.watch(run):
        view.flush(everything=True)
        if step.index == 2:
            first = view.header["recipe"]["layers"]
        if step.index == 3:
            second = view.header["recipe"]["layers"]
    assert first and second and first != second
    assert view.header["recipe"]["layers"] == second


def test_stopped_in_the_first_pass_a_view_keeps_what_there_is(tiny_model: LatentDiffusion) -> None:
    view = Viewer()
    steps = view.watch(tiny_model.sample("a cat", **RUN))
    next(steps), next(steps)
    steps.close()
    assert view.state == "stopped" and sizes(view) == EXPECTED[:2]


def test_a_record_of_two_passes_is_shown_again(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", **RUN)
    view = Viewer(trace)
    assert sizes(view) == EXPECTED[3:] and view.header["width"] == 32
    assert view.header["steps"] == 5 and view.trace is trace
    assert trace.parent is not None and isinstance(trace.parent.trace, Trace)
    first = Viewer(trace.parent.trace)
    assert sizes(first) == EXPECTED[:3] and first.header["width"] == 16


def test_a_job_of_two_passes_runs_on_the_stage(tiny_model: LatentDiffusion) -> None:
    with ModelManager() as manager:
        manager.add(tiny_model, "tiny")
        gallery, stage = Gallery(), Stage(panels=["attention"])
        stop = manager.follow(lambda job: None, lambda job, trace: gallery.add("tiny", trace))
        said: list[str] = []
        running = Running(
            manager,
            Request("tiny", Settings(prompt="a cat", **RUN), attention=True),
            stage,
            on_state=said.append,
            on_message=said.append,
            on_run=lambda run: said.append(f"{len(run)} steps"),
            on_end=lambda run, state, message: stage.end(run.trace, message, run=run.number),
        )
        running.start()
        assert running.finished.wait(60) and running.error is None
        stop()
    assert "5 steps" in said and stage.message.startswith("Done: 5 steps")
    assert sizes(stage) == EXPECTED and stage.shape == [32, 32]
    assert stage.header["layers"] and len(stage.pictures) == 1
    kept = gallery.find(1)
    assert kept is not None and kept.record.size == (32, 32)
    assert kept.record.parent is not None and kept.settings["parent"]["how"] == "hires"
