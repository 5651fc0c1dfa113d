"""The worker for all runs: turns, Stop, errors, memory, and nothing left behind.

Timing is scripted: the steps of a fake model wait for the test, so that nothing sleeps.
"""

from __future__ import annotations

import _thread
import copy
import gc
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdwidgets import manager as manager_module
from sdwidgets import settings as settings_module
from sdwidgets.checkpoints.zoo import bundled_models
from sdwidgets.configs import TINY, ModelConfig
from sdwidgets.errors import Busy, CheckpointError, InputError, OutOfMemory, Stopped
from sdwidgets.manager import Job, ModelManager, Request
from sdwidgets.pictures import Start
from sdwidgets.settings import Settings

LIMIT = 120  # seconds, more than anything here takes


class Weight:
    """Stands for a tensor, with weak references."""


class FakeRun:
    """A run that makes step i by ``step(i)``, with the interface that records need."""

    model_name, task, notices, model = "fake", "text to image", (), None

    def __init__(self, count: int, settings: Settings, step: Callable[[int], None]):
        self.count, self.settings, self.step = count, settings, step
        self.seconds: list[float] = []
        self.closed = False
        self._steps = (self._make(i) for i in range(count))

    def _make(self, i: int) -> Any:
        big = Weight()  # the frames of an error would keep it
        TENSORS.append(weakref.ref(big))
        self.step(i)
        x = np.zeros((1, 1, 1, 1), np.float32)
        latents = dict.fromkeys(("x", "denoised", "x_next"), x)
        nothing = dict.fromkeys(("attention", "cond", "uncond"))
        levels = {"sigma": 1.0, "sigma_next": 0.0}
        return SimpleNamespace(index=i, seed=self.settings.seed, **latents, **nothing, **levels)

    def prompt_tokens(self) -> tuple[()]:
        return ()

    negative_tokens = prompt_tokens

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> FakeRun:
        return self

    def __next__(self) -> Any:
        return next(self._steps)

    def close(self) -> None:
        self.closed = True

    def pictures(self, step: Any) -> list[Image.Image]:
        return [Image.effect_noise((4, 4), 50)]


TENSORS: list[weakref.ref[Weight]] = []


@dataclass
class FakeModel:
    """Counts its runs; ``step`` is called in every step."""

    name: str = "fake"
    step: Callable[[int], None] = lambda i: None
    config: ModelConfig = TINY
    runs: list[FakeRun] = field(default_factory=list)
    active: int = 0

    def run(
        self, settings: Settings, start: Start | None, *, attention: bool, control: tuple[Any, ...]
    ) -> FakeRun:
        self.runs.append(FakeRun(settings.steps, settings.checked(TINY), self.step))
        return self.runs[-1]


class Models:
    """A ``load`` for the manager: models by name, their bytes, and the names loaded so far."""

    def __init__(self, step: Callable[[int], None] = lambda i: None, size: int = 10):
        self.step, self.size, self.loads = step, size, list[str]()
        self.made: list[weakref.ref[FakeModel]] = []
        self.during: Callable[[str], None] = lambda name: None

    def __call__(self, name: str, *, make_room: Any, stop: Any) -> Any:
        self.during(name)
        if name == "broken":
            raise CheckpointError("This file is broken.")
        if stop():
            raise Stopped("Stopped.")
        make_room(self.size, "cpu")
        self.loads.append(name)
        model = FakeModel(name, self.step)
        self.made.append(weakref.ref(model))
        return model


def request(steps: int = 3, model: str = "one", **settings: Any) -> Request:
    return Request(model, Settings(steps=steps, **settings))


@pytest.fixture
def manager() -> Iterator[ModelManager]:
    with ModelManager(Models()) as manager:
        yield manager


class Gate:
    """Holds step ``at`` of a run until `open`; `reached` is set when the run is there."""

    def __init__(self, at: int = 0):
        self.at, self.reached, self.opened = at, threading.Event(), threading.Event()

    def __call__(self, i: int) -> None:
        if i == self.at:
            self.reached.set()
            assert self.opened.wait(LIMIT)

    def open(self) -> None:
        self.opened.set()


# ----------------------------------------------------------------------------------- runs and turns


def test_a_run_gives_its_record(manager: ModelManager) -> None:
    trace = manager.submit(request(5, seed=7)).result(LIMIT)
    assert len(trace.steps) == 5 and trace.settings.seed == 7 and trace.complete


def test_states_come_in_order(manager: ModelManager) -> None:
    states: list[str] = []
    manager.submit(request(), on_state=states.append).result(LIMIT)
    assert states == ["queued", "loading", "running", "done"]


def test_what_a_job_waits_for_is_said(manager: ModelManager) -> None:
    gate = Gate()
    manager._load.step = gate  # type: ignore[union-attr]
    first = manager.submit(request())
    assert gate.reached.wait(LIMIT)
    said: list[str] = []
    jobs = [first, *(manager.submit(request(), on_message=said.append) for _ in range(2))]
    assert [job.ahead for job in jobs] == [0, 1, 2]
    assert [job.message for job in jobs] == ["", "Waiting for another run", "Waiting for 2 runs"]
    jobs[1].cancel()
    assert (jobs[2].ahead, jobs[2].message) == (1, "Waiting for another run")
    gate.open()
    jobs[2].result(LIMIT)
    assert jobs[2].ahead == 0 and jobs[2].message == ""
    stopped = "Stopped before it began."
    assert jobs[1].message == stopped and stopped in said


