"""Stable Diffusion XL: its published shape, and whole runs against diffusers' pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from references import relative_error, shapes, unet_of
from torch import Tensor

from sdwidgets import load, save
from sdwidgets.configs import SDXL, AutoencoderConfig, ModelConfig, SizesConfig
from sdwidgets.models.clip import CLIPText
from sdwidgets.models.conditioning import Given
from sdwidgets.models.unet import UNet
from sdwidgets.pipeline import LatentDiffusion

pytestmark = pytest.mark.parity
diffusers = pytest.importorskip("diffusers")

STEPS = 4
RUN = {"steps": STEPS, "sampler": "ddim", "schedule": "ddim"}
TOLERANCE = 1e-4  # of the latents' scale


def small_xl() -> ModelConfig:
    """Return a small model of the published topology.

    It has two encoders of different width, the second with a projection and its own padding, and
    three levels of depths 0, 1 and 2.
    """
    first, second, _ = SDXL.embedders
    few = {"layers": 3, "heads": 2, "hidden": 32}
    config = replace(
        SDXL,
        autoencoder=AutoencoderConfig((8, 8, 16, 16), blocks_per_level=1, norm_groups=4),
        embedders=(
            replace(first, width=16, **few),
            replace(second, width=24, projection_dim=20, **few),
            SizesConfig(8),
        ),
        size=64,
    )
    unet = replace(
        config.unet,
        channels=(16, 32, 48),
        depths=(0, 1, 2),
        heads=(2, 4, 6),
        blocks_per_level=1,
        norm_groups=8,
        context_dim=config.context_width,
        vector_dim=config.vector_width,
    )
    return replace(config, unet=unet)


@pytest.fixture(scope="module")
def folder(
    make_model: Callable[[ModelConfig], LatentDiffusion], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a small Stable Diffusion XL with random weights, saved by us."""
    model = make_model(small_xl())
    model.unet.conv_out.weight.mul_(5)  # so that the network matters for the result
    for embedding in (model.unet.add_embedding, model.unet.time_embedding):
        embedding.linear_2.weight.mul_(3)  # and so does the vector
    return save(model, tmp_path_factory.mktemp("xl") / "model")


