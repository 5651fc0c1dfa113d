"""Our configs <-> the JSON configs of diffusers and transformers, both ways, in one place.

The files are not trusted: every number has bounds, every class must be on the list, and a field
that would ask for a computation that our networks do not have is refused by name, not ignored.
Field names and defaults are those of diffusers' ``UNet2DConditionModel``, ``AutoencoderKL``,
``VQModel`` and schedulers, and of transformers' ``CLIPTextConfig``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..configs import (
    AutoencoderConfig,
    EmbedderConfig,
    ModelConfig,
    Prediction,
    ScheduleConfig,
    SizesConfig,
    Spacing,
    TextConfig,
    UNetConfig,
)
from ..errors import CheckpointError, InputError
from .weights import quoted

Json = dict[str, Any]

# The classes that a model_index.json may name. Nothing is ever imported by a name from a file.
_CLASSES = {
    "unet": {("diffusers", "UNet2DConditionModel")},
    "vae": {("diffusers", "AutoencoderKL"), ("diffusers", "VQModel")},
    "text_encoder": {("transformers", "CLIPTextModel")},
    "text_encoder_2": {("transformers", "CLIPTextModelWithProjection")},
    "tokenizer": {("transformers", "CLIPTokenizer"), ("transformers", "CLIPTokenizerFast")},
    "tokenizer_2": {("transformers", "CLIPTokenizer"), ("transformers", "CLIPTokenizerFast")},
    "scheduler": {
        ("diffusers", f"{name}Scheduler")
        for name in (
            "DDIM", "DDPM", "PNDM", "LMSDiscrete", "EulerDiscrete", "EulerAncestralDiscrete",
            "HeunDiscrete", "DPMSolverMultistep", "DPMSolverSinglestep", "UniPCMultistep",
            "DEISMultistep", "KDPM2Discrete", "KDPM2AncestralDiscrete",
        )
    },
    # Parts of published folders that this kit neither uses nor loads.
    "safety_checker": {
        ("stable_diffusion", "StableDiffusionSafetyChecker"),
        ("stable_diffusion_safe", "SafeStableDiffusionSafetyChecker"),
    },
    "feature_extractor": {
        ("transformers", "CLIPFeatureExtractor"),
        ("transformers", "CLIPImageProcessor"),
        ("transformers", "CLIPImageProcessorFast"),
        ("transformers", "CLIPImageProcessorPil"),
    },
    "image_encoder": {("transformers", "CLIPVisionModelWithProjection")},
}  # fmt: skip
PARTS = tuple(_CLASSES)
"""The folders that a model folder may have."""

_NEEDED = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
_XL_PIPELINE = "StableDiffusionXLPipeline"
_XL_PARTS = ("text_encoder_2", "tokenizer_2")
_PIPELINES = {
    "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline",
    "StableDiffusionInpaintPipelineLegacy",
}  # fmt: skip


class _Fields:
    """Reads the fields of a config, each within bounds. Errors name the file, field and value."""

    def __init__(self, data: Mapping[str, Any], where: str):
        self.data = data
        self.where = where

    def error(self, key: str, expected: str) -> CheckpointError:
        return CheckpointError(
            f"{self.where}: {key} is {quoted(self.data.get(key))}; {expected} was expected."
        )

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self.data.get(key)
        value = default if value is None else value
        if type(value) is not int or not low <= value <= high:
            raise self.error(key, f"a whole number from {low:,} to {high:,}")
        return value

    def number(self, key: str, low: float, high: float, default: float) -> float:
        value: Any = self.data.get(key)
        value = default if value is None else value
        if type(value) not in (int, float) or not (math.isfinite(value) and low <= value <= high):
            raise self.error(key, f"a number from {low:g} to {high:g}")
        return float(value)

    def choice(self, key: str, choices: Mapping[str, str], default: str) -> str:
        value = self.data.get(key)
        value = default if value is None else value
        if not isinstance(value, str) or value not in choices:
            raise self.error(key, " or ".join(choices))
        return choices[value]

    def flag(self, key: str, default: bool) -> bool:
        value = self.data.get(key)
        value = default if value is None else value
        if type(value) is not bool:
            raise self.error(key, "true or false")
        return value

    def integers(self, key: str, low: int, high: int) -> tuple[int, ...]:
        value = self.data.get(key)
        if (
            not isinstance(value, list)
            or not 1 <= len(value) <= 8
            or not all(type(n) is int and low <= n <= high for n in value)
        ):
            raise self.error(key, f"a list of 1 to 8 whole numbers from {low:,} to {high:,}")
        return tuple(value)

    def per_level(
        self, key: str, levels: int, low: int, high: int, default: int
    ) -> tuple[int, ...]:
        """Return a number per level, from a list of them or from one number for all levels."""
        if isinstance(self.data.get(key), list):
            value = self.integers(key, low, high)
            if len(value) != levels:
                raise self.error(key, f"a list of {levels} whole numbers")
            return value
        return (self.integer(key, low, high, default),) * levels

    def must_be(self, **expected: Any) -> None:
        """Check fields of which our networks implement one value, which is also the default."""
        for key, value in expected.items():
            found = self.data.get(key)
            if found is not None and (
                found != value or isinstance(found, bool) != isinstance(value, bool)
            ):
                raise self.error(key, f"{value!r}, the only kind of network that this kit has,")


def check_model_index(index: Mapping[str, Any], where: str) -> None:
    """Raise ``CheckpointError`` unless a model_index.json names all parts, by known classes."""
    pipeline = index.get("_class_name")
    if isinstance(pipeline, list):
        raise CheckpointError(
            f"{where}: the pipeline {quoted(pipeline)} has Python code of its own, which is never "
            "run.\nStable Diffusion 1, 2 and XL in the diffusers layout can be loaded."
        )
    known = isinstance(pipeline, str) and pipeline in _PIPELINES
    if not known and not is_xl(index):
        raise CheckpointError(
            f"{where}: the pipeline {quoted(pipeline)} is not known.\n"
            "Stable Diffusion 1, 2 and XL in the diffusers layout can be loaded."
        )
    for part, value in index.items():
        # Plain settings (a flag, the library's version, private notes) name no class.
        if not isinstance(value, list) or part.startswith("_") or value == [None, None]:
            continue
        allowed = None if part in _XL_PARTS and not is_xl(index) else _CLASSES.get(part)
        if allowed is None or not any(list(pair) == value for pair in allowed):
            raise CheckpointError(
                f"{where}: {quoted(part)} is of the class {quoted(value)}, which is not on the "
                "list of known classes. Nothing was imported."
            )
    needed = _NEEDED + (_XL_PARTS if is_xl(index) else ())
    missing = [part for part in needed if not isinstance(index.get(part), list)]
    missing += [part for part in needed if index.get(part) == [None, None]]
    if missing:
        raise CheckpointError(f"{where} lacks {', '.join(missing)}.")


def is_xl(index: Mapping[str, Any]) -> bool:
    """Whether a model_index.json is that of a Stable Diffusion XL model."""
    return index.get("_class_name") == _XL_PIPELINE


def unet_from_json(data: Mapping[str, Any], where: str) -> tuple[UNetConfig, int]:
    """Return the network's config and ``sample_size``, the side of its latents."""
    f = _Fields(data, where)
    f.must_be(
        act_fn="silu", center_input_sample=False, class_embed_type=None, conv_in_kernel=3,
        conv_out_kernel=3, cross_attention_norm=None, downsample_padding=1,
        dual_cross_attention=False, encoder_hid_dim=None, encoder_hid_dim_type=None,
        flip_sin_to_cos=True, freq_shift=0, mid_block_scale_factor=1,
        mid_block_type="UNetMidBlock2DCrossAttn", norm_eps=1e-5, num_class_embeds=None,
        only_cross_attention=False, resnet_out_scale_factor=1.0, resnet_skip_time_act=False,
        resnet_time_scale_shift="default", time_cond_proj_dim=None, time_embedding_act_fn=None,
        time_embedding_dim=None, time_embedding_type="positional", timestep_post_act=None,
        attention_type="default", reverse_transformer_layers_per_block=None,
    )  # fmt: skip
    takes_vector = data.get("addition_embed_type") is not None
    if takes_vector:
        f.must_be(addition_embed_type="text_time")
    channels = f.integers("block_out_channels", 1, 8192)
    levels = len(channels)
    # In this class "attention_head_dim" is the number of heads, whatever its name says. Only
    # configs with "num_attention_heads" call it by its name.
    key = "num_attention_heads" if data.get("num_attention_heads") else "attention_head_dim"
    heads = f.per_level(key, levels, 1, 1024, 8)
    blocks = f.per_level("transformer_layers_per_block", levels, 1, 32, 1)
    down = data.get("down_block_types")
    kinds = {"CrossAttnDownBlock2D": True, "DownBlock2D": False}
    if (
        not isinstance(down, list)
        or len(down) != levels
        or not all(isinstance(kind, str) and kind in kinds for kind in down)
    ):
        raise f.error("down_block_types", f"a list of {levels} of {', '.join(kinds)}")
    attention = [kinds[kind] for kind in down]
    up = ["CrossAttnUpBlock2D" if has else "UpBlock2D" for has in reversed(attention)]
    if data.get("up_block_types") != up:
        raise f.error("up_block_types", f"the mirror image of down_block_types, {up},")
    depths = tuple(n if has else 0 for n, has in zip(blocks, attention, strict=True))
    config = UNetConfig(
        channels=channels,
        depths=depths,
        heads=heads,
        blocks_per_level=f.integer("layers_per_block", 1, 8, 2),
        context_dim=f.integer("cross_attention_dim", 1, 16384, 1280),
        norm_groups=f.integer("norm_num_groups", 1, 1024, 32),
        in_channels=f.integer("in_channels", 1, 64, 4),
        out_channels=f.integer("out_channels", 1, 64, 4),
        vector_dim=(
            f.integer("projection_class_embeddings_input_dim", 1, 65536) if takes_vector else 0
        ),
    )
    if config.mid_depth != blocks[-1]:
        raise f.error("transformer_layers_per_block", f"{config.mid_depth} in the last level")
    _check_divisible(f, "norm_num_groups", channels, (config.norm_groups,) * levels)
    _check_divisible(f, key, channels, heads)
    # One number, or [height, width].
    return config, max(f.per_level("sample_size", 2, 1, 1024, 64))


