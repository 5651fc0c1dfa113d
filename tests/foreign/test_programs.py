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


def test_the_strength_of_a_start_image_and_that_of_a_second_pass_are_told_apart():
    line = "Steps: 20, Sampler: Euler, Seed: 1, Denoising strength: 0.4, Image CFG scale: 1.2"
    assert found(png(parameters=f"a cat\n{line}")).image_guidance_scale == 1.2
    assert found(png(parameters=f"a cat\n{line}")).strength == 0.4
    assert read(png(parameters=f"a cat\n{line}")).task == "image to image"
    second = found(png(parameters=f"a cat\n{line}, Hires upscale: 2"))
    assert second.strength == Settings.strength
    assert (second.hires, second.hires_strength, second.hires_steps) == (2, 0.4, 50)
    assert "Denoising strength" not in second.left_out
    beyond = found(png(parameters=f"a cat\n{line}, Hires upscale: 8"))
    assert beyond.hires is None and beyond.strength == Settings.strength
    assert beyond.left_out["Denoising strength"] == "0.4"


def test_a1111_second_passes_and_variations_are_settings():
    line = "Steps: 20, Sampler: Euler, Seed: 1, Size: 512x768, Denoising strength: 0.5"
    more = ", Hires upscale: 1.5, Hires steps: 8, Hires upscaler: R-ESRGAN 4x+"
    settings = found(png(parameters=f"a cat\n{line}{more}"))
    assert (settings.width, settings.height, settings.hires) == (512, 768, 1.5)
    assert (settings.hires_strength, settings.hires_steps) == (0.5, 16)  # 8 of them are made
    assert settings.hires_method == "pixels"
    assert settings.left_out["Hires upscaler"] == "R-ESRGAN 4x+"
    latent = ", Hires resize: 1024x0, Hires upscaler: Latent"
    settings = found(png(parameters=f"a cat\n{line}{latent}"))
    assert (settings.hires, settings.hires_method, settings.hires_steps) == (2, "latents", 40)
    cut = found(png(parameters=f"a cat\n{line}, Hires resize: 1024x1024"))
    assert cut.hires is None and cut.left_out["Hires resize"] == "1024x1024"
    assert cut.strength == Settings.strength
    other = "Steps: 20, Seed: 1, Variation seed: 77, Variation seed strength: 0.25"
    assert found(png(parameters=f"a cat\n{other}")).variation == (77, 0.25)


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


def a1111(sampler: str, *, schedule: str = "", version: str = "", more: str = "") -> FoundSettings:
    """Return the settings in a line of AUTOMATIC1111's."""
    line = f"Steps: 20, Sampler: {sampler}, CFG scale: 7, Seed: 1, Size: 512x512"
    line += f", Schedule type: {schedule}" if schedule else ""
    line += f", {more}" if more else ""
    line += f", Version: {version}" if version else ""
    return found(png(parameters=f"a cat\n{line}"))


@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        ("Euler", "euler"),
        ("Euler a", "euler_ancestral"),
        ("LMS", "lms"),
        ("Heun", "heun"),
        ("DPM2", "dpm2"),
        ("DPM2 a", "dpm2_ancestral"),
        ("DPM++ 2S a", "dpmpp_2s_ancestral"),
        ("DPM++ 2M", "dpmpp_2m"),
        ("DPM++ SDE", "dpmpp_sde"),
        ("DPM++ 2M SDE", "dpmpp_2m_sde"),
        ("DPM++ 3M SDE", "dpmpp_3m_sde"),
        ("DDIM", "ddim"),
        ("PLMS", "plms"),
        ("UniPC", "unipc"),
        ("LCM", "lcm"),
        ("TCD", "tcd"),
    ],
)
def test_a1111_samplers_are_ours(name: str, sampler: str) -> None:
    settings = a1111(name, schedule="Karras", version="v1.10.1")
    assert (settings.sampler, settings.schedule) == (sampler, "karras")
    assert "sampler" not in settings.left_out


@pytest.mark.parametrize(
    "name",
    ["DPM++ 2M SDE Heun", "DPM fast", "DPM adaptive", "Restart", "DDIM CFG++", "Euler SMEA Dy"],
)
def test_samplers_that_we_lack_are_listed(name: str) -> None:
    settings = a1111(name, schedule="Karras", more="Eta: 0.5")
    assert settings.sampler is None and settings.left_out["sampler"] == name
    assert settings.schedule == "karras"
    assert settings.eta is None and settings.left_out["eta"] == "0.5"


@pytest.mark.parametrize(
    ("name", "sampler", "schedule"),
    [
        ("DPM++ 2M Karras", "dpmpp_2m", "karras"),
        ("DPM++ 2M SDE Exponential", "dpmpp_2m_sde", "exponential"),
        ("Euler SGM Uniform", "euler", "sgm_uniform"),
        ("Euler a Simple", "euler_ancestral", "simple"),
        ("dpm++2m karras", "dpmpp_2m", "karras"),
        ("euler_a discrete", "euler_ancestral", "uniform"),
        ("ddim_trailing", "ddim", "trailing"),
    ],
)
def test_a_samplers_name_may_end_with_its_grid(name: str, sampler: str, schedule: str) -> None:
    settings = a1111(name)
    assert (settings.sampler, settings.schedule) == (sampler, schedule)


