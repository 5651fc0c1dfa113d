"""The first cell of a lesson installs the package where it is missing, as in Google Colab."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from IPython.core.inputtransformer2 import TransformerManager

LESSONS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


def cells(lesson: Path) -> list[dict[str, Any]]:
    return json.loads(lesson.read_text(encoding="utf-8"))["cells"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Path, bool], list[str]]:
    """Runs a lesson's first cell of code, with the package or without; returns what pip is told."""
    monkeypatch.chdir(tmp_path)

    def run(lesson: Path, missing: bool) -> list[str]:
        first = next(cell for cell in cells(lesson) if cell["cell_type"] == "code")
        told: list[str] = []
        names: dict[str, Any] = {}

        def magic(name: str, line: str, stack_depth: int = 1) -> None:
            told.append(f"{name} {line.format(**names)}")

        names["get_ipython"] = lambda: SimpleNamespace(run_line_magic=magic)
        with monkeypatch.context() as patch:
            if missing:
                patch.setattr(importlib.util, "find_spec", lambda name: None)
            exec(TransformerManager().transform_cell("".join(first["source"])), names)
        return told

    return run


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_it_does_nothing_where_the_package_is_and_else_takes_a_wheel(
    lesson: Path, run: Callable[[Path, bool], list[str]], tmp_path: Path
) -> None:
    assert run(lesson, False) == []
    with pytest.raises(AssertionError, match="Upload a wheel"):
        run(lesson, True)
    (tmp_path / "sdwidgets-0.1.0-py3-none-any.whl").touch()
    wanted = "pip install --quiet ./sdwidgets-0.1.0-py3-none-any.whl jupyter_ui_poll"
    assert run(lesson, True) == [wanted]


def test_a_public_address_gives_each_lesson_its_link_and_its_source(
    run: Callable[[Path, bool], list[str]], tmp_path: Path
) -> None:
    path = LESSONS[0].with_name("open_in_colab.py")
    spec = importlib.util.spec_from_file_location("open_in_colab", path)
    assert spec is not None
    assert spec.loader is not None
    script: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    folder = tmp_path / "notebooks"
    folder.mkdir()
    before = {lesson.name: cells(lesson) for lesson in LESSONS}
    for lesson in LESSONS:
        shutil.copy(lesson, folder)
    for repository in ("first/name", "someone/sdwidgets", "someone/sdwidgets"):
        script.link(folder, repository)
    for lesson in sorted(folder.glob("*.ipynb")):
        link = f"https://colab.research.google.com/github/someone/sdwidgets/blob/main/notebooks/{lesson.name}"
        title, _, *others = cells(lesson)
        text = "".join(title["source"])
        assert text.count("Open in Google Colab") == 1
        assert f"({link})" in text
        whole = "".join(before[lesson.name][0]["source"])
        assert text.replace(f"\n\n[Open in Google Colab]({link})", "") == whole
        assert others == before[lesson.name][2:]
        source = "git+https://github.com/someone/sdwidgets"
        assert run(lesson, True) == [f"pip install --quiet {source} jupyter_ui_poll"]
    with pytest.raises(SystemExit, match="OWNER/NAME"):
        script.link(folder, "no address")
