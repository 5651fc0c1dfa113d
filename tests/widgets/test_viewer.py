"""The viewers without a browser: what is sent and how often, what is kept, what is refused."""

from __future__ import annotations

import gc
import itertools
import json
import logging
import math
import pickle
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets
import numpy as np
import pytest
import torch
from made_runs import large, saved_size
from PIL import Image

import sdwidgets
from sdwidgets.diffusion import Step
from sdwidgets.errors import InputError, NumericsError
from sdwidgets.frontend import bundle
from sdwidgets.settings import Settings
from sdwidgets.trace import Trace, TraceStep
from sdwidgets.widgets import Attention, Denoising, Tokens, Viewer, kernel, link, pace
from sdwidgets.widgets import reel as reel_module
from sdwidgets.widgets.reel import FRAMES, SAVED
from sdwidgets.widgets.selection import SELECTIONS
from sdwidgets.widgets.slots import SLOTS, Slots

if TYPE_CHECKING:
    from conftest import Clock

    from sdwidgets.pipeline import LatentDiffusion

Wire = list[tuple[dict[str, Any], list[Any]]]

Say = Callable[[Any, Any], None]

ASKED: dict[str, Any] = {"steps": 5, "seed": 7, "width": 16, "height": 24}


def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; fails when it never does."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)


def step(index: int, shape: tuple[int, ...] = (1, 4, 2, 2)) -> Step:
    x = torch.full(shape, float(index))
    return Step(index, 2.0, x, x, 1.0, x)


def steps(count: int) -> list[Step]:
    return [step(index) for index in range(count)]


def shown(viewer: Viewer) -> list[dict[str, Any]]:
    """What the frames say that a page loaded now would find, in the order of the steps."""
    state = viewer.get_state()
    known = [meta(state[name]) for name in FRAMES if state[name]]
    return sorted(known, key=lambda one: one["index"])


def indices(viewer: Viewer) -> list[int]:
    return [one["index"] for one in shown(viewer)]


def meta(frame: bytes) -> dict[str, Any]:
    return json.loads(frame[4 : 4 + int.from_bytes(frame[:4], "little")])


def frames_in(message: tuple[dict[str, Any], list[Any]]) -> dict[str, bytes]:
    """The frames that a message brings."""
    content, buffers = message
    paths = content.get("buffer_paths", [])
    named = {path[0]: bytes(buffer) for path, buffer in zip(paths, buffers, strict=True)}
    return {name: frame for name, frame in named.items() if name in FRAMES and frame}


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """All that goes to the page from now on."""
    if ipywidgets.__version__.startswith("7."):
        pytest.skip("this ipywidgets sends nothing where there is no kernel")
    sent: Wire = []

    def send(self: Any, content: dict[str, Any], buffers: Any = None) -> None:
        sent.append((content, list(buffers or ())))

    monkeypatch.setattr(Viewer, "_send", send)
    return sent


@pytest.fixture(scope="module")
def trace(model: LatentDiffusion) -> Trace:
    """A run of the tiny model with attention."""
    return model.generate("a cat on the dog", attention=True, **ASKED)


# ------------------------------------------------------------------------------- what is sent


def test_each_frame_is_sent_once(model: LatentDiffusion, wire: Wire) -> None:
    viewer = Viewer()
    list(viewer.watch(model.sample("a cat", attention=True, **ASKED)))
    times = Counter(name for message in wire for name in frames_in(message))
    assert set(times.values()) == {1}
    assert len(times) == 5


def test_all_bytes_sent_are_those_of_the_frames(wire: Wire) -> None:
    viewer = Viewer()
    list(viewer.watch(steps(50)))
    sent = sum(len(frame) for message in wire for frame in frames_in(message).values())
    assert sent == sum(len(getattr(viewer, name)) for name in FRAMES)


def test_steps_that_come_fast_go_together(wire: Wire, clock: Clock) -> None:
    viewer = Viewer()
    for _ in viewer.watch(steps(60)):
        clock.now += 0.001
    with_frames = [len(frames_in(message)) for message in wire if frames_in(message)]
    assert with_frames == [1, 59]


def test_at_most_twenty_messages_a_second(wire: Wire, clock: Clock) -> None:
    viewer = Viewer()
    wire.clear()
    for _ in viewer.watch(steps(1000)):
        clock.now += 0.002  # two seconds in all
    assert len(wire) <= 40


