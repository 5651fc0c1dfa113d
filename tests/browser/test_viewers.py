"""The viewers in JupyterLab, on the bundled model: what the page shows is what the kernel has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from real_jupyter import Notebook, Server, keep_screenshot, use_theme, write_notebook
from sight import faint_texts

pytestmark = pytest.mark.browser

Open = Callable[..., Notebook]

WINDOW = {"width": 1280, "height": 1000}
WORDS = "[aria-label='Words of the prompt']"
CLOSE = 2  # of 255: how near the page's pixels are to the kernel's

RUNS = """
import sdwidgets as sdw
from sdwidgets.trace.images import preview_rgb
from sdwidgets.widgets.selection import SELECTIONS

model = sdw.load()
trace = model.generate("a cat left of a car on a blue background", seed=7, attention=True)
dog = model.generate("a dog left of a car on a blue background", seed=7, attention=True)
wide = model.generate("a cat", seed=7, width=256, height=64, steps=2, attention=True)
long = model.generate("a hippopotamus " * 30 + "penguin", seed=7, steps=2, chunks=1)
"""

CELLS = (
    "viewer = sdw.Viewer(trace)\nviewer",
    "viewer",
    "left, right = sdw.Denoising(trace), sdw.Denoising(dog)\nlinks = sdw.link(left, right)",
    "left",
    "right",
    "compare = sdw.Compare(trace, dog)\ncompare",
    "tokens = sdw.Tokens(long)\ntokens",
    "sdw.Attention(wide)",
    """
def anew():
    for widget in (viewer, left, right, compare, tokens):
        for name, trait in SELECTIONS.items():
            setattr(widget, name, trait.default_value)

def guided(step, scale):
    halves = trace.steps[step]
    latents = halves.uncond + scale * (halves.cond - halves.uncond)
    return preview_rgb(latents, trace.factors)[0].tolist()
""",
)
FIRST, SECOND, LEFT, RIGHT, COMPARE, TOKENS, WIDE = 1, 2, 4, 5, 6, 7, 8  # the cells with a widget

# Half a second a step, so that a test can look on.
SLOW = """
import threading
import time
import sdwidgets as sdw

model = sdw.load()
model.unet.register_forward_hook(lambda *_: time.sleep(0.25))
viewer = sdw.Viewer()
viewer
"""

# On a thread of its own, so that the kernel stays free.
RUN_ON_A_THREAD = """
enough = threading.Event()
failed = []

def run():
    try:
        for step in viewer.watch(model.sample("a cat", seed=7, steps=60, attention=True)):
            if enough.is_set():
                break
    except BaseException as error:
        failed.append(repr(error))

