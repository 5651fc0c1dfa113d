"""What axe-core finds in every widget and in an exported page: nothing.

All widgets are in one notebook, which is looked at in light and dark at 1280 x 720, and on the same
screen zoomed to 150 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe import violations
from every_widget import RUNS, WIDGETS
from playwright.sync_api import Browser, Locator, Page, expect
from real_jupyter import Notebook, Server, use_theme, write_notebook
from sight import faint_rings, lost_in_forced_colours
from widget_pages import public_widgets

pytestmark = pytest.mark.browser

SCREENS = {
    "100 %": {"width": 1280, "height": 720, "deviceScaleFactor": 1},
    "150 %": {"width": 853, "height": 480, "deviceScaleFactor": 1.5},
}
THEMES = ("Light", "Dark")

Found = dict[str, list[str]]


@pytest.fixture(scope="module")
def notebook(lab: Server, browser: Browser) -> Iterator[Notebook]:
    """A notebook with every widget, each in a cell of its own, and more of it opened."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    name = write_notebook(lab.root, "accessibility", RUNS, *WIDGETS.values())
    notebook = Notebook(context.new_page(), lab, name)
    notebook.load()
    notebook.run()
    for name in WIDGETS:
        expect(widget(notebook, name)).to_be_visible()
    widget(notebook, "Studio, a result").locator(".sdw-more").click()
    widget(notebook, "Studio, a start image").locator(".sdw-words-more").click()
    yield notebook
    assert notebook.problems == []
    context.close()


def widget(notebook: Notebook, name: str) -> Locator:
    cell = 1 + list(WIDGETS).index(name)
    return notebook.page.locator(".jp-Notebook .jp-Cell").nth(cell).locator(".sdw").first


def themes(page: Page) -> Iterator[str]:
    """Make the page light and dark; yield the name of each theme."""
    for theme in THEMES:
        use_theme(page, theme)
        yield theme


def looks(page: Page) -> Iterator[str]:
    """Make the page light and dark, and light on the other screen; yield the name of each look.

    Colours are those of the theme, on whatever screen.
    """
    session = page.context.new_cdp_session(page)
    for theme, screen in (("Light", "100 %"), ("Light", "150 %"), ("Dark", "100 %")):
        use_theme(page, theme)
        metrics = SCREENS[screen]
        session.send("Emulation.setDeviceMetricsOverride", metrics | {"mobile": False})
        page.wait_for_function("width => window.innerWidth === width", arg=metrics["width"])
        yield f"{theme}, {screen}"
    session.detach()


@pytest.fixture(scope="module")
def found(notebook: Notebook) -> Found:
    """What axe says of each widget, in every look: each rule and element once."""
    notes: dict[str, dict[str, list[str]]] = {name: {} for name in WIDGETS}
    for look in looks(notebook.page):
        for name, seen in notes.items():
            for line in violations(widget(notebook, name)):
                seen.setdefault(line, []).append(look)
    return {
        name: [f"{line} [{'; '.join(where)}]" for line, where in seen.items()]
        for name, seen in notes.items()
    }


def test_every_public_widget_is_looked_at() -> None:
    names = {name.replace(",", "").split()[0] for name in WIDGETS}
    assert names == {kind.__name__ for kind in public_widgets()}


@pytest.mark.parametrize("name", WIDGETS)
def test_axe_finds_nothing(name: str, found: Found) -> None:
    assert found[name] == [], "\n".join(found[name])


def test_the_focus_can_be_seen_in_both_themes(notebook: Notebook) -> None:
    faint = [
        f"{name}, {theme}: {line}"
        for theme in themes(notebook.page)
        for name in WIDGETS
        for line in faint_rings(widget(notebook, name))
    ]
    assert faint == [], "\n".join(faint)


def test_nothing_vanishes_in_forced_colours(notebook: Notebook) -> None:
    lost = [
        f"{name}: {line}"
        for name in WIDGETS
        for line in lost_in_forced_colours(widget(notebook, name))
    ]
    assert lost == [], "\n".join(lost)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_an_exported_page(
    scheme: str, notebook: Notebook, browser: Browser
) -> None:
    path = Path(notebook.file.parent, "page.html")
    for metrics in SCREENS.values():
        context = browser.new_context(
            viewport={"width": metrics["width"], "height": metrics["height"]},
            device_scale_factor=metrics["deviceScaleFactor"],
            color_scheme=scheme,  # type: ignore[arg-type]
            offline=True,
        )
        page = context.new_page()
        page.goto(path.as_uri())
        expect(page.locator("main#sdw .sdw-viewer")).to_have_attribute("data-frames", "8")
        found = violations(page.locator("html"))
        context.close()
        assert found == [], "\n".join(found)
