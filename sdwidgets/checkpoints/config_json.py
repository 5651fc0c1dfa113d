"""Our configs <-> the JSON configs of diffusers and transformers, both ways, in one place.

The files are not trusted: every number has bounds, every class must be on the list, and a field
that would ask for a computation that our networks do not have is refused by name, not ignored.
Field names and defaults are those of diffusers' ``UNet2DConditionModel``, ``AutoencoderKL``,
``VQModel`` and schedulers, and of transformers' ``CLIPTextConfig``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..configs import (
    AutoencoderConfig,
    GuidanceConfig,
    LowResolutionConfig,
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


class Fields:
    """Reads the fields of a config, each within bounds. Errors name the file, field and value."""

    def __init__(self, data: Mapping[str, Any], where: str):
        self.data = data
        self.where = where

    def error(self, key: str, expected: str) -> CheckpointError:
        return CheckpointError(
            f"{self.where}: {key} is {quoted(self.data.get(key))}; {expected} was expected."
        )

    def integer(
        self, key: str, low: int, high: int, default: int | None = None, *, none: int | None = None
    ) -> int:
        """Return a whole number; ``none`` stands for a field that is null or not there, and need
        not be within the bounds."""
        value = self.data.get(key)
        if value is None and none is not None:
            return none
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

    def same_in_all(self, key: str, levels: int, low: int, high: int, default: int) -> int:
        """Return a number that is the same in all levels, from a list or from one number."""
        value = self.per_level(key, levels, low, high, default)
        if len(set(value)) > 1:
            raise self.error(key, "the same number for all levels")
        return value[0]

    def must_be(self, **expected: Any) -> None:
        """Check fields of which our networks implement one value, which is also the default."""
        for key, value in expected.items():
            found = self.data.get(key)
            if found is not None and (
                found != value or isinstance(found, bool) != isinstance(value, bool)
            ):
                raise self.error(key, f"{value!r}, the only kind that this kit has,")


_MIDDLES = {2: "UNetMidBlock2DCrossAttn", 1: "UNetMidBlock2D", 0: None}


def unet_from_json(data: Mapping[str, Any], where: str) -> tuple[UNetConfig, int]:
    """Return the network's config and ``sample_size``, the side of its latents."""
    f = Fields(data, where)
    f.must_be(
        act_fn="silu", attention_type="default", center_input_sample=False, class_embed_type=None,
        class_embeddings_concat=False, conv_in_kernel=3, conv_out_kernel=3,
        cross_attention_norm=None, downsample_padding=1, dual_cross_attention=False,
        encoder_hid_dim=None, encoder_hid_dim_type=None, flip_sin_to_cos=True, freq_shift=0,
        mid_block_scale_factor=1, norm_eps=1e-5, resnet_out_scale_factor=1.0,
        resnet_skip_time_act=False, resnet_time_scale_shift="default", time_embedding_act_fn=None,
        time_embedding_dim=None, time_embedding_type="positional", timestep_post_act=None,
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
    blocks = f.same_in_all("layers_per_block", levels, 1, 8, 2)
    depths, deepest, up_depths = _depths(f, attention, blocks)
    middle = _middle(f)
    if middle == 2 and deepest == 0:
        raise f.error("transformer_layers_per_block", "the depth of the middle in the last level")
    config = UNetConfig(
        channels=channels,
        depths=depths,
        heads=heads,
        blocks_per_level=blocks,
        context_dim=f.same_in_all("cross_attention_dim", levels, 1, 16384, 1280),
        norm_groups=f.integer("norm_num_groups", 1, 1024, 32),
        in_channels=f.integer("in_channels", 1, 64, 4),
        out_channels=f.integer("out_channels", 1, 64, 4),
        vector_dim=(
            f.integer("projection_class_embeddings_input_dim", 1, 65536) if takes_vector else 0
        ),
        up_depths=up_depths,
        middle=middle,
        middle_depth=deepest if middle == 2 and deepest != max(depths[-1], 1) else 0,
        guidance_dim=f.integer("time_cond_proj_dim", 1, 8192, none=0),
        classes=f.integer("num_class_embeds", 1, 100_000, none=0),
        cross_only=_cross_only(f, levels),
    )
    _check_divisible(f, "norm_num_groups", channels, (config.norm_groups,) * levels)
    _check_divisible(f, key, channels, heads)
    # One number, or [height, width].
    return config, max(f.per_level("sample_size", 2, 1, 1024, 64))


def _depths(
    f: Fields, attention: list[bool], blocks: int
) -> tuple[tuple[int, ...], int, tuple[tuple[int, ...], ...]]:
    """Return the depth of each level going down, the depth of the middle, which is said with the
    last level even if that has no attention, and ``UNetConfig.up_depths``."""
    key, reverse = "transformer_layers_per_block", "reverse_transformer_layers_per_block"
    down = _per_block(f, key, attention, blocks)
    if any(len(set(level)) > 1 for level in down):
        raise f.error(key, "the same depth after each block of a level")
    depths = tuple(level[0] if has else 0 for level, has in zip(down, attention, strict=True))
    even = tuple((depth,) * (blocks + 1) for depth in depths)
    if f.data.get(reverse) is not None:
        upward = reversed(_per_block(f, reverse, attention[::-1], blocks + 1))
        up = tuple(
            tuple(level) if has else (0,) * (blocks + 1)
            for level, has in zip(upward, attention, strict=True)
        )
    elif any(isinstance(level, list) for level in _list(f.data.get(key))):
        raise f.error(reverse, f"a list of {len(attention)}, since {key} has lists in it,")
    else:
        up = even
    return depths, down[-1][0], () if up == even else up


def _per_block(f: Fields, key: str, attention: list[bool], blocks: int) -> list[list[int]]:
    """Return a depth for each block of each level, from one number, or from a list that has a
    number or a list for each level. What a level without attention says there may be anything."""
    said, levels = f.data.get(key), len(attention)
    each = said if isinstance(said, list) else [1 if said is None else said] * levels
    found = [level if isinstance(level, list) else [level] * blocks for level in each]
    found = [
        level if has else level[:1] * blocks for level, has in zip(found, attention, strict=False)
    ]
    whole = len(each) == levels and all(
        len(level) == blocks and all(type(n) is int and has <= n <= 32 for n in level)
        for level, has in zip(found, attention, strict=True)
    )
    if not whole:
        raise f.error(key, f"whole numbers from 1 to 32: one, or one or {blocks} for each level")
    return found


def _middle(f: Fields) -> int:
    """Return the residual blocks of the middle. Null is no middle at all, and not diffusers'
    default, which stands for a field that is not there."""
    said = f.data.get("mid_block_type", _MIDDLES[2])
    for number, name in _MIDDLES.items():
        if said == name:
            return number
    raise f.error("mid_block_type", f"{_MIDDLES[2]}, {_MIDDLES[1]} or null")


def _cross_only(f: Fields, levels: int) -> tuple[bool, ...]:
    key = "only_cross_attention"
    said = f.data.get(key)
    if not isinstance(said, list):
        said = [f.flag(key, False)] * levels
    if len(said) != levels or not all(type(each) is bool for each in said):
        raise f.error(key, f"true, false or a list of {levels} of these")
    return tuple(said) if any(said) else ()


def sizes_from_json(data: Mapping[str, Any], where: str, *, score: bool = False) -> SizesConfig:
    """Return how a network of Stable Diffusion XL is told sizes, from the network's config."""
    return SizesConfig(Fields(data, where).integer("addition_time_embed_dim", 2, 8192), score)


def can_be_json(config: UNetConfig) -> bool:
    """Whether diffusers' config has a place for all numbers of a network: where the last level has
    transformers, the middle has as many blocks as these."""
    if not config.transformers or config.scale_shift or config.resample_blocks:
        return False
    if not config.context_dim:
        return False
    return not config.depths[-1] or config.mid_depth in (0, config.depths[-1])


def unet_to_json(config: UNetConfig, sample_size: int, sizes: SizesConfig | None = None) -> Json:
    """Return the inverse of ``unet_from_json`` and, with ``sizes``, of ``sizes_from_json``."""
    own: Json = {}
    if config.vector_dim:
        own = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": sizes.width if sizes else None,
            "projection_class_embeddings_input_dim": config.vector_dim,
        }
    depths = [max(depth, 1) for depth in config.depths]
    if not config.depths[-1] and config.mid_depth:
        depths[-1] = config.mid_depth
    if config.up_depths:
        up = [[max(depth, 1) for depth in level] for level in reversed(config.up_depths)]
        own["reverse_transformer_layers_per_block"] = up
    if config.guidance_dim:
        own["time_cond_proj_dim"] = config.guidance_dim
    if config.classes:
        own["num_class_embeds"] = config.classes
    if config.cross_only:
        own["only_cross_attention"] = list(config.cross_only)
    return {
        **own,
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
        "mid_block_type": _MIDDLES[config.middle],
        "norm_eps": 1e-5,
        "norm_num_groups": config.norm_groups,
        "out_channels": config.out_channels,
        "sample_size": sample_size,
        "transformer_layers_per_block": _one_or_list(tuple(depths)),
        "up_block_types": [
            "CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(config.depths)
        ],
        "use_linear_projection": True,
    }


