"""Steps that points share: as many as was said, and images that are the same to the bit."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sdwidgets.errors import InputError
from sdwidgets.pictures import Start
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import Settings
from sdwidgets.sweep.points import Given, Point
from sdwidgets.sweep.results import Making, Result
from sdwidgets.sweep.running import run_points
from sdwidgets.sweep.sharing import Cost, Counting, groups
from sdwidgets.trace import Trace

SAMPLERS = ("euler", "euler_ancestral", "dpmpp_2m", "lms", "dpmpp_2m_sde", "heun")


def point(index: int, before: dict[str, object] | None = None, from_step: int = 0, **own) -> Point:
    settings = Settings(**{"seed": 3, "steps": 6, "sampler": "euler", "prompt": "a cat", **own})
    return Point(
        index,
        (index,),
        "tiny",
        settings.checked(),
        from_step=from_step,
        before=tuple((before or {}).items()),
    )


def made(model: LatentDiffusion, points: Sequence[Point], **options) -> dict[int, Result]:
    results = {one.index: one for one in run_points(model, points, **options)}
    assert sorted(results) == sorted(one.index for one in points)
    return results


def alone(model: LatentDiffusion, one: Point) -> Trace:
    """The image of a point without any sharing."""
    if not one.branches:
        return Trace.of(model.run(one.settings))
    trace = Trace.of(model.run(one.trunk))
    return trace.branch(one.from_step, model=model, **one.changes)


def same(a: Trace, b: Trace) -> bool:
    return np.array_equal(np.asarray(a.image), np.asarray(b.image)) and a.settings == b.settings


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_shared_steps_make_the_image_of_the_whole_run_to_the_bit(
    tiny_model: LatentDiffusion, sampler: str
) -> None:
    changes = [
        {"guidance_scale": 1.0},
        {"guidance_scale": 7.0},
        {"guidance_scale": 7.0, "end_step": 5},
        {"guidance_scale": 3.0, "end_step": 3},
        {"guidance_scale": 1.0, "end_step": 4},
    ]
    points = [
        point(i, {"guidance_scale": 1.0}, 4, sampler=sampler, **own)
        for i, own in enumerate(changes)
    ]
    results = made(tiny_model, points)
    for one in points[:3] + points[4:]:
        assert same(results[one.index].trace, alone(tiny_model, one)), one
    # its own settings would begin where it has ended already
    assert isinstance(results[3].error, InputError)


def test_steps_are_counted_before_and_after(tiny_model: LatentDiffusion) -> None:
    points = [
        point(0, {"guidance_scale": 1.0}, 4, guidance_scale=1.0),
        point(1, {"guidance_scale": 1.0}, 4, guidance_scale=3.0),
        point(2, {"guidance_scale": 1.0}, -2, guidance_scale=3.0, prompt="a cat"),
        point(3, end_step=2, guidance_scale=1.0),
        point(4, end_step=2, guidance_scale=1.0, seed=4),
    ]
    known = Counting({"tiny": tiny_model.config}).cost(points)
    assert known == Cost(made=6 + 2 + 2 + 2, saved=4 + 4 + 2)
    calls: list[tuple[int, int, int]] = []
    results = made(tiny_model, points, on_step=lambda p, i, n: calls.append((p.index, i, n)))
    assert sum(one.made for one in results.values()) == known.made == len(calls)
    assert sum(one.shared for one in results.values()) == known.saved
    assert Counting().cost(points) == known


def test_a_trunk_is_made_as_far_as_it_is_needed(tiny_model: LatentDiffusion) -> None:
    points = [
        point(1, {"guidance_scale": 1.0}, 2, guidance_scale=3.0),
        point(2, {"guidance_scale": 1.0}, 3, guidance_scale=3.0),
    ]
    results = made(tiny_model, points)
    assert [results[i].made for i in (1, 2)] == [2 + 4, 1 + 3]
    assert [results[i].shared for i in (1, 2)] == [0, 2]
    assert Counting({"tiny": tiny_model.config}).cost(points) == Cost(10, 2)
    for one in points:
        assert same(results[one.index].trace, alone(tiny_model, one))


def test_points_of_a_group_stay_together() -> None:
    points = [
        point(0, {"prompt": "a cat"}, 4, prompt="a cat"),
        point(1, seed=9),
        point(2, {"prompt": "a cat"}, 4, prompt="a dog"),
    ]
    assert [[one.index for one in group] for group in groups(points)] == [[0, 2], [1]]


def test_a_failed_point_does_not_end_the_others(tiny_model: LatentDiffusion) -> None:
    results = made(
        tiny_model, [point(0, width=17), point(1, end_step=40), point(2), point(3, end_step=2)]
    )
    assert [results[i].ok for i in range(4)] == [False, False, True, True]
    assert "width" in str(results[0].error)
    with pytest.raises(InputError, match="multiple of"):
        _ = results[0].image


def test_steps_are_dropped_unless_they_are_kept(tiny_model: LatentDiffusion) -> None:
    points = [point(0), point(1, {"prompt": "a cat"}, 3, prompt="a dog")]
    for keep, count in (("image", 0), ("trace", 6)):
        results = made(tiny_model, points, making=Making(keep=keep))
        assert [len(one.trace.steps) for one in results.values()] == [count, count]
    assert results[1].trace.parent is not None


def test_stopping_leaves_out_what_is_not_made(tiny_model: LatentDiffusion) -> None:
    seen: list[int] = []
    got = list(
        run_points(
            tiny_model,
            [point(i, seed=i) for i in range(3)],
            stop=lambda: len(seen) >= 8,
            on_step=lambda p, i, n: seen.append(i),
        )
    )
    assert [one.index for one in got] == [0]
    assert len(seen) == 8


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral", "dpmpp_2m"])
def test_second_passes_share_the_first(tiny_model: LatentDiffusion, sampler: str) -> None:
    second = [
        {},
        {"hires": 2.0, "hires_strength": 0.5},
        {"hires": 2.0, "hires_strength": 1.0, "hires_steps": 2},
        {"hires": 1.5, "hires_strength": 0.5, "hires_method": "pixels"},
        {"end_step": 3},
    ]
    points = [point(i, sampler=sampler, **own) for i, own in enumerate(second)]
    assert len(groups(points)) == 1
    results = made(tiny_model, points, making=Making(keep="trace"))
    for one in points:
        expected, got = alone(tiny_model, one), results[one.index].trace
        assert same(got, expected)
        assert [step.index for step in got.steps] == [step.index for step in expected.steps]
        assert got.record() == expected.record()
        if expected.parent is not None:
            assert np.array_equal(
                np.asarray(got.parent.trace.image), np.asarray(expected.parent.trace.image)
            )
    known = Counting({"tiny": tiny_model.config}).cost(points)
    assert known == Cost(made=6 + 3 + 2 + 3, saved=6 + 6 + 6 + 3)
    assert sum(one.made for one in results.values()) == known.made
    assert sum(one.shared for one in results.values()) == known.saved
    alone_too = made(tiny_model, points[1:3])  # the plain image is not asked for
    assert [one.made for one in alone_too.values()] == [9, 2]
    assert same(alone_too[2].trace, results[2].trace)


def test_settings_that_have_no_effect_stay_in_the_record(tiny_model: LatentDiffusion) -> None:
    points = [point(i, hires_strength=strength) for i, strength in enumerate([0.3, 0.6])]
    results = made(tiny_model, points)
    assert [one.settings.hires_strength for one in results.values()] == [0.3, 0.6]
    assert [one.made for one in results.values()] == [6, 0]


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral"])
def test_image_to_image_and_masks_share_steps(tiny_model: LatentDiffusion, sampler: str) -> None:
    image = Image.effect_noise((16, 16), 90).convert("RGB")
    mask = Image.new("L", (16, 16))
    mask.paste(255, (0, 0, 8, 16))
    given = Given(Start.of(image, mask))
    points = [
        replace(point(i, {"prompt": "a cat"}, 2, sampler=sampler, strength=0.7, **own), given=given)
        for i, own in enumerate([{"prompt": "a cat"}, {"prompt": "a dog"}, {"end_step": 4}])
    ]
    results = made(tiny_model, points)
    base = Trace.of(tiny_model.run(points[0].settings, given.start))
    assert same(results[0].trace, base)
    assert same(results[1].trace, base.branch(2, prompt="a dog", model=tiny_model))
    assert same(results[2].trace, Trace.of(tiny_model.run(points[2].settings, given.start)))
    known = Counting({"tiny": tiny_model.config}).cost(points)
    assert known is not None and known.made == sum(one.made for one in results.values())


def test_points_can_be_sent_and_are_small() -> None:
    given = Given(Start.of(Image.effect_noise((64, 64), 90).convert("RGB")))
    points = [replace(point(i, seed=i), given=given) for i in range(50)]
    sent = pickle.dumps(points)
    one = pickle.dumps(point(0))
    assert len(one) < 3_000 and len(sent) < 64 * 64 * 3 * 2 + 50 * len(one)
    again = pickle.loads(sent)
    assert [each.settings for each in again] == [each.settings for each in points]
    assert len({id(each.given) for each in again}) == 1


def test_results_can_be_sent(tiny_model: LatentDiffusion) -> None:
    points = [point(0), point(1, {"prompt": "a cat"}, 3, prompt="a dog"), point(2, width=17)]
    for keep in ("image", "trace"):
        results = made(tiny_model, points, making=Making(keep=keep))
        for one in pickle.loads(pickle.dumps([*results.values()])):
            assert one.ok == results[one.index].ok
            assert one.error is None or "width" in str(one.error)
            if one.ok:
                assert same(one.trace, results[one.index].trace)
