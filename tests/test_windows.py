"""Runs whose network looks at windows, with everything else that a run may have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from control_nets import control_config, random_control
from small_families import FAMILIES, needed, picture
from torch import Tensor

from sdwidgets import room
from sdwidgets.configs import SD1, TINY, LowResolutionConfig, ModelConfig
from sdwidgets.control import Control
from sdwidgets.errors import InputError
from sdwidgets.models.conditioning import Given, Held
from sdwidgets.models.controlled import Controlled, ControlPart
from sdwidgets.models.unet import UNet
from sdwidgets.models.windows import Window, windows_of
from sdwidgets.notices import NO_WINDOWS
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.pixels import to_tensor
from sdwidgets.sampling import SAMPLERS
from sdwidgets.settings import AttentionSettings, memory_needed

MakeModel = Callable[[ModelConfig], LatentDiffusion]
WIDE: dict[str, Any] = {"width": 48, "height": 32, "steps": 3, "seed": 1}
WINDOWED: dict[str, Any] = {**WIDE, "window": 16}


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor | None]]:
    """The input and the vector of each call of a UNet."""
    seen: list[tuple[Tensor, Tensor | None]] = []
    forward = UNet.forward

    def watched(
        self: UNet, x: Tensor, t: Tensor, context: Any = None, vector: Any = None, **more: Any
    ) -> Tensor:
        seen.append((x, vector))
        return forward(self, x, t, context, vector, **more)

    monkeypatch.setattr(UNet, "forward", watched)
    return seen


@pytest.mark.parametrize("window", [48, 64])
def test_a_window_as_large_as_the_image_changes_no_bit(
    tiny_model: LatentDiffusion, window: int
) -> None:
    run, plain = (tiny_model.sample("a cat", **WIDE, **more) for more in ({"window": window}, {}))
    for one, other in zip(run, plain, strict=True):
        assert torch.equal(one.x_next, other.x_next)
    assert NO_WINDOWS in run.notices and NO_WINDOWS not in plain.notices


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_with_a_network_that_looks_at_cells_alone_nothing_changes(
    tiny_model: LatentDiffusion, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pointwise(self: UNet, x: Tensor, t: Tensor, context: Tensor, *_: Any, **__: Any) -> Tensor:
        said = context.mean((1, 2))[:, None, None, None]
        return 0.1 * torch.tanh(x) + said + t[:, None, None, None] / 2000

    monkeypatch.setattr(UNet, "forward", pointwise)
    asked: dict[str, Any] = {**WIDE, "sampler": sampler, "guidance_scale": 4.0, "batch_size": 2}
    plain = [*tiny_model.sample("a cat", **asked)][-1].x_next
    windowed = [*tiny_model.sample("a cat", **asked, window=16)][-1].x_next
    assert (windowed - plain).abs().max() < 1e-4 * plain.abs().max()


@pytest.mark.parametrize("name", ["tiny", "SD2_INPAINTING"])
@torch.no_grad()
def test_a_step_is_that_of_the_blended_windows(make_model: MakeModel, name: str) -> None:
    config = TINY if name == "tiny" else FAMILIES[name]
    model, factor = make_model(config), config.autoencoder.factor
    width, height, side = 12 * factor, 8 * factor, 8
    asked: dict[str, Any] = {"width": width, "height": height, "steps": 1, "sampler": "euler"}
    given = needed(config, width, height)
    if "mask" in given:
        given["strength"] = 1.0
    run = model.sample("a cat", **asked, **given, window=side * factor, guidance_scale=3.0, seed=1)
    step = next(run)

    seen: dict[str, Any] = {}
    if "mask" in given:
        mask = torch.from_numpy(np.array(run.mask, np.float32) / 255)[None]
        seen = {"image": Held(to_tensor(run.image)[0]), "mask": Held(mask)}
    told = model.condition([Given(each, (width, height), **seen) for each in ("a cat", None)])
    x_in = step.x / (1 + step.sigma**2) ** 0.5
    t = torch.full((1,), model.schedule.t(step.sigma), dtype=torch.float32)
    halves = []
    for half in range(2):
        total, weight = torch.zeros_like(step.x), torch.zeros(8, 12)
        for left in (0, 4):
            part = slice(left, left + side)
            x = x_in[..., part]
            if told.concat is not None:
                x = torch.cat([x, told.concat[half : half + 1, ..., part]], dim=1)
            out = model.unet(x, t, None if told.context is None else told.context[half : half + 1])
            at = (torch.arange(side) + 0.5) / side * torch.pi
            w = torch.sin(at)[:, None] ** 2 * torch.sin(at) ** 2
            total[..., part] += w * out
            weight[..., part] += w
        halves.append(total / weight)
    cond, uncond = halves
    prediction = uncond + 3.0 * (cond - uncond)
    if config.schedule.prediction == "v":
        c = (1 + step.sigma**2) ** 0.5
        expected = step.x / c**2 - step.sigma / c * prediction
    else:
        expected = step.x - step.sigma * prediction
    assert (step.denoised - expected).abs().max() < 1e-3 * expected.abs().max()


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_sees_windows_with_all_that_is_beside_the_latents(
    make_model: MakeModel, inputs: list[tuple[Tensor, Tensor | None]], name: str
) -> None:
    config = FAMILIES[name]
    model, factor = make_model(config), config.autoencoder.factor
    asked: dict[str, Any] = {"width": 24 * factor, "height": 16 * factor, "steps": 1, "seed": 1}
    prompt = "a cat" if config.text else ""
    run = model.sample(
        prompt, **asked, **needed(config, 24 * factor, 16 * factor), window=16 * factor
    )
    step = next(run)
    assert step.x_next.shape[2:] == (16, 24) and torch.isfinite(step.x_next).all()
    assert {tuple(x.shape[1:]) for x, _ in inputs} == {(config.unet.in_channels, 16, 16)}
    first, second = inputs[0][0], inputs[1][0]
    assert len(inputs) % 2 == 0 and torch.equal(first[..., 8:], second[..., :8])
    if config.has(LowResolutionConfig):
        assert first.shape[1] == 7


def test_a_network_that_is_told_sizes_sees_each_window_as_a_crop(
    make_model: MakeModel, inputs: list[tuple[Tensor, Tensor | None]]
) -> None:
    config = FAMILIES["SDXL"]
    model, factor = make_model(config), config.autoencoder.factor
    size, side = (24 * factor, 16 * factor), 16 * factor
    next(model.sample("a cat", width=size[0], height=size[1], steps=1, window=side, crop=(5, 3)))
    for left, (_, vector) in zip((0, 8), inputs, strict=True):
        given = Given("a cat", size, size, (5 + left * factor, 3), (side, side))
        expected = model.condition([given]).vector
        assert vector is not None and expected is not None
        assert torch.allclose(vector[:1], expected, atol=1e-4)


def test_controls_act_on_their_part_of_each_window(tiny_model: LatentDiffusion) -> None:
    net = random_control(control_config(TINY))
    x, t = torch.randn(2, 4, 8, 8), torch.tensor([5.0, 5.0])
    context, hint = torch.randn(2, 7, 24), torch.randn(1, 16, 8, 12)
    window = Window(0, 3, 8, 8, (8, 12))
    with torch.no_grad():
        whole = Controlled(tiny_model.unet, [ControlPart(net, hint)])
        part = Controlled(tiny_model.unet, [ControlPart(net, window.of(hint))])
        whole.look_at(window)
        assert torch.equal(whole(x, t, context), part(x, t, context))


def test_what_is_recorded_has_the_size_of_the_whole(tiny_model: LatentDiffusion) -> None:
    net = random_control(control_config(TINY))
    more: dict[str, Any] = {
        "attention": AttentionSettings(uncond=True, heads=True),
        "control": Control(net, picture(48, 32)),
    }
    for sampler in ("euler", "heun"):
        run = tiny_model.sample("a cat", **WINDOWED, **more, sampler=sampler)
        plain = tiny_model.sample("a cat", **WIDE, **more, sampler=sampler)
        for one, other in zip(run, plain, strict=True):
            assert one.attention is not None and other.attention is not None
            for kind in ("cross", "uncond"):
                ours, theirs = getattr(one.attention, kind), getattr(other.attention, kind)
                assert {k: v.shape for k, v in ours.items()} == {
                    k: v.shape for k, v in theirs.items()
                }
                for maps in ours.values():
                    assert np.allclose(maps.astype(np.float32).sum(2), 1, atol=2e-2)
            assert one.control is not None and other.control is not None
            assert {k: v.shape for k, v in one.control.items()} == {
                k: v.shape for k, v in other.control.items()
            }
            assert all(np.isfinite(maps).all() and maps.any() for maps in one.control.values())


def test_the_maps_of_a_step_are_those_of_its_windows_blended(tiny_model: LatentDiffusion) -> None:
    run = tiny_model.sample("a cat", **{**WINDOWED, "height": 16}, guidance_scale=1, attention=True)
    step = next(run)
    windows = windows_of(8, 24, 8, 2)
    alone = []
    for window in windows:  # the same noise, a window at a time, without blending
        x = window.of(step.x) / (1 + step.sigma**2) ** 0.5
        part = tiny_model.sample(
            "a cat", latents=x, width=16, height=16, steps=3, guidance_scale=1, attention=True
        )
        alone.append(next(part).attention)
    assert step.attention is not None
    name = next(name for name, maps in step.attention.cross.items() if maps.shape[-2:] == (8, 24))
    total, weight = np.zeros(step.attention.cross[name].shape), np.zeros((8, 24))
    at = np.sin((np.arange(8) + 0.5) / 8 * np.pi) ** 2
    for window, attention in zip(windows, alone, strict=True):
        assert attention is not None
        part_of = slice(window.left, window.left + 8)
        total[..., part_of] += attention.cross[name] * at[:, None] * at
        weight[..., part_of] += at[:, None] * at
    assert np.allclose(step.attention.cross[name], total / weight, atol=5e-3)


def test_self_attention_of_windows_is_not_recorded_and_a_notice_says_so(
    tiny_model: LatentDiffusion,
) -> None:
    kinds = AttentionSettings(self_attention=True, queries=True)
    run = tiny_model.sample("a cat", **WINDOWED, attention=kinds)
    step = next(run)
    assert step.attention is not None and not step.attention.cells and not step.attention.queries
    assert any("no self-attention" in notice for notice in run.notices)
    plain = tiny_model.sample("a cat", **WIDE, attention=kinds)
    assert not any("no self-attention" in notice for notice in plain.notices)


def test_a_mask_keeps_what_is_outside(tiny_model: LatentDiffusion) -> None:
    image, mask = picture(48, 32), np.zeros((32, 48), np.uint8)
    mask[8:24, 12:36] = 255
    made = tiny_model.generate("a cat", **WINDOWED, image=image, mask=mask).image
    outside = mask == 0
    assert np.array_equal(np.asarray(made)[outside], np.asarray(image)[outside])
    assert not np.array_equal(np.asarray(made)[~outside], np.asarray(image)[~outside])


def test_both_passes_of_a_large_image_have_windows(
    tiny_model: LatentDiffusion, inputs: list[tuple[Tensor, Tensor | None]]
) -> None:
    run = tiny_model.sample("a cat", width=16, height=16, steps=2, hires=2.0, window=16, seed=1)
    assert [*run][-1].x_next.shape[2:] == (16, 16)
    assert {tuple(x.shape[2:]) for x, _ in inputs} == {(8, 8)}
    assert NO_WINDOWS not in run.notices


def test_the_memory_of_windows_is_that_of_one(
    tiny_model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = memory_needed(SD1, 4096, 4096, 4, tiled=True)
    windowed = memory_needed(SD1, 4096, 4096, 4, tiled=True, window=512)
    assert memory_needed(SD1, 512, 512, 4, tiled=True) <= windowed < whole
    asked: list[int | None] = []

    def needed(*_: Any, window: int | None = None, **__: Any) -> int:
        asked.append(window)
        return 1

    monkeypatch.setattr(room, "memory_needed", needed)
    tiny_model.sample("a cat", **WINDOWED)
    assert asked == [16]


def test_a_size_far_past_the_trained_one_has_a_notice_that_suggests_windows(
    tiny_model: LatentDiffusion,
) -> None:
    def about_size(**asked: Any) -> list[str]:
        notices = tiny_model.sample("a cat", **asked).notices
        return [notice for notice in notices if "was trained on" in notice]

    assert "window=16" in about_size(width=48, height=32)[0]
    assert "window=16" not in about_size(width=24, height=16)[0]
    assert not about_size(width=48, height=32, window=16)
    assert "windows of 24 x 24" in about_size(width=48, height=32, window=24)[0]


def test_an_edit_of_what_was_seen_in_windows_is_refused(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", **WINDOWED)
    with pytest.raises(InputError, match="windows"):
        trace.edit("cat", "dog")