thread = threading.Thread(target=run)
thread.start()
"""


@dataclass
class View:
    """A widget in a page."""

    root: Locator

    def find(self, selector: str) -> Locator:
        return self.root.locator(selector).first

    def word(self, text: str) -> Locator:
        """The first chip of this word."""
        return self.find(f".sdw-chip[data-word='{text}']")

    def pixels(self, selector: str) -> np.ndarray:
        """[h, w, 4] of a canvas, as it is before the page scales or blends it."""
        width, *values = self.find(selector).evaluate(
            """canvas => [canvas.width, ...canvas.getContext('2d')
                .getImageData(0, 0, canvas.width, canvas.height).data]"""
        )
        return np.array(values).reshape(-1, width, 4)

    def scrub(self, step: int) -> None:
        """Move the slider to a step."""
        self.find(".sdw-v-slider").fill(str(step))
        expect(self.root).to_have_attribute("data-step", str(step))


def view_in(notebook: Notebook, cell: int) -> View:
    return View(
        notebook.page.locator(".jp-Notebook .jp-Cell")
        .nth(cell)
        .locator(".sdw-viewer, .sdw-compare")
        .first
    )


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """A page for this file alone."""
    context = browser.new_context(viewport=WINDOW)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def opened(lab: Server, page: Page) -> Iterator[Notebook]:
    """A notebook with finished runs in every kind of viewer."""
    notebook = Notebook(page, lab, write_notebook(lab.root, "runs", RUNS, *CELLS))
    notebook.load()
    notebook.run()
    page.evaluate("""() => {
        window.heard = [];
        panel.sessionContext.session.kernel.anyMessage.connect((_, {msg, direction}) => {
            if (msg.header.msg_type === 'comm_msg')
                heard.push([direction, msg.content.data.method]);
        });
    }""")
    yield notebook
    assert notebook.problems == []


@pytest.fixture
def runs(opened: Notebook) -> Notebook:
    """The same, with nothing chosen, and nothing said by the kernel since."""
    page = opened.page
    page.mouse.move(0, 0)
    page.evaluate("() => document.activeElement?.blur()")
    opened.settle()
    opened.ask("anew()")
    expect(view_in(opened, FIRST).root).to_have_attribute("data-step", "19")
    page.evaluate("() => { heard.length = 0; }")
    return opened


@pytest.fixture
def viewer(runs: Notebook) -> View:
    return view_in(runs, FIRST)


def assert_close(pixels: np.ndarray, wanted: Any) -> None:
    wanted = np.asarray(wanted)
    assert pixels.shape[:2] == wanted.shape[:2]
    assert np.abs(pixels[..., : wanted.shape[-1]] - wanted).max() <= CLOSE
    assert (pixels[..., 3] == 255).all()


# ------------------------------------------------------------------------------------ the words


@pytest.mark.parametrize("word", ["cat", "blue", "<padding>"])
def test_pointing_at_a_word_shows_the_kernel_s_map(runs: Notebook, viewer: View, word: str) -> None:
    runs.ask("viewer.set_trait('colormap', 'grey')")
    viewer.word(word).hover()
    expect(viewer.find(".sdw-heat")).to_have_attribute("data-word", word)
    wanted = np.array(runs.ask(f"trace.heat_map({word!r}, scale='picture').tolist()"))
    assert_close(viewer.pixels(".sdw-heat-map"), np.repeat(255 * wanted[..., None], 3, axis=2))


def test_the_map_of_one_step_and_layer_is_the_kernel_s(runs: Notebook, viewer: View) -> None:
    chosen = {"colormap": "grey", "word": "car", "span": "step", "step": 4, "layer": 8}
    runs.ask(f"[viewer.set_trait(*each) for each in {chosen}.items()]")
    expect(viewer.root).to_have_attribute("data-step", "4")
    wanted = runs.ask("trace.heat_map('car', 4, trace.layers[8], scale='picture').tolist()")
    grey = np.repeat(255 * np.array(wanted)[..., None], 3, axis=2)
    assert_close(viewer.pixels(".sdw-heat-map"), grey)


def test_leaving_a_word_takes_its_map_away(runs: Notebook, viewer: View) -> None:
    viewer.word("cat").hover()
    expect(viewer.find(".sdw-heat-map")).to_be_visible()
    runs.page.mouse.move(0, 0)
    expect(viewer.find(".sdw-heat-map")).to_be_hidden()


def test_a_click_pins_a_word_for_the_kernel_too(runs: Notebook, viewer: View) -> None:
    viewer.word("cat").click()
    runs.page.mouse.move(0, 0)
    expect(viewer.find(".sdw-heat-map")).to_be_visible()
    expect(viewer.word("cat")).to_have_attribute("aria-pressed", "true")
    runs.wait_until("viewer.word == 'cat'")


def test_pointing_at_the_image_ranks_its_words(runs: Notebook, viewer: View) -> None:
    box = viewer.find(".sdw-v-picture").bounding_box()
    assert box is not None
    runs.page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + box["height"] / 2)
    expect(viewer.find(".sdw-rank-word")).to_have_text("cat")
    runs.page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + box["height"] / 2)
    expect(viewer.find(".sdw-rank-word")).to_have_text("car")


def test_words_that_were_cut_are_shown(runs: Notebook) -> None:
    shown = view_in(runs, TOKENS)
    expect(shown.find(".sdw-cut-text")).to_be_visible()
    expect(shown.find(".sdw-cut-text")).to_have_text(runs.ask("long.cut[0]").strip())
    expect(shown.find(".sdw-cut-text")).to_contain_text("penguin")


# ------------------------------------------------------------------------------------ the steps


@pytest.mark.parametrize(("step", "scale"), [(0, 7.5), (7, 0.0), (7, 20.0), (18, 12.5)])
def test_another_guidance_is_the_kernel_s_image_with_no_kernel(
    runs: Notebook, viewer: View, step: int, scale: float
) -> None:
    viewer.find("[data-value=clean]").click()
    viewer.scrub(step)
    viewer.find(".sdw-v-guidance [type=range]").fill(str(scale))
    pixels = viewer.pixels(".sdw-v-latents")
    assert_close(pixels, runs.ask(f"guided({step}, {scale})"))
    answers = {method for way, method in runs.page.evaluate("() => heard") if way == "recv"}
    assert answers <= {"echo_update"}  # that the kernel has heard it; it has nothing to say


def test_a_second_view_shows_the_same_step(runs: Notebook, viewer: View) -> None:
    viewer.scrub(5)
    expect(view_in(runs, SECOND).root).to_have_attribute("data-step", "5")


def test_linked_viewers_move_together_with_no_kernel(runs: Notebook) -> None:
    before = view_in(runs, RIGHT).pixels(".sdw-v-latents")
    view_in(runs, LEFT).scrub(6)
    expect(view_in(runs, RIGHT).root).to_have_attribute("data-step", "6")
    assert (view_in(runs, RIGHT).pixels(".sdw-v-latents") != before).any()
    said = runs.page.evaluate("() => heard")
    assert ["recv", "update"] not in said


def test_compared_runs_move_together(runs: Notebook) -> None:
    compare = view_in(runs, COMPARE)
    columns = compare.root.locator(".sdw-c-run")
    expect(columns).to_have_count(2)
    compare.scrub(3)
    for i in range(2):
        expect(columns.nth(i)).to_have_attribute("data-step", "3")
    wanted = runs.ask(
        "[preview_rgb(t.steps[3].denoised, t.factors)[0].tolist() for t in (trace, dog)]"
    )
    for i in range(2):
        assert_close(View(columns.nth(i)).pixels(".sdw-v-latents"), wanted[i])


def test_compared_runs_have_one_word(runs: Notebook) -> None:
    compare = view_in(runs, COMPARE)
    compare.word("car").click()
    runs.page.mouse.move(0, 0)
    expect(compare.root.locator(".sdw-heat[data-word=car]")).to_have_count(2)
    runs.wait_until("compare.word == 'car'")


# --------------------------------------------------------------------------------- the keyboard


def test_arrows_move_the_steps_and_nothing_else(runs: Notebook, viewer: View) -> None:
    state = "() => [panel.content.activeCellIndex, panel.content.mode]"
    viewer.find(".sdw-v-slider").focus()
    before = runs.page.evaluate(state)
    for key, step in (("ArrowLeft", 18), ("Home", 0), ("ArrowUp", 1), ("PageUp", 3)):
        runs.page.keyboard.press(key)
        expect(viewer.root).to_have_attribute("data-step", str(step))
    runs.page.keyboard.press("End")
    expect(viewer.root).to_have_attribute("data-step", "19")
    assert runs.page.evaluate(state) == before


def test_space_plays_and_pauses(runs: Notebook, viewer: View) -> None:
    viewer.find(".sdw-v-slider").focus()
    runs.page.keyboard.press("Home")
    runs.page.keyboard.press("Space")
    expect(viewer.find(".sdw-v-play")).to_have_attribute("aria-label", "pause")
    viewer.root.evaluate("""root => new Promise((seen) => {
        const look = () => Number(root.dataset.step) >= 2 && seen();
        new MutationObserver(look).observe(root, {attributes: true});
        look();
    })""")
    runs.page.keyboard.press("Space")
    expect(viewer.find(".sdw-v-play")).to_have_attribute("aria-label", "play the steps")
    paused = viewer.root.get_attribute("data-step")
    runs.page.wait_for_timeout(300)  # two steps, if it played
    expect(viewer.root).to_have_attribute("data-step", str(paused))


def test_the_wheel_moves_the_steps_and_not_the_notebook(runs: Notebook, viewer: View) -> None:
    place = "() => document.querySelector('.jp-WindowedPanel-outer').scrollTop"
    viewer.find(".sdw-v-transport").hover()
    before = runs.page.evaluate(place)
    runs.page.mouse.wheel(0, -40)
    expect(viewer.root).to_have_attribute("data-step", "18")
    assert runs.page.evaluate(place) == before


def test_words_are_pinned_with_the_keyboard(runs: Notebook, viewer: View) -> None:
    viewer.find(f"{WORDS} [tabindex='0']").focus()
    runs.page.keyboard.press("Home")
    runs.page.keyboard.press("ArrowRight")
    expect(viewer.find(".sdw-heat")).to_have_attribute("data-word", "cat")
    runs.page.keyboard.press("Enter")
    runs.wait_until("viewer.word == 'cat'")
    runs.page.keyboard.press("Escape")
    expect(viewer.find(".sdw-heat")).to_have_attribute("data-word", "")
    runs.wait_until("viewer.word == ''")


def test_a_cell_of_the_matrix_opens_with_enter(runs: Notebook, viewer: View) -> None:
    viewer.word("cat").click()
    viewer.find(".sdw-matrix-grid").focus()
    for key in ("Home", *["ArrowDown"] * 2, *["ArrowRight"] * 4, "Enter"):
        runs.page.keyboard.press(key)
    expect(viewer.root).to_have_attribute("data-step", "4")
    runs.wait_until("(viewer.layer, viewer.step, viewer.span) == (2, 4, 'step')")


# ---------------------------------------------------------------------------------------- looks


@pytest.mark.parametrize("width", [1000, 600])
def test_nothing_sticks_out(runs: Notebook, viewer: View, width: int) -> None:
    runs.ask("viewer.set_trait('word', 'cat')")
    try:
        fit(runs.page, viewer, width)
        for cell in (FIRST, LEFT, COMPARE, TOKENS, WIDE):
            out = view_in(runs, cell).root.evaluate("""root => {
                const right = root.getBoundingClientRect().right + 0.5;
                return [...root.querySelectorAll('*')]
                    .filter((e) => e.getBoundingClientRect().right > right)
                    .map((e) => `${e.tagName} ${e.className}`);
            }""")
            assert out == []
    finally:
        runs.page.set_viewport_size(WINDOW)


# A screen of 1280 x 720 at a zoom of 150 %.
ZOOMED = {"width": 853, "height": 480}

# Elements outside the part of the notebook that is in the window, with the widget scrolled to its
# top. Of the pixels beyond it, a few are the widget's own margin.
HIDDEN = """(root, selectors) => {
    const outer = document.querySelector('.jp-WindowedPanel-outer');
    outer.scrollTop += root.getBoundingClientRect().top - outer.getBoundingClientRect().top;
    const {top, bottom} = outer.getBoundingClientRect();
    return selectors.filter((selector) => {
        const box = root.querySelector(selector).getBoundingClientRect();
        return box.height === 0 || box.top < top - 4 || box.bottom > bottom + 4;
    });
}"""


def test_image_slider_and_words_share_a_window_zoomed_to_150_percent(
    runs: Notebook, viewer: View
) -> None:
    runs.page.set_viewport_size(ZOOMED)
    try:
        runs.page.wait_for_function("() => window.innerHeight === 480")
        for cell in (FIRST, LEFT, COMPARE, WIDE):
            wanted = [".sdw-v-picture", ".sdw-v-slider", ".sdw-v-bar, .sdw-c-bar"]
            wanted += [".sdw-chip[data-word]"] if cell != LEFT else [".sdw-v-thumb"]
            view = view_in(runs, cell)
            assert view.root.evaluate(HIDDEN, wanted) == []
            box = view.find(".sdw-v-picture").bounding_box()
            assert box is not None and max(box["width"], box["height"]) > 120
    finally:
        runs.page.set_viewport_size(WINDOW)


def test_tokens_alone_have_no_image(runs: Notebook) -> None:
    tokens = view_in(runs, TOKENS)
    expect(tokens.find(".sdw-tokens")).to_be_visible()
    expect(tokens.root.locator(".sdw-v-stage")).to_have_count(0)


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_text_stands_out(runs: Notebook, viewer: View, theme: str) -> None:
    runs.ask("viewer.set_trait('word', 'cat')")
    use_theme(runs.page, theme)
    try:
        if os.environ.get("SDWIDGETS_SCREENSHOT"):
            fit(runs.page, viewer, 1000, 1500)
            style = ".sdw-viewer.sdw-viewer { padding: 14px; }"  # a little paper around it
            keep_screenshot(viewer.root, f"viewer-{theme.lower()}", style=style)
        for cell in (FIRST, COMPARE, TOKENS):
            assert faint_texts(view_in(runs, cell).root) == []
    finally:
        use_theme(runs.page, "Light")
        runs.page.set_viewport_size(WINDOW)


def fit(page: Page, view: View, width: int, height: int = WINDOW["height"]) -> None:
    """Make the window so wide that the widget has this width."""
    for _ in range(4):  # scroll bars come and go
        box = view.root.bounding_box()
        assert box is not None
        wide = page.evaluate("() => window.innerWidth") + width - round(box["width"])
        page.set_viewport_size({"width": wide, "height": height})
        page.wait_for_timeout(50)
    box = view.root.bounding_box()
    assert box is not None and round(box["width"]) == width


# ---------------------------------------------------------------------------- saved and reopened


@pytest.fixture(scope="module")
def grown(lab: Server, browser: Browser) -> Iterator[tuple[Notebook, int]]:
    """A notebook saved with a run and opened again, nothing run, no kernel; its growth."""
    context = browser.new_context(viewport=WINDOW)
    name = write_notebook(lab.root, "saved", RUNS, "sdw.Viewer(trace)")
    notebook = Notebook(context.new_page(), lab, name)
    notebook.load()
    notebook.save()
    before = notebook.file.stat().st_size
    notebook.run()
    notebook.page.wait_for_selector(".sdw-viewer[data-state=done]")
    notebook.save()
    notebook.shut_down()
    notebook.load()
    notebook.page.wait_for_selector(".sdw-viewer")
    notebook.shut_down()  # of this one, JupyterLab only needed that there is one
    yield notebook, notebook.file.stat().st_size - before
    assert notebook.problems == []
    context.close()


@pytest.fixture
def reopened(grown: tuple[Notebook, int]) -> View:
    notebook, _ = grown
    notebook.page.mouse.move(0, 0)
    return view_in(notebook, 1)


def test_a_saved_run_takes_a_megabyte_with_its_javascript(grown: tuple[Notebook, int]) -> None:
    _, growth = grown
    assert 100_000 < growth <= 1_000_000


def test_the_saved_output_has_a_sheet_for_where_no_script_runs(
    grown: tuple[Notebook, int],
) -> None:
    notebook, _ = grown
    (output,) = notebook.cells[1]["outputs"]
    assert output["data"]["image/png"].startswith("iVBORw0KGgo")
    assert "application/vnd.jupyter.widget-view+json" in output["data"]


def test_the_scrubber_moves_without_a_kernel(reopened: View) -> None:
    pictures = set()
    for step in (0, 9, 17):
        reopened.scrub(step)
        pictures.add(reopened.pixels(".sdw-v-latents").tobytes())
    assert len(pictures) == 3


def test_words_have_their_maps_without_a_kernel(reopened: View) -> None:
    maps = set()
    for word in ("cat", "car"):
        reopened.word(word).hover()
        expect(reopened.find(".sdw-heat")).to_have_attribute("data-word", word)
        maps.add(reopened.pixels(".sdw-heat-map").tobytes())
    assert len(maps) == 2


# ----------------------------------------------------------------------------------------- live


def test_a_run_is_looked_into_while_its_cell_runs(open_notebook: Open) -> None:
    notebook = open_notebook(
        SLOW, "for _ in viewer.watch(model.sample('a cat', seed=7, steps=14, attention=True)): pass"
    )
    notebook.start()
    view = view_in(notebook, 0)
    for step in (2, 3, 4):  # the newest is followed
        notebook.page.wait_for_function(
            "step => Number(document.querySelector('.sdw-viewer')?.dataset.step) >= step", arg=step
        )
        expect(view.root).to_have_attribute("data-state", "running")
    view.word("cat").hover()
    expect(view.find(".sdw-heat-map")).to_be_visible()
    early = view.pixels(".sdw-heat-map")
    view.scrub(1)
    expect(view.root).to_have_attribute("data-state", "running")
    expect(view.root).to_have_attribute("data-frames", "14")
    expect(view.root).to_have_attribute("data-step", "1")  # a step that was chosen stays
    notebook.page.evaluate("() => window.ran")
    expect(view.root).to_have_attribute("data-state", "done")
    view.word("cat").hover()
    assert (view.pixels(".sdw-heat-map") != early).any()


def test_a_page_loaded_again_finds_the_run_where_it_is(load_notebook: Open) -> None:
    notebook = load_notebook(SLOW, RUN_ON_A_THREAD)
    notebook.run()
    view = view_in(notebook, 0)
    grown_to(notebook, 3)
    notebook.save()
    seen = int(view.root.get_attribute("data-frames") or 0)
    notebook.load()
    expect(view.root).to_have_attribute("data-state", "running")
    grown_to(notebook, seen + 1)
    frames, step = view.root.evaluate("root => [root.dataset.frames, root.dataset.step]")
    assert int(step) == int(frames) - 1  # none is missing, and the newest is on show
    notebook.ask("enough.set()")
    expect(view.root).to_have_attribute("data-state", "stopped")
    assert notebook.ask("failed") == []
    assert notebook.problems == []


def grown_to(notebook: Notebook, count: int) -> None:
    """Wait until the page has so many steps."""
    notebook.page.wait_for_function(
        "n => Number(document.querySelector('.sdw-viewer')?.dataset.frames) >= n", arg=count
    )


# Its steps are taken one by one from the test.
TWO_PASSES = """
import sdwidgets as sdw

