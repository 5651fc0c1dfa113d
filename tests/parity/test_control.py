"""ControlNets against diffusers: residuals, whole runs, names and shapes of the published sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from control_nets import picture, random_control
from references import autoencoder_of, copy_weights, relative_error, shapes, unet_of
from torch import Tensor

from sdwidgets.checkpoints import names
from sdwidgets.configs import SD1, SD2, SDXL, AutoencoderConfig, ControlNetConfig, ModelConfig
from sdwidgets.control import Control
from sdwidgets.models.controlnet import ControlNet
from sdwidgets.pipeline import LatentDiffusion

pytestmark = pytest.mark.parity
diffusers = pytest.importorskip("diffusers")

STEPS = 5
TOLERANCE = 1e-3  # of the latents' scale
FAMILIES = ("sd1", "sd2", "sdxl")

_AUTOENCODER = AutoencoderConfig((8, 8, 16, 16), blocks_per_level=1, norm_groups=4)
_HINT = (4, 6, 8, 10)


def small(family: str) -> ModelConfig:
    """Return a small model with the published topology and width of the text states."""
    config = {"sd1": SD1, "sd2": SD2, "sdxl": SDXL}[family]
    few = {"layers": 2, "heads": 2, "hidden": 32}
    texts = [replace(text, **few) for text in config.text]
    if family == "sdxl":
        texts[1] = replace(texts[1], projection_dim=20)
    rest = [replace(each, width=8) for each in config.embedders[len(texts) :]]
    config = replace(config, autoencoder=_AUTOENCODER, embedders=(*texts, *rest), size=64)
    channels = {"sdxl": (16, 32, 48)}.get(family, (16, 32, 48, 48))
    heads = {"sd1": (2, 4, 4, 4), "sd2": (2, 4, 6, 6), "sdxl": (2, 4, 6)}[family]
    depths = {"sdxl": (0, 1, 2)}.get(family, config.unet.depths)
    unet = replace(
        config.unet,
        channels=channels,
        heads=heads,
        depths=depths,
        context_dim=config.context_width,
        vector_dim=config.vector_width,
        norm_groups=8,
    )
    return replace(config, unet=unet)


def control_of(config: ControlNetConfig, *, linear: bool = True) -> Any:
    """Return diffusers' ``ControlNetModel`` of ``config``."""
    unet = config.unet
    vector = {}
    if unet.vector_dim:
        features = 256 if unet.vector_dim > 1536 else 8
        vector = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": features,
            "projection_class_embeddings_input_dim": unet.vector_dim,
        }
    depths = [max(depth, 1) for depth in unet.depths]
    for level in config.hollow:
        depths[level] = 0
    return diffusers.ControlNetModel(
        in_channels=unet.in_channels,
        block_out_channels=unet.channels,
        down_block_types=tuple(
            "CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in unet.depths
        ),
        mid_block_type="UNetMidBlock2DCrossAttn" if unet.middle == 2 else "UNetMidBlock2D",
        layers_per_block=unet.blocks_per_level,
        transformer_layers_per_block=depths,
        attention_head_dim=unet.heads,  # diffusers' name for the number of heads
        cross_attention_dim=unet.context_dim,
        norm_num_groups=unet.norm_groups,
        use_linear_projection=linear,
        conditioning_embedding_out_channels=config.hint_widths,
        controlnet_conditioning_channel_order="bgr" if config.is_bgr else "rgb",
        **vector,
    ).eval()


# -- names and shapes ------------------------------------------------------------------------

_XL_SMALL = replace(SDXL.unet, depths=(0, 0, 0))
_XL_MID = replace(SDXL.unet, depths=(0, 0, 1))

