"""Configs in diffusers' format: both ways, and within bounds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest

from sdwidgets import configs
from sdwidgets.checkpoints import config_json as c
from sdwidgets.configs import EMOJI, FIRST_STAGES, SD1, SD2, SDXL, TINY, ModelConfig, Spacing
from sdwidgets.errors import CheckpointError

CONFIGS = pytest.mark.parametrize("config", [SD1, SD2, EMOJI, TINY], ids=lambda config: config.name)


@CONFIGS
def test_configs_go_there_and_back(config: ModelConfig) -> None:
    there = json.loads(
        json.dumps(
            [
                c.unet_to_json(config.unet, 32),
                c.autoencoder_to_json(config.autoencoder, 256),
                c.schedule_to_json(config.schedule),
                c.text_to_json(config.text[0]),
            ]
        )
    )
    assert c.unet_from_json(there[0], "") == (config.unet, 32)
    assert c.autoencoder_from_json(there[1], "") == config.autoencoder
    assert c.schedule_from_json(there[2], "") == config.schedule
    text = config.text[0]  # its token ids come from the tokenizer
    again = replace(c.text_from_json(there[3], ""), bos=text.bos, eos=text.eos, pad=text.pad)
    assert again == text


@pytest.mark.parametrize("name", FIRST_STAGES)
def test_first_stages_go_there_and_back(name: str) -> None:
    there = json.loads(json.dumps(c.autoencoder_to_json(FIRST_STAGES[name], 256)))
    assert c.autoencoder_from_json(there, "") == FIRST_STAGES[name]
    assert there["_class_name"] == ("VQModel" if name.startswith("VQ") else "AutoencoderKL")


# As published in unet/config.json of stable-diffusion-v1-5 and stable-diffusion-2-1.
_PUBLISHED_SD1 = {
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": "0.6.0",
    "act_fn": "silu",
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "center_input_sample": False,
    "cross_attention_dim": 768,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 32,
    "out_channels": 4,
    "sample_size": 64,
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}
_PUBLISHED_SD2 = {
    **_PUBLISHED_SD1,
    "attention_head_dim": [5, 10, 20, 20],
    "cross_attention_dim": 1024,
    "dual_cross_attention": False,
    "only_cross_attention": False,
    "num_class_embeds": None,
    "sample_size": 96,
    "upcast_attention": True,
    "use_linear_projection": True,
}


def test_the_published_networks() -> None:
    assert c.unet_from_json(_PUBLISHED_SD1, "") == (SD1.unet, 64)
    assert c.unet_from_json(_PUBLISHED_SD2, "") == (SD2.unet, 96)


def test_attention_head_dim_is_the_number_of_heads() -> None:
    assert c.unet_to_json(SD1.unet, 64)["attention_head_dim"] == 8
    assert c.unet_to_json(SD2.unet, 64)["attention_head_dim"] == [5, 10, 20, 20]


def test_the_token_ids_of_stable_diffusion_1_are_mended() -> None:
    published = {**c.text_to_json(SD1.text[0]), "bos_token_id": 0, "eos_token_id": 2}
    assert c.text_from_json(published, "") == SD1.text[0]


_UPWARD = {"reverse_transformer_layers_per_block": [1, 1, 1, 1]}


def refused(convert: Callable[..., Any], data: dict[str, Any], **changes: Any) -> None:
    with pytest.raises(CheckpointError) as caught:
        convert({**data, **changes}, "unet/config.json")
    message = str(caught.value)
    assert "unet/config.json" in message and len(message) < 400


@pytest.mark.parametrize(
    "changes",
    [
        {"block_out_channels": [10**6] * 4},
        {"block_out_channels": []},
        {"block_out_channels": [320] * 9},
        {"block_out_channels": [320, 640.0, 1280, 1280]},
        {"block_out_channels": [True] * 4},
        {"block_out_channels": [321, 640, 1280, 1280]},
        {"block_out_channels": "320"},
        {"attention_head_dim": 0},
        {"attention_head_dim": 7},
        {"attention_head_dim": [8, 8]},
        {"layers_per_block": 10**6},
        {"layers_per_block": -1},
        {"cross_attention_dim": 0},
        {"cross_attention_dim": "768"},
        {"norm_num_groups": 33},
        {"norm_num_groups": 0},
        {"in_channels": 10**9},
        {"sample_size": 0},
        {"sample_size": []},
        {"sample_size": 10**9},
        {"transformer_layers_per_block": 10**6},
        {"transformer_layers_per_block": [1, 1, 1]},
        {"transformer_layers_per_block": [1, 1, 1, 0]},
        {"transformer_layers_per_block": [1, 0, 1, 1]},
        {"transformer_layers_per_block": [[1, 2], 1, 1, 1], **_UPWARD},
        {"transformer_layers_per_block": [[1], 1, 1, 1], **_UPWARD},
        {"transformer_layers_per_block": [[1, 1], 1, 1, 1]},
        {"transformer_layers_per_block": [[], 1, 1, 1], **_UPWARD},
        {"reverse_transformer_layers_per_block": [1, 1, 1]},
        {"reverse_transformer_layers_per_block": [1, 1, [1, 1], 1]},
        {"reverse_transformer_layers_per_block": [1, 1, [1, 1, "1"], 1]},
        {"mid_block_type": "UNetMidBlock2DSimpleCrossAttn"},
        {"mid_block_type": ["UNetMidBlock2D"]},
        {"only_cross_attention": "yes"},
        {"only_cross_attention": [True]},
        {"only_cross_attention": [True, False, 1, False]},
        {"num_class_embeds": 0},
        {"num_class_embeds": 10**9},
        {"layers_per_block": [2, 2, 2, 1]},
        {"cross_attention_dim": [768, 768, 768, 1024]},
        {"encoder_hid_dim": 4096},
        {"down_block_types": ["AttnDownBlock2D"] * 4},
        {"down_block_types": ["os.system"] * 4},
        {"down_block_types": [["CrossAttnDownBlock2D"]] * 4},
        {"up_block_types": ["UpBlock2D"] * 4},
        {"act_fn": "gelu"},
        {"class_embed_type": "timestep"},
        {"flip_sin_to_cos": False},
        {"time_cond_proj_dim": 0},
        {"time_cond_proj_dim": "256"},
        {"addition_embed_type": "text_time"},
        {"norm_eps": 1},
    ],
    ids=str,
)
def test_networks_out_of_bounds_or_unknown(changes: dict[str, Any]) -> None:
    refused(c.unet_from_json, _PUBLISHED_SD1, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"scaling_factor": 0},
        {"scaling_factor": float("nan")},
        {"scaling_factor": -1},
        {"scaling_factor": "1"},
        {"scaling_factor": True},
        {"shift_factor": float("inf")},
        {"latent_channels": 0},
        {"use_quant_conv": False},
        {"latents_mean": [0.0]},
        {"mid_block_add_attention": "no"},
        {"down_block_types": ["DownBlock2D"] * 4},
        {"out_channels": 4},
        {"block_out_channels": [10**6] * 4},
        {"_class_name": "AutoencoderTiny"},
        {"down_block_types": ["DownEncoderBlock2D"] * 3 + ["AttnDownEncoderBlock2D"]},
        {"up_block_types": ["AttnUpDecoderBlock2D"] * 4},
    ],
    ids=str,
)
def test_autoencoders_out_of_bounds_or_unknown(changes: dict[str, Any]) -> None:
    refused(c.autoencoder_from_json, c.autoencoder_to_json(SD1.autoencoder, 512), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_vq_embeddings": 0},
        {"num_vq_embeddings": 10**9},
        {"vq_embed_dim": 5},
        {"norm_type": "spatial"},
        {"lookup_from_codebook": True},
    ],
    ids=str,
)
def test_vq_autoencoders_out_of_bounds_or_unknown(changes: dict[str, Any]) -> None:
    config = c.autoencoder_to_json(FIRST_STAGES["VQ-f8"], 256)
    refused(c.autoencoder_from_json, config, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"vocab_size": 10**9},
        {"hidden_size": 770},
        {"num_hidden_layers": 10**6},
        {"num_attention_heads": 0},
        {"hidden_act": "eval"},
        {"hidden_act": ["gelu"]},
        {"max_position_embeddings": 2},
        {"layer_norm_eps": 0.5},
    ],
    ids=str,
)
def test_text_encoders_out_of_bounds_or_unknown(changes: dict[str, Any]) -> None:
    refused(c.text_from_json, c.text_to_json(SD1.text[0]), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_train_timesteps": 0},
        {"num_train_timesteps": 1e12},
        {"num_train_timesteps": 10**12},
        {"beta_start": float("nan")},
        {"beta_start": -0.1},
        {"beta_start": "0.1"},
        {"beta_start": 0.5, "beta_end": 0.1},
        {"beta_end": 1.0},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"prediction_type": "__class__"},
        {"trained_betas": [0.1]},
        {"rescale_betas_zero_snr": "yes"},
        {"timestep_type": "continuous"},
        {"use_flow_sigmas": True},
        {"timestep_spacing": "evenly"},
        {"timestep_spacing": ["leading"]},
        {"steps_offset": -1},
        {"steps_offset": 1000},
        {"use_karras_sigmas": "yes"},
    ],
    ids=str,
)
def test_schedules_out_of_bounds_or_unknown(changes: dict[str, Any]) -> None:
    refused(c.schedule_from_json, c.schedule_to_json(SD1.schedule), **changes)


def test_a_schedule_that_leaves_no_picture_says_so() -> None:
    betas = {"beta_start": 0.5, "beta_end": 0.999}
    config = c.schedule_from_json(c.schedule_to_json(SD1.schedule) | betas, "file")
    with pytest.raises(CheckpointError, match=r"1,000 steps with beta from 0\.5 to 0\.999"):
        c.check_schedule(config, "file")


@pytest.mark.parametrize("spacing", sorted({*get_args(Spacing)} - {"lcm"}))
def test_the_models_own_grid_goes_there_and_back(spacing: Any) -> None:
    config = replace(SD1.schedule, spacing=spacing, offset=3)
    assert c.schedule_from_json(c.schedule_to_json(config), "") == config


@pytest.mark.parametrize(
    ("given", "spacing"),
    [
        ({}, "leading"),
        ({"_class_name": "PNDMScheduler"}, "leading"),
        ({"_class_name": "EulerDiscreteScheduler"}, "linspace"),
        ({"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}, "trailing"),
        ({"_class_name": ["EulerDiscreteScheduler"]}, "linspace"),
        ({"timestep_spacing": "leading", "use_karras_sigmas": True}, "karras"),
        ({"timestep_spacing": "leading", "use_exponential_sigmas": True}, "exponential"),
        ({"use_karras_sigmas": False, "use_beta_sigmas": True}, "beta"),
        ({"_class_name": "LCMScheduler", "timestep_spacing": "leading"}, "lcm"),
        ({"_class_name": "TCDScheduler"}, "lcm"),
    ],
)
def test_a_grid_that_is_not_said_is_the_classs(given: dict[str, Any], spacing: str) -> None:
    config = c.schedule_from_json(given, "")
    assert (config.spacing, config.offset) == (spacing, 1)


def test_parts_of_two_models_are_named_with_both_sizes() -> None:
    mixed = replace(SD1, embedders=SD2.text)
    with pytest.raises(CheckpointError, match=r"1024(.|\n)*768"):
        c.check_parts_fit(mixed, "folder")
    mixed = replace(SD1, autoencoder=replace(SD1.autoencoder, latent_channels=16))
    with pytest.raises(CheckpointError, match=r"16(.|\n)*4"):
        c.check_parts_fit(mixed, "folder")


@pytest.mark.parametrize(
    "changes",
    [
        {"addition_embed_type": "text"},
        {"projection_class_embeddings_input_dim": None},
        {"projection_class_embeddings_input_dim": 0},
    ],
)
def test_vectors_of_other_kinds(changes: dict[str, Any]) -> None:
    refused(c.unet_from_json, c.unet_to_json(SDXL.unet, 128, SDXL.embedders[2]), **changes)


def test_a_vector_that_the_network_does_not_take() -> None:
    mixed = replace(SDXL, unet=replace(SDXL.unet, vector_dim=5))
    with pytest.raises(CheckpointError, match="takes a vector of 5 numbers"):
        c.check_parts_fit(mixed, "folder")


# As published, in unet/config.json of each: the fields that differ from the usual ones.
_XL = {
    **_PUBLISHED_SD2,
    "addition_embed_type": "text_time",
    "addition_embed_type_num_heads": 64,
    "addition_time_embed_dim": 256,
    "attention_head_dim": [5, 10, 20],
    "block_out_channels": [320, 640, 1280],
    "cross_attention_dim": 2048,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "projection_class_embeddings_input_dim": 2816,
    "sample_size": 128,
    "transformer_layers_per_block": [1, 2, 10],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
}
_TINY_LEVELS = {
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3,
    "layers_per_block": 1,
    "mid_block_type": None,
    "up_block_types": ["CrossAttnUpBlock2D"] * 3,
}
_PUBLISHED: list[tuple[ModelConfig, dict[str, Any]]] = [
    (configs.SD1_INPAINTING, {**_PUBLISHED_SD1, "in_channels": 9}),
    (configs.INSTRUCT_PIX2PIX, {**_PUBLISHED_SD1, "in_channels": 8}),
    (configs.LCM, {**_PUBLISHED_SD1, "time_cond_proj_dim": 256}),
    (configs.BK_SDM_BASE, {**_PUBLISHED_SD1, "layers_per_block": 1}),
    (configs.BK_SDM_SMALL, {**_PUBLISHED_SD1, "layers_per_block": 1, "mid_block_type": None}),
    (configs.BK_SDM_TINY, {**_PUBLISHED_SD1, **_TINY_LEVELS}),
    (
        configs.BK_SDM_2_TINY,
        {**_PUBLISHED_SD2, **_TINY_LEVELS, "attention_head_dim": [5, 10, 20]},
    ),
    (configs.SD2_DEPTH, {**_PUBLISHED_SD2, "in_channels": 5}),
    (
        configs.X4_UPSCALER,
        {
            **_PUBLISHED_SD2,
            "attention_head_dim": 8,
            "block_out_channels": [256, 512, 512, 1024],
            "down_block_types": ["DownBlock2D"] + ["CrossAttnDownBlock2D"] * 3,
            "in_channels": 7,
            "num_class_embeds": 1000,
            "only_cross_attention": [True, True, True, False],
            "up_block_types": ["CrossAttnUpBlock2D"] * 3 + ["UpBlock2D"],
        },
    ),
    (configs.SDXL, _XL),
    (
        configs.SDXL_REFINER,
        {
            **_XL,
            "attention_head_dim": [6, 12, 24, 24],
            "block_out_channels": [384, 768, 1536, 1536],
            "cross_attention_dim": 1280,
            "down_block_types": [
                "DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D",
            ],
            "projection_class_embeddings_input_dim": 2560,
            "transformer_layers_per_block": 4,
            "up_block_types": [
                "UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D",
            ],
        },
    ),
    (
        configs.SSD_1B,
        {
            **_XL,
            "mid_block_type": "UNetMidBlock2D",
            "reverse_transformer_layers_per_block": [[4, 4, 10], [2, 1, 1], 1],
            "transformer_layers_per_block": [1, [2, 2], [4, 4]],
        },
    ),
    (
        configs.VEGA,
        {
            **_XL,
            "mid_block_type": "UNetMidBlock2D",
            "reverse_transformer_layers_per_block": [[2, 2, 2], [1, 1, 1], 1],
            "transformer_layers_per_block": [1, [1, 1], [2, 2]],
        },
    ),
    (
        configs.KOALA_700M,
        {
            **_XL,
            "layers_per_block": 1,
            "mid_block_type": None,
            "transformer_layers_per_block": [0, 2, 5],
        },
    ),
    (
        configs.KOALA_1B,
        {**_XL, "layers_per_block": [1, 1, 1], "transformer_layers_per_block": [1, 2, 6]},
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "data"), _PUBLISHED, ids=lambda value: getattr(value, "name", "")
)
def test_the_networks_of_every_family(config: ModelConfig, data: dict[str, Any]) -> None:
    unet, _ = c.unet_from_json(data, "")
    assert unet == config.unet


def test_a_middle_of_null_is_none_at_all() -> None:
    """An absent field is diffusers' default, and a null is not."""
    assert c.unet_from_json(_PUBLISHED_SD1, "")[0].middle == 2
    assert c.unet_from_json({**_PUBLISHED_SD1, "mid_block_type": None}, "")[0].middle == 0
    small = {**_PUBLISHED_SD1, "mid_block_type": "UNetMidBlock2D"}
    assert c.unet_from_json(small, "")[0].middle == 1