def test_what_is_being_loaded_is_said_also_to_those_that_wait_for_it() -> None:
    models = Models()
    began, go = threading.Event(), threading.Event()
    models.during = lambda _: (began.set(), go.wait(LIMIT))  # type: ignore[assignment]
    with ModelManager(models) as manager:
        loading = manager.warm_up("one")
        assert began.wait(LIMIT)
        said: list[str] = []
        job = manager.submit(request(), on_message=said.append)
        assert loading.message == job.message == "Opening one"
        go.set()
        job.result(LIMIT)
    assert said == ["Opening one", "Reading the weights of one, 10 bytes", ""]


def test_a_message_about_a_run_that_waits_never_outlives_its_waiting() -> None:
    with ModelManager(Models()) as manager:
        jobs = [manager.submit(request(2)) for _ in range(50)]
        for job in jobs[::3]:
            job.cancel()
        for job in jobs:
            job.wait(LIMIT)
        assert not any("Waiting" in job.message or job.ahead for job in jobs)


def test_a_loaded_model_is_not_loaded_again(manager: ModelManager) -> None:
    states: list[str] = []
    manager.submit(request()).result(LIMIT)
    manager.submit(request(), on_state=states.append).result(LIMIT)
    assert states == ["queued", "running", "done"]
    assert manager._load.loads == ["one"]  # type: ignore[union-attr]


def test_every_step_is_told(manager: ModelManager) -> None:
    steps: list[int] = []
    manager.submit(request(4), on_step=lambda step: steps.append(step.index)).result(LIMIT)
    assert steps == [0, 1, 2, 3]


def test_the_run_is_told_once_before_its_first_step(manager: ModelManager) -> None:
    told: list[Any] = []
    job = manager.submit(
        request(2, seed=7),
        on_run=lambda run: told.append((len(run), run.settings.seed, len(run.seconds))),
        on_step=lambda step: told.append(step.index),
        on_state=told.append,
    )
    job.result(LIMIT)
    assert told == ["queued", "loading", "running", (2, 7, 0), 0, 1, "done"]


def test_the_run_told_is_the_one_whose_steps_are_taken(manager: ModelManager) -> None:
    runs: list[Any] = []
    manager.submit(request(), on_run=runs.append).result(LIMIT)
    model: Any = manager.load("one")
    assert len(model.runs) == 1 and runs == model.runs


def test_steps_are_told_on_the_worker(manager: ModelManager) -> None:
    threads: set[threading.Thread] = set()
    job = manager.submit(request(), on_step=lambda _: threads.add(threading.current_thread()))
    job.result(LIMIT)
    assert len(threads) == 1 and threading.current_thread() not in threads


def test_eight_threads_take_turns() -> None:
    active, most = 0, 0

    def step(i: int) -> None:
        nonlocal active, most
        active += 1
        most = max(most, active)
        active -= 1

    with ModelManager(Models(step)) as manager:
        jobs: list[Job] = []

        def submit(n: int) -> None:
            jobs.append(manager.submit(request(n + 1, seed=n)))

        threads = [threading.Thread(target=submit, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)
        traces = [job.result(LIMIT) for job in jobs]
    assert most == 1
    assert sorted((t.settings.seed, len(t.steps)) for t in traces) == [(n, n + 1) for n in range(8)]
    assert len({job.id for job in jobs}) == 8


@pytest.mark.parametrize(
    "bad", [None, "one", Request("", Settings()), Request(None, Settings()), Request("one", {})]
)
def test_what_is_no_request_is_refused_at_once(manager: ModelManager, bad: Any) -> None:
    with pytest.raises(InputError):
        manager.submit(bad)


def told(manager: ModelManager, request: Request) -> tuple[list[str], InputError]:
    """Return the reported states of a refused request, and the reason."""
    states: list[str] = []
    with pytest.raises(InputError) as caught:
        manager.submit(request, on_state=states.append)
    return states, caught.value


@pytest.mark.parametrize("odd", [5, 1j, [], [None], {}, object(), np.zeros(3), b"x", 10**400])
def test_wrong_types_are_refused_at_once(manager: ModelManager, odd: Any) -> None:
    job = manager.submit(request())
    calls: list[Callable[[], object]] = [
        lambda: manager.load(odd),
        lambda: manager.warm_up(odd),
        lambda: manager.unload(odd),
        lambda: manager.add(odd),
        lambda: manager.add(FakeModel(), odd),  # type: ignore[arg-type]
        lambda: ModelManager(odd),
        lambda: ModelManager(budget=-1 if isinstance(odd, int) else odd),
        *(
            lambda name=name: manager.submit(request(), **{name: odd})  # type: ignore[misc]
            for name in ("on_run", "on_step", "on_state", "on_message")
        ),
    ]
    if not (isinstance(odd, int) and odd == 5):
        calls += [lambda: job.wait(odd), lambda: job.result(odd)]
    for call in calls:
        with pytest.raises(InputError) as caught:
            call()
        assert len(str(caught.value).splitlines()) <= 3
    job.result(LIMIT)


def test_a_second_interrupt_while_stopping_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = Gate()
    with ModelManager(Models(gate)) as manager:
        job = manager.submit(request())
        assert gate.reached.wait(LIMIT)

        def interrupted(_: float) -> bool:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(job._finished, "wait", interrupted)
            for _ in range(2):
                with pytest.raises(KeyboardInterrupt):
                    job.wait()
        gate.open()
        assert job.wait(LIMIT) and job.state == "stopped"
        manager._load.step = lambda i: None  # type: ignore[union-attr]
        manager.unload("one")
        assert manager.submit(request()).result(LIMIT).complete


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("sampler", "dpm"), ("width", 10**6)])
def test_settings_that_no_model_takes_are_refused_before_it_is_loaded(
    manager: ModelManager, name: str, value: Any
) -> None:
    states, error = told(manager, Request("one", Settings(**{name: value})))
    assert states == [] and error.parameter == name
    assert manager._worker is None  # so nothing was loaded