def sizes_from_json(data: Mapping[str, Any], where: str) -> SizesConfig:
    """Return how a network of Stable Diffusion XL is told sizes, from the network's config."""
    return SizesConfig(_Fields(data, where).integer("addition_time_embed_dim", 2, 8192))


def unet_to_json(config: UNetConfig, sample_size: int, sizes: SizesConfig | None = None) -> Json:
    """Return the inverse of ``unet_from_json`` and, with ``sizes``, of ``sizes_from_json``."""
    vector: Json = {}
    if config.vector_dim:
        vector = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": sizes.width if sizes else None,
            "projection_class_embeddings_input_dim": config.vector_dim,
        }
    return {
        **vector,
        "_class_name": "UNet2DConditionModel",
        "act_fn": "silu",
        "attention_head_dim": _one_or_list(config.heads),  # the number of heads; see above
        "block_out_channels": list(config.channels),
        "center_input_sample": False,
        "cross_attention_dim": config.context_dim,
        "down_block_types": [
            "CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in config.depths
        ],
        "downsample_padding": 1,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "in_channels": config.in_channels,
        "layers_per_block": config.blocks_per_level,
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-5,
        "norm_num_groups": config.norm_groups,
        "out_channels": config.out_channels,
        "sample_size": sample_size,
        "transformer_layers_per_block": _one_or_list(tuple(max(d, 1) for d in config.depths)),
        "up_block_types": [
            "CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(config.depths)
        ],
        "use_linear_projection": True,
    }


