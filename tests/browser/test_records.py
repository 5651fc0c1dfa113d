"""Recorded runs as documents: in JupyterLab and Notebook 7, with no kernel and no Python.

The files are read in parts, through the server's file handler; JupyterLab is never asked for their
content, and what is in them stays text.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe import violations
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Dialog, Locator, Page, Request, expect
from real_jupyter import START, WAIT, Server, use_theme, wait_for_application

from sdwidgets.configs import TINY, ModelConfig
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import Settings
from sdwidgets.trace import PromptTokens, StepAttention, Trace, TraceStep

pytestmark = pytest.mark.browser

ATTACK = '</script></title><img src=x onerror="window.ran = 1"><script>window.ran = 2</script>'
OURS = "/extensions/sdwidgets/"  # in the addresses of the extension's scripts
SHOWN = ".sdw-doc[data-state=shown]"
FAILED = ".sdw-doc[data-state=failed]"


# ------------------------------------------------------------------------------------ the files


@pytest.fixture(scope="module")
def cat(make_model: Callable[[ModelConfig], LatentDiffusion]) -> Trace:
    return make_model(TINY).generate("a cat and a dog", steps=6, seed=1, attention=True)


@pytest.fixture(scope="module")
def apple(make_model: Callable[[ModelConfig], LatentDiffusion]) -> Trace:
    return make_model(TINY).generate("a red apple", steps=4, seed=2, attention=True)


def heavy(bytes_of_a_step: int, steps: int) -> Trace:
    """Return a made-up run whose file has about ``bytes_of_a_step`` of attention in each step."""
    random = np.random.default_rng(0)
    latents = random.normal(size=(1, 4, 32, 32)).astype(np.float32)
    heads = bytes_of_a_step // (2 * 8 * 32 * 32)
    maps = {"up_blocks.0": np.tile(random.random((1, 1, 8, 32, 32)), (1, heads, 1, 1, 1))}
    maps = {name: values.astype(np.float16) for name, values in maps.items()}
    made = tuple(
        TraceStep(i, 2.0, latents, latents, 1.0, latents, StepAttention(maps), latents, latents)
        for i in range(steps)
    )
    settings = Settings(prompt="a cat", steps=steps, seed=1, width=256, height=256)
    tokens = (PromptTokens("a cat", ("a", "cat"), ((0, 1), (2, 5))),)
    picture = Image.new("RGB", (256, 256), "orange")
    return Trace("made up", "text to image", settings, tokens, made, (picture,))


# ------------------------------------------------------------------------------------ the pages


class Desk:
    """A page of JupyterLab with a folder of its own, and all that it asked the server for."""

    def __init__(self, page: Page, server: Server):
        self.page, self.server = page, server
        self.folder = f"records-{secrets.token_hex(4)}"
        (server.root / self.folder).mkdir()
        self.asked: list[Request] = []
        self.problems: list[str] = []
        self._watched: dict[Any, Any] = {
            "request": lambda request: self.asked.append(request),
            "pageerror": self._failed,
            "dialog": self._refuse,
        }
        for event, watch in self._watched.items():
            page.on(event, watch)

    def _failed(self, error: Any) -> None:
        # JupyterLab's toolbars raise errors of their own where a tab is closed soon after it opens.
        if OURS in str(error.stack):
            self.problems.append(f"{error}\n{error.stack}")

    def _refuse(self, dialog: Dialog) -> None:
        self.problems.append("a dialog")
        dialog.dismiss()

    def put(self, name: str, content: Trace | bytes) -> str:
        """Write a file into the folder; return its path in JupyterLab."""
        path = self.server.root / self.folder / name
        if isinstance(content, Trace):
            content.save(path)
        else:
            path.write_bytes(content)
        return f"{self.folder}/{name}"

    def browse(self) -> None:
        """Show the folder in the file browser."""
        self.page.evaluate(
            "path => jupyterapp.commands.execute('filebrowser:open-path', {path})", self.folder
        )

    def item(self, name: str) -> Locator:
        return self.page.locator(".jp-DirListing-item", has_text=name)

    def open(self, path: str, factory: str = "default") -> None:
        self.page.evaluate(
            "o => { jupyterapp.commands.execute('docmanager:open', o); }",
            {"path": path, "factory": factory},
        )

    def view(self, name: str) -> Locator:
        """The view in the tab of that name."""
        tab = f"() => [...jupyterapp.shell.widgets('main')].find(w => w.title.label === {name!r})"
        self.page.wait_for_function(tab)
        return self.page.locator(f"#{self.page.evaluate(f'({tab})().id')} .sdw-doc")

    def front(self, name: str) -> Locator:
        """Bring the tab of that name to the front; return its view, once its file is read."""
        view = self.view(name)
        self.page.evaluate(
            "name => jupyterapp.shell.activateById("
            "[...jupyterapp.shell.widgets('main')].find(w => w.title.label === name).id)",
            name,
        )
        expect(view).to_have_attribute("data-state", re.compile("shown|failed"))
        return view

    def button(self, view: Locator, name: str) -> Locator:
        """A button of the toolbar above a view."""
        return view.locator("xpath=..").get_by_role("button", name=name, exact=True)

    def close_all(self) -> None:
        self.page.evaluate(
            "() => { for (const one of [...jupyterapp.shell.widgets('main')]) one.dispose(); }"
        )

    def end(self) -> None:
        for event, watch in self._watched.items():
            self.page.remove_listener(event, watch)

    # ------------------------------------------------------------- what the server was asked for

    def of(self, path: str) -> list[Request]:
        """The requests for a file."""
        return [request for request in self.asked if f"/{path}" in request.url]

    def started(self) -> list[str]:
        """What was written or started on the server, apart from JupyterLab's own state."""
        own = re.compile(r"/api/(workspaces|settings|contents/.*\.ipynb)|/lab/api/|/api/events")
        changing = [r for r in self.asked if r.method not in ("GET", "HEAD")]
        return [f"{r.method} {r.url}" for r in changing if not own.search(r.url)]


