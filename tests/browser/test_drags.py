"""Recorded runs and images are dragged into notebooks and onto the Studio."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from real_jupyter import Notebook, Server, until

import sdwidgets as sdw

pytestmark = pytest.mark.browser

Open = Callable[..., Notebook]

STUDIO = """
import sdwidgets as sdw
studio = sdw.Studio(prompt="a dog", seed=3, steps=4, width=64, height=64)
studio
"""
INDICATED = ".jp-mod-dropTarget, .sdw-mod-dropEnd"
SHOWN = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook"


@pytest.fixture(scope="module")
def files(lab: Server) -> dict[str, Path]:
    """The files of `write_files` in the server's folder."""
    return write_files(lab.root / "drags")


def write_files(folder: Path) -> dict[str, Path]:
    """Write a record and an image of a run, a drawing, a damaged record; return the runs' files."""
    drawing = Image.new("RGB", (64, 64), "teal")
    model, size = sdw.load(), {"width": 64, "height": 64}
    run = model.generate("a cat left of a car", seed=7, steps=2, attention=True, **size)
    begun = model.generate("a red dog", seed=5, steps=4, image=drawing, strength=0.5, **size)
    folder.mkdir()
    drawing.save(folder / "drawing.png")
    (folder / "broken.sdtrace").write_bytes(b"\x08\0\0\0\0\0\0\0{      }")
    (folder / "words.txt").write_text("words")
    return {
        "record": run.save(folder / "cat.sdtrace"),
        "image": run.save_image(folder / "cat.png"),
        "begun": begun.save(folder / "dog.sdtrace"),
    }


@pytest.fixture
def browse(shared_page: Page, files: dict[str, Path]) -> Iterator[Callable[[str], Locator]]:
    """Finds a file in the file browser, which shows the folder of the files."""
    run = "async ([command, args]) => { await jupyterapp.commands.execute(command, args); }"
    shared_page.evaluate(run, ["filebrowser:open-path", {"path": "drags"}])
    shared_page.evaluate(run, ["filebrowser:activate", {}])
    shared_page.evaluate(run, ["filebrowser:refresh", {}])

    def find(name: str) -> Locator:
        return shared_page.locator(".jp-DirListing-item").filter(has_text=name)

    expect(find("cat.sdtrace")).to_be_visible()
    yield find
    shared_page.evaluate(run, ["application:toggle-left-area", {}])


CURSOR = """() => {
    const backdrop = document.querySelector('.lm-cursor-backdrop');
    return backdrop && getComputedStyle(backdrop).cursor;
}"""
TAKEN = "move"


class Pointer:
    """Real drags with the mouse, by Lumino."""

    def __init__(self, page: Page):
        self.page = page

    def take(self, source: Locator) -> None:
        x, y = middle(source)
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + 8, y + 8, steps=3)

    def over(self, target: Locator, cursor: str = TAKEN) -> None:
        """Move to an element, and there until the pointer looks so: the file is read meanwhile."""
        target.scroll_into_view_if_needed()
        x, y = middle(target)
        self.page.mouse.move(x, y, steps=4)

        def look() -> str:
            nonlocal x
            x += 1 if x < middle(target)[0] + 5 else -5
            self.page.mouse.move(x, y)
            return self.page.evaluate(CURSOR)

        until(look, cursor, self.page)

    def drop(self) -> None:
        self.page.mouse.up()

    def leave(self) -> None:
        self.page.keyboard.press("Escape")
        self.page.mouse.up()


def middle(element: Locator) -> tuple[float, float]:
    box = element.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.fixture
def pointer(shared_page: Page) -> Pointer:
    return Pointer(shared_page)


def cells_of(notebook: Notebook) -> Locator:
    return notebook.page.locator(f"{SHOWN} .jp-Cell")


def sources(notebook: Notebook) -> list[str]:
    return [cell["source"] for cell in notebook.cells]


def wait_for_cells(notebook: Notebook, count: int) -> list[str]:
    until(lambda: len(notebook.cells), count, notebook.page)
    return sources(notebook)


