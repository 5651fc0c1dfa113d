"""The family for which an addition to a model was made, or to which a part of one belongs.

Widths tell it: text states are 768 wide in Stable Diffusion 1, 1024 in 2, and 768 + 1280 = 2048 in
XL, and no other layer of these networks has such a width. Where no width tells, the names of blocks
or the notes in the file do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from .recognise import Names, Shapes

SD1, SD2, SDXL = "Stable Diffusion 1", "Stable Diffusion 2", "Stable Diffusion XL"
REFINER = "Stable Diffusion XL refiner"
SD3, FLUX = "Stable Diffusion 3", "Flux"

BY_CONTEXT = {768: SD1, 1024: SD2, 2048: SDXL}

# kohya's ss_base_model_version ("sdxl_base_v1-0") and ModelSpec's architecture
# ("stable-diffusion-xl-v1-base/lora").
_NOTED = (
    (r"sdxl|stable-diffusion-xl|illustrious|pony", SDXL),
    (r"sd_?v?3|stable-diffusion-(v)?3", SD3),
    (r"sd_?v?2|stable-diffusion-v2", SD2),
    (r"sd_?v?1|stable-diffusion-v1", SD1),
    (r"flux", FLUX),
    (r"hunyuan", "Hunyuan"),
    (r"wan", "Wan"),
    (r"qwen", "Qwen-Image"),
    (r"lumina", "Lumina 2"),
)


def noted(metadata: Mapping[str, str]) -> str:
    """The family that a file's notes name; "" if they name none."""
    for key in ("modelspec.architecture", "ss_base_model_version"):
        text = metadata.get(key, "")[:200].lower()
        for pattern, family in _NOTED:
            if text and re.match(pattern, text):
                return family
    return ""


# ----------------------------------------------------------------------------------------- LoRA

_OTHERS = (
    (r"motion_modules", "AnimateDiff"),
    (r"double_blocks[._]#|single_blocks[._]#|single_transformer_blocks[._]#", FLUX),
    (r"joint_blocks[._]#", SD3),
    (r"transformer_blocks[._]#[._](img_mlp|img_mod|txt_mlp)", "Qwen-Image"),
    (r"transformer_blocks[._]#[._]attn[._]add_k_proj", SD3),
    (r"blocks[._]#[._](self_attn|cross_attn|ffn)", "Wan"),
)
_TEXT = re.compile(r"^(lora_te|te\d?_|lycoris_te|lora_prior_te)|text_encoder|text_model|^te\d?[.:]")
# The tensor of a module whose second dimension is the number of its inputs.
_INPUTS = re.compile(
    r"(lora_down\.weight|lora_A(\.\w+)?\.weight|lora_A|\.lora\.down\.weight|_lora\.down\.weight"
    r"|lora_linear_layer\.down\.weight|_lora_down\.weight|:down|\.hada_w1_b|\.diff)$"
)
_RANKS = re.compile(_INPUTS.pattern.replace(r"|\.diff", ""))


def of_lora(shapes: Shapes, metadata: Mapping[str, str]) -> str:
    """The family of the model that a LoRA changes; "" if nothing tells it."""
    names = Names(shapes)
    for pattern, family in _OTHERS:
        if names.some(pattern):
            return family
    if names.some(r"(^|_)(input|output)_blocks[._]#") or any(_TE2.match(name) for name in shapes):
        return SDXL
    unet, text = _widths(shapes)
    unet |= {shape[1] for name, shape in shapes.items() if name.isdecimal() and len(shape) > 1}
    if 1536 in unet:  # the width of a level that only it has
        return REFINER
    for width, family in sorted(BY_CONTEXT.items(), reverse=True):
        if width in unet:
            return family
    if 1280 in text:
        return SDXL
    if 1024 in text:
        return SD2
    return noted(metadata) or (f"{SD1}, or {SDXL}'s first text encoder" if 768 in text else "")


_TE2 = re.compile(r"^(lora_te2_|lycoris_te2_|text_encoder_2\.|te2[._])")


def ranks(shapes: Shapes) -> tuple[int, ...]:
    """The ranks of the low-rank matrices in a LoRA, in ascending order."""
    found = {shape[0] for name, shape in shapes.items() if len(shape) > 1 and _RANKS.search(name)}
    return tuple(sorted(found | {rank for _, rank in _lokr(shapes)} - {0}))


