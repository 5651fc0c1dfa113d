"""Walks between prompts and seeds: where the frames are, and what makes them."""

from __future__ import annotations

import itertools
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdwidgets.errors import InputError
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.walk import Route, Stop, difference, following, save, walk

SMALL: dict[str, Any] = {"steps": 2, "seed": 5}


def shade(level: float) -> Image.Image:
    return Image.new("RGB", (4, 4), (round(255 * level),) * 3)


def order(route: Route, image: Any = lambda place: shade(0.5)) -> list[float]:
    """Return the places in the order in which they are made."""
    places, made = route.places(), list[float]()
    place = next(places)
    while place is not None:
        made.append(place)
        place = following(places, image(place))
    return made


@pytest.mark.parametrize(
    ("stops", "found"),
    [
        (["a cat", "a dog"], [("a cat", 5), ("a dog", 5)]),
        ([7, 9, 11], [("a car", 7), ("a car", 9), ("a car", 11)]),
        ([("a cat", 1), ("a dog", 2)], [("a cat", 1), ("a dog", 2)]),
        (["a cat", 9, "a dog", ["a bird", 3]], [
            ("a cat", 5), ("a cat", 9), ("a dog", 9), ("a bird", 3)]),
    ],
)  # fmt: skip
def test_what_a_stop_leaves_out_stays(stops: Any, found: Any) -> None:
    assert Route.of(stops, prompt="a car", seed=5).stops == tuple(Stop(*each) for each in found)


@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("frames", [1, 2, 5, 8])
def test_every_frame_is_made_once_and_the_stops_first(frames: int, loop: bool, even: bool) -> None:
    route = Route.of(["a", "b", "c"], frames=frames, loop=loop, even=even, seed=1)
    made = order(route)
    assert len(made) == len(set(made)) == route.count
    assert made[:3] == [0, 1, 2] and all(0 <= place <= route.legs for place in made)
    assert (route.legs in made) == (not loop)
    if not even:
        assert sorted(made) == [i / frames for i in range(route.count)]


def test_frames_come_coarse_first() -> None:
    assert order(Route.of([1, 2], frames=8)) == [0, 1, *(n / 8 for n in (4, 2, 6, 1, 3, 5, 7))]


def test_an_even_walk_has_its_frames_where_the_image_changes() -> None:
    """All of the change is between 0.7 and 0.8."""

    def image(place: float) -> Image.Image:
        return shade(min(max(10 * (place - 0.7), 0), 1))

    made = order(Route.of([1, 2], frames=16, even=True), image)
    assert sum(0.65 < place < 0.85 for place in made) > 8
    shown = [image(place) for place in sorted(made)]
    steps = [difference(a, b) for a, b in itertools.pairwise(shown)]
    equal = [difference(image(i / 16), image((i + 1) / 16)) for i in range(16)]
    assert max(steps) < max(equal) / 2


def test_where_nothing_changes_an_even_walk_is_a_plain_one() -> None:
    assert sorted(order(Route.of([1, 2], frames=8, even=True))) == [i / 8 for i in range(9)]


def test_an_image_that_jumps_does_not_take_all_frames() -> None:
    """Halving stops at `FINEST`, beyond which there is nothing to see."""
    made = order(Route.of([1, 2], frames=40, even=True), lambda place: shade(float(place > 0.3)))
    assert len(made) == len(set(made)) == 41
    assert min(b - a for a, b in itertools.pairwise(sorted(made))) >= 1 / 2048


def test_the_nearer_stop_is_a_frames_own() -> None:
    route = Route.of([("a cat", 7), ("a dog", 9)], frames=4)
    said = [(s.prompt, s.seed, s.toward, s.variation) for s in map(route.at, (0, 0.25, 0.75, 1))]
    assert said == [
        ("a cat", 7, None, None),
        ("a cat", 7, ("a dog", 0.25), (9, 0.25)),
        ("a dog", 9, ("a cat", 0.25), (7, 0.25)),
        ("a dog", 9, None, None),
    ]


def test_what_stays_is_left_alone() -> None:
    words = Route.of(["a cat", "a dog"], seed=7, guidance_scale=3).at(0.5)
    noise = Route.of([7, 9], prompt="a cat", guidance_scale=3).at(0.5)
    assert words.toward == ("a dog", 0.5) and words.variation is None
    assert noise.variation == (9, 0.5) and noise.toward is None
    assert words.guidance_scale == noise.guidance_scale == 3