@pytest.fixture(scope="module")
def page(lab: Server, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(WAIT * 1000)
    page.goto(lab.address(), timeout=START * 1000)
    wait_for_application(page)
    yield page
    context.close()


@pytest.fixture
def desk(page: Page, lab: Server) -> Iterator[Desk]:
    made = Desk(page, lab)
    yield made
    made.close_all()
    made.end()
    assert made.problems == []


def contents_of(path: str, asked: list[Request]) -> list[str]:
    """The requests that transfer a file through the contents API."""
    calls = [r.url for r in asked if f"/api/contents/{path}" in r.url and r.method == "GET"]
    return [url for url in calls if "content=0" not in url and "/checkpoints" not in url]


# --------------------------------------------------------------------------------------- opening


def test_a_double_click_opens_it_without_a_kernel(desk: Desk, cat: Trace) -> None:
    path = desk.put("cat.sdtrace", cat)
    desk.browse()
    icon = desk.item("cat.sdtrace").locator("svg[data-icon='sdwidgets:record']")
    expect(icon).to_be_visible()
    desk.item("cat.sdtrace").dblclick()
    view = desk.front("cat.sdtrace")
    viewer = view.locator(".sdw-viewer")
    expect(viewer).to_have_attribute("data-frames", "6")
    expect(viewer).to_have_attribute("data-view", "picture")

    desk.page.keyboard.press("Home")  # the slider has the focus
    expect(viewer).to_have_attribute("data-step", "0")
    desk.page.keyboard.press("ArrowRight")
    expect(viewer).to_have_attribute("data-step", "1")
    seen = {viewer.locator("canvas").first.evaluate("c => c.toDataURL()")}
    desk.page.keyboard.press("ArrowRight")
    expect(viewer).to_have_attribute("data-step", "2")
    desk.page.evaluate("() => new Promise(requestAnimationFrame)")
    assert viewer.locator("canvas").first.evaluate("c => c.toDataURL()") not in seen

    viewer.locator(".sdw-chip[data-word=cat]").click()
    expect(viewer.locator(".sdw-chip[data-word=cat]").first).to_have_attribute(
        "aria-pressed", "true"
    )

    assert contents_of(path, desk.asked) == []
    ranges = [r.headers.get("range") for r in desk.of(f"files/{path}")]
    assert ranges and all(ranges)
    assert desk.started() == []


@pytest.mark.parametrize("which", ["notebook_7", "notebook_oldest"])
def test_notebook_7_opens_it_from_its_file_list(
    which: str, request: pytest.FixtureRequest, context: BrowserContext, cat: Trace
) -> None:
    server: Server = request.getfixturevalue(which)
    cat.save(server.root / "cat.sdtrace")
    page = context.new_page()
    page.set_default_timeout(WAIT * 1000)
    page.goto(f"{server.url}/tree?token={server.token}", timeout=START * 1000)
    wait_for_application(page)
    asked: list[Request] = []
    context.on("request", lambda request: asked.append(request))
    with context.expect_page() as opened:
        page.locator(".jp-DirListing-item", has_text="cat.sdtrace").dblclick()
    document = opened.value
    document.set_default_timeout(WAIT * 1000)
    viewer = document.locator(f"{SHOWN} .sdw-viewer")
    expect(viewer).to_have_attribute("data-frames", "6")
    viewer.get_by_role("slider", name="step on show").press("Home")
    expect(viewer).to_have_attribute("data-step", "0")
    assert contents_of("cat.sdtrace", asked) == []
    assert [r.url for r in asked if r.method == "POST" and "/api/" in r.url] == []


def test_a_large_one_is_read_in_parts_while_the_page_answers(desk: Desk) -> None:
    path = desk.put("large.sdtrace", b"")
    file = desk.server.root / path
    heavy(5_000_000, 40).save(file, precision="float16")
    size = file.stat().st_size
    assert size > 200_000_000
    desk.page.evaluate("""() => {
        window.painted = 0;
        const count = () => { window.painted++; requestAnimationFrame(count); };
        requestAnimationFrame(count);
    }""")
    painted: list[int] = []
    desk.open(path)
    view = desk.front("large.sdtrace")
    viewer = view.locator(".sdw-viewer")
    expect(viewer).to_have_attribute("data-step", "39")
    read = desk.of(f"files/{path}")
    assert 0 < sum(map(length, read)) < size / 2  # it is shown before it is read

    for step in range(3):  # it can be used meanwhile
        desk.page.keyboard.press("Home" if step == 0 else "ArrowRight")
        expect(viewer).to_have_attribute("data-step", str(step))
        painted.append(desk.page.evaluate("() => window.painted"))
    assert painted == sorted(set(painted))

    def is_read() -> bool:
        return sum(map(length, desk.of(f"files/{path}"))) >= size

    while not is_read():
        desk.page.wait_for_event("request")
    expect(viewer).to_have_attribute("data-frames", "40")
    expect(viewer).to_have_attribute("data-state", "done")
    reads = len(desk.of(f"files/{path}"))
    assert desk.page.evaluate("() => window.painted") > reads  # it painted between two parts
    assert contents_of(path, desk.asked) == []
    assert desk.started() == []


def length(request: Request) -> int:
    """How many bytes a request asks for."""
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
    return int(found[2]) - int(found[1]) + 1 if found else 0


# --------------------------------------------------------------------------------- what is wrong


def test_what_cannot_be_shown_is_said_calmly(desk: Desk, cat: Trace) -> None:
    whole = (desk.server.root / desk.put("whole.sdtrace", cat)).read_bytes()
    flipped = bytearray(whole)
    flipped[-40] ^= 1
    text = whole.decode("utf-8", "replace").encode()  # as a drive leaves it that takes it for text
    files = {
        "empty": (b"", "is not a recording"),
        "cut": (whole[:-5000], "is cut"),
        "flipped": (bytes(flipped), "is damaged"),
        "zip": (b"PK\x03\x04" + whole, "not a recording"),
        "text": (text, "took the bytes for text"),
    }
    for name, (content, words) in files.items():
        desk.open(desk.put(f"{name}.sdtrace", content))
        view = desk.view(f"{name}.sdtrace")
        expect(view).to_have_attribute("data-state", "failed")
        problem = view.get_by_role("alert")
        expect(problem).to_contain_text(words)
        expect(problem.get_by_role("button", name="Reload")).to_be_visible()
        assert "Error:" not in problem.inner_text() and " at " not in problem.inner_text()

    (desk.server.root / desk.folder / "cut.sdtrace").write_bytes(whole)
    desk.front("cut.sdtrace").get_by_role("button", name="Reload").click()
    expect(desk.view("cut.sdtrace").locator(".sdw-viewer")).to_have_attribute("data-frames", "6")
    assert desk.page.locator(".jp-Dialog").count() == 0


def test_its_texts_are_never_markup(desk: Desk, cat: Trace) -> None:
    tokens = (replace(cat.tokens[0], prompt=f"a cat {ATTACK}"), *cat.tokens[1:])
    settings = replace(cat.settings, prompt=f"a cat {ATTACK}", negative_prompt=ATTACK)
    record = replace(
        cat, model=ATTACK, task=ATTACK, notices=(ATTACK,), tokens=tokens, settings=settings
    )
    desk.open(desk.put("attack.sdtrace", record))
    view = desk.front("attack.sdtrace")
    desk.button(view, "About").click()
    about = view.get_by_role("region", name="Settings")
    expect(about).to_contain_text("onerror")
    desk.button(view, "Make again…").click()
    dialog = desk.page.locator(".jp-Dialog")
    expect(dialog.locator("pre")).to_contain_text("onerror")
    dialog.get_by_role("button", name="Cancel").click()
    assert desk.page.locator("img[onerror]").count() == 0
    assert desk.page.evaluate("() => window.ran") is None
    hosts = {request.url.split("/")[2] for request in desk.asked if request.url.startswith("http")}
    assert hosts == {desk.server.url.split("/")[2]}


def test_what_happens_to_the_file_meanwhile_is_said(desk: Desk, cat: Trace, apple: Trace) -> None:
    path = desk.put("one.sdtrace", cat)
    desk.open(path)
    view = desk.front("one.sdtrace")
    note = view.get_by_role("status").first
    contents = "jupyterapp.serviceManager.contents"

    moved = f"{desk.folder}/two.sdtrace"
    desk.page.evaluate(f"([a, b]) => {contents}.rename(a, b)", [path, moved])
    expect(note).to_contain_text("now called “two.sdtrace”")
    view = desk.front("two.sdtrace")

    apple.save(desk.server.root / moved)  # by another program: seen when the tab is looked at
    desk.open(desk.put("other.sdtrace", apple))
    desk.front("other.sdtrace")
    view = desk.front("two.sdtrace")
    expect(note).to_contain_text("was replaced")
    expect(view.locator(".sdw-viewer")).to_have_attribute("data-frames", "6")
    note.get_by_role("button", name="Reload").click()
    expect(view.locator(".sdw-viewer")).to_have_attribute("data-frames", "4")
    expect(note).to_be_empty()

    desk.page.evaluate(f"path => {contents}.delete(path)", moved)
    expect(note).to_contain_text("was deleted")
    expect(view.locator(".sdw-viewer")).to_have_attribute("data-frames", "4")
    note.get_by_role("button", name="Reload").click()
    expect(view).to_have_attribute("data-state", "failed")
    expect(view.get_by_role("alert")).to_contain_text("not there")


# ---------------------------------------------------------------------------------------- drives


DRIVE = """([name, base64, text]) => {
    const signal = {connect: () => true, disconnect: () => true};
    const model = {name: 'x.sdtrace', path: 'x.sdtrace', type: 'file', writable: true,
                   created: '', last_modified: '2026', mimetype: '', content: null, format: null};
    window.got = [];
    jupyterapp.serviceManager.contents.addDrive({
        name, serverSettings: jupyterapp.serviceManager.serverSettings, fileChanged: signal,
        isDisposed: false, dispose() {},
        get: async (path, options) => {
            window.got.push(options.content);
            if (!options.content) return model;
            if (text) return {...model, format: 'text', content: text};
            return {...model, format: 'base64', content: base64};
        },
        getDownloadUrl: async () => { throw new Error('there is none'); },
        listCheckpoints: async () => [], createCheckpoint: async () => ({}),
    });
}"""


def test_a_drive_without_addresses_gives_the_whole_file(desk: Desk, cat: Trace) -> None:
    import base64

    content = (desk.server.root / desk.put("x.sdtrace", cat)).read_bytes()
    desk.page.evaluate(DRIVE, ["Plain", base64.b64encode(content).decode(), ""])
    desk.open("Plain:x.sdtrace")
    view = desk.front("x.sdtrace")
    expect(view.locator(".sdw-viewer")).to_have_attribute("data-frames", "6")
    desk.close_all()

    desk.page.evaluate(DRIVE, ["Texts", "", content.decode("utf-8", "replace")])
    desk.open("Texts:x.sdtrace")
    view = desk.front("x.sdtrace")
    expect(view.get_by_role("alert")).to_contain_text("took the bytes for text")


# --------------------------------------------------------------------------------------- actions


def test_two_side_by_side_and_compared(desk: Desk, cat: Trace, apple: Trace) -> None:
    desk.open(desk.put("cat.sdtrace", cat))
    desk.open(desk.put("apple.sdtrace", apple))
    for name in ("cat.sdtrace", "apple.sdtrace"):
        desk.front(name)
    desk.page.evaluate("""() => {
        const all = [...jupyterapp.shell.widgets('main')];
        const of = (name) => all.find((widget) => widget.title.label === name);
        const ref = of('cat.sdtrace').id;
        jupyterapp.shell.add(of('apple.sdtrace'), 'main', {mode: 'split-right', ref});
    }""")
    left, right = (
        desk.view(name).locator(".sdw-viewer") for name in ("cat.sdtrace", "apple.sdtrace")
    )
    expect(left).to_be_visible()
    expect(right).to_be_visible()
    expect(left).to_have_attribute("data-frames", "6")
    left.get_by_role("slider", name="step on show").press("Home")
    expect(left).to_have_attribute("data-step", "0")
    expect(right).to_have_attribute("data-step", "3")  # each has its own

    desk.button(desk.view("cat.sdtrace"), "Compare…").click()
    dialog = desk.page.locator(".jp-Dialog")
    expect(dialog.locator("select")).to_have_value(f"{desk.folder}/apple.sdtrace")
    dialog.get_by_role("button", name="Compare").click()
    view = desk.front("cat | apple")
    compare = view.locator(".sdw-compare")
    expect(compare).to_have_attribute("data-runs", "2")
    expect(compare).to_have_attribute("data-frames", "6 4")
    expect(compare).to_contain_text("seed 1")
    compare.get_by_role("slider", name="step on show").press("Home")
    expect(compare).to_have_attribute("data-step", "0")
    compare.locator(".sdw-chip[data-word=apple]").click()
    expect(compare.locator("[data-absent=true]")).to_have_count(1)
    assert desk.started() == []


def test_one_is_compared_with_a_file_that_is_not_open(desk: Desk, cat: Trace, apple: Trace) -> None:
    desk.put("apple.sdtrace", apple)
    desk.put("notes.txt", b"text")
    desk.browse()
    desk.open(desk.put("cat.sdtrace", cat))
    desk.button(desk.front("cat.sdtrace"), "Compare…").click()
    dialog = desk.page.locator(".jp-Dialog")
    expect(dialog.locator(".jp-DirListing-item", has_text="apple.sdtrace")).to_be_visible()
    expect(dialog.locator(".jp-DirListing-item", has_text="notes.txt")).to_have_count(0)
    dialog.locator(".jp-DirListing-item", has_text="apple.sdtrace").click()
    dialog.get_by_role("button", name=re.compile("Select|Open|Compare")).click()
    view = desk.front("cat | apple")
    expect(view.locator(".sdw-compare")).to_have_attribute("data-frames", "6 4")


def test_the_cell_that_makes_it_again_goes_where_it_is_said(desk: Desk, cat: Trace) -> None:
    desk.open(desk.put("cat.sdtrace", cat))
    view = desk.front("cat.sdtrace")
    desk.button(view, "Make again…").click()
    dialog = desk.page.locator(".jp-Dialog")
    code = dialog.locator("pre").inner_text()
    assert "model.generate" in code and '"a cat and a dog"' in code
    dialog.get_by_role("button", name="New Notebook").click()
    cells = """() => {
        const cells = jupyterapp.shell.currentWidget?.content?.model?.toJSON?.().cells;
        return cells?.length ? cells.map(cell => [].concat(cell.source).join('')) : null;
    }"""
    desk.page.wait_for_function(f"code => ({cells})()?.join() === code", arg=code)
    made = desk.page.evaluate("() => jupyterapp.shell.currentWidget.context.path")
    assert made.startswith(f"{desk.folder}/")

    desk.front("cat.sdtrace")
    desk.button(view, "Make again…").click()
    name = made.split("/")[-1]
    dialog.get_by_role("button", name=f"Add to “{name}”").click()
    desk.page.wait_for_function(f"() => ({cells})()?.length === 2")
    assert desk.page.evaluate(cells) == [code, code]
    counts = "() => jupyterapp.shell.currentWidget.content.widgets.map(w => w.model.executionCount)"
    assert desk.page.evaluate(counts) == [None, None]  # nothing was run


def test_it_is_exported_as_the_page_that_python_writes(
    desk: Desk, cat: Trace, tmp_path: Path, context: BrowserContext
) -> None:
    desk.open(desk.put("cat.sdtrace", cat))
    view = desk.front("cat.sdtrace")
    expect(view.locator(".sdw-viewer")).to_have_attribute("data-frames", "6")
    with desk.page.expect_download() as download:
        desk.button(view, "Export page").click()
    assert download.value.suggested_filename == "cat.html"
    file = tmp_path / "cat.html"
    download.value.save_as(file)
    context.set_offline(True)
    exported = context.new_page()
    problems: list[str] = []
    exported.on("pageerror", lambda error: problems.append(str(error)))
    exported.goto(file.as_uri())
    viewer = exported.locator("main#sdw .sdw-viewer")
    expect(viewer).to_have_attribute("data-frames", "6")
    expect(exported.locator("h1")).to_have_text("a cat and a dog")
    # With the styles of the page and of the viewer.
    expect(exported.locator("body")).to_have_css("margin", "0px")
    expect(viewer).to_have_css("max-width", "1080px")
    assert problems == []
    size = "getComputedStyle(document.documentElement).getPropertyValue('--jp-ui-font-size1')"
    assert (exported.evaluate(size), desk.page.evaluate(size)) == ("14px", "13px")  # its own


# ---------------------------------------------------------------------------------------- images


def test_an_image_shows_what_made_it(desk: Desk, cat: Trace, tmp_path: Path) -> None:
    made = cat.save_image(tmp_path / "made.png").read_bytes()
    cat.image.save(tmp_path / "plain.png")
    path = desk.put("made.png", made)
    desk.put("plain.png", (tmp_path / "plain.png").read_bytes())
    assert (
        desk.page.evaluate("() => jupyterapp.docRegistry.defaultWidgetFactory('a.png').name")
        == "Image"
    )
    desk.browse()
    desk.item("made.png").click(button="right")
    desk.page.locator(".lm-Menu-item", has_text="Open With").hover()
    desk.page.locator(".lm-Menu-item", has_text="Diffusion Settings").click()
    view = desk.front("made.png")
    expect(view.locator("img")).to_have_js_property("naturalWidth", cat.image.width)
    expect(view.locator("dl")).to_contain_text("a cat and a dog")
    desk.button(view, "Make again…").click()
    dialog = desk.page.locator(".jp-Dialog")
    expect(dialog.locator("pre")).to_contain_text("a cat and a dog")
    dialog.get_by_role("button", name="Cancel").click()
    assert contents_of(path, desk.asked) == []

    desk.open(f"{desk.folder}/plain.png", "Diffusion settings")
    view = desk.front("plain.png")
    expect(view.locator("img")).to_be_visible()
    expect(view).to_contain_text("no settings")
    expect(desk.button(view, "Make again…")).to_be_disabled()
    assert desk.started() == []


# ----------------------------------------------------------------------------- layout, and looks


def test_a_reload_brings_them_back_as_they_were(
    lab: Server, context: BrowserContext, cat: Trace, apple: Trace
) -> None:
    page = context.new_page()
    page.set_default_timeout(WAIT * 1000)
    address = lab.address().replace("?reset&", "?").replace("/lab?", "/lab/workspaces/records?")
    page.goto(address, timeout=START * 1000)
    wait_for_application(page)
    desk = Desk(page, lab)
    desk.open(desk.put("cat.sdtrace", cat))
    view = desk.front("cat.sdtrace")
    expect(view.locator(".sdw-viewer")).to_have_attribute("data-frames", "6")
    desk.page.keyboard.press("Home")
    view.locator(".sdw-chip[data-word=dog]").click()
    paths = [f"{desk.folder}/cat.sdtrace", desk.put("apple.sdtrace", apple)]
    page.evaluate(
        "paths => { jupyterapp.commands.execute('sdwidgets:compare-records', {paths}); }", paths
    )
    compared = desk.front("cat | apple").locator(".sdw-compare")
    expect(compared).to_have_attribute("data-frames", "6 4")
    with page.expect_response(lambda r: "/api/workspaces/" in r.url and r.request.method == "PUT"):
        compared.get_by_role("slider", name="step on show").press("Home")
    page.evaluate("async () => { await jupyterapp.serviceManager.workspaces.fetch('records'); }")

    desk.asked.clear()
    page.reload()
    wait_for_application(page)
    compared = desk.front("cat | apple").locator(".sdw-compare")
    expect(compared).to_have_attribute("data-frames", "6 4")
    before = desk.started()
    viewer = desk.front("cat.sdtrace").locator(".sdw-viewer")
    expect(viewer).to_have_attribute("data-step", "0")
    expect(viewer.locator(".sdw-chip[data-word=dog]")).to_have_attribute("aria-pressed", "true")
    assert before == desk.started() == []


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_everybody_can_use_it(desk: Desk, cat: Trace, tmp_path: Path, theme: str) -> None:
    use_theme(desk.page, "Light")
    desk.open(desk.put("cat.sdtrace", cat))
    view = desk.front("cat.sdtrace")
    desk.button(view, "About").click()
    light = view.locator(".sdw-viewer").evaluate("e => getComputedStyle(e).color")
    use_theme(desk.page, theme)  # while it is open
    try:
        dark = view.locator(".sdw-viewer").evaluate("e => getComputedStyle(e).color")
        assert (light != dark) == (theme == "Dark")
        found = violations(view)  # without the toolbar, whose buttons are JupyterLab's
        desk.open(desk.put("empty.sdtrace", b""))
        found += violations(desk.front("empty.sdtrace"))
        path = desk.put("image.png", cat.save_image(tmp_path / "i.png").read_bytes())
        desk.open(path, "Diffusion settings")
        found += violations(desk.front("image.png"))
        assert found == []
    finally:
        use_theme(desk.page, "Light")