def notifications(page: Page) -> Locator:
    """The list of notifications, opened."""
    page.evaluate(
        """async () => {
            if (!document.querySelector('.jp-Notification-List'))
                await jupyterapp.commands.execute('apputils:display-notifications');
        }"""
    )
    return page.locator(".jp-Notification-List")


def test_a_record_dragged_between_cells_becomes_the_cell_that_makes_it_again(
    open_notebook: Open, browse: Callable[[str], Locator], pointer: Pointer
) -> None:
    notebook = open_notebook("1 + 1", "2 + 2")
    page, cells = notebook.page, cells_of(notebook)
    pointer.take(browse("cat.sdtrace"))
    pointer.over(cells.nth(1))
    marked = page.locator(INDICATED)
    expect(marked).to_have_count(1)
    assert marked.evaluate("cell => getComputedStyle(cell).borderTopWidth") == "2px"
    assert "2 + 2" in marked.inner_text()
    pointer.drop()
    before, made, after = wait_for_cells(notebook, 3)
    assert (before, after) == ("1 + 1", "2 + 2")
    assert 'model.generate(\n    "a cat left of a car",\n    seed=7' in made
    expect(marked).to_have_count(0)
    assert [cell["execution_count"] for cell in notebook.cells] == [None] * 3  # nothing was run
    assert cells.nth(1).evaluate("cell => cell.classList.contains('jp-mod-active')")

    # below the last cell, a run that began from an image, which is in the record
    pointer.take(browse("dog.sdtrace"))
    pointer.over(notebook.find(".jp-Notebook-footer"))
    assert marked.evaluate("cell => getComputedStyle(cell).borderBottomWidth") == "2px"
    pointer.drop()
    made = wait_for_cells(notebook, 4)[3]
    assert 'sdw.Trace.load("drags/dog.sdtrace")' in made and "image=record.given_image" in made
    notebook.run()
    assert notebook.ask("[*trace.image.getdata()] == [*record.image.getdata()]")

    # the other thing to do with a record
    notifications(page).get_by_role("button", name="Show it instead").last.click()
    until(lambda: sources(notebook)[1].split("\n")[-1], "sdw.Viewer(trace)", page)
    assert 'sdw.Trace.load("drags/cat.sdtrace")' in sources(notebook)[1]
    page.keyboard.press("Escape")


def test_an_image_is_taken_if_it_says_how_it_was_made(
    open_notebook: Open,
    files: dict[str, Path],
    browse: Callable[[str], Locator],
    pointer: Pointer,
) -> None:
    notebook = open_notebook("1 + 1", "2 + 2")
    cells = cells_of(notebook)
    pointer.take(browse("cat.png"))
    pointer.over(cells.first)
    pointer.drop()
    made, *others = wait_for_cells(notebook, 3)
    assert '"a cat left of a car"' in made and others == ["1 + 1", "2 + 2"]

    # JupyterLab opens a drawing there, and shows where
    pointer.take(browse("drawing.png"))
    pointer.over(cells.nth(1))
    overlay = notebook.find(".lm-DockPanel-overlay")
    x, y = middle(cells.nth(1))
    until(
        lambda: (
            [notebook.page.mouse.move(x, y - 9), notebook.page.mouse.move(x, y + 9)]
            and overlay.is_visible()
        ),
        True,
        notebook.page,
    )
    expect(notebook.page.locator(INDICATED)).to_have_count(0)
    pointer.leave()

    # a file that is gone, though the browser still shows it
    gone = files["image"].with_name("gone.sdtrace")
    gone.write_bytes(files["record"].read_bytes())
    notebook.page.evaluate("() => jupyterapp.commands.execute('filebrowser:refresh')")
    pointer.take(browse("gone.sdtrace"))
    gone.unlink()
    pointer.over(cells.nth(1))
    pointer.drop()
    refused = notifications(notebook.page).filter(has_text="gone.sdtrace cannot be used")
    expect(refused).to_contain_text("The file is not there.")
    notebook.page.keyboard.press("Escape")

    # why there is no cell is said
    pointer.take(browse("broken.sdtrace"))
    pointer.over(cells.nth(1))
    pointer.drop()
    refused = notifications(notebook.page).filter(has_text="broken.sdtrace cannot be used")
    expect(refused).to_contain_text("It does not say how it was made.")
    notebook.page.keyboard.press("Escape")
    assert len(notebook.cells) == 3