def test_a_loop_ends_where_it_began() -> None:
    route = Route.of(["a", "b", "c"], frames=4, loop=True, seed=1)
    assert route.legs == 3
    assert route.at(2.25).toward == ("a", 0.25) and route.at(3).prompt == "a"


def test_frames_are_ordinary_runs(tiny_model: LatentDiffusion) -> None:
    route = Route.of(["a cat", ("a dog", 9)], frames=3, **SMALL)
    frames = sorted(walk(tiny_model, route), key=lambda frame: frame.place)
    assert [frame.place for frame in frames] == [0, 1 / 3, 2 / 3, 1]
    for frame in frames:
        assert frame.trace.complete and frame.image.size == (16, 16)
        again = tiny_model.generate(**frame.settings.as_dict())
        assert difference(again.image, frame.image) < 0.01
    ends = tiny_model.generate("a dog", steps=2, seed=9)
    assert difference(ends.image, frames[-1].image) < 0.01


def test_each_side_of_the_middle_is_near_the_other(tiny_model: LatentDiffusion) -> None:
    """Prompt and seed change places there; the image does not."""
    route = Route.of([("a cat", 5), ("a dog", 9)], sampler="euler_ancestral", steps=3)
    a, b = (tiny_model.generate(**route.at(place).as_dict()) for place in (0.4999, 0.5001))
    c = tiny_model.generate(**route.at(0).as_dict())
    assert difference(a.image, b.image) < 0.02 < difference(a.image, c.image)


def test_it_takes_what_runs_are_given(tiny_model: LatentDiffusion) -> None:
    start = Image.fromarray(np.full((16, 16, 3), 90, np.uint8))
    route = Route.of([1, 2], frames=1, prompt="a cat", steps=2)
    frames = list(walk(tiny_model, route, image=start, attention=True))
    assert all(f.trace.task == "image to image" and f.trace.layers for f in frames)


@pytest.mark.parametrize("ending", [".gif", ".webp", ".mp4"])
def test_it_is_saved_as_an_animation(
    tiny_model: LatentDiffusion, tmp_path: FilePath, ending: str
) -> None:
    if ending == ".mp4":
        pytest.importorskip("imageio_ffmpeg")
    frames = list(walk(tiny_model, Route.of([1, 2], frames=4, steps=1)))
    path = save(frames, tmp_path / f"walk{ending}", seconds=1, back=True)
    assert path.stat().st_size > 0
    if ending != ".mp4":
        with Image.open(path) as image:
            assert image.n_frames == 8  # five there, three back
            image.seek(1)
            middle = sorted(frames, key=lambda frame: frame.place)[1].image
            assert difference(image.convert("RGB"), middle) < 0.1
    with pytest.raises(InputError, match="cannot be written as"):
        save(frames, tmp_path / "walk.png")
    with pytest.raises(InputError, match="at least two"):
        save(frames[:1], tmp_path / "walk.gif")


@pytest.mark.parametrize(
    ("stops", "settings", "parameter"),
    [
        ("a cat", {}, "stops"),
        (["a cat"], {}, "stops"),
        ([1] * 65, {}, "stops"),
        ([1, 2.5], {}, "stops"),
        ([1, -1], {}, "stops"),
        ([1, ("a", None)], {}, "stops"),
        ([1, (["a", "b"], 1)], {}, "stops"),
        ([1, "a\ud800"], {}, "stops"),
        ([1, 2], {"frames": 0}, "frames"),
        ([1, 2, 3], {"frames": 600}, "frames"),
        ([1, 2], {"toward": ("a", 0.5)}, "toward"),
        ([1, 2], {"variation": (1, 0.5)}, "variation"),
        ([1, 2], {"guidance": 3}, "guidance"),
        ([1, 2], {"steps": 0}, "steps"),
    ],
)
def test_what_is_no_walk_is_refused(stops: Any, settings: dict[str, Any], parameter: str) -> None:
    with pytest.raises(InputError) as caught:
        Route.of(stops, **settings)
    assert caught.value.parameter == parameter and len(str(caught.value).splitlines()) <= 3


def test_a_frame_is_a_single_image() -> None:
    with pytest.raises(InputError, match="one image"):
        Route.of([1, 2], batch_size=2)