PUBLISHED = {
    "sd1": (ControlNetConfig(SD1.unet), 361_279_120),
    "sd2": (ControlNetConfig(SD2.unet), 364_228_240),
    "sdxl": (ControlNetConfig(SDXL.unet), 1_251_014_160),
    "sdxl mid": (ControlNetConfig(_XL_MID), 270_942_480),
    "sdxl small": (ControlNetConfig(_XL_SMALL, hollow=(-1,)), 160_111_120),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_and_shapes_of_the_published_sizes(name: str) -> None:
    config, parameters = PUBLISHED[name]
    with torch.device("meta"):
        ours, theirs = ControlNet(config), control_of(config)
    assert shapes(ours) == shapes(theirs)
    assert sum(weight.numel() for weight in ours.parameters()) == parameters


@pytest.mark.parametrize("family", FAMILIES)
def test_compvis_names_are_those_of_their_converter(family: str) -> None:
    from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

    config, _ = PUBLISHED[family]
    look_up = names.compvis_control_names(config, "control_model.")
    with torch.device("meta"):
        state = ControlNet(config).state_dict()
    # numbers in place of weights: their converter only moves what it is given
    places = {name: torch.tensor(float(i)) for i, name in enumerate(state)}
    stored = {look_up(name)[0].name: value for name, value in places.items()}
    # a control of SD2 alone has no prefix, which is how their converter tells it
    converted = convert_controlnet_checkpoint(stored, {"layers_per_block": 2})
    if family == "sdxl":  # their converter knows no vector
        places = {name: value for name, value in places.items() if "add_embedding" not in name}
    assert converted.keys() >= places.keys()
    assert all(torch.equal(converted[name], value) for name, value in places.items())


# -- residuals -------------------------------------------------------------------------------


def pair(config: ControlNetConfig, seed: int = 0) -> tuple[ControlNet, Any]:
    """Return our network with random weights, and diffusers' with the same."""
    ours = random_control(config, seed)
    theirs = control_of(config, linear=config.unet.context_dim != 768)
    copy_weights(ours, theirs)
    return ours, theirs


def _variants() -> dict[str, ControlNetConfig]:
    configs = {name: ControlNetConfig(small(name).unet, hint_widths=_HINT) for name in FAMILIES}
    xl = configs["sdxl"]
    return configs | {
        "sdxl mid": replace(xl, unet=replace(xl.unet, depths=(0, 0, 1))),
        "sdxl small": replace(xl, unet=replace(xl.unet, depths=(0, 0, 0)), hollow=(-1,)),
        "sdxl without transformers": replace(xl, unet=replace(xl.unet, middle=1, depths=(0, 0, 0))),
        "hollow levels": replace(xl, unet=replace(xl.unet, depths=(0, 1, 1)), hollow=(1, 2, -1)),
        "bgr": replace(configs["sd1"], is_bgr=True),
    }


VARIANTS = _variants()


@pytest.mark.parametrize("size", [(8, 8), (7, 5)], ids=str)
@pytest.mark.parametrize("name", VARIANTS)
def test_residuals(name: str, size: tuple[int, int], seeded: None) -> None:
    config = VARIANTS[name]
    ours, theirs = pair(config)
    height, width = size
    x, t = torch.randn(2, 4, height, width), torch.tensor([981.0, 20.0])
    image = torch.rand(2, 3, 8 * height, 8 * width)
    context = torch.randn(2, 9, config.unet.context_dim)
    vector, told = None, {}
    if config.unet.vector_dim:
        pooled, sizes = torch.randn(2, config.unet.vector_dim - 48), torch.full((2, 6), 64.0)
        told = {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": sizes}}
        features = theirs.add_time_proj(sizes.flatten()).reshape(2, -1)
        vector = torch.cat([pooled, features], dim=1)
    with torch.no_grad():
        found = ours(x, t, ours.embed(image), context, vector)
        *down, middle = theirs(x, t, context, image, return_dict=False, **told)
    expected = [*down[0], middle]
    assert len(found) == len(expected) == len(config.unet.skips) + 1
    for mine, reference in zip(found, expected, strict=True):
        assert relative_error(mine, reference) < 1e-4


# -- whole runs ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parts(
    make_model: Callable[[ModelConfig], LatentDiffusion],
) -> Callable[[str], tuple[LatentDiffusion, dict[str, Any], list[ControlNet], list[Any]]]:
    """Return our model of a family with two ControlNets, and diffusers' with the same weights."""

    @cache
    def made(family: str) -> tuple[LatentDiffusion, dict[str, Any], list[ControlNet], list[Any]]:
        model = make_model(small(family))
        model.unet.conv_out.weight.mul_(5)  # so that the network matters for the result
        unet = unet_of(model.config.unet, linear=family != "sd1")
        vae = autoencoder_of(model.config.autoencoder)
        copy_weights(model.unet, unet)
        copy_weights(model.autoencoder, vae)
        config = ControlNetConfig(model.config.unet, hint_widths=_HINT)
        ours, theirs = zip(*(pair(config, seed) for seed in (1, 2)), strict=True)
        return model, {"unet": unet, "vae": vae}, list(ours), list(theirs)

    return made


def pipeline_of(
    family: str,
    networks: dict[str, Any],
    nets: Any,
    config: ModelConfig,
    kind: str = "",
    **more: Any,
) -> Any:
    scheduler = diffusers.DDIMScheduler(
        num_train_timesteps=config.schedule.steps,
        beta_start=config.schedule.beta_start,
        beta_end=config.schedule.beta_end,
        beta_schedule=config.schedule.kind,
        prediction_type={"eps": "epsilon", "v": "v_prediction"}[config.schedule.prediction],
        steps_offset=1,
        timestep_spacing="leading",
        set_alpha_to_one=False,
        clip_sample=False,
    )
    rest = {"text_encoder": None, "tokenizer": None, "feature_extractor": None}
    if family == "sdxl":
        name = f"StableDiffusionXLControlNet{kind}Pipeline"
        rest |= {"text_encoder_2": None, "tokenizer_2": None, "add_watermarker": False}
    else:
        name = f"StableDiffusionControlNet{kind}Pipeline"
        rest |= {"safety_checker": None, "requires_safety_checker": False}
    made = getattr(diffusers, name)(**networks, controlnet=nets, scheduler=scheduler, **rest)
    made.set_progress_bar_config(disable=True)
    return made


def told(model: LatentDiffusion, prompts: list[str], family: str) -> dict[str, Tensor]:
    """Return what diffusers' pipelines take in place of prompts."""
    words = model.condition(prompts)
    if family != "sdxl":
        nothing = model.condition([""] * len(prompts))
        return {"prompt_embeds": words.context, "negative_prompt_embeds": nothing.context}
    pooled = model.config.text[1].projection_dim
    zeros = torch.zeros_like(words.context)
    return {
        "prompt_embeds": words.context,
        "negative_prompt_embeds": zeros,
        "pooled_prompt_embeds": words.vector[:, :pooled],
        "negative_pooled_prompt_embeds": torch.zeros_like(words.vector[:, :pooled]),
    }


def final(model: LatentDiffusion, prompts: list[str], seeds: list[int], **settings: Any) -> Tensor:
    """Return our last latents, scaled as in a variance-preserving model."""
    run = {"sampler": "ddim", "schedule": "ddim", "steps": STEPS, "guidance_scale": 5.0}
    *_, last = model.sample(prompts, seed=seeds, **{**run, **settings})
    return last.x_next / (1 + last.sigma_next**2) ** 0.5


def reference(pipeline: Any, told: dict[str, Tensor], seeds: list[int], **more: Any) -> Tensor:
    run = {"num_inference_steps": STEPS, "guidance_scale": 5.0, "output_type": "latent"}
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return pipeline(generator=generators, **told, **{**run, **more}).images  # type: ignore[no-any-return]


RUNS = {
    "whole": ({}, {}),
    "strength": ({"strength": 0.4}, {"controlnet_conditioning_scale": 0.4}),
    "start": ({"start": 0.4}, {"control_guidance_start": 0.4}),
    "end": ({"end": 0.55}, {"control_guidance_end": 0.55}),
    "window": (
        {"start": 0.2, "end": 0.8},
        {"control_guidance_start": 0.2, "control_guidance_end": 0.8},
    ),
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("family", FAMILIES)
def test_whole_runs(parts: Any, family: str, name: str) -> None:
    model, networks, ours, theirs = parts(family)
    mine, other = RUNS[name]
    prompts, seeds = ["a cat", "the dog"], [3, 4]
    image = picture(64, 64)
    found = final(model, prompts, seeds, control=Control(ours[0], image, **mine))
    pipeline = pipeline_of(family, networks, theirs[0], model.config)
    expected = reference(pipeline, told(model, prompts, family), seeds, image=image, **other)
    assert relative_error(found, expected) < TOLERANCE
    free = final(model, prompts, seeds)
    assert relative_error(free, expected) > 10 * TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
def test_several_controls(parts: Any, family: str) -> None:
    model, networks, ours, theirs = parts(family)
    images = [picture(64, 64, seed) for seed in (1, 2)]
    controls = [
        Control(ours[0], images[0], strength=0.7, end=0.6),
        Control(ours[1], images[1], strength=1.2, start=0.2),
    ]
    found = final(model, ["a cat"], [5], control=controls)
    nets = diffusers.MultiControlNetModel(theirs)
    pipeline = pipeline_of(family, networks, nets, model.config)
    expected = reference(
        pipeline,
        told(model, ["a cat"], family),
        [5],
        image=images,
        controlnet_conditioning_scale=[0.7, 1.2],
        control_guidance_start=[0.0, 0.2],
        control_guidance_end=[0.6, 1.0],
    )
    assert relative_error(found, expected) < TOLERANCE


def test_without_guidance(parts: Any) -> None:
    model, networks, ours, theirs = parts("sd1")
    image = picture(64, 64)
    found = final(model, ["a cat"], [5], control=Control(ours[0], image), guidance_scale=1.0)
    pipeline = pipeline_of("sd1", networks, theirs[0], model.config)
    expected = reference(
        pipeline, told(model, ["a cat"], "sd1"), [5], image=image, guidance_scale=1.0
    )
    assert relative_error(found, expected) < TOLERANCE


def test_an_image_of_another_shape(parts: Any) -> None:
    """The picture is brought to the run's size before the network reads it."""
    model, networks, ours, theirs = parts("sd1")
    image = picture(80, 48, seed=3)
    size = {"width": 80, "height": 48}
    found = final(model, ["a cat"], [5], control=Control(ours[0], image), **size)
    pipeline = pipeline_of("sd1", networks, theirs[0], model.config)
    expected = reference(pipeline, told(model, ["a cat"], "sd1"), [5], image=image, **size)
    assert relative_error(found, expected) < TOLERANCE


def test_image_to_image(parts: Any) -> None:
    """Shares of the steps are those of the steps that are left."""
    model, networks, ours, theirs = parts("sd1")
    start, image = picture(64, 64, seed=7), picture(64, 64)
    steps = list(
        model.sample(
            "a cat", seed=5, sampler="ddim", schedule="ddim", steps=STEPS, guidance_scale=5.0,
            image=start, strength=0.6, control=Control(ours[0], image, end=0.7),
        )
    )  # fmt: skip
    last = steps[-1]
    found = last.x_next / (1 + last.sigma_next**2) ** 0.5
    pipeline = pipeline_of("sd1", networks, theirs[0], model.config, "Img2Img")
    # their first draw is the latents' noise; ours, too: the same generator draws the same numbers
    expected = reference(
        pipeline, told(model, ["a cat"], "sd1"), [5],
        image=start, control_image=image, strength=0.6, control_guidance_end=0.7,
        controlnet_conditioning_scale=1.0,
    )  # fmt: skip
    assert len(steps) == 3
    assert relative_error(found, expected) < TOLERANCE
