"""The picture on its own: previews, how often they are sent, the built bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sdwidgets.diffusion import Step
from sdwidgets.errors import SDWidgetsError
from sdwidgets.widgets import PictureView, picture


def step(index: int, batch: int = 1, height: int = 2, width: int = 2, channels: int = 4) -> Step:
    x = torch.zeros(batch, channels, height, width)
    return Step(index, 1.0, x, x, 0.5, x)


class Clock:
    """Seconds by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(picture, "time", clock)
    return clock


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The steps in each message with frames."""
    messages: list[list[int]] = []

    def send(self: Any, content: Any, buffers: Any = None) -> None:
        messages.append([frame["step"] for frame in content["frames"]])

    monkeypatch.setattr(PictureView, "send", send)
    return messages


def test_previews_are_rgb_of_the_latents_size() -> None:
    (noisy, clean), size = picture.previews(step(0, height=3, width=5))
    assert size == {"width": 5, "height": 3, "blank": [0, 0]}
    assert len(noisy) == len(clean) == 3 * 5 * 3


def test_a_batch_is_a_grid_whose_empty_corner_is_known() -> None:
    _, size = picture.previews(step(0, batch=5, height=2, width=4))
    assert size == {"width": 12, "height": 4, "blank": [4, 2]}


def test_large_latents_are_averaged_down() -> None:
    (noisy, _), size = picture.previews(step(0, height=128, width=256))
    assert max(size["width"], size["height"]) <= picture.LARGEST_SIDE
    assert len(noisy) == size["width"] * size["height"] * 3


def test_latents_of_any_number_of_channels_have_a_preview() -> None:
    (noisy, _), _ = picture.previews(step(0, channels=16))
    assert len(noisy) == 12


def test_the_first_step_goes_at_once_the_next_ones_together(clock: Clock, sent: list[Any]) -> None:
    frames = PictureView()._frames
    frames.begin(1, 20)
    for index in range(4):
        frames.add(step(index))
        frames.send_some()
    assert sent == [[1]]
    clock.now += picture.INTERVAL
    frames.send_some()
    assert sent == [[1], [2, 3, 4]]


def test_a_fast_run_sends_at_most_fifteen_messages_a_second(clock: Clock, sent: list[Any]) -> None:
    frames = PictureView()._frames
    frames.begin(1, 1000)
    for index in range(1000):  # within one second
        clock.now += 0.001
        frames.add(step(index))
        frames.send_some()
    assert len(sent) <= 16


def test_the_last_step_is_always_sent(clock: Clock, sent: list[Any]) -> None:
    frames = PictureView()._frames
    frames.begin(1, 1000)
    for index in range(1000):
        frames.add(step(index))
    frames.send_all()
    assert sent[-1][-1] == 1000
    assert len(sent[-1]) == picture.KEPT_FRAMES


def test_the_time_left_is_that_of_the_steps_to_come(clock: Clock) -> None:
    frames = PictureView()._frames
    frames.begin(1, 20)
    clock.now += 5  # the first step waits for the text encoder
    frames.add(step(0))
    for index in range(1, 5):
        clock.now += 0.5
        frames.add(step(index))
    frames.send_all()
    assert frames.newest is not None
    numbers = frames.newest[0]
    assert numbers["seconds"] == pytest.approx(0.5)
    assert numbers["left"] == pytest.approx(7.5)


def test_the_traits_keep_a_frame_a_second_for_pages_to_come(clock: Clock) -> None:
    view = PictureView()
    frames = view._frames
    frames.begin(1, 20)
    seen: list[int] = []
    view.observe(lambda change: seen.append(change.new["step"]), "frame")
    for index in range(20):
        clock.now += 0.25
        frames.add(step(index))
        frames.send_some()
    frames.send_all()
    assert seen[-1] == 20
    assert len(seen) <= 7


def test_watching_passes_every_step_on() -> None:
    view = PictureView()
    steps = [step(i) for i in range(3)]
    assert list(view.watch(steps)) == steps
    assert view.run["state"] == "done"
    assert view.frame["step"] == 3


def test_watching_that_ends_early_says_stopped() -> None:
    view = PictureView()
    watched = view.watch(step(i) for i in range(3))
    next(watched)
    watched.close()
    assert view.run["state"] == "stopped"


def test_a_bundle_that_was_never_built_says_how_to_build_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(picture, "_STATIC", tmp_path)
    with pytest.raises(SDWidgetsError, match=r"hatch_build\.py"):
        picture.bundle("picture.js")


def test_the_bundle_is_small() -> None:
    # It is copied into the saved state of every widget.
    assert sum(picture.bundle(f"picture.{kind}").stat().st_size for kind in ("js", "css")) <= 60_000
