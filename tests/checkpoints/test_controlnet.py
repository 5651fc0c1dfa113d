"""`load_control`: every layout of a ControlNet, and what is refused."""

from __future__ import annotations

import json
import pickle
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import SMALL, compvis_tensors, edit_tensors, networks, save_tensors
from control_nets import random_control
from torch import Tensor

from sdwidgets import CheckpointError, CheckpointNotFound, InputError, load_control
from sdwidgets.checkpoints import names
from sdwidgets.checkpoints.control_json import control_to_json
from sdwidgets.configs import SD1, SD2, SDXL, ControlNetConfig, UNetConfig
from sdwidgets.models.controlnet import ControlNet

_HINT = (4, 6, 8, 10)


def _small(unet: UNetConfig, **more: Any) -> UNetConfig:
    channels = (32, 64, 64, 128)[: len(unet.channels)]
    heads = (8,) * len(channels) if unet.context_dim == 768 else (1, 1, 1, 2)[: len(channels)]
    return replace(unet, channels=channels, heads=heads, **more)


def _xl(depths: tuple[int, ...], **more: Any) -> ControlNetConfig:
    unet = _small(SDXL.unet, vector_dim=40, depths=depths, middle_depth=max(depths[-1], 1))
    return ControlNetConfig(replace(unet, **more), hint_widths=_HINT)


CONFIGS = {
    "sd1": ControlNetConfig(_small(SD1.unet, middle_depth=1), hint_widths=_HINT),
    "sd2": ControlNetConfig(_small(SD2.unet, middle_depth=1), hint_widths=_HINT),
    "sdxl": _xl((0, 1, 2)),
    "sdxl mid": _xl((0, 0, 1)),
    "sdxl small": replace(_xl((0, 0, 0), context_dim=0), hollow=(-1,)),
    "sdxl, one block in the middle": _xl((0, 0, 0), context_dim=0, middle=1, middle_depth=0),
    "hollow levels": replace(_xl((0, 1, 1), context_dim=0), hollow=(1, 2, -1)),
}
LAYOUTS = ("compvis", "compvis bare", "diffusers", "folder")


def tensors_of(net: ControlNet, layout: str) -> dict[str, Tensor]:
    """Return the weights as a file of that layout has them."""
    state = net.state_dict()
    if not layout.startswith("compvis"):
        return state
    prefix = "" if layout == "compvis bare" else "control_model."
    look_up = names.compvis_control_names(net.config, prefix)
    tensors = {}
    for name, tensor in state.items():
        if name.endswith(("proj_in.weight", "proj_out.weight")) and "attentions" in name:
            tensor = tensor[:, :, None, None]  # convolutions, as in Stable Diffusion 1
        tensors[look_up(name)[0].name] = tensor
    return tensors


def write(net: ControlNet, path: Path, layout: str) -> Path:
    if layout != "folder":
        return save_tensors(tensors_of(net, layout), path / "net.safetensors")
    save_tensors(net.state_dict(), path / "diffusion_pytorch_model.safetensors")
    (path / "config.json").write_text(json.dumps(control_to_json(net.config)))
    return path


def loaded(path: Path, *args: Any, **more: Any) -> ControlNet:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_control(path, *args, device="cpu", **more)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CONFIGS)
def test_every_layout_loads(name: str, layout: str, tmp_path: Path) -> None:
    config = CONFIGS[name]
    if layout == "folder" and not config.reads_context:
        unet = replace(config.unet, context_dim=2048)  # its config says more than shapes do
        config = replace(config, unet=unet)
    net = random_control(config)
    found = loaded(write(net, tmp_path, layout))
    assert replace(found.config, unet=config.unet) == config
    assert found.config.unet.heads == config.unet.heads
    assert found.config.unet.skips == config.unet.skips
    assert found.config.reads_context == config.reads_context
    state = found.state_dict()
    assert state.keys() == net.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
    (source,) = found.sources
    assert source.kind == "controlnet"
    assert source.name.endswith(".safetensors") and source.file is not None


def test_a_control_in_the_file_of_its_model(tmp_path: Path) -> None:
    net = random_control(CONFIGS["sd1"])
    whole = compvis_tensors(networks(), SMALL) | tensors_of(net, "compvis")
    found = loaded(save_tensors(whole, tmp_path / "control_sd15_canny.safetensors"))
    assert torch.equal(found.conv_in.weight, net.conv_in.weight)


def test_a_config_may_be_given_for_other_sizes(tmp_path: Path) -> None:
    config = replace(CONFIGS["sd1"], unet=replace(CONFIGS["sd1"].unet, context_dim=40))
    path = write(random_control(config), tmp_path, "compvis")
    with pytest.raises(CheckpointError, match=r"width 40;[^$]*ControlNetConfig"):
        load_control(path)
    assert loaded(path, config).config == config
    with pytest.raises(InputError, match="config must be a ControlNetConfig"):
        load_control(path, config.unet)  # type: ignore[arg-type]
    folder = write(random_control(config), tmp_path, "folder")
    with pytest.raises(InputError, match="a folder has its own"):
        load_control(folder, config)


def test_a_type_may_be_asked_for(tmp_path: Path) -> None:
    path = write(random_control(CONFIGS["sd1"]), tmp_path, "compvis")
    assert loaded(path, dtype="bfloat16").conv_in.weight.dtype == torch.bfloat16


