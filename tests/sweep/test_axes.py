"""What becomes an axis, and what is refused, by the axis's name and before anything is made."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdwidgets.configs import TINY
from sdwidgets.errors import InputError
from sdwidgets.sweep.alternatives import pattern
from sdwidgets.sweep.plan import Plan


def axes(**settings: object) -> list[tuple[str, tuple[object, ...]]]:
    return [(axis.key, tuple(axis.values)) for axis in Plan.of(**settings).axes]


def test_groups_of_a_prompt() -> None:
    read = pattern(r"a {cat|dog} on a {red|blue|} mat \{x\|y\} {plain} \(not weighted\)")
    assert read.groups == (("cat", "dog"), ("red", "blue", ""))
    assert read.filled(("dog", "")) == r"a dog on a  mat {x|y} {plain} \(not weighted\)"
    assert pattern(r"{a\|b|c\}}").groups == (("a|b", "c}"),)


@pytest.mark.parametrize(
    ("prompt", "why"), [("a {cat|{dog|cow}}", "inside another"), ("a {cat|dog", "not closed")]
)
def test_groups_that_cannot_be_read(prompt: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        Plan.of(prompt=prompt)


def test_lists_ranges_arrays_and_iterators_are_axes() -> None:
    found = axes(
        seed=range(2, 4), guidance_scale=np.array([1.5, 3], np.float32), steps=iter([4, 5, 6])
    )
    assert found == [("seed", (2, 3)), ("guidance_scale", (1.5, 3.0)), ("steps", (4, 5, 6))]
    assert all(type(value) in (int, float) for _, values in found for value in values)
    assert axes(eta=np.linspace(0, 1, 3, dtype=np.float32), sampler="ddim") == [
        ("eta", (0.0, 0.5, 1.0))
    ]
    assert axes(guidance_scale=np.float32([7.1]))[0][1] == (7.1,)


def test_values_that_are_tuples_make_an_axis_as_a_list() -> None:
    assert axes(size=[(16, 16), (32, 16)], seed=[1]) == [
        ("size", ((16, 16), (32, 16))),
        ("seed", (1,)),
    ]
    assert axes(seed=[1], size=(16, 32), sigmas=[10.0, 1.0, 0.0])[0][0] == "seed"
    assert axes(sigmas=[[10.0, 1.0], [5.0, 1.0]]) == [("sigmas", ((10.0, 1.0), (5.0, 1.0)))]
    assert axes(variation=[(7, 0.1), (7, 0.2)]) == [("variation", ((7, 0.1), (7, 0.2)))]
    [(name, values)] = axes(loras=[[], [("a.safetensors", 0.5)]])
    assert name == "loras" and [len(one) for one in values] == [0, 1]
    assert axes(model=["emoji", Path("x")], seed=1) == [("model", ("emoji", "x"))]
    image = Image.new("RGB", (16, 16))
    assert len(Plan.of(image=[image, image], strength=0.5)) == 2


def test_points_are_in_grid_order_with_the_first_axis_fastest() -> None:
    plan = Plan.of(prompt="a {cat|dog}", seed=[5, 6], size=[(16, 16), (32, 16)], steps=3)
    points = list(plan)
    assert [one.place for one in points] == [
        place[::-1] for place in itertools.product(range(2), range(2), range(2))
    ]
    assert [one.settings.prompt for one in points[:2]] == ["a cat", "a dog"]
    assert [one.settings.size for one in points[3:5]] == [(16, 16), (32, 16)]
    for one in points:
        again = plan.point(one.index)
        assert (again.place, again.settings) == (one.place, one.settings)
        assert plan.index(one.place) == one.index
    assert plan.labels((1, 0, 1)) == ("dog", "5", "32 x 16")


def test_all_points_have_the_seed_that_was_drawn() -> None:
    seeds = {point.settings.seed for point in Plan.of(guidance_scale=[1, 3, 7])}
    assert len(seeds) == 1 and None not in seeds


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"steps": [4, 2000]}, r"steps = 2000: steps must be 1 to 1000"),
        ({"guidance_scale": [1, float("nan")]}, "guidance_scale = nan"),
        ({"sampler": ["euler", "eular"]}, "sampler = 'eular'.*\nDid you mean 'euler'"),
        ({"seed": []}, "seed is empty"),
        ({"seed": [1, 2, 1]}, "seed has 1 twice"),
        ({"size": [64, 128]}, r"size, value 1 of 2: size must be \(width, height\)"),
        ({"seed": 4}, "several values"),
        ({"sede": [4]}, "Did you mean seed"),
        ({"batch_size": [1, 2]}, "one image for each point"),
        ({"prompt": ["a {cat|dog}", "a cow"]}, "prompt, value 1 of 2: it has a group"),
        ({"prompt": [["a", "b"]]}, "a point has one prompt"),
        ({"prompt": "{a|b}{c|d}", "seed": [1, 2], "steps": [1, 2]}, "at most 3 axes, got 4"),
        ({"seed": [1, 2], "from_step": 3}, "from_step needs an axis"),
        ({"prompt": "{a|b}", "from_step": 2.5}, "from_step must be a whole number"),
        ({"model": ["emoji", 5]}, "model must be the name"),
        ({"strength": [0, 1]}, "strength = 0"),
    ],
)
def test_wrong_values_are_refused_by_the_axis(settings: dict[str, object], why: str) -> None:
    with pytest.raises(InputError, match=why) as refused:
        Plan.of(**settings)
    assert len(str(refused.value).splitlines()) <= 3


def test_values_are_checked_against_a_model_that_is_known() -> None:
    with pytest.raises(InputError, match=r"size = .*multiple"):
        Plan.of("tiny", size=[(16, 16), (17, 16)], configs={"tiny": TINY})
    assert len(Plan.of("tiny", size=[(16, 16), (17, 16)])) == 2  # each fails when it is made


def test_a_value_that_goes_with_some_others_only_is_no_error() -> None:
    plan = Plan.of(eta=[0.0, 0.5], sampler=["euler", "ddim"])
    assert [point.settings.eta for point in plan] == [None, 0.5, 0.0, 0.5]  # euler has none


def test_too_many_points_are_refused_with_their_number_before_anything_is_made() -> None:
    def endless():
        for number in itertools.count():
            assert number <= 10_000, "read further than it needs"
            yield number

    with pytest.raises(InputError, match=r"at least 20,002 points .*the limit is 10,000"):
        Plan.of(seed=endless(), guidance_scale=[1, 3])
    with pytest.raises(InputError, match=r"10,000,000 points \(10,000 of seed x 1,000 of steps\)"):
        Plan.of(seed=range(10_000), steps=range(1, 1001))
    with pytest.raises(InputError, match="most=18446744073709551616"):
        Plan.of(seed=range(2**32), guidance_scale=range(2**32))
    assert len(Plan.of(seed=range(101), most=101)) == 101
    with pytest.raises(InputError, match="limit is 100"):
        Plan.of(seed=range(101), most=100)


def test_first_steps_have_the_first_values_of_what_may_change() -> None:
    plan = Plan.of(prompt="a {cat|dog}", guidance_scale=[1, 7], seed=[3, 4], from_step=-5)
    one = plan.point(3)
    assert one.before == (("prompt", "a cat"), ("guidance_scale", 1)) and one.branches
    assert one.trunk.prompt == "a cat" and one.trunk.guidance_scale == 1 and one.trunk.seed == 3
    assert not plan.point(4).branches
    several = Plan.of(prompt="a {cat|dog}", from_step=[0, 4, 8])
    assert [point.branches for point in several] == [False, False, False, True, False, True]
