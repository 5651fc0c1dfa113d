"""The view of a training without a browser: its thread and states, what it sends and how often."""

from __future__ import annotations

import gc
import json
import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ipywidgets
import numpy as np
import pytest
from PIL import Image
from random_values import anything

from sdwidgets.errors import Busy, CheckpointError, ImageError, InputError, NumericsError
from sdwidgets.frontend import bundle
from sdwidgets.widgets import TrainingView, kernel, pace
from sdwidgets.widgets import training as training_module
from sdwidgets.widgets.curve import LARGEST_NAMES, MOST, Curve
from sdwidgets.widgets.grids import LARGEST_SHEET, SLOTS, Grids, on_page, sheet
from sdwidgets.widgets.training import GRIDS

WAIT = 120  # seconds, never reached

Wire = list[tuple[dict[str, Any], list[Any]]]


@dataclass(frozen=True)
class Step:
    index: int
    total: int
    loss: float = 1.0
    lr: float = 1e-3
    seconds: float = 0.5
    metrics: dict[str, float] = field(default_factory=dict)


class Training:
    """Steps that a test lets through singly; notes whether it was closed, and on which thread.

    ``ends_with`` is raised after the last of its steps, ``left_by`` when it is closed.
    """

    def __init__(self, total: int = 5, ends_with: Any = None, left_by: Any = None):
        self.total, self.ends_with, self.left_by = total, ends_with, left_by
        self.passes = threading.Semaphore(0)
        self.asked = self.made = 0
        self.closed_on: threading.Thread | None = None

    def let(self, steps: int) -> None:
        for _ in range(steps):
            self.passes.release()

    def __iter__(self) -> Iterator[Step]:
        try:
            for index in range(self.total):
                self.asked += 1
                assert self.passes.acquire(timeout=WAIT)
                self.made += 1
                yield Step(index, self.total, loss=1 / (index + 1))
            if self.ends_with is not None:
                raise self.ends_with
        finally:
            self.closed_on = threading.current_thread()
            if self.left_by is not None:
                raise self.left_by


