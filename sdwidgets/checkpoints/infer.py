"""The config of a model in a single file, inferred from the shapes of its tensors.

Shapes tell widths and depths, and what a network is given. They do not tell the number of attention
heads, the activation or what the network predicts: these are its family's, see `families`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from ..configs import (
    AutoencoderConfig,
    EmbedderConfig,
    GuidanceConfig,
    LowResolutionConfig,
    ModelConfig,
    NeighboursConfig,
    TextConfig,
    UNetConfig,
    VisionConfig,
)
from ..errors import CheckpointError
from . import config_json
from .families import completed, family_of
from .names import AUTOENCODER, CLIP, OPEN_CLIP, UNET
from .plain_config import check_numbers
from .stages import read_as as read_stage
from .stages import stage_of

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Place:
    """Where a network is in a file: what its names begin with, and whose names they are."""

    prefix: str
    compvis: bool  # otherwise diffusers' names


def unet_place(shapes: Shapes) -> Place | None:
    """Where the denoising network is in a file; None if there is none."""
    for prefix in (UNET, "unet.", "", "diffusion_model.", "module."):
        for start, compvis in (("input_blocks.0.0", True), ("conv_in", False)):
            end = "out.2" if compvis else "conv_out"
            if f"{prefix}{start}.weight" in shapes and f"{prefix}{end}.weight" in shapes:
                return Place(prefix, compvis)
    return None


@contextmanager
def whole(path: Path, what: str) -> Iterator[None]:
    """Raise ``CheckpointError`` for a name that is missing, or a tensor of another rank, inside."""
    try:
        yield
    except (KeyError, IndexError, ValueError) as error:
        missing = error.args[0] if isinstance(error, KeyError) else "a dimension"
        raise CheckpointError(
            f"{path} is not a whole {what}: {ascii(missing)[:100]} is missing."
        ) from None


def autoencoder_place(shapes: Shapes) -> Place | None:
    """Where the autoencoder is in a file; None if there is none."""
    for prefix in (AUTOENCODER, "vae.", ""):
        if f"{prefix}encoder.conv_in.weight" in shapes:
            return Place(prefix, has_compvis_autoencoder(shapes, prefix))
    return None


def infer_unet(shapes: Shapes, place: Place) -> UNetConfig:
    """Return the config of a network, with what shapes do not tell as in its family.

    If no family has its inputs, each level has a single attention head. Raises ``KeyError``,
    ``IndexError`` or ``ValueError`` for missing names or unexpected ranks.
    """
    read = _compvis_unet if place.compvis else _diffusers_unet
    unet = read(shapes, place.prefix)
    family = family_of(unet, stage_of(shapes))
    return completed(unet, family) if family else unet


def as_family(
    preset: ModelConfig,
    unet: UNetConfig,
    autoencoder: AutoencoderConfig,
    texts: Sequence[TextConfig],
    name: str,
    shapes: Shapes,
    vision: VisionConfig | None = None,
) -> ModelConfig:
    """Return the config of a whole model of the family of ``preset``, made of these networks and of
    the trained embedders in a file of these ``shapes``."""
    left = iter(texts)
    told: list[EmbedderConfig] = []
    for embedder in preset.embedders:
        if isinstance(embedder, TextConfig):
            told.append(next(left))
        elif isinstance(embedder, NeighboursConfig):
            text = next(left) if embedder.text else None
            told.append(replace(embedder, text=text, vision=vision or embedder.vision))
        elif isinstance(embedder, LowResolutionConfig):
            told.append(replace(embedder, levels=unet.classes))
        elif not isinstance(embedder, GuidanceConfig):
            told.append(read_stage(embedder, shapes, autoencoder))
    if unet.guidance_dim:
        told.append(GuidanceConfig(unet.guidance_dim))
    return replace(preset, name=name, unet=unet, autoencoder=autoencoder, embedders=tuple(told))


@dataclass(frozen=True)
class TextPlace:
    """Where a text encoder is in a file: what its names begin with, and whose names they are."""

    prefix: str
    open_clip: bool  # otherwise transformers' names


_TEXT_PREFIXES = (
    CLIP,
    OPEN_CLIP,
    "conditioner.embedders.0.transformer.",
    "conditioner.embedders.0.model.",
    "conditioner.embedders.1.model.",
    "text_encoder.",
    "text_encoder_2.",
    "text_encoders.clip_l.transformer.",
    "text_encoders.clip_g.transformer.",
    "clip_l.transformer.",
    "clip_g.transformer.",
    "transformer.",
    "",
)


def text_places(shapes: Shapes) -> list[TextPlace]:
    """Where the CLIP text encoders are in a file, in the order in which models list them.

    Names without a prefix count only in a file of nothing else.
    """
    places: list[TextPlace] = []
    for prefix in _TEXT_PREFIXES:
        if not prefix and places:
            break
        if any(f"{prefix}{inner}{_TOKENS}" in shapes for inner in ("text_model.", "")):
            places.append(TextPlace(prefix, open_clip=False))
        if f"{prefix}token_embedding.weight" in shapes and f"{prefix}ln_final.weight" in shapes:
            places.append(TextPlace(prefix, open_clip=True))
    return places


_TOKENS = "embeddings.token_embedding.weight"


def infer_text(shapes: Shapes, place: TextPlace) -> TextConfig:
    """Return the config of a text encoder, with all layers of the file and its projection.

    Raises ``KeyError``, ``IndexError`` or ``ValueError`` for missing names or unexpected ranks.
    """
    prefix = place.prefix
    if place.open_clip:
        vocab_size, width = shapes[f"{prefix}token_embedding.weight"][:2]
        layers = _number_of(shapes, prefix + "transformer.resblocks.{}.ln_1.weight")
        hidden = shapes[f"{prefix}transformer.resblocks.0.mlp.c_fc.weight"][0]
        length = shapes[f"{prefix}positional_embedding"][0]
    else:
        prefix += "text_model." if f"{prefix}text_model.{_TOKENS}" in shapes else ""
        vocab_size, width = shapes[prefix + _TOKENS][:2]
        layers = _number_of(shapes, prefix + "encoder.layers.{}.layer_norm1.weight")
        hidden = shapes[f"{prefix}encoder.layers.0.mlp.fc1.weight"][0]
        length = shapes[f"{prefix}embeddings.position_embedding.weight"][0]
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
        projection_dim=_projection(shapes, place.prefix),
    )


def infer_vision(shapes: Shapes, prefix: str) -> VisionConfig:
    """Return the config of CLIP's vision tower, whose names begin with ``prefix``. Raises as
    `infer_text`."""
    inner = f"{prefix}vision_model."
    width, _, patch, _ = shapes[f"{inner}embeddings.patch_embedding.weight"]
    side = math.isqrt(shapes[f"{inner}embeddings.position_embedding.weight"][0] - 1)
    return VisionConfig(
        size=side * patch,
        patch=patch,
        width=width,
        layers=_number_of(shapes, inner + "encoder.layers.{}.layer_norm1.weight"),
        heads=max(width // 64, 1),  # all published CLIP models have heads of 64
        hidden=shapes[f"{inner}encoder.layers.0.mlp.fc1.weight"][0],
        projection_dim=shapes[f"{prefix}visual_projection.weight"][0],
    )


def _projection(shapes: Shapes, prefix: str) -> int:
    if f"{prefix}text_projection" in shapes:  # a matrix, to be transposed
        return shapes[f"{prefix}text_projection"][1]
    return shapes.get(f"{prefix}text_projection.weight", (0,))[0]


def read_as(stored: TextConfig, known: TextConfig, *, open_clip: bool) -> TextConfig:
    """Return how a model reads a text encoder with the shapes ``stored``: as its family, ``known``,
    which has the same width.

    Stable Diffusion 2 takes the states before the last layer, which OpenCLIP's files have.
    """
    takes_fewer = known.activation == "gelu" and not known.skip
    unused = takes_fewer and (open_clip or stored.layers == known.layers + 1)
    return replace(
        known,
        vocab_size=stored.vocab_size,
        layers=stored.layers - unused,
        hidden=stored.hidden,
        length=stored.length,
        bos=stored.bos,
        eos=stored.eos,
        pad=known.pad and stored.eos,
        projection_dim=known.projection_dim and (stored.projection_dim or known.projection_dim),
    )


def check_bounds(config: ModelConfig, where: str) -> None:
    """Check the bounds that a folder's config files have, by writing and reading such files; of a
    network that diffusers does not have, those of our own.

    Raises ``CheckpointError``.
    """
    if not config_json.can_be_json(config.unet) or not config.text:
        check_numbers(config, where)
        return
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
    """A residual block and the attention after it: where they are, channels and depth, which is 1
    for a lone self-attention."""

    channels: int
    depth: int
    attention: str
    is_plain: bool = False  # a lone self-attention


def _block(shapes: Shapes, resnet: str, attention: str) -> _Block:
    is_plain = f"{attention}.qkv.weight" in shapes
    depth = 1 if is_plain else _depth(shapes, attention)
    return _Block(shapes[resnet][0], depth, attention, is_plain)


def _compvis_unet(shapes: Shapes, prefix: str) -> UNetConfig:
    def block(place: str, part: int = 0) -> _Block:
        resnet = f"{prefix}{place}.{part}.out_layers.3.weight"
        return _block(shapes, resnet, f"{prefix}{place}.{part + 1}")

    outputs = _number_of(shapes, prefix + "output_blocks.{}.0.out_layers.3.weight")
    # Residual blocks that halve look as all others. Those that double follow another block.
    doubling = sum(
        any(f"{prefix}output_blocks.{n}.{place}.in_layers.0.weight" in shapes for place in (1, 2))
        for n in range(outputs)
    )
    halving = {n * outputs // (doubling + 1) for n in range(1, doubling + 1)} if doubling else set()
    levels: list[list[_Block]] = [[]]
    for n in count(1):
        if n in halving or f"{prefix}input_blocks.{n}.0.op.weight" in shapes:
            levels.append([])
        elif f"{prefix}input_blocks.{n}.0.out_layers.3.weight" in shapes:
            levels[-1].append(block(f"input_blocks.{n}"))
        else:
            break
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
        time=f"{prefix}input_blocks.1.0.emb_layers.1.weight",
        resample_blocks=doubling > 0,
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
        time=f"{prefix}down_blocks.0.resnets.0.time_emb_proj.weight",
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
    time: str,
    resample_blocks: bool = False,
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
    attentions = [block for level in (*down, up, middle) for block in level if block.depth]
    is_plain = bool(attentions) and attentions[0].is_plain
    # Without attention, the name of the weight that is missing is told.
    where = attentions[0].attention if attentions else first.removesuffix("weight") + "..."
    key = f"{where}.transformer_blocks.0.attn2.to_k.weight"
    context = 0 if is_plain else shapes[key][1]
    if not (is_plain or context):
        raise ValueError(f"{key} has no columns")

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
        transformers=not is_plain,
        scale_shift=time in shapes and shapes[time][0] == 2 * down[0][0].channels,
        resample_blocks=resample_blocks,
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
