"""What axe-core finds in every widget and in an exported page: nothing.

All widgets are in one notebook, which is looked at in light and dark, at 1280 x 720 and at the same
screen zoomed to 150 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe import violations
from playwright.sync_api import Browser, Locator, Page, expect
from real_jupyter import Notebook, Server, use_theme, write_notebook
from sight import faint_rings, lost_in_forced_colours

pytestmark = pytest.mark.browser

SCREENS = {
    "100 %": {"width": 1280, "height": 720, "deviceScaleFactor": 1},
    "150 %": {"width": 853, "height": 480, "deviceScaleFactor": 1.5},
}
THEMES = ("Light", "Dark")

RUNS = """
from contextlib import suppress

import sdwidgets as sdw
from sdwidgets import training

model = sdw.load()
prompt = "a cat left of a car on a blue background"
trace = model.generate(prompt, steps=8, seed=7, attention=True)
plain = model.generate("a dog left of a car on a blue background", steps=8, seed=7)
long = model.generate("a hippopotamus " * 30 + "penguin", seed=7, steps=2)
trace.export_html("page.html")

def studio(**settings):
    made = sdw.Studio(prompt=prompt, seed=7, steps=8, **settings)
    made.generate()
    made.wait()
    return made

def refused():
    made = sdw.Studio(prompt=prompt, width=33)
    with suppress(sdw.InputError):
        made.generate()
    return made

def forming():
    view = sdw.PictureView()
    for step in view.watch(model.sample(prompt, steps=4, seed=7)):
        pass
    return view

def lab(panel, **settings):
    made = sdw.Lab(autoencoders=["KL-f8", "VQ-f8"], **settings)
    made.panel = panel
    made.wait()
    return made

def learning():
    arrays = training.Arrays([trace.image.resize((64, 64))] * 8, captions=["a cat"] * 8)
    task = training.diffusion(arrays, autoencoder="emoji", prompts=["a cat", "a car"])
    view = sdw.TrainingView()
    plan = training.Plan(steps=4, batch_size=2)
    view.start(training.train(task, plan), pictures=lambda: task.samples(2), every=2)
    view.wait()
    return view
"""

WIDGETS = {
    "Studio, idle": "sdw.Studio(prompt=prompt)",
    "Studio, a result": "studio()",
    "Studio, inside": "studio(inside=True)",
    "Studio, an error": "refused()",
    "Studio, a start image": "studio(image=trace.image.resize((200, 100)))",
    "PictureView": "forming()",
    "Viewer": "sdw.Viewer(trace, word='cat')",
    "Viewer, no attention": "sdw.Viewer(plain)",
    "Denoising": "sdw.Denoising(trace)",
    "Attention": "sdw.Attention(trace, word='cat', other='car')",
    "Tokens": "sdw.Tokens(long)",
    "Compare": "sdw.Compare(trace, trace, word='cat')",
    "Compare, no attention": "sdw.Compare(trace, plain)",
    "Lab, latents": "lab('latents')",
    "Lab, play": "lab('play')",
    "Lab, between": "lab('between')",
    "Lab, noise": "lab('noise')",
    "TrainingView, idle": "sdw.TrainingView()",
    "TrainingView": "learning()",
}

Found = dict[str, list[str]]


@pytest.fixture(scope="module")
def notebook(lab: Server, browser: Browser) -> Iterator[Notebook]:
    """A notebook with every widget, each in a cell of its own, and more of it opened."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    name = write_notebook(lab.root, "accessibility", RUNS, *WIDGETS.values())
    notebook = Notebook(context.new_page(), lab, name)
    notebook.load()
    notebook.run()
    for name in WIDGETS:
        expect(widget(notebook, name)).to_be_visible()
    widget(notebook, "Studio, a result").locator(".sdw-more").click()
    widget(notebook, "Studio, a start image").locator(".sdw-words-more").click()
    yield notebook
    assert notebook.problems == []
    context.close()


def widget(notebook: Notebook, name: str) -> Locator:
    cell = 1 + list(WIDGETS).index(name)
    return notebook.page.locator(".jp-Notebook .jp-Cell").nth(cell).locator(".sdw").first


def themes(page: Page) -> Iterator[str]:
    """Make the page light and dark; yield the name of each theme."""
    for theme in THEMES:
        use_theme(page, theme)
        yield theme


def looks(page: Page) -> Iterator[str]:
    """Make the page light and dark, on each of the screens; yield the name of each look."""
    session = page.context.new_cdp_session(page)
    for theme in themes(page):
        for screen, metrics in SCREENS.items():
            session.send("Emulation.setDeviceMetricsOverride", metrics | {"mobile": False})
            page.wait_for_function("width => window.innerWidth === width", arg=metrics["width"])
            yield f"{theme}, {screen}"
    session.detach()


@pytest.fixture(scope="module")
def found(notebook: Notebook) -> Found:
    """What axe says of each widget, in every look: each rule and element once."""
    notes: dict[str, dict[str, list[str]]] = {name: {} for name in WIDGETS}
    for look in looks(notebook.page):
        for name, seen in notes.items():
            for line in violations(widget(notebook, name)):
                seen.setdefault(line, []).append(look)
    return {
        name: [f"{line} [{'; '.join(where)}]" for line, where in seen.items()]
        for name, seen in notes.items()
    }


@pytest.mark.parametrize("name", WIDGETS)
def test_axe_finds_nothing(name: str, found: Found) -> None:
    assert found[name] == [], "\n".join(found[name])


def test_the_focus_can_be_seen_in_both_themes(notebook: Notebook) -> None:
    faint = [
        f"{name}, {theme}: {line}"
        for theme in themes(notebook.page)
        for name in WIDGETS
        for line in faint_rings(widget(notebook, name))
    ]
    assert faint == [], "\n".join(faint)


def test_nothing_vanishes_in_forced_colours(notebook: Notebook) -> None:
    lost = [
        f"{name}: {line}"
        for name in WIDGETS
        for line in lost_in_forced_colours(widget(notebook, name))
    ]
    assert lost == [], "\n".join(lost)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_an_exported_page(
    scheme: str, notebook: Notebook, browser: Browser
) -> None:
    path = Path(notebook.file.parent, "page.html")
    for metrics in SCREENS.values():
        context = browser.new_context(
            viewport={"width": metrics["width"], "height": metrics["height"]},
            device_scale_factor=metrics["deviceScaleFactor"],
            color_scheme=scheme,  # type: ignore[arg-type]
            offline=True,
        )
        page = context.new_page()
        page.goto(path.as_uri())
        expect(page.locator("main#sdw .sdw-viewer")).to_have_attribute("data-frames", "8")
        found = violations(page.locator("html"))
        context.close()
        assert found == [], "\n".join(found)
