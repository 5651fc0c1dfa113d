"""model_index.json: the parts and pipelines of every family, both ways."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sdwidgets import configs
from sdwidgets.checkpoints import config_json as c
from sdwidgets.checkpoints import model_index as m
from sdwidgets.configs import (
    ClassConfig,
    DepthConfig,
    GuidanceConfig,
    ImageConfig,
    LowResolutionConfig,
    MaskedImageConfig,
    ModelConfig,
    SizesConfig,
)
from sdwidgets.errors import CheckpointError

FAMILIES = {
    name: preset
    for name, preset in vars(configs).items()
    if isinstance(preset, ModelConfig) and preset not in configs.ZOO  # which diffusers has not
}
BY_NAME = pytest.mark.parametrize("name", FAMILIES)


def there(value: Any) -> Any:
    return json.loads(json.dumps(value))


@BY_NAME
def test_what_we_write_names_known_classes_only(name: str) -> None:
    config = FAMILIES[name]
    index = there(m.model_index(config))
    m.check_model_index(index, "")
    unknown = replace(
        config, name="x", guidance_scale=1.5, steps=3, sampler="heun", schedule_name="karras"
    )
    assert m.with_notes(index, "", unknown) == config


@BY_NAME
def test_every_family_goes_there_and_back(name: str) -> None:
    config = FAMILIES[name]
    index = there(m.model_index(config))
    sizes = next((each for each in config.embedders if isinstance(each, SizesConfig)), None)
    unet = there(c.unet_to_json(config.unet, 64, sizes))
    assert c.unet_from_json(unet, "") == (config.unet, 64)
    vae = there(c.autoencoder_to_json(config.autoencoder, 512))
    assert c.autoencoder_from_json(vae, "") == config.autoencoder
    noise = there(c.schedule_to_json(config.schedule, m.scheduler_class(config)))
    assert c.schedule_from_json(noise, "") == config.schedule
    folders = m.text_folders(index)
    assert folders == m.folders_of(config)
    texts = [
        replace(
            c.text_from_json(there(c.text_to_json(text)), "", projected=encoder.endswith("_2")),
            bos=text.bos, eos=text.eos, pad=text.pad,  # the tokenizer's
        )
        for (encoder, _), text in zip(folders, config.text, strict=True)
    ]  # fmt: skip
    small = m.small_image(config)
    low = small and c.low_resolution_from_json(there(c.low_resolution_to_json(small)), "")
    channels = config.autoencoder.latent_channels
    network = (config.unet, unet, "")
    told = m.embedders_from_index(index, "", texts, network, channels, low)
    assert told == config.embedders
    c.check_parts_fit(config, "folder")


@pytest.mark.parametrize(
    ("config", "pipeline"),
    [
        (configs.SD1, "StableDiffusionPipeline"),
        (configs.BK_SDM_TINY, "StableDiffusionPipeline"),
        (configs.LCM, "LatentConsistencyModelPipeline"),
        (configs.SD2_INPAINTING, "StableDiffusionInpaintPipeline"),
        (configs.INSTRUCT_PIX2PIX, "StableDiffusionInstructPix2PixPipeline"),
        (configs.SD2_DEPTH, "StableDiffusionDepth2ImgPipeline"),
        (configs.X4_UPSCALER, "StableDiffusionUpscalePipeline"),
        (configs.SSD_1B, "StableDiffusionXLPipeline"),
        (configs.SDXL_INPAINTING, "StableDiffusionXLInpaintPipeline"),
        (configs.SDXL_REFINER, "StableDiffusionXLImg2ImgPipeline"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_pipeline_that_diffusers_has_for_a_family(config: ModelConfig, pipeline: str) -> None:
    assert m.model_index(config)["_class_name"] == pipeline


def test_xl_is_told_two_texts_and_sizes() -> None:
    index = m.model_index(configs.SDXL)
    assert m.text_folders(index) == m.TEXT_FOLDERS
    assert m.pipeline_of(index).guidance_scale == 5.0
    plain = {"_class_name": index["_class_name"]}
    assert m.with_notes(plain, "", configs.SDXL) == configs.SDXL
    instruct = replace(
        configs.SDXL,
        unet=replace(configs.SDXL.unet, in_channels=8),
        embedders=(*configs.SDXL.embedders, ImageConfig()),
    )
    assert m.model_index(instruct)["_class_name"] == "StableDiffusionXLInstructPix2PixPipeline"


def test_the_refiner_has_the_second_text_encoder_alone() -> None:
    index = m.model_index(configs.SDXL_REFINER)
    assert index["text_encoder"] == index["tokenizer"] == [None, None]
    assert index["requires_aesthetics_score"] and not index["force_zeros_for_empty_prompt"]
    assert m.text_folders(index) == (("text_encoder_2", "tokenizer_2"),)


def told(name: str, unet: Any, **index: Any) -> tuple[Any, ...]:
    config = FAMILIES[name]
    index = {**m.model_index(config), **index}
    data = c.unet_to_json(unet, 64, SizesConfig())
    return m.embedders_from_index(index, "index", config.text, (unet, data, "unet"), 4)


def test_what_the_network_sees_is_told_by_its_channels_and_the_pipeline() -> None:
    def seen(pipeline: str, channels: int) -> list[type]:
        unet = replace(configs.SD1.unet, in_channels=channels)
        return [type(each) for each in told("SD1", unet, _class_name=pipeline)[1:]]

    assert seen("StableDiffusionPipeline", 4) == []
    assert seen("StableDiffusionPipeline", 9) == [MaskedImageConfig]
    # diffusers' pipeline for inpainting also takes a plain network
    assert seen("StableDiffusionInpaintPipeline", 4) == []
    assert seen("StableDiffusionInpaintPipeline", 9) == [MaskedImageConfig]
    assert seen("StableDiffusionInstructPix2PixPipeline", 8) == [ImageConfig]
    assert seen("StableDiffusionDepth2ImgPipeline", 5) == [DepthConfig]
    assert seen("StableDiffusionUpscalePipeline", 7) == [LowResolutionConfig]
    # eight channels may be anything: only the pipeline's name says what they are
    assert seen("StableDiffusionPipeline", 8) == []


def test_a_guidance_scale_is_told_to_every_network_with_a_place_for_it() -> None:
    unet = replace(configs.SDXL.unet, guidance_dim=256)
    assert told("SDXL", unet)[-1] == GuidanceConfig(256)
    assert told("SD1", configs.LCM.unet)[-1] == GuidanceConfig(256)


def test_noise_levels_of_a_small_image() -> None:
    unet = configs.X4_UPSCALER.unet
    *_, small = told("X4_UPSCALER", unet, max_noise_level=20)
    assert small == LowResolutionConfig(most=20)
    *_, small = told("X4_UPSCALER", unet, max_noise_level=5000)
    assert small.most == 999
    with pytest.raises(CheckpointError, match="max_noise_level"):
        told("X4_UPSCALER", unet, max_noise_level="many")
    with pytest.raises(CheckpointError, match="scaled_linear"):
        c.low_resolution_from_json({"_class_name": "DDPMScheduler"}, "low_res_scheduler")


@pytest.mark.parametrize("notes", [[], "x", {"guidance_scale": float("nan")}])
def test_notes_that_are_none(notes: Any) -> None:
    with pytest.raises(CheckpointError):
        m.with_notes({"_sdwidgets": notes}, "", configs.SD1)


@pytest.mark.parametrize(
    "part",
    [
        {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]},
        {"safety_checker": ["diffusers", "SafetyChecker"]},
        {"feature_extractor": ["transformers", "CLIPFeatureExtractor"]},
        {"feature_extractor": ["transformers", "DPTImageProcessor"]},
        {"depth_estimator": ["transformers", "DPTForDepthEstimation"]},
        {"image_encoder": ["transformers", "CLIPVisionModelWithProjection"]},
        {"watermarker": [None, None]},
        {"scheduler": ["diffusers", "LCMScheduler"]},
        {"scheduler": ["diffusers", "TCDScheduler"]},
        {"scheduler": ["diffusers", "DPMSolverSDEScheduler"]},
        {"tokenizer": ["transformers", "CLIPTokenizerFast"]},
    ],
    ids=str,
)
def test_parts_of_published_folders(part: dict[str, Any]) -> None:
    index = there(m.model_index(configs.SD1))
    for each in ("safety_checker", "feature_extractor", "image_encoder"):
        del index[each]  # as in old ones
    m.check_model_index(index, "")
    m.check_model_index(index | part, "")


@pytest.mark.parametrize(
    "part",
    [
        {"unet": ["my_unet", "UNet2DConditionModel"]},
        {"unet": ["diffusers_modules.local.my_unet", "UNet2DConditionModel"]},
        {"safety_checker": ["my_checker", "Checker"]},
        {"scheduler": ["scheduling_x", "DDIMScheduler"]},
        {"adapter": ["diffusers", "T2IAdapter"]},
        {"low_res_scheduler": ["diffusers", "DDPMScheduler"]},
        {"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]},
        {"unet": ["diffusers", "UNet2DModel"]},
        {"vae": ["diffusers", "AutoencoderTiny"]},
        {"feature_extractor": [["transformers"], "x"]},
        {"unet": []},
    ],
    ids=str,
)
def test_code_and_classes_that_are_not_known(part: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="not on the list of known classes"):
        m.check_model_index(m.model_index(configs.SD1) | part, "model_index.json")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"scheduler": ["diffusers", "EDMDPMSolverMultistepScheduler"]}, "Playground"),
        ({"scheduler": ["diffusers", "EDMEulerScheduler"]}, "EDMEulerScheduler"),
        ({"scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"]}, "flow"),
        ({"is_cosxl_edit": True}, "CosXL"),
        ({"_class_name": ["my_pipeline", "MyPipeline"]}, "Python code of its own"),
        ({"_class_name": "StableDiffusion3Pipeline"}, "not known"),
        ({"text_encoder_2": [None, None]}, "lacks text_encoder_2"),
        ({"tokenizer": [None, None]}, "lacks tokenizer"),
        ({"tokenizer_2": None}, "lacks tokenizer_2"),
    ],
    ids=str,
)
def test_models_that_are_not_run_are_named(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(CheckpointError, match=what):
        m.check_model_index(m.model_index(configs.SDXL) | changes, "model_index.json")


@pytest.mark.parametrize(
    "changes",
    [
        {"embedders": (*configs.SD1.embedders, ClassConfig(("cat",), 768))},
        {"embedders": (replace(configs.SD1.text[0], skip=1),)},
        {"embedders": (*configs.SD1.embedders, MaskedImageConfig(), DepthConfig())},
        {"embedders": (MaskedImageConfig(), *configs.SD1.embedders)},
        {"embedders": (*configs.SD1.embedders, *configs.SD1.embedders)},
        {"embedders": ()},
        {"unet": replace(configs.TINY.unet, middle_depth=3)},
    ],
    ids=str,
)
def test_models_without_a_pipeline(changes: dict[str, Any]) -> None:
    assert m.pipeline_for(replace(configs.SD1, **changes)) is None