def test_settings_that_a_loaded_model_does_not_take_are_refused_at_once(
    manager: ModelManager,
) -> None:
    manager.load("one")
    states, error = told(manager, Request("one", Settings(width=7)))
    assert states == [] and "multiple of 2" in str(error)


def test_images_are_checked_at_once(manager: ModelManager, tmp_path: Path) -> None:
    grey = Image.new("RGB", (8, 8), "grey")
    wrong = [
        ({"image": tmp_path / "none.png"}, "image"),
        ({"image": b"no image"}, "image"),
        ({"image": grey, "mask": "none.png"}, "mask"),
        ({"image": grey, "mask": Image.new("L", (8, 4))}, "mask"),
        ({"mask": grey}, "image"),
        ({"attention": "yes"}, "attention"),
    ]
    for given, parameter in wrong:
        refused: Any = given
        states, error = told(manager, Request("one", Settings(), **refused))
        assert states == [] and error.parameter == parameter
    few = Request("one", Settings(steps=30, strength=0.01), image=grey)
    assert told(manager, few)[1].parameter == "strength"
    assert manager._worker is None


def test_an_image_file_is_read_when_the_run_is_submitted(folder: str, tmp_path: Path) -> None:
    gate, file = Gate(), tmp_path / "image.png"
    Image.new("RGB", (16, 16), "red").save(file)
    images = []
    with ModelManager() as manager:
        manager.load(folder)
        first = manager.submit(Request(folder, Settings(steps=1, seed=0)), on_run=lambda _: gate(0))
        assert gate.reached.wait(LIMIT)
        job = manager.submit(
            Request(folder, Settings(steps=2, seed=0), image=file),
            on_run=lambda run: images.append(run.image),
        )
        file.unlink()
        gate.open()
        assert job.result(LIMIT).complete and first.state == "done"
    assert images[0].getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(("loaded", "times"), [(False, 2), (True, 1)])
def test_settings_are_checked_once_by_whoever_knows_more(
    folder: str, monkeypatch: pytest.MonkeyPatch, loaded: bool, times: int
) -> None:
    checks, texts = [], settings_module._texts

    def counted(name: str, value: object) -> Any:
        checks.append(name)
        return texts(name, value)

    monkeypatch.setattr(settings_module, "_texts", counted)
    runs: list[Any] = []
    with ModelManager() as manager:
        if loaded:
            manager.load(folder)
        asked = Request(folder, Settings("a cat", steps=1))
        job = manager.submit(asked, on_run=runs.append)
        job.result(LIMIT)
    assert checks.count("prompt") == times
    assert runs[0].settings.seed == job.request.settings.seed  # drawn once


# --------------------------------------------------------------------------------------------- Stop


@pytest.mark.parametrize("at", range(3))
def test_stop_acts_within_one_step(at: int) -> None:
    gate, steps = Gate(at), list[int]()
    with ModelManager(Models(gate)) as manager:
        job = manager.submit(request(3), on_step=lambda step: steps.append(step.index))
        assert gate.reached.wait(LIMIT)
        job.cancel()
        gate.open()
        with pytest.raises(Stopped, match=f"after {at + 1} of 3 steps"):
            job.result(LIMIT)
    assert job.state == "stopped" and steps == list(range(at + 1))


def test_a_stopped_run_is_closed() -> None:
    gate, models = Gate(), Models()
    models.step = gate
    with ModelManager(models) as manager:
        job = manager.submit(request(3))
        assert gate.reached.wait(LIMIT)
        job.cancel()
        gate.open()
        job.wait(LIMIT)
        assert manager.load("one").runs[0].closed  # type: ignore[attr-defined]


