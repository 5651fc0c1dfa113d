"""One JupyterLab, one headless Chromium and one kernel for most tests here; a notebook for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from real_jupyter import (
    CHROMIUM_ARGUMENTS,
    START,
    WAIT,
    Notebook,
    Server,
    chromium,
    wait_for_application,
    write_notebook,
)

import dev_checks

WINDOW = {"width": 1280, "height": 1000}

expect.set_options(timeout=WAIT * 1000)  # five seconds are few where others keep the cores busy


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab, for all tests."""
    server = Server(tmp_path_factory.mktemp("lab"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def notebook_7(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Notebook 7, for ``load_notebook(..., server=notebook_7)``."""
    pytest.importorskip("notebook", minversion="7")
    server = Server(tmp_path_factory.mktemp("notebook"), "notebook")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def lab_oldest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The oldest JupyterLab that the extension supports."""
    server = Server(tmp_path_factory.mktemp("lab-oldest"), python=oldest_python())
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def notebook_oldest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The Notebook 7 of that JupyterLab."""
    folder = tmp_path_factory.mktemp("notebook-oldest")
    server = Server(folder, "notebook", python=oldest_python())
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def colab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The classic notebook on Google Colab's packages, which its kernels have, too."""
    python = python_in(dev_checks.COLAB_FOLDER)
    server = Server(tmp_path_factory.mktemp("colab"), "nbclassic", python, kernels=python)
    server.start()
    yield server
    server.stop()


def oldest_python() -> str:
    return python_in(dev_checks.OLD_LAB_FOLDER)


def python_in(folder: Path) -> str:
    python = dev_checks.python_of(folder)
    if not Path(python).exists():
        pytest.skip(f"needs {folder.name}, which make test makes")
    return python


@pytest.fixture(params=["lab", "notebook_7"])
def server(request: pytest.FixtureRequest) -> Server:
    """Both in turn, for what they must do alike."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=CHROMIUM_ARGUMENTS, timeout=START * 1000
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shared_page(lab: Server, browser: Browser) -> Page:
    """A page in which JupyterLab is loaded, without a notebook."""
    page = browser.new_page(viewport=WINDOW)
    page.goto(lab.address(), timeout=START * 1000)
    wait_for_application(page)
    return page


@pytest.fixture(scope="session")
def shared_kernel(lab: Server, shared_page: Page) -> str:
    """The id of a kernel that has imported what a run needs."""
    name = write_notebook(lab.root, "kernel", "import sdwidgets as sdw\nsdw.load().name")
    notebook = Notebook(shared_page, lab, name)
    notebook.open()
    notebook.run()
    kernel = notebook.kernel
    notebook.close()
    return kernel


@pytest.fixture
def open_notebook(
    lab: Server, shared_page: Page, shared_kernel: str, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Notebook]]:
    """Opens a notebook of these code cells in the shared JupyterLab, on the shared kernel."""
    opened: list[Notebook] = []

    def open_one(*cells: str) -> Notebook:
        name = write_notebook(lab.root, request.node.originalname, *cells)
        opened.append(Notebook(shared_page, lab, name))
        opened[-1].open(shared_kernel)
        return opened[-1]

    yield open_one
    for notebook in opened:
        notebook.close()
    assert [problem for notebook in opened for problem in notebook.problems] == []
    shared_page.set_viewport_size(WINDOW)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser window of its own, for a test that loads pages."""
    context = browser.new_context(viewport=WINDOW)
    yield context
    context.close()


@pytest.fixture
def load_notebook(
    lab: Server, context: BrowserContext, request: pytest.FixtureRequest
) -> Callable[..., Notebook]:
    """Loads a page with a notebook of these code cells, or a copy of a file, and a new kernel."""

    def load_one(*cells: str, file: Path | None = None, server: Server = lab) -> Notebook:
        name = write_notebook(server.root, request.node.originalname, *cells, file=file)
        notebook = Notebook(context.new_page(), server, name)
        notebook.load()
        return notebook

    return load_one