def test_a_slow_run_sends_each_step_as_it_comes(wire: Wire, clock: Clock) -> None:
    viewer = Viewer()
    for _ in viewer.watch(steps(10)):
        clock.now += 1
    assert sum(1 for message in wire if frames_in(message)) == 10


def test_steps_that_are_not_kept_are_not_packed(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    packed: list[int] = []
    whole = reel_module.pack

    def pack(one: TraceStep, **options: Any) -> bytes:
        packed.append(one.index)
        return whole(one, **options)

    monkeypatch.setattr(reel_module, "pack", pack)
    list(Viewer().watch(steps(500)))  # the clock stands still: no step is the newest of a message
    assert len(packed) <= SLOTS


def test_the_newest_step_is_shown_though_it_may_not_be_kept(clock: Clock) -> None:
    viewer = Viewer()
    seen = []
    for _ in viewer.watch(steps(500)):
        seen.append(indices(viewer)[-1])
        clock.now += 1
    assert seen == list(range(500))
    assert len(indices(viewer)) <= SLOTS


def test_the_first_steps_tell_which_layers_there_are(model: LatentDiffusion) -> None:
    viewer = Viewer()
    watched = viewer.watch(model.sample("a cat", attention=True, **ASKED))
    next(watched)
    assert viewer.header["layers"]
    assert viewer.header["pictures"][0]["pieces"] == ["a", "cat"]
    assert viewer.state == "running"


def test_begin_and_state_come_in_one_message(wire: Wire) -> None:
    viewer = Viewer()
    wire.clear()
    watched = viewer.watch(steps(3))
    next(watched)
    (first, _), *_ = wire
    assert {"header", "state", "message"} <= set(first["state"])
    assert first["state"]["state"] == "running"


def test_steps_may_be_added_by_another_thread() -> None:
    viewer = Viewer()
    viewer.begin(Trace("m", "t", Settings(), expected=60))
    worker = threading.Thread(target=lambda: [viewer.add(one) for one in steps(60)])
    worker.start()
    while worker.is_alive():
        viewer.flush()
    viewer.end("done", "Done")
    assert indices(viewer) == list(range(60))
    assert (viewer.state, viewer.message) == ("done", "Done")


def test_a_run_that_is_no_longer_shown_is_not_sent(trace: Trace) -> None:
    viewer = Viewer()
    number = viewer.begin(Trace("m", "t", Settings(), expected=2))
    viewer.show(trace)
    before = viewer.get_state()
    assert viewer.flush(run=number) == math.inf
    viewer.end("stopped", "Stopped", run=number)
    assert viewer.get_state() == before
    assert viewer.trace is trace


def test_a_run_may_be_shown_from_its_middle() -> None:
    slots = Slots(4)
    for one in steps(2):
        slots.add(one, None)
    viewer = Viewer()
    viewer.begin(Trace("m", "t", Settings(), expected=4), slots)
    viewer.flush(everything=True)
    assert indices(viewer) == [0, 1]
    slots.add(step(2), None)
    viewer.end("stopped")
    assert indices(viewer) == [0, 1, 2]


def test_records_shown_while_a_run_goes_on_do_not_mix_with_it(trace: Trace) -> None:
    viewer = Viewer()
    over = threading.Event()

    def show_others() -> None:
        while not over.is_set():
            viewer.show(trace)

    page = threading.Thread(target=show_others)
    page.start()
    for _ in range(20):
        list(viewer.watch(steps(3)))
    over.set()
    page.join()
    viewer.show(trace)
    assert viewer.trace is trace
    assert indices(viewer) == [one.index for one in trace.steps]
    assert viewer.state == "done"


def test_flush_says_how_long_to_wait(clock: Clock) -> None:
    viewer = Viewer()
    viewer.begin(Trace("m", "t", Settings(), expected=2))
    viewer.add(step(0))
    viewer.flush()
    viewer.add(step(1))
    clock.now += 0.25 * pace.INTERVAL
    assert viewer.flush() == pytest.approx(0.75 * pace.INTERVAL)
    assert indices(viewer) == [0]
    clock.now += pace.INTERVAL
    viewer.flush()
    assert indices(viewer) == [0, 1]


# ------------------------------------------------------------------------ what a page may find


def test_a_page_that_comes_in_the_middle_finds_all_so_far(clock: Clock) -> None:
    viewer = Viewer()
    watched = viewer.watch(steps(20))
    for _ in range(3):
        next(watched)
        clock.now += 1
    assert indices(viewer) == [0, 1, 2]
    assert viewer.get_state()["state"] == "running"


def test_a_run_that_is_over_is_in_the_traits(model: LatentDiffusion) -> None:
    viewer = Viewer()
    run = model.sample("a cat", **ASKED)
    assert [one.index for one in viewer.watch(run)] == [0, 1, 2, 3, 4]
    state = viewer.get_state()
    assert indices(viewer) == [0, 1, 2, 3, 4]
    assert state["state"] == "done"
    assert state["message"].startswith("Done: 5 steps in ")
    assert (state["header"]["width"], state["header"]["height"]) == (16, 24)
    (picture,) = state["pictures"]
    assert picture["type"] == "image/png"
    assert [one["seconds"] for one in shown(viewer)] == run.seconds


@pytest.mark.parametrize("asked", [{"attention": True}, {"guidance_scale": 1.0}, {"batch_size": 3}])
def test_any_run_can_be_watched(model: LatentDiffusion, asked: dict[str, Any]) -> None:
    viewer = Viewer()
    list(viewer.watch(model.sample("a cat", **ASKED, **asked)))
    first = shown(viewer)[0]
    assert ("attention" in first["parts"]) == bool(asked.get("attention"))
    assert (
        ("difference" in first["parts"])
        == viewer.header["guided"]
        == ("guidance_scale" not in asked)
    )
    assert first["size"][0] == len(viewer.pictures) == asked.get("batch_size", 1)
    assert len(viewer.header["layers"]) == len(first["grids"])


def test_a_second_run_takes_the_place_of_the_first(model: LatentDiffusion, clock: Clock) -> None:
    viewer = Viewer()
    list(viewer.watch(model.sample("a cat", **ASKED)))
    clock.now += 1
    viewer.step, viewer.guidance, viewer.word = 3, 7.5, "cat"
    before = viewer.header["run"]
    watched = viewer.watch(model.sample("a dog", **ASKED))
    next(watched)
    assert indices(viewer) == [0]
    assert viewer.header["run"] != before
    assert viewer.pictures == []
    assert (viewer.step, viewer.guidance, viewer.word) == (-1, None, "cat")


def test_a_loop_that_was_left_no_longer_shows_in_the_next_run() -> None:
    viewer = Viewer()
    left = viewer.watch(steps(3))
    next(left)
    list(viewer.watch(steps(2)))
    assert len(list(left)) == 2
    assert indices(viewer) == [0, 1]
    assert viewer.message == "Done: 2 steps"


def test_showing_a_record_is_as_watching_it(trace: Trace, model: LatentDiffusion) -> None:
    watched, shown_ = Viewer(), Viewer(trace)
    list(watched.watch(model.sample("a cat on the dog", attention=True, **ASKED)))
    ours, theirs = (
        [{k: v for k, v in one.items() if k != "seconds"} for one in shown(viewer)]
        for viewer in (watched, shown_)
    )
    assert ours == theirs
    assert watched.header == shown_.header
    assert [one["data"] for one in watched.pictures] == [one["data"] for one in shown_.pictures]
    assert shown_.state == "done"


def test_a_record_is_shown_in_one_message(trace: Trace, wire: Wire) -> None:
    viewer = Viewer()
    wire.clear()
    assert viewer.show(trace) is viewer
    (message,) = wire
    assert len(frames_in(message)) == 5
    assert message[0]["state"]["state"] == "done"


def test_a_record_of_a_stopped_run_says_so(model: LatentDiffusion) -> None:
    run = model.sample("a cat", **ASKED)
    viewer = Viewer(Trace.of([next(run), next(run)], run))
    assert (viewer.state, viewer.message) == ("stopped", "Stopped after 2 steps")
    assert len(viewer.pictures) == 1


def test_selections_may_be_given_with_the_record(trace: Trace) -> None:
    viewer = Viewer(trace, step=3, word="cat", view="clean")
    assert (viewer.step, viewer.word, viewer.view) == (3, "cat", "clean")


def test_the_record_of_what_was_watched(model: LatentDiffusion) -> None:
    viewer = Viewer()
    assert viewer.trace is None
    list(viewer.watch(model.sample("a cat", attention=True, **ASKED)))
    assert viewer.trace is not None
    assert len(viewer.trace.steps) == 5
    assert viewer.trace.heat_map("cat").shape == (24, 16)


# ------------------------------------------------------------------------------ own loops, ends


def test_steps_of_someone_s_own_loop_need_no_run() -> None:
    viewer = Viewer()
    own = steps(3)
    assert list(viewer.watch(one for one in own)) == own
    assert viewer.header["pictures"] == []
    assert viewer.header["task"] == ""
    assert viewer.header["steps"] == 3
    assert (viewer.state, viewer.message) == ("done", "Done: 3 steps")


def test_what_was_watched_of_an_own_loop_can_be_saved(tmp_path: Path) -> None:
    viewer = Viewer()
    list(viewer.watch(iter(steps(3))))
    assert viewer.trace is not None
    path = viewer.trace.save(tmp_path / "own.sdtrace")
    again = Viewer(Trace.load(path))
    assert indices(again) == [0, 1, 2]
    assert (again.state, again.message.partition(" in ")[0]) == ("done", "Done: 3 steps")


def test_a_loop_may_change_its_latents_in_place(clock: Clock) -> None:
    def loop() -> Iterator[Step]:
        x = torch.zeros(1, 4, 2, 2)
        for index in range(3):
            yield Step(index, 2.0, x, x, 1.0, x)
            x.add_(1)

    viewer = Viewer()
    for _ in viewer.watch(loop()):
        pass  # the clock stands still: the last two wait for the end
    assert viewer.trace is not None
    assert [float(one.x.mean()) for one in viewer.trace.steps] == [0, 1, 2]


def test_steps_of_a_run_are_not_copied(model: LatentDiffusion) -> None:
    viewer = Viewer()
    passed = list(viewer.watch(model.sample("a cat", **ASKED)))
    assert viewer.trace is not None
    assert all(
        np.shares_memory(kept.x, one.x.numpy())
        for kept, one in zip(viewer.trace.steps, passed, strict=True)
    )


def test_steps_of_a_record_can_be_watched(trace: Trace) -> None:
    viewer = Viewer()
    assert len(list(viewer.watch(trace.steps))) == 5  # type: ignore[arg-type]
    assert "attention" in shown(viewer)[0]["parts"]


def test_nothing_to_watch_is_no_error() -> None:
    viewer = Viewer()
    assert list(viewer.watch([])) == []
    assert viewer.state == "done"


def test_leaving_the_loop_is_a_stop(model: LatentDiffusion) -> None:
    viewer = Viewer()
    for one in viewer.watch(model.sample("a cat", **ASKED)):
        if one.index == 2:
            break
    gc.collect()
    assert (viewer.state, viewer.message) == ("stopped", "Stopped after 3 steps")
    assert indices(viewer) == [0, 1, 2]
    assert viewer.pictures == []


def test_an_interrupt_in_the_loop_is_a_stop() -> None:
    viewer = Viewer()
    with pytest.raises(KeyboardInterrupt):
        for one in viewer.watch(steps(5)):
            if one.index == 2:
                raise KeyboardInterrupt
    gc.collect()
    assert viewer.state == "stopped"
    assert indices(viewer) == [0, 1, 2]


def test_an_interrupt_in_a_step_is_a_stop() -> None:
    def interrupted() -> Iterator[Step]:
        yield step(0)
        raise KeyboardInterrupt

    viewer = Viewer()
    with pytest.raises(KeyboardInterrupt):
        list(viewer.watch(interrupted()))
    assert viewer.state == "stopped"


def test_what_the_steps_raise_is_said_and_raised() -> None:
    def broken() -> Iterator[Step]:
        yield step(0)
        raise InputError("one\ntwo\nthree\nfour")

    viewer = Viewer()
    with pytest.raises(InputError):
        list(viewer.watch(broken()))
    assert (viewer.state, viewer.message) == ("error", "one\ntwo\nthree")


def test_what_cannot_be_packed_ends_no_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = reel_module.pack

    def pack(one: TraceStep, **options: Any) -> bytes:
        if one.index < 3:
            raise ValueError("no bytes")
        return whole(one, **options)

    monkeypatch.setattr(reel_module, "pack", pack)
    viewer = Viewer()
    with caplog.at_level(logging.WARNING, "sdwidgets"):
        assert len(list(viewer.watch(steps(5)))) == 5
    assert indices(viewer) == [3, 4]
    assert viewer.state == "done"
    assert len(caplog.records) == 1


def test_steps_that_are_none_end_no_run(caplog: pytest.LogCaptureFixture) -> None:
    viewer = Viewer()
    own: Any = ["not", "a", "step"]
    assert list(viewer.watch(own)) == own
    assert indices(viewer) == []
    assert viewer.state == "done"


def test_an_image_that_cannot_be_decoded_ends_no_loop(
    model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise NumericsError("NaN")

    viewer = Viewer()
    run = model.sample("a cat", **ASKED)
    monkeypatch.setattr(run, "pictures", broken)
    assert len(list(viewer.watch(run))) == 5
    assert indices(viewer) == [0, 1, 2, 3, 4]
    assert viewer.state == "error"
    assert viewer.pictures == []


# ------------------------------------------------------------------------- which steps are kept


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 66, 127, 128, 200, 1000])
@pytest.mark.parametrize("known", [True, False])
def test_long_runs_are_thinned_evenly(count: int, known: bool) -> None:
    slots = Slots(count if known else 0)
    for one in steps(count):
        slots.add(one, None)
        _, new = slots.take()
        for kept in new:
            kept.record()
        assert slots.steps()[-1][1].index == one.index
    kept_ones = [one.index for _, one in slots.steps()]
    gaps = {b - a for a, b in itertools.pairwise(kept_ones[:-1])}
    assert len(kept_ones) <= SLOTS
    assert (kept_ones[0], kept_ones[-1]) == (0, count - 1)
    assert kept_ones == sorted(set(kept_ones))
    assert len(gaps) <= 1
    if count <= SLOTS:
        assert len(kept_ones) == count


