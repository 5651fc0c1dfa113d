"""JupyterLab's launcher, palette, menu, keyboard and settings, with what they begin."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import axe
import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from real_jupyter import ROOT, START, WAIT, Server, until, wait_for_application

from sdwidgets import cli

pytestmark = pytest.mark.browser

NEW_STUDIO, LESSONS, OPEN_RECORD, TOGGLE_PANEL, STOP = COMMANDS = [
    f"sdwidgets:{name}"
    for name in ("new-studio", "open-lessons", "open-record", "toggle-panel", "stop")
]
LESSON = ROOT / "notebooks" / "03_cross_attention.ipynb"
PROMPT = ".sdw-prompt textarea"
MARK = "here.txt"  # a file that shows which folder is listed


@pytest.fixture
def folder(lab: Server, notebook_7: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a folder of its own, on both servers."""
    name = request.node.originalname
    for server in (lab, notebook_7):
        (server.root / name).mkdir(exist_ok=True)
        (server.root / name / MARK).touch()
    yield name


@pytest.fixture
def page(lab: Server, context: BrowserContext, folder: str) -> Page:
    """JupyterLab with that folder in its file browser, and a launcher there."""
    return load(context.new_page(), lab, folder)


def load(page: Page, server: Server, folder: str = "") -> Page:
    """Load an application's first page, in which the file browser shows a folder."""
    page.set_default_timeout(WAIT * 1000)
    is_lab = server.application == "lab"
    path = "lab" if is_lab else f"tree/{folder}".rstrip("/")
    page.goto(f"{server.url}/{path}?reset&token={server.token}", timeout=START * 1000)
    wait_for_application(page)
    if folder and is_lab:
        open_folder = "path => jupyterapp.commands.execute('filebrowser:open-path', {path})"
        page.evaluate(open_folder, folder)
        page.evaluate("() => jupyterapp.commands.execute('launcher:create')")
    elif folder:
        expect(page.locator(".jp-DirListing-item", has_text=MARK)).to_be_visible()
    return page


def begin(page: Page, command: str, **arguments: Any) -> None:
    """Begin a command, which may wait for a person."""
    page.evaluate(
        "([command, args]) => { void jupyterapp.commands.execute(command, args); }",
        [command, arguments],
    )


def card(page: Page, text: str) -> Locator:
    return page.locator(".jp-LauncherCard:visible", has_text=text)


def sources(file: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(file.read_text("utf-8"))["cells"]]


def focused(page: Page) -> str:
    return page.evaluate("() => document.activeElement.textContent")


def test_the_keyboard_alone_leads_from_the_launcher_to_an_image(
    page: Page, lab: Server, folder: str
) -> None:
    expect(card(page, "New Studio Notebook")).to_be_visible()
    section = page.locator(".jp-Launcher-section:visible", has_text="Diffusion")
    expect(section.locator(".jp-LauncherCard")).to_have_text(["New Studio Notebook", "Lessons…"])

    page.locator(".jp-LauncherCard:visible").first.focus()
    while "New Studio Notebook" not in focused(page):
        assert page.locator(".jp-LauncherCard:focus").count() == 1  # not past the launcher
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    page.wait_for_selector(f"{PROMPT}:focus")  # nothing had to be found with the mouse
    expect(page.locator(".jp-Launcher:visible")).to_have_count(0)  # it has taken its place
    page.keyboard.type("a cat on a blue background")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".sdw-studio[data-state=done]")
    assert page.locator(".sdw-studio .sdw-picture").get_attribute("data-run")

    file = lab.root / folder / "Studio.ipynb"
    assert sources(file) == ["import sdwidgets as sdw\n\nstudio = sdw.Studio()\nstudio"]
    begin(page, NEW_STUDIO)  # its name is taken now
    until((lab.root / folder / "Studio_1.ipynb").exists, True, page)
    page.evaluate("() => jupyterapp.serviceManager.sessions.shutdownAll()")


