"""The notebook cells of js/test/cells.json, which the page writes, make the same images again."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import cells
import numpy as np
import pytest

import sdwidgets as sdw
from sdwidgets.checkpoints import zoo
from sdwidgets.checkpoints.weights import read_json
from sdwidgets.configs import EMOJI
from sdwidgets.contract import BUNDLED, DEFAULTS, SYSTEMS
from sdwidgets.errors import ImageError
from sdwidgets.settings import Settings

REMEDY = "if that is meant, run: python tests/cells.py"
COMMITTED: dict[str, Any] = json.loads(cells.PATH.read_text("utf-8"))
RUNS = {run["name"]: run for run in COMMITTED["runs"]}


@pytest.fixture(scope="module")
def runs() -> dict[str, Any]:
    return {name: (run, found) for name, run, found in cells.runs()}


@pytest.mark.parametrize("name", RUNS)
def test_a_cell_makes_the_pixels_of_the_run_again(
    runs: dict[str, Any], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, found = runs[name]
    assert RUNS[name]["made"] == cells.made(run, found), REMEDY
    cell = RUNS[name]["cell"]
    if "record" in found:
        file = tmp_path / found["record"]
        file.parent.mkdir()
        run.save(file)
    if "image = ..." in cell:
        with pytest.raises(ImageError):  # it says what is missing
            exec(cell, {})
        monkeypatch.setattr(cells, "shown", run.given_image, raising=False)
        cell = cell.replace("image = ...", "import cells; image = cells.shown")
    monkeypatch.chdir(tmp_path)
    shown: list[Any] = []
    space: dict[str, Any] = {"display": lambda *images: shown.extend(images)}
    exec(cell, space)
    again = space["trace"]
    assert len(again.images) == len(run.images)
    for one, other in zip(again.images, run.images, strict=True):
        assert np.array_equal(np.asarray(one), np.asarray(other))
    assert again.settings == run.settings
    assert shown == (list(again.images) if len(again.images) > 1 else [])


@pytest.mark.parametrize("name", RUNS)
def test_ipython_runs_a_cell_as_it_is(name: str) -> None:
    from IPython.core.inputtransformer2 import TransformerManager

    cell = RUNS[name]["cell"] + "\n"
    assert TransformerManager().transform_cell(cell) == cell


def test_python_reads_each_literal_as_the_text_that_it_was() -> None:
    texts = list(cells.texts())
    assert len(texts) > 150
    assert [text["codes"] for text in COMMITTED["texts"]] == [[*map(ord, text)] for text in texts]
    for said, text in zip(COMMITTED["texts"], texts, strict=True):
        (statement,) = ast.parse(said["literal"], mode="exec").body
        assert isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        assert statement.value.value == text
        assert said["literal"].isprintable()


def test_cells_leave_out_the_defaults_that_runs_have() -> None:
    defaults = Settings().as_dict()
    assert defaults == {**dict.fromkeys(defaults), **DEFAULTS}


def test_cells_leave_out_what_the_bundled_model_fills_in() -> None:
    model = sdw.load()
    settings = Settings().checked(model.config).as_dict()
    assert {name: settings[name] for name in BUNDLED["settings"]} == BUNDLED["settings"]
    assert BUNDLED["fingerprint"] == model.fingerprint


def test_cells_load_every_bundled_model_by_its_name() -> None:
    folders = sorted(zoo.WEIGHTS.glob("*/model.json"))
    said = {read_json(path)["config"]["name"]: path.parent.name for path in folders}
    assert {EMOJI.name: zoo.MODEL, **said} == SYSTEMS
    assert tuple(SYSTEMS.values()) == zoo.MODELS