def test_a_run_of_two_hundred_keeps_both_ends(model: LatentDiffusion) -> None:
    viewer = Viewer()
    list(viewer.watch(steps(200)))
    kept = indices(viewer)
    assert len(kept) <= SLOTS
    assert (kept[0], kept[-1]) == (0, 199)
    assert viewer.header["steps"] == 200


def test_a_run_of_unknown_length_empties_slots_that_it_uses_again(clock: Clock) -> None:
    viewer = Viewer()
    for _ in viewer.watch(iter(steps(100))):
        clock.now += 1
    kept = indices(viewer)
    assert kept == [*range(0, 100, 2), 99]
    assert viewer.header["steps"] == 100


# ------------------------------------------------------------------------------ what is selected


SELECTED: dict[str, Any] = {
    "step": 4, "word": "cat", "other": "<start>", "layer": 2, "span": "step", "guidance": 7.5,
    "picture": 1, "view": "noisy", "opacity": 0.25, "colormap": "grey", "contour": True,
}  # fmt: skip


def test_every_selection_is_tested() -> None:
    assert set(SELECTED) == set(SELECTIONS)


@pytest.mark.parametrize("name", SELECTED)
def test_a_selection_is_set_from_either_side(name: str, wire: Wire) -> None:
    viewer, page = Viewer(), Viewer()
    wire.clear()
    setattr(viewer, name, SELECTED[name])
    assert wire[-1][0]["state"] == {name: SELECTED[name]}
    page.set_state({name: SELECTED[name]})
    assert getattr(page, name) == SELECTED[name]


