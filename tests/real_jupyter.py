"""A private Jupyter server and a notebook open in a browser, for the browser tests.

Everything lives in a temporary folder, the server listens on 127.0.0.1 with a random token, and the
browser resolves no other name, so that a widget that needs the network fails.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page

ROOT = Path(__file__).resolve().parents[1]
EXTENSION = ROOT / "sdwidgets" / "labextension"
KERNEL = "tests"
START = 240  # seconds for servers, browsers and kernels to come up; never reached
WAIT = 120  # seconds for anything else

# Of each application: the module that starts it, and the name of its options, if pages use them.
APPLICATIONS: dict[str, tuple[str, str | None]] = {
    "lab": ("jupyterlab", "LabApp"),
    "notebook": ("notebook", "JupyterNotebookApp"),
    "nbclassic": ("nbclassic", None),
}

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
]

SETTINGS: dict[str, dict[str, Any]] = {
    "@jupyterlab/apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    # attach every cell: by default, cells off the screen are not painted
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
    "@jupyter-widgets/jupyterlab-manager/plugin": {"saveState": True},
}


def chromium() -> str | None:
    """Return the path of a Chromium that starts; None for that of Playwright."""
    for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")):
        # Ubuntu's package is a stub that asks for snap.
        if path and subprocess.run([path, "--version"], capture_output=True).returncode == 0:
            return path
    return None


class Server:
    """``jupyter lab``, ``notebook`` or ``nbclassic`` with all its files under ``folder``.

    ``python`` has the application, ``kernels`` is the Python of its kernels. ``extension`` is the
    folder of the built extension, None for no other than those installed.
    """

    def __init__(
        self,
        folder: Path,
        application: str = "lab",
        python: str = sys.executable,
        extension: Path | None = EXTENSION,
        kernels: str = sys.executable,
    ):
        self.application = application
        self._python, self._extension, self._kernels_python = python, extension, kernels
        self.root = folder / "root"
        self.token = secrets.token_hex(24)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "server.log"
        self.settings = folder / "settings"
        self.kernels = folder / "data" / "kernels"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.root.mkdir(parents=True)
        for name, values in SETTINGS.items():
            file = self.settings / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        spec = self.kernels / KERNEL / "kernel.json"
        spec.parent.mkdir(parents=True)
        argv = [self._kernels_python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec.write_text(json.dumps({"argv": argv, "display_name": KERNEL, "language": "python"}))

        # this checkout's extension, whatever is installed in the environment
        extensions = self._folder / "path" / "labextensions"
        extensions.mkdir(parents=True)
        if self._extension is not None:
            (extensions / "sdwidgets").symlink_to(self._extension, target_is_directory=True)
        here = Path(sys.prefix)
        if self._python != sys.executable:
            installed = here / "share" / "jupyter" / "labextensions" / "anywidget"
            (extensions / "anywidget").symlink_to(installed, target_is_directory=True)

        places = ("config", "data", "runtime")
        environment = os.environ | {
            **{f"JUPYTER_{place.upper()}_DIR": str(self._folder / place) for place in places},
            "JUPYTER_PATH": str(self._folder / "path"),
            "JUPYTER_CONFIG_PATH": str(here / "etc" / "jupyter"),  # parts of servers, by name
            "JUPYTERLAB_SETTINGS_DIR": str(self.settings),
            "JUPYTERLAB_WORKSPACES_DIR": str(self._folder / "workspaces"),
            "IPYTHONDIR": str(self._folder / "ipython"),
            "JUPYTER_TOKEN": self.token,  # not on the command line, where others can read it
            "PYTHONPATH": str(ROOT),
        }
        if self.application == "nbclassic":  # it takes no packages' own settings for its extensions
            del environment["JUPYTER_CONFIG_PATH"]
            wanted = {"jupyter-js-widgets/extension": True, "anywidget/extension": True}
            chosen = self._folder / "config" / "serverconfig" / "notebook.json"
            chosen.parent.mkdir(parents=True)
            chosen.write_text(json.dumps({"load_extensions": wanted}))
        module, application = APPLICATIONS[self.application]
        command = [
            self._python,
            "-m",
            module,
            "--no-browser",
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={self.port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self.root}",
            "--LabApp.extension_manager=readonly",
            "--LabApp.news_url=None",
        ]
        if application is not None:
            command.append(f"--{application}.expose_app_in_browser=True")
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--allow-root")
        self._process = subprocess.Popen(
            command,
            cwd=self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log.open("wb"),
            stderr=subprocess.STDOUT,
        )
        end = time.monotonic() + START
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                self._ask("GET", "/api/status")
                return
            time.sleep(0.2)
        raise RuntimeError(f"The server did not start:\n{self._log.read_text()[-3000:]}")

    def stop(self) -> None:
        """Ask the server to end with its kernels; kill it if it does not."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            self._ask("POST", "/api/shutdown")
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, method: str, path: str) -> None:
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=5):
            pass

    def address(self, notebook: str = "") -> str:
        """Return the address of a notebook in the server's folder; without a name, JupyterLab's."""
        page = {
            "lab": f"lab/tree/{notebook}" if notebook else "lab",
            "notebook": f"notebooks/{notebook}",
            "nbclassic": f"nbclassic/notebooks/{notebook}",
        }[self.application]
        return f"{self.url}/{page}?reset&token={self.token}"


