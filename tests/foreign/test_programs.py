"""Settings that other programs wrote into images, program by program."""

from __future__ import annotations

import json
from typing import Any

import pytest
from foreign_images import A1111, comfyui, exif_image, graph, late_png, node, png, stealth_png

import sdwidgets as sdw
from sdwidgets.foreign import FoundSettings, read
from sdwidgets.settings import Settings


def found(data: bytes) -> FoundSettings:
    settings = sdw.read_settings(data)
    assert isinstance(settings, FoundSettings)
    return settings


# ------------------------------------------------------------------------------------ AUTOMATIC1111


def test_a1111_gives_its_settings():
    settings = found(png(parameters=A1111))
    assert settings.program == "AUTOMATIC1111" and settings.model == "anything-v3"
    assert settings.prompt == "a (cat:1.2) in a hat ,\nphoto"
    assert settings.negative_prompt == "a dog, bad,\nblurry"
    assert (settings.steps, settings.seed, settings.guidance_scale) == (30, 123, 7.5)
    assert (settings.width, settings.height) == (512, 768)
    assert (settings.sampler, settings.schedule) == ("dpmpp_2m", "karras")
    assert settings.weights == "mean"


def test_clip_skip_is_counted_from_the_last_layer():
    text = A1111.replace("Version", "Clip skip: 2, Version")
    assert found(png(parameters=text)).clip_skip == 1
    assert found(comfyui()).clip_skip == 1


def test_a1111_lists_what_has_no_setting():
    left_out = found(png(parameters=A1111)).left_out
    assert left_out["LoRA detail"] == "0.8"
    assert left_out["Lora hashes"] == "detail: 12ab, other: 34cd"
    assert left_out["Version"] == "v1.6.0"


@pytest.mark.parametrize("code", ["utf-16-be", "utf-16-le"])
@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_the_comment_of_other_formats_is_read(format, code):
    comment = b"UNICODE\0" + A1111.encode(code)
    assert found(exif_image(format, comment)).seed == 123


def test_a_comment_in_ascii_is_read():
    assert found(exif_image("JPEG", b"ASCII\0\0\0" + A1111.encode())).steps == 30


def test_a_text_after_the_pixels_is_read():
    assert found(late_png("parameters", A1111)).seed == 123


@pytest.mark.parametrize("packed", [True, False])
def test_a_text_in_the_transparency_is_read(packed):
    assert found(stealth_png(A1111, packed=packed)).seed == 123


def test_a_negative_prompt_is_not_needed():
    text = (
        "a cat\nSteps: 4, CFG scale: 1.0, Seed: 42, Size: 512x512, Model: m.gguf, RNG: cuda, "
        "Sampler: euler_a, Version: stable-diffusion.cpp"
    )
    settings = found(png(parameters=text))
    assert settings.program == "stable-diffusion.cpp"
    assert (settings.prompt, settings.negative_prompt) == ("a cat", "")
    assert settings.sampler == "euler_ancestral"
    assert settings.left_out["RNG"] == "cuda"


def test_the_strength_of_a_start_image_is_taken_and_of_a_second_pass_is_listed():
    line = "Steps: 20, Sampler: Euler, Seed: 1, Denoising strength: 0.4, Image CFG scale: 1.2"
    assert found(png(parameters=f"a cat\n{line}")).image_guidance_scale == 1.2
    assert found(png(parameters=f"a cat\n{line}")).strength == 0.4
    assert read(png(parameters=f"a cat\n{line}")).task == "image to image"
    second = found(png(parameters=f"a cat\n{line}, Hires upscale: 2"))
    assert second.strength == Settings.strength
    assert second.left_out["Denoising strength"] == "0.4"


def test_brackets_in_a_value_are_no_commas():
    line = 'Steps: 20, Seed: 5, Civitai resources: [{"type":"lora","weight":1}], Size: 64x64'
    settings = found(png(parameters=f"a cat\n{line}"))
    assert settings.left_out["Civitai resources"] == '[{"type":"lora","weight":1}]'
    assert settings.width == 64


def test_a_bracket_that_is_never_closed_ends_at_the_next_comma():
    settings = found(png(parameters='a cat\nSteps: 20, Note: "open, Seed: 9'))
    assert settings.seed == 9


