"""The autoencoder lab in JupyterLab, on the bundled autoencoders."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect
from real_jupyter import WAIT, Notebook, Server, write_notebook

pytestmark = pytest.mark.browser

Open = Callable[..., Notebook]

WINDOW = {"width": 1360, "height": 1400}
LAB = "import sdwidgets as sdw\nlab = sdw.Lab(autoencoders=['KL-f4', 'KL-f8', 'VQ-f8'])\nlab"
ANEW = """
def anew():
    lab.show('bee-boat')
    lab.chosen, lab.active = ['KL-f4', 'KL-f8', 'VQ-f8'], 'KL-f8'
    lab.side, lab.view, lab.panel = 128, 'rebuilt', 'latents'
    lab.wait()
"""


def file_of(image: Image.Image, name: str = "photo.png") -> dict[str, Any]:
    """A file as a page is given one."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": stream.getvalue()}


def noise(width: int, height: int) -> Image.Image:
    """A picture whose file is as large as its pixels."""
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """A page for this file alone."""
    context = browser.new_context(viewport=WINDOW)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def opened(lab: Server, page: Page) -> Iterator[Notebook]:
    """A notebook with a Lab."""
    notebook = Notebook(page, lab, write_notebook(lab.root, "lab", LAB, ANEW))
    notebook.load()
    notebook.run()
    yield notebook
    assert notebook.problems == []


@pytest.fixture
def notebook(opened: Notebook) -> Notebook:
    """The same, with the first sample and nothing chosen."""
    opened.page.mouse.move(0, 0)
    opened.settle()
    opened.ask("anew()")
    expect(root_of(opened)).to_have_attribute("data-active", "KL-f8")
    expect(root_of(opened)).to_have_attribute("data-panel", "latents")
    return opened


@pytest.fixture
def root(notebook: Notebook) -> Locator:
    return root_of(notebook)


def root_of(notebook: Notebook) -> Locator:
    return notebook.page.locator(".sdw-lab").first


def frame(root: Locator, name: str) -> Locator:
    return root.locator(f".sdw-lab-cell[data-name='{name}'] .sdw-lab-frame")


def colour(image: Locator) -> list[int]:
    """The mean colour of a picture, as the browser decodes it."""
    return image.evaluate(
        """async image => {
            await image.decode();
            const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
            const context = canvas.getContext('2d');
            context.drawImage(image, 0, 0);
            const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
            const sums = [0, 0, 0];
            data.forEach((value, i) => { if (i % 4 < 3) sums[i % 4] += value; });
            return sums.map(sum => Math.round(sum / (canvas.width * canvas.height)));
        }"""
    )


def wait_for_colour(image: Locator, matches: Callable[[list[int]], bool]) -> None:
    """Wait until the mean colour of an image is right: pixels come after the numbers about them."""
    for _ in range(1000):
        if matches(colour(image)):
            return
        image.page.wait_for_timeout(50)
    raise AssertionError(f"the mean colour stayed {colour(image)}")


def name_of(root: Locator) -> Locator:
    """Of the picture on show."""
    return root.locator(".sdw-lab-original figcaption")


# -------------------------------------------------------------------------------- the comparison


def test_pressed_autoencoders_are_side_by_side(notebook: Notebook, root: Locator) -> None:
    root.locator(".sdw-lab-chip[data-name='KL-f4']").click()
    cells = root.locator(".sdw-lab-cell[data-name]")
    expect(cells).to_have_count(2)
    notebook.wait_until("[one.name for one in lab.results] == ['KL-f8', 'VQ-f8']")
    for name in ("KL-f8", "VQ-f8"):
        psnr = notebook.ask(f"next(one.psnr for one in lab.results if one.name == {name!r})")
        numbers = root.locator(f".sdw-lab-cell[data-name='{name}'] dd")
        expect(numbers.first).to_have_text(f"{psnr:.1f} dB")


def test_the_pictures_are_the_kernel_s(notebook: Notebook, root: Locator) -> None:
    root.locator(".sdw-lab-sample").nth(1).click()
    expect(name_of(root)).to_have_text(notebook.ask("lab.samples[1]['name']"))
    notebook.ask("lab.wait()")
    expect(root.locator(".sdw-lab-cell[data-stale]")).to_have_count(0)
    for i, name in enumerate(notebook.ask("list(lab.chosen)")):
        mean = f"__import__('numpy').asarray(lab.results[{i}].image).mean((0, 1)).tolist()"
        wanted = pytest.approx(notebook.ask(mean), abs=1)
        wait_for_colour(frame(root, name).locator(".sdw-lab-image").first, wanted.__eq__)


