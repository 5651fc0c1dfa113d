"""A sweep's folder: results as they come, a restart that goes on, and what is refused."""

from __future__ import annotations

import json
import math
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sdwidgets.errors import Busy, ImageError, InputError
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.sweep import engine as engine_module
from sdwidgets.sweep import store as store_module
from sdwidgets.sweep.engine import Engine
from sdwidgets.sweep.locking import Lock
from sdwidgets.sweep.plan import Plan
from sdwidgets.sweep.results import Result
from sdwidgets.trace import Trace, read_record, read_settings


def plan_of(model: LatentDiffusion, **changes: object) -> Plan:
    settings = {"prompt": "a {cat|dog}", "guidance_scale": [1, 3], "steps": 4, "from_step": 2}
    return Plan.of(model, **{**settings, **changes})


def pixels(result: Result) -> np.ndarray:
    return np.asarray(result.image)


def test_a_restart_goes_on_where_it_ended(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    folder = tmp_path / "sweeps" / "cats"
    first = Engine(plan_of(tiny_model), folder=folder, scores={"mean": brightness})
    assert not folder.exists()

    def stop_after_two(result: Result | None) -> None:
        if result is not None and len(first.results) >= 2:
            first.stop()

    first.follow(stop_after_two)
    got = {one.index: one for one in first.as_finished()}
    first.close()
    assert 2 <= len(got) < 4 and first.state == "stopped"
    assert all(one.record is None for one in got.values())  # their images are on disk

    again = Engine(plan_of(tiny_model), folder=folder, scores={"mean": brightness})
    assert again.plan.seed == first.plan.seed  # it was drawn once
    assert set(again.results) == set(got)
    for index, one in again.results.items():
        assert np.array_equal(pixels(one), pixels(got[index]))
        assert one.scores == got[index].scores and one.settings == got[index].settings
    made: list[int] = []
    again.follow(lambda result: made.append(result.index) if result else None)
    results = list(again)
    again.close()
    assert sorted([*made, *got]) == [0, 1, 2, 3]
    whole = list(Engine(plan_of(tiny_model, seed=first.plan.seed)))
    assert [pixels(a).tobytes() for a in results] == [pixels(b).tobytes() for b in whole]
    assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0 or os.name == "nt"


def brightness(trace: Trace) -> float:
    return float(np.asarray(trace.image).mean())


def test_images_have_their_settings_inside(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    engine = Engine(Plan.of(tiny_model, seed=[1, 2], steps=2, prompt="a cat"), folder=tmp_path)
    for result in engine:
        assert result.path is not None
        assert read_settings(result.path).seed == result.point.settings.seed
        assert result.trace.settings == result.settings and result.trace.steps == ()
        assert read_record(result.path)["model"] == result.trace.model
    engine.close()
    names = sorted(path.name for path in tmp_path.iterdir() if path.name != ".lock")
    assert names == ["0000.png", "0001.png", "results.jsonl", "sweep.json"]
    about = json.loads((tmp_path / "sweep.json").read_text("utf-8"))
    assert about["sweep"]["axes"] == {"seed": [1, 2]} and about["points"] == 2


def test_steps_are_kept_if_they_are_asked_for(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    plan = Plan.of(tiny_model, seed=[1, 2], steps=2)
    with_steps = list(Engine(plan, folder=tmp_path, keep="trace"))
    assert [len(one.trace.steps) for one in with_steps] == [2, 2]
    assert [one.record for one in with_steps] == [None, None]


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"guidance_scale": [1, 4]}, "guidance_scale"),
        ({"steps": 5}, "steps"),
        ({"prompt": "b {cat|dog}"}, "prompt"),
        ({"prompt": "a {cat|cow}"}, "prompt part 1"),
        ({"seed": 3}, "seed"),
        ({"from_step": 1}, "from_step"),
    ],
)
def test_the_folder_of_another_sweep_is_refused(
    tiny_model: LatentDiffusion, tmp_path: Path, changes: dict[str, object], differs: str
) -> None:
    engine = Engine(plan_of(tiny_model), folder=tmp_path)
    store = engine._store
    assert store is not None
    store.open()
    store.close()
    with pytest.raises(InputError, match=f"another sweep; it differs in {differs}"):
        Engine(plan_of(tiny_model, **changes), folder=tmp_path)


