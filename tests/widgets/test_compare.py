"""Runs side by side: their differences, what is sent and saved, what is refused."""

from __future__ import annotations

import json
import logging
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ipywidgets
import pytest
from made_runs import large, saved_size

from sdwidgets.errors import InputError
from sdwidgets.frontend import bundle
from sdwidgets.trace import Trace
from sdwidgets.widgets import Compare, Viewer, pace
from sdwidgets.widgets import compare as compare_module
from sdwidgets.widgets.compare import FILMS
from sdwidgets.widgets.reel import SAVED
from sdwidgets.widgets.slots import SLOTS

if TYPE_CHECKING:
    from sdwidgets.pipeline import LatentDiffusion

ASKED: dict[str, Any] = {"steps": 3, "seed": 7, "width": 16, "height": 16}


@pytest.fixture(scope="module")
def cat(model: LatentDiffusion) -> Trace:
    return model.generate("a cat", attention=True, **ASKED)


@pytest.fixture(scope="module")
def dog(model: LatentDiffusion) -> Trace:
    return model.generate("a dog", attention=True, **ASKED)


def steps_of(film: bytes) -> list[dict[str, Any]]:
    """Return the headers of a film's frames."""
    found, at = [], 0
    while at < len(film):
        length = int.from_bytes(film[at : at + 4], "little")
        frame = film[at + 4 : at + 4 + length]
        found.append(json.loads(frame[4 : 4 + int.from_bytes(frame[:4], "little")]))
        at += 4 + length
    return found


def films(widget: Compare) -> list[bytes]:
    state = widget.get_state()
    return [state[name] for name in FILMS if state[name]]


def test_each_run_has_a_head_a_film_a_label_and_its_images(cat: Trace, dog: Trace) -> None:
    widget = Compare(cat, dog)
    state = widget.get_state()
    assert [header["pictures"][0]["prompt"] for header in state["headers"]] == ["a cat", "a dog"]
    assert [[step["index"] for step in steps_of(film)] for film in films(widget)] == [[0, 1, 2]] * 2
    assert state["labels"] == ["a cat", "a dog"]
    assert [len(pictures) for pictures in state["pictures"]] == [1, 1]
    assert state["pictures"][0][0]["data"] == cat.png()
    assert widget.traces == (cat, dog)


def test_the_frames_are_those_of_a_viewer(cat: Trace, dog: Trace) -> None:
    (first, _), viewer = films(Compare(cat, dog)), Viewer(cat)
    frame = viewer.get_state()["frame0"]
    assert first[: 4 + len(frame)] == len(frame).to_bytes(4, "little") + frame


def test_batches_keep_all_their_images(cat: Trace, model: LatentDiffusion) -> None:
    widget = Compare(cat, model.generate("a cat", batch_size=3, **ASKED), picture=2)
    assert [len(pictures) for pictures in widget.pictures] == [1, 3]
    assert widget.picture == 2


@pytest.mark.parametrize(
    ("changed", "label"),
    [
        ({"seed": 8}, "seed 8"),
        ({"prompt": ""}, "no prompt"),
        ({"negative_prompt": "a dog"}, "without 'a dog'"),
        ({"guidance_scale": 1.0}, "guidance 1"),
        ({"sampler": "ddim"}, "ddim"),
        ({"schedule": "karras"}, "schedule karras"),
        ({"steps": 5}, "5 steps"),
        ({"width": 32}, "32 x 16"),
        ({"seed": 8, "eta": 0.5}, "seed 8, eta 0.5"),
        ({}, "run 2"),
    ],
)
def test_labels_say_what_differs(cat: Trace, changed: dict[str, Any], label: str) -> None:
    other = replace(cat, settings=replace(cat.settings, **changed))
    assert Compare(cat, other).labels[1] == label


def test_runs_of_unlike_length_are_compared(cat: Trace, model: LatentDiffusion) -> None:
    long = model.generate("a cat", steps=100, seed=7, width=16, height=16, guidance_scale=1.0)
    first, second = films(Compare(cat, long))
    kept = [step["index"] for step in steps_of(second)]
    assert len(steps_of(first)) == 3
    assert len(kept) <= SLOTS
    assert (kept[0], kept[-1]) == (0, 99)


