"""Runs whose noise lies between those of two seeds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_families import picture

from sdwidgets.errors import InputError
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import LIMITS, Settings
from sdwidgets.trace import Trace

SETTINGS: dict[str, Any] = {"steps": 3}


def last(run: Any) -> torch.Tensor:
    *_, step = run
    return step.x_next


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral"])
@pytest.mark.parametrize("from_image", [False, True])
def test_the_ends_are_the_seeds_own_images(
    tiny_model: LatentDiffusion, sampler: str, from_image: bool
) -> None:
    given = {"image": picture(16, 16), "strength": 0.7} if from_image else {}
    settings = {**SETTINGS, "sampler": sampler, **given}
    seed, other = (last(tiny_model.sample("a cat", seed=n, **settings)) for n in (5, 9))
    none, all_ = (
        last(tiny_model.sample("a cat", seed=5, variation=(9, share), **settings))
        for share in (0, 1)
    )
    assert torch.equal(none, seed) and torch.equal(all_, other)
    assert not torch.equal(seed, other)


def test_between_them_the_noise_is_at_that_share_of_the_angle(tiny_model: LatentDiffusion) -> None:
    def noise(**more: Any) -> torch.Tensor:
        step = next(tiny_model.sample("", seed=5, width=64, height=64, **SETTINGS, **more))
        return step.x.flatten() / (1 + step.sigma**2) ** 0.5

    def angle(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(torch.acos(torch.dot(a, b) / (a.norm() * b.norm())))

    first, second = noise(variation=(9, 0.0)), noise(variation=(9, 1.0))
    mixed = noise(variation=(9, 0.25))
    whole = angle(first, second)
    assert angle(first, mixed) == pytest.approx(0.25 * whole, rel=0.02)
    assert angle(mixed, second) == pytest.approx(0.75 * whole, rel=0.02)
    assert float(mixed.var()) == pytest.approx(1, abs=0.05)


def test_a_small_share_changes_an_image_less(tiny_model: LatentDiffusion) -> None:
    def made(share: float) -> torch.Tensor:
        return last(tiny_model.sample("a cat", seed=5, variation=(9, share), **SETTINGS))

    start = made(0)
    changes = [float((made(share) - start).norm()) for share in (0.1, 0.4, 1.0)]
    assert changes == sorted(changes) and changes[0] > 0


def test_each_image_of_a_batch_has_its_own_two_seeds(tiny_model: LatentDiffusion) -> None:
    settings = {**SETTINGS, "sampler": "euler_ancestral"}
    run = tiny_model.sample("a cat", seed=[5, 5], variation=(9, 0.3), **settings)
    both = last(run)
    assert not torch.equal(both[0], both[1])  # two variations of a single seed
    for index, other in enumerate((9, 10)):
        alone = last(tiny_model.sample("a cat", seed=5, variation=(other, 0.3), **settings))
        assert torch.allclose(both[index], alone[0], rtol=1e-3, atol=1e-3)
        assert run.settings.of_picture(index).variation == (other, 0.3)


def test_the_other_seeds_may_be_listed(tiny_model: LatentDiffusion) -> None:
    both = last(tiny_model.sample("a cat", seed=[5, 6], variation=([9, 3], 0.3), **SETTINGS))
    alone = last(tiny_model.sample("a cat", seed=6, variation=(3, 0.3), **SETTINGS))
    assert torch.allclose(both[1:], alone, rtol=1e-3, atol=1e-3)
    with pytest.raises(InputError, match=r"disagree about how many images .*variation: 2"):
        Settings(seed=(1, 2, 3), variation=((1, 2), 0.5)).checked()
    for value in ((), ([], 0.5), ([1, -1], 0.5), ("7", 0.5), (7, 1.5), (7,)):
        with pytest.raises(InputError) as caught:
            Settings(variation=value).checked()
        assert caught.value.parameter == "variation"


def test_an_edit_of_a_variation_starts_from_its_noise(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", seed=5, variation=(9, 0.3), **SETTINGS)
    edited = trace.edit("cat", "dog", model=tiny_model, blend=False)
    assert (edited.steps[0].x == trace.steps[0].x).all()
    assert edited.settings.variation == (9, 0.3)


def test_a_record_of_one_image_makes_it_again(tiny_model: LatentDiffusion) -> None:
    trace = Trace.of(tiny_model.sample("a cat", seed=5, batch_size=2, variation=(9, 0.3)))
    record = trace.record(1)
    assert record["settings"]["variation"] == (10, 0.3)
    again = tiny_model.generate(**Settings(**record["settings"]).as_dict())
    assert again.steps[0].x.shape[0] == 1
    assert abs(again.steps[0].x - trace.steps[0].x[1:]).max() < 1e-5


def test_what_cannot_be_varied_is_refused(tiny_model: LatentDiffusion) -> None:
    noise = torch.zeros(1, 4, 8, 8)
    with pytest.raises(InputError, match="take the place of the seeds' noise") as caught:
        tiny_model.sample("a cat", latents=noise, variation=(9, 0.3))
    assert caught.value.parameter == "variation"
    most = LIMITS["seed"][1]
    with pytest.raises(InputError, match="leaves no room for 2 seeds") as caught:
        tiny_model.sample("a cat", batch_size=2, variation=(most, 0.3))
    assert caught.value.parameter == "variation"