# Without and with attention.
_DOWN_BLOCKS = ("DownEncoderBlock2D", "AttnDownEncoderBlock2D")
_UP_BLOCKS = ("UpDecoderBlock2D", "AttnUpDecoderBlock2D")


def autoencoder_from_json(data: Mapping[str, Any], where: str) -> AutoencoderConfig:
    f = _Fields(data, where)
    f.must_be(
        act_fn="silu", latents_mean=None, latents_std=None, use_quant_conv=True,
        use_post_quant_conv=True, norm_type="group", lookup_from_codebook=False,
    )  # fmt: skip
    is_vq = f.choice("_class_name", _same("AutoencoderKL", "VQModel"), "AutoencoderKL") == "VQModel"
    channels = f.integers("block_out_channels", 1, 8192)
    down = data.get("down_block_types")
    kinds = {kind: has_attention for has_attention, kind in enumerate(_DOWN_BLOCKS)}
    if (
        not isinstance(down, list)
        or len(down) != len(channels)
        or not all(isinstance(kind, str) and kind in kinds for kind in down)
    ):
        raise f.error("down_block_types", f"a list of {len(channels)} of {', '.join(kinds)}")
    up = [_UP_BLOCKS[kinds[kind]] for kind in reversed(down)]
    if data.get("up_block_types") != up:
        raise f.error("up_block_types", f"the mirror image of down_block_types, {up},")
    config = AutoencoderConfig(
        channels=channels,
        blocks_per_level=f.integer("layers_per_block", 1, 8, 1),
        latent_channels=f.integer("latent_channels", 1, 64, 3 if is_vq else 4),
        in_channels=f.integer("in_channels", 1, 16, 3),
        norm_groups=f.integer("norm_num_groups", 1, 1024, 32),
        mid_attention=f.flag("mid_block_add_attention", True),
        scaling_factor=f.number("scaling_factor", 1e-4, 1e4, 0.18215),
        shift_factor=f.number("shift_factor", -1e4, 1e4, 0.0),
        attention_levels=tuple(level for level, kind in enumerate(down) if kinds[kind]),
        codes=f.integer("num_vq_embeddings", 1, 1_000_000, 256) if is_vq else 0,
    )
    f.must_be(vq_embed_dim=config.latent_channels)
    _check_divisible(f, "norm_num_groups", channels, (config.norm_groups,) * len(channels))
    if data.get("out_channels", 3) != config.in_channels:
        raise f.error("out_channels", f"{config.in_channels}, as many as in_channels,")
    return config