def test_values_that_no_run_takes_are_listed():
    settings = found(png(parameters="x\nSteps: 99999, Seed: -1, CFG scale: x, Sampler: Magic"))
    assert settings.steps == Settings.steps and settings.seed is None
    assert settings.left_out["steps"] == "99999"
    assert settings.left_out["seed"] == "-1"
    assert settings.left_out["guidance scale"] == "x"
    assert settings.left_out["sampler"] == "Magic"


# ------------------------------------------------------------------------------------------ ComfyUI


def test_comfyui_gives_the_settings_of_its_sampler():
    settings = found(comfyui())
    assert settings.program == "ComfyUI" and settings.model == "v1-5.safetensors"
    assert (settings.prompt, settings.negative_prompt) == ("a cat", "a dog")
    assert (settings.seed, settings.steps, settings.guidance_scale) == (7, 25, 6.5)
    assert (settings.width, settings.height, settings.batch_size) == (512, 640, 2)
    assert (settings.sampler, settings.schedule) == ("euler_ancestral", "karras")
    assert settings.left_out["LoRA detail.safetensors"] == "0.7"


def test_comfyui_texts_and_seeds_may_come_from_other_nodes():
    settings = found(
        comfyui(
            **{
                "6": node("CLIPTextEncode", text=["20", 0], clip=["10", 0]),
                "20": node("String Literal", string="a bird"),
                "7": node("ConditioningZeroOut", conditioning=["6", 0]),
                "3": {**graph()["3"], "inputs": {**graph()["3"]["inputs"], "seed": ["21", 0]}},
                "21": node("Seed (rgthree)", seed=99),
            }
        )
    )
    assert (settings.prompt, settings.negative_prompt, settings.seed) == ("a bird", "", 99)


def test_comfyui_nodes_between_prompt_and_sampler_are_listed():
    between = node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], strength=1)
    sampler = {
        **graph()["3"],
        "inputs": {**graph()["3"]["inputs"], "positive": ["20", 0], "negative": ["20", 1]},
    }
    settings = found(comfyui(**{"20": between, "3": sampler}))
    assert (settings.prompt, settings.negative_prompt) == ("a cat", "a dog")
    assert settings.left_out["node ControlNetApplyAdvanced"] == "passed over"


def test_comfyui_first_pass_counts_when_a_second_follows():
    second = node(
        "KSampler", seed=8, steps=10, cfg=6.5, sampler_name="euler", scheduler="normal",
        denoise=0.5, model=["4", 0], positive=["6", 0], negative=["7", 0], latent_image=["21", 0],
    )  # fmt: skip
    settings = found(
        comfyui(
            **{
                "20": second,
                "21": node("LatentUpscale", samples=["3", 0], width=1024, height=1024),
                "8": node("VAEDecode", samples=["20", 0], vae=["4", 2]),
            }
        )
    )
    assert (settings.seed, settings.steps, settings.width) == (7, 25, 512)
    assert settings.left_out["second pass"] == "KSampler"


def test_comfyui_custom_samplers_are_read():
    parts = {
        "3": node(
            "SamplerCustomAdvanced", noise=["30", 0], guider=["31", 0], sampler=["32", 0],
            sigmas=["33", 0], latent_image=["5", 0],
        ),
        "30": node("RandomNoise", noise_seed=11),
        "31": node("CFGGuider", model=["9", 0], positive=["6", 0], negative=["7", 0], cfg=4),
        "32": node("KSamplerSelect", sampler_name="heun"),
        "33": node("BasicScheduler", scheduler="normal", steps=12, denoise=1, model=["9", 0]),
    }  # fmt: skip
    settings = found(comfyui(**parts))
    assert (settings.seed, settings.steps, settings.guidance_scale) == (11, 12, 4)
    assert (settings.sampler, settings.schedule, settings.prompt) == ("heun", "uniform", "a cat")
    assert settings.model == "v1-5.safetensors"