def test_a_deeper_middle_is_said_with_a_last_level_without_attention() -> None:
    unet, _ = c.unet_from_json({**_PUBLISHED_SD1, "transformer_layers_per_block": [1, 1, 1, 5]}, "")
    assert (unet.depths, unet.mid_depth) == ((1, 1, 1, 0), 5)
    assert c.unet_from_json(c.unet_to_json(unet, 64), "")[0] == unet


def test_zero_terminal_snr_goes_there_and_back() -> None:
    assert not c.schedule_from_json({}, "").zero_snr
    config = c.schedule_from_json({"rescale_betas_zero_snr": True}, "")
    assert config.zero_snr
    assert c.schedule_from_json(c.schedule_to_json(config), "").zero_snr


def test_a_schedule_of_few_steps_is_a_latent_consistency_models() -> None:
    published = {"_class_name": "LCMScheduler", "original_inference_steps": 50}
    schedule = replace(SD1.schedule, spacing="lcm")
    assert c.schedule_from_json(published, "") == schedule
    again = c.schedule_to_json(schedule, "LCMScheduler")
    assert again["_class_name"] == "LCMScheduler"
    assert c.schedule_from_json(again, "") == schedule


@pytest.mark.parametrize(
    ("name", "betas"),
    [
        ("DDIMScheduler", (0.0001, 0.02, "linear")),
        ("UniPCMultistepScheduler", (0.0001, 0.02, "linear")),
        ("HeunDiscreteScheduler", (0.00085, 0.012, "linear")),
        ("TCDScheduler", (0.00085, 0.012, "scaled_linear")),
        (["HeunDiscreteScheduler"], (0.0001, 0.02, "linear")),
    ],
)
def test_betas_that_are_not_said_are_the_classs(name: Any, betas: tuple[Any, ...]) -> None:
    found = c.schedule_from_json({"_class_name": name}, "")
    assert (found.beta_start, found.beta_end, found.kind) == betas


def test_latents_have_the_familys_scale_if_the_file_has_none() -> None:
    data = c.autoencoder_to_json(SDXL.autoencoder, 1024)
    del data["scaling_factor"]
    assert c.autoencoder_from_json(data, "").scaling_factor == 0.18215
    assert c.autoencoder_from_json(data, "", scaling_factor=0.13025) == SDXL.autoencoder


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"in_channels": 9}, "4 latent channels, its UNet takes 9"),
        ({"out_channels": 8}, "returns 8"),
        ({"guidance_dim": 256}, "256 features in its UNet, and 0"),
        ({"classes": 1000}, "1,000 classes, and is told none"),
    ],
    ids=str,
)
def test_a_network_that_is_told_something_else(changes: dict[str, Any], what: str) -> None:
    mixed = replace(SD1, unet=replace(SD1.unet, **changes))
    with pytest.raises(CheckpointError, match=what):
        c.check_parts_fit(mixed, "folder")