def autoencoder_to_json(config: AutoencoderConfig, size: int, *, upcast: bool = False) -> Json:
    """Return the inverse of ``autoencoder_from_json``; ``size`` is the side of the images.

    ``upcast`` tells diffusers to decode in float32 when the rest is float16, since XL's decoder
    overflows in float16. (Ours tries again in float32 by itself.)
    """
    attention = [level in config.attention_levels for level in range(len(config.channels))]
    own: Json = {"shift_factor": config.shift_factor or None}
    if config.codes:  # diffusers' class has no shift and would warn
        own = own if config.shift_factor else {}
        own |= {"num_vq_embeddings": config.codes, "vq_embed_dim": config.latent_channels}
    return {
        "_class_name": autoencoder_class(config),
        "act_fn": "silu",
        "block_out_channels": list(config.channels),
        "down_block_types": [_DOWN_BLOCKS[has] for has in attention],
        "force_upcast": upcast,
        "in_channels": config.in_channels,
        "latent_channels": config.latent_channels,
        "layers_per_block": config.blocks_per_level,
        "mid_block_add_attention": config.mid_attention,
        "norm_num_groups": config.norm_groups,
        "out_channels": config.in_channels,
        "sample_size": size,
        "scaling_factor": config.scaling_factor,
        "up_block_types": [_UP_BLOCKS[has] for has in reversed(attention)],
        **own,
    }


def autoencoder_class(config: AutoencoderConfig) -> str:
    """Return the name of diffusers' class for the config."""
    return "VQModel" if config.codes else "AutoencoderKL"


def text_from_json(data: Mapping[str, Any], where: str, *, projected: bool = False) -> TextConfig:
    """Return the text encoder's config, with token ids that the tokenizer's will replace.

    ``projected``: whether the encoder has a projection. Its config names one in any case.

    Published configs of Stable Diffusion 1 have wrong token ids (bos 0, pad 1, eos 2). Until the
    tokenizer is loaded, the last two ids of the vocabulary are used, as in CLIP.
    """
    f = _Fields(data, where)
    f.must_be(layer_norm_eps=1e-5)
    vocab_size = f.integer("vocab_size", 3, 1_000_000, 49408)
    config = TextConfig(
        vocab_size=vocab_size,
        width=f.integer("hidden_size", 1, 16384, 512),
        layers=f.integer("num_hidden_layers", 1, 128, 12),
        heads=f.integer("num_attention_heads", 1, 1024, 8),
        hidden=f.integer("intermediate_size", 1, 65536, 2048),
        activation=f.choice(
            "hidden_act", {"quick_gelu": "quick_gelu", "gelu": "gelu"}, "quick_gelu"
        ),
        length=f.integer("max_position_embeddings", 3, 4096, 77),
        bos=vocab_size - 2,
        eos=vocab_size - 1,
        pad=vocab_size - 1,
        projection_dim=f.integer("projection_dim", 1, 16384, 512) if projected else 0,
    )
    _check_divisible(f, "num_attention_heads", (config.width,), (config.heads,))
    return config


