"""Every bundle in a page with anywidget's interface alone, as VS Code and marimo have it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anywidget
import pytest
from every_widget import RUNS, WIDGETS
from plain_host import KINDS, Host, Wire, packed
from playwright.sync_api import Browser, expect
from real_jupyter import until

from sdwidgets import frontend, widgets

pytestmark = pytest.mark.browser

TEXT_ALONE = {"Tokens"}  # it has binary values, and shows no image


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Any]]]:
    """Every public widget, made in this process: its anywidgets by name.

    Of each, as many states as it takes to come to one with binary values.
    """
    names: dict[str, Any] = {}
    found: dict[str, list[Any]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("made"))
        exec(RUNS, names)
        for name, code in WIDGETS.items():
            earlier = [one for key, some in found.items() for one in some if same(key, name)]
            if not any(any(packed(one.get_state())["buffers"]) for one in earlier):
                found[name] = [*parts(eval(code, names))]
        yield found
    for some in found.values():
        for one in some:
            one.close()


def same(one: str, other: str) -> bool:
    return one.partition(",")[0] == other.partition(",")[0]


def parts(widget: Any) -> Iterator[Any]:
    """Yield the anywidgets in a widget, and itself if it is one."""
    if isinstance(widget, anywidget.AnyWidget):
        yield widget
    for child in getattr(widget, "children", ()):
        yield from parts(child)


@pytest.fixture(scope="module")
def hosts(browser: Browser) -> Iterator[list[Host]]:
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    yield [Host(context.new_page(), kind) for kind in KINDS.values()]
    context.close()


def alike(wire: Wire, hosts: list[Host], has_binary: bool) -> bool:
    """Whether all pages show the same, images and all."""
    wire.pump()
    first, *others = (host.seen() for host in hosts)
    loaded = all(complete and width for complete, width, _ in first["images"])
    shown = first["drawn"] or bool(first["images"]) or not has_binary
    return loaded and shown and all(other == first for other in others)


def test_every_bundle_shows_the_same_in_every_kind_of_host(
    made: dict[str, list[Any]], hosts: list[Host]
) -> None:
    bundles = {path.read_text("utf-8"): path.stem for path in frontend.STATIC.glob("*.js")}
    sources = [path.read_text("utf-8") for path in Path(widgets.__file__).parent.glob("*.py")]
    named = {name for text in sources for name in re.findall(r'Code\("(\w+)\.js"\)', text)}
    assert {bundles[str(one._esm)] for some in made.values() for one in some} == named
    for name, some in made.items():
        for widget in some:
            wire = Wire(widget, *hosts)
            has_binary = any(packed(widget.get_state())["buffers"])
            has_binary = has_binary and not widget._is_part and name not in TEXT_ALONE
            shown = f"{name}, {type(widget).__name__}"
            try:
                until(lambda: alike(wire, hosts, has_binary), True, hosts[0].page)  # noqa: B023
            except AssertionError:
                pytest.fail(f"{shown}: {[host.seen() for host in hosts]}"[:3000])
            left = [host.end() for host in hosts]
            assert left == [0] * len(hosts), f"{shown}: listeners are left"
            assert [problem for host in hosts for problem in host.problems] == [], shown


def test_page_and_python_hear_each_other(made: dict[str, list[Any]], hosts: list[Host]) -> None:
    (viewer,), host = made["Viewer"], hosts[1]
    wire = Wire(viewer, host)
    shown = host.page.locator(".sdw-viewer")
    expect(shown).to_have_attribute("data-frames", "8")
    shown.locator("input[type=range]").first.focus()
    host.page.keyboard.press("Home")
    until(lambda: viewer.step, 0, host.page)
    host.page.keyboard.press("ArrowRight")
    until(lambda: viewer.step, 1, host.page)

    viewer.word = "car"
    wire.pump()
    expect(shown.locator(".sdw-chip[data-word=car]")).to_have_attribute("aria-pressed", "true")
    assert host.end() == 0
    assert host.problems == []
