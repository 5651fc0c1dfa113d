"""The config of a model in a single file, inferred from the shapes of its tensors.

Shapes tell widths and depths, and what a network is given. They do not tell the number of attention
heads, the activation or what the network predicts: these are its family's, see `families`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from ..configs import AutoencoderConfig, ModelConfig, TextConfig, UNetConfig
from ..errors import CheckpointError
from . import config_json
from .families import Family, completed, family_of
from .names import AUTOENCODER, CLIP, OPEN_CLIP, UNET

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Place:
    """Where a network is in a file: what its names begin with, and whose names they are."""

    prefix: str
    compvis: bool  # otherwise diffusers' names


def is_compvis(shapes: Shapes) -> bool:
    """Whether a file has CompVis's names; otherwise diffusers' names are expected."""
    return any(name.startswith(UNET) for name in shapes)


def unet_place(shapes: Shapes) -> Place | None:
    """Where the denoising network is in a file; None if there is none."""
    for prefix in (UNET, "unet.", "", "diffusion_model.", "module."):
        for start, compvis in (("input_blocks.0.0", True), ("conv_in", False)):
            end = "out.2" if compvis else "conv_out"
            if f"{prefix}{start}.weight" in shapes and f"{prefix}{end}.weight" in shapes:
                return Place(prefix, compvis)
    return None


def infer_unet(shapes: Shapes, place: Place) -> UNetConfig:
    """Return the config of a network, with what shapes do not tell as in its family.

    If no family has its inputs, each level has a single attention head. Raises ``KeyError``,
    ``IndexError`` or ``ValueError`` for missing names or unexpected ranks.
    """
    read = _compvis_unet if place.compvis else _diffusers_unet
    unet = read(shapes, place.prefix)
    family = family_of(unet)
    return completed(unet, family) if family else unet


def infer_config(shapes: Shapes, path: Path) -> ModelConfig:
    """Return the config of the whole model in a single file; it predicts what its family usually
    does. Raises ``CheckpointError``."""
    try:
        if is_compvis(shapes):
            unet, text = infer_unet(shapes, Place(UNET, True)), _compvis_text(shapes)
            autoencoder = infer_autoencoder(shapes, AUTOENCODER)
        else:
            unet = infer_unet(shapes, Place("unet.", False))
            text = _clip(shapes, "text_encoder.")
            autoencoder = infer_autoencoder(shapes, "vae.")
    except (KeyError, IndexError, ValueError) as error:  # a missing name, or another rank
        missing = error.args[0] if isinstance(error, KeyError) else "a dimension"
        raise CheckpointError(
            f"{path} is not a whole Stable Diffusion 1 or 2: {ascii(missing)[:100]} is missing."
        ) from None

    family = family_of(unet)
    if family is None:
        raise CheckpointError(_why_no_family(unet, path))
    text = _as_family(text, family)
    config = replace(
        family.preset, name=path.stem, unet=unet, autoencoder=autoencoder, embedders=(text,)
    )
    _check_bounds(config, str(path))
    return config


def _as_family(text: TextConfig, family: Family) -> TextConfig:
    """Return the config of a text encoder with what shapes do not tell, as in the family."""
    known = family.preset.text[0]
    return replace(text, activation=known.activation, pad=known.pad and text.eos)


def _why_no_family(unet: UNetConfig, path: Path) -> str:
    return (
        f"{path} has a network of no known family: text states of width {unet.context_dim}, a "
        f"vector of {unet.vector_dim}, {unet.in_channels} input channels.\n"
        "Pass config=ModelConfig(...)."
    )


def _check_bounds(config: ModelConfig, where: str) -> None:
    """Check the bounds that a folder's config files have, by writing and reading such files."""
    config_json.unet_from_json(config_json.unet_to_json(config.unet, 64), where)
    config_json.autoencoder_from_json(
        config_json.autoencoder_to_json(config.autoencoder, 512), where
    )
    for text in config.text:
        config_json.text_from_json(config_json.text_to_json(text), where)


def _number_of(shapes: Shapes, pattern: str) -> int:
    """Return how many of ``pattern.format(0)``, ``pattern.format(1)``, ... exist without a gap."""
    return next(n for n in count() if pattern.format(n) not in shapes)


def _depth(shapes: Shapes, attention: str) -> int:
    return _number_of(shapes, attention + ".transformer_blocks.{}.norm1.weight")


