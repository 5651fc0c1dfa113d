"""From what ``make demo`` opens to an image of one's own: three clicks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect
from real_jupyter import ROOT, Notebook

pytestmark = pytest.mark.browser

CLICKS = """() => {
    window.clicks = 0;
    window.addEventListener('pointerdown', () => { window.clicks += 1; }, true);
}"""


def test_three_clicks_make_an_image(load_notebook: Callable[..., Notebook]) -> None:
    notebook = load_notebook(file=ROOT / "notebooks" / "01_first_picture.ipynb")
    page = notebook.page
    page.evaluate(CLICKS)
    cell = page.locator(".jp-CodeCell", has_text="sdw.Studio(").first
    cell.locator(".jp-InputArea-editor").click()
    page.locator(".jp-NotebookPanel-toolbar [data-jp-item-name=run]").click()
    notebook.find(".sdw-generate").click()
    notebook.wait_for_state("done")
    expect(notebook.find(".sdw-v-final")).to_be_visible()
    assert page.evaluate("() => window.clicks") == 3
    assert notebook.problems == []
