"""What a file of weights holds, told by the names of its tensors, never by its suffix."""

from __future__ import annotations

import re
from collections.abc import Mapping

Shapes = Mapping[str, tuple[int, ...]]

PICKLE_ADVICE = (
    "Such files can run code when they are opened, so this kit never opens them.\n"
    "Get the same model as .safetensors, or convert it with a tool that you trust."
)


def foreign_names(shapes: Shapes) -> str | None:
    """Say what a file with these tensors is if it is not a whole Stable Diffusion 1 or 2.

    ``shapes`` maps the tensors' names to their shapes. The answer fits into "FILE is ..."; None
    means that it may be a whole model. The names that a file needs decide, so that a stray name in
    a whole model does not make it something else.
    """
    if not shapes:
        return "empty: it has no tensors"
    if _some(shapes, r"\.scale_weight$|(^|\.)scaled_fp8$"):
        return (
            "scaled to 8 bits: its weights mean nothing without their scales, which this kit "
            "does not apply"
        )
    if _some(shapes, r"^control_model\.(input_blocks|time_embed)\."):
        return "a ControlNet with the model that it controls, which this kit does not run"
    if _some(shapes, _WHOLE_UNET) and _some(shapes, _ENCODERS):
        return _other_family(shapes) or _other_input(shapes)
    return _addition(shapes) or _other_network(shapes) or _part(shapes)


def _some(shapes: Shapes, pattern: str) -> bool:
    found = re.compile(pattern)
    return any(found.search(name) for name in shapes)


def _mostly(shapes: Shapes, pattern: str) -> bool:
    found = re.compile(pattern)
    return 2 * sum(bool(found.search(name)) for name in shapes) >= len(shapes)


_WHOLE_UNET = r"^(model\.diffusion_model\.input_blocks\.0\.0|unet\.conv_in)\.weight$"
_ENCODERS = r"^(first_stage_model|cond_stage_model|vae|text_encoder(_2)?|conditioner\.embedders)\."

_XL = (
    "a Stable Diffusion XL model, which this kit does not load from a single file yet "
    "(it loads folders in the diffusers layout)"
)
_REFINER = "the refiner of Stable Diffusion XL, which this kit does not run"
_INPUTS = ("model.diffusion_model.input_blocks.0.0.weight", "unet.conv_in.weight")
_CLASS_EMBEDDING = (
    "model.diffusion_model.label_emb.0.0.weight",
    "unet.add_embedding.linear_1.weight",
)
_CONTEXT = r"^(model\.diffusion_model\.|unet\.).*attn2\.to_k\.weight$"


def _other_family(shapes: Shapes) -> str | None:
    """Say which other family's model it is, told by what the network is given."""
    vector = next((shapes[name][-1:] for name in _CLASS_EMBEDDING if name in shapes), ())
    context = next((shapes[name][-1:] for name in shapes if re.match(_CONTEXT, name)), ())
    if vector == (2560,):
        return _REFINER
    if _some(shapes, r"^conditioner\.embedders\.1\.|^text_encoder_2\."):
        return _XL
    if vector and context != (1024,):
        return _XL
    if vector or _some(shapes, r"^embedder\.model\.visual\."):
        return "a Stable unCLIP model, which starts from images and which this kit does not run"
    if _some(shapes, r"^model\.diffusion_model\.label_emb\.weight$"):
        return "an upscaler (Stable Diffusion x4), which this kit does not run"
    if _some(shapes, r"^conditioner\.embedders\.0\.model\."):
        return (
            "a Stable Diffusion 2 by the names of Stability's newer code (as SD-Turbo), which this "
            "kit does not load from a single file yet (it loads folders in the diffusers layout)"
        )
    if _some(shapes, r"^conditioner\.embedders\."):
        return _XL
    if _some(shapes, r"^cond_stage_model\.(roberta|transformation)\."):
        return "an AltDiffusion model (another text encoder), which this kit does not run"
    if _some(shapes, r"(^|\.)cond_proj\.weight$"):
        return (
            "a consistency model (LCM), which takes its guidance as an input and does not run here"
        )
    if _some(shapes, r"^cc_projection\."):
        return "a Zero123 model, which turns images around and which this kit does not run"
    return None