@pytest.mark.parametrize(
    ("name", "automatic", "before"),
    [
        ("DPM++ 2M", "karras", "uniform"),
        ("DPM++ SDE", "karras", "uniform"),
        ("DPM2 a", "karras", "uniform"),
        ("DPM++ 2M SDE", "exponential", "uniform"),
        ("DPM++ 3M SDE", "exponential", "uniform"),
        ("Euler a", "uniform", "uniform"),
        ("LMS", "uniform", "uniform"),
        ("DDIM", "ddim", "ddim"),
        ("PLMS", "ddim", "ddim"),
    ],
)
def test_a1111_automatic_is_the_samplers_own_grid(name: str, automatic: str, before: str) -> None:
    assert a1111(name, schedule="Automatic", version="v1.10.1").schedule == automatic
    assert a1111(name, version="v1.9.4").schedule == automatic
    assert a1111(name, version="f2.0.1v1.10.1-previous-664").schedule == automatic
    assert a1111(name, version="v1.8.0").schedule == before
    assert a1111(name).schedule == before


@pytest.mark.parametrize(
    "grid", ["Align Your Steps", "KL Optimal", "Polyexponential", "DDIM", "Turbo", "Beta"]
)
def test_grids_that_we_lack_are_listed(grid: str) -> None:
    settings = a1111("Euler", schedule=grid)
    assert settings.schedule == "default" and settings.left_out["noise levels"] == grid
    assert settings.sampler == "euler"


def test_a1111_options_of_samplers_are_settings() -> None:
    settings = a1111("Euler", more="Sigma churn: 10, Sigma noise: 1.1, Sigma tmin: 0.5")
    assert (settings.s_churn, settings.s_noise) == (10, 1.1)
    assert settings.left_out["Sigma tmin"] == "0.5"
    assert a1111("Euler a", more="Eta: 0.67").eta == 0.67
    assert a1111("DDIM", more="Eta DDIM: 0.3").eta == 0.3


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
    assert settings.hires is None  # with another sampler, and another shape
    assert settings.left_out["second pass"] == "KSampler"


def second_pass(resize, between=None, **changes):
    """The graph with a second sampler, alike but for its strength, behind ``resize``."""
    inputs = {**graph()["3"]["inputs"], "seed": 8, "steps": 10, "denoise": 0.5, **changes}
    last = node("KSampler", **{**inputs, "latent_image": ["21", 0]})
    end = node("VAEDecode", samples=["20", 0], vae=["4", 2])
    return found(comfyui(**{"20": last, "21": resize, "8": end, **(between or {})}))


def test_comfyui_second_passes_that_only_enlarge_are_settings():
    settings = second_pass(node("LatentUpscaleBy", samples=["3", 0], scale_by=1.5))
    assert (settings.hires, settings.hires_method) == (1.5, "latents")
    assert (settings.hires_strength, settings.hires_steps) == (0.5, 20)  # 10 of them are made
    assert settings.left_out["second pass seed"] == "8"
    sized = node("LatentUpscale", samples=["3", 0], width=1024, height=1280)
    assert second_pass(sized).hires == 2
    pixels = {
        "22": node("ImageScale", image=["23", 0], width=1024, height=1280),
        "23": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
    }
    settings = second_pass(node("VAEEncode", pixels=["22", 0], vae=["4", 2]), pixels)
    assert (settings.hires, settings.hires_method) == (2, "pixels")
    unlike = node("LatentUpscale", samples=["3", 0], width=1024, height=1024)
    assert second_pass(unlike).left_out["second pass"] == "KSampler"
    by = node("LatentUpscaleBy", samples=["3", 0], scale_by=1.5)
    assert second_pass(by, cfg=2.0).left_out["second pass"] == "KSampler"


def test_comfyui_steps_from_and_to_are_parts_of_a_run():
    base = {**graph()["3"]["inputs"], "noise_seed": 7}
    half = {"start_at_step": 0, "end_at_step": 20, "add_noise": "enable"}
    rest = {"start_at_step": 20, "end_at_step": 10000, "add_noise": "disable"}
    first = node("KSamplerAdvanced", **{**base, **half})
    last = node("KSamplerAdvanced", **{**base, **rest, "latent_image": ["3", 0]})
    end = node("VAEDecode", samples=["20", 0], vae=["4", 2])
    settings = found(comfyui(**{"3": first, "20": last, "8": end}))
    assert settings.steps == 25  # one grid in two nodes
    assert not {"second pass", "end at step", "start at step"} & settings.left_out.keys()
    alone = found(comfyui(**{"3": first}))
    assert alone.left_out["end at step"] == "20"
    latents = {"5": node("VAEEncode", pixels=["40", 0], vae=["4", 2])}
    image = {"40": node("LoadImage", image="x.png")}
    late = node("KSamplerAdvanced", **{**base, **rest, "add_noise": "enable"})
    assert found(comfyui(**latents, **image, **{"3": late})).strength == 0.2


