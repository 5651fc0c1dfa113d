"""A page has the JupyterLab extension from its installation to its end, while the server runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from checkouts import ROOT, Environment, built
from playwright.sync_api import BrowserContext, Page
from real_jupyter import START, Server, wait_for_application

from sdwidgets import __version__

pytestmark = pytest.mark.browser

NAME = f"sdwidgets v{__version__}"


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "environment")


@pytest.fixture
def server(tmp_path: Path, environment: Environment) -> Iterator[Server]:
    """JupyterLab in a clean environment."""
    server = Server(tmp_path / "server", python=environment.python, extension=None)
    server.start()
    yield server
    server.stop()


def plugins(page: Page, server: Server) -> set[str]:
    """Load JupyterLab, and return which of the extension's plugins it has."""
    page.goto(server.address(), timeout=START * 1000)
    wait_for_application(page)
    return set(page.evaluate("() => jupyterapp.listPlugins().filter(n => /^sdwidgets/.test(n))"))


def test_a_running_server_needs_no_restart(
    environment: Environment, server: Server, context: BrowserContext, tmp_path: Path
) -> None:
    page = context.new_page()
    assert plugins(page, server) == set()
    environment.install(built(ROOT, "wheel", tmp_path / "wheel"))
    assert f"{NAME} enabled OK (python, sdwidgets)" in environment.labextension("list")
    found = plugins(page, server)
    assert {"sdwidgets:records", "sdwidgets:preferences"} <= found

    environment.labextension("disable", "sdwidgets")
    assert f"{NAME} disabled OK" in environment.labextension("list")
    assert plugins(page, server) == set()
    environment.labextension("enable", "sdwidgets")
    assert plugins(page, server) == found

    environment.pip("uninstall", "--yes", "sdwidgets")
    assert NAME not in environment.labextension("list")
    assert plugins(page, server) == set()
    assert not [*environment.folder.glob("share/jupyter/labextensions/sdwidgets/**/*")]