@pytest.fixture(scope="module")
def ours(folder: Path) -> LatentDiffusion:
    return load(folder, device="cpu")


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    pipeline = diffusers.StableDiffusionXLPipeline.from_pretrained(
        folder, local_files_only=True, add_watermarker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


# -- the published network --------------------------------------------------------------------


def test_the_published_network() -> None:
    with torch.device("meta"):
        network, reference = UNet(SDXL.unet), unet_of(SDXL.unet)
    assert sum(weight.numel() for weight in network.parameters()) == 2_567_463_684
    assert shapes(network) == shapes(reference)
    assert (SDXL.unet.context_dim, SDXL.unet.vector_dim) == (
        SDXL.context_width,
        SDXL.vector_width,
    )


def test_the_published_text_encoders() -> None:
    with torch.device("meta"):
        models = [CLIPText(config) for config in SDXL.text]
    numbers = [sum(weight.numel() for weight in model.parameters()) for model in models]
    assert numbers == [123_060_480, 694_659_840]


# -- its conditioning -------------------------------------------------------------------------


def encoded(theirs: Any, prompt: str, **more: Any) -> tuple[Tensor, ...]:
    with torch.no_grad():
        found: tuple[Tensor, ...] = theirs.encode_prompt(prompt, device="cpu", **more)
    return found


def test_context_and_vector(ours: LatentDiffusion, theirs: Any) -> None:
    context, _, pooled, _ = encoded(theirs, "a cat left of the dog")
    told = ours.condition(["a cat left of the dog"])
    assert told.context.shape == (1, 77, 40)
    assert relative_error(told.context, context) < 1e-5
    assert relative_error(told.vector[:, :20], pooled) < 1e-5
    assert told.vector.shape == (1, 20 + 48)


def test_tokenizers_pad_each_in_its_own_way(ours: LatentDiffusion, theirs: Any) -> None:
    first, second, _ = ours.embedders
    for embedder, tokenizer in ((first, theirs.tokenizer), (second, theirs.tokenizer_2)):
        wanted = tokenizer("a cat", padding="max_length", max_length=77).input_ids
        assert embedder.tokenize(["a cat"]).ids[0].tolist() == wanted
    assert first.config.pad != second.config.pad == 0


# -- whole runs -------------------------------------------------------------------------------


def final(model: LatentDiffusion, prompts: list[str], seeds: list[int], **settings: Any) -> Tensor:
    *_, last = model.sample(prompts, seed=seeds, **RUN, **settings)
    return last.x_next / (1 + last.sigma_next**2) ** 0.5


def reference(theirs: Any, prompts: list[str], seeds: list[int], **more: Any) -> Tensor:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    found: Tensor = theirs(
        prompts, generator=generators, num_inference_steps=STEPS, output_type="latent", **more
    ).images
    return found


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize(
    ("prompts", "width", "height"),
    [(["a cat"], 64, 64), (["a cat", "the dog by an owl"], 72, 40)],
)
def test_text_to_image(
    ours: LatentDiffusion,
    theirs: Any,
    prompts: list[str],
    width: int,
    height: int,
    guidance: float,
) -> None:
    seeds = [3, 7][: len(prompts)]
    size = {"width": width, "height": height, "guidance_scale": guidance}
    wanted = reference(theirs, prompts, seeds, **size)
    assert relative_error(final(ours, prompts, seeds, **size), wanted) < TOLERANCE


def test_a_negative_prompt(ours: LatentDiffusion, theirs: Any) -> None:
    with_it = reference(theirs, ["a cat"], [3], negative_prompt=["the dog"])
    found = final(ours, ["a cat"], [3], negative_prompt="the dog")
    assert relative_error(found, with_it) < TOLERANCE
    assert relative_error(found, reference(theirs, ["a cat"], [3])) > 100 * TOLERANCE


def test_without_a_negative_prompt_guidance_leads_away_from_zeros(ours: LatentDiffusion) -> None:
    away = ours.condition([Given(None, (64, 64))])
    assert not away.context.any()
    assert not away.vector[:, :20].any()
    assert ours.condition([""]).context.any()


def test_sizes_and_crop(ours: LatentDiffusion, theirs: Any) -> None:
    wanted = reference(
        theirs,
        ["a cat"],
        [3],
        original_size=(48, 32),  # diffusers' pairs have the height first
        crops_coords_top_left=(8, 4),
        target_size=(80, 96),
    )
    sizes = {"original_size": (32, 48), "crop": (4, 8), "target_size": (96, 80)}
    found = final(ours, ["a cat"], [3], **sizes)
    assert relative_error(found, wanted) < TOLERANCE
    assert relative_error(found, reference(theirs, ["a cat"], [3])) > 10 * TOLERANCE


def test_the_pictures_are_alike(ours: LatentDiffusion, theirs: Any) -> None:
    wanted = theirs(
        ["a cat"],
        generator=torch.Generator().manual_seed(3),
        num_inference_steps=STEPS,
        output_type="pt",
    ).images[0]
    image = ours.generate("a cat", seed=3, **RUN).image
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
    assert (pixels - wanted).abs().max() <= 1.5 / 255


def test_words_have_heat_maps(ours: LatentDiffusion) -> None:
    trace = ours.generate("a cat left of the dog", seed=3, attention=True, **RUN)
    assert trace.heat_map("cat").shape == (64, 64)
    assert len(trace.layers) == len(ours.unet.cross_attentions())
    total = next(iter(trace.steps[0].attention.cross.values())).astype(np.float32).sum(2)
    assert np.allclose(total, 1, atol=0.01)


# -- folders ----------------------------------------------------------------------------------


def test_a_folder_that_diffusers_wrote(ours: LatentDiffusion, theirs: Any, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path / "theirs")
    again = load(tmp_path / "theirs", device="cpu")
    assert replace(again.config, name="", guidance_scale=0) == replace(
        ours.config, name="", guidance_scale=0
    )
    assert again.config.guidance_scale == 5.0
    assert torch.equal(final(again, ["a cat"], [3]), final(ours, ["a cat"], [3]))