def test_comfyui_padded_images_are_outpainting():
    image = {
        "5": node("VAEEncodeForInpaint", pixels=["40", 0], mask=["40", 1], vae=["4", 2]),
        "40": node(
            "ImagePadForOutpaint", image=["41", 0], left=0, top=64, right=128, bottom=0,
            feathering=40,
        ),
        "41": node("LoadImage", image="x.png"),
    }  # fmt: skip
    data = comfyui(**image)
    settings = found(data)
    assert settings.pad == (0, 64, 128, 0) and settings.strength == 1
    assert settings.left_out["feathering"] == "40"
    assert (read(data).task, read(data).given) == ("outpainting", ["image"])


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


@pytest.mark.parametrize(
    ("name", "grid", "sampler", "schedule"),
    [
        ("dpmpp_2m_sde_gpu", "exponential", "dpmpp_2m_sde", "exponential"),
        ("dpmpp_3m_sde", "sgm_uniform", "dpmpp_3m_sde", "sgm_uniform"),
        ("dpm_2_ancestral", "simple", "dpm2_ancestral", "simple"),
        ("uni_pc_bh2", "beta", "unipc", "beta"),
        ("lcm", "normal", "lcm", "uniform"),
        ("ddpm", "ddim_uniform", "ddpm", "default"),
        ("euler_cfg_pp", "karras", None, "karras"),
        ("dpmpp_2m_sde_heun", "karras", None, "karras"),
    ],
)
def test_comfyui_samplers_and_grids(
    name: str, grid: str, sampler: str | None, schedule: str
) -> None:
    inputs = {**graph()["3"]["inputs"], "sampler_name": name, "scheduler": grid}
    settings = found(comfyui(**{"3": {**graph()["3"], "inputs": inputs}}))
    assert (settings.sampler, settings.schedule) == (sampler, schedule)


def test_comfyui_samplers_with_options_are_nodes_of_their_own():
    parts = {
        "3": node(
            "SamplerCustomAdvanced", noise=["30", 0], guider=["31", 0], sampler=["32", 0],
            sigmas=["33", 0], latent_image=["5", 0],
        ),
        "30": node("RandomNoise", noise_seed=11),
        "31": node("CFGGuider", model=["9", 0], positive=["6", 0], negative=["7", 0], cfg=4),
        "32": node("SamplerDPMPP_2M_SDE", solver_type="midpoint", eta=0.5, s_noise=1.1),
        "33": node("KarrasScheduler", steps=12, sigma_max=14.6, sigma_min=0.03, rho=7),
    }  # fmt: skip
    settings = found(comfyui(**parts))
    assert (settings.sampler, settings.schedule) == ("dpmpp_2m_sde", "karras")
    assert (settings.eta, settings.s_noise) == (0.5, 1.1)
    parts["32"]["inputs"]["solver_type"] = "heun"
    settings = found(comfyui(**parts))
    assert settings.sampler is None and settings.eta is None


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


def test_invokeai_second_passes_and_variations():
    said = {
        "generation_mode": "txt2img", "positive_prompt": "a cat", "width": 1024, "height": 1536,
        "seed": 12, "steps": 22, "hrf_enabled": True, "hrf_strength": 0.45, "hrf_method": "ESRGAN",
    }  # fmt: skip
    unknown = found(png(invokeai_metadata=json.dumps(said)))  # the first size is not told
    assert unknown.hires is None and unknown.left_out["hrf_strength"] == "0.45"
    said |= {"hrf_width": 512, "hrf_height": 768}
    settings = found(png(invokeai_metadata=json.dumps(said)))
    assert (settings.width, settings.height, settings.hires) == (512, 768, 2)
    assert (settings.hires_strength, settings.hires_method) == (0.45, "pixels")
    assert settings.left_out["hrf_method"] == "ESRGAN"
    assert found(png(Dream='"a cat" -S7 -V9:0.2')).variation == (9, 0.2)
    image = {"prompt": "a cat", "seed": 3, "type": "txt2img"}
    one, two = [{"seed": 9, "weight": 0.2}], [{"seed": 9, "weight": 0.2}] * 2
    for variations, wanted in ((one, (9, 0.2)), (two, None)):
        text = json.dumps({"image": {**image, "variations": variations}})
        assert found(png(sd__metadata=text)).variation == wanted
    for name, sampler in (("kdpm_2_a", "dpm2_ancestral"), ("unipc_k", "unipc"), ("tcd", "tcd"),
                          ("pndm", "plms"), ("dpmpp_2s", None), ("dpmpp_3m_k", None)):  # fmt: skip
        other = found(png(invokeai_metadata=json.dumps({**said, "scheduler": name})))
        assert other.sampler == sampler


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
