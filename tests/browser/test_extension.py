"""The JupyterLab extension as a whole: what its start loads, and its plugins apart."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Error, Page, Request, Route
from real_jupyter import EXTENSION, ROOT, START, Server, wait_for_application

import hatch_build

pytestmark = pytest.mark.browser

DOCUMENTS = ROOT / "docs" / "jupyterlab.md"
PLACE = "/lab/extensions/sdwidgets/static/"
CONFIG = '<script id="jupyter-config-data" type="application/json">'


class Opened:
    """A page in which JupyterLab has started."""

    def __init__(self, context: BrowserContext, server: Server, disabled: Iterable[str] = ()):
        self.page: Page = context.new_page()
        self.scripts: list[str] = []  # of the extension
        self.problems: list[str] = []
        self.page.on("request", self._asked)
        self.page.on("pageerror", self._failed)
        self.page.on("console", self._said)
        if disabled:
            self._disable(list(disabled))
        address = server.address().replace("/notebooks/?reset&", "/tree?")  # Notebook's home
        self.page.goto(address, timeout=START * 1000)
        wait_for_application(self.page)
        names = self.page.evaluate("() => jupyterapp.listPlugins()")
        self.plugins = {name for name in names if name.startswith("sdwidgets:")}
        is_active = "name => jupyterapp.isPluginActivated(name)"
        self.active = {name for name in self.plugins if self.page.evaluate(is_active, name)}

    def _asked(self, request: Request) -> None:
        _, found, name = request.url.partition(PLACE)
        if found:
            self.scripts.append(name.partition("?")[0])

    def _failed(self, error: Error) -> None:
        # Notebook 7 raises an error of its own as it loads JupyterLab's settings.
        if PLACE in (error.stack or "") or "/static/notebook/" not in (error.stack or ""):
            self.problems.append(f"{error}\n{error.stack}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and (
            "sdwidgets" in message.text or PLACE in message.location["url"]
        ):
            self.problems.append(message.text)

    def _disable(self, names: list[str]) -> None:
        """As ``jupyter labextension disable`` does, in the page's configuration."""

        def change(route: Route) -> None:
            answer = route.fetch()
            before, start, rest = answer.text().partition(CONFIG)
            config, end, after = rest.partition("</script>")
            changed = json.loads(config)
            changed["disabledExtensions"] = [*changed.get("disabledExtensions", ()), *names]
            route.fulfill(response=answer, body=before + start + json.dumps(changed) + end + after)

        self.page.route(re.compile(r"/(lab|tree)(/workspaces/[\w-]+)?(\?|$)"), change)


@pytest.fixture(params=["lab", "notebook_7", "lab_oldest", "notebook_oldest"])
def any_server(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(request.param)


def test_the_start_loads_what_it_must_and_says_nothing(
    any_server: Server, context: BrowserContext
) -> None:
    opened = Opened(context, any_server)
    assert {"sdwidgets:records", "sdwidgets:preferences"} <= opened.active
    expected = {path.name for path in hatch_build.scripts_at_start()}
    assert sorted(opened.scripts) == sorted(expected)
    assert opened.problems == []


def test_each_plugin_can_be_disabled_alone(lab: Server, context: BrowserContext) -> None:
    opened = Opened(context, lab)
    assert opened.active == opened.plugins
    documented = re.findall(r"^\| `(sdwidgets:[\w-]+)` \|", DOCUMENTS.read_text(), re.MULTILINE)
    assert opened.plugins == set(documented)
    opened.page.close()
    for name in sorted(opened.plugins):
        without = Opened(context, lab, disabled=[name])
        assert (without.active, without.problems) == (opened.active - {name}, []), name
        without.page.close()


def test_the_extension_is_small() -> None:
    total, start = hatch_build.lab_size()
    assert total <= 150_000
    assert start <= 40_000


def test_no_code_is_in_two_scripts() -> None:
    """Looked for by what minifying keeps: the long texts and the styles of the sources."""
    js = ROOT / "js"
    sources = [
        file.read_text("utf-8")
        for folder in (js / "src", js / "lab" / "src")
        for file in folder.rglob("*")
        if file.suffix in {".ts", ".css"} and ".test." not in file.name
    ]
    texts = {text for source in sources for text in re.findall(r'"([\w ,.:;()-]{24,})"', source)}
    notebooks = (ROOT / "notebooks").glob("*.ipynb")
    lessons = "".join(path.stem + path.read_text("utf-8") for path in notebooks)
    # Titles of the lessons are at the start, too, and names of settings wherever they are used.
    texts = {text for text in texts if text not in lessons and not text.isidentifier()}
    scripts = [path.read_text("utf-8") for path in (EXTENSION / "static").glob("*.js")]
    held = {text: sum(text in script for script in scripts) for text in texts}
    assert sum(map(bool, held.values())) > 20
    assert [text for text, count in held.items() if count > 1] == []