def test_the_folder_of_a_pipeline(tmp_path: Path) -> None:
    net = random_control(CONFIGS["sd1"])
    write(net, tmp_path / "controlnet", "folder")
    (tmp_path / "model_index.json").write_text("{}")
    found = loaded(tmp_path)
    name = f"{tmp_path.name}/controlnet/diffusion_pytorch_model.safetensors"
    assert [source.name for source in found.sources] == [name]


def test_blue_green_red(tmp_path: Path) -> None:
    config = replace(CONFIGS["sd1"], is_bgr=True)
    assert loaded(write(random_control(config), tmp_path, "folder")).config.is_bgr


# -- what is refused -------------------------------------------------------------------------

OTHERS: dict[str, tuple[tuple[str, ...], str]] = {
    "Control-LoRA": (
        ("lora_controlnet", "input_hint_block.0.weight", "input_blocks.1.0.emb_layers.1.up"),
        "a Control-LoRA",
    ),
    "difference": (
        ("difference", "control_model.input_hint_block.0.weight"),
        "the difference of a ControlNet",
    ),
    "LLLite": (("lllite_unet_input_blocks_4_1.conditioning1.0.weight",), "a ControlNet-LLLite"),
    "T2I-Adapter": (("adapter.body.0.in_conv.weight", "adapter.conv_in.weight"), "a T2I-Adapter"),
    "union": (
        ("controlnet_cond_embedding.conv_in.weight", "task_embedding", "conv_in.weight"),
        "a ControlNet Union",
    ),
    "Flux": (
        ("controlnet_x_embedder.weight", "controlnet_blocks.0.weight"),
        "a ControlNet of a transformer",
    ),
    "XS": (("control_model.control_model.input_blocks.0.0.weight",), "a ControlNet-XS"),
    "SparseCtrl": (
        ("controlnet_cond_embedding.weight", "down_blocks.0.motion_modules.0.norm.weight"),
        "a SparseCtrl",
    ),
    "LoRA": (("lora_unet_mid.lora_up.weight",), "a LoRA"),
    "nothing": ((), "empty"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_controls_are_refused_by_name(name: str, tmp_path: Path) -> None:
    tensors, said = OTHERS[name]
    file = save_tensors({one: torch.zeros(2, 2) for one in tensors}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=f"holds no ControlNet: it is {said}"):
        load_control(file)


def test_a_model_is_no_control(tmp_path: Path) -> None:
    whole = save_tensors(compvis_tensors(networks(), SMALL), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"a whole model, which sdwidgets\.load takes"):
        load_control(whole)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "control_v11p_sd15_canny.pth"
    path.write_bytes(pickle.dumps({"control_model.zero_convs.0.0.weight": 1}))
    with pytest.raises(CheckpointError, match="pickle"):
        load_control(path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    path = write(random_control(CONFIGS["sd1"]), tmp_path, "compvis")
    edit_tensors(path, **{"control_model/zero_convs/3/0/weight": None})
    with pytest.raises(CheckpointError, match=r"1 of \d+ tensors of the ControlNet are missing"):
        load_control(path)
    edit_tensors(path, **{"control_model/input_hint_block/0/weight": None})
    with pytest.raises(CheckpointError, match="no embedding of its image"):
        load_control(path)
    with pytest.raises(CheckpointNotFound):
        load_control(tmp_path / "none.safetensors")


def test_shapes_that_no_network_has_are_refused(tmp_path: Path) -> None:
    net = random_control(CONFIGS["sd1"])
    path = write(net, tmp_path, "diffusers")
    for name in ("conv_in/weight", "down_blocks/0/resnets/0/conv1/weight"):
        edit_tensors(path, **{name: torch.zeros(())})
        with pytest.raises(CheckpointError, match="not a whole ControlNet: a dimension is missing"):
            load_control(path)
        write(net, tmp_path, "diffusers")
    edit_tensors(path, **{"down_blocks/0/resnets/0/conv1/weight": torch.zeros(33, 1, 3, 3)})
    with pytest.raises(CheckpointError, match="levels of 33, 64, 64, 128 channels"):
        load_control(path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"_class_name": "ControlNetUnionModel"}, "_class_name is 'ControlNetUnionModel'"),
        ({"global_pool_conditions": True}, "global_pool_conditions is True"),
        ({"conditioning_channels": 6}, "conditioning_channels is 6"),
        ({"conditioning_embedding_out_channels": []}, "conditioning_embedding_out_channels is"),
        ({"controlnet_conditioning_channel_order": "rbg"}, "'rbg'; rgb or bgr"),
        ({"down_block_types": "all"}, "down_block_types is 'all'"),
        ({"transformer_layers_per_block": ["1"]}, "transformer_layers_per_block is"),
        ({"mid_block_type": "Other"}, "mid_block_type is 'Other'"),
    ],
)
def test_a_config_that_asks_for_another_network_is_refused(
    changed: dict[str, Any], said: str, tmp_path: Path
) -> None:
    folder = write(random_control(CONFIGS["sd1"]), tmp_path, "folder")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(CheckpointError, match=r"config\.json") as error:
        load_control(folder)
    assert said in str(error.value)
