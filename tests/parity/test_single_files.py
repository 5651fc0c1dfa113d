"""Single files of every family: what we load is what diffusers makes of the same file.

Models have few channels and layers, but inputs of the published widths, by which the families are
told. diffusers' own functions convert the names in the file; they are not ours.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import networks, save_tensors, write_tokenizer
from published import Layout, layouts_of, published
from references import autoencoder_of, relative_error, unet_of
from torch import Tensor

from sdwidgets import LatentDiffusion, load
from sdwidgets.checkpoints import families
from sdwidgets.checkpoints.families import Family
from sdwidgets.checkpoints.infer import infer_unet, unet_place
from sdwidgets.configs import SDXL, ZOO, ModelConfig, TextConfig

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("seeded")]
diffusers = pytest.importorskip("diffusers")

EXACT = 1e-5  # of the values' scale, in float32
FAMILIES = [family for family in families.FAMILIES if family.preset not in ZOO]
"""The families that diffusers has; `checkpoints.test_ldm` has latent diffusion's own."""
IDS = [family.key for family in FAMILIES]


@cache
def small(preset: ModelConfig) -> ModelConfig:
    """Return a model of the same family with few channels, layers and words."""

    def narrow(channels: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(32 * width // channels[0] for width in channels)

    channels = narrow(preset.unet.channels)
    alike = len(set(preset.unet.heads)) == 1  # else heads of 64
    heads = preset.unet.heads if alike else tuple(max(width // 64, 1) for width in channels)
    words = {"vocab_size": 521, "bos": 519, "eos": 520}
    texts = (
        replace(each, layers=2, hidden=64, pad=each.pad and 520, **words)
        if isinstance(each, TextConfig)
        else each
        for each in preset.embedders
    )
    return replace(
        preset,
        name="model",
        unet=replace(preset.unet, channels=channels, heads=heads),
        autoencoder=replace(preset.autoencoder, channels=narrow(preset.autoencoder.channels)),
        embedders=tuple(texts),
    )


def written(config: ModelConfig, layout: Layout, folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """Return the file of a model with random weights, beside its vocabulary, and its tensors."""
    write_tokenizer(folder / "tokenizer")
    tensors = published(networks(config), config, layout)
    return save_tensors(tensors, folder / "model.safetensors"), tensors


def opened(path: Path, **options: Any) -> LatentDiffusion:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the prediction, and of what is left out
        return load(path, device="cpu", **options)


EVERY = [
    pytest.param(family, layout, id=f"{family.key}-{layout}")
    for family in FAMILIES
    for layout in layouts_of(family.preset)
]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "layout"), EVERY)
@torch.no_grad()
def test_a_file_of_every_family(family: Family, layout: Layout, tmp_path: Path) -> None:
    config = small(family.preset)
    path, tensors = written(config, layout, tmp_path)
    model = opened(path, prediction=config.schedule.prediction)
    assert replace(model.config, size=config.size) == config

    unet = unet_of(config.unet, linear=layout == "diffusers" or config.unet.context_dim != 768)
    unet.load_state_dict(their_unet_state(tensors, unet, layout), strict=True)
    x = torch.randn(2, config.unet.in_channels, 8, 8)
    context = torch.randn(2, 7, config.unet.context_dim)
    t = torch.tensor([3, 987])
    guidance = torch.randn(2, config.unet.guidance_dim) if config.unet.guidance_dim else None
    label = torch.tensor([20, 350]) if config.unet.classes else None
    vector, added = None, None
    if width := config.unet.vector_dim:
        pooled = torch.randn(2, 1280)
        numbers = torch.tensor([[64.0, 64, 0, 0, 64, 64][: (width - 1280) // 256]] * 2)
        features = unet.add_time_proj(numbers.flatten()).reshape(2, -1)
        vector = torch.cat([pooled, features], dim=1)
        added = {"text_embeds": pooled, "time_ids": numbers}
    ours = model.unet(x, t, context, vector, guidance=guidance, label=label)
    theirs = unet(
        x, t, context, class_labels=label, timestep_cond=guidance, added_cond_kwargs=added
    ).sample
    assert relative_error(ours, theirs) < EXACT

    vae = autoencoder_of(config.autoencoder)
    vae.load_state_dict(their_vae_state(tensors, vae, layout), strict=True)
    latents = torch.randn(1, 4, 3, 4)
    decoded = vae.decode(latents / config.autoencoder.scaling_factor).sample
    assert relative_error(model.autoencoder.decode(latents), decoded) < EXACT
    image = torch.rand(1, 3, 16, 24) * 2 - 1
    mean = vae.encode(image).latent_dist.mean * config.autoencoder.scaling_factor
    assert relative_error(model.autoencoder.encode(image).mode(), mean) < EXACT

    encoders = [each for each in model.embedders if isinstance(each.config, TextConfig)]
    for number, (encoder, text) in enumerate(zip(encoders, config.text, strict=True)):
        tokens = encoder.tokenize(["a cat, a dog"])  # type: ignore[attr-defined]
        assert tokens.ids[0, -1] == (520 if text.activation == "quick_gelu" else 0)
        theirs = their_text(tensors, text, number, layout)(tokens.ids, output_hidden_states=True)
        found = encoder.read(tokens.ids)  # type: ignore[attr-defined]
        states = theirs.last_hidden_state if text.norm else theirs.hidden_states[-2]
        assert relative_error(found.states, states) < EXACT
        if text.projection_dim:
            assert relative_error(found.pooled, theirs.text_embeds) < EXACT


def stripped(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def their_unet_state(tensors: dict[str, Tensor], unet: Any, layout: Layout) -> dict[str, Tensor]:
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    if layout == "diffusers":
        return stripped(tensors, "unet.")
    state = convert_ldm_unet_checkpoint(dict(tensors), unet.config)
    told = "time_embedding.cond_proj.weight"  # diffusers converts no file of an LCM
    more = f"model.diffusion_model.{told}"
    return state | ({told: tensors[more]} if more in tensors else {})


def their_vae_state(tensors: dict[str, Tensor], vae: Any, layout: Layout) -> dict[str, Tensor]:
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    if layout == "diffusers":
        return stripped(tensors, "vae.")
    return convert_ldm_vae_checkpoint(dict(tensors), vae.config)


def their_text(tensors: dict[str, Tensor], text: TextConfig, number: int, layout: Layout) -> Any:
    """Return transformers' text encoder with the weights in a file, by diffusers' conversion."""
    from diffusers.loaders import single_file_utils as theirs
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    kind = CLIPTextModelWithProjection if text.projection_dim else CLIPTextModel
    encoder = kind(
        CLIPTextConfig(
            vocab_size=text.vocab_size,
            hidden_size=text.width,
            intermediate_size=text.hidden,
            num_hidden_layers=text.layers,
            num_attention_heads=text.heads,
            hidden_act=text.activation,
            projection_dim=text.projection_dim or text.width,
            bos_token_id=text.bos,
            eos_token_id=text.eos,
            pad_token_id=text.pad,
        )
    ).eval()
    if layout == "diffusers":
        second = number == 1 or text.width == 1280
        state = stripped(tensors, "text_encoder_2." if second else "text_encoder.")
    elif text.activation == "quick_gelu":
        state = theirs.convert_ldm_clip_checkpoint(tensors)
    else:
        places = {"compvis": "cond_stage_model", "sgm": f"conditioner.embedders.{number}"}
        state = theirs.convert_open_clip_checkpoint(encoder, tensors, f"{places[layout]}.model.")
    bare = {name.removeprefix("text_model."): value for name, value in state.items()}
    wanted = {name.removeprefix("text_model."): name for name in encoder.state_dict()}
    encoder.load_state_dict({wanted[n]: bare[n] for n in wanted}, strict=True)
    return encoder


# ------------------------------------------------------------------------------------ full size


@pytest.mark.parametrize("family", FAMILIES, ids=IDS)
def test_the_network_of_every_family_is_told_by_its_shapes(family: Family) -> None:
    with torch.device("meta"):
        theirs = unet_of(family.preset.unet)
    shapes = {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()}
    place = unet_place(shapes)
    assert place is not None and not place.compvis
    assert infer_unet(shapes, place) == family.preset.unet


# ------------------------------------------------------------------------------------ parts


def test_a_whole_xl_of_parts_is_the_whole_xl(tmp_path: Path) -> None:
    config = small(SDXL)
    path, tensors = written(config, "sgm", tmp_path)
    bare = stripped(tensors, "model.diffusion_model.")
    network = save_tensors(bare, tmp_path / "unet.safetensors")
    vae = save_tensors(stripped(tensors, "first_stage_model."), tmp_path / "vae.safetensors")
    first = save_tensors(
        stripped(tensors, "conditioner.embedders.0.transformer."), tmp_path / "clip_l.safetensors"
    )
    second = save_tensors(
        stripped(tensors, "conditioner.embedders.1.model."), tmp_path / "clip_g.safetensors"
    )
    whole = opened(path)
    parts = opened(network, vae=vae, text=[second, first])
    assert replace(parts.config, name="model") == whole.config
    for ours, theirs in (
        (parts.unet, whole.unet),
        (parts.autoencoder, whole.autoencoder),
        *((a.model, b.model) for a, b in zip(parts.embedders, whole.embedders, strict=True)),
    ):
        expected = theirs.state_dict()
        assert all(torch.equal(t, expected[name]) for name, t in ours.state_dict().items())
    assert [(one.name, one.kind) for one in parts.sources] == [
        ("unet.safetensors", "checkpoint"),
        ("vae.safetensors", "autoencoder"),
        ("clip_l.safetensors", "text encoder"),
        ("clip_g.safetensors", "text encoder"),
    ]
