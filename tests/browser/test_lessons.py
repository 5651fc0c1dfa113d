"""Every lesson in Notebook 7: its cells run, its widgets show, and axe-core finds nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from axe import violations
from playwright.sync_api import expect
from real_jupyter import ROOT, Notebook, Server

pytestmark = pytest.mark.browser

# How many outputs of a lesson are widgets of ours.
LESSONS = {
    "01_first_picture": 1,
    "02_denoising": 4,
    "03_cross_attention": 2,
    "04_autoencoder": 1,
    "05_train_your_own": 4,
    "06_change_a_run": 2,
    "07_one_idea_many_systems": 3,
}
LONG, SHORT = "STEPS, COUNT = 1000, 1500", "STEPS, COUNT = 20, 40"  # of a lesson's training


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_runs_and_is_accessible(
    lesson: str, load_notebook: Callable[..., Notebook], notebook_7: Server, tmp_path: Path
) -> None:
    file = tmp_path / f"{lesson}.ipynb"
    text = (ROOT / "notebooks" / file.name).read_text(encoding="utf-8")
    assert (LONG in text) == (lesson == "05_train_your_own")
    file.write_text(text.replace(LONG, SHORT), encoding="utf-8")

    notebook = load_notebook(file=file, server=notebook_7)
    notebook.run()
    widgets = notebook.page.locator(".jp-OutputArea-output .sdw:not(.sdw .sdw)")
    expect(widgets).to_have_count(LESSONS[lesson])
    texts = notebook.page.locator(".jp-RenderedMarkdown")
    found = [line for one in [*widgets.all(), *texts.all()] for line in violations(one)]
    assert found == [], "\n".join(found)
    assert notebook.problems == []