def test_files_dragged_onto_a_studio_give_it_their_settings_or_the_start_image(
    open_notebook: Open, browse: Callable[[str], Locator], pointer: Pointer
) -> None:
    notebook = open_notebook(STUDIO)
    notebook.run()
    page, studio = notebook.page, notebook.find(".sdw-studio")
    field = studio.locator("textarea").first
    said = "[studio.prompt, studio.seed, studio.steps, studio.image is not None]"

    pointer.take(browse("words.txt"))
    pointer.over(field)  # JupyterLab opens it beside the notebook
    expect(studio).not_to_have_attribute("data-dropping", "")
    pointer.leave()

    pointer.take(browse("drawing.png"))
    pointer.over(field)
    expect(studio).to_have_attribute("data-dropping", "")
    pointer.drop()
    notebook.wait_until(said, ["a dog", 3, 4, True])
    expect(studio).not_to_have_attribute("data-dropping", "")

    pointer.take(browse("cat.sdtrace"))
    pointer.over(field)
    pointer.drop()
    notebook.wait_until(said, ["a cat left of a car", 7, 2, False])
    expect(field).to_have_value("a cat left of a car")
    expect(studio.locator(".sdw-start-said")).to_have_text("The settings of the file are loaded.")
    notebook.generate()
    made = "[*studio.trace.image.getdata()] == [*sdw.Trace.load('drags/{}').image.getdata()]"
    assert notebook.ask(made.format("cat.sdtrace"))

    pointer.take(browse("dog.sdtrace"))
    pointer.over(field)
    pointer.drop()
    notebook.wait_until(said, ["a red dog", 5, 4, True])
    assert notebook.ask("[studio.strength, studio.controls.start.problem]") == [0.5, ""]
    notebook.generate()
    assert notebook.ask(made.format("dog.sdtrace"))

    pointer.take(browse("cat.png"))
    pointer.over(field)
    pointer.drop()
    expect(studio.locator(".sdw-start-found")).to_contain_text("cat.png was made with: a cat left")

    pointer.take(browse("broken.sdtrace"))
    pointer.over(field)
    pointer.drop()
    refused = notifications(page).filter(has_text="broken.sdtrace cannot be used")
    expect(refused).to_contain_text("It does not say how it was made.")
    page.keyboard.press("Escape")
    assert notebook.ask("studio.prompt") == "a red dog"


GIVE = """async ([selector, name, base64, type, kinds]) => {
    const bytes = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name, {type}));
    const target = [...document.querySelectorAll(selector)].at(-1);
    const {left, top, width, height} = target.getBoundingClientRect();
    const at = {clientX: left + width / 2, clientY: top + height / 2};
    return kinds.map(kind => {
        dataTransfer.dropEffect = 'none';
        const event = new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer, ...at});
        return !target.dispatchEvent(event);
    });
}"""


def from_desktop(page: Page, selector: str, name: str, data: bytes, *kinds: str) -> list[bool]:
    """Drag a file there as from the desktop; return for each event whether it was taken."""
    type = "image/png" if name.endswith(".png") else ""
    text = base64.b64encode(data).decode()
    return page.evaluate(GIVE, [selector, name, text, type, list(kinds)])