class Notebook:
    """A notebook that is open in a page."""

    def __init__(self, page: Page, server: Server, name: str):
        self.page = page
        self._server, self._name = server, name
        self.problems: list[str] = []  # errors of the page, and requests to other hosts
        self._watched = {"pageerror": self._failed, "request": self._asked, "console": self._said}
        page.set_default_timeout(WAIT * 1000)
        for event, watch in self._watched.items():
            page.on(event, watch)

    def _failed(self, error: Any) -> None:
        # Notebook 7 raises an error of its own as it loads JupyterLab's settings, and ipywidgets'
        # manager if the kernel goes while it asks for its widgets.
        of_others = "/static/notebook/", "@jupyter-widgets/jupyterlab-manager/"
        if "blob:" in error.stack or not any(part in error.stack for part in of_others):
            self.problems.append(f"{error}\n{error.stack}")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self._server.url, "blob:", "data:", "ws")):
            self.problems.append(f"request to {request.url}")

    def _said(self, message: Any) -> None:
        ours = "initialize model" in message.text or message.location["url"].startswith("blob:")
        if message.type == "error" and ours:  # widgets' modules are loaded from blobs
            self.problems.append(message.text)

    def load(self) -> None:
        """Load, or reload, the page with this notebook, and wait for its kernel."""
        self.page.goto(self._server.address(self._name), timeout=START * 1000)
        wait_for_application(self.page)
        self.wait_for_kernel()

    def open(self, kernel: str | None = None) -> None:
        """Open this notebook in the page's JupyterLab, with the running kernel of that id."""
        options = {"path": self._name, "kernel": {"id": kernel} if kernel else {"name": KERNEL}}
        self.page.evaluate(
            "options => { jupyterapp.commands.execute('docmanager:open', options); }", options
        )
        self.wait_for_kernel()

    def wait_for_kernel(self) -> None:
        """Wait until this notebook is open in the page, and its kernel idle."""
        ready = """name => {
            const panels = [...jupyterapp.shell.widgets('main')];
            window.panel = panels.find(panel => panel.context?.path === name);
            const ready = window.panel?.content?.activeCell;
            return ready && window.panel.sessionContext.session?.kernel?.status === 'idle';
        }"""
        self.page.wait_for_function(ready, arg=self._name, timeout=START * 1000)

    @property
    def kernel(self) -> str:
        """The id of its kernel."""
        return self.page.evaluate("() => window.panel.sessionContext.session.kernel.id")

    @property
    def file(self) -> Path:
        """Where it is saved."""
        return self._server.root / self._name

    def save(self) -> None:
        """Save it with its outputs and the state of its widgets."""
        self.page.evaluate("() => window.panel.context.save()")

    def shut_down(self) -> None:
        """End its kernel."""
        self.page.evaluate("() => window.panel.sessionContext.shutdown()")

    def ask(self, expression: str) -> Any:
        """Return the value of a Python expression in its kernel, through JSON; raise its error."""
        answer = self._answer(f"__import__('json').dumps({expression})")
        assert answer["status"] == "ok", "\n".join(answer.get("traceback", ()))
        return json.loads(ast.literal_eval(answer["data"]["text/plain"]))

    def _answer(self, expression: str) -> Any:
        """Return the kernel's reply about the value of an expression."""
        return self.page.evaluate(
            """async (text) => {
                const kernel = window.panel.sessionContext.session.kernel;
                const asked = {code: '', silent: true, user_expressions: {it: text}};
                return (await kernel.requestExecute(asked).done).content.user_expressions.it;
            }""",
            expression,
        )

    def wait_until(self, expression: str, wanted: Any = True) -> None:
        """Wait until a Python expression has this value in its kernel: messages take their time."""
        until(lambda: self.ask(expression), wanted, self.page)

    def settle(self, milliseconds: int = 150) -> None:
        """Let the page send what it holds back: its timers end in order."""
        self.page.evaluate("ms => new Promise(done => setTimeout(done, ms))", milliseconds)

    def close(self) -> None:
        """Close it without saving; its kernel keeps running."""
        for event, watch in self._watched.items():
            self.page.remove_listener(event, watch)
        self.page.evaluate("() => { window.panel.dispose(); }")

    def start(self) -> None:
        """Start to run all cells."""
        self.page.evaluate(
            "() => { window.ran = jupyterapp.commands.execute('notebook:run-all-cells'); }"
        )

    def run(self) -> None:
        """Run all cells; fail with the first error among their outputs."""
        self.start()
        self.page.evaluate("() => window.ran")
        self.check_outputs()

    def check_outputs(self) -> None:
        """Fail with the first error among the cells' outputs."""
        outputs = [output for cell in self.cells for output in cell.get("outputs", ())]
        errors = [output for output in outputs if output["output_type"] == "error"]
        assert not errors, "\n".join(errors[0]["traceback"])

    @property
    def cells(self) -> list[dict[str, Any]]:
        """Return the cells as they would be saved."""
        return self.page.evaluate("() => window.panel.content.model.toJSON().cells")

    def find(self, selector: str) -> Locator:
        return self.page.locator(selector).first

    def wait_for_state(self, *states: str) -> None:
        """Wait until the Studio is in one of these states."""
        self.page.wait_for_selector(
            ", ".join(f".sdw-studio[data-state={state}]" for state in states)
        )

    def generate(self, act: Callable[[], object] | None = None) -> None:
        """Click Generate, or do ``act``, and wait until the run that it starts is done.

        Its states may follow one another too fast to be seen, but its result has a number.
        """
        shown = "() => document.querySelector('.sdw-studio .sdw-picture').dataset.run"
        before = self.page.evaluate(shown)
        (act or self.find(".sdw-generate").click)()
        self.page.wait_for_function(f"before => ({shown})() !== before", arg=before)
        self.wait_for_state("done")

    def wait_for_frames(self, count: int) -> None:
        """Wait until at least that many previews have been shown."""
        self.page.wait_for_function(
            "n => Number(document.querySelector('.sdw-picture')?.dataset.frames) >= n", arg=count
        )