def test_stop_before_the_start_ends_a_waiting_run_at_once() -> None:
    gate, states, runs = Gate(), list[str](), list[Any]()
    with ModelManager(Models(gate)) as manager:
        first = manager.submit(request())
        assert gate.reached.wait(LIMIT)
        second = manager.submit(request(), on_run=runs.append, on_state=states.append)
        second.cancel()
        assert second.wait(0) and states == ["queued", "stopped"]
        gate.open()
        assert first.result(LIMIT).complete
    assert runs == []


def test_stop_after_the_end_changes_nothing(manager: ModelManager) -> None:
    job = manager.submit(request())
    job.result(LIMIT)
    job.cancel()
    assert job.state == "done" and job.result().complete


def test_stop_while_loading_keeps_no_model() -> None:
    gate, models = Gate(), Models()
    models.during = lambda name: gate(0)
    with ModelManager(models) as manager:
        runs: list[Any] = []
        job = manager.submit(request(), on_run=runs.append)
        assert gate.reached.wait(LIMIT)
        job.cancel()
        gate.open()
        job.wait(LIMIT)
        assert job.state == "stopped" and manager.loaded() == []
        assert models.loads == [] and runs == []
        assert manager.submit(request()).result(LIMIT).complete


def test_stop_when_a_model_has_just_been_loaded_keeps_none() -> None:
    gate, models = Gate(), Models()

    def load(name: str, **options: Any) -> Any:
        model = models(name, **options)
        gate(0)
        return model

    with ModelManager(load) as manager:
        job = manager.submit(request())
        assert gate.reached.wait(LIMIT)
        job.cancel()
        gate.open()
        job.wait(LIMIT)
        assert job.state == "stopped" and manager.loaded() == []
        assert models.made[0]() is None


def test_stop_while_the_picture_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, decode = Gate(), FakeRun.pictures

    def pictures(run: FakeRun, step: Any) -> list[Image.Image]:
        gate(0)
        return decode(run, step)

    monkeypatch.setattr(FakeRun, "pictures", pictures)
    with ModelManager(Models()) as manager:
        job = manager.submit(request())
        assert gate.reached.wait(LIMIT)
        job.cancel()
        gate.open()
        job.wait(LIMIT)
    assert job.state == "stopped"


