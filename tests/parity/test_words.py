"""How prompts are read, against others: skipped layers, weights, chunks, learnt words."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from references import relative_error
from safetensors.torch import save_file
from torch import Tensor

from sdwidgets import load, save
from sdwidgets.configs import SD1, SD2, SDXL, AutoencoderConfig, ModelConfig
from sdwidgets.models.conditioning import Given
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.prompts import Reading

pytestmark = pytest.mark.parity
diffusers = pytest.importorskip("diffusers")

STEPS = 3
RUN: dict[str, Any] = {"steps": STEPS, "sampler": "ddim", "schedule": "ddim"}
PIPELINES = {"sd1": "StableDiffusionPipeline", "sd2": "StableDiffusionPipeline",
             "xl": "StableDiffusionXLPipeline"}  # fmt: skip
FULL = {"sd1": SD1, "sd2": SD2, "xl": SDXL}
LONG = "a cat left of the dog, " * 20


def small(name: str) -> ModelConfig:
    """Return a small model of the published topology, with text encoders of four layers."""
    config = FULL[name]
    few = {"layers": 4, "heads": 2, "hidden": 32}
    embedders = tuple(
        replace(each, width=16 + 8 * i, projection_dim=20 * bool(each.projection_dim), **few)
        if each in config.text
        else replace(each, width=8)  # type: ignore[call-arg]
        for i, each in enumerate(config.embedders)
    )
    config = replace(
        config,
        autoencoder=AutoencoderConfig((8, 8, 16, 16), blocks_per_level=1, norm_groups=4),
        embedders=embedders,
        size=64,
    )
    depths = (0, 1, 2) if name == "xl" else (1, 1, 1)
    unet = replace(
        config.unet, channels=(16, 32, 48), depths=depths, heads=(2, 4, 6), blocks_per_level=1,
        norm_groups=8, context_dim=config.context_width, vector_dim=config.vector_width,
    )  # fmt: skip
    return replace(config, unet=unet)


@pytest.fixture(scope="module", params=PIPELINES)
def pair(
    request: pytest.FixtureRequest,
    make_model: Callable[[ModelConfig], LatentDiffusion],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[LatentDiffusion, Any]:
    """Return a small model with random weights, and diffusers' pipeline of its folder."""
    model = make_model(small(request.param))
    model.unet.conv_out.weight.data.mul_(5)  # so that the network matters for the result
    for embedder in model.embedders:
        for name, weight in embedder.model.named_parameters():
            if "norm" in name:  # norms start as ones and biases as zeros
                weight.data += 0.3 * torch.randn_like(weight)
    folder = save(model, tmp_path_factory.mktemp(request.param) / "model")
    kind = getattr(diffusers, PIPELINES[request.param])
    more = {"add_watermarker": False} if request.param == "xl" else {"safety_checker": None}
    theirs = kind.from_pretrained(folder, local_files_only=True, **more)
    theirs.set_progress_bar_config(disable=True)
    return load(folder, device="cpu", prediction=model.prediction), theirs


def told(model: LatentDiffusion, prompt: str, **reading: Any) -> Any:
    size = (model.config.size, model.config.size)
    return model.condition([Given(prompt, size, reading=Reading(**reading))])


@torch.no_grad()
def encoded(theirs: Any, prompt: str, **more: Any) -> tuple[Tensor, Tensor | None]:
    found = theirs.encode_prompt(
        prompt, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False, **more
    )
    return found[0], found[2] if len(found) == 4 else None


@torch.no_grad()
def skipped(theirs: Any, prompt: str, skip: int) -> Tensor:
    """Return the states as diffusers means them; its own code does not know transformers 5."""
    encoder, tokenizer = theirs.text_encoder, theirs.tokenizer
    ids = tokenizer(prompt, padding="max_length", max_length=77, return_tensors="pt").input_ids
    hidden = encoder(ids, output_hidden_states=True).hidden_states[-(skip + 1)]
    states: Tensor = getattr(encoder, "text_model", encoder).final_layer_norm(hidden)
    return states


@pytest.mark.parametrize("skip", [0, 1, 2])
def test_states_and_pooled_vector_of_skipped_layers(pair: Any, skip: int) -> None:
    ours, theirs = pair
    context, pooled = encoded(theirs, "a cat left of the dog")
    if "XL" in type(theirs).__name__:
        context, _ = encoded(theirs, "a cat left of the dog", clip_skip=skip or None)
    elif skip:
        context = skipped(theirs, "a cat left of the dog", skip)
    found = told(ours, "a cat left of the dog", clip_skip=skip)
    assert relative_error(found.context, context) < 1e-5
    if pooled is not None:
        assert relative_error(found.vector[:, : pooled.shape[1]], pooled) < 1e-5


