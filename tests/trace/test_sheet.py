"""The contact sheet: its content, and texts that stay plain text."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdwidgets.configs import TINY, ModelConfig
from sdwidgets.errors import InputError
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import Settings
from sdwidgets.trace import Trace
from sdwidgets.trace.figure import INK
from sdwidgets.trace.sheet import contact_sheet, sheet_png


@pytest.fixture(scope="module")
def trace(make_model: Callable[[ModelConfig], LatentDiffusion]) -> Trace:
    return make_model(TINY).generate(
        "a cat", steps=5, seed=1, attention=True, batch_size=2, height=24
    )


def texts(sheet: Any) -> list[str]:
    return [text.get_text() for text in sheet.axes[0].texts]


def test_every_step_has_a_column_and_every_view_a_row(trace: Trace) -> None:
    sheet = contact_sheet(trace, steps=3, words=["cat"])
    assert len(sheet.axes[0].images) == 3 * 3 + 2  # the image, and the word's heat over it
    written = texts(sheet)
    titles = [text.split("\n")[0] for text in written if text.startswith("step")]
    assert titles == ["step 0", "step 2", "step 4"]
    assert written.count("image") == 1
    assert {"noisy\n$x_t$", "clean so far\n$\\hat{x}_0$", "heat of\n“cat”"} <= set(written)
    assert "“a cat”" in written
    assert written[-1] == "tiny, dpmpp_2m, 5 steps, guidance 3, seed 1"


def test_titles_say_the_noise(trace: Trace) -> None:
    written = texts(contact_sheet(trace, steps=[2]))
    assert f"step 2\nσ {trace.steps[2].sigma:.2f}" in written


def test_the_last_column_is_the_image(trace: Trace) -> None:
    sheet = contact_sheet(trace, steps=2, views="clean", picture=1)
    shown = sheet.axes[0].images[-1].get_array()
    assert np.array_equal(shown, np.asarray(trace.images[1]))
    assert texts(sheet)[-1].endswith("seed 2")


def test_it_is_as_wide_as_asked_with_images_of_their_shape(trace: Trace) -> None:
    sheet = contact_sheet(trace, width=5)
    assert sheet.get_figwidth() == 5
    left, right, bottom, top = sheet.axes[0].images[0].get_extent()
    assert (bottom - top) / (right - left) == pytest.approx(24 / 16)
    for image in sheet.axes[0].images:
        assert 0 <= image.get_extent()[0] < image.get_extent()[1] <= 5 + 1e-6


def test_more_steps_than_there_are_is_all_of_them(trace: Trace) -> None:
    titles = [text for text in texts(contact_sheet(trace, steps=9)) if text.startswith("step")]
    assert len(titles) == 5


def test_a_stopped_runs_image_is_called_a_guess(trace: Trace) -> None:
    assert "best guess" in texts(contact_sheet(replace(trace, complete=False)))


def test_steps_of_someones_own_loop_have_a_sheet(trace: Trace) -> None:
    own = Trace("", "", Settings(sampler="", schedule=""), steps=trace.steps, expected=5)
    sheet = contact_sheet(own, steps=2, picture=1)
    assert len(sheet.axes[0].images) == 4
    assert texts(sheet)[-1] == "5 steps"


def test_steps_are_chosen_by_their_number_in_the_run(trace: Trace) -> None:
    kept = replace(trace, steps=trace.steps[::2])  # 0, 2 and 4
    sheet = contact_sheet(kept, steps=[-1, 2], words="cat")
    assert [text.split("\n")[0] for text in texts(sheet)[1:3]] == ["step 4", "step 2"]
    whole = contact_sheet(trace, steps=[4, 2], words="cat")
    for one, other in zip(sheet.axes[0].images[:4], whole.axes[0].images[:4], strict=True):
        assert np.array_equal(one.get_array(), other.get_array())


def test_the_steps_that_there_are_are_named(trace: Trace) -> None:
    with pytest.raises(InputError, match=r"no step 1\.\nIts steps: 0, 2, 4\."):
        contact_sheet(replace(trace, steps=trace.steps[::2]), steps=[0, 1])


def test_an_array_of_steps_will_do(trace: Trace) -> None:
    written = texts(contact_sheet(trace, steps=np.array([1, 3])))  # type: ignore[arg-type]
    titles = [text.split("\n")[0] for text in written if text.startswith("step")]
    assert titles == ["step 1", "step 3"]


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        ("cat", ["cat"]),
        (1, ["cat"]),
        (-1, ["cat"]),
        ((2, 5), ["cat"]),
        ([0, 1], ["a", "cat"]),
        (("a", "cat"), ["a", "cat"]),
        ([(0, 1), 1, "<start>"], ["a", "cat", "<start>"]),
    ],
)
def test_words_are_those_of_a_heat_map(trace: Trace, words: Any, labels: list[str]) -> None:
    written = texts(contact_sheet(trace, steps=1, words=words))
    assert [text for text in written if text.startswith("heat")] == [
        f"heat of\n“{label}”" for label in labels
    ]


def test_a_image_may_be_counted_from_the_end(trace: Trace) -> None:
    last, second = (contact_sheet(trace, steps=1, picture=which) for which in (-1, 1))
    assert texts(last) == texts(second)
    for one, other in zip(last.axes[0].images, second.axes[0].images, strict=True):
        assert np.array_equal(one.get_array(), other.get_array())


def test_a_image_that_was_lost_has_a_sheet_of_its_steps(trace: Trace) -> None:
    sheet = contact_sheet(replace(trace, images=trace.images[:1]), steps=2, picture=1)
    assert len(sheet.axes[0].images) == 4
    assert texts(sheet)[-1].endswith("seed 2")


@pytest.mark.parametrize(
    "prompt", ["$x^2$ costs $5", "$\\frac{", "a\n\nb\0\u202ec", "猫 😀 " * 200]
)
def test_a_prompt_is_text_and_never_mathematics(trace: Trace, prompt: str) -> None:
    asked = replace(trace, settings=replace(trace.settings, prompt=prompt, seed=3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # about letters that are not in the font
        sheet_png(asked)
    shown = next(text for text in texts(contact_sheet(asked)) if text.startswith("“"))
    assert shown.count("$") == prompt.count("$")
    assert len(shown.split("\n")) <= 3


def test_a_word_with_a_dollar_is_text(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("$ cat $", steps=2, seed=1, attention=True)
    assert "heat of\n“$”" in texts(contact_sheet(trace, words="$"))
    sheet_png(trace, words="$")


def test_nothing_global_is_touched(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it would raise
    before = dict(dict.items(matplotlib.rcParams))
    sheet_png(trace)
    assert dict(dict.items(matplotlib.rcParams)) == before


def test_a_notebook_shows_it(trace: Trace) -> None:
    shown = Image.open(io.BytesIO(contact_sheet(trace)._repr_png_()))
    assert shown.size[0] == 1350


def test_the_small_one_is_small(trace: Trace) -> None:
    data = sheet_png(trace, width=480)
    assert Image.open(io.BytesIO(data)).size[0] == 480
    assert len(data) < 60_000


@pytest.mark.parametrize("small", [True, False])
def test_on_a_screen_it_has_no_background_and_text_that_stands_out_on_any(
    trace: Trace, small: bool
) -> None:
    data = sheet_png(trace) if small else contact_sheet(trace)._repr_png_()
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
    assert pixels[0, 0, 3] == 0
    ink = pixels[(pixels[..., 3] == 255) & (pixels[..., :3] == (0x79,) * 3).all(-1)]
    assert len(ink) > 100
    light = ((0x79 / 255 + 0.055) / 1.055) ** 2.4
    on_white, on_black = 1.05 / (light + 0.05), (light + 0.05) / (0.0056 + 0.05)
    assert min(on_white, on_black) > 4.2


def test_a_notebook_s_own_figures_may_have_the_same_look() -> None:
    import matplotlib
    from matplotlib import style
    from matplotlib.colors import to_hex
    from matplotlib.figure import Figure

    with style.context("sdwidgets.notebook"):
        figure = Figure()
        axes = figure.add_subplot(title="x")
        axes.plot([0, 1])
        assert figure.get_facecolor()[3] == axes.get_facecolor()[3] == 0
        for color in (axes.title.get_color(), matplotlib.rcParams["ytick.color"]):
            assert to_hex(color if color.startswith("#") else f"#{color}") == INK
        # Where all ticks are alike, notebooks put paper under a figure.
        assert matplotlib.rcParams["xtick.color"] != matplotlib.rcParams["ytick.color"]


def test_a_file_has_a_white_background_and_black_text(trace: Trace) -> None:
    sheet, buffer = contact_sheet(trace), io.BytesIO()
    sheet.savefig(buffer, format="png")
    pixels = np.asarray(Image.open(buffer).convert("RGBA"))
    assert pixels[0, 0].tolist() == [255] * 4
    assert (pixels[..., :3] == 0).all(-1).any()
    assert (np.asarray(Image.open(io.BytesIO(sheet._repr_png_())))[0, 0, 3]) == 0  # as before


def test_it_has_no_labels_by_which_a_notebook_would_choose_a_background(trace: Trace) -> None:
    (axes,) = contact_sheet(trace).axes
    assert [*axes.get_xticklabels(), *axes.get_yticklabels()] == []


def test_text_is_13_pixels_where_a_page_shows_the_small_one(trace: Trace) -> None:
    (size,) = {text.get_fontsize() for text in contact_sheet(trace, width=5.6).axes[0].texts}
    assert 13 <= size * 100 / 72 < 14


@pytest.mark.parametrize(
    ("options", "parameter"),
    [
        ({"views": ["sharp"]}, "view"),
        ({"views": (), "words": ()}, "views"),
        ({"words": ["dog"]}, "word"),
        ({"words": None}, "word"),
        ({"words": [2]}, "word"),
        ({"words": (7, 9)}, "word"),
        ({"views": None}, "view"),
        ({"steps": 0}, "steps"),
        ({"steps": "all"}, "steps"),
        ({"steps": []}, "steps"),
        ({"steps": [5]}, "step"),
        ({"steps": [1.0]}, "step"),
        ({"steps": [True]}, "step"),
        ({"steps": np.array(2.5)}, "step"),
        ({"picture": 2}, "picture"),
        ({"picture": -3}, "picture"),
        ({"width": float("nan")}, "width"),
        ({"width": 2, "steps": [0] * 20}, "width"),
    ],
)
def test_what_is_not_there_is_refused(
    trace: Trace, options: dict[str, Any], parameter: str
) -> None:
    with pytest.raises(InputError) as caught:
        contact_sheet(trace, **options)
    assert caught.value.parameter == parameter
    assert len(str(caught.value).splitlines()) <= 3


def test_a_run_without_steps_has_no_sheet(trace: Trace) -> None:
    with pytest.raises(InputError, match="no steps"):
        contact_sheet(replace(trace, steps=()))
