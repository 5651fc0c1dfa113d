"""The examples in the docstrings of widgets run unchanged."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from widget_pages import public_widgets

import sdwidgets as sdw
from sdwidgets import training
from sdwidgets.checkpoints.load import BUNDLED, DEFAULT

SHOWN: list[Callable[..., Any]] = [*public_widgets(), sdw.link]


def example(shown: Callable[..., Any]) -> str:
    """Return the code below "Example::" in a docstring; "" if there is none."""
    found = re.search(r"Example::\n\n((?: +.*\n|\n)+)", inspect.getdoc(shown) + "\n")
    return textwrap.dedent(found[1]) if found else ""


@pytest.mark.slow
@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: shown.__name__)
def test_there_is_an_example_that_runs(
    shown: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (BUNDLED / DEFAULT / "model_index.json").is_file():
        pytest.skip("the bundled model's weights are not in this checkout")
    monkeypatch.chdir(tmp_path)
    model = sdw.load()
    cat, dog = (model.generate(f"a {noun}", steps=2, attention=True) for noun in ("cat", "dog"))
    cat.save("cat.sdtrace")
    cat.image.save("photo.jpg")
    code = example(shown)
    assert f"{shown.__name__}(" in code
    names = {"sdw": sdw, shown.__name__: shown, "model": model, "cat": cat, "dog": dog}
    if shown is sdw.TrainingView:
        names |= small_training(cat)
    exec(code, {**names, "display": lambda *_: None})


def small_training(cat: sdw.Trace) -> dict[str, Any]:
    """What the example takes as given, with two steps in place of its hundreds."""
    images = [cat.image.resize((64, 64))] * 4
    arrays = training.Arrays(images, captions=["a cat"] * 4)
    task = training.diffusion(arrays, autoencoder="emoji", prompts=["a cat"])

    def train(task: Any, plan: Any, file: str) -> Any:
        return training.train(task, replace(plan, steps=2, batch_size=2), file)

    return {"task": task, "training": SimpleNamespace(train=train, Plan=training.Plan)}
