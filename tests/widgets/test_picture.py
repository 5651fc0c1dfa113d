"""The picture on its own: previews, how often they are sent, the built bundles."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import torch

from sdwidgets.diffusion import Step
from sdwidgets.errors import InputError, NumericsError
from sdwidgets.frontend import bundle
from sdwidgets.trace import read_record
from sdwidgets.widgets import PictureView, pace, picture

if TYPE_CHECKING:
    from conftest import Clock

    from sdwidgets.pipeline import LatentDiffusion


def step(index: int, batch: int = 1, height: int = 2, width: int = 2, channels: int = 4) -> Step:
    x = torch.zeros(batch, channels, height, width)
    return Step(index, 1.0, x, x, 0.5, x)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The steps in each message with frames."""
    messages: list[list[int]] = []

    def send(self: Any, content: Any, buffers: Any = None) -> None:
        messages.append([frame["step"] for frame in content["frames"]])

    monkeypatch.setattr(PictureView, "send", send)
    return messages


def test_previews_are_rgb_of_the_latents_size() -> None:
    (noisy, clean), size = picture.previews(step(0, height=3, width=5))
    assert size == {"width": 5, "height": 3, "blank": [0, 0]}
    assert len(noisy) == len(clean) == 3 * 5 * 3


def test_a_batch_is_a_grid_whose_empty_corner_is_known() -> None:
    _, size = picture.previews(step(0, batch=5, height=2, width=4))
    assert size == {"width": 12, "height": 4, "blank": [4, 2]}


def test_large_latents_are_averaged_down() -> None:
    (noisy, _), size = picture.previews(step(0, height=128, width=256))
    assert max(size["width"], size["height"]) <= picture.LARGEST_SIDE
    assert len(noisy) == size["width"] * size["height"] * 3


def test_latents_of_any_number_of_channels_have_a_preview() -> None:
    (noisy, _), _ = picture.previews(step(0, channels=16))
    assert len(noisy) == 12


def test_the_first_step_goes_at_once_the_next_ones_together(clock: Clock, sent: list[Any]) -> None:
    frames = PictureView()._frames
    frames.begin(1, 20)
    for index in range(4):
        frames.add(step(index))
        frames.send_some()
    assert sent == [[1]]
    clock.now += pace.INTERVAL
    frames.send_some()
    assert sent == [[1], [2, 3, 4]]


def test_a_fast_run_sends_at_most_fifteen_messages_a_second(clock: Clock, sent: list[Any]) -> None:
    frames = PictureView()._frames
    frames.begin(1, 1000)
    for index in range(1000):  # within one second
        clock.now += 0.001
        frames.add(step(index))
        frames.send_some()
    assert len(sent) <= 16


def test_the_last_step_is_always_sent(clock: Clock, sent: list[Any]) -> None:
    frames = PictureView()._frames
    frames.begin(1, 1000)
    for index in range(1000):
        frames.add(step(index))
    frames.send_all()
    assert sent[-1][-1] == 1000
    assert len(sent[-1]) == picture.KEPT_FRAMES


def test_the_time_left_is_that_of_the_steps_to_come(clock: Clock) -> None:
    frames = PictureView()._frames
    frames.begin(1, 20)
    clock.now += 5  # the first step waits for the text encoder
    frames.add(step(0))
    for index in range(1, 5):
        clock.now += 0.5
        frames.add(step(index))
    frames.send_all()
    assert frames.newest is not None
    numbers = frames.newest[0]
    assert numbers["seconds"] == pytest.approx(0.5)
    assert numbers["left"] == pytest.approx(7.5)


def test_the_first_step_says_no_time(clock: Clock) -> None:
    frames = PictureView()._frames
    frames.begin(1, 20)
    clock.now += 5  # the model loads: no measure of the steps to come
    frames.add(step(0))
    frames.send_all()
    assert frames.newest is not None
    assert frames.newest[0]["seconds"] is frames.newest[0]["left"] is None


def test_a_preview_that_fails_ends_no_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(one: Step, factors: Any = None) -> Any:
        if one.index < 3:
            raise ValueError("no colours")
        return whole(one, factors)

    whole = picture.previews
    monkeypatch.setattr(picture, "previews", broken)
    monkeypatch.setattr(pace.Pace, "left", lambda _: 0.0)
    view = PictureView()
    with caplog.at_level(logging.WARNING, "sdwidgets"):
        assert len(list(view.watch([step(i) for i in range(4)]))) == 4
    assert view.run["state"] == "done"
    assert view.frame["step"] == 4
    assert len(caplog.records) == 1


def test_the_traits_keep_a_frame_a_second_for_pages_to_come(clock: Clock) -> None:
    view = PictureView()
    frames = view._frames
    frames.begin(1, 20)
    seen: list[int] = []
    view.observe(lambda change: seen.append(change.new["step"]), "frame")
    for index in range(20):
        clock.now += 0.25
        frames.add(step(index))
        frames.send_some()
    frames.send_all()
    assert seen[-1] == 20
    assert len(seen) <= 7


def test_watching_passes_every_step_on() -> None:
    view = PictureView()
    steps = [step(i) for i in range(3)]
    assert list(view.watch(steps)) == steps
    assert view.run["state"] == "done"
    assert view.frame["step"] == 3


def test_watching_that_ends_early_says_stopped() -> None:
    view = PictureView()
    watched = view.watch(step(i) for i in range(3))
    next(watched)
    watched.close()
    assert view.run["state"] == "stopped"


