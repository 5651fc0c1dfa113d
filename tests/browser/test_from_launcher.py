"""From JupyterLab's launcher to an image and what is shown of it, by the keyboard alone."""

from __future__ import annotations

import pytest
from axe import violations
from playwright.sync_api import BrowserContext, Page, expect
from real_jupyter import START, Server, keep_screenshot, use_theme, wait_for_application

pytestmark = pytest.mark.browser

PROMPT = ".sdw-prompt textarea"
STATUS = ".sdw-status-bar"
LAUNCHER = {"x": 0, "y": 0, "width": 900, "height": 480}


@pytest.fixture(params=["lab", "lab_oldest"])
def page(request: pytest.FixtureRequest, context: BrowserContext) -> Page:
    """The newest and the oldest JupyterLab, just started."""
    server: Server = request.getfixturevalue(request.param)
    page = context.new_page()
    page.goto(server.address(), timeout=START * 1000)
    wait_for_application(page)
    return page


def tab_to(page: Page, text: str) -> None:
    """Press Tab until what has the focus holds this text."""
    for _ in range(100):
        page.keyboard.press("Tab")
        if text in page.evaluate("() => document.activeElement.textContent"):
            return
    raise AssertionError(f"Tab did not lead to {text!r}")


def in_each_theme(page: Page, *selectors: str) -> list[str]:
    """Return what axe finds in these elements, in light and in dark."""
    found = []
    for theme in ("Dark", "Light"):
        use_theme(page, theme)
        for selector in selectors:
            found += [f"{theme}: {line}" for line in violations(page.locator(selector))]
    return found


def test_the_keyboard_leads_from_the_launcher_to_an_image(
    page: Page, request: pytest.FixtureRequest
) -> None:
    page.wait_for_selector(".jp-LauncherCard[data-category=Diffusion]")
    assert in_each_theme(page, ".jp-Launcher-section:has([data-category=Diffusion])") == []
    if request.node.callspec.params["page"] == "lab":
        keep_screenshot(page, "jupyterlab-launcher", clip=LAUNCHER)
    tab_to(page, "New Studio Notebook")
    page.keyboard.press("Enter")

    # the prompt gets the focus by itself
    page.wait_for_function(f"() => document.activeElement.matches('{PROMPT}')")
    page.keyboard.type("a cat on a blue background")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".sdw-studio[data-state=done]")
    page.wait_for_function("() => document.querySelector('.sdw-picture img')?.naturalWidth === 128")

    # and the panel, also from the field of a widget
    page.keyboard.press("Alt+Shift+D")
    panel = page.locator("#sdwidgets-panel")
    expect(panel.locator(".sdw-thumb")).to_have_count(1)
    page.wait_for_function("() => document.activeElement.closest('#sdwidgets-panel')")
    assert in_each_theme(page, "#sdwidgets-panel") == []
    page.keyboard.press("Alt+Shift+D")
    expect(panel).to_be_hidden()


def test_the_status_bar_tells_of_a_run_and_leads_to_the_panel(page: Page) -> None:
    page.keyboard.press("Alt+Shift+N")
    page.wait_for_function(f"() => document.activeElement.matches('{PROMPT}')")
    page.keyboard.type("a cat")
    page.evaluate("() => { jupyterapp.shell.currentWidget.content.activeCell.node.focus(); }")
    page.locator(".sdw-studio .sdw-steps input").fill("900")
    page.keyboard.press("Control+Enter")
    expect(page.locator(STATUS)).to_contain_text("/900")
    assert in_each_theme(page, STATUS) == []
    page.locator(STATUS).focus()
    page.keyboard.press("Enter")
    panel = page.locator("#sdwidgets-panel")
    expect(panel.locator(".sdw-side-running")).to_be_visible()
    page.keyboard.press("Alt+Shift+S")
    page.wait_for_selector(".sdw-studio[data-state=stopped]")
    expect(page.locator(STATUS)).to_be_hidden()