def test_files_of_the_desktop_are_taken_by_notebooks_and_studios(
    open_notebook: Open, files: dict[str, Path]
) -> None:
    notebook = open_notebook("1 + 1", STUDIO)
    notebook.run()
    page = notebook.page
    record, image = files["record"].read_bytes(), files["image"].read_bytes()
    last = f"{SHOWN} .jp-Cell:nth-child(2) .jp-InputArea-prompt"
    over = ("dragenter", "dragover")
    assert from_desktop(page, last, "cat.sdtrace", record, *over) == [True, True]
    expect(page.locator(INDICATED)).to_have_count(1)
    assert from_desktop(page, last, "cat.sdtrace", record, "dragleave") == [False]
    expect(page.locator(INDICATED)).to_have_count(0)
    assert from_desktop(page, last, "cat.sdtrace", record, *over, "drop") == [True] * 3
    made = wait_for_cells(notebook, 3)[1]
    assert made.startswith('# Makes the run of "cat.sdtrace" again.') and "seed=7" in made
    expect(page.locator(INDICATED)).to_have_count(0)
    first = f"{SHOWN} .jp-Cell:nth-child(1) .jp-InputArea-prompt"
    assert from_desktop(page, first, "cat.png", image, *over, "drop") == [True] * 3
    assert "seed=7" in wait_for_cells(notebook, 4)[0]

    # the image of a record is not in a file of the desktop that the kernel could open
    begun = files["begun"].read_bytes()
    from_desktop(page, first, "dog.sdtrace", begun, *over, "drop")
    assert "image = ...  # " in wait_for_cells(notebook, 5)[0]

    drawing = (files["image"].parent / "drawing.png").read_bytes()
    assert from_desktop(page, first, "drawing.png", drawing, *over, "drop") == [True] * 3
    refused = notifications(page).filter(has_text="drawing.png cannot be used")
    expect(refused).to_contain_text("It does not say how it was made.")
    page.keyboard.press("Escape")
    assert len(notebook.cells) == 5

    field = f"{SHOWN} .sdw-studio textarea"
    from_desktop(page, field, "dog.sdtrace", begun, *over, "drop")
    notebook.wait_until("[studio.prompt, studio.image is not None]", ["a red dog", True])
    from_desktop(page, field, "cat.sdtrace", b"\x05no record", *over, "drop")
    expect(notebook.find(".sdw-start .sdw-error")).to_contain_text("cat.sdtrace is no recorded run")


def test_the_same_with_the_keyboard_alone(
    open_notebook: Open, browse: Callable[[str], Locator]
) -> None:
    notebook = open_notebook("1 + 1", STUDIO)
    notebook.run()
    page = notebook.page
    item = browse("cat.sdtrace")
    item.click()
    item.click(button="right")
    menu = page.locator(".lm-Menu-content")
    expect(menu.get_by_text("Insert the Cell That Makes It Again")).to_be_visible()
    expect(menu.get_by_text("Use in the Studio")).to_be_visible()
    page.keyboard.press("Escape")

    def choose(words: str) -> None:
        page.evaluate("() => { jupyterapp.commands.execute('apputils:activate-command-palette'); }")
        field = page.locator(".jp-ModalCommandPalette input")
        field.fill(words)
        expect(page.locator(".lm-CommandPalette-item").first).to_contain_text(words)
        page.keyboard.press("Enter")

    choose("Use in the Studio")
    notebook.wait_until("studio.seed", 7)
    choose("Insert the Cell That Makes It Again")
    assert any("seed=7" in source for source in wait_for_cells(notebook, 3))

    # where there is nothing to do, the commands say so
    browse("words.txt").click()
    enabled = "name => jupyterapp.commands.isEnabled(name)"
    assert not page.evaluate(enabled, "sdwidgets:insert-cell")
    assert not page.evaluate(enabled, "sdwidgets:give-to-studio")


def test_cells_are_dragged_as_before(open_notebook: Open, pointer: Pointer) -> None:
    notebook = open_notebook("1", "2", "3")
    cells = cells_of(notebook)
    cells.nth(2).click()
    pointer.take(cells.nth(2).locator(".jp-InputArea-prompt"))
    pointer.over(cells.nth(0), "copy")
    pointer.drop()
    until(lambda: sources(notebook), ["3", "1", "2"], notebook.page)


