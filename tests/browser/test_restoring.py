"""What JupyterLab opens again by itself starts no run, imports nothing and fetches nothing."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from real_jupyter import KERNEL, START, Notebook, Server, until, wait_for_application

pytestmark = pytest.mark.browser

OURS = "sorted(n for n in __import__('sys').modules if n.partition('.')[0] == 'sdwidgets')"


def show_panel(page: Page) -> None:
    page.evaluate("() => jupyterapp.shell.activateById('sdwidgets-panel')")
    expect(page.locator("#sdwidgets-panel .sdw-side")).to_be_visible()


def test_an_untrusted_notebook_starts_nothing(
    load_notebook: Callable[..., Notebook], lab: Server
) -> None:
    """A notebook from elsewhere, with the state of a Studio that would have something to do."""
    made = load_notebook(
        "import sdwidgets as sdw\nstudio = sdw.Studio(prompt='a cat', seed=7, steps=2)\nstudio"
    )
    made.run()
    made.generate()
    made.save()
    content = json.loads(made.file.read_text())
    assert content["metadata"]["widgets"]
    content["metadata"]["from"] = "elsewhere"  # nobody here has signed this content
    file = made.file.with_name("from-elsewhere.ipynb")
    file.write_text(json.dumps(content))
    made.page.close()

    notebook = load_notebook(file=file)
    page = notebook.page
    show_panel(page)
    trusted = "() => [...window.panel.content.model.cells].map(cell => cell.trusted)"
    assert page.evaluate(trusted) == [False]
    page.reload()  # with the panel open, as the layout was left
    wait_for_application(page)
    notebook.wait_for_kernel()
    page.evaluate("() => jupyterapp.shell.activateById('sdwidgets-panel')")
    panel = page.locator("#sdwidgets-panel .sdw-side")
    expect(panel).to_have_attribute("data-link", "absent")
    assert notebook.ask(OURS) == []
    assert notebook.ask("get_ipython().execution_count") == 1
    counts = [cell["execution_count"] for cell in notebook.cells]
    assert counts == [cell["execution_count"] for cell in content["cells"]]
    assert notebook.problems == []


def test_a_new_studio_runs_once(context: BrowserContext, lab: Server) -> None:
    """Its cell was run for a person, who did not ask for that again by reloading the page."""
    page = context.new_page()
    page.goto(lab.address(), timeout=START * 1000)
    wait_for_application(page)
    page.evaluate("() => { jupyterapp.commands.execute('sdwidgets:new-studio'); }")
    page.wait_for_selector(".sdw-studio[data-state]")
    name = page.evaluate("() => jupyterapp.shell.currentWidget.context.path")
    notebook = Notebook(page, lab, name)
    notebook.wait_for_kernel()
    notebook.save()
    notebook.shut_down()

    page.goto(f"{lab.url}/lab", timeout=START * 1000)  # the layout as it was left
    wait_for_application(page)
    until(lambda: page.evaluate("() => jupyterapp.shell.currentWidget?.context?.path"), name, page)
    page.evaluate(
        """kernel => {
            window.panel = jupyterapp.shell.currentWidget;
            return window.panel.sessionContext.changeKernel({ name: kernel });
        }""",
        KERNEL,
    )
    assert notebook.ask(OURS) == []
    assert notebook.problems == []