# Without and with attention.
_DOWN_BLOCKS = ("DownEncoderBlock2D", "AttnDownEncoderBlock2D")
_UP_BLOCKS = ("UpDecoderBlock2D", "AttnUpDecoderBlock2D")


def autoencoder_from_json(
    data: Mapping[str, Any], where: str, *, scaling_factor: float = 0.18215
) -> AutoencoderConfig:
    """Return the autoencoder's config; ``scaling_factor`` is its family's, which counts if the file
    has none."""
    f = Fields(data, where)
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
        scaling_factor=f.number("scaling_factor", 1e-4, 1e4, scaling_factor),
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
    f = Fields(data, where)
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


_PREDICTIONS: dict[str, str] = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}


# diffusers' classes whose grid is "leading" by default. The default of all others is "linspace".
_LEADING = (
    "DDIMScheduler", "DDIMParallelScheduler", "DDPMScheduler", "DDPMParallelScheduler",
    "LCMScheduler", "PNDMScheduler", "TCDScheduler", None,
)  # fmt: skip
# Those whose betas are Stable Diffusion's by default, and, of these, in the root: the classes of
# latent consistency models, whose grid is their own, too, whatever spacing their config names. The
# default of all others is DDPM's, linear from 0.0001 to 0.02.
_STABLE = (
    "DPMSolverSDEScheduler", "HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler", "LCMScheduler", "TCDScheduler",
)  # fmt: skip
_DISTILLED = ("LCMScheduler", "TCDScheduler")
# Those with settings of where the last step ends, and of clipping.
_WITH_ALPHAS = ("DDIMScheduler", *_DISTILLED)


