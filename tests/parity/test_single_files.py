"""Single files of every family, against diffusers' networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sdwidgets.checkpoints.families import FAMILIES, Family
from sdwidgets.checkpoints.infer import infer_unet, unet_place
from sdwidgets.configs import UNetConfig

pytestmark = pytest.mark.parity
diffusers = pytest.importorskip("diffusers")


def their_unet(config: UNetConfig, *, linear: bool = True) -> Any:
    """Return diffusers' network of a config, by the fields of the published config files."""
    kinds: dict[int, str | None] = {2: "UNetMidBlock2DCrossAttn", 1: "UNetMidBlock2D", 0: None}
    blocks = [max(depth, 1) for depth in config.depths]
    more: dict[str, Any] = {}
    if config.middle_depth:
        blocks[-1] = config.middle_depth
    if config.vector_dim:
        more = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": config.vector_dim,
        }
    if config.up_depths:
        more["reverse_transformer_layers_per_block"] = [
            [max(depth, 1) for depth in level] for level in reversed(config.up_depths)
        ]
    return diffusers.UNet2DConditionModel(
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        block_out_channels=config.channels,
        down_block_types=["CrossAttnDownBlock2D" if n else "DownBlock2D" for n in config.depths],
        mid_block_type=kinds[config.middle],
        up_block_types=["CrossAttnUpBlock2D" if n else "UpBlock2D" for n in config.depths[::-1]],
        only_cross_attention=list(config.cross_only) or False,
        layers_per_block=config.blocks_per_level,
        transformer_layers_per_block=blocks,
        attention_head_dim=list(config.heads),
        cross_attention_dim=config.context_dim,
        num_class_embeds=config.classes or None,
        time_cond_proj_dim=config.guidance_dim or None,
        norm_num_groups=config.norm_groups,
        use_linear_projection=linear,
        **more,
    ).eval()


@pytest.mark.parametrize("family", FAMILIES, ids=[family.key for family in FAMILIES])
def test_the_network_of_every_family_is_told_by_its_shapes(family: Family) -> None:
    with torch.device("meta"):
        theirs = their_unet(family.preset.unet)
    shapes = {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()}
    place = unet_place(shapes)
    assert place is not None and not place.compvis
    assert infer_unet(shapes, place) == family.preset.unet
