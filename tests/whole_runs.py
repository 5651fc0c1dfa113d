"""Whole runs of our small models, and of diffusers' pipelines with their weights and noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from references import autoencoder_of, copy_weights, scheduler_of, unet_of
from small_families import FAMILIES
from torch import Tensor

from sdwidgets.configs import ImageConfig, ModelConfig
from sdwidgets.models.conditioning import Given
from sdwidgets.pipeline import LatentDiffusion

STEPS = 3
TOLERANCE = 1e-3  # of the latents' scale
ONE, THREE = ["a cat"], ["a cat", "the dog", "an owl"]
SIZES = [((64, 64), ONE), ((72, 40), THREE)]

Parts = dict[str, Any]


def _zero_snr(config: ModelConfig) -> ModelConfig:
    """Return the config of a fine-tuned model that predicts v from pure noise on."""
    schedule = replace(config.schedule, prediction="v", zero_snr=True, spacing="trailing")
    return replace(config, schedule=schedule)


def _edits(config: ModelConfig) -> ModelConfig:
    """Return the config of a model fine-tuned to edit images."""
    told = (*config.embedders, ImageConfig())
    return replace(config, embedders=told, unet=replace(config.unet, in_channels=8))


MODELS = {
    **FAMILIES,
    "edits xl": _edits(FAMILIES["SDXL"]),
    "zero snr": _zero_snr(FAMILIES["SD1"]),
    "zero snr xl": _zero_snr(FAMILIES["SDXL"]),
}


def pairs(
    make_model: Callable[[ModelConfig], LatentDiffusion],
) -> Callable[[str], tuple[LatentDiffusion, Parts]]:
    """Return a function of a family's name: our small model, and diffusers' networks with its
    weights, made once."""

    @cache
    def made(name: str) -> tuple[LatentDiffusion, Parts]:
        model = make_model(MODELS[name])
        unet = model.unet
        unet.conv_out.weight.mul_(5)  # so that the network matters for the result
        unet.time_embedding.linear_2.weight.mul_(3)  # and so does what is told beside the words
        if unet.add_embedding is not None:
            unet.add_embedding.linear_2.weight.mul_(3)
        theirs = unet_of(unet.config, linear=unet.config.context_dim != 768)
        vae = autoencoder_of(model.config.autoencoder)
        theirs.register_to_config(sample_size=64)  # the pipelines compare it; 64 is SD's
        copy_weights(unet, theirs)
        copy_weights(model.autoencoder, vae)
        return model, {"unet": theirs, "vae": vae}

    return made


def pipeline_of(
    kind: str, model: LatentDiffusion, parts: Parts, sampler: str = "euler", **more: Any
) -> Any:
    """Return diffusers' pipeline of that class; it is given the words' states."""
    import diffusers

    is_xl = "XL" in kind
    empty = ["text_encoder", "tokenizer"]
    empty += ["text_encoder_2", "tokenizer_2"] if is_xl else ["safety_checker", "feature_extractor"]
    if not (is_xl or "Depth" in kind or "Upscale" in kind):
        more["requires_safety_checker"] = False
    if is_xl:
        more["add_watermarker"] = False
    if "Depth" in kind:
        empty.remove("safety_checker")
    scheduler = scheduler_of(model.config.schedule, sampler)
    parts = {**parts, "scheduler": scheduler, **dict.fromkeys(empty), **more}
    pipeline = getattr(diffusers, kind)(**parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def words(model: LatentDiffusion, prompts: list[str]) -> dict[str, Tensor]:
    """Return what diffusers' pipelines take in place of the prompts, and of no negative prompt."""
    size = (64, 64)
    told = model.condition([Given(prompt, size) for prompt in prompts])
    away = model.condition([Given(None, size)] * len(prompts))
    found = {"prompt_embeds": told.context, "negative_prompt_embeds": away.context}
    if model.config.vector_width:
        pooled = model.config.text[-1].projection_dim
        found["pooled_prompt_embeds"] = told.vector[:, :pooled]
        found["negative_pooled_prompt_embeds"] = away.vector[:, :pooled]
    return found


def generators(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(7, 7 + count)]


def final(model: LatentDiffusion, prompts: list[str], **settings: Any) -> Tensor:
    """Return our last latents, scaled as in a variance-preserving model."""
    settings = {
        "schedule": "config", "seed": 7, "steps": STEPS, "sampler": "euler",
        "batch_size": len(prompts), **settings,
    }  # fmt: skip
    *_, last = model.sample(prompts, **settings)
    return last.x_next / (1 + last.sigma_next**2) ** 0.5


def theirs(
    pipeline: Any,
    model: LatentDiffusion,
    prompts: list[str],
    *,
    steps: int | None = STEPS,
    **more: Any,
) -> Tensor:
    found: Tensor = pipeline(
        **words(model, prompts),
        num_inference_steps=steps,
        generator=generators(len(prompts)),
        output_type="latent",
        **more,
    ).images
    return found


def mask(width: int, height: int) -> Image.Image:
    """Return a mask whose edges are not on the latents' cells."""
    white = Image.new("L", (width, height))
    white.paste(255, (13, 6, width - 19, height - 9))
    return white


def sized(size: tuple[int, int]) -> dict[str, int]:
    return {"width": size[0], "height": size[1]}


def masked_latents(
    model: LatentDiffusion, parts: Parts, image: Image.Image, area: Image.Image, count: int
) -> Tensor:
    """Return diffusers' latents of the masked image, without the noise that its pipelines add.

    The image of each of the batch's ``count`` prompts is the same.
    """
    pixels = torch.from_numpy(np.array(image, np.float32)).permute(2, 0, 1)[None]
    kept = torch.from_numpy(np.array(area) < 128)[None, None]
    with torch.no_grad():
        mode = parts["vae"].encode((pixels / 127.5 - 1) * kept).latent_dist.mode()
    return (mode * model.config.autoencoder.scaling_factor).expand(count, -1, -1, -1)


def enlarging(model: LatentDiffusion, parts: Parts, sampler: str = "euler") -> Any:
    """Return diffusers' pipeline that enlarges images."""
    import diffusers

    small = model.config.embedders[-1]
    low = diffusers.DDPMScheduler(
        beta_start=small.beta_start, beta_end=small.beta_end, beta_schedule="scaled_linear"
    )
    pipeline = pipeline_of(
        "StableDiffusionUpscalePipeline",
        model,
        parts,
        sampler,
        low_res_scheduler=low,
        watermarker=None,
    )
    pipeline.image_processor.register_to_config(do_resize=False)  # to multiples of 4
    return pipeline