def test_a_click_makes_an_autoencoder_the_active_one(notebook: Notebook, root: Locator) -> None:
    frame(root, "VQ-f8").click()
    expect(root).to_have_attribute("data-active", "VQ-f8")
    notebook.wait_until("lab.active == lab.latents.name == 'VQ-f8'")
    frame(root, "KL-f4").focus()
    notebook.page.keyboard.press("Enter")
    notebook.wait_until("lab.active == 'KL-f4'")


def test_the_line_of_before_and_after_moves_by_keys_and_by_dragging(
    notebook: Notebook, root: Locator
) -> None:
    root.locator("[data-value=slider]").click()
    first, last = frame(root, "KL-f4"), frame(root, "VQ-f8")
    first.focus()
    notebook.page.keyboard.press("ArrowLeft")
    at = int(first.get_attribute("aria-valuenow") or 0)
    assert at < 50 or at > 50
    expect(last).to_have_attribute("aria-valuenow", str(at))

    box = last.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    notebook.page.mouse.move(box["x"] + box["width"] / 2, middle)
    notebook.page.mouse.down()
    notebook.page.mouse.move(box["x"] + 0.25 * box["width"], middle, steps=3)
    notebook.page.mouse.up()
    expect(first).to_have_attribute("aria-valuenow", "25")
    line, before = first.locator(".sdw-lab-line"), first.locator(".sdw-lab-before")
    expect(line).to_be_visible()
    assert "75%" in before.evaluate("one => getComputedStyle(one).clipPath")


def test_error_maps_are_the_kernel_s_on_one_scale(notebook: Notebook, root: Locator) -> None:
    root.locator("[data-value=error]").click()
    largest = notebook.ask("max(float(one.error.max()) for one in lab.results)")
    expect(root.locator(".sdw-lab-scale")).to_contain_text(f"{largest:.0f} of 255")
    map_ = frame(root, "KL-f8").locator(".sdw-lab-error")
    expect(map_).to_be_visible()
    green = map_.evaluate(  # rises all along the scale
        """canvas => [...canvas.getContext('2d')
            .getImageData(0, 0, canvas.width, canvas.height).data].filter((_, i) => i % 4 == 1)"""
    )
    error = notebook.ask("lab.results[1].error.ravel().tolist()")
    brightest = int(np.argmax(error))
    assert green[brightest] == max(green)


def test_nothing_moves_when_another_picture_is_looked_at(notebook: Notebook, root: Locator) -> None:
    boxes = """root => ['.sdw-lab-chips', '.sdw-lab-cells', '.sdw-lab-tabs'].map(name => {
        const [a, b] = [root.querySelector(name), root].map(one => one.getBoundingClientRect());
        return [a.x - b.x, a.y - b.y, a.width, a.height].map(Math.round);
    })"""
    before = root.evaluate(boxes)
    root.locator(".sdw-lab-sample").nth(2).click()
    assert root.evaluate(boxes) == before
    root.locator("input[type=file]").first.set_input_files(file_of(noise(90, 40)))  # type: ignore[arg-type]
    expect(name_of(root)).to_have_text("photo.png")
    assert root.evaluate(boxes) == before
    notebook.ask("lab.wait()")
    assert root.evaluate(boxes) == before


def test_pointing_at_the_picture_asks_what_it_touches(notebook: Notebook, root: Locator) -> None:
    root.locator(".sdw-lab-original .sdw-lab-box").hover()
    notebook.wait_until("lab.touch is not None and lab.touch.of == 'pixel'")
    assert notebook.ask("abs(lab.touch.x - 64) <= 1 and abs(lab.touch.y - 64) <= 1")
    expect(root.locator(".sdw-lab-spot").first).to_be_visible()


# ------------------------------------------------------------------------------ pictures that come


def test_a_file_is_opened(notebook: Notebook, root: Locator) -> None:
    red = file_of(Image.new("RGB", (96, 48), (200, 30, 30)), "red.png")
    root.locator("input[type=file]").first.set_input_files(red)  # type: ignore[arg-type]
    expect(name_of(root)).to_have_text("red.png")
    assert notebook.ask("lab.picture.image.size") == [96, 48]
    assert colour(root.locator(".sdw-lab-original img")) == [200, 30, 30]
    expect(root.locator(".sdw-lab-sample[aria-checked=true]")).to_have_count(0)


