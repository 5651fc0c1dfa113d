"""Branches without a browser: growing, edits, drafts, errors, files, threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ipywidgets
import pytest

from sdwidgets.contract import ASKS, BRANCHES
from sdwidgets.errors import Busy, InputError
from sdwidgets.manager import ModelManager
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.trace import Trace, Tree
from sdwidgets.widgets import Branches
from sdwidgets.widgets.branch_map import MOST, ROWS
from sdwidgets.widgets.upload import PART

WAIT = 60
SETTINGS: dict[str, Any] = {"width": 16, "height": 16, "steps": 4, "seed": 1, "sampler": "euler"}

Say = Callable[[Any, Any], None]


@pytest.fixture
def trace(model: LatentDiffusion) -> Trace:
    return model.generate("the cat", guidance_scale=3.0, **SETTINGS)


@pytest.fixture
def branches(trace: Trace, manager: ModelManager, gate: Any) -> Iterator[Branches]:
    made = Branches(trace, manager=manager)
    yield made
    gate.open()
    made.close()


def entries(branches: Branches) -> dict[int, dict[str, Any]]:
    return {one["id"]: one for one in branches.map.nodes}


# -- growing --------------------------------------------------------------------------------


def test_a_branch_grows_in_the_background(branches: Branches, trace: Trace) -> None:
    branches.grow(0, 2, prompt="the dog")
    node = branches.wait(WAIT)
    assert node is not None and (node.how, node.step, node.cost) == ("branch", 2, 2)
    assert branches.selected is node and branches.map.at == -1
    wanted = trace.branch(2, prompt="the dog")
    assert node.trace.image.tobytes() == wanted.image.tobytes()
    assert branches.state == "done" and branches.map.forming == {}
    shown = entries(branches)[node.id]
    assert (shown["parent"], shown["step"], shown["changes"]) == (0, 2, "cat → dog")
    held = getattr(branches.map, shown["row"])
    assert held["steps"] == [2, 3] and len(held["thumbnails"]) == 2
    assert held["image"].startswith(b"\xff\xd8") and held["difference"].startswith(b"\x89PNG")


def test_the_selected_run_and_step_are_the_default(branches: Branches) -> None:
    branches.map.at = 3
    branches.grow(guidance_scale=1.0)
    node = branches.wait(WAIT)
    assert node is not None and node.parent is branches.tree.root and node.step == 3


def test_an_edit_is_a_branch_too(branches: Branches, trace: Trace) -> None:
    branches.edit(0, "cat", "dog", weights={"dog": 2})
    node = branches.wait(WAIT)
    assert node is not None and node.how == "edit"
    wanted = trace.edit("cat", "dog", weights={"dog": 2})
    assert node.trace.image.tobytes() == wanted.image.tobytes()
    assert (
        "cannot" in entries(branches)[node.id]["edits"]
        or "Only" in entries(branches)[node.id]["edits"]
    )
    assert entries(branches)[0]["edits"] == ""


def test_a_run_forms_in_its_place(branches: Branches, gate: Any) -> None:
    seen: list[dict[str, Any]] = []
    branches.map.observe(lambda change: seen.append(change.new), "forming")
    gate.closed = True
    branches.grow(0, 1, guidance_scale=1.0)
    assert branches.map.forming["parent"] == 0 and branches.map.forming["step"] == 1
    gate.open()
    branches.wait(WAIT)
    assert seen[-1] == {} and all(one["step"] == 1 for one in seen[:-1])
    assert [one["done"] for one in seen[:-1]] == sorted(one["done"] for one in seen[:-1])


def test_stop_leaves_the_tree_as_it_was(branches: Branches, gate: Any) -> None:
    gate.closed = True
    branches.grow(0, 1, guidance_scale=1.0)
    with pytest.raises(Busy, match="still growing"):
        branches.grow(0, 2, guidance_scale=1.0)
    branches.stop()
    gate.open()
    assert branches.wait(WAIT) is None
    assert branches.state == "stopped" and len(branches.tree) == 1 and branches.map.forming == {}
    branches.grow(0, 2, guidance_scale=1.0)
    assert branches.wait(WAIT) is not None


def test_errors_are_raised_and_shown(branches: Branches) -> None:
    with pytest.raises(InputError, match="no step 9"):
        branches.grow(0, 9)
    assert branches.state == "error" and "no step 9" in branches.map.message
    assert branches.map.wrong == "step" and isinstance(branches.error, InputError)
    with pytest.raises(InputError, match="not a word"):
        branches.edit(0, "bird", "dog")
        branches.wait(WAIT)
    branches.grow(0, 2, guidance_scale=1.0)
    branches.wait(WAIT)
    assert branches.error is None and branches.map.wrong == "" and branches.state == "done"


def test_a_model_that_is_gone_has_to_be_given(
    trace: Trace, manager: ModelManager, model: LatentDiffusion, tmp_path: Path
) -> None:
    tree = Tree(Trace.load(trace.save(tmp_path / "run.sdtrace")))
    with ModelManager() as other:
        without = Branches(tree, manager=other)
        with pytest.raises(InputError, match="not loaded"):
            without.grow(0, 2)
        without.close()
        given = Branches(tree, model, manager=other)
        given.grow(0, 2, guidance_scale=1.0)
        assert given.wait(WAIT) is not None
        assert other.loaded() == [model.name]
        given.close()
        assert other.loaded() == []


@pytest.mark.parametrize(
    ("recorded", "name"), [("emoji scenes", "emoji"), ("emoji, by class", "emoji-class")]
)
def test_bundled_models_are_known_by_the_names_in_their_records(
    trace: Trace, manager: ModelManager, recorded: str, name: str
) -> None:
    branches = Branches(replace(trace, model=recorded, model_ref=None), manager=manager)
    assert branches._named() == name
    branches.close()


def test_a_stranger_under_the_models_name_stays(
    trace: Trace, model: LatentDiffusion, make_model: Any
) -> None:
    from sdwidgets.configs import TINY

    with ModelManager() as manager:
        stranger = make_model(TINY)
        manager.add(stranger, model.name)
        branches = Branches(trace, manager=manager)
        branches.grow(0, 2, guidance_scale=1.0)
        assert branches.wait(WAIT) is not None
        assert manager.load(model.name) is stranger
        branches.close()
        assert manager.loaded() == [model.name]


# -- drafts: a word's weight is dragged ------------------------------------------------------


def weigh(factor: float, draft: int) -> dict[str, Any]:
    changes = {"weights": {"cat": factor}}
    return {"kind": "edit", "node": 0, "changes": changes, "draft": draft}


def test_the_newest_weight_wins_and_one_waits_at_most(
    branches: Branches, gate: Any, say: Say
) -> None:
    gate.closed = True
    for factor in (1.2, 1.4, 1.6, 1.8, 2.0):
        say(branches.map, weigh(factor, -1))
    gate.open()
    node = branches.wait(WAIT)
    assert node is not None and len(branches.tree) == 2  # one draft, the newest
    assert node.changes == "cat × 2" and entries(branches)[node.id]["draft"]
    say(branches.map, weigh(0.5, node.id))
    assert branches.wait(WAIT) is node
    assert len(branches.tree) == 2 and node.changes == "cat × 0.5"


def test_a_draft_that_is_kept_is_a_run_like_the_others(branches: Branches, say: Say) -> None:
    say(branches.map, weigh(2, -1))
    first = branches.wait(WAIT)
    assert first is not None
    say(branches.map, {"kind": "keep", "node": first.id})
    assert not entries(branches)[first.id]["draft"]
    say(branches.map, weigh(3, -1))
    second = branches.wait(WAIT)
    assert second is not None and second is not first
    assert [node.changes for node in branches.tree] == ["", "cat × 2", "cat × 3"]


# -- the page -------------------------------------------------------------------------------


def test_what_the_page_asks_for(
    branches: Branches, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[Any, Any]] = []
    monkeypatch.setattr(branches.map, "send", lambda *what: sent.append(what))
    say(branches.map, {"kind": "grow", "node": 0, "step": 2, "changes": {"prompt": "the dog"}})
    node = branches.wait(WAIT)
    assert node is not None
    say(branches.map, {"kind": "rename", "node": node.id, "name": "dog"})
    assert entries(branches)[node.id]["name"] == "dog" == node.name
    say(branches.map, {"kind": "cost", "node": 0, "step": 1, "changes": {"steps": 8}, "key": 5})
    answer = sent[-1][0]
    assert answer["key"] == 5
    assert answer["cost"] == branches.tree.root.trace.branching(1, steps=8).cost()
    say(branches.map, {"kind": "cost", "node": 0, "step": 1, "changes": {"steps": -8}, "key": 6})
    assert sent[-1][0]["cost"] is None and "steps" in sent[-1][0]["why"]
    say(branches.map, {"kind": "compare", "node": 0, "other": node.id})
    comparison = branches.comparison
    assert comparison is not None and branches.children[-1] is comparison
    assert comparison.traces == (branches.tree.root.trace, node.trace)
    say(branches.map, {"kind": "apart"})
    assert branches.comparison is None and branches.children == (branches.map,)
    say(branches.map, {"kind": "prune", "node": node.id})
    assert len(branches.tree) == 1 and branches.map.undoable == 1
    assert branches.selected is branches.tree.root
    say(branches.map, {"kind": "undo"})
    assert branches.selected is node and branches.map.undoable == 0


def test_a_tree_is_saved_and_opened_by_the_page(
    branches: Branches, monkeypatch: pytest.MonkeyPatch, say: Say
) -> None:
    branches.grow(0, 2, prompt="the dog")
    node = branches.wait(WAIT)
    assert node is not None
    sent: list[tuple[Any, Any]] = []
    monkeypatch.setattr(branches.map, "send", lambda *what: sent.append(what))
    say(branches.map, {"kind": "save"})
    (message, (content,)) = sent[-1]
    assert message == {"kind": "file", "name": "tree.sdtree"}
    branches.prune(node)

    def upload(data: bytes) -> None:
        parts = [data[i : i + PART] for i in range(0, len(data), PART)]
        for number, part in enumerate(parts):
            told = {"kind": "file", "name": "x.sdtree", "size": len(data), "part": number}
            branches.map._handle_custom_msg(told | {"parts": len(parts)}, [part])

    before = branches.tree
    upload(content[:-1])
    assert branches.state == "error" and branches.tree is before
    assert "The file is cut" in branches.map.message and "/" not in branches.map.message
    upload(content)
    assert [one.changes for one in branches.tree] == ["", "cat → dog"]
    assert branches.map.undoable == 0 and branches.selected is branches.tree.root


def test_malformed_messages_are_ignored_or_refused(branches: Branches, say: Say) -> None:
    for message in (None, 5, [], {}, {"kind": []}, {"kind": "fly"}, {"kind": "recall", "id": 0}):
        say(branches.map, message)
    assert branches.state == "idle"
    for kind in ASKS["branches"]:
        for more in ({}, {"node": "x"}, {"node": 99}, {"node": 0, "changes": 5, "step": None}):
            say(branches.map, {"kind": kind, **more})
    say(branches.map, {"kind": "edit", "node": 0, "changes": {"model": "x"}})
    say(branches.map, {"kind": "grow", "node": 0, "step": 2, "changes": {"batch_size": 2}})
    assert branches.state == "error" and len(branches.tree) == 1
    branches.map.set_state({"nodes": [], "selected": "x", "at": -5, "view": "none", "row0": {}})
    assert len(branches.map.nodes) == 1 and branches.map.selected == 0 and branches.map.at == -1
    branches.set_state({"state": "done"})
    assert branches.state == "error"


# -- its state ------------------------------------------------------------------------------


def test_the_images_of_a_run_are_sent_once(branches: Branches, trace: Trace) -> None:
    sent: list[str] = []
    branches.map.observe(lambda change: sent.append(change.name), list(ROWS))
    for step in (1, 2):
        branches.grow(0, step, guidance_scale=1.0)
        branches.wait(WAIT)
    assert sent == ["row1", "row2"]
    branches.prune(1)
    assert branches.map.row1 == {}
    branches.grow(0, 3, guidance_scale=1.0)
    node = branches.wait(WAIT)
    assert node is not None and entries(branches)[node.id]["row"] == "row1"


def test_a_long_run_has_few_thumbnails(model: LatentDiffusion, manager: ModelManager) -> None:
    trace = model.generate("the cat", **{**SETTINGS, "steps": 60})
    branches = Branches(trace, manager=manager)
    steps = branches.map.row0["steps"]
    assert len(steps) == BRANCHES["thumbnails"] and steps[0] == 0 and steps[-1] == 59
    assert len(entries(branches)[0]["kept"]) == 60
    branches.close()


def test_a_tree_with_its_parents_is_shown(trace: Trace, manager: ModelManager) -> None:
    branch = trace.branch(2, guidance_scale=1.0)
    branches = Branches(branch, manager=manager)
    assert len(branches.tree) == 2 and branches.selected.trace is branch
    branches.close()


def test_a_tree_that_is_too_large_is_refused(trace: Trace, manager: ModelManager) -> None:
    tree = Tree(trace)
    for _ in range(MOST):
        tree.add(trace.branch(3))
    with pytest.raises(InputError, match=f"at most {MOST}"):
        Branches(tree, manager=manager)


def test_wrong_arguments(trace: Trace) -> None:
    for args in (("cat",), (None,), (trace, 5)):
        with pytest.raises(InputError):
            Branches(*args)  # type: ignore[arg-type]


def test_closing_ends_the_run_and_the_comparison(
    branches: Branches, gate: Any, trace: Trace
) -> None:
    branches.grow(0, 2, guidance_scale=1.0)
    branches.wait(WAIT)
    comparison = branches.compare(0, 1)
    gate.closed = True
    branches.grow(0, 1, guidance_scale=1.0)
    run = branches._running
    assert run is not None
    branches.close()
    gate.open()
    assert run.finished.wait(WAIT)
    assert comparison.comm is None or ipywidgets.__version__.startswith("7.")
    with pytest.raises(InputError, match="closed"):
        branches.grow(0, 2)
    assert not [t for t in threading.enumerate() if t is run._thread and t.is_alive()] or run.over


def test_a_host_without_widgets_gets_an_image(branches: Branches) -> None:
    still = branches._still()
    assert still is not None and still.startswith(b"\x89PNG")
    assert "Tree of 1 runs" in repr(branches)