def token_ids(data: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the ids of start and end that a text encoder's config names; None if it names none.

    0 and 2, in the published configs of Stable Diffusion 1 and 2, are wrong and mean nothing.
    """
    bos, eos = data.get("bos_token_id"), data.get("eos_token_id")
    if type(bos) is not int or type(eos) is not int or (bos, eos) == (0, 2):
        return None
    return bos, eos


def text_to_json(config: TextConfig) -> Json:
    return {
        "architectures": [text_class(config)],
        "attention_dropout": 0.0,
        "bos_token_id": config.bos,
        "eos_token_id": config.eos,
        "hidden_act": config.activation,
        "hidden_size": config.width,
        "intermediate_size": config.hidden,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": config.length,
        "model_type": "clip_text_model",
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers,
        "pad_token_id": config.pad,
        "projection_dim": config.projection_dim or config.width,
        "vocab_size": config.vocab_size,
    }


def text_class(config: TextConfig) -> str:
    """Return the name of transformers' class for the config."""
    return "CLIPTextModelWithProjection" if config.projection_dim else "CLIPTextModel"


def xl_embedders(
    texts: tuple[TextConfig, ...], sizes: SizesConfig, index: Mapping[str, Any], where: str
) -> tuple[EmbedderConfig, ...]:
    """Return the embedders of Stable Diffusion XL: two text encoders and sizes.

    The states are those before the encoders' last layers; only the second encoder's pooled state is
    used. No file says so: it is what diffusers' pipeline does.
    """
    zeros = _Fields(index, where).flag("force_zeros_for_empty_prompt", True)
    states = (replace(text, skip=1, norm=False, zeros=zeros) for text in texts)
    return (*states, sizes)


_PREDICTIONS: dict[str, str] = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}


# diffusers' classes whose grid is "leading" by default. The default of all others is "linspace".
_LEADING = ("DDIMScheduler", "DDPMScheduler", "PNDMScheduler", None)


def schedule_from_json(data: Mapping[str, Any], where: str) -> ScheduleConfig:
    """Return the noise schedule's config. Without an offset in the file, it is Stable Diffusion's
    1, on which diffusers' pipelines insist."""
    f = _Fields(data, where)
    f.must_be(trained_betas=None, rescale_betas_zero_snr=False)
    start = f.number("beta_start", 1e-8, 0.999, 0.0001)
    prediction: Any = f.choice("prediction_type", _PREDICTIONS, "epsilon")
    kind: Any = f.choice(
        "beta_schedule", {"linear": "linear", "scaled_linear": "scaled_linear"}, "linear"
    )
    steps = f.integer("num_train_timesteps", 2, 10_000, 1000)
    usual = "leading" if data.get("_class_name") in _LEADING else "linspace"
    spacing: Any = f.choice("timestep_spacing", _same("leading", "trailing", "linspace"), usual)
    karras: Spacing = "karras"
    return ScheduleConfig(
        steps=steps,
        beta_start=start,
        beta_end=f.number("beta_end", start, 0.999, 0.02),
        kind=kind,
        prediction=prediction,
        spacing=karras if f.flag("use_karras_sigmas", False) else spacing,
        offset=f.integer("steps_offset", 0, steps - 1, 1),
    )


def check_schedule(config: ScheduleConfig, where: str) -> None:
    """Raise ``CheckpointError`` if a config is not a noise schedule although its numbers are in
    bounds: with large betas, nothing of the image is left long before the last step."""
    from ..pipeline import noise_schedule

    try:
        noise_schedule(config)
    except ValueError as error:
        raise CheckpointError(
            f"{where}: {config.steps:,} steps with beta from {config.beta_start:g} to "
            f"{config.beta_end:g} are not a noise schedule: {error}."
        ) from None


def schedule_to_json(config: ScheduleConfig) -> Json:
    diffusers_name = {ours: theirs for theirs, ours in _PREDICTIONS.items()}
    if config.prediction not in diffusers_name:
        raise InputError(
            f"A model that predicts {config.prediction!r} cannot be saved: diffusers' config of a "
            f"variance schedule has no name for it.\nKnown: {', '.join(diffusers_name)}.",
            parameter="prediction",
        )
    karras = {"use_karras_sigmas": True} if config.spacing == "karras" else {}
    return {
        "_class_name": "DDIMScheduler",
        "beta_end": config.beta_end,
        "beta_schedule": config.kind,
        "beta_start": config.beta_start,
        "clip_sample": False,
        "num_train_timesteps": config.steps,
        "prediction_type": diffusers_name[config.prediction],
        "set_alpha_to_one": False,
        "steps_offset": config.offset,
        "timestep_spacing": "linspace" if karras else config.spacing,
        **karras,
    }


def text_folders(count: int) -> tuple[tuple[str, str], ...]:
    """Return the folders (encoder, tokenizer) of a model's ``count`` text encoders."""
    ends = ["", *(f"_{number}" for number in range(2, count + 1))]
    return tuple((f"text_encoder{end}", f"tokenizer{end}") for end in ends)


