"""The command line: the demo with and without a terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sdwidgets import cli


def notebook(path: Path, *cells: str) -> Path:
    content = {
        "cells": [
            {"cell_type": "code", "id": f"c{i}", "metadata": {}, "source": source}
            | {"execution_count": None, "outputs": []}
            for i, source in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(content))
    return path


PICTURE = "from PIL import Image\nImage.new('RGB', (3, 2), 'red')"


@pytest.mark.parametrize("name", cli.LESSONS)
def test_a_lesson_is_found(name: str) -> None:
    assert cli.lesson(name).name == name


def test_every_lesson_is_part_of_the_demo() -> None:
    assert sorted(path.name for path in cli.lesson().parent.glob("*.ipynb")) == [*cli.LESSONS]


def test_executing_leaves_notebook_page_and_picture(tmp_path: Path) -> None:
    from PIL import Image

    path = notebook(tmp_path / "lesson.ipynb", "print(6 * 7)", PICTURE)
    html, picture = cli.execute(path)
    assert "42" in html.read_text()
    assert picture is not None
    assert Image.open(picture).size == (3, 2)
    outputs = json.loads(path.read_text())["cells"][0]["outputs"]
    assert outputs[0]["text"] == ["42\n"]


def test_a_page_has_a_widgets_still_and_needs_no_script_for_it(tmp_path: Path) -> None:
    shown = (
        "from IPython.display import display\n"
        "view = {'model_id': 'a', 'version_major': 2, 'version_minor': 0}\n"
        "bundle = {'application/vnd.jupyter.widget-view+json': view, 'image/png': 'U3RpbGw='}\n"
        "display(bundle, raw=True)"
    )
    html, _ = cli.execute(notebook(tmp_path / "lesson.ipynb", shown))
    assert "data:image/png;base64,U3RpbGw=" in html.read_text()


STUDIO = """
import sdwidgets as sdw
studio = sdw.Studio(prompt="a cat", seed=7, steps=2)
studio
"""
RUN = """
studio.generate()
studio.wait()
"""


@pytest.mark.slow
def test_what_it_executed_is_trusted_and_ends_with_the_image_of_the_studio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat = pytest.importorskip("nbformat")
    from nbformat.sign import NotebookNotary

    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(cli.__file__).parents[1]))
    path = notebook(tmp_path / "lesson.ipynb", STUDIO, RUN, "studio.close()")
    html, _ = cli.execute(path)
    content = nbformat.read(path, as_version=4)
    (output,) = content.cells[0].outputs
    assert output.data["text/plain"].endswith(": done")
    image = output.data["image/png"].replace("\n", "")
    assert f"data:image/png;base64,{image}" in html.read_text().replace("\n", "")
    assert NotebookNotary().check_signature(content)
    content.cells[0].outputs[0].data["text/plain"] = "of somebody else"
    assert not NotebookNotary().check_signature(content)


def test_a_notebook_that_cannot_be_signed_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "file" / "data"))
    assert not cli.sign(notebook(tmp_path / "lesson.ipynb", "1"))
    assert "lesson.ipynb cannot be signed" in capsys.readouterr().out


def test_a_failing_cell_is_kept_in_the_notebook(tmp_path: Path) -> None:
    from nbclient.exceptions import CellExecutionError

    path = notebook(tmp_path / "lesson.ipynb", "1 / 0")
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        cli.execute(path)
    assert "ZeroDivisionError" in path.read_text()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The demo's actions, which are only recorded."""
    done: list[str] = []

    def execute(path: Path) -> tuple[Path, Path]:
        done.append(path.name)
        return path.with_suffix(".html"), path.with_suffix(".png")

    def call(command: list[Any]) -> int:
        done.append(command[2])
        return 0

    monkeypatch.setattr(cli, "execute", execute)
    monkeypatch.setattr(cli.subprocess, "call", call)
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    return done


@pytest.mark.parametrize(
    ("arguments", "terminal", "expected"),
    [
        ([], False, [*cli.EXECUTED]),
        ([], True, ["jupyterlab"]),
        (["--execute"], True, [cli.EXECUTED[0], "jupyterlab"]),
        (["--execute"], False, [*cli.EXECUTED]),
    ],
)
def test_with_a_terminal_it_opens_without_it_executes(
    calls: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    terminal: bool,
    expected: list[str],
) -> None:
    monkeypatch.setattr(cli.sys.stdin, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(cli.sys.stdout, "isatty", lambda: terminal, raising=False)
    assert cli.main(["demo", "--out", str(tmp_path / "out"), *arguments]) == 0
    assert calls == expected
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [*cli.LESSONS]


def test_opening_again_keeps_what_was_changed(calls: list[str], tmp_path: Path) -> None:
    mine = notebook(tmp_path / cli.LESSONS[1], "'mine'")
    cli.demo(tmp_path, run=False, terminal=True)
    assert "mine" in mine.read_text()


@pytest.mark.parametrize("name", cli.LESSONS)
def test_executing_again_sets_aside_what_was_changed(
    name: str, calls: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for expected in (name.replace(".", "_1."), name.replace(".", "_2.")):
        notebook(tmp_path / name, "'mine'")
        cli.demo(tmp_path, run=True, terminal=False)
        assert "mine" in (tmp_path / expected).read_text()
        assert expected in capsys.readouterr().out
        assert cli._sources(tmp_path / name) == cli._sources(cli.lesson(name))


def test_executing_again_leaves_no_copies_of_the_lessons(calls: list[str], tmp_path: Path) -> None:
    for _ in range(2):
        cli.demo(tmp_path, run=True, terminal=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*cli.LESSONS]
