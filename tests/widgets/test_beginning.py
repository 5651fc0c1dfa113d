"""Where a run from an image begins: its step, its noise level, and what the image looks like."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdwidgets.contract import BEGINNING
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.trace.images import preview_rgb
from sdwidgets.widgets import Studio

WAIT = 60  # seconds, never reached


def picture(width: int = 16, height: int = 16) -> Image.Image:
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([8 * rows % 256, 8 * columns % 256, 4 * (rows + columns) % 256], -1)
    return Image.fromarray(pixels.astype(np.uint8))


def settled(studio: Studio) -> Any:
    """The view of the start image, once all is found out."""
    end = time.monotonic() + WAIT
    while not studio.beginning.idle:
        assert time.monotonic() < end
        time.sleep(0.005)
    return studio.controls.start


@pytest.fixture
def loaded(studio: Studio) -> Studio:
    """A Studio whose model is loaded."""
    studio.generate()
    studio.wait(WAIT)
    return studio


def shown(start: Any, sigma: float) -> np.ndarray:
    """The preview [h, w, 3] at a noise level, as the page makes it."""
    width, height = start.cells
    clean, noise = (
        (np.frombuffer(data, np.uint8).reshape(height, width, 3) - float(BEGINNING["zero"]))
        * BEGINNING["scale"]
        for data in (start.clean, start.noise)
    )
    rgb = (clean + sigma * noise) / np.sqrt(1 + sigma**2) + np.array(start.base)
    return np.asarray(((rgb + 1) * 127.5).clip(0, 255))


def test_the_level_is_that_of_the_run_s_first_step(loaded: Studio) -> None:
    loaded.image, loaded.strength = picture(), 0.5
    start = settled(loaded)
    assert (start.steps, len(start.levels)) == (4, 5)
    loaded.generate()
    trace = loaded.wait(WAIT)
    assert trace is not None
    assert start.levels[4 - len(trace.steps)] == pytest.approx(trace.steps[0].sigma, rel=1e-3)


def test_the_image_has_the_noise_with_which_the_run_begins(
    loaded: Studio, model: LatentDiffusion
) -> None:
    loaded.image, loaded.strength, loaded.seed = picture(), 0.5, 11
    start = settled(loaded)
    loaded.generate()
    trace = loaded.wait(WAIT)
    assert trace is not None
    first = trace.steps[0]
    wanted = preview_rgb(first.x, model.preview_factors, sigma=first.sigma)[0]
    page = shown(start, first.sigma)
    assert page.shape == wanted.shape
    # the run's latents are drawn from the posterior, of which this is the mean
    assert np.abs(page - wanted).mean() < 0.1 * np.ptp(wanted)
    loaded.seed = 12
    assert settled(loaded) is start
    assert not np.array_equal(shown(start, first.sigma), page)
    assert np.array_equal(shown(start, 0), shown(start, 0))


def test_before_the_model_is_loaded_only_the_steps_are_known(
    make_studio: Callable[..., Studio],
) -> None:
    studio = make_studio(model="never loaded", image=picture())
    start = settled(studio)
    assert (start.steps, start.levels, start.clean) == (4, [], b"")


def test_it_is_shown_once_the_model_is_loaded_and_goes_with_the_image(studio: Studio) -> None:
    studio.image = picture()
    studio.generate()
    studio.wait(WAIT)
    start = settled(studio)
    assert start.levels and start.clean
    studio.image = None
    assert settled(studio) is start
    assert (start.steps, start.levels, start.clean) == (0, [], b"")


def test_an_image_is_encoded_once(loaded: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    encode = LatentDiffusion.encode
    monkeypatch.setattr(
        LatentDiffusion, "encode", lambda self, image: calls.append(image) or encode(self, image)
    )
    loaded.image = picture()
    settled(loaded)
    loaded.seed, loaded.steps, loaded.strength = 5, 6, 0.3
    assert len(settled(loaded).levels) == 7
    assert len(calls) == 1
    loaded.pad = (0, 0, 8, 0)  # the whole, with its new area
    start = settled(loaded)
    assert len(calls) == 2 and calls[-1].size == (24, 16)
    assert start.cells[0] * 2 == start.cells[1] * 3


def test_what_no_run_takes_shows_nothing(loaded: Studio) -> None:
    loaded.image = picture()
    settled(loaded)
    loaded.steps = 0
    assert settled(loaded).levels == []
    loaded.steps, loaded.start_step = 4, 2  # it takes the place of the strength
    assert settled(loaded).steps == 0


def test_large_latents_are_shown_by_some_of_their_cells(loaded: Studio) -> None:
    loaded.image, loaded.width, loaded.height = picture(), 128, 64
    start = settled(loaded)
    assert start.cells == [BEGINNING["cells"], 32]
    assert len(start.clean) == len(start.noise) == 3 * 48 * 32
