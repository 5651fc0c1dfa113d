"""Animations, read back frame by frame."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdwidgets.configs import TINY, ModelConfig
from sdwidgets.errors import InputError
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.trace import Trace, preview_rgb
from sdwidgets.trace.animation import animation, durations
from sdwidgets.trace.stills import Stills
from sdwidgets.trace.thinning import evenly

KINDS = ["webp", "gif", "mp4"]


@pytest.fixture(scope="module")
def trace(make_model: Callable[[ModelConfig], LatentDiffusion]) -> Trace:
    return make_model(TINY).generate(
        "a cat", steps=5, seed=1, schedule="config", attention=True, batch_size=2, width=24
    )


def opened(path: Path) -> tuple[list[np.ndarray], list[float]]:
    """Return the frames, uint8 [H, W, 3], and their durations in seconds."""
    if path.suffix == ".mp4":
        import imageio_ffmpeg

        reader = imageio_ffmpeg.read_frames(str(path))
        meta = next(reader)
        width, height = meta["size"]
        frames = [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]
        return frames, [1 / meta["fps"]] * len(frames)
    frames, shown = [], []
    with Image.open(path) as image:
        for i in range(image.n_frames):
            image.seek(i)
            image.load()
            frames.append(np.asarray(image.convert("RGB")))
            shown.append(image.info["duration"] / 1000)
    return frames, shown


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_a_step_then_the_image(trace: Trace, tmp_path: Path, kind: str) -> None:
    path = animation(trace, tmp_path / f"run.{kind}", seconds=1.0, hold=0.4)
    frames, shown = opened(path)
    assert len(frames) == (7 if kind == "mp4" else 6)  # videos repeat a frame to hold it
    assert sum(shown) == pytest.approx(1.4)
    assert {frame.shape for frame in frames} == {(16, 24, 3)}
    off = np.abs(frames[-1].astype(float) - np.asarray(trace.images[0], float)).mean()
    assert off < 24  # colours are lossy, and random weights draw noise
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", ["webp", "gif"])
def test_it_loops(trace: Trace, tmp_path: Path, kind: str) -> None:
    with Image.open(animation(trace, tmp_path / f"run.{kind}")) as image:
        assert image.info["loop"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_hold_the_steps_are_all(trace: Trace, tmp_path: Path, kind: str) -> None:
    frames, shown = opened(animation(trace, tmp_path / f"run.{kind}", seconds=2, hold=0))
    assert len(frames) == 5
    assert sum(shown) == pytest.approx(2)


@pytest.mark.parametrize("kind", KINDS)
def test_two_views_stand_side_by_side(trace: Trace, tmp_path: Path, kind: str) -> None:
    frames, _ = opened(animation(trace, tmp_path / f"run.{kind}", view="both", side=48))
    assert frames[0].shape == (32, 104, 3)
    assert frames[0][:, 50:54].min() > 200  # white between them


def test_a_videos_sides_are_even(trace: Trace, tmp_path: Path) -> None:
    frames, _ = opened(animation(trace, tmp_path / "run.mp4", side=33))
    assert frames[0].shape[0] % 2 == frames[0].shape[1] % 2 == 0


def test_a_still_is_the_preview_brought_to_the_images_size(trace: Trace) -> None:
    stills = Stills(trace, picture=1)
    step = trace.steps[2]
    assert trace.factors is not None
    wanted = preview_rgb(step.x, trace.factors, sigma=step.sigma)[1]
    small = np.asarray(stills.noisy(step).resize(wanted.shape[1::-1], Image.Resampling.BOX))
    assert np.abs(small.astype(float) - wanted).mean() < 16
    assert stills.clean(step).size == trace.images[1].size


def test_a_words_heat_lies_over_every_step(trace: Trace, tmp_path: Path) -> None:
    plain, _ = opened(animation(trace, tmp_path / "a.webp"))
    heated, _ = opened(animation(trace, tmp_path / "b.webp", word="cat"))
    for one, other in zip(plain[:-1], heated[:-1], strict=True):
        assert np.abs(one.astype(float) - other).mean() > 5
    assert np.array_equal(plain[-1], heated[-1])  # the image itself


def test_heat_is_brightest_where_the_word_is(trace: Trace) -> None:
    heat = np.asarray(Stills(trace).heat("cat", trace.steps[0])).sum(-1)
    map_ = trace.heat_map("cat", step=0)
    assert heat[np.unravel_index(map_.argmax(), map_.shape)] == heat.max()
    assert heat[np.unravel_index(map_.argmin(), map_.shape)] == heat.min()


@pytest.mark.parametrize("word", [1, (2, 5)])
def test_a_word_is_what_a_heat_map_takes(trace: Trace, tmp_path: Path, word: Any) -> None:
    one = animation(trace, tmp_path / "a.webp", word=word).read_bytes()
    assert one == animation(trace, tmp_path / "b.webp", word="cat").read_bytes()


def test_the_heat_is_that_of_the_step_on_show(trace: Trace) -> None:
    kept = replace(trace, steps=trace.steps[::2])
    assert Stills(kept).heat("cat", trace.steps[4]) == Stills(trace).heat("cat", trace.steps[4])


@pytest.mark.parametrize("kind", ["webp", "gif"])
def test_a_image_that_was_lost_is_not_held(trace: Trace, tmp_path: Path, kind: str) -> None:
    lost = replace(trace, images=trace.images[:1])
    frames, _ = opened(animation(lost, tmp_path / f"run.{kind}", picture=1))
    assert len(frames) == 5


def test_a_image_may_be_counted_from_the_end(trace: Trace) -> None:
    last, second = Stills(trace, picture=-1), Stills(trace, picture=1)
    assert last.final == second.final
    assert last.clean(trace.steps[2]) == second.clean(trace.steps[2])


def test_a_long_ending_is_said_shortly(trace: Trace, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        animation(trace, tmp_path / ("run." + "a" * 10_000))
    assert all(len(line) < 100 for line in str(caught.value).splitlines())


def test_of_a_long_run_a_hundred_steps_are_shown(trace: Trace, tmp_path: Path) -> None:
    long = replace(trace, steps=trace.steps * 41)
    frames, shown = opened(animation(long, tmp_path / "run.webp", seconds=10, hold=1))
    assert len(frames) == 101
    assert sum(shown) == pytest.approx(11)


def test_no_frame_is_shorter_than_browsers_show(trace: Trace, tmp_path: Path) -> None:
    _, shown = opened(animation(trace, tmp_path / "run.gif", seconds=0.1, hold=0.1))
    assert len(shown) == 6 and min(shown) >= 0.02
    long = replace(trace, steps=trace.steps * 20)
    _, shown = opened(animation(long, tmp_path / "run.gif", seconds=0.5, hold=0))
    assert min(shown) >= 0.02 and sum(shown) == pytest.approx(0.5)


def test_durations_add_up_to_what_was_asked() -> None:
    assert durations(7, 1.0, 0.0) == [140, 150, 140, 140, 140, 150, 140]
    assert durations(3, 1.0, 0.25) == [500, 500, 250]


def test_indices_are_spread_with_both_ends() -> None:
    assert evenly(3, 5) == [0, 1, 2]
    assert evenly(20, 4) == [0, 6, 13, 19]
    assert evenly(20, 1) == [19]


@pytest.mark.parametrize(
    ("options", "parameter"),
    [
        ({"path": "run.avi"}, "path"),
        ({"path": "run"}, "path"),
        ({"view": "sharp"}, "view"),
        ({"seconds": 0}, "seconds"),
        ({"seconds": float("nan")}, "seconds"),
        ({"hold": -1}, "hold"),
        ({"hold": "long"}, "hold"),
        ({"side": 5}, "side"),
        ({"side": 64.5}, "side"),
        ({"word": "dog"}, "word"),
        ({"word": 2}, "word"),
        ({"picture": 2}, "picture"),
        ({"picture": -3}, "picture"),
        ({"path": "nowhere/run.gif"}, "path"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    trace: Trace, tmp_path: Path, options: dict[str, Any], parameter: str
) -> None:
    path = tmp_path / options.pop("path", "run.webp")
    with pytest.raises(InputError) as caught:
        animation(trace, path, **options)
    assert caught.value.parameter == parameter
    assert len(str(caught.value).splitlines()) <= 3
    assert list(tmp_path.iterdir()) == []


def test_known_endings_are_named(trace: Trace, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Known: \.webp, \.gif, \.mp4"):
        animation(trace, tmp_path / "run.png")


def test_a_run_without_steps_has_no_animation(trace: Trace, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no steps"):
        animation(replace(trace, steps=()), tmp_path / "run.gif")


def test_without_the_encoder_it_says_how_to_install_it(
    trace: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(InputError, match=r"pip install 'sdwidgets\[video\]'"):
        animation(trace, tmp_path / "run.mp4")


def test_an_encoder_that_fails_leaves_the_older_file(
    trace: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = animation(trace, tmp_path / "run.mp4")
    before = path.read_bytes()
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="could not be encoded"):
        animation(trace, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.mp4"]
