"""The kernel and the page share the same names, limits and formats."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from sdwidgets import contract, sampling
from sdwidgets.lab import edits
from sdwidgets.lab.receptive_field import Place
from sdwidgets.pictures import MAX_PIXELS
from sdwidgets.settings import FITS, LARGEST_SIDE, LIMITS, PROMPT_LENGTH
from sdwidgets.sources import MOST, NAME_LIMIT, STRENGTH_LIMIT
from sdwidgets.trace import older
from sdwidgets.trace.images import SD1_PREVIEW, TEXT_KEY
from sdwidgets.trace.recipe import DEFAULT, Recipe
from sdwidgets.trace.unpacking import PIECE_LIMIT, SIDE_LIMIT
from sdwidgets.widgets import lab_messages
from sdwidgets.widgets.selection import SELECTIONS

JS = Path(__file__).resolve().parents[1] / "js"


@pytest.fixture(scope="module")
def writer() -> dict[str, Any]:
    """Return js/contract.py, which is not in a package."""
    return runpy.run_path(str(JS / "contract.py"))


def test_the_page_has_the_contract_as_it_is(writer: dict[str, Any]) -> None:
    text = (JS / "src" / "lib" / "contract.ts").read_text("utf-8")
    assert text == writer["typescript"](), "run: python hatch_build.py"


def test_every_constant_reaches_the_page(writer: dict[str, Any]) -> None:
    names = [name for name in vars(contract) if name.isupper()]
    assert len(names) > 10
    for name in names:
        assert f"export const {name} = " in writer["typescript"]()


def test_values_are_written_as_typescript(writer: dict[str, Any]) -> None:
    written = writer["_literal"]
    assert written({"a": (1, "b"), "c": None, "d": False}, 80) == (
        '{ a: [1, "b"], c: null, d: false }'
    )
    assert written({"a, b": 1, "c": {"d-e": 2}}, 80) == '{ "a, b": 1, c: { "d-e": 2 } }'
    assert written({"long": ("x" * 20, "y" * 20)}, 40) == (
        f'{{\n  long: ["{"x" * 20}", "{"y" * 20}"],\n}}'
    )


def test_viewers_have_the_selections_of_the_contract() -> None:
    assert set(SELECTIONS) == set(contract.SELECTION)


@pytest.mark.parametrize("name", contract.SELECTION)
def test_what_is_selected_by_default_can_be(name: str) -> None:
    spec = contract.SELECTION[name]
    assert SELECTIONS[name].validate(None, spec["default"]) == spec["default"]


def test_the_lab_understands_what_its_page_asks() -> None:
    assert set(lab_messages._KINDS) == set(contract.ASKS["lab"])


def test_a_start_image_is_brought_to_shape_as_in_a_run() -> None:
    assert contract.FITS == FITS


def test_the_lab_has_the_edits_of_the_contract() -> None:
    assert tuple(edits.EDITS) == contract.EDITS
    assert get_args(Place) == contract.TOUCHED


def test_the_page_checks_settings_as_a_run_does() -> None:
    assert contract.SETTINGS_LIMITS == LIMITS
    assert contract.LONGEST_PROMPT == PROMPT_LENGTH and contract.LARGEST_SIDE == LARGEST_SIDE
    options = {name: tuple(one.name for one in some) for name, some in sampling.OPTIONS.items()}
    assert options == contract.SAMPLERS
    assert contract.SCHEDULES == sampling.SCHEDULES
    defaults = {name: option.default for name, option in sampling.EVERY_OPTION.items()}
    assert defaults == contract.OPTIONS
    assert contract.SETTINGS_FORMAT == older.FORMAT


def test_the_page_reads_records_as_python_does() -> None:
    sources = {"most": MOST, "name": NAME_LIMIT, "strength": STRENGTH_LIMIT}
    assert sources == contract.SOURCES
    assert contract.MOST_PIXELS == MAX_PIXELS and contract.TEXT_KEY == TEXT_KEY
    assert Recipe(**contract.DEFAULT_RECIPE) == DEFAULT
    assert np.array_equal(SD1_PREVIEW, np.array(contract.SD1_PREVIEW, np.float32))
    assert set(contract.MAPS) <= set(contract.KINDS)


def test_the_page_reads_all_that_a_run_may_be() -> None:
    assert LIMITS["batch_size"][1] <= contract.LIMITS["batch"]
    assert max(LIMITS["width"][1], LIMITS["height"][1]) <= contract.LIMITS["pixels"]
    assert contract.LIMITS["text"] >= PROMPT_LENGTH
    assert min(contract.LIMITS["tokens"], contract.LIMITS["channels"]) >= PIECE_LIMIT + 3
    assert contract.LIMITS["side"] >= SIDE_LIMIT