def test_of_two_loops_the_one_that_began_last_is_shown(model: LatentDiffusion) -> None:
    view = PictureView()
    first = view.watch(step(i) for i in range(3))
    next(first)
    second = view.watch(step(i, height=4) for i in range(3))
    next(second)
    next(first)
    first.close()
    assert (view.run["id"], view.run["state"]) == (2, "running")
    list(second)
    assert (view.run["state"], view.frame["height"]) == ("done", 4)
    assert view.run["message"] == "Done: 3 steps"


def test_a_loop_may_change_its_latents_in_place(clock: Clock, messages: list[Any]) -> None:
    def loop() -> Iterator[Step]:
        x = torch.zeros(1, 4, 2, 2)
        for index in range(4):
            yield Step(index, 0.0, x, x, 0.0, x)
            x.add_(1)

    list(PictureView().watch(loop()))  # the clock stands still: the last three wait for the end
    assert len({bytes(clean) for _, buffers in messages for clean in buffers[1::2]}) == 4


def test_a_picture_that_cannot_be_decoded_ends_no_loop(
    model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise NumericsError("NaN")

    view = PictureView()
    run = model.sample("a cat", steps=2, seed=7, width=16, height=16)
    monkeypatch.setattr(run, "pictures", broken)
    assert len(list(view.watch(run))) == 2
    assert (view.run["state"], view.run["message"]) == ("error", "NaN")
    assert view.frame["step"] == 2


def test_watching_says_running_once_there_are_steps() -> None:
    view = PictureView()
    watched = view.watch(step(i) for i in range(3))
    next(watched)
    assert view.run["state"] == "running"


def test_steps_that_raise_are_an_error_in_the_view_too() -> None:
    def steps() -> Iterator[Step]:
        yield step(0)
        raise InputError("one\ntwo\nthree\nfour")

    view = PictureView()
    with pytest.raises(InputError):
        list(view.watch(steps()))
    assert view.run["state"] == "error"
    assert view.run["message"] == "one\ntwo\nthree"


def test_an_interrupt_is_a_stop() -> None:
    def steps() -> Iterator[Step]:
        yield step(0)
        raise KeyboardInterrupt

    view = PictureView()
    with pytest.raises(KeyboardInterrupt):
        list(view.watch(steps()))
    assert view.run["state"] == "stopped"


def test_a_run_that_was_watched_leaves_its_picture(model: LatentDiffusion) -> None:
    view = PictureView()
    run = model.sample("a cat", steps=2, seed=7, width=16, height=24)
    list(view.watch(run))
    (shown,) = view.pictures
    assert view.shape == [16, 24]
    assert view.current == view.run["id"]
    assert (shown["type"], shown["prompt"], shown["seed"]) == ("image/png", "a cat", 7)
    record = read_record(shown["data"])
    assert record is not None
    assert record["settings"]["steps"] == 2
    assert view.run["message"].startswith("Done: 2 steps in ")


def test_steps_without_a_run_leave_no_older_picture(model: LatentDiffusion) -> None:
    view = PictureView()
    list(view.watch(model.sample("a cat", steps=2, seed=7, width=16, height=16)))
    list(view.watch(step(i) for i in range(3)))
    assert (view.pictures, view.current) == ([], -1)


def test_a_large_picture_is_saved_small_and_sent_whole(
    model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch, messages: list[Any]
) -> None:
    monkeypatch.setattr(picture, "SAVED_PICTURE", 900)
    view = PictureView()
    list(view.watch(model.sample("a cat", steps=2, seed=7, width=64, height=64)))
    assert view.pictures[0]["type"] == "image/jpeg"
    assert len(view.pictures[0]["data"]) <= 900
    message, (file,) = messages[-1]
    assert (message["kind"], message["id"]) == ("pictures", view.current)
    assert read_record(file) is not None
    assert hello(view, messages)[-1] == (message, [file])


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """Every message to the page, with its buffers."""
    sent: list[tuple[Any, Any]] = []
    monkeypatch.setattr(
        PictureView, "send", lambda _, content, buffers=None: sent.append((content, buffers))
    )
    return sent


def hello(view: PictureView, messages: list[Any], kind: Any = "hello") -> list[Any]:
    """What the view answers to a page."""
    messages.clear()
    view._handle_custom_msg({"kind": kind}, [])
    return list(messages)


def test_it_answers_a_page_that_asks(messages: list[Any]) -> None:
    view = PictureView()
    assert hello(view, messages) == [({"kind": "hello"}, None)]
    assert hello(view, messages, "ping") == [({"kind": "pong"}, None)]


def test_a_page_that_comes_in_the_middle_gets_the_newest_frame(messages: list[Any]) -> None:
    view = PictureView()
    watched = view.watch(step(i) for i in range(3))
    next(watched)
    kinds = [message["kind"] for message, _ in hello(view, messages)]
    assert kinds == ["hello", "frames"]


@pytest.mark.parametrize("message", [None, 5, "hello", [], {}, {"kind": []}, {"kind": "unknown"}])
def test_messages_that_are_not_understood_are_ignored(message: Any, messages: list[Any]) -> None:
    PictureView()._handle_custom_msg(message, [])
    assert messages == []


def test_the_bundle_is_small() -> None:
    # It is copied into the saved state of every widget.
    assert sum(bundle(f"picture.{kind}").stat().st_size for kind in ("js", "css")) <= 60_000