@pytest.mark.parametrize(
    ("name", "value"),
    [("step", -2), ("step", 1.5), ("step", "3"), ("step", True), ("step", None), ("step", 2**60),
     ("word", 3), ("word", None), ("word", "x" * 2000), ("layer", -2), ("span", "all"),
     ("guidance", float("nan")), ("guidance", "7"), ("guidance", 1e9), ("picture", -1),
     ("view", "latents"), ("view", ["clean"]), ("opacity", 1.1), ("opacity", None),
     ("colormap", "jet"), ("contour", 1)],
)  # fmt: skip
def test_what_cannot_be_selected_is_refused(name: str, value: Any) -> None:
    viewer = Viewer()
    before = getattr(viewer, name)
    with pytest.raises(InputError) as refused:
        setattr(viewer, name, value)
    assert refused.value.parameter == name
    viewer.set_state({name: value})
    assert getattr(viewer, name) == before


def test_numbers_may_be_numpy_s() -> None:
    viewer = Viewer(step=np.int64(3), opacity=np.float32(0.5))
    assert json.dumps([viewer.step, viewer.opacity]) == "[3, 0.5]"


def test_selecting_computes_nothing(trace: Trace, wire: Wire) -> None:
    viewer = Viewer(trace)
    wire.clear()
    for name, value in SELECTED.items():
        setattr(viewer, name, value)
    assert not any(frames_in(message) for message in wire)
    assert len(wire) == len(SELECTED)