def is_xl(shapes: Shapes) -> bool | None:
    """Whether a file belongs to Stable Diffusion XL; None if it has no UNet and no text encoder."""
    if not _some(
        shapes, r"^(model\.diffusion_model|cond_stage_model|conditioner|unet|text_encoder)"
    ):
        return None
    return _other_family(shapes) in (_XL, _REFINER)


def _other_input(shapes: Shapes) -> str | None:
    for name in _INPUTS:
        channels = shapes[name][1] if len(shapes.get(name, ())) == 4 else 4
        if channels == 9:
            return "an inpainting model (9 input channels), which this kit does not load"
        if channels in (5, 7, 8):
            return f"a model with {channels} input channels (depth, upscaling or editing), not 4"
    return None


_LORA = (
    r"(^|[._])lora[._]|_lora\.|lora_(down|up|mid|A|B|a|b)(\.|$)|^unet:\d+:(up|down)|hada_w[12]"
    r"|lokr_w[12]|oft_blocks|^lora_(unet|te\d?|transformer)_"
)


def _addition(shapes: Shapes) -> str | None:
    """Say which addition to a model it is."""
    if _mostly(shapes, _LORA):
        return "a LoRA: a small change to a model, not a model itself"
    if _some(shapes, r"^(control_model\.|controlnet_)|input_hint_block"):
        return "a ControlNet: an addition to a model, not a model itself"
    if _some(shapes, r"^(ip_adapter|image_proj)\."):
        return "an IP-Adapter: an addition to a model, not a model itself"
    embeddings = r"^emb_params$|^string_to_param|^clip_[lg]$|^text_encoders_[01]$|^<[^>]*>$"
    if _mostly(shapes, embeddings):
        return "a textual inversion: a new word for a model, not a model itself"
    if all(name.startswith("model_ema.") for name in shapes):
        return "the EMA copy of a model without the model"
    return None


def _other_network(shapes: Shapes) -> str | None:
    """Say which other network it is that makes images."""
    if _some(shapes, r"(^|\.)double_blocks\.\d"):
        return "a Flux model, which this kit does not run"
    if _some(shapes, r"(^|\.)joint_blocks\.\d"):
        return "a Stable Diffusion 3 model, which this kit does not run"
    if _some(
        shapes, r"^conditioner\.embedders\.|^text_encoder_2\.|^model\.diffusion_model\.label_emb\."
    ):
        return _other_family(shapes) or _XL
    return None


def _part(shapes: Shapes) -> str | None:
    """Say which part of a model it is, or that it is unknown; None for a UNet with its prefix."""
    if _some(shapes, r"^model\.diffusion_model\.|^unet\."):
        return _other_input(shapes)
    if _some(shapes, r"^(first_stage_model\.|vae\.)?(encoder|decoder)\.conv_in\."):
        return "an autoencoder (VAE) alone, without UNet and text encoder"
    if _some(
        shapes,
        r"^(taesd_)?(encoder|decoder)\.(layers\.)?\d+\.(conv\.\d+\.)?weight$|^3\.conv\.0\.weight$",
    ):
        return "a tiny autoencoder (TAESD), which this kit does not load"
    if _some(shapes, r"^(down_blocks|input_blocks)\.\d"):
        return "a UNet alone, without autoencoder and text encoder"
    if _some(
        shapes, r"^(cond_stage_model\..*|text_encoder\.)?(text_model\.)?embeddings\.token_embedding"
    ):
        return "a text encoder alone, without UNet and autoencoder"
    first = min(shapes)
    return (
        f"not a diffusion model of a known layout ({len(shapes):,} tensors, the first named "
        f"{ascii(first[:60])[:60]})"
    )


def family(context_width: int) -> str | None:
    """Return the published family with text states of this width, for "looks like ..."."""
    return {
        768: "Stable Diffusion 1",
        1024: "Stable Diffusion 2",
        2048: "Stable Diffusion XL",
    }.get(context_width)
