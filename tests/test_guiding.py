"""Guides of images in whole runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sdwidgets.configs import TINY, AutoencoderConfig, ModelConfig
from sdwidgets.diffusion import Step
from sdwidgets.errors import InputError, NumericsError, OutOfMemory
from sdwidgets.guiding import Guide, Guiding
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import steering_memory

pytestmark = pytest.mark.usefixtures("seeded")
Make = Callable[[ModelConfig], LatentDiffusion]

SETTINGS: dict[str, Any] = {"steps": 4, "seed": 3, "sampler": "euler"}


def bright(images: Tensor) -> Tensor:
    return -images.mean((1, 2, 3))


class Cheap:
    through = False

    def __call__(self, images: Tensor) -> Tensor:
        return bright(images)


def last(model: LatentDiffusion, **settings: Any) -> Step:
    *_, step = model.sample("a cat", **(SETTINGS | settings))
    return step


def loss(model: LatentDiffusion, step: Step, guide: Guide = bright) -> Tensor:
    with torch.no_grad():
        return guide(model.autoencoder.decode(step.x_next).clamp(-1, 1))


@pytest.mark.parametrize("guide", [bright, Cheap()])
@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m"])
def test_a_guide_lowers_its_loss(tiny_model: LatentDiffusion, guide: Guide, sampler: str) -> None:
    plain = last(tiny_model, sampler=sampler)
    found = last(tiny_model, sampler=sampler, guide=guide, guide_scale=3.0)
    assert loss(tiny_model, found) < loss(tiny_model, plain)
    assert not found.x_next.requires_grad and not found.denoised.requires_grad
    assert found.cond is not None and not found.cond.requires_grad


def test_a_scale_of_0_is_no_guide(tiny_model: LatentDiffusion) -> None:
    assert torch.equal(
        last(tiny_model).x_next, last(tiny_model, guide=bright, guide_scale=0).x_next
    )


def test_each_image_of_a_batch_is_steered_as_it_is_alone(tiny_model: LatentDiffusion) -> None:
    both = last(tiny_model, batch_size=2, guide=bright).x_next
    for index, seed in enumerate((3, 4)):
        alone = last(tiny_model, seed=seed, guide=bright).x_next
        assert torch.allclose(both[index], alone[0], atol=1e-3 * float(alone.abs().max()))


def test_the_slope_is_that_of_the_decoded_image(tiny_model: LatentDiffusion) -> None:
    """Against differences of the loss, and the same for one image at a time and for a batch."""
    latents = 0.1 * torch.randn(2, 4, 8, 8)
    pattern = torch.randn(3, 16, 16)

    def linear(images: Tensor) -> Tensor:
        return (images * pattern.to(images.dtype)).mean((1, 2, 3))

    guiding = Guiding(linear, tiny_model.autoencoder, 1.0)
    slope = guiding.slope(latents)
    way = torch.randn_like(latents)
    ends = []
    with torch.no_grad():
        for side in (1e-4, -1e-4):
            images = tiny_model.autoencoder.double().decode((latents + side * way).double())
            ends.append(linear(images))
        tiny_model.autoencoder.float()
    expected = 4 * 8 * 8 * (ends[0] - ends[1]) / 2e-4
    assert torch.allclose((slope * way).sum((1, 2, 3)), expected.float(), rtol=0.02, atol=1e-3)
    assert torch.allclose(guiding.slope(latents[:1]), slope[:1], atol=1e-4)


def test_images_are_inside_their_range_and_are_led_back_into_it(make_model: Make) -> None:
    model = make_model(TINY)
    seen: list[Tensor] = []

    def guide(images: Tensor) -> Tensor:
        seen.append(images.detach())
        return images.square().mean((1, 2, 3))

    slope = Guiding(guide, model.autoencoder, 1.0).slope(500 * torch.randn(1, 4, 8, 8))
    assert seen[0].shape == (1, 3, 16, 16) and seen[0].dtype == torch.float32
    assert seen[0].abs().max() <= 1 + 1e-5
    assert slope.any()


def test_the_kept_part_of_a_mask_stays(tiny_model: LatentDiffusion) -> None:
    image = Image.fromarray(np.full((16, 16, 3), 60, np.uint8))
    mask = np.zeros((16, 16), np.uint8)
    mask[:, 8:] = 255
    run = tiny_model.sample(
        "a cat", image=image, mask=mask, strength=1.0, guide=bright, guide_scale=50, **SETTINGS
    )
    steps = list(run)
    made = np.asarray(run.pictures(steps[-1])[0])
    assert (made[:, :8] == 60).all() and (made[:, 8:] != 60).any()
    plain = last(tiny_model, image=image, mask=mask, strength=1.0)
    assert torch.allclose(steps[-1].x_next[..., :4], plain.x_next[..., :4], atol=1e-4)
    assert not torch.allclose(steps[-1].x_next[..., 4:], plain.x_next[..., 4:], atol=1e-2)


def test_runs_from_an_image_and_second_passes_are_steered(tiny_model: LatentDiffusion) -> None:
    image = Image.fromarray(np.full((16, 16, 3), 60, np.uint8))
    for settings in ({"image": image, "strength": 0.6}, {"hires": 2}):
        plain = last(tiny_model, **settings)
        found = last(tiny_model, guide=bright, guide_scale=3, **settings)
        assert loss(tiny_model, found) < loss(tiny_model, plain)


def test_attention_is_recorded_of_a_guided_run(tiny_model: LatentDiffusion) -> None:
    step = last(tiny_model, guide=bright, attention=True)
    assert step.attention.cross and all(
        np.isfinite(maps).all() for maps in step.attention.cross.values()
    )


def test_a_guide_that_changes_with_the_steps_is_asked_for_each(tiny_model: LatentDiffusion) -> None:
    class Changing:
        def __init__(self) -> None:
            self.asked: list[int] = []

        def at(self, step: int) -> Guide:
            self.asked.append(step)
            return bright

        def __call__(self, images: Tensor) -> Tensor:
            raise AssertionError("the guide of a step is the one to call")

    guide = Changing()
    last(tiny_model, guide=guide)
    assert guide.asked[:4] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("guide", "message"),
    [
        (3, "guide must be a function"),
        (lambda images: images.mean(), r"a tensor of floats \[1\], got float32 \[\]"),
        (lambda images: images.mean((1, 2)), r"got float32 \[1, 16\]"),
        (lambda images: 1.0, "got a float"),
        (lambda images: images.mean((1, 2, 3)).round().long(), r"got int64 \[1\]"),
        (lambda images: images.detach().mean((1, 2, 3)), "has no gradient"),
    ],
)
def test_what_is_no_guide_is_refused(tiny_model: LatentDiffusion, guide: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        last(tiny_model, guide=guide)
    assert error.value.parameter == "guide"


@pytest.mark.parametrize(
    ("guide", "message"),
    [
        (lambda images: images.mean((1, 2, 3)) * float("nan"), "loss is NaN or infinity"),
        (lambda images: (images - images).sum((1, 2, 3)).sqrt(), "gradient of the guide's loss"),
    ],
)
def test_losses_that_are_not_finite_are_reported(
    tiny_model: LatentDiffusion, guide: Guide, message: str
) -> None:
    with pytest.raises(NumericsError, match=message):
        last(tiny_model, guide=guide)


def test_an_error_in_a_guide_is_the_users_own(tiny_model: LatentDiffusion) -> None:
    def broken(images: Tensor) -> Tensor:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        last(tiny_model, guide=broken)


def kept(work: Callable[[], Tensor], weights: set[int]) -> int:
    """The bytes that autograd keeps for the gradients of what ``work`` returns."""
    seen: dict[int, tuple[int, Tensor]] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = work()
    del out
    return sum(size for size, _ in seen.values())


@pytest.mark.parametrize("depths", [(1, 1), (0, 0), (0, 2)])
def test_the_estimate_of_memory_is_right_to_a_factor_of_three(
    make_model: Make, depths: tuple[int, int]
) -> None:
    config = replace(
        TINY,
        unet=replace(TINY.unet, channels=(32, 64), depths=depths),
        autoencoder=AutoencoderConfig(channels=(16, 32), norm_groups=8),
    )
    model = make_model(config)
    parts = [*model.unet.parameters(), *model.autoencoder.parameters()]
    weights = {weight.untyped_storage().data_ptr() for weight in parts}
    x = torch.randn(2, 4, 16, 16, requires_grad=True)
    context = torch.randn(2, 77, 24)
    network = kept(lambda: model.unet(x, torch.zeros(2), context), weights)
    decoder = kept(lambda: model.autoencoder.decode(x[:1]), weights)
    whole = steering_memory(model.config, 32, 32)
    cheap = steering_memory(model.config, 32, 32, through=False)
    assert 1 / 3 < cheap / decoder < 3  # what is kept depends on the machine's kernels
    assert 1 / 3 < (whole - cheap) / network < 3


def test_a_run_that_will_not_fit_with_its_guide_is_refused(
    tiny_model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = steering_memory(tiny_model.config, 64, 64)
    monkeypatch.setattr("sdwidgets.room.available_memory", lambda device: needed)
    tiny_model.sample("a cat", width=64, height=64)
    with pytest.raises(OutOfMemory, match="Out of memory"):
        tiny_model.sample("a cat", width=64, height=64, guide=bright)