def test_other_folders_and_files_are_refused(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(InputError, match="not empty, and holds no sweep"):
        Engine(plan_of(tiny_model), folder=tmp_path)
    with pytest.raises(InputError, match="is a file"):
        Engine(plan_of(tiny_model), folder=tmp_path / "thesis.txt")
    with pytest.raises(InputError, match="folder must be the path"):
        Engine(plan_of(tiny_model), folder=5)  # type: ignore[arg-type]


def test_two_in_the_same_folder_are_refused(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    plan = Plan.of(tiny_model, seed=[1, 2], steps=2)
    held = Lock.held(tmp_path / ".lock")
    assert held is not None
    engine = Engine(plan, folder=tmp_path / "new")
    list(engine)
    with pytest.raises(InputError, match="not empty"):
        Engine(plan, folder=tmp_path)
    code = (
        "import sys; from pathlib import Path; from sdwidgets.sweep.locking import Lock\n"
        "print(Lock.held(Path(sys.argv[1])) is None)"
    )
    lock = tmp_path / "new" / ".lock"
    command = [sys.executable, "-c", code, str(lock)]
    mine = Lock.held(lock)
    assert mine is not None
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
    with pytest.raises(InputError, match="being made already"):
        engine.start()
    mine.release()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    held.release()


def test_what_is_damaged_is_made_again(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    plan = Plan.of(tiny_model, seed=range(5), steps=2)
    whole = [pixels(one).tobytes() for one in Engine(plan, folder=tmp_path)]
    (tmp_path / "0001.png").unlink()
    (tmp_path / "0002.png").write_bytes(b"cut")
    lines = (tmp_path / "results.jsonl").read_bytes().splitlines(keepends=True)
    lines[3] = b'{"index": 3, "bytes": "../../etc/passwd"}\n'
    lines[4] = lines[4][:50]  # without its end
    (tmp_path / "results.jsonl").write_bytes(b"".join([b"\xff\x00{]\n", *lines]))
    again = Engine(plan, folder=tmp_path)
    assert list(again.results) == [0]
    assert [pixels(one).tobytes() for one in again] == whole
    assert len(Engine(plan, folder=tmp_path).results) == 5


def test_a_full_disk_keeps_results_in_memory(
    tiny_model: LatentDiffusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, full = store_module.write_file, [True]

    def on_a_full_disk(path: Path, content: bytes, **options: object) -> Path:
        if full[0] and path.suffix == ".png" and path.stem != "0000":
            raise InputError(f"{path.name!r} could not be written: No space left on device.")
        return write(path, content, **options)

    monkeypatch.setattr(store_module, "write_file", on_a_full_disk)
    plan = Plan.of(tiny_model, seed=range(3), steps=2)
    engine = Engine(plan, folder=tmp_path)
    results = list(engine)
    assert [one.path is None for one in results] == [False, True, True]
    assert all(one.image.size == (16, 16) for one in results)
    [notice] = engine.notices
    assert "memory only" in notice and "No space left" in notice
    full[0] = False
    engine.start().wait(60)  # there is room again
    assert all(one.path is not None for one in engine.results.values())
    assert len(Engine(plan, folder=tmp_path).results) == 3


def test_a_score_that_fails_is_not_a_number(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    def wrong(trace: Trace) -> float:
        raise ValueError("no face")

    plan = Plan.of(tiny_model, seed=[1, 2], steps=2)
    steps = {"wrong": wrong, "steps": lambda trace: len(trace.steps)}
    for result in Engine(plan, scores=steps, folder=tmp_path):
        assert math.isnan(result.scores["wrong"]) and result.scores["steps"] == 2
        assert "The score 'wrong' failed: no face" in result.notices
    [again, _] = Engine(plan, scores=steps, folder=tmp_path).results.values()
    assert math.isnan(again.scores["wrong"]) and again.scores["steps"] == 2
    with pytest.raises(InputError, match="functions of a trace"):
        Engine(plan, scores=5)


def test_other_weights_are_told(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    store = store_module.Store.of(tmp_path, Plan.of(tiny_model, seed=[1, 2], steps=2))
    store.open()
    trace = tiny_model.generate(seed=1, steps=2)
    store.put(Result(store.plan.point(0), trace))
    assert not store.notices
    other = Trace(**{**vars(trace), "fingerprint": "0" * 64})
    store.put(Result(store.plan.point(1), other))
    store.close()
    assert "other weights" in store.notices[0]


def test_an_image_that_is_gone_is_told(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    [one, _] = Engine(Plan.of(tiny_model, seed=[1, 2], steps=2), folder=tmp_path)
    (tmp_path / "0000.png").unlink()
    with pytest.raises(ImageError, match=r"0000\.png"):
        _ = one.image


def test_results_do_not_grow_in_memory_by_their_steps(tiny_model: LatentDiffusion) -> None:
    plan = Plan.of(tiny_model, seed=range(6), steps=3, prompt="a cat", attention=True)
    for one in Engine(plan):
        assert one.record is not None and one.record.steps == ()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_are_not_read(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    plan = Plan.of(tiny_model, seed=[1, 2], steps=1)
    list(Engine(plan, folder=tmp_path))
    image = tmp_path / "0000.png"
    image.unlink()
    os.mkfifo(image)
    assert list(Engine(plan, folder=tmp_path).results) == [1]
    (tmp_path / "results.jsonl").unlink()
    os.mkfifo(tmp_path / "results.jsonl")
    with pytest.raises(InputError, match="not a file"):
        Engine(plan, folder=tmp_path)


def test_a_folder_that_cannot_be_begun_is_refused_and_let_go(
    tiny_model: LatentDiffusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    plan = Plan.of(tiny_model, seed=[1, 2], steps=1)
    with pytest.raises(InputError, match="could not be written"):
        Engine(plan, folder=tmp_path / "file" / "sweep").start()

    def no_thread(*_: object, **__: object) -> None:
        raise Busy("no thread")

    engine = Engine(plan, folder=tmp_path / "new")
    with monkeypatch.context() as patch:
        patch.setattr(engine_module, "start_daemon", no_thread)
        with pytest.raises(Busy):
            engine.start()
    assert engine.state == "ready" and len(list(engine)) == 2