def test_a_lesson_is_copied_once_and_never_written_over(
    page: Page, lab: Server, folder: str
) -> None:
    file = lab.root / folder / LESSON.name
    card(page, "Lessons…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("radio")).to_have_count(len(cli.LESSONS))
    expect(dialog).to_contain_text(folder)
    assert axe.violations(page.locator(".sdl-lessons")) == []
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    opened = page.locator(".jp-NotebookPanel:visible")
    expect(opened).to_contain_text("Where each word looks")
    assert sources(file) == sources(LESSON)
    kernel = json.loads(file.read_text("utf-8"))["metadata"]["kernelspec"]
    assert kernel["language"] == "python"

    # an unchanged copy is opened, and a changed one, too, if that is wanted
    close_all(page)
    before = file.read_bytes()
    begin(page, LESSONS, lesson=LESSON.stem, cwd=folder)
    expect(opened).to_contain_text("Where each word looks")
    assert file.read_bytes() == before
    close_all(page)

    content = json.loads(before)
    content["cells"][0]["source"] = "# My own words"
    file.write_text(json.dumps(content))
    mine = file.read_bytes()
    for choice, shown in {"Open It": "My own words", "New Copy": "Where each word looks"}.items():
        begin(page, LESSONS, lesson=LESSON.stem, cwd=folder)
        expect(dialog).to_contain_text("differs from the lesson")
        page.get_by_role("button", name=choice).click()
        expect(opened).to_contain_text(shown)
        close_all(page)
    begin(page, LESSONS, lesson=LESSON.stem, cwd=folder)
    page.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    assert file.read_bytes() == mine
    copies = sorted(path.name for path in (lab.root / folder).glob("*.ipynb"))
    assert copies == [LESSON.name, f"{LESSON.stem}_1.ipynb"]
    assert sources(lab.root / folder / copies[1]) == sources(LESSON)

    with pytest.raises(Exception, match=r"There is no lesson 99.*01_first_picture"):
        page.evaluate("name => jupyterapp.commands.execute(name, {lesson: '99'})", LESSONS)


def close_all(page: Page) -> None:
    page.evaluate("() => jupyterapp.commands.execute('application:close-all')")
    expect(page.locator(".jp-NotebookPanel")).to_have_count(0)


# What makes a notebook impossible, as scripts that return how it is undone; what is said then.
HINDRANCES = {
    """() => {
        const {contents} = jupyterapp.serviceManager, {get} = contents;
        contents.get = async (...of) => ({...(await get.apply(contents, of)), writable: false});
        return () => { contents.get = get; };
    }""": "cannot be written: it is read-only.",
    """() => {
        const {contents} = jupyterapp.serviceManager, {save} = contents;
        contents.save = async () => { throw new Error("Permission denied: Studio.ipynb"); };
        return () => { contents.save = save; };
    }""": "cannot be written: Permission denied: Studio.ipynb.",
    """() => {
        const {kernelspecs} = jupyterapp.serviceManager;
        const r = {name: "ir", language: "R", display_name: "R"};
        const value = {default: "ir", kernelspecs: {ir: r}};
        Object.defineProperty(kernelspecs, "specs", {value, configurable: true});
        return () => { delete kernelspecs.specs; };
    }""": "needs a Python kernel",
}


def test_why_no_studio_is_made_is_said_plainly(page: Page, lab: Server, folder: str) -> None:
    for hindrance, said in HINDRANCES.items():
        undo = page.evaluate_handle(hindrance)
        card(page, "New Studio Notebook").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("No notebook was made")
        expect(dialog).to_contain_text(said)
        page.keyboard.press("Enter")
        expect(dialog).to_have_count(0)
        undo.evaluate("undo => undo()")
    expect(card(page, "New Studio Notebook")).to_be_visible()
    assert not list((lab.root / folder).glob("*.ipynb"))


def test_a_kernel_without_the_package_is_named(
    page: Page, lab: Server, folder: str, tmp_path: Path
) -> None:
    (tmp_path / "sdwidgets.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'sdwidgets'\", name='sdwidgets')"
    )
    spec = json.loads((lab.kernels / "tests" / "kernel.json").read_text())
    spec |= {"display_name": "Bare", "env": {"PYTHONPATH": str(tmp_path)}}
    (lab.kernels / "bare").mkdir()
    (lab.kernels / "bare" / "kernel.json").write_text(json.dumps(spec))
    page.evaluate("""async () => {
        const {kernelspecs} = jupyterapp.serviceManager;
        await kernelspecs.refreshSpecs();
        const specs = {...kernelspecs.specs, default: "bare"};
        Object.defineProperty(kernelspecs, "specs", {value: specs});
    }""")
    card(page, "New Studio Notebook").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The kernel has no sdwidgets")
    expect(dialog).to_contain_text("The kernel “Bare” cannot import sdwidgets.")
    page.keyboard.press("Enter")
    page.evaluate("() => jupyterapp.serviceManager.sessions.shutdownAll()")
    (lab.kernels / "bare" / "kernel.json").unlink()


def test_a_recorded_run_is_chosen_among_the_files(page: Page, lab: Server, folder: str) -> None:
    for name in ("run.sdtrace", "notes.txt"):
        (lab.root / folder / name).write_bytes(b"not a run")
    (lab.root / folder / "more").mkdir(exist_ok=True)
    begin(page, OPEN_RECORD, cwd=folder)
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".jp-DirListing-item")).to_have_text(
        [re.compile("^more"), re.compile(r"^run\.sdtrace")]
    )
    dialog.locator(".jp-DirListing-item", has_text="run.sdtrace").click()
    dialog.get_by_role("button", name="Select").click()
    page.wait_for_function(
        "path => [...jupyterapp.shell.widgets('main')].some((one) => one.context?.path === path)",
        arg=f"{folder}/run.sdtrace",
    )


