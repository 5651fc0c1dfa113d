"""The Painter in JupyterLab: the mask in Python is the path that was drawn."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
from playwright.sync_api import Browser, CDPSession, Locator, Page, expect
from real_jupyter import Notebook, Server, write_notebook

pytestmark = pytest.mark.browser

Place = tuple[float, float]

PAINTER = """
import base64
import numpy as np
from PIL import Image
import sdwidgets as sdw
from sdwidgets.painting import packed

def photo(width, height):
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([x, y, 255 - x], -1).astype(np.uint8)

def show(width, height):
    painter.show(photo(width, height))

def sent():
    return base64.b64encode(packed(np.asarray(painter.mask))).decode()

painter = sdw.Painter(photo(96, 64))
painter
"""
LONG = "\n".join("# a long cell" for _ in range(40))

# The browser's zoom, and the display's pixels for each of CSS at 100 %.
SCREENS = [(zoom, ratio) for zoom in (0.67, 1.0, 1.5) for ratio in (1.0, 1.5, 2.0)]
SIZES = [(96, 64), (64, 64), (960, 384), (384, 960), (1, 1), (33, 500)]
WINDOW = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=WINDOW, has_touch=True)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def opened(lab: Server, page: Page) -> Iterator[Notebook]:
    """A notebook with a Painter, between long cells."""
    notebook = Notebook(page, lab, write_notebook(lab.root, "painter", PAINTER, LONG))
    notebook.load()
    notebook.run()
    page.set_default_timeout(15_000)
    yield notebook
    assert notebook.problems == []


@pytest.fixture
def devtools(page: Page) -> Iterator[CDPSession]:
    session = page.context.new_cdp_session(page)
    yield session
    session.send("Emulation.clearDeviceMetricsOverride")
    session.detach()


@pytest.fixture
def notebook(opened: Notebook) -> Notebook:
    """The same, with an image of 96 x 64 that nobody has painted on."""
    begin(opened, 96, 64)
    return opened


@pytest.fixture
def root(notebook: Notebook) -> Locator:
    return root_of(notebook)


def root_of(notebook: Notebook) -> Locator:
    return notebook.page.locator(".jp-OutputArea .sdw-painter").first


def begin(notebook: Notebook, width: int, height: int) -> None:
    """Show another image, with the brush in hand."""
    notebook.ask(f"show({width}, {height})")
    root = root_of(notebook)
    expect(root).to_have_attribute("data-image", str(notebook.ask("painter.shown")))
    expect(root).to_have_attribute("data-ready", "")
    root.locator("[data-value=brush]").click()
    root.locator("button", has_text="Fit").click()
    root.locator(".sdw-pt-board").scroll_into_view_if_needed()


def set_size(root: Locator, pixels: int) -> None:
    """Make the brush so many pixels wide, by keys."""
    board = root.locator(".sdw-pt-board")
    said = root.locator(".sdw-pt-slider output").first
    board.focus()
    for _ in range(60):
        now = int((said.text_content() or "").split()[0])
        if now == pixels:
            return
        larger, smaller = max(now + 1, round(now * 1.25)), min(now - 1, round(now / 1.25))
        board.press("]" if now < pixels else "[")
        if (now < pixels < larger) or (smaller < pixels < now):
            break
    slider = root.locator(".sdw-pt-slider input").first
    slider.evaluate(
        """(slider, pixels) => {
            slider.value = Math.round(100 * Math.log(pixels) / Math.log(1000));
            slider.dispatchEvent(new Event('input'));
        }""",
        pixels,
    )


def size_of(root: Locator) -> int:
    return int((root.locator(".sdw-pt-slider output").first.text_content() or "").split()[0])


def image_box(root: Locator) -> tuple[float, float, float, float]:
    """Where the browser shows the image: left, top, width, height."""
    return tuple(
        root.locator(".sdw-pt-image").evaluate(
            "e => { const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; }"
        )
    )


def drag(root: Locator, path: Sequence[Place]) -> list[Place]:
    """Drag the mouse along places of the image, each from 0 to 1 and perhaps beyond; return where
    that was in the page, in whole pixels."""
    left, top, width, height = image_box(root)
    points: list[Place] = []
    for a, b in pairwise(path):
        for i in range(4):
            x, y = (one + (other - one) * i / 4 for one, other in zip(a, b, strict=True))
            points.append((round(left + x * width), round(top + y * height)))
    points.append((round(left + path[-1][0] * width), round(top + path[-1][1] * height)))
    mouse = root.page.mouse
    mouse.move(*points[0])
    mouse.down()
    for point in points[1:]:
        mouse.move(*point)
    mouse.up()
    return points


def mask_of(notebook: Notebook) -> np.ndarray:
    width, height = notebook.ask("painter.image.size")
    values = zlib.decompress(base64.b64decode(notebook.ask("sent()")))
    return np.frombuffer(values, np.uint8).reshape(height, width)


def away(root: Locator, size: tuple[int, int], points: Sequence[Place]) -> np.ndarray:
    """How far the centre of each pixel is from a path in the page, in pixels of the image."""
    left, top, wide, high = image_box(root)
    width, height = size
    path = np.array([((x - left) / wide * width, (y - top) / high * height) for x, y in points])
    ys, xs = np.mgrid[:height, :width] + 0.5
    nearest = np.full((height, width), np.inf)
    for (ax, ay), (bx, by) in zip(path, [*path[1:], path[-1]], strict=True):
        dx, dy = bx - ax, by - ay
        along = ((xs - ax) * dx + (ys - ay) * dy) / max(dx * dx + dy * dy, 1e-12)
        along = along.clip(0, 1)
        nearest = np.minimum(nearest, np.hypot(xs - ax - along * dx, ys - ay - along * dy))
    return nearest


def check(notebook: Notebook, root: Locator, points: Sequence[Place]) -> None:
    """Assert that the mask is the path, to a hundredth of a pixel."""
    notebook.wait_until("painter.mask is not None")
    size = tuple(notebook.ask("painter.image.size"))
    distance = away(root, size, points)
    radius = max(size_of(root) / 2, 0.5**0.5)
    mask = mask_of(notebook)
    assert set(np.unique(mask)) <= {0, 255}
    assert (mask[distance < radius - 0.01] == 255).all()
    assert (mask[distance > radius + 0.01] == 0).all()


# Into every corner, and beyond each edge.
CORNERS = ((0.5, 0.5), (-0.06, -0.05), (1.05, -0.04), (0.3, 0.7), (1.04, 1.05), (-0.05, 1.04))


def test_the_mask_is_the_path_at_every_zoom_and_size(
    notebook: Notebook, root: Locator, devtools: CDPSession
) -> None:
    page = notebook.page
    for number, (zoom, ratio) in enumerate(SCREENS):
        metrics = {
            "width": round(WINDOW["width"] / zoom),
            "height": round(WINDOW["height"] / zoom),
            "deviceScaleFactor": zoom * ratio,
            "mobile": False,
        }
        devtools.send("Emulation.setDeviceMetricsOverride", metrics)
        page.wait_for_function("width => window.innerWidth === width", arg=metrics["width"])
        width, height = SIZES[number % len(SIZES)]
        begin(notebook, width, height)
        set_size(root, max(min(width, height) // 8, 1))
        check(notebook, root, drag(root, CORNERS))
    # the largest, in the last of the screens
    begin(notebook, 4000, 3000)
    set_size(root, 300)
    check(notebook, root, drag(root, CORNERS[:4]))


def test_moved_zoomed_and_resized_it_is_still_the_path(notebook: Notebook, root: Locator) -> None:
    page = notebook.page
    set_size(root, 9)
    check(notebook, root, drag(root, CORNERS))
    # scrolled: half of the board is above the top
    root.locator(".sdw-pt-board").evaluate("e => e.scrollIntoView({block: 'end'})")
    page.locator(".jp-WindowedPanel-outer").first.evaluate("e => e.scrollBy(0, 60)")
    notebook.ask("painter.clear()")
    expect(root.locator("button", has_text="Clear")).to_have_attribute("aria-disabled", "true")
    check(notebook, root, drag(root, CORNERS))
    kept = mask_of(notebook)
    # the panel narrower: the mask stays, and the brush is where the pointer is
    page.set_viewport_size({"width": 700, "height": 900})
    page.wait_for_function("() => document.querySelector('.sdw-pt-board').clientWidth < 600")
    assert np.array_equal(mask_of(notebook), kept)
    notebook.ask("painter.clear()")
    expect(root.locator("button", has_text="Clear")).to_have_attribute("aria-disabled", "true")
    check(notebook, root, drag(root, CORNERS))
    page.set_viewport_size(WINDOW)
    page.wait_for_function("() => document.querySelector('.sdw-pt-board').clientWidth > 900")
    # zoomed with the wheel around the pointer, and moved
    notebook.ask("painter.clear()")
    expect(root.locator("button", has_text="Clear")).to_have_attribute("aria-disabled", "true")
    left, top, width, height = image_box(root)
    page.mouse.move(left + width * 0.25, top + height * 0.25)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    page.wait_for_function(
        "width => document.querySelector('.sdw-pt-image').clientWidth > 1.5 * width", arg=width
    )
    now = image_box(root)
    assert now[0] + now[2] * 0.25 == pytest.approx(left + width * 0.25, abs=1)
    root.locator("[data-value=hand]").click()
    drag(root, [(0.25, 0.25), (0.3, 0.3)])
    root.locator("[data-value=brush]").click()
    notebook.wait_until("painter.mask is None")
    check(notebook, root, drag(root, [(0.2, 0.2), (0.35, 0.25), (0.3, 0.35)]))


def tint(notebook: Notebook, number: int = 0) -> list[int]:
    """The levels that a view shows, from its canvas."""
    canvas = notebook.page.locator(".sdw-pt-tint").nth(number)
    return canvas.evaluate(
        """canvas => {
            const {width, height} = canvas;
            const {data} = canvas.getContext('2d').getImageData(0, 0, width, height);
            return Array.from({length: width * height}, (_, i) => data[4 * i + 3]);
        }"""
    )


def wait_for_tint(notebook: Notebook, number: int = 0) -> None:
    """Wait until a view shows the mask that Python has."""
    mask = mask_of(notebook)
    wanted = np.rint(mask.ravel() * 0.6).astype(int)
    for _ in range(200):
        if np.array_equal(tint(notebook, number), wanted):
            return
        notebook.page.wait_for_timeout(50)
    raise AssertionError("a view shows another mask than Python has")


def test_every_view_shows_the_mask_and_a_reload_keeps_it(notebook: Notebook, root: Locator) -> None:
    page = notebook.page
    set_size(root, 9)
    drag(root, CORNERS)
    notebook.wait_until("painter.mask is not None")
    wait_for_tint(notebook)
    # a second view: what is painted in the one is in the other, also when undone
    page.evaluate(
        """() => {
            window.panel.content.activeCellIndex = 0;
            return jupyterapp.commands.execute('notebook:create-output-view');
        }"""
    )
    expect(page.locator(".sdw-painter")).to_have_count(2)
    other = page.locator(".sdw-painter").nth(1)
    expect(other).to_have_attribute("data-ready", "")
    wait_for_tint(notebook, 1)
    before = mask_of(notebook)
    drag(other, [(0.45, 0.1), (0.5, 0.12)])
    notebook.wait_until("painter.undos", 2)
    for number in range(2):
        wait_for_tint(notebook, number)
    other.locator("button[aria-label=Undo]").click()
    notebook.wait_until("painter.undos", 1)
    assert np.array_equal(mask_of(notebook), before)
    for number in range(2):
        wait_for_tint(notebook, number)
    # from Python, all follow
    notebook.ask("painter.invert()")
    for number in range(2):
        wait_for_tint(notebook, number)
    assert np.array_equal(mask_of(notebook), 255 - before)
    page.evaluate("() => [...jupyterapp.shell.widgets('main')].at(-1).dispose()")
    expect(page.locator(".sdw-painter")).to_have_count(1)
    # saved and loaded again, with its kernel: it goes on
    notebook.save()
    notebook.load()
    expect(root).to_have_attribute("data-ready", "")
    wait_for_tint(notebook)
    root.locator("button[aria-label=Undo]").click()  # what was done before the reload
    notebook.wait_until("painter.undos", 1)
    assert np.array_equal(mask_of(notebook), before)
    wait_for_tint(notebook)
    drag(root, [(0.4, 0.1), (0.6, 0.1)])
    notebook.wait_until("painter.undos", 2)


def live(root: Locator) -> Locator:
    return root.locator(".sdw-pt-live")


def test_the_keyboard_does_everything(notebook: Notebook, root: Locator) -> None:
    board = root.locator(".sdw-pt-board")
    ask = notebook.ask
    set_size(root, 1)
    board.focus()
    notebook.page.keyboard.press("ArrowRight")  # from the middle, by a latent cell
    expect(live(root)).to_have_text("56, 32: not painted")
    for key in ("Home", "PageUp", "Space"):
        board.press(key)
    notebook.wait_until("painter.mask and painter.mask.getbbox()", [0, 0, 1, 1])
    for key in ("End", "PageDown", "Space"):
        board.press(key)
    notebook.wait_until("painter.mask.getbbox()", [0, 0, 96, 64])
    expect(live(root)).to_have_text("95, 63: painted")
    # a line: Space is held while the cursor moves
    board.press("Delete")
    notebook.wait_until("painter.mask is None")
    board.press("Home")
    notebook.page.keyboard.down("Space")
    board.press("ArrowRight")
    board.press("Shift+ArrowRight")
    notebook.page.keyboard.up("Space")
    notebook.wait_until("painter.mask and painter.mask.getbbox()", [0, 63, 10, 64])
    # a rectangle by two corners, and inverted
    for key in ("Delete", "r", "Home", "PageUp", "Space", "ArrowRight", "ArrowDown", "Space"):
        board.press(key)
    notebook.wait_until("painter.mask and painter.mask.getbbox()", [0, 0, 9, 9])
    assert (mask_of(notebook)[:9, :9] == 255).all()
    board.press("i")
    notebook.wait_until("int(np.asarray(painter.mask)[0, 0])", 0)
    assert (mask_of(notebook) == 0).sum() == 81
    board.press("z")
    notebook.wait_until("painter.mask.getbbox()", [0, 0, 9, 9])
    board.press("y")
    notebook.wait_until("int(np.asarray(painter.mask)[0, 0])", 0)
    # an outline by its corners, then filled around it
    for key in ("Delete", "l", "Home", "PageUp", "Space", "End", "Space", "PageDown", "Space"):
        board.press(key)
    board.press("Enter")
    notebook.wait_until("painter.mask is not None")
    x, y = np.meshgrid(np.arange(96) + 0.5, np.arange(64) + 0.5)
    above = mask_of(notebook) == 255
    line = 0.5 + (x - 0.5) * 63 / 95
    assert above[(y < line - 0.1) & (y > 0.6) & (x < 95.4)].all()
    assert not above[y > line + 0.1].any()
    for key in ("f", "Home", "PageDown", "Space"):
        board.press(key)
    notebook.wait_until("bool(np.asarray(painter.mask)[63, 0])")
    # an eraser, and shapes that erase
    set_size(root, 1)
    for key in ("e", "PageUp", "Space"):
        board.press(key)
    notebook.wait_until("int(np.asarray(painter.mask)[0, 0])", 0)
    for key in ("r", "x", "Space", "ArrowRight", "Space"):
        board.press(key)
    notebook.wait_until("int(np.asarray(painter.mask)[0, :9].max())", 0)
    board.press("x")
    # new area, by the keys of an edge
    edge = root.locator("[data-side=left]")
    edge.press("ArrowLeft")
    edge.press("ArrowLeft")
    notebook.wait_until("painter.pad", [16, 0, 0, 0])
    expect(edge).to_have_attribute("aria-valuetext", "16 pixels")
    edge.press("Home")
    notebook.wait_until("painter.pad", [0, 0, 0, 0])
    # and nothing of all this has reached the notebook
    assert len(notebook.cells) == 2
    assert ask("painter.problem") == ""


def test_tools_maps_cells_edges_and_files(notebook: Notebook, root: Locator) -> None:
    page = notebook.page
    # a rectangle and a lasso by mouse
    root.locator("[data-value=rectangle]").click()
    drag(root, [(-0.05, -0.05), (0.5, 0.5)])
    notebook.wait_until("painter.mask and painter.mask.getbbox()[:2]", [0, 0])
    right, bottom = notebook.ask("painter.mask.getbbox()[2:]")
    assert abs(right - 49) <= 1 and abs(bottom - 33) <= 1
    root.locator("[data-value=lasso]").click()
    drag(root, [(0.6, 0.6), (1.05, 0.6), (1.05, 1.05), (0.6, 1.05)])
    notebook.wait_until("painter.mask.getbbox()", [0, 0, 96, 64])
    assert mask_of(notebook)[63, 95] == 255
    # a map and its threshold
    notebook.ask("painter.take_map(np.tile(np.linspace(0, 1, 96), (64, 1)), 0.5)")
    slider = root.locator(".sdw-pt-map input")
    expect(slider).to_have_value("0.5")
    slider.focus()
    slider.press("End")
    notebook.wait_until("painter.mask.getbbox()[0]", 95)
    slider.press("PageDown")
    notebook.wait_until("painter.threshold < 0.95")
    wait_for_tint(notebook)
    # latent cells: the page shows what Python has
    root.locator("button", has_text="Latent cells").click()
    expect(root.locator(".sdw-pt-foot")).to_contain_text(
        f"paints over {notebook.ask('int((painter.cells > 0).sum())')} of 12 x 8 cells"
    )
    levels = root.locator(".sdw-pt-cells canvas").evaluate(
        """canvas => [...canvas.getContext('2d').getImageData(0, 0, 12, 8).data]
            .filter((_, i) => i % 4 === 3).map(alpha => alpha > 0)"""
    )
    assert levels == notebook.ask("(painter.cells > 0).ravel().tolist()")
    root.locator("button", has_text="Latent cells").click()
    root.locator("button", has_text="Done").click()
    notebook.wait_until("painter.mapped", False)
    # an edge dragged outwards: in whole cells
    edge = root.locator("[data-side=right]")
    box = edge.bounding_box()
    assert box
    scale = image_box(root)[2] / 96
    page.mouse.move(box["x"] + 8, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 8 + 13 * scale, box["y"] + 30, steps=3)
    page.mouse.up()
    notebook.wait_until("painter.pad", [0, 0, 16, 0])
    set_size(root, 5)
    root.locator("[data-value=brush]").click()
    before = mask_of(notebook)
    drag(root, [(0.1, 0.1), (0.1, 0.5)])  # the image is where it is shown now
    notebook.wait_until("painter.undos > 0")
    # a file, chosen, and one that is none
    files = root.locator("input[type=file]")
    files.set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b"no image"})
    expect(root.locator(".sdw-error")).to_contain_text("format is none of")
    assert not np.array_equal(mask_of(notebook), before)
    notebook.ask("photo(40, 30).tofile('raw') or Image.fromarray(photo(40, 30)).save('new.png')")
    data = base64.b64decode(notebook.ask("base64.b64encode(open('new.png','rb').read()).decode()"))
    files.set_input_files({"name": "new.png", "mimeType": "image/png", "buffer": data})
    notebook.wait_until("painter.image.size", [40, 30])
    assert notebook.ask("[painter.mask, painter.pad, painter.problem]") == [None, [0, 0, 0, 0], ""]


def test_pens_press_and_fingers_move(
    notebook: Notebook, root: Locator, devtools: CDPSession
) -> None:
    left, top, width, height = image_box(root)

    def touch(kind: str, *points: Place) -> None:
        places = [
            {"x": left + x * width, "y": top + y * height, "id": i}
            for i, (x, y) in enumerate(points)
        ]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    def pen(kind: str, x: float, y: float, force: float) -> None:
        event = {"type": kind, "x": left + x * width, "y": top + y * height, "force": force}
        more = {"pointerType": "pen", "button": "left", "buttons": 1}
        devtools.send("Input.dispatchMouseEvent", event | more)

    set_size(root, 9)
    # one finger paints
    touch("touchStart", (0.2, 0.5))
    touch("touchMove", (0.6, 0.5))
    touch("touchEnd")
    notebook.wait_until("painter.undos", 1)
    painted = mask_of(notebook)
    assert painted[32, 30] == 255
    # two move and zoom, and what the first had begun to paint is gone
    touch("touchStart", (0.4, 0.2))
    touch("touchStart", (0.4, 0.2), (0.6, 0.2))
    touch("touchMove", (0.3, 0.2), (0.7, 0.2))
    touch("touchEnd")
    now = image_box(root)
    assert now[2] == pytest.approx(2 * width, rel=0.02)
    assert now[0] + now[2] * 0.5 == pytest.approx(left + width * 0.5, abs=2)
    root.locator("button", has_text="Fit").click()
    assert np.array_equal(mask_of(notebook), painted)
    # a pen that is pressed harder paints wider
    notebook.ask("painter.clear()")
    expect(root.locator("button", has_text="Clear")).to_have_attribute("aria-disabled", "true")
    pen("mousePressed", 0.1, 0.5, 0.1)
    pen("mouseMoved", 0.5, 0.5, 0.5)
    pen("mouseMoved", 0.9, 0.5, 1.0)
    pen("mouseReleased", 0.9, 0.5, 1.0)
    notebook.wait_until("painter.mask is not None")
    high = (mask_of(notebook) == 255).sum(0)
    assert high[12] < high[46] < high[84]
    assert 8 <= high[84] <= 10
    expect(root.locator("button", has_text="Pressure")).to_be_visible()
