"""The side panel in a real JupyterLab and Notebook 7: which kernel it follows, and how."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from axe import violations
from checkpoint_files import write_header
from kinds_of_files import FILES
from playwright.sync_api import BrowserContext, Locator, Page, expect
from real_jupyter import (
    KERNEL,
    Notebook,
    Server,
    keep_screenshot,
    until,
    use_theme,
    wait_for_application,
    write_notebook,
)
from sight import faint_rings, lost_in_forced_colours

from sdwidgets.checkpoints.zoo import bundled_models

pytestmark = pytest.mark.browser

MODELS = len(bundled_models())

Open = Callable[..., Notebook]

CONNECT = "import sdwidgets as sdw\nmanager = sdw.connect()"
SUBMIT = """
from sdwidgets.manager import Request
from sdwidgets.settings import Settings

def submit(prompt, steps):
    return manager.submit(Request("emoji", Settings(prompt=prompt, seed=7, steps=steps)))
"""
NOTHING = "[name for name in __import__('sys').modules if name.split('.')[0] == 'sdwidgets']"


def side(page: Page) -> Locator:
    return page.locator("#sdwidgets-panel .sdw-side")


def run_command(page: Page, name: str) -> None:
    page.evaluate("name => jupyterapp.commands.execute(name)", name)


def show(page: Page) -> Locator:
    """Show the panel."""
    page.evaluate("() => jupyterapp.shell.activateById('sdwidgets-panel')")
    expect(side(page)).to_be_visible()
    return side(page)


def says(page: Page, link: str) -> None:
    """Wait until the panel says that the followed kernel is in this state."""
    expect(side(page)).to_have_attribute("data-link", link)


def activate(notebook: Notebook) -> None:
    """Bring a notebook to the front."""
    notebook.page.evaluate(
        f"""name => {{
            window.panel = ({OF_NAME})(name);
            jupyterapp.shell.activateById(window.panel.id);
        }}""",
        notebook.file.name,
    )


OF_NAME = "name => [...jupyterapp.shell.widgets('main')].find(one => one.context?.path === name)"


def shot(page: Page, name: str) -> None:
    keep_screenshot(page, name, "out/side-panel")  # to be looked at


def test_it_follows_the_active_notebook_and_imports_nothing(
    load_notebook: Open, lab: Server
) -> None:
    plain = load_notebook("x = 1")
    page = plain.page
    panel = show(page)
    says(page, "absent")
    expect(panel).to_contain_text(plain.file.name)
    expect(panel.locator(".sdw-side-code")).to_have_text("import sdwidgets; sdwidgets.connect()")
    shot(page, "absent")
    plain.run()
    says(page, "absent")
    assert plain.ask(NOTHING) == []

    # another kernel, which has a manager before anybody looks
    used = Notebook(page, lab, write_notebook(lab.root, "used", CONNECT))
    used.open()
    says(page, "absent")
    used.run()
    says(page, "linked")
    expect(panel).to_contain_text(used.file.name)
    expect(panel.locator(".sdw-side-model")).to_have_count(MODELS)
    expect(panel.locator("[role=meter]")).not_to_have_attribute("aria-valuetext", "not known")

    activate(plain)
    says(page, "absent")
    assert plain.ask(NOTHING) == []
    panel.get_by_role("button", name="Use sdwidgets in this kernel").click()
    says(page, "linked")
    expect(panel.locator(".sdw-side-model")).to_have_count(MODELS)
    assert plain.ask("'torch' in __import__('sys').modules") is False
    assert plain.cells[0]["execution_count"] == 1  # and the history has not moved
    assert plain.ask("get_ipython().execution_count") == 2

    # an ended kernel, while the other one goes on
    plain.shut_down()
    says(page, "none")
    activate(used)
    says(page, "linked")
    used.page.evaluate("() => { panel.sessionContext.session.kernel.handleShutdown(); }")
    says(page, "dead")
    shot(page, "dead")
    assert plain.problems == used.problems == []


def test_a_kernel_without_the_package_says_so(load_notebook: Open) -> None:
    notebook = load_notebook("import sys\nsys.modules['sdwidgets'] = None")
    notebook.run()
    panel = show(notebook.page)
    panel.get_by_role("button", name="Use sdwidgets in this kernel").click()
    expect(panel.locator(".sdw-side-said")).to_contain_text("%pip install sdwidgets")
    shot(notebook.page, "missing")


def test_stop_while_a_cell_runs(load_notebook: Open) -> None:
    """Neither Stop nor a look at the kernel waits for a cell that blocks the kernel."""
    notebook = load_notebook(
        CONNECT + SUBMIT, "job, next_job = submit('a cat', 900), submit('a dog', 2)\njob.wait()"
    )
    page = notebook.page
    panel = show(page)
    notebook.start()
    expect(panel.locator(".sdw-side-running")).to_contain_text("step")
    expect(panel.locator(".sdw-side-job")).to_have_count(1)
    bar = page.locator(".sdw-status-bar")
    expect(bar).to_contain_text("/900")
    run_command(page, "sdwidgets:toggle-panel")
    expect(panel).to_be_hidden()
    bar.click()
    expect(panel).to_be_visible()
    shot(page, "busy")

    # a page that is loaded meanwhile knows of no subshell, and yet reaches the manager
    page.evaluate("() => { panel.context.model.dirty = false; }")
    notebook.page.reload()
    wait_for_application(page)
    show(page)
    expect(panel.locator(".sdw-side-running")).to_contain_text("step")
    panel.get_by_role("button", name="Remove from the queue").click()
    expect(panel.locator(".sdw-side-job")).to_have_count(0)
    panel.get_by_role("button", name="Stop the run").click()
    expect(panel.locator(".sdw-side-running")).to_contain_text("Nothing runs")
    expect(panel.locator(".sdw-side-running")).to_contain_text("Stopped after")
    expect(bar).to_be_hidden()
    page.wait_for_function(
        f"""name => {{
            window.panel = ({OF_NAME})(name);
            return window.panel?.sessionContext.session?.kernel?.status === 'idle';
        }}""",
        arg=notebook.file.name,
    )
    assert notebook.ask("[job.state, next_job.state]") == ["stopped", "stopped"]
    assert notebook.ask("job.step < 900")


def test_the_command_stops_the_running_job(load_notebook: Open) -> None:
    notebook = load_notebook(CONNECT + SUBMIT, "job = submit('a cat', 900)")
    page = notebook.page
    enabled = "() => jupyterapp.commands.isEnabled('sdwidgets:stop')"
    assert page.evaluate(enabled) is False
    notebook.run()
    page.wait_for_function(enabled)  # the panel is not even open
    expect(page.locator(".sdw-status-bar")).to_be_visible()
    run_command(page, "sdwidgets:stop")
    notebook.wait_until("job.state", "stopped")
    page.wait_for_function(f"() => !({enabled})()")


def test_the_manager_is_found_again(
    load_notebook: Open, lab: Server, context: BrowserContext
) -> None:
    """After a reload, in a notebook that was closed, in a second page, and in a console."""
    notebook = load_notebook(CONNECT + SUBMIT)
    page = notebook.page
    show(page)
    notebook.run()
    says(page, "linked")
    notebook.save()

    page.reload()  # with the panel, as it was
    wait_for_application(page)
    show(page)
    says(page, "linked")

    kernel = page.evaluate(
        f"""async name => {{
            window.panel = ({OF_NAME})(name);
            await panel.sessionContext.ready;
            return panel.sessionContext.session.kernel.id;
        }}""",
        notebook.file.name,
    )
    page.evaluate("() => { window.panel.dispose(); }")
    says(page, "nothing")
    notebook.open(kernel)
    says(page, "linked")

    other = Notebook(context.new_page(), lab, notebook.file.name)
    other.load()
    assert other.kernel == kernel
    show(other.page)
    says(other.page, "linked")
    other.ask("submit('a cat', 2).wait()")
    for each in (page, other.page):
        expect(side(each).locator(".sdw-thumb")).to_have_count(1)
    other.page.close()

    # the console shares the notebook's kernel, whose comms JupyterLab gives to the notebook
    page.evaluate("() => jupyterapp.commands.execute('notebook:create-console')")
    page.wait_for_selector(".jp-CodeConsole")
    page.wait_for_function("() => jupyterapp.shell.currentWidget.hasClass('jp-ConsolePanel')")
    says(page, "linked")
    expect(side(page).locator(".sdw-thumb")).to_have_count(1)
    notebook.ask("submit('a dog', 2).wait()")
    expect(side(page).locator(".sdw-thumb")).to_have_count(2)
    notebook.close()
    page.wait_for_function(f"name => !({OF_NAME})(name)", arg=notebook.file.name)
    says(page, "linked")


def test_a_restart_and_a_switch(load_notebook: Open) -> None:
    notebook = load_notebook(CONNECT)
    page = notebook.page
    panel = show(page)
    notebook.run()
    says(page, "linked")
    kernel = notebook.kernel
    page.evaluate("() => panel.sessionContext.restartKernel()")
    says(page, "absent")
    assert notebook.kernel == kernel
    assert notebook.ask(NOTHING) == []
    notebook.run()
    says(page, "linked")

    # the kernel's process ends by itself, and JupyterLab starts another
    end = "panel.sessionContext.session.kernel.requestExecute({code: 'import os; os._exit(1)'})"
    page.evaluate(f"() => {{ {end}; }}")
    says(page, "absent")
    notebook.run()
    says(page, "linked")

    page.evaluate("name => panel.sessionContext.changeKernel({name})", KERNEL)
    says(page, "absent")
    assert notebook.kernel != kernel
    notebook.run()
    says(page, "linked")
    expect(panel.locator(".sdw-side-model")).to_have_count(MODELS)
    assert notebook.problems == []


def test_models_queue_and_images(load_notebook: Open) -> None:
    notebook = load_notebook(CONNECT + SUBMIT)
    page = notebook.page
    panel = show(page)
    notebook.run()
    row = panel.locator(".sdw-side-model").first
    expect(row).to_contain_text("emoji")
    expect(row).to_contain_text("with sdwidgets")
    panel.get_by_role("button", name="Load emoji", exact=True).click()
    expect(panel.get_by_role("button", name="Unload emoji")).to_be_visible()
    assert notebook.ask("manager.loaded()") == ["emoji"]
    panel.get_by_role("button", name="Unload emoji").click()
    expect(panel.get_by_role("button", name="Load emoji", exact=True)).to_be_visible()
    assert notebook.ask("manager.loaded()") == []

    # the order of what waits, by keys
    notebook.ask("len([submit(f'number {i}', 900 if i == 0 else 2) for i in range(4)])")
    jobs = panel.locator(".sdw-side-job .sdw-side-name")
    expect(jobs).to_have_text(["number 1", "number 2", "number 3"])
    panel.get_by_role("button", name="Earlier: number 1").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Alt+ArrowUp")
    expect(jobs).to_have_text(["number 2", "number 1", "number 3"])
    shot(page, "queue")
    panel.get_by_role("button", name="Stop the run").click()
    thumbs = panel.locator(".sdw-thumb")
    expect(thumbs).to_have_count(3)
    expect(thumbs.first).to_have_attribute("aria-label", "number 3 · seed 7")

    # an image, large; and its cell, by the keyboard alone
    thumbs.first.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    whole = page.locator(".sdw-large-image img[data-whole=true]")
    expect(whole).to_be_visible()
    page.wait_for_function(
        "() => document.querySelector('.sdw-large-image img').naturalWidth === 128"
    )
    shot(page, "large")
    activate(notebook)
    panel.get_by_role("button", name="Insert the cell that makes it again").click()
    until(lambda: len(notebook.cells), 2, page)
    made = notebook.cells[1]["source"]
    assert "number 2" in made and "seed=7" in made

    # and by the mouse
    thumbs.first.hover()
    page.mouse.down()
    cell = page.locator(".jp-Notebook .jp-Cell").last
    for x in (100, 200):
        cell.hover(position={"x": x, "y": 10}, force=True)  # below the drag's own cursor
    page.mouse.up()
    until(lambda: len(notebook.cells), 3, page)
    assert any("number 3" in cell["source"] for cell in notebook.cells)
    notebook.run()
    assert notebook.problems == []


def save_settings(page: Page, **values: object) -> None:
    page.evaluate(
        """text => jupyterapp.serviceManager.settings.save('sdwidgets:preferences', text)""",
        json.dumps(values),
    )


def test_the_settings_of_the_panel(load_notebook: Open, tmp_path: Path) -> None:
    """The panel at the start, and folders with models; a file that is none says why, and a LoRA
    says how it is used."""
    (tmp_path / "broken.safetensors").write_bytes(b"no header")
    write_header(tmp_path / "puppet.safetensors", FILES["kohya SD1"][0])
    write_header(tmp_path / "grin.safetensors", FILES["kohya word"][0])
    notebook = load_notebook(CONNECT)
    page = notebook.page
    notebook.run()
    save_settings(page, panelAtStart=True, modelFolders=[str(tmp_path)])
    try:
        page.reload()
        page.wait_for_function("() => window.jupyterapp?.restored")  # and the panel stays open
        panel = side(page)
        says(page, "linked")
        row = panel.locator(".sdw-side-model", has_text="broken")
        expect(row).to_have_attribute("data-state", "refused")
        panel.get_by_role("searchbox").fill("broken")
        expect(panel.locator(".sdw-side-model")).to_have_count(1)
        row.get_by_role("button").click()
        dialog = page.locator(".jp-Dialog")
        expect(dialog).to_contain_text("broken")
        shot(page, "refused")
        page.keyboard.press("Escape")
        panel.get_by_role("searchbox").fill("")
        lora = panel.locator(".sdw-side-model", has_text="puppet")
        expect(lora).to_have_attribute("data-state", "part")
        expect(lora).to_contain_text("LoRA, rank 4, for Stable Diffusion 1")
        for theme in ("Light", "Dark"):
            use_theme(page, theme)
            shot(page, f"parts-{theme.lower()}")
        lora.get_by_role("button", name="How? puppet").focus()
        page.keyboard.press("Enter")
        expect(dialog).to_contain_text("Use it with model.with_lora('puppet.safetensors')")
        shot(page, "how")
        page.keyboard.press("Escape")
    finally:
        save_settings(page)


def test_nothing_is_wrong_to_see_or_to_reach(load_notebook: Open) -> None:
    """In light and dark, narrow and wide, in every state of the panel."""
    notebook = load_notebook(
        "x = 1", CONNECT + SUBMIT, "jobs = [submit('a cat', 900), submit('a dog', 2)]"
    )
    page = notebook.page
    panel = show(page)
    says(page, "absent")
    wrong = [f"absent: {line}" for line in violations(panel)]
    notebook.run()
    expect(panel.locator(".sdw-side-job")).to_have_count(1)
    expect(panel.locator(".sdw-side-running")).to_contain_text("step")
    for theme in ("Light", "Dark"):
        use_theme(page, theme)
        for width in (200, 270):
            panel.evaluate("(element, width) => { element.style.width = `${width}px`; }", width)
            wrong += [f"{theme}, {width}: {line}" for line in violations(panel)]
            wide = "element => element.scrollWidth - element.clientWidth"
            assert panel.evaluate(wide) <= 0
            shot(page, f"{theme}-{width}")
        wrong += [f"{theme}: {line}" for line in faint_rings(panel)]
    wrong += lost_in_forced_colours(panel)
    panel.get_by_role("button", name="Stop the run").click()
    expect(panel.locator(".sdw-thumb")).to_have_count(1)
    wrong += [f"images: {line}" for line in violations(panel)]
    shot(page, "images-dark")
    assert wrong == [], "\n".join(wrong)


def test_notebook_7_has_it_in_the_view_menu(load_notebook: Open, notebook_7: Server) -> None:
    notebook = load_notebook(CONNECT, server=notebook_7)
    page = notebook.page
    # Notebook adds its menu of side panels a while after everything else is restored.
    view = page.get_by_role("menuitem", name="View", exact=True)
    left = page.locator(".lm-Menu-item", has_text="Left Sidebar")

    def is_in_the_menu() -> bool:
        page.keyboard.press("Escape")
        view.click()
        return left.is_visible()

    until(is_in_the_menu, True, page)
    left.hover()
    page.locator(".lm-Menu-item", has_text="Diffusion").last.click()
    expect(side(page)).to_be_visible()
    notebook.run()
    says(page, "linked")
    shot(page, "notebook-7")
    run_command(page, "sdwidgets:toggle-panel")
    expect(side(page)).to_be_hidden()
