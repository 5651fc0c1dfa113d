"""The side panel, a Studio and a recorded run in JupyterLab at once, and again after a reload."""

from __future__ import annotations

import secrets

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from real_jupyter import (
    START,
    WAIT,
    Notebook,
    Server,
    keep_screenshot,
    until,
    use_theme,
    wait_for_application,
    write_notebook,
)

import sdwidgets as sdw

pytestmark = pytest.mark.browser

PROMPT = "a cat left of a car on a blue background"
STUDIO = f"""import sdwidgets as sdw

studio = sdw.Studio(prompt={PROMPT!r}, seed=7)
studio"""
RECORD = ".sdw-doc[data-state=shown]"
SLIDER = f"{RECORD} input.sdw-v-slider"
THUMBS = "#sdwidgets-panel .sdw-thumb"
KEPT = "name => jupyterapp.serviceManager.workspaces.fetch(name).then(JSON.stringify)"


@pytest.fixture(params=["lab", "lab_oldest"])
def server(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(request.param)


def test_panel_studio_and_record_side_by_side(
    server: Server, lab: Server, context: BrowserContext
) -> None:
    run = sdw.load().generate("a dog on a red background", seed=3, attention=True)
    folder = f"runs-{secrets.token_hex(4)}"
    (server.root / folder).mkdir()
    run.save(server.root / folder / "dog.sdtrace")

    page = context.new_page()
    page.set_viewport_size({"width": 1600, "height": 940})
    page.set_default_timeout(WAIT * 1000)
    workspace = f"{server.url}/lab/workspaces/{folder}"  # kept, unlike the tests' own
    page.goto(f"{workspace}?token={server.token}", timeout=START * 1000)
    wait_for_application(page)
    made = write_notebook(server.root, "studio", STUDIO)
    (server.root / made).rename(server.root / folder / "Studio.ipynb")
    notebook = Notebook(page, server, f"{folder}/Studio.ipynb")
    notebook.open()
    notebook.run()
    for prompt in ("two apples on a green background", "a frog on a yellow background", PROMPT):
        page.locator(".sdw-prompt textarea").fill(prompt)
        notebook.generate()
    page.evaluate(OPEN_BESIDE, f"{folder}/dog.sdtrace")
    page.wait_for_selector(RECORD)
    show_panel(page)
    expect(page.locator(THUMBS)).to_have_count(3)
    page.locator(f"{RECORD} .sdw-chip[data-word=dog]").click()
    page.locator(SLIDER).fill("15")
    if server is lab:
        keep_screenshot(page, "jupyterlab")

    notebook.save()
    page.locator(SLIDER).fill("16")
    until(lambda: '"step":16' in page.evaluate(KEPT, folder), True, page)
    page.goto(workspace, timeout=START * 1000)
    page.wait_for_selector(RECORD)
    expect(page.locator(SLIDER)).to_have_value("16")
    expect(page.locator(THUMBS)).to_have_count(3)
    expect(page.locator(".sdw-studio")).to_have_attribute("data-state", "done")
    assert notebook.problems == []
    if server is lab:
        page.locator(RECORD).get_by_role("button", name="image", exact=True).click()
        use_theme(page, "Dark")
        keep_screenshot(page.locator(f".jp-MainAreaWidget:has({RECORD})"), "jupyterlab-record")
        use_theme(page, "Light")


OPEN_BESIDE = """path => { jupyterapp.commands.execute(
    'docmanager:open', { path, options: { mode: 'split-right' } }); }"""


def show_panel(page: Page) -> None:
    page.evaluate(
        """() => {
            jupyterapp.shell.activateById('sdwidgets-panel');
            const all = document.querySelector('#jp-main-split-panel').clientWidth;
            jupyterapp.shell._hsplitPanel.setRelativeSizes([290, all - 290, 0]);
        }"""
    )
