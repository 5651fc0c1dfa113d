"""The config of a ControlNet <-> the JSON config of diffusers' ``ControlNetModel``, both ways.

Both describe the UNet of which the ControlNet is a part, as `config_json` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..configs import ControlNetConfig
from .config_json import Fields, unet_from_json, unet_to_json

_WHOLE_MIDDLE = "UNetMidBlock2DCrossAttn"
_ORDERS = {"rgb": "rgb", "bgr": "bgr"}


def control_from_json(data: Mapping[str, Any], where: str) -> ControlNetConfig:
    """Return the config of diffusers' ``ControlNetModel``."""
    f = Fields(data, where)
    if data.get("_class_name") != "ControlNetModel":
        raise f.error("_class_name", "'ControlNetModel', the only kind of control that runs here,")
    f.must_be(global_pool_conditions=False, conditioning_channels=3)
    down = data.get("down_block_types")
    kinds = down if isinstance(down, list) else []
    depths = data.get("transformer_layers_per_block", 1)
    depths = depths if isinstance(depths, list) else [depths] * len(kinds)
    attend = [kind == "CrossAttnDownBlock2D" for kind in kinds]
    middle = data.get("mid_block_type", _WHOLE_MIDDLE)
    if middle not in (_WHOLE_MIDDLE, "UNetMidBlock2D"):
        raise f.error("mid_block_type", f"{_WHOLE_MIDDLE} or UNetMidBlock2D")
    is_whole = middle == _WHOLE_MIDDLE
    # transformers without blocks, which a UNet's config does not describe
    hollow = [i for i, (n, has) in enumerate(zip(depths, attend, strict=False)) if has and n == 0]
    hollow += [-1] if is_whole and depths[-1:] == [0] else []
    mirror = ["CrossAttnUpBlock2D" if has else "UpBlock2D" for has in reversed(attend)]
    whole = {
        **data,
        "_class_name": "UNet2DConditionModel",
        "up_block_types": mirror,
        "out_channels": data.get("in_channels", 4),
        "transformer_layers_per_block": [1 if n == 0 else n for n in depths],
    }
    unet, _ = unet_from_json(whole, where)
    widths = f.integers("conditioning_embedding_out_channels", 1, 4096)
    order = f.choice("controlnet_conditioning_channel_order", _ORDERS, "rgb")
    return ControlNetConfig(unet, hint_widths=widths, is_bgr=order == "bgr", hollow=tuple(hollow))


def control_to_json(config: ControlNetConfig) -> dict[str, Any]:
    """Return the inverse of ``control_from_json``."""
    unet = unet_to_json(config.unet, 64)
    depths = unet["transformer_layers_per_block"]
    depths = depths if isinstance(depths, list) else [depths] * len(config.unet.channels)
    for level in config.hollow:
        depths[level] = 0
    for field in ("out_channels", "sample_size", "up_block_types", "center_input_sample"):
        unet.pop(field, None)
    return {
        **unet,
        "_class_name": "ControlNetModel",
        "conditioning_channels": config.hint_channels,
        "conditioning_embedding_out_channels": list(config.hint_widths),
        "controlnet_conditioning_channel_order": "bgr" if config.is_bgr else "rgb",
        "global_pool_conditions": False,
        "transformer_layers_per_block": depths,
    }
