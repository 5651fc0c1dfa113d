"""The tree of one starting noise in JupyterLab: grown, edited, compared, pruned, saved."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from axe import violations
from playwright.sync_api import Locator, expect
from real_jupyter import WAIT, Notebook, Server, keep_screenshot, use_theme
from sight import faint_rings, lost_in_forced_colours

from sdwidgets.trace import Tree

pytestmark = pytest.mark.browser

MADE = """import sdwidgets as sdw

model = sdw.load()
trace = model.generate("a cat left of a car on a blue background", seed=7, steps=12)
branches = sdw.Branches(trace)
branches"""
SOON = 20_000


@pytest.fixture(autouse=True)
def _not_for_long() -> Iterator[None]:
    """Expectations of this module fail soon: a run here takes a second."""
    expect.set_options(timeout=SOON)
    yield
    expect.set_options(timeout=WAIT * 1000)


@pytest.fixture
def notebook(open_notebook: Callable[..., Notebook]) -> Notebook:
    notebook = open_notebook(MADE)
    notebook.run()
    expect(rows(notebook)).to_have_count(1)
    return notebook


def rows(notebook: Notebook) -> Locator:
    return notebook.page.locator(".sdw-b-row:visible")


def row(notebook: Notebook, number: int) -> Locator:
    return notebook.page.locator(f".sdw-b-row[data-id='{number}']")


def button(notebook: Notebook, name: str) -> Locator:
    return notebook.find(".sdw-branches").get_by_role("button", name=name, exact=True)


def field(notebook: Notebook, label: str) -> Locator:
    return notebook.find(".sdw-branches").get_by_label(label, exact=True)


def grow(notebook: Notebook, count: int) -> None:
    button(notebook, "Grow").click()
    expect(rows(notebook)).to_have_count(count)
    expect(notebook.page.locator(".sdw-b-row[data-forming]")).to_have_count(0)
    expect(notebook.page.locator(".sdw-b-stage[data-going]")).to_have_count(0)


def test_a_tree_is_grown_by_hand(notebook: Notebook, lab: Server) -> None:
    page = notebook.page
    root = row(notebook, 0)
    expect(root).to_have_attribute("aria-selected", "true")
    expect(notebook.find(".sdw-b-cost")).to_have_text("Choose a step below.")

    # a step is chosen, something is changed, the cost is there before it is paid
    root.locator(".sdw-b-stop[data-step='7']").click()
    expect(notebook.find(".sdw-b-cost")).to_have_text("5 steps of 12")
    expect(field(notebook, "Before step")).to_have_value("7")
    field(notebook, "Guidance").fill("9")
    grow(notebook, 2)
    first = row(notebook, 1)
    expect(first).to_have_attribute("aria-selected", "true")
    expect(first).to_have_attribute("aria-level", "2")
    expect(first).to_contain_text("guidance 9")
    expect(first).to_contain_text("5 steps")
    assert notebook.ask("(branches.tree[1].step, branches.tree[1].cost)") == [7, 5]

    # it begins under the step at which it leaves its parent
    cell = root.locator(".sdw-b-stop[data-step='7']").bounding_box()
    own = first.locator(".sdw-b-stop").first.bounding_box()
    assert cell is not None and own is not None
    assert first.locator(".sdw-b-stop").count() == 5 and abs(own["x"] - cell["x"]) < 2

    # the cost of another grid is the kernel's to say
    root.locator(".sdw-b-stop[data-step='5']").click()
    notebook.find(".sdw-b-more summary").click()
    field(notebook, "Steps of the whole").fill("24")
    wanted = notebook.ask("branches.tree[0].trace.branching(5, steps=24).cost()")
    expect(notebook.find(".sdw-b-cost")).to_have_text(f"{wanted} steps")
    field(notebook, "Steps of the whole").fill("12")
    expect(notebook.find(".sdw-b-cost")).to_have_text("7 steps of 12")
    field(notebook, "Words").fill("a dog left of a car on a blue background")
    grow(notebook, 3)
    expect(row(notebook, 2)).to_contain_text("cat → dog")

    # what is refused is said at its field, and nothing else changes
    row(notebook, 1).locator(".sdw-b-stop").nth(2).click()
    field(notebook, "Guidance").fill("1000")
    button(notebook, "Grow").click()
    expect(notebook.find(".sdw-branches .sdw-error")).to_contain_text("guidance_scale")
    expect(field(notebook, "Guidance")).to_have_attribute("aria-invalid", "true")
    expect(rows(notebook)).to_have_count(3)

    # words are edited: one is replaced, another is weighed
    row(notebook, 0).locator(".sdw-b-end").click()
    button(notebook, "Edit words").click()
    expect(notebook.find(".sdw-b-cost")).to_have_text("12 steps of two images")
    notebook.page.locator(".sdw-b-word").filter(has_text=re.compile("^cat$")).click()
    notebook.find("input[placeholder='instead of cat']").fill("frog")
    button(notebook, "Replace").click()
    expect(rows(notebook)).to_have_count(4)
    expect(row(notebook, 3)).to_contain_text("cat → frog")
    expect(notebook.find(".sdw-b-why")).to_contain_text("a run of its own")
    row(notebook, 0).locator(".sdw-b-end").click()
    notebook.find(".sdw-b-form input[type=range]").fill("2")
    expect(row(notebook, 4)).to_contain_text("draft")
    notebook.find(".sdw-b-form input[type=range]").fill("0.5")
    expect(row(notebook, 4)).to_contain_text("× 0.5")
    expect(rows(notebook)).to_have_count(5)
    button(notebook, "Keep").click()
    expect(row(notebook, 4)).not_to_contain_text("draft")

    # differences, and two runs side by side
    button(notebook, "Difference").click()
    expect(notebook.find(".sdw-b-caption")).to_contain_text("Difference to the parent")
    expect(notebook.find(".sdw-b-image")).to_have_attribute("src", re.compile("^blob:"))
    button(notebook, "Image").click()
    button(notebook, "Compare…").click()
    row(notebook, 1).click()
    expect(notebook.find(".sdw-compare")).to_be_visible()
    notebook.ask("branches.end_comparison()")
    expect(notebook.page.locator(".sdw-compare")).to_have_count(0)

    # named, pruned, brought back
    row(notebook, 2).locator(".sdw-b-end").click()
    field(notebook, "Name of this run").fill("the dog")
    field(notebook, "Name of this run").press("Tab")
    expect(row(notebook, 2)).to_contain_text("the dog")
    button(notebook, "Prune").click()
    expect(rows(notebook)).to_have_count(4)
    button(notebook, "Undo").click()
    expect(rows(notebook)).to_have_count(5)

    # one file
    with page.expect_download() as found:
        button(notebook, "Save").click()
    path = lab.root / "kept.sdtree"
    found.value.save_as(path)
    tree = Tree.load(path)
    assert [node.name for node in tree].count("the dog") == 1 and len(tree) == 5
    row(notebook, 1).locator(".sdw-b-end").click()
    button(notebook, "Prune").click()
    expect(rows(notebook)).to_have_count(4)
    notebook.find(".sdw-b-bar input[type=file]").set_input_files(path)
    expect(rows(notebook)).to_have_count(5)

    row(notebook, 0).locator(".sdw-b-stop[data-step='7']").click()
    button(notebook, "Branch").click()
    widget = notebook.find(".sdw-branches")
    for theme in ("Light", "Dark"):
        use_theme(page, theme)
        if theme == "Light":
            keep_screenshot(widget, "branches")
        assert violations(widget) == []
        assert faint_rings(widget) == []
        assert lost_in_forced_colours(widget) == []
    use_theme(page, "Light")


def test_by_keys_alone(notebook: Notebook) -> None:
    page = notebook.page
    row(notebook, 0).focus()
    for key in ("Home", "ArrowRight", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    notebook.wait_until("branches.map.at", 3)
    page.keyboard.press("Enter")
    expect(field(notebook, "Words")).to_be_focused()
    page.keyboard.press("Tab")
    expect(field(notebook, "Guidance")).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("6")
    page.keyboard.press("Control+Enter")
    expect(row(notebook, 1)).to_contain_text("guidance 6")
    expect(notebook.page.locator(".sdw-b-stage[data-going]")).to_have_count(0)
    row(notebook, 1).focus()
    page.keyboard.press("ArrowUp")
    notebook.wait_until("branches.map.selected", 0)
    expect(row(notebook, 0)).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(row(notebook, 1)).to_be_focused()
    page.keyboard.press("Delete")
    expect(rows(notebook)).to_have_count(1)
    assert len(notebook.cells) == 1  # the notebook took none of the keys


def test_a_saved_notebook_shows_the_tree(load_notebook: Callable[..., Notebook]) -> None:
    grown = "branches.grow(0, 6, guidance_scale=9.0)\nbranches.wait()\nbranches"
    notebook = load_notebook(MADE + "\n" + grown)
    notebook.run()
    expect(rows(notebook)).to_have_count(2)
    notebook.save()
    notebook.shut_down()
    notebook.page.reload()
    expect(rows(notebook)).to_have_count(2)
    row(notebook, 1).locator(".sdw-b-stop").first.click()
    expect(notebook.find(".sdw-b-caption")).to_contain_text("Step 7 of 12")
    notebook.page.set_viewport_size({"width": 620, "height": 900})
    expect(notebook.find(".sdw-b-map")).to_have_attribute("data-narrow", "")