def test_a_page_can_set_nothing_but_selections(trace: Trace) -> None:
    viewer = Viewer(trace)
    before = viewer.get_state()
    viewer.set_state(
        {"header": {}, "frame0": b"", "pictures": [], "state": "idle", "message": "x", "uid": "x",
         "panels": [], "_esm": "alert(1)", "layout": None}
    )  # fmt: skip
    assert viewer.get_state() == before


def test_ten_thousand_messages_that_are_not_understood(
    trace: Trace, caplog: pytest.LogCaptureFixture, wire: Wire, say: Say
) -> None:
    viewer = Viewer(trace)
    before = viewer.get_state()
    wire.clear()
    wrong: list[Any] = [None, 5, [], "step", {"step": "x"}, {"view": {}}, {3: 4}, {"frame0": 1}]
    messages: list[Any] = [None, 5, [], "frames", {}, {"kind": []}, {"kind": "frames", "run": {}}]
    with caplog.at_level(logging.WARNING, "sdwidgets"):
        for i in range(5_000):
            viewer.set_state(wrong[i % len(wrong)])
            say(viewer, messages[i % len(messages)])
    assert viewer.get_state() == before
    assert wire == []
    assert len(caplog.records) == 1


def test_what_is_right_in_a_message_is_taken() -> None:
    viewer = Viewer()
    viewer.set_state({"step": "x", "word": "cat", "nothing": 1})
    assert (viewer.step, viewer.word) == (-1, "cat")