@pytest.fixture(params=["lab", "notebook_7", "lab_oldest", "notebook_oldest"])
def any_server(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(request.param)


def test_palette_menu_and_shortcuts(any_server: Server, context: BrowserContext) -> None:
    page = load(context.new_page(), any_server)
    for command in COMMANDS:
        assert page.evaluate("name => jupyterapp.commands.isVisible(name)", command), command

    page.get_by_role("menuitem", name="Diffusion").click()
    labels = [
        page.evaluate("name => jupyterapp.commands.label(name)", command) for command in COMMANDS
    ]
    menu = page.locator(".lm-Menu [role^=menuitem] .lm-Menu-itemLabel")
    expect(menu).to_have_text(labels)
    expect(page.locator(".lm-Menu .lm-Menu-itemShortcut").first).to_have_text("Alt+Shift+N")
    page.keyboard.press("Escape")

    titles = [f"Lesson: {title}" for title in TITLES]
    shown = page.locator(".lm-CommandPalette-itemLabel")
    search = page.locator(".lm-CommandPalette-input")

    def missing() -> list[str]:
        try:
            search.fill("diffusion", timeout=1000)
        except PlaywrightTimeout:  # it closes when something else takes the focus
            begin(page, "apputils:activate-command-palette")
            return ["the palette"]
        found = shown.all_text_contents()
        return [label for label in [*labels, *titles] if found.count(label) != 1]

    until(missing, [], page)
    page.keyboard.press("Escape")

    assert collisions(page) == []


TITLES = [
    sources(path)[0].splitlines()[0].removeprefix("# ")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
]

# Keys with Alt and Shift that browsers, or the systems around them, keep for themselves.
RESERVED = {
    "Alt Shift A",  # Chrome: focus on a notification
    "Alt Shift B",  # Chrome: focus on the bookmarks
    "Alt Shift I",  # Chrome: feedback
    "Alt Shift T",  # Chrome: focus on the toolbar
    "Alt Shift Tab",
}


def collisions(page: Page) -> list[Any]:
    """Return what is wrong with our keys.

    Ours are heard everywhere, so no other command may have the same keys, and none may begin with
    them or be their beginning, whatever its selector.
    """
    bindings = page.evaluate("""() => jupyterapp.commands.keyBindings.map(
        ({command, keys, selector}) => ({command, keys: [...keys], selector}))""")
    ours = [binding for binding in bindings if binding["command"].startswith("sdwidgets:")]
    assert sorted(binding["command"] for binding in ours) == sorted(COMMANDS)
    assert len(bindings) > 40  # the application's own
    found: list[Any] = [our for our in ours if our["keys"][0] in RESERVED]
    for our in ours:
        assert our["selector"] == "body"
        assert re.fullmatch(r"Alt Shift [A-Z]", our["keys"][0])
        for other in bindings:
            count = min(len(our["keys"]), len(other["keys"]))
            if other is not our and our["keys"][:count] == other["keys"][:count]:
                found.append((our, other))
    return found


def test_shortcuts_work_in_a_prompt_and_can_be_changed(
    load_notebook: Callable[..., Any], lab: Server
) -> None:
    notebook = load_notebook("import sdwidgets as sdw\nsdw.Studio()")
    page = notebook.page
    notebook.run()
    page.evaluate("""() => {
        window.executed = [];
        jupyterapp.commands.commandExecuted.connect((_, {id}) => window.executed.push(id));
    }""")
    notebook.find(PROMPT).focus()
    page.keyboard.type("S")
    page.keyboard.press("Alt+Shift+D")
    expect(page.locator("#sdwidgets-panel")).to_be_visible()
    notebook.find(PROMPT).focus()
    page.keyboard.press("Alt+Shift+L")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert page.evaluate("() => window.executed.filter(id => id.startsWith('sdwidgets:'))") == [
        TOGGLE_PANEL,
        LESSONS,
    ]
    assert notebook.find(PROMPT).input_value() == "S"

    name = "@jupyterlab/shortcuts-extension:shortcuts"
    mine = {"command": STOP, "keys": ["Ctrl Alt X"], "selector": "body"}
    path = f"{lab.url}/lab/api/settings/{name}"
    headers = {"Authorization": f"token {lab.token}"}
    raw = {"raw": json.dumps({"shortcuts": [mine]})}
    assert page.request.put(path, headers=headers, data=raw).ok
    try:
        notebook.load()
        has_it = """name => jupyterapp.commands.keyBindings.some(
            ({command, keys}) => command === name && keys[0] === "Ctrl Alt X")"""
        page.wait_for_function(has_it, arg=STOP)
    finally:
        assert page.request.put(path, headers=headers, data={"raw": "{}"}).ok


def test_notebook_7_opens_and_runs_a_studio_and_lessons_in_tabs(
    notebook_7: Server, context: BrowserContext, folder: str
) -> None:
    tree = load(context.new_page(), notebook_7, folder)
    with context.expect_page() as opened:
        begin(tree, NEW_STUDIO)
    studio = opened.value
    studio.wait_for_selector(f"{PROMPT}:focus", timeout=START * 1000)
    assert f"/notebooks/{folder}/Studio.ipynb" in studio.url

    # from a notebook: in its folder
    with context.expect_page() as opened:
        begin(studio, LESSONS, lesson=LESSON.stem)
    lesson = opened.value
    expect(lesson.locator(".jp-MarkdownCell").first).to_contain_text(
        "Where each word looks", timeout=START * 1000
    )
    assert sources(notebook_7.root / folder / LESSON.name) == sources(LESSON)

    # what was left to run is run once, and reloading runs nothing
    studio.reload()
    studio.wait_for_function("""() => {
        const panel = window.jupyterapp?.shell?.currentWidget;
        return panel?.sessionContext?.session?.kernel?.status === "idle";
    }""")
    assert studio.evaluate(
        "() => jupyterapp.shell.currentWidget.content.model.toJSON().cells[0].execution_count"
    ) in (None, 1)
    assert studio.evaluate("() => localStorage.getItem('sdwidgets:run')") is None
    studio.evaluate("() => jupyterapp.serviceManager.sessions.shutdownAll()")


def test_settings_have_titles_and_are_followed_at_once(page: Page) -> None:
    begin(page, "settingeditor:open", query="Diffusion")
    form = page.locator(".jp-SettingsForm:visible, .jp-SettingsEditor:visible").last
    schema = json.loads((ROOT / "js/lab/schema/preferences.json").read_text("utf-8"))
    for spec in schema["properties"].values():
        expect(form.get_by_text(spec["title"], exact=True).first).to_be_visible()

    begin(page, TOGGLE_PANEL)
    panel = page.locator("#sdwidgets-panel:visible")
    expect(panel).to_have_attribute("data-previews", "small")
    images = form.locator("select[id$=_previews]")
    try:
        images.select_option(label="Large")
        expect(panel).to_have_attribute("data-previews", "large")
    finally:
        images.select_option(label="Small")
        expect(panel).to_have_attribute("data-previews", "small")
        page.wait_for_function("""async () => {
            const {raw} = await jupyterapp.serviceManager.settings.fetch("sdwidgets:preferences");
            return !/"previews": "large"/.test(raw);
        }""")


def test_bad_settings_are_named_and_the_defaults_hold(lab: Server, context: BrowserContext) -> None:
    def spoil(route: Route) -> None:
        answer = route.fetch()
        content = answer.json()
        listed = content["settings"]  # of all plugins, or the values of the plugin asked for
        for plugin in listed if isinstance(listed, list) else [content]:
            if isinstance(plugin, dict) and plugin.get("id") == "sdwidgets:preferences":
                plugin["raw"] = '{"previews": "huge", "colormap": "grey"}'
        route.fulfill(response=answer, json=content)

    # A server leaves out such values itself; others that keep settings may not.
    context.route(re.compile("/lab/api/settings($|[?]|/sdwidgets(:|%3A)preferences)"), spoil)
    page = load(context.new_page(), lab)
    begin(page, "apputils:display-notifications")
    told = page.get_by_text("Diffusion have a value that is not allowed")
    expect(told.first).to_be_visible()  # while it is also on top of the page, it is there twice
    begin(page, TOGGLE_PANEL)
    expect(page.locator("#sdwidgets-panel")).to_have_attribute("data-previews", "small")
    expect(card(page, "New Studio Notebook")).to_be_visible()


def translations() -> dict[str, list[str]]:
    """Return a made-up language: every text of the extension in guillemets."""
    texts: set[str] = set()
    for path in (ROOT / "js" / "lab" / "src").glob("*.ts"):
        calls = re.findall(r'\.__\(\s*("(?:[^"\\]|\\.)*")', path.read_text("utf-8"))
        texts |= {json.loads(text) for text in calls}
    return {text: [f"«{text}»"] for text in texts}


def test_every_text_is_in_the_language_of_jupyterlab(lab: Server, context: BrowserContext) -> None:
    domain = {"domain": "sdwidgets", "language": "de", "plural_forms": "nplurals=2; plural=n!=1;"}
    pack = {"data": {"sdwidgets": {"": domain} | translations()}, "message": ""}
    context.route(re.compile("/lab/api/translations/"), lambda route: route.fulfill(json=pack))
    page = load(context.new_page(), lab)
    section = page.locator(".jp-Launcher-section:visible", has_text="«Diffusion»")
    cards = section.locator(".jp-LauncherCard")
    expect(cards).to_have_text(["«New Studio Notebook»", "«Lessons…»"])
    for command in COMMANDS:
        for what in ("label", "caption"):
            text = page.evaluate(
                "([what, name]) => jupyterapp.commands[what](name)", [what, command]
            )
            assert re.fullmatch("«.+»", text), (command, text)
    cards.nth(1).click()
    dialog = page.get_by_role("dialog")
    texts = dialog.locator("legend, .jp-Dialog-header, .jp-Dialog-buttonLabel, small")
    expect(texts).to_have_count(1 + 1 + 2 + len(cli.LESSONS))
    assert [text for text in texts.all_text_contents() if not re.fullmatch("«.+»", text)] == []
    page.keyboard.press("Escape")

    # the settings may say English
    begin(page, "settingeditor:open", query="Diffusion")
    language = page.locator("select[id$=_language]:visible")
    try:
        language.select_option(label="English")
        label = "name => jupyterapp.commands.label(name) === 'New Studio Notebook'"
        page.wait_for_function(label, arg=NEW_STUDIO)
    finally:
        language.select_option(label="JupyterLab's language")
        page.wait_for_function("""async () => {
            const {raw} = await jupyterapp.serviceManager.settings.fetch("sdwidgets:preferences");
            return !/"language": "en"/.test(raw);
        }""")
