"""Keys pressed inside a widget never reach the notebook, whose keys delete cells."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect
from real_jupyter import Notebook, Server

pytestmark = pytest.mark.browser

Open = Callable[..., Notebook]

# One of each, all with something to show.
WIDGETS = (
    """
    import sdwidgets as sdw
    from types import SimpleNamespace
    traces = [sdw.load().generate("a cat", steps=2, seed=seed, attention=True) for seed in (1, 2)]
    studio = sdw.Studio(prompt="a cat", steps=2, inside=True)
    studio.generate()
    studio.controls.more.value = True
    studio.wait()
    training = sdw.TrainingView()
    one = SimpleNamespace(index=0, total=1, loss=1.0, lr=0.1, seconds=0.1, metrics={})
    training.start([one]).wait()
    """,
    "studio",
    "sdw.Viewer(traces[0])",
    "sdw.PictureView().show(traces[0])",
    "sdw.Compare(*traces)",
    "lab = sdw.Lab()\nlab",
    "training",
    "lab.wait()",
)
ROOTS = (".sdw-studio", ".sdw-viewer", ".sdw-compare", ".sdw-lab", ".sdw-training")

# Keys of the notebook: insert, delete, cut, undo, change the type, move, edit.
PLAIN = ["b", "a", "d", "d", "x", "z", "m", "y", "ArrowDown", "ArrowUp", "Enter", "Escape"]

# Presses them on all that takes the focus; says how much that is, and where the notebook moved.
PRESS = """([root, keys]) => {
    const codes = {ArrowUp: 38, ArrowDown: 40, Enter: 13, Escape: 27};
    const press = (element, key) => element.dispatchEvent(new KeyboardEvent("keydown", {
        key, keyCode: codes[key] ?? key.toUpperCase().charCodeAt(0),
        bubbles: true, cancelable: true,
    }));
    const place = () => `${panel.content.activeCellIndex} ${panel.content.mode}`;
    const all = [...document.querySelectorAll(root)].flatMap((each) => [
        ...each.querySelectorAll("button, input, select, textarea, summary, [tabindex], a[href]"),
    ]).filter((each) => each.checkVisibility() && !each.disabled);
    const moved = [];
    for (const element of all) {
        if (!element.isConnected) continue; // an earlier key has redrawn its part
        element.focus();
        const before = place();
        for (const key of keys) press(element, key);
        if (place() !== before) moved.push(element.outerHTML.slice(0, 200));
    }
    return [all.length, moved];
}"""


def test_keys_in_a_widget_never_reach_the_notebook(load_notebook: Open, server: Server) -> None:
    notebook = load_notebook(*map(_dedented, WIDGETS), server=server)
    notebook.run()
    notebook.wait_for_state("done")
    before = sources(notebook)
    for root in ROOTS:
        expect(notebook.find(root)).to_be_visible()
        count, moved = notebook.page.evaluate(PRESS, [root, PLAIN])
        assert count >= 2
        assert moved == []
        assert sources(notebook) == before, root

    # real keys, where people press them
    for place in (".sdw-dice", ".sdw-steps input", ".sdw-v-slider", ".sdw-thumb", ".sdw-lab-chip"):
        notebook.find(place).focus()
        for key in ("b", "d", "d", "a", "ArrowDown"):
            notebook.page.keyboard.press(key)
        assert sources(notebook) == before, place

    # Ctrl-Enter is the Studio's: the cell around it must not run, since that would replace it
    count = notebook.cells[1]["execution_count"]
    notebook.find(".sdw-prompt textarea").focus()
    notebook.generate(lambda: notebook.page.keyboard.press("Control+Enter"))
    assert notebook.cells[1]["execution_count"] == count
    assert notebook.ask("studio.comm is not None")

    # Shift-Enter is the notebook's, as are its keys outside of widgets
    notebook.find(".sdw-t-stop").focus()
    notebook.page.keyboard.press("Shift+Enter")
    notebook.page.wait_for_function("() => panel.content.activeCellIndex === 7")
    notebook.page.keyboard.press("b")
    assert len(sources(notebook)) == len(before) + 1


def sources(notebook: Notebook) -> list[str]:
    return [cell["source"] for cell in notebook.cells]


def _dedented(cell: str) -> str:
    return "\n".join(line.strip() for line in cell.strip().splitlines())