def test_an_argument_that_is_no_trait_is_named() -> None:
    with pytest.raises(TypeError, match="'wort'"):
        Viewer(wort="cat")


def test_viewers_are_linked_in_the_page() -> None:
    first, second, third = Viewer(), Denoising(), Attention()
    links = link(first, second, third, traits=["step", "word"])
    assert [(one.source, one.target) for one in links] == [
        ((first, "step"), (second, "step")),
        ((first, "word"), (second, "word")),
        ((first, "step"), (third, "step")),
        ((first, "word"), (third, "word")),
    ]
    ipywidgets.jslink((first, "layer"), (second, "layer"))  # as with any other widget


def test_only_selections_of_several_viewers_are_linked() -> None:
    with pytest.raises(InputError, match="two or more"):
        link(Viewer())
    with pytest.raises(InputError, match="'header'"):
        link(Viewer(), Viewer(), traits=["header"])


@pytest.mark.parametrize("wrong", [[], steps(2), iter(steps(2)), "cat.sdtrace", 5])
def test_what_is_no_record_is_refused(wrong: Any, trace: Trace) -> None:
    viewer = Viewer(trace)
    for show in (viewer.show, Viewer):
        with pytest.raises(InputError, match=r"viewer\.watch"):
            show(wrong)
    assert viewer.trace is trace


def test_a_run_behind_a_progress_bar_is_a_run(model: LatentDiffusion) -> None:
    from tqdm import tqdm

    bar = tqdm(model.sample("a cat", **ASKED), disable=True)
    assert Viewer(bar).header["pictures"][0]["prompt"] == "a cat"


@pytest.mark.parametrize(
    ("kind", "panels"),
    [(Viewer, ["denoising", "attention", "tokens", "control"]), (Denoising, ["denoising"]),
     (Attention, ["attention"]), (Tokens, ["tokens"])],
)  # fmt: skip
def test_each_viewer_has_its_panels(kind: type[Viewer], panels: list[str]) -> None:
    assert kind().get_state()["panels"] == panels


