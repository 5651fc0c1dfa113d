"""The image as it forms, on its own: what its page finds, what is said, the built bundles."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image
from wires import Wire, meta, steps_sent

from sdwidgets.diffusion import Step
from sdwidgets.errors import InputError, NumericsError
from sdwidgets.frontend import bundle
from sdwidgets.settings import Settings
from sdwidgets.trace import Trace, TraceStep, read_record
from sdwidgets.widgets import PictureView, pace, picture, reel

if TYPE_CHECKING:
    from conftest import Clock

    from sdwidgets.pipeline import LatentDiffusion

Say = Callable[[Any, Any], None]

ASKED: dict[str, Any] = {"steps": 2, "seed": 7, "width": 16, "height": 16}


def step(index: int, batch: int = 1, height: int = 2, width: int = 2, channels: int = 4) -> Step:
    x = torch.zeros(batch, channels, height, width)
    return Step(index, 1.0, x, x, 0.5, x)


def custom(wire: Wire) -> list[tuple[dict[str, Any], list[Any]]]:
    """The custom messages, and their buffers."""
    return [(one["content"], files) for _, one, files in wire if one["method"] == "custom"]


def test_a_fast_run_sends_at_most_fifteen_messages_a_second(clock: Clock, wire: Wire) -> None:
    view = PictureView()
    wire.clear()
    for _ in view.watch([step(i) for i in range(1000)]):
        clock.now += 0.001  # a second in all
    with_steps = [one for one in wire if steps_sent([one], view)]
    assert len(with_steps) <= 17


def test_the_first_step_goes_at_once_the_next_ones_together(clock: Clock, wire: Wire) -> None:
    view = PictureView()
    watched = view.watch([step(i) for i in range(5)])
    counts = []
    for _ in range(4):
        next(watched)
        counts.append(len(steps_sent(wire, view)))
    clock.now += pace.INTERVAL
    next(watched)
    assert [*counts, len(steps_sent(wire, view))] == [1, 1, 1, 1, 5]


def test_a_step_says_how_long_it_took(clock: Clock) -> None:
    view = PictureView()
    watched = view.watch([step(i) for i in range(3)])
    for seconds in (5, 0.5, 0.25):  # before each; the first waits for the text encoder
        clock.now += seconds
        next(watched)
    watched.close()
    took = [meta(frame)["seconds"] for frame in (view.frame0, view.frame1, view.frame2)]
    assert took == [None, 0.5, 0.25]


def test_a_step_that_cannot_be_packed_ends_no_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = reel.pack

    def broken(one: TraceStep, **options: Any) -> bytes:
        if one.index < 3:
            raise ValueError("no bytes")
        return whole(one, **options)

    monkeypatch.setattr(reel, "pack", broken)
    monkeypatch.setattr(pace.Pace, "left", lambda _: 0.0)
    view = PictureView()
    with caplog.at_level(logging.WARNING, "sdwidgets"):
        assert len(list(view.watch([step(i) for i in range(4)]))) == 4
    assert view.state == "done"
    assert meta(view.frame3)["index"] == 3
    assert len(caplog.records) == 1


def test_watching_passes_every_step_on() -> None:
    view = PictureView()
    steps = [step(i) for i in range(3)]
    assert list(view.watch(steps)) == steps
    assert (view.state, view.message) == ("done", "Done: 3 steps")
    assert meta(view.frame2)["index"] == 2


def test_watching_says_running_once_there_are_steps() -> None:
    view = PictureView()
    watched = view.watch(step(i) for i in range(3))
    next(watched)
    assert (view.state, view.message) == ("running", "Denoising")
    watched.close()
    assert view.state == "stopped"


def test_of_two_loops_the_one_that_began_last_is_shown() -> None:
    view = PictureView()
    first = view.watch(step(i) for i in range(3))
    next(first)
    second = view.watch(step(i, height=4) for i in range(3))
    next(second)
    next(first)
    first.close()
    assert view.state == "running"
    list(second)
    assert (view.state, view.shape, view.message) == ("done", [2, 4], "Done: 3 steps")


def test_a_loop_may_change_its_latents_in_place(clock: Clock) -> None:
    def loop() -> Iterator[Step]:
        x = torch.zeros(1, 4, 2, 2)
        for index in range(4):
            yield Step(index, 0.0, x, x, 0.0, x)
            x.add_(1)

    view = PictureView()
    list(view.watch(loop()))  # the clock stands still: the last three wait for the end
    assert view.trace is not None
    assert [float(one.x.mean()) for one in view.trace.steps] == [0, 1, 2, 3]


def test_an_image_that_cannot_be_decoded_ends_no_loop(
    model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise NumericsError("NaN")

    view = PictureView()
    run = model.sample("a cat", **ASKED)
    monkeypatch.setattr(run, "pictures", broken)
    assert len(list(view.watch(run))) == 2
    assert (view.state, view.message) == ("error", "NaN")
    assert meta(view.frame1)["index"] == 1


def test_steps_that_raise_are_an_error_in_the_view_too() -> None:
    def steps() -> Iterator[Step]:
        yield step(0)
        raise InputError("one\ntwo\nthree\nfour")

    view = PictureView()
    with pytest.raises(InputError):
        list(view.watch(steps()))
    assert (view.state, view.message) == ("error", "one\ntwo\nthree")


def test_an_interrupt_is_a_stop() -> None:
    def steps() -> Iterator[Step]:
        yield step(0)
        raise KeyboardInterrupt

    view = PictureView()
    with pytest.raises(KeyboardInterrupt):
        list(view.watch(steps()))
    assert view.state == "stopped"


def test_a_run_that_was_watched_leaves_its_image(model: LatentDiffusion) -> None:
    view = PictureView()
    list(view.watch(model.sample("a cat", steps=2, seed=7, width=16, height=24)))
    (shown,) = view.pictures
    assert view.shape == [16, 24]
    assert view.current == view.header["run"]
    assert (shown["type"], shown["prompt"], shown["seed"]) == ("image/png", "a cat", 7)
    assert shown["label"] == "the image for: a cat, seed 7"
    record = read_record(shown["data"])
    assert record is not None
    assert record["settings"]["steps"] == 2
    assert view.message.startswith("Done: 2 steps in ")


def test_a_record_can_be_shown(model: LatentDiffusion) -> None:
    trace = model.generate("a cat", **ASKED)
    view = PictureView().show(trace)
    assert (view.state, len(view.pictures)) == ("done", 1)
    assert view.trace is trace


def test_steps_without_a_run_leave_no_older_image(model: LatentDiffusion) -> None:
    view = PictureView()
    list(view.watch(model.sample("a cat", **ASKED)))
    list(view.watch(step(i) for i in range(3)))
    assert (view.pictures, view.current) == ([], -1)


def test_the_image_before_stays_through_a_run_that_is_stopped(model: LatentDiffusion) -> None:
    view = PictureView()
    list(view.watch(model.sample("a cat", **ASKED)))
    before, owner = view.pictures, view.current
    watched = view.watch(step(i) for i in range(3))
    next(watched)
    assert (view.pictures, view.current) == (before, owner)
    watched.close()
    assert (view.pictures, view.current) == (before, owner)
    assert view.current != view.header["run"]


def test_a_run_that_fails_gives_the_stage_back_to_the_image_before(
    model: LatentDiffusion,
) -> None:
    def steps() -> Iterator[Step]:
        yield step(0)
        raise InputError("no")

    view = PictureView()
    list(view.watch(model.sample("a cat", **ASKED)))
    before = view.pictures
    with pytest.raises(InputError):
        list(view.watch(steps()))
    assert (view.state, view.pictures, view.frame0) == ("error", before, b"")


def test_a_large_image_is_saved_small_and_sent_whole(
    model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch, wire: Wire, say: Say
) -> None:
    monkeypatch.setattr(picture, "SAVED_IMAGES", 900)
    view = PictureView()
    list(view.watch(model.sample("a cat", steps=2, seed=7, width=64, height=64)))
    assert view.pictures[0]["type"] == "image/jpeg"
    assert len(view.pictures[0]["data"]) <= 900
    message, (file,) = custom(wire)[-1]
    assert (message["kind"], message["id"]) == ("pictures", view.current)
    assert read_record(file) is not None
    wire.clear()
    say(view, {"kind": "hello"})
    assert custom(wire) == [({"kind": "hello"}, []), (message, [file])]


def test_a_batch_has_a_prompt_and_a_seed_each() -> None:
    images = tuple(Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    settings = Settings(prompt=("a cat", "a dog"), seed=(3, 9), batch_size=2, width=8, height=8)
    view = PictureView().show(Trace("m", "text to image", settings, images=images))
    assert [(one["prompt"], one["seed"]) for one in view.pictures] == [("a cat", 3), ("a dog", 9)]


def test_it_answers_a_page_that_asks(wire: Wire, say: Say) -> None:
    view = PictureView()
    wire.clear()
    say(view, {"kind": "hello"})
    say(view, {"kind": "ping"})
    assert custom(wire) == [({"kind": "hello"}, []), ({"kind": "pong"}, [])]


def test_a_page_that_comes_in_the_middle_finds_all_steps_so_far(clock: Clock) -> None:
    view = PictureView()
    watched = view.watch(step(i) for i in range(5))
    for _ in range(3):
        next(watched)
        clock.now += 1
    state = view.get_state()
    assert [meta(state[f"frame{i}"])["index"] for i in range(3)] == [0, 1, 2]
    assert state["state"] == "running"
    watched.close()


@pytest.mark.parametrize("message", [None, 5, "hello", [], {}, {"kind": []}, {"kind": "unknown"}])
def test_messages_that_are_not_understood_are_ignored(message: Any, wire: Wire, say: Say) -> None:
    view = PictureView()
    wire.clear()
    say(view, message)
    assert wire == []


def test_the_bundle_is_small() -> None:
    # It is copied into the saved state of every widget.
    assert sum(bundle(f"picture.{kind}").stat().st_size for kind in ("js", "css")) <= 60_000
    assert bundle("studio.js").stat().st_size <= 60_000
    for part in ("history", "start", "words"):
        assert bundle(f"{part}.js").stat().st_size <= 20_000