def schedule_from_json(data: Mapping[str, Any], where: str) -> ScheduleConfig:
    """Return the noise schedule's config. Without an offset in the file, it is Stable Diffusion's
    1, on which diffusers' pipelines insist."""
    f, name = Fields(data, where), data.get("_class_name")
    f.must_be(trained_betas=None, timestep_type="discrete", use_flow_sigmas=False)
    first, last = (0.00085, 0.012) if name in _STABLE else (0.0001, 0.02)
    start = f.number("beta_start", 1e-8, 0.999, first)
    prediction: Any = f.choice("prediction_type", _PREDICTIONS, "epsilon")
    usual = "scaled_linear" if name in _DISTILLED else "linear"
    kind: Any = f.choice("beta_schedule", _same("linear", "scaled_linear"), usual)
    steps = f.integer("num_train_timesteps", 2, 10_000, 1000)
    usual = "leading" if name in _LEADING else "linspace"
    spacing: Any = f.choice("timestep_spacing", _same("leading", "trailing", "linspace"), usual)
    if name in _DISTILLED:
        spacing = "lcm"
    return ScheduleConfig(
        steps=steps,
        beta_start=start,
        beta_end=f.number("beta_end", start, 0.999, max(last, start)),
        kind=kind,
        prediction=prediction,
        spacing=next((own for own, key in _SPACED.items() if f.flag(key, False)), spacing),
        offset=f.integer("steps_offset", 0, steps - 1, 1),
        zero_snr=f.flag("rescale_betas_zero_snr", False),
    )


_SPACED: dict[Spacing, str] = {
    "karras": "use_karras_sigmas",
    "exponential": "use_exponential_sigmas",
    "beta": "use_beta_sigmas",
}
"""The flags of schedulers that space the noise levels themselves, and not the training steps."""


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


def has_word_for(prediction: Prediction) -> bool:
    """Whether diffusers' configs of schedules have a word for what a network predicts."""
    return prediction in _PREDICTIONS.values()