def test_comfyui_image_to_image_is_told():
    latents = {"5": node("VAEEncode", pixels=["40", 0], vae=["4", 2])}
    image = {"40": node("LoadImage", image="x.png")}
    sampler = {**graph()["3"], "inputs": {**graph()["3"]["inputs"], "denoise": 0.6}}
    data = comfyui(**latents, **image, **{"3": sampler})
    assert found(data).strength == 0.6
    assert read(data).given == ["image"]


def test_comfyui_sizes_of_xl_are_taken():
    text = node(
        "CLIPTextEncodeSDXL", text_g="a cat", text_l="a cat", width=1024, height=768, crop_w=8,
        crop_h=0, target_width=1024, target_height=768, clip=["10", 0],
    )  # fmt: skip
    settings = found(comfyui(**{"6": text}))
    assert settings.original_size == (1024, 768) and settings.crop == (8, 0)


def test_comfyui_drawn_graph_alone_is_read():
    workflow = {
        "nodes": [
            _drawn(3, "KSampler", [5, "fixed", 20, 8, "euler", "normal", 1],
                   model=1, positive=2, negative=3, latent_image=4),
            _drawn(4, "CheckpointLoaderSimple", ["v1-5.ckpt"]),
            _drawn(6, "CLIPTextEncode", ["a fish"], clip=5),
            _drawn(7, "CLIPTextEncode", ["a net"], clip=6),
            _drawn(5, "EmptyLatentImage", [256, 320, 1]),
        ],
        "links": [
            [1, 4, 0, 3, 0, "MODEL"], [2, 6, 0, 3, 1, "CONDITIONING"],
            [3, 7, 0, 3, 2, "CONDITIONING"], [4, 5, 0, 3, 3, "LATENT"],
            [5, 4, 1, 6, 0, "CLIP"], [6, 4, 1, 7, 0, "CLIP"],
        ],
    }  # fmt: skip
    settings = found(png(workflow=json.dumps(workflow)))
    assert (settings.prompt, settings.negative_prompt) == ("a fish", "a net")
    assert (settings.seed, settings.steps, settings.height) == (5, 20, 320)


def _drawn(number: int, kind: str, values: list[Any], **links: int) -> dict[str, Any]:
    inputs = [{"name": name, "link": link} for name, link in links.items()]
    return {"id": number, "type": kind, "widgets_values": values, "inputs": inputs}


def test_comfyui_composed_latents_and_old_names_of_samplers_are_followed():
    composed = node("LatentComposite", samples_to=["5", 0], samples_from=["5", 0], x=0, y=0)
    inputs = {**graph()["3"]["inputs"], "latent_image": ["20", 0], "sampler_name": "sample_heun"}
    settings = found(comfyui(**{"20": composed, "3": {**graph()["3"], "inputs": inputs}}))
    assert (settings.width, settings.sampler) == (512, "heun")


def test_comfyui_writes_nan():
    assert found(png(prompt=json.dumps(graph(x={"is_changed": [float("nan")]})))).seed == 7


def test_comfyui_in_webp_is_read():
    assert found(exif_image("WEBP", Model="prompt:" + json.dumps(graph()))).seed == 7


def test_comfyui_seeds_beyond_32_bits_are_listed():
    sampler = {**graph()["3"], "inputs": {**graph()["3"]["inputs"], "seed": 2**40}}
    settings = found(comfyui(**{"3": sampler}))
    assert settings.seed is None and settings.left_out["seed"] == str(2**40)


@pytest.mark.parametrize(
    "changes",
    [
        {"6": node("CLIPTextEncode", text=["6", 0])},
        {"6": node("A", positive=["7", 0]), "7": node("B", positive=["6", 0])},
        {"5": node("C", samples=["5", 0])},
        {"9": node("D", model=["9", 0])},
        {"3": node("KSampler", positive=["6", 0], latent_image=["3", 0])},
    ],
)
def test_comfyui_loops_end(changes):
    assert found(comfyui(**changes)).program == "ComfyUI"


# ----------------------------------------------------------------------------------------- InvokeAI


