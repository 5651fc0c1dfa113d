"""Live typing: which runs follow changes, and what the Studio shows of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sdwidgets.configs import LCM, SD1
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import Settings
from sdwidgets.widgets import Studio
from sdwidgets.widgets import live as live_module
from sdwidgets.widgets.live import IsOld, Live, preview_of

WAIT = 60  # seconds, never reached


class Script:
    """Stands in for previews and full runs: each step waits until the test allows it."""

    def __init__(self, steps: int = 3) -> None:
        self.steps = steps
        self.value = 0  # what the person has typed
        self.log: list[tuple[str, int]] = []
        self.running = self.most = 0
        self.allowed = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.paused = threading.Semaphore(0)
        self.quiet = True  # whether pauses pass undisturbed
        self.live = Live(self.preview, self.full, rest=self.rest)

    def rest(self, seconds: float, woken: threading.Event) -> bool:
        self.paused.release()
        return self.quiet or not woken.wait(WAIT)

    def run(self, kind: str, is_old: IsOld) -> bool:
        seen = self.value
        self.running += 1
        self.most = max(self.most, self.running)
        self.begun.release()
        for _ in range(self.steps):
            assert self.allowed.acquire(timeout=WAIT)
            if is_old():
                self.log.append((f"{kind} stopped", seen))
                self.running -= 1
                return False
        self.log.append((kind, seen))
        self.running -= 1
        return True

    def preview(self, is_old: IsOld) -> bool:
        return self.run("preview", is_old)

    def full(self, is_old: IsOld) -> None:
        self.run("full", is_old)

    def type(self, value: int) -> None:
        self.value = value
        self.live.change()

    def finish(self) -> list[tuple[str, int]]:
        self.allowed.release(10_000)
        assert self.live.idle.wait(WAIT)
        return self.log


@pytest.fixture
def script() -> Any:
    script = Script()
    yield script
    script.allowed.release(10_000)
    script.live.close()


def test_a_change_makes_a_preview_and_a_pause_the_full_run(script: Script) -> None:
    script.type(1)
    assert script.finish() == [("preview", 1), ("full", 1)]


def test_of_a_thousand_changes_at_once_the_last_wins(script: Script) -> None:
    script.type(1)
    assert script.begun.acquire(timeout=WAIT)
    for value in range(2, 1001):
        script.type(value)
    # the first is stopped at its next step, the last is finished, nothing between is begun
    assert script.finish() == [("preview stopped", 1), ("preview", 1000), ("full", 1000)]
    assert script.most == 1


def test_many_threads_may_change_at_once(script: Script) -> None:
    threads = [
        threading.Thread(target=lambda: [script.live.change() for _ in range(100)])
        for _ in range(8)
    ]
    script.allowed.release(10_000)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    script.type(7)
    assert script.finish()[-2:] == [("preview", 7), ("full", 7)]
    assert script.most == 1


def test_after_a_stopped_preview_the_next_is_finished(script: Script) -> None:
    script.type(1)
    assert script.begun.acquire(timeout=WAIT)
    script.type(2)
    script.allowed.release(1)  # the first looks, and stops
    assert script.begun.acquire(timeout=WAIT)
    script.type(3)
    log = script.finish()
    assert log == [("preview stopped", 1), ("preview", 2), ("preview", 3), ("full", 3)]


def test_a_change_in_the_pause_puts_the_full_run_off(script: Script) -> None:
    script.quiet = False
    script.type(1)
    script.allowed.release(3)
    assert script.paused.acquire(timeout=WAIT)
    script.quiet = True
    script.type(2)
    assert script.finish() == [("preview", 1), ("preview", 2), ("full", 2)]


def test_a_change_stops_a_full_run(script: Script) -> None:
    script.type(1)
    script.allowed.release(3)
    for _ in range(2):
        assert script.begun.acquire(timeout=WAIT)
    script.type(2)
    log = script.finish()
    assert log == [("preview", 1), ("full stopped", 1), ("preview", 2), ("full", 2)]


@pytest.mark.parametrize("end", ["leave", "close"])
def test_leaving_stops_all(script: Script, end: str) -> None:
    script.type(1)
    assert script.begun.acquire(timeout=WAIT)
    script.type(2)
    script.allowed.release(1)
    assert script.begun.acquire(timeout=WAIT)  # that of 2 would be finished
    script.type(3)
    getattr(script.live, end)()
    assert script.finish() == [("preview stopped", 1), ("preview stopped", 2)]
    script.type(4)
    expected = [] if end == "close" else [("preview", 4), ("full", 4)]
    assert script.finish()[2:] == expected


def test_an_error_ends_nothing() -> None:
    made: list[str] = []

    def preview(is_old: IsOld) -> bool:
        made.append("preview")
        if len(made) == 1:
            raise RuntimeError("a network may raise anything")
        return True

    live = Live(preview, lambda is_old: made.append("full"), rest=lambda *_: True)
    for _ in range(2):
        live.change()
        assert live.idle.wait(WAIT)
    assert made == ["preview", "preview", "full"]


@pytest.mark.parametrize(
    ("config", "steps", "asked", "made"),
    [
        (SD1, 20, None, 6),
        (SD1, 3, None, 3),
        (SD1, None, None, 6),
        (LCM, None, None, 4),
        (None, 30, None, 6),
        (SD1, 20, 9, 9),
        (SD1, 5, 9, 5),
    ],
)
def test_a_preview_has_a_few_steps(config: Any, steps: Any, asked: Any, made: int) -> None:
    settings = Settings(prompt="a cat", seed=1, steps=steps, hires=2.0)
    fast = preview_of(settings, config, asked)
    assert fast == replace(settings, steps=made, hires=None)


# ------------------------------------------------------------------------------- the Studio


@pytest.fixture
def studio(make_studio: Callable[..., Studio], monkeypatch: pytest.MonkeyPatch) -> Studio:
    """A Studio whose pauses are over at once."""
    monkeypatch.setattr(live_module, "PAUSE", 0.0)
    studio = make_studio(steps=8, live_steps=3)
    studio._live._pause = 0.0
    return studio


def settle(studio: Studio) -> None:
    assert studio._live.idle.wait(WAIT)


def test_the_image_follows_the_words(studio: Studio) -> None:
    seen: list[tuple[str, int]] = []

    def look(change: Any) -> None:
        header = change.new
        if header and studio.view.pictures:
            seen.append((header["prompts"][0]["prompt"], studio.view.trace.settings.steps))

    studio.view.observe(look, "pictures")
    studio.view.observe(look, "header")
    studio.live = True  # nothing is on show yet, so it begins
    settle(studio)
    assert studio.trace.settings.prompt == "a cat" and studio.trace.settings.steps == 8
    studio.prompt = "a red car"
    settle(studio)
    assert studio.trace.settings.prompt == "a red car"
    assert studio.trace.layers  # the full run has attention
    assert [result.settings.steps for result in studio.history.results] == [8, 8]
    assert studio.state == "done" and studio.view.state == "done"


def test_previews_leave_no_trace(studio: Studio, model: LatentDiffusion) -> None:
    studio._live._rest = lambda *_: False  # nobody pauses
    studio.live = True
    settle(studio)
    assert studio.trace is None and not [*studio.history.results]
    assert studio.view.message == "Preview: 3 steps" and studio.view.pictures
    assert studio.view.trace.settings.steps == 3 and not studio.view.trace.layers
    assert studio.state == "idle"


def test_the_picture_is_replaced_by_pictures_alone(studio: Studio) -> None:
    shown: list[int] = []
    studio.view.observe(lambda change: shown.append(len(change.new)), "pictures")
    states: list[str] = []
    studio.view.observe(lambda change: states.append(change.new), "state")
    studio.live = True
    for prompt in ("a red car", "a blue car", "a green car"):
        settle(studio)
        studio.prompt = prompt
    settle(studio)
    assert 0 not in shown and "loading" not in states


@pytest.mark.parametrize("prompt", ["", "   ", "(" * 60 + "a cat" + ")" * 60])
def test_what_is_half_typed_is_quiet(studio: Studio, prompt: str) -> None:
    studio.live = True
    settle(studio)
    images = list(studio.view.pictures)
    studio.prompt = prompt
    settle(studio)
    assert studio.error is None and studio.state == "done"
    assert studio.view.pictures == images


@pytest.mark.parametrize("prompt", ["a dog", "(" * 60 + "a cat" + ")" * 60])
def test_what_a_run_waits_for_is_said_beside_the_image(
    studio: Studio, prompt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.live = True
    settle(studio)
    said, submit = studio.view.message, studio.manager.submit
    seen: list[tuple[str, str]] = []

    def submit_and_say(request: Any, *, on_message: Any = None, **others: Any) -> Any:
        on_message("Waiting for memory")
        return submit(request, on_message=on_message, **others)

    def look(change: Any) -> None:
        if change.new == "Waiting for memory":
            seen.append((studio.view.state, studio.view.message))

    monkeypatch.setattr(studio.manager, "submit", submit_and_say)
    studio.view.observe(look, "message")
    studio.prompt = prompt
    settle(studio)
    assert seen and set(seen) == {("done", "Waiting for memory")}
    assert studio.state == studio.view.state == "done"
    assert prompt == "a dog" or studio.view.message == said


def test_a_run_by_hand_comes_first(studio: Studio, gate: Any) -> None:
    gate.closed = True
    studio.live = True
    studio.generate()
    gate.open()
    studio.wait(WAIT)
    settle(studio)
    assert [result.settings.steps for result in studio.history.results] == [8]


def test_an_earlier_result_is_not_made_again(studio: Studio) -> None:
    studio.live = True
    settle(studio)
    studio.prompt = "a red car"
    settle(studio)
    first = next(iter(studio.history.results))
    studio._recall(first.id)
    settle(studio)
    assert studio.prompt == "a cat" and studio.view.current == first.id
    assert len([*studio.history.results]) == 2


def test_switched_off_or_closed_nothing_follows(studio: Studio) -> None:
    studio.live = True
    settle(studio)
    studio.controls.live.value = False
    assert not studio.live
    studio.prompt = "a red car"
    settle(studio)
    assert studio.trace.settings.prompt == "a cat"
    studio.live = True
    studio.close()
    studio.prompt = "a dog"
    settle(studio)
    assert studio.trace.settings.prompt == "a cat"