# ------------------------------------------------------------------------------- what is saved


@pytest.mark.slow
def test_a_run_of_the_bundled_model_takes_a_megabyte_of_a_notebook() -> None:
    model = sdwidgets.load()
    viewer = Viewer()
    prompt = "a cat left of a car on a blue background"
    list(viewer.watch(model.sample(prompt, steps=20, seed=7, attention=True)))
    assert "saved" not in viewer.header
    assert indices(viewer) == list(range(20))
    assert saved_size(viewer) <= 1_000_000


def test_a_large_run_is_saved_smaller(wire: Wire) -> None:
    viewer = Viewer(large())
    assert viewer.header["saved"] is True
    assert sum(len(getattr(viewer, name)) for name in FRAMES) <= SAVED
    assert max(shown(viewer)[0]["size"]) < 64
    assert [indices(viewer)[0], indices(viewer)[-1]] == [0, 11]
    whole, small = (frames_in(message) for message in wire if frames_in(message))
    assert sum(map(len, whole.values())) > SAVED
    assert meta(whole["frame0"])["size"] == [1, 4, 64, 64]
    assert set(small) <= set(whole)


def test_a_page_that_comes_late_may_ask_for_a_large_run_as_it_was(wire: Wire, say: Say) -> None:
    viewer = Viewer(large())
    wire.clear()
    say(viewer, {"kind": "frames"})
    ((message, buffers),) = wire
    content = message["content"]
    assert content["run"] == viewer.header["run"]
    assert content["names"] == [f"frame{i}" for i in range(12)]
    assert [meta(frame)["index"] for frame in buffers] == list(range(12))
    assert meta(buffers[0])["size"] == [1, 4, 64, 64]


def test_however_often_pages_ask_they_are_answered_once_a_second(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, say: Say
) -> None:
    monkeypatch.setattr(pace, "ANSWER_INTERVAL", 0.2)
    viewer = Viewer(large())
    wire.clear()
    for _ in range(1000):
        say(viewer, {"kind": "frames"})
    assert len(wire) == 1
    until(lambda: len(wire) == 2)  # for those who came after the first answer
    assert wire[0] == wire[1]


def test_a_run_that_is_saved_whole_is_not_sent_again(trace: Trace, wire: Wire, say: Say) -> None:
    viewer = Viewer(trace)
    wire.clear()
    say(viewer, {"kind": "frames"})
    assert wire == []


def test_a_step_of_a_large_batch_is_averaged_down() -> None:
    one = large(1)
    many = np.repeat(one.steps[0].x, 40, axis=0)
    step_ = replace(one.steps[0], x=many, denoised=many, attention=None, cond=None, uncond=None)
    viewer = Viewer()
    viewer.begin(replace(one, steps=()))
    viewer.add(step_)
    viewer.flush(everything=True)
    assert len(viewer.frame0) <= reel_module.LARGEST_FRAME
    assert shown(viewer)[0]["size"][0] == 40


def test_large_images_are_kept_as_jpeg() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    viewer = Viewer(replace(large(1), images=(Image.fromarray(pixels),)))
    (picture,) = viewer.pictures
    assert picture["type"] == "image/jpeg"
    assert len(picture["data"]) <= 100_000


def test_the_bundle_is_small() -> None:
    assert bundle("viewer.js").stat().st_size <= 60_000  # it is in the state of every viewer


# ------------------------------------------------------------------------ output, end of a widget


def test_before_a_run_the_output_is_a_line_of_text() -> None:
    data, _ = Viewer()._repr_mimebundle_()
    assert data["text/plain"] == "Viewer: no run yet"
    assert "application/vnd.jupyter.widget-view+json" in data
    assert "image/png" not in data


def test_where_no_script_runs_there_is_a_sheet_of_the_run(trace: Trace) -> None:
    data, _ = Viewer(trace)._repr_mimebundle_()
    plain, pinned = data, Viewer(trace, word="cat")._repr_mimebundle_()[0]
    assert data["text/plain"] == "Viewer: 5 steps of 'a cat on the dog', done"
    assert plain["image/png"] != pinned["image/png"]