@dataclass(frozen=True)
class _Block:
    """A residual block and the transformer after it: where they are, channels and depth."""

    channels: int
    depth: int
    attention: str


def _block(shapes: Shapes, resnet: str, attention: str) -> _Block:
    return _Block(shapes[resnet][0], _depth(shapes, attention), attention)


def _compvis_unet(shapes: Shapes, prefix: str) -> UNetConfig:
    def block(place: str, part: int = 0) -> _Block:
        resnet = f"{prefix}{place}.{part}.out_layers.3.weight"
        return _block(shapes, resnet, f"{prefix}{place}.{part + 1}")

    levels: list[list[_Block]] = [[]]
    for n in count(1):
        if f"{prefix}input_blocks.{n}.0.out_layers.3.weight" in shapes:
            levels[-1].append(block(f"input_blocks.{n}"))
        elif f"{prefix}input_blocks.{n}.0.op.weight" in shapes:
            levels.append([])
        else:
            break
    outputs = _number_of(shapes, prefix + "output_blocks.{}.0.out_layers.3.weight")
    middle = [
        block("middle_block", part)
        for part in (0, 2)
        if f"{prefix}middle_block.{part}.out_layers.3.weight" in shapes
    ]
    return _unet(
        shapes,
        levels,
        [block(f"output_blocks.{n}") for n in range(outputs)],
        middle,
        first=f"{prefix}input_blocks.0.0.weight",
        last=f"{prefix}out.2.weight",
        vector=f"{prefix}label_emb.0.0.weight",
        classes=f"{prefix}label_emb.weight",
        guidance=f"{prefix}time_embedding.cond_proj.weight",  # LCM's, by diffusers' name
    )


def _diffusers_unet(shapes: Shapes, prefix: str) -> UNetConfig:
    def blocks(place: str) -> list[_Block]:
        place = prefix + place
        resnets = _number_of(shapes, place + ".resnets.{}.conv1.weight")
        return [
            _block(shapes, f"{place}.resnets.{i}.conv1.weight", f"{place}.attentions.{i}")
            for i in range(resnets)
        ]

    levels = range(_number_of(shapes, prefix + "down_blocks.{}.resnets.0.conv1.weight"))
    return _unet(
        shapes,
        [blocks(f"down_blocks.{level}") for level in levels],
        [block for level in levels for block in blocks(f"up_blocks.{level}")],
        blocks("mid_block"),
        first=f"{prefix}conv_in.weight",
        last=f"{prefix}conv_out.weight",
        vector=f"{prefix}add_embedding.linear_1.weight",
        classes=f"{prefix}class_embedding.weight",
        guidance=f"{prefix}time_embedding.cond_proj.weight",
    )


def _unet(
    shapes: Shapes,
    down: list[list[_Block]],
    up: list[_Block],
    middle: list[_Block],
    *,
    first: str,
    last: str,
    vector: str,
    classes: str,
    guidance: str,
) -> UNetConfig:
    """Return the config of a network; ``down`` has the blocks of each level going down, ``up`` all
    blocks going up, and the rest are names of single weights."""
    levels, blocks = range(len(down)), len(down[0])
    depths = tuple(level[0].depth for level in down)
    by_level = tuple(
        tuple(block.depth for block in up[start : start + blocks + 1])
        for start in reversed(range(0, len(down) * (blocks + 1), blocks + 1))
    )
    mirrored = tuple((depth,) * (blocks + 1) for depth in depths)
    transformers = [block for level in (*down, up, middle) for block in level if block.depth]
    # Without a transformer, the name of the weight that is missing is told.
    where = transformers[0].attention if transformers else first.removesuffix("weight") + "..."
    context = shapes[f"{where}.transformer_blocks.0.attn2.to_k.weight"][1]

    def attends_to_context(level: int) -> bool:
        block = down[level][0]
        own = shapes.get(f"{block.attention}.transformer_blocks.0.attn1.to_k.weight", ())
        return own[1:] == (context,) and context != block.channels

    cross_only = tuple(map(attends_to_context, levels))
    unet = UNetConfig(
        channels=tuple(level[0].channels for level in down),
        depths=depths,
        heads=(1,) * len(down),
        blocks_per_level=blocks,
        context_dim=context,
        vector_dim=shapes[vector][1] if vector in shapes else 0,
        in_channels=shapes[first][1],
        out_channels=shapes[last][0],
        up_depths=() if by_level == mirrored else by_level,
        middle=len(middle),
        guidance_dim=shapes[guidance][1] if guidance in shapes else 0,
        classes=shapes[classes][0] if classes in shapes else 0,
        cross_only=cross_only if any(cross_only) else (),
    )
    if len(middle) == 2 and middle[0].depth != unet.mid_depth:
        unet = replace(unet, middle_depth=middle[0].depth)
    return unet


