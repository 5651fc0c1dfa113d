"""A real training in JupyterLab: seen, paused, gone on with, stopped, and seen again later."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect
from real_jupyter import Notebook

pytestmark = pytest.mark.browser

Open = Callable[..., Notebook]

# A network that learns to paint one picture: from places to colours.
PAINTER = """
import time
import sdwidgets as sdw
import torch
from torch import nn
from sdwidgets.training.loop import Plan, train

class Painter:
    def __init__(self):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(2, 32), nn.SiLU(), nn.Linear(32, 3))
        self.average = None

    def loss(self, draw):
        time.sleep(0.01)
        places = draw.uniform(2)
        colours = torch.stack([places[:, 0], places[:, 1], places.amax(1)], dim=1)
        loss = (self.model(places) - colours).square().mean()
        return {"loss": loss, "blue": colours[:, 2].mean()}

    def picture(self):
        side = torch.linspace(0, 1, 24)
        places = torch.stack(torch.meshgrid(side, side, indexing="ij"), dim=-1)
        with torch.no_grad():
            return self.model(places).clamp(0, 1)[None]

plan = Plan(steps=100_000, batch_size=16)
task = Painter()
view = sdw.TrainingView()
view
"""

START = """
steps = train(task, plan)
view.start(steps, pictures=task.picture, every=20, samples_per_step=16)
"""


def kept_in(file: str) -> str:
    """The same with a checkpoint."""
    return START.replace("plan)", f"plan, {file!r})")


ELSEWHERE = "meanwhile = sum(range(1000)), view.run['state']"


def shown(notebook: Notebook) -> Locator:
    return notebook.page.locator(".sdw-training").first


def number(view: Locator, name: str) -> int:
    return int(view.get_attribute(f"data-{name}") or 0)


def grown_to(notebook: Notebook, name: str, count: int) -> None:
    """Wait until the page has so many steps or sheets."""
    notebook.page.wait_for_function(
        "([name, n]) => Number(document.querySelector('.sdw-training')?.dataset[name]) >= n",
        arg=[name, count],
    )


def test_a_training_is_seen_paused_gone_on_with_and_stopped(load_notebook: Open) -> None:
    notebook = load_notebook(PAINTER, kept_in("seen.pt"), ELSEWHERE)
    notebook.run()  # returns: the cells have ended, the training goes on
    view = shown(notebook)
    grown_to(notebook, "sheets", 4)
    assert notebook.ask("meanwhile") == [499500, "running"]
    expect(view).to_have_attribute("data-state", "running")
    points = ".sdw-t-curve"
    early = int(view.locator(points).get_attribute("data-points") or 0)
    grown_to(notebook, "step", number(view, "step") + 30)
    assert int(view.locator(points).get_attribute("data-points") or 0) > early
    expect(view.locator(".sdw-t-mean")).not_to_have_attribute("d", "")
    expect(view.locator(".sdw-t-caption").last).to_contain_text("left")

    view.locator(".sdw-t-pause").click()
    expect(view).to_have_attribute("data-state", "paused")
    reached = notebook.ask("view.steps[-1].index")
    expect(view).to_have_attribute("data-step", str(reached + 1))
    notebook.page.wait_for_timeout(300)
    assert notebook.ask("view.steps[-1].index") == reached

    view.locator(".sdw-t-pause").click()
    expect(view).to_have_attribute("data-state", "running")
    grown_to(notebook, "step", reached + 20)

    view.locator(".sdw-t-stop").click()
    expect(view).to_have_attribute("data-state", "stopped")
    last = notebook.ask("view.steps[-1].index") + 1
    assert notebook.ask("torch.load('seen.pt', weights_only=True)['step']") == last
    assert notebook.ask("next(train(Painter(), plan, 'seen.pt')).index") == last
    assert notebook.problems == []


def test_nothing_moves_when_a_training_begins_and_ends(load_notebook: Open) -> None:
    notebook = load_notebook(PAINTER, START)
    notebook.page.evaluate("() => panel.content.widgets[0].node.scrollIntoView()")
    boxes = "view => ['.sdw-t-stage', '.sdw-t-plot', '.sdw-t-pause', '.sdw-t-strip', '.sdw-t-stop']"
    boxes += ".map(name => view.querySelector(name)).map(one => { const a = one"
    boxes += ".getBoundingClientRect(), b = view.getBoundingClientRect();"
    boxes += "return [a.x - b.x, a.y - b.y, a.width, a.height].map(Math.round).join(); })"
    notebook.page.evaluate("() => jupyterapp.commands.execute('notebook:run-cell-and-select-next')")
    view = shown(notebook)
    expect(view).to_have_attribute("data-state", "idle")
    before = view.evaluate(boxes)
    notebook.page.evaluate("() => jupyterapp.commands.execute('notebook:run-cell-and-select-next')")
    grown_to(notebook, "sheets", 8)
    assert view.evaluate(boxes) == before
    notebook.ask("view.stop()")
    expect(view).to_have_attribute("data-state", "stopped")
    assert view.evaluate(boxes) == before
    assert notebook.problems == []


def test_a_page_loaded_again_shows_the_training_as_it_is(load_notebook: Open) -> None:
    notebook = load_notebook(PAINTER, START)
    notebook.run()
    grown_to(notebook, "sheets", 3)
    notebook.save()
    seen = number(shown(notebook), "step")
    notebook.load()
    grown_to(notebook, "step", seen + 10)
    grown_to(notebook, "sheets", 3)
    notebook.ask("view.stop()")
    expect(shown(notebook)).to_have_attribute("data-state", "stopped")
    assert notebook.problems == []


def test_a_saved_training_plays_with_no_kernel(load_notebook: Open) -> None:
    notebook = load_notebook(PAINTER, START)
    notebook.run()
    grown_to(notebook, "sheets", 5)
    shown(notebook).locator(".sdw-t-stop").click()
    expect(shown(notebook)).to_have_attribute("data-state", "stopped")
    step = number(shown(notebook), "step")
    notebook.save()
    notebook.shut_down()
    notebook.load()
    view = shown(notebook)
    expect(view).to_have_attribute("data-step", str(step))
    notebook.shut_down()
    pictures = view.locator(".sdw-t-left")
    view.locator(".sdw-v-slider").fill("0")
    expect(pictures).to_have_attribute("data-step", "1")
    first = view.locator(".sdw-t-image").get_attribute("src")
    view.locator(".sdw-v-slider").press("ArrowRight")
    expect(pictures).to_have_attribute("data-step", "20")
    assert view.locator(".sdw-t-image").get_attribute("src") != first
    view.locator(".sdw-v-play").click()
    newest = view.locator(".sdw-t-thumb").last.get_attribute("title")
    expect(view.locator(".sdw-t-left .sdw-t-caption")).to_contain_text(f"after {newest}")
    expect(view.locator(".sdw-t-mean")).not_to_have_attribute("d", "")
    assert notebook.problems == []


def test_the_cell_run_again_ends_its_training_with_a_whole_checkpoint(load_notebook: Open) -> None:
    notebook = load_notebook(PAINTER + kept_in("again.pt"))
    notebook.run()
    grown_to(notebook, "step", 30)
    old = notebook.ask("[setattr(__import__('builtins'), 'old', view), view.run['state']][1]")
    assert old == "running"
    notebook.run()
    grown_to(notebook, "step", 30)
    assert notebook.ask("old.run['state']") == "stopped"
    reached = notebook.ask("old.steps[-1].index")
    assert notebook.ask("view.steps[0].index") == reached + 1  # from the old one's checkpoint
    notebook.ask("view.stop()")
    expect(shown(notebook)).to_have_attribute("data-state", "stopped")
    assert notebook.problems == []