def test_ctrl_c_while_waiting_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    with ModelManager(Models(gate)) as manager:
        job = manager.submit(request(3))
        assert gate.reached.wait(LIMIT)
        wait = job._finished.wait

        def interrupted(timeout: float) -> bool:
            _thread.interrupt_main()  # when the wait begins
            return wait(timeout)

        monkeypatch.setattr(job._finished, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            job.wait(LIMIT)
        monkeypatch.undo()
        gate.open()
        job.wait(LIMIT)
    assert job.state == "stopped"


def test_waiting_with_a_limit_leaves_the_run_alone() -> None:
    gate = Gate()
    with ModelManager(Models(gate)) as manager:
        job = manager.submit(request())
        assert job.wait(0.01) is False
        with pytest.raises(TimeoutError, match="goes on"):
            job.result(0.01)
        gate.open()
        assert job.result(LIMIT).complete


# ----------------------------------------------------------------------------- callbacks and errors


@pytest.mark.parametrize(
    "error", [ValueError, StopIteration, RuntimeError, SystemExit, KeyboardInterrupt, GeneratorExit]
)
def test_a_callback_that_raises_ends_nothing(
    manager: ModelManager, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    def fail(_: object) -> None:
        raise error("mine")

    with caplog.at_level(logging.ERROR, logger="sdwidgets.manager"):
        job = manager.submit(request(5), on_run=fail, on_step=fail, on_state=fail)
        assert job.result(LIMIT).complete
    assert len(caplog.records) == 1  # logged once, not at every step


def test_an_error_that_cannot_even_be_shown_leaves_the_worker_to_the_others() -> None:
    class Hostile(Exception):
        def __str__(self) -> str:
            raise SystemExit

    gate = Gate()
    failures = iter([Hostile])  # of the first run alone, whenever the second one begins

    def step(i: int) -> None:
        gate(i)
        for failure in failures:
            raise failure

    with ModelManager(Models(step)) as manager:
        hostile = manager.submit(request(1))
        assert gate.reached.wait(LIMIT)
        gate.open()
        hostile.wait(LIMIT)
        assert hostile.state == "error"
        assert manager.submit(request(1)).result(LIMIT).complete


def test_without_a_thread_nothing_is_left_waiting(
    manager: ModelManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(Busy, match="can't start new thread"):
            manager.submit(request())
    assert manager.submit(request()).result(LIMIT).complete


def test_a_run_submitted_in_a_callback_waits_its_turn(manager: ModelManager) -> None:
    jobs: list[Job] = []

    def again(step: Any) -> None:
        if not jobs:
            jobs.append(manager.submit(request(2)))

    assert manager.submit(request(3), on_step=again).result(LIMIT).complete
    assert jobs[0].result(LIMIT).complete


def test_waiting_in_a_callback_is_an_error_not_a_deadlock() -> None:
    gate = Gate()
    caught: list[Exception] = []

    def wait(step: Any) -> None:
        for call in (job.result, lambda: manager.load("two")):
            try:
                call()
            except Busy as error:
                caught.append(error)

    with ModelManager(Models(gate)) as manager:
        job = manager.submit(request(1), on_step=wait)
        gate.open()
        job.wait(LIMIT)
        manager.load("one")  # after everything in the queue
        assert manager.loaded() == ["one"]
    assert len(caught) == 2


def test_the_record_can_be_had_when_the_end_is_told(manager: ModelManager) -> None:
    traces: list[Any] = []

    def on_state(state: str) -> None:
        if state == "done":
            traces.append(jobs[0].result())

    jobs: list[Job] = []
    gate = Gate()
    manager._load.step = gate  # type: ignore[union-attr]
    jobs.append(manager.submit(request(), on_state=on_state))
    gate.open()
    jobs[0].wait(LIMIT)
    assert len(traces) == 1


def test_an_error_reaches_whoever_asks() -> None:
    def step(i: int) -> None:
        if i == 1:
            raise OutOfMemory("Too large.")

    with ModelManager(Models(step)) as manager:
        job = manager.submit(request())
        for _ in range(2):
            with pytest.raises(OutOfMemory, match="Too large"):
                job.result(LIMIT)
        assert job.state == "error" and "in step" in job.traceback


def test_an_error_keeps_no_tensors_alive() -> None:
    def step(i: int) -> None:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise RuntimeError("outer") from inner

    TENSORS.clear()
    gc.disable()
    try:
        with ModelManager(Models(step)) as manager:
            job = manager.submit(request(1))
            job.wait(LIMIT)
            assert job.error is not None and TENSORS[0]() is None
    finally:
        gc.enable()


def test_after_an_error_the_next_run_is_right() -> None:
    fail = True

    def step(i: int) -> None:
        if fail:
            raise RuntimeError("once")

    with ModelManager(Models(step)) as manager:
        manager.submit(request()).wait(LIMIT)
        fail = False
        assert manager.submit(request()).result(LIMIT).complete


def test_a_model_that_cannot_be_loaded_leaves_the_other_alone(manager: ModelManager) -> None:
    manager.submit(request()).result(LIMIT)
    with pytest.raises(CheckpointError, match="broken"):
        manager.submit(request(model="broken")).result(LIMIT)
    assert manager.loaded() == ["one"]
    assert manager.submit(request()).result(LIMIT).complete


# ------------------------------------------------------------------------------------------- memory


def test_the_model_not_used_for_longest_goes_first() -> None:
    with ModelManager(Models(size=10), budget=20) as manager:
        for name in ("one", "two", "one", "three"):
            manager.load(name)
        assert manager.loaded() == ["one", "three"]


def test_a_model_over_the_budget_is_refused_before_anything_is_dropped() -> None:
    models = Models(size=10)
    with ModelManager(models, budget=15) as manager:
        manager.load("one")
        models.size = 2_000_000
        with pytest.raises(OutOfMemory, match=r"2 MB; the budget is 15 bytes"):
            manager.load("two")
        assert manager.loaded() == ["one"] and models.loads == ["one"]


def test_room_is_made_before_a_model_is_loaded() -> None:
    models = Models(size=10)
    with ModelManager(models, budget=10) as manager:
        manager.load("one")
        gone: list[bool] = []
        load = models.__call__

        def watched(name: str, *, make_room: Any, stop: Any) -> Any:
            def room(size: int, device: Any) -> None:
                make_room(size, device)
                gone.append(models.made[0]() is None)

            return load(name, make_room=room, stop=stop)

        manager._load = watched
        manager.load("two")
    assert gone == [True]


def test_without_a_budget_models_go_when_free_memory_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sdwidgets import memory

    free = 1000
    monkeypatch.setattr(memory, "available_memory", lambda device: free)
    with ModelManager(Models(size=10)) as manager:
        manager.load("one")
        manager.load("two")
        free = 5
        manager.load("three")
        assert manager.loaded() == ["three"]


def test_a_model_that_can_never_fit_drops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    from sdwidgets import memory

    models = Models(size=10)
    with ModelManager(models) as manager:
        monkeypatch.setattr(
            memory, "available_memory", lambda device: 1020 - 10 * len(manager.loaded())
        )
        manager.load("one")
        manager.load("two")
        models.size = 3000
        with pytest.raises(OutOfMemory, match=r"needs 3 kB .* 1\.02 kB are free"):
            manager.load("three")
        assert manager.loaded() == ["one", "two"]
        models.size = 1020
        manager.load("three")
        assert manager.loaded() == ["three"]


@pytest.mark.slow
def test_an_unloaded_model_is_gone_at_once(manager: ModelManager) -> None:
    models: Any = manager._load
    for _ in range(20):
        job = manager.submit(request())
        job.result(LIMIT)
        gc.disable()
        try:
            manager.unload("one")
            assert models.made[-1]() is None
        finally:
            gc.enable()


def test_unloading_what_is_not_loaded_is_no_error(manager: ModelManager) -> None:
    manager.unload("nothing")


def test_a_running_model_can_be_unloaded() -> None:
    gate, models = Gate(), Models()
    models.step = gate
    with ModelManager(models) as manager:
        job = manager.submit(request())
        assert gate.reached.wait(LIMIT)
        manager.unload("one")
        gate.open()
        assert job.result(LIMIT).complete
        assert models.made[0]() is None


def test_loading_and_warming_up(manager: ModelManager) -> None:
    manager.warm_up("one").wait(LIMIT)
    assert manager.load("one").name == "one"
    assert manager.available() == [*bundled_models(), "one"]
    manager.warm_up("broken").wait(LIMIT)
    with pytest.raises(CheckpointError):
        manager.load("broken")


# ------------------------------------------------------------------------------ threads and the end


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "sdwidgets worker"]


def test_an_idle_manager_has_no_thread(manager: ModelManager) -> None:
    manager.submit(request()).result(LIMIT)
    assert manager._worker is not None
    manager._worker.join(LIMIT)
    assert workers() == []


def test_hundreds_of_runs_leave_no_threads() -> None:
    with ModelManager(Models()) as manager:
        for i in range(300):
            job = manager.submit(request(2))
            if i % 2:
                job.cancel()
            job.wait(LIMIT)
            assert len(workers()) <= 2  # the previous worker may still be ending
    assert workers() == []


def test_close_stops_drops_and_frees() -> None:
    gate, models = Gate(), Models()
    models.step = gate
    manager = ModelManager(models)
    running = manager.submit(request(100))
    assert gate.reached.wait(LIMIT)
    waiting = manager.submit(request())
    threading.Thread(target=lambda: running._stop.wait(LIMIT) and gate.open()).start()
    manager.close()
    manager.close()
    assert (running.state, waiting.state) == ("stopped", "stopped")
    assert workers() == [] and models.made[0]() is None
    states: list[str] = []
    with pytest.raises(Busy, match="closed"):
        manager.submit(request(), on_state=states.append)
    assert states == []


def test_the_worker_is_no_hindrance_to_the_end_of_the_process() -> None:
    gate = Gate()
    with ModelManager(Models(gate)) as manager:
        manager.submit(request())
        assert gate.reached.wait(LIMIT)
        assert all(worker.daemon for worker in workers())
        gate.open()


@pytest.mark.parametrize("send", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_manager_cannot_be_copied(manager: ModelManager, send: Callable[[Any], Any]) -> None:
    with pytest.raises(InputError, match="Request"):
        send(manager)


def test_inside_asyncio_nothing_blocks(manager: ModelManager) -> None:
    import asyncio

    async def main() -> Any:
        job = manager.submit(request())
        return await asyncio.to_thread(job.result, LIMIT)

    assert asyncio.run(main()).complete


def test_importing_the_manager_imports_no_torch() -> None:
    code = "import sys, sdwidgets.manager; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


# -------------------------------------------------------------------------------- with a real model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    from checkpoint_files import write_folder

    return str(write_folder(tmp_path_factory.mktemp("manager") / "model"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("working", [True, False])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of threads and fork
def test_a_forked_process_is_told_to_make_a_manager_of_its_own(working: bool) -> None:
    gate = Gate()
    if not working:
        gate.open()
    with ModelManager(Models(gate)) as manager:
        job = manager.submit(request())
        if working:
            assert gate.reached.wait(LIMIT)
        else:
            job.result(LIMIT)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:  # must end here, whatever happens
            said = []
            calls: list[Callable[[], object]] = [
                lambda: manager.submit(request()),
                lambda: manager.load("one"),
                lambda: manager.warm_up("other"),
                lambda: manager.unload("one"),
                manager.loaded,
                job.cancel,
                lambda: job.result(LIMIT),
            ]
            for call in calls:
                try:
                    call()
                    said.append("taken")
                except BaseException as error:
                    said.append(f"{type(error).__name__}: {error}")
            manager.close()  # has nothing to end
            os.write(write, json.dumps(said).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as answers:
            said = json.loads(answers.read())
        assert os.waitpid(child, 0)[1] == 0
        assert all(text.startswith("Busy: ") and "spawn" in text for text in said), said
        assert all(len(text.splitlines()) <= 3 for text in said)
        gate.open()
        assert job.result(LIMIT).complete  # the parent's goes on


def test_runs_of_many_threads_equal_their_references(folder: str) -> None:
    from sdwidgets.checkpoints import load_model

    model = load_model(folder)
    settings = [Settings("a cat", steps=2 + n % 3, seed=n) for n in range(6)]
    expected = [model.generate(s.prompt, steps=s.steps, seed=s.seed).image for s in settings]
    with ModelManager() as manager:
        jobs: dict[int, Job] = {}

        def submit(n: int) -> None:
            jobs[n] = manager.submit(Request(folder, settings[n]))

        threads = [threading.Thread(target=submit, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)
        images = [jobs[n].result(LIMIT).image for n in range(6)]
    assert [image.tobytes() for image in images] == [image.tobytes() for image in expected]


def test_weights_of_an_unloaded_model_are_freed(folder: str) -> None:
    with ModelManager() as manager:
        job = manager.submit(Request(folder, Settings("a cat", steps=2, seed=1)))
        job.result(LIMIT)
        weights = [weakref.ref(p) for p in manager.load(folder).unet.parameters()]
        manager.unload(folder)
        assert not any(weight() is not None for weight in weights)


def test_what_the_model_alone_can_refuse_is_the_jobs_error(folder: str) -> None:
    with ModelManager() as manager:
        job = manager.submit(Request(folder, Settings("a cat", width=7)))
        with pytest.raises(InputError, match="width"):
            job.result(LIMIT)
        again = manager.submit(Request(folder, Settings("a cat", steps=1, seed=0)))
        assert again.result(LIMIT).complete


def test_a_model_that_is_not_there(tmp_path: Any) -> None:
    from sdwidgets.errors import CheckpointNotFound

    with ModelManager() as manager, pytest.raises(CheckpointNotFound):
        manager.submit(Request(str(tmp_path / "nothing"), Settings())).result(LIMIT)


def test_torchs_settings_of_the_caller_are_left_alone(folder: str) -> None:
    import torch

    before = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()
    state = torch.get_rng_state()
    with ModelManager() as manager:
        manager.submit(Request(folder, Settings("a cat", steps=2, seed=1))).result(LIMIT)
        job = manager.submit(Request(folder, Settings("a cat", steps=100, seed=1)))
        job.cancel()
        job.wait(LIMIT)
    after = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()
    assert before == after and torch.equal(state, torch.get_rng_state())


# -------------------------------------------------------------------- what a panel of jobs needs


def test_jobs_are_listed_in_their_order(manager: ModelManager) -> None:
    gate = Gate()
    manager._load = Models(gate)
    assert manager.jobs() == []
    running = manager.submit(request())
    gate.reached.wait(LIMIT)
    waiting = [manager.submit(request()), manager.warm_up("two"), manager.submit(request())]
    assert manager.jobs() == [running, *waiting]
    assert [job.model for job in manager.jobs()] == ["one", "one", "two", "one"]
    waiting[0].cancel()
    assert manager.jobs() == [running, *waiting[1:]]
    gate.open()
    assert all(job.wait(LIMIT) for job in waiting)
    assert manager.jobs() == []


def test_a_job_that_waits_can_be_moved(manager: ModelManager) -> None:
    gate, order = Gate(), list[int]()
    manager._load = Models(gate)
    first = manager.submit(request())
    gate.reached.wait(LIMIT)
    jobs = [
        manager.submit(request(), on_run=lambda _, number=number: order.append(number))
        for number in range(4)
    ]
    manager.move(jobs[3], 0)
    manager.move(jobs[0], 100)  # the last
    assert manager.jobs() == [first, jobs[3], jobs[1], jobs[2], jobs[0]]
    assert [job.ahead for job in jobs] == [4, 2, 3, 1]
    for job, to in ((first, 0), (jobs[0], -1), (jobs[0], 1.5), (jobs[0], None)):
        with pytest.raises(InputError):
            manager.move(job, to)  # type: ignore[arg-type]
    gate.open()
    assert all(job.wait(LIMIT) for job in jobs)
    assert order == [3, 1, 2, 0]
    with pytest.raises(InputError, match="does not wait"):
        manager.move(jobs[0], 0)


def test_a_job_tells_its_pace(manager: ModelManager, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0)

    def step(i: int) -> None:
        clock.now += 2.0

    monkeypatch.setattr(manager_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    manager._load = Models(step)
    told: list[tuple[Any, ...]] = []
    job: Job | None = None

    def tell(_: Any) -> None:
        (now,) = manager.jobs()
        told.append((now.step, now.steps, now.seconds, now.eta))

    job = manager.submit(request(4), on_step=tell, on_run=tell)
    job.result(LIMIT)
    assert told == [
        (0, 0, None, None),
        (1, 4, 2.0, 6.0),
        (2, 4, 4.0, 4.0),
        (3, 4, 6.0, 2.0),
        (4, 4, 8.0, 0.0),
    ]
    clock.now += 1000
    assert (job.step, job.steps, job.seconds, job.eta) == (4, 4, 8.0, None)


def test_a_follower_is_told_of_everything(manager: ModelManager) -> None:
    changes: list[Any] = []
    records: list[Any] = []
    leave = manager.follow(
        lambda job: changes.append(job and (job.state, job.step, job.message)),
        lambda job, record: records.append((job, record, job._finished.is_set())),
    )
    job = manager.submit(request())
    result = job.result(LIMIT)
    assert records == [(job, result, False)]  # whoever waits for the run finds it told
    told = [change for change in changes if change is not None]
    states = list(dict.fromkeys(state for state, _, _ in told))
    assert [one for one in states if one != "queued"] == ["loading", "running", "done"]
    assert [step for state, step, _ in told if state == "running"][-3:] == [1, 2, 3]
    assert None in changes  # the queue, the loaded model
    for change in (lambda: manager.unload("one"), lambda: manager.add(FakeModel("mine"))):  # type: ignore[arg-type]
        changes.clear()
        change()
        assert changes == [None]
    leave()
    changes.clear()
    manager.submit(request()).result(LIMIT)
    assert changes == [] and len(records) == 1


def test_a_stopped_or_failed_run_has_no_record(manager: ModelManager) -> None:
    gate, records = Gate(), list[Any]()
    manager._load = Models(gate)
    manager.follow(lambda _: None, lambda *record: records.append(record))
    job = manager.submit(request())
    gate.reached.wait(LIMIT)
    job.cancel()
    gate.open()
    job.wait(LIMIT)
    manager.submit(request(model="broken")).wait(LIMIT)
    assert records == []


def test_a_follower_that_fails_harms_nothing(
    manager: ModelManager, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise SystemExit("a follower has failed")

    told: list[Any] = []
    manager.follow(fail, fail)
    manager.follow(told.append)
    assert manager.submit(request()).result(LIMIT).complete
    assert told
    assert caplog.text.count("What follows a manager has failed") == 1


@pytest.mark.parametrize("wrong", [None, 7, "call"])
def test_what_cannot_be_called_does_not_follow(manager: ModelManager, wrong: Any) -> None:
    with pytest.raises(InputError, match="on_change"):
        manager.follow(wrong)


def test_a_manager_knows_its_device_and_whether_it_is_closed(manager: ModelManager) -> None:
    assert (manager.device, manager.closed) == ("", False)
    manager.load("one")
    assert manager.device == "cpu"
    gpu = FakeModel("on a GPU")
    gpu.device = "cuda:1"  # type: ignore[attr-defined]
    manager.add(gpu)  # type: ignore[arg-type]
    assert manager.device == "cuda:1"
    manager.close()
    assert (manager.device, manager.closed) == ("", True)


# -------------------------------------------------------------------------------------- LoRAs


@dataclass
class Adaptable:
    """A model that takes LoRAs, as `LatentDiffusion` does, for the manager."""

    model: Any
    needed: int = 3
    loras: tuple[Any, ...] = ()
    made: list[tuple[Any, ...]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def with_loras(self, loras: Any, *, make_room: Any, stop: Any) -> Adaptable:
        make_room(self.needed, "cpu")
        self.made.append(tuple(loras))
        return Adaptable(self.model, self.needed, tuple(loras), self.made)


def test_a_model_with_loras_is_kept_until_others_are_asked_for(tmp_path: Path) -> None:
    models: list[Adaptable] = []

    def load(name: str, *, make_room: Any, stop: Any) -> Any:
        models.append(Adaptable(FakeModel()))
        return models[-1]

    settings = Settings(seed=1, steps=1)
    one, two = [(str(tmp_path / "a"), 0.5)], [str(tmp_path / "b")]
    with ModelManager(load, budget=100) as manager:
        for loras in (one, one, [], one, two, one):
            manager.submit(Request("m", settings, loras=loras)).wait(LIMIT)
        assert [len(each) for each in models[0].made] == [1, 1, 1]
        assert manager.loaded() == ["m"] and len(models) == 1
        manager.unload("m")
        manager.submit(Request("m", settings, loras=one)).wait(LIMIT)
        assert len(models[1].made) == 1


def test_models_with_loras_go_first_when_memory_is_needed(tmp_path: Path) -> None:
    models: dict[str, Adaptable] = {}

    def load(name: str, *, make_room: Any, stop: Any) -> Any:
        make_room(4, "cpu")
        models[name] = Adaptable(FakeModel())
        return models[name]

    settings = Settings(seed=1, steps=1)
    loras = [str(tmp_path / "a")]
    with ModelManager(load, budget=8) as manager:
        for name in ("m", "n", "m", "m"):
            manager.submit(Request(name, settings, loras=loras if name == "m" else [])).wait(LIMIT)
        assert len(models["m"].made) == 2  # once, dropped for n, once more, kept
        assert manager.loaded() == ["m"]
        models["m"].needed = 5
        job = manager.submit(Request("m", settings, loras=[*loras, *loras]))
        job.wait(LIMIT)
        assert isinstance(job.error, OutOfMemory) and manager.loaded() == ["m"]


def test_wrong_loras_are_refused_when_they_are_submitted() -> None:
    with ModelManager(lambda name, **given: FakeModel()) as manager:
        with pytest.raises(InputError) as caught:
            manager.submit(Request("m", Settings(), loras="a.safetensors"))
        assert caught.value.parameter == "loras"


def test_a_model_added_beside_others_takes_a_name_that_none_of_them_has() -> None:
    first, second, third = FakeModel("mine"), FakeModel("mine"), FakeModel("mine")
    with ModelManager() as manager:
        names = [manager.add(each, replace=False) for each in (first, second, third)]  # type: ignore[arg-type]
        assert names == ["mine", "mine (2)", "mine (3)"]
        assert manager.add(second, "mine", replace=False) == "mine (2)"  # type: ignore[arg-type]
        assert manager.load("mine") is first  # type: ignore[comparison-overlap]
        assert manager.add(third) == "mine"  # type: ignore[arg-type]
        assert manager.load("mine") is third  # type: ignore[comparison-overlap]