model = sdw.load()
viewer = sdw.Viewer()
run = model.sample("a cat left of a car", seed=7, steps=10, hires=1.5, attention=True)
steps = viewer.watch(run)

def take(count):
    for _ in range(count):
        next(steps, None)
    viewer.flush(everything=True)
    return len(run.seconds)

viewer
"""


def test_in_a_run_of_two_passes_the_latents_grow_and_the_image_stays_in_place(
    open_notebook: Open,
) -> None:
    notebook = open_notebook(TWO_PASSES)
    notebook.run()
    view = view_in(notebook, 0)
    assert notebook.ask("take(10)") == 10
    expect(view.root).to_have_attribute("data-step", "9")
    assert view.pixels(".sdw-v-latents").shape[:2] == (16, 16)
    place = view.find(".sdw-v-picture").bounding_box()
    assert float(view.find(".sdw-v-progress").get_attribute("value") or 0) == 10 / 16
    assert notebook.ask("take(3)") == 13
    expect(view.root).to_have_attribute("data-step", "12")
    assert view.pixels(".sdw-v-latents").shape[:2] == (24, 24)
    assert view.find(".sdw-v-picture").bounding_box() == place
    assert notebook.ask("take(4)") == 16
    expect(view.root).to_have_attribute("data-state", "done")
    expect(view.root).to_have_attribute("data-frames", "16")
    view.word("cat").click()
    expect(view.find(".sdw-heat-map")).to_be_visible()
    assert view.find(".sdw-v-picture").bounding_box() == place
    view.scrub(4)  # the first pass is still there
    assert view.pixels(".sdw-v-latents").shape[:2] == (16, 16)
    assert notebook.ask("list(viewer.trace.size)") == [192, 192]


def test_a_viewer_closed_in_the_middle_disturbs_nothing(open_notebook: Open) -> None:
    notebook = open_notebook(SLOW, RUN_ON_A_THREAD)
    notebook.run()
    grown_to(notebook, 2)
    notebook.ask("viewer.close()")
    expect(notebook.page.locator(".sdw-viewer:visible")).to_have_count(0)
    assert notebook.ask("thread.is_alive()")
    notebook.ask("[enough.set(), thread.join()][:0]")
    assert notebook.ask("failed") == []


def test_eight_viewers_at_once_lose_nothing(open_notebook: Open) -> None:
    notebook = open_notebook(
        RUNS + "viewers = [sdw.Attention() for _ in range(8)]\ndisplay(*viewers)",
        """
