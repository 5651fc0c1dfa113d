"""axe-core in a page: what it finds wrong with the elements of a widget, in words."""

from __future__ import annotations

from functools import cache
from typing import Any

from playwright.sync_api import Locator
from real_jupyter import ROOT

SCRIPT = ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"

# WCAG 2.2 A and AA, axe's own advice, and rules that are off unless asked for.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
EXTRA = ["label-content-name-mismatch", "table-fake-caption", "target-size", "td-has-header"]


@cache
def script() -> str:
    if not SCRIPT.is_file():
        raise RuntimeError("axe-core is not in js/node_modules: run npm ci in js/")
    return SCRIPT.read_text(encoding="utf-8")


def violations(element: Locator) -> list[str]:
    """Return what breaks a rule in an element and all that it contains, a line each.

    With ``html`` as the element, the rules on the whole page count, too.
    """
    page = element.page
    if not page.evaluate("() => 'axe' in window"):
        # JupyterLab's modules would take it for one of theirs, were `define` seen.
        page.evaluate(f"() => {{ const define = undefined, module = undefined; {script()} }}")
    options: dict[str, Any] = {
        "runOnly": {"type": "tag", "values": TAGS},
        "rules": {name: {"enabled": True} for name in EXTRA},
        "resultTypes": ["violations"],
    }
    found: list[list[str]] = element.evaluate(
        """async (element, options) => {
            const context = element === document.documentElement ? document : element;
            const {violations} = await axe.run(context, options);
            return violations.flatMap(({id, nodes}) => nodes.map(({html, any, all, none}) =>
                [id, html, ...[...any, ...all, ...none].map(({message}) => message)]));
        }""",
        options,
    )
    return [f"{rule}: {html[:160]} ({'; '.join(why)})" for rule, html, *why in found]