def has_place_for(config: ModelConfig) -> bool:
    """Whether the layout has a place for the model's embedders, and for how they read a text: one
    text encoder with its last layer's states, or the embedders of XL."""
    kinds = [type(embedder) for embedder in config.embedders]
    if kinds == [TextConfig]:
        (text,) = config.text
        return (text.skip, text.norm, text.zeros, text.projection_dim) == (0, True, False, 0)
    if kinds != [TextConfig, TextConfig, SizesConfig] or config.join != "width":
        return False
    first, second = config.text
    read_alike = {(text.skip, text.norm) for text in config.text} == {(1, False)}
    projected = not first.projection_dim and bool(second.projection_dim)
    return read_alike and projected and first.zeros == second.zeros


def model_index(config: ModelConfig) -> Json:
    """Return the content of model_index.json, which diffusers' pipelines read first."""
    parts: Json = {
        # Keys that begin with an underscore are notes, which diffusers ignores.
        "_sdwidgets": {"name": config.name, "guidance_scale": config.guidance_scale},
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", autoencoder_class(config.autoencoder)],
    }
    for text, (encoder, tokenizer) in zip(config.text, text_folders(len(config.text)), strict=True):
        parts[encoder] = ["transformers", text_class(text)]
        parts[tokenizer] = ["transformers", "CLIPTokenizer"]
    if len(config.text) == 2:
        zeros = config.text[0].zeros
        return {"_class_name": _XL_PIPELINE, "force_zeros_for_empty_prompt": zeros, **parts}
    return {
        "_class_name": "StableDiffusionPipeline",
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        **parts,
    }


def notes_from_index(index: Mapping[str, Any], where: str, name: str) -> tuple[str, float]:
    """Return (name, guidance_scale) from our own notes, or ``name`` and the family's default, which
    is 5 for XL and 7.5 for all others."""
    notes = index.get("_sdwidgets", {})
    if not isinstance(notes, dict):
        raise CheckpointError(f"{where}: _sdwidgets is {quoted(notes)}, not an object.")
    own, usual = notes.get("name"), 5.0 if is_xl(index) else 7.5
    guidance = _Fields(notes, where).number("guidance_scale", 0.0, 100.0, usual)
    return (own[:100] if isinstance(own, str) and own else name), guidance


def check_parts_fit(config: ModelConfig, where: str) -> None:
    """Raise ``CheckpointError`` if UNet, autoencoder and text encoder do not fit each other."""
    unet, vae = config.unet, config.autoencoder
    if not config.text:
        raise CheckpointError(f"{where} has no text encoder.")
    width = config.context_width
    if unet.in_channels == 9:
        raise CheckpointError(
            f"{where} is an inpainting model (9 input channels), which this kit does not load.\n"
            "Any other model inpaints when given `image` and `mask`."
        )
    if unet.context_dim != width:
        raise CheckpointError(
            f"{where} mixes two models: its text encoder has width {width}, its UNet takes "
            f"{unet.context_dim}."
        )
    if unet.vector_dim != config.vector_width:
        raise CheckpointError(
            f"{where} mixes two models: its UNet takes a vector of {unet.vector_dim} numbers, its "
            f"embedders make {config.vector_width}."
        )
    for what, channels in (("takes", unet.in_channels), ("returns", unet.out_channels)):
        if channels != vae.latent_channels:
            raise CheckpointError(
                f"{where} mixes two models: its autoencoder makes {vae.latent_channels} latent "
                f"channels, its UNet {what} {channels}."
            )


def as_prediction(value: object) -> Prediction | None:
    """Return a ``prediction`` by our name or diffusers'; None if it is neither."""
    words: dict[object, Prediction] = {
        "eps": "eps", "v": "v", "x0": "x0",
        "epsilon": "eps", "v_prediction": "v", "sample": "x0",
    }  # fmt: skip
    return words.get(value) if isinstance(value, str) else None


def _same(*words: str) -> dict[str, str]:
    return {word: word for word in words}


def _one_or_list(values: tuple[int, ...]) -> int | list[int]:
    return values[0] if len(set(values)) == 1 else list(values)


def _check_divisible(
    fields: _Fields, key: str, widths: tuple[int, ...], parts: tuple[int, ...]
) -> None:
    for width, part in zip(widths, parts, strict=True):
        if width % part:
            raise fields.error(key, f"a number that divides the width {width}")