def schedule_to_json(config: ScheduleConfig, name: str = "DDIMScheduler") -> Json:
    """Return the inverse of ``schedule_from_json``, for diffusers' class of that ``name``. The grid
    of a latent consistency model is known by its class alone."""
    diffusers_name = {ours: theirs for theirs, ours in _PREDICTIONS.items()}
    if config.prediction not in diffusers_name:
        raise InputError(
            f"A model that predicts {config.prediction!r} cannot be saved: diffusers' config of a "
            f"variance schedule has no name for it.\nKnown: {', '.join(diffusers_name)}.",
            parameter="prediction",
        )
    flag = _SPACED.get(config.spacing)
    spacing = "trailing" if config.spacing == "lcm" else config.spacing
    own = {"clip_sample": False, "set_alpha_to_one": False}
    return {
        "_class_name": name,
        "beta_end": config.beta_end,
        "beta_schedule": config.kind,
        "beta_start": config.beta_start,
        "num_train_timesteps": config.steps,
        "prediction_type": diffusers_name[config.prediction],
        "rescale_betas_zero_snr": config.zero_snr,
        "steps_offset": config.offset,
        "timestep_spacing": "linspace" if flag else spacing,
        **(own if name in _WITH_ALPHAS else {}),
        **({flag: True} if flag else {}),
    }


def low_resolution_from_json(data: Mapping[str, Any], where: str) -> LowResolutionConfig:
    """Return the noise on the small image that is enlarged, from the scheduler that makes it."""
    schedule = schedule_from_json(data, where)
    if schedule.kind != "scaled_linear":
        raise Fields(data, where).error("beta_schedule", "scaled_linear")
    return LowResolutionConfig(
        levels=schedule.steps, beta_start=schedule.beta_start, beta_end=schedule.beta_end
    )


def low_resolution_to_json(config: LowResolutionConfig) -> Json:
    """Return the inverse of ``low_resolution_from_json``."""
    return {
        "_class_name": "DDPMScheduler",
        "beta_end": config.beta_end,
        "beta_schedule": "scaled_linear",
        "beta_start": config.beta_start,
        "num_train_timesteps": config.levels,
        "prediction_type": "epsilon",
    }


def check_parts_fit(config: ModelConfig, where: str) -> None:
    """Raise ``CheckpointError`` if UNet, autoencoder and text encoder do not fit each other."""
    unet, vae = config.unet, config.autoencoder
    width = config.context_width
    if unet.context_dim != width:
        raise CheckpointError(
            f"{where} mixes two models: its {_context(config)} has width {width}, its UNet takes "
            f"{unet.context_dim}."
        )
    if unet.vector_dim != config.vector_width:
        raise CheckpointError(
            f"{where} mixes two models: its UNet takes a vector of {unet.vector_dim} numbers, its "
            f"embedders make {config.vector_width}."
        )
    if unet.out_channels != vae.latent_channels:
        raise CheckpointError(
            f"{where} mixes two models: its autoencoder makes {vae.latent_channels} latent "
            f"channels, its UNet returns {unet.out_channels}."
        )
    if unet.in_channels != vae.latent_channels + config.concat_width:
        beside = f" and {config.concat_width} beside them" if config.concat_width else ""
        raise CheckpointError(
            f"{where} mixes two models: its autoencoder makes {vae.latent_channels} latent "
            f"channels{beside}, its UNet takes {unet.in_channels}."
        )
    told = [each.width for each in config.embedders if isinstance(each, GuidanceConfig)]
    if unet.guidance_dim != sum(told):
        raise CheckpointError(
            f"{where}: the guidance scale has {unet.guidance_dim} features in its UNet, and "
            f"{sum(told)} in its embedders."
        )
    small = [each for each in config.embedders if isinstance(each, LowResolutionConfig)]
    most = [each.most for each in small if each.levels]
    if bool(unet.classes) != bool(most) or (most and max(most) >= unet.classes):
        raise CheckpointError(
            f"{where}: its UNet has a table of {unet.classes:,} classes, and is told "
            + (f"noise levels up to {max(most):,}." if most else "none.")
        )


def _context(config: ModelConfig) -> str:
    return "text encoder" if config.text else "context"


def as_prediction(value: object) -> Prediction | None:
    """Return a ``prediction`` by our name or diffusers'; None if it is neither."""
    words: dict[object, Prediction] = {
        "eps": "eps", "v": "v", "x0": "x0",
        "epsilon": "eps", "v_prediction": "v", "sample": "x0",
    }  # fmt: skip
    return words.get(value) if isinstance(value, str) else None


def _same(*words: str) -> dict[str, str]:
    return {word: word for word in words}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _one_or_list(values: tuple[int, ...]) -> int | list[int]:
    return values[0] if len(set(values)) == 1 else list(values)


def _check_divisible(
    fields: Fields, key: str, widths: tuple[int, ...], parts: tuple[int, ...]
) -> None:
    for width, part in zip(widths, parts, strict=True):
        if width % part:
            raise fields.error(key, f"a number that divides the width {width}")
