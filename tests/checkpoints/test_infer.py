"""The config of a single file from its shapes, at the sizes of the published models."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from sdwidgets.checkpoints import names
from sdwidgets.checkpoints.infer import Place, infer_config, infer_unet, is_compvis, unet_place
from sdwidgets.configs import SD1, SD2, SDXL, ModelConfig
from sdwidgets.errors import CheckpointError
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.models.clip import CLIPText
from sdwidgets.models.unet import UNet

PATH = Path("model.safetensors")
Shapes = dict[str, tuple[int, ...]]


@cache
def shapes_of(config: ModelConfig, layout: str) -> Shapes:
    """Return the names and shapes in the file of a published model of this config."""
    with torch.device("meta"):
        parts = {
            "unet.": UNet(config.unet),
            "vae.": Autoencoder(config.autoencoder),
            "text_encoder.": CLIPText(config.text[0]),
        }
    is_sd2 = config.text[0].width == 1024
    lookups = {
        "unet.": names.compvis_unet_names(config.unet),
        "vae.": names.compvis_autoencoder_names(config.autoencoder),
        "text_encoder.": names.open_clip_names(config.text[0])
        if is_sd2
        else names.clip_names(names.CLIP),
    }
    shapes: Shapes = {}
    for prefix, part in parts.items():
        for name, tensor in part.state_dict().items():
            shape = tuple(tensor.shape)
            if layout == "diffusers":
                shapes[prefix + name] = shape
            else:
                source = lookups[prefix](name)[0]
                shapes[source.name] = (shape[0] * source.parts, *shape[1:])
    if layout == "compvis" and is_sd2:  # the last layer is in the file, but is not used
        last = names.OPEN_CLIP + f"transformer.resblocks.{config.text[0].layers}."
        first = names.OPEN_CLIP + "transformer.resblocks.0."
        shapes |= {n.replace(first, last): s for n, s in shapes.items() if n.startswith(first)}
    return shapes


@pytest.mark.parametrize("layout", ["compvis", "diffusers"])
@pytest.mark.parametrize("config", [SD1, SD2], ids=["sd1", "sd2"])
def test_the_published_models_are_known_by_their_shapes(config: ModelConfig, layout: str) -> None:
    shapes = shapes_of(config, layout)
    assert is_compvis(shapes) == (layout == "compvis")
    assert infer_config(shapes, PATH) == replace(config, name="model")


def test_stable_diffusion_1_in_one_file_has_its_1130_tensors() -> None:
    assert len(shapes_of(SD1, "compvis")) == 686 + 248 + 196


def test_every_parameter_has_a_name_of_its_own() -> None:
    for config in (SD1, SDXL):
        with torch.device("meta"):
            unet = UNet(config.unet).state_dict()
        lookup = names.compvis_unet_names(config.unet)
        assert len({lookup(name)[0] for name in unet}) == len(unet)


def test_a_smaller_relative_of_a_published_model() -> None:
    unet = replace(SD1.unet, channels=(32, 64), depths=(1, 0), heads=(8, 8), blocks_per_level=1)
    small = replace(SD1, unet=unet)
    assert infer_config(shapes_of(small, "compvis"), PATH).unet == unet


def test_text_states_of_an_unknown_width() -> None:
    text = replace(SD1.text[0], width=64, heads=1, layers=1)
    odd = replace(SD1, unet=replace(SD1.unet, context_dim=64), embedders=(text,))
    with pytest.raises(CheckpointError, match=r"width 64(.|\n)*config="):
        infer_config(shapes_of(odd, "compvis"), PATH)


@pytest.mark.parametrize(
    "gone",
    ["input_blocks.0.0.weight", "attn2.to_k.weight", "post_quant_conv", "token_embedding", "fc1"],
)
def test_a_file_that_is_not_whole(gone: str) -> None:
    shapes = {name: s for name, s in shapes_of(SD1, "compvis").items() if gone not in name}
    with pytest.raises(CheckpointError, match="is missing"):
        infer_config(shapes, PATH)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("model.diffusion_model.input_blocks.1.0.out_layers.3.weight", (10**6, 320, 3, 3)),
        ("cond_stage_model.transformer.text_model.embeddings.token_embedding.weight", (10**9, 768)),
        ("first_stage_model.encoder.down.0.block.0.conv1.weight", (2**40, 128, 3, 3)),
    ],
)
def test_sizes_beyond_reason(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(CheckpointError):
        infer_config({**shapes_of(SD1, "compvis"), name: shape}, PATH)


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
def test_shapes_of_another_rank(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(CheckpointError):
        infer_config({**shapes_of(SD1, "compvis"), name: shape}, PATH)


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
