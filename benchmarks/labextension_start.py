"""What does the JupyterLab extension add to JupyterLab's start?

``python -m benchmarks.labextension_start``

A real browser opens JupyterLab on a server of its own, with the extension and without it, in turns,
each time in a fresh context (an empty cache). Time counts from the arrival of JupyterLab's page
until its layout is restored. Without: the page's configuration, which names the extensions to load,
is sent without this one; it is sent through the same hands in both cases. The work of the page's
main thread until then is measured, too: it varies less than the time.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from .measure import HERE, Options, Ratio, against, begin, duration, options, report

sys.path.insert(0, str(HERE.parent / "tests"))

TARGET = 0.050  # s
CONFIG = '<script id="jupyter-config-data" type="application/json">'
START = 240_000  # ms; never reached

# Notes when the layout is restored; the application appears in the page while it starts.
NOTE = """(() => {
    const timer = setInterval(() => {
        if (!window.jupyterapp) return;
        clearInterval(timer);
        jupyterapp.restored.then(() => { window.restoredAt = performance.now(); });
    }, 1);
})()"""
ARRIVED = "() => performance.getEntriesByType('navigation')[0].responseEnd"


def start(browser: Any, server: Any, extension: bool) -> dict[str, float]:
    """Start JupyterLab once; return the seconds until it is restored, and those of its work."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))

    def change(route: Any) -> None:
        answer = route.fetch()
        before, mark, rest = answer.text().partition(CONFIG)
        config, end, after = rest.partition("</script>")
        told = json.loads(config)
        told["federated_extensions"] = [
            each
            for each in told["federated_extensions"]
            if extension or each["name"] != "sdwidgets"
        ]
        route.fulfill(response=answer, body=before + mark + json.dumps(told) + end + after)

    page.route(lambda url: url.startswith(f"{server.url}/lab?"), change)
    page.add_init_script(NOTE)
    session = context.new_cdp_session(page)
    session.send("Performance.enable")
    page.goto(server.address(), timeout=START)
    page.wait_for_function("() => window.restoredAt", timeout=START)
    metrics = session.send("Performance.getMetrics")["metrics"]
    work = next(each["value"] for each in metrics if each["name"] == "TaskDuration")
    seconds = page.evaluate("() => window.restoredAt") - page.evaluate(ARRIVED)
    has = page.evaluate("() => jupyterapp.hasPlugin('sdwidgets:records')")
    context.close()
    if has != extension or any("/sdwidgets/static/" in url for url in loaded) != extension:
        raise SystemExit(f"JupyterLab started as if {extension=} were not so: nothing measured.")
    return {"seconds": seconds / 1000, "work": work}


def rounds(given: Options) -> dict[str, dict[str, list[float]]]:
    """The seconds and the work of each round, with and without; the first does not count."""
    from playwright.sync_api import sync_playwright
    from real_jupyter import CHROMIUM_ARGUMENTS, Server, chromium

    found: dict[str, dict[str, list[float]]] = {
        kind: {"with": [], "without": []} for kind in ("seconds", "work")
    }
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGUMENTS)
        server = Server(Path(scratch))
        server.start()
        try:
            for number in range(-1, given.rounds):
                names = ["with", "without"] if number % 2 else ["without", "with"]
                one = {name: start(browser, server, name == "with") for name in names}
                if number < 0:
                    continue
                for name, measured in one.items():
                    for kind, value in measured.items():
                        found[kind][name].append(value)
                line = "  ".join(f"{name} {one[name]['seconds']:.3f} s" for name in one)
                print(f"  round {number + 1} of {given.rounds}: {line}", flush=True)
        finally:
            server.stop()
            browser.close()
    return found


def added(what: str, seconds: dict[str, list[float]], target: float | None) -> Ratio:
    """The median over rounds of the difference, against the time that it may take."""
    pairs = zip(seconds["with"], seconds["without"], strict=True)
    more = statistics.median(a - b for a, b in pairs)
    return Ratio(what, more / TARGET, target, duration(more), duration(TARGET))


def main() -> int:
    given = options(__doc__, 20)
    question = "What does the JupyterLab extension add to JupyterLab's start?"
    described = begin(question, given)
    found = rounds(given)
    seconds, work = found["seconds"], found["work"]
    return report(
        "labextension_start",
        question,
        [
            added("The extension's part of JupyterLab's start", seconds, 1.0),
            added("The extension's part of the page's work at the start", work, None),
            against("JupyterLab's start with the extension", seconds, "with", "without"),
            against("The page's work at the start with the extension", work, "with", "without"),
        ],
        given,
        described,
        seconds=seconds,
        work=work,
    )


if __name__ == "__main__":
    sys.exit(main())