def use_theme(page: Page, theme: str) -> None:
    """Make JupyterLab "Light" or "Dark". The server keeps that for pages to come."""
    page.evaluate(
        "theme => jupyterapp.commands.execute('apputils:change-theme', {theme})",
        f"JupyterLab {theme}",
    )
    light = str(theme == "Light").lower()
    page.wait_for_selector(f"body[data-jp-theme-light={light}]", state="attached")
    # JupyterLab covers the page meanwhile. Another change, before the cover is taken away, has it
    # taken away twice, which is an error of the page.
    page.wait_for_selector("#jupyterlab-splash", state="detached")


def keep_screenshot(of: Page | Locator, name: str, folder: str = "docs", **options: Any) -> None:
    """Write an image of it into docs/ (or ``folder``), only where SDWIDGETS_SCREENSHOT is set."""
    if not os.environ.get("SDWIDGETS_SCREENSHOT"):
        return
    path = ROOT / folder / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    page = of if isinstance(of, Page) else of.page
    page.mouse.move(0, 0)  # off all buttons
    of.screenshot(path=path, animations="disabled", **options)
    assert folder != "docs" or path.stat().st_size < 300_000


def look(notebook: Notebook, name: str, widths: tuple[int, ...] = (1280,)) -> None:
    """Write images of the Studio, dark and light, into the folder SDWIDGETS_LOOK, if it is set."""
    folder = os.environ.get("SDWIDGETS_LOOK")
    if folder is None:
        return
    page = notebook.page
    window = page.viewport_size
    assert window is not None
    for theme in ("Dark", "Light"):
        use_theme(page, theme)
        for width in widths:
            page.set_viewport_size({"width": width, "height": 1500})
            notebook.settle(400)
            path = Path(folder) / f"{name}-{theme}-{width}.png"
            notebook.find(".sdw-studio").screenshot(path=path)
    page.set_viewport_size(window)
    notebook.settle(400)


def until(read: Callable[[], Any], wanted: Any, page: Page) -> None:
    """Read until it is what is wanted; fail with what it was at last."""
    end = time.monotonic() + WAIT
    while (found := read()) != wanted:
        assert time.monotonic() < end, f"{found!r} did not become {wanted!r}"
        page.wait_for_timeout(50)  # the page works on


def wait_for_application(page: Page) -> None:
    """Wait until JupyterLab or Notebook is loaded."""
    page.wait_for_function("() => window.jupyterapp?.restored", timeout=START * 1000)
    page.evaluate("""async () => {
        await jupyterapp.restored;
        if (jupyterapp.shell.leftCollapsed === false)
            await jupyterapp.commands.execute('application:toggle-left-area');
    }""")


def write_notebook(folder: Path, name: str, *cells: str, file: Path | None = None) -> str:
    """Write a notebook of these code cells, or a copy of ``file``; return its file name."""
    content: dict[str, Any] = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    if file is not None:
        content = json.loads(file.read_text())
    for number, source in enumerate(cells):
        cell = {"cell_type": "code", "id": f"cell-{number}", "metadata": {}, "source": source}
        content["cells"].append(cell | {"execution_count": None, "outputs": []})
    content["metadata"] |= {"kernelspec": {"name": KERNEL, "display_name": KERNEL}}
    name = f"{name}-{secrets.token_hex(4)}.ipynb"
    (folder / name).write_text(json.dumps(content))
    return name