def test_other_runs_take_their_place(cat: Trace, dog: Trace) -> None:
    widget = Compare(cat, dog, cat, step=2, word="cat")
    before = [header["run"] for header in widget.headers]
    assert (widget.step, widget.word) == (2, "cat")
    assert widget.show(dog, cat) is widget
    assert len(films(widget)) == 2
    assert not set(before) & {header["run"] for header in widget.headers}
    assert (widget.step, widget.word) == (-1, "cat")


@pytest.mark.parametrize("count", [0, 1, 7])
def test_two_to_six_runs_are_compared(cat: Trace, count: int) -> None:
    with pytest.raises(InputError, match=f"2 to 6 traces, got {count}"):
        Compare(*[cat] * count)


def test_what_is_no_trace_is_refused(cat: Trace) -> None:
    with pytest.raises(InputError, match="got a str"):
        Compare(cat, "dog.sdtrace")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'wort'"):
        Compare(cat, cat, wort="cat")


def test_a_refused_show_leaves_what_was_there(cat: Trace, dog: Trace) -> None:
    widget = Compare(cat, dog)
    before = widget.get_state()
    with pytest.raises(InputError):
        widget.show(cat)
    assert widget.get_state() == before


def test_it_is_linked_with_viewers(cat: Trace, dog: Trace) -> None:
    link = ipywidgets.jslink((Compare(cat, dog), "step"), (Viewer(cat), "step"))
    assert link.source[1] == link.target[1] == "step"


def test_a_page_can_set_nothing_but_selections(
    cat: Trace, dog: Trace, caplog: pytest.LogCaptureFixture
) -> None:
    widget = Compare(cat, dog)
    before = widget.get_state()
    with caplog.at_level(logging.WARNING, "sdwidgets"):
        for wrong in (None, {"headers": []}, {"film0": b""}, {"step": "x"}, {"uid": "x"}):
            widget.set_state(wrong)
            widget._handle_custom_msg(wrong, [])
    assert widget.get_state() == before
    assert len(caplog.records) == 1
    widget.set_state({"step": 1})
    assert widget.step == 1


def test_large_runs_are_saved_smaller_and_whole_for_who_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(
        Compare, "send", lambda _, content, buffers: sent.append((content, buffers))
    )
    run = large(6)
    widget = Compare(run, run, run)
    assert sum(map(len, films(widget))) <= SAVED
    assert all(header["saved"] for header in widget.headers)
    assert saved_size(widget) <= 1_300_000
    widget._handle_custom_msg({"kind": "frames"}, [])
    ((content, whole),) = sent
    assert content["names"] == ["film0", "film1", "film2"]
    assert content["run"] == widget.headers[0]["run"]
    assert [len(steps_of(film)) for film in whole] == [6, 6, 6]
    assert steps_of(whole[0])[0]["size"] == [1, 4, 64, 64]


def test_however_often_a_page_asks_it_is_answered_once_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pace, "ANSWER_INTERVAL", 60.0)
    sent: list[Any] = []
    monkeypatch.setattr(Compare, "send", lambda _, content, buffers: sent.append(content))
    run = large(6)
    widget = Compare(run, run, run)
    for _ in range(1000):
        widget._handle_custom_msg({"kind": "frames"}, [])
    assert len(sent) == 1


def test_what_cannot_be_made_small_enough_keeps_its_images(
    cat: Trace, dog: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare_module, "SAVED", 10)
    widget = Compare(cat, dog)
    assert films(widget) == []
    assert widget.pictures[0]


def test_the_output_has_words_and_a_sheet(cat: Trace, dog: Trace) -> None:
    data, _ = Compare(cat, dog)._repr_mimebundle_()
    assert data["text/plain"] == "Compare: a cat; a dog"
    assert data["image/png"]
    assert "application/vnd.jupyter.widget-view+json" in data


def test_it_cannot_be_sent(cat: Trace, dog: Trace) -> None:
    with pytest.raises(InputError, match="belongs to its notebook"):
        pickle.dumps(Compare(cat, dog))


def test_the_bundle_is_small() -> None:
    assert bundle("compare.js").stat().st_size <= 60_000