def test_an_image_of_the_side_panel_is_dragged_into_a_notebook_and_onto_a_studio(
    open_notebook: Open, pointer: Pointer
) -> None:
    notebook = open_notebook("1 + 1", STUDIO, "studio.prompt = 'a car'\nstudio.generate()")
    notebook.run()
    page = notebook.page
    notebook.wait_for_state("done")
    notebook.ask("[setattr(studio, 'prompt', 'a dog'), setattr(studio, 'seed', 9)]")
    page.evaluate("() => jupyterapp.shell.activateById(window.panel.id)")
    page.evaluate("() => jupyterapp.commands.execute('sdwidgets:toggle-panel')")
    image = page.locator(".sdw-side-images .sdw-thumb").first
    expect(image).to_be_visible()

    pointer.take(image)
    pointer.over(cells_of(notebook).first, "copy")
    expect(page.locator(INDICATED)).to_have_count(1)
    pointer.drop()
    made = wait_for_cells(notebook, 4)[0]
    assert 'model.generate("a car", seed=3, steps=4, width=64, height=64)' in made

    field = notebook.find(".sdw-studio textarea")
    pointer.take(image)
    pointer.over(field, "copy")
    expect(notebook.find(".sdw-studio")).to_have_attribute("data-dropping", "")
    pointer.drop()
    notebook.wait_until("[studio.prompt, studio.seed]", ["a car", 3])
    page.evaluate("() => jupyterapp.commands.execute('sdwidgets:toggle-panel')")


def test_the_oldest_jupyterlab_takes_them_too(
    load_notebook: Callable[..., Notebook], lab_oldest: Server
) -> None:
    write_files(lab_oldest.root / "drags")
    notebook = load_notebook("1 + 1", "2 + 2", server=lab_oldest)
    page, pointer = notebook.page, Pointer(notebook.page)
    page.evaluate(
        """async () => {
            await jupyterapp.commands.execute('filebrowser:open-path', {path: 'drags'});
            await jupyterapp.commands.execute('filebrowser:activate');
        }"""
    )
    items = page.locator(".jp-DirListing-item")
    pointer.take(items.filter(has_text="dog.sdtrace"))
    pointer.over(cells_of(notebook).nth(1))
    expect(page.locator(INDICATED)).to_have_count(1)
    pointer.drop()
    assert 'sdw.Trace.load("drags/dog.sdtrace")' in wait_for_cells(notebook, 3)[1]
    items.filter(has_text="cat.png").click(button="right")
    page.get_by_role("menu").get_by_text("Insert the Cell That Makes It Again").click()
    assert '# Makes the run of "cat.png" again.' in wait_for_cells(notebook, 4)[2]


def test_notebook_7_takes_files_of_the_desktop(
    load_notebook: Callable[..., Notebook], notebook_7: Server, files: dict[str, Path]
) -> None:
    notebook = load_notebook("1 + 1", server=notebook_7)
    record = files["record"].read_bytes()
    taken = from_desktop(
        notebook.page, ".jp-Cell", "cat.sdtrace", record, "dragenter", "dragover", "drop"
    )
    assert taken == [True] * 3
    assert "seed=7" in wait_for_cells(notebook, 2)[0]


def test_markdown_keeps_the_images_that_are_dropped_on_it(
    open_notebook: Open, browse: Callable[[str], Locator], pointer: Pointer
) -> None:
    notebook = open_notebook("1 + 1")
    page = notebook.page
    run = "name => jupyterapp.commands.execute(name)"
    page.evaluate("() => jupyterapp.shell.activateById(window.panel.id)")
    for name in ("change-cell-to-markdown", "enter-edit-mode"):
        page.evaluate(run, f"notebook:{name}")
    editor = page.locator(f"{SHOWN} .jp-MarkdownCell .cm-content")
    pointer.take(browse("cat.png"))
    pointer.over(editor)
    expect(page.locator(INDICATED)).to_have_count(0)
    pointer.drop()
    until(lambda: "attachment:" in sources(notebook)[0], True, page)
    assert len(notebook.cells) == 1
    pointer.take(browse("cat.sdtrace"))
    pointer.over(editor)
    pointer.drop()
    assert "seed=7" in wait_for_cells(notebook, 2)[0]
