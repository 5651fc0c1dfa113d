"""A sweep in JupyterLab: it fills, is steered, looked into and compared, and is there later."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from axe import violations
from playwright.sync_api import Locator, expect
from real_jupyter import Notebook, keep_screenshot, until, use_theme

pytestmark = pytest.mark.browser

Open = Callable[..., Notebook]
SOON = 15_000  # ms

SWEEP = """
import sdwidgets as sdw

def brightness(trace):
    return sum(trace.image.convert("L").tobytes()) / (trace.image.width * trace.image.height)

sweep = sdw.Sweep(
    prompt="a {cat|dog|car} on a {blue|green} background",
    seed=[7, 8],
    steps=6,
    scores={"brightness": brightness},
)
sweep
"""


def shown(notebook: Notebook) -> Locator:
    return notebook.page.locator(".sdw-sweep").first


def cell(view: Locator, point: int) -> Locator:
    return view.locator(f'.sdw-s-cell[data-point="{point}"]')


def test_a_sweep_fills_is_looked_into_and_compared(load_notebook: Open) -> None:
    notebook = load_notebook(SWEEP, "studio = sdw.Studio()\nstudio")
    notebook.run()  # the last line of a cell starts it, and the cell returns
    view = shown(notebook)
    expect(view.locator(".sdw-s-cell")).to_have_count(6, timeout=SOON)
    expect(view).to_have_attribute("data-state", "done")
    expect(view.locator(".sdw-s-counts")).to_have_text("12 of 12 images")
    expect(view.locator('[data-image="own"]')).to_have_count(6, timeout=SOON)
    assert notebook.ask("[r.index for r in sweep]") == list(range(12))

    # the keyboard alone
    cell(view, 0).focus()
    notebook.page.keyboard.press("ArrowRight")
    notebook.page.keyboard.press("ArrowDown")
    notebook.page.keyboard.press("Enter")
    detail = view.locator(".sdw-s-detail")
    expect(detail).to_have_attribute("data-whole", "true", timeout=SOON)
    expect(detail.locator(".sdw-s-title")).to_have_text("dog, green, seed 7")
    expect(detail.locator(".sdw-s-about")).to_contain_text("a dog on a green background")
    notebook.page.keyboard.press("PageDown")
    expect(cell(view, 10)).to_be_focused()
    assert len(notebook.cells) == 2  # no key reached the notebook

    detail.get_by_text("Use in the Studio").click()
    expect(view.locator(".sdw-s-status")).to_contain_text("Studio", timeout=SOON)
    assert notebook.ask("[studio.prompt, studio.seed]") == ["a dog on a green background", 7]

    # two side by side
    cell(view, 6).click(modifiers=["Shift"])
    pair = view.locator(".sdw-s-pair")
    expect(pair).to_have_attribute("data-found", "true", timeout=SOON)
    expect(pair.locator(".sdw-s-note")).to_contain_text("grey is equal")
    notebook.page.keyboard.press("Escape")
    expect(pair).to_be_hidden()

    # scores and sizes
    view.get_by_label("Score").select_option("brightness")
    view.get_by_text("Sort", exact=True).click()
    order = view.locator(".sdw-s-cell").evaluate_all("all => all.map(one => one.dataset.point)")
    expected = "sorted(range(12), key=lambda i: -sweep.results[i].scores['brightness'])"
    assert [int(point) for point in order] == notebook.ask(expected)
    view.get_by_text("Sort", exact=True).click()

    with notebook.page.expect_download() as download:
        view.get_by_text("Save CSV", exact=True).click()
    assert download.value.suggested_filename == "sweep.csv"
    assert notebook.problems == []
    for theme in themes(notebook):
        where = ("sweep", "docs") if theme == "Light" else ("sweep-dark", "out")
        keep_screenshot(view, *where)


SLOW = """
import sdwidgets as sdw

model = sdw.load()
calls = 0

def fail(*_):
    global calls
    calls += 1
    if calls == 6:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

handle = model.unet.register_forward_pre_hook(fail)
sweep = sdw.Sweep(
    model,
    prompt=["a cat", "a dog left of a car on a blue background"],
    seed=range(60),
    steps=4,
    keep="trace",
)
sweep
"""


def test_a_sweep_is_paused_loaded_again_cancelled_and_seen_without_a_kernel(
    load_notebook: Open,
) -> None:
    notebook = load_notebook(SLOW)
    notebook.run()
    view = shown(notebook)
    expect(cell(view, 1)).to_have_attribute("data-state", "failed", timeout=SOON)
    expect(cell(view, 1)).to_contain_text("memory")
    box = "view => [...view.querySelectorAll('.sdw-s-cell')].slice(0, 4).map(one => "
    box += "[one.offsetLeft, one.offsetTop, one.offsetWidth, one.offsetHeight].join())"
    before = view.evaluate(box)
    keep_screenshot(view, "sweep-running", folder="out")
    view.get_by_text("Pause", exact=True).click()
    expect(view).to_have_attribute("data-state", "paused", timeout=SOON)
    assert view.evaluate(box) == before  # nothing moves while images come
    count = "sum(r.ok for r in sweep.results.values())"
    assert 1 <= notebook.ask(count) < 119

    notebook.save()
    notebook.load()  # the page, not the kernel
    view = shown(notebook)
    expect(view).to_have_attribute("data-state", "paused", timeout=SOON)
    made = view.locator('.sdw-s-cell[data-state="done"]')  # also the one that was being made
    until(lambda: made.count() == notebook.ask(count), True, notebook.page)
    done = notebook.ask(count)
    expect(cell(view, 0)).to_have_attribute("data-image", "own", timeout=SOON)
    view.get_by_text("Continue", exact=True).click()
    notebook.wait_until(f"{count} > {done}")
    view.get_by_text("Cancel", exact=True).click()
    expect(view).to_have_attribute("data-state", "stopped", timeout=SOON)
    cell(view, 0).click()
    cell(view, 2).click(modifiers=["Shift"])
    expect(notebook.page.locator(".sdw-compare").first).to_be_visible(timeout=SOON)
    view.get_by_role("button", name="Close").click()
    expect(notebook.page.locator(".sdw-compare")).to_have_count(0, timeout=SOON)

    found = [(theme, violations(view)) for theme in themes(notebook)]
    assert found == [("Light", []), ("Dark", [])]
    notebook.page.set_viewport_size({"width": 700, "height": 900})
    keep_screenshot(view, "sweep-narrow", folder="out")
    assert view.evaluate("one => one.scrollWidth <= one.clientWidth")  # no wider than its cell

    notebook.save()
    notebook.shut_down()
    notebook.load()
    view = shown(notebook)
    expect(view.locator(".sdw-s-cell")).to_have_count(120, timeout=SOON)
    notebook.shut_down()
    expect(view.locator('[data-image="saved"]').first).to_be_visible(timeout=SOON)
    cell(view, 0).click()
    expect(view.locator(".sdw-s-about")).to_contain_text("steps")
    keep_screenshot(view, "sweep-saved", folder="out")
    assert notebook.problems == []


def themes(notebook: Notebook) -> Iterator[str]:
    for theme in ("Light", "Dark"):
        use_theme(notebook.page, theme)
        yield theme