import threading
import time

def play(viewer):
    for _ in viewer.watch(trace.steps):
        time.sleep(0.02)

threads = [threading.Thread(target=play, args=(viewer,)) for viewer in viewers]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
""",
    )
    notebook.run()
    views = notebook.page.locator(".sdw-viewer:visible")
    expect(views).to_have_count(8)
    for i in range(8):
        expect(views.nth(i)).to_have_attribute("data-state", "done")
        expect(views.nth(i)).to_have_attribute("data-frames", "20")
        expect(views.nth(i)).to_have_attribute("data-step", "19")


# ------------------------------------------------------------------------------- what is not right

# A message to the widget's comm, past the front end's own code.
SEND = """([comm, data]) => {
    const kernel = panel.sessionContext.session.kernel;
    const header = {
        msg_id: crypto.randomUUID(), msg_type: 'comm_msg', username: '', version: '5.3',
        session: kernel.clientId, date: new Date().toISOString(),
    };
    const content = {comm_id: comm, data};
    kernel.sendShellMessage(
        {channel: 'shell', header, parent_header: {}, metadata: {}, content, buffers: []}, false
    );
}"""

MALFORMED: list[Any] = [
    {},
    {"method": "update"},
    {"method": "update", "state": ["step", 1]},
    {"method": "update", "state": {"step": "3", "word": 7, "layer": -9, "opacity": None}},
    {"method": "update", "state": {"header": {}, "frame0": "none", "state": "error", "x": 1}},
    {"method": "custom", "content": {"kind": "frames", "run": "all"}},
    {"method": "custom", "content": None},
    {"method": "?", "state": {}},
]


def test_messages_that_are_none_change_nothing(runs: Notebook, viewer: View) -> None:
    state = "[repr(viewer), len(viewer.frame0), {n: getattr(viewer, n) for n in SELECTIONS}]"
    before = runs.ask(state)
    for data in MALFORMED:
        runs.page.evaluate(SEND, [runs.ask("viewer.comm.comm_id"), data])
    assert runs.ask(state) == before
    viewer.scrub(2)
    runs.wait_until("viewer.step == 2")


def test_what_the_page_cannot_read_is_not_shown(open_notebook: Open) -> None:
    notebook = open_notebook(RUNS + "viewer = sdw.Viewer()\nviewer")
    notebook.run()
    view = view_in(notebook, 0)
    notebook.ask("viewer.send({'kind': 'frames', 'names': 3})")
    for name, value in (("frame0", "b'\\xff' * 9"), ("header", "{'v': 1, 'run': 'x'}")):
        notebook.ask(f"viewer.set_trait({name!r}, {value})")
    expect(view.root).to_have_attribute("data-frames", "0")
    notebook.ask("[viewer.show(trace)][:0]")
    expect(view.root).to_have_attribute("data-frames", "20")


MALICE = (
    '<img src=x data-malice onerror="window.broken=1"><script data-malice>alert(1)</script> '
    '<a data-malice href="javascript:window.broken=1">x</a> $x^2$ **b**'
)


def test_html_in_a_prompt_is_text(open_notebook: Open) -> None:
    notebook = open_notebook(
        "import sdwidgets as sdw\nmodel = sdw.load()\n"
        f"asked = dict(negative_prompt={MALICE!r}, steps=2, attention=True)\n"
        f"one, other = (model.generate(text + {MALICE!r}, **asked) for text in ('', 'a cat '))",
        "sdw.Viewer(one)",
        "sdw.Compare(one, other)",
        f"sdw.Tokens(model.generate('a cat ' * 40 + {MALICE!r}, steps=1, chunks=1))",
    )
    dialogs: list[str] = []
    notebook.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    notebook.run()
    for cell, selector in ((1, WORDS), (2, ".sdw-c-prompt"), (3, ".sdw-cut-text")):
        expect(view_in(notebook, cell).find(selector)).to_contain_text("data-malice")
    view_in(notebook, 1).find(".sdw-chip[data-word*=malice]").hover()
    made = "() => document.querySelectorAll('[data-malice], [onerror], mjx-container').length"
    assert notebook.page.evaluate(made) == 0
    assert notebook.page.evaluate("() => window.broken") is None
    assert dialogs == []
