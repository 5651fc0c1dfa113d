"""The config of a model in a single file, inferred from the shapes of its tensors.

Shapes tell widths and depths. They do not tell the number of attention heads, the activation or
what the network predicts: these are taken from the published family with text states of that width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path

from ..configs import (
    SD1,
    SD2,
    AutoencoderConfig,
    ModelConfig,
    TextConfig,
    UNetConfig,
)
from ..errors import CheckpointError
from . import config_json
from .names import AUTOENCODER, CLIP, OPEN_CLIP, UNET

Shapes = Mapping[str, tuple[int, ...]]


def is_compvis(shapes: Shapes) -> bool:
    """Whether a file has CompVis's names; otherwise diffusers' names are expected."""
    return any(name.startswith(UNET) for name in shapes)


def infer_config(shapes: Shapes, path: Path) -> ModelConfig:
    """Return the config of the whole model in a single file; it predicts what its family usually
    does. Raises ``CheckpointError``."""
    try:
        if is_compvis(shapes):
            unet, text = _compvis_unet(shapes), _compvis_text(shapes)
            autoencoder = infer_autoencoder(shapes, AUTOENCODER)
        else:
            unet, text = _diffusers_unet(shapes), _clip(shapes, "text_encoder.")
            autoencoder = infer_autoencoder(shapes, "vae.")
    except (KeyError, IndexError, ValueError) as error:  # a missing name, or another rank
        missing = error.args[0] if isinstance(error, KeyError) else "a dimension"
        raise CheckpointError(
            f"{path} is not a whole Stable Diffusion 1 or 2: {ascii(missing)[:100]} is missing."
        ) from None

    family = {768: SD1, 1024: SD2}.get(unet.context_dim)
    if family is None:
        raise CheckpointError(
            f"{path} has text states of width {unet.context_dim}. Single files are recognised with "
            "the width of Stable Diffusion 1 (768) or 2 (1024).\nPass config=ModelConfig(...)."
        )
    if family is SD1:
        unet = replace(unet, heads=(8,) * len(unet.channels))
    else:
        unet = replace(unet, heads=tuple(max(c // 64, 1) for c in unet.channels))
        text = replace(text, activation="gelu", pad=0)

    config = replace(family, name=path.stem, unet=unet, autoencoder=autoencoder, embedders=(text,))
    _check_bounds(config, str(path))
    return config


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


def _unet(
    shapes: Shapes, prefix: str, levels: list[list[tuple[int, int]]], ends: tuple[str, str]
) -> UNetConfig:
    """Return the config; ``levels`` has (channels, transformer depth) of each block going down."""
    to_k = (n for n in shapes if n.startswith(prefix) and n.endswith(".attn2.to_k.weight"))
    first, last = (shapes[prefix + end] for end in ends)
    return UNetConfig(
        channels=tuple(level[0][0] for level in levels),
        depths=tuple(level[0][1] for level in levels),
        heads=(1,) * len(levels),
        blocks_per_level=len(levels[0]),
        context_dim=shapes[next(to_k, prefix + "...attn2.to_k.weight")][1],
        in_channels=first[1],
        out_channels=last[0],
    )


def _compvis_unet(shapes: Shapes) -> UNetConfig:
    levels: list[list[tuple[int, int]]] = [[]]
    for n in count(1):
        block = f"{UNET}input_blocks.{n}"
        if weight := shapes.get(f"{block}.0.out_layers.3.weight"):
            levels[-1].append((weight[0], _depth(shapes, f"{block}.1")))
        elif f"{block}.0.op.weight" in shapes:
            levels.append([])
        else:
            break
    return _unet(shapes, UNET, levels, ("input_blocks.0.0.weight", "out.2.weight"))


def _diffusers_unet(shapes: Shapes) -> UNetConfig:
    levels = []
    for level in range(_number_of(shapes, "unet.down_blocks.{}.resnets.0.conv1.weight")):
        block = f"unet.down_blocks.{level}"
        resnets = _number_of(shapes, block + ".resnets.{}.conv1.weight")
        levels.append(
            [
                (
                    shapes[f"{block}.resnets.{i}.conv1.weight"][0],
                    _depth(shapes, f"{block}.attentions.{i}"),
                )
                for i in range(resnets)
            ]
        )
    return _unet(shapes, "unet.", levels, ("conv_in.weight", "conv_out.weight"))


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
