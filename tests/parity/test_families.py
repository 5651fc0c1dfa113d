"""Every family of models against diffusers: the same weights (random), in folders both ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from references import copy_weights, relative_error, unet_of
from small_families import FAMILIES
from torch import Tensor

from sdwidgets import load, save
from sdwidgets.configs import ModelConfig, SizesConfig
from sdwidgets.models.autoencoder import Posterior
from sdwidgets.models.conditioning import Conditioning
from sdwidgets.pipeline import LatentDiffusion

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("seeded")]
diffusers = pytest.importorskip("diffusers")

EXACT = 1e-5  # of the values' scale, in float32
PROMPTS = ["a cat left of the dog", "an owl"]
SIZE = (7, 10)  # of the latents: odd at every level

# Families that differ from another in their training only need no test of their own.
NAMES = [name for name in FAMILIES if name not in ("SD2_BASE", "SD_TURBO", "SDXL_TURBO")]
BY_NAME = pytest.mark.parametrize("name", NAMES)


class Pair(NamedTuple):
    """A model, the folder in which we saved it, and diffusers' pipeline of that folder."""

    ours: LatentDiffusion
    folder: Path
    theirs: Any


def pipeline_in(folder: Path) -> Any:
    pipeline = diffusers.DiffusionPipeline.from_pretrained(
        folder,
        local_files_only=True,
        # It insists on this one's own network, which our folders do not have.
        **({"depth_estimator": None, "feature_extractor": None} if _is_depth(folder) else {}),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _is_depth(folder: Path) -> bool:
    return "Depth2Img" in (folder / "model_index.json").read_text()


@pytest.fixture(scope="module")
def pair(
    make_model: Callable[[ModelConfig], LatentDiffusion], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Pair]:
    @cache
    def made(name: str) -> Pair:
        model = make_model(FAMILIES[name])
        model.unet.conv_out.weight.mul_(5)
        for parameter in model.unet.parameters():  # what is told matters for the result
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator()))
        folder = save(model, tmp_path_factory.mktemp(name) / "model")
        return Pair(model, folder, pipeline_in(folder))

    return made


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator())


def inputs(model: LatentDiffusion) -> tuple[Tensor, Tensor, Conditioning]:
    """Return inputs of the network for two images, random where no text gives them."""
    config, told = model.config.unet, model.condition(PROMPTS)
    return (
        noise(2, config.in_channels, *SIZE),
        torch.tensor([3, 987]),
        replace(
            told,
            guidance=noise(2, config.guidance_dim) if config.guidance_dim else None,
            label=torch.tensor([20, 350]) if config.classes else None,
        ),
    )


@torch.no_grad()
def ours_says(model: LatentDiffusion) -> Tensor:
    x, t, told = inputs(model)
    return model.unet(x, t, told.context, told.vector, guidance=told.guidance, label=told.label)


@torch.no_grad()
def theirs_says(unet: Any, model: LatentDiffusion) -> Tensor:
    x, t, told = inputs(model)
    added = None
    if told.vector is not None:
        sizes = next(each for each in model.config.embedders if isinstance(each, SizesConfig))
        pooled = told.vector[:, : -sizes.vector_width]
        side = float(model.config.size)
        numbers = [side, side, 0, 0, *([6] if sizes.score else [side, side])]
        added = {"text_embeds": pooled, "time_ids": torch.tensor([numbers] * 2)}
    found: Tensor = unet(
        x, t, told.context,
        class_labels=told.label, timestep_cond=told.guidance, added_cond_kwargs=added,
    ).sample  # fmt: skip
    return found


# -- networks ---------------------------------------------------------------------------------


@BY_NAME
def test_the_network(name: str, pair: Callable[[str], Pair]) -> None:
    ours, _, theirs = pair(name)
    assert relative_error(ours_says(ours), theirs_says(theirs.unet, ours)) < EXACT