def test_a_large_file_comes_in_parts(notebook: Notebook, root: Locator) -> None:
    large = file_of(noise(1024, 1024), "large.png")
    assert len(large["buffer"]) > 3 * 2**20
    root.locator("input[type=file]").first.set_input_files(large)  # type: ignore[arg-type]
    expect(name_of(root)).to_have_text("large.png")
    assert notebook.ask("lab.picture.image.size") == [128, 128]


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_picture_comes_by(event: str, notebook: Notebook, root: Locator) -> None:
    green = list(file_of(Image.new("RGB", (64, 64), (20, 160, 40)))["buffer"])
    root.locator(".sdw-lab-open").evaluate(
        """(target, [kind, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], 'green.png'));
            const how = {bubbles: true, cancelable: true};
            target.dispatchEvent(kind === 'drop'
                ? new DragEvent('drop', {...how, dataTransfer: transfer})
                : new ClipboardEvent('paste', {...how, clipboardData: transfer}));
        }""",
        [event, green],
    )
    expect(name_of(root)).to_have_text("green.png")
    assert notebook.page.evaluate("() => panel.content.widgets.length") == 2


def test_a_file_that_is_no_picture_is_refused_and_the_picture_stays(
    notebook: Notebook, root: Locator
) -> None:
    bad = {"name": "notes.png", "mimeType": "image/png", "buffer": b"these are no pixels"}
    root.locator("input[type=file]").first.set_input_files(bad)  # type: ignore[arg-type]
    expect(root).to_have_attribute("data-state", "error")
    expect(root.locator(".sdw-lab-wrong")).to_have_text(notebook.ask("lab.message"))
    expect(name_of(root)).to_have_text("bee-boat")
    expect(root.locator(".sdw-lab-cell[data-stale]")).to_have_count(0)
    root.locator(".sdw-lab-sample").nth(1).click()
    expect(root.locator(".sdw-lab-wrong")).to_have_text("")


def test_a_file_over_the_limit_is_refused_in_the_page(notebook: Notebook, root: Locator) -> None:
    huge = {"name": "huge.png", "mimeType": "image/png", "buffer": b"\0" * (17 * 2**20)}
    root.locator("input[type=file]").first.set_input_files(huge)  # type: ignore[arg-type]
    expect(root.locator(".sdw-lab-wrong")).to_contain_text("huge.png has 17.0 MB")
    expect(name_of(root)).to_have_text("bee-boat")
    assert notebook.ask("lab.state") == "idle"


# ------------------------------------------------------------------------------------ the panels


def panel(root: Locator, name: str) -> Locator:
    """The panel under this tab, on show."""
    root.locator(f".sdw-lab-tabs [data-name={name}]").click()
    expect(root).to_have_attribute("data-panel", name)
    return root.locator("[role=tabpanel] > :not([hidden])")


def test_channels_of_the_latents_are_shown(root: Locator) -> None:
    canvases = panel(root, "latents").locator("canvas.sdw-lab-channel")
    expect(canvases).to_have_count(4)
    for i in range(4):
        expect(canvases.nth(i)).to_have_attribute("width", "16")


def test_arrow_keys_move_the_cell_and_ask_what_it_touches(
    notebook: Notebook, root: Locator
) -> None:
    cells = panel(root, "latents").locator(".sdw-lab-grid[tabindex='0']")
    cells.focus()
    notebook.page.keyboard.press("ArrowRight")
    notebook.page.keyboard.press("ArrowDown")
    notebook.wait_until("lab.touch is not None and lab.touch.of == 'cell'")
    x, y = notebook.ask("[lab.touch.x, lab.touch.y]")
    assert (x, y) in {(9, 9), (9, 8)}
    expect(frame(root, "KL-f8").locator(".sdw-lab-heat")).to_be_visible()


def test_codes_are_mapped_and_counted(notebook: Notebook, root: Locator) -> None:
    frame(root, "VQ-f8").click()
    notebook.wait_until("lab.latents is not None and lab.latents.codes is not None")
    used = notebook.ask("lab.latents.codes.used")
    expect(panel(root, "latents")).to_contain_text(f"{used} of 1024 used")


def test_a_channel_is_knocked_out_and_brought_back(notebook: Notebook, root: Locator) -> None:
    play = panel(root, "play")
    picture = play.locator("img.sdw-lab-big")
    expect(play.locator(".sdw-lab-control")).to_have_count(4)
    before = colour(picture)
    knock = play.locator(".sdw-lab-control button").nth(2)
    knock.click()
    expect(knock).to_have_attribute("aria-pressed", "true")
    notebook.wait_until("bool((lab.edited.latents[2] == 0).all())")
    wait_for_colour(picture, lambda mean: mean != before)
    play.get_by_role("button", name="Undo").click()
    expect(knock).to_have_attribute("aria-pressed", "false")
    notebook.wait_until("lab.edited.edits == ()")
    wait_for_colour(picture, lambda mean: mean == before)