def test_tokens_stand_without_an_image_there_too(trace: Trace) -> None:
    data, _ = Tokens(trace)._repr_mimebundle_()
    assert data["text/plain"] and "image/png" not in data


def test_a_word_that_is_not_in_the_prompt_spoils_no_output(trace: Trace) -> None:
    assert Viewer(trace, word="zebra", picture=9)._repr_mimebundle_()[0]["image/png"]


def test_steps_without_a_run_spoil_no_output() -> None:
    viewer = Viewer()
    list(viewer.watch(steps(3)))
    assert viewer._repr_mimebundle_()[0]["text/plain"] == "Viewer: 3 steps, done"


def test_a_viewer_cannot_be_sent() -> None:
    with pytest.raises(InputError, match="belongs to its notebook"):
        pickle.dumps(Viewer())


def test_a_viewer_closed_in_the_middle_ends_no_run(model: LatentDiffusion) -> None:
    viewer = Viewer()
    seen = 0
    for _ in viewer.watch(model.sample("a cat", **ASKED)):
        seen += 1
        if seen == 2:
            viewer.close()
    assert seen == 5


def test_running_the_cell_again_closes_its_viewers(monkeypatch: pytest.MonkeyPatch) -> None:
    execution = iter(["first", "second"])
    monkeypatch.setattr(kernel, "_made", {})
    monkeypatch.setattr(kernel, "current_cell", lambda: kernel.Cell("cell", next(execution)))
    old, new = Viewer(), Viewer()
    assert (old.comm is None, new.comm is None) == (True, False)


def test_closing_leaves_no_widget_behind() -> None:
    from ipywidgets.widgets import widget

    # ipywidgets 7 has its list in another place
    open_ones = getattr(widget, "_instances", None)
    if open_ones is None:
        open_ones = widget.Widget.widgets
    known = set(open_ones)
    Viewer().close()
    assert set(open_ones) == known


def test_a_record_is_shown_without_torch() -> None:
    code = (
        "import sys, sdwidgets as sdw; from sdwidgets.widgets import Viewer, Tokens;"
        "from sdwidgets.trace import Trace; from sdwidgets.settings import Settings;"
        "Viewer(Trace('m', 't', Settings())); Tokens(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_progress_bar_may_be_on_either_side(model: LatentDiffusion) -> None:
    from tqdm import tqdm

    viewer = Viewer()
    watched = viewer.watch(model.sample("a cat", **ASKED))
    assert len(watched) == len(list(watched)) == 5
    list(viewer.watch(tqdm(model.sample("a dog", **ASKED), disable=True)))
    assert viewer.header["pictures"][0]["prompt"] == "a dog" and len(viewer.pictures) == 1


def test_a_run_that_has_not_begun_shows_its_tokens(model: LatentDiffusion) -> None:
    viewer = Tokens(model.sample("a cat", **ASKED))
    assert viewer.header["pictures"][0]["pieces"] == ["a", "cat"]
    assert (viewer.state, viewer.message, indices(viewer)) == ("idle", "", [])


def test_without_a_page_the_output_has_the_run_when_it_is_over(
    model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[tuple[str, dict[str, Any], str]] = []
    for what in ("display", "update_display"):
        monkeypatch.setattr(kernel, what, lambda data, _, name, w=what: put.append((w, data, name)))
    monkeypatch.setattr(kernel, "without_page", lambda: True)
    viewer = Viewer()
    list(viewer.watch(model.sample("a cat", **ASKED)))  # not on any output yet
    viewer._ipython_display_()
    list(viewer.watch(model.sample("a cat", **ASKED)))
    assert [(what, name) for what, _, name in put] == [
        ("display", viewer.model_id), ("update_display", viewer.model_id),
    ]  # fmt: skip
    assert "5 steps" in put[1][1]["text/plain"] and "image/png" in put[1][1]


def test_what_a_page_shows_is_not_replaced_whatever_runs_at_the_end(
    model: LatentDiffusion, updates: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "without_page", lambda: False)
    viewer = Viewer()
    viewer._ipython_display_()
    monkeypatch.setattr(kernel, "without_page", lambda: True)  # a request that names no cell
    list(viewer.watch(model.sample("a cat", **ASKED)))
    assert updates == []
