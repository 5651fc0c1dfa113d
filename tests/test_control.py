"""`Control`: an image that a run follows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import save_tensors
from control_nets import control_config, picture, random_control
from PIL import Image

from sdwidgets import CheckpointError, CheckpointNotFound, ImageError, InputError
from sdwidgets.checkpoints.control_json import control_to_json
from sdwidgets.configs import SDXL, TINY
from sdwidgets.control import Control
from sdwidgets.diffusion import Step
from sdwidgets.models.controlnet import ControlNet, zero_control
from sdwidgets.pipeline import LatentDiffusion

RUN: dict[str, Any] = {"steps": 4, "seed": 1}


@pytest.fixture(scope="module")
def net() -> ControlNet:
    return random_control(control_config(TINY))


def steps_of(model: LatentDiffusion, **settings: Any) -> list[Step]:
    return list(model.sample("a cat", **{**RUN, **settings}))


def last_of(model: LatentDiffusion, **settings: Any) -> torch.Tensor:
    return steps_of(model, **settings)[-1].x_next


# -- runs ------------------------------------------------------------------------------------


def test_a_run_follows_its_image(tiny_model: LatentDiffusion, net: ControlNet) -> None:
    free = last_of(tiny_model)
    one, other = (last_of(tiny_model, control=Control(net, picture(seed=n))) for n in (1, 2))
    assert not torch.allclose(free, one, atol=1e-2)
    assert not torch.allclose(one, other, atol=1e-3)


def test_a_new_network_adds_nothing(tiny_model: LatentDiffusion) -> None:
    fresh = random_control(control_config(TINY))
    zero_control(fresh)
    steps = steps_of(tiny_model, control=Control(fresh, picture()))
    assert torch.equal(steps[-1].x_next, last_of(tiny_model))
    assert all(not maps.any() for maps in steps[0].control.values())


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_it_acts_between_its_start_and_end(
    tiny_model: LatentDiffusion, net: ControlNet, sampler: str
) -> None:
    control = Control(net, picture(), start=0.25, end=0.75)
    steps = steps_of(tiny_model, sampler=sampler, control=control)
    free = steps_of(tiny_model, sampler=sampler)
    acting = [bool(step.control["mid_block"].any()) for step in steps]
    assert acting == [False, True, True, False]
    assert torch.equal(steps[0].x_next, free[0].x_next)
    assert not torch.allclose(steps[1].x_next, free[1].x_next)


def test_strength_scales_what_is_added(tiny_model: LatentDiffusion, net: ControlNet) -> None:
    whole, half = (
        steps_of(tiny_model, control=Control(net, picture(), strength=strength))[0].control
        for strength in (1.0, 0.5)
    )
    for level in whole:
        np.testing.assert_allclose(half[level] * 2, whole[level], rtol=2e-3)


def test_what_several_add_is_summed(tiny_model: LatentDiffusion, net: ControlNet) -> None:
    twice = Control(net, picture(), strength=2)
    halves = [Control(net, picture()), Control(net, picture())]
    assert torch.allclose(
        last_of(tiny_model, control=twice), last_of(tiny_model, control=halves), atol=1e-5
    )
    maps = steps_of(tiny_model, control=halves)[0].control["down_blocks.0"]
    assert maps.shape == (1, 2, 1, 8, 8)
    np.testing.assert_array_equal(maps[:, 0], maps[:, 1])


def test_each_image_of_a_batch_is_as_alone(tiny_model: LatentDiffusion, net: ControlNet) -> None:
    control = Control(net, picture())
    together = steps_of(tiny_model, batch_size=2, control=control)
    alone = steps_of(tiny_model, seed=2, control=control)
    assert torch.allclose(together[-1].x_next[1:], alone[-1].x_next, atol=1e-4)
    assert together[0].control["mid_block"].shape[0] == 2


@pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
def test_with_an_image_a_mask_and_an_odd_size(
    tiny_model: LatentDiffusion, net: ControlNet, guidance_scale: float
) -> None:
    start, mask = picture(22, 14, seed=5), Image.new("L", (22, 14), 255)
    mask.paste(0, (0, 0, 11, 14))
    run = {
        "width": 22, "height": 14, "image": start, "mask": mask, "strength": 0.5,
        "guidance_scale": guidance_scale,
    }  # fmt: skip
    steps = steps_of(tiny_model, **run, control=Control(net, picture(30, 30), end=0.5))
    assert [bool(step.control["mid_block"].any()) for step in steps] == [True, False]
    assert steps[0].control["down_blocks.0"].shape == (1, 1, 1, 7, 11)
    assert not torch.allclose(steps[-1].x_next, last_of(tiny_model, **run))


def test_attention_is_recorded_beside_it(tiny_model: LatentDiffusion, net: ControlNet) -> None:
    trace = tiny_model.generate("a cat", **RUN, attention=True, control=Control(net, picture()))
    assert trace.heat_map("cat").shape == (16, 16)


def test_its_image_is_fitted(tiny_model: LatentDiffusion, net: ControlNet) -> None:
    run = tiny_model.sample("a cat", **RUN, control=Control(net, picture(32, 32)), fit="pad")
    assert run.controls.images[0].size == (16, 16)
    assert "The image of the control was resized from 32 x 32 to 16 x 16." in run.notices
    assert not any("fit had no effect" in said for said in run.notices)


def test_a_control_without_effect_is_said(tiny_model: LatentDiffusion, net: ControlNet) -> None:
    def notices(**more: Any) -> str:
        control = Control(net, picture(), **more)
        return "\n".join(tiny_model.sample("a cat", **RUN, control=control).notices)

    assert "The strength of the control is 0, so it had no effect." in notices(strength=0)
    said = "No whole step of 4 is between 0.3 and 0.45 of the run, so the control had no effect."
    assert said in notices(start=0.3, end=0.45)
    assert "no effect" not in notices()


def test_a_network_follows_its_model(tiny_model: LatentDiffusion, net: ControlNet) -> None:
    double = net.on(torch.device("cpu"), torch.float64)
    assert double is not net and net.conv_in.weight.dtype == torch.float32
    run = tiny_model.sample("a cat", **RUN, control=Control(double, picture()))
    assert run.controls.nets[0].conv_in.weight.dtype == torch.float32
    assert torch.equal(list(run)[-1].x_next, last_of(tiny_model, control=Control(net, picture())))


# -- through a manager, and in files -----------------------------------------------------------


def test_a_manager_runs_it(tiny_model: LatentDiffusion, net: ControlNet, tmp_path: Path) -> None:
    from sdwidgets import ModelManager, Request, Settings

    file = save_tensors(net.state_dict(), tmp_path / "canny.safetensors")
    config = control_config(TINY)
    whole, from_file = Control(net, picture(), strength=0.5), Control(file, picture())
    settings = Settings("a cat", **RUN)
    with ModelManager() as manager:
        name = manager.add(tiny_model)
        trace = manager.submit(Request(name, settings, control=whole)).result()
        assert torch.equal(
            torch.from_numpy(trace.steps[-1].x_next), last_of(tiny_model, control=whole)
        )
        expected = trace.sources
        again = manager.submit(Request(name, settings, control=whole, sources=expected)).result()
        assert again.notices == trace.notices
        other = manager.submit(Request(name, settings, sources=expected)).result()
        assert any("expected: a ControlNet (strength 0.5)" in said for said in other.notices)
        with pytest.raises(InputError, match=r"control must be a sdwidgets\.Control"):
            manager.submit(Request(name, settings, control="edges.png"))  # type: ignore[arg-type]
        with pytest.raises(CheckpointError, match="levels of 16, 32 channels"):  # unlike any known
            manager.submit(Request(name, settings, control=[from_file])).result()
    assert config.unet.context_dim == 24


def test_a_path_is_loaded_when_a_run_begins(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    """A folder says what a file of this size does not."""
    net = random_control(control_config(TINY))
    save_tensors(net.state_dict(), tmp_path / "diffusion_pytorch_model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(control_to_json(net.config)))
    run = tiny_model.sample("a cat", **RUN, control=Control(str(tmp_path), picture()))
    expected = last_of(tiny_model, control=Control(net, picture()))
    assert torch.allclose(list(run)[-1].x_next, expected, atol=1e-3)
    (source,) = run.controls.sources
    assert (source.kind, source.strength) == ("controlnet", 1.0)
    assert source.name == f"{tmp_path.name}/diffusion_pytorch_model.safetensors"


# -- what is refused -------------------------------------------------------------------------


def test_arguments_are_checked(net: ControlNet) -> None:
    for wrong in (None, 3, torch.nn.Identity(), ControlNet):
        with pytest.raises(InputError, match=r"net must be a ControlNet or the path") as error:
            Control(wrong, picture())  # type: ignore[arg-type]
        assert error.value.parameter == "net"
    with pytest.raises(ImageError):
        Control(net, "there is no such image.png")
    for name, value in [("strength", -1), ("strength", 11), ("start", 1.5), ("end", float("nan"))]:
        with pytest.raises(InputError) as error:
            Control(net, picture(), **{name: value})  # type: ignore[arg-type]
        assert error.value.parameter == name
    with pytest.raises(InputError, match=r"acts in none\.\nGive a start below the end"):
        Control(net, picture(), start=0.5, end=0.5)


def test_a_runs_controls_are_checked(tiny_model: LatentDiffusion, net: ControlNet) -> None:
    for wrong in (net, "edges.png", [Control(net, picture()), None], 3):
        with pytest.raises(InputError, match=r"control must be a sdwidgets\.Control"):
            tiny_model.sample("a cat", control=wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at most 8 controls, got 9"):
        tiny_model.sample("a cat", control=[Control(net, picture())] * 9)
    with pytest.raises(CheckpointNotFound):
        tiny_model.sample("a cat", control=Control(Path("none.safetensors"), picture()))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"context_dim": 40}, "it needs text states of width 40; the model has 24."),
        ({"vector_dim": 8}, "it needs a vector of width 8; the model has 0."),
        ({"in_channels": 9}, "it needs latents of channels 9; the model has 4."),
        ({"channels": (16, 48)}, "it needs levels of channels 16, 48; the model has 16, 32."),
        ({"blocks_per_level": 2}, "it needs blocks per level: 2; the model has 1."),
    ],
)
def test_a_network_of_another_family_is_refused(
    tiny_model: LatentDiffusion, changed: dict[str, Any], said: str
) -> None:
    config = control_config(TINY)
    other = random_control(replace(config, unet=replace(config.unet, **changed)))
    with pytest.raises(InputError, match=r"for another family of models than 'tiny'") as error:
        tiny_model.sample("a cat", control=Control(other, picture()))
    assert said in str(error.value)
    assert error.value.parameter == "control"


def test_a_network_of_another_scale_is_refused(tiny_model: LatentDiffusion) -> None:
    other = random_control(replace(control_config(TINY), hint_widths=(4, 8, 12)))
    with pytest.raises(InputError, match="images that are reduced by 4; the model has 2"):
        tiny_model.sample("a cat", control=Control(other, picture()))


def test_a_network_that_reads_no_words_fits_any_width(tiny_model: LatentDiffusion) -> None:
    config = control_config(TINY, hollow=(0, 1, -1))
    other = random_control(replace(config, unet=replace(config.unet, context_dim=7)))
    assert not other.config.reads_context
    last_of(tiny_model, control=Control(other, picture()))


# -- numbers ---------------------------------------------------------------------------------


def test_memory_counts_what_is_added() -> None:
    from sdwidgets.settings import memory_needed

    without, with_two = (memory_needed(SDXL, 64, 4096, controls=n) for n in (0, 2))
    assert with_two >= without
    wide = replace(SDXL, autoencoder=replace(SDXL.autoencoder, channels=(1, 1, 1, 1)))
    assert memory_needed(wide, 512, 512, controls=1) > memory_needed(wide, 512, 512)
