"""How long does ``make demo`` take to a first image on the screen, its environment ready?

``python -m benchmarks.demo``

Each round starts the demo at a terminal of its own, in an empty folder: it executes the first
lesson and opens it in JupyterLab, whose address a browser gets. The clock starts before the process
and stops when the lesson's image is on the screen; no click is needed. Then three clicks (into the
cell, Run, Generate) make an image of one's own, which is the second number.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from .measure import HERE, Options, Ratio, begin, duration, options, report

sys.path.insert(0, str(HERE.parent / "tests"))

TARGET = 30.0  # s
LONGEST = 240  # s; never reached


def demo(browser: Any, folder: Path) -> dict[str, float]:
    """Seconds from the start of the demo to the lesson's image, and to one's own."""
    address = folder / "address"
    opens = folder / "opens"
    opens.write_text(f'#!/bin/sh\nprintf %s "$1" > {address}.new && mv {address}.new {address}\n')
    opens.chmod(0o755)
    command = [sys.executable, "-m", "sdwidgets.cli", "demo", "--execute", "--out", folder / "demo"]
    outer, terminal = os.openpty()
    environment = os.environ | {"BROWSER": str(opens)}
    config = folder / "config"
    config.mkdir()
    (config / "jupyter_server_config.py").write_text("c.ServerApp.allow_root = True\n")
    environment["JUPYTER_CONFIG_DIR"] = str(config)
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=terminal,
        stdout=terminal,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    try:
        while not address.exists():
            if process.poll() is not None or time.perf_counter() - began > LONGEST:
                raise SystemExit("The demo has opened no page: nothing measured.")
            time.sleep(0.02)
        page = context.new_page()
        page.set_default_timeout(LONGEST * 1000)
        page.goto(address.read_text())
        page.locator(".sdw-v-final").first.wait_for()
        first = time.perf_counter() - began
        page.locator(".jp-CodeCell", has_text="sdw.Studio(").first.locator(".cm-content").click()
        page.locator(".jp-NotebookPanel-toolbar [data-jp-item-name=run]").click()
        page.locator(".sdw-studio[data-state=idle] .sdw-generate").first.click()
        page.locator(".sdw-studio[data-state=done] .sdw-v-final").first.wait_for()
        return {"first": first, "own": time.perf_counter() - began}
    finally:
        context.close()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(outer)
        os.close(terminal)


def rounds(given: Options) -> dict[str, list[float]]:
    from playwright.sync_api import sync_playwright
    from real_jupyter import CHROMIUM_ARGUMENTS, chromium

    found: dict[str, list[float]] = {"first": [], "own": []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGUMENTS)
        for number in range(given.rounds):
            with tempfile.TemporaryDirectory() as scratch:
                one = demo(browser, Path(scratch))
            for name, seconds in one.items():
                found[name].append(seconds)
            line = "  ".join(f"{name} {duration(seconds)}" for name, seconds in one.items())
            print(f"  round {number + 1} of {given.rounds}: {line}", flush=True)
        browser.close()
    return found


def within(what: str, seconds: list[float], target: float | None) -> Ratio:
    middle = statistics.median(seconds)
    return Ratio(what, middle / TARGET, target, duration(middle), duration(TARGET))


def main() -> int:
    given = options(__doc__, 5)
    question = "How long does `make demo` take to a first image on the screen?"
    described = begin(question, given)
    found = rounds(given)
    ratios = [
        within("make demo to the lesson's image on the screen, no click", found["first"], 1.0),
        within("make demo to an image of one's own, three clicks", found["own"], 1.0),
    ]
    return report("demo", question, ratios, given, described, seconds=found)


if __name__ == "__main__":
    sys.exit(main())