def _widths(shapes: Shapes) -> tuple[set[int], set[int]]:
    """The numbers of inputs of the modules that a LoRA changes, in the network and in the text."""
    unet, text = set[int](), set[int]()
    for name, shape in shapes.items():
        if len(shape) > 1 and _INPUTS.search(name):
            (text if _TEXT.search(name) else unet).add(shape[1])
    for name in {name.rpartition(".lokr_")[0] for name in shapes if ".lokr_" in name}:
        width = 1
        for factor in ("lokr_w1", "lokr_w2"):
            whole, low = shapes.get(f"{name}.{factor}", ()), shapes.get(f"{name}.{factor}_b", ())
            width *= next((shape[1] for shape in (whole, low) if len(shape) > 1), 0)
        (text if _TEXT.search(name) else unet).add(width)
    return unet, text


def _lokr(shapes: Shapes) -> Iterator[tuple[str, int]]:
    for name, shape in shapes.items():
        if name.endswith((".lokr_w1_b", ".lokr_w2_b")) and shape:
            yield name, shape[0]


# --------------------------------------------------------------------------- others, and parts


def of_embedding(shapes: Shapes, metadata: Mapping[str, str]) -> str:
    """The family whose text encoders know words as wide as a textual inversion's."""
    widths = {shape[-1] for shape in shapes.values() if shape}
    if 1280 in widths:
        return SDXL
    known = {768: SD1, 1024: SD2, 4096: f"{SD3} or {FLUX} (T5)"}
    return next((family for width, family in known.items() if width in widths), "")


def of_controlled(shapes: Shapes, metadata: Mapping[str, str]) -> str:
    """The family by the width of the text states that a network attends to."""
    keys = re.compile(r"(attn2\.to_k|to_k_ip)\.weight$")
    found = (shape[-1] for name, shape in shapes.items() if shape and keys.search(name))
    if family := BY_CONTEXT.get(next(found, 0)):
        return family
    sizes = ("label_emb.0.0.weight", "add_embedding.linear_1.weight")
    if any(name.endswith(sizes) for name in shapes):
        return SDXL
    return noted(metadata)


def of_adapter(shapes: Shapes, metadata: Mapping[str, str]) -> str:
    """The family of a T2I-Adapter: its maps are folded by 16 in XL, and by 8 before."""
    folded = next((s for n, s in shapes.items() if n.endswith("conv_in.weight") and len(s) > 1), ())
    return {192: SD1, 64: SD1, 768: SDXL, 256: SDXL}.get(folded[1], "") if folded else ""


def of_motion(shapes: Shapes, metadata: Mapping[str, str]) -> str:
    """The family of a motion module: XL's network has three levels, earlier ones have four."""
    if any("motion_modules" in name for name in shapes):
        return SD1 if any(".3.motion_modules" in name for name in shapes) else SDXL
    return ""


def of_text(shapes: Shapes, metadata: Mapping[str, str]) -> str:
    """Which text encoder it is, by its width."""
    for name, shape in shapes.items():
        if name.endswith("token_embedding.weight") and len(shape) == 2:
            encoders = {
                768: f"CLIP-L, of {SD1} and the first of {SDXL}",
                1024: f"OpenCLIP-H, of {SD2}",
                1280: f"OpenCLIP-bigG, the second of {SDXL}",
            }
            return encoders.get(shape[1], "")
    return ""


def of_latents(shapes: Shapes, metadata: Mapping[str, str]) -> str:
    """The families whose latents an autoencoder has, by their channels."""
    for name, shape in shapes.items():
        if name.endswith("decoder.conv_in.weight") and len(shape) == 4:
            if noted(metadata) and shape[1] == 4:
                return noted(metadata)
            families = {4: f"{SD1}, 2 or XL", 16: f"{SD3} or {FLUX}", 32: "Flux 2"}
            return families.get(shape[1], "")
    return ""


OF: Mapping[str, Callable[[Shapes, Mapping[str, str]], str]] = {
    "lora": of_lora,
    "motion_lora": of_motion,
    "lllite": lambda shapes, metadata: noted(metadata) or SDXL,
    "control_lora": of_controlled,
    "controlnet": of_controlled,
    "control_union": of_controlled,
    "t2i_adapter": of_adapter,
    "ip_adapter": of_controlled,
    "motion": of_motion,
    "embedding": of_embedding,
    "embedding_bundle": of_embedding,
    "autoencoder": of_latents,
    "text_encoder": of_text,
    "unet": of_controlled,
}
"""By the key of a `recognise.Kind`: a function of shapes and metadata that returns the family."""


def base_of(key: str, shapes: Shapes, metadata: Mapping[str, str]) -> str:
    """The family of a file of that kind; "" if nothing tells it."""
    found = OF.get(key)
    return found(shapes, metadata) if found else ""
