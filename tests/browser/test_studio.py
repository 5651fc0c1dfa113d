"""The Studio in real front ends: JupyterLab and Notebook 7, on the bundled model."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoint_files import write_header
from foreign_images import exif_image
from kinds_of_files import FILES
from playwright.sync_api import Locator, expect
from published import shapes_of
from real_jupyter import ROOT, Notebook, Server, keep_screenshot, until, use_theme

from sdwidgets.configs import SDXL

pytestmark = pytest.mark.browser

STUDIO = """
import sdwidgets as sdw
studio = sdw.Studio(prompt="a cat left of a car on a blue background", seed=7)
studio
"""

# The bundled model, half a second a step.
SLOW_STUDIO = """
import time
import sdwidgets as sdw
from sdwidgets.manager import ModelManager

def load(name, **options):
    model = sdw.load(name, **options)
    model.unet.register_forward_hook(lambda *_: time.sleep(0.5))
    return model

studio = sdw.Studio(manager=ModelManager(load=load), prompt="a cat", seed=7)
studio
"""

Open = Callable[..., Notebook]


def test_the_first_lesson_runs_and_a_click_makes_an_image(load_notebook: Open) -> None:
    notebook = load_notebook(file=ROOT / "notebooks" / "01_first_picture.ipynb")
    notebook.run()
    notebook.wait_for_state("done")
    # Nothing of what the page shows is measured in time: it keeps count of the previews itself.
    notebook.find(".sdw-seed input").fill("9")
    notebook.generate()
    previews = int(notebook.find(".sdw-picture").get_attribute("data-frames") or 0)
    assert previews >= 5
    picture = notebook.find(".sdw-v-final")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [128, 128]
    expect(notebook.page.locator(".sdw-thumb")).to_have_count(2)
    assert notebook.problems == []
    if os.environ.get("SDWIDGETS_SCREENSHOT"):
        # With all of it in the window, and a little paper around it.
        notebook.page.set_viewport_size({"width": 1280, "height": 1300})
        style = ".sdw-studio.sdw-studio { padding: 14px; max-width: 1108px; }"
        keep_screenshot(notebook.find(".sdw-studio"), "studio", style=style)


def test_stop_ends_the_run_within_a_step(open_notebook: Open) -> None:
    notebook = open_notebook(SLOW_STUDIO)
    notebook.run()
    notebook.find(".sdw-generate").click()
    notebook.wait_for_frames(2)
    before = int(notebook.find(".sdw-picture").get_attribute("data-frames") or 0)
    notebook.find(".sdw-stop").click()
    notebook.wait_for_state("stopped")
    after = int(notebook.find(".sdw-picture").get_attribute("data-frames") or 0)
    assert after <= before + 2  # the step under way at the click, and one shown just before it
    expect(notebook.find(".sdw-status")).to_contain_text("Stopped after")


def test_stop_works_while_a_cell_runs(open_notebook: Open) -> None:
    # Kernels without subshells handle the click when the cell has ended, and it ends the run then.
    notebook = open_notebook(SLOW_STUDIO, "studio.generate()\nstudio.wait()")
    notebook.start()
    notebook.wait_for_frames(1)
    notebook.find(".sdw-stop").click()
    notebook.wait_for_state("stopped")
    notebook.page.evaluate("() => window.ran")


def test_an_error_shows_and_clears_and_the_image_stays(open_notebook: Open) -> None:
    notebook = open_notebook(STUDIO)
    notebook.run()
    notebook.find(".sdw-generate").click()
    notebook.wait_for_state("done")
    notebook.find(".sdw-more").click()
    width = notebook.find(".sdw-width input")
    width.fill("33")
    notebook.find(".sdw-generate").click()
    notebook.wait_for_state("error")
    expect(notebook.page.get_by_role("alert").filter(has_text="33")).to_contain_text("32")
    expect(notebook.find(".sdw-v-final")).to_be_visible()
    width.fill("64")
    width.blur()
    notebook.wait_for_state("done")  # corrected, the field has no error any more
    expect(notebook.find(".sdw-said-row .sdw-error")).to_be_empty()
    notebook.generate()


@pytest.mark.parametrize("steps", ["0", "1000000000"])
def test_impossible_steps_are_refused_in_words(open_notebook: Open, steps: str) -> None:
    notebook = open_notebook(STUDIO)
    notebook.run()
    notebook.find(".sdw-steps input").fill(steps)
    notebook.find(".sdw-generate").click()
    notebook.wait_for_state("error")
    expect(notebook.find(".sdw-said-row .sdw-error")).to_contain_text("steps must be 1 to 1000")


def test_the_keyboard_alone_does_it(open_notebook: Open) -> None:
    notebook = open_notebook(STUDIO, "'a second cell'")
    notebook.run()
    page = notebook.page
    prompt = notebook.find(".sdw-prompt textarea")
    prompt.focus()
    prompt.fill("a star above a house")
    notebook.generate(lambda: page.keyboard.press("Control+Enter"))
    expect(notebook.find(".sdw-thumb")).to_have_attribute(
        "aria-label", re.compile("a star above a house")
    )
    # From the prompt on, Tab reaches every control once, each with a name.
    reached = []
    for _ in range(18):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("""() => {
                const e = document.activeElement;
                const label = e.labels?.[0]?.textContent;
                return label || e.getAttribute('aria-label') || e.textContent || e.title;
            }""")
        )
    wanted = [
        "Words this model knows",
        "Generate",
        "Stop",
        "negative prompt",
        "seed",
        "A new random seed",
        "steps",
        "guidance",
    ]
    assert reached[:8] == wanted
    assert "step on show" in reached
    assert "Download PNG" in reached
    assert any("a star above a house" in name for name in reached)


@pytest.mark.parametrize(
    "selector", [".sdw-generate", ".sdw-dice", ".sdw-seed input", ".sdw-v-slider", ".sdw-thumb"]
)
def test_keys_in_the_widget_never_reach_the_notebook(open_notebook: Open, selector: str) -> None:
    notebook = open_notebook(STUDIO, "'a second cell'", "'a third cell'")
    notebook.run()
    notebook.find(".sdw-generate").click()
    notebook.wait_for_state("done")
    before = [cell["source"] for cell in notebook.cells]
    notebook.find(selector).focus()
    for key in ("d", "d", "x", "b", "a", "ArrowDown"):
        notebook.page.keyboard.press(key)
    assert [cell["source"] for cell in notebook.cells] == before
    assert notebook.page.evaluate("() => window.panel.content.mode") == "command"


def test_a_page_loaded_again_finds_the_run_going_on(load_notebook: Open) -> None:
    notebook = load_notebook(SLOW_STUDIO, "studio.steps = 500")
    notebook.run()
    notebook.find(".sdw-generate").click()
    notebook.wait_for_frames(2)
    notebook.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    notebook.load()
    notebook.wait_for_state("running")
    notebook.wait_for_frames(2)
    notebook.find(".sdw-stop").click()
    notebook.wait_for_state("stopped")


def test_a_second_view_shows_the_same_run(open_notebook: Open) -> None:
    notebook = open_notebook(STUDIO, "studio")
    notebook.run()
    notebook.find(".sdw-generate").click()
    notebook.page.wait_for_function(
        "() => document.querySelectorAll('.sdw-studio[data-state=done]').length === 2"
    )
    expect(notebook.page.locator(".sdw-thumb")).to_have_count(2)


MALICE = (
    '$x^2$ <img src=x data-malice onerror="window.broken=1">'
    "<script data-malice>window.broken=1</script>"
    '<a data-malice href="javascript:window.broken=1">x</a> {{7*7}} $x^2$ **b**'
)


@pytest.mark.parametrize("model", ["emoji", MALICE])
def test_malicious_text_is_only_text(open_notebook: Open, model: str) -> None:
    notebook = open_notebook(STUDIO, "studio.chunks = 1")
    notebook.run()
    dialogs: list[str] = []
    notebook.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    names = notebook.page.evaluate("() => Object.keys(window)")
    notebook.find(".sdw-more").click()
    notebook.find(".sdw-model input").fill(model)
    long = "a cat " * 40 + MALICE  # so that it is among the words that were cut, too
    for field, text in ((".sdw-prompt textarea", long), (".sdw-negative-prompt input", MALICE)):
        notebook.find(field).fill(text)
    notebook.find(".sdw-generate").click()
    notebook.wait_for_state("loading", "running", "error")
    notebook.wait_for_state("done" if model == "emoji" else "error")
    said = notebook.find(".sdw-status" if model == "emoji" else ".sdw-said-row .sdw-error")
    expect(said).to_contain_text("<img src=x data-malice")
    made = "() => document.querySelectorAll('[data-malice], [onerror], mjx-container').length"
    assert notebook.page.evaluate(made) == 0
    new = notebook.page.evaluate(
        "names => Object.keys(window).filter((name) => !names.includes(name))", names
    )
    assert new == []
    assert dialogs == []


def test_a_chosen_file_is_described_before_it_is_loaded(
    open_notebook: Open, tmp_path: Path
) -> None:
    """A model, a LoRA, and what is no file of weights; by keys alone."""
    whole = write_header(tmp_path / "dreams.safetensors", shapes_of(SDXL, "sgm"))
    lora = write_header(tmp_path / "puppet.safetensors", FILES["kohya SD1"][0])
    (tmp_path / "broken.safetensors").write_bytes(b"<!doctype html>")
    notebook = open_notebook(STUDIO)
    notebook.run()
    page = notebook.page
    notebook.find(".sdw-more").click()
    field, about = notebook.find(".sdw-model input"), notebook.find(".sdw-about")
    said = {
        whole: "Stable Diffusion XL, 6.94 GB of float16, predicts eps",
        lora: "LoRA, rank 4, for Stable Diffusion 1, 9.16 kB of float16. It is no whole model; "
        "use it with model.with_lora('puppet.safetensors').",
        tmp_path / "broken.safetensors": "broken.safetensors is a web page",
    }
    for path, words in said.items():
        field.fill(str(path))
        page.keyboard.press("Enter")
        expect(about).to_contain_text(words)
        assert str(tmp_path) not in (about.text_content() or "")
        keep_screenshot(notebook.find(".sdw-studio"), path.stem, "out/described")
    field.fill("emoji")
    page.keyboard.press("Enter")
    expect(about).not_to_contain_text("web page")
    assert notebook.problems == []


def test_words_that_were_cut_are_named(open_notebook: Open) -> None:
    notebook = open_notebook(STUDIO, "studio.chunks = 1")
    notebook.run()
    notebook.find(".sdw-prompt textarea").fill("a cat " * 40 + "penguin")
    notebook.find(".sdw-generate").click()
    notebook.wait_for_state("done")
    expect(notebook.find(".sdw-status")).to_contain_text("penguin")


def test_an_earlier_image_comes_back_with_its_settings(open_notebook: Open) -> None:
    notebook = open_notebook(STUDIO)
    notebook.run()
    prompt, seed = notebook.find(".sdw-prompt textarea"), notebook.find(".sdw-seed input")
    thumbs = notebook.page.locator(".sdw-thumb")
    for number, text in enumerate(("a cat", "a star above a house"), start=1):
        prompt.fill(text)
        seed.fill(str(number))
        notebook.find(".sdw-generate").click()
        expect(thumbs).to_have_count(number)
        notebook.wait_for_state("done")
    thumbs.first.click()
    expect(prompt).to_have_value("a cat")
    expect(seed).to_have_value("1")
    picture = notebook.find(".sdw-v-final")
    expect(picture).to_have_attribute("alt", "the image for: a cat, seed 1")
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 128
    expect(thumbs.first).to_have_attribute("aria-current", "true")


def made_twice(notebook: Notebook) -> None:
    """Run with the seeds 1 and 2."""
    for number in (1, 2):
        notebook.find(".sdw-seed input").fill(str(number))
        notebook.find(".sdw-generate").click()
        expect(notebook.page.locator(".sdw-thumb")).to_have_count(number)
        notebook.wait_for_state("done")


def test_earlier_results_are_enlarged_compared_pinned_and_deleted(open_notebook: Open) -> None:
    notebook = open_notebook(STUDIO, "studio.batch_size, studio.steps = 2, 4")
    notebook.run()
    page, thumbs = notebook.page, notebook.page.locator(".sdw-thumb")
    made_twice(notebook)

    def button(words: str) -> Locator:
        return page.locator(".sdw-history").get_by_role("button", name=words, exact=True)

    button("Enlarge").click()
    large = page.locator("dialog figure img")
    expect(large).to_have_count(2)  # every image of the batch
    sizes = "images => Promise.all(images.map(i => i.decode().then(() => i.naturalWidth)))"
    assert large.evaluate_all(sizes) == [128, 128]
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)

    button("Compare…").click()
    thumbs.first.click()
    comparison = page.locator(".sdw-studio .sdw-compare")
    expect(comparison).to_be_visible()
    page.get_by_role("button", name="Close the comparison").click()
    expect(comparison).to_have_count(0)

    thumbs.first.focus()
    page.keyboard.press("p")
    expect(thumbs.first).to_have_attribute("data-pinned", "")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Delete")
    expect(thumbs).to_have_count(1)
    expect(thumbs.first).to_be_focused()
    assert notebook.ask("[(one['seed'], one['pinned']) for one in studio.history.entries]") == [
        [1, True]
    ]


FILE = """async ([selector, kind, url, name]) => {
    const blob = await (await fetch(url)).blob();
    const data = new DataTransfer();
    data.items.add(new File([blob], name, {type: blob.type}));
    const init = {bubbles: true, cancelable: true};
    const event = kind === 'drop'
        ? new DragEvent('drop', {...init, dataTransfer: data})
        : new ClipboardEvent('paste', {...init, clipboardData: data});
    document.querySelector(selector).dispatchEvent(event);
}"""


def test_a_start_image_by_hand_and_a_file_that_restores_its_settings(open_notebook: Open) -> None:
    notebook = open_notebook(STUDIO, "studio.steps = 4")
    notebook.run()
    page = notebook.page
    notebook.find(".sdw-generate").click()
    notebook.wait_for_state("done")
    # a drawing of another shape, pasted while the focus is in the prompt
    picture = page.evaluate("""() => {
        const canvas = Object.assign(document.createElement('canvas'), {width: 200, height: 100});
        canvas.getContext('2d').fillRect(0, 0, 200, 100);
        return canvas.toDataURL();
    }""")
    page.evaluate(FILE, [".sdw-prompt textarea", "paste", picture, "black.png"])
    thumbnail = notebook.find(".sdw-start-thumb")
    expect(thumbnail).to_be_visible()
    assert thumbnail.evaluate("i => i.decode().then(() => [i.naturalWidth, i.naturalHeight])") == [
        96,
        96,
    ]
    expect(notebook.find(".sdw-start-note")).to_have_text("200 x 100 pixels, cropped to 128 x 128")
    notebook.find(".sdw-start-strength input").fill("0.5")
    notebook.generate()
    expect(notebook.find(".sdw-status")).to_contain_text("Done: 2 steps")
    assert notebook.find(".sdw-v-slider").evaluate("s => [s.max, s.value]") == ["1", "1"]
    assert notebook.find(".sdw-v-progress").evaluate("bar => bar.value") == 1
    page.get_by_role("button", name="Start from noise").click()
    expect(thumbnail).to_be_hidden()
    assert notebook.ask("studio.image is None and studio.strength") == 0.5

    # the first result's own file, dropped
    later = notebook.find(".sdw-v-final").get_attribute("src")
    page.locator(".sdw-thumb").first.click()
    expect(notebook.find(".sdw-thumb")).to_have_attribute("aria-current", "true")
    expect(notebook.find(".sdw-v-final")).not_to_have_attribute("src", later or "")
    url = notebook.find(".sdw-v-final").get_attribute("src")
    notebook.find(".sdw-prompt textarea").fill("a dog")
    page.evaluate(FILE, [".sdw-stop", "drop", url, "cat.png"])
    expect(notebook.find(".sdw-start-found")).to_contain_text("cat.png was made with: a cat left")
    page.get_by_role("button", name="Restore its settings").click()
    expect(notebook.find(".sdw-prompt textarea")).to_have_value(
        "a cat left of a car on a blue background"
    )

    # an image of another program, whose settings are in its Exif
    text = "a dog\nNegative prompt: a cat\nSteps: 7, Sampler: Euler a, Seed: 5, Version: 1.6"
    data = exif_image("JPEG", b"UNICODE\0" + text.encode("utf-16-be"))
    url = "data:image/jpeg;base64," + base64.b64encode(data).decode()
    page.evaluate(FILE, [".sdw-prompt textarea", "drop", url, "other.jpg"])
    expect(notebook.find(".sdw-start-found")).to_contain_text("AUTOMATIC1111: a dog")
    page.get_by_role("button", name="Restore its settings").click()
    expect(notebook.find(".sdw-prompt textarea")).to_have_value("a dog")
    expect(notebook.find(".sdw-start-said")).to_contain_text("Left out: Version: 1.6.")
    keep_screenshot(page, "foreign-settings", folder="out")
    restored = notebook.ask("[studio.seed, studio.steps, studio.sampler]")
    assert restored == [5, 7, "euler_ancestral"]


def test_the_words_that_the_model_knows_are_offered_and_others_marked(open_notebook: Open) -> None:
    notebook = open_notebook(STUDIO)
    notebook.run()
    page, prompt = notebook.page, notebook.find(".sdw-prompt textarea")
    prompt.fill("a grey ")
    prompt.press_sequentially("pengu")
    offered = page.locator(".sdw-offered [role=option]")
    expect(offered).to_have_text(["penguin", "penguins"])
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    expect(prompt).to_have_value("a grey penguin ")
    expect(prompt).to_be_focused()
    page.get_by_role("button", name="grey → gray").click()
    expect(prompt).to_have_value("a gray penguin ")
    expect(notebook.find(".sdw-unknown")).to_be_empty()
    notebook.wait_until("studio.prompt", "a gray penguin ")
    page.get_by_role("button", name="Words this model knows").click()
    page.get_by_role("button", name="two dogs above a house").click()
    expect(prompt).to_have_value("two dogs above a house")
    notebook.wait_until("studio.prompt", "two dogs above a house")


VISIBLE = """selectors => {
    const panel = document.querySelector('.jp-WindowedPanel-outer, .jp-Notebook');
    const window_ = panel.getBoundingClientRect();
    return selectors.filter(selector => {
        const box = document.querySelector(selector).getBoundingClientRect();
        return box.top < window_.top - 1 || box.bottom > window_.bottom + 1 || box.height === 0;
    });
}"""


def test_what_belongs_together_shares_the_screen(open_notebook: Open) -> None:
    notebook = open_notebook(STUDIO)
    notebook.run()
    page = notebook.page
    notebook.find(".sdw-generate").click()
    notebook.wait_for_state("done")
    everything = [".sdw-prompt", ".sdw-generate", ".sdw-v-stage", ".sdw-v-slider", ".sdw-said-row"]
    top = "selector => { document.querySelector(selector).scrollIntoView({block: 'start'}); }"
    for width, height in ((1280, 900), (1280, 720)):
        page.set_viewport_size({"width": width, "height": height})
        until(
            lambda: page.evaluate(top, ".sdw-studio") or page.evaluate(VISIBLE, everything),
            [],
            page,
        )
    notebook.find(".sdw-look").click()
    expect(notebook.find(".sdw-attention")).to_be_visible()
    page.set_viewport_size({"width": 853, "height": 480})  # 1280 x 720 at 150 %
    inside = [".sdw-v-stage", ".sdw-v-slider", ".sdw-attention .sdw-chips", ".sdw-said-row"]
    until(lambda: page.evaluate(top, ".sdw-v-body") or page.evaluate(VISIBLE, inside), [], page)


def test_the_slider_keeps_the_focus_during_a_run(open_notebook: Open) -> None:
    notebook = open_notebook(STUDIO)
    notebook.run()
    notebook.find(".sdw-generate").click()
    notebook.wait_for_state("done")
    slider = notebook.find(".sdw-v-slider")
    slider.focus()
    # Every loss of it is counted, so that nothing depends on when one looks.
    notebook.page.evaluate("""() => {
        window.left = 0;
        document.activeElement.addEventListener('blur', () => { window.left += 1; });
    }""")
    notebook.generate(lambda: notebook.page.keyboard.press("Control+Enter"))
    expect(slider).to_be_focused()
    assert notebook.page.evaluate("() => window.left") == 0


def test_the_view_alone_answers_and_keeps_its_image(open_notebook: Open) -> None:
    notebook = open_notebook(
        "import sdwidgets as sdw\nview = sdw.PictureView()\nview",
        "for step in view.watch(sdw.load().sample('a cat', seed=7)):\n    pass",
    )
    notebook.run()
    expect(notebook.find(".sdw-picture")).to_have_attribute("data-kernel", "here")
    expect(notebook.find(".sdw-picture")).to_have_attribute("data-show", "picture")
    expect(notebook.find(".sdw-v-final")).to_be_visible()
    expect(notebook.find(".sdw-download")).to_be_visible()
    expect(notebook.find(".sdw-history")).to_be_hidden()


def test_the_image_downloads_with_its_settings(open_notebook: Open, tmp_path: Path) -> None:
    from sdwidgets.trace import read_record

    notebook = open_notebook(STUDIO)
    notebook.run()
    notebook.find(".sdw-generate").click()
    notebook.wait_for_state("done")
    with notebook.page.expect_download() as download:
        notebook.find(".sdw-download").click()
    assert download.value.suggested_filename == (
        "a-cat-left-of-a-car-on-a-blue-background-seed-7.png"
    )
    record = read_record(download.value.path())
    assert record is not None
    assert record["settings"]["seed"] == 7


def test_nothing_moves_when_a_run_comes(open_notebook: Open) -> None:
    notebook = open_notebook(STUDIO)
    notebook.run()
    places = """() => [...document.querySelectorAll(
        '.sdw-studio :is(.sdw-v-stage, .sdw-small, .sdw-numbers, .sdw-words, .sdw-history)'
    )].map(e => { const r = e.getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; })"""
    before = notebook.page.evaluate(places)
    notebook.find(".sdw-generate").click()
    notebook.wait_for_frames(1)
    assert notebook.page.evaluate(places) == before
    notebook.wait_for_state("done")
    assert notebook.page.evaluate(places) == before


CONTRAST = """() => {
    const read = (color) => color.match(/[\\d.]+/g).slice(0, 3).map(Number);
    const light = (rgb) => {
        const [r, g, b] = rgb.map((v) => {
            const c = v / 255;
            return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (e) => {
        for (let at = e; at; at = at.parentElement) {
            const color = getComputedStyle(at).backgroundColor;
            if (!/rgba?\\(0, 0, 0, 0\\)|transparent/.test(color)) return color;
        }
        return 'rgb(255, 255, 255)';
    };
    window.opacity = (e) => e ? getComputedStyle(e).opacity * opacity(e.parentElement) : 1;
    // By WCAG 2.1, of a color against what is behind an element.
    window.contrast = (color, e, share = 1) => {
        const ground = read(behind(e));
        const seen = read(color).map((v, i) => share * v + (1 - share) * ground[i]);
        const pair = [light(seen), light(ground)];
        return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    };
}"""


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_text_and_focus_stand_out_in_both_themes(open_notebook: Open, theme: str) -> None:
    notebook = open_notebook(STUDIO)
    notebook.run()
    use_theme(notebook.page, theme)
    notebook.find(".sdw-generate").click()
    notebook.wait_for_state("done")  # so that there are steps and an image
    notebook.find(".sdw-prompt textarea").fill("typed")
    notebook.find(".sdw-steps input").fill("0")
    notebook.find(".sdw-generate").click()
    notebook.wait_for_state("error")
    notebook.page.evaluate(CONTRAST)
    contrasts = notebook.page.evaluate(
        """texts => [...document.querySelector('.sdw-studio').querySelectorAll(texts)]
            .filter((e) => e.offsetParent && (e.value || e.textContent))
            .map((e) => [`${e.tagName} ${e.className}`, contrast(getComputedStyle(e).color, e)])""",
        ".sdw-generate, .widget-label, .sdw-hint, figcaption, dt, dd, textarea, .sdw-download, "
        "input:not([type=range]), .sdw-v-caption span, .sdw-error, .sdw-known span, "
        ".sdw-words-more, .sdw-start .sdw-button, .sdw-acts .sdw-button:not([aria-disabled=true])",
    )
    assert {"TEXTAREA", "INPUT", "P"} <= {name.split()[0] for name, _ in contrasts}
    assert [(name, contrast) for name, contrast in contrasts if contrast < 4.5] == []

    # Tab reaches every control with a clear ring around it, and each is large enough for a finger.
    notebook.find(".sdw-prompt textarea").focus()
    reached = []
    for _ in range(20):
        notebook.page.keyboard.press("Tab")
        reached.append(
            notebook.page.evaluate("""() => {
                const e = document.activeElement;
                const {outlineStyle, outlineColor, outlineWidth} = getComputedStyle(e);
                const box = e.getBoundingClientRect();
                const ring = outlineStyle === 'solid' && parseFloat(outlineWidth) >= 2;
                const name = `${e.tagName} ${e.className}`;
                if (!e.closest('.sdw-studio')) return [name, 21, 24];
                return [name, ring ? contrast(outlineColor, e.parentElement, opacity(e)) : 1,
                        Math.min(box.width, box.height)];
            }""")
        )
    assert [(name, ring) for name, ring, _ in reached if ring < 3] == []
    assert [(name, side) for name, _, side in reached if side < 24] == []


def test_a_narrow_cell_stacks(open_notebook: Open) -> None:
    notebook = open_notebook(STUDIO)
    notebook.page.set_viewport_size({"width": 620, "height": 1000})
    notebook.run()
    stage = notebook.find(".sdw-v-stage").bounding_box()
    side = notebook.find(".sdw-v-side").bounding_box()
    root = notebook.find(".sdw-studio").bounding_box()
    assert stage and side and root
    assert side["y"] >= stage["y"] + stage["height"]
    assert side["x"] + side["width"] <= root["x"] + root["width"] + 1


def test_notebook_7(load_notebook: Open, notebook_7: Server) -> None:
    notebook = load_notebook(STUDIO, server=notebook_7)
    notebook.run()
    notebook.find(".sdw-generate").click()
    notebook.wait_for_state("done")
    assert int(notebook.find(".sdw-picture").get_attribute("data-frames") or 0) >= 5


def test_what_is_inside_comes_beside_the_stage_which_stays(open_notebook: Open) -> None:
    notebook = open_notebook(STUDIO)
    notebook.run()
    look = notebook.find(".sdw-look")
    places = """() => [...document.querySelectorAll(
        '.sdw-studio :is(.sdw-v-stage, .sdw-v-transport, .sdw-numbers, .sdw-words, .sdw-download)'
    )].map(e => { const r = e.getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; })"""
    before = notebook.page.evaluate(places)
    expect(look).to_have_attribute("aria-expanded", "false")
    look.click()
    view = notebook.find(".sdw-picture")
    expect(view.locator(".sdw-attention")).to_be_visible()
    expect(look).to_have_attribute("aria-expanded", "true")
    assert notebook.page.evaluate(places) == before
    notebook.find(".sdw-generate").click()
    notebook.wait_for_state("done")
    assert notebook.page.evaluate(places) == before
    cat = view.locator(".sdw-chip[data-word=cat]").first
    cat.hover()
    expect(view.locator(".sdw-heat-map")).to_be_visible()
    look.click()
    expect(view.locator(".sdw-pair")).to_be_visible()
    expect(view.locator(".sdw-attention")).to_have_count(0)
    expect(notebook.find(".sdw-v-final")).to_be_visible()
    assert notebook.page.evaluate(places) == before
    assert notebook.problems == []


def test_opened_after_a_run_every_step_is_there_and_has_come_once(open_notebook: Open) -> None:
    notebook = open_notebook(STUDIO)
    notebook.run()
    notebook.page.evaluate("""() => {
        window.stepsHeard = [];
        panel.sessionContext.session.kernel.anyMessage.connect((_, {msg}) => {
            const paths = msg.content.data?.buffer_paths ?? [];
            paths.forEach(([name], i) => {
                const size = msg.buffers[i].byteLength;
                if (/^(frame|more)\\d+$/.test(name) && size > 0) stepsHeard.push(name);
            });
        });
    }""")
    notebook.find(".sdw-generate").click()
    notebook.wait_for_state("done")
    notebook.find(".sdw-look").click()
    view = notebook.find(".sdw-picture")
    expect(view).to_have_attribute("data-frames", "20")
    view.locator(".sdw-v-slider").fill("3")
    view.locator(".sdw-chip[data-word=cat]").first.hover()
    expect(view.locator(".sdw-heat-map")).to_be_visible()
    expect(view.locator(".sdw-v-thumb[aria-disabled=true]")).to_have_count(0)
    heard = notebook.page.evaluate("() => stepsHeard")
    assert sorted(heard) == sorted(f"{kind}{i}" for kind in ("frame", "more") for i in range(20))