def infer_autoencoder(shapes: Shapes, prefix: str) -> AutoencoderConfig:
    """Return the config of an autoencoder whose tensors' names begin with ``prefix``.

    The groups of the norms and the latents' scale and shift keep their defaults, since shapes do
    not tell them. Raises ``KeyError``, ``IndexError`` or ``ValueError`` for missing names or
    unexpected ranks.
    """
    if has_compvis_autoencoder(shapes, prefix):
        level, block, attention = "encoder.down.<level>", "block", "attn.0.norm"
        middle = "encoder.mid.attn_1.norm"
    else:
        level, block, attention = (
            "encoder.down_blocks.<level>",
            "resnets",
            "attentions.0.group_norm",
        )
        middle = "encoder.mid_block.attentions.0.group_norm"

    def name(number: int | str, rest: str) -> str:
        return f"{prefix}{level}.{rest}".replace("<level>", str(number))

    levels = range(_number_of(shapes, name("{}", f"{block}.0.conv1.weight")))
    codes = shapes.get(f"{prefix}quantize.embedding.weight", (0,))
    return AutoencoderConfig(
        channels=tuple(shapes[name(i, f"{block}.0.conv1.weight")][0] for i in levels),
        blocks_per_level=_number_of(shapes, name(0, block + ".{}.conv1.weight")),
        latent_channels=shapes[f"{prefix}post_quant_conv.weight"][0],
        in_channels=shapes[f"{prefix}encoder.conv_in.weight"][1],
        mid_attention=f"{prefix}{middle}.weight" in shapes,
        attention_levels=tuple(i for i in levels if name(i, f"{attention}.weight") in shapes),
        codes=codes[0],
    )


def has_compvis_autoencoder(shapes: Shapes, prefix: str) -> bool:
    """Whether an autoencoder has CompVis's names; otherwise diffusers' names are expected."""
    return f"{prefix}encoder.down.0.block.0.conv1.weight" in shapes


def _compvis_text(shapes: Shapes) -> TextConfig:
    if OPEN_CLIP + "token_embedding.weight" not in shapes:
        return _clip(shapes, CLIP)
    vocab_size, width = shapes[OPEN_CLIP + "token_embedding.weight"][:2]
    layers = _number_of(shapes, OPEN_CLIP + "transformer.resblocks.{}.ln_1.weight")
    return _text(
        vocab_size=vocab_size,
        width=width,
        layers=layers - 1,  # Stable Diffusion 2 takes the states before the last layer
        hidden=shapes[OPEN_CLIP + "transformer.resblocks.0.mlp.c_fc.weight"][0],
        length=shapes[OPEN_CLIP + "positional_embedding"][0],
    )


def _clip(shapes: Shapes, prefix: str) -> TextConfig:
    if f"{prefix}text_model.embeddings.token_embedding.weight" in shapes:
        prefix = f"{prefix}text_model."
    vocab_size, width = shapes[prefix + "embeddings.token_embedding.weight"][:2]
    return _text(
        vocab_size=vocab_size,
        width=width,
        layers=_number_of(shapes, prefix + "encoder.layers.{}.layer_norm1.weight"),
        hidden=shapes[prefix + "encoder.layers.0.mlp.fc1.weight"][0],
        length=shapes[prefix + "embeddings.position_embedding.weight"][0],
    )


def _text(*, vocab_size: int, width: int, layers: int, hidden: int, length: int) -> TextConfig:
    return TextConfig(
        vocab_size=vocab_size,
        width=width,
        layers=layers,
        heads=max(width // 64, 1),  # all published CLIP text models have heads of 64
        hidden=hidden,
        length=length,
        bos=vocab_size - 2,
        eos=vocab_size - 1,
        pad=vocab_size - 1,
    )