def test_invokeai_first_generation_is_a_command():
    line = (
        '"a cat [a dog] in a \\"hat\\"" -s 50 -S7 -W 512 -H768 -C7.5 -A k_euler_a -I x.png -f 0.4'
    )
    settings = found(png(Dream=line))
    assert settings.prompt == 'a cat in a "hat"' and settings.negative_prompt == "a dog"
    assert (settings.steps, settings.seed, settings.guidance_scale) == (50, 7, 7.5)
    assert (settings.width, settings.height) == (512, 768)
    assert (settings.sampler, settings.strength) == ("euler_ancestral", 0.4)
    assert read(png(Dream=line)).given == ["image"]


def test_invokeai_second_generation():
    said = {
        "model": "stable diffusion", "model_weights": "stable-diffusion-1.5", "app_version": "2.2",
        "image": {
            "prompt": [{"prompt": "a cat [a dog]", "weight": 1.0}], "steps": 30, "cfg_scale": 7,
            "height": 512, "width": 640, "seed": 3, "type": "txt2img", "sampler": "k_heun",
            "threshold": 0,
        },
    }  # fmt: skip
    settings = found(png(sd__metadata=json.dumps(said)))
    assert settings.model == "stable-diffusion-1.5"
    assert (settings.prompt, settings.negative_prompt) == ("a cat", "a dog")
    assert (settings.steps, settings.width, settings.sampler) == (30, 640, "heun")
    assert settings.left_out["app_version"] == "2.2"


def test_invokeai_third_generation():
    said = {
        "generation_mode": "sdxl_img2img", "positive_prompt": "a cat", "negative_prompt": "a dog",
        "width": 1024, "height": 768, "seed": 12, "cfg_scale": 5.5, "steps": 22, "strength": 0.3,
        "cfg_rescale_multiplier": 0.2, "scheduler": "dpmpp_2m_k",
        "model": {"name": "SDXL base", "base": "sdxl"},
        "loras": [{"model": {"name": "detail"}, "weight": 0.75}],
    }  # fmt: skip
    settings = found(png(invokeai_metadata=json.dumps(said)))
    assert settings.model == "SDXL base" and settings.strength == 0.3
    assert (settings.prompt, settings.seed, settings.guidance_rescale) == ("a cat", 12, 0.2)
    assert (settings.sampler, settings.schedule) == ("dpmpp_2m", "karras")
    assert settings.left_out["LoRA detail"] == "0.75"


# ------------------------------------------------------------------------------ NovelAI, Fooocus


def test_novelai():
    said = {
        "steps": 28, "sampler": "k_euler_ancestral", "seed": 5, "scale": 11.0, "uc": "lowres",
        "width": 512, "height": 768, "noise_schedule": "karras", "sm": False, "ucPreset": 1,
    }  # fmt: skip
    texts = {"Software": "NovelAI", "Source": "Stable Diffusion X", "Description": "{a cat}"}
    settings = found(png(Comment=json.dumps(said), **texts))
    assert (settings.prompt, settings.negative_prompt) == ("{a cat}", "lowres")
    assert (settings.seed, settings.guidance_scale) == (5, 11)
    assert (settings.sampler, settings.schedule) == ("euler_ancestral", "karras")
    assert "weights" in settings.left_out and settings.left_out["ucPreset"] == "1"
    hidden = stealth_png(json.dumps({**texts, "Comment": json.dumps(said)}), packed=True)
    assert found(hidden) == settings


def test_fooocus():
    said = {
        "base_model": "juggernautXL", "prompt": "a cat", "negative_prompt": "a dog", "steps": 30,
        "seed": "123", "guidance_scale": 4, "resolution": "(1152, 896)", "sharpness": 2,
        "sampler": "dpmpp_2m", "scheduler": "karras", "performance": "Speed",
        "loras": [["offset.safetensors", 0.1, "hash"]], "styles": "['Fooocus V2']",
    }  # fmt: skip
    for data in (
        png(parameters=json.dumps(said), fooocus_scheme="fooocus"),
        exif_image("JPEG", b"ASCII\0\0\0" + json.dumps(said).encode()),
    ):
        settings = found(data)
        assert settings.program == "Fooocus" and settings.model == "juggernautXL"
        assert (settings.seed, settings.width, settings.height) == (123, 1152, 896)
        assert settings.left_out["LoRA offset.safetensors"] == "0.1"
        assert settings.left_out["styles"] == "['Fooocus V2']"
