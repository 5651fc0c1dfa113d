"""What a file of weights holds, told by the names of its tensors, never by its suffix."""

from __future__ import annotations

import re
from collections.abc import Mapping

PICKLE_ADVICE = (
    "Such files can run code when they are opened. Convert it once, where you trust it:\n"
    'python -c "import sys, torch, safetensors.torch as s; d = torch.load(sys.argv[1], '
    "map_location='cpu', weights_only=True); s.save_file({k: v.clone() for k, v in "
    "d.get('state_dict', d).items() if torch.is_tensor(v)}, sys.argv[2])\" "
    "FILE FILE.safetensors"
)


def foreign_names(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Say what a file with these tensors is if it is not a whole Stable Diffusion 1 or 2.

    ``shapes`` maps the tensors' names to their shapes. The answer fits into "FILE is ..."; None
    means that it may be a whole model.
    """

    def some(pattern: str) -> bool:
        found = re.compile(pattern)
        return any(found.search(name) for name in shapes)

    def every(pattern: str) -> bool:
        found = re.compile(pattern)
        return bool(shapes) and all(found.match(name) for name in shapes)

    if not shapes:
        return "empty: it has no tensors"
    if some(r"(^|[._])lora[._]|_lora\.|hada_w1|lokr_w1"):
        return "a LoRA: a small change to a model, not a model itself"
    if some(r"(^|\.)double_blocks\.\d"):
        return "a Flux model, which this kit does not run"
    if some(r"(^|\.)joint_blocks\.\d"):
        return "a Stable Diffusion 3 model, which this kit does not run"
    if some(r"^control_model\.|^controlnet_|input_hint_block"):
        return "a ControlNet: an addition to a model, not a model itself"
    if some(r"^conditioner\.embedders\.|^text_encoder_2\.|^model\.diffusion_model\.label_emb\."):
        return (
            "a Stable Diffusion XL model, which this kit does not load from a single file yet "
            "(it loads folders in the diffusers layout)"
        )
    if some(r"^emb_params$|^string_to_param"):
        return "a textual inversion: a new word for a model, not a model itself"
    if every(r"model_ema\."):
        return "the EMA copy of a model without the model"
    if some(r"^model\.diffusion_model\.|^unet\."):
        return _foreign_input(shapes)
    if some(r"^(first_stage_model\.|vae\.)?(encoder|decoder)\.conv_in\."):
        return "an autoencoder (VAE) alone, without UNet and text encoder"
    if some(r"^(down_blocks|input_blocks)\.\d"):
        return "a UNet alone, without autoencoder and text encoder"
    if some(r"^(cond_stage_model\..*|text_encoder\.)?(text_model\.)?embeddings\.token_embedding"):
        return "a text encoder alone, without UNet and autoencoder"
    first = min(shapes)
    return (
        f"not a diffusion model of a known layout ({len(shapes):,} tensors, the first named "
        f"{ascii(first)[:60]})"
    )


def _foreign_input(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    for name in ("model.diffusion_model.input_blocks.0.0.weight", "unet.conv_in.weight"):
        channels = shapes[name][1] if len(shapes.get(name, ())) == 4 else 4
        if channels == 9:
            return "an inpainting model (9 input channels), which this kit does not load"
        if channels in (5, 7, 8):
            return f"a model with {channels} input channels (depth, upscaling or editing), not 4"
    return None


def family(context_width: int) -> str | None:
    """Return the published family with text states of this width, for "looks like ..."."""
    return {
        768: "Stable Diffusion 1",
        1024: "Stable Diffusion 2",
        2048: "Stable Diffusion XL",
    }.get(context_width)
