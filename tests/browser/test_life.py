"""Widgets whose kernel ends, or that were closed, in JupyterLab and Notebook 7."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import expect
from real_jupyter import Notebook, Server

pytestmark = pytest.mark.browser

Open = Callable[..., Notebook]

LOST = "The kernel has ended: run the cell again."

# A Studio, a viewer and a training, each in the middle of its work.
GOING_ON = (
    """
import threading, time
from types import SimpleNamespace
import sdwidgets as sdw
from sdwidgets.manager import ModelManager

held = threading.Event()

def hold(module, inputs, output):
    if hold.count >= 4:
        held.wait()
    hold.count += 1

hold.count = 0

def load(name, **options):
    model = sdw.load(name, **options)
    model.unet.register_forward_hook(hold)
    return model

studio = sdw.Studio(manager=ModelManager(load=load), prompt="a cat", seed=7, steps=8)
studio
""",
    "viewer = sdw.Viewer()\nviewer",
    "training = sdw.TrainingView()\ntraining",
    "lab = sdw.Lab()\nlab",
    """
lab.wait()
steps = iter(viewer.watch(sdw.load().sample("a cat", seed=7, steps=8)))
next(steps), next(steps)
steps_of_training = (
    SimpleNamespace(index=i, total=9, loss=1.0, lr=0.1, seconds=0.1, metrics={}) for i in range(9)
)
training_steps = iter(training.watch(steps_of_training))
next(training_steps), next(training_steps)
studio.generate()
None
""",
)
ROOTS = (".sdw-studio", ".sdw-viewer", ".sdw-training", ".sdw-lab")


def in_the_middle(load_notebook: Open, server: Server) -> Notebook:
    notebook = load_notebook(*GOING_ON, server=server)
    notebook.run()
    for root in ROOTS[:3]:
        expect(notebook.find(root)).to_have_attribute("data-state", "running")
    notebook.wait_for_frames(1)
    expect(notebook.find(".sdw-lab")).to_have_attribute("data-state", "idle")
    return notebook


def of_the_kit(problems: list[str]) -> list[str]:
    """Leave out what Notebook 7 itself raises when it loads settings; modules of ours are blobs."""
    return [one for one in problems if "blob:" in one or "/static/notebook/" not in one]


def says_that_it_is_lost(notebook: Notebook) -> None:
    """Check that nothing claims to go on, and that the last images are there."""
    expect(notebook.find(".sdw-studio")).to_have_attribute("data-state", "stopped")
    expect(notebook.find(".sdw-studio .sdw-status")).to_have_text(LOST)
    expect(notebook.find(".sdw-viewer")).to_have_attribute("data-state", "stopped")
    expect(notebook.find(".sdw-viewer .sdw-v-status")).to_have_text(LOST)
    expect(notebook.find(".sdw-training")).to_have_attribute("data-state", "stopped")
    expect(notebook.find(".sdw-t-status")).to_have_text(LOST)
    for button in (".sdw-generate", ".sdw-stop", ".sdw-t-pause", ".sdw-t-stop"):
        expect(notebook.find(button)).to_have_attribute("aria-disabled", "true")
    for root in (".sdw-studio .sdw-picture", ".sdw-viewer"):
        assert int(notebook.find(root).get_attribute("data-frames") or 0) >= 1
        expect(notebook.find(f"{root} .sdw-v-latents")).to_be_visible()
    broken = """() => [...document.querySelectorAll('.jupyter-widgets-disconnected')]
        .filter(e => getComputedStyle(e, '::before').display !== 'none'
            && !['none', '""'].includes(getComputedStyle(e, '::before').content)
            && e.closest('.sdw') && e.checkVisibility()).length"""
    dice = "() => getComputedStyle(document.querySelector('.sdw-dice'), '::before').display"
    notebook.page.wait_for_function(f"() => ({dice})() === 'block'")  # its icon is no broken link
    notebook.page.wait_for_function(f"() => ({broken})() === 0")  # each view brings its own style

    # the lab keeps its results, whatever is clicked
    lab = notebook.page.locator(".sdw-lab").first
    count = lab.locator(".sdw-lab-cell[data-name]").count()
    lab.locator(".sdw-lab-chip[aria-pressed=false]").first.click()
    lab.locator(".sdw-lab-sample").nth(1).click()
    expect(lab.locator(".sdw-lab-status")).to_have_text(LOST)
    expect(lab.locator(".sdw-lab-cell[data-name] img")).not_to_have_count(0)
    assert lab.locator(".sdw-lab-cell[data-name]").count() == count >= 2


def test_a_restart_in_the_middle_is_said(load_notebook: Open, server: Server) -> None:
    notebook = in_the_middle(load_notebook, server)
    notebook.page.evaluate("() => panel.sessionContext.session.kernel.restart()")
    says_that_it_is_lost(notebook)
    notebook.run()  # and run again, all is well
    for root in ROOTS[:3]:
        expect(notebook.find(root)).to_have_attribute("data-state", "running")
    assert of_the_kit(notebook.problems) == []


def test_saved_in_the_middle_and_reopened_without_a_kernel(
    load_notebook: Open, server: Server
) -> None:
    notebook = in_the_middle(load_notebook, server)
    notebook.save()
    notebook.shut_down()
    notebook.load()
    expect(notebook.find(".sdw-lab")).to_be_visible()
    says_that_it_is_lost(notebook)
    assert of_the_kit(notebook.problems) == []


CLOSED = (
    """
import ipywidgets
import sdwidgets as sdw
trace = sdw.load().generate("a cat", steps=2, seed=1, attention=True)
first, second = sdw.Viewer(trace), sdw.Viewer(trace)
links = sdw.link(first, second)
studio = sdw.Studio(prompt="a cat")
tabs = ipywidgets.Tab([first, studio, second])
box = ipywidgets.VBox([ipywidgets.Label("a label"), tabs])
box
""",
    "replaced = sdw.PictureView().show(trace)\nreplaced",
    "other = ipywidgets.VBox([replaced, ipywidgets.Label('beside it')])\nother",
)


def test_what_held_a_closed_widget_is_saved_and_shown_again(load_notebook: Open) -> None:
    notebook = load_notebook(*CLOSED)
    notebook.run()
    expect(notebook.find(".sdw-viewer")).to_be_visible()
    notebook.page.evaluate("""() => {
        panel.content.activeCellIndex = 1;
        return jupyterapp.commands.execute('notebook:run-cell');
    }""")
    assert notebook.ask("(first.close(), studio.close(), len(tabs.children))[2]") == 1
    assert notebook.ask("len(other.children)") == 1
    expect(notebook.page.locator(".jupyter-widgets .lm-TabBar-tab")).to_have_count(1)
    expect(notebook.page.locator(".sdw-studio")).to_have_count(0)
    notebook.save()
    state = json.loads(notebook.file.read_text())["metadata"]["widgets"]
    models = state["application/vnd.jupyter.widget-state+json"]["state"]
    mentioned = {
        word.removeprefix("IPY_MODEL_")
        for model in models.values()
        for word in json.dumps(model["state"]).replace('"', " ").split()
        if word.startswith("IPY_MODEL_")
    }
    assert mentioned <= models.keys()
    notebook.load()
    expect(notebook.page.get_by_text("a label", exact=True)).to_be_visible()
    expect(notebook.page.get_by_text("beside it", exact=True)).to_be_visible()
    expect(notebook.page.locator(".sdw-viewer")).to_have_count(1)
    assert notebook.problems == []