def test_a_prompt_cut_after_one_chunk_is_diffusers(pair: Any) -> None:
    ours, theirs = pair
    context, _ = encoded(theirs, LONG)
    assert relative_error(told(ours, LONG, chunks=1).context, context) < 1e-5


def test_chunks_are_the_encodings_of_their_texts_after_one_another(pair: Any) -> None:
    """A chunk is full at 75 tokens, and ends after the last comma if it is near."""
    ours, theirs = pair
    ids = theirs.tokenizer(LONG, add_special_tokens=False).input_ids
    comma = theirs.tokenizer.convert_tokens_to_ids(",</w>")
    ends = [0]
    for _ in range(2):
        ends.append(max(i for i in range(ends[-1] + 75) if ids[i] == comma) + 1)
    assert 55 <= ends[1] < 75
    texts = [theirs.tokenizer.decode(ids[a:b]) for a, b in itertools.pairwise(ends)]
    expected = torch.cat([encoded(theirs, text)[0] for text in texts], dim=1)
    found = told(ours, LONG).context
    assert found.shape[1] >= 154
    assert relative_error(found[:, :154], expected) < 1e-5


def weighted(states: Tensor, weights: dict[int, float], mean: bool) -> Tensor:
    """Return states [1, T, D] with the given tokens' multiplied (AUTOMATIC1111's formula)."""
    factors = torch.ones(states.shape[1])
    for token, weight in weights.items():
        factors[token] = weight
    new = states * factors[None, :, None]
    return new * (states.mean() / new.mean()) if mean else new


@pytest.mark.parametrize("mode", ["mean", "plain"])
def test_weights(pair: Any, mode: str) -> None:
    """Each encoder's states by themselves."""
    ours, theirs = pair
    context, pooled = encoded(theirs, "a cat left of the dog")
    words = ours.tokenize(["a cat left of the dog"])
    (dog,) = [i for i, piece in enumerate(words.pieces[0]) if piece == "dog"]
    factors = {2: 1.3, dog + 1: 1 / 1.1}
    widths = [text.width for text in ours.config.text]
    expected = [weighted(part, factors, mode == "mean") for part in context.split(widths, dim=-1)]
    found = told(ours, "a (cat:1.3) left of the [dog]", weights=mode)
    assert relative_error(found.context, torch.cat(expected, dim=-1)) < 1e-5
    if pooled is not None:
        assert relative_error(found.vector[:, : pooled.shape[1]], pooled) < 1e-5


def test_a_whole_run_of_a_weighted_prompt_in_chunks(pair: Any) -> None:
    ours, theirs = pair
    prompt, negative = "a (cat:1.3) BREAK the dog", "the (owl:1.2)"
    found = [told(ours, each) for each in (prompt, negative)]
    size = theirs.unet.config.sample_size
    more: dict[str, Any] = {}
    if "XL" in type(theirs).__name__:
        dim = ours.config.text[-1].projection_dim
        more["pooled_prompt_embeds"] = found[0].vector[:, :dim]
        more["negative_pooled_prompt_embeds"] = found[1].vector[:, :dim]
    expected = theirs(
        prompt_embeds=found[0].context,
        negative_prompt_embeds=found[1].context.repeat(1, 2, 1),
        generator=torch.Generator().manual_seed(3),
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        height=64,
        width=64,
        output_type="latent",
        **more,
    ).images
    assert size
    *_, last = ours.sample(
        prompt, negative_prompt=negative, seed=3, guidance_scale=4.0, width=64, height=64, **RUN
    )
    result = last.x_next / (1 + last.sigma_next**2) ** 0.5
    assert relative_error(result, expected) < 1e-3


def test_learnt_words(pair: Any, tmp_path: Path) -> None:
    ours, theirs = pair
    texts, path = ours.config.text, tmp_path / "toy.safetensors"
    vectors = [torch.randn(3, text.width) for text in texts]
    if len(texts) == 1:
        save_file({"emb_params": vectors[0]}, path)
        theirs.load_textual_inversion(vectors[0], token="toy")
    else:
        save_file({"clip_l": vectors[0], "clip_g": vectors[1]}, path)
        for each, encoder, tokenizer in (
            (vectors[0], theirs.text_encoder, theirs.tokenizer),
            (vectors[1], theirs.text_encoder_2, theirs.tokenizer_2),
        ):
            theirs.load_textual_inversion(
                each, token="toy", text_encoder=encoder, tokenizer=tokenizer
            )
    context, pooled = encoded(theirs, "a toy by the owl")
    found = told(ours.with_embeddings([path]), "a toy by the owl")
    assert relative_error(found.context, context) < 1e-5
    if pooled is not None:
        assert relative_error(found.vector[:, : pooled.shape[1]], pooled) < 1e-5
    theirs.unload_textual_inversion()
