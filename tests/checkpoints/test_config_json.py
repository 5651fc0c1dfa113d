"""Configs in diffusers' format: both ways, and within bounds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sdwidgets.checkpoints import config_json as c
from sdwidgets.configs import EMOJI, FIRST_STAGES, SD1, SD2, SDXL, TINY, ModelConfig
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


@CONFIGS
def test_what_we_write_names_known_classes_only(config: ModelConfig) -> None:
    index = c.model_index(config)
    c.check_model_index(index, "")
    assert c.notes_from_index(index, "", "x") == (config.name, config.guidance_scale)


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
        {"transformer_layers_per_block": [1, 1, 1, 5]},
        {"down_block_types": ["AttnDownBlock2D"] * 4},
        {"down_block_types": ["os.system"] * 4},
        {"down_block_types": [["CrossAttnDownBlock2D"]] * 4},
        {"up_block_types": ["UpBlock2D"] * 4},
        {"act_fn": "gelu"},
        {"class_embed_type": "timestep"},
        {"flip_sin_to_cos": False},
        {"time_cond_proj_dim": 256},
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
        {"rescale_betas_zero_snr": True},
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


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace", "karras"])
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
    ],
)
def test_a_grid_that_is_not_said_is_the_classs(given: dict[str, Any], spacing: str) -> None:
    config = c.schedule_from_json(given, "")
    assert (config.spacing, config.offset) == (spacing, 1)


@pytest.mark.parametrize("notes", [[], "x", {"guidance_scale": float("nan")}])
def test_notes_that_are_none(notes: Any) -> None:
    with pytest.raises(CheckpointError):
        c.notes_from_index({"_sdwidgets": notes}, "", "name")


def test_parts_of_two_models_are_named_with_both_sizes() -> None:
    mixed = replace(SD1, embedders=SD2.text)
    with pytest.raises(CheckpointError, match=r"1024(.|\n)*768"):
        c.check_parts_fit(mixed, "folder")
    mixed = replace(SD1, autoencoder=replace(SD1.autoencoder, latent_channels=16))
    with pytest.raises(CheckpointError, match=r"16(.|\n)*4"):
        c.check_parts_fit(mixed, "folder")


def test_xl_goes_there_and_back() -> None:
    index = json.loads(json.dumps(c.model_index(SDXL)))
    c.check_model_index(index, "")
    assert c.is_xl(index)
    assert c.notes_from_index({"_class_name": index["_class_name"]}, "", "x") == ("x", 5.0)
    unet = json.loads(json.dumps(c.unet_to_json(SDXL.unet, 128, SDXL.embedders[2])))
    assert c.unet_from_json(unet, "") == (SDXL.unet, 128)
    texts = tuple(
        replace(
            c.text_from_json(c.text_to_json(text), "", projected=bool(text.projection_dim)),
            pad=text.pad,
        )
        for text in SDXL.text
    )
    assert c.xl_embedders(texts, c.sizes_from_json(unet, ""), index, "") == SDXL.embedders
    c.check_parts_fit(SDXL, "folder")


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


def test_an_inpainting_network_is_named() -> None:
    mixed = replace(SD1, unet=replace(SD1.unet, in_channels=9))
    with pytest.raises(CheckpointError, match="9 input channels"):
        c.check_parts_fit(mixed, "folder")