def test_paint_on_the_latents_changes_the_decoded_picture(
    notebook: Notebook, root: Locator
) -> None:
    play = panel(root, "play")
    picture, canvas = play.locator("img.sdw-lab-big"), play.locator(".sdw-lab-paint")
    expect(canvas).to_have_attribute("width", "16")
    before = colour(picture)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    middle = box["y"] + 0.52 * box["height"]
    notebook.page.mouse.move(box["x"] + 0.25 * box["width"], middle)
    notebook.page.mouse.down()
    notebook.page.mouse.move(box["x"] + 0.75 * box["width"], middle, steps=12)
    notebook.page.mouse.up()
    expect(play.get_by_role("button", name="Undo")).to_have_attribute("aria-disabled", "false")
    notebook.wait_until("len(lab.edited.edits) == 1")
    notebook.wait_until("bool((lab.edited.latents[:, 8, 5:11] == 3).all())")
    notebook.ask("lab.wait()")
    wait_for_colour(picture, lambda mean: mean != before)


def test_reset_brings_the_sliders_back(notebook: Notebook, root: Locator) -> None:
    play = panel(root, "play")
    noise_of = play.get_by_role("slider", name="Standard deviation of the added noise")
    noise_of.focus()
    for _ in range(3):
        notebook.page.keyboard.press("ArrowRight")
    notebook.wait_until("len(lab.edited.edits) == 1")
    play.get_by_role("button", name="Reset").click()
    notebook.wait_until("lab.edited.edits == ()")
    expect(noise_of).to_have_value("0")


def test_a_slider_goes_from_one_picture_to_the_other(notebook: Notebook, root: Locator) -> None:
    between = panel(root, "between")
    notebook.wait_until("lab.between is not None")
    slider, pixels = between.locator("input[type=range]"), between.locator("img.sdw-lab-big").nth(1)
    expect(slider).to_be_enabled()
    ends = []
    for at in ("0", "100"):
        slider.fill(at)
        ends.append(colour(pixels))
    mean = "__import__('numpy').asarray({}.image).mean((0, 1)).tolist()"
    for shown, picture in zip(ends, ("lab.picture", "lab.second"), strict=True):
        assert shown == pytest.approx(notebook.ask(mean.format(picture)), abs=2)


def test_a_slider_goes_through_the_noise_levels(notebook: Notebook, root: Locator) -> None:
    noisy = panel(root, "noise")
    notebook.wait_until("lab.noise is not None and lab.noise.is_whole")
    slider, words = noisy.locator("input[type=range]"), noisy.locator("output")
    expect(slider).to_have_attribute("max", "20")
    for at in (0, 20):
        slider.fill(str(at))
        expect(words).to_contain_text(f"t = {notebook.ask(f'lab.noise.levels[{at}].t')},")


# ---------------------------------------------------------------------------------- the notebook


def test_keys_in_the_lab_do_nothing_to_the_notebook(notebook: Notebook, root: Locator) -> None:
    places = [".sdw-lab-open", ".sdw-lab-chip", ".sdw-lab-frame[tabindex]", "[role=tab]"]
    for place in places:
        root.locator(place).first.focus()
        notebook.page.keyboard.type("dd")
    root.locator(".sdw-lab-original figcaption").click()  # the focus is then the lab's own
    notebook.page.keyboard.type("dd")
    assert notebook.page.evaluate("() => panel.content.widgets.length") == 2


def test_a_saved_lab_is_seen_without_a_kernel(load_notebook: Open) -> None:
    notebook = load_notebook(LAB)
    notebook.run()
    notebook.ask("lab.wait()")
    expect(root_of(notebook)).to_have_attribute("data-state", "idle")
    rebuilt = ".sdw-lab-cell[data-name] [src].sdw-lab-image:not(.sdw-lab-before)"
    expect(root_of(notebook).locator(rebuilt)).to_have_count(3)
    expect(root_of(notebook).locator("canvas.sdw-lab-channel")).to_have_count(4)
    notebook.save()
    notebook.shut_down()
    notebook.load()
    root = root_of(notebook)
    root.wait_for(timeout=WAIT * 1000)  # it is made once the whole notebook is restored
    expect(root.locator(".sdw-lab-cell[data-name]")).to_have_count(3)
    expect(frame(root, "KL-f4").locator("img").first).to_be_visible()
    root.locator("[data-value=slider]").click()
    expect(frame(root, "KL-f4").locator(".sdw-lab-line")).to_be_visible()
    root.locator(".sdw-lab-sample").nth(1).click()
    expect(root.locator(".sdw-lab-status")).to_have_text(
        "The kernel has ended: run the cell again."
    )
    assert notebook.problems == []
