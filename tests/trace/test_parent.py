"""The parent of a record: in memory, in its files, and in files that anyone may have written."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sdwidgets.contract import PARENT
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.trace import Trace, read_record, read_settings
from sdwidgets.trace.parent import DEPTH, TEXT, Parent
from sdwidgets.trace.reel import header_of
from sdwidgets.widgets.gallery import Gallery

SETTINGS: dict[str, Any] = {"steps": 2, "seed": 1, "sampler": "euler"}


@pytest.fixture
def trace(tiny_model: LatentDiffusion) -> Trace:
    return tiny_model.generate("a cat", **SETTINGS)


def child(parent: Trace, how: str = "branch", **more: Any) -> Trace:
    """The record of a run that came from another."""
    return replace(parent, parent=Parent.of(how, parent, **more))


def deep(trace: Trace, depth: int) -> Trace:
    for step in range(depth):
        trace = child(trace, step=step)
    return trace


def depth_of(data: dict[str, Any]) -> int:
    return 1 + depth_of(data["parent"]["record"]) if "parent" in data else 0


def as_json(data: Any) -> Any:
    return json.loads(json.dumps(data))


def test_a_run_of_its_own_has_no_parent(trace: Trace, tmp_path: Path) -> None:
    assert trace.parent is None and "parent" not in trace.record()
    assert "parent" not in header_of(trace, 1)
    assert Trace.load(trace.save(tmp_path / "a.sdtrace")).parent is None


def test_a_parent_is_in_every_file(trace: Trace, tmp_path: Path) -> None:
    made = child(child(trace, "edit", edit={"prompt": "a dog"}), step=1, seed=7)
    said = made.record()["parent"]
    assert (said["how"], said["step"], said["seed"]) == ("branch", 1, 7)
    assert said["record"]["settings"] == trace.settings.as_dict()
    assert said["record"]["parent"]["edit"] == {"prompt": "a dog"}
    png = read_record(made.png())
    assert png is not None and png["parent"] == as_json(said)
    assert header_of(made, 1)["parent"] == {name: said[name] for name in ("how", "step")}
    back = Trace.load(made.save(tmp_path / "a.sdtrace"))
    assert back.parent is not None and back.parent.trace is None
    assert back.notices == made.notices  # nothing in it is strange
    assert as_json(back.record()) == as_json(made.record()) == as_json(png)
    assert as_json(Parent.from_dict(as_json(said)).as_dict()) == as_json(said)


def test_each_image_of_a_batch_has_its_own_parent(tiny_model: LatentDiffusion) -> None:
    batch = tiny_model.generate(["a cat", "a dog"], **SETTINGS)
    made = child(child(batch, step=1, seed=(8, 5)), step=1, seed=20)
    parents = [made.record(i)["parent"] for i in range(2)]
    assert [each["seed"] for each in parents] == [20, 21]
    assert [each["record"]["parent"]["seed"] for each in parents] == [8, 5]
    above = [each["record"]["parent"]["record"]["settings"] for each in parents]
    assert [one["prompt"] for one in above] == ["a cat", "a dog"]
    assert [one["seed"] for one in above] == [1, 2]
    whole = made.parent.record["settings"] if made.parent else {}
    assert whole["prompt"] == ("a cat", "a dog")


def test_files_have_a_limited_number_of_parents(trace: Trace, tmp_path: Path) -> None:
    made = deep(trace, DEPTH + 3)
    assert depth_of(made.record()) == DEPTH
    assert made.record()["parent"]["step"] == DEPTH + 2  # the nearest are kept
    back = Trace.load(made.save(tmp_path / "a.sdtrace"))
    assert depth_of(back.record()) == DEPTH


def test_files_have_a_limited_length_of_parents(trace: Trace, tmp_path: Path) -> None:
    long = replace(trace, settings=replace(trace.settings, prompt="x" * (TEXT // 11)))
    made = deep(long, 14)
    assert depth_of(made.record()) == 10
    assert len(json.dumps(made.record()["parent"])) <= TEXT
    assert read_settings(made.png(), partial=True).prompt == long.prompt
    huge = replace(trace, settings=replace(trace.settings, prompt="\x00" * 100_000))
    huge = replace(huge, settings=replace(huge.settings, negative_prompt="\x00" * 99_000))
    said = child(huge, step=1).record()["parent"]
    assert said["record"]["settings"]["prompt"] == ""  # but how it came from it is known
    assert Parent.from_dict(as_json(said)).step == 1


def test_settings_of_parents_are_todays(trace: Trace) -> None:
    said = as_json(child(child(trace)).record())
    oldest = said["parent"]["record"]["parent"]["record"]
    del oldest["settings_format"]
    oldest["settings"] = {"prompt": "(a) cat", "steps": 2, "seed": 1}
    made = Parent.from_dict(said["parent"]).record["parent"]["record"]
    assert made["settings"]["schedule"] == "config" and made["settings"]["weights"] == "none"


WRONG: dict[str, Any] = {
    "no record": {"record": None},
    "no text": {"how": 3},
    "a step of text": {"step": "1"},
    "a step beyond all": {"step": PARENT["step"] + 1},
    "a seed of text": {"seed": "1"},
    "a seed beyond all": {"seed": 2**32},
    "no seeds": {"seed": []},
    "an edit that is a list": {"edit": [1]},
}
WRONG_RECORD: dict[str, Any] = {
    "model": 1,
    "task": None,
    "settings": {"steps": -1},
    "versions": {"torch": 2},
    "fingerprint": 3,
    "sources": [{"name": ""}],
    "given": "image",
    "controls": [{"name": "canny"}],
    "notices": [1],
    "complete": "yes",
    "parent": [],
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_parent_that_is_none_is_refused(trace: Trace, wrong: Any) -> None:
    said = as_json(child(trace, step=1).record())["parent"]
    for bad in ({**said, **wrong}, {**said, "record": {**said["record"], "parent": said | wrong}}):
        with pytest.raises(ValueError):
            Parent.from_dict(bad)


@pytest.mark.parametrize("name", WRONG_RECORD)
def test_a_parent_with_a_record_that_is_none_is_refused(trace: Trace, name: str) -> None:
    said = as_json(child(trace, step=1).record())["parent"]
    said["record"][name] = WRONG_RECORD[name]
    with pytest.raises(ValueError):
        Parent.from_dict(said)


def test_a_parent_may_have_what_is_not_known_yet(trace: Trace) -> None:
    said = as_json(child(trace, step=1).record())["parent"]
    more = copy.deepcopy(said)
    more["why"] = more["record"]["colour"] = more["record"]["settings"]["taste"] = "blue"
    assert as_json(Parent.from_dict(more).as_dict()) == said


def test_too_many_parents_are_refused(trace: Trace) -> None:
    above = as_json(child(trace).record())
    for _ in range(3 * DEPTH):
        above = {**above, "parent": {"how": "branch", "record": above}}
    with pytest.raises(ValueError, match="more than 16"):
        Parent.from_dict(above["parent"])


def test_the_gallery_keeps_no_steps_of_parents(trace: Trace) -> None:
    gallery = Gallery()
    gallery.add("tiny", child(trace, step=1))
    kept = gallery.pictures[0]
    assert kept.record.parent is not None and kept.record.parent.trace is None
    assert kept.settings["parent"]["step"] == 1


@pytest.mark.parametrize(
    ("sampler", "draws"), [("euler", [1, 1, 1]), ("euler_ancestral", [1, 2, 3])]
)
def test_steps_know_how_often_noise_was_drawn(
    tiny_model: LatentDiffusion, tmp_path: Path, sampler: str, draws: list[int]
) -> None:
    trace = tiny_model.generate("a cat", steps=3, seed=1, sampler=sampler)
    assert [step.draws for step in trace.steps] == draws
    back = Trace.load(trace.save(tmp_path / "a.sdtrace"))
    assert [step.draws for step in back.steps] == draws
