"""The config of a single file from its shapes, at the sizes of the published models."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from checkpoint_files import write_header
from published import Layout, layouts_of, shapes_of

from sdwidgets import configs
from sdwidgets.checkpoints import names
from sdwidgets.checkpoints.families import FAMILIES
from sdwidgets.checkpoints.infer import Place, infer_unet, unet_place
from sdwidgets.checkpoints.single_file import open_file
from sdwidgets.configs import SD1, SD2, SDXL, ModelConfig
from sdwidgets.errors import CheckpointError

Shapes = dict[str, tuple[int, ...]]


def config_of(shapes: Shapes, folder: Path) -> ModelConfig:
    """Return what is inferred from a file with these tensors, which take no room."""
    path = folder / "model.safetensors"
    write_header(path, shapes, "F8_E4M3")
    with ExitStack() as stack:
        return open_file(path, stack).config


EVERY = [
    pytest.param(family.preset, layout, id=f"{family.key}-{layout}")
    for family in FAMILIES
    if family.key != "rdm"  # its file lacks CLIP
    for layout in layouts_of(family.preset)
]


@pytest.mark.parametrize(("config", "layout"), EVERY)
def test_the_published_models_are_known_by_their_shapes(
    config: ModelConfig, layout: Layout, tmp_path: Path
) -> None:
    assert config_of(shapes_of(config, layout), tmp_path) == replace(config, name="model")


def test_a_stable_diffusion_2_in_newer_names_is_an_sd_turbo(tmp_path: Path) -> None:
    found = config_of(shapes_of(SD2, "sgm"), tmp_path)
    assert found == replace(configs.SD_TURBO, name="model")


def test_published_files_have_as_many_tensors_as_are_counted() -> None:
    assert len(shapes_of(SD1, "compvis")) == 686 + 248 + 196 + 1  # and the position ids
    assert len(shapes_of(SDXL, "sgm")) == 2515
    assert len(shapes_of(configs.SDXL_REFINER, "sgm")) == 1858


def test_a_smaller_relative_of_a_published_model(tmp_path: Path) -> None:
    unet = replace(SD1.unet, channels=(32, 64), depths=(1, 0), heads=(8, 8), blocks_per_level=1)
    small = replace(SD1, unet=unet)
    assert config_of(shapes_of(small, "compvis"), tmp_path).unet == unet


def test_a_guided_network_of_another_family_is_told_its_guidance(tmp_path: Path) -> None:
    lcm = replace(SDXL, unet=replace(SDXL.unet, guidance_dim=128))
    found = config_of(shapes_of(lcm, "diffusers"), tmp_path)
    assert found.embedders == (*SDXL.embedders, configs.GuidanceConfig(128))


def test_text_states_of_an_unknown_width(tmp_path: Path) -> None:
    text = replace(SD1.text[0], width=64, heads=1, layers=1)
    odd = replace(SD1, unet=replace(SD1.unet, context_dim=64), embedders=(text,))
    with pytest.raises(CheckpointError, match=r"width 64(.|\n)*config="):
        config_of(shapes_of(odd, "compvis"), tmp_path)


@pytest.mark.parametrize(
    "gone",
    [
        "input_blocks.0.0.weight",
        "attn2.to_k.weight",
        "post_quant_conv",
        "position_embedding",
        "fc1",
    ],
)
def test_a_file_that_is_not_whole(gone: str, tmp_path: Path) -> None:
    shapes = {name: s for name, s in shapes_of(SD1, "compvis").items() if gone not in name}
    with pytest.raises(CheckpointError, match="is missing"):
        config_of(shapes, tmp_path)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("model.diffusion_model.input_blocks.1.0.out_layers.3.weight", (10**6, 320, 3, 3)),
        ("cond_stage_model.transformer.text_model.embeddings.token_embedding.weight", (10**9, 768)),
        ("first_stage_model.encoder.down.0.block.0.conv1.weight", (2**20, 128, 3, 3)),
    ],
)
def test_sizes_beyond_reason(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        config_of({**shapes_of(SD1, "compvis"), name: shape}, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "model.diffusion_model.input_blocks.0.0.weight",
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
        "first_stage_model.encoder.conv_in.weight",
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
    ],
)
@pytest.mark.parametrize("shape", [(), (5,), (0, 0)])
def test_shapes_of_another_rank(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        config_of({**shapes_of(SD1, "compvis"), name: shape}, tmp_path)


def test_the_network_is_found_with_and_without_a_prefix() -> None:
    whole = shapes_of(SD1, "compvis")
    unet = {n: s for n, s in whole.items() if n.startswith(names.UNET)}
    for prefix in (names.UNET, "", "diffusion_model."):
        named = {prefix + n.removeprefix(names.UNET): s for n, s in unet.items()}
        place = unet_place(named)
        assert place == Place(prefix, compvis=True)
        assert infer_unet(named, place) == SD1.unet
    for prefix in ("unet.", ""):
        named = {
            prefix + n.removeprefix("unet."): s
            for n, s in shapes_of(SD1, "diffusers").items()
            if n.startswith("unet.")
        }
        place = unet_place(named)
        assert place == Place(prefix, compvis=False)
        assert infer_unet(named, place) == SD1.unet
    assert unet_place({n: s for n, s in whole.items() if n not in unet}) is None