def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; fail if it never does."""
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)


def as_soon_as(condition: Callable[[], bool], then: Callable[[], object]) -> None:
    """Call ``then`` as soon as a condition holds, while the test waits for the result."""

    def wait() -> None:
        until(condition)
        then()

    threading.Thread(target=wait, daemon=True).start()


def steps(count: int, **values: Any) -> list[Step]:
    return [Step(index, count, **values) for index in range(count)]


def pictures(count: int = 4, size: int = 6) -> np.ndarray:
    return np.full((count, size, size, 3), 200, np.uint8)


def noise(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def table(view: TrainingView) -> np.ndarray:
    """Return what the page plots: a row per step, see `Curve.table`."""
    return np.frombuffer(view.curve, "<f4").reshape(-1, 1 + 2 * len(view.names))


@pytest.fixture
def view() -> Iterator[TrainingView]:
    view = TrainingView()
    yield view
    view.close()


@pytest.fixture
def training() -> Iterator[Training]:
    training = Training()
    yield training
    training.let(1000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that tests set."""
    clock = SimpleNamespace(now=100.0)
    clock.perf_counter = lambda: clock.now
    for module in (pace, training_module):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(pace.Pace, "_all_sent", 0.0)
    return clock


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Everything that goes to the page from now on."""
    if ipywidgets.__version__.startswith("7."):
        pytest.skip("this ipywidgets sends nothing where there is no kernel")
    sent: Wire = []

    def send(self: Any, content: dict[str, Any], buffers: Any = None) -> None:
        sent.append((content, list(buffers or ())))

    monkeypatch.setattr(TrainingView, "_send", send)
    return sent


# ------------------------------------------------------------------------------ on its own thread


def test_start_returns_at_once_and_wait_waits(view: TrainingView, training: Training) -> None:
    assert view.start(training) is view
    assert view.run["state"] == "running"
    training.let(5)
    view.wait()
    assert (view.run["state"], view.run["message"]) == ("done", "Done: 5 steps")
    assert [step.index for step in view.steps] == [0, 1, 2, 3, 4]


def test_a_paused_training_makes_no_step_until_it_is_resumed(
    view: TrainingView, training: Training
) -> None:
    view.start(training)
    training.let(2)
    until(lambda: training.asked == 3)  # the third step is under way
    view.pause()
    assert view.run["state"] == "pausing"
    training.let(3)
    until(lambda: view.run["state"] == "paused")
    assert training.made == 3
    assert view.run["message"] == "Paused after step 3"
    assert view.numbers["step"] == 3
    view.resume()
    view.wait()
    assert training.made == 5


def test_pausing_takes_nothing_from_the_time_left(
    view: TrainingView, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rest(go: threading.Event, *_: Any) -> bool:
        clock.now += 1000
        view.resume()
        return go.is_set()

    monkeypatch.setattr(kernel, "wait_for", rest)
    watched = view.watch(steps(10))
    next(watched)
    clock.now += 1
    next(watched)
    view.pause()
    next(watched)
    clock.now += 1
    next(watched)
    assert view.numbers["left"] == pytest.approx(6 * 2 / 3)


def test_stop_closes_the_training_on_its_own_thread(view: TrainingView, training: Training) -> None:
    view.start(training)
    training.let(2)
    until(lambda: training.asked == 3)
    view.stop()
    assert view.run["state"] == "stopping"
    training.let(1)
    view.wait()
    assert (view.run["state"], view.run["message"]) == ("stopped", "Stopped after step 3")
    assert training.closed_on is not None
    assert training.closed_on is not threading.current_thread()


def test_a_paused_training_can_be_stopped(view: TrainingView, training: Training) -> None:
    view.start(training)
    training.let(1)
    until(lambda: training.asked == 2)
    view.pause()
    training.let(1)
    until(lambda: view.run["state"] == "paused")
    view.stop()
    view.wait()
    assert view.run["message"] == "Stopped after step 2"
    assert training.closed_on is not None


def test_steps_that_cannot_even_begin_are_an_error(view: TrainingView) -> None:
    class Broken:
        def __iter__(self) -> Iterator[Step]:
            raise OSError("no such folder")

    view.start(Broken())
    with pytest.raises(OSError, match="no such folder"):
        view.wait()
    assert view.run["state"] == "error"


def test_a_training_behind_a_progress_bar_is_closed_too(view: TrainingView) -> None:
    tqdm = pytest.importorskip("tqdm")
    closed: list[bool] = []

    def endless() -> Iterator[Step]:
        try:
            for index in range(10**6):
                yield Step(index, 10**6)
        finally:
            closed.append(True)

    kept = endless()  # kept, so that it is not closed by garbage collection
    view.start(tqdm.tqdm(kept, disable=True))
    until(lambda: bool(view.steps))
    view.stop()
    view.wait()
    assert closed == [True]


def test_wait_raises_what_ended_it(view: TrainingView) -> None:
    training = Training(2, ends_with=NumericsError("The loss became nan at step 2.\nLower it."))
    training.let(2)
    view.start(training)
    with pytest.raises(NumericsError, match="step 2"):
        view.wait()
    assert view.run["state"] == "error"
    assert view.run["message"] == "The loss became nan at step 2.\nLower it."


def test_an_error_has_three_lines_at_most(view: TrainingView) -> None:
    view.start(Training(0, ends_with=ValueError("one\ntwo\nthree\nfour")))
    with pytest.raises(ValueError, match="one"):
        view.wait()
    assert view.run["message"] == "ValueError: one\ntwo\nthree"


def test_a_checkpoint_that_cannot_be_written_is_no_quiet_stop(view: TrainingView) -> None:
    training = Training(5, left_by=CheckpointError("mine.pt could not be written: disk full."))
    view.start(training)
    training.let(1)
    until(lambda: bool(view.steps))
    view.stop()
    training.let(1)
    with pytest.raises(CheckpointError, match="disk full"):
        view.wait()
    assert view.run["state"] == "error"


def test_wait_gives_up_after_its_time_and_the_training_goes_on(
    view: TrainingView, training: Training
) -> None:
    view.start(training)
    with pytest.raises(TimeoutError, match="goes on"):
        view.wait(timeout=0.05)
    training.let(5)
    view.wait()


def test_ctrl_c_in_wait_stops_the_training(
    view: TrainingView, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    view.start(training)

    def interrupted(*_: Any) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kernel, "wait_for", interrupted)
        with pytest.raises(KeyboardInterrupt):
            view.wait()
    training.let(1)
    view.wait()
    assert view.run["state"] == "stopped"


def test_waiting_before_the_first_training_is_no_error(view: TrainingView) -> None:
    view.wait()
    view.pause()
    view.resume()
    view.stop()
    assert view.run["state"] == "idle"


def test_a_training_cannot_wait_for_itself(view: TrainingView) -> None:
    said: list[str] = []

    def made() -> np.ndarray:
        try:
            view.wait()
        except Busy as error:
            said.append(str(error))
        return pictures()

    view.start(steps(1), pictures=made)
    view.wait()
    assert said and "own thread" in said[0]


def test_without_a_thread_the_training_is_over_and_says_why(
    view: TrainingView, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(Busy, match="can't start new thread"):
            view.start(steps(1))
    assert view.run["state"] == "error" and "can't start new thread" in view.run["message"]
    with pytest.raises(Busy, match="can't start new thread"):
        view.wait()
    view.start(steps(1)).wait()
    assert view.run["state"] == "done"


def test_a_second_training_at_the_same_time_is_refused(
    view: TrainingView, training: Training
) -> None:
    view.start(training)
    with pytest.raises(Busy, match="goes on"):
        view.start(steps(1))
    training.let(5)
    view.wait()
    view.start(steps(1)).wait()
    assert view.run["id"] == 2


def test_a_new_training_forgets_the_one_before(view: TrainingView) -> None:
    view.start(steps(20), pictures=pictures, every=2).wait()
    view.start(steps(1)).wait()
    assert len(view.steps) == 1
    assert not view.images


def test_close_ends_the_training_and_waits_for_it(training: Training) -> None:
    view = TrainingView()
    view.start(training)
    training.let(1)
    until(lambda: training.asked == 2)
    as_soon_as(lambda: view.run["state"] == "stopping", lambda: training.let(1))
    view.close()
    assert training.closed_on is not None
    assert training.made == 2
    with pytest.raises(InputError, match="closed"):
        view.start(steps(1))


def test_the_cell_run_again_ends_its_old_training(
    monkeypatch: pytest.MonkeyPatch, training: Training
) -> None:
    monkeypatch.setattr(kernel, "current_cell", lambda: kernel.Cell("cell", "first"))
    old = TrainingView()
    old.start(training)
    training.let(1)
    until(lambda: bool(old.steps))

    def let_it_stop(change: Any) -> None:
        if change.new["state"] == "stopping":
            training.let(1)

    old.observe(let_it_stop, "run")
    monkeypatch.setattr(kernel, "current_cell", lambda: kernel.Cell("cell", "second"))
    new = TrainingView()
    assert training.closed_on is not None
    assert old.run["state"] == "stopped"
    new.close()


def test_a_finished_view_leaves_nothing_behind() -> None:
    before = threading.active_count()
    view = TrainingView()
    view.start(steps(3), pictures=pictures).wait()
    view.close()
    del view
    gc.collect()
    until(lambda: threading.active_count() <= before)


# ----------------------------------------------------------------------- in a loop of the user


def test_the_same_steps_pass_through(view: TrainingView) -> None:
    made = steps(4)
    assert list(view.watch(made)) == made
    assert view.run["state"] == "done"
    assert len(view.watch(made)) == 4


def test_a_loop_that_is_left_is_stopped_and_its_training_closed(view: TrainingView) -> None:
    training = Training()
    training.let(5)
    watched = view.watch(training)
    next(watched)
    watched.close()
    assert training.closed_on is threading.current_thread()
    assert (view.run["state"], view.run["message"]) == ("stopped", "Stopped after step 1")


def test_stop_in_a_loop_ends_it_without_an_error(view: TrainingView) -> None:
    seen = []
    for step in view.watch(steps(10)):
        seen.append(step.index)
        if step.index == 3:
            view.stop()
    assert seen == [0, 1, 2, 3]
    view.wait()


def test_what_a_loop_raises_is_shown_and_passes_on(view: TrainingView) -> None:
    training = Training(1, ends_with=OSError("no space left"))
    training.let(1)
    with pytest.raises(OSError, match="no space"):
        list(view.watch(training))
    assert view.run["message"] == "OSError: no space left"


def test_a_loop_left_by_an_error_gives_way_to_the_next(view: TrainingView) -> None:
    training = Training()
    training.let(5)
    abandoned = view.watch(training)
    next(abandoned)  # and it is abandoned
    assert len(list(view.watch(steps(2)))) == 2
    assert training.closed_on is not None
    assert list(abandoned) == []
    assert view.run["state"] == "done"


def test_close_ends_a_loop(training: Training) -> None:
    view = TrainingView()
    training.let(5)
    watched = view.watch(training)
    next(watched)
    view.close()
    assert list(watched) == []
    assert training.closed_on is not None


# ---------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("wrong", [None, 7, object()])
def test_what_cannot_be_iterated_is_refused_at_once(view: TrainingView, wrong: Any) -> None:
    with pytest.raises(InputError, match="iterator of training steps"):
        view.start(wrong)


def test_steps_of_something_else_end_the_run_with_a_word(view: TrainingView) -> None:
    view.start([1.5, 2.5])  # type: ignore[list-item]
    with pytest.raises(InputError, match="steps of a training, got a float"):
        view.wait()


@pytest.mark.parametrize("name", ["every", "columns", "samples_per_step"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "many", True])
def test_counts_are_whole_and_positive(view: TrainingView, name: str, value: Any) -> None:
    with pytest.raises(InputError, match=name):
        view.start(steps(1), **{name: value})


def test_pictures_are_made_by_a_function(view: TrainingView) -> None:
    with pytest.raises(InputError, match="without brackets"):
        view.start(steps(1), pictures=pictures())  # type: ignore[arg-type]


def test_ten_thousand_malformed_messages_change_nothing(
    view: TrainingView, training: Training
) -> None:
    view.start(training)
    before = view.get_state()
    rng = random.Random(0)
    for message in (anything(rng) for _ in range(10_000)):
        view._handle_custom_msg(message, [])
        view._handle_custom_msg({"kind": message}, [])
        view.set_state(message)
        view.set_state({"run": message, "curve": message, "grid0": message})
    assert view.get_state() == before
    training.let(5)
    view.wait()


@pytest.mark.parametrize(("kind", "state"), [("pause", "pausing"), ("stop", "stopping")])
def test_the_page_may_ask(view: TrainingView, training: Training, kind: str, state: str) -> None:
    view.start(training)
    until(lambda: training.asked == 1)  # or it would be paused or stopped too early
    view._handle_custom_msg({"kind": kind}, [])
    assert view.run["state"] == state
    view._handle_custom_msg({"kind": "resume"}, [])
    assert view.run["state"] == ("running" if kind == "pause" else "stopping")


def test_a_page_that_greets_is_answered(view: TrainingView, wire: Wire) -> None:
    view._handle_custom_msg({"kind": "hello"}, [])
    assert wire[-1][0]["content"] == {"kind": "hello"}


# ------------------------------------------------------------------------------- what is sent


def test_a_fast_training_sends_about_ten_updates_a_second(
    wire: Wire, clock: SimpleNamespace
) -> None:
    view = TrainingView()
    wire.clear()
    for _ in view.watch(steps(1000), pictures=pictures, every=1):  # within two seconds
        clock.now += 0.002
    assert len(wire) <= 2 * 10 + 5


def test_the_last_state_is_always_sent(clock: SimpleNamespace) -> None:
    view = TrainingView()
    shown = iter(range(1000))
    made = [np.full((1, 2, 2, 3), number % 256, np.uint8) for number in shown]
    each = iter(made)
    list(view.watch(steps(1000), pictures=lambda: next(each), every=10))
    assert view.numbers["step"] == 1000
    assert table(view)[-1, 0] == 1000
    assert max(view.images) == 1000
    assert view.run["state"] == "done"


def test_a_sheet_is_sent_once(wire: Wire, clock: SimpleNamespace) -> None:
    view = TrainingView()
    wire.clear()
    for _ in view.watch(steps(30), pictures=pictures, every=10):
        clock.now += 1
    sent = [name for message, _ in wire for name in GRIDS if message["state"].get(name)]
    assert sorted(sent) == ["grid0", "grid1", "grid2", "grid3"]


def test_everything_sent_is_json_beside_its_bytes(wire: Wire) -> None:
    view = TrainingView()
    bad = [Step(0, 2, math.nan, math.inf, 0.0, {"a": math.nan}), Step(1, 2, 1.0, metrics={"b": 1})]
    list(view.watch(bad, pictures=pictures))
    for message, _ in wire:
        json.dumps(message, allow_nan=False, default=lambda other: f"a {type(other).__name__}")
    assert view.numbers["lr"] == 1e-3


def test_the_numbers_of_a_step(clock: SimpleNamespace, view: TrainingView) -> None:
    for _ in view.watch(steps(10, seconds=0.25), samples_per_step=16):
        clock.now += 0.5  # the loop takes its time, too
        if view.numbers["step"] == 5:
            break
    assert view.numbers["steps"] == 10
    assert view.numbers["rate"] == pytest.approx(64)
    assert view.numbers["seconds"] == pytest.approx(0.25)
    assert view.numbers["left"] == pytest.approx(2.5)
    assert view.numbers["means"] == {"loss": 1.0}


def test_a_resumed_training_counts_the_time_from_where_it_began(
    clock: SimpleNamespace, view: TrainingView
) -> None:
    for _ in view.watch(steps(10)[6:]):
        clock.now += 2
        if view.numbers["step"] == 8:
            break
    assert view.numbers["left"] == pytest.approx(4)


def test_a_step_that_cannot_be_shown_ends_no_training(
    view: TrainingView, caplog: pytest.LogCaptureFixture
) -> None:
    odd = [Step(0, 2), Step(1, 2, metrics={"name": "no number"})]  # type: ignore[dict-item]
    assert len(list(view.watch(odd))) == 2
    assert view.run["state"] == "done"
    assert "cannot be shown" in caplog.text


# ----------------------------------------------------------------------------------- the images


def test_pictures_are_made_first_at_intervals_and_last(view: TrainingView) -> None:
    view.start(steps(25), pictures=pictures, every=10).wait()
    assert set(view.images) <= {1, 10, 20, 25}  # above ten per second, only some are kept
    assert {1, 25} <= set(view.images)


def test_pictures_are_made_on_the_thread_of_the_training(view: TrainingView) -> None:
    threads = []

    def made() -> np.ndarray:
        threads.append(threading.current_thread().name)
        return pictures()

    view.start(steps(1), pictures=made).wait()
    assert threads == ["sdwidgets training"]


def test_pictures_that_fail_are_said_and_the_training_goes_on(view: TrainingView) -> None:
    asked = []

    def fails() -> np.ndarray:
        asked.append(1)
        raise MemoryError("no room")

    view.start(steps(30), pictures=fails, every=5).wait()
    assert view.run["state"] == "done"
    assert view.run["message"] == "Done: 30 steps\nNo more images: MemoryError: no room"
    assert len(asked) == 1


@pytest.mark.parametrize("wrong", [[], [pictures()[0], pictures(size=4)[0]], "text", np.zeros(3)])
def test_pictures_that_are_none_are_said(view: TrainingView, wrong: Any) -> None:
    view.start(steps(2), pictures=lambda: wrong).wait()
    assert "No more images" in view.run["message"]


def test_a_sheet_is_about_as_wide_as_high() -> None:
    whole, rows, columns = sheet(pictures(16))
    assert (whole.size, rows, columns) == ((24, 24), 4, 4)
    assert sheet(pictures(5))[1:] == (2, 3)
    assert sheet(pictures(8), columns=2)[1:] == (4, 2)


@pytest.mark.parametrize(
    "given",
    [
        np.ones((2, 4, 4, 3), np.float32),
        [Image.new("RGB", (4, 4), "white")] * 2,
        [np.full((4, 4), 255, np.uint8)] * 2,
    ],
)
def test_pictures_of_every_kind_become_a_sheet(given: Any) -> None:
    whole, _, _ = sheet(given)
    assert whole.size == (8, 4)
    assert whole.getpixel((0, 0)) == (255, 255, 255)


def test_tensors_become_a_sheet() -> None:
    torch = pytest.importorskip("torch")
    assert sheet(torch.ones(3, 4, 4, 3))[0].size == (8, 8)


def test_one_picture_is_a_sheet() -> None:
    assert sheet(pictures()[0])[1:] == (1, 1)


def test_too_many_pictures_are_no_sheet() -> None:
    with pytest.raises(ImageError, match="257 images"):
        sheet(pictures(257, size=1))


def test_a_large_sheet_is_made_smaller() -> None:
    grid = on_page(noise(16, 64), 7, None)
    assert len(grid["data"]) <= LARGEST_SHEET
    assert grid["size"] == [256, 256]
    assert (grid["step"], grid["type"]) == (7, "image/jpeg")


def test_of_many_sheets_the_first_and_the_newest_are_kept() -> None:
    grids, slots = Grids(), {}
    for number in range(200):
        slot, empty = grids.add()
        assert slot not in empty
        for one in empty:
            del slots[one]
        slots[slot] = number
        kept = [slots[one] for one in grids.slots()]
        assert sorted(slots) == sorted(grids.slots())
        assert kept == sorted(kept)
        assert kept[0] == 0 and kept[-1] == number
        assert len(kept) <= SLOTS
    gaps = np.diff(kept)
    assert len(set(gaps[:-1])) == 1


# ------------------------------------------------------------------------------------ the curve


def test_a_short_training_is_kept_whole() -> None:
    curve = Curve()
    for step in steps(MOST):
        curve.add(step)
    assert [step.index for step in curve.steps] == list(range(MOST))


@pytest.mark.parametrize("count", [MOST + 1, 1000, 12_345])
def test_of_a_long_training_some_steps_are_kept_with_both_ends(count: int) -> None:
    curve = Curve()
    for step in steps(count):
        curve.add(step)
    kept = [step.index for step in curve.steps]
    assert MOST / 2 <= len(kept) <= MOST + 1
    assert kept[0] == 0 and kept[-1] == count - 1
    assert len(set(np.diff(kept[:-1]))) == 1
    assert curve.table()[:, 0].tolist() == [index + 1 for index in kept]


def test_the_mean_follows_all_steps_also_those_not_kept() -> None:
    curve = Curve()
    for index in range(4 * MOST):
        curve.add(Step(index, 4 * MOST, loss=float(index % 2)))
    assert curve.table()[-1, 2] == pytest.approx(0.5, abs=0.05)


def test_the_mean_begins_as_that_of_all_values_so_far() -> None:
    curve = Curve()
    for index, loss in enumerate((4.0, 2.0, 3.0)):
        curve.add(Step(index, 3, loss=loss))
    assert curve.table()[:, 2].tolist() == [4.0, 3.0, 3.0]


def test_a_metric_that_comes_late_has_gaps_before() -> None:
    curve = Curve()
    curve.add(Step(0, 2))
    curve.add(Step(1, 2, metrics={"late": 5.0}))
    assert curve.names == ["loss", "late"]
    assert math.isnan(curve.table()[0, 3])
    assert curve.table()[1, 3:].tolist() == [5.0, 5.0]


def test_so_many_values_are_plotted_and_no_more() -> None:
    curve = Curve()
    curve.add(Step(0, 1, metrics={f"m{i}": 0.0 for i in range(50)}))
    assert len(curve.names) == LARGEST_NAMES


def test_what_is_not_finite_is_in_no_mean() -> None:
    curve = Curve()
    for index, loss in enumerate((2.0, math.nan, math.inf, 4.0)):
        curve.add(Step(index, 4, loss=loss))
    assert curve.means() == {"loss": 3.0}


# ------------------------------------------------------------------------------------ as output


def test_it_says_what_it_shows(view: TrainingView) -> None:
    assert repr(view) == "TrainingView: idle"
    view.start(steps(3, loss=0.125)).wait()
    assert repr(view) == "TrainingView: step 3 of 3, loss 0.125, done"


def test_where_no_widget_can_be_shown_the_newest_pictures_are(view: TrainingView) -> None:
    view.start(steps(3), pictures=pictures).wait()
    data, _ = view._repr_mimebundle_()
    assert data["image/png"]
    assert data["text/plain"].startswith("TrainingView: step 3 of 3")


def test_without_a_page_the_output_is_replaced_at_the_end(
    view: TrainingView, updates: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "without_page", lambda: True)
    view._ipython_display_()
    view.start(steps(3), pictures=pictures).wait()
    assert len(updates) == 1
    assert updates[0]["image/png"]


def test_what_a_page_shows_is_not_replaced_whatever_runs_at_the_end(
    view: TrainingView, updates: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "without_page", lambda: False)
    view._ipython_display_()
    monkeypatch.setattr(kernel, "without_page", lambda: True)  # a request that names no cell
    view.start(steps(3), pictures=pictures).wait()
    assert updates == []


def test_the_bundle_is_small() -> None:
    assert bundle("training.js").stat().st_size <= 60_000


# --------------------------------------------------------------- with the package's training loop


@pytest.fixture
def line() -> Any:
    """A task that learns a linear map."""
    torch = pytest.importorskip("torch")

    class Line:
        def __init__(self) -> None:
            torch.manual_seed(0)
            self.model = torch.nn.Linear(4, 3)

        def loss(self, draw: Any) -> dict[str, Any]:
            return {"loss": (self.model(draw.normal(4)) - 1).square().mean()}

    return Line


def test_a_stopped_training_can_be_gone_on_with(
    view: TrainingView, line: Any, tmp_path: Path
) -> None:
    import torch

    from sdwidgets.training.loop import Plan, train

    plan, file = Plan(steps=100_000, batch_size=2), tmp_path / "line.pt"
    task = line()
    view.start(train(task, plan, file))
    until(lambda: len(view.steps) >= 3)
    view.pause()
    until(lambda: view.run["state"] == "paused")
    reached = view.numbers["step"]
    view.stop()
    view.wait()
    state = torch.load(file, weights_only=True)
    assert state["step"] == reached
    for name, value in task.model.state_dict().items():
        assert torch.equal(state["model"][name], value)
    again = next(iter(view.watch(train(line(), plan, file))))
    assert again.index == reached


# ------------------------------------------------------------------------- prompts


class Sampled:
    """A task that makes images for prompts."""

    prompts = ("a red car", "a blue tree", "x" * 300)

    def samples(self) -> np.ndarray:
        return np.zeros((4, 8, 8, 3), np.uint8)


def test_images_carry_the_prompts_of_their_task() -> None:
    view = TrainingView()
    for _ in view.watch(steps(1), pictures=Sampled().samples):
        pass
    told = view.grid0["prompts"]
    assert told == ["a red car", "a blue tree", "x" * 197 + "...", "a red car"]
    for _ in view.watch(steps(1), pictures=Sampled().samples, prompts=["mine"]):
        pass
    assert view.grid0["prompts"] == ["mine"] * 4


@pytest.mark.parametrize("prompts", [(), [""], ["", ""]])
def test_images_without_prompts_carry_none(prompts: Sequence[str]) -> None:
    assert on_page(np.zeros((4, 8, 8, 3), np.uint8), 1, None, prompts)["prompts"] == []


@pytest.mark.parametrize("prompts", ["a car", [1], 5, {"a": 1}.items()])
def test_prompts_are_a_list_of_texts(prompts: Any) -> None:
    with pytest.raises(InputError, match="prompts must be a list of texts"):
        TrainingView().watch(steps(1), prompts=prompts)
