"""Names and shapes of full-size models, against those of published files (see golden_names.py)."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from golden_names import GOLDEN, MODELS, digest
from torch import nn

from sdwidgets import configs
from sdwidgets.checkpoints import names
from sdwidgets.configs import TextConfig, UNetConfig
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.models.clip import CLIPText
from sdwidgets.models.unet import UNet

FACTS: dict[str, Any] = json.loads(GOLDEN.read_text())
Shapes = dict[str, tuple[int, ...]]

# In the keymaps, OpenCLIP's projection is not matched with diffusers' (it is transposed).
WITHOUT_PROJECTION = ("sdxl", "refiner")


@cache
def shapes_of(kind: type[nn.Module], config: Any) -> Shapes:
    with torch.device("meta"):
        return {name: tuple(t.shape) for name, t in kind(config).state_dict().items()}


def convolved(shapes: Shapes, *ends: str) -> Shapes:
    """Return matrices whose names end so as 1x1 convolutions."""
    return {
        name: (*shape, 1, 1) if name.endswith(ends) and len(shape) == 2 else shape
        for name, shape in shapes.items()
    }


def renamed(shapes: Shapes, lookup: names.Lookup) -> Shapes:
    found: Shapes = {}
    for name, shape in shapes.items():
        source = lookup(name)[0]
        found[source.name] = (shape[0] * source.parts, *shape[1:])
    return found


def check(family: str, part: str, layout: str, shapes: Shapes) -> None:
    wanted = FACTS[family][part][layout]
    assert len(shapes) == wanted["tensors"]
    assert digest(shapes.items()) == wanted["sha256"]


def unet_shapes(family: str) -> Shapes:
    shapes = shapes_of(UNet, MODELS[family].unet)
    # Stable Diffusion 1 has convolutions around its transformers.
    ends = ("proj_in.weight", "proj_out.weight")
    return convolved(shapes, *ends) if family == "sd1" else shapes


@pytest.mark.parametrize("family", MODELS)
def test_networks(family: str) -> None:
    shapes = unet_shapes(family)
    check(family, "unet", "diffusers", shapes)
    lookup = names.compvis_unet_names(MODELS[family].unet)
    check(family, "unet", "compvis", renamed(shapes, lookup))


@pytest.mark.parametrize("family", MODELS)
def test_autoencoders(family: str) -> None:
    config = MODELS[family].autoencoder
    shapes = shapes_of(Autoencoder, config)
    check(family, "vae", "diffusers", shapes)
    attention = tuple(f"mid_block.attentions.0.to_{kind}.weight" for kind in ("q", "k", "v"))
    shapes = convolved(shapes, *attention, "mid_block.attentions.0.to_out.0.weight")
    lookup = names.compvis_autoencoder_names(config)
    check(family, "vae", "compvis", renamed(shapes, lookup))


@pytest.mark.parametrize("family", MODELS)
def test_text_encoders_in_folders(family: str) -> None:
    for number, config in enumerate(MODELS[family].text, start=1):
        shapes = dict(shapes_of(CLIPText, config))
        if family in WITHOUT_PROJECTION:
            shapes.pop("text_projection.weight", None)
        check(family, f"text_encoder{number}", "diffusers", shapes)


def text_names(family: str, number: int, config: TextConfig) -> names.Lookup:
    if family in ("sd1", "sd2"):
        prefix = names.CLIP if family == "sd1" else names.OPEN_CLIP
    else:
        part = "transformer" if config.activation == "quick_gelu" else "model"
        prefix = f"conditioner.embedders.{number}.{part}."
    if config.activation == "quick_gelu":
        return names.clip_names(prefix)
    return names.open_clip_names(config, prefix)


@pytest.mark.parametrize("family", MODELS)
def test_text_encoders_in_files(family: str) -> None:
    for number, config in enumerate(MODELS[family].text):
        shapes = dict(shapes_of(CLIPText, config))
        lookup = text_names(family, number, config)
        projection = shapes.pop("text_projection.weight", None)
        found = renamed(shapes, lookup)
        if projection and family not in WITHOUT_PROJECTION:
            # SSD-1B and Vega have a linear layer, where XL has a matrix to multiply from the right
            matrix, linear = lookup("text_projection.weight")
            assert matrix.transposed and not linear.transposed
            found[linear.name] = projection
        check(family, f"text_encoder{number + 1}", "compvis", found)


@pytest.mark.parametrize("family", ["sdxl", "refiner"])
def test_text_encoders_in_files_of_xl(family: str) -> None:
    for number, config in enumerate(MODELS[family].text):
        start = f"conditioner.embedders.{number}."
        if config.projection_dim:
            lookup = names.open_clip_names(config, f"{start}model.")
        else:
            lookup = names.clip_names(f"{start}transformer.")
        shapes = dict(shapes_of(CLIPText, config))
        shapes.pop("text_projection.weight", None)
        check(family, f"text_encoder{number + 1}", "compvis", renamed(shapes, lookup))


def compvis_names(config: UNetConfig) -> list[str]:
    lookup = names.compvis_unet_names(config)
    return [lookup(name)[0].name.removeprefix(names.UNET) for name in shapes_of(UNet, config)]


EVERY = {
    model.name: model.unet for model in vars(configs).values()
    if isinstance(model, configs.ModelConfig)
}  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_no_two_parameters_have_the_same_name(name: str) -> None:
    lookup = names.compvis_unet_names(EVERY[name])
    found = [lookup(own)[0] for own in shapes_of(UNet, EVERY[name])]
    assert len({(source.name, source.part) for source in found}) == len(found)


def test_names_that_only_some_families_have() -> None:
    assert "label_emb.weight" in compvis_names(configs.X4_UPSCALER.unet)
    assert "label_emb.0.0.weight" in compvis_names(configs.SDXL.unet)
    assert "time_embedding.cond_proj.weight" in compvis_names(configs.LCM.unet)


def test_a_middle_that_is_small_or_missing() -> None:
    def middle(unet: UNetConfig) -> set[str]:
        return {n.split(".")[1] for n in compvis_names(unet) if n.startswith("middle_block")}

    assert middle(configs.SD1.unet) == {"0", "1", "2"}
    assert middle(configs.SSD_1B.unet) == {"0"}
    assert middle(configs.BK_SDM_TINY.unet) == set()


def test_a_single_block_per_level_is_numbered_without_gaps() -> None:
    found = compvis_names(configs.KOALA_700M.unet)
    for part, number in (("input_blocks", 6), ("output_blocks", 6)):
        blocks = {int(n.split(".")[1]) for n in found if n.startswith(part)}
        assert blocks == set(range(number))
    # the upsamplers follow the transformers of the two deeper levels
    upsamplers = {n.rsplit(".", 2)[0] for n in found if n.endswith(".conv.weight")}
    assert upsamplers == {"output_blocks.1.2", "output_blocks.3.2"}


def test_depths_that_differ_on_the_way_up() -> None:
    def transformers(unet: UNetConfig, block: str) -> int:
        start = f"{block}.1.transformer_blocks."
        return len({n.split(".")[4] for n in compvis_names(unet) if n.startswith(start)})

    # as ComfyUI writes SSD-1B down, transformer_depth_output: 0, 0, 0, 2, 1, 1, 4, 4, 10
    up = [transformers(configs.SSD_1B.unet, f"output_blocks.{n}") for n in range(9)]
    assert up == [4, 4, 10, 2, 1, 1, 0, 0, 0]
    assert transformers(replace(configs.SSD_1B.unet, up_depths=()), "output_blocks.2") == 4


def test_a_projection_is_a_matrix_or_a_layer() -> None:
    lookup = names.open_clip_names(configs.SDXL.text[1], "conditioner.embedders.1.model.")
    matrix, layer = lookup("text_projection.weight")
    assert (matrix.name, matrix.transposed) == (
        "conditioner.embedders.1.model.text_projection", True,
    )  # fmt: skip
    # as in files of SSD-1B and Vega
    assert (layer.name, layer.transposed) == (
        "conditioner.embedders.1.model.text_projection.weight", False,
    )  # fmt: skip
