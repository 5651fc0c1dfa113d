"""Every lesson runs without a browser, on the bundled model."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sdwidgets.checkpoints.load import BUNDLED, DEFAULT
from sdwidgets.trace import Trace, read_settings

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

VIEW = "application/vnd.jupyter.widget-view+json"
WIDGETS = r"(Attention|Compare|Denoising|Lab|PictureView|Studio|TrainingView|Viewer)\W"
# The length of a lesson's training, and a shorter length for the tests.
SHORTER = {"05_train_your_own": ("STEPS, COUNT = 1000, 1500", "STEPS, COUNT = 20, 40")}
MEANT = ("it/s]", "skipped: notes.jpg")  # progress bars; a file that a lesson writes itself
LESSONS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem),
]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Executes a copy of a lesson in its own folder, once; returns the folder and the content."""
    if not (BUNDLED / DEFAULT / "model_index.json").is_file():
        pytest.skip("the bundled model's weights are not in this checkout")
    done: dict[Path, tuple[Path, Any]] = {}

    def execute(lesson: Path) -> tuple[Path, Any]:
        if lesson not in done:
            folder = tmp_path_factory.mktemp(lesson.stem)
            content = nbformat.read(shutil.copy(lesson, folder), as_version=4)
            shorten(content, *SHORTER.get(lesson.stem, ()))
            client = nbclient.NotebookClient(
                content,
                timeout=250,
                kernel_name="python3",
                resources={"metadata": {"path": str(folder)}},
            )
            done[lesson] = folder, content  # also if a cell fails: once is enough
            client.execute()
        return done[lesson]

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "JUPYTER_PREFER_ENV_PATH", "1")  # this environment's kernel
        patch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
        patch.setitem(os.environ, "PYTHONPATH", str(LESSONS[0].parents[1]))  # this checkout
        yield execute


def shorten(content: Any, *words: str) -> None:
    """Replace the first of two words by the second, in the only cell that has it."""
    if words:
        (cell,) = (cell for cell in content.cells if words[0] in cell.source)
        cell.source = cell.source.replace(*words)


def test_every_cell_runs(lesson: Path, executed: Any) -> None:
    _, content = executed(lesson)
    cells = [cell for cell in content.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output.output_type for cell in cells for output in cell.outputs]
    assert "error" not in outputs


def test_nothing_is_said_on_stderr_but_what_is_meant(lesson: Path, executed: Any) -> None:
    _, content = executed(lesson)
    said = [
        output.text
        for cell in content.cells
        for output in cell.get("outputs", ())
        if output.get("name") == "stderr" and not any(words in output.text for words in MEANT)
    ]
    assert said == []


def test_it_leaves_a_picture_or_a_record_that_can_be_used_again(
    lesson: Path, executed: Any
) -> None:
    folder, _ = executed(lesson)
    pictures, records = [*folder.glob("*.png")], [*folder.glob("*.sdtrace")]
    assert pictures or records
    for picture in pictures:
        assert Image.open(picture).getcolors(1) is None  # more than one colour
        assert read_settings(picture).prompt
    for record in records:
        assert Trace.load(record).complete


def test_a_widget_has_an_image_of_its_end_for_where_no_script_runs(
    lesson: Path, executed: Any
) -> None:
    _, content = executed(lesson)
    outputs = [output for cell in content.cells for output in cell.get("outputs", ())]
    shown = [output.data for output in outputs if VIEW in output.get("data", ())]
    ours = [data for data in shown if re.match(WIDGETS, data["text/plain"])]
    assert ours  # each lesson has one
    is_run = any("studio.generate()" in cell.source for cell in content.cells)
    for data in ours:
        if is_run or not data["text/plain"].endswith(": idle"):  # a Studio left to the reader
            assert "image/png" in data, data["text/plain"]


def test_it_is_kept_without_outputs(lesson: Path) -> None:
    content = nbformat.read(lesson, as_version=4)
    nbformat.validate(content)
    for cell in content.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None


def test_a_projector_can_show_it(lesson: Path) -> None:
    content = nbformat.read(lesson, as_version=4)
    code = [cell for cell in content.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if len(cell.source.splitlines()) > 15] == []
    assert [line for cell in code for line in cell.source.splitlines() if len(line) > 90] == []


def test_its_cells_have_names_of_their_own(lesson: Path) -> None:
    content = nbformat.read(lesson, as_version=4)
    names = [cell.id for cell in content.cells]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in names)  # no other names


def test_it_ends_in_questions_to_try(lesson: Path) -> None:
    last = nbformat.read(lesson, as_version=4).cells[-1]
    assert last.cell_type == "markdown"
    assert last.source.startswith("## Questions to try\n")
    assert len(re.findall(r"^\d\. .*\?", last.source, re.MULTILINE)) >= 5