@BY_NAME
@torch.no_grad()
def test_everything_that_it_is_told_changes_the_result(
    name: str, pair: Callable[[str], Pair]
) -> None:
    """Otherwise, the comparison would say nothing about it."""
    model, *_ = pair(name)
    x, t, told = inputs(model)
    routes = {"context": told.context, "vector": told.vector, "guidance": told.guidance}
    routes = {route: value for route, value in routes.items() if value is not None}
    plain = model.unet(x, t, **routes, label=told.label)
    for route, value in routes.items():
        other = model.unet(x, t, **{**routes, route: value.flip(0)}, label=told.label)
        assert relative_error(other, plain) > 100 * EXACT, route
    if told.label is not None:
        other = model.unet(x, t, **routes, label=told.label.flip(0))
        assert relative_error(other, plain) > 100 * EXACT


@BY_NAME
def test_a_folder_that_diffusers_wrote(
    name: str, pair: Callable[[str], Pair], tmp_path: Path
) -> None:
    ours, _, theirs = pair(name)
    if ours.config.unet.context_dim == 768:  # as published: 1x1 convolutions, not linear layers
        unet = unet_of(ours.config.unet, linear=False)
        unet.register_to_config(sample_size=ours.config.size // ours.config.autoencoder.factor)
        copy_weights(ours.unet, unet)
        theirs = theirs.__class__(**{**theirs.components, "unet": unet, **settings(theirs)})
    theirs.save_pretrained(tmp_path / "theirs")
    again = load(tmp_path / "theirs", device="cpu")
    # Name and guidance scale are only in our notes.
    known = {"name": again.config.name, "guidance_scale": again.config.guidance_scale}
    assert again.config == replace(ours.config, **known)
    assert relative_error(ours_says(again), ours_says(ours)) < EXACT


def settings(pipeline: Any) -> dict[str, Any]:
    """Return the settings of a pipeline that are no parts."""
    names = (
        "requires_safety_checker", "force_zeros_for_empty_prompt", "requires_aesthetics_score",
        "max_noise_level",
    )  # fmt: skip
    return {name: pipeline.config[name] for name in names if name in pipeline.config}


@BY_NAME
def test_a_folder_that_we_wrote_loads_again(name: str, pair: Callable[[str], Pair]) -> None:
    ours, folder, _ = pair(name)
    again = load(folder, device="cpu")
    assert again.config == ours.config
    assert relative_error(ours_says(again), ours_says(ours)) < EXACT


# -- texts ------------------------------------------------------------------------------------


@BY_NAME
@torch.no_grad()
def test_states_and_pooled_vectors_of_texts(name: str, pair: Callable[[str], Pair]) -> None:
    ours, _, theirs = pair(name)
    told, is_xl = ours.condition(PROMPTS), ours.config.unet.vector_dim > 0
    states, pooled = [], None
    for end in ("", "_2"):
        encoder = getattr(theirs, f"text_encoder{end}", None)
        if encoder is None:
            continue
        tokenizer = getattr(theirs, f"tokenizer{end}")
        ids = tokenizer(PROMPTS, padding="max_length", max_length=77, return_tensors="pt").input_ids
        out = encoder(ids, output_hidden_states=True)
        states.append(out.hidden_states[-2] if is_xl else out.last_hidden_state)
        pooled = out[0]
    assert told.context is not None
    assert relative_error(told.context, torch.cat(states, dim=-1)) < EXACT
    if is_xl:
        assert told.vector is not None and pooled is not None
        assert relative_error(told.vector[:, : pooled.shape[1]], pooled) < EXACT


# -- autoencoders -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SD1", "SDXL", "X4_UPSCALER"])  # f8 twice, f4
@pytest.mark.parametrize("size", [(16, 16), (24, 40)])
@torch.no_grad()
def test_the_autoencoder(name: str, size: tuple[int, int], pair: Callable[[str], Pair]) -> None:
    ours, _, theirs = pair(name)
    scale = ours.config.autoencoder.scaling_factor
    images = noise(2, 3, *size)
    posterior: Posterior = ours.autoencoder.encode(images)
    reference = theirs.vae.encode(images).latent_dist
    assert relative_error(posterior.mean, reference.mean * scale) < EXACT
    factor = ours.config.autoencoder.factor
    latents = noise(2, 4, size[0] // factor, size[1] // factor)
    decoded = theirs.vae.decode(latents / scale).sample
    assert relative_error(ours.autoencoder.decode(latents), decoded) < EXACT
