"""The walk without a browser: frames as they come, Stop, files, what pages say."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets
import pytest
from PIL import Image
from random_values import anything

from sdwidgets.contract import NUMBERED
from sdwidgets.errors import InputError, OutOfMemory
from sdwidgets.manager import ModelManager
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.widgets import Walk
from sdwidgets.widgets.walk import STILLS

WAIT = 60  # seconds, never reached
Make = Callable[..., Walk]


@pytest.fixture
def make(manager: ModelManager, gate: Any) -> Iterator[Make]:
    """Makes walks of the tiny model; they are closed at the end."""
    made: list[Walk] = []

    def make(stops: Any = ("a cat", ("a dog", 9)), **settings: Any) -> Walk:
        defaults = {"frames": 4, "steps": 2, "seed": 5, "manager": manager}
        made.append(Walk("tiny", stops, **(defaults | settings)))
        return made[-1]

    yield make
    gate.open()
    for walk in made:
        walk.close()


def test_frames_come_coarse_first_and_end_in_order(make: Make) -> None:
    walk = make()
    assert [frame.place for frame in walk] == [0, 1, 0.5, 0.25, 0.75]
    assert [frame.place for frame in walk.frames] == [0, 0.25, 0.5, 0.75, 1]
    assert [shot["place"] for shot in walk.shots] == [0, 1, 0.5, 0.25, 0.75]
    assert walk.state == "done" and walk.message == "5 frames"
    assert walk.plan == {
        "count": 5, "legs": 1, "loop": False, "stops": [["a cat", 5], ["a dog", 9]],
    }  # fmt: skip


def test_the_page_has_each_image_and_its_settings(make: Make) -> None:
    walk = make()
    walk.wait(WAIT)
    quarter = dict(walk.shots[3]["about"])
    assert quarter == {
        "prompt": "a cat",
        "toward": "0.25 of the way to a dog",
        "seed": "5",
        "variation": "0.25 of the way to seed 9",
    }
    assert dict(walk.about)["sampler"] == "dpmpp_2m" and "prompt" not in dict(walk.about)
    shown = [getattr(walk, name) for name in STILLS]
    assert [bool(data) for data in shown] == [True] * 5 + [False] * (NUMBERED["still"] - 5)
    images = [Image.open(io.BytesIO(data)) for data in shown[:5]]
    assert {image.size for image in images} == {(16, 16)}


def test_a_frame_is_an_ordinary_run(make: Make, model: LatentDiffusion) -> None:
    frame = list(make())[3]
    again = model.generate(**frame.settings.as_dict())
    assert again.image.tobytes() == frame.image.tobytes()
    assert frame.trace.settings.toward == ("a dog", 0.25)


def test_each_image_is_sent_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    if ipywidgets.__version__.startswith("7."):
        pytest.skip("this ipywidgets sends nothing where there is no kernel")
    sent: list[str] = []

    def send(_: Any, content: dict[str, Any], buffers: Any = None) -> None:
        sent.extend(name for name, *_ in content.get("buffer_paths", ()))

    monkeypatch.setattr(Walk, "_send", send)
    make().wait(WAIT)
    assert sorted(name for name in sent if name in STILLS) == sorted(STILLS[:5])


def test_stop_keeps_the_frames_and_start_goes_on(make: Make, gate: Any) -> None:
    gate.closed = True
    walk = make(guidance_scale=1.0)
    gate.allow(2)  # one frame of two steps
    first = next(iter(walk))
    walk.stop()
    gate.open()
    assert walk.wait(WAIT)[0] is first
    made = len(walk.frames)
    assert walk.state == "stopped" and made < 5
    assert walk.message == f"Stopped after {made} of 5 frames"
    walk.start()
    assert [frame.place for frame in walk.wait(WAIT)] == [0, 0.25, 0.5, 0.75, 1]
    assert walk.frames[0] is first and walk.state == "done"
    walk.start()  # nothing is left
    assert walk.state == "done"


def test_one_run_at_a_time_waits(make: Make, manager: ModelManager, gate: Any) -> None:
    gate.closed = True
    walk = make()
    seen = []
    while not (jobs := manager.jobs()) or jobs[0].state != "running":
        assert walk.state == "running"
    seen = [job for job in manager.jobs() if job.request and job.request.model == "tiny"]
    assert len(seen) == 1
    gate.open()
    walk.wait(WAIT)


def test_an_error_ends_it_and_is_said(make: Make, model: LatentDiffusion) -> None:
    def broken(*_: Any) -> None:
        raise OutOfMemory("There is no memory.\nTake a smaller size.")

    handle = model.unet.register_forward_pre_hook(broken)
    try:
        walk = make()
        with pytest.raises(OutOfMemory):
            walk.wait(WAIT)
    finally:
        handle.remove()
    assert walk.state == "error" and walk.message.startswith("Out of memory on cpu")
    with pytest.raises(OutOfMemory):
        next(iter(walk))
    walk.start()
    assert len(walk.wait(WAIT)) == 5 and walk.error is None


def test_what_its_model_does_not_take_is_an_error(make: Make) -> None:
    walk = make(width=17)
    with pytest.raises(InputError, match="multiple of"):
        walk.wait(WAIT)
    assert walk.state == "error"


def test_an_even_walk_and_a_loop(make: Make) -> None:
    walk = make([3, 4, 5], even=True, loop=True, prompt="a cat")
    places = [frame.place for frame in walk.wait(WAIT)]
    assert len(places) == 12 and places == sorted(set(places)) and places[-1] < 3


def test_a_model_in_memory_is_taken_by_a_name_of_its_own(
    manager: ModelManager, model: LatentDiffusion
) -> None:
    walks = [Walk(model, [1, 2], frames=1, steps=1, manager=manager) for _ in range(2)]
    assert all(len(walk.wait(WAIT)) == 2 for walk in walks)
    assert walks[0]._model == walks[1]._model
    for walk in walks:
        walk.close()


def test_a_page_stops_continues_and_saves(make: Make, say: Any, monkeypatch: Any) -> None:
    walk = make()
    walk.wait(WAIT)
    sent: list[tuple[Any, Any]] = []
    came = threading.Event()

    def send(content: Any, buffers: Any = None) -> None:
        sent.append((content, buffers))
        came.set()

    monkeypatch.setattr(walk, "send", send)
    say(walk, {"kind": "save", "ending": ".gif", "fps": 4, "back": True})
    assert came.wait(WAIT)
    [(content, [data])] = sent
    assert content == {"kind": "file", "ending": ".gif"}
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 8
    say(walk, {"kind": "save", "ending": ".exe", "fps": 4, "back": True})
    assert sent[-1][0]["kind"] == "trouble"
    say(walk, {"kind": "ping"})
    assert sent[-1][0] == {"kind": "pong"}


def test_malformed_messages_change_nothing(make: Make, say: Any) -> None:
    import random

    walk = make(frames=1)
    walk.wait(WAIT)
    before = walk.get_state()
    rng = random.Random(0)
    for _ in range(300):
        kind = rng.choice(["save", "hello", anything(rng)])
        say(walk, {"kind": kind, "ending": anything(rng), "fps": anything(rng)})
        say(walk, anything(rng))
        walk.set_state({"state": "idle", "still0": b"x"})
    assert walk.get_state() == before


def test_too_many_frames_for_a_page_are_refused(make: Make) -> None:
    with pytest.raises(InputError, match="at most 128") as caught:
        make(frames=200)
    assert caught.value.parameter == "frames" and len(str(caught.value).splitlines()) <= 3


def test_a_closed_walk_stops(make: Make, gate: Any) -> None:
    gate.closed = True
    walk = make()
    walk.close()
    gate.open()
    assert walk._over.wait(WAIT)
    assert walk.state == "stopped"
