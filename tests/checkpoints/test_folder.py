"""What real model folders say that is wrong, or means nothing, or is written in another way."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import SMALL, edit_json, write_folder

from sdwidgets import configs
from sdwidgets.checkpoints import config_json, load_model, model_index
from sdwidgets.checkpoints.few_steps import is_turbo
from sdwidgets.checkpoints.folder import _about_size, weight_files
from sdwidgets.checkpoints.weights import WeightFile
from sdwidgets.configs import ModelConfig
from sdwidgets.errors import CheckpointError

pytestmark = pytest.mark.filterwarnings("error::UserWarning")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("template") / "model")


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "model"))


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("text_encoder/config.json", {"torch_dtype": "float16", "dtype": "float16"}),
        ("text_encoder/config.json", {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}),
        ("text_encoder/config.json", {"_name_or_path": "/home/user/x", "dropout": 0.0}),
        ("unet/config.json", {"upcast_attention": True, "dropout": 0.1}),
        ("unet/config.json", {"mid_block_only_cross_attention": None, "num_class_embeds": None}),
        ("vae/config.json", {"force_upcast": True, "_name_or_path": "x"}),
        ("scheduler/scheduler_config.json", {"skip_prk_steps": True, "solver_order": 2}),
        ("model_index.json", {"safety_checker": None, "requires_safety_checker": None}),
        ("model_index.json", {"_diffusers_version": "0.2.2", "_name_or_path": "x"}),
    ],
    ids=str,
)
def test_fields_that_change_nothing(folder: Path, file: str, changes: dict[str, Any]) -> None:
    edit_json(folder / file, **changes)
    model = load_model(folder, device="cpu")
    assert model.config == SMALL
    assert next(model.unet.parameters()).dtype is torch.float32


def test_an_old_index_without_a_safety_checker(folder: Path) -> None:
    path = folder / "model_index.json"
    index = json.loads(path.read_text())
    old = {name: value for name, value in index.items() if value != [None, None]}
    assert len(old) < len(index)
    path.write_text(
        json.dumps(old | {"feature_extractor": ["transformers", "CLIPFeatureExtractor"]})
    )
    assert load_model(folder, device="cpu").config == SMALL


def test_an_old_scheduler_predicts_eps_on_a_leading_grid(folder: Path) -> None:
    path = folder / "scheduler" / "scheduler_config.json"
    old = {
        "_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "skip_prk_steps": True,
    }  # fmt: skip
    path.write_text(json.dumps(old))
    schedule = load_model(folder, device="cpu").config.schedule
    assert (schedule.prediction, schedule.spacing, schedule.zero_snr) == ("eps", "leading", False)


def test_zero_terminal_snr_is_honoured(folder: Path) -> None:
    noise = folder / "scheduler" / "scheduler_config.json"
    edit_json(noise, rescale_betas_zero_snr=True, prediction_type="v_prediction")
    assert load_model(folder, device="cpu").config.schedule.zero_snr


@pytest.mark.parametrize(
    ("index", "weights"),
    [
        ("{stem}.safetensors.index.fp16.json", "{stem}.fp16-00001-of-00001.safetensors"),
        ("{stem}.safetensors.index.fp16.json", "{stem}-00001-of-00001.fp16.safetensors"),
        ("{stem}.safetensors.index.bf16.json", "{stem}.bf16-00001-of-00001.safetensors"),
        ("", "{stem}.bf16.safetensors"),
        ("", "{stem}.fp16.safetensors"),
    ],
)
def test_weights_of_one_precision_only(folder: Path, index: str, weights: str) -> None:
    part = folder / "unet"
    (whole,) = part.glob("*.safetensors")
    with WeightFile(whole) as file:
        names = list(file.entries)
    new = weights.format(stem=whole.stem)
    whole.rename(part / new)
    if index:
        content = {"weight_map": dict.fromkeys(names, new)}
        (part / index.format(stem=whole.stem)).write_text(json.dumps(content))
    assert load_model(folder, device="cpu").config == SMALL


def test_full_precision_comes_first(folder: Path) -> None:
    (whole,) = (folder / "unet").glob("*.safetensors")
    shutil.copy(whole, whole.with_name(f"{whole.stem}.fp16.safetensors"))
    shutil.copy(whole, whole.with_name(f"{whole.stem}.non_ema.safetensors"))
    with ExitStack() as stack:
        (found,) = weight_files(folder / "unet", whole.stem, stack)
        assert found.path == whole


def test_a_published_network_of_small_images_has_a_notice() -> None:
    """Such a folder exists for a model of 512 pixels."""
    (notice,) = _about_size(replace(configs.SD1, size=256))
    assert "256 x 256" in notice and "512 x 512" in notice
    assert _about_size(configs.SD1) == ()
    assert _about_size(replace(configs.SDXL, size=512)) == ()  # as XL Turbo
    assert _about_size(replace(SMALL, size=16)) == ()


def test_turbo_models_make_images_without_guidance() -> None:
    for config in (configs.SD_TURBO, configs.SDXL):
        turbo = replace(config, size=512, schedule=replace(config.schedule, spacing="trailing"))
        assert is_turbo(turbo)
        assert not is_turbo(replace(turbo, size=768))
        assert not is_turbo(replace(turbo, schedule=replace(turbo.schedule, zero_snr=True)))
        assert not is_turbo(replace(turbo, schedule=config.schedule))
    assert not is_turbo(configs.SD1) and not is_turbo(SMALL)
    index = {"_class_name": "StableDiffusionXLPipeline"}
    assert model_index.with_notes(index, "", configs.SD_TURBO) == configs.SD_TURBO
    own = index | {"_sdwidgets": {"guidance_scale": 3.0}}
    expected = replace(configs.SD_TURBO, guidance_scale=3.0)
    assert model_index.with_notes(own, "", configs.SD_TURBO) == expected


def test_a_controlnet_in_the_folder_is_left_out_and_said(folder: Path) -> None:
    path = folder / "model_index.json"
    edit_json(path, controlnet=["diffusers", "ControlNetModel"])
    with pytest.raises(CheckpointError, match="not on the list"):
        load_model(folder, device="cpu")
    edit_json(path, _class_name="StableDiffusionControlNetImg2ImgPipeline")
    with pytest.warns(UserWarning, match="its ControlNet was left out"):
        assert load_model(folder, device="cpu").config == SMALL


def test_the_latents_of_xl_have_its_scale_without_being_told() -> None:
    for config in (configs.SDXL, configs.SDXL_REFINER, configs.X4_UPSCALER, configs.SD2):
        pipeline = model_index.pipeline_of(model_index.model_index(config))
        assert pipeline.scaling_factor == config.autoencoder.scaling_factor


def inpainting() -> ModelConfig:
    seen = configs.MaskedImageConfig()
    return replace(
        SMALL,
        unet=replace(SMALL.unet, in_channels=9),
        embedders=(*SMALL.embedders, seen),
    )


def test_nine_channels_are_an_inpainting_model(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", inpainting())
    assert load_model(folder, device="cpu").config == inpainting()
    index = json.loads((folder / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionInpaintPipeline"
    edit_json(folder / "model_index.json", _class_name="StableDiffusionPipeline")
    assert load_model(folder, device="cpu").config == inpainting()


def test_a_network_that_the_pipeline_does_not_tell_enough(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", inpainting())
    pipeline = "StableDiffusionInstructPix2PixPipeline"
    edit_json(folder / "model_index.json", _class_name=pipeline)
    with pytest.raises(CheckpointError, match=r"4 latent channels and 4 beside them.* takes 9"):
        load_model(folder, device="cpu")


def test_the_small_images_noise_is_read_from_its_scheduler(tmp_path: Path) -> None:
    small = configs.LowResolutionConfig(levels=500, beta_end=0.03, most=20)
    unet = replace(SMALL.unet, in_channels=7, classes=30, cross_only=(True, False))
    config = replace(SMALL, unet=unet, embedders=(*SMALL.embedders, small))
    folder = write_folder(tmp_path / "model", config)
    noise = folder / "low_res_scheduler" / "scheduler_config.json"
    noise.parent.mkdir()
    noise.write_text(json.dumps(config_json.low_resolution_to_json(small)))
    assert load_model(folder, device="cpu").config == config
    noise.unlink()  # then it is Stable Diffusion's
    usual = configs.LowResolutionConfig(most=20)
    assert load_model(folder, device="cpu").config.embedders[-1] == usual
    edit_json(folder / "model_index.json", max_noise_level=30)
    with pytest.raises(CheckpointError, match="30 classes, and is told noise levels up to 30"):
        load_model(folder, device="cpu")
