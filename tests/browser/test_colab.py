"""Google Colab's packages in a real page, with its module in the kernel.

Colab does not paint what a thread sends after its cell, so a click on Generate there holds until
the image is done, and messages are handled meanwhile. Kernels know Colab by its module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from classic_notebook import ClassicNotebook
from playwright.sync_api import BrowserContext, Page, expect
from real_jupyter import Server, keep_screenshot, write_notebook

pytestmark = pytest.mark.browser

COLAB = """
import sys, time, types
sys.modules["google.colab"] = types.ModuleType("google.colab")
import ipywidgets, IPython
import sdwidgets as sdw
from sdwidgets.manager import ModelManager
"""

# The bundled model, as slow as `pause` says.
STUDIO = """
pause = 0.3

def load(name, **options):
    model = sdw.load(name, **options)
    model.unet.register_forward_hook(lambda *_: time.sleep(pause))
    return model

studio = sdw.Studio(manager=ModelManager(load=load), prompt="a cat", seed=7)
studio
"""

OTHERS = (
    """
trace = sdw.load().generate("a cat left of a car", steps=8, seed=7, attention=True)
sdw.Viewer(trace, word="cat")
""",
    "lab = sdw.Lab(autoencoders=['KL-f8', 'VQ-f8'])\nlab",
)

Load = Callable[..., ClassicNotebook]


@pytest.fixture
def load(colab: Server, context: BrowserContext) -> Iterator[Load]:
    def load_one(*cells: str) -> ClassicNotebook:
        name = write_notebook(colab.root, "colab", *cells)
        notebook = ClassicNotebook(context.new_page(), colab, name)
        notebook.load()
        return notebook

    yield load_one


def test_stop_works_although_a_click_holds(load: Load) -> None:
    notebook = load(COLAB, STUDIO)
    notebook.run()
    assert notebook.ask("[ipywidgets.__version__, IPython.__version__]") == ["7.7.1", "7.34.0"]
    notebook.find(".sdw-generate").click()
    notebook.wait_for_frames(2)
    notebook.find(".sdw-stop").click()
    notebook.wait_for_state("stopped")
    expect(notebook.find(".sdw-status")).to_contain_text("Stopped after")
    assert notebook.ask("studio.trace is None")

    assert notebook.ask("globals().update(pause=0)") is None
    notebook.generate()
    picture = notebook.find(".sdw-v-final")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [128, 128]
    assert notebook.ask("studio.trace.settings.prompt") == "a cat"
    assert notebook.problems == []


def steps_on_with_a_key(page: Page) -> None:
    viewer = page.locator(".sdw-viewer")
    viewer.locator("input[type=range]").first.focus()
    page.keyboard.press("Home")
    expect(viewer).to_have_attribute("data-step", "0")
    page.keyboard.press("ArrowRight")
    expect(viewer).to_have_attribute("data-step", "1")


def test_a_saved_notebook_plays(load: Load) -> None:
    notebook = load(COLAB, STUDIO.replace("0.3", "0"), *OTHERS)
    notebook.run()
    page = notebook.page
    expect(page.locator(".sdw-studio .sdw-picture")).to_be_visible()
    notebook.generate()
    viewer, lab = page.locator(".sdw-viewer"), page.locator(".sdw-lab")
    expect(viewer).to_have_attribute("data-frames", "8")
    steps_on_with_a_key(page)
    expect(lab).to_have_attribute("data-state", "idle")
    cells = page.locator(".sdw-lab-cell[data-name]")
    expect(cells).to_have_count(2)
    before = notebook.ask("lab.results[0].psnr")
    lab.locator(".sdw-lab-sample").nth(1).click()
    notebook.wait_until(f"bool(lab.results) and lab.results[0].psnr != {before!r}")
    keep_screenshot(page, "colab", "out/screenshots", full_page=True)

    notebook.save()
    notebook.shut_down()
    notebook.load()  # with a kernel that knows nothing
    expect(page.locator(".sdw-viewer")).to_have_attribute("data-frames", "8")
    steps_on_with_a_key(page)
    expect(page.locator(".sdw-studio .sdw-v-final")).to_be_visible()
    expect(cells).to_have_count(2)
    expect(cells.locator("img").first).to_be_visible()
    assert notebook.problems == []
